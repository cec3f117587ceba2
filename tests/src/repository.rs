//! A Git repository on a server, the step that is written to it, and what stock git says of it, whichever the way to the server.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use jiff::Timestamp;
use kargo_core::plugin::{Context, WriteRequest, Writer as _, Written};
use kargo_core::{Actor, Artifact, Freight, Image, Pick, PromotionInfo, Result, SystemClock};
use kargo_git::testing::BareRepository;
use kargo_git::{GitWriter, YamlUpdate};

use crate::git;

/// What is in the files of [`start`].
pub const VALUES: &str =
    "# The shop's values.\nimage:\n  repository: ghcr.io/acme/app\n  tag: \"v1\" # set by Kargo\nreplicas: 2\n";
/// The file that steps write to.
pub const PATH: &str = "env/dev/values.yaml";

/// A repository below `root` with one commit, that no other test and no other run uses, and its name there.
pub fn start(root: &Path, name: &str) -> (String, BareRepository) {
    let name = unique(name);
    let repository = BareRepository::create(root.join(&name));
    repository.commit("main", &[(PATH, VALUES), ("env/prod/values.yaml", VALUES), ("README.md", "Hello\n")], "Start");
    (name, repository)
}

/// As [`start`], with ids of SHA-256.
pub fn start_sha256(root: &Path, name: &str) -> (String, BareRepository) {
    let name = unique(name);
    let bare = root.join(&name);
    let work = tempfile::tempdir().expect("the disk has room");
    git(root, &["init", "-q", "--bare", "--object-format=sha256", "-b", "main", &name]);
    git(work.path(), &["clone", "-q", bare.to_str().expect("the path is text"), "."]);
    std::fs::create_dir_all(work.path().join("env/dev")).expect("the disk has room");
    std::fs::write(work.path().join(PATH), VALUES).expect("the disk has room");
    git(work.path(), &["add", "."]);
    git(work.path(), &["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "Start"]);
    git(work.path(), &["push", "-q", "origin", "HEAD:main"]);
    (name, BareRepository::open(&bare))
}

fn unique(name: &str) -> String {
    format!("{name}-{}-{}.git", std::process::id(), Timestamp::now().as_nanosecond())
}

/// The promotion `id` of an image with the tag `tag`.
pub fn promotion(id: &str, tag: &str) -> PromotionInfo {
    let image = Image {
        repo_url: "ghcr.io/acme/app".into(),
        tag: tag.into(),
        digest: format!("sha256:{}", "0".repeat(64)),
        annotations: Default::default(),
        created_at: None,
        subscription_name: None,
    };
    let at: Timestamp = "2026-01-02T03:04:05Z".parse().expect("it is a time");
    let freight = Freight::new("main", vec![Artifact::Image(image)], at);
    PromotionInfo::new("shop", id, "dev", freight, Actor::user("alice"), at)
}

/// The step that sets the image's tag in the file `path`.
pub fn image_tag(path: &str) -> YamlUpdate {
    YamlUpdate::new(path).set("image.tag", Pick::ImageTag("ghcr.io/acme/app".into()))
}

/// A call under `key`.
pub fn context(key: &str) -> Context {
    Context::new(Arc::new(SystemClock), Actor::user("alice"), key)
}

/// Runs the step of the promotion `id`, which began long ago.
///
/// # Errors
/// What the writer returns.
pub async fn write(writer: &GitWriter, id: &str, tag: &str, path: &str, resumed: bool) -> Result<Written> {
    let started = "2026-01-02T03:04:06Z".parse().expect("it is a time");
    write_at(writer, id, tag, path, started, resumed).await
}

/// As [`write()`], run again as a resumed step until it has written: what a server that loses answers asks for.
pub async fn write_until_written(writer: &GitWriter, id: &str, tag: &str, path: &str) -> Written {
    let mut outcome = write(writer, id, tag, path, false).await;
    for _ in 0..10 {
        if outcome.is_ok() {
            break;
        }
        outcome = write(writer, id, tag, path, true).await;
    }
    outcome.expect("it is written in the end")
}

/// Runs the step of the promotion `id`, which began at `started`.
///
/// # Errors
/// What the writer returns.
pub async fn write_at(
    writer: &GitWriter,
    id: &str,
    tag: &str,
    path: &str,
    started: Timestamp,
    resumed: bool,
) -> Result<Written> {
    write_in(context(&format!("{id}/step-1")), writer, id, tag, path, started, resumed).await
}

/// As [`write_at`], in a call of one's own.
///
/// # Errors
/// What the writer returns.
pub async fn write_in(
    cx: Context,
    writer: &GitWriter,
    id: &str,
    tag: &str,
    path: &str,
    started: Timestamp,
    resumed: bool,
) -> Result<Written> {
    let promotion = promotion(id, tag);
    let config = serde_json::to_value(image_tag(path)).expect("it is JSON");
    writer.write(&cx, &WriteRequest::new(&promotion, &config, started).resumed(resumed)).await
}

/// Has stock git check the repository.
///
/// # Panics
/// When it finds a fault.
pub fn fsck(repository: &BareRepository) {
    let output = Command::new("git").arg("-C").arg(repository.path()).args(["fsck", "--strict", "--full"]).output();
    let output = output.expect("git is installed");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && !said.contains("error") && !said.contains("missing"), "git fsck: {said}");
}

/// Gives the repository a hook that is a shell script.
pub fn hook(repository: &BareRepository, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = repository.path().join("hooks").join(name);
    std::fs::create_dir_all(repository.path().join("hooks")).expect("the disk has room");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the disk has room");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("the file is ours");
}

/// Sets what the server may do for this repository.
pub fn configure(repository: &BareRepository, key: &str, value: &str) {
    git(repository.path(), &["config", key, value]);
}

/// Text that does not compress.
pub fn noise(length: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let letter = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        char::from(b' ' + (*state % 95) as u8)
    };
    (0..length).map(|_| letter(&mut state)).collect()
}

/// Gives the repository a hook by which somebody else moves `branch` in the midst of each push to it, `times` times at most, each time with
/// a commit of their own on top of where it stands, whose message is `message`.
pub fn overtake(repository: &BareRepository, branch: &str, times: u32, message: &str) {
    let counter = repository.path().join("overtaken");
    let script = format!(
        "[ \"$1\" = refs/heads/{branch} ] || exit 0\n\
         n=$(cat {counter} 2>/dev/null || echo 0)\n\
         [ $n -ge {times} ] && exit 0\n\
         echo $((n + 1)) >{counter}\n\
         export GIT_AUTHOR_NAME=them GIT_AUTHOR_EMAIL=them@localhost GIT_COMMITTER_NAME=them GIT_COMMITTER_EMAIL=them@localhost\n\
         new=$(printf '{message}' | git commit-tree -p $1 $1^{{tree}}) && git update-ref $1 $new",
        counter = counter.display()
    );
    hook(repository, "update", &script);
}

/// The processes of `ssh` that talk to the repository of this name.
pub fn ssh_processes(name: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("this is Linux");
    let commands = processes.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok());
    commands.filter(|command| command.starts_with("ssh\0") && command.contains(name)).count()
}
