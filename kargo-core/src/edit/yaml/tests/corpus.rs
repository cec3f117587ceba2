//! Edits of real files: whatever YAML lies below a directory, each scalar that can be named is set and read back.

use std::path::{Path, PathBuf};

use super::*;

/// Names the directories to be searched, joined by colons.
const DIRECTORIES: &str = "KARGO_TEST_YAML_CORPUS";

const FILES: usize = 20_000;
const EDITS_PER_FILE: usize = 40;

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
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

/// The keys of all scalars in `value`, with their JSON pointers.
fn leaves(value: &serde_json::Value, key: &str, pointer: &str, found: &mut Vec<(String, String)>) {
    let below = |part: String, name: &str| {
        let key = if key.is_empty() { part } else { format!("{key}.{part}") };
        (key, format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")))
    };
    match value {
        serde_json::Value::Object(map) => {
            for (name, child) in map {
                let part = name.replace('\\', "\\\\").replace('.', "\\.").replace('[', "\\[");
                let (key, pointer) = below(format!(":{part}"), name);
                leaves(child, &key, &pointer, found);
            }
        }
        serde_json::Value::Array(items) => {
            for (index, child) in items.iter().enumerate() {
                let (key, pointer) = below(index.to_string(), &index.to_string());
                leaves(child, &key, &pointer, found);
            }
        }
        _ if !key.is_empty() => found.push((key.to_owned(), pointer.to_owned())),
        _ => {}
    }
}

#[derive(Debug, Default)]
struct Tally {
    files: usize,
    unreadable: usize,
    edits: usize,
    insertions: usize,
    refusals: std::collections::BTreeMap<&'static str, usize>,
}

impl Tally {
    /// Counts a refusal. One for want of skill is a defect that the test shows.
    fn refuse(&mut self, place: &str, error: &Error) {
        const REASONS: [(&str, &str); 8] = [
            ("alias", "an alias"),
            ("several documents", "a key of several documents"),
            ("has the tag", "a tag"),
            ("more than once", "a key twice"),
            ("<<", "a merged key"),
            ("has an empty part", "an empty key"),
            ("does not exist", "a key that is no string"),
            ("would not read back", "would not read back"),
        ];
        let reason = REASONS.iter().find(|(part, _)| error.message().contains(part));
        let Some((_, reason)) = reason else { panic!("{place}: {}", error.report()) };
        *self.refusals.entry(reason).or_default() += 1;
        if *reason == "would not read back" {
            eprintln!("{place}: {}", error.report());
        }
    }

    fn check(&mut self, path: &Path, text: &str) {
        self.files += 1;
        let Ok(documents) = parse(text) else {
            self.unreadable += 1;
            return;
        };
        let several = documents.len() > 1;
        for (index, document) in documents.iter().enumerate().take(5) {
            let mut found = Vec::new();
            leaves(document, "", "", &mut found);
            let every = found.len().div_ceil(EDITS_PER_FILE).max(1);
            for (key, pointer) in found.iter().step_by(every) {
                let key = if several { format!("${index}.{key}") } else { key.clone() };
                let place = format!("{} {key}", path.display());
                match update(text, &[(&key, "1.10")]) {
                    Ok(edited) => {
                        let mut wanted = documents.clone();
                        *wanted[index].pointer_mut(pointer).unwrap() = "1.10".into();
                        // An anchor's value is also that of its aliases, which are written out here.
                        assert!(text.contains('*') || parse(&edited).unwrap() == wanted, "{place}\n{edited}");
                        self.edits += 1;
                    }
                    Err(error) => self.refuse(&place, &error),
                }
            }
            if let Some((key, _)) = found.first()
                && document.is_object()
            {
                let parent = key.rsplit_once(".:").map_or("", |(parent, _)| parent);
                let new = if parent.is_empty() { "kargo-new".to_owned() } else { format!("{parent}.kargo-new") };
                for new in [new.as_str(), "kargo-new.deep.-1.x"] {
                    let new = if several { format!("${index}.{new}") } else { new.to_owned() };
                    match upsert(text, &[(&new, "1.10")]) {
                        Ok(_) => self.insertions += 1,
                        Err(error) => self.refuse(&format!("{} {new}", path.display()), &error),
                    }
                }
            }
        }
    }
}

/// `KARGO_TEST_YAML_CORPUS=/usr/share:$HOME/.cargo/registry cargo test -p kargo-core --release -- --ignored corpus --nocapture`
#[test]
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
    assert!(tally.edits > 0, "there is no YAML below {directories}");
    let failures = tally.refusals.get("would not read back").copied().unwrap_or_default();
    assert!(failures * 1000 <= tally.edits + tally.insertions, "{failures} edits were refused for want of skill");
}
