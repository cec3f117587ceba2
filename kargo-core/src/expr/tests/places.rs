//! Kargo's functions, and the places that have them.

use std::sync::Mutex;

use serde_json::{Value as Json, json};

use super::*;

/// Answers from a fixed set of freight and data, and notes what it was asked.
#[derive(Debug, Default)]
struct Project {
    asked: Mutex<Vec<String>>,
    failed: bool,
}

impl Host for Project {
    fn answer(&self, query: Query<'_>) -> Result<Value, Fault> {
        self.asked.lock().unwrap().push(format!("{query:?}"));
        let map =
            |json: Json| Value::from_json(&json).map_err(|_| Fault::new(FaultKind::Value, "The test's data is wrong."));
        Ok(match query {
            Query::ConfigMap { name: "settings", shared } => {
                map(json!({"replicas": "3", "shared": shared.to_string()}))?
            }
            Query::Secret { name: "registry", shared } => map(json!({"token": if shared { "shared" } else { "own" }}))?,
            Query::Commit { repo_url: "https://git.example/app", .. } => kargo::commit(&kargo::CommitFields {
                repo_url: "https://git.example/app",
                id: "1234567890abcdef1234567890abcdef12345678",
                branch: "main",
                message: "Fix <it>",
                ..kargo::CommitFields::default()
            })
            .into(),
            Query::Image { repo_url: "ghcr.io/acme/app", warehouse: None | Some("main") } => {
                kargo::image("ghcr.io/acme/app", "1.10", "sha256:aa", Default::default(), "").into()
            }
            Query::Chart { name, warehouse, .. } => {
                kargo::chart("oci://charts", name.unwrap_or(""), "2.0.0", warehouse.unwrap_or("")).into()
            }
            Query::Artifact { subscription: "models", .. } => {
                let Value::Map(metadata) = map(json!({"size": 7}))? else { return Ok(Value::Nil) };
                kargo::artifact("s3", "models", "v3", metadata).into()
            }
            Query::FreightMetadata { freight: "f1" } => map(json!({"ticket": "OPS-1"}))?,
            Query::FreightStatus { freight: "f1" } => map(json!({"currentlyIn": {"dev": {}}}))?,
            Query::StageMetadata { stage: "prod" } => map(json!({"window": "open"}))?,
            Query::Failure => Value::Bool(self.failed),
            Query::Status { alias } => Value::from(if alias == "push" { "Succeeded" } else { "" }),
            Query::Normalize { kind, url } => Value::from(format!("{kind}:{}", url.to_lowercase())),
            _ => Value::Nil,
        })
    }
}

/// What an expression gives in both styles: as a bare one, and between `${{` and `}}`, where a text is quoted to stay one. A sum of it with
/// itself would not do for all kinds, so that the template's is the one expression.
fn run(expression: &str, environment: &Environment) -> Json {
    let project = Project::default();
    let scope = Scope::default().host(&project);
    let program = Program::compile(expression, environment).unwrap_or_else(|error| panic!("{error}"));
    let bare = program.evaluate(&scope).unwrap_or_else(|error| panic!("{error}")).value.to_json().unwrap();
    for (open, close) in [("${{", "}}"), ("${%", "%}")] {
        let text = if bare.is_string() {
            format!("{open} quote({expression}) {close}")
        } else {
            format!("{open} {expression} {close}")
        };
        // A declaration is the whole of an expression, and stands in no call.
        let text = if expression.starts_with("let ") { format!("{open} {expression} {close}") } else { text };
        let template = Template::parse(&text, environment).unwrap_or_else(|error| panic!("{error}"));
        let rendered = template.evaluate(&scope).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(rendered.value().unwrap(), bare, "{text}");
        // With a text around it, it is a part of that text.
        let around = Template::parse(&format!("a{open} {expression} {close}b"), environment).unwrap();
        let shown = match &bare {
            Json::String(text) => text.clone(),
            other => around_of(other, &around, &scope),
        };
        assert_eq!(around.evaluate(&scope).unwrap().text(), format!("a{shown}b"), "{text}");
    }
    bare
}

/// How a value that is no text stands in one: as JSON, in which maps have an order of their own.
fn around_of(value: &Json, template: &Template, scope: &Scope<'_>) -> String {
    let rendered = template.evaluate(scope).unwrap();
    let inner =
        rendered.text().strip_prefix('a').and_then(|text| text.strip_suffix('b')).unwrap_or_default().to_owned();
    assert_eq!(serde_json::from_str::<Json>(&inner).ok().as_ref(), Some(value), "{inner}");
    inner
}

#[test]
fn section_4_4_each_function_answers() {
    for (expression, wanted) in [
        ("imageFrom('ghcr.io/acme/app').Tag", json!("1.10")),
        ("imageFrom('ghcr.io/acme/app', warehouse('main')).RepoURL", json!("ghcr.io/acme/app")),
        ("imageFrom('ghcr.io/acme/app', warehouse('other'))", json!(null)),
        ("imageFrom('ghcr.io/acme/app', warehouse('other'))?.Tag ?? 'none'", json!("none")),
        ("imageFrom('ghcr.io/acme/app')", json!({"repoURL": "ghcr.io/acme/app", "tag": "1.10", "digest": "sha256:aa"})),
        ("commitFrom('https://git.example/app').ID[:7]", json!("1234567")),
        ("commitFrom('https://git.example/app').Tag == ''", json!(true)),
        ("chartFrom('oci://charts').Version", json!("2.0.0")),
        ("chartFrom('https://charts', 'app').Name", json!("app")),
        ("chartFrom('oci://charts', warehouse('w')).SubscriptionName", json!("w")),
        (
            "chartFrom('https://charts', 'app', warehouse('w'))",
            json!({"repoURL": "oci://charts", "name": "app", "version": "2.0.0", "subscriptionName": "w"}),
        ),
        ("artifactFrom('models').Metadata.size", json!(7)),
        ("warehouse('main')", json!({"kind": "Warehouse", "name": "main"})),
        ("warehouse('main').Name", json!("main")),
        ("configMap('settings').replicas | int()", json!(3)),
        ("sharedConfigMap('settings').shared", json!("true")),
        ("configMap('missing')", json!({})),
        ("secret('registry').token + sharedSecret('registry').token", json!("ownshared")),
        ("secret('missing').token", json!(null)),
        ("freightMetadata('f1').ticket", json!("OPS-1")),
        ("freightMetadata('f2')?.ticket ?? 'none'", json!("none")),
        ("[freightMetadata('f1', 'ticket'), freightMetadata('f1', 'other')]", json!(["OPS-1", null])),
        ("'dev' in freightStatus('f1').currentlyIn", json!(true)),
        ("stageMetadata('prod').window", json!("open")),
        ("always() and success() and not failure()", json!(true)),
        ("status('push') == 'Succeeded' and status('other') == ''", json!(true)),
        ("semverDiff('1.2.3', 'v2')", json!("Major")),
        (
            "[semverDiff('1.2.3', '1.3.0'), semverDiff('1.2.3', '1.2.4'), semverDiff('1.2.3+a', '1.2.3+b')]",
            json!(["Minor", "Patch", "Metadata"]),
        ),
        ("[semverDiff('1.2.3-rc.1', '1.2.3'), semverDiff('x', '1.2.3')]", json!(["None", "Incomparable"])),
        (
            "let v = semverParse('v1.2.3-rc.1+b'); [v.Major(), v.Minor(), v.Patch(), v.Prerelease(), v.Metadata(), v.String()]",
            json!([1, 2, 3, "rc.1", "b", "1.2.3-rc.1+b"]),
        ),
        (
            "[semverParse('1.2.3').IncMajor(), semverParse('1.2.3').IncMinor(), semverParse('1.2.3-rc').IncPatch()]",
            json!(["2.0.0", "1.3.0", "1.2.3"]),
        ),
        ("semverParse('1.10').GreaterThan(semverParse('1.9'))", json!(true)),
    ] {
        assert_eq!(run(expression, &Environment::step()), wanted, "{expression}");
    }
}

/// The functions of Kargo's, and whether they are there: in variables, in a step's `if` and `config`, in criteria, in webhooks.
const PLACES: [(&str, [bool; 4]); 22] = [
    ("commitFrom", [true, true, true, false]),
    ("imageFrom", [true, true, true, false]),
    ("chartFrom", [true, true, true, false]),
    ("artifactFrom", [true, true, true, false]),
    ("warehouse", [true, true, false, false]),
    ("configMap", [true, true, false, false]),
    ("sharedConfigMap", [true, true, false, false]),
    ("secret", [true, true, false, false]),
    ("sharedSecret", [true, true, false, false]),
    ("freightMetadata", [true, true, false, false]),
    ("freightStatus", [true, true, false, false]),
    ("stageMetadata", [true, true, false, false]),
    ("semverDiff", [true, true, false, false]),
    ("semverParse", [true, true, false, false]),
    ("always", [false, true, false, false]),
    ("failure", [false, true, false, false]),
    ("success", [false, true, false, false]),
    ("status", [false, true, false, false]),
    // Those of templates are there in every template, and in no bare expression.
    ("quote", [false, false, false, false]),
    ("unsafeQuote", [false, false, false, false]),
    ("asYAML", [false, false, false, false]),
    ("asJSON", [false, false, false, false]),
];

#[test]
fn section_4_4_each_place_has_its_functions() {
    let places = [Environment::promotion(), Environment::step(), Environment::criteria(), Environment::webhook()];
    for (name, wanted) in PLACES {
        let of_templates = wanted == [false; 4];
        for (environment, wanted) in places.iter().zip(wanted) {
            let known = environment.given(name).is_some();
            assert_eq!(known, wanted, "{name} in {environment:?}");
            assert_eq!(environment.of_templates().given(name).is_some(), wanted || of_templates, "{name}");
        }
        assert!(Environment::bare().given(name).is_none(), "{name}");
    }
    for name in ["normalizeGit", "normalizeImage", "normalizeChart"] {
        let known: Vec<bool> = places.iter().map(|environment| environment.given(name).is_some()).collect();
        assert_eq!(known, [false, false, false, true], "{name}");
    }
    let error = Program::compile("always()", &Environment::promotion()).unwrap_err();
    assert_eq!(error.message(), "The function always cannot be used here, only in a step's if and config.");
    assert!(Program::compile("imageFrom('a', 'b')", &Environment::criteria()).is_err());
    assert_eq!(run("normalizeGit('HTTPS://G.example')", &Environment::webhook()), json!("git:https://g.example"));
    assert_eq!(run("normalizeImage('Docker.io/X')", &Environment::webhook()), json!("image:docker.io/x"));
    assert_eq!(run("normalizeChart('OCI://X/Y')", &Environment::webhook()), json!("chart:oci://x/y"));
}

#[test]
fn section_4_4_functions_of_templates_write_values_down() {
    let scope = Scope::default();
    for (text, wanted) in [
        ("${{ quote('a\\nb') }}", "a\\nb"),
        ("${{ quote(1.5) }}", "1.5"),
        ("${{ quote({'a': [1]}) }}", "{\"a\":[1]}"),
        ("${{ unsafeQuote(7) }}", "7"),
        ("${{ unsafeQuote('a') }}", "\"a\""),
        ("${{ asYAML({'a': [1, 'x']}) }}", "a:\n    - 1\n    - x\n"),
        ("${{ asJSON({'a': [1]}) }}", "{\n  \"a\": [\n    1\n  ]\n}\n"),
    ] {
        let template = Template::parse(text, &Environment::promotion()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(template.evaluate(&scope).unwrap().value().unwrap(), json!(wanted), "{text}");
        // The same words in a bare expression are no functions.
        let inner = text.trim_start_matches("${{").trim_end_matches("}}");
        assert!(Program::compile(inner, &Environment::promotion()).is_err(), "{inner}");
    }
}

#[test]
fn section_4_6_a_webhook_request_has_methods() {
    let header = Function::new("header", &[Parameter::String], |arguments| {
        Ok(if arguments[0].as_str() == Some("X-Event") { Value::from("push") } else { Value::from("") })
    });
    let headers = Function::new("headers", &[Parameter::String], |arguments| {
        let all = if arguments[0].as_str() == Some("X-Tag") { json!(["a", "b"]) } else { json!([]) };
        Value::from_json(&all)
    });
    let params = Function::new("params", &[Parameter::String], |arguments| {
        Ok(Value::from(if arguments[0].as_str() == Some("env") { "prod" } else { "" }))
    });
    let mut request = Map::empty();
    request.set("header", Value::Function(header.into())).unwrap();
    request.set("headers", Value::Function(headers.into())).unwrap();
    request.set("params", Value::Function(params.into())).unwrap();
    request.set("body", Value::from_json(&json!({"ref": "refs/heads/main"})).unwrap()).unwrap();
    let scope = Scope::default().variable("request", request).unwrap();
    let when = "request.header('X-Event') == 'push' && request.body.ref endsWith '/main'";
    for when in [
        when,
        "request.headers('X-Tag') == ['a', 'b'] and len(request.headers('X-None')) == 0",
        "request.params('env') == 'prod' and request.params('other') == ''",
        "any(request.headers('X-Tag'), # == 'b')",
    ] {
        let program = Program::compile(when, &Environment::webhook()).unwrap_or_else(|error| panic!("{error}"));
        assert!(program.evaluate_bool(&scope).unwrap_or_else(|error| panic!("{error}")), "{when}");
        let template = Template::parse(&format!("${{{{ {when} }}}}"), &Environment::webhook()).unwrap();
        assert_eq!(template.evaluate(&scope).unwrap().value().unwrap(), json!(true), "{when}");
    }
}

#[test]
fn section_2_3_a_filter_sees_times_and_answers_yes_or_no() {
    let time = "2024-05-01T12:00:00Z".parse::<jiff::Timestamp>().unwrap();
    let scope = Scope::default()
        .variable("commitDate", Value::Time(time.to_zoned_datetime(jiff::tz::TimeZone::UTC).into()))
        .unwrap()
        .variable("author", "Bot <bot@example.com>")
        .unwrap()
        .now("2024-05-02T12:00:00Z".parse().unwrap());
    let holds = |expression: &str| {
        Program::compile(expression, &Environment::bare()).unwrap().evaluate_bool(&scope).map_err(|error| error.kind())
    };
    assert_eq!(holds("commitDate.Year() == 2024 and commitDate > now() - duration('48h')"), Ok(true));
    assert_eq!(holds("!(author contains '<bot@example.com>')"), Ok(false));
    assert_eq!(holds("'true'"), Ok(true));
    assert_eq!(holds("1"), Ok(true));
    assert_eq!(holds("author"), Err(FaultKind::Type));
    assert_eq!(holds("nil"), Err(FaultKind::Type));
}

#[test]
fn section_4_4_criteria_see_what_was_discovered() {
    #[derive(Debug)]
    struct Discovered;
    impl Host for Discovered {
        fn answer(&self, query: Query<'_>) -> Result<Value, Fault> {
            let created = "2024-05-01T12:00:00Z".parse().ok();
            Ok(match query {
                Query::Commit { .. } => {
                    let fields = kargo::CommitFields {
                        id: "0123456789abcdef",
                        branch: "main",
                        tag: "v1.2.3",
                        message: "feat: it",
                        author: "Ann <ann@acme.example>",
                        committer: "Bot <bot@acme.example>",
                        ..Default::default()
                    };
                    kargo::discovered_commit(&fields, created).into()
                }
                Query::Image { .. } => {
                    let annotations = [("team".to_owned(), "red".to_owned())].into();
                    kargo::discovered_image("1.2.3", "sha256:aa", annotations, created).into()
                }
                Query::Chart { name: Some("app"), .. } => kargo::chart("oci://c", "app", "2.0.0", "charts").into(),
                Query::Artifact { subscription: "models", .. } => {
                    let Value::Map(metadata) = Value::from_json(&json!({"size": 7}))? else { return Ok(Value::Nil) };
                    kargo::artifact("s3", "models", "v3", metadata).into()
                }
                _ => Value::Nil,
            })
        }
    }
    let scope = Scope::default().host(&Discovered);
    for expression in [
        "commitFrom('a').Tag == 'v' + imageFrom('b').Tag",
        "commitFrom('a').Subject startsWith 'feat' and commitFrom('a').CreatorDate.Year() == 2024",
        "imageFrom('b').CreatedAt > date('2024-01-01') and chartFrom('c', 'd') == nil",
        "commitFrom('a').ID[:7] == '0123456' and commitFrom('a').Branch == 'main'",
        "commitFrom('a').Author startsWith 'Ann' and commitFrom('a').Committer startsWith 'Bot'",
        "imageFrom('b').Digest == 'sha256:aa' and imageFrom('b').Annotations['team'] == 'red'",
        "imageFrom('b').Annotations['other'] == nil",
        "chartFrom('c', 'app').Version == '2.0.0' and chartFrom('c', 'app').Name == 'app' and chartFrom('c') == nil",
        "artifactFrom('models').Version == 'v3' and artifactFrom('models').ArtifactType == 's3'",
        "artifactFrom('models').Metadata.size > 6 and artifactFrom('other') == nil",
    ] {
        let program = Program::compile(expression, &Environment::criteria()).unwrap();
        assert!(program.evaluate_bool(&scope).unwrap_or_else(|error| panic!("{error}")), "{expression}");
    }
    // What freight has and a discovery does not is no field there.
    for expression in [
        "commitFrom('a').Message",
        "commitFrom('a').RepoURL",
        "imageFrom('b').RepoURL",
        "imageFrom('b').SubscriptionName",
    ] {
        let program = Program::compile(expression, &Environment::criteria()).unwrap();
        assert_eq!(program.evaluate(&scope).unwrap_err().kind(), FaultKind::UnknownName, "{expression}");
    }
}

/// One expression reads a shared secret, the other a commit, in one configuration: neither changes the other's answer.
#[test]
fn core_23_reading_a_secret_never_changes_what_another_expression_gets() {
    let config = json!({
        "body": "${{ commitFrom('https://git.example/app').ID }}",
        "headers": [{"name": "Authorization", "value": "Bearer ${{ sharedSecret('registry').token }}"}],
        "again": "${{ commitFrom('https://git.example/app').ID }}",
    });
    let project = Project::default();
    let config = Config::parse(&config, &Environment::step()).unwrap();
    let scope = Scope::default().host(&project);
    let rendered = config.render(&scope, &|_| true).unwrap();
    let sha = "1234567890abcdef1234567890abcdef12345678";
    assert_eq!(rendered.value["body"], json!(sha));
    assert_eq!(rendered.value["again"], json!(sha));
    assert_eq!(rendered.value["headers"][0]["value"], json!("Bearer shared"));
    assert_eq!(rendered.sensitive, ["/headers/0/value"]);
    assert_eq!(config.render(&scope, &|_| true).unwrap().value, rendered.value);
    assert!(!format!("{rendered:?}").contains("Bearer"));
}

#[test]
fn what_comes_from_a_sensitive_variable_is_sensitive() {
    let scope = scope(json!({"vars": {"token": "s3cret", "name": "app"}, "varsity": 1})).sensitive("vars.token");
    let sensitive = |expression: &str| {
        Program::compile(expression, &Environment::step()).unwrap().evaluate(&scope).unwrap().sensitive
    };
    assert!(sensitive("vars.token"));
    assert!(sensitive("'x' + vars.token"));
    assert!(sensitive("vars['tok' + 'en']"));
    assert!(sensitive("toJSON(vars)"));
    assert!(sensitive("values($env)"));
    assert!(!sensitive("vars.name"));
    assert!(!sensitive("varsity"));
}

#[test]
fn the_hosts_error_is_the_source() {
    #[derive(Debug)]
    struct Down;
    impl Host for Down {
        fn answer(&self, _: Query<'_>) -> Result<Value, Fault> {
            Err(Fault::host("The vault does not answer.", std::io::Error::other("connection refused")))
        }
    }
    let program = Program::compile("secret('a').b", &Environment::promotion()).unwrap();
    let error = program.evaluate(&Scope::default().host(&Down)).unwrap_err();
    assert_eq!((error.kind(), error.message()), (FaultKind::Host, "The vault does not answer."));
    assert_eq!(error.into_source().unwrap().to_string(), "connection refused");
}
