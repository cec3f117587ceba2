//! Trees that are made to take all the memory, all the stack or all the time there is.

use std::future::Future;

use super::*;

/// Runs `work` with as little room for its stack as an ordinary thread has, so that recursion without an end shows.
fn on_a_thread(work: impl Future<Output = ()> + Send + 'static) {
    let run = || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

fn levels(count: usize) -> String {
    vec!["d"; count].join("/")
}

#[test]
fn no_copy_makes_a_tree_deeper_than_may_be() {
    on_a_thread(async {
        let (workspace, cx) = (Workspace::new(), cx());
        workspace.write(&cx, &format!("a/{}/file", levels(200)), "x").await.unwrap();
        let before = workspace.snapshot().await;
        // Deeper each time, until it is refused.
        let mut refused = 0;
        for _ in 0..16 {
            let into = format!("a/{}/again", levels(20));
            if let Err(error) = workspace.copy(&cx, "a", &into, None).await {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.message().contains("more than 256 directories deep"), "{error}");
                assert!(error.message().contains("\"a/d/d/"), "{error}");
                refused += 1;
            }
        }
        assert!((1..16).contains(&refused), "{refused}");
        let tree = workspace.snapshot().await;
        assert!(tree.root.totals().levels <= 256 && tree.root.totals().levels > before.root.totals().levels);
        // What has gone leaves room again.
        workspace.clear(&cx, "a").await.unwrap();
        assert_eq!(workspace.snapshot().await.root.totals().levels, 1);
        workspace.write(&cx, &format!("a/{}/file", levels(254)), "x").await.unwrap();
        drop((workspace, tree, before));
    });
}

#[tokio::test]
async fn a_directory_copied_into_itself_has_an_end_and_is_counted_without_a_walk() {
    let (workspace, cx) = (Workspace::new(), cx());
    workspace.write(&cx, "a/file", "x").await.unwrap();
    let mut refused = None;
    for n in 0..40 {
        if let Err(error) = workspace.copy(&cx, "a", &format!("a/n{n}"), None).await {
            refused = Some((n, error));
            break;
        }
        // 2^n files, which are in memory once.
        assert_eq!(workspace.snapshot().await.root.totals().bytes, 2 << n);
    }
    let (times, error) = refused.expect("2^40 files are too many");
    assert!(times < 25, "{times}");
    assert!(error.message().contains(&format!("\"a/n{times}\"")) && error.message().contains("1000000"), "{error}");
    let error = workspace.walk(&cx, "a").await.unwrap_err();
    assert!(error.message().contains("more than 200000 files"), "{error}");
    let small = Workspace::with_limits(WorkspaceLimits::default().known(4));
    small.write(&cx, "a/b", "").await.unwrap();
    small.copy(&cx, "a", "c", None).await.unwrap();
    for path in ["d", "a/d"] {
        assert!(small.write(&cx, path, "").await.unwrap_err().message().contains("more than 4 files"));
    }
    small.write(&cx, "a/b", "over one that is there").await.unwrap();
    let keep = |_: &str, _: EntryKind| false;
    assert!(small.copy(&cx, "a", "e", Some(&keep)).await.is_err(), "an empty directory counts too");
    small.remove(&cx, "c").await.unwrap();
    small.copy(&cx, "a", "e", Some(&keep)).await.unwrap();
}

#[tokio::test]
async fn what_is_written_is_counted_as_it_is() {
    let (workspace, cx, _repository) = with(&[("a/b/x", "1"), ("a/c/d/e/y", "2"), ("link", "->a")]).await;
    let mut done = 0;
    let mut check = async |why: &str| {
        let tree = workspace.snapshot().await;
        fn walk(directory: &Directory) -> (usize, usize, usize) {
            directory.children().into_iter().flatten().fold((0, 0, 0), |(bytes, entries, levels), (_, node)| {
                let (more, below, deep) = match node {
                    Node::Directory(directory) => {
                        let (more, below, deep) = walk(directory);
                        (more, below, deep + 1)
                    }
                    Node::File { contents: Contents::Here(bytes), .. } => (bytes.len(), 0, 0),
                    _ => (0, 0, 0),
                };
                (bytes + more, entries + 1 + below, levels.max(deep))
            })
        }
        let totals = tree.root.totals();
        assert_eq!((totals.bytes, totals.entries, totals.levels), walk(&tree.root), "{why}");
        done += 1;
    };
    workspace.write(&cx, "src/a/b/x", "12345").await.unwrap();
    check("over a file of the origin").await;
    workspace.write(&cx, "src/a/b/x", "123").await.unwrap();
    check("over its own").await;
    workspace.copy(&cx, "src/a", "copy", None).await.unwrap();
    check("a copy").await;
    paths(&workspace, "copy").await;
    check("listed in the copy alone").await;
    workspace.copy(&cx, "copy", "src", None).await.unwrap();
    check("laid over").await;
    workspace.remove(&cx, "src/c/d").await.unwrap();
    check("the deepest has gone").await;
    workspace.write(&cx, "src/link/b/new/x", "1").await.unwrap();
    check("through a link").await;
    workspace.clear(&cx, "src/a").await.unwrap();
    check("cleared").await;
    assert!(workspace.write(&cx, "src/b/x/y", "1").await.is_err());
    check("refused").await;
    workspace.copy(&cx, ".", "all", None).await.unwrap();
    check("the workspace in itself").await;
    assert_eq!(done, 10);
}

/// A repository in which each directory holds others that are the same: small to have, without an end to walk.
#[derive(Debug)]
struct Bomb {
    wide: usize,
    deep: usize,
    listed: Mutex<usize>,
}

#[async_trait]
impl Origin for Bomb {
    async fn list(&self, _: &Context, directories: &[&str]) -> Result<Vec<Vec<Listed>>> {
        *self.listed.lock().unwrap() += directories.len();
        let below = |id: &str| -> usize { id.parse::<usize>().unwrap() + 1 };
        let entry = |name: usize, id: &str| match below(id) {
            last if last == self.deep => Listed::new(format!("f{name}"), EntryKind::File { executable: false }, "file"),
            next => Listed::new(format!("d{name}"), EntryKind::Directory, next.to_string()),
        };
        Ok(directories.iter().map(|id| (0..self.wide).map(|name| entry(name, id)).collect()).collect())
    }

    async fn read(&self, _: &Context, files: &[&str]) -> Result<Vec<Bytes>> {
        Ok(files.iter().map(|_| Bytes::from_static(b"..")).collect())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

async fn bomb(wide: usize, deep: usize) -> (Workspace, Arc<Bomb>) {
    let bomb = Arc::new(Bomb { wide, deep, listed: Mutex::default() });
    let workspace = Workspace::new();
    let directory = Directory::at(Arc::clone(&bomb) as Arc<dyn Origin>, "0");
    workspace.mount(&cx(), "src", directory.clone(), Arc::new(Branch("main", directory))).await.unwrap();
    (workspace, bomb)
}

#[test]
fn a_repository_of_directories_in_each_other_has_an_end() {
    on_a_thread(async {
        let (workspace, _) = bomb(1, 100_000).await;
        let error = workspace.walk(&cx(), "src").await.unwrap_err();
        assert!(
            error.message().contains("more than 256 directories deep") && error.message().contains("src/d0"),
            "{error}"
        );
        let disk = tempfile::tempdir().unwrap();
        let keep = |_: &str, _: EntryKind| true;
        assert!(workspace.export(&cx(), "src", disk.path()).await.is_err());
        assert!(workspace.copy(&cx(), "src", "copy", Some(&keep)).await.is_err());
        workspace.clear(&cx(), "src").await.unwrap();
        let error = workspace.diff(&cx(), "src").await.unwrap_err();
        assert!(error.message().contains("more than 256 directories deep"), "{error}");
    });
}

#[tokio::test]
async fn a_repository_of_the_same_directory_many_times_has_an_end() {
    let (workspace, bomb) = bomb(600, 8).await;
    let error = workspace.walk(&cx(), "src").await.unwrap_err();
    assert!(error.message().contains("more than 200000 files"), "{error}");
    assert_eq!(*bomb.listed.lock().unwrap(), 2, "each is asked for once, wherever it lies");
    let disk = tempfile::tempdir().unwrap();
    assert!(workspace.export(&cx(), "src", disk.path()).await.is_err());
    workspace.clear(&cx(), "src").await.unwrap();
    assert!(workspace.diff(&cx(), "src").await.unwrap_err().message().contains("More than 200000 files"));
}

#[tokio::test]
async fn a_filtered_copy_of_the_same_directory_many_times_has_an_end() {
    let (workspace, _) = bomb(10, 20).await;
    let workspace = Workspace { limits: WorkspaceLimits::default().known(2_000), ..workspace };
    workspace.tree.lock().await.limits = workspace.limits;
    let keep = |_: &str, kind: EntryKind| kind == EntryKind::Directory;
    let error = workspace.copy(&cx(), "src", "copy", Some(&keep)).await.unwrap_err();
    assert!(error.message().contains("more than 2000 files and directories"), "{error}");
}

#[tokio::test]
async fn long_paths_have_an_end_too() {
    let (workspace, cx) = (Workspace::new(), cx());
    for n in 0..5_000 {
        workspace.write(&cx, &format!("a/{n}"), "").await.unwrap();
    }
    // Longer than a path may be that somebody names.
    for _ in 0..200 {
        workspace.copy(&cx, "a", &format!("b/{}", "n".repeat(250)), None).await.unwrap();
        workspace.remove(&cx, "a").await.unwrap();
        workspace.copy(&cx, "b", "a", None).await.unwrap();
        workspace.remove(&cx, "b").await.unwrap();
    }
    let error = workspace.walk(&cx, "a").await.unwrap_err();
    assert!(error.message().contains("268435456 bytes together"), "{error}");
}

#[tokio::test]
async fn links_lead_no_deeper_than_paths() {
    let (workspace, cx) = (Workspace::new(), cx());
    let up = Repository::new(&[("up", &format!("->{}/{}", levels(2), levels(200))), ("d/d/x", "1")]);
    mount(&workspace, "other", &up).await;
    let error = workspace.write(&cx, &format!("other/up/{}", levels(100)), "1").await.unwrap_err();
    assert!(error.message().contains("more than 256 directories deep"), "{error}");
}
