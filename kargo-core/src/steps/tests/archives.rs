//! `tar` and `untar`.

use super::*;

/// An archive with entries of any name, as no decent program would write them.
fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, contents) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        let contents = if kind.is_symlink() {
            header.set_link_name_literal(contents).unwrap();
            ""
        } else {
            contents
        };
        header.set_size(contents.len() as u64);
        header.set_cksum();
        archive.append(&header, contents.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

async fn with_archive(bytes: Vec<u8>) -> Workspace {
    let workspace = Workspace::new();
    workspace.write(&context(), "a.tar", bytes).await.unwrap();
    workspace
}

async fn untar(workspace: &Workspace, config: Value) -> Result<StepOutcome, Error> {
    call(builtin().build().step("untar").unwrap(), workspace, &config).await
}

#[test]
fn what_is_packed_can_be_unpacked() {
    let files = [("in/a", "1"), ("in/b/c.yaml", "2"), ("in/b/skip.md", "3"), ("in/l", "->b/c.yaml"), ("old/x", "gone")];
    for gzip in [false, true] {
        block_on(async {
            let workspace = workspace(&files).await;
            let plugins = builtin().build();
            let pack = json!({"inPath": "in", "outPath": "out/all.tar", "gzip": gzip, "ignore": "*.md"});
            let pack = || call(plugins.step("tar").unwrap(), &workspace, &pack);
            pack().await.unwrap();
            let packed = workspace.read(&context(), "out/all.tar").await.unwrap().unwrap();
            assert_eq!(packed.starts_with(&[0x1f, 0x8b]), gzip);
            pack().await.unwrap();
            assert_eq!(
                workspace.read(&context(), "out/all.tar").await.unwrap().unwrap(),
                packed,
                "the same bytes each time"
            );
            untar(&workspace, json!({"inPath": "out/all.tar", "outPath": "old"})).await.unwrap();
            let mut tree = tree(&workspace).await;
            tree.retain(|path, _| path.starts_with("old/"));
            let old = [("old/a", "1"), ("old/b/c.yaml", "2"), ("old/l", "->b/c.yaml")];
            assert_eq!(tree, old.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect());
        });
    }
}

#[test]
fn a_single_file_is_packed_by_its_name() {
    block_on(async {
        let workspace = workspace(&[("d/a.yaml", "1")]).await;
        let config = json!({"inPath": "d/a.yaml", "outPath": "a.tar"});
        call(builtin().build().step("tar").unwrap(), &workspace, &config).await.unwrap();
        untar(&workspace, json!({"inPath": "a.tar", "outPath": "o"})).await.unwrap();
        assert_eq!(tree(&workspace).await["o/a.yaml"], "1");
    });
    errs("tar", &[], &json!({"inPath": "x", "outPath": "y"}), &["There is no \"x\""]);
}

#[test]
fn what_would_lead_out_of_the_target_is_left_out() {
    use tar::EntryType::{Char, Directory, Link, Regular, Symlink};
    let entries = archive(&[
        ("../evil", Regular, "x"),
        ("/evil", Regular, "x"),
        ("a/../../evil", Regular, "x"),
        ("a\\evil", Regular, "x"),
        (".git/hooks/evil", Regular, "x"),
        ("dev", Char, ""),
        ("hard", Link, ""),
        ("out", Symlink, "../../etc"),
        ("abs", Symlink, "/etc"),
        ("./good", Regular, "1"),
        ("empty/", Directory, ""),
        ("link", Symlink, "good"),
        ("link/below", Regular, "2"),
    ]);
    block_on(async {
        let workspace = with_archive(entries).await;
        // A link that is in the archive is followed, and leads to a file.
        let error = untar(&workspace, json!({"inPath": "a.tar", "outPath": "o"})).await.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
        untar(&workspace, json!({"inPath": "a.tar", "outPath": "o", "ignore": "below"})).await.unwrap();
        let tree = tree(&workspace).await;
        let paths: Vec<&str> = tree.keys().map(String::as_str).collect();
        assert_eq!(paths, ["a.tar", "o/good", "o/link"]);
        assert!(workspace.list(&context(), "o/empty").await.unwrap().is_some_and(|entries| entries.is_empty()));
    });
}

#[test]
fn leading_parts_are_dropped() {
    use tar::EntryType::{Directory, Regular};
    let entries =
        archive(&[("top/", Directory, ""), ("top/a", Regular, "1"), ("top/b/c", Regular, "2"), ("d", Regular, "3")]);
    block_on(async {
        let workspace = with_archive(entries).await;
        untar(&workspace, json!({"inPath": "a.tar", "outPath": "o", "stripComponents": 1})).await.unwrap();
        let tree = tree(&workspace).await;
        let paths: Vec<&str> = tree.keys().map(String::as_str).collect();
        assert_eq!(paths, ["a.tar", "o/a", "o/b/c"]);
    });
}

#[test]
fn archives_that_are_broken_or_too_large_are_refused() {
    use std::io::Write;
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let mut claims = tar::Header::new_gnu();
    claims.set_entry_type(tar::EntryType::Regular);
    claims.set_path("big").unwrap();
    claims.set_size(60 << 20);
    claims.set_cksum();
    let cut = archive(&[("a", tar::EntryType::Regular, &"x".repeat(2_000))])[..1_000].to_vec();
    for (bytes, part) in [
        (claims.as_bytes().to_vec(), "too large"),
        (gzip(claims.as_bytes()), "too large"),
        (cut.clone(), "damaged"),
        (gzip(&cut), "damaged"),
        (gzip(&archive(&[("a", tar::EntryType::Regular, "x")]))[..30].to_vec(), "damaged"),
        (vec![7; 1_024], "damaged"),
    ] {
        block_on(async {
            let workspace = with_archive(bytes).await;
            let error = untar(&workspace, json!({"inPath": "a.tar", "outPath": "o"})).await.unwrap_err();
            contains(&error.to_string(), &[part, "a.tar"]);
        });
    }
}

#[test]
fn what_is_too_large_is_not_packed() {
    const MIB: usize = 1 << 20;
    for (sizes, refused) in [
        (vec![50 * MIB], None),
        (vec![50 * MIB + 1], Some("in/0")),
        (vec![40 * MIB, 40 * MIB], None),
        (vec![40 * MIB, 40 * MIB, 20 * MIB + 1], Some("in/2")),
    ] {
        block_on(async {
            let workspace = Workspace::new();
            for (number, size) in sizes.iter().enumerate() {
                workspace.write(&context(), &format!("in/{number}"), vec![0; *size]).await.unwrap();
            }
            let config = json!({"inPath": "in", "outPath": "out.tar"});
            let outcome = call(builtin().build().step("tar").unwrap(), &workspace, &config).await;
            match refused {
                None => drop(outcome.unwrap()),
                Some(file) => {
                    let error = outcome.unwrap_err();
                    let name = file.trim_start_matches("in/");
                    contains(error.message(), &[name, "a file in it may have 50 MiB, and all together 100 MiB"]);
                    assert!(workspace.read(&context(), "out.tar").await.unwrap().is_none());
                }
            }
        });
    }
}

#[test]
fn what_is_ignored_does_not_count_and_patterns_hold_for_unpacking_too() {
    block_on(async {
        let workspace = workspace(&[("in/a", "1"), ("in/b.md", "2"), ("in/c/d.md", "3"), ("in/c/e", "4")]).await;
        let plugins = builtin().build();
        workspace.write(&context(), "in/large", vec![0; 60 << 20]).await.unwrap();
        let config = json!({"inPath": "in", "outPath": "a.tar", "ignore": "large"});
        call(plugins.step("tar").unwrap(), &workspace, &config).await.unwrap();
        untar(&workspace, json!({"inPath": "a.tar", "outPath": "o", "ignore": "*.md\n!d.md"})).await.unwrap();
        let paths: Vec<String> = tree(&workspace).await.into_keys().filter(|path| path.starts_with("o/")).collect();
        assert_eq!(paths, ["o/a", "o/c/d.md", "o/c/e"]);
    });
}

#[test]
fn links_that_stay_within_the_archive_are_kept_and_those_that_lead_out_by_any_way_are_not() {
    use tar::EntryType::{Regular, Symlink};
    let entries = [
        ("b/x", Regular, "1"),
        ("a/l", Symlink, "../b/x"),
        ("a/d", Symlink, "../b"),
        ("a/through", Symlink, "d/../b/x"),
        ("deep/er/up", Symlink, "../../b"),
        ("plain", Symlink, "./a/l"),
        // Each of these leads out.
        ("a/far", Symlink, "../../b"),
        ("a/around", Symlink, "../b/../../x"),
        ("deep/by", Symlink, "er/up/../../x"),
        // By its words it has three levels above it, in truth one.
        ("deep/er/up/out", Symlink, "../../x"),
        ("a/git", Symlink, "../.git/config"),
        ("a/self", Symlink, "self"),
        // Turned around by what comes after it.
        ("turns", Symlink, "t/../x"),
        ("t", Symlink, "b/y"),
        ("late", Symlink, "s/e/../../x"),
        ("s/e", Symlink, "../b"),
    ];
    block_on(async {
        let workspace = with_archive(archive(&entries)).await;
        untar(&workspace, json!({"inPath": "a.tar", "outPath": "o"})).await.unwrap();
        let links: Vec<String> = tree(&workspace)
            .await
            .into_iter()
            .filter_map(|(path, contents)| contents.starts_with("->").then(|| format!("{}{contents}", &path[2..])))
            .collect();
        let kept = [
            "a/d->../b",
            "a/l->../b/x",
            "a/through->d/../b/x",
            "deep/er/up->../../b",
            "plain->./a/l",
            "s/e->../b",
            "t->b/y",
            "turns->t/../x",
        ];
        assert_eq!(links, kept);
    });
}
