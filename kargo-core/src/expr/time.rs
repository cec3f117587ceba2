//! Moments and durations, with the methods and the layouts of Go's `time` package.

mod layout;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use super::error::Fault;
use super::kargo::wrong_method;
use super::value::Value;

const SECOND: i64 = 1_000_000_000;

/// How long a layout may be, in bytes.
const MAX_LAYOUT: usize = 1_000;

/// The layouts that `date()` tries when it gets none.
const LAYOUTS: [&str; 7] = [
    "2006-01-02",
    "15:04:05",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05Z07:00",
    "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST",
    "Mon, 02 Jan 2006 15:04:05 MST",
];

fn moment(time: ZonedDateTime) -> Value {
    Value::Time(time.into())
}

fn out_of_range() -> Fault {
    Fault::value("The time is out of range; years go from -9999 to 9999.")
}

/// `time` later by so many nanoseconds.
pub(super) fn shifted(time: &ZonedDateTime, nanoseconds: i128) -> Result<Value, Fault> {
    let shifted = time.timestamp().as_nanosecond().checked_add(nanoseconds).ok_or_else(out_of_range)?;
    let shifted = Timestamp::from_nanosecond(shifted).map_err(|_| out_of_range())?;
    Ok(moment(shifted.to_zoned_datetime(time.time_zone().clone())))
}

/// From `right` to `left`, in nanoseconds; the largest duration there is when they are too far apart, as in Go.
pub(super) fn between(left: &ZonedDateTime, right: &ZonedDateTime) -> i64 {
    let span = left.timestamp().as_nanosecond() - right.timestamp().as_nanosecond();
    i64::try_from(span).unwrap_or(if span < 0 { i64::MIN } else { i64::MAX })
}

/// `now()`, in UTC or in a zone.
pub(super) fn now(now: Timestamp, zone: Option<&TimeZone>) -> Value {
    moment(now.to_zoned_datetime(zone.cloned().unwrap_or(TimeZone::UTC)))
}

pub(super) fn rfc3339(time: &ZonedDateTime) -> String {
    layout::format(time, "2006-01-02T15:04:05.999999999Z07:00")
}

/// As Go prints a time.
pub(super) fn plain(time: &ZonedDateTime) -> String {
    layout::format(time, "2006-01-02 15:04:05.999999999 -0700 MST")
}

/// `timezone(name)`
pub(super) fn zone(name: &str) -> Result<TimeZone, Fault> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        name => TimeZone::get(name)
            .map_err(|_| Fault::value("There is no time zone of that name; an example is \"Europe/Zurich\".")),
    }
}

/// `date(text[, layout[, zone]])`
pub(super) fn date(text: &str, layout: Option<&str>, zone: Option<&TimeZone>) -> Result<Value, Fault> {
    let utc = TimeZone::UTC;
    let zone = zone.unwrap_or(&utc);
    let read = match layout {
        Some(layout) if layout.len() > MAX_LAYOUT => None,
        Some(layout) => layout::parse(text, layout, zone),
        None => LAYOUTS.iter().find_map(|layout| layout::parse(text, layout, zone)),
    };
    read.map(moment).ok_or_else(|| {
        Fault::value(if layout.is_some() {
            "The text is no date of this layout; layouts are written as in Go, with 2006-01-02 15:04:05 as the example."
        } else {
            "The text is no date; an example is \"2024-01-31\" or \"2024-01-31T12:00:00Z\"."
        })
    })
}

/// `duration(text)`: as `1h30m`, `-1.5s`, `250ms`.
pub(super) fn duration(text: &str) -> Result<Value, Fault> {
    parse_duration(text).map(Value::Duration).ok_or_else(|| {
        Fault::value(
            "The text is no duration; an example is \"1h30m\" or \"90s\", with the units h, m, s, ms, us and ns.",
        )
    })
}

fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (whole, fraction) = rest[..digits].split_once('.').unwrap_or((&rest[..digits], ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 19 {
            return None;
        }
        rest = &rest[digits..];
        let length = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit: i128 = match &rest[..length] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        rest = &rest[length..];
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total += whole * unit;
        let mut share = unit;
        for digit in fraction.bytes() {
            share /= 10;
            total += share * i128::from(digit - b'0');
        }
        if total > 1 << 64 {
            return None;
        }
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// As Go prints a duration: `1h30m0s`, `1.5s`, `250ms`.
pub(super) fn duration_text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let size = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let digits = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        let digits = digits.trim_end_matches('0');
        let point = if digits.is_empty() || unit == 1 { String::new() } else { format!(".{digits}") };
        format!("{}{point}", value / unit)
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(size, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(size, 1_000_000)),
        _ => {
            let minutes = size / 60_000_000_000;
            let seconds = fraction(size % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

fn weekday(day: Weekday) -> i64 {
    i64::from(day.to_sunday_zero_offset())
}

/// The methods of a moment.
pub(super) fn time_method(time: &ZonedDateTime, name: &str, arguments: &[Value]) -> Result<Value, Fault> {
    const NAMES: [&str; 26] = [
        "Year",
        "Month",
        "Day",
        "Hour",
        "Minute",
        "Second",
        "Nanosecond",
        "Weekday",
        "YearDay",
        "Unix",
        "UnixMilli",
        "UnixMicro",
        "UnixNano",
        "Before",
        "After",
        "Equal",
        "Compare",
        "Add",
        "Sub",
        "AddDate",
        "Format",
        "String",
        "UTC",
        "In",
        "IsZero",
        "Truncate",
    ];
    let int = |value: i64| Ok(Value::Int(value));
    let own = time.timestamp();
    match (name, arguments) {
        ("Year", []) => int(time.year().into()),
        ("Month", []) => int(time.month().into()),
        ("Day", []) => int(time.day().into()),
        ("Hour", []) => int(time.hour().into()),
        ("Minute", []) => int(time.minute().into()),
        ("Second", []) => int(time.second().into()),
        ("Nanosecond", []) => int(time.subsec_nanosecond().into()),
        ("Weekday", []) => int(weekday(time.weekday())),
        ("YearDay", []) => int(time.day_of_year().into()),
        ("Unix", []) => int(own.as_second()),
        ("UnixMilli", []) => int(own.as_millisecond()),
        ("UnixMicro", []) => int(own.as_microsecond()),
        ("UnixNano", []) => int(own.as_nanosecond() as i64),
        ("Before", [Value::Time(other)]) => Ok(Value::Bool(own < other.timestamp())),
        ("After", [Value::Time(other)]) => Ok(Value::Bool(own > other.timestamp())),
        ("Equal", [Value::Time(other)]) => Ok(Value::Bool(own == other.timestamp())),
        ("Compare", [Value::Time(other)]) => int(own.cmp(&other.timestamp()) as i64),
        ("Add", [Value::Duration(span)]) => shifted(time, i128::from(*span)),
        ("Sub", [Value::Time(other)]) => Ok(Value::Duration(between(time, other))),
        ("AddDate", [Value::Int(years), Value::Int(months), Value::Int(days)]) => {
            add_date(time, *years, *months, *days)
        }
        ("Format", [Value::String(layout)]) if layout.len() <= MAX_LAYOUT => {
            Ok(Value::from(layout::format(time, layout)))
        }
        ("String", []) => Ok(Value::from(plain(time))),
        ("UTC", []) => Ok(moment(own.to_zoned_datetime(TimeZone::UTC))),
        ("In", [Value::Zone(zone)]) => Ok(moment(own.to_zoned_datetime(zone.clone()))),
        // Go's zero time is the first day of the year 1.
        ("IsZero", []) => Ok(Value::Bool(own.as_second() == -62_135_596_800)),
        ("Truncate", [Value::Duration(span)]) if *span > 0 => {
            // Go truncates since its zero time, not since 1970.
            let zero = i128::from(62_135_596_800_i64) * i128::from(SECOND);
            shifted(time, -((own.as_nanosecond() + zero).rem_euclid(i128::from(*span))))
        }
        _ => Err(wrong_method("A time", name, &NAMES)),
    }
}

/// As Go adds dates: months and days that overflow run on into the next.
fn add_date(time: &ZonedDateTime, years: i64, months: i64, days: i64) -> Result<Value, Fault> {
    let months_all = (i64::from(time.year()).checked_add(years).and_then(|year| year.checked_mul(12)))
        .and_then(|all| all.checked_add(i64::from(time.month()) - 1))
        .and_then(|all| all.checked_add(months))
        .ok_or_else(out_of_range)?;
    let year = i16::try_from(months_all.div_euclid(12)).map_err(|_| out_of_range())?;
    let month = i8::try_from(months_all.rem_euclid(12) + 1).map_err(|_| out_of_range())?;
    let first = jiff::civil::Date::new(year, month, 1).map_err(|_| out_of_range())?;
    let days = days.checked_add(i64::from(time.day()) - 1).ok_or_else(out_of_range)?;
    let span = jiff::Span::new().try_days(days).map_err(|_| out_of_range())?;
    let date = first.checked_add(span).map_err(|_| out_of_range())?;
    let zoned = date.to_datetime(time.time()).to_zoned_datetime(time.time_zone().clone());
    zoned.map(moment).map_err(|_| out_of_range())
}

/// The methods of a duration.
pub(super) fn duration_method(span: i64, name: &str, arguments: &[Value]) -> Result<Value, Fault> {
    const NAMES: [&str; 9] =
        ["Hours", "Minutes", "Seconds", "Milliseconds", "Microseconds", "Nanoseconds", "String", "Abs", "Truncate"];
    // As Go does it, so that whole parts are exact: the whole and the fraction by themselves.
    let parts = |unit: i64| Ok(Value::Float((span / unit) as f64 + (span % unit) as f64 / unit as f64));
    match (name, arguments) {
        ("Hours", []) => parts(3_600 * SECOND),
        ("Minutes", []) => parts(60 * SECOND),
        ("Seconds", []) => parts(SECOND),
        ("Milliseconds", []) => Ok(Value::Int(span / 1_000_000)),
        ("Microseconds", []) => Ok(Value::Int(span / 1_000)),
        ("Nanoseconds", []) => Ok(Value::Int(span)),
        ("String", []) => Ok(Value::from(duration_text(span))),
        ("Abs", []) => Ok(Value::Duration(span.saturating_abs())),
        ("Truncate", [Value::Duration(unit)]) if *unit > 0 => Ok(Value::Duration(span - span % unit)),
        _ => Err(wrong_method("A duration", name, &NAMES)),
    }
}
