//! Edits of real files: whatever YAML lies below a directory, scalars are set and keys are made, and all is read back.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use serde_json::Value as Json;

use super::*;
use crate::edit::assign::assign;

/// Names the directories to be searched, joined by colons.
const DIRECTORIES: &str = "KARGO_TEST_YAML_CORPUS";

const FILES: usize = 20_000;
const DOCUMENTS: usize = 5;
const KEYS: usize = 20;

/// With fewer edits than this nothing has been shown.
const MIN_EDITS: usize = 1_000;

/// Each key is set to each of these: what looks like a number, what is none of a string, what needs quotes, what needs lines.
fn values() -> [Value; 4] {
    ["1.10".into(), true.into(), "it's \"v2\": [a, b] # c".into(), "one\n  two\n".into()]
}

fn collect(directory: &FilePath, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        if files.len() == FILES {
            return;
        } else if kind.is_dir() {
            collect(&path, files);
        } else if kind.is_file() && path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            files.push(path);
        }
    }
}

/// A scalar that a key names.
struct Leaf {
    key: String,
    pointer: String,
    /// The key of the map around it; empty for the document itself.
    map: String,
}

/// All scalars in `value`, which is at `key`.
fn leaves(value: &Json, key: &str, pointer: &str, map: &str, found: &mut Vec<Leaf>) {
    let below = |part: String, name: &str| {
        let key = if key.is_empty() { part } else { format!("{key}.{part}") };
        (key, format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")))
    };
    match value {
        Json::Object(entries) => {
            for (name, child) in entries {
                let part = name.replace('\\', "\\\\").replace('.', "\\.").replace('[', "\\[");
                let (below, pointer) = below(format!(":{part}"), name);
                leaves(child, &below, &pointer, key, found);
            }
        }
        Json::Array(items) => {
            for (index, child) in items.iter().enumerate() {
                let (below, pointer) = below(index.to_string(), &index.to_string());
                leaves(child, &below, &pointer, map, found);
            }
        }
        _ if !key.is_empty() => {
            found.push(Leaf { key: key.to_owned(), pointer: pointer.to_owned(), map: map.to_owned() });
        }
        _ => {}
    }
}

#[derive(Debug, Default)]
struct Tally {
    files: usize,
    unreadable: usize,
    /// Files in which an edit of one place shows in others, so that only what the edit itself looks at is looked at.
    with_aliases: usize,
    edits: usize,
    insertions: usize,
    refusals: BTreeMap<&'static str, usize>,
    doubtful: Vec<String>,
}

/// An edit that is right to ask for, and that was refused because its result was not what was asked for.
const WANT_OF_SKILL: &str = "would not read back";

impl Tally {
    /// Counts a refusal.
    fn refuse(&mut self, place: &str, error: &Error) {
        const REASONS: [(&str, &str); 10] = [
            ("alias", "an alias"),
            ("several documents", "a key of several documents"),
            ("has the tag", "a tag"),
            ("has a tag", "a tag"),
            ("more than once", "a key twice"),
            ("<<", "a merged key"),
            ("has an empty part", "an empty key"),
            ("does not exist", "a key that is no string"),
            ("no value and no colon", "a key without a colon"),
            ("would not read back", WANT_OF_SKILL),
        ];
        let reason = REASONS
            .iter()
            .find(|(part, _)| error.message().contains(part))
            .map_or("unexplained", |(_, reason)| *reason);
        *self.refusals.entry(reason).or_default() += 1;
        if matches!(reason, WANT_OF_SKILL | "unexplained") {
            self.doubtful.push(format!("{place}: {}", error.report()));
        }
    }

    fn check(&mut self, path: &FilePath, text: &str) {
        self.files += 1;
        let Ok(documents) = parse(text) else {
            self.unreadable += 1;
            return;
        };
        let tree = Tree::parse(text).expect("it was read before");
        let has_aliases = tree.nodes.iter().any(|node| matches!(node.shape, tree::Shape::Alias));
        self.with_aliases += usize::from(has_aliases);
        let reads = |edited: &str, wanted: &[Json]| has_aliases || parse(edited).is_ok_and(|read| read == wanted);
        let several = documents.len() > 1;
        let named = |index: usize, key: &str| if several { format!("${index}.{key}") } else { key.to_owned() };
        for (index, document) in documents.iter().enumerate().take(DOCUMENTS) {
            let mut found = Vec::new();
            leaves(document, "", "", "", &mut found);
            let every = found.len().div_ceil(KEYS).max(1);
            for (leaf, value) in found.iter().step_by(every).flat_map(|leaf| values().map(|value| (leaf, value))) {
                let key = named(index, &leaf.key);
                let place = format!("{} {key} = {value}", path.display());
                match update(text, &[(&key, value.clone())]) {
                    Ok(edited) => {
                        let mut wanted = documents.clone();
                        *wanted[index].pointer_mut(&leaf.pointer).expect("it is a leaf") = value.into();
                        assert!(reads(&edited, &wanted), "{place}\n{edited}");
                        self.edits += 1;
                    }
                    Err(error) => self.refuse(&place, &error),
                }
            }
            if !document.is_object() {
                continue;
            }
            // In the first map, in the last one and at the top; a value, and a map with a list of maps.
            let maps = [found.first(), found.last()].into_iter().flatten().map(|leaf| leaf.map.as_str());
            for map in maps.chain([""]) {
                let below = |new: &str| if map.is_empty() { new.to_owned() } else { format!("{map}.{new}") };
                let news = values().map(|value| (below("kargo-new"), value));
                for (new, value) in news.into_iter().chain([(below("kargo-new.deep.-1.x"), Value::from(7))]) {
                    let key = named(index, &new);
                    let place = format!("{} {key} = {value}", path.display());
                    match upsert(text, &[(&key, value.clone())]) {
                        Ok(edited) => {
                            let mut wanted = documents.clone();
                            assign(&mut wanted[index], &Path::parse(&key).expect("it was taken").parts, &value);
                            assert!(reads(&edited, &wanted), "{place}\n{edited}");
                            self.insertions += 1;
                        }
                        Err(error) => self.refuse(&place, &error),
                    }
                }
            }
        }
    }
}

/// `KARGO_TEST_YAML_CORPUS=/usr/share:$HOME/.cargo/registry cargo test -p kargo-core --lib -- --ignored corpus --nocapture`
#[test]
#[allow(clippy::print_stderr, reason = "the figures are what one runs it for")]
#[ignore = "needs a directory of YAML files, named by KARGO_TEST_YAML_CORPUS"]
fn every_edit_of_a_corpus_of_real_files_reads_back_as_wanted() {
    let directories = std::env::var(DIRECTORIES).expect("KARGO_TEST_YAML_CORPUS names directories with YAML files");
    let mut files = Vec::new();
    for directory in std::env::split_paths(&directories) {
        collect(&directory, &mut files);
    }
    let mut tally = Tally::default();
    for path in &files {
        if let Ok(text) = std::fs::read_to_string(path)
            && text.len() < 200_000
        {
            tally.check(path, &text);
        }
    }
    eprintln!("{tally:#?}");
    assert!(tally.edits >= MIN_EDITS, "there is too little YAML below {directories}");
    assert!(!tally.refusals.contains_key("unexplained"), "edits were refused for a reason that is not known here");
    assert!(
        tally.doubtful.len() * 1000 <= tally.edits + tally.insertions,
        "too many edits were refused for want of skill"
    );
}
