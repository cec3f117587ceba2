//! Git over HTTP against Git's own server side.
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use kargo_core::plugin::{
    Context, DiscoverRequest, Discovery, History as _, Relation, Source as _, WriteRequest, Writer as _, Written,
};
use kargo_core::{
    Actor, Artifact, ErrorKind, Freight, Image, Pick, PromotionInfo, Result, Retry, Subscription, SystemClock,
};
use kargo_git::testing::BareRepository;
use kargo_git::{
    Credentials, GitSource, GitSubscription, GitWriter, Limits, Remote, RemoteBuilder, Timeouts, YamlUpdate,
};

use kargo_tests::git;

const VALUES: &str =
    "# The shop's values.\nimage:\n  repository: ghcr.io/acme/app\n  tag: \"v1\" # set by Kargo\nreplicas: 2\n";
const PATH: &str = "env/dev/values.yaml";

/// The server, as the environment describes it.
struct Server {
    root: PathBuf,
    url: String,
    read_only: String,
    https: String,
    ca: PathBuf,
    user: String,
    password: String,
}

impl Server {
    fn find() -> Self {
        Self {
            root: kargo_tests::server("KARGO_TEST_GIT_ROOT").into(),
            url: kargo_tests::server("KARGO_TEST_GIT_HTTP"),
            read_only: kargo_tests::server("KARGO_TEST_GIT_HTTP_READONLY"),
            https: kargo_tests::server("KARGO_TEST_GIT_HTTPS"),
            ca: kargo_tests::server("KARGO_TEST_GIT_CA").into(),
            user: kargo_tests::server("KARGO_TEST_GIT_USER"),
            password: kargo_tests::server("KARGO_TEST_GIT_PASSWORD"),
        }
    }

    /// A repository with one commit that no other test and no other run uses.
    fn repository(&self, name: &str) -> (String, BareRepository) {
        let nanos = Timestamp::now().as_nanosecond();
        let name = format!("git-http-{name}-{}-{nanos}.git", std::process::id());
        let repository = BareRepository::create(self.root.join(&name));
        repository.commit(
            "main",
            &[(PATH, VALUES), ("env/prod/values.yaml", VALUES), ("README.md", "Hello\n")],
            "Start",
        );
        (name, repository)
    }

    fn remote(&self, name: &str) -> RemoteBuilder {
        self.remote_at(&format!("{}/{name}", self.url))
    }

    fn remote_at(&self, url: &str) -> RemoteBuilder {
        Remote::builder(url).credentials(Credentials::basic(&self.user, self.password.as_str()))
    }

    fn writer(&self, name: &str) -> GitWriter {
        GitWriter::new(self.remote(name).build().unwrap())
    }
}

fn promotion(id: &str, tag: &str) -> PromotionInfo {
    let image = Image {
        repo_url: "ghcr.io/acme/app".into(),
        tag: tag.into(),
        digest: format!("sha256:{}", "0".repeat(64)),
        annotations: Default::default(),
        created_at: None,
        subscription_name: None,
    };
    let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let freight = Freight::new("main", vec![Artifact::Image(image)], at);
    PromotionInfo::new("shop", id, "dev", freight, Actor::user("alice"), at)
}

fn image_tag(path: &str) -> YamlUpdate {
    YamlUpdate::new(path).set("image.tag", Pick::ImageTag("ghcr.io/acme/app".into()))
}

fn context(key: &str) -> Context {
    Context::new(Arc::new(SystemClock), Actor::user("alice"), key)
}

async fn write(writer: &GitWriter, id: &str, tag: &str, path: &str, resumed: bool) -> Result<Written> {
    let started = "2026-01-02T03:04:06Z".parse().unwrap();
    write_at(writer, id, tag, path, started, resumed).await
}

async fn write_at(
    writer: &GitWriter,
    id: &str,
    tag: &str,
    path: &str,
    started: Timestamp,
    resumed: bool,
) -> Result<Written> {
    let (promotion, config) = (promotion(id, tag), serde_json::to_value(image_tag(path)).unwrap());
    let cx = context(&format!("{id}/step-1"));
    writer.write(&cx, &WriteRequest::new(&promotion, &config, started).resumed(resumed)).await
}

fn fsck(repository: &BareRepository) {
    let output = Command::new("git").arg("-C").arg(repository.path()).args(["fsck", "--strict", "--full"]).output();
    let output = output.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && !said.contains("error") && !said.contains("missing"), "git fsck: {said}");
}

fn hook(repository: &BareRepository, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = repository.path().join("hooks").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn configure(repository: &BareRepository, key: &str, value: &str) {
    git(repository.path(), &["config", key, value]);
}

/// A relay in front of the server. `request` may change what goes there; once `cut` is set, the answer to the next push is kept back
/// and the connection closed, after the server has done its work.
struct Relay {
    address: String,
    cut: Arc<AtomicBool>,
}

impl Relay {
    fn new(server: &Server, request: fn(&mut Vec<u8>)) -> Self {
        let upstream = server.url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cut = Arc::new(AtomicBool::new(false));
        let flag = cut.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&upstream).unwrap());
                let flag = flag.clone();
                let pushing = Arc::new(AtomicBool::new(false));
                let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let marked = pushing.clone();
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 1 << 16];
                    while let Ok(n @ 1..) = from_client.read(&mut buffer) {
                        let mut bytes = buffer[..n].to_vec();
                        request(&mut bytes);
                        if bytes.starts_with(b"POST") && contains(&bytes, b"/git-receive-pack") {
                            marked.store(true, Ordering::SeqCst);
                        }
                        if to_server.write_all(&bytes).is_err() {
                            break;
                        }
                    }
                    let _ = to_server.shutdown(Shutdown::Write);
                });
                let (mut from_server, mut to_client) = (server, client);
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 1 << 16];
                    while let Ok(n @ 1..) = from_server.read(&mut buffer) {
                        if pushing.load(Ordering::SeqCst) && flag.swap(false, Ordering::SeqCst) {
                            break;
                        }
                        if to_client.write_all(&buffer[..n]).is_err() {
                            break;
                        }
                    }
                    let _ = to_client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, cut }
    }

    fn url(&self, name: &str) -> String {
        format!("http://{}/git/{name}", self.address)
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn a_promotion_is_one_commit_that_changes_one_line_of_one_file() {
    let server = Server::find();
    let (name, repository) = server.repository("one-line");
    let written = write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap();
    assert!(written.changed);
    let stat = |arguments: &[&str]| git(repository.path(), arguments);
    assert_eq!(stat(&["rev-parse", "main"]), written.revision.as_str());
    assert_eq!(stat(&["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
    let diff = stat(&["diff", "--stat", "main~1", "main"]);
    assert!(diff.contains("1 file changed, 1 insertion(+), 1 deletion(-)"), "{diff}");
    let key = "--format=%(trailers:key=Kargo-Key,valueonly)|%(trailers:key=Kargo-Actor,valueonly)|%an <%ae>|%aI|%cI";
    let log = stat(&["log", "-1", key, "main"]).replace('\n', "");
    assert!(log.starts_with("dev.1/step-1|user:alice|Kargo <kargo@localhost>|2026-01-02T03:04:06"), "{log}");
    assert_eq!(repository.read("main", PATH), VALUES.replace("v1", "v2"));
    fsck(&repository);
    // Another write goes on top of it.
    write(&server.writer(&name), "prod.1", "v2", "env/prod/values.yaml", false).await.unwrap();
    assert_eq!(stat(&["rev-list", "--count", "main"]), "3");
    fsck(&repository);
}

#[tokio::test]
async fn git_07_when_nothing_changes_nothing_is_pushed() {
    let server = Server::find();
    let (name, repository) = server.repository("no-change");
    // The address at which nobody may push is good enough.
    let writer = GitWriter::new(Remote::new(format!("{}/{name}", server.read_only)).unwrap());
    let written = write(&writer, "dev.1", "v1", PATH, false).await.unwrap();
    assert!(!written.changed);
    assert_eq!(written.revision.as_str(), repository.head("main"));
    assert_eq!(repository.log("main").len(), 1);
}

/// Eight spellings of one repository's URL, so that no lock of this process puts the writers in order.
fn spellings(name: &str) -> Vec<String> {
    (0..8).map(|n| format!("{}%{:02x}{}", &name[..n], name.as_bytes()[n], &name[n + 1..])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn git_01_git_03_racing_writers_all_land_in_a_line() {
    let server = Server::find();
    let (name, repository) = server.repository("races");
    let files: Vec<String> = (0..8).map(|n| format!("race/s{n}/values.yaml")).collect();
    let contents: Vec<(&str, &str)> = files.iter().map(|path| (path.as_str(), VALUES)).collect();
    repository.commit("main", &contents, "Files to race on");
    let mut tasks = Vec::new();
    for (n, (path, spelling)) in files.iter().cloned().zip(spellings(&name)).enumerate() {
        let writer = server.writer(&spelling);
        tasks.push(tokio::spawn(async move {
            for m in 0..5 {
                let written = write(&writer, &format!("s{n}.{m}"), &format!("v{n}.{m}"), &path, false).await.unwrap();
                assert!(written.changed);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let log = repository.log("main");
    assert_eq!(log.len(), 42);
    assert!(log[..40].iter().all(|commit| commit.parents == 1 && commit.changed_files.len() == 1));
    let keys: std::collections::BTreeSet<&str> =
        log[..40].iter().map(|commit| commit.trailers["Kargo-Key"].as_str()).collect();
    assert_eq!(keys.len(), 40);
    for (n, path) in files.iter().enumerate() {
        assert!(repository.read("main", path).contains(&format!("v{n}.4")));
    }
    fsck(&repository);
}

#[tokio::test]
async fn git_02_a_lost_race_is_known_by_the_ref_however_the_server_words_it() {
    let server = Server::find();
    let (name, repository) = server.repository("worded");
    let other = repository.commit("other", &[("other.txt", "x\n")], "Somebody else's");
    let marker = repository.path().join("raced");
    // Somebody else wins at the last moment, and the server says so in words of its own.
    let script = format!(
        "[ -e {0} ] && exit 0\ntouch {0}\ngit update-ref refs/heads/main {other}\necho 'incorrect old value provided' >&2\nexit 1",
        marker.display()
    );
    // The winner's commit must have the file, or there would be nothing to write on top of it.
    repository.commit("other", &[(PATH, VALUES)], "Somebody else's values");
    let script = script.replace(&other, &repository.head("other"));
    hook(&repository, "update", &script);
    let written = write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap();
    assert!(marker.exists() && written.changed);
    let log = repository.log("main");
    assert_eq!(log[0].id, written.revision.as_str());
    assert_eq!(log[1].subject, "Somebody else's values");
}

#[tokio::test]
async fn a_race_that_is_lost_to_the_same_step_of_another_process_is_won() {
    let server = Server::find();
    let (name, repository) = server.repository("same-step");
    // What the other process does meanwhile: this very step, and then one that comes after it.
    repository.branch("other", "main");
    let other = GitWriter::new(Remote::new(repository.url()).unwrap()).branch("other");
    // On time, so that nothing but the race itself makes it look.
    let started = Timestamp::now();
    let its = write_at(&other, "dev.1", "v2", PATH, started, false).await.unwrap();
    write_at(&other, "dev.2", "v3", PATH, started, false).await.unwrap();
    let marker = repository.path().join("raced");
    let script = "[ -e MARKER ] && exit 0\ntouch MARKER\ngit update-ref refs/heads/main TIP\nexit 1";
    let script = script.replace("MARKER", &marker.display().to_string()).replace("TIP", &repository.head("other"));
    hook(&repository, "update", &script);
    let written = write_at(&server.writer(&name), "dev.1", "v2", PATH, started, false).await.unwrap();
    assert!(marker.exists());
    assert_eq!(written.revision, its.revision);
    assert!(repository.read("main", PATH).contains("v3"), "the later step is not taken back");
}

#[tokio::test]
async fn a_push_whose_answer_is_lost_is_settled_by_the_ref() {
    let server = Server::find();
    let (name, repository) = server.repository("lost");
    let relay = Relay::new(&server, |_| {});
    relay.cut.store(true, Ordering::SeqCst);
    let writer = GitWriter::new(server.remote_at(&relay.url(&name)).build().unwrap());
    let written = write(&writer, "dev.1", "v2", PATH, false).await.unwrap();
    assert!(!relay.cut.load(Ordering::SeqCst), "the answer was kept back");
    assert!(written.changed);
    assert_eq!(repository.log("main").len(), 2);
    assert_eq!(repository.head("main"), written.revision.as_str());
}

#[tokio::test]
async fn a_push_that_lands_after_the_client_gave_up_is_found_by_the_next_call() {
    let server = Server::find();
    let (name, repository) = server.repository("slow");
    hook(&repository, "pre-receive", "sleep 3");
    let timeouts = Timeouts { read: Duration::from_secs(1), ..Timeouts::default() };
    let writer = GitWriter::new(server.remote(&name).timeouts(timeouts).build().unwrap());
    // Five lost answers end a call; by then the first push has landed, or the step is run again.
    let mut outcome = write(&writer, "dev.1", "v2", PATH, false).await;
    for _ in 0..10 {
        if outcome.is_ok() {
            break;
        }
        outcome = write(&writer, "dev.1", "v2", PATH, true).await;
    }
    let written = outcome.unwrap();
    // Whatever the tries were, all of them made the same commit.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let again = write(&writer, "dev.1", "v2", PATH, true).await.unwrap();
    assert_eq!(again, written);
    assert_eq!(repository.log("main").len(), 2);
    fsck(&repository);
}

#[tokio::test]
async fn a_step_that_is_run_again_finds_its_commit_under_those_of_others() {
    let server = Server::find();
    let (name, repository) = server.repository("resumed");
    let writer = server.writer(&name);
    let first = write(&writer, "dev.1", "v2", PATH, false).await.unwrap();
    for n in 0..40 {
        repository.commit("main", &[("README.md", &format!("Edit {n}\n"))], &format!("Edit {n}"));
    }
    write(&writer, "dev.2", "v3", PATH, false).await.unwrap();
    assert_eq!(write(&writer, "dev.1", "v2", PATH, true).await.unwrap(), first);
    assert_eq!(repository.log("main").len(), 43);
}

#[tokio::test]
async fn wrong_missing_and_insufficient_credentials_are_told_apart() {
    let server = Server::find();
    let (name, repository) = server.repository("credentials");
    let url = format!("{}/{name}", server.url);
    let wrong =
        Remote::builder(&url).credentials(Credentials::basic(&server.user, "not-the-password")).build().unwrap();
    let error = write(&GitWriter::new(wrong), "dev.1", "v2", PATH, false).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never));
    assert!(error.message().contains(&server.user), "{error}");
    assert!(!error.report().contains("not-the-password") && !format!("{error:?}").contains("not-the-password"));

    let error = write(&GitWriter::new(Remote::new(&url).unwrap()), "dev.1", "v2", PATH, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);

    let read_only = Remote::new(format!("{}/{name}", server.read_only)).unwrap();
    let error = write(&GitWriter::new(read_only), "dev.1", "v2", PATH, false).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::PermissionDenied, Retry::Never));
    assert_eq!(repository.log("main").len(), 1);
}

#[tokio::test]
async fn over_https_a_certificate_of_ones_own_authority_counts_once_it_is_given() {
    let server = Server::find();
    let (name, repository) = server.repository("https");
    let ca = std::fs::read(&server.ca).unwrap();
    let url = format!("{}/{name}", server.https);
    let writer = GitWriter::new(server.remote_at(&url).ca_certificates(ca.clone()).build().unwrap());
    let written = write(&writer, "dev.1", "v2", PATH, false).await.unwrap();
    assert_eq!(repository.head("main"), written.revision.as_str());

    // Without it nothing is sent, and the error says what to do.
    let error = write(&GitWriter::new(server.remote_at(&url).build().unwrap()), "dev.2", "v3", PATH, false).await;
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Never), "{}", error.report());
    assert!(error.message().contains("not trusted") && error.message().contains("ca_certificates"), "{error}");
    assert!(!error.report().contains(&server.password), "{}", error.report());
    assert_eq!(repository.log("main").len(), 2);

    // A certificate counts for its names only.
    let elsewhere = url.replace("//localhost:", "//127.0.0.1:");
    let elsewhere = GitWriter::new(server.remote_at(&elsewhere).ca_certificates(ca.clone()).build().unwrap());
    let error = write(&elsewhere, "dev.2", "v3", PATH, false).await.unwrap_err();
    assert!(error.message().contains("not trusted"), "{}", error.report());

    let config = Subscription::from(GitSubscription::new(&url)).config;
    let source =
        GitSource::new().credentials(&server.https, Credentials::basic(&server.user, server.password.as_str()));
    let cx = context("discover");
    let error = source.discover(&cx, &DiscoverRequest::new(&config)).await.unwrap_err();
    assert!(error.message().contains("ca_certificates"), "{error}");
    let source = source.ca_certificates(ca);
    assert!(matches!(source.discover(&cx, &DiscoverRequest::new(&config)).await, Ok(Discovery::Found { .. })));
}

#[tokio::test]
async fn a_server_that_names_a_pause_during_a_push_is_not_asked_before_it_is_over() {
    let server = Server::find();
    let (name, repository) = server.repository("busy");
    let relay = Relay::new(&server, |bytes| {
        if bytes.starts_with(b"POST /git/") && contains(bytes, b"/git-receive-pack HTTP") {
            bytes[5..10].copy_from_slice(b"/503/");
        }
    });
    let writer = GitWriter::new(server.remote_at(&relay.url(&name)).build().unwrap());
    let error = write(&writer, "dev.1", "v2", PATH, false).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::After(Duration::from_secs(7))));
    // What the engine does when the pause is over.
    let written = write(&server.writer(&name), "dev.1", "v2", PATH, true).await.unwrap();
    assert!(written.changed);
    assert_eq!(repository.log("main").len(), 2);
}

#[tokio::test]
async fn a_shallow_repository_on_the_server_is_written_to() {
    let server = Server::find();
    let (name, repository) = server.repository("deep");
    for n in 0..3 {
        repository.commit("main", &[("README.md", &format!("Edit {n}\n"))], &format!("Edit {n}"));
    }
    let shallow = name.replace("deep", "shallow");
    git(&server.root, &["clone", "--quiet", "--bare", "--depth", "2", &repository.url(), &shallow]);
    let writer = server.writer(&shallow);
    let started = Timestamp::now() + Duration::from_secs(2);
    let written = write_at(&writer, "dev.1", "v2", PATH, started, true).await.unwrap();
    assert!(written.changed);
    assert_eq!(write_at(&writer, "dev.1", "v2", PATH, started, true).await.unwrap(), written);
    let copy = BareRepository::open(server.root.join(&shallow));
    assert_eq!(copy.head("main"), written.revision.as_str());
    // A step that began before all there is: nobody can tell.
    let error = write(&writer, "dev.0", "v0", PATH, true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("cut off"), "{error}");
}

#[tokio::test]
async fn a_hook_that_refuses_is_heard() {
    let server = Server::find();
    let (name, repository) = server.repository("hook");
    hook(&repository, "pre-receive", "echo 'main is frozen until Monday' >&2\nexit 1");
    let error = write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("main is frozen until Monday"), "{error}");
    assert_eq!(repository.log("main").len(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let server = Server::find();
    let (name, _repository) = server.repository("missing");
    let error = write(&server.writer("nowhere.git"), "dev.1", "v2", PATH, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("nowhere.git"), "{error}");

    let error = write(&server.writer(&name).branch("mian"), "dev.1", "v2", PATH, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("did you mean main?"), "{error}");

    let error = write(&server.writer(&name), "dev.1", "v2", "env/dev/value.yaml", false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("did you mean env/dev/values.yaml?"), "{error}");
}

#[tokio::test]
async fn a_server_without_filters_is_written_to_within_the_limit() {
    let server = Server::find();
    let (name, repository) = server.repository("no-filter");
    configure(&repository, "uploadpack.allowFilter", "false");
    // Not even by id, as far as an old server would go.
    configure(&repository, "uploadpack.allowAnySHA1InWant", "false");
    repository.commit("main", &[("big.bin", &noise(1 << 20))], "Something big");
    let written = write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap();
    assert_eq!(git(repository.path(), &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
    assert!(written.changed);
    let limits = Limits { bytes: 100_000, ..Limits::default() };
    let small = GitWriter::new(server.remote(&name).limits(limits).build().unwrap());
    let error = write(&small, "dev.2", "v3", PATH, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("allowFilter"), "{error}");
}

#[tokio::test]
async fn with_filters_a_big_repository_costs_a_few_kilobytes() {
    let server = Server::find();
    let (name, repository) = server.repository("filter");
    repository.commit("main", &[("big.bin", &noise(1 << 20)), ("env/dev/big.bin", &noise(1 << 20))], "Something big");
    let limits = Limits { bytes: 20_000, requests: 12 };
    let writer = GitWriter::new(server.remote(&name).limits(limits).build().unwrap());
    assert!(write(&writer, "dev.1", "v2", PATH, false).await.unwrap().changed);
    assert_eq!(git(repository.path(), &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
    fsck(&repository);
}

#[tokio::test]
async fn a_server_that_speaks_only_the_old_protocol_is_written_to() {
    let server = Server::find();
    let (name, repository) = server.repository("v0");
    let relay = Relay::new(&server, |bytes| {
        let header = b"git-protocol";
        let at = bytes.windows(header.len()).position(|window| window.eq_ignore_ascii_case(header));
        if let Some(at) = at {
            bytes[at..at + header.len()].copy_from_slice(b"git-pr0toc0l");
        }
    });
    for (n, any) in ["true", "false"].into_iter().enumerate() {
        configure(&repository, "uploadpack.allowAnySHA1InWant", any);
        let writer = GitWriter::new(server.remote_at(&relay.url(&name)).build().unwrap());
        let (id, tag) = (format!("dev.{n}"), format!("v2.{n}"));
        let written = write(&writer, &id, &tag, PATH, false).await.unwrap();
        assert!(written.changed);
        assert_eq!(write(&writer, &id, &tag, PATH, true).await.unwrap(), written);
        assert_eq!(git(repository.path(), &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
        let cx = context("relate");
        let first = repository.log("main").pop().unwrap().id;
        let relation = writer.remote().relate(&cx, &written.revision, &first.as_str().into()).await.unwrap();
        assert_eq!(relation, Relation::Later);
    }
}

#[tokio::test]
async fn a_repository_whose_ids_are_sha256_is_written_to() {
    let server = Server::find();
    let name = format!("git-http-sha256-{}-{}.git", std::process::id(), Timestamp::now().as_nanosecond());
    let bare = server.root.join(&name);
    let work = tempfile::tempdir().unwrap();
    git(&server.root, &["init", "-q", "--bare", "--object-format=sha256", "-b", "main", &name]);
    git(work.path(), &["clone", "-q", bare.to_str().unwrap(), "."]);
    std::fs::create_dir_all(work.path().join("env/dev")).unwrap();
    std::fs::write(work.path().join(PATH), VALUES).unwrap();
    git(work.path(), &["add", "."]);
    git(work.path(), &["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "Start"]);
    git(work.path(), &["push", "-q", "origin", "HEAD:main"]);
    let written = write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap();
    assert_eq!(written.revision.as_str().len(), 64);
    assert_eq!(git(&bare, &["rev-parse", "main"]), written.revision.as_str());
    fsck(&BareRepository::open(&bare));
}

#[tokio::test]
async fn two_commits_are_related_by_fetching_commits_alone() {
    let server = Server::find();
    let (name, repository) = server.repository("relate");
    let limits = Limits { bytes: 60_000, ..Limits::default() };
    let remote = server.remote(&name).limits(limits).build().unwrap();
    let a = repository.head("main");
    repository.branch("side", "main");
    for n in 0..40 {
        repository.commit("main", &[("big.bin", &noise(1 << 16)), ("n", &n.to_string())], "On main");
    }
    let (b, c) = (repository.head("main"), repository.commit("side", &[("README.md", "c\n")], "On the side"));
    let unknown = "7".repeat(40);
    let cx = context("relate");
    for (observed, wanted, relation) in [
        (&a, &a, Relation::Same),
        (&b, &a, Relation::Later),
        (&a, &b, Relation::Earlier),
        (&b, &c, Relation::Diverged),
        (&unknown, &a, Relation::Unknown),
    ] {
        let found = remote.relate(&cx, &observed.as_str().into(), &wanted.as_str().into()).await.unwrap();
        assert_eq!(found, relation, "{observed} {wanted}");
    }
}

#[tokio::test]
async fn git_14_branches_and_annotated_tags_are_found_by_their_commits() {
    let server = Server::find();
    let (name, repository) = server.repository("source");
    let old = repository.head("main");
    let tag = repository.tag("v1.0.0", "main", Some("Release\n"));
    let new = repository.commit("main", &[("big.bin", &noise(1 << 20))], "Second");
    repository.tag("v1.1.0", "main", None);
    let url = format!("{}/{name}", server.url);
    let source = GitSource::new().credentials(&server.url, Credentials::basic(&server.user, server.password.as_str()));
    let cx = context("discover");
    for (subscription, expected) in [
        (GitSubscription::new(&url).semver("^1"), [(Some("v1.1.0"), &new), (Some("v1.0.0"), &old)]),
        (GitSubscription::new(&url).branch("main"), [(None, &new), (None, &old)]),
        (GitSubscription::new(&url), [(None, &new), (None, &old)]),
    ] {
        let config = Subscription::from(subscription).config;
        let found = source.discover(&cx, &DiscoverRequest::new(&config)).await.unwrap();
        let Discovery::Found { candidates, cursor } = found else { panic!("nothing was found") };
        let commits = candidates.iter().map(|candidate| match candidate {
            Artifact::Commit(commit) => (commit.tag.as_deref(), &commit.id),
            other => panic!("{other} is no commit"),
        });
        assert_eq!(commits.collect::<Vec<_>>(), expected, "{config}");
        assert!(expected.iter().all(|(_, id)| **id != tag));
        let again = source.discover(&cx, &DiscoverRequest::new(&config).with_cursor(cursor.as_ref())).await.unwrap();
        assert_eq!(again, Discovery::Unchanged);
    }
}

#[tokio::test]
async fn ten_thousand_tags_and_tags_of_tags_cost_one_listing_and_a_small_cursor() {
    let server = Server::find();
    let (name, repository) = server.repository("tags");
    let commit = repository.head("main");
    repository.tag("inner", "main", Some("A tag\n"));
    let identity = ["-c", "user.name=Tester", "-c", "user.email=tester@localhost"];
    git(repository.path(), &[identity.as_slice(), &["tag", "-a", "v2.0.0", "inner", "-m", "A tag of a tag"]].concat());
    let mut tags: Vec<String> =
        (0..10_000).map(|n| format!("{commit} refs/tags/v1.{}.{}\n", n / 100, n % 100)).collect();
    tags.extend(["latest", "v1", "release/2020", "1.0"].map(|tag| format!("{commit} refs/tags/{tag}\n")));
    tags.sort_by(|a, b| a[41..].cmp(&b[41..]));
    std::fs::write(repository.path().join("packed-refs"), format!("# pack-refs with: sorted \n{}", tags.concat()))
        .unwrap();
    let url = format!("{}/{name}", server.url);
    let source = GitSource::new().credentials(&server.url, Credentials::basic(&server.user, server.password.as_str()));
    let config = Subscription::from(GitSubscription::new(&url).semver(">=1.99.98 <3").discovery_limit(3)).config;
    let cx = context("discover");
    let found = source.discover(&cx, &DiscoverRequest::new(&config)).await.unwrap();
    let Discovery::Found { candidates, cursor } = found else { panic!("nothing was found") };
    let found: Vec<_> = candidates
        .iter()
        .map(|candidate| match candidate {
            Artifact::Commit(found) => (found.tag.as_deref().unwrap(), found.id.as_str()),
            other => panic!("{other} is no commit"),
        })
        .collect();
    assert_eq!(found, [("v2.0.0", commit.as_str()), ("v1.99.99", &commit), ("v1.99.98", &commit)]);
    let size = serde_json::to_string(cursor.as_ref().unwrap()).unwrap().len();
    assert!(size < 100, "the cursor has {size} bytes");
    let again = source.discover(&cx, &DiscoverRequest::new(&config).with_cursor(cursor.as_ref())).await.unwrap();
    assert_eq!(again, Discovery::Unchanged);
}

/// Text that does not compress.
fn noise(length: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let letter = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        char::from(b' ' + (*state % 95) as u8)
    };
    (0..length).map(|_| letter(&mut state)).collect()
}
