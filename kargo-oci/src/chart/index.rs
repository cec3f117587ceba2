//! Reading an `index.yaml`: the versions of one chart, without a tree of all the others.

use std::collections::BTreeSet;

use granit_parser::{Event, Parser};
use kargo_core::{Error, ErrorKind, Result};

/// The most versions that one chart may have.
const VERSIONS: usize = 200_000;
/// How deep an index may be nested. A chart's metadata may be, a little.
const DEPTH: usize = 64;
/// How many charts an error names, and how many characters of each.
const NAMED: usize = 10;
const NAME: usize = 60;

/// Where in the index the reader is, by the keys above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The whole document.
    Top,
    /// The map of charts.
    Entries,
    /// The wanted chart's list.
    Versions,
    /// An item of it.
    Version,
    /// Anything else.
    Other,
}

struct Open {
    level: Level,
    /// For a map: the key whose value comes next.
    key: Option<String>,
    is_map: bool,
}

/// The versions of `chart`, as they are written, in the index's order.
///
/// # Errors
/// [`ErrorKind::InvalidResponse`] when `text` is no index; [`ErrorKind::NotFound`] when it does not have the chart.
pub(super) fn versions(text: &str, chart: &str, place: &str) -> Result<Vec<String>> {
    let invalid =
        |why: &str| Error::new(ErrorKind::InvalidResponse, format!("The index of the chart repository {place} {why}."));
    let mut open: Vec<Open> = Vec::new();
    let (mut versions, mut others) = (Vec::new(), BTreeSet::new());
    let (mut has_entries, mut has_chart) = (false, false);
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| invalid("is not YAML").because(error))?;
        // A value, a key, or the beginning of one.
        let node = match event {
            Event::Scalar(value, ..) => Node::Scalar(value.into_owned()),
            Event::MappingStart(..) => Node::Map,
            Event::SequenceStart(..) => Node::List,
            Event::Alias(..) => Node::Alias,
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                continue;
            }
            _ => continue,
        };
        let mut key = None;
        if let Some(parent) = open.last_mut().filter(|parent| parent.is_map) {
            match parent.key.take() {
                // This node is a key, and its value is yet to come.
                None => {
                    let name = if let Node::Scalar(name) = &node { name.clone() } else { String::new() };
                    if parent.level == Level::Entries && name != chart && others.len() < NAMED {
                        others.insert(name.chars().take(NAME).collect::<String>());
                    }
                    parent.key = Some(name);
                    if matches!(node, Node::Scalar(_) | Node::Alias) {
                        continue;
                    }
                }
                Some(name) => key = Some(name),
            }
        }
        let parent = open.last().map(|parent| parent.level);
        let level = match (parent, key.as_deref(), &node) {
            (None, _, Node::Map) => Level::Top,
            (None, ..) => return Err(invalid("is not a map; is this the address of a chart repository?")),
            (Some(Level::Top), Some("entries"), Node::Map) => {
                has_entries = true;
                Level::Entries
            }
            // An empty one is written so.
            (Some(Level::Top), Some("entries"), Node::Scalar(value)) if matches!(value.as_str(), "" | "~" | "null") => {
                has_entries = true;
                Level::Other
            }
            (Some(Level::Entries), Some(name), Node::List) if name == chart => {
                has_chart = true;
                Level::Versions
            }
            (Some(Level::Entries), Some(name), Node::Alias) if name == chart => {
                return Err(invalid(&format!(
                    "has the versions of {chart} as an alias of YAML, which is not followed"
                )));
            }
            (Some(Level::Versions), _, Node::Map) => Level::Version,
            (Some(Level::Version), Some("version"), Node::Scalar(version)) => {
                if versions.len() >= VERSIONS {
                    return Err(invalid(&format!("has more than {VERSIONS} versions of {chart}")));
                }
                versions.push(version.clone());
                Level::Other
            }
            _ => Level::Other,
        };
        if matches!(node, Node::Map | Node::List) {
            if open.len() >= DEPTH {
                return Err(invalid(&format!("is nested more than {DEPTH} levels deep")));
            }
            open.push(Open { level, key: None, is_map: matches!(node, Node::Map) });
        }
    }
    if !has_entries {
        return Err(invalid("has no entries; is this the address of a chart repository?"));
    }
    if !has_chart {
        let others: Vec<String> = others.into_iter().map(|name| format!("{name:?}")).collect();
        let has = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
        return Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "The chart repository {place} has no chart {chart:?}; it has {has}{}.",
                if others.len() < NAMED { "" } else { " and perhaps more" }
            ),
        ));
    }
    Ok(versions)
}

enum Node {
    Scalar(String),
    Map,
    List,
    Alias,
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = r#"
apiVersion: v1
generated: "2026-01-01T00:00:00Z"
entries:
  other:
    - version: 9.9.9
      dependencies: [{name: shop, version: 8.8.8}]
  shop:
    - apiVersion: v2
      version: 1.2.0+b1
      annotations: {version: 7.7.7}
      maintainers: [{name: entries, version: 6.6.6}]
    - version: "1.10"
      urls: [shop-1.10.tgz]
    - &x
      version: 'v1.0.0'
    - *x
"#;

    #[test]
    fn only_the_versions_of_the_chart_are_read() {
        assert_eq!(versions(INDEX, "shop", "r").unwrap(), ["1.2.0+b1", "1.10", "v1.0.0"]);
        assert_eq!(versions(INDEX, "other", "r").unwrap(), ["9.9.9"]);
        let json = r#"{"entries": {"shop": [{"version": "1.0.0", "urls": ["x"]}], "none": []}}"#;
        assert_eq!(versions(json, "shop", "r").unwrap(), ["1.0.0"]);
        assert!(versions(json, "none", "r").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_index_is_called_so() {
        let deep: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let open = format!("entries:\n  shop: {}", "[".repeat(100_000));
        for (text, needle) in [
            ("<!DOCTYPE html><title>Log in</title>", "address of a chart repository"),
            ("", "no entries"),
            ("a: b", "no entries"),
            ("[1, 2]", "not a map"),
            ("entries: {shop: [", "not YAML"),
            (deep.as_str(), "nested"),
            (open.as_str(), "not YAML"),
        ] {
            let error = versions(text, "shop", "charts.example").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
            assert!(error.message().contains(needle) && error.message().contains("charts.example"), "{error}");
        }
        let missing = versions(INDEX, "shopp", "r").unwrap_err();
        assert!(missing.kind() == ErrorKind::NotFound && missing.message().contains("\"shop\""), "{missing}");
        assert_eq!(versions("entries: null", "shop", "r").unwrap_err().kind(), ErrorKind::NotFound);
        let alias = versions("entries:\n  other: &x [{version: 1.0.0}]\n  shop: *x\n", "shop", "r").unwrap_err();
        assert!(alias.kind() == ErrorKind::InvalidResponse && alias.message().contains("alias"), "{alias}");
        let long = versions(&format!("entries:\n  {}: []\n", "x".repeat(900)), "shop", "r").unwrap_err();
        assert!(long.message().contains("xxx") && long.message().len() < 300, "{long}");
    }
}
