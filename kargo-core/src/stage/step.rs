//! What a promotion does in a stage, and how its result is verified.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::condition::Condition;

/// One entry of a promotion's step list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepSpec {
    /// The registered name of the step: `write:<writer>`, `deploy:<deployer>`, `verify:<verifier>`, or a step's own.
    pub uses: String,
    /// The name under which later steps find its outputs. Default: `step-<n>`, counted from 1.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The step's own configuration.
    #[serde(default)]
    pub config: Value,
    /// How errors are met, and how long the step may take in all.
    #[serde(default, skip_serializing_if = "RetryPolicy::is_default")]
    pub retry: RetryPolicy,
    /// When it runs. Default: [`Condition::Success`].
    #[serde(rename = "if", default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Whether the promotion goes on, and can succeed, when this step does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continue_on_error: bool,
    /// What expressions in its configuration and condition read as `vars`. Each sees those before it; a later one of the same name takes
    /// an earlier one's place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vars: Vec<Variable>,
}

/// A variable for expressions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name: letters, digits and underscores.
    pub name: String,
    /// Its value, which may hold expressions between `${{` and `}}`. A text that an expression gives stays a text.
    #[serde(default)]
    pub value: String,
}

impl Variable {
    /// A variable.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

impl StepSpec {
    /// An entry for the step registered as `uses`.
    pub fn new(uses: impl Into<String>, config: Value) -> Self {
        Self {
            uses: uses.into(),
            alias: None,
            config,
            retry: RetryPolicy::default(),
            condition: None,
            continue_on_error: false,
            vars: Vec::new(),
        }
    }

    /// Lets the writer registered as `writer` make a change.
    pub fn write(writer: &str, config: impl Serialize) -> Self {
        Self::new(format!("write:{writer}"), to_config(config))
    }

    /// Lets the deployer registered as `deployer` make a target run the revision that the writer before it made.
    pub fn deploy(deployer: &str, config: impl Serialize) -> Self {
        Self::new(format!("deploy:{deployer}"), to_config(config))
    }

    /// Asks the verifier registered as `verifier` about the freight before the steps after this one, such as whether its images are signed
    /// still. A stage's own verification comes when all steps are done.
    ///
    /// What passes goes on, with the output `evidence`. What fails, and what cannot be said, ends the promotion as failed, with the
    /// verifier's reason. What is pending is asked again, and a verifier's error is an error of the step, which is tried again. Each of
    /// these is in the journal, as for any step.
    ///
    /// ```
    /// use kargo_core::{Stage, StepSpec};
    /// use serde_json::json;
    ///
    /// let prod = Stage::new("prod")
    ///     .after("main", ["staging"])
    ///     .step(StepSpec::verify("image-signature", json!({ "keys": ["-----BEGIN PUBLIC KEY-----…"] })))
    ///     .step(StepSpec::write("image-tag", json!({ "image": "ghcr.io/acme/app", "tag": "prod" })));
    /// # let _ = prod;
    /// ```
    pub fn verify(verifier: &str, config: impl Serialize) -> Self {
        Self::new(format!("verify:{verifier}"), to_config(config))
    }

    /// Names the entry.
    #[must_use]
    pub fn named(mut self, alias: impl Into<String>) -> Self {
        self.alias = Some(alias.into());
        self
    }

    /// Runs it only when `condition` holds, which takes the place of [`Condition::Success`].
    #[must_use]
    pub fn when(mut self, condition: Condition) -> Self {
        self.condition = Some(condition);
        self
    }

    /// Runs it whatever became of the steps before, also after an abort: for cleaning up.
    #[must_use]
    pub fn always(self) -> Self {
        self.when(Condition::Always)
    }

    /// Lets the promotion go on, and succeed, when this step does not.
    #[must_use]
    pub fn continue_on_error(mut self) -> Self {
        self.continue_on_error = true;
        self
    }

    /// Sets a variable for its expressions.
    ///
    /// ```
    /// use kargo_core::StepSpec;
    /// use serde_json::json;
    ///
    /// let update = StepSpec::new("yaml-update", json!({
    ///     "path": "env/${{ ctx.stage }}/values.yaml",
    ///     "updates": [{ "key": "image.tag", "value": "${{ imageFrom(vars.image).Tag }}" }],
    /// }))
    /// .var("image", "ghcr.io/acme/app");
    /// # let _ = update;
    /// ```
    #[must_use]
    pub fn var(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.vars.push(Variable::new(name, value));
        self
    }

    /// How long the step may take in all, over all its tries.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.retry.timeout = Some(timeout);
        self
    }

    /// How many errors in a row end the step. Errors that say that no other try can help end it at once.
    #[must_use]
    pub fn error_threshold(mut self, errors: u32) -> Self {
        self.retry.error_threshold = Some(errors);
        self
    }
}

/// A configuration struct as JSON. What cannot be JSON (a map with keys that are no strings) becomes a text that no plug-in
/// accepts, so that it is refused when the pipeline is checked rather than lost.
fn to_config(config: impl Serialize) -> Value {
    serde_json::to_value(config).unwrap_or_else(|error| Value::String(format!("not a configuration: {error}")))
}

/// How a step's errors are met, and how long it may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// How long the step may take in all. Default: the step's own, which is never endless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How many errors in a row end the step. Default: the step's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_threshold: Option<u32>,
}

impl RetryPolicy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One verifier of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifierSpec {
    /// The registered name of the [`crate::plugin::Verifier`].
    pub verifier: String,
    /// The verifier's own configuration.
    #[serde(default)]
    pub config: Value,
    /// How long it may take in all. Default: 30 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether it runs together with the verifier before it, rather than after that has passed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_previous: bool,
    /// What expressions in its configuration read as `vars`, as for [`StepSpec::vars`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vars: Vec<Variable>,
}

impl VerifierSpec {
    /// An entry for the verifier registered as `verifier`.
    pub fn new(verifier: impl Into<String>, config: Value) -> Self {
        Self { verifier: verifier.into(), config, timeout: None, with_previous: false, vars: Vec::new() }
    }

    /// How long it may take in all.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Runs it together with the verifier before it. All that run together must pass before the next begins.
    #[must_use]
    pub fn with_previous(mut self) -> Self {
        self.with_previous = true;
        self
    }
}
