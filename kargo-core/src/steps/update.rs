//! `yaml-update`, `json-update`, `toml-update` and `hcl-update`.

use async_trait::async_trait;

use super::config::{self, Scalar, SetValue};
use super::typed::{Builtin, committed};
use crate::edit::{self, Outcome, Value};
use crate::error::Result;
use crate::plugin::{Context, StepOutcome, StepRequest};

#[derive(Debug)]
pub(super) struct Yaml;
#[derive(Debug)]
pub(super) struct Json;
#[derive(Debug)]
pub(super) struct Toml;
#[derive(Debug)]
pub(super) struct Hcl;

#[async_trait]
impl Builtin for Yaml {
    const USES: &'static str = "yaml-update";
    type Config = config::UpdateOrCreate;

    async fn run(&self, cx: &Context, config: Self::Config, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let config::UpdateOrCreate { path, updates, create } = config;
        let edit: Edit = if create { edit::yaml::upsert } else { edit::yaml::update };
        update(cx, (&path, &updates), request, edit, |value| match value {
            Scalar::Text(text) if !reads_as_json_or_number(text) => text.clone(),
            other => quoted(other),
        })
        .await
    }
}

#[async_trait]
impl Builtin for Json {
    const USES: &'static str = "json-update";
    type Config = config::Update;

    async fn run(&self, cx: &Context, config: Self::Config, request: &StepRequest<'_>) -> Result<StepOutcome> {
        update(cx, (&config.path, &config.updates), request, edit::json::update, quoted).await
    }
}

#[async_trait]
impl Builtin for Toml {
    const USES: &'static str = "toml-update";
    type Config = config::UpdateOrCreate;

    async fn run(&self, cx: &Context, config: Self::Config, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let config::UpdateOrCreate { path, updates, create } = config;
        let edit: Edit = if create { edit::toml::upsert } else { edit::toml::update };
        update(cx, (&path, &updates), request, edit, quoted).await
    }
}

#[async_trait]
impl Builtin for Hcl {
    const USES: &'static str = "hcl-update";
    type Config = config::Update;

    async fn run(&self, cx: &Context, config: Self::Config, request: &StepRequest<'_>) -> Result<StepOutcome> {
        update(cx, (&config.path, &config.updates), request, edit::hcl::update, quoted).await
    }
}

/// An edit of a file's text.
type Edit = fn(&str, &[(String, Value)]) -> Result<String>;

async fn update(
    cx: &Context,
    (path, updates): (&str, &[SetValue]),
    request: &StepRequest<'_>,
    edit: Edit,
    shown: fn(&Scalar) -> String,
) -> Result<StepOutcome> {
    if updates.is_empty() {
        return Ok(StepOutcome::succeeded());
    }
    let update = |SetValue { key, value }: &SetValue| (key.clone(), Value::from(value));
    let values: Vec<(String, Value)> = updates.iter().map(update).collect();
    change(cx, request, path, |text| edit(text, &values)).await?;
    let lines = updates.iter().map(|update| format!("\n- {}: {}", update.key, shown(&update.value)));
    Ok(committed(format!("Updated {path}\n{}", lines.collect::<String>())))
}

/// Puts a file through `edit`. One that stays as it is is not written.
pub(super) async fn change(
    cx: &Context,
    request: &StepRequest<'_>,
    path: &str,
    edit: impl FnOnce(&str) -> Result<String> + Send,
) -> Result<()> {
    let workspace = request.workspace();
    let Some(contents) = workspace.read(cx, path).await? else { return Err(workspace.missing(cx, path).await) };
    match edit::file(path, &contents, edit)? {
        Outcome::Unchanged => Ok(()),
        Outcome::Changed(text) => workspace.write(cx, path, text).await,
    }
}

impl From<&Scalar> for Value {
    fn from(value: &Scalar) -> Self {
        match value {
            // What an expression has given is a text, whatever it was meant to be.
            Scalar::Text(text) => Self::Untyped(text.clone()),
            Scalar::Number(number) => Self::Number(number.clone()),
            Scalar::Bool(value) => Self::Bool(*value),
        }
    }
}

fn quoted(value: &Scalar) -> String {
    match value {
        Scalar::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Scalar::Number(number) => number.to_string(),
        Scalar::Bool(value) => value.to_string(),
    }
}

/// Whether Kargo shows the text in quotes, so that it is not taken for something else.
fn reads_as_json_or_number(text: &str) -> bool {
    text.parse::<f64>().is_ok() || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
