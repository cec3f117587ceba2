//! The functions of the language. Those with closures are the machine's; their names are listed here.

mod collection;
mod convert;
mod moment;
mod number;
mod string;

use super::environment::Definition;

/// The functions that take a closure.
const WITH_CLOSURE: [&str; 15] = [
    "all",
    "none",
    "any",
    "one",
    "filter",
    "map",
    "count",
    "sum",
    "find",
    "findIndex",
    "findLast",
    "findLastIndex",
    "groupBy",
    "sortBy",
    "reduce",
];

const GROUPS: [&[Definition]; 5] =
    [string::FUNCTIONS, collection::FUNCTIONS, number::FUNCTIONS, convert::FUNCTIONS, moment::FUNCTIONS];

/// The function of that name, if it is one without a closure.
pub(super) fn find(name: &str) -> Option<&'static Definition> {
    GROUPS.iter().flat_map(|group| group.iter()).find(|one| one.name == name)
}

pub(super) fn is_known(name: &str) -> bool {
    WITH_CLOSURE.contains(&name) || find(name).is_some()
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|group| group.iter()).map(|one| one.name).chain(WITH_CLOSURE)
}
