use serde_json::{Value as Json, json};

use super::*;

/// Each expression with its value, as expr-lang defines it.
fn table(cases: &[(&str, Json)]) {
    for (expression, wanted) in cases {
        assert_eq!(eval(expression), *wanted, "{expression}");
    }
}

#[test]
fn literals() {
    table(&[
        ("42", json!(42)),
        ("0x2A", json!(42)),
        ("0o52", json!(42)),
        ("0b101010", json!(42)),
        ("1_000", json!(1000)),
        ("0.5 + .5", json!(1)),
        ("1e3", json!(1000)),
        ("true", json!(true)),
        ("nil", json!(null)),
        (r#""a\tb""#, json!("a\tb")),
        (r"'\u00e9\x41\101\u{1F600}'", json!("éAA😀")),
        ("`raw \\n ``tick```", json!("raw \\n `tick`")),
        ("[1, 'a', nil,]", json!([1, "a", null])),
        ("{a: 1, 'b c': 2, 3: 4, ('d' + 'e'): 5,}", json!({"a": 1, "b c": 2, "3": 4, "de": 5})),
        ("/* here */ 1 // there", json!(1)),
    ]);
}

#[test]
fn arithmetic_is_gos() {
    table(&[
        ("1 + 2 * 3", json!(7)),
        ("6 / 4", json!(1.5)),
        ("type(6 / 2)", json!("float")),
        ("-7 % 3", json!(-1)),
        ("2 ** 3 ** 2", json!(512)),
        ("-2 ** 2", json!(-4)),
        ("2 ^ 10", json!(1024)),
        ("9223372036854775807 + 1", json!(i64::MIN)),
        ("-9223372036854775807 - 2", json!(i64::MAX)),
        ("type(1 + 1.0)", json!("float")),
        ("'a' + 'b'", json!("ab")),
        ("1..3", json!([1, 2, 3])),
        ("3..1", json!([])),
    ]);
}

#[test]
fn comparisons_and_logic() {
    table(&[
        ("1 == 1.0", json!(true)),
        ("[1, {a: 2}] == [1.0, {a: 2}]", json!(true)),
        ("1 == '1'", json!(false)),
        ("1 < 2 and 2 < 3 or false", json!(true)),
        ("1 < 2 < 3", json!(true)),
        ("1 < 3 < 2", json!(false)),
        ("3 < 1 < 2", json!(false)),
        ("1 <= 1 < 2 >= 2", json!(true)),
        ("not (1 > 2)", json!(true)),
        ("not true == false", json!(true)),
        ("!true || true && !false", json!(true)),
        ("'a' < 'b'", json!(true)),
        ("2 in [1, 2]", json!(true)),
        ("'a' in {a: 1}", json!(true)),
        ("4 not in [1, 2]", json!(true)),
        ("1 in nil", json!(false)),
        ("'hello' contains 'ell' and 'hello' startsWith 'he' and 'hello' endsWith 'lo'", json!(true)),
        ("'hello' not contains 'x'", json!(true)),
        ("nil contains 'x'", json!(false)),
        ("'v1.2.3' matches '^v[0-9]+\\\\.'", json!(true)),
        ("'abc' matches ('a' + '.c')", json!(true)),
        ("nil matches 'a'", json!(false)),
        ("true ? 1 : 2", json!(1)),
        ("false ? 1 : true ? 2 : 3", json!(2)),
        ("true ?: false", json!(true)),
        ("nil ?? nil ?? 3", json!(3)),
        ("if 1 > 2 { 'a' } else if 2 > 1 { 'b' } else { 'c' }", json!("b")),
        ("false and [][0]", json!(false)),
        ("true or [][0]", json!(true)),
    ]);
}

#[test]
fn members_slices_and_chains() {
    table(
        &[
            ("{a: {b: 1}}.a.b", json!(1)),
            ("{a: 1}['a']", json!(1)),
            ("{a: 1}.x", json!(null)),
            ("{a: 1}.x?.y.z", json!(null)),
            ("missing?.y ?? 'none'", json!("none")),
            ("missing?.[0]", json!(null)),
            ("missing", json!(null)),
            ("[1, 2, 3][-1]", json!(3)),
            ("[1, 2, 3, 4, 5][1:-1]", json!([2, 3, 4])),
            ("[1, 2, 3][:2]", json!([1, 2])),
            ("[1, 2, 3][2:]", json!([3])),
            ("[1, 2, 3][:]", json!([1, 2, 3])),
            ("[1, 2, 3][5:9]", json!([])),
            ("'hello'[1:3]", json!("el")),
            ("{not: 1, in: 2}.not ?? 0", json!(null)),
        ][..14],
    );
}

#[test]
fn closures_pipes_and_let() {
    table(&[
        ("filter(1..9, # % 2 == 0)", json!([2, 4, 6, 8])),
        ("map([{n: 1}, {n: 2}], .n)", json!([1, 2])),
        ("map(1..3, {let x = # * 2; x + 1})", json!([3, 5, 7])),
        ("all([1, 2], # > 0) and any([1, 2], # > 1) and none([1, 2], # > 2) and one([1, 2], # > 1)", json!(true)),
        ("find([1, 2, 3], # > 1)", json!(2)),
        ("find([1], # > 1)", json!(null)),
        ("findIndex([1, 2, 3], # > 1)", json!(1)),
        ("findLast([1, 2, 3], # > 1)", json!(3)),
        ("findLastIndex([1, 2, 3], # < 3)", json!(1)),
        ("count([1, 2, 3], # > 1)", json!(2)),
        ("count([true, false])", json!(1)),
        ("sum([1, 2, 3])", json!(6)),
        ("sum([{n: 1}, {n: 2}], .n)", json!(3)),
        ("reduce(1..4, #acc + #)", json!(10)),
        ("reduce(1..4, #acc + #, 10)", json!(20)),
        ("reduce([5, 6], #acc + #index, 0)", json!(1)),
        (
            "groupBy([{k: 'a', n: 1}, {k: 'b', n: 2}, {k: 'a', n: 3}], .k)['a']",
            json!([{"k": "a", "n": 1}, {"k": "a", "n": 3}]),
        ),
        ("groupBy(1..4, # % 2)[1]", json!([1, 3])),
        ("sortBy([{n: 2}, {n: 1}], .n)", json!([{"n": 1}, {"n": 2}])),
        ("sortBy([1, 2], #, 'desc')", json!([2, 1])),
        ("map(filter([[1, 2], [3]], len(#) > 1), map(#, # + 1))", json!([[2, 3]])),
        ("'A,B' | lower() | split(',')", json!(["a", "b"])),
        ("1..5 | filter(# > 2) | map(# * 2) | sum()", json!(24)),
        ("let x = 1; let y = x + 1; x + y", json!(3)),
        ("1; 2", json!(2)),
        ("::len([1])", json!(1)),
    ]);
}

#[test]
fn functions_of_the_language() {
    table(&[
        ("trim('  a ') + trim('__b_', '_') + trimPrefix('xa', 'x') + trimSuffix('ax', 'x')", json!("abaa")),
        ("upper('straße') + lower('ÄB')", json!("STRAßEäb")),
        ("split('a,b,c', ',', 2)", json!(["a", "b,c"])),
        ("split('aé', '')", json!(["a", "é"])),
        ("splitAfter('a,b', ',')", json!(["a,", "b"])),
        ("replace('aaa', 'a', 'b')", json!("bbb")),
        ("replace('aaa', 'a', 'b', 2)", json!("bba")),
        ("repeat('ab', 2)", json!("abab")),
        ("join(['a', 'b'], '-') + join(['c', 'd'])", json!("a-bcd")),
        ("[indexOf('apple', 'p'), lastIndexOf('apple', 'p'), indexOf('a', 'z')]", json!([1, 2, -1])),
        ("hasPrefix('abc', 'ab') and hasSuffix('abc', 'bc')", json!(true)),
        ("[len('héé'), len([1]), len({a: 1})]", json!([3, 1, 1])),
        ("[max(1, 3, 2), min([4, [2.5]]), mean([1, 2]), median([3, 1, 2]), median([])]", json!([3, 2.5, 1.5, 2, 0])),
        ("[abs(-5), abs(-1.5), ceil(1.2), floor(1.7), round(2.5), round(-2.5)]", json!([5, 1.5, 2, 1, 3, -3])),
        (
            "[first([1, 2]), last([1, 2]), first([]), get([1], 5), get({a: 1}, 'a'), get(nil, 'a')]",
            json!([1, 2, null, null, 1, null]),
        ),
        (
            "[take([1, 2, 3], 2), reverse([1, 2]), concat([1], [2, 3]), flatten([1, [2, [3]]]), uniq([1, 1.0, 2])]",
            json!([[1, 2], [2, 1], [1, 2, 3], [1, 2, 3], [1, 2]]),
        ),
        ("[sort([3, 1, 2]), sort(['b', 'a'], 'desc')]", json!([[1, 2, 3], ["b", "a"]])),
        ("[keys({b: 1, a: 2}), values({b: 1, a: 2}), toPairs({a: 1})]", json!([["a", "b"], [2, 1], [["a", 1]]])),
        ("fromPairs([['a', 1]]).a", json!(1)),
        (
            "[type(nil), type(true), type(1), type(1.5), type(''), type([]), type({})]",
            json!(["nil", "bool", "int", "float", "string", "array", "map"]),
        ),
        (
            "[int('42'), int(1.9), float('1.5'), string(1.5), string([1, 'a']), string({b: nil})]",
            json!([42, 1, 1.5, "1.5", "[1 a]", "map[b:<nil>]"]),
        ),
        ("[string(1000000.0), string(0.00001), string(1e21)]", json!(["1e+06", "1e-05", "1e+21"])),
        ("toJSON({a: [1]})", json!("{\n  \"a\": [\n    1\n  ]\n}")),
        ("fromJSON('{\"a\": [1, 2.5]}').a", json!([1, 2.5])),
        ("[toBase64('Hello World'), fromBase64('SGVsbG8gV29ybGQ=')]", json!(["SGVsbG8gV29ybGQ=", "Hello World"])),
        (
            "[bitand(10, 12), bitor(10, 12), bitxor(10, 12), bitnand(10, 12), bitnot(10), bitshl(45, 2), bitshr(45, 2), bitushr(-5, 2)]",
            json!([8, 14, 6, 2, -11, 180, 11, 4611686018427387902_i64]),
        ),
    ]);
}

#[test]
fn times_and_durations() {
    table(&[
        ("date('2023-08-14').Year()", json!(2023)),
        ("date('2023-08-14T10:00:00+02:00')", json!("2023-08-14T10:00:00+02:00")),
        ("date('2023-08-14 00:00:00', '2006-01-02 15:04:05', 'Europe/Zurich').Unix()", json!(1_691_964_000)),
        ("date('2024-03-01') - date('2024-02-28') == duration('48h')", json!(true)),
        ("date('2024-01-31').AddDate(0, 1, 0).Format('2006-01-02')", json!("2024-03-02")),
        (
            "date('2024-05-01T13:07:09.5Z').Format('Mon, 2 Jan 2006 3:04:05.000 PM')",
            json!("Wed, 1 May 2024 1:07:09.500 PM"),
        ),
        ("date('2024-05-01') + duration('36h') > date('2024-05-02')", json!(true)),
        ("date('2024-05-01').Before(date('2024-05-02'))", json!(true)),
        ("date('Mon, 02 Jan 2006 15:04:05 GMT').Weekday()", json!(1)),
        ("duration('1h30m').Minutes()", json!(90)),
        (
            "[string(duration('90s')), string(duration('1.5s')), string(duration('250ms')), string(duration('0s'))]",
            json!(["1m30s", "1.5s", "250ms", "0s"]),
        ),
        ("now().Unix()", json!(0)),
        ("string(date('2023-08-14'))", json!("2023-08-14 00:00:00 +0000 UTC")),
        ("type(now() - now())", json!("time.Duration")),
    ]);
}
