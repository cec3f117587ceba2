//! What expressions compute with.

mod convert;
mod record;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::ZonedDateTime;
use jiff::tz::TimeZone;

pub use record::Record;

use crate::expr::environment::Function;
use crate::expr::error::Fault;
use crate::expr::operator::equal;
use crate::version::Version;

/// How deeply lists and maps may be nested, so that no walk over a value can run out of stack.
pub const MAX_DEPTH: usize = 128;

/// How many elements a value may have in all, where 64 bytes of text count as one.
pub const MAX_WEIGHT: u32 = 2 << 20;

/// A value of the language.
///
/// Whole numbers and fractions are two kinds, as in Go: `6 / 2` is a fraction, `7 % 2` takes whole numbers only.
/// `==` between values is the language's: `1 == 1.0`.
#[derive(Clone)]
#[non_exhaustive]
pub enum Value {
    /// `nil`: nothing.
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number. Arithmetic wraps around as Go's does.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    String(Arc<str>),
    /// An array.
    List(List),
    /// A map.
    Map(Map),
    /// A value with a fixed set of fields, such as an image.
    Record(Arc<Record>),
    /// A moment.
    Time(Arc<ZonedDateTime>),
    /// A span of time, in nanoseconds.
    Duration(i64),
    /// A time zone.
    Zone(TimeZone),
    /// A parsed version.
    Version(Arc<Version>),
    /// A function that is a member of a map.
    Function(Arc<Function>),
}

/// An array whose depth is known.
#[derive(Clone)]
pub struct List {
    items: Arc<Vec<Value>>,
    extent: Extent,
}

/// A map whose depth is known. Its keys are strings; only maps that an expression makes can have other keys too.
#[derive(Clone)]
pub struct Map {
    entries: Arc<Entries>,
    extent: Extent,
}

#[derive(Clone, Default)]
struct Entries {
    named: BTreeMap<Arc<str>, Value>,
    others: BTreeMap<Scalar, Value>,
}

/// A key that is no string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::expr) enum Scalar {
    Nil,
    Bool(bool),
    Int(i64),
    /// The bits of a float.
    Float(u64),
}

/// How large a value is when everything is walked through. Values are shared, so that a short expression can make one
/// that is far larger than the memory it takes; what is too large is refused when it is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Extent {
    depth: u16,
    /// How many values there are, with one more for each 64 bytes of text.
    weight: u32,
}

impl Extent {
    fn around<'a>(values: impl Iterator<Item = &'a Value>) -> Result<Self, Fault> {
        let start = Self { depth: 1, weight: 1 };
        values.map(Value::extent).fold(start, Self::joined).checked()
    }

    /// With `inner` among the elements.
    fn joined(self, inner: Self) -> Self {
        let weight = self.weight.saturating_add(inner.weight);
        Self { depth: self.depth.max(inner.depth.saturating_add(1)), weight }
    }

    fn checked(self) -> Result<Self, Fault> {
        if usize::from(self.depth) > MAX_DEPTH {
            return Err(Fault::limit(format!("The value is nested more than {MAX_DEPTH} levels deep.")));
        }
        if self.weight > MAX_WEIGHT {
            return Err(Fault::limit(format!("The value has more than {MAX_WEIGHT} elements.")));
        }
        Ok(self)
    }
}

impl List {
    /// A list of these values.
    ///
    /// # Errors
    /// When it would be nested more than [`MAX_DEPTH`] levels deep, or have more than [`MAX_WEIGHT`] elements.
    pub fn new(items: Vec<Value>) -> Result<Self, Fault> {
        let extent = Extent::around(items.iter())?;
        Ok(Self { items: Arc::new(items), extent })
    }

    /// The values.
    pub fn as_slice(&self) -> &[Value] {
        &self.items
    }
}

impl Map {
    /// A map of these entries.
    ///
    /// # Errors
    /// When it would be nested more than [`MAX_DEPTH`] levels deep, or have more than [`MAX_WEIGHT`] elements.
    pub fn new(named: BTreeMap<Arc<str>, Value>) -> Result<Self, Fault> {
        Self::with_others(named, BTreeMap::new())
    }

    pub(in crate::expr) fn with_others(
        named: BTreeMap<Arc<str>, Value>,
        others: BTreeMap<Scalar, Value>,
    ) -> Result<Self, Fault> {
        let extent = Extent::around(named.values().chain(others.values()))?;
        Ok(Self { entries: Arc::new(Entries { named, others }), extent })
    }

    /// An empty map.
    pub fn empty() -> Self {
        Self { entries: Arc::default(), extent: Extent { depth: 1, weight: 1 } }
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.named.get(key)
    }

    /// Sets the value under `key`.
    ///
    /// # Errors
    /// When the map would be nested more than [`MAX_DEPTH`] levels deep, or have more than [`MAX_WEIGHT`] elements.
    pub fn set(&mut self, key: impl Into<Arc<str>>, value: Value) -> Result<(), Fault> {
        let key = key.into();
        let extent = if self.get(&key).is_some() {
            let others = self.iter().filter(|(known, _)| **known != key).map(|(_, value)| value);
            Extent::around(others.chain(self.others().values()).chain([&value]))?
        } else {
            self.extent.joined(value.extent()).checked()?
        };
        self.extent = extent;
        Arc::make_mut(&mut self.entries).named.insert(key, value);
        Ok(())
    }

    /// The keys that are strings, and their values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Value)> {
        self.entries.named.iter()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.named.len() + self.entries.others.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(in crate::expr) fn others(&self) -> &BTreeMap<Scalar, Value> {
        &self.entries.others
    }

    /// Every key as a value, with its value; strings first, each kind in order.
    pub(in crate::expr) fn pairs(&self) -> impl Iterator<Item = (Value, &Value)> {
        let others = self.entries.others.iter().map(|(key, value)| (key.value(), value));
        self.entries.named.iter().map(|(key, value)| (Value::String(key.clone()), value)).chain(others)
    }
}

impl Scalar {
    fn value(self) -> Value {
        match self {
            Self::Nil => Value::Nil,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Float(bits) => Value::Float(f64::from_bits(bits)),
        }
    }

    pub(in crate::expr) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Nil => Self::Nil,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Float(value) => Self::Float(value.to_bits()),
            _ => return None,
        })
    }
}

impl Value {
    /// A list.
    ///
    /// # Errors
    /// As [`List::new`].
    pub fn list(items: Vec<Value>) -> Result<Self, Fault> {
        List::new(items).map(Self::List)
    }

    /// What `type()` says of it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::String(_) => "string",
            Self::List(_) => "array",
            Self::Map(_) => "map",
            Self::Record(record) => record.kind,
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Zone(_) => "time.Location",
            Self::Version(_) => "semver.Version",
            Self::Function(_) => "func",
        }
    }

    /// The kind as a sentence calls it: "a string".
    pub(in crate::expr) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an int",
            Self::Float(_) => "a float",
            Self::String(_) => "a string",
            Self::List(_) => "an array",
            Self::Map(_) => "a map",
            Self::Record(record) => record.kind,
            Self::Time(_) => "a time",
            Self::Duration(_) => "a duration",
            Self::Zone(_) => "a time zone",
            Self::Version(_) => "a version",
            Self::Function(_) => "a function",
        }
    }

    /// Whether it is `nil`.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    fn extent(&self) -> Extent {
        match self {
            Self::String(text) => Extent { depth: 0, weight: 1 + (text.len() / 64) as u32 },
            Self::List(list) => list.extent,
            Self::Map(map) => map.extent,
            Self::Record(record) => {
                let start = Extent { depth: 1, weight: 1 };
                record.fields.iter().map(|field| field.value.extent()).fold(start, Extent::joined)
            }
            _ => Extent { depth: 0, weight: 1 },
        }
    }

    /// How many steps a walk through all of it takes.
    pub(in crate::expr) fn weight(&self) -> usize {
        self.extent().weight as usize
    }

    pub(in crate::expr) fn is_blank(&self) -> bool {
        match self {
            Self::Nil => true,
            Self::String(text) => text.is_empty(),
            Self::Map(map) => map.is_empty(),
            _ => false,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        equal(self, other)
    }
}

impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.entries.named == other.entries.named && self.entries.others == other.entries.others
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::String(text) => write!(f, "{text:?}"),
            Self::List(list) => list.fmt(f),
            Self::Map(map) => map.fmt(f),
            Self::Record(record) => record.fmt(f),
            Self::Time(time) => write!(f, "{time}"),
            Self::Duration(nanoseconds) => f.write_str(&crate::expr::time::duration_text(*nanoseconds)),
            Self::Zone(zone) => write!(f, "{:?}", zone.iana_name()),
            Self::Version(version) => write!(f, "{}", version.as_str()),
            Self::Function(function) => write!(f, "{}()", function.name()),
        }
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.pairs()).finish()
    }
}
