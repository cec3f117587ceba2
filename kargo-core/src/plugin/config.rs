//! Reading the configuration of a step into a type of its own.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use crate::error::{Error, ErrorKind, Result};
use crate::name::near_match;

/// Reads the configuration of the step `uses`, all of whose expressions are evaluated. None at all is read as an empty map.
///
/// ```
/// use kargo_core::plugin::read_config;
/// use serde::Deserialize;
/// use serde_json::json;
///
/// #[derive(Debug, Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Announce {
///     channel: String,
/// }
///
/// let read: Announce = read_config("announce", &json!({"channel": "releases"}))?;
/// assert_eq!(read.channel, "releases");
/// let error = read_config::<Announce>("announce", &json!({"chanel": "releases"})).unwrap_err();
/// assert!(error.message().ends_with("did you mean \"channel\"?"), "{error}");
/// # Ok::<(), kargo_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidInput`] that names the step and the field, with a proposal for a name that is spelt nearly right.
pub fn read_config<C: DeserializeOwned>(uses: &str, config: &Value) -> Result<C> {
    deserialize(config).map_err(|(place, why)| wrong_at(uses, &place, &why))
}

/// That a configuration which can be read cannot be used, and why: `fault` is the end of a sentence, without a full stop.
pub fn unusable(uses: &str, fault: &str) -> Error {
    wrong(uses, "", fault)
}

/// For how many expressions of one configuration a value is guessed.
const MAX_GUESSES: usize = 100;

/// Whether an expression is yet to be evaluated in `text`.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("${{") || text.contains("${%")
}

/// Reads a configuration whose expressions are yet to be evaluated, as if each were what its field takes; for
/// [`Step::validate_template`](super::Step::validate_template). None when something can only be said once they are.
///
/// # Errors
/// As for [`read_config`], for what is wrong whatever the expressions give.
pub fn read_template<C: DeserializeOwned>(uses: &str, config: &Value) -> Result<Option<C>> {
    let mut config = config.clone();
    let mut guesses: Vec<String> = Vec::new();
    loop {
        let (place, why) = match deserialize::<C>(&config) {
            Ok(config) => return Ok(guesses.is_empty().then_some(config)),
            Err(error) => error,
        };
        let text = place_text(&place);
        // What a guess lacks, an expression may bring along. Each costs a look at the whole, and files may come from anybody.
        if guesses.contains(&text) || guesses.len() == MAX_GUESSES {
            return Ok(None);
        }
        // A name is wrong whatever an expression makes of its value.
        let excused = |at: &&mut Value| !why.starts_with("unknown field") && at.as_str().is_some_and(is_template);
        let Some(template) = find(&mut config, &place).filter(excused) else {
            return Err(wrong_at(uses, &place, &why));
        };
        let Some(guess) = guess(&why) else { return Ok(None) };
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
    let kinds = [
        ("a boolean", Value::from(true)),
        ("u32", 1.into()),
        ("u64", 1.into()),
        ("usize", 1.into()),
        ("a sequence", Vec::<Value>::new().into()),
    ];
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

/// Where in a configuration the fault is: the source of what [`read_config`] and [`read_template`] refuse, for those who know where the
/// configuration was written.
#[derive(Debug)]
pub(crate) struct WrongField {
    /// A JSON pointer; of a field that is missing, to the map that lacks it.
    pub(crate) pointer: String,
    why: String,
}

impl fmt::Display for WrongField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for WrongField {}

fn wrong_at(uses: &str, place: &[Segment], why: &str) -> Error {
    let mut pointer = String::new();
    for segment in place {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            _ => {}
        }
    }
    let why = why.trim_end_matches('.').to_owned();
    wrong(uses, &place_text(place), &why).because(WrongField { pointer, why })
}

fn wrong(uses: &str, place: &str, why: &str) -> Error {
    let why = why.trim_end_matches('.');
    let hint = proposal(why).map(|near| format!("; did you mean {near:?}?")).unwrap_or_else(|| ".".to_owned());
    let place = if place.is_empty() { String::new() } else { format!(" at {place:?}") };
    Error::new(ErrorKind::InvalidInput, format!("The configuration of the step {uses} is wrong{place}: {why}{hint}"))
}

/// What an unknown name may be a misspelling of. serde's message has it in the first pair of backticks, and the known ones in those
/// that follow.
pub(crate) fn proposal(why: &str) -> Option<&str> {
    let why = &why[why.find("unknown field `").or_else(|| why.find("unknown variant `"))?..];
    let mut quoted = why.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    near_match(unknown, quoted)
}
