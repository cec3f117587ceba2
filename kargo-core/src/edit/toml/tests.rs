//! What an edit of TOML makes and what it leaves.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ErrorKind;

#[track_caller]
fn expect(before: &str, key: &str, value: impl Into<Value> + Clone, after: &str) {
    let edited = update(before, &[(key, value)]).unwrap_or_else(|error| panic!("{before:?}: {}", error.report()));
    assert_eq!(edited, after);
}

#[test]
fn only_the_bytes_of_the_value_change() {
    let file = "# head\r\ntitle = \"a\" # why\r\n[image]\r\ntag=\"v1\"\r\n'odd.key' = 'x'\r\nports = [ 1, 2, # two\r\n 3 ]\r\n";
    expect(file, "image.tag", "v2", &file.replace("v1", "v2"));
    expect(file, "title", "it \"is\"\u{7f}\n", &file.replace("\"a\"", "\"it \\\"is\\\"\\u007f\\n\""));
    expect(file, "image.odd\\.key", "y", &file.replace("'x'", "'y'"));
    expect(file, "image.odd\\.key", "it's", &file.replace("'x'", "\"it's\""));
    expect(file, "image.ports.1", 7, &file.replace(" 2,", " 7,"));
    expect(file, "image.ports[2]", 7, &file.replace(" 3 ]", " 7 ]"));
    expect("a.b = 1 # c\n", "a.b", true, "a.b = true # c\n");
    expect("a = { b = 1.5, c = 2024-01-02 }", "a.c", "x", "a = { b = 1.5, c = \"x\" }");
    expect("a = \"\"\"\none\n  two\"\"\" # c\n", "a", "three", "a = \"three\" # c\n");
    expect("[[s]]\nt = '1'\n[[s]]\nt = '2'\n", "s.1.t", "3", "[[s]]\nt = '1'\n[[s]]\nt = '3'\n");
    expect("\u{feff}a = 1\n", "a", 2, "\u{feff}a = 2\n");
}

#[test]
fn a_value_that_is_there_already_leaves_the_text_alone() {
    for file in ["t = \"1.2\"\n", "t = '1.2'\n", "t = '''1.2'''\n", "t = \"\\u0031.2\"\n"] {
        expect(file, "t", "1.2", file);
    }
    expect("t = 0x10\n", "t", 16, "t = 0x10\n");
    expect("t = 1_000\n", "t", 1000, "t = 1_000\n");
    expect("t = 2024-01-02\n", "t", "2024-01-02", "t = \"2024-01-02\"\n");
    expect("t = 1\n", "t", "1", "t = \"1\"\n");
}

#[test]
fn what_cannot_be_set_is_refused_with_the_way_out() {
    let file = "[image]\ntag = 'v1'\nlist = [1]\n[[s]]\nt = 1\n";
    for (key, parts) in [
        ("image.tga", ["\"tga\"", "did you mean \"tag\"?"]),
        ("image", ["is a table", "keys"]),
        ("image.list", ["is an array", "items"]),
        ("image.list.1", ["1 items", "no item 1"]),
        ("image.list.-1", ["is an array", "image.list.0"]),
        ("s.3.t", ["1 items", "no item 3"]),
        ("image.tag.x", ["\"image.tag\" is a single value", "does not exist"]),
    ] {
        let error = update(file, &[(key, "x")]).unwrap_err();
        for part in parts {
            assert!(error.message().contains(part), "{part:?} is not in {error}");
        }
    }
    assert!(update(file, &[("image.tag", "a"), ("image.:tag", "b")]).unwrap_err().message().contains("same value"));
    assert!(update("a = 1\nb = [", &[("a", "x")]).unwrap_err().message().contains("line 2"));
    assert!(update(&format!("a = {}", "[".repeat(10_000)), &[("a", "x")]).is_err(), "depth");
}

#[test]
fn a_file_is_read_as_json() {
    let file =
        "a = 1\nb = 1.5\nc = 2024-01-02T03:04:05Z\nd = [1, {e = true}]\nf = inf\n[[t]]\nx = 'y'\n[g.h]\ni = 'j'\n";
    let wanted = json!({
        "a": 1, "b": 1.5, "c": "2024-01-02T03:04:05Z", "d": [1, {"e": true}], "f": "inf", "t": [{"x": "y"}], "g": {"h": {"i": "j"}},
    });
    assert_eq!(parse(file).unwrap(), wanted);
}

#[track_caller]
fn makes(before: &str, key: &str, value: impl Into<Value> + Clone, after: &str) {
    let edited = upsert(before, &[(key, value)]).unwrap_or_else(|error| panic!("{before:?}: {}", error.report()));
    assert_eq!(edited, after, "{key} in {before:?}");
}

#[test]
fn a_missing_key_stands_behind_the_last_one_of_its_table() {
    let file = "title = 'x' # t\n\n# About the image.\n[image] # i\n  tag=\"v1\" # set\n\n[other]\nx = 1\n";
    makes(file, "image.digest", "sha256:0a", &file.replace("# set\n", "# set\n  digest=\"sha256:0a\"\n"));
    makes(file, "image.a.b", 1, &file.replace("# set\n", "# set\n  a.b=1\n"));
    makes(file, "name", "y", &file.replace("# t\n", "# t\nname = \"y\"\n"));
    makes(file, "image.tag", "v2", &file.replace("v1", "v2"));
    makes("a.b = 1\nc = 2\n", "a.d", 3, "a.b = 1\na.d = 3\nc = 2\n");
    makes("a = 1", "b", true, "a = 1\nb = true");
    makes("[a]\r\nb = 1\r\n", "a.c", 2, "[a]\r\nb = 1\r\nc = 2\r\n");
    makes("[a] # none\n[b]\n", "a.c", 2, "[a] # none\nc = 2\n[b]\n");
    makes("t = \"\"\"\none\n\"\"\" # c\n", "u", 1, "t = \"\"\"\none\n\"\"\" # c\nu = 1\n");
    makes("[a]\n", "a.b\\.c.é", "x", "[a]\n\"b.c\".\"é\" = \"x\"\n");
}

#[test]
fn a_missing_table_gets_a_header_where_others_have_one() {
    makes("[a]\nb = 1\n", "image.tag", "v1", "[a]\nb = 1\n\n[image]\ntag = \"v1\"\n");
    makes("[a]\nb = 1", "x.y.z", 1, "[a]\nb = 1\n\n[x.y]\nz = 1\n");
    makes("a = 1\n", "image.tag", "v1", "a = 1\nimage.tag = \"v1\"\n");
    makes("", "image.tag", "v1", "image.tag = \"v1\"\n");
    makes("# head", "a", 1, "# head\na = 1\n");
    // Only the header of a table in it speaks of `a`.
    makes("[a.b]\nc = 1\n\n[z]\n", "a.d", 2, "[a.b]\nc = 1\n\n[a]\nd = 2\n\n[z]\n");
    makes("[[s]]\n[s.x.y]\nk = 1\n[[s]]\n", "s.0.x.z", 2, "[[s]]\n[s.x.y]\nk = 1\n\n[s.x]\nz = 2\n[[s]]\n");
    // Before the first header, but not between it and the comment on it.
    makes("# licence\n\n# about a\n[a]\nb = 1\n", "c", 2, "# licence\n\nc = 2\n\n# about a\n[a]\nb = 1\n");
    makes("\u{feff}[a]\n", "c", 2, "\u{feff}c = 2\n\n[a]\n");
}

#[test]
fn a_missing_key_of_an_inline_table_stands_in_its_braces() {
    makes("a = { b = 1 } # c\n", "a.d", "x", "a = { b = 1, d = \"x\" } # c\n");
    makes("a = {}\n", "a.b.c", 1, "a = { b.c = 1 }\n");
    makes("a = { b.c = 1, e = 2 }\n", "a.b.d", 3, "a = { b.c = 1, e = 2, b.d = 3 }\n");
    makes("a = [{ b = 1 }]\n", "a.0.c", 2, "a = [{ b = 1, c = 2 }]\n");
}

#[test]
fn items_are_appended_to_arrays_and_to_arrays_of_tables() {
    makes("a = [1, 2]\n", "a.-1", 3, "a = [1, 2, 3]\n");
    makes("a = [1]\n", "a.1.b", 3, "a = [1, { b = 3 }]\n");
    makes("a = [ # none\n]\n", "a.-1", 3, "a = [3 # none\n]\n");
    makes("a = [\n  1, # one\n  2 # two\n]\n", "a.-1", 3, "a = [\n  1, # one\n  2, # two\n  3\n]\n");
    makes("a = [\n  1, # one\n  2, # two\n]\n", "a.-1", 3, "a = [\n  1, # one\n  2, # two\n  3,\n]\n");
    makes("[t]\n", "t.a.-1.b", "x", "[t]\na = [{ b = \"x\" }]\n");
    makes("[t]\n", "t.a.0", "x", "[t]\na = [\"x\"]\n");
    let file = "[[s]]\nt = 1\n[s.u]\nv = 1\n\n# other\n[other]\n";
    makes(file, "s.-1.t", 2, &file.replace("v = 1\n", "v = 1\n\n[[s]]\nt = 2\n"));
    makes(file, "s.1.a.b", 2, &file.replace("v = 1\n", "v = 1\n\n[[s]]\na.b = 2\n"));
    makes("[[s]]\n[[s.u]]\n[[s]]\n", "s.0.u.-1.x", 1, "[[s]]\n[[s.u]]\n\n[[s.u]]\nx = 1\n[[s]]\n");
    let twice = upsert("[t]\n", &[("t.a.-1", "x"), ("t.a.-1", "y")]).unwrap();
    assert_eq!(twice, "[t]\na = [\"x\", \"y\"]\n");
}

#[test]
fn what_cannot_be_made_is_refused_with_the_way_out() {
    let file = "[image]\ntag = 'v1'\nlist = [1]\n[[s]]\nt = 1\n";
    for (key, parts) in [
        ("image.tag.x", ["\"image.tag\" is a single value", "cannot be made"]),
        ("image", ["is a table", "keys"]),
        ("image.list.3", ["no item 3", "\"-1\" or 1"]),
        ("image.list.x", ["is an array", "\"-1\" or 1"]),
        ("image[0]", ["is a table", "no item 0"]),
        ("image.new.3", ["item 3", "\":3\""]),
        ("s.-1", ["array of tables", "name a key"]),
        ("s.1.0", ["array of tables", "name a key"]),
    ] {
        let error = upsert(file, &[(key, "x")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        for part in parts {
            assert!(error.message().contains(part), "{part:?} is not in {error}");
        }
    }
    assert!(upsert(file, &[("a", "x"), (":a", "y")]).unwrap_err().message().contains("same value"));
}

/// Lines of which files are made; those that do not go together with the ones before are left out.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let keys = "[a-c01]{1,2}(\\.[a-c01]{1,2}){0,2}";
    let value = prop::sample::select(vec![
        "1",
        "'x'",
        "\"y\" # why",
        "true",
        "[]",
        "[ ]",
        "[1, 2]",
        "[1, 2, ]",
        "[\n  1, # one\n  2 # two\n]",
        "{}",
        "{ a = 1 }",
        "{a.b = 1, c = {}}",
        "[{ b = 1 }, {}]",
        "\"\"\"\nz\n\"\"\"",
        "2024-01-02",
    ]);
    let line = prop_oneof![
        4 => (keys, value).prop_map(|(keys, value)| format!("{keys} = {value}")),
        2 => keys.prop_map(|keys| format!("[{keys}] # table")),
        1 => keys.prop_map(|keys| format!("  [[{keys}]]")),
        1 => Just("# comment".to_owned()),
        1 => Just(String::new()),
    ];
    prop::collection::vec(line, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_key_is_made_in_any_file_and_can_be_set_again(
        lines in lines(),
        key in "[a-c01]{1,2}(\\.([a-c01]{1,2}|-1)){0,3}",
        windows: bool,
    ) {
        let line_break = if windows { "\r\n" } else { "\n" };
        let mut text = String::new();
        for line in lines {
            let more = format!("{text}{}{line_break}", line.replace('\n', line_break));
            if read(&more).is_ok() {
                text = more;
            }
        }
        // That the edit reads back as wanted is checked by the edit itself; what it refuses must not be for want of skill.
        match upsert(&text, &[(&key, "new")]) {
            Ok(edited) => {
                prop_assert_eq!(edited.matches('#').count(), text.matches('#').count(), "{}", edited);
                if !key.contains("-1") {
                    prop_assert_eq!(update(&edited, &[(&key, "new")]).unwrap(), edited);
                }
            }
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::InvalidInput, "{} in\n{}", error.report(), text),
        }
    }

    #[test]
    fn random_text_never_panics(text in "[\\[\\]{}=.,'\"#\\\\a1 \n\u{feff}é]{0,30}", key in "[a1.:\\\\\\[\\]-]{0,6}") {
        let _ = (update(&text, &[(&key, "x")]), upsert(&text, &[(&key, "x")]), parse(&text));
    }
}
