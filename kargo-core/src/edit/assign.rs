//! What a tree is once a key is set: that with which an edited text is compared.

use serde_json::{Map, Value as Json};

use super::Value;
use super::path::Part;

/// Whether `part` begins a list where there is none yet.
pub(super) fn is_first(part: &Part) -> bool {
    match part {
        Part::Either(_, index) | Part::Index(index) => *index == 0,
        Part::Key(part) => part == "-1",
    }
}

/// `tree` with the value at `parts`, which is made when it is not there, as the edited text must read.
pub(super) fn assign(tree: &mut Json, parts: &[Part], value: &Value) {
    let Some(part) = parts.first() else {
        *tree = value.clone().into();
        return;
    };
    if tree.is_null() {
        *tree = if is_first(part) { Json::Array(Vec::new()) } else { Json::Object(Map::new()) };
    }
    match (tree, part) {
        (Json::Array(items), part) => {
            let index = match part {
                Part::Either(_, index) | Part::Index(index) => *index,
                Part::Key(_) => items.len(),
            };
            if index == items.len() {
                items.push(Json::Null);
            }
            if let Some(item) = items.get_mut(index) {
                assign(item, &parts[1..], value);
            }
        }
        (Json::Object(map), part) => assign(map.entry(part.text()).or_insert(Json::Null), &parts[1..], value),
        _ => {}
    }
}
