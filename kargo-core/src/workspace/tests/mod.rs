use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;

mod hostile;

/// A repository in memory: directories and files by id, and what was asked for.
#[derive(Debug, Default)]
struct Repository {
    directories: BTreeMap<String, Vec<Listed>>,
    files: BTreeMap<String, Bytes>,
    asked: Mutex<Vec<String>>,
}

impl Repository {
    /// `files` by path; a target behind `->` makes a link.
    fn new(files: &[(&str, &str)]) -> Arc<Self> {
        let mut repository = Self::default();
        repository.directories.insert("tree:".into(), Vec::new());
        for (path, contents) in files {
            let mut above = String::new();
            let parts: Vec<&str> = path.split('/').collect();
            for (n, part) in parts.iter().enumerate() {
                let here = if above.is_empty() { (*part).to_owned() } else { format!("{above}/{part}") };
                let listed = match (n + 1 == parts.len(), contents.strip_prefix("->")) {
                    (false, _) => Listed::new(*part, EntryKind::Directory, format!("tree:{here}")),
                    (true, Some(target)) => {
                        repository.files.insert(format!("blob:{here}"), Bytes::from(target.to_owned()));
                        Listed::new(*part, EntryKind::Link, format!("blob:{here}"))
                    }
                    (true, None) => {
                        repository.files.insert(format!("blob:{here}"), Bytes::from((*contents).to_owned()));
                        Listed::new(
                            *part,
                            EntryKind::File { executable: part.ends_with(".sh") },
                            format!("blob:{here}"),
                        )
                    }
                };
                if listed.kind == EntryKind::Directory {
                    repository.directories.entry(listed.id.clone()).or_default();
                }
                let siblings = repository.directories.entry(format!("tree:{above}")).or_default();
                if !siblings.contains(&listed) {
                    siblings.push(listed);
                }
                above = here;
            }
        }
        Arc::new(repository)
    }

    fn directory(self: &Arc<Self>) -> Directory {
        Directory::at(Arc::clone(self) as Arc<dyn Origin>, "tree:")
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[async_trait]
impl Origin for Repository {
    async fn list(&self, _: &Context, directories: &[&str]) -> Result<Vec<Vec<Listed>>> {
        self.asked.lock().unwrap().push(format!("list {}", directories.join(" ")));
        Ok(directories.iter().map(|id| self.directories[*id].clone()).collect())
    }

    async fn read(&self, _: &Context, files: &[&str]) -> Result<Vec<Bytes>> {
        self.asked.lock().unwrap().push(format!("read {}", files.join(" ")));
        Ok(files.iter().map(|id| self.files[*id].clone()).collect())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[derive(Debug)]
struct Branch(&'static str, Directory);

impl Mount for Branch {
    fn original(&self) -> Directory {
        self.1.clone()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn cx() -> Context {
    Context::system("dev.1/step-1")
}

async fn mount(workspace: &Workspace, path: &str, repository: &Arc<Repository>) {
    let directory = repository.directory();
    workspace.mount(&cx(), path, directory.clone(), Arc::new(Branch("main", directory))).await.unwrap();
}

async fn with(files: &[(&str, &str)]) -> (Workspace, Context, Arc<Repository>) {
    let (workspace, cx, repository) = (Workspace::new(), cx(), Repository::new(files));
    mount(&workspace, "src", &repository).await;
    (workspace, cx, repository)
}

async fn paths(workspace: &Workspace, path: &str) -> Vec<String> {
    workspace.walk(&cx(), path).await.unwrap().into_iter().map(|(path, _)| path).collect()
}

#[tokio::test]
async fn what_is_not_looked_at_is_not_fetched() {
    let (workspace, cx, repository) =
        with(&[("env/dev/values.yaml", "a: 1\n"), ("env/prod/values.yaml", "a: 2\n"), ("big/file", "")]).await;
    assert_eq!(repository.asked(), [""; 0]);
    assert_eq!(workspace.read(&cx, "src/env/dev/values.yaml").await.unwrap().as_deref(), Some(&b"a: 1\n"[..]));
    assert_eq!(
        repository.asked(),
        ["list tree:", "list tree:env", "list tree:env/dev", "read blob:env/dev/values.yaml"]
    );
    workspace.write(&cx, "src/env/dev/values.yaml", "a: 3\n").await.unwrap();
    workspace.copy(&cx, "src/big", "out/big", None).await.unwrap();
    workspace.remove(&cx, "src/env/prod").await.unwrap();
    assert_eq!(repository.asked(), [""; 0], "the rest is known, or is moved without being looked at");
}

#[tokio::test]
async fn what_is_not_changed_is_still_what_its_origin_has() {
    let (workspace, cx, _repository) = with(&[("env/dev/a", "1"), ("env/prod/a", "1")]).await;
    paths(&workspace, "src").await;
    let id = |node: &Node| match node {
        Node::Directory(directory) => directory.unchanged().map(|there| there.id.to_string()),
        _ => panic!("a directory"),
    };
    assert_eq!(id(&workspace.node(&cx, "src").await.unwrap().unwrap()).as_deref(), Some("tree:"));
    workspace.write(&cx, "src/env/dev/b", "2").await.unwrap();
    for (path, wanted) in
        [("src", None), ("src/env", None), ("src/env/dev", None), ("src/env/prod", Some("tree:env/prod"))]
    {
        assert_eq!(id(&workspace.node(&cx, path).await.unwrap().unwrap()).as_deref(), wanted, "{path}");
    }
}

#[tokio::test]
async fn no_path_leads_out_of_the_workspace() {
    let (workspace, cx, _repository) = with(&[
        ("up", "->../../../../etc"),
        ("abs", "->/etc"),
        ("loop", "->loop"),
        ("in", "->env/../env"),
        ("env/a", "1"),
    ])
    .await;
    workspace.write(&cx, "../../etc/passwd", "mine").await.unwrap();
    for path in ["etc/passwd", "/etc/passwd", "src/up/passwd", "src/abs/passwd", "src/../../../etc/./passwd"] {
        assert_eq!(workspace.read(&cx, path).await.unwrap().as_deref(), Some(&b"mine"[..]), "{path}");
    }
    assert_eq!(workspace.read(&cx, "src/in/a").await.unwrap().as_deref(), Some(&b"1"[..]));
    let error = workspace.read(&cx, "src/loop").await.unwrap_err();
    assert!(error.message().contains("more than 40 symbolic links"), "{error}");
    for path in ["src/.git/config", "src/.GIT", "a\nb", &"a/".repeat(300), &"x".repeat(5_000)] {
        assert_eq!(workspace.write(&cx, path, "x").await.unwrap_err().kind(), ErrorKind::InvalidInput, "{path}");
    }
}

#[tokio::test]
async fn a_file_is_written_through_a_link_and_a_link_is_removed_itself() {
    let (workspace, cx, _repository) = with(&[("a.yaml", "1"), ("link", "->a.yaml")]).await;
    workspace.write(&cx, "src/link", "2").await.unwrap();
    assert_eq!(workspace.read(&cx, "src/a.yaml").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert!(workspace.remove(&cx, "src/link").await.unwrap());
    assert!(!workspace.remove(&cx, "src/link").await.unwrap());
    assert_eq!(paths(&workspace, "src").await, ["a.yaml"]);
}

#[tokio::test]
async fn a_directory_is_laid_over_another_and_nothing_is_half_copied() {
    let (workspace, cx, _repository) =
        with(&[("a/x", "new"), ("a/deep/y", "new"), ("a/run.sh", "new"), ("b/x", "old"), ("b/z", "old")]).await;
    workspace.copy(&cx, "src/a", "src/b", None).await.unwrap();
    assert_eq!(paths(&workspace, "src/b").await, ["deep/y", "run.sh", "x", "z"]);
    assert_eq!(workspace.read(&cx, "src/b/x").await.unwrap().as_deref(), Some(&b"new"[..]));
    assert!(matches!(workspace.node(&cx, "src/b/run.sh").await.unwrap(), Some(Node::File { executable: true, .. })));

    workspace.write(&cx, "c/deep", "a file").await.unwrap();
    let error = workspace.copy(&cx, "src/a", "c", None).await.unwrap_err();
    assert!(error.message().contains("\"c/deep\" is a file"), "{error}");
    assert_eq!(paths(&workspace, "c").await, ["deep"]);

    let keep = |path: &str, _: EntryKind| !path.ends_with('y');
    workspace.copy(&cx, "src/a", "d", Some(&keep)).await.unwrap();
    assert_eq!(paths(&workspace, "d").await, ["run.sh", "x"]);
    workspace.copy(&cx, "src/a", "src/a/again", None).await.unwrap();
    assert_eq!(paths(&workspace, "src/a/again").await, ["deep/y", "run.sh", "x"]);
}

#[tokio::test]
async fn clearing_a_mount_leaves_it_mounted_and_removing_does_not() {
    let (workspace, cx, repository) = with(&[("a/b", "1")]).await;
    workspace.clear(&cx, "src").await.unwrap();
    assert_eq!(repository.asked(), [""; 0]);
    let (directory, mount) = workspace.mounted(&cx, "./src/").await.unwrap().unwrap();
    assert!(directory.children().unwrap().is_empty() && directory.unchanged().is_none());
    assert_eq!(mount.as_any().downcast_ref::<Branch>().unwrap().0, "main");
    assert_eq!(workspace.mounts().await, ["src"]);
    workspace.remove(&cx, "src").await.unwrap();
    assert!(workspace.mounted(&cx, "src").await.unwrap().is_none());
}

/// The changes as Git's `--name-status` shows them.
async fn diff(workspace: &Workspace) -> Vec<String> {
    let changes = workspace.diff(&cx(), "src").await.unwrap();
    let letter = |change: &Change| match change.kind() {
        ChangeKind::Added => 'A',
        ChangeKind::Removed => 'D',
        ChangeKind::Modified => 'M',
    };
    changes.iter().map(|change| format!("{} {}", letter(change), change.path)).collect()
}

#[tokio::test]
async fn a_diff_costs_what_was_changed() {
    let (workspace, cx, repository) = with(&[
        ("big/deep/file", ""),
        ("env/dev/same", "1"),
        ("env/dev/values.yaml", "a: 1\n"),
        ("env/prod/values.yaml", "a: 1\n"),
        ("gone", "x"),
        ("link", "->gone"),
        ("run.sh", "#!"),
    ])
    .await;
    assert_eq!(diff(&workspace).await, [""; 0]);
    assert_eq!(repository.asked(), [""; 0], "nobody has looked into it");
    workspace.read(&cx, "src/env/prod/values.yaml").await.unwrap();
    repository.asked();
    assert_eq!(diff(&workspace).await, [""; 0]);
    assert_eq!(repository.asked(), [""; 0], "nobody has changed anything");

    for (path, text) in [("env/dev/values.yaml", "a: 2\n"), ("env/dev/same", "1"), ("new/deep/file", "x")] {
        workspace.write(&cx, &format!("src/{path}"), text).await.unwrap();
    }
    workspace.remove(&cx, "src/gone").await.unwrap();
    workspace.write_file(&cx, "src/run.sh", "#!".into(), Some(false)).await.unwrap();
    repository.asked();
    assert_eq!(diff(&workspace).await, ["M env/dev/values.yaml", "D gone", "A new/deep/file", "M run.sh"]);
    let asked = ["list tree:", "list tree:env", "list tree:env/dev", "read blob:env/dev/same blob:env/dev/values.yaml"];
    assert_eq!(repository.asked(), asked, "neither big nor env/prod");

    workspace.write(&cx, "src/env/dev/values.yaml", "a: 1\n").await.unwrap();
    workspace.copy(&cx, "src/env/prod", "src/copy", None).await.unwrap();
    assert_eq!(diff(&workspace).await, ["A copy/values.yaml", "D gone", "A new/deep/file", "M run.sh"]);
}

#[tokio::test]
async fn what_takes_the_place_of_something_else_is_told_by_what_it_is() {
    let (workspace, cx, _repository) = with(&[("a/x", "1"), ("a/y", "2"), ("b/x", "1"), ("link", "->b/x")]).await;
    workspace.remove(&cx, "src/b").await.unwrap();
    workspace.write(&cx, "src/b", "a file").await.unwrap();
    workspace.remove(&cx, "src/link").await.unwrap();
    workspace.write(&cx, "src/link", "b/x").await.unwrap();
    // Of another repository, whose ids say nothing here.
    mount(&workspace, "other", &Repository::new(&[("a/x", "1"), ("a/y", "3")])).await;
    workspace.remove(&cx, "src/a").await.unwrap();
    workspace.copy(&cx, "other/a", "src/a", None).await.unwrap();
    assert_eq!(diff(&workspace).await, ["M a/y", "A b", "D b/x", "M link"]);
    let changes = workspace.diff(&cx, "src").await.unwrap();
    let nodes: Vec<Node> = [&changes[0].before, &changes[0].after].into_iter().flatten().cloned().collect();
    assert_eq!(workspace.contents(&cx, &nodes).await.unwrap(), ["2", "3"]);
    workspace.clear(&cx, "src").await.unwrap();
    assert_eq!(diff(&workspace).await, ["D a/x", "D a/y", "D b/x", "D link"]);
}

#[tokio::test]
async fn a_diff_has_something_to_compare_with_and_an_end() {
    let (workspace, cx, repository) = with(&[("a/x", "1"), ("a/y", "2")]).await;
    for path in ["src/a", ".", "nowhere"] {
        let error = workspace.diff(&cx, path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains("Nothing is mounted"), "{error}");
    }
    let small = Workspace::with_limits(WorkspaceLimits::default().entries(2));
    mount(&small, "src", &repository).await;
    small.clear(&cx, "src").await.unwrap();
    assert!(small.diff(&cx, "src").await.unwrap_err().message().contains("More than 2 files"));
}

#[tokio::test]
async fn a_workspace_is_taken_back_with_its_mounts() {
    let (workspace, cx, _repository) = with(&[("a/b", "1")]).await;
    let before = workspace.snapshot().await;
    workspace.write(&cx, "src/a/b", "2").await.unwrap();
    workspace.mount(&cx, "src", Directory::default(), Arc::new(Branch("other", Directory::default()))).await.unwrap();
    workspace.reset(before).await;
    let (_, mount) = workspace.mounted(&cx, "src").await.unwrap().unwrap();
    assert_eq!(mount.as_any().downcast_ref::<Branch>().unwrap().0, "main");
    assert_eq!(workspace.read(&cx, "src/a/b").await.unwrap().as_deref(), Some(&b"1"[..]));
}

#[tokio::test]
async fn limits_hold_and_a_refused_file_changes_nothing() {
    let cx = cx();
    let workspace = Workspace::with_limits(WorkspaceLimits::default().file(10).written(25).entries(3));
    assert!(workspace.write(&cx, "a", "x".repeat(11)).await.unwrap_err().message().contains("11 bytes"));
    for name in ["a", "b", "a", "b", "a"] {
        workspace.write(&cx, name, "x".repeat(10)).await.unwrap();
    }
    assert!(
        workspace.write(&cx, "c", "x".repeat(10)).await.unwrap_err().message().contains("more than 25 bytes together")
    );
    assert_eq!(paths(&workspace, ".").await, ["a", "b"]);
    for name in ["c", "d"] {
        workspace.write(&cx, name, "").await.unwrap();
    }
    assert!(workspace.walk(&cx, ".").await.unwrap_err().message().contains("more than 3 files"));
}

#[tokio::test]
async fn a_directory_goes_to_disk_and_comes_back_without_links_that_lead_out() {
    let (workspace, cx, _repository) = with(&[
        ("a/run.sh", "#!"),
        ("a/x", "1"),
        ("ok", "->a/x"),
        ("up", "->../a"),
        ("a/in", "->../ok"),
        ("abs", "->/etc"),
        ("odd", "->a/../../x"),
    ])
    .await;
    let disk = tempfile::tempdir().unwrap();
    workspace.export(&cx, "src", disk.path()).await.unwrap();
    workspace.write(&cx, "back/old", "goes").await.unwrap();
    workspace.import(&cx, disk.path(), "back").await.unwrap();
    assert_eq!(paths(&workspace, "back").await, ["a/in", "a/run.sh", "a/x", "ok"]);
    assert!(matches!(workspace.node(&cx, "back/a/run.sh").await.unwrap(), Some(Node::File { executable: true, .. })));
    assert_eq!(workspace.read(&cx, "back/a/in").await.unwrap().as_deref(), Some(&b"1"[..]));
}

#[tokio::test]
async fn what_is_missing_is_named_with_what_is_near() {
    let (workspace, cx, _repository) = with(&[("env/values.yaml", "a: 1\n")]).await;
    let error = workspace.read_text(&cx, "src/env/value.yaml").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().ends_with("Did you mean \"src/env/values.yaml\"?"), "{error}");
    let error = workspace.write(&cx, "src/env", "x").await.unwrap_err();
    assert!(error.message().contains("is not a file"), "{error}");
    let error = workspace.write(&cx, "src/env/values.yaml/x", "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}
