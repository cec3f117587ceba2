//! Functions on moments and durations.

use crate::expr::environment::{Definition, Parameter};
use crate::expr::error::Fault;
use crate::expr::time;
use crate::expr::value::Value;

use Parameter::{Any, String as Text};

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("now", &[Any], 0, |call, arguments| match arguments {
        [] => Ok(time::now(call.scope.now, None)),
        [Value::Zone(zone)] => Ok(time::now(call.scope.now, Some(zone))),
        [other, ..] => Err(Fault::kind(format!("now() takes a timezone(…) or nothing, and this is {}.", other.kind()))),
    }),
    Definition::new("duration", &[Text], 1, |_, arguments| time::duration(arguments[0].as_str().unwrap_or_default())),
    Definition::new("timezone", &[Text], 1, |_, arguments| {
        time::zone(arguments[0].as_str().unwrap_or_default()).map(Value::Zone)
    }),
    Definition::new("date", &[Any, Any, Any], 1, |_, arguments| {
        let (zone, rest) = match arguments {
            [Value::Zone(zone), rest @ ..] => (Some(zone.clone()), rest),
            rest => (None, rest),
        };
        let texts: Option<Vec<&str>> = rest.iter().map(Value::as_str).collect();
        match texts.as_deref() {
            Some([text]) => time::date(text, None, zone.as_ref()),
            Some([text, layout]) => time::date(text, Some(layout), zone.as_ref()),
            Some([text, layout, name]) => time::date(text, Some(layout), Some(&time::zone(name)?)),
            _ => Err(Fault::kind("date() takes a text, and perhaps a layout and the name of a time zone.")),
        }
    }),
];
