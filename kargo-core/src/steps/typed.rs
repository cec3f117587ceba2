//! Steps with a configuration of a type of their own.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::plugin::{Context, Step, StepDefaults, StepOutcome, StepRequest, read_config, read_template, unusable};

pub(super) use crate::plugin::is_template;

/// What a configuration's type knows about it beside its shape.
pub(super) trait Config: DeserializeOwned + Send + Sync {
    /// The fields that take a text, as JSON pointers where `*` stands for any index.
    const TEXTS: &'static [&'static str];

    /// What is wrong with it, if anything: a sentence. Texts with expressions in them are not yet what they will be; see
    /// [`is_template`].
    fn fault(&self) -> Option<String> {
        None
    }
}

/// A step of this module.
#[async_trait]
pub(super) trait Builtin: Debug + Send + Sync + 'static {
    /// The name in `uses`.
    const USES: &'static str;
    /// Whether it changes the workspace.
    const CHANGES_FILES: bool = true;
    type Config: Config;

    /// Checks what depends on more than the configuration: see [`Step::validate`].
    fn check(&self, config: &Self::Config) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// As [`Step::defaults`].
    fn defaults(&self) -> StepDefaults {
        StepDefaults::default()
    }

    async fn run(&self, cx: &Context, config: Self::Config, request: &StepRequest<'_>) -> Result<StepOutcome>;
}

/// Makes a [`Step`] of it.
#[derive(Debug)]
pub(super) struct Typed<T>(pub(super) T);

#[async_trait]
impl<T: Builtin> Step for Typed<T> {
    fn validate(&self, config: &Value) -> Result<()> {
        self.0.check(&read::<T::Config>(T::USES, config)?)
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        check::<T::Config>(T::USES, config)
    }

    fn takes_text(&self, pointer: &str) -> bool {
        T::Config::TEXTS.iter().any(|pattern| matches(pattern, pointer))
    }

    fn defaults(&self) -> StepDefaults {
        self.0.defaults()
    }

    fn restores(&self) -> bool {
        T::CHANGES_FILES
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        match read::<T::Config>(T::USES, request.config) {
            Ok(config) => {
                let outcome = self.0.run(cx, config, request).await?;
                match &outcome {
                    // What it has told later steps and the journal is what must be there again: not another version of a chart, say.
                    StepOutcome::Succeeded { outputs, .. } if request.deviates(outputs) => {
                        let message = format!("{} makes something else of it now; promote again.", T::USES);
                        Err(Error::new(ErrorKind::Conflict, message).retry_as(Retry::Never))
                    }
                    _ => Ok(outcome),
                }
            }
            // Kargo's word for a configuration that is wrong: no other try can help.
            Err(error) => Ok(StepOutcome::Failed { reason: error.message().to_owned() }),
        }
    }
}

/// A step that has succeeded and says what it has done, as `commitMessage`, for a later `git-commit`.
pub(super) fn committed(message: String) -> StepOutcome {
    let mut outputs = Map::new();
    if !message.is_empty() {
        outputs.insert("commitMessage".to_owned(), message.into());
    }
    StepOutcome::Succeeded { outputs, message: String::new() }
}

/// A verdict: no other try can help.
pub(super) fn failed(reason: impl Into<String>) -> Result<StepOutcome> {
    Ok(StepOutcome::Failed { reason: reason.into() })
}

/// The configuration with all its values.
fn read<C: Config>(uses: &str, config: &Value) -> Result<C> {
    let config: C = read_config(uses, config)?;
    config.fault().map_or(Ok(config), |fault| Err(unusable(uses, &fault)))
}

/// Checks a configuration whose expressions are not evaluated.
fn check<C: Config>(uses: &str, config: &Value) -> Result<()> {
    let whole: Option<C> = read_template(uses, config)?;
    whole.and_then(|config| config.fault()).map_or(Ok(()), |fault| Err(unusable(uses, &fault)))
}

/// Whether `pointer` is one that `pattern` means.
fn matches(pattern: &str, pointer: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('/'), pointer.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some("*"), Some(part)) if part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty() => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}
