//! From one kind to another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::expr::environment::{Call, Definition, Parameter};
use crate::expr::error::Fault;
use crate::expr::number::parse_float;
use crate::expr::text;
use crate::expr::value::Value;

use Parameter::{Any, String as Text};

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("type", &[Any], 1, |_, arguments| Ok(Value::from(arguments[0].type_name()))),
    Definition::new("int", &[Any], 1, |_, arguments| match &arguments[0] {
        Value::Int(value) => Ok(Value::Int(*value)),
        Value::Duration(value) => Ok(Value::Int(*value)),
        Value::Float(value) => whole(*value),
        Value::String(text) => text
            .parse()
            .map(Value::Int)
            .map_err(|_| Fault::value("int() takes a text that is a whole number, and this text is none.")),
        other => Err(Fault::kind(format!("int() takes a number or a string, and this is {}.", other.kind()))),
    }),
    Definition::new("float", &[Any], 1, |_, arguments| match &arguments[0] {
        Value::Int(value) => Ok(Value::Float(*value as f64)),
        Value::Float(value) => Ok(Value::Float(*value)),
        Value::String(text) => parse_float(text)
            .map(Value::Float)
            .ok_or_else(|| Fault::value("float() takes a text that is a number, and this text is none.")),
        other => Err(Fault::kind(format!("float() takes a number or a string, and this is {}.", other.kind()))),
    }),
    Definition::new("string", &[Any], 1, |call, arguments| match &arguments[0] {
        Value::String(text) => Ok(Value::String(text.clone())),
        other => text::plain(other, call.meter).map(Value::from),
    }),
    Definition::new("toJSON", &[Any], 1, |call, arguments| text::json(&arguments[0], 2, call.meter).map(Value::from)),
    Definition::new("fromJSON", &[Text], 1, from_json),
    Definition::new("toBase64", &[Text], 1, |call, arguments| {
        let text = arguments[0].as_str().unwrap_or_default();
        call.meter.bytes(text.len() / 3 * 4 + 4)?;
        Ok(Value::from(STANDARD.encode(text)))
    }),
    Definition::new("fromBase64", &[Text], 1, |call, arguments| {
        let text = arguments[0].as_str().unwrap_or_default();
        call.meter.bytes(text.len())?;
        // Go's decoder passes over the ends of lines.
        let bytes = STANDARD.decode(text.replace(['\r', '\n'], ""));
        let bytes =
            bytes.map_err(|_| Fault::value("fromBase64() takes Base64 with its padding, and this text is none."))?;
        String::from_utf8(bytes).map(Value::from).map_err(|_| Fault::value("What the Base64 stands for is no text."))
    }),
];

fn whole(value: f64) -> Result<Value, Fault> {
    // The bounds are exact as floats; beyond them Go's result depends on the processor.
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
        return Ok(Value::Int(value as i64));
    }
    Err(Fault::value("The number does not fit into an int, which has 64 bits."))
}

fn from_json(call: &mut Call<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let text = arguments[0].as_str().unwrap_or_default();
    // A list of zeros has a value for each two bytes.
    call.meter.bytes(text.len().saturating_mul(16))?;
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        Fault::value(format!("The text is no JSON: the fault is in line {}, column {}.", error.line(), error.column()))
    })?;
    Value::from_json(&json)
}
