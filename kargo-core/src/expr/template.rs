//! Texts with expressions between `${{` and `}}`, or `${%` and `%}`.

use std::fmt;
use std::sync::Arc;

use super::environment::{Environment, Scope};
use super::error::{Error, Fault, Span};
use super::lexer;
use super::limits::{Limits, Meter};
use super::number::{json_number, parse_bool, parse_float};
use super::parser::Patterns;
use super::program::{A_FEW, Program, known};
use super::text;
use super::traces::is_followed;
use super::value::Value;

const DELIMITERS: [(&str, &str); 2] = [("${{", "}}"), ("${%", "%}")];

/// How long the text of a template may be, in bytes. Each expression in it has its own limit.
pub const MAX_TEMPLATE: usize = 1 << 20;

/// A text that may hold expressions. Parse once, evaluate often.
///
/// ```
/// use kargo_core::expr::{Environment, Scope, Template};
/// use serde_json::json;
///
/// let environment = Environment::step();
/// let value = |text: &str| {
///     Ok::<_, kargo_core::expr::Error>(Template::parse(text, &environment)?.evaluate(&Scope::default())?.value()?)
/// };
/// assert_eq!(value("42")?, json!("42"));
/// assert_eq!(value("${{ 40 + 2 }}")?, json!(42));
/// assert_eq!(value("v${{ 40 + 2 }}")?, json!("v42"));
/// assert_eq!(value("${{ quote(40 + 2) }}")?, json!("42"));
/// # Ok::<(), kargo_core::expr::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Template {
    source: Arc<str>,
    parts: Vec<Part>,
    limits: Limits,
}

#[derive(Debug, Clone)]
enum Part {
    Text(Span),
    Expression(Program),
}

/// What a template gave.
///
/// A field that takes a text takes [`Rendered::text`], which is what the expressions said, letter for letter: a tag
/// `1.10` stays `1.10`. Elsewhere [`Rendered::value`] gives the value that Kargo would make of that text.
#[derive(Clone, PartialEq)]
pub struct Rendered {
    source: Arc<str>,
    text: String,
    kind: Kind,
    /// Whether a secret was read on the way.
    sensitive: bool,
    /// What its expressions gave that have read a secret, what they have read of it and what they have made of it on the way.
    secrets: Vec<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Without expressions: the text is the value.
    Plain,
    /// The text was enclosed in quotes, which says that it is one.
    Quoted,
    /// The whole is one expression whose value is neither text nor number nor bool.
    Structure,
    /// The whole is one expression whose value is a number or a bool.
    Scalar,
    Other,
}

impl Template {
    /// Finds and compiles the expressions of a text. Beside the environment's they know `quote`, `unsafeQuote`, `asYAML`
    /// and `asJSON`.
    ///
    /// An expression ends at the first closing delimiter outside of strings, comments and brackets.
    ///
    /// # Errors
    /// When an expression is not closed, empty, or does not compile.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, Error> {
        Self::parse_with(text, environment, &mut Patterns::default())
    }

    pub(super) fn parse_with(text: &str, environment: &Environment, patterns: &mut Patterns) -> Result<Self, Error> {
        let source: Arc<str> = Arc::from(text);
        let fault = |fault: Fault, start: usize, end: usize| Err(fault.at(&source, Span::new(start, end)));
        if text.len() > MAX_TEMPLATE {
            return fault(Fault::limit(format!("The text has more than {MAX_TEMPLATE} bytes.")), 0, 1);
        }
        let mut parts = Vec::new();
        let mut at = 0;
        let mut with_quoting = None;
        while let Some((start, (open, close))) = next_delimiter(text, at) {
            if at < start {
                parts.push(Part::Text(Span::new(at, start)));
            }
            let from = start + open.len();
            let Some(to) = lexer::end_of_expression(text, from, close) else {
                let message = format!("The expression is not closed; write {close} behind it.");
                return fault(Fault::syntax(message), start, from);
            };
            if text[from..to].trim().is_empty() {
                let message = format!("There is no expression between {open} and {close}.");
                return fault(Fault::syntax(message), start, to + close.len());
            }
            let environment = with_quoting.get_or_insert_with(|| environment.of_templates());
            parts.push(Part::Expression(Program::compile_part(&source, from, to, environment, patterns)?));
            at = to + close.len();
        }
        if at < text.len() {
            parts.push(Part::Text(Span::new(at, text.len())));
        }
        Ok(Self { source, parts, limits: environment.limits })
    }

    /// Whether there is no expression in it, so that its value is its text.
    pub fn is_plain(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part, Part::Expression(_)))
    }

    /// Whether it is one expression and nothing else, so that its value need not be a text.
    pub(crate) fn is_alone(&self) -> bool {
        match self.parts.as_slice() {
            [Part::Expression(_)] => true,
            [Part::Expression(_), Part::Text(rest)] => &self.source[rest.start as usize..rest.end as usize] == "\n",
            _ => false,
        }
    }

    /// As [`Program::constant`], for all of its expressions together.
    pub(crate) fn constant(&self) -> Option<Result<Rendered, Error>> {
        if self.is_plain() || self.programs().any(|program| program.depends()) {
            return None;
        }
        known(self.evaluate_within(&Scope::default(), &mut Meter::new(A_FEW)))
    }

    /// The expressions, in their order.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(program) => Some(program),
            Part::Text(_) => None,
        })
    }

    /// Evaluates the expressions and joins what they give with the text around them: texts as they are, everything else as
    /// JSON. The limits are those of one expression, for all of them together.
    ///
    /// # Errors
    /// As [`Program::evaluate`], and when a value cannot become JSON.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Rendered, Error> {
        self.evaluate_within(scope, &mut Meter::new(self.limits))
    }

    /// Evaluates with what is left of the limits.
    pub(super) fn evaluate_within(&self, scope: &Scope<'_>, meter: &mut Meter) -> Result<Rendered, Error> {
        if self.is_plain() {
            let text = self.source.to_string();
            return Ok(Rendered {
                source: self.source.clone(),
                text,
                kind: Kind::Plain,
                sensitive: false,
                secrets: Vec::new(),
            });
        }
        let mut text = String::new();
        let (mut sensitive, mut secrets) = (false, Vec::new());
        let mut kind = Kind::Other;
        let alone = self.is_alone();
        for part in &self.parts {
            match part {
                Part::Text(span) => text.push_str(&self.source[span.start as usize..span.end as usize]),
                Part::Expression(program) => {
                    let evaluation = program.evaluate_within(scope, meter)?;
                    sensitive |= evaluation.sensitive;
                    let from = text.len();
                    match &evaluation.value {
                        Value::String(value) => {
                            meter.bytes(value.len()).map_err(|fault| program.fault_of_whole(fault))?;
                            text.push_str(value);
                        }
                        other => {
                            let scalar = matches!(other, Value::Bool(_) | Value::Int(_) | Value::Float(_));
                            if alone {
                                kind = if scalar { Kind::Scalar } else { Kind::Structure };
                            }
                            let json = text::json(other, 0, meter).map_err(|fault| program.fault_of_whole(fault))?;
                            text.push_str(&json);
                        }
                    }
                    if evaluation.sensitive {
                        secrets.extend(evaluation.secrets);
                        secrets.extend(Some(&text[from..]).filter(|text| is_followed(text)).map(Arc::from));
                    }
                }
            }
        }
        // A block of several lines in YAML ends in a newline that belongs to the text, not to the value.
        let body = text.strip_suffix('\n').unwrap_or(&text);
        if body.len() > 1 && body.starts_with('"') && body.ends_with('"') {
            let end = if body.len() < text.len() { "\n" } else { "" };
            text = format!("{}{end}", &body[1..body.len() - 1]);
            kind = Kind::Quoted;
        }
        Ok(Rendered { source: self.source.clone(), text, kind, sensitive, secrets })
    }
}

/// The next opening delimiter at or behind `at`.
fn next_delimiter(text: &str, at: usize) -> Option<(usize, (&'static str, &'static str))> {
    text[at..].match_indices("${").find_map(|(start, _)| {
        let start = at + start;
        DELIMITERS.into_iter().find(|(open, _)| text[start..].starts_with(open)).map(|pair| (start, pair))
    })
}

impl Rendered {
    /// The text, for a field that takes a text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a secret was read on the way, so that the text must not be shown or stored in clear.
    pub fn sensitive(&self) -> bool {
        self.sensitive
    }

    /// What must be masked wherever it comes back: what the expressions gave that have read a secret, what they have read of it and what
    /// they have made of it on the way.
    pub(crate) fn secrets(&self) -> &[Arc<str>] {
        &self.secrets
    }

    /// The value that Kargo makes of it: a text that reads as a number, a bool or JSON becomes one, unless it was quoted
    /// or has no expression in it.
    ///
    /// # Errors
    /// When it would be an infinite number or NaN, which no configuration can hold.
    pub fn value(&self) -> Result<serde_json::Value, Error> {
        use serde_json::Value as Json;
        if matches!(self.kind, Kind::Plain | Kind::Quoted) {
            return Ok(Json::String(self.text.clone()));
        }
        let body = self.text.strip_suffix('\n').unwrap_or(&self.text);
        if let Some(number) = parse_float(body) {
            let number = json_number(number).map_err(|_| {
                let message = "The text reads as a number that is infinite or NaN; to have it as a text, write quote(…) \
                               around the expression.";
                Fault::value(message).at(&self.source, Span::new(0, self.source.len()))
            })?;
            return Ok(Json::Number(number));
        }
        if let Some(value) = parse_bool(body) {
            return Ok(Json::Bool(value));
        }
        Ok(serde_json::from_str(body).unwrap_or_else(|_| Json::String(self.text.clone())))
    }

    /// The value as the expressions gave it: a text stays a text, also when it reads as a number. For variables, which are read by other
    /// expressions before they come to a field.
    ///
    /// # Errors
    /// As [`Rendered::value`].
    pub fn own_value(&self) -> Result<serde_json::Value, Error> {
        match self.kind {
            Kind::Structure | Kind::Scalar => self.value(),
            _ => Ok(serde_json::Value::String(self.text.clone())),
        }
    }

    /// The value for a field that takes a text: the text, unless the whole is one expression that gives something with
    /// parts, or nothing. That stays what it is, for the field to be refused.
    ///
    /// # Errors
    /// None today; a caller handles both ways to a value alike.
    pub fn text_value(&self) -> Result<serde_json::Value, Error> {
        match self.kind {
            Kind::Structure => self.value(),
            _ => Ok(serde_json::Value::String(self.text.clone())),
        }
    }
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.sensitive { "(from a secret)" } else { &self.text };
        f.debug_struct("Rendered")
            .field("text", &text)
            .field("kind", &self.kind)
            .field("sensitive", &self.sensitive)
            .finish()
    }
}
