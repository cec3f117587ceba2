//! The [`Writer`] for Git.

use std::collections::HashSet;

use async_trait::async_trait;
use gix::ObjectId;
use jiff::SignedDuration;
use kargo_core::plugin::{Context, WriteRequest, Writer, Written};
use kargo_core::{Error, ErrorKind, Result, Retry, edit};
use serde_json::Value;

use crate::commit::{self, Draft, Identity};
use crate::remote::{NewObjects, Push, PushOutcome, RefUpdate, Remote, Session};
use crate::sign::Signer;
use crate::tree::TreeEdit;
use crate::turn::{pause, turn};
use crate::update::{YamlUpdate, branch_fault};

/// How often one call tries before it gives the step back to the engine. Kargo's default for pushes.
const MAX_TRIES: u32 = 50;
/// How often a refusal must be repeated, with the branch where it was, before it is believed: a server also refuses while it is moving
/// the ref for somebody else.
pub(crate) const REFUSALS: u32 = 3;
/// How long after the step's start a call counts as late.
pub(crate) const LATE: SignedDuration = SignedDuration::from_secs(5);
/// How often an answer may be lost before the step is given back to the engine.
pub(crate) const LOST: u32 = 5;

/// Writes values into YAML files of a branch, one commit for each step that changes something.
///
/// A step's configuration is a [`YamlUpdate`]. Of the repository only the file and the directories above it are fetched, only
/// new objects are sent, and the branch moves by compare and swap, so nobody's commit is ever lost.
///
/// The commit is made of the journal's facts alone, but for the time in a signature by gpg, and carries the trailer `Kargo-Key`. A step
/// that is run again after a crash or a lost answer looks for that trailer first, and so does one that lost a race or comes late; there
/// is never a second commit for it. When all is already as wanted, no commit is made.
///
/// When somebody else was quicker, the values are set again on top of that. If the other has set one of them to something else while this
/// call was at work, nothing is written: an error of the kind [`ErrorKind::Conflict`] names the file and the keys.
///
/// Outputs: `commit`, the id of the commit that holds the values, and `branch`.
///
/// Credentials are the remote's; one with [`credentials_from`](crate::RemoteBuilder::credentials_from) asks for them in each attempt.
///
/// ```
/// use kargo_git::{GitWriter, Remote};
///
/// let writer = GitWriter::new(Remote::new("https://git.example/acme/config.git")?)
///     .branch("main")
///     .committer("Kargo", "kargo@acme.example");
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GitWriter {
    remote: Remote,
    branch: String,
    identity: Identity,
    signer: Option<Signer>,
}

impl GitWriter {
    /// A writer to the branch `main` of `remote`, who commits as `Kargo <kargo@localhost>`.
    pub fn new(remote: Remote) -> Self {
        Self { remote, branch: "main".to_owned(), identity: Identity::default(), signer: None }
    }

    /// Sets the branch of steps that name none.
    #[must_use]
    pub fn branch(mut self, branch: impl Into<String>) -> Self {
        self.branch = branch.into();
        self
    }

    /// Sets who makes the commits. Characters that Git cannot keep in names are left out; of what is empty then, the default stays.
    #[must_use]
    pub fn committer(mut self, name: &str, email: &str) -> Self {
        self.identity = self.identity.or(name, email);
        self
    }

    /// Signs the commits. Forges that know the key of the committer then show them as verified.
    #[must_use]
    pub fn sign(mut self, signer: Signer) -> Self {
        self.signer = Some(signer);
        self
    }

    /// The repository.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    fn branch_of<'a>(&'a self, update: &'a YamlUpdate) -> Result<&'a str> {
        let branch = update.branch.as_deref().unwrap_or(&self.branch);
        match branch_fault(branch) {
            Some(fault) => {
                Err(Error::new(ErrorKind::InvalidInput, format!("{branch:?} is no name of a branch: {fault}.")))
            }
            None => Ok(branch),
        }
    }

    async fn write_to(&self, cx: &Context, request: &WriteRequest<'_>, update: &YamlUpdate) -> Result<Written> {
        let branch = self.branch_of(update)?;
        let mut values = Vec::with_capacity(update.updates.len());
        for each in &update.updates {
            values.push((each.key.clone(), each.value.resolve(&request.promotion.collection)?));
        }
        let draft = Draft {
            identity: self.identity.clone(),
            signer: self.signer.clone(),
            message: commit::message(request.promotion, cx.key(), update.message.as_deref()),
            at: request.started_at,
        };
        // Writers of one process wait in turn rather than race each other to the server.
        let turn = turn(self.remote.lock_key(), branch);
        let _turn = turn.lock().await;
        let mut look = request.resumed;
        // Tips under which there is no commit of this step.
        let mut without = HashSet::new();
        let (mut refusals, mut refused_at, mut lost) = (0, None, 0);
        // The file as it was when this call first saw it.
        let mut seen: Option<String> = None;
        for attempt in 0..MAX_TRIES {
            if attempt > 0 {
                cx.sleep(pause(attempt)).await?;
            }
            let mut session = self.remote.session(cx).await?;
            let tip = session.tip(branch).await?;
            if refused_at != Some(tip) {
                refusals = 0;
            }
            // A call that comes late, such as after a long wait for its turn, may have been overtaken by another process that took the
            // promotion over. What that one does after the tip was read moves the tip.
            look |= cx.now().duration_since(request.started_at) > LATE;
            if look && !without.contains(&tip) {
                let since = request.started_at.as_second();
                if let Some(own) = commit::find_own(&mut session, tip, cx.key(), since, &without).await? {
                    cx.progress(format!("found the commit {own} of an earlier try"));
                    session.flush(branch).await?;
                    return Ok(written(own, true, branch));
                }
                without.insert(tip);
            }
            let Edited { before, changed } = edited(&mut session, tip, branch, update, &values).await?;
            let Some((tree, mut objects)) = changed else {
                return Ok(written(tip, false, branch));
            };
            match &seen {
                None => seen = Some(before),
                Some(seen) if *seen != before => {
                    let keys = overtaken(seen, &before, update, &values);
                    if !keys.is_empty() {
                        return Err(self.overtaken(branch, tip, &update.path, &keys));
                    }
                }
                Some(_) => {}
            }
            let new = draft.commit(tree, Some(tip), &mut objects).await?;
            let moved = RefUpdate { name: format!("refs/heads/{branch}"), old: Some(tip), new: Some(new) };
            match session.push(&Push { updates: &[moved], objects: &objects, options: &[] }).await? {
                PushOutcome::Updated => {
                    session.pushed(&objects, new);
                    return Ok(written(new, true, branch));
                }
                PushOutcome::Conflict { tip, .. } => {
                    // What moved it may have been another process at work on the same step.
                    look = true;
                    let now = tip.map_or("gone".to_owned(), |tip| format!("at {tip}"));
                    cx.progress(format!("{branch} has moved and is {now}; trying again on top of it"));
                }
                PushOutcome::Rejected { reason, text } => {
                    refused_at = Some(tip);
                    refusals += 1;
                    if refusals >= REFUSALS {
                        return Err(refused(self.remote.url(), branch, &reason, &text));
                    }
                }
                PushOutcome::Unknown { error } => {
                    look = true;
                    lost += 1;
                    // The pause that a server names is the engine's to keep; the next call looks what became of the push.
                    if lost >= LOST || matches!(error.retry(), Retry::After(_)) {
                        return Err(unsettled(error).with("branch", branch));
                    }
                    cx.progress(format!("the answer to the push was lost ({error}); looking what became of it"));
                }
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("{branch} of {} moved {MAX_TRIES} times while it was written to.", self.remote.url()),
        ))
    }
}

impl GitWriter {
    fn overtaken(&self, branch: &str, tip: ObjectId, path: &str, keys: &[&str]) -> Error {
        Error::new(
            ErrorKind::Conflict,
            format!(
                "{branch} of {} has moved to {tip}, which sets {} of {path} in another way; look which one is right and promote again.",
                self.remote.url(),
                keys.join(", ")
            ),
        )
        .retry_as(Retry::Never)
    }
}

/// The keys whose values others have changed since the file was `seen`, and not to what they are set to here.
fn overtaken<'v>(seen: &str, now: &str, update: &YamlUpdate, values: &'v [(String, String)]) -> Vec<&'v str> {
    let is_free = |(key, ours): &(String, String)| {
        let wanted = [(key.clone(), ours.clone())];
        let is_set = update.edit(now, &wanted).is_ok_and(|updated| updated == now);
        is_set
            || match (value_of(seen, key), value_of(now, key)) {
                (Some(seen), Some(now)) => seen == now,
                // It was not there, and nobody else has made it.
                (None, None) => update.create,
                _ => false,
            }
    };
    values.iter().filter(|value| !is_free(value)).map(|(key, _)| key.as_str()).collect()
}

/// The value of a key: what is there no more when another one is set.
fn value_of(text: &str, key: &str) -> Option<Value> {
    let marked = edit::yaml::update(text, &[(key, "a value that no file has")]).ok()?;
    let (before, after) = (edit::yaml::parse(text).ok()?, edit::yaml::parse(&marked).ok()?);
    before.iter().zip(&after).find_map(|(before, after)| replaced(before, after)).cloned()
}

/// The first value in `before` that is another one in `after`, of the same shape.
fn replaced<'v>(before: &'v Value, after: &Value) -> Option<&'v Value> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.iter().find_map(|(key, value)| replaced(value, after.get(key)?))
        }
        (Value::Array(before), Value::Array(after)) => {
            before.iter().zip(after).find_map(|(before, after)| replaced(before, after))
        }
        _ => (before != after).then_some(before),
    }
}

#[async_trait]
impl Writer for GitWriter {
    fn validate(&self, config: &Value) -> Result<()> {
        let update = YamlUpdate::from_config(config)?;
        self.branch_of(&update).map(drop)
    }

    async fn write(&self, cx: &Context, request: &WriteRequest<'_>) -> Result<Written> {
        let update = YamlUpdate::from_config(request.config)?;
        cx.guard("write to a branch", self.write_to(cx, request, &update)).await
    }
}

/// What the values make of the file.
struct Edited {
    /// The file as it was.
    before: String,
    /// The tree with the values set, or `None` when they were.
    changed: Option<(ObjectId, NewObjects)>,
}

/// Sets the values.
async fn edited(
    session: &mut Session,
    tip: ObjectId,
    branch: &str,
    update: &YamlUpdate,
    values: &[(String, String)],
) -> Result<Edited> {
    let path = update.path.as_str();
    let mut tree = TreeEdit::on(session, tip).await?;
    let Some(bytes) = tree.read(session, path).await? else {
        let hint = tree.near(session, path).await?.map(|near| format!("; did you mean {near}?"));
        return Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "The branch {branch} of {} has no file {path}{}",
                session.shown(),
                hint.as_deref().unwrap_or("; add it first.")
            ),
        ));
    };
    let about = |error: Error| error.with("file", path).with("branch", branch).with("repository", session.shown());
    let text = String::from_utf8(bytes).map_err(|_| {
        about(Error::new(ErrorKind::InvalidInput, format!("The file {path} is not UTF-8 text, so it is no YAML.")))
    })?;
    let after = update.edit(&text, values).map_err(about)?;
    if after != text {
        tree.write(session, path, after.into_bytes()).await?;
    }
    Ok(Edited { before: text, changed: tree.finish()? })
}

fn written(commit: ObjectId, changed: bool, branch: &str) -> Written {
    let id = commit.to_string();
    Written::new(id.as_str(), changed).output("commit", id).output("branch", branch)
}

/// What is said of a push of which nobody knows what became: another call finds out, whatever it was that went wrong.
pub(crate) fn unsettled(error: Error) -> Error {
    if error.retry() == Retry::Never { error.retry_as(Retry::Backoff) } else { error }
}

pub(crate) fn refused(url: &str, branch: &str, reason: &str, text: &str) -> Error {
    let said = if text.is_empty() { String::new() } else { format!(" ({text})") };
    Error::new(
        ErrorKind::PermissionDenied,
        format!("{url} refused the push to {branch}: {reason}{said}; is the branch protected, or a hook against it?"),
    )
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::sync::{Arc, Mutex};

    use jiff::Timestamp;
    use kargo_core::{Actor, Clock, Freight, PromotionInfo};

    use super::*;
    use crate::testing::BareRepository;

    /// A clock that stands until it is set.
    #[derive(Debug)]
    struct Stopped(Mutex<Timestamp>);

    #[async_trait]
    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }

        async fn sleep_until(&self, _at: Timestamp) {
            std::future::pending().await
        }
    }

    async fn write(writer: &GitWriter, cx: Context, id: &str, value: &str) -> Result<Written> {
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let promotion = PromotionInfo::new("shop", id, "dev", Freight::new("main", vec![], at), Actor::engine(), at);
        let config = serde_json::to_value(YamlUpdate::new("values.yaml").set("tag", value)).unwrap();
        writer.write(&cx, &WriteRequest::new(&promotion, &config, at)).await
    }

    #[test]
    fn git_03_a_key_is_overtaken_when_its_value_is_neither_the_old_nor_the_wanted_one() {
        let seen = "image:\n  tag: v1\n  pull: Always\nports: [80, 81]\n";
        let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let values = [set("image.tag", "v2"), set("image.pull", "Never"), set("ports.1", "82")];
        for (now, expected) in [
            // The others have set one of two lines that stand together, to the same.
            (seen.replace("v1", "v2"), vec![]),
            (seen.replace("v1", "\"v2\" # by hand"), vec![]),
            // What stands beside the values is nobody's.
            (seen.replace("v1", "v1 # not the newest"), vec![]),
            (format!("# New.\n{}", seen.replace("tag: v1", "name: x\n  tag: 'v1'")), vec![]),
            (seen.replace("v1", "v3"), vec!["image.tag"]),
            (seen.replace("v1", "v3").replace("81", "83"), vec!["image.tag", "ports.1"]),
            (seen.replace("80, 81", "81, 80"), vec!["ports.1"]),
        ] {
            for create in [false, true] {
                let update = YamlUpdate { create, ..YamlUpdate::new("values.yaml") };
                assert_eq!(overtaken(seen, &now, &update, &values), expected, "{now}");
            }
        }
        let (update, values) =
            (YamlUpdate { create: true, ..YamlUpdate::new("values.yaml") }, [set("image.digest", "b")]);
        for (now, expected) in [
            (seen.replace("v1", "v3"), vec![]),
            (seen.replace("tag: v1", "tag: v1\n  digest: b"), vec![]),
            (seen.replace("tag: v1", "tag: v1\n  digest: a"), vec!["image.digest"]),
        ] {
            assert_eq!(overtaken(seen, &now, &update, &values), expected, "{now}");
        }
    }

    #[test]
    fn a_commit_always_has_a_committer() {
        let writer = GitWriter::new(Remote::new("/srv/config.git").unwrap()).committer("<>", " ");
        assert_eq!((writer.identity.name.as_str(), writer.identity.email.as_str()), ("Kargo", "kargo@localhost"));
        let writer = writer.committer(" Ada <Lovelace>\n", "ada@acme.example");
        assert_eq!(
            (writer.identity.name.as_str(), writer.identity.email.as_str()),
            ("Ada Lovelace", "ada@acme.example")
        );
    }

    #[tokio::test]
    async fn a_call_that_waited_long_for_its_turn_looks_whether_another_process_did_the_step() {
        let repository = BareRepository::new();
        repository.commit("main", &[("values.yaml", "tag: v1\n")], "Start");
        // The same repository under another path is another process to the lock of this one.
        let link = repository.path().with_extension("link");
        std::fs::create_dir(&link).unwrap();
        for entry in std::fs::read_dir(repository.path()).unwrap() {
            let entry = entry.unwrap();
            std::os::unix::fs::symlink(entry.path(), link.join(entry.file_name())).unwrap();
        }
        let other = GitWriter::new(Remote::new(link.to_str().unwrap()).unwrap());
        let writer = GitWriter::new(Remote::new(repository.url()).unwrap());

        let clock = Arc::new(Stopped(Mutex::new("2026-01-02T03:04:06Z".parse().unwrap())));
        let cx = |key: &str| Context::new(Arc::clone(&clock) as Arc<dyn Clock>, Actor::engine(), key);
        let held = turn(writer.remote.lock_key(), "main");
        let held = held.lock().await;
        let call = tokio::spawn({
            let (writer, cx) = (writer.clone(), cx("dev.1/step-1"));
            async move { write(&writer, cx, "dev.1", "v2").await }
        });
        tokio::task::yield_now().await;
        *clock.0.lock().unwrap() = "2026-01-02T03:05:00Z".parse().unwrap();
        let first = write(&other, cx("dev.1/step-1"), "dev.1", "v2").await.unwrap();
        write(&other, cx("dev.2/step-1"), "dev.2", "v3").await.unwrap();
        drop(held);
        assert_eq!(call.await.unwrap().unwrap(), first);
        assert_eq!(repository.read("main", "values.yaml"), "tag: v3\n");
    }
}
