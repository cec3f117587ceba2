//! What all forges have in common: commits, branches, pull requests and merging. In memory, and free of any API.

use std::collections::{BTreeMap, HashSet, VecDeque};

use gix::objs::Kind;
use jiff::Timestamp;

/// The files of a commit, by path.
pub(super) type Files = BTreeMap<String, String>;

#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) id: String,
    pub(super) tree: String,
    pub(super) parents: Vec<String>,
    pub(super) files: Files,
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Merged,
    Closed,
}

#[derive(Debug, Clone)]
pub(super) struct Pull {
    pub(super) number: u64,
    pub(super) source: String,
    pub(super) target: String,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) draft: bool,
    pub(super) state: State,
    /// Where the source branch stands; stays what it was when the pull request ends.
    pub(super) head: String,
    pub(super) merge_commit: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) updated: Timestamp,
    pub(super) closed: Option<Timestamp>,
    /// Grows with each change.
    pub(super) version: u64,
    /// From a branch of that name in somebody's fork.
    pub(super) from_fork: bool,
    /// For how many more looks the server does not know whether it can be merged.
    pub(super) unchecked: u32,
    /// A merge that goes on behind an answer: for how many more looks, and how.
    pub(super) merging: Option<(u32, Method)>,
}

/// What a merge makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Merge,
    Squash,
    FastForward,
}

/// Why there is no merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obstacle {
    Unchecked,
    Draft,
    Conflict,
    /// What the target branch requires, in words.
    Required(String),
    HeadMoved,
    NotOpen,
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) commits: BTreeMap<String, Commit>,
    pub(super) branches: BTreeMap<String, String>,
    pub(super) pulls: Vec<Pull>,
    /// What every target branch requires before a merge; nothing when `None`.
    pub(super) required: Option<String>,
    /// For how many looks a new pull request is unchecked.
    pub(super) unchecked: u32,
    /// For how many looks a merge goes on behind its answer; at once when 0.
    pub(super) merging: u32,
    /// A way to merge that the repository does not allow.
    pub(super) forbidden_method: Option<String>,
}

fn digest(text: &str) -> String {
    let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, Kind::Blob, text.as_bytes());
    id.expect("a test's texts have no colliding hashes").to_string()
}

impl World {
    pub(super) fn commit(&mut self, parents: Vec<String>, files: Files, message: &str) -> String {
        let tree = digest(&format!("{files:?}"));
        let id = digest(&format!("{tree} {parents:?} {message} {}", self.commits.len()));
        self.commits.insert(id.clone(), Commit { id: id.clone(), tree, parents, files, message: message.to_owned() });
        id
    }

    /// The commit on which a branch stands, or that an id names.
    pub(super) fn resolve(&self, name: &str) -> Option<&Commit> {
        let id = self.branches.get(name).map_or(name, String::as_str);
        self.commits.get(id)
    }

    /// Moves a branch, and the open pull requests from it.
    pub(super) fn point(&mut self, branch: &str, id: &str) {
        self.branches.insert(branch.to_owned(), id.to_owned());
        for pull in
            self.pulls.iter_mut().filter(|pull| pull.state == State::Open && pull.source == branch && !pull.from_fork)
        {
            pull.head = id.to_owned();
            pull.version += 1;
        }
    }

    /// All from which a commit has come, nearest first, with itself.
    fn history(&self, id: &str) -> Vec<String> {
        let (mut seen, mut order, mut next) = (HashSet::new(), Vec::new(), VecDeque::from([id.to_owned()]));
        while let Some(id) = next.pop_front() {
            if seen.insert(id.clone()) {
                next.extend(self.commits[&id].parents.iter().cloned());
                order.push(id);
            }
        }
        order
    }

    /// How many commits `source` has that `target` lacks.
    pub(super) fn ahead(&self, source: &str, target: &str) -> usize {
        let known = self.history(target);
        self.history(source).iter().filter(|id| !known.contains(id)).count()
    }

    fn base(&self, source: &str, target: &str) -> Files {
        let known = self.history(target);
        let base = self.history(source).into_iter().find(|id| known.contains(id));
        base.map(|id| self.commits[&id].files.clone()).unwrap_or_default()
    }

    /// The paths that differ: from where the two parted, or as they are.
    pub(super) fn changed(&self, source: &str, target: &str, from_base: bool) -> Vec<String> {
        let old = if from_base { self.base(source, target) } else { self.commits[target].files.clone() };
        let new = &self.commits[source].files;
        let paths: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        paths.into_iter().filter(|path| old.get(*path) != new.get(*path)).cloned().collect()
    }

    fn merged_files(&self, source: &str, target: &str) -> Option<Files> {
        let base = self.base(source, target);
        let (ours, theirs) = (&self.commits[target].files, &self.commits[source].files);
        let paths: std::collections::BTreeSet<&String> = base.keys().chain(ours.keys()).chain(theirs.keys()).collect();
        let mut merged = Files::new();
        for path in paths {
            let (base, our, their) = (base.get(path), ours.get(path), theirs.get(path));
            let outcome = if our == their || their == base {
                our
            } else if our == base {
                their
            } else {
                return None;
            };
            if let Some(text) = outcome {
                merged.insert(path.clone(), text.clone());
            }
        }
        Some(merged)
    }

    pub(super) fn open(&mut self, source: &str, target: &str, title: &str, body: &str) -> Option<u64> {
        let head = self.branches.get(source)?.clone();
        self.branches.get(target)?;
        let number = self.pulls.len() as u64 + 1;
        self.pulls.push(Pull {
            number,
            source: source.to_owned(),
            target: target.to_owned(),
            title: title.to_owned(),
            body: body.to_owned(),
            draft: false,
            state: State::Open,
            head,
            merge_commit: None,
            labels: Vec::new(),
            updated: Timestamp::now(),
            closed: None,
            version: 0,
            from_fork: false,
            unchecked: self.unchecked,
            merging: None,
        });
        Some(number)
    }

    pub(super) fn is_open(&self, source: &str, target: &str) -> Option<u64> {
        let open = |pull: &&Pull| {
            pull.state == State::Open && pull.source == source && pull.target == target && !pull.from_fork
        };
        self.pulls.iter().find(open).map(|pull| pull.number)
    }

    pub(super) fn pull(&self, number: u64) -> Option<&Pull> {
        self.pulls.iter().find(|pull| pull.number == number)
    }

    pub(super) fn pull_mut(&mut self, number: u64) -> Option<&mut Pull> {
        self.pulls.iter_mut().find(|pull| pull.number == number)
    }

    /// Somebody looks at a pull request: what goes on behind answers gets on.
    pub(super) fn look(&mut self, number: u64) -> Option<Pull> {
        let pull = self.pull_mut(number)?;
        pull.unchecked = pull.unchecked.saturating_sub(1);
        if let Some((left, method)) = pull.merging {
            match left {
                0 => {
                    pull.merging = None;
                    // Whoever asks sees what came of it.
                    let _ = self.finish(number, method);
                }
                left => pull.merging = Some((left - 1, method)),
            }
        }
        self.pull(number).cloned()
    }

    pub(super) fn close(&mut self, number: u64) {
        let now = Timestamp::now();
        if let Some(pull) = self.pull_mut(number) {
            (pull.state, pull.updated, pull.closed) = (State::Closed, now, Some(now));
            pull.version += 1;
        }
    }

    /// What stands between a pull request and its merge.
    pub(super) fn obstacle(&self, pull: &Pull) -> Option<Obstacle> {
        if pull.state != State::Open {
            Some(Obstacle::NotOpen)
        } else if pull.draft {
            Some(Obstacle::Draft)
        } else if pull.unchecked > 0 {
            Some(Obstacle::Unchecked)
        } else if self.merged_files(&pull.head, &self.branches[&pull.target]).is_none() {
            Some(Obstacle::Conflict)
        } else {
            self.required.clone().map(Obstacle::Required)
        }
    }

    /// Merges at `head`, when one is named: the commit, or `None` when that goes on behind the answer.
    pub(super) fn merge(
        &mut self,
        number: u64,
        method: Method,
        head: Option<&str>,
    ) -> Result<Option<String>, Obstacle> {
        let slow = self.merging;
        let pull = self.pull(number).ok_or(Obstacle::NotOpen)?.clone();
        if let Some(obstacle) = self.obstacle(&pull) {
            return Err(obstacle);
        }
        if head.is_some_and(|head| head != pull.head) {
            return Err(Obstacle::HeadMoved);
        }
        if slow > 0 {
            if let Some(pull) = self.pull_mut(number) {
                // One that has begun goes on.
                pull.merging.get_or_insert((slow, method));
            }
            return Ok(None);
        }
        self.finish(number, method).map(Some)
    }

    /// Somebody merges it, past all that is required.
    pub(super) fn merge_by_hand(&mut self, number: u64) -> String {
        self.finish(number, Method::Merge).expect("it can be merged")
    }

    fn finish(&mut self, number: u64, method: Method) -> Result<String, Obstacle> {
        let pull = self.pull(number).ok_or(Obstacle::NotOpen)?.clone();
        let target = self.branches[&pull.target].clone();
        let files = self.merged_files(&pull.head, &target).ok_or(Obstacle::Conflict)?;
        let id = match method {
            Method::Merge => {
                let message = format!("Merge {} into {}", pull.source, pull.target);
                self.commit(vec![target, pull.head.clone()], files, &message)
            }
            Method::Squash => self.commit(vec![target], files, &pull.title),
            Method::FastForward => pull.head.clone(),
        };
        self.point(&pull.target.clone(), &id);
        let now = Timestamp::now();
        if let Some(pull) = self.pull_mut(number) {
            (pull.state, pull.updated, pull.closed) = (State::Merged, now, Some(now));
            pull.merge_commit = Some(id.clone());
            pull.version += 1;
        }
        Ok(id)
    }
}
