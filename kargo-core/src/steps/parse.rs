//! `yaml-parse`, `json-parse` and `toml-parse`.

use async_trait::async_trait;
use serde_json::{Map, Value as Document};

use super::config;
use super::typed::Builtin;
use crate::edit;
use crate::error::{Error, ErrorKind, Result};
use crate::expr::{Environment, Program, Scope, Value};
use crate::plugin::{Context, StepOutcome, StepRequest};

#[derive(Debug)]
pub(super) struct Yaml;
#[derive(Debug)]
pub(super) struct Json;
#[derive(Debug)]
pub(super) struct Toml;

#[async_trait]
impl Builtin for Yaml {
    const USES: &'static str = "yaml-parse";
    const CHANGES_FILES: bool = false;
    type Config = config::Parse;

    async fn run(&self, cx: &Context, config: config::Parse, request: &StepRequest<'_>) -> Result<StepOutcome> {
        parse(cx, &config, request, |text| {
            let documents = edit::yaml::parse(text)?.into_iter();
            // Of several documents the first one counts, as in Kargo.
            documents.into_iter().next().ok_or_else(|| invalid("The file is empty, so there is nothing to read in it."))
        })
        .await
    }
}

#[async_trait]
impl Builtin for Json {
    const USES: &'static str = "json-parse";
    const CHANGES_FILES: bool = false;
    type Config = config::Parse;

    async fn run(&self, cx: &Context, config: config::Parse, request: &StepRequest<'_>) -> Result<StepOutcome> {
        parse(cx, &config, request, edit::json::parse).await
    }
}

#[async_trait]
impl Builtin for Toml {
    const USES: &'static str = "toml-parse";
    const CHANGES_FILES: bool = false;
    type Config = config::Parse;

    async fn run(&self, cx: &Context, config: config::Parse, request: &StepRequest<'_>) -> Result<StepOutcome> {
        parse(cx, &config, request, edit::toml::parse).await
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

async fn parse(
    cx: &Context,
    config: &config::Parse,
    request: &StepRequest<'_>,
    read: impl Fn(&str) -> Result<Document> + Send,
) -> Result<StepOutcome> {
    let path = &config.path;
    let in_file = |error: Error| error.with("file", path);
    let text = request.workspace().read_text(cx, path).await?;
    let root = match read(&text).map_err(in_file)? {
        Document::Object(map) => map,
        other => Map::from_iter([("root".to_owned(), other)]),
    };
    let mut scope = Scope::default().now(cx.now());
    for (name, value) in root {
        let faulty = |_| in_file(invalid("The file is nested too deep, or is too large, to be read by expressions."));
        scope = scope.variable(name, Value::from_json(&value).map_err(faulty)?).map_err(faulty)?;
    }
    let mut outputs = Map::new();
    for output in &config.outputs {
        let named = |error: Error| in_file(error).with("output", &output.name);
        let program =
            Program::compile(&output.from_expression, &Environment::bare()).map_err(Error::from).map_err(named)?;
        let found = program.evaluate(&scope).map_err(Error::from).map_err(named)?.value;
        let value = found.to_json().map_err(|_| {
            named(invalid("What the expression gives cannot be an output, as JSON has nothing like it."))
        })?;
        outputs.insert(output.name.clone(), value);
    }
    Ok(StepOutcome::Succeeded { outputs, message: String::new() })
}
