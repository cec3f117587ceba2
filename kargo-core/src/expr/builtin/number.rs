//! Functions on numbers.

use crate::expr::environment::{Call, Definition, Parameter};
use crate::expr::error::Fault;
use crate::expr::operator::{self, number};
use crate::expr::value::Value;

use Parameter::{Any, Int, Number};

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("abs", &[Number], 1, |_, arguments| {
        Ok(match arguments[0] {
            Value::Int(value) => Value::Int(value.wrapping_abs()),
            ref other => Value::Float(number(other).unwrap_or(f64::NAN).abs()),
        })
    }),
    Definition::new("ceil", &[Number], 1, |_, arguments| rounded(arguments, f64::ceil)),
    Definition::new("floor", &[Number], 1, |_, arguments| rounded(arguments, f64::floor)),
    Definition::new("round", &[Number], 1, |_, arguments| rounded(arguments, f64::round)),
    Definition::variadic("max", &[Any], |call, arguments| extreme(call, "max", arguments)),
    Definition::variadic("min", &[Any], |call, arguments| extreme(call, "min", arguments)),
    Definition::variadic("mean", &[Any], |call, arguments| {
        let numbers = gathered(call, "mean", arguments)?;
        let count = numbers.len();
        Ok(Value::Float(if count == 0 { 0.0 } else { numbers.iter().filter_map(number).sum::<f64>() / count as f64 }))
    }),
    Definition::variadic("median", &[Any], |call, arguments| {
        let mut numbers: Vec<f64> = gathered(call, "median", arguments)?.iter().filter_map(number).collect();
        numbers.sort_by(f64::total_cmp);
        let middle = numbers.len() / 2;
        Ok(Value::Float(match numbers.len() {
            0 => 0.0,
            odd if odd % 2 == 1 => numbers[middle],
            _ => (numbers[middle - 1] + numbers[middle]) / 2.0,
        }))
    }),
    Definition::new("bitand", &[Int, Int], 2, |_, arguments| bits(arguments, |a, b| a & b)),
    Definition::new("bitor", &[Int, Int], 2, |_, arguments| bits(arguments, |a, b| a | b)),
    Definition::new("bitxor", &[Int, Int], 2, |_, arguments| bits(arguments, |a, b| a ^ b)),
    Definition::new("bitnand", &[Int, Int], 2, |_, arguments| bits(arguments, |a, b| a & !b)),
    Definition::new("bitnot", &[Int], 1, |_, arguments| bits(&[arguments[0].clone(), Value::Int(0)], |a, _| !a)),
    Definition::new("bitshl", &[Int, Int], 2, |_, arguments| {
        shifted(arguments, |value, by| value.checked_shl(by).unwrap_or(0))
    }),
    Definition::new("bitshr", &[Int, Int], 2, |_, arguments| shifted(arguments, |value, by| value >> by.min(63))),
    Definition::new("bitushr", &[Int, Int], 2, |_, arguments| {
        shifted(arguments, |value, by| (value as u64).checked_shr(by).unwrap_or(0) as i64)
    }),
];

fn rounded(arguments: &[Value], round: fn(f64) -> f64) -> Result<Value, Fault> {
    Ok(Value::Float(round(number(&arguments[0]).unwrap_or(f64::NAN))))
}

fn bits(arguments: &[Value], combine: fn(i64, i64) -> i64) -> Result<Value, Fault> {
    match arguments {
        [Value::Int(left), Value::Int(right)] => Ok(Value::Int(combine(*left, *right))),
        _ => Err(Fault::kind("Bits are those of ints.")),
    }
}

fn shifted(arguments: &[Value], shift: fn(i64, u32) -> i64) -> Result<Value, Fault> {
    match arguments {
        [Value::Int(_), Value::Int(by)] if *by < 0 => Err(Fault::value("The bits cannot be shifted by less than 0.")),
        [Value::Int(value), Value::Int(by)] => Ok(Value::Int(shift(*value, u32::try_from(*by).unwrap_or(u32::MAX)))),
        _ => Err(Fault::kind("Bits are those of ints.")),
    }
}

/// All the numbers in the arguments, also those in arrays.
fn gathered(call: &mut Call<'_>, name: &str, arguments: &[Value]) -> Result<Vec<Value>, Fault> {
    fn gather(call: &mut Call<'_>, name: &str, values: &[Value], out: &mut Vec<Value>) -> Result<(), Fault> {
        for value in values {
            call.meter.elements(1)?;
            match value {
                Value::Int(_) | Value::Float(_) => out.push(value.clone()),
                Value::List(list) => gather(call, name, list.as_slice(), out)?,
                other => return Err(Fault::kind(format!("{name}() takes numbers, and this is {}.", other.kind()))),
            }
        }
        Ok(())
    }
    let mut out = Vec::new();
    gather(call, name, arguments, &mut out)?;
    Ok(out)
}

fn extreme(call: &mut Call<'_>, name: &str, arguments: &[Value]) -> Result<Value, Fault> {
    let mut best: Option<Value> = None;
    for value in gathered(call, name, arguments)? {
        let better = match &best {
            None => true,
            Some(best) => {
                let order = operator::compare(&value, best)?;
                order.is_some_and(if name == "max" { std::cmp::Ordering::is_gt } else { std::cmp::Ordering::is_lt })
            }
        };
        if better {
            best = Some(value);
        }
    }
    Ok(best.unwrap_or(Value::Nil))
}
