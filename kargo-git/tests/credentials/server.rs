//! A Git server over HTTP, in this process, that lets in whom a test lets in; behind it is stock git.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kargo_git::testing::BareRepository;

/// A request, the password that came with it, and the answer's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) what: String,
    pub(crate) password: Option<String>,
    pub(crate) status: u16,
}

/// Says with which status a password is answered: 200 lets in.
type Door = Box<dyn Fn(Option<&str>) -> u16 + Send>;

pub(crate) struct Server {
    pub(crate) repository: BareRepository,
    pub(crate) url: String,
    door: Arc<Mutex<Door>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// A repository with one commit, to which nobody is let in yet.
    pub(crate) fn new() -> Self {
        let repository = BareRepository::new();
        let files = [("env/dev/values.yaml", "tag: v1\n"), ("docs/far/away", "Hello\n"), ("README.md", "Hello\n")];
        repository.commit("main", &files, "Start");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/acme/config.git", listener.local_addr().unwrap());
        let door: Arc<Mutex<Door>> = Arc::new(Mutex::new(Box::new(|_| 401)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (path, at_door, log) = (repository.path().to_owned(), door.clone(), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (path, at_door, log) = (path.clone(), at_door.clone(), log.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &path, &at_door, &log));
            }
        });
        Self { repository, url, door, seen }
    }

    /// Says who is let in from now on.
    pub(crate) fn lets_in(&self, door: impl Fn(Option<&str>) -> u16 + Send + 'static) {
        *self.door.lock().unwrap() = Box::new(door);
    }

    /// Lets in those with this password alone.
    pub(crate) fn wants(&self, password: &str) {
        let wanted = password.to_owned();
        self.lets_in(move |password| if password == Some(wanted.as_str()) { 200 } else { 401 });
    }

    /// The requests since this was asked last.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// The URL of a repository of which another server says that it is at `target`.
pub(crate) fn redirecting_to(target: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, target) = (format!("http://{}/acme/config.git", listener.local_addr().unwrap()), target.to_owned());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut first = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            lines.read_line(&mut first).unwrap();
            let mut line = first.clone();
            while !line.trim_end().is_empty() {
                line.clear();
                lines.read_line(&mut line).unwrap();
            }
            let query = first.split(' ').nth(1).unwrap().split_once("/info/refs").unwrap().1;
            let head = format!(
                "HTTP/1.1 301 x\r\nConnection: close\r\nLocation: {target}/info/refs{query}\r\nContent-Length: 0\r\n\r\n"
            );
            let _ = stream.write_all(head.as_bytes());
        }
    });
    url
}

fn serve(stream: TcpStream, repository: &Path, door: &Mutex<Door>, seen: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let (mut length, mut password, mut protocol) = (0, None, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => {
                let decoded = STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap();
                password = String::from_utf8(decoded).unwrap().split_once(':').map(|(_, password)| password.to_owned());
            }
            "git-protocol" => protocol = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let address = first.split(' ').nth(1).unwrap();
    let (what, listing) = match address.split_once("info/refs?service=") {
        Some((_, service)) => (service.to_owned(), true),
        None => (address.rsplit('/').next().unwrap().to_owned(), false),
    };
    let status = (door.lock().unwrap())(password.as_deref());
    let kind = if listing { "advertisement" } else { "result" };
    let label = if listing { format!("what {what} offers") } else { what.clone() };
    seen.lock().unwrap().push(Seen { what: label, password, status });
    let answer = if status == 200 { git(repository, &what, listing, protocol, &body) } else { Vec::new() };
    let head = format!(
        "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Type: application/x-{what}-{kind}\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&answer));
}

/// What `git-upload-pack` or `git-receive-pack` answers.
fn git(repository: &Path, service: &str, listing: bool, protocol: Option<String>, body: &[u8]) -> Vec<u8> {
    let mut command = Command::new("git");
    // As forges have it, so that files are fetched when somebody reads them.
    command.args(["-c", "uploadpack.allowFilter=true", service.trim_start_matches("git-"), "--stateless-rpc"]);
    if listing {
        command.arg("--advertise-refs");
    }
    command.arg(repository).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut answer = Vec::new();
    match protocol {
        Some(protocol) => {
            command.env("GIT_PROTOCOL", protocol);
        }
        None if listing => answer = format!("{:04x}# service={service}\n0000", service.len() + 15).into_bytes(),
        None => {}
    }
    let mut process = command.spawn().expect("git is installed");
    process.stdin.take().unwrap().write_all(body).unwrap();
    answer.extend(process.wait_with_output().unwrap().stdout);
    answer
}
