//! The server, what is asked of it, and what stands between it and the client in some scenarios.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jiff::Timestamp;
use kargo_git::testing::BareRepository;
use kargo_git::{Credentials, GitWriter, Remote, RemoteBuilder};
use kargo_tests::git;
pub(crate) use kargo_tests::repository::*;

/// The server, as the environment describes it.
pub(crate) struct Server {
    pub(crate) root: PathBuf,
    pub(crate) url: String,
    pub(crate) read_only: String,
    pub(crate) https: String,
    pub(crate) ca: PathBuf,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Server {
    pub(crate) fn find() -> Self {
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
    pub(crate) fn repository(&self, name: &str) -> (String, BareRepository) {
        start(&self.root, &format!("git-http-{name}"))
    }

    pub(crate) fn remote(&self, name: &str) -> RemoteBuilder {
        self.remote_at(&format!("{}/{name}", self.url))
    }

    pub(crate) fn remote_at(&self, url: &str) -> RemoteBuilder {
        Remote::builder(url).credentials(Credentials::basic(&self.user, self.password.as_str()))
    }

    pub(crate) fn writer(&self, name: &str) -> GitWriter {
        GitWriter::new(self.remote(name).build().unwrap())
    }
}

/// Has stock git make a repository of what `stream` says in the language of `git fast-import`.
pub(crate) fn import(server: &Server, name: &str, stream: &str) -> String {
    let name = format!("git-http-{name}-{}-{}.git", std::process::id(), Timestamp::now().as_nanosecond());
    git(&server.root, &["init", "-q", "--bare", "-b", "main", &name]);
    import_more(&server.root.join(&name), stream);
    name
}

pub(crate) fn import_more(repository: &Path, stream: &str) {
    let mut import = Command::new("git");
    import.arg("-C").arg(repository).args(["fast-import", "--quiet", "--force"]).stdin(Stdio::piped());
    let mut import = import.spawn().unwrap();
    import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
}

/// A relay in front of the server. `request` may change what goes there; once `cut` is set, the answer to the next push is kept back
/// and the connection closed, after the server has done its work.
pub(crate) struct Relay {
    pub(crate) address: String,
    pub(crate) cut: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
}

impl Relay {
    pub(crate) fn new(server: &Server, request: fn(&mut Vec<u8>)) -> Self {
        let upstream = server.url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cut, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let received = Arc::new(AtomicUsize::new(0));
        let (flag, count, answered) = (cut.clone(), requests.clone(), received.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&upstream).unwrap());
                let (flag, count, answered) = (flag.clone(), count.clone(), answered.clone());
                let pushing = Arc::new(AtomicBool::new(false));
                let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let marked = pushing.clone();
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 1 << 16];
                    while let Ok(n @ 1..) = from_client.read(&mut buffer) {
                        let mut bytes = buffer[..n].to_vec();
                        count.fetch_add(usize::from(contains(&bytes, b" HTTP/1.1\r\n")), Ordering::SeqCst);
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
                        answered.fetch_add(n, Ordering::SeqCst);
                        if to_client.write_all(&buffer[..n]).is_err() {
                            break;
                        }
                    }
                    let _ = to_client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, cut, requests, received }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/git/{name}", self.address)
    }

    /// How many requests went through since this was asked last. The first to a server that wants a password counts once: it is sent
    /// along.
    pub(crate) fn requests(&self) -> usize {
        self.requests.swap(0, Ordering::SeqCst)
    }

    /// How many bytes came from the server since this was asked last, heads of answers included.
    pub(crate) fn received(&self) -> usize {
        self.received.swap(0, Ordering::SeqCst)
    }
}

pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
