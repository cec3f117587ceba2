//! Input that wants to crash, hang or fill the memory.

use proptest::prelude::*;

use super::*;

fn limit(expression: &str) {
    let error = failure(expression);
    assert_eq!(error.kind(), FaultKind::Limit, "{:.60}: {}", expression, error.message());
}

#[test]
fn deep_nesting_is_refused_and_long_chains_are_not() {
    for (open, close) in
        [("(", ")"), ("[", "]"), ("-", ""), ("!", ""), ("{a:", "}"), ("map([1], {", "})"), ("a ? 1 : ", "")]
    {
        limit(&format!("{}1{}", open.repeat(1_000), close.repeat(1_000)));
    }
    limit(&"1 ** ".repeat(1_000).trim_end_matches(" ** ").replace("1", "2"));
    limit(&format!("{} {{ 1 }}", "if true { 1 } else ".repeat(500)));
    let sum = vec!["1"; 4_000].join("+");
    assert_eq!(eval(&sum), serde_json::json!(4_000));
    let chain = format!("x{}", "?.a".repeat(4_000));
    assert_eq!(eval(&chain), serde_json::json!(null));
    let lets: String = (0..800).map(|n| format!("let a{n} = {n}; ")).collect();
    assert_eq!(eval(&format!("{lets}a799")), serde_json::json!(799));
}

#[test]
fn long_sources_are_refused() {
    limit(&format!("'{}'", "x".repeat(20_000)));
}

#[test]
fn work_and_memory_are_bounded() {
    limit("1..1000000000000");
    limit("-9223372036854775807..9223372036854775807");
    limit("repeat('x', 1000000000000)");
    limit("repeat(repeat('x', 1000000), 1000000)");
    limit("sum(map(1..1000, sum(map(1..1000, #))))");
    limit("reduce(1..100000, #acc + #acc, 'x')");
    limit("reduce(1..1000, [#acc], 0)");
    limit("reduce(1..100, [#acc, #acc], 0)");
    limit("reduce(1..100, ({a: #acc, b: #acc}), 0)");
    limit("let d = reduce(1..20, [#acc, #acc], 0); map(1..100, d == [d])");
    limit("let d = reduce(1..20, [#acc, #acc], 0); flatten(d) | concat(flatten(d))");
    limit("uniq(1..20000)");
    limit("let s = repeat('x', 3000000); map(1..200000, s < s)");
    limit("let s = repeat('x', 3000000); map(1..200000, hasSuffix(s, s))");
    limit("let s = repeat('0', 3000000); map(1..200000, int(s))");
    limit("let s = repeat('x', 3000000); map(1..200000, $env[s])");
    limit("let s = '0x' + repeat('0', 3000000) + 'p0'; map(1..200000, float(s))");
    limit("let s = repeat('x', 3000000); sort(map(1..5000, s))");
    limit("toJSON(map(1..1000, repeat('x', 20000)))");
    limit("string(reduce(1..20, [#acc, #acc], repeat('x', 100)))");
    limit("replace(repeat('a', 100000), '', repeat('b', 10000))");
    limit("split(repeat('a', 10000000), '')");
    limit("count(map(1..5000, 'a' matches ('(a{100}){9' + string(#) + '}')))");
}

/// What bounds the work is the number of steps, so that an operation on a long text takes as many as it is long: one for 64 bytes at most.
#[test]
fn what_looks_through_a_text_takes_steps_for_all_of_it() {
    const LENGTH: usize = 3_000_000;
    let numbers = [("int(s)", "0".repeat(LENGTH)), ("float(s)", format!("0x{}p0", "0".repeat(LENGTH)))];
    let others =
        ["s < s", "s == s", "hasSuffix(s, s)", "$env[s]", "sort([s, s])", "s matches '^x*y'", "upper(s)", "len(s)"];
    let others = others.map(|expression| (expression, "x".repeat(LENGTH)));
    for (expression, text) in numbers.into_iter().chain(others) {
        let scope = scope(serde_json::json!({ "s": text }));
        let run = |steps: u64| {
            let environment = Environment::bare().limits(Limits::default().steps(steps));
            Program::compile(expression, &environment).unwrap().evaluate(&scope)
        };
        let kind = run(LENGTH as u64 / 64).err().map(|error| error.kind());
        assert_eq!(kind, Some(FaultKind::Limit), "{expression}");
        assert_eq!(run(1_000_000).err().map(|error| error.to_string()), None, "{expression}");
    }
}

#[test]
fn regular_expressions_are_bounded_and_linear() {
    limit("'a' matches '(a{1000}){1000}'");
    // Whoever went back and tried again would not live to see the end.
    assert_eq!(eval("repeat('a', 100000) matches '^(a+)+$'"), serde_json::json!(true));
    assert_eq!(eval("(repeat('a', 100000) + 'b') matches '^(a|aa)+$'"), serde_json::json!(false));
}

/// Each expression alone is within the limits.
#[test]
fn many_expressions_share_the_limits() {
    let text = "${{ repeat('x', 1000000) }}".repeat(100);
    let error = Template::parse(&text, &Environment::bare()).unwrap().evaluate(&Scope::default()).unwrap_err();
    assert_eq!(error.kind(), FaultKind::Limit);
    let config = serde_json::json!(vec!["${{ sum(1..100000) }}"; 100]);
    let config = Config::parse(&config, &Environment::bare()).unwrap();
    assert_eq!(config.render(&Scope::default(), &|_| false).unwrap_err().kind(), FaultKind::Limit);
    let text = "${{ 'a' matches '(a{500}){30}' }}".repeat(20_000);
    let few = Environment::bare().limits(Limits::default().steps(100_000));
    let error = Template::parse(&text, &few).unwrap().evaluate(&Scope::default()).unwrap_err();
    assert_eq!(error.kind(), FaultKind::Limit);
    let text = "${{ 1 }}".repeat(100_000);
    assert!(Template::parse(&text, &Environment::bare()).unwrap().evaluate(&Scope::default()).is_ok());
}

#[test]
fn the_limits_can_be_set() {
    let environment = Environment::bare().limits(Limits::default().steps(100));
    let program = Program::compile("sum(1..200)", &environment).unwrap();
    assert_eq!(program.evaluate(&Scope::default()).unwrap_err().kind(), FaultKind::Limit);
    let environment = Environment::bare().limits(Limits::default().memory(100));
    let program = Program::compile("repeat('x', 101)", &environment).unwrap();
    assert_eq!(program.evaluate(&Scope::default()).unwrap_err().kind(), FaultKind::Limit);
}

#[test]
fn the_deepest_nesting_that_can_be_allowed_fits_into_a_threads_stack() {
    let environment = Environment::step().limits(Limits::default().nesting(usize::MAX));
    for (open, close) in
        [("(", ")"), ("[", "]"), ("-", ""), ("map([1], {", "})"), ("true ? 1 : ", ""), ("{a:", "}"), ("toJSON(", ")")]
    {
        let text = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let program = (1..=200).rev().find_map(|depth| Program::compile(&text(depth), &environment).ok()).unwrap();
        drop(program.evaluate(&Scope::default()).map(|evaluation| evaluation.value.to_json()));
    }
}

#[test]
fn what_cannot_be_ordered_is_refused_before_it_is_sorted() {
    for list in ["map(1..100, # % 3 == 0 ? 'a' : #)", "map(1..100, ({a: #}))", "[nil]", "[[1], [2]]"] {
        assert_eq!(failure(&format!("sort({list})")).kind(), FaultKind::Type, "{list}");
    }
    let mixed = "map(1..200, # % 3 == 0 ? 9007199254740992.0 : # % 3 == 1 ? 9007199254740993 : 0.0 / 0.0)";
    assert_eq!(eval(&format!("len(sort({mixed}))")), serde_json::json!(200));
    assert_eq!(eval(&format!("len(sortBy({mixed}, #, 'desc'))")), serde_json::json!(200));
}

/// Pieces of the language, so that what is put together at random gets further than the lexer.
fn piece() -> impl Strategy<Value = String> {
    let words = "and or not in ( ) [ ] { } , ; : ? ?. ?? . .. # #acc #index | || && + - * / % ** ^ == != < > <= >= ! 'a' \
        \"b\" `c` 1 -1 0 1.5 9223372036854775807 1e308 nil true false x vars.a $env let if else contains startsWith matches \
        filter( map( reduce( sortBy( groupBy( count( sum( all( find( len( split( join( repeat( int( float( string( toJSON( \
        fromJSON( date( duration( now() timezone( type( keys( values( toPairs( fromPairs( flatten( uniq( concat( sort( \
        take( first( last( get( max( min( median( bitshl( bitushr( fromBase64( .Year() .Format( semverParse( .IncMajor() \
        semverDiff( warehouse( imageFrom( always() status( quote( asYAML( 'é😀' '\\u{1F600}' /* */ //";
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    prop_oneof![8 => prop::sample::select(words), 1 => "\\PC{0,3}", 1 => "[a-z0-9]{1,3}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_input_makes_it_panic(pieces in prop::collection::vec(piece(), 0..24), glue in " ?") {
        let text = pieces.join(&glue);
        let scope = scope(serde_json::json!({"x": [1, "a", null, {"a": 2}], "vars": {"a": "b"}}));
        if let Ok(program) = Program::compile(&text, &Environment::step()) {
            match program.evaluate(&scope) {
                Ok(evaluation) => drop(evaluation.value.to_json()),
                Err(error) => prop_assert!(error.to_string().lines().count() >= 3),
            }
        }
        for text in [format!("a${{{{ {text} }}}}b"), format!("${{% {text} %}}\n"), format!("${{{{{text}")] {
            match Template::parse(&text, &Environment::step()) {
                Ok(template) => match template.evaluate(&scope) {
                    Ok(rendered) => drop((rendered.value(), rendered.text_value())),
                    Err(error) => drop(error.to_string()),
                },
                Err(error) => drop(error.to_string()),
            }
        }
    }

    #[test]
    fn any_text_is_a_template_or_an_error(text in ".{0,60}") {
        let _ = Template::parse(&text, &Environment::step()).map(|template| template.evaluate(&Scope::default()));
        let _ = Program::compile(&text, &Environment::bare()).map(|program| program.evaluate(&Scope::default()));
        let _ = Program::compile(&format!("'a' matches {text:?}"), &Environment::bare());
    }

    #[test]
    fn any_layout_formats_and_parses(layout in "[0-9A-Za-z_:., -]{0,20}", text in "[0-9A-Za-z:., -]{0,20}") {
        let scope = scope(serde_json::json!({"layout": layout, "text": text}));
        for expression in ["now().Format(layout)", "date(text, layout)", "date(text)", "duration(text)"] {
            let _ = Program::compile(expression, &Environment::bare()).unwrap().evaluate(&scope);
        }
    }
}
