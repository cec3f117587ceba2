// Several lines are several ranges, and one is one.
#![allow(clippy::single_range_in_vec_init)]

use super::*;
use crate::stock::{Random, Stock};

fn merged(base: &str, ours: &str, theirs: &str) -> Merged {
    merge(base.as_bytes(), ours.as_bytes(), theirs.as_bytes())
}

fn text(text: &str) -> Merged {
    Merged::Text(text.as_bytes().to_vec())
}

#[test]
fn git_03_changes_of_different_lines_go_together() {
    let base = "image:\n  tag: v1\n  pull: Always\nreplicas: 2\n";
    let ours = base.replace("v1", "v2");
    let theirs = base.replace("replicas: 2", "replicas: 3") + "extra: 1\n";
    assert_eq!(merged(base, &ours, &theirs), text(&theirs.replace("v1", "v2")));
    assert_eq!(merged(base, &theirs, &ours), text(&theirs.replace("v1", "v2")), "whichever side is which");
    assert_eq!(merged(base, &ours, &ours), text(&ours), "the same change counts once");
}

#[test]
fn git_03_changes_of_the_same_or_the_next_line_are_a_conflict_that_names_the_lines() {
    let base = "a\nb\nc\nd\n";
    for (ours, theirs, lines) in [
        ("a\nB\nc\nd\n", "a\nX\nc\nd\n", 1..2),
        ("a\nB\nc\nd\n", "a\nb\nX\nd\n", 1..3),
        ("a\nB\nc\nd\n", "a\nc\nd\n", 1..1),
        ("a\nc\nd\n", "new\na\nB\nB\nc\nd\n", 2..4),
        ("a\nb\nc\nd\ne\n", "a\nb\nc\nd\nf\n", 4..5),
        ("", "a\nb\nX\nd\n", 0..4),
    ] {
        assert_eq!(merged(base, ours, theirs), Merged::Conflict(vec![lines]), "{ours:?} {theirs:?}");
    }
    assert_eq!(merged("", "a\n", "b\n"), Merged::Conflict(vec![0..1]), "both are new");
    let long = |b: &str, d: &str| format!("a\n{b}\nc\n{d}\ne\n");
    assert_eq!(merged(&long("b", "d"), &long("B", "D"), &long("x", "y")), Merged::Conflict(vec![1..2, 3..4]));
}

#[test]
fn line_ends_and_a_missing_last_one_are_kept_and_are_changes() {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let (base, ours, theirs) = (crlf("a\nb\nc\n"), crlf("A\nb\nc\n"), crlf("a\nb\nC\n"));
    assert_eq!(merged(&base, &ours, &theirs), text(&crlf("A\nb\nC\n")));
    assert_eq!(merged(&base, &ours, "a\nb\nc\n"), Merged::Conflict(vec![0..3]), "they changed each line end");
    assert_eq!(merged("a\nb\nc", "A\nb\nc", "a\nb\nc\n"), text("A\nb\nc\n"));
    assert_eq!(merged("a\nb\nc", "A\nb\nc", "a\nb\nc\nd"), text("A\nb\nc\nd"));
    assert_eq!(merged("a\nb\nc\n", "a\nb\nc", "a\nb\nc\nd\n"), Merged::Conflict(vec![2..4]));
}

#[test]
fn what_is_no_text_is_never_taken_apart() {
    assert_eq!(merged("a\n", "a\nb\n", "a\0\n"), Merged::Binary);
    let late = "x\n".repeat(LOOKED_AT) + "\0\n";
    assert_eq!(merged(&late, &format!("a\n{late}"), &late), text(&format!("a\n{late}")), "git looks no further");
}

/// As a pack, half a gigabyte of empty lines takes half a megabyte.
#[test]
fn a_text_of_more_lines_than_anybody_writes_is_not_taken_apart() {
    let long = "\n".repeat(MAX_LINES + 1);
    for sides in [[long.as_str(), "a\n", "b\n"], ["a\n", long.as_str(), "b\n"], ["", "a\n", long.as_str()]] {
        assert_eq!(merged(sides[0], sides[1], sides[2]), Merged::TooLong);
    }
    let allowed = "\n".repeat(MAX_LINES);
    assert_eq!(merged(&allowed, &format!("a\n{}", &allowed[1..]), &allowed), text(&format!("a\n{}", &allowed[1..])));
}

#[test]
fn lines_are_shown_as_people_count_them() {
    for (lines, text) in [
        (vec![0..1], "line 1"),
        (vec![2..5], "lines 3-5"),
        (vec![2..2], "line behind 2"),
        (vec![0..1, 3..5], "lines 1, 4-5"),
        ((0..7).map(|n| 2 * n..2 * n + 1).collect(), "lines 1, 3, 5, 7, 9, ..."),
    ] {
        assert_eq!(shown(&lines), text);
    }
}

/// A text of a few lines, of which some are the same when there are few words.
fn random_text(random: &mut Random) -> Vec<String> {
    let words = [2, 4, 26][random.below(3)];
    (0..random.below(14)).map(|_| word(random, words)).collect()
}

fn word(random: &mut Random, words: usize) -> String {
    char::from(b'a' + u8::try_from(random.below(words)).unwrap()).to_string()
}

fn edited(random: &mut Random, base: &[String]) -> Vec<String> {
    let mut lines = base.to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(lines.len() + 1);
        let new = word(random, 30);
        match random.below(5) {
            0 => lines.insert(at, new),
            1 if at < lines.len() => _ = lines.remove(at),
            2 if at < lines.len() => lines.insert(at, lines[at].clone()),
            3 if at < lines.len() => drop(lines.drain(at..(at + 3).min(lines.len()))),
            _ if at < lines.len() => lines[at] = new,
            _ => lines.push(new),
        }
    }
    lines
}

fn joined(random: &mut Random, lines: &[String]) -> Vec<u8> {
    let end = if random.below(10) == 0 { "\r\n" } else { "\n" };
    let mut text: String = lines.iter().map(|line| format!("{line}{end}")).collect();
    if random.below(6) == 0 {
        text.truncate(text.trim_end().len());
    }
    text.into_bytes()
}

#[test]
fn texts_are_merged_as_stock_git_merges_them() {
    let mut random = Random::new(20_260_131);
    let mut stock = Stock::new();
    let mut cases = Vec::new();
    for _ in 0..1500 {
        let base = random_text(&mut random);
        let sides = [base.clone(), edited(&mut random, &base), edited(&mut random, &base)];
        let [base, ours, theirs] = sides.map(|side| joined(&mut random, &side));
        stock.add([&base, &ours, &theirs].map(|text| vec![("100644", "f", text.clone())]));
        cases.push((base, ours, theirs));
    }
    let merged = stock.merge();
    let trees: Vec<String> = merged.iter().flatten().cloned().collect();
    let mut files = stock.files(&trees, "f").into_iter();
    let (mut clean, mut conflicts, mut wrong) = (0, 0, Vec::new());
    for ((base, ours, theirs), its) in cases.iter().zip(&merged) {
        let mine = merge(base, ours, theirs);
        let right = match its {
            Some(_) => {
                clean += 1;
                mine == Merged::Text(files.next().unwrap())
            }
            None => {
                conflicts += 1;
                matches!(mine, Merged::Conflict(_))
            }
        };
        if !right {
            let shown = [base, ours, theirs].map(|text| String::from_utf8_lossy(text).into_owned());
            wrong.push(format!("{shown:?}: {mine:?}, git: {}", its.is_some()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} are not as in git:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(clean > 300 && conflicts > 300, "{clean} and {conflicts}: both kinds are tried");
}

#[test]
fn a_text_that_takes_the_search_for_rare_lines_forever_is_merged_all_the_same() {
    // Each line that both have stands alone between such as are new, so that each is a search of its own.
    let lines = |word: &str, count: usize| -> String {
        (0..count).map(|n| format!("{word} {n}\n{n}\n{word} {n} again\n")).collect()
    };
    let (base, theirs) = (lines("old", 8_000), lines("new", 8_000));
    let began = std::time::Instant::now();
    let Merged::Text(merged) = merge(base.as_bytes(), base.as_bytes(), theirs.as_bytes()) else { panic!("a conflict") };
    assert!(merged == theirs.as_bytes() && began.elapsed().as_secs() < 120, "{:?}", began.elapsed());
}
