//! What a scalar says.

use std::sync::LazyLock;

use base64::Engine as _;
use granit_parser::{ScalarStyle, Tag};
use regex::Regex;
use serde_json::Number;

use super::Data;

/// Numbers with a fraction or an exponent, and whole ones that fit no integer.
static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
        .expect("the pattern is constant and is compiled by the tests")
});

/// Reads a scalar, or says why it cannot be one of JSON's values.
pub(super) fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Data, String> {
    let plain = style == ScalarStyle::Plain;
    let Some(tag) = tag else {
        return if plain { implicit(text) } else { Ok(Data::Text(text.to_owned())) };
    };
    let name = tag.to_string();
    if tag.is_yaml_core_schema_tag("str") || name == "!" {
        return Ok(Data::Text(text.to_owned()));
    }
    if name.ends_with("binary") {
        let packed: String = text.split_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(packed).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        return text.map(Data::Text).ok_or_else(|| "The value under !!binary is no Base64 of a text.".to_owned());
    }
    let read = implicit(text)?;
    let fits = match &read {
        Data::Null => tag.is_yaml_core_schema_tag("null"),
        Data::Bool(_) => tag.is_yaml_core_schema_tag("bool"),
        Data::Number(number) if number.is_f64() => tag.is_yaml_core_schema_tag("float"),
        Data::Number(_) => tag.is_yaml_core_schema_tag("int") || tag.is_yaml_core_schema_tag("float"),
        _ => false,
    };
    if fits {
        return Ok(read);
    }
    Err(if tag.is_yaml_core_schema() {
        format!("The value does not fit its tag {name}; remove the tag.")
    } else {
        format!("The tag {name} means nothing here; remove it.")
    })
}

fn implicit(text: &str) -> Result<Data, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Data::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Data::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Data::Bool(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => {
            return Err(format!("{text} is a number that JSON cannot say; put quotes around it to have it as a text."));
        }
        _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) => number(text),
        _ => Data::Text(text.to_owned()),
    })
}

fn number(text: &str) -> Data {
    let plain = text.replace('_', "");
    if let Some(number) = integer(&plain) {
        return Data::Number(number);
    }
    let float = FLOAT.is_match(&plain).then(|| plain.parse::<f64>().ok()).flatten();
    match float.and_then(Number::from_f64) {
        Some(number) => Data::Number(number),
        None => Data::Text(text.to_owned()),
    }
}

/// Whole numbers with the prefixes of Go, where a leading zero means base 8.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match prefix.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(_) if digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if !negative {
        return Some(Number::from(magnitude));
    }
    i64::try_from(-i128::from(magnitude)).ok().map(Number::from)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> Value {
        super::super::Node { data: implicit(text).unwrap(), span: Default::default() }.json()
    }

    #[test]
    fn plain_scalars_are_what_kubernetes_takes_them_for() {
        for (text, value) in [
            ("1.10", json!(1.1)),
            ("3108617", json!(3108617)),
            ("0123", json!(83)),
            ("0899", json!(899.0)),
            ("0x1f", json!(31)),
            ("0o17", json!(15)),
            ("0b11", json!(3)),
            ("-5", json!(-5)),
            ("+5", json!(5)),
            ("1_000", json!(1000)),
            ("1e3", json!(1000.0)),
            ("12e4567", json!("12e4567")),
            (".5", json!(0.5)),
            ("18446744073709551615", json!(18446744073709551615_u64)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("yes", json!(true)),
            ("off", json!(false)),
            ("y", json!(true)),
            ("~", json!(null)),
            ("", json!(null)),
            ("12:30:45", json!("12:30:45")),
            ("2024-01-01", json!("2024-01-01")),
            ("1.2.3", json!("1.2.3")),
            ("-", json!("-")),
            ("0x", json!("0x")),
            ("0", json!(0)),
            ("5m0s", json!("5m0s")),
            ("--5", json!("--5")),
        ] {
            assert_eq!(read(text), value, "{text:?}");
        }
        assert!(implicit(".nan").unwrap_err().contains("quotes"));
    }
}
