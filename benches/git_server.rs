//! Git over HTTP on loopback: `git http-backend` behind as much of a web server as two Git clients need. Counts what it is asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A server of the repositories below a directory. It ends with the process.
#[derive(Debug)]
pub struct GitServer {
    url: String,
    traffic: Arc<Traffic>,
}

/// A server that counts.
pub trait Counted {
    /// How many requests were answered, and how many bytes that took, since this was asked last.
    fn traffic(&self) -> (u64, u64);
}

#[derive(Debug, Default)]
pub(crate) struct Traffic {
    requests: AtomicU64,
    sent: AtomicU64,
    /// Milliseconds.
    delay: AtomicU64,
}

impl Traffic {
    /// Waits for as long as a round trip takes.
    pub(crate) fn wait(&self) {
        std::thread::sleep(self.round_trip());
    }

    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_millis(self.delay.load(Ordering::SeqCst))
    }

    pub(crate) fn delay(&self, round_trip: Duration) {
        self.delay.store(round_trip.as_millis().try_into().unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    pub(crate) fn count(&self, requests: u64, bytes: u64) {
        self.requests.fetch_add(requests, Ordering::SeqCst);
        self.sent.fetch_add(bytes, Ordering::SeqCst);
    }

    pub(crate) fn take(&self) -> (u64, u64) {
        (self.requests.swap(0, Ordering::SeqCst), self.sent.swap(0, Ordering::SeqCst))
    }
}

impl GitServer {
    /// Serves the repositories below `root` to anybody on this machine.
    ///
    /// # Panics
    /// When there is no port to listen on.
    pub fn start(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let traffic = Arc::new(Traffic::default());
        let (root, counted) = (root.to_owned(), Arc::clone(&traffic));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, traffic) = (root.clone(), Arc::clone(&counted));
                // A client that goes away ends its own thread only.
                std::thread::spawn(move || {
                    traffic.wait();
                    while answer(&stream, &root, &traffic).unwrap_or(false) {}
                });
            }
        });
        Self { url, traffic }
    }

    /// The URL of a repository.
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    /// Lets each connection and each answer from now on take so much longer, as if the server were far away.
    pub fn delay(&self, round_trip: Duration) {
        self.traffic.delay(round_trip);
    }
}

impl Counted for GitServer {
    fn traffic(&self) -> (u64, u64) {
        self.traffic.take()
    }
}

/// Answers one request. Says whether there may be more.
fn answer(stream: &TcpStream, root: &PathBuf, traffic: &Traffic) -> std::io::Result<bool> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(false);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut backend = Command::new("git");
    backend.arg("http-backend").env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1");
    backend.env("REQUEST_METHOD", &method).env("PATH_INFO", path).env("QUERY_STRING", query);
    backend.env("GIT_CONFIG_COUNT", "1").env("REMOTE_ADDR", "127.0.0.1");
    backend.env("GIT_CONFIG_KEY_0", "http.receivepack").env("GIT_CONFIG_VALUE_0", "true");
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "content-type" => drop(backend.env("CONTENT_TYPE", value)),
            "content-encoding" => drop(backend.env("HTTP_CONTENT_ENCODING", value)),
            "git-protocol" => drop(backend.env("GIT_PROTOCOL", value)),
            "expect" => (&*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
            _ => {}
        }
    }
    let body = body(&mut reader, length, chunked)?;
    traffic.wait();
    backend.env("CONTENT_LENGTH", body.len().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut backend = backend.stderr(Stdio::null()).spawn()?;
    let mut stdin = backend.stdin.take();
    let writer = std::thread::spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(&body)));
    let output = backend.wait_with_output()?.stdout;
    // Whether the backend read all of its request is its own business.
    let _ = writer.join();
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(output.len());
    let (head, content) = (String::from_utf8_lossy(&output[..end]), output.get(end + 4..).unwrap_or_default());
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", content.len());
    for line in head.lines().filter(|line| !line.starts_with("Status: ")) {
        answer.push_str(line);
        answer.push_str("\r\n");
    }
    answer.push_str("\r\n");
    traffic.count(1, (answer.len() + content.len()) as u64);
    (&*stream).write_all(&[answer.as_bytes(), content].concat())?;
    // What was read beyond this request would be lost with the reader; these clients wait for each answer.
    Ok(reader.buffer().is_empty())
}

fn body(reader: &mut BufReader<&TcpStream>, length: usize, chunked: bool) -> std::io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if !chunked {
        return Ok(body);
    }
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
