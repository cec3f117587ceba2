//! A thousand changes to each example and each fixture: to its characters, to its lines, and to its values. What comes out loads, or fails
//! with a place; nothing panics, and nothing hangs.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// One change to the text: characters go, come, or are said again.
fn change_text(text: &str, dice: &mut Dice) -> String {
    const PIECES: [&str; 16] =
        ["{", "}", "[", "]", ":", "- ", "\n", "  ", "&a ", "*a", "'", "\"", "${{", "}}", "---\n", "\t"];
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=dice.below(3) {
        let at = dice.below(characters.len());
        let length = dice.below(12).min(characters.len() - at);
        match dice.below(4) {
            0 => drop(characters.drain(at..at + length)),
            1 => drop(characters.splice(at..at, PIECES[dice.below(PIECES.len())].chars())),
            2 => {
                let copy: Vec<char> = characters[at..at + length].to_vec();
                let to = dice.below(characters.len());
                drop(characters.splice(to..to, copy));
            }
            _ => {
                let other = dice.below(characters.len());
                characters.swap(at, other);
            }
        }
    }
    characters.into_iter().collect()
}

/// One change to the lines: they go, are said again, swap places, or are indented otherwise; or the text ends.
fn change_lines(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=dice.below(3) {
        if lines.is_empty() {
            break;
        }
        let (at, other) = (dice.below(lines.len()), dice.below(lines.len()));
        match dice.below(7) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(other, lines[at].clone()),
            2 => lines.swap(at, other),
            3 => lines[at].insert_str(0, &" ".repeat(1 + dice.below(3))),
            4 => lines[at] = lines[at].strip_prefix("  ").unwrap_or(&lines[at]).to_owned(),
            5 => {
                // A whole block moves.
                let end = (at + 1 + dice.below(6)).min(lines.len());
                lines[at..end].iter_mut().for_each(|line| line.insert_str(0, "  "));
            }
            _ => {
                lines.truncate(at + 1);
                let end = dice.below(lines[at].len() + 1);
                let end = lines[at].floor_char_boundary(end);
                lines[at].truncate(end);
            }
        }
    }
    lines.join("\n")
}

/// The bytes of a text with some of their bits turned, as it would come from a disk.
fn change_bits(text: &str, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        bytes[at] ^= 1 << dice.below(8);
    }
    bytes
}

/// One change to a value somewhere in the tree.
fn change_value(value: &mut Value, dice: &mut Dice) {
    let replacements = [
        Value::Null,
        Value::Bool(true),
        Value::from(7),
        Value::from(1.5),
        Value::from(""),
        Value::from("${{ outputs.nothing.x }}"),
        Value::from("${{ ("),
        Value::Array(vec![]),
        Value::Object(Default::default()),
        Value::from("x".repeat(300)),
    ];
    match value {
        Value::Object(fields) if !fields.is_empty() && dice.below(6) > 0 => {
            let key = fields.keys().nth(dice.below(fields.len())).cloned().unwrap_or_default();
            match dice.below(8) {
                0 => drop(fields.remove(&key)),
                1 => {
                    let moved = fields.remove(&key).unwrap_or_default();
                    fields.insert(format!("{key}s"), moved);
                }
                _ => change_value(&mut fields[&key], dice),
            }
        }
        Value::Array(items) if !items.is_empty() && dice.below(6) > 0 => {
            let at = dice.below(items.len());
            match dice.below(8) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => change_value(&mut items[at], dice),
            }
        }
        other => *other = replacements[dice.below(replacements.len())].clone(),
    }
}

fn survives(name: &str, text: &str) {
    let started = Instant::now();
    let manifests = Manifests::parse(name, text);
    for finding in lint(&manifests, &STEPS) {
        let place = finding.place.as_ref();
        let in_file = place.is_some_and(|place| place.file == name && place.line >= 1 && place.column >= 1);
        assert!(in_file || finding.message.starts_with("Project"), "{finding}\n{text}");
        assert!(!finding.message.is_empty() && finding.to_string().len() < 10_000);
    }
    if let Err(error) = manifests.pipelines() {
        assert!(error.to_string().contains(name) || error.to_string().contains("Project"), "{error}\n{text}");
    }
    let _ = manifests.to_yaml();
    assert!(started.elapsed() < Duration::from_secs(10), "took {:?}:\n{text}", started.elapsed());
}

#[test]
fn changed_texts_load_or_fail_with_a_place() {
    for (index, (name, text)) in fixtures().into_iter().enumerate() {
        let mut dice = Dice(index as u64 + 1);
        for _ in 0..300 {
            survives(&name, &change_text(&text, &mut dice));
        }
        for _ in 0..300 {
            survives(&name, &change_lines(&text, &mut dice));
        }
    }
}

#[test]
fn changed_bytes_load_or_are_refused_by_the_name_of_the_file() {
    for (index, (name, text)) in fixtures().into_iter().enumerate() {
        let mut dice = Dice(index as u64 + 50);
        for _ in 0..150 {
            let bytes = change_bits(&text, &mut dice);
            match String::from_utf8(bytes.clone()) {
                Ok(text) => survives(&name, &text),
                Err(_) => {
                    let error = Manifests::from_reader(name.as_str(), &bytes[..]).unwrap_err();
                    assert!(error.to_string().contains(&format!("{name} is not UTF-8: byte ")), "{error}");
                }
            }
        }
    }
}

#[test]
fn changed_values_load_or_fail_with_a_place() {
    for (index, (name, text)) in fixtures().into_iter().enumerate() {
        let (documents, _) = crate::manifest::reader::read(&text);
        let documents: Vec<Value> = documents.iter().map(crate::manifest::reader::Node::json).collect();
        let mut dice = Dice(index as u64 + 100);
        for _ in 0..300 {
            let mut changed = documents.clone();
            for _ in 0..=dice.below(3) {
                let at = dice.below(changed.len());
                change_value(&mut changed[at], &mut dice);
            }
            // JSON is YAML.
            let text: Vec<String> = changed.iter().map(Value::to_string).collect();
            survives(&name, &text.join("\n---\n"));
        }
    }
}
