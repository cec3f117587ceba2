//! Takes an entry out of a map, or gives it another key. For edits that know their file's schema.

use std::borrow::Cow;

use super::splice::{Splice, apply, line_end};
use super::tree::{Node, Shape, Tree};
use super::verify::{Comments, Patch, Want, verify};
use super::{damaged, invalid};
use crate::Result;
use crate::edit::Value;
use crate::edit::path::Path;
use crate::edit::yaml::scalar::{Style, render};

/// Where an entry of a map stands.
struct Entry<'t> {
    children: &'t [usize],
    place: usize,
    map: usize,
}

fn find<'t>(tree: &'t Tree<'_>, key: &str) -> Result<Entry<'t>> {
    let node = tree.find(&Path::parse(key)?)?;
    let entry = tree.nodes[node].parent.and_then(|map| match &tree.nodes[map].shape {
        Shape::Map(children) => {
            children.iter().position(|child| *child == node).map(|place| Entry { children, place: place - 1, map })
        }
        _ => None,
    });
    entry.ok_or_else(|| invalid(format!("The key {key:?} is no entry of a map, so it cannot be taken out.")))
}

/// `text` without the entry at `key`, whose value is a scalar and which is not the only one of its map. A comment on its line
/// goes with it.
pub(in crate::edit) fn remove(text: &str, key: &str) -> Result<String> {
    let tree = Tree::parse(text)?;
    let Entry { children, place, map } = find(&tree, key)?;
    let (name, value) = (&tree.nodes[children[place]], &tree.nodes[children[place + 1]]);
    tree.scalar(children[place + 1], key)?;
    let end = value.end.max(name.end);
    let next = children.get(place + 2).map(|next| tree.nodes[*next].start);
    let range = match (next, place.checked_sub(1)) {
        // The next entry takes the place of the first one.
        (Some(next), None) => name.start..next,
        (_, Some(before)) if tree.is_flow(map) => flow_end(&tree.nodes[children[before]])..end,
        (_, Some(_)) => {
            let line = text[..name.start].rfind(['\n', '\r']).map_or(0, |at| at + 1);
            let after = line_end(text, end);
            let line_break = super::splice::break_at(text, after).map_or(0, str::len);
            line..after + line_break
        }
        (None, None) => return Err(damaged()),
    };
    let edited = apply(text, vec![Splice { range, text: String::new() }]);
    let patch = Patch { events: name.event..value.last_event + 1, wants: Vec::new() };
    verify(&tree, &edited, vec![patch], Comments::MayGo)?;
    Ok(edited)
}

fn flow_end(node: &Node) -> usize {
    match node.shape {
        Shape::Scalar | Shape::Alias => node.end,
        Shape::Map(_) | Shape::List(_) => node.close,
    }
}

/// `text` with the entry at `key` under the name `to` in the same map; its value stays.
pub(in crate::edit) fn rename(text: &str, key: &str, to: &str) -> Result<String> {
    let tree = Tree::parse(text)?;
    let Entry { children, place, .. } = find(&tree, key)?;
    let name = &tree.nodes[children[place]];
    let splice = Splice { range: name.start..name.end, text: render(to, Style::Plain, name.flow) };
    let edited = apply(text, vec![splice]);
    let wants = vec![Want::New(Cow::Owned(Value::from(to)))];
    verify(&tree, &edited, vec![Patch { events: name.event..name.event + 1, wants }], Comments::Stay)?;
    Ok(edited)
}
