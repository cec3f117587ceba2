//! What editing tools get wrong, one after the other: a file, a key, a new value, and the file that must come of it.

use super::*;

/// Its number, what is tricky, the file, the key, the value, and the file afterwards.
type Case = (usize, &'static str, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const CASES: [Case; 58] = [
    (1, "single quotes around a value with one in it", "a: 'x' # c\n", "a", "it's 1", "a: 'it''s 1' # c\n"),
    (2, "double quotes around a value with some in it", "a: \"x\" # c\n", "a", "it's \"1\"", "a: \"it's \\\"1\\\"\" # c\n"),
    (3, "a line break that single quotes cannot hold", "a: 'x'\n", "a", "1\n2", "a: \"1\\n2\"\n"),
    (4, "JSON in a YAML file", "{\"a\":\"x\",\"b\":[\"y\"]}", "b.0", "z", "{\"a\":\"x\",\"b\":[\"z\"]}"),
    (5, "a colon inside of a flow map", "{\"a\":x}", "a", "z:1", "{\"a\":\"z:1\"}"),
    (6, "a comma inside of a flow list", "a: [x, y]\n", "a.1", "p,q", "a: [x, \"p,q\"]\n"),
    (7, "a flow map with further items on the line", "a: {b: x, c: y} # c\n", "a.b", "z", "a: {b: z, c: y} # c\n"),
    (8, "a comment behind a number that becomes a text", "a: 1 # c\n", "a", "x", "a: x # c\n"),
    (9, "a hash that is no comment", "a: x#y # c\n", "a", "v#2", "a: v#2 # c\n"),
    (10, "a key with a colon in it", "\"a:\":\n", "a:", "x", "\"a:\": x\n"),
    (11, "a key between question mark and colon", "? a\n: y\n", "a", "x", "? a\n: x\n"),
    (12, "the same key in a map further up", "a: 1\nb: {a: 2}\n", "b.a", "x", "a: 1\nb: {a: x}\n"),
    (13, "the same text in a comment and in another value", "# a: v1\nb: 'a: v1'\na: v1\n", "a", "v2", "# a: v1\nb: 'a: v1'\na: v2\n"),
    (14, "no value at all", "a:\nb: 1\n", "a", "x", "a: x\nb: 1\n"),
    (15, "no value and no end of the line", "a:", "a", "x", "a: x"),
    (16, "no value and a comment", "a: # c\nb: 1\n", "a", "x", "a: x # c\nb: 1\n"),
    (17, "no value and a comment further away", "a:   # c\n", "a", "x", "a: x   # c\n"),
    (18, "no value behind a blank before the colon", "a :\r\nb: 1\r\n", "a", "x", "a : x\r\nb: 1\r\n"),
    (19, "no value behind an anchor", "a: &k\nb: *k\n", "a", "x", "a: &k x\nb: *k\n"),
    (20, "no value behind a tag", "a: !!str # c\n", "a", "x", "a: !!str x # c\n"),
    (21, "no value in a flow map", "{a: , b: 1}\n", "a", "x", "{a: x , b: 1}\n"),
    (22, "no value and no blank in a flow map", "{\"a\":}\n", "a", "x", "{\"a\": x}\n"),
    (23, "an item of which there is only the dash", "- \n- b\n-\n", "0", "x", "- x\n- b\n-\n"),
    (24, "a last item of which there is only the dash", "- \n- b\n-\n", "2", "x", "- \n- b\n- x\n"),
    (25, "no value behind a question mark", "? a\n:\n", "a", "x", "? a\n: x\n"),
    (26, "a block with an empty line behind it", "k: |\n  x\n  y\n\nb: 1\n", "k", "v2", "k: v2\n\nb: 1\n"),
    (27, "a block with comments on its header and behind it", "k: |-  # c\n  x\n# d\nb: 1\n", "k", "v2", "k: v2  # c\n# d\nb: 1\n"),
    (28, "a block that keeps its empty lines", "k: >+\n  x  \n\n\n# d\nb: 1\n", "k", "v2", "k: v2\n\n\n# d\nb: 1\n"),
    (29, "a block at the end of a file without a line break", "k: |\n  x\n  y", "k", "v2", "k: v2"),
    (30, "a block whose last line looks empty", "k: |\n  x\n  \u{a0}\nb: 1\n", "k", "v2", "k: v2\nb: 1\n"),
    (31, "a block whose only line looks empty", "k: |\n  \u{a0}\nb: 1\n", "k", "v2", "k: v2\nb: 1\n"),
    (32, "a block that is only a header", "k: |", "k", "v2", "k: v2"),
    (33, "a block of empty lines", "k: |\n\n\nb: 1\n", "k", "v2", "k: v2\n\n\nb: 1\n"),
    (34, "a block without a line before a comment", "k: |\n# c\nb: 1\n", "k", "v2", "k: v2\n# c\nb: 1\n"),
    (35, "a block with anchor, tag and its own indentation", "k: &a !!str |2-\n    x\n   y\nb: 1\n", "k", "v2", "k: &a !!str v2\nb: 1\n"),
    (36, "a block whose header is on another line than its key", "k: # c\n  # d\n  |\n  x\nb: 1\n", "k", "v2", "k: # c\n  # d\n  v2\nb: 1\n"),
    (37, "a block with line ends of Windows", "k: |\r\n  x\r\n  y\r\nb: 1\r\n", "k", "v2", "k: v2\r\nb: 1\r\n"),
    (38, "a folded block with a hash in it", "k: >\n x # not a comment\n\n  y\n \nb: 1\n", "k", "v2", "k: v2\n \nb: 1\n"),
    (39, "a block between items of a list", "- |\n  a\n- |-\n  b\n- c\n", "1", "v", "- |\n  a\n- v\n- c\n"),
    (40, "a block in a list in a list", "- - |\n    a\n  - b\n", "0.0", "v", "- - v\n  - b\n"),
    (41, "a block in a map that begins behind a dash", "a:\n  - x: |\n      1\n\n  # c\n  - y\n", "a.0.x", "v", "a:\n  - x: v\n\n  # c\n  - y\n"),
    (42, "several lines into a block", "k: | # c\n   x\n\nb: 1\n", "k", "1\n\n  2\n", "k: | # c\n   1\n\n     2\n\nb: 1\n"),
    (43, "several lines without an end into a block of Windows", "k: |\r\n  x\r\nb: 1\r\n", "k", "1\n2", "k: |-\r\n  1\r\n  2\r\nb: 1\r\n"),
    (44, "empty lines at the end, which a block does not show", "k: |\n  x\n", "k", "1\n2\n\n", "k: \"1\\n2\\n\\n\"\n"),
    (45, "a first line with blanks, which a block takes for its indentation", "k: |\n  x\n", "k", " 1\n2\n", "k: \" 1\\n2\\n\"\n"),
    (46, "several lines into a block without an end", "k: |\n  x", "k", "1\n2\n", "k: \"1\\n2\\n\""),
    (47, "several lines where there was one", "k: v\n", "k", "1\n2\n", "k: \"1\\n2\\n\"\n"),
    (48, "one line that a block would not read as a text", "a: |-\n  x\nb: 1\n", "a", "y: 1", "a: \"y: 1\"\nb: 1\n"),
    (49, "a byte order mark and letters of several bytes", "\u{feff}ключ: é # ü\r\nb: \"ж\"\r\n", "b", "я", "\u{feff}ключ: é # ü\r\nb: \"я\"\r\n"),
    (50, "a letter of several code points", "a: 👩‍🚀\n", "a", "b", "a: b\n"),
    (51, "line ends of old Macs", "a: b\rc: d\r", "c", "x", "a: b\rc: x\r"),
    (52, "a directive", "%YAML 1.2\n---\na: b\n", "a", "c", "%YAML 1.2\n---\na: c\n"),
    (53, "a plain text over several lines", "a: one\n  two\n  three # c\nb: 1\n", "a", "x", "a: x # c\nb: 1\n"),
    (54, "single quotes over several lines", "a: 'one\n\n  two' # c\n", "a", "x", "a: 'x' # c\n"),
    (55, "double quotes that hide a line break", "a: \"one \\\n  two\"\n", "a", "x", "a: \"x\"\n"),
    (56, "a value on the line below its key", "a:\n  x\n", "a", "z", "a:\n  z\n"),
    (57, "several lines into a block that ends in a line of many blanks", "k: |\n  x\n      \n \nb: 1\n", "k", "1\n2\n", "k: |\n  1\n  2\n \nb: 1\n"),
    (58, "one line into a block that ends in a line of many blanks", "k: |\n  x\n      \nb: 1\n", "k", "v2", "k: v2\n      \nb: 1\n"),
];

#[test]
fn each_of_the_tricky_cases_comes_out_right() {
    for (n, (number, tricky, before, key, value, after)) in CASES.into_iter().enumerate() {
        assert_eq!(number, n + 1, "{tricky}");
        match set(before, key, value) {
            Ok(edited) => assert_eq!(edited, after, "case {number}: {tricky}"),
            Err(error) => panic!("case {number}: {tricky}: {}", error.report()),
        }
    }
}
