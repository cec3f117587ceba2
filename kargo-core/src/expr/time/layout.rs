//! Go's layouts: the example moment Mon Jan 2 15:04:05 MST 2006 written as times are to be written.

use jiff::ZonedDateTime;
use jiff::civil::{Date, Time};
use jiff::tz::{Offset, TimeZone};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// One part of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'l> {
    Literal(&'l str),
    Year,
    ShortYear,
    Month,
    ZeroMonth,
    MonthName,
    ShortMonthName,
    Day,
    ZeroDay,
    SpaceDay,
    YearDay,
    DayName,
    ShortDayName,
    Hour,
    TwelveHour,
    ZeroTwelveHour,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    Half {
        upper: bool,
    },
    /// Digits of a fraction with its point; without trailing zeros when `trim`.
    Fraction {
        digits: usize,
        trim: bool,
    },
    ZoneName,
    /// The offset, as `Z` when `zulu` and there is none.
    ZoneOffset {
        colon: bool,
        minutes: bool,
        zulu: bool,
    },
}

/// What the example's parts are written as; longer ones first where one begins with another.
const PARTS: [(&str, Part<'static>); 30] = [
    ("January", Part::MonthName),
    ("Jan", Part::ShortMonthName),
    ("Monday", Part::DayName),
    ("Mon", Part::ShortDayName),
    ("MST", Part::ZoneName),
    ("2006", Part::Year),
    ("Z07:00", Part::ZoneOffset { colon: true, minutes: true, zulu: true }),
    ("Z0700", Part::ZoneOffset { colon: false, minutes: true, zulu: true }),
    ("Z07", Part::ZoneOffset { colon: false, minutes: false, zulu: true }),
    ("-07:00", Part::ZoneOffset { colon: true, minutes: true, zulu: false }),
    ("-0700", Part::ZoneOffset { colon: false, minutes: true, zulu: false }),
    ("-07", Part::ZoneOffset { colon: false, minutes: false, zulu: false }),
    ("002", Part::YearDay),
    ("01", Part::ZeroMonth),
    ("02", Part::ZeroDay),
    ("03", Part::ZeroTwelveHour),
    ("04", Part::ZeroMinute),
    ("05", Part::ZeroSecond),
    ("06", Part::ShortYear),
    ("15", Part::Hour),
    ("_2006", Part::Literal("_2006")),
    ("_2", Part::SpaceDay),
    ("PM", Part::Half { upper: true }),
    ("pm", Part::Half { upper: false }),
    ("1", Part::Month),
    ("2", Part::Day),
    ("3", Part::TwelveHour),
    ("4", Part::Minute),
    ("5", Part::Second),
    ("", Part::Literal("")),
];

fn parts(layout: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut literal = 0;
    let mut at = 0;
    while at < layout.len() {
        let rest = &layout[at..];
        let (length, part) = match fraction(rest) {
            Some(found) if at > 0 => found,
            _ => match PARTS.iter().find(|(text, _)| !text.is_empty() && rest.starts_with(text)) {
                // A literal underscore stands before a year.
                Some((_, Part::Literal(_))) => {
                    at += 1;
                    continue;
                }
                Some((text, part)) => (text.len(), *part),
                None => {
                    at += rest.chars().next().map_or(1, char::len_utf8);
                    continue;
                }
            },
        };
        if literal < at {
            parts.push(Part::Literal(&layout[literal..at]));
        }
        parts.push(part);
        at += length;
        literal = at;
    }
    if literal < layout.len() {
        parts.push(Part::Literal(&layout[literal..]));
    }
    parts
}

/// `.000` or `,999`, not followed by a further digit.
fn fraction(rest: &str) -> Option<(usize, Part<'static>)> {
    let digits = rest.strip_prefix(['.', ','])?;
    let kind = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let count = digits.chars().take_while(|c| *c == kind).count();
    let more = digits[count..].starts_with(|c: char| c.is_ascii_digit());
    (!more).then_some((count + 1, Part::Fraction { digits: count, trim: kind == '9' }))
}

fn offset_text(seconds: i32, colon: bool, minutes: bool) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let size = seconds.unsigned_abs() / 60;
    let (hours, rest) = (size / 60, size % 60);
    match (minutes, colon) {
        (false, _) => format!("{sign}{hours:02}"),
        (true, true) => format!("{sign}{hours:02}:{rest:02}"),
        (true, false) => format!("{sign}{hours:02}{rest:02}"),
    }
}

/// Writes a moment.
pub(super) fn format(time: &ZonedDateTime, layout: &str) -> String {
    let mut out = String::new();
    let twelve = || match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let month = MONTHS[(time.month() - 1) as usize % 12];
    let day = DAYS[time.weekday().to_sunday_zero_offset() as usize % 7];
    let offset = time.offset().seconds();
    for part in parts(layout) {
        match part {
            Part::Literal(text) => out.push_str(text),
            Part::Year => out.push_str(&format!("{:04}", time.year())),
            Part::ShortYear => out.push_str(&format!("{:02}", time.year().rem_euclid(100))),
            Part::Month => out.push_str(&time.month().to_string()),
            Part::ZeroMonth => out.push_str(&format!("{:02}", time.month())),
            Part::MonthName => out.push_str(month),
            Part::ShortMonthName => out.push_str(&month[..3]),
            Part::Day => out.push_str(&time.day().to_string()),
            Part::ZeroDay => out.push_str(&format!("{:02}", time.day())),
            Part::SpaceDay => out.push_str(&format!("{:>2}", time.day())),
            Part::YearDay => out.push_str(&format!("{:03}", time.day_of_year())),
            Part::DayName => out.push_str(day),
            Part::ShortDayName => out.push_str(&day[..3]),
            Part::Hour => out.push_str(&format!("{:02}", time.hour())),
            Part::TwelveHour => out.push_str(&twelve().to_string()),
            Part::ZeroTwelveHour => out.push_str(&format!("{:02}", twelve())),
            Part::Minute => out.push_str(&time.minute().to_string()),
            Part::ZeroMinute => out.push_str(&format!("{:02}", time.minute())),
            Part::Second => out.push_str(&time.second().to_string()),
            Part::ZeroSecond => out.push_str(&format!("{:02}", time.second())),
            Part::Half { upper } => out.push_str(match (time.hour() >= 12, upper) {
                (true, true) => "PM",
                (true, false) => "pm",
                (false, true) => "AM",
                (false, false) => "am",
            }),
            Part::Fraction { digits, trim } => {
                let mut text = format!("{:09}", time.subsec_nanosecond());
                text.extend(std::iter::repeat_n('0', digits.saturating_sub(9)));
                let text = &text[..digits];
                let text = if trim { text.trim_end_matches('0') } else { text };
                if !text.is_empty() {
                    out.push('.');
                    out.push_str(text);
                }
            }
            Part::ZoneName => match time.time_zone().to_offset_info(time.timestamp()).abbreviation() {
                name if offset == 0 && name.is_empty() => out.push_str("UTC"),
                name => out.push_str(name),
            },
            Part::ZoneOffset { zulu: true, .. } if offset == 0 => out.push('Z'),
            Part::ZoneOffset { colon, minutes, .. } => out.push_str(&offset_text(offset, colon, minutes)),
        }
    }
    out
}

/// Reads a moment; where the text names no zone, it is in `zone`.
pub(super) fn parse(text: &str, layout: &str, zone: &TimeZone) -> Option<ZonedDateTime> {
    let mut reader = Reader { rest: text };
    let mut year = 0_i16;
    let mut month = None;
    let mut day = None;
    let mut year_day = None;
    let (mut hour, mut minute, mut second, mut nanosecond) = (0_i8, 0_i8, 0_i8, 0_i32);
    let mut afternoon = None;
    let mut offset = None;
    let layout = parts(layout);
    for (index, part) in layout.iter().enumerate() {
        match *part {
            Part::Literal(literal) => reader.literal(literal)?,
            Part::Year => year = reader.digits(4, 4)?.try_into().ok()?,
            Part::ShortYear => {
                let short = reader.digits(2, 2)?;
                year = (if short >= 69 { 1_900 + short } else { 2_000 + short }).try_into().ok()?;
            }
            Part::Month => month = Some(reader.digits(1, 2)?),
            Part::ZeroMonth => month = Some(reader.digits(2, 2)?),
            Part::MonthName => month = Some(reader.name(&MONTHS, usize::MAX)? + 1),
            Part::ShortMonthName => month = Some(reader.name(&MONTHS, 3)? + 1),
            Part::Day | Part::SpaceDay => {
                if *part == Part::SpaceDay {
                    reader.rest = reader.rest.strip_prefix(' ').unwrap_or(reader.rest);
                }
                day = Some(reader.digits(1, 2)?);
            }
            Part::ZeroDay => day = Some(reader.digits(2, 2)?),
            Part::YearDay => year_day = Some(reader.digits(3, 3)?),
            Part::DayName => drop(reader.name(&DAYS, usize::MAX)?),
            Part::ShortDayName => drop(reader.name(&DAYS, 3)?),
            Part::Hour => hour = reader.digits(1, 2)?.try_into().ok()?,
            Part::TwelveHour | Part::ZeroTwelveHour => {
                hour = reader.digits(1, 2)?.try_into().ok().filter(|hour| *hour <= 12)?;
                afternoon.get_or_insert(false);
            }
            Part::Minute => minute = reader.digits(1, 2)?.try_into().ok()?,
            Part::ZeroMinute => minute = reader.digits(2, 2)?.try_into().ok()?,
            Part::Second | Part::ZeroSecond => {
                second = reader.digits(if *part == Part::Second { 1 } else { 2 }, 2)?.try_into().ok()?;
                // A fraction may follow the seconds although the layout has none.
                if !matches!(layout.get(index + 1), Some(Part::Fraction { .. })) && fraction_follows(reader.rest) {
                    nanosecond = reader.fraction(None)?;
                }
            }
            Part::Half { .. } => {
                let half = reader.rest.get(..2)?;
                afternoon = Some(match half {
                    "PM" | "pm" => true,
                    "AM" | "am" => false,
                    _ => return None,
                });
                reader.rest = &reader.rest[2..];
            }
            Part::Fraction { trim: true, .. } if !fraction_follows(reader.rest) => {}
            Part::Fraction { digits, trim } => nanosecond = reader.fraction((!trim).then_some(digits))?,
            Part::ZoneName => {
                let length = reader.rest.bytes().take_while(u8::is_ascii_uppercase).count();
                let name = &reader.rest[..length];
                if !(3..=5).contains(&length) {
                    return None;
                }
                reader.rest = &reader.rest[length..];
                // Only these two are the same everywhere; Go takes the others for UTC as well when it does not know them.
                if matches!(name, "UTC" | "GMT") {
                    offset = Some(0);
                }
            }
            Part::ZoneOffset { zulu: true, .. } if reader.rest.starts_with('Z') => {
                reader.rest = &reader.rest[1..];
                offset = Some(0);
            }
            Part::ZoneOffset { colon, minutes, .. } => offset = Some(reader.offset(colon, minutes)?),
        }
    }
    if !reader.rest.is_empty() {
        return None;
    }
    match afternoon {
        Some(true) if hour < 12 => hour += 12,
        Some(false) if hour == 12 => hour = 0,
        _ => {}
    }
    let date = match year_day {
        Some(number) => Date::new(year, 1, 1).ok()?.checked_add(jiff::Span::new().try_days(number - 1).ok()?).ok()?,
        None => Date::new(year, month.unwrap_or(1).try_into().ok()?, day.unwrap_or(1).try_into().ok()?).ok()?,
    };
    let moment = date.to_datetime(Time::new(hour, minute, second, nanosecond).ok()?);
    let zone = match offset {
        Some(0) => TimeZone::UTC,
        Some(seconds) => TimeZone::fixed(Offset::from_seconds(seconds).ok()?),
        None => zone.clone(),
    };
    moment.to_zoned_datetime(zone).ok()
}

fn fraction_follows(rest: &str) -> bool {
    let mut characters = rest.chars();
    matches!(characters.next(), Some('.' | ',')) && characters.next().is_some_and(|c| c.is_ascii_digit())
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn literal(&mut self, literal: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(literal)?;
        Some(())
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        let number = self.rest.get(..count).filter(|_| count >= least)?.parse().ok()?;
        self.rest = &self.rest[count..];
        Some(number)
    }

    fn name(&mut self, names: &[&str], length: usize) -> Option<i64> {
        let at = names.iter().position(|name| {
            let name = &name[..name.len().min(length)];
            self.rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        })?;
        self.rest = &self.rest[names[at].len().min(length)..];
        i64::try_from(at).ok()
    }

    fn fraction(&mut self, digits: Option<usize>) -> Option<i32> {
        let rest = self.rest.strip_prefix(['.', ','])?;
        let count = rest.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 || digits.is_some_and(|digits| digits != count) {
            return None;
        }
        let mut text = rest[..count.min(9)].to_owned();
        text.extend(std::iter::repeat_n('0', 9 - text.len()));
        self.rest = &rest[count..];
        text.parse().ok()
    }

    fn offset(&mut self, colon: bool, minutes: bool) -> Option<i32> {
        let sign = match self.rest.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.rest = &self.rest[1..];
        let hours = self.digits(2, 2)?;
        if colon {
            self.literal(":")?;
        }
        let rest = if minutes { self.digits(2, 2)? } else { 0 };
        i32::try_from(hours * 3_600 + rest * 60).ok().filter(|_| hours < 24 && rest < 60).map(|seconds| sign * seconds)
    }
}
