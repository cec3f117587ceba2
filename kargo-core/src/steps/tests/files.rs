//! `copy`, `delete`, `file-write`, `compose-output`, `fail`.

use super::*;

#[test]
fn copy_lays_a_directory_over_another_and_leaves_out_what_is_ignored() {
    let files = [
        ("src/a.yaml", "1"),
        ("src/b/c.md", "2"),
        ("src/b/d.yaml", "3"),
        ("src/l", "->a.yaml"),
        ("out/a.yaml", "0"),
        ("out/z", "9"),
    ];
    let mut all = files.to_vec();
    all.extend([("out/a.yaml", "1"), ("out/b/c.md", "2"), ("out/b/d.yaml", "3"), ("out/l", "->a.yaml")]);
    succeeds("copy", &files, &json!({"inPath": "src", "outPath": "out"}), &all, none());
    let mut some = files.to_vec();
    some.extend([("out/a.yaml", "1"), ("out/b/d.yaml", "3"), ("out/l", "->a.yaml")]);
    let config = json!({"inPath": "src/", "outPath": "./out", "ignore": "# docs\n*.md\n!keep.md\n"});
    succeeds("copy", &files, &config, &some, none());
    let mut few = files.to_vec();
    few.extend([("out/a.yaml", "1"), ("out/l", "->a.yaml")]);
    succeeds("copy", &files, &json!({"inPath": "src", "outPath": "out", "ignore": "/b/"}), &few, none());
}

#[test]
fn copy_stays_in_the_workspace_and_says_what_is_missing() {
    let after = [("src/a", "1"), ("etc/a", "1")];
    succeeds("copy", &after[..1], &json!({"inPath": "/src/a", "outPath": "../../etc/a"}), &after, none());
    errs("copy", &after, &json!({"inPath": "scr", "outPath": "out"}), &["\"scr\"", "Did you mean \"src\"?"]);
    errs("copy", &after, &json!({"inPath": "src", "outPath": "etc/a"}), &["is a file"]);
    errs("copy", &after, &json!({"inPath": "src", "outPath": "o", "ignore": "[a"}), &["\"[a\"", ".gitignore"]);
}

#[test]
fn delete_takes_paths_and_patterns_away() {
    let files = [("a/b.yaml", "1"), ("a/c.txt", "2"), ("a/d/e.yaml", "3"), ("f.yaml", "4"), ("l", "->a")];
    let left = |gone: &[&str]| files.iter().copied().filter(|(path, _)| !gone.contains(path)).collect::<Vec<_>>();
    succeeds("delete", &files, &json!({"path": "a/d"}), &left(&["a/d/e.yaml"]), none());
    succeeds(
        "delete",
        &files,
        &json!({"paths": ["a/c.txt", "./f.yaml", "a/c.txt"]}),
        &left(&["a/c.txt", "f.yaml"]),
        none(),
    );
    succeeds("delete", &files, &json!({"path": "l"}), &left(&["l"]), none());
    succeeds("delete", &files, &json!({"path": "nothing/here"}), &files, none());
    let glob = |pattern: &str| json!({"path": pattern, "pathsAreGlobs": true});
    succeeds("delete", &files, &glob("a/*.yaml"), &left(&["a/b.yaml"]), none());
    succeeds("delete", &files, &glob("**/*.yaml"), &left(&["a/b.yaml", "a/d/e.yaml", "f.yaml"]), none());
    succeeds("delete", &files, &glob("./a/{d,x}"), &left(&["a/d/e.yaml"]), none());
    succeeds("delete", &files, &glob("nothing/*"), &files, none());
}

#[test]
fn delete_refuses_what_leads_out_and_when_strict_what_is_not_there() {
    let files = [("a/b", "1")];
    errs("delete", &files, &json!({"path": "../x"}), &["leads out of the workspace"]);
    errs("delete", &files, &json!({"path": "."}), &["the workspace itself"]);
    errs("delete", &files, &json!({"path": "a/x", "strict": true}), &["\"a/x\" does not exist"]);
    errs("delete", &files, &json!({"path": "x*", "pathsAreGlobs": true, "strict": true}), &["\"x*\" matches nothing"]);
    errs("delete", &files, &json!({"path": "a[", "pathsAreGlobs": true}), &["no pattern"]);
    succeeds("delete", &files, &json!({"paths": ["a", "a/b"], "strict": true}), &[], none());
}

#[test]
fn file_write_makes_a_file_once() {
    let write = |path: &str| json!({"path": path, "contents": "text\n"});
    succeeds("file-write", &[], &write("a/b.txt"), &[("a/b.txt", "text\n")], none());
    succeeds("file-write", &[], &json!({"path": "a", "contents": "", "permissions": "0644"}), &[("a", "")], none());
    let files = [("a", "old"), ("d/x", "1"), ("l", "->d")];
    let over = json!({"path": "a", "contents": "new", "overwrite": true});
    succeeds("file-write", &files, &over, &[("a", "new"), ("d/x", "1"), ("l", "->d")], none());
    fails("file-write", &files, &write("a"), &["\"a\" is there already", "overwrite"]);
    fails("file-write", &files, &write("/a"), &["must be relative"]);
    fails("file-write", &files, &write("d/../../a"), &["leads out"]);
    fails("file-write", &files, &write("l/y"), &["\"l\"", "symbolic link"]);
    errs("file-write", &files, &write(".git/config"), &[".git"]);
}

#[test]
fn compose_output_puts_out_its_configuration() {
    let config = json!({"a": 1, "b": {"c": [true, null, "1.10"]}});
    succeeds("compose-output", &[], &config, &[], config.clone());
    fails("compose-output", &[], &json!([1]), &["a map"]);
}

#[test]
fn fail_fails() {
    fails("fail", &[], &json!({"message": "not on Fridays"}), &["failed: not on Fridays"]);
    fails("fail", &[], &none(), &["failed"]);
}
