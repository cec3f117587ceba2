//! Functions with closures: the closure is run for the elements of an array, and the function makes its result of what it
//! gave.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Frame, Machine, Ran, needs_bool};
use crate::expr::error::{Fault, Span};
use crate::expr::limits::Meter;
use crate::expr::operator;
use crate::expr::program::{Binary, Loop};
use crate::expr::value::{List, Map, Scalar, Value};

/// What was seen so far.
#[derive(Default)]
struct Seen {
    gathered: Vec<Value>,
    /// How many elements the closure held for.
    count: usize,
    /// The element at which the search ended.
    found: Option<usize>,
}

impl Machine<'_> {
    /// Runs the closure `from..to` for the elements of the list on the stack, and puts the function's result there.
    pub(super) fn closure(&mut self, kind: Loop, from: usize, to: usize, span: Span) -> Ran {
        let at = |fault: Fault| (fault, span);
        let extra = match kind {
            Loop::Reduce { initial: true } | Loop::SortBy { ordered: true } => Some(self.pop()),
            _ => None,
        };
        let list = match self.pop() {
            Value::List(list) => list,
            other => {
                let message = format!("The closure runs over an array, and this is {}.", other.kind());
                return Err(at(Fault::kind(message)));
            }
        };
        let (first, accumulator, descending) = start(kind, &list, extra).map_err(at)?;
        self.frames.push(Frame { list: list.clone(), index: 0, accumulator });
        let mut seen = Seen::default();
        let length = list.as_slice().len();
        let backwards = matches!(kind, Loop::FindLast | Loop::FindLastIndex);
        for step in first..length {
            let index = if backwards { length - 1 - step } else { step };
            self.meter.steps(1).map_err(at)?;
            if let Some(frame) = self.frames.last_mut() {
                frame.index = index;
            }
            if from == to {
                self.stack.push(list.as_slice()[index].clone());
            } else {
                self.range(from, to)?;
            }
            let value = self.pop();
            // A fault is the closure's, whose last operation gave the value.
            let place = if from < to { self.code.spans[to - 1] } else { span };
            if self.take_in(kind, index, &list, value, &mut seen).map_err(|fault| (fault, place))? {
                break;
            }
        }
        let accumulator = self.frames.pop().map_or(Value::Nil, |frame| frame.accumulator);
        let items = list.as_slice();
        let value = match kind {
            Loop::All => Ok(Value::Bool(seen.count == length)),
            Loop::Any => Ok(Value::Bool(seen.count > 0)),
            Loop::None => Ok(Value::Bool(seen.count == 0)),
            Loop::One => Ok(Value::Bool(seen.count == 1)),
            Loop::Count => Ok(Value::Int(seen.count as i64)),
            Loop::Filter | Loop::Map => {
                self.meter.elements(seen.gathered.len()).and_then(|()| Value::list(seen.gathered))
            }
            Loop::Find | Loop::FindLast => Ok(seen.found.map_or(Value::Nil, |index| items[index].clone())),
            Loop::FindIndex | Loop::FindLastIndex => {
                Ok(seen.found.map_or(Value::Nil, |index| Value::Int(index as i64)))
            }
            Loop::Reduce { .. } | Loop::Sum => Ok(accumulator),
            Loop::GroupBy => group(items, seen.gathered, self.meter),
            Loop::SortBy { .. } => sorted(items, &seen.gathered, descending, self.meter),
        };
        self.stack.push(value.map_err(at)?);
        Ok(())
    }

    /// Takes in what the closure gave for one element; true when no further element can change the result.
    fn take_in(&mut self, kind: Loop, index: usize, list: &List, value: Value, seen: &mut Seen) -> Result<bool, Fault> {
        match kind {
            Loop::Map | Loop::GroupBy | Loop::SortBy { .. } => seen.gathered.push(value),
            Loop::Reduce { .. } | Loop::Sum => {
                let Some(frame) = self.frames.last_mut() else { return Ok(true) };
                frame.accumulator = match kind {
                    Loop::Sum => operator::binary(Binary::Add, &value, &frame.accumulator, self.meter)?,
                    _ => value,
                };
            }
            _ => {
                let Value::Bool(holds) = value else {
                    return Err(needs_bool("What the closure gives", &value));
                };
                if !holds {
                    return Ok(kind == Loop::All);
                }
                seen.count += 1;
                match kind {
                    Loop::Filter => seen.gathered.push(list.as_slice()[index].clone()),
                    Loop::Find | Loop::FindIndex | Loop::FindLast | Loop::FindLastIndex => {
                        seen.found = Some(index);
                        return Ok(true);
                    }
                    Loop::Any | Loop::None => return Ok(true),
                    Loop::One => return Ok(seen.count > 1),
                    _ => {}
                }
            }
        }
        Ok(false)
    }
}

/// Where to start, with what in the accumulator, and whether to sort downwards.
fn start(kind: Loop, list: &List, extra: Option<Value>) -> Result<(usize, Value, bool), Fault> {
    Ok(match (kind, extra) {
        (Loop::Reduce { .. }, Some(initial)) => (0, initial, false),
        (Loop::Reduce { .. }, None) => match list.as_slice().first() {
            Some(first) => (1, first.clone(), false),
            None => {
                let message = "There is nothing to reduce; give an initial value as the third argument.";
                return Err(Fault::value(message));
            }
        },
        (Loop::SortBy { .. }, Some(order)) => (0, Value::Nil, operator::descending(&order)?),
        (Loop::Sum, _) => (0, Value::Int(0), false),
        _ => (0, Value::Nil, false),
    })
}

fn group(items: &[Value], keys: Vec<Value>, meter: &mut Meter) -> Result<Value, Fault> {
    meter.elements(items.len() * 2)?;
    let mut named: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
    let mut others: BTreeMap<Scalar, Vec<Value>> = BTreeMap::new();
    for (item, key) in items.iter().zip(keys) {
        let group = match (&key, Scalar::of(&key)) {
            (Value::String(key), _) => named.entry(key.clone()).or_default(),
            (_, Some(scalar)) => others.entry(scalar).or_default(),
            _ => {
                let message = format!("groupBy() takes strings, numbers and bools as keys, not {}.", key.kind());
                return Err(Fault::kind(message));
            }
        };
        group.push(item.clone());
    }
    let named = named.into_iter().map(|(key, items)| Ok((key, Value::list(items)?)));
    let named = named.collect::<Result<_, Fault>>()?;
    let others = others.into_iter().map(|(key, items)| Ok((key, Value::list(items)?)));
    Ok(Value::Map(Map::with_others(named, others.collect::<Result<_, Fault>>()?)?))
}

/// `items` in the order of `keys`; equals stay in their order.
pub(in crate::expr) fn sorted(
    items: &[Value],
    keys: &[Value],
    descending: bool,
    meter: &mut Meter,
) -> Result<Value, Fault> {
    meter.elements(items.len())?;
    let rounds = items.len().checked_ilog2().unwrap_or(0) as usize;
    meter.steps(items.len() * rounds)?;
    // Each comparison looks through both texts as far as they are the same.
    let texts: usize = keys.iter().filter_map(Value::as_str).map(|text| text.len() / 64).sum();
    meter.steps(texts.saturating_mul(rounds + 1))?;
    // Sorting needs a total order, so that all keys must be of one kind, and one fraction makes fractions of all numbers.
    if let Some((first, rest)) = keys.split_first() {
        operator::compare(first, first)?;
        for key in rest {
            operator::compare(first, key)?;
        }
    }
    let fractions = keys.iter().any(|key| matches!(key, Value::Float(_)));
    let order_of = |a: &Value, b: &Value| match (operator::number(a), operator::number(b)) {
        (Some(a), Some(b)) if fractions => a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())),
        _ => operator::compare(a, b).ok().flatten().unwrap_or(Ordering::Equal),
    };
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|a, b| {
        let ordering = order_of(&keys[*a], &keys[*b]);
        if descending { ordering.reverse() } else { ordering }
    });
    Value::list(order.into_iter().map(|index| items[index].clone()).collect())
}
