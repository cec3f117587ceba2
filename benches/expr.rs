//! What expressions cost: compiling and evaluating those of everyday promotions, and a whole configuration.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use kargo_benches::promise;
use kargo_core::expr::{Config, Environment, Fault, Host, Program, Query, Scope, Template, Value, kargo};
use serde_json::json;

#[derive(Debug)]
struct Freight;

impl Host for Freight {
    fn answer(&self, query: Query<'_>) -> Result<Value, Fault> {
        Ok(match query {
            Query::Image { repo_url, .. } => kargo::image(repo_url, "1.2.3", "sha256:0", Default::default(), "").into(),
            Query::Commit { repo_url, .. } => {
                kargo::commit(&kargo::CommitFields { repo_url, id: "0123456789", ..Default::default() }).into()
            }
            Query::Failure => Value::from(false),
            Query::Status { .. } => Value::from("Succeeded"),
            _ => Value::Nil,
        })
    }
}

const EXPRESSIONS: [(&str, &str); 5] = [
    ("member", "outputs.push.commit"),
    ("image", "imageFrom('ghcr.io/acme/app').Tag"),
    ("condition", "success() && status('push') == 'Succeeded' && ctx.stage startsWith 'prod'"),
    ("versions", "semverDiff(imageFrom('ghcr.io/acme/app').Tag, '1.1.0') in ['Major', 'Minor'] ? 'careful' : 'quick'"),
    ("closures", "apps | filter(.ready) | map(.name) | sort() | join(', ')"),
];

fn scope() -> Scope<'static> {
    let variables = json!({
        "ctx": {"project": "shop", "stage": "prod-eu", "promotion": "prod.01"},
        "vars": {"repo": "https://git.example/app", "branch": "main"},
        "outputs": {"push": {"commit": "0123456789", "branch": "main"}},
        "apps": [{"name": "api", "ready": true}, {"name": "web", "ready": false}, {"name": "jobs", "ready": true}],
    });
    let Ok(Value::Map(variables)) = Value::from_json(&variables) else { return Scope::default() };
    Scope::new(variables).host(&Freight)
}

fn expressions(c: &mut Criterion) {
    let environment = Environment::step();
    let scope = scope();
    for (name, text) in EXPRESSIONS {
        let mut group = c.benchmark_group(format!("expression: {name}"));
        group.bench_function("compile", |b| b.iter(|| Program::compile(black_box(text), &environment).is_ok()));
        let program = Program::compile(text, &environment).expect("the expression compiles");
        group.bench_function("evaluate", |b| b.iter(|| black_box(&program).evaluate(&scope).expect("it has a value")));
        group.finish();
        promise(text, Duration::from_micros(20), 1001, || {
            let program = Program::compile(black_box(text), &environment).expect("the expression compiles");
            black_box(program.evaluate(&scope)).expect("it has a value");
        });
    }
}

fn templates(c: &mut Criterion) {
    let environment = Environment::step();
    let scope = scope();
    let mut group = c.benchmark_group("template");
    let text = "Promote ${{ imageFrom('ghcr.io/acme/app').Tag }} to ${{ ctx.stage }}";
    group.bench_function("parse and evaluate", |b| {
        b.iter(|| Template::parse(black_box(text), &environment).and_then(|template| template.evaluate(&scope)))
    });
    let config = json!({
        "path": "./out",
        "updates": [
            {"key": "image.tag", "value": "${{ imageFrom('ghcr.io/acme/app').Tag }}"},
            {"key": "image.digest", "value": "${{ imageFrom('ghcr.io/acme/app').Digest }}"},
            {"key": "replicas", "value": "${{ ctx.stage startsWith 'prod' ? 3 : 1 }}"},
        ],
    });
    let config = Config::parse(&config, &environment).expect("the configuration compiles");
    group.bench_function("render a configuration of three", |b| {
        b.iter(|| black_box(&config).render(&scope, &|pointer| pointer.ends_with("/value")).expect("it has a value"))
    });
    group.finish();
}

criterion_group!(benches, expressions, templates);
criterion_main!(benches);
