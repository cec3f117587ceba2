//! Durations as Kargo's manifests write them: `5m`, `1h30m0s`, `1.5h`.

use std::time::Duration;

/// A hundred years: what a duration may be at most.
const MOST: u128 = 100 * 365 * 24 * 3600 * NANOS;
const NANOS: u128 = 1_000_000_000;

/// Reads hours, minutes and seconds, each with a fraction if it must be. Says what is wrong otherwise.
pub(crate) fn parse(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "write it as 30s, 5m or 1h30m";
    if text.is_empty() {
        return Err(FORM);
    }
    let mut nanos = 0_u128;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(FORM)?;
        let (number, behind) = rest.split_at(digits);
        let unit = match behind.as_bytes().first() {
            Some(b'h') => 3600 * NANOS,
            Some(b'm') => 60 * NANOS,
            Some(b's') => NANOS,
            _ => return Err(FORM),
        };
        rest = &behind[1..];
        let (whole, fraction) = match number.split_once('.') {
            Some((_, "")) => return Err(FORM),
            Some((whole, fraction)) => (whole, fraction),
            None => (number, ""),
        };
        if whole.is_empty() || fraction.contains('.') {
            return Err(FORM);
        }
        let whole: u128 = whole.parse::<u64>().map_err(|_| "it is longer than a hundred years")?.into();
        nanos += whole * unit;
        let mut place = unit;
        for digit in fraction.bytes().take(20) {
            place /= 10;
            nanos += u128::from(digit - b'0') * place;
        }
        if nanos > MOST {
            return Err("it is longer than a hundred years");
        }
    }
    // Within the limit both fit.
    Ok(Duration::new((nanos / NANOS) as u64, (nanos % NANOS) as u32))
}

/// Writes a duration as Go does: `5m0s`, `1h0m0s`, `1.5s`.
pub(super) fn write(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    let mut text = String::new();
    if seconds >= 3600 {
        text += &format!("{}h", seconds / 3600);
    }
    if seconds >= 60 {
        text += &format!("{}m", seconds / 60 % 60);
    }
    text += &(seconds % 60).to_string();
    if nanos > 0 {
        text += format!(".{nanos:09}").trim_end_matches('0');
    }
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (text, seconds, written) in [
            ("5m", 300.0, "5m0s"),
            ("5m0s", 300.0, "5m0s"),
            ("1h", 3600.0, "1h0m0s"),
            ("1.5h", 5400.0, "1h30m0s"),
            ("1h30m10s", 5410.0, "1h30m10s"),
            ("0.5s", 0.5, "0.5s"),
            ("0s", 0.0, "0s"),
            ("48h", 172_800.0, "48h0m0s"),
        ] {
            let duration = parse(text).unwrap();
            assert_eq!((duration.as_secs_f64(), write(duration).as_str()), (seconds, written), "{text}");
            assert_eq!(parse(&write(duration)), Ok(duration));
        }
        for text in ["", "5", "5d", "500ms", "-5m", "m", ".5m", "5.m", "1..2s", "5 m", "99999999999h", "1e3s", "5m "] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
