//! Which lines of a text are never shown: those in which a Secret stands.
//!
//! What a finding is about says nothing about what else is in its line: a list in JSON is one line, and a text that cannot be read may be
//! anything. So it is the text that knows what of it is hidden, and not the finding.

use std::sync::LazyLock;

use regex::Regex;

use super::reader::{Data, Node, Span};

/// What makes it likely that there is a Secret in a text that cannot be read, or is a template: also a kind that the template fills in.
static MENTIONED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"\bSecret(?:List)?\b|\bstringData\b|\bkind["']?[ \t]*:[ \t"']*\{\{"#)
        .expect("the pattern is constant and is compiled by the tests")
});

/// Whether a text that cannot be read may hold a Secret.
pub(super) fn may_hold_secrets(text: &str) -> bool {
    MENTIONED.is_match(text)
}

/// The places of all Secrets in a document, wherever in it they stand.
pub(super) fn secrets_in(document: &Node) -> Vec<Span> {
    let mut found = Vec::new();
    look(document, &mut found);
    found
}

fn look(node: &Node, found: &mut Vec<Span>) {
    match &node.data {
        Data::Map(entries) => {
            let kind = node.get("kind").and_then(|entry| entry.node.text());
            if matches!(kind, Some("Secret" | "SecretList")) {
                return hide(node, found);
            }
            entries.iter().for_each(|entry| look(&entry.node, found));
        }
        Data::List(items) => items.iter().for_each(|item| look(item, found)),
        _ => {}
    }
}

/// From where it begins to the end of the last thing in it: the end of a map is where the next thing begins. What an alias stands for is
/// elsewhere, and hidden too.
fn hide(node: &Node, found: &mut Vec<Span>) {
    let mut inside = Span { start: node.span.start, end: node.span.start };
    ends(node, &mut |span| {
        if node.span.start <= span.start && span.end <= node.span.end {
            inside.end = inside.end.max(span.end);
        } else {
            found.push(span);
        }
    });
    found.push(inside);
}

fn ends(node: &Node, each: &mut dyn FnMut(Span)) {
    match &node.data {
        Data::Map(entries) if !entries.is_empty() => entries.iter().for_each(|entry| {
            each(entry.at);
            ends(&entry.node, each);
        }),
        Data::List(items) if !items.is_empty() => items.iter().for_each(|item| ends(item, each)),
        _ => each(node.span),
    }
}
