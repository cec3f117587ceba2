//! What operators mean, for each kind of value.

use std::cmp::Ordering;
use std::sync::Arc;

use super::error::Fault;
use super::kargo;
use super::limits::Meter;
use super::program::Binary;
use super::time;
use super::value::{Map, Scalar, Value};

pub(super) fn binary(kind: Binary, left: &Value, right: &Value, meter: &mut Meter) -> Result<Value, Fault> {
    use Binary::*;
    if matches!(kind, Equal | NotEqual | Less | LessOrEqual | More | MoreOrEqual) {
        meter.steps(left.weight().min(right.weight()))?;
    }
    Ok(match kind {
        Add => return add(left, right, meter),
        Subtract => return subtract(left, right),
        Multiply => return multiply(left, right),
        Divide => match numbers(left, right) {
            Some((left, right)) => Value::Float(left / right),
            None => return Err(undefined("/", left, right)),
        },
        Modulo => match (left, right) {
            (Value::Int(_), Value::Int(0)) => return Err(Fault::value("There is no remainder of a division by 0.")),
            (Value::Int(left), Value::Int(right)) => Value::Int(left.wrapping_rem(*right)),
            _ => return Err(undefined("%", left, right)),
        },
        Power => match numbers(left, right) {
            Some((left, right)) => Value::Float(left.powf(right)),
            None => return Err(undefined("**", left, right)),
        },
        Range => return range(left, right, meter),
        Equal => Value::Bool(equal(left, right)),
        NotEqual => Value::Bool(!equal(left, right)),
        Less => Value::Bool(ordered("<", left, right)?.is_some_and(Ordering::is_lt)),
        LessOrEqual => Value::Bool(ordered("<=", left, right)?.is_some_and(Ordering::is_le)),
        More => Value::Bool(ordered(">", left, right)?.is_some_and(Ordering::is_gt)),
        MoreOrEqual => Value::Bool(ordered(">=", left, right)?.is_some_and(Ordering::is_ge)),
        In => Value::Bool(is_in(left, right, meter)?),
        Contains => texts("contains", left, right, meter, |text, part| text.contains(part))?,
        StartsWith => texts("startsWith", left, right, meter, |text, part| text.starts_with(part))?,
        EndsWith => texts("endsWith", left, right, meter, |text, part| text.ends_with(part))?,
        Matches => return super::regex::matches(left, right, meter),
    })
}

fn undefined(operator: &str, left: &Value, right: &Value) -> Fault {
    let hint = match (operator, left, right) {
        (_, Value::Nil, _) | (_, _, Value::Nil) => {
            " Where a value may be missing, write `?? ` and what to use instead."
        }
        ("+", Value::String(_), _) | ("+", _, Value::String(_)) => " To join texts, write string(…) around the other.",
        ("%", Value::Float(_), _) | ("%", _, Value::Float(_)) => " Write int(…) around the fraction.",
        (_, Value::String(_), _) | (_, _, Value::String(_)) => " Write int(…) or float(…) around the string.",
        _ => "",
    };
    Fault::kind(format!("{operator} cannot take {} and {}.{hint}", left.kind(), right.kind()))
}

fn numbers(left: &Value, right: &Value) -> Option<(f64, f64)> {
    Some((number(left)?, number(right)?))
}

pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

fn add(left: &Value, right: &Value, meter: &mut Meter) -> Result<Value, Fault> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Value::Int(left.wrapping_add(*right)),
        (Value::String(left), Value::String(right)) => {
            meter.bytes(left.len() + right.len())?;
            let mut text = String::with_capacity(left.len() + right.len());
            text.push_str(left);
            text.push_str(right);
            Value::String(text.into())
        }
        (Value::Duration(left), Value::Duration(right)) => Value::Duration(left.wrapping_add(*right)),
        (Value::Time(time), Value::Duration(span)) | (Value::Duration(span), Value::Time(time)) => {
            time::shifted(time, i128::from(*span))?
        }
        _ => match numbers(left, right) {
            Some((left, right)) => Value::Float(left + right),
            None => return Err(undefined("+", left, right)),
        },
    })
}

fn subtract(left: &Value, right: &Value) -> Result<Value, Fault> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Value::Int(left.wrapping_sub(*right)),
        (Value::Duration(left), Value::Duration(right)) => Value::Duration(left.wrapping_sub(*right)),
        (Value::Time(left), Value::Time(right)) => Value::Duration(time::between(left, right)),
        (Value::Time(time), Value::Duration(span)) => time::shifted(time, -i128::from(*span))?,
        _ => match numbers(left, right) {
            Some((left, right)) => Value::Float(left - right),
            None => return Err(undefined("-", left, right)),
        },
    })
}

fn multiply(left: &Value, right: &Value) -> Result<Value, Fault> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Value::Int(left.wrapping_mul(*right)),
        (Value::Duration(span), Value::Int(times)) | (Value::Int(times), Value::Duration(span)) => {
            Value::Duration(span.wrapping_mul(*times))
        }
        (Value::Duration(span), Value::Float(times)) | (Value::Float(times), Value::Duration(span)) => {
            Value::Duration((*span as f64 * times) as i64)
        }
        _ => match numbers(left, right) {
            Some((left, right)) => Value::Float(left * right),
            None => return Err(undefined("*", left, right)),
        },
    })
}

pub(super) fn negate(value: &Value) -> Result<Value, Fault> {
    Ok(match value {
        Value::Int(value) => Value::Int(value.wrapping_neg()),
        Value::Float(value) => Value::Float(-value),
        Value::Duration(value) => Value::Duration(value.wrapping_neg()),
        other => return Err(Fault::kind(format!("- in front takes a number, and this is {}.", other.kind()))),
    })
}

fn range(left: &Value, right: &Value, meter: &mut Meter) -> Result<Value, Fault> {
    let (Value::Int(from), Value::Int(to)) = (left, right) else { return Err(undefined("..", left, right)) };
    if from > to {
        return Value::list(Vec::new());
    }
    let length = to.abs_diff(*from).saturating_add(1);
    meter.elements(usize::try_from(length).unwrap_or(usize::MAX))?;
    Value::list((*from..=*to).map(Value::Int).collect())
}

/// `==`: numbers by value, lists and maps element by element. Different kinds are never equal.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::String(left), Value::String(right)) => left == right,
        (Value::List(left), Value::List(right)) => left == right,
        (Value::Map(left), Value::Map(right)) => left == right,
        (Value::Record(left), Value::Record(right)) => {
            left.kind == right.kind
                && left.fields.len() == right.fields.len()
                && left.fields.iter().all(|field| right.get(field.name).is_some_and(|other| *other == field.value))
        }
        (Value::Time(left), Value::Time(right)) => left.timestamp() == right.timestamp(),
        (Value::Duration(left), Value::Duration(right)) => left == right,
        (Value::Zone(left), Value::Zone(right)) => left == right,
        (Value::Version(left), Value::Version(right)) => left == right,
        (Value::Function(left), Value::Function(right)) => Arc::ptr_eq(left, right),
        _ => numbers(left, right).is_some_and(|(left, right)| left == right),
    }
}

/// The order of two values of one kind; none for what is not a number.
pub(super) fn compare(left: &Value, right: &Value) -> Result<Option<Ordering>, Fault> {
    ordered("comparing", left, right)
}

fn ordered(operator: &str, left: &Value, right: &Value) -> Result<Option<Ordering>, Fault> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::String(left), Value::String(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Value::Time(left), Value::Time(right)) => Some(left.timestamp().cmp(&right.timestamp())),
        (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
        _ => match numbers(left, right) {
            Some((left, right)) => left.partial_cmp(&right),
            None => return Err(undefined(operator, left, right)),
        },
    })
}

fn is_in(needle: &Value, hay: &Value, meter: &mut Meter) -> Result<bool, Fault> {
    Ok(match hay {
        Value::Nil => false,
        Value::List(list) => {
            for item in list.as_slice() {
                meter.steps(needle.weight().min(item.weight()))?;
                if equal(item, needle) {
                    return Ok(true);
                }
            }
            false
        }
        Value::Map(map) => match needle {
            Value::String(key) => map.get(key).is_some(),
            other => lookup(map, other)?.is_some(),
        },
        Value::Record(record) => match needle {
            Value::String(name) => record.get(name).is_some(),
            other => return Err(Fault::kind(format!("A field's name is a string, not {}.", other.kind()))),
        },
        Value::String(_) => {
            return Err(Fault::kind("in looks into an array or a map; for texts write contains, the other way round."));
        }
        other => return Err(Fault::kind(format!("in looks into an array or a map, and this is {}.", other.kind()))),
    })
}

fn lookup<'v>(map: &'v Map, key: &Value) -> Result<Option<&'v Value>, Fault> {
    match Scalar::of(key) {
        Some(scalar) if !map.others().is_empty() => Ok(map.others().get(&scalar)),
        Some(Scalar::Nil) => Ok(None),
        _ if map.is_empty() => Ok(None),
        _ => Err(Fault::kind(format!("The keys of this map are strings, and this is {}.", key.kind()))),
    }
}

fn texts(
    operator: &str,
    left: &Value,
    right: &Value,
    meter: &mut Meter,
    test: fn(&str, &str) -> bool,
) -> Result<Value, Fault> {
    match (left, right) {
        (Value::Nil, _) | (_, Value::Nil) => Ok(Value::Bool(false)),
        (Value::String(text), Value::String(part)) => {
            meter.steps(text.len() / 64)?;
            Ok(Value::Bool(test(text, part)))
        }
        (Value::List(_), _) if operator == "contains" => {
            Err(Fault::kind("contains looks into a string; for arrays write in, the other way round."))
        }
        _ => Err(Fault::kind(format!("{operator} takes two strings, not {} and {}.", left.kind(), right.kind()))),
    }
}

/// `value.name`
pub(super) fn member(value: &Value, name: &str) -> Result<Value, Fault> {
    match value {
        Value::Map(map) => Ok(map.get(name).cloned().unwrap_or(Value::Nil)),
        Value::Record(record) => record.get(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = record.fields.iter().map(|field| field.name).collect();
            let same = names.iter().find(|known| known.eq_ignore_ascii_case(name)).copied();
            let hint = match same.or_else(|| crate::near_match(name, names.iter().copied())) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("it has {}.", names.join(", ")),
            };
            Fault::new(super::FaultKind::UnknownName, format!("{} has no field {name}; {hint}", record.kind))
        }),
        Value::Nil => Err(Fault::kind(format!(
            "There is no {name}, because what stands before it is nil; where that may be so, write ?.{name}."
        ))),
        Value::Time(_) | Value::Duration(_) | Value::Version(_) => {
            Err(Fault::kind(format!("{} has no field {name}; methods are called, as in .{name}().", value.kind())))
        }
        Value::List(_) => Err(Fault::kind(format!(
            "An array has no field {name}; pick an element, as in [0], or use map(…, .{name})."
        ))),
        other => Err(Fault::kind(format!("There is no {name} in {}.", other.kind()))),
    }
}

/// The place that an index names: from the end when it is negative.
fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add_unsigned(length as u64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < length)
}

fn whole(value: &Value) -> Result<i64, Fault> {
    match value {
        Value::Int(value) => Ok(*value),
        Value::Float(value) => Ok(*value as i64),
        other => Err(Fault::kind(format!("An index is an int, and this is {}.", other.kind()))),
    }
}

/// `value[index]`
pub(super) fn index(value: &Value, index: &Value) -> Result<Value, Fault> {
    let out_of_range = |length: usize| {
        let hint = if length == 0 { "it is empty" } else { "it has too few elements" };
        Fault::value(format!("The index is out of range, because {hint} ({length}); get(…) gives nil instead."))
    };
    match value {
        Value::List(list) => {
            let items = list.as_slice();
            place(whole(index)?, items.len()).map(|at| items[at].clone()).ok_or_else(|| out_of_range(items.len()))
        }
        Value::String(text) => place(whole(index)?, text.len())
            .map(|at| Value::Int(i64::from(text.as_bytes()[at])))
            .ok_or_else(|| out_of_range(text.len())),
        Value::Map(map) => match index {
            Value::String(key) => Ok(map.get(key).cloned().unwrap_or(Value::Nil)),
            other => Ok(lookup(map, other)?.cloned().unwrap_or(Value::Nil)),
        },
        Value::Record(_) => match index {
            Value::String(name) => member(value, name),
            other => Err(Fault::kind(format!("A field's name is a string, not {}.", other.kind()))),
        },
        Value::Nil => {
            Err(Fault::kind("There is nothing to index, because it is nil; where that may be so, write ?.[…]."))
        }
        other => Err(Fault::kind(format!("{} has no elements.", other.kind()))),
    }
}

/// `get(value, index)`: as [`index`], and `nil` when it is not there.
pub(super) fn get(value: &Value, key: &Value) -> Result<Value, Fault> {
    Ok(match (value, key) {
        (Value::Map(map), Value::String(key)) => map.get(key).cloned().unwrap_or(Value::Nil),
        (Value::Map(map), key) => lookup(map, key)?.cloned().unwrap_or(Value::Nil),
        (Value::Record(record), Value::String(name)) => record.get(name).cloned().unwrap_or(Value::Nil),
        (Value::List(_) | Value::String(_), key) => {
            whole(key)?;
            index(value, key).unwrap_or(Value::Nil)
        }
        _ => Value::Nil,
    })
}

/// `value[from:to]`
pub(super) fn slice(
    value: &Value,
    from: Option<&Value>,
    to: Option<&Value>,
    meter: &mut Meter,
) -> Result<Value, Fault> {
    let length = match value {
        Value::List(list) => list.as_slice().len(),
        Value::String(text) => text.len(),
        other => {
            return Err(Fault::kind(format!(
                "[:] takes a part of an array or a string, and this is {}.",
                other.kind()
            )));
        }
    };
    let clamp = |at: i64| {
        let at = if at < 0 { at.saturating_add_unsigned(length as u64).max(0) } else { at };
        usize::try_from(at).unwrap_or(usize::MAX).min(length)
    };
    let from = from.map_or(Ok(0), |from| whole(from).map(clamp))?;
    let to = to.map_or(Ok(length), |to| whole(to).map(clamp))?;
    let from = from.min(to);
    match value {
        Value::List(list) => {
            meter.elements(to - from)?;
            Value::list(list.as_slice()[from..to].to_vec())
        }
        Value::String(text) => {
            meter.bytes(to - from)?;
            text.get(from..to).map(Value::from).ok_or_else(|| {
                Fault::value("The part begins or ends within a character; indexes of strings count bytes, as in Go.")
            })
        }
        _ => Ok(Value::Nil),
    }
}

/// `value.name(…)`
pub(super) fn method(value: &Value, name: &str, arguments: &[Value], meter: &mut Meter) -> Result<Value, Fault> {
    match value {
        Value::Time(time) => time::time_method(time, name, arguments),
        Value::Duration(span) => time::duration_method(*span, name, arguments),
        Value::Version(version) => kargo::version_method(version, name, arguments),
        _ => {
            let found = member(value, name)?;
            let Value::Function(function) = &found else {
                let message = format!("{name} is no function, but {}.", found.kind());
                return Err(Fault::kind(message));
            };
            if let Some(message) = function.shape().fault_of_count(name, arguments.len()) {
                return Err(Fault::kind(message));
            }
            function.shape().check(name, arguments)?;
            meter.steps(1)?;
            function.call(arguments)
        }
    }
}

/// Whether `order` says "desc".
pub(super) fn descending(order: &Value) -> Result<bool, Fault> {
    match order.as_str() {
        Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        _ => Err(Fault::value("The order is \"asc\" or \"desc\".")),
    }
}
