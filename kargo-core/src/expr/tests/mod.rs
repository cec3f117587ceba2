mod faults;
mod hostile;
mod language;
mod oracle;
mod places;
mod templates;

use super::*;

/// What a bare expression gives, as JSON.
fn eval(expression: &str) -> serde_json::Value {
    let program = Program::compile(expression, &Environment::bare()).unwrap_or_else(|error| panic!("{error}"));
    let evaluation = program.evaluate(&Scope::default()).unwrap_or_else(|error| panic!("{error}"));
    evaluation.value.to_json().unwrap()
}

/// What compiling or evaluating an expression fails with.
fn failure(expression: &str) -> Error {
    match Program::compile(expression, &Environment::step()) {
        Ok(program) => program.evaluate(&Scope::default()).expect_err(expression),
        Err(error) => error,
    }
}

/// A scope with these variables.
fn scope(variables: serde_json::Value) -> Scope<'static> {
    let serde_json::Value::Object(entries) = variables else { panic!("the variables are a map") };
    entries
        .into_iter()
        .fold(Scope::default(), |scope, (name, value)| scope.variable(name, Value::from_json(&value).unwrap()).unwrap())
}
