//! Subscriptions before Kargo 1.11 filtered tags with `allowTags` and `ignoreTags`.

use crate::manifest::fields::{Fields, Notes};
use crate::manifest::finding::Rule;
use crate::manifest::kind::check_regex;
use crate::manifest::reader::Data;

/// The regular expressions for tags that count, and for those that do not.
pub(in crate::manifest) fn tag_filters(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> (Vec<String>, Vec<String>) {
    let mut allowed = Vec::new();
    if let Some(at) = fields.old(notes, "allowTags", "write its expression into the list allowTagsRegexes.") {
        let items = if matches!(at.node.data, Data::List(_)) { at.items(notes) } else { vec![at] };
        for item in items {
            let Some(text) = item.text(notes).filter(|text| !text.is_empty()) else { continue };
            check_regex(&item, &text, &text, notes);
            allowed.push(text);
        }
    }
    let mut ignored = Vec::new();
    if let Some(at) = fields.old(notes, "ignoreTags", "write ignoreTagsRegexes; a whole tag is ^v1\\.0$.") {
        let items = if matches!(at.node.data, Data::List(_)) { at.items(notes) } else { vec![at] };
        // These were tags, not expressions.
        let tags = items.iter().filter_map(|item| item.text(notes)).filter(|text| !text.is_empty());
        ignored.extend(tags.map(|tag| format!("^{}$", regex::escape(&tag))));
    }
    (allowed, ignored)
}

/// The strategy of an image under its older names.
pub(in crate::manifest) fn image_strategy(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Option<&'static str> {
    let mut strategy = None;
    for name in ["tagSelectionStrategy", "updateStrategy"] {
        let Some(at) = fields.old(notes, name, "write imageSelectionStrategy.") else { continue };
        let Some(text) = at.text(notes) else { continue };
        strategy = match text.as_str() {
            "SemVer" => Some("SemVer"),
            "Lexical" | "Name" => Some("Lexical"),
            "NewestBuild" | "Latest" => Some("NewestBuild"),
            "Digest" => Some("Digest"),
            _ => {
                let message = format!("There is no strategy {text:?}; write SemVer, Lexical, NewestBuild or Digest.");
                at.error(notes, Rule::BadValue, message);
                None
            }
        };
    }
    strategy
}
