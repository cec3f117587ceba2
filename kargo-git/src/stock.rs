//! What stock git makes of the same, for tests that compare.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Has git take for renamed only what is the same otherwise. Not all versions can be kept from looking for renames at all.
pub(crate) const EXACT: &str = "-Xfind-renames=100%";

/// A file of a tree: its mode, its name, and its contents. For a submodule, the id of a commit.
pub(crate) type File = (&'static str, &'static str, Vec<u8>);

/// Numbers that are the same in each run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// A repository of stock git with merges to be made, each of a commit and two that are made of it.
pub(crate) struct Stock {
    directory: tempfile::TempDir,
    stream: Vec<u8>,
    cases: usize,
}

impl Stock {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stock = Self { directory, stream: Vec::new(), cases: 0 };
        stock.git(&["init", "-q", "--bare", "."], b"");
        stock
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A merge: the files of the base and of both sides.
    pub(crate) fn add(&mut self, sides: [Vec<File>; 3]) {
        let first = self.cases * 3 + 1;
        for (n, (files, name)) in sides.into_iter().zip(["base", "ours", "theirs"]).enumerate() {
            let header = format!("commit refs/cases/{}/{name}\nmark :{}\n", self.cases, first + n);
            self.stream.extend_from_slice(header.as_bytes());
            self.stream.extend_from_slice(b"committer T <t@localhost> 1 +0000\ndata 1\nx\n");
            let from = if n == 0 { String::new() } else { format!("from :{first}\n") };
            self.stream.extend_from_slice(format!("{from}deleteall\n").as_bytes());
            for (mode, path, contents) in files {
                if mode == "160000" {
                    let id = String::from_utf8(contents).unwrap();
                    self.stream.extend_from_slice(format!("M {mode} {id} {path}\n").as_bytes());
                } else {
                    let header = format!("M {mode} inline {path}\ndata {}\n", contents.len());
                    self.stream.extend_from_slice(header.as_bytes());
                    self.stream.extend_from_slice(&contents);
                    self.stream.push(b'\n');
                }
            }
            self.stream.push(b'\n');
        }
        self.cases += 1;
    }

    /// The trees of the base and of both sides of each merge.
    pub(crate) fn trees(&self) -> Vec<[String; 3]> {
        let listed = self.git(&["for-each-ref", "--format=%(refname) %(tree)", "refs/cases/"], b"");
        let listed = String::from_utf8(listed).unwrap();
        let trees: HashMap<&str, &str> = listed.lines().filter_map(|line| line.split_once(' ')).collect();
        let tree = |case: usize, name: &str| trees[format!("refs/cases/{case}/{name}").as_str()].to_owned();
        (0..self.cases).map(|case| ["base", "ours", "theirs"].map(|name| tree(case, name))).collect()
    }

    /// What git makes of each: the tree, or `None` for a conflict.
    pub(crate) fn merge(&mut self) -> Vec<Option<String>> {
        let stream = std::mem::take(&mut self.stream);
        self.git(&["fast-import", "--quiet"], &stream);
        let pairs: String =
            (0..self.cases).map(|case| format!("refs/cases/{case}/theirs refs/cases/{case}/ours\n")).collect();
        let arguments = ["merge-tree", "--write-tree", EXACT, "--stdin", "--no-messages", "--name-only"];
        let answer = self.git(&arguments, pairs.as_bytes());
        let mut words = answer.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let mut merged = Vec::with_capacity(self.cases);
        for _ in 0..self.cases {
            let (state, tree) = (words.next().unwrap(), words.next().unwrap());
            let conflicts = words.by_ref().take_while(|name| !name.is_empty()).count();
            assert_eq!(state == "0", conflicts > 0, "{state} {tree}");
            merged.push((state == "1").then_some(tree));
        }
        merged
    }

    /// The contents of the file `name` in a tree.
    pub(crate) fn files(&self, trees: &[String], name: &str) -> Vec<Vec<u8>> {
        let asked: String = trees.iter().map(|tree| format!("{tree}:{name}\n")).collect();
        let answer = self.git(&["cat-file", "--batch"], asked.as_bytes());
        let mut rest = answer.as_slice();
        let mut files = Vec::with_capacity(trees.len());
        for _ in trees {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            let length: usize = head.rsplit(' ').next().unwrap().parse().unwrap();
            files.push(rest[end + 1..end + 1 + length].to_vec());
            rest = &rest[end + 2 + length..];
        }
        files
    }

    /// What a git command puts out, in the repository.
    pub(crate) fn git(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let (success, output) = self.try_git(self.path(), arguments, input);
        assert!(success, "git {arguments:?}: {}", String::from_utf8_lossy(&output));
        output
    }

    /// Whether a git command in `directory` succeeds, and what it puts out.
    pub(crate) fn try_git(&self, directory: &Path, arguments: &[&str], input: &[u8]) -> (bool, Vec<u8>) {
        let mut git = Command::new("git");
        git.arg("-C").arg(directory).args(arguments);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_EDITOR", "true");
        for person in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{person}_NAME"), "T").env(format!("GIT_{person}_EMAIL"), "t@localhost");
        }
        git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut git = git.spawn().expect("git is installed");
        let mut stdin = git.stdin.take().unwrap();
        let input = input.to_vec();
        // It may answer while it is still being asked.
        let asked = std::thread::spawn(move || stdin.write_all(&input));
        let output = git.wait_with_output().unwrap();
        asked.join().unwrap().ok();
        let said = if output.status.success() { output.stdout } else { [output.stdout, output.stderr].concat() };
        (output.status.success(), said)
    }
}
