//! Conversations on one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kargo_core::ErrorKind;
use kargo_git::{Credentials, GitSource, GitWriter, RemoteBuilder};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::server::*;

/// Stands before the server, counts connections, and can cut them.
struct Wire {
    url: String,
    known_hosts: String,
    made: Arc<AtomicUsize>,
    cut: watch::Sender<()>,
}

impl Wire {
    async fn to(server: &Server) -> Self {
        let (before, rest) = server.url.split_once("127.0.0.1:").unwrap();
        let (behind, root) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let behind: u16 = behind.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (made, (cut, cuts)) = (Arc::<AtomicUsize>::default(), watch::channel(()));
        let counted = Arc::clone(&made);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        let known_hosts = format!("[127.0.0.1]:{port} {}", server.key("host.pub"));
        Self { url: format!("{before}127.0.0.1:{port}{root}"), known_hosts, made, cut }
    }

    fn remote(&self, server: &Server, name: &str) -> RemoteBuilder {
        server.remote_at(&format!("{}/{name}", self.url)).known_hosts(&self.known_hosts)
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn all_that_is_done_in_one_repository_takes_one_connection() {
    let server = Server::find();
    let wire = Wire::to(&server).await;
    let (name, repository) = server.repository("one-connection");
    let writer = GitWriter::new(wire.remote(&server, &name).build().unwrap());
    for n in 1..=4 {
        write(&writer, &format!("dev.{n}"), &format!("v2.{n}"), PATH, false).await.unwrap();
        writer.remote().tip(&context("tip"), "main").await.unwrap();
    }
    assert_eq!((wire.made(), repository.log("main").len()), (1, 5));
    fsck(&repository);

    let separate = wire.remote(&server, &name).separate_ssh_connections().build().unwrap();
    for _ in 0..2 {
        separate.tip(&context("tip"), "main").await.unwrap();
    }
    assert_eq!(wire.made(), 3);
}

#[tokio::test]
async fn all_repositories_of_a_source_on_one_server_take_one_connection() {
    let server = Server::find();
    let wire = Wire::to(&server).await;
    let credentials = Credentials::ssh_key(server.key("user"));
    let source = GitSource::new().credentials(&wire.url, credentials).known_hosts(&wire.known_hosts);
    for n in 0..3 {
        let (name, repository) = server.repository(&format!("one-of-three-{n}"));
        let remote = source.remote(&format!("{}/{name}", wire.url)).unwrap();
        assert_eq!(remote.tip(&context("tip"), "main").await.unwrap().as_str(), repository.head("main"));
    }
    assert_eq!(wire.made(), 1);
}

#[tokio::test]
async fn a_connection_that_was_cut_is_made_again_without_a_word() {
    let server = Server::find();
    let wire = Wire::to(&server).await;
    let (name, repository) = server.repository("cut-connection");
    let writer = GitWriter::new(wire.remote(&server, &name).build().unwrap());
    for n in 1..=3 {
        write(&writer, &format!("dev.{n}"), &format!("v2.{n}"), PATH, false).await.unwrap();
        wire.cut.send(()).unwrap();
    }
    // A conversation that comes in the moment in which nobody knows of it yet makes one for itself.
    assert!((3..=6).contains(&wire.made()), "{}", wire.made());
    assert_eq!(repository.log("main").len(), 4);
    fsck(&repository);
}

#[tokio::test]
async fn more_than_a_server_takes_on_one_connection_are_served_all_the_same() {
    let server = Server::find();
    let wire = Wire::to(&server).await;
    let (name, _repository) = server.repository("many-on-one");
    let remote = wire.remote(&server, &name).build().unwrap();
    remote.tip(&context("tip"), "main").await.unwrap();
    // sshd takes ten (MaxSessions).
    let cx = context("read");
    let looks = (0..16).map(|_| remote.read(&cx, "main", PATH));
    for bytes in futures::future::join_all(looks).await {
        assert_eq!(bytes.unwrap().as_deref(), Some(VALUES.as_bytes()));
    }
}

#[tokio::test]
async fn a_stranger_gets_nowhere_on_the_connection_of_another() {
    let server = Server::find();
    let wire = Wire::to(&server).await;
    let (name, _repository) = server.repository("stranger-on-it");
    let url = format!("{}/{name}", wire.url);
    let source = GitSource::new().known_hosts(&wire.known_hosts);
    let known = source.clone().credentials(&url, Credentials::ssh_key(server.key("user")));
    known.remote(&url).unwrap().tip(&context("tip"), "main").await.unwrap();
    let stranger = source.credentials(&url, Credentials::ssh_key(server.key("stranger")));
    let error = stranger.remote(&url).unwrap().tip(&context("tip"), "main").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert_eq!(wire.made(), 2);
}
