use std::collections::BTreeMap;
use std::sync::Arc;

use gix::ObjectId;
use kargo_core::plugin::Context;

use super::*;
use crate::remote::{NewObjects, Remote, parse_id};
use crate::stock::{EXACT, File, Random, Stock};

/// Our own merges of the cases in `stock`, whose repository is opened where it lies.
struct Bench {
    cx: Context,
    origin: Arc<GitOrigin>,
}

impl Bench {
    async fn new(stock: &Stock) -> Self {
        let remote = Remote::new(stock.path().to_str().unwrap()).unwrap();
        let cx = Context::system("merge");
        let (session, key) = remote.open(&cx, false).await.unwrap();
        let origin = GitOrigin::new(remote, key, session).await.unwrap();
        Self { cx, origin }
    }

    async fn merge(&self, trees: &[String; 3]) -> Merged {
        let [base, ours, theirs] = trees.each_ref().map(|id| parse_id(id).unwrap());
        let mut objects = NewObjects::default();
        merge(&self.cx, &self.origin, &mut objects, Some(base), ours, theirs).await.unwrap()
    }
}

fn tree(id: &str) -> Merged {
    Merged::Tree(ObjectId::from_hex(id.as_bytes()).unwrap())
}

const SOME: &str = "1\n2\n3\n4\n5\n";

fn file(path: &'static str, text: &str) -> File {
    ("100644", path, text.as_bytes().to_vec())
}

fn script(path: &'static str, text: &str) -> File {
    ("100755", path, text.as_bytes().to_vec())
}

fn link(path: &'static str, to: &str) -> File {
    ("120000", path, to.as_bytes().to_vec())
}

fn module(path: &'static str, digit: &str) -> File {
    ("160000", path, digit.repeat(40).into_bytes())
}

/// What it is about, the files of base, ours and theirs, and what is said when they do not go together.
type Case = (&'static str, [Vec<File>; 3], Option<&'static str>);

fn cases() -> Vec<Case> {
    let (one, five, crlf) = (SOME.replace('1', "one"), SOME.replace('5', "five"), SOME.replace('\n', "\r\n"));
    vec![
        ("different lines", [vec![file("f", SOME)], vec![file("f", &one)], vec![file("f", &five)]], None),
        (
            "the same line",
            [vec![file("d/f", SOME)], vec![file("d/f", &one)], vec![file("d/f", &SOME.replace('1', "eins"))]],
            Some("d/f (line 1)"),
        ),
        (
            "lines next to each other",
            [vec![file("f", SOME)], vec![file("f", &one)], vec![file("f", &SOME.replace('2', "two"))]],
            Some("f (lines 1-2)"),
        ),
        ("the same change", [vec![file("f", SOME)], vec![file("f", &one)], vec![file("f", &one), file("g", "")]], None),
        (
            "line ends of Windows",
            [
                vec![file("f", &crlf)],
                vec![file("f", &crlf.replace('1', "one"))],
                vec![file("f", &crlf.replace('5', "five"))],
            ],
            None,
        ),
        (
            "all line ends",
            [vec![file("f", SOME)], vec![file("f", &crlf)], vec![file("f", &five)]],
            Some("f (lines 1-5)"),
        ),
        (
            "no line end at the end",
            [vec![file("f", SOME.trim_end())], vec![file("f", one.trim_end())], vec![file("f", SOME)]],
            None,
        ),
        ("a mode and a line", [vec![file("f", SOME)], vec![script("f", SOME)], vec![file("f", &five)]], None),
        (
            "a mode here and a line on each side",
            [vec![file("f", SOME)], vec![script("f", &one)], vec![file("f", &five)]],
            None,
        ),
        ("a mode and a removal", [vec![file("f", SOME)], vec![script("f", SOME)], vec![]], Some("f (it was removed)")),
        (
            "a removal and a line",
            [vec![file("f", SOME)], vec![], vec![file("f", &five)]],
            Some("f (the promotion removes it)"),
        ),
        ("two removals", [vec![file("f", SOME), file("g", "")], vec![file("g", "")], vec![file("g", "x\n")]], None),
        ("two new files", [vec![], vec![file("f", "a\n")], vec![file("f", "b\n")]], Some("f (line 1)")),
        (
            "the same new file",
            [vec![], vec![file("f", "a\n"), file("g", "1")], vec![file("f", "a\n"), file("h", "2")]],
            None,
        ),
        (
            "the same new file in two modes",
            [vec![], vec![file("f", "a\n")], vec![script("f", "a\n")]],
            Some("f (it is executable on one side)"),
        ),
        ("a new file that is empty on one side", [vec![], vec![file("f", "")], vec![file("f", "b\n")]], None),
        (
            "a file that is no text",
            [vec![file("f", "a\0\n1\n2\n3\n")], vec![file("f", "b\0\n1\n2\n3\n")], vec![file("f", "a\0\n1\n2\n4\n")]],
            Some("f (it is no text)"),
        ),
        (
            "a link",
            [vec![link("l", "a")], vec![link("l", "b")], vec![link("l", "c")]],
            Some("l (it is a symbolic link)"),
        ),
        (
            "a link that one side changes",
            [
                vec![link("l", "a"), file("f", SOME)],
                vec![link("l", "b"), file("f", SOME)],
                vec![link("l", "a"), file("f", &one)],
            ],
            None,
        ),
        (
            "a link that was a file",
            [vec![file("l", SOME)], vec![link("l", "b")], vec![file("l", &one)]],
            Some("l (it became something else on one side)"),
        ),
        (
            "two files that were a link",
            [vec![link("l", "a")], vec![file("l", "a\n")], vec![file("l", "b\n")]],
            Some("l (line 1)"),
        ),
        (
            "a submodule",
            [vec![module("m", "1")], vec![module("m", "2")], vec![module("m", "3")]],
            Some("m (it is a submodule)"),
        ),
        (
            "a submodule that one side moves",
            [
                vec![module("m", "1"), file("f", "")],
                vec![module("m", "2"), file("f", "")],
                vec![module("m", "1"), file("f", "x")],
            ],
            None,
        ),
        (
            "a file and a directory, both new",
            [vec![], vec![file("d", "a\n")], vec![file("d/f", "a\n")]],
            Some("d (it is a directory on one side)"),
        ),
        (
            "a directory that becomes a file while a file in it is changed",
            [vec![file("d/f", SOME)], vec![file("d", "other\n")], vec![file("d/f", &one)]],
            Some("d/f (the promotion removes it)"),
        ),
        (
            "a directory that becomes a file and is removed",
            [vec![file("d/f", SOME), file("g", "")], vec![file("d", "other\n"), file("g", "")], vec![file("g", "")]],
            None,
        ),
        (
            "a directory that is removed and gets a file",
            [
                vec![file("d/f", SOME), file("g", "")],
                vec![file("g", "")],
                vec![file("d/f", SOME), file("d/h", "x"), file("g", "")],
            ],
            None,
        ),
        (
            "a directory of which each side removes one half",
            [
                vec![file("d/f", "1"), file("d/g", "2"), file("h", "")],
                vec![file("d/f", "1"), file("h", "")],
                vec![file("d/g", "2"), file("h", "")],
            ],
            None,
        ),
    ]
}

#[tokio::test]
async fn git_03_each_kind_of_change_is_merged_as_stock_git_rebases_it() {
    let mut stock = Stock::new();
    let cases = cases();
    cases.iter().for_each(|(_, sides, _)| stock.add(sides.clone()));
    stock.merge();
    let bench = Bench::new(&stock).await;
    let work = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let (success, said) = stock.try_git(work.path(), arguments, b"");
        (success, String::from_utf8_lossy(&said).trim().to_owned())
    };
    assert!(git(&["clone", "-q", "-n", stock.path().to_str().unwrap(), "."]).0);
    assert!(git(&["fetch", "-q", "origin", "refs/cases/*:refs/cases/*"]).0);
    for (n, ((what, _, said), trees)) in cases.iter().zip(stock.trees()).enumerate() {
        let (ours, theirs) = (format!("refs/cases/{n}/ours"), format!("refs/cases/{n}/theirs"));
        assert!(git(&["checkout", "-q", "-f", "--detach", &ours]).0, "{what}");
        let (rebased, its) = git(&["rebase", "-q", EXACT, &theirs]);
        let mine = bench.merge(&trees).await;
        match said {
            None => {
                assert!(rebased, "{what}: {its}");
                assert_eq!(mine, tree(&git(&["rev-parse", "HEAD^{tree}"]).1), "{what}");
            }
            Some(said) => {
                assert!(!rebased, "git rebases: {what}");
                let Merged::Conflict(conflicts) = mine else { panic!("{what}: {mine:?}") };
                assert_eq!(list(&conflicts), *said, "{what}");
                git(&["rebase", "--abort"]);
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_one_side_has_renamed_is_a_conflict_where_git_follows_it() {
    let mut stock = Stock::new();
    let changed = SOME.replace('5', "five");
    stock.add([vec![file("f", SOME)], vec![file("g", SOME)], vec![file("f", &changed)]]);
    let its = stock.merge().remove(0).expect("git follows it");
    assert_eq!(stock.files(&[its], "g"), [changed.into_bytes()]);
    let mine = Bench::new(&stock).await.merge(&stock.trees()[0]).await;
    assert_eq!(mine, Merged::Conflict(BTreeMap::from([("f".to_owned(), Fault::RemovedHere)])));
}

type Files = BTreeMap<&'static str, (&'static str, String)>;

const PATHS: [&str; 9] = ["a", "a.b", "b", "d", "d/a", "d/b", "d/e/a", "d/e/b", "z/y/x"];

/// Puts a file in the place of whatever is in its way.
fn put(files: &mut Files, path: &'static str, mode: &'static str, text: String) {
    let within = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
    files.retain(|other, _| *other != path && !within(other, path) && !within(path, other));
    let text = if mode == "160000" { "1234"[text.len() % 4..][..1].repeat(40) } else { text };
    files.insert(path, (mode, text));
}

fn mutate(random: &mut Random, files: &mut Files) {
    for _ in 0..random.below(4) {
        let path = PATHS[random.below(PATHS.len())];
        let digit = ["1", "2", "3", "4", "5", "6"][random.below(6)];
        // Like no other, so that nothing looks renamed.
        let (serial, new) = (random.below(1 << 30), SOME.replace(digit, &format!("new {digit}")));
        let new = || format!("{serial}\n{new}");
        match (random.below(9), files.get(path).cloned()) {
            (0, Some(_)) => _ = files.remove(path),
            (1, Some((mode, text))) if mode.starts_with("100") => {
                let mode = if mode == "100644" { "100755" } else { "100644" };
                files.insert(path, (mode, text));
            }
            (2, _) => put(files, path, "120000", new()),
            (3, _) => put(files, path, "160000", new()),
            (_, Some((mode, text))) if mode.starts_with("100") => {
                files.insert(path, (mode, text.replacen(digit, &format!("{digit}{}", random.below(3)), 1)));
            }
            _ => put(files, path, "100644", new()),
        }
    }
}

#[tokio::test]
async fn git_03_trees_are_merged_as_stock_git_merges_them() {
    let mut random = Random::new(20_261_201);
    let mut stock = Stock::new();
    let mut cases = Vec::new();
    for _ in 0..1000 {
        let mut base = Files::new();
        for _ in 0..random.below(6) {
            let path = PATHS[random.below(PATHS.len())];
            put(&mut base, path, "100644", format!("{path}\n{SOME}"));
        }
        let (mut ours, mut theirs) = (base.clone(), base.clone());
        mutate(&mut random, &mut ours);
        mutate(&mut random, &mut theirs);
        let listed = |files: &Files| -> Vec<File> {
            files.iter().map(|(path, (mode, text))| (*mode, *path, text.clone().into_bytes())).collect()
        };
        stock.add([&base, &ours, &theirs].map(listed));
        cases.push([base, ours, theirs]);
    }
    let merged = stock.merge();
    let bench = Bench::new(&stock).await;
    let (mut clean, mut wrong) = (0, Vec::new());
    for ((case, its), trees) in cases.iter().zip(merged).zip(stock.trees()) {
        let mine = bench.merge(&trees).await;
        let right = match &its {
            Some(its) => {
                clean += 1;
                mine == tree(its)
            }
            None => matches!(mine, Merged::Conflict(_)),
        };
        if !right {
            wrong.push(format!("{case:?}: {mine:?}, git: {its:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} are not as in git:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(clean > 300 && cases.len() - clean > 150, "{clean} of {}: both kinds are tried", cases.len());
}
