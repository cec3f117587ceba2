//! The server, as the environment describes it.

use std::path::PathBuf;

use kargo_git::testing::BareRepository;
use kargo_git::{Credentials, GitWriter, Remote, RemoteBuilder};
pub(crate) use kargo_tests::repository::*;

pub(crate) struct Server {
    pub(crate) root: PathBuf,
    pub(crate) url: String,
    /// Where the client cannot ask for protocol version 2.
    pub(crate) old: String,
    keys: PathBuf,
}

impl Server {
    pub(crate) fn find() -> Self {
        Self {
            root: kargo_tests::server("KARGO_TEST_GIT_ROOT").into(),
            url: kargo_tests::server("KARGO_TEST_GIT_SSH"),
            old: kargo_tests::server("KARGO_TEST_GIT_SSH_OLD"),
            keys: kargo_tests::server("KARGO_TEST_GIT_SSH_KEYS").into(),
        }
    }

    pub(crate) fn repository(&self, name: &str) -> (String, BareRepository) {
        start(&self.root, &format!("git-ssh-{name}"))
    }

    /// One of the files with keys.
    pub(crate) fn key(&self, name: &str) -> String {
        std::fs::read_to_string(self.keys.join(name)).unwrap()
    }

    /// The line of `known_hosts` by which both ports are known, with the public key `name`.
    pub(crate) fn known_by(&self, name: &str) -> String {
        let port =
            |url: &str| url.split('@').nth(1).unwrap().split('/').next().unwrap().split(':').nth(1).unwrap().to_owned();
        format!("[127.0.0.1]:{},[127.0.0.1]:{} {}", port(&self.url), port(&self.old), self.key(&format!("{name}.pub")))
    }

    /// With a key that is let in, and a host that is known.
    pub(crate) fn remote_at(&self, url: &str) -> RemoteBuilder {
        Remote::builder(url).credentials(Credentials::ssh_key(self.key("user"))).known_hosts(self.known_by("host"))
    }

    pub(crate) fn remote(&self, name: &str) -> RemoteBuilder {
        self.remote_at(&format!("{}/{name}", self.url))
    }

    pub(crate) fn writer(&self, name: &str) -> GitWriter {
        GitWriter::new(self.remote(name).build().unwrap())
    }
}
