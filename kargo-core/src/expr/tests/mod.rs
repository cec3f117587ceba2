mod language;
mod templates;

use super::*;

/// What a bare expression gives, as JSON.
fn eval(expression: &str) -> serde_json::Value {
    let program = Program::compile(expression, &Environment::bare()).unwrap_or_else(|error| panic!("{error}"));
    let evaluation = program.evaluate(&Scope::default()).unwrap_or_else(|error| panic!("{error}"));
    evaluation.value.to_json().unwrap()
}

/// The sentence that compiling or evaluating an expression fails with.
fn fault(expression: &str) -> String {
    let error = match Program::compile(expression, &Environment::step()) {
        Ok(program) => program.evaluate(&Scope::default()).expect_err(expression),
        Err(error) => error,
    };
    error.message().to_owned()
}
