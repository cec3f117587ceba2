//! Changing one line of one file in a repository of 100,000 files and 1,000 commits: clone, edit, commit, push. Beside it stock git with a
//! shallow clone and with a sparse one without files, against the same server in the same run; and all of it with a longer way to the server.
#![allow(missing_docs, clippy::print_stdout)]

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use kargo_benches::{Counted, GitServer, Measured, SshServer, commit, git, import, measure, measure_after, repack};
use kargo_core::plugin::Plugins;
use kargo_git::testing::StepByStep;
use kargo_git::{Credentials, GitCache, GitSource, GitSteps};
use serde_json::json;

const FILE: &str = "env/e1/app-02/part-3/values-4.yaml";
const DIRECTORY: &str = "env/e1/app-02/part-3";

struct Size {
    apps: usize,
    commits: usize,
    runs: usize,
}

fn main() {
    // `cargo test --benches` only wants to see it run.
    let test = std::env::args().any(|arg| arg == "--test");
    let size = if test { Size { apps: 4, commits: 10, runs: 1 } } else { Size { apps: 100, commits: 1_000, runs: 5 } };
    let folder = tempfile::tempdir().expect("a folder");
    let server = GitServer::start(folder.path());
    let mut stream = String::new();
    let mut files = 0;
    for n in 0..size.commits {
        commit(&mut stream, n);
        if n == 0 {
            for (e, app, part, file) in paths(size.apps) {
                values(&mut stream, &format!("env/e{e}/app-{app:02}/part-{part}/values-{file}.yaml"), 0);
                files += 1;
            }
        }
        values(&mut stream, &format!("env/e{}/app-{:02}/part-0/values-0.yaml", n % 10, n / 10 % size.apps), n);
    }
    import(folder.path(), "monorepo.git", &stream);
    repack(&folder.path().join("monorepo.git"));
    println!("one line of one of {files} files, {} commits", size.commits);
    let (root, far, near) = (folder.path(), Duration::from_millis(50), Duration::ZERO);
    let repository = root.join("monorepo.git");
    let url = server.url("monorepo.git");
    let all = |server: &dyn Counted, url: &str, source: &dyn Fn() -> GitSource, ssh: Option<&str>| {
        Bench { size: &size, root, server, url, ssh }.run(source)
    };
    let holds = |all: All, faster: [f64; 3]| {
        // The small repository of a test has nothing to be spared.
        if !test {
            all.holds(faster);
        }
        all
    };
    let near_by = holds(all(&server, &url, &GitSource::new, None), [3.0; 3]);
    assert!(test || near_by.slowest() <= Duration::from_millis(500), "{near_by:?}");
    server.delay(far);
    println!("the same with 50 ms for each connection and each request");
    // What is not known of a repository has to be asked for, directory by directory, and each question takes its time.
    holds(all(&server, &url, &GitSource::new, None), [1.5, 2.0, 3.0]);
    server.delay(near);
    if let Some(server) = SshServer::start(root) {
        let (url, command) = (server.url(&repository), server.command());
        let source = || {
            let credentials = Credentials::ssh_key(server.key());
            GitSource::new().known_hosts(server.known_hosts()).credentials(&url, credentials)
        };
        println!("the same over ssh, where each connection counts as one request");
        holds(all(&server, &url, &source, Some(&command)), [1.5, 3.0, 3.0]);
        server.delay(far);
        println!("the same over ssh with a round trip of 50 ms");
        holds(all(&server, &url, &source, Some(&command)), [1.5, 2.0, 3.0]);
    } else {
        println!("no sshd is installed, so nothing is measured over ssh");
    }
    git(&repository, &["config", "uploadpack.allowFilter", "false"]);
    println!("the same over http against a server that refuses filters");
    let unfiltered = all(&server, &url, &GitSource::new, None);
    assert!(
        test || unfiltered.ours.bytes <= unfiltered.shallow.bytes * 11 / 10,
        "no more than a shallow clone: {unfiltered:?}"
    );
}

/// Ten environments, so many apps, ten parts with ten files each.
fn paths(apps: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..10 * apps * 100).map(move |n| (n / (apps * 100), n / 100 % apps, n / 10 % 10, n % 10))
}

fn values(stream: &mut String, path: &str, n: usize) {
    let contents = format!("image:\n  repository: ghcr.io/acme/app # {path}\n  tag: v{n}\nreplicas: 2\n");
    writeln!(stream, "M 100644 inline {path}\ndata {}\n{contents}", contents.len()).expect("memory");
}

struct Bench<'a> {
    size: &'a Size,
    root: &'a Path,
    server: &'a dyn Counted,
    url: &'a str,
    /// The command of ssh for stock git.
    ssh: Option<&'a str>,
}

/// One promotion by each way.
#[derive(Debug)]
struct All {
    /// Nothing is known, and no connection is there.
    cold: Measured,
    /// Nothing is known of the repository.
    first: Measured,
    ours: Measured,
    shallow: Measured,
    sparse: Measured,
}

impl All {
    /// What the project promises of it, and how many times faster than the better of stock git's ways each is at least.
    fn holds(&self, times: [f64; 3]) {
        let (took, bytes) = (self.shallow.took.min(self.sparse.took), self.shallow.bytes.min(self.sparse.bytes));
        let ours = [("the first of a host", self.cold), ("the first", self.first), ("the next", self.ours)];
        for ((what, ours), times) in ours.into_iter().zip(times) {
            let (faster, fewer) = (took.as_secs_f64() / ours.took.as_secs_f64(), bytes as f64 / ours.bytes as f64);
            println!("{what}: {faster:.1} times faster and {fewer:.0} times fewer bytes than the better of both");
            assert!(ours.requests <= 10 && ours.bytes <= 20_000 && fewer >= 100.0, "{self:?}");
            assert!(faster >= times, "{self:?}");
        }
    }

    fn slowest(&self) -> Duration {
        self.cold.took.max(self.first.took).max(self.ours.took)
    }
}

impl Bench<'_> {
    fn run(&self, source: &dyn Fn() -> GitSource) -> All {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let plugins = |source| GitSteps::new(source).register(Plugins::builder()).build();
        let mut n = 0;
        let mut measure = |name: &str, plugins: &dyn Fn() -> Plugins| {
            measure(name, self.size.runs * 3, self.server, || {
                n += 1;
                runtime.block_on(promote(StepByStep::new(&format!("dev.{n}"), plugins()), self.url, n));
            })
        };
        let cold = measure("git-clone, git-commit, git-push: the first of a host", &|| plugins(source()));
        // As in a host that is up for a while: what the server can do is known, and its connection may be there. Of the repository
        // nothing is, at first.
        let forgetful = plugins(source().cache(GitCache::with_capacity(0)));
        let first = measure("  the first in a repository", &|| forgetful.clone());
        let knowing = plugins(source());
        let ours = measure("  with what the promotion before has fetched and pushed", &|| knowing.clone());
        let depth = ["--depth", "1"];
        // Writing so many files takes it a minute.
        let shallow = self.stock("  git clone --depth 1, commit, push", &depth, false, 1);
        let sparse = ["--filter=blob:none", "--sparse", "--depth", "1"];
        let name = "  git clone --filter=blob:none --sparse --depth 1, ...";
        let sparse = self.stock(name, &sparse, true, self.size.runs);
        All { cold, first, ours, shallow, sparse }
    }

    fn stock(&self, name: &str, arguments: &[&str], sparse: bool, runs: usize) -> Measured {
        let clone = self.root.join("clone");
        let ssh = self.ssh.map(|command| format!("core.sshCommand={command}"));
        let mut n = 0;
        let mut clear = || drop(std::fs::remove_dir_all(&clone));
        measure_after(name, runs, self.server, &mut clear, || {
            let ssh: Vec<&str> = ssh.iter().flat_map(|command| ["-c", command]).collect();
            git(self.root, &[&["clone", "-q"], &ssh[..], arguments, &[self.url, "clone"]].concat());
            if sparse {
                git(&clone, &["sparse-checkout", "set", DIRECTORY]);
            }
            n += 1;
            let path = clone.join(FILE);
            let text = std::fs::read_to_string(&path).expect("the file is there");
            std::fs::write(&path, text.replace("replicas: 2", &format!("replicas: 2 # {n}")))
                .expect("the disk has room");
            let who = ["-c", "user.name=Ada", "-c", "user.email=ada@acme.example"];
            git(&clone, &[&who[..], &["commit", "-qam", "Edit"]].concat());
            git(&clone, &["push", "-q", "origin", "HEAD:main"]);
        })
    }
}

async fn promote(mut promotion: StepByStep, url: &str, n: usize) {
    promotion.run("git-clone", json!({"repoURL": url, "checkout": [{"path": "src", "branch": "main"}]})).await;
    let path = format!("src/{FILE}");
    let text = promotion.read(&path).await.expect("the file is there");
    promotion.write(&path, &text.replace("replicas: 2", &format!("replicas: 2 # {n}"))).await;
    promotion.run("git-commit", json!({"path": "src", "message": "Edit"})).await;
    promotion.run("git-push", json!({"path": "src"})).await;
}
