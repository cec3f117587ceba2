//! What errors say.

use serde_json::json;

use super::*;

#[test]
fn an_error_shows_the_line_and_marks_the_place() {
    assert_eq!(
        failure("1 + 'a'").to_string(),
        concat!(
            "+ cannot take an int and a string. To join texts, write string(…) around the other.\n",
            "  | 1 + 'a'\n",
            "  |   ^",
        )
    );
    assert_eq!(
        failure("let x = 1;\nx +\tlen(2)").to_string(),
        concat!("len() takes a string, an array or a map, and this is an int.\n", "  | x + len(2)\n", "  |     ^^^^^^",)
    );
    let long = format!("'{}' + 1 + '{}'", "x".repeat(300), "y".repeat(300));
    let text = failure(&long).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() < 120), "{text}");
    let place = lines[2].find('^').unwrap();
    assert_eq!(lines[1].chars().nth(place), Some('+'), "{text}");
    assert_eq!(failure("'é' + (").place(), 8..8);
}

#[test]
fn an_error_in_a_template_and_a_configuration_says_where() {
    let error = Template::parse("image: ${{ vars.tag ) }}", &Environment::step()).unwrap_err();
    assert_eq!(
        error.to_string(),
        concat!(
            "Here should be an operator or the end, not `)`. An opening ( is missing before it.\n",
            "  | image: ${{ vars.tag ) }}\n",
            "  |                     ^",
        )
    );
    let config = json!({"apps": [{"a/b": "${{ lenn('x') }}"}]});
    let error = Config::parse(&config, &Environment::step()).unwrap_err();
    assert_eq!(error.pointer(), Some("/apps/0/a~1b"));
    assert!(
        error.to_string().starts_with("There is no function lenn; did you mean len? (in /apps/0/a~1b)\n"),
        "{error}"
    );
}

#[test]
fn an_error_says_what_to_write_instead() {
    for (expression, wanted) in [
        ("a = 1", "To compare, write =="),
        ("a & b", "write &&"),
        ("'abc' in 'abc'", "write contains"),
        ("['a'] contains 'a'", "write in"),
        ("'abc", "is not closed; write '"),
        ("“abc”", "write ' or \""),
        ("'\\d'", "between backticks"),
        ("1a", "put a text into quotes"),
        ("1 + nil", "write `?? `"),
        ("(nil).a", "write ?.a"),
        ("missing.a", "write missing?.a"),
        ("[1].a", "map(…, .a)"),
        ("[1][1]", "get(…) gives nil"),
        ("nil ? 1 : 2", "x != nil"),
        ("# > 1", "within a closure"),
        ("filter([1])", "as in filter(list, # > 1)"),
        ("split('a')", "split() takes 2 to 3 arguments, not 1"),
        ("upper(1)", "upper() takes a string as its first argument, and this is an int. Write string(…) around it."),
        ("join([1])", "write map(…, string(#))"),
        ("{(1): 2}", "write string(…) around it"),
        ("1 % 0", "division by 0"),
        ("1.5 % 2", "Write int(…)"),
        ("nil ?? 1 + 2", "put one into parentheses"),
        ("reduce([], #acc + #)", "initial value"),
        ("now().Yaer()", "did you mean Year?"),
        ("semverParse('1.2.3').major()", "did you mean Major?"),
        ("let len = 1; len", "choose another"),
        ("let x = 1; x()", "x is a value, not a function"),
        ("imageForm('a')", "did you mean imageFrom?"),
        ("quote(1)", "only in templates"),
        ("normalizeGit('a')", "only in generic webhooks"),
        ("fromJSON('{')", "line 1, column 1"),
        ("'a' matches '('", "no regular expression"),
        ("99999999999999999999", "ints have 64 bits"),
        ("int('x')", "whole number"),
        ("filter([1], #)", "What the closure gives must be a bool"),
        ("map([1], {a: #})", "put a map in parentheses"),
        ("1 and true", "A condition must be a bool, and this is an int; compare it, as in x != 0"),
        ("imageFrom('a', 'b')", "as in warehouse(\"main\")"),
        ("secret('a')", "can be asked here"),
    ] {
        let error = failure(expression);
        assert!(error.message().contains(wanted), "{expression}: {}", error.message());
        assert!(error.message().ends_with(['.', '?']), "{expression}: {}", error.message());
    }
}

#[test]
fn a_misspelled_variable_is_named() {
    let program = Program::compile("output.push.commit", &Environment::step()).unwrap();
    let error = program.evaluate(&scope(json!({"outputs": {}, "vars": {}}))).unwrap_err();
    assert_eq!(error.message(), "There is no variable output here; did you mean outputs?");
    assert_eq!(program.variables().collect::<Vec<_>>(), ["output"]);
}

/// A secret in every place where a fault can happen, and no error shows it.
#[test]
fn no_error_shows_a_value() {
    #[derive(Debug)]
    struct Vault;
    impl Host for Vault {
        fn answer(&self, _: Query<'_>) -> Result<Value, Fault> {
            let data = [("t".to_owned(), "hunter2".to_owned())];
            Ok(Value::from(std::collections::BTreeMap::from(data)))
        }
    }
    for expression in [
        "int(secret('a').t)",
        "float(secret('a').t)",
        "secret('a').t + 1",
        "secret('a').t.x",
        "secret('a').t[99]",
        "[1][secret('a').t]",
        "{(secret('a').t): 1}.x.y",
        "date(secret('a').t)",
        "date('2024-01-01', secret('a').t)",
        "duration(secret('a').t)",
        "timezone(secret('a').t)",
        "'x' matches (secret('a').t + '(')",
        "fromJSON(secret('a').t)",
        "fromBase64(secret('a').t)",
        "sort([1], secret('a').t)",
        "semverParse(secret('a').t)",
        "secret('a').t ? 1 : 2",
        "max(secret('a').t)",
        "repeat(secret('a').t, -1)",
        "groupBy([1], secret('a'))",
        "fromPairs([secret('a').t])",
        "imageFrom('a', secret('a').t)",
        "join([1], secret('a').t)",
    ] {
        let program = Program::compile(expression, &Environment::step()).unwrap();
        let error = program.evaluate(&Scope::default().host(&Vault)).expect_err(expression);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{expression}: {shown}");
    }
    let program = Program::compile("secret('a').t", &Environment::step()).unwrap();
    let evaluation = program.evaluate(&Scope::default().host(&Vault)).unwrap();
    assert!(evaluation.sensitive && !format!("{evaluation:?}").contains("hunter2"));
}
