//! Who may, what is there, and what the server says.

use std::time::Duration;

use jiff::Timestamp;
use kargo_core::plugin::{DiscoverRequest, Discovery, Source as _};
use kargo_core::{ErrorKind, Retry, Subscription};
use kargo_git::testing::BareRepository;
use kargo_git::{Credentials, GitSource, GitSubscription, GitWriter, Remote};
use kargo_tests::git;

use crate::server::*;

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
