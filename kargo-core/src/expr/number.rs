//! Numbers as Go reads and writes them.

use super::error::Fault;
use super::value::Value;

/// A literal of the language.
pub(super) fn literal(text: &str) -> Result<Value, String> {
    let plain = text.replace('_', "");
    let lower = plain.to_ascii_lowercase();
    let too_large = || format!("The number {text} is too large; ints have 64 bits.");
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
                return Err(format!("{text} is no number of base {radix}."));
            }
            return i64::from_str_radix(digits, radix).map(Value::Int).map_err(|_| too_large());
        }
    }
    if lower.contains(['.', 'e']) {
        let number = parse_float(&plain).ok_or_else(|| format!("{text} is no number, or too large."))?;
        return Ok(Value::Float(number));
    }
    plain.parse().map(Value::Int).map_err(|_| too_large())
}

/// What Go's `strconv.ParseFloat` reads: also `+5`, `.5`, `1_000`, `Inf`, `NaN`, `0x1p-2`; not what is out of range.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1.0, &text[1..]),
        b'-' => (-1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest.eq_ignore_ascii_case("inf") || rest.eq_ignore_ascii_case("infinity") {
        return Some(sign * f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    if rest.contains('_') && !underscores_separate_digits(rest) {
        return None;
    }
    let digits = rest.replace('_', "");
    if let Some(hexadecimal) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return parse_hexadecimal(hexadecimal).map(|number| sign * number);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    // A sign can only come first or behind the exponent's mark, and the first is taken off already.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    digits.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| sign * number)
}

fn underscores_separate_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let digit = |byte: u8| if hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'_').all(|(at, _)| {
        let before = at > 0 && (digit(bytes[at - 1]) || (hexadecimal && at == 2));
        before && bytes.get(at + 1).is_some_and(|byte| digit(*byte))
    })
}

fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let point = whole.chars().count();
    let mut value = 0_u128;
    let mut scale = 0_i64;
    for (index, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u128::from(digit.to_digit(16)?);
        let behind = index >= point;
        if value >> 120 == 0 {
            value = value << 4 | digit;
            scale -= if behind { 4 } else { 0 };
        } else {
            // Only whether something was lost matters for rounding.
            value |= u128::from(digit != 0);
            scale += if behind { 0 } else { 4 };
        }
    }
    let bare = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let exponent: i64 = exponent.parse().unwrap_or(if exponent.starts_with('-') { -100_000 } else { 100_000 });
    let power = (exponent.clamp(-100_000, 100_000) + scale).clamp(-100_000, 100_000) as i32;
    let mut number = value as f64;
    // In two steps, since the power alone can be out of range when the product is not.
    number *= 2_f64.powi(power / 2);
    number *= 2_f64.powi(power - power / 2);
    number.is_finite().then_some(number)
}

/// What Go's `strconv.ParseBool` reads.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// The number as JSON has it: whole when it is whole.
pub(super) fn json_number(value: f64) -> Result<serde_json::Number, Fault> {
    // Up to here every whole float is written without an exponent, and fits.
    if value.fract() == 0.0 && value.abs() < 9.2e18 {
        return Ok(serde_json::Number::from(value as i64));
    }
    serde_json::Number::from_f64(value).ok_or_else(|| {
        Fault::value("JSON has no infinite numbers and no NaN; if a text was meant, write quote(…) around it.")
    })
}

/// The shortest digits that read back as the same number, and the exponent of the first.
fn digits(value: f64) -> (String, i32) {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

fn with_exponent(value: f64, least_digits: usize) -> String {
    let (digits, exponent) = digits(value);
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let point = if digits.len() > 1 { "." } else { "" };
    let direction = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{}{point}{}e{direction}{:0least_digits$}", &digits[..1], &digits[1..], exponent.abs())
}

/// A finite float as Go's `encoding/json` writes it.
pub(super) fn json_float(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) { with_exponent(value, 1) } else { format!("{value}") }
}

/// A float as Go's `fmt` writes it with `%v`.
pub(super) fn plain_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let (_, exponent) = digits(value);
    if value != 0.0 && !(-4..6).contains(&exponent) { with_exponent(value, 2) } else { format!("{value}") }
}
