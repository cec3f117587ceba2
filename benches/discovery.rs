//! Looking for commits: 57 subscriptions with filters by path on one repository of 15,000 commits, and the newest of 10,000 tags. Beside
//! it the commands of stock git that bring the same, against the same server in the same run.
#![allow(missing_docs, clippy::print_stdout)]

use std::fmt::Write as _;
use std::path::Path;

use kargo_benches::{GitServer, commit, git, import, measure, measure_after, repack};
use kargo_core::Subscription;
use kargo_core::plugin::{Context, Cursor, DiscoverRequest, Discovery, Source as _};
use kargo_git::{GitCache, GitSource, GitSubscription};

const APPS: usize = 57;
/// How many files an app has besides those that change.
const FILES: usize = 40;

struct Size {
    commits: usize,
    tags: usize,
    runs: usize,
}

fn main() {
    // `cargo test --benches` only wants to see it run.
    let test = std::env::args().any(|arg| arg == "--test");
    let size =
        if test { Size { commits: 100, tags: 100, runs: 1 } } else { Size { commits: 15_000, tags: 10_000, runs: 7 } };
    let folder = tempfile::tempdir().expect("a folder");
    let server = GitServer::start(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    monorepo(&size, folder.path(), &server, &runtime);
    tags(&size, folder.path(), &server, &runtime);
}

fn monorepo(size: &Size, root: &Path, server: &GitServer, runtime: &tokio::runtime::Runtime) {
    let mut stream = String::new();
    for n in 0..size.commits {
        commit(&mut stream, n);
        for file in (0..APPS * FILES).filter(|_| n == 0) {
            let (app, file) = (file / FILES, file % FILES);
            change(&mut stream, &format!("apps/app-{app:02}/templates/part-{}/file-{file:02}.yaml", file % 4), file);
        }
        // Some apps change often and some seldom.
        let app = (n * n + n / 7) % APPS;
        change(&mut stream, &format!("apps/app-{app:02}/env/{}/values.yaml", n % 3), n);
    }
    import(root, "monorepo.git", &stream);
    repack(&root.join("monorepo.git"));
    let url = server.url("monorepo.git");
    let path = |app: usize| format!("apps/app-{app:02}");
    let subscriptions: Vec<GitSubscription> =
        (0..APPS).map(|app| GitSubscription::new(&url).branch("main").include_path(path(app))).collect();
    println!("{APPS} subscriptions by path to one repository of {} commits, {} files", size.commits, APPS * FILES);

    let (mut source, mut cache) = (GitSource::new(), GitCache::new());
    let mut cursors = Vec::new();
    measure("first look", size.runs, server, || {
        cache = GitCache::new();
        source = GitSource::new().cache(cache.clone());
        cursors = runtime.block_on(look(&source, &subscriptions, &[])).expect("there is something");
    });
    println!("{:58} {:9.1} kB of memory for what is remembered", "", cache.size() as f64 / 1e3);
    let clone = root.join("clone.git");
    let logs = || {
        for app in 0..APPS {
            git(&clone, &["log", "--first-parent", "--format=%H", "-n20", "main", "--", &path(app)]);
        }
    };
    measure("  git clone --filter=blob:none --bare, git log for each", size.runs.min(3), server, || {
        let _ = std::fs::remove_dir_all(&clone);
        git(root, &["clone", "-q", "--filter=blob:none", "--bare", &url, "clone.git"]);
        logs();
    });
    measure("poll, nothing new", size.runs * 3, server, || {
        assert!(runtime.block_on(look(&source, &subscriptions, &cursors)).is_none());
    });
    measure("  git ls-remote, once", size.runs, server, || {
        git(root, &["ls-remote", &url, "refs/heads/main"]);
    });
    measure("  git ls-remote, for each", 1, server, || {
        (0..APPS).for_each(|_| git(root, &["ls-remote", &url, "refs/heads/main"]));
    });
    let mut n = size.commits;
    let mut push = || {
        let mut stream = String::from("reset refs/heads/main\nfrom refs/heads/main^0\n\n");
        commit(&mut stream, n);
        change(&mut stream, &format!("apps/app-{:02}/env/0/values.yaml", n % APPS), n);
        import(root, "monorepo.git", &stream);
        n += 1;
    };
    measure_after("poll, one new commit", size.runs, server, &mut push, || {
        cursors = runtime.block_on(look(&source, &subscriptions, &cursors)).expect("there is something new");
    });
    measure_after("  git fetch, git log for each", size.runs.min(3), server, &mut push, || {
        git(&clone, &["fetch", "-q", "origin", "+refs/heads/main:refs/heads/main"]);
        logs();
    });
}

fn tags(size: &Size, root: &Path, server: &GitServer, runtime: &tokio::runtime::Runtime) {
    let mut stream = String::new();
    for n in 0..size.tags {
        commit(&mut stream, n);
        change(&mut stream, "a", n);
        let (version, message) = (format!("v{}.{}.{}", n / 1000, n / 10 % 100, n % 10), "Release");
        let who = format!("Ada <ada@acme.example> {} +0000", 1_700_000_000 + n * 60);
        writeln!(stream, "tag {version}\nfrom :{}\ntagger {who}\ndata {}\n{message}", n + 1, message.len())
            .expect("memory");
    }
    import(root, "tags.git", &stream);
    repack(&root.join("tags.git"));
    let url = server.url("tags.git");
    println!("the newest 20 of {} tags, with their metadata", size.tags);
    let by_version = [GitSubscription::new(&url).semver("*")];
    let newest = [GitSubscription::new(&url).newest_tags()];
    for (name, subscription) in [("first look, SemVer", &by_version), ("first look, NewestTag", &newest)] {
        measure(name, size.runs, server, || {
            runtime.block_on(look(&GitSource::new(), subscription, &[])).expect("there is something");
        });
    }
    let clone = root.join("tags-clone.git");
    measure("  git clone --filter=blob:none --bare, git for-each-ref", size.runs.min(3), server, || {
        let _ = std::fs::remove_dir_all(&clone);
        git(root, &["clone", "-q", "--filter=blob:none", "--bare", &url, "tags-clone.git"]);
        git(&clone, &["for-each-ref", "--sort=-version:refname", "--count=20", "refs/tags"]);
    });
    let source = GitSource::new();
    let cursors = runtime.block_on(look(&source, &by_version, &[])).expect("there is something");
    measure("poll, nothing new", size.runs, server, || {
        assert!(runtime.block_on(look(&source, &by_version, &cursors)).is_none());
    });
    measure("  git ls-remote --tags", size.runs, server, || git(root, &["ls-remote", "--tags", &url]));
}

/// Looks for all subscriptions at the same time. `None` when nothing is new.
async fn look(source: &GitSource, subscriptions: &[GitSubscription], cursors: &[Cursor]) -> Option<Vec<Cursor>> {
    let looks = subscriptions.iter().enumerate().map(|(n, subscription)| async move {
        let config = Subscription::from(subscription.clone()).config;
        let request = DiscoverRequest::new(&config).with_cursor(cursors.get(n));
        match source.discover(&Context::system("discover"), &request).await.expect("the server answers") {
            Discovery::Unchanged => None,
            Discovery::Found { cursor, candidates } => {
                assert!(!candidates.is_empty(), "each subscription finds something");
                cursor
            }
        }
    });
    futures::future::join_all(looks).await.into_iter().collect()
}

fn change(stream: &mut String, path: &str, n: usize) {
    let contents = format!("image:\n  tag: v{n}\n");
    writeln!(stream, "M 100644 inline {path}\ndata {}\n{contents}", contents.len()).expect("memory");
}
