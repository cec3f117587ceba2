//! Functions on arrays and maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::expr::environment::{Call, Definition, Parameter};
use crate::expr::error::Fault;
use crate::expr::machine::sorted;
use crate::expr::operator::{self, equal};
use crate::expr::value::{Map as Entries, Scalar, Value};

use Parameter::{Any, Int, List, Map, String as Text};

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("first", &[List], 1, |_, arguments| Ok(items(arguments).first().cloned().unwrap_or(Value::Nil))),
    Definition::new("last", &[List], 1, |_, arguments| Ok(items(arguments).last().cloned().unwrap_or(Value::Nil))),
    Definition::new("get", &[Any, Any], 2, |_, arguments| operator::get(&arguments[0], &arguments[1])),
    Definition::new("take", &[List, Int], 2, |call, arguments| {
        let items = items(arguments);
        let Some(Value::Int(count)) = arguments.get(1) else { return Ok(Value::Nil) };
        let count = usize::try_from(*count).map_err(|_| Fault::value("take() takes a count that is not negative."))?;
        list(call, items[..count.min(items.len())].to_vec())
    }),
    Definition::new("reverse", &[List], 1, |call, arguments| {
        list(call, items(arguments).iter().rev().cloned().collect())
    }),
    Definition::variadic("concat", &[List], |call, arguments| {
        let lists = arguments.iter().map(|argument| items(std::slice::from_ref(argument)));
        call.meter.elements(lists.clone().map(<[Value]>::len).sum())?;
        Value::list(lists.flatten().cloned().collect())
    }),
    Definition::new("flatten", &[List], 1, |call, arguments| {
        let mut out = Vec::new();
        flatten(call, items(arguments), &mut out)?;
        Value::list(out)
    }),
    Definition::new("uniq", &[List], 1, |call, arguments| {
        let mut kept: Vec<Value> = Vec::new();
        for item in items(arguments) {
            let mut known = false;
            for other in &kept {
                call.meter.steps(item.weight().min(other.weight()))?;
                if equal(item, other) {
                    known = true;
                    break;
                }
            }
            if !known {
                kept.push(item.clone());
            }
        }
        list(call, kept)
    }),
    Definition::new("sort", &[List, Text], 1, |call, arguments| {
        let descending = arguments.get(1).map_or(Ok(false), operator::descending)?;
        let items = items(arguments);
        sorted(items, items, descending, call.meter)
    }),
    Definition::new("keys", &[Map], 1, |call, arguments| {
        list(call, map(arguments).pairs().map(|(key, _)| key).collect())
    }),
    Definition::new("values", &[Map], 1, |call, arguments| {
        list(call, map(arguments).pairs().map(|(_, value)| value.clone()).collect())
    }),
    Definition::new("toPairs", &[Map], 1, |call, arguments| {
        let map = map(arguments);
        call.meter.elements(map.len() * 3)?;
        let pairs = map.pairs().map(|(key, value)| Value::list(vec![key, value.clone()]));
        Value::list(pairs.collect::<Result<_, _>>()?)
    }),
    Definition::new("fromPairs", &[List], 1, |call, arguments| {
        let pairs = items(arguments);
        call.meter.elements(pairs.len())?;
        let mut named: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        let mut others: BTreeMap<Scalar, Value> = BTreeMap::new();
        for pair in pairs {
            let Value::List(pair) = pair else { return Err(no_pair()) };
            let [key, value] = pair.as_slice() else { return Err(no_pair()) };
            match (key, Scalar::of(key)) {
                (Value::String(key), _) => named.insert(key.clone(), value.clone()),
                (_, Some(key)) => others.insert(key, value.clone()),
                _ => return Err(Fault::kind(format!("A key is a string, a number or a bool, not {}.", key.kind()))),
            };
        }
        Ok(Value::Map(Entries::with_others(named, others)?))
    }),
];

fn no_pair() -> Fault {
    Fault::kind("fromPairs() takes an array of arrays of two, as in [[\"a\", 1], [\"b\", 2]].")
}

fn items(arguments: &[Value]) -> &[Value] {
    match arguments.first() {
        Some(Value::List(list)) => list.as_slice(),
        _ => &[],
    }
}

fn map(arguments: &[Value]) -> Entries {
    match arguments.first() {
        Some(Value::Map(map)) => map.clone(),
        _ => Entries::empty(),
    }
}

fn list(call: &mut Call<'_>, items: Vec<Value>) -> Result<Value, Fault> {
    call.meter.elements(items.len())?;
    Value::list(items)
}

fn flatten(call: &mut Call<'_>, items: &[Value], out: &mut Vec<Value>) -> Result<(), Fault> {
    for item in items {
        call.meter.elements(1)?;
        match item {
            Value::List(list) => flatten(call, list.as_slice(), out)?,
            other => out.push(other.clone()),
        }
    }
    Ok(())
}
