//! Functions on texts.

use crate::expr::environment::{Call, Definition, Parameter};
use crate::expr::error::Fault;
use crate::expr::value::Value;

use Parameter::{Any, Int, List, String as Text};

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("trim", &[Text, Text], 1, |call, arguments| {
        let (text, set) = (text(arguments, 0), arguments.get(1).and_then(Value::as_str));
        made(
            call,
            match set {
                None => text.trim(),
                Some(set) => text.trim_matches(|c| set.contains(c)),
            },
        )
    }),
    Definition::new("trimPrefix", &[Text, Text], 1, |call, arguments| {
        let (text, prefix) = (text(arguments, 0), arguments.get(1).and_then(Value::as_str).unwrap_or(" "));
        made(call, text.strip_prefix(prefix).unwrap_or(text))
    }),
    Definition::new("trimSuffix", &[Text, Text], 1, |call, arguments| {
        let (text, suffix) = (text(arguments, 0), arguments.get(1).and_then(Value::as_str).unwrap_or(" "));
        made(call, text.strip_suffix(suffix).unwrap_or(text))
    }),
    Definition::new("upper", &[Text], 1, |call, arguments| mapped(call, text(arguments, 0), char::to_uppercase)),
    Definition::new("lower", &[Text], 1, |call, arguments| mapped(call, text(arguments, 0), char::to_lowercase)),
    Definition::new("split", &[Text, Text, Int], 2, |call, arguments| split(call, arguments, false)),
    Definition::new("splitAfter", &[Text, Text, Int], 2, |call, arguments| split(call, arguments, true)),
    Definition::new("replace", &[Text, Text, Text, Int], 3, replace),
    Definition::new("repeat", &[Text, Int], 2, |call, arguments| {
        let text = text(arguments, 0);
        let Some(Value::Int(count)) = arguments.get(1) else { return Ok(Value::Nil) };
        let count =
            usize::try_from(*count).map_err(|_| Fault::value("repeat() takes a count that is not negative."))?;
        call.meter.bytes(text.len().saturating_mul(count))?;
        Ok(Value::from(text.repeat(count)))
    }),
    Definition::new("join", &[List, Text], 1, join),
    Definition::new("indexOf", &[Text, Text], 2, |_, arguments| {
        Ok(position(text(arguments, 0).find(text(arguments, 1))))
    }),
    Definition::new("lastIndexOf", &[Text, Text], 2, |_, arguments| {
        Ok(position(text(arguments, 0).rfind(text(arguments, 1))))
    }),
    Definition::new("hasPrefix", &[Text, Text], 2, |_, arguments| {
        Ok(Value::Bool(text(arguments, 0).starts_with(text(arguments, 1))))
    }),
    Definition::new("hasSuffix", &[Text, Text], 2, |_, arguments| {
        Ok(Value::Bool(text(arguments, 0).ends_with(text(arguments, 1))))
    }),
    Definition::new("len", &[Any], 1, |_, arguments| {
        let length = match &arguments[0] {
            Value::String(text) => text.chars().count(),
            Value::List(list) => list.as_slice().len(),
            Value::Map(map) => map.len(),
            other => {
                let message = format!("len() takes a string, an array or a map, and this is {}.", other.kind());
                return Err(Fault::kind(message));
            }
        };
        Ok(Value::Int(length as i64))
    }),
];

fn text(arguments: &[Value], index: usize) -> &str {
    arguments.get(index).and_then(Value::as_str).unwrap_or_default()
}

fn made(call: &mut Call<'_>, text: &str) -> Result<Value, Fault> {
    call.meter.bytes(text.len())?;
    Ok(Value::from(text))
}

fn position(found: Option<usize>) -> Value {
    Value::Int(found.map_or(-1, |at| at as i64))
}

/// Character by character, as Go does it: what would become several characters stays as it is.
fn mapped<I: Iterator<Item = char>>(call: &mut Call<'_>, text: &str, map: fn(char) -> I) -> Result<Value, Fault> {
    call.meter.bytes(text.len())?;
    let one = |c: char| {
        let mut mapped = map(c);
        match (mapped.next(), mapped.next()) {
            (Some(only), None) => only,
            _ => c,
        }
    };
    Ok(Value::from(text.chars().map(one).collect::<String>()))
}

fn split(call: &mut Call<'_>, arguments: &[Value], after: bool) -> Result<Value, Fault> {
    let (text, mark) = (text(arguments, 0), text(arguments, 1));
    let most = match arguments.get(2) {
        Some(Value::Int(0)) => return Value::list(Vec::new()),
        Some(Value::Int(most)) => usize::try_from(*most).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let mut parts: Vec<Value> = Vec::new();
    let mut part = |call: &mut Call<'_>, text: &str| {
        call.meter.elements(1)?;
        call.meter.bytes(text.len())?;
        parts.push(Value::from(text));
        Ok::<usize, Fault>(parts.len())
    };
    let mut rest = text;
    let mut count = 0;
    if mark.is_empty() {
        // Into characters; an empty text has none.
        while let Some(c) = rest.chars().next() {
            if count + 1 == most {
                break;
            }
            count = part(call, &rest[..c.len_utf8()])?;
            rest = &rest[c.len_utf8()..];
        }
        if !rest.is_empty() {
            part(call, rest)?;
        }
    } else {
        while count + 1 < most {
            let Some(at) = rest.find(mark) else { break };
            count = part(call, &rest[..at + if after { mark.len() } else { 0 }])?;
            rest = &rest[at + mark.len()..];
        }
        part(call, rest)?;
    }
    Value::list(parts)
}

fn replace(call: &mut Call<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let (text, old, new) = (text(arguments, 0), text(arguments, 1), text(arguments, 2));
    let most = match arguments.get(3) {
        Some(Value::Int(most)) => usize::try_from(*most).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let count = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() }.min(most);
    call.meter.bytes(text.len().saturating_add(count.saturating_mul(new.len())))?;
    Ok(Value::from(text.replacen(old, new, most)))
}

fn join(call: &mut Call<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let (Some(Value::List(list)), glue) = (arguments.first(), text(arguments, 1)) else { return Ok(Value::Nil) };
    let mut out = String::new();
    for (index, item) in list.as_slice().iter().enumerate() {
        let Value::String(item) = item else {
            let message =
                format!("join() takes an array of strings, and this one has {}; write map(…, string(#)).", item.kind());
            return Err(Fault::kind(message));
        };
        call.meter.bytes(item.len() + glue.len() + 1)?;
        call.meter.steps(1)?;
        if index > 0 {
            out.push_str(glue);
        }
        out.push_str(item);
    }
    Ok(Value::from(out))
}
