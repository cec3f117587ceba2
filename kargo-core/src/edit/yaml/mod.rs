//! YAML: set single values by their key.
//!
//! [`update`] replaces scalar values and changes no byte outside of them. The new value is always a YAML string: a
//! tag such as `1.10` or `3108617` is quoted where it would otherwise be read as a number.
//!
//! # Keys
//!
//! A key is the path to the value, its parts joined by dots: `image.tag`, `spec.containers.0.image`.
//!
//! - A part that is a whole number names an item of a list, counted from 0. `containers[0].image` says the same as
//!   `containers.0.image`. An index must exist: `-1`, which appends in some tools, is refused.
//! - A backslash takes the next character as it is: `annotations.example\.com/tag` has two parts.
//! - A colon before a part says that it is a key of a map, and is dropped: `:2` is the key `2`, never an index.
//! - A file may hold several documents. The key must be in one of them only; `$1.image.tag` names the second
//!   document, counted from 0. (A first key that itself looks like `$1` is written `:$1`.)
//!
//! The key must exist and must hold a single value. Nothing is created and nothing is removed.
//!
//! # What is kept
//!
//! - Single quotes stay single, double quotes stay double, and a plain value stays plain when it then still reads
//!   as a string under YAML 1.1 and 1.2 alike. Otherwise the new value stands in double quotes.
//! - A block (`|` or `>`) keeps its style when the new value has several lines and the block can hold them; other
//!   values replace it on the line of the key.
//! - An anchor stays on its value, so whatever refers to it follows. A value that is itself an alias is refused,
//!   because writing to it would change the anchor's value or cut the tie.
//! - A value that already is the wanted string is left alone, whatever its quotes.
//! - The tag `!!str` stays. A value under any other tag is refused.
//!
//! ```
//! use kargo_core::edit::yaml;
//!
//! let before = "image:\n  name: shop/app   # the shop\n  tag: v1.4.0 # set by promotions\n";
//! let after = yaml::update(before, &[("image.tag".into(), "v1.5.0".into())])?;
//! assert_eq!(after, "image:\n  name: shop/app   # the shop\n  tag: v1.5.0 # set by promotions\n");
//! # Ok::<(), kargo_core::Error>(())
//! ```

mod path;
pub(crate) mod scalar;
mod splice;
mod tree;

#[cfg(test)]
mod tests;

use crate::{Error, ErrorKind, Result};
use path::Path;
use splice::Splice;
use tree::{Event, Tree};

/// The longest text that [`update`] takes, in bytes: 10 MiB.
pub const MAX_BYTES: usize = 10 * 1024 * 1024;

/// Sets each key of `updates` to its value and returns the new text. All keys are looked up in `text` as it comes in.
///
/// See the [module](self) for the form of a key and for what is kept. When every value is there already, the text
/// comes back as it was.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`], and nothing was changed, when
/// - a key does not exist: the error names the first part that is missing, a near match and the keys that are there;
/// - a key does not hold a single value, is or passes through an alias, or has a tag other than `!!str`;
/// - a key is in several documents of the text, or twice in one map;
/// - two updates name the same value, or a new value is empty;
/// - the text is not YAML, is longer than [`MAX_BYTES`], or holds more than about a million values.
///
/// [`ErrorKind::Unsupported`] when the edited text would not read back as exactly the wanted change.
pub fn update(text: &str, updates: &[(String, String)]) -> Result<String> {
    if updates.is_empty() {
        return Ok(text.to_owned());
    }
    let tree = Tree::parse(text)?;
    let mut changes: Vec<(usize, &str)> = Vec::new();
    let mut keys: Vec<(usize, &str)> = Vec::new();
    let mut splices: Vec<Splice> = Vec::new();
    for (key, value) in updates {
        if value.is_empty() {
            return Err(invalid(format!(
                "The new value for the key {key:?} is empty; an update never blanks a value, so leave the update out \
                 or give it a value."
            )));
        }
        let node = tree.find(&Path::parse(key)?)?;
        if let Some((_, earlier)) = keys.iter().find(|(taken, _)| *taken == node) {
            return Err(invalid(format!("The updates {earlier:?} and {key:?} set the same value; keep one of them.")));
        }
        keys.push((node, key));
        let scalar = tree.scalar(node, key)?;
        if scalar.is_string(value) {
            continue;
        }
        splices.extend(splice::replace(text, &scalar, key, value)?);
        changes.push((scalar.event, value));
    }
    if changes.is_empty() {
        return Ok(text.to_owned());
    }
    let edited = splice::apply(text, splices);
    verify(&tree, &edited, &changes)?;
    Ok(edited)
}

/// Reads the edited text again: it must say what the original says, save for the changed scalars.
fn verify(original: &Tree<'_>, edited: &str, changes: &[(usize, &str)]) -> Result<()> {
    let damaged = || {
        Error::new(
            ErrorKind::Unsupported,
            "The edited YAML would not read back as the original with only the wanted values changed, so nothing was \
             changed; write the values to be updated in a simpler form, such as on one line in quotes.",
        )
        .operation("update YAML")
    };
    let edited = Tree::parse(edited).map_err(|error| damaged().because(error))?;
    if edited.events.len() != original.events.len() || edited.comments != original.comments {
        return Err(damaged());
    }
    let mut wanted: Vec<Option<&str>> = vec![None; original.events.len()];
    for (event, value) in changes {
        wanted[*event] = Some(*value);
    }
    let same = original.events.iter().zip(&edited.events).zip(wanted).all(|((old, new), wanted)| match wanted {
        None => old == new,
        Some(value) => match (old, new) {
            (Event::Scalar(_, _, anchor, tag), Event::Scalar(text, style, new_anchor, new_tag)) => {
                anchor == new_anchor
                    && tag == new_tag
                    && text == value
                    && (tag.is_some() || scalar::reads_as_string(text, *style))
            }
            _ => false,
        },
    });
    if same { Ok(()) } else { Err(damaged()) }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message).operation("update YAML")
}
