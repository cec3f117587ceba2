//! TOML as four shapes, however they are written.

use serde_json::{Map, Value as Json};
use toml_edit::{Array, ArrayOfTables, Document, InlineTable, Item, Table, TableLike, Value as Toml};

use super::{OPERATION, invalid};
use crate::edit::damaged;
use crate::edit::path::{Part, Path};
use crate::{Result, near_match};

/// How many keys an error lists.
const KEYS_SHOWN: usize = 20;

/// Something that a key can name.
#[derive(Clone, Copy)]
pub(super) enum Node<'d> {
    Scalar(&'d Toml),
    Table(&'d Table),
    Inline(&'d InlineTable),
    Array(&'d Array),
    Tables(&'d ArrayOfTables),
}

impl<'d> Node<'d> {
    fn of(item: &'d Item) -> Option<Self> {
        match item {
            Item::None => None,
            Item::Value(value) => Some(Self::of_value(value)),
            Item::Table(table) => Some(Self::Table(table)),
            Item::ArrayOfTables(tables) => Some(Self::Tables(tables)),
        }
    }

    fn of_value(value: &'d Toml) -> Self {
        match value {
            Toml::Array(array) => Self::Array(array),
            Toml::InlineTable(table) => Self::Inline(table),
            scalar => Self::Scalar(scalar),
        }
    }

    fn as_table(self) -> Option<&'d dyn TableLike> {
        match self {
            Self::Table(table) => Some(table),
            Self::Inline(table) => Some(table),
            _ => None,
        }
    }

    fn json(self) -> Json {
        match self {
            Self::Scalar(value) => scalar(value),
            Self::Table(inner) => table(inner),
            Self::Inline(inner) => table(inner),
            Self::Array(array) => array.iter().map(|value| Node::of_value(value).json()).collect(),
            Self::Tables(tables) => tables.iter().map(|inner| table(inner)).collect(),
        }
    }
}

pub(super) fn table(table: &dyn TableLike) -> Json {
    let entries = table.iter().filter_map(|(key, item)| Some((key.to_owned(), Node::of(item)?.json())));
    Json::Object(entries.collect::<Map<_, _>>())
}

pub(super) fn scalar(value: &Toml) -> Json {
    match value {
        Toml::String(text) => Json::from(text.value().as_str()),
        Toml::Integer(number) => Json::from(*number.value()),
        Toml::Float(number) => serde_json::Number::from_f64(*number.value())
            .map_or_else(|| Json::from(number.value().to_string()), Json::Number),
        Toml::Boolean(value) => Json::from(*value.value()),
        Toml::Datetime(moment) => Json::from(moment.value().to_string()),
        // These are no scalars; `Node` has told them apart.
        Toml::Array(_) | Toml::InlineTable(_) => Json::Null,
    }
}

/// As far as a path goes, and where what is missing behind it would be written.
pub(super) struct Place<'d> {
    pub(super) node: Node<'d>,
    /// How many parts of the path lead there.
    pub(super) depth: usize,
    /// The keys that lead there, without indices, as in a header.
    pub(super) header: Vec<String>,
    /// The table or inline table among whose lines or in whose braces the entries of `node` stand.
    pub(super) home: Node<'d>,
    /// The keys from there, when `node` is made of keys with dots.
    pub(super) below: Vec<String>,
}

impl<'d> Place<'d> {
    fn enter(&mut self, node: Node<'d>, key: Option<&str>) {
        let dotted = match node {
            Node::Table(table) => table.is_dotted(),
            Node::Inline(table) => table.is_dotted(),
            Node::Scalar(_) | Node::Array(_) | Node::Tables(_) => true,
        };
        if !dotted {
            self.home = node;
            self.below.clear();
        }
        if let Some(key) = key {
            self.header.push(key.to_owned());
            self.below.extend(dotted.then(|| key.to_owned()));
        }
        self.node = node;
        self.depth += 1;
    }
}

/// Where a path leads.
pub(super) enum Lookup<'d> {
    /// To a single value.
    Found(&'d Toml),
    /// To nothing, and why.
    Missing { place: Place<'d>, why: String },
}

/// Where `path` leads.
pub(super) fn look_up<'d>(document: &'d Document<&str>, path: &Path<'_>) -> Result<Lookup<'d>> {
    let root = Node::Table(document.as_table());
    let mut place = Place { node: root, depth: 0, header: Vec::new(), home: root, below: Vec::new() };
    for part in &path.parts {
        let shown = if place.depth == 0 { "the document".to_owned() } else { format!("{:?}", path.up_to(place.depth)) };
        let item = |index: usize, count: usize| {
            format!("{shown} has {count} items, counted from 0, so there is no item {index}.")
        };
        let next = match (place.node, part) {
            (Node::Table(_) | Node::Inline(_), Part::Index(_)) => {
                Err(format!("{shown} is a table, so it has no item {}.", part.text()))
            }
            (Node::Table(_) | Node::Inline(_), Part::Key(_) | Part::Either(..)) => {
                let table = place.node.as_table().ok_or_else(|| damaged(OPERATION))?;
                let name = part.text();
                match table.get(&name) {
                    Some(found) => Ok((Node::of(found).ok_or_else(|| damaged(OPERATION))?, Some(name))),
                    None => {
                        let keys: Vec<&str> = table.iter().map(|(key, _)| key).collect();
                        let near = near_match(&name, keys.iter().copied())
                            .map_or_else(|| ".".to_owned(), |near| format!("; did you mean {near:?}?"));
                        let more = match keys.len().saturating_sub(KEYS_SHOWN) {
                            0 => String::new(),
                            more => format!(" and {more} more"),
                        };
                        let keys = keys[..keys.len().min(KEYS_SHOWN)].join(", ");
                        Err(format!("there is no {name:?} in {shown}{near} The keys there are: {keys}{more}."))
                    }
                }
            }
            (Node::Tables(tables), Part::Either(_, index) | Part::Index(index)) => match tables.get(*index) {
                Some(table) => Ok((Node::Table(table), None)),
                None => Err(item(*index, tables.len())),
            },
            (Node::Array(array), Part::Either(_, index) | Part::Index(index)) => match array.get(*index) {
                Some(value) => Ok((Node::of_value(value), None)),
                None => Err(item(*index, array.len())),
            },
            (Node::Scalar(_), _) => Err(format!("{shown} is a single value.")),
            (Node::Array(_) | Node::Tables(_), Part::Key(_)) => Err(format!(
                "{shown} is an array; name an item by its index, such as \"{}.0\".",
                path.up_to(place.depth)
            )),
        };
        match next {
            Ok((node, key)) => place.enter(node, key.as_deref()),
            Err(why) => return Ok(Lookup::Missing { place, why }),
        }
    }
    match place.node {
        Node::Scalar(value) => Ok(Lookup::Found(value)),
        Node::Table(_) | Node::Inline(_) => {
            Err(invalid(format!("The key {:?} is a table; name one of its keys.", path.key)))
        }
        Node::Array(_) | Node::Tables(_) => {
            Err(invalid(format!("The key {:?} is an array; name one of its items.", path.key)))
        }
    }
}
