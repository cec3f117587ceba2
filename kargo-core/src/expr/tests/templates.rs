use serde_json::{Value as Json, json};

use super::*;

fn template(text: &str) -> Json {
    let template = Template::parse(text, &Environment::step()).unwrap_or_else(|error| panic!("{error}"));
    template.evaluate(&Scope::default()).unwrap_or_else(|error| panic!("{error}")).value().unwrap()
}

#[test]
fn vector_8_templates_give_what_kargo_gives() {
    for (text, wanted) in [
        ("42", json!("42")),
        ("${{ 40 + 2 }}", json!(42)),
        ("${{ quote(42) }}", json!("42")),
        ("v${{ 1 }}", json!("v1")),
        ("${{ nil }}", json!(null)),
        ("${{ true }}", json!(true)),
        ("${{ {'a': 1} }}", json!({"a": 1})),
        ("${{ quote('a') }}", json!("a")),
        ("x: ${{ 'y' }}\n", json!("x: y\n")),
    ] {
        assert_eq!(template(text), wanted, "{text}");
    }
}
