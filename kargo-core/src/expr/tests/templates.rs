use serde_json::{Value as Json, json};

use super::*;

fn rendered(text: &str) -> Rendered {
    let template = Template::parse(text, &Environment::step()).unwrap_or_else(|error| panic!("{error}"));
    template.evaluate(&Scope::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn value(text: &str) -> Json {
    rendered(text).value().unwrap_or_else(|error| panic!("{error}"))
}

fn table(cases: &[(&str, Json)]) {
    for (text, wanted) in cases {
        assert_eq!(value(text), *wanted, "{text}");
    }
}

#[test]
fn vector_8_templates_give_what_kargo_gives() {
    table(&[
        ("42", json!("42")),
        ("${{ 40 + 2 }}", json!(42)),
        ("${{ quote(42) }}", json!("42")),
        ("v${{ 1 }}", json!("v1")),
        ("${{ nil }}", json!(null)),
        ("${{ true }}", json!(true)),
        ("${{ {'a': 1} }}", json!({"a": 1})),
        ("${{ quote('a') }}", json!("a")),
        ("x: ${{ 'y' }}\n", json!("x: y\n")),
    ]);
}

#[test]
fn section_4_2_texts_that_read_as_something_else_become_it() {
    table(&[
        ("${{ '1.10' }}", json!(1.1)),
        ("${{ '1234567' }}", json!(1_234_567)),
        ("${{ '12e45' }}", json!(12e45)),
        ("${{ '123e456' }}", json!("123e456")),
        ("${{ '0123' }}", json!(123)),
        ("${{ '+5' }}", json!(5)),
        ("${{ '1_000' }}", json!(1000)),
        ("${{ '1__000' }}", json!("1__000")),
        ("${{ '0x1p-2' }}", json!(0.25)),
        ("${{ '0x_Fp0' }}", json!(15)),
        ("${{ '0x10' }}", json!("0x10")),
        ("${{ 't' }}", json!(true)),
        ("${{ 'False' }}", json!(false)),
        ("${{ 'yes' }}", json!("yes")),
        ("${{ 'null' }}", json!(null)),
        ("${{ '[1, 2' }}]", json!([1, 2])),
        ("${{ '' }}", json!("")),
        ("1${{ 0 }}", json!(10)),
        ("${{ 1 }}\n", json!(1)),
        ("${{ 'a' }}\n\n", json!("a\n\n")),
        ("\"${{ 1 }}\"", json!("1")),
        ("\"${{ 1 }}\"\n", json!("1\n")),
        ("\"", json!("\"")),
        ("${{ 6 / 2 }}", json!(3)),
        ("${{ 1e21 }}", json!(1e21)),
        ("n: ${{ 1e21 }} ${{ 0.000000125 }} ${{ 1.5 }}", json!("n: 1e+21 1.25e-7 1.5")),
        ("a: ${{ [1, 'b', nil] }}", json!("a: [1,\"b\",null]")),
        ("h: ${{ ['<b>'] }}", json!("h: [\"\\u003cb\\u003e\"]")),
    ]);
    for text in ["${{ 'Inf' }}", "${{ '-infinity' }}", "${{ 'nan' }}"] {
        let error = rendered(text).value().unwrap_err();
        assert!(error.message().contains("quote(…)"), "{error}");
        assert!(rendered(text).text_value().is_ok());
    }
    let error = Template::parse("${{ 1 / 0 }}", &Environment::step()).unwrap().evaluate(&Scope::default()).unwrap_err();
    assert_eq!(error.kind(), FaultKind::Value);
}

#[test]
fn section_4_4_quoting() {
    table(&[
        (r#"${{ quote('a"b\\c') }}"#, json!(r#"a\"b\\c"#)),
        ("${{ quote('1.10') }}", json!("1.10")),
        ("${{ quote(true) }}", json!("true")),
        ("${{ quote([1]) }}", json!("[1]")),
        ("${{ quote(`a\n\u{1}é\u{a0}`) }}", json!("a\\n\\x01é\\u00a0")),
        ("${{ unsafeQuote('a') }}", json!("\"a\"")),
        ("${{ unsafeQuote(1) }}", json!("1")),
        ("${{ asJSON({'a': [1]}) }}", json!("{\n  \"a\": [\n    1\n  ]\n}\n")),
        ("${{ asYAML({'a': {'b': ['1', 2]}}) }}", json!("a:\n    b:\n        - \"1\"\n        - 2\n")),
    ]);
}

#[test]
fn section_4_2_delimiters() {
    table(&[
        ("${% 'a' + '}}' %}", json!("a}}")),
        ("${{ 'a' }}-${% 'b' %}-${{ 'c' }}", json!("a-b-c")),
        ("$ {{ x }} ${x}", json!("$ {{ x }} ${x}")),
        // In Kargo these end at the first closing delimiter, and do not compile.
        ("${{ {'a': {'b': 1}} }}", json!({"a": {"b": 1}})),
        ("${{ {'a': 1}}}", json!({"a": 1})),
        ("${{ '}}' }}", json!("}}")),
        ("${{ 1 /* }} */ }}", json!(1)),
        ("it's ${{ 'it' }}'s", json!("it's it's")),
    ]);
    for (text, wanted) in [
        ("a ${{ 1", "The expression is not closed; write }} behind it."),
        ("a ${% 1 }}", "The expression is not closed; write %} behind it."),
        ("${{ }}", "There is no expression between ${{ and }}."),
        ("${{}}", "There is no expression between ${{ and }}."),
        ("${{ it's }}", "The string is not closed; write ' behind it, or ` around several lines."),
        ("${{ (1 }}", "Here should be `)`, not the end of the expression."),
    ] {
        let error = Template::parse(text, &Environment::step()).unwrap_err();
        assert_eq!(error.message(), wanted, "{text}");
    }
}

/// The tags of the case, as an image's tag, in a field that takes a text and in one that does not.
#[test]
fn core_24_a_text_stays_as_it_was_written_where_a_text_is_wanted() {
    for tag in ["1", "1.2", "20240101", "1e10", "1.10", "0123", "t", "true", "null", "1234567", "0x1p-2", "nan"] {
        let config = json!({"tag": "${{ vars.tag }}", "image": "app:${{ vars.tag }}"});
        let config = Config::parse(&config, &Environment::step()).unwrap();
        let rendered = config.render(&scope(json!({"vars": {"tag": tag}})), &|_| true).unwrap();
        assert_eq!(rendered.value, json!({"tag": tag, "image": format!("app:{tag}")}), "{tag}");
    }
    let config = json!({"count": "${{ 1 + 1 }}", "on": "${{ 1 < 2 }}", "list": "${{ [1] }}", "none": "${{ nil }}", "s": "${{ 2 }}"});
    let config = Config::parse(&config, &Environment::step()).unwrap();
    let rendered = config.render(&Scope::default(), &|pointer| ["/s", "/list", "/none"].contains(&pointer)).unwrap();
    assert_eq!(rendered.value, json!({"count": 2, "on": true, "list": [1], "none": null, "s": "2"}));
}

#[test]
fn section_4_2_a_configuration_is_walked_through_but_for_its_keys() {
    let config = json!({"${{ 1 }}": [["${{ 1 }}", "x"], {"a": ["${{ 'b' }}"]}], "n": 1, "t": true, "z": null});
    let config = Config::parse(&config, &Environment::step()).unwrap();
    let rendered = config.render(&Scope::default(), &|_| false).unwrap();
    assert_eq!(rendered.value, json!({"${{ 1 }}": [[1, "x"], {"a": ["b"]}], "n": 1, "t": true, "z": null}));
    assert!(rendered.sensitive.is_empty());
}

#[test]
fn a_template_says_whether_it_has_expressions() {
    let parse = |text: &str| Template::parse(text, &Environment::step()).unwrap();
    assert!(parse("plain").is_plain() && parse("").is_plain());
    let template = parse("${{ vars.a }} ${{ outputs.b.c }}");
    assert!(!template.is_plain());
    let variables: Vec<&str> = template.programs().flat_map(Program::variables).collect();
    assert_eq!(variables, ["vars", "outputs"]);
}
