//! Steps with a configuration of a type of their own.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::name::near_match;
use crate::plugin::{Context, Step, StepDefaults, StepOutcome, StepRequest};

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
                match (request.restored, &outcome) {
                    // What it has told later steps and the journal is what must be there again: not another version of a chart, say.
                    (Some(before), StepOutcome::Succeeded { outputs, .. }) if before != outputs => {
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

/// Whether an expression is yet to be evaluated in `text`.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("${{") || text.contains("${%")
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
    let config: C = deserialize(config).map_err(|(place, why)| wrong(uses, &place_text(&place), &why))?;
    match config.fault() {
        None => Ok(config),
        Some(fault) => Err(wrong(uses, "", &fault)),
    }
}

/// Checks a configuration whose expressions are not evaluated: as if each were what its field takes.
fn check<C: Config>(uses: &str, config: &Value) -> Result<()> {
    let mut config = config.clone();
    let mut guesses: Vec<String> = Vec::new();
    loop {
        let (place, why) = match deserialize::<C>(&config) {
            Ok(config) if guesses.is_empty() => {
                return config.fault().map_or(Ok(()), |fault| Err(wrong(uses, "", &fault)));
            }
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let text = place_text(&place);
        // What a guess lacks, an expression may bring along.
        if guesses.contains(&text) {
            return Ok(());
        }
        // A name is wrong whatever an expression makes of its value.
        let excused = |at: &&mut Value| !why.starts_with("unknown field") && at.as_str().is_some_and(is_template);
        let Some(template) = find(&mut config, &place).filter(excused) else {
            return Err(wrong(uses, &text, &why));
        };
        let Some(guess) = guess(&why) else { return Ok(()) };
        *template = guess;
        guesses.push(text);
    }
}

fn find<'v>(config: &'v mut Value, place: &[Segment]) -> Option<&'v mut Value> {
    place.iter().try_fold(config, |at, segment| match segment {
        Segment::Seq { index } => at.get_mut(index),
        Segment::Map { key } => at.get_mut(key),
        _ => Some(at),
    })
}

/// A value of the kind that serde's message asks for.
fn guess(why: &str) -> Option<Value> {
    if why.starts_with("unknown variant") {
        return why.split('`').nth(3).map(Value::from);
    }
    let (_, wanted) = why.rsplit_once("expected ")?;
    let kinds = [("a boolean", Value::from(true)), ("usize", 0.into()), ("a sequence", Vec::<Value>::new().into())];
    let known = kinds.into_iter().find(|(kind, _)| wanted.starts_with(kind)).map(|(_, value)| value);
    known.or_else(|| ["a map", "struct"].iter().any(|kind| wanted.starts_with(kind)).then(|| Value::Object(Map::new())))
}

fn deserialize<C: DeserializeOwned>(config: &Value) -> Result<C, (Vec<Segment>, String)> {
    let empty = Value::Object(Map::new());
    let config = if config.is_null() { &empty } else { config };
    serde_path_to_error::deserialize(config)
        .map_err(|error| (error.path().iter().cloned().collect(), error.inner().to_string()))
}

fn place_text(place: &[Segment]) -> String {
    let mut text = String::new();
    for segment in place {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } if text.is_empty() => text.push_str(key),
            Segment::Map { key } => text.push_str(&format!(".{key}")),
            _ => {}
        }
    }
    text
}

fn wrong(uses: &str, place: &str, why: &str) -> Error {
    let why = why.trim_end_matches('.');
    let hint = hint(why).map(|near| format!("; did you mean {near:?}?")).unwrap_or_else(|| ".".to_owned());
    let place = if place.is_empty() { String::new() } else { format!(" at {place:?}") };
    Error::new(ErrorKind::InvalidInput, format!("The configuration of the step {uses} is wrong{place}: {why}{hint}"))
}

/// What an unknown name may be a misspelling of. serde's message has it in the first pair of backticks, and the known ones in those
/// that follow.
fn hint(why: &str) -> Option<&str> {
    if !why.starts_with("unknown ") {
        return None;
    }
    let mut quoted = why.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    near_match(unknown, quoted)
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
