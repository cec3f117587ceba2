//! One piece of work on a repository, wherever it is.

use std::collections::HashMap;
use std::path::PathBuf;

use gix::ObjectId;
use gix::bstr::ByteSlice as _;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result, near_match};

use super::local::Local;
use super::objects::NewObjects;
use super::transport::Transport;
use super::wire::Wire;

/// A ref of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteRef {
    /// In full, such as `refs/heads/main`.
    pub(crate) name: String,
    /// What it points at: for an annotated tag, the tag.
    pub(crate) id: ObjectId,
    /// What the annotated tag points at in the end.
    pub(crate) peeled: Option<ObjectId>,
    /// The ref that it stands for, such as the default branch for `HEAD`.
    pub(crate) target: Option<String>,
}

/// What history needs of a commit.
#[derive(Debug, Clone)]
pub(crate) struct CommitInfo {
    pub(crate) tree: ObjectId,
    pub(crate) parents: Vec<ObjectId>,
    /// The committer's time in seconds since 1970.
    pub(crate) time: i64,
    /// The author, `Name <mail>`.
    pub(crate) author: String,
    /// The committer, `Name <mail>`.
    pub(crate) committer: String,
    pub(crate) message: String,
}

impl CommitInfo {
    /// Reads the object of a commit. Old tools wrote odd names and times, which gix refuses; one such commit in a long history must not
    /// stop whoever walks along it.
    pub(crate) fn parse(data: &[u8], hash: gix::hash::Kind) -> Result<Self> {
        let (head, message) = data.split_at(data.find("\n\n").unwrap_or(data.len()));
        let id = |hex: &[u8]| match ObjectId::from_hex(hex) {
            Ok(id) if id.kind() == hash => Ok(id),
            _ => Err(Error::new(ErrorKind::Corrupt, "A commit of the repository cannot be read.")),
        };
        let mut lines = head.lines();
        let tree = id(lines.next().and_then(|line| line.strip_prefix(b"tree ")).unwrap_or_default())?;
        let mut info = Self {
            tree,
            parents: Vec::new(),
            time: 0,
            author: String::new(),
            committer: String::new(),
            message: message.trim_start().to_str_lossy().into_owned(),
        };
        for line in lines {
            // Lines that go on with another one begin with a space.
            if let Some(hex) = line.strip_prefix(b"parent ") {
                info.parents.push(id(hex)?);
            } else if let Some(who) = line.strip_prefix(b"author ") {
                (info.author, _) = person(who);
            } else if let Some(who) = line.strip_prefix(b"committer ") {
                (info.committer, info.time) = person(who);
            }
        }
        Ok(info)
    }

    /// The first paragraph of the message on one line, as Git makes the subject of it.
    pub(crate) fn subject(&self) -> String {
        let lines = self.message.trim_start().lines().map(str::trim_end).take_while(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join(" ")
    }

    /// The value of a trailer: a line `key: value` in the last paragraph.
    pub(crate) fn trailer(&self, key: &str) -> Option<&str> {
        let last = self.message.trim_end().rsplit("\n\n").next().unwrap_or("");
        last.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::trim)
    }
}

/// A person, `Name <mail>`, and the time in seconds behind it; 0 when there is none that can be read.
pub(crate) fn person(line: &[u8]) -> (String, i64) {
    let end = line.rfind_byte(b'>').map_or(line.len(), |end| end + 1);
    let time = line[end..].fields().next().and_then(|time| time.to_str().ok()?.parse().ok());
    (line[..end].trim().to_str_lossy().into_owned(), time.unwrap_or(0))
}

/// A ref to make, move or remove. Where it has to stand before that is a condition, on the server too: nobody's change is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefUpdate {
    /// In full, such as `refs/heads/main`.
    pub(crate) name: String,
    /// Where it stands; `None` when there is none.
    pub(crate) old: Option<ObjectId>,
    /// Where it is to stand; `None` when there is to be none.
    pub(crate) new: Option<ObjectId>,
}

impl RefUpdate {
    /// What is to be done, now that the ref is at `tip`: nothing, this update, or no more since somebody else came first.
    pub(super) fn state(&self, tip: Option<ObjectId>) -> UpdateState {
        if tip == self.new {
            UpdateState::Done
        } else if tip == self.old {
            UpdateState::Open
        } else {
            UpdateState::Overtaken
        }
    }
}

/// How a [`RefUpdate`] stands to where its ref is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpdateState {
    Done,
    Open,
    Overtaken,
}

/// Refs to change together: all of them or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Push<'a> {
    pub(crate) updates: &'a [RefUpdate],
    /// What the refs lead to and the repository may not have.
    pub(crate) objects: &'a NewObjects,
    /// Lines for the hooks of the server.
    pub(crate) options: &'a [String],
}

/// How changing refs ended.
#[derive(Debug)]
pub(crate) enum PushOutcome {
    /// They are where they should be.
    Updated,
    /// Somebody else moved one first.
    Conflict {
        /// Which one, in full.
        name: String,
        /// Where it is now.
        tip: Option<ObjectId>,
    },
    /// The server does not want to, though none has moved.
    Rejected {
        /// The server's reason.
        reason: String,
        /// What the server's hooks said.
        text: String,
    },
    /// The answer was lost, and looking did not tell.
    Unknown {
        /// What went wrong.
        error: Error,
    },
}

/// A repository, opened for one piece of work.
#[derive(Debug)]
pub(crate) enum Session {
    Local(Local),
    Wire(Box<Wire>),
}

impl Session {
    pub(super) fn local(path: PathBuf, shown: String) -> Self {
        Self::Local(Local::new(path, shown))
    }

    pub(super) fn wire(wire: Wire) -> Self {
        Self::Wire(Box::new(wire))
    }

    /// The repository, to be shown.
    pub(crate) fn shown(&self) -> &str {
        match self {
            Self::Local(local) => &local.shown,
            Self::Wire(wire) => &wire.shown,
        }
    }

    /// The hash of the repository's ids.
    pub(crate) async fn hash(&mut self) -> Result<gix::hash::Kind> {
        match self {
            Self::Local(local) => local.hash().await,
            Self::Wire(wire) => wire.hash().await,
        }
    }

    /// The refs whose names begin with one of `prefixes`.
    pub(crate) async fn refs(&mut self, prefixes: &[&str]) -> Result<Vec<RemoteRef>> {
        match self {
            Self::Local(local) => local.refs(prefixes).await,
            Self::Wire(wire) => wire.refs(prefixes).await,
        }
    }

    /// Where the ref stands, if it is there, when it is about to be pushed to in this session.
    pub(crate) async fn tip_to_push(&mut self, name: &str) -> Result<Option<ObjectId>> {
        match self {
            Self::Local(local) => {
                Ok(local.refs(&[name]).await?.into_iter().find(|each| each.name == name).map(|each| each.id))
            }
            Self::Wire(wire) => wire.tip_to_push(name).await,
        }
    }

    /// The commit on which `branch` stands.
    pub(crate) async fn tip(&mut self, branch: &str) -> Result<ObjectId> {
        let name = format!("refs/heads/{branch}");
        if let Some(found) = self.refs(&[&name]).await?.into_iter().find(|each| each.name == name) {
            return Ok(found.id);
        }
        let all = self.refs(&["refs/heads/"]).await?;
        let branches: Vec<&str> = all.iter().filter_map(|each| each.name.strip_prefix("refs/heads/")).collect();
        let hint = match near_match(branch, branches.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None if branches.is_empty() => "it has no branches yet; make a first commit.".to_owned(),
            None => {
                let shown = branches.iter().take(10).copied().collect::<Vec<_>>().join(", ");
                format!("it has {shown}{}.", if branches.len() > 10 { ", ..." } else { "" })
            }
        };
        Err(Error::new(ErrorKind::NotFound, format!("The repository {} has no branch {branch}; {hint}", self.shown())))
    }

    /// Whether there is a connection that nobody else uses, and that somebody has to let go of.
    pub(crate) fn holds_connection(&self) -> bool {
        matches!(self, Self::Wire(wire) if matches!(wire.transport, Transport::Ssh(_)))
    }

    /// Goes on with the work in the name of `cx`, after another step or a long pause with the credentials of the moment.
    pub(crate) async fn go_on(&mut self, cx: &Context) -> Result<()> {
        let Self::Wire(wire) = self else { return Ok(()) };
        let mut sign_in = wire.transport.sign_in().clone();
        sign_in.go_on(cx).await?;
        wire.transport.set_sign_in(sign_in)
    }

    /// Signs in from now on as `other` does, so that all requests of one attempt carry the same credentials.
    pub(crate) fn sign_in_as(&mut self, other: &Self) -> Result<()> {
        match (self, other) {
            (Self::Wire(wire), Self::Wire(other)) => wire.transport.set_sign_in(other.transport.sign_in().clone()),
            _ => Ok(()),
        }
    }

    /// Lets go of the connection, which is made again when it is needed. What was fetched stays.
    pub(crate) fn rest(&mut self) {
        if let Self::Wire(wire) = self {
            wire.transport.rest();
        }
    }

    /// The history of `tips` in all its branches, `depth` commits deep. With `trees`, what is needed to read files of them is fetched
    /// in the same round trip.
    pub(crate) async fn commits(
        &mut self,
        tips: &[ObjectId],
        depth: u32,
        trees: bool,
    ) -> Result<HashMap<ObjectId, CommitInfo>> {
        match self {
            Self::Local(local) => local.commits(tips, depth).await,
            Self::Wire(wire) => wire.commits(tips, depth, trees).await,
        }
    }

    /// Makes sure that a power cut does not take back where `branch` stands. A server sees to that itself.
    pub(crate) async fn flush(&mut self, branch: &str) -> Result<()> {
        match self {
            Self::Local(local) => local.flush(&format!("refs/heads/{branch}")).await,
            Self::Wire(_) => Ok(()),
        }
    }

    /// Changes refs, after storing what they lead to.
    pub(crate) async fn push(&mut self, push: &Push<'_>) -> Result<PushOutcome> {
        match self {
            Self::Local(local) => local.push(push).await,
            Self::Wire(wire) => wire.push(push).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_with_odd_people_in_it_is_read() {
        let hash = gix::hash::Kind::Sha1;
        let (tree, parent) = ("1".repeat(40), "2".repeat(40));
        for (who, author, time) in [
            ("Ada L. <ada@acme.example> 1767323045 -0800", "Ada L. <ada@acme.example>", 1_767_323_045),
            ("Tester <tester@localhost 5 +0000", "Tester <tester@localhost 5 +0000", 0),
            ("Tester", "Tester", 0),
            ("<> 1 +0000", "<>", 1),
            ("Tester <a@b> <c@d> 7 +0000", "Tester <a@b> <c@d>", 7),
            ("Tester <a@b> 9999999999999999999999 +0000", "Tester <a@b>", 0),
        ] {
            let signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n parent x\n -----END PGP SIGNATURE-----";
            let data =
                format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n{signature}\n\nOld\n\nKey: x\n");
            let info = CommitInfo::parse(data.as_bytes(), hash).unwrap();
            assert_eq!((info.author.as_str(), info.time), (author, time), "{who}");
            assert_eq!((info.tree.to_string(), info.parents.len()), (tree.clone(), 1));
            assert_eq!((info.subject().as_str(), info.trailer("Key")), ("Old", Some("x")));
        }
        for broken in
            ["", "tree 12", "parent x", &format!("tree {tree}\nparent 12\n\n"), &format!("tree {}", "1".repeat(64))]
        {
            assert!(CommitInfo::parse(broken.as_bytes(), hash).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_trailer_counts_in_the_last_paragraph_only() {
        let info = |message: &str| {
            let data = format!("tree {}\n\n{message}", "1".repeat(40));
            CommitInfo::parse(data.as_bytes(), gix::hash::Kind::Sha1).unwrap()
        };
        let commit = info("Promote\n\nKargo-Key: forged\n\nKargo-Stage: dev\nKargo-Key: real/0\n");
        assert_eq!(commit.trailer("Kargo-Key"), Some("real/0"));
        assert_eq!(info("Kargo-Key: x y\n\nbody\n").trailer("Kargo-Key"), None);
        assert_eq!(commit.subject(), "Promote");
        assert_eq!(info("\nA subject\non two lines\n\nBody\n").subject(), "A subject on two lines");
    }
}
