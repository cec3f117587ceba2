//! Repositories made by stock git, and what work on them costs.
#![allow(clippy::print_stdout)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Counted;

/// What a piece of work took: the median, by time, of its runs.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// How long it took.
    pub took: Duration,
    /// How many requests the server answered.
    pub requests: u64,
    /// How many bytes the server sent.
    pub bytes: u64,
}

/// Prints the median time of `work` and what it asked of the server.
pub fn measure(name: &str, runs: usize, server: &dyn Counted, work: impl FnMut()) -> Measured {
    measure_after(name, runs, server, &mut || {}, work)
}

/// Prints the median time of `work`, each time after `prepare`, and what it asked of the server.
pub fn measure_after(
    name: &str,
    runs: usize,
    server: &dyn Counted,
    prepare: &mut dyn FnMut(),
    mut work: impl FnMut(),
) -> Measured {
    let mut times: Vec<(Duration, u64, u64)> = (0..runs)
        .map(|_| {
            prepare();
            server.traffic();
            let begun = Instant::now();
            work();
            let took = begun.elapsed();
            let (requests, bytes) = server.traffic();
            (took, requests, bytes)
        })
        .collect();
    times.sort_unstable();
    let (took, requests, bytes) = times[runs / 2];
    println!("{name:58} {:9.1} ms {requests:5} requests {:9.1} kB", took.as_secs_f64() * 1e3, bytes as f64 / 1e3);
    Measured { took, requests, bytes }
}

/// Appends the beginning of the commit number `n` on main to what [`import`] reads.
pub fn commit(stream: &mut String, n: usize) {
    let (time, message) = (1_700_000_000 + n * 60, format!("Commit {n}"));
    let who = format!("Ada <ada@acme.example> {time} +0000");
    let length = message.len();
    writeln!(
        stream,
        "commit refs/heads/main\nmark :{}\nauthor {who}\ncommitter {who}\ndata {length}\n{message}",
        n + 1
    )
    .expect("memory");
}

/// Has stock git make a repository, or more of it, of what `stream` says.
///
/// # Panics
/// When git fails.
pub fn import(root: &Path, name: &str, stream: &str) {
    if !root.join(name).exists() {
        git(root, &["init", "-q", "--bare", "-b", "main", name]);
        git(&root.join(name), &["config", "uploadpack.allowFilter", "true"]);
    }
    let mut import = Command::new("git");
    import.arg("-C").arg(root.join(name)).args(["fast-import", "--quiet", "--force"]).stdin(Stdio::piped());
    let mut import = import.spawn().expect("git is installed");
    import.stdin.take().expect("it was asked for").write_all(stream.as_bytes()).expect("git reads");
    assert!(import.wait().expect("it ends").success());
}

/// Packs all of a repository, as servers do from time to time.
pub fn repack(repository: &Path) {
    git(repository, &["repack", "-adq"]);
    git(repository, &["pack-refs", "--all"]);
}

/// Runs stock git in `folder`.
///
/// # Panics
/// When it fails.
pub fn git(folder: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null").stdout(Stdio::null());
    assert!(git.status().expect("git is installed").success(), "git {arguments:?}");
}
