//! Who may, who is who, and what is there.

use kargo_core::{ErrorKind, Retry};
use kargo_git::{Credentials, GitWriter, Remote};

use crate::server::*;

#[tokio::test]
async fn the_tip_and_a_file_are_read() {
    let server = Server::find();
    let (name, repository) = server.repository("read");
    let remote = server.remote(&name).build().unwrap();
    let tip = remote.tip(&context("tip"), "main").await.unwrap();
    assert_eq!(tip.as_str(), repository.head("main"));
    let bytes = remote.read(&context("read"), "main", PATH).await.unwrap();
    assert_eq!(bytes.as_deref(), Some(VALUES.as_bytes()));
}

#[tokio::test]
async fn a_host_that_is_not_who_it_should_be_is_told_nothing() {
    let server = Server::find();
    let (name, repository) = server.repository("host-key");
    let other = server.remote(&name).known_hosts(server.known_by("stranger")).build().unwrap();
    let unknown =
        server.remote(&name).known_hosts(server.known_by("host").replace("127.0.0.1", "127.0.0.2")).build().unwrap();
    let accepted_anyway =
        server.remote(&name).known_hosts(server.known_by("stranger")).accept_new_host_keys().build().unwrap();
    for (remote, way_out) in
        [(other, "stands in between"), (unknown, "known_hosts"), (accepted_anyway, "stands in between")]
    {
        let error = write(&GitWriter::new(remote), "dev.1", "v2", PATH, false).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never), "{error}");
        assert!(error.message().contains(way_out), "{error}");
        assert!(error.message().contains("Host key verification failed"), "ssh's own words are missing: {error}");
    }
    assert_eq!(repository.log("main").len(), 1);
}

#[tokio::test]
async fn a_new_host_is_believed_when_asked_for_and_remembered() {
    let server = Server::find();
    let (name, repository) = server.repository("new-host");
    let remote = server.remote(&name).known_hosts("").accept_new_host_keys().build().unwrap();
    for tag in ["v2", "v3"] {
        write(&GitWriter::new(remote.clone()), &format!("dev.{tag}"), tag, PATH, false).await.unwrap();
    }
    assert_eq!(repository.log("main").len(), 3);
}

#[tokio::test]
async fn a_key_that_is_not_let_in_is_named_by_its_user_and_not_tried_again() {
    let server = Server::find();
    let (name, repository) = server.repository("stranger");
    let stranger = server.key("stranger");
    for key in [stranger.as_str(), "not a key", &stranger[..stranger.len() / 2]] {
        let remote = server.remote(&name).credentials(Credentials::ssh_key(key)).build().unwrap();
        let error = write(&GitWriter::new(remote), "dev.1", "v2", PATH, false).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never), "{error}");
        assert!(error.message().contains("Permission denied"), "{error}");
        let user = server.url.trim_start_matches("ssh://").split('@').next().unwrap();
        assert!(error.message().contains(&format!("the user {user}")), "{error}");
        let inside = &stranger[100..140];
        assert!(!error.report().contains(inside) && !format!("{error:?}").contains(inside));
    }
    assert_eq!(repository.log("main").len(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let server = Server::find();
    let (name, repository) = server.repository("missing");
    let error = write(&server.writer("nowhere.git"), "dev.1", "v2", PATH, false).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Never), "{error}");
    assert!(error.message().contains("nowhere.git"), "{error}");
    assert!(error.message().contains("does not appear to be a git repository"), "git's own words are missing: {error}");

    let error = write(&server.writer(&name).branch("mian"), "dev.1", "v2", PATH, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("did you mean main?"), "{error}");

    // A port at which nobody listens: it is taken, and given back before anybody is asked.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = server.remote_at(&format!("ssh://git@127.0.0.1:{port}/x.git")).build().unwrap();
    let error = nobody.tip(&context("tip"), "main").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff), "{error}");
    assert!(error.message().contains("Connection refused"), "{error}");

    let no_program = server.remote(&name).ssh_program("/nonexistent/ssh").build().unwrap();
    let error = no_program.tip(&context("tip"), "main").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unsupported, Retry::Never), "{error}");
    assert!(error.message().contains("openssh-client"), "{error}");
    assert_eq!(repository.log("main").len(), 1);
}

#[tokio::test]
async fn a_path_with_whatever_characters_in_it_is_one_word_on_the_server() {
    let server = Server::find();
    let marker = server.root.join(format!("injected-{}", std::process::id()));
    let (name, repository) = start(
        &server.root,
        &format!("git-ssh it's; touch {} $(touch x) `id` !", marker.file_name().unwrap().display()),
    );
    let escaped = name.replace('%', "%25").replace(' ', "%20");
    for url in [server.remote(&name), server.remote(&escaped)] {
        let remote = url.build().unwrap();
        assert_eq!(remote.tip(&context("tip"), "main").await.unwrap().as_str(), repository.head("main"));
    }
    assert!(!marker.exists());
    let error = Remote::new("ssh://-oProxyCommand=touch%20injected/x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
