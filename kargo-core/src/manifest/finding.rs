//! What is wrong with manifests, and where.

use std::borrow::Cow;
use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It works, and is probably not meant so, or will stop working.
    Warning,
    /// It cannot work.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What kind of thing a finding is about. Its text (`unknown-field`) is stable, for configurations that leave rules out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The text is not YAML that Kubernetes reads.
    Syntax,
    /// A template or an overlay that another tool has to evaluate first.
    NotEvaluated,
    /// A kind that is not known, or of no use here.
    Kind,
    /// A field that its place does not have.
    UnknownField,
    /// A field that must be there.
    MissingField,
    /// A value that its field does not take.
    BadValue,
    /// Two things of one name.
    Duplicate,
    /// Written for an older Kargo; read as what has taken its place.
    OldDialect,
    /// Only the commercial edition of Kargo does something with it.
    Commercial,
    /// A name of something that is not there.
    Reference,
    /// Stages that wait for each other.
    Cycle,
    /// Freight that no way leads to.
    NeverArrives,
    /// Another rule for pipelines that is not kept.
    Pipeline,
    /// A step that nobody knows.
    UnknownStep,
    /// An expression that cannot be evaluated.
    Expression,
    /// The outputs or the status of a step that is not there, or comes later.
    Alias,
    /// A text that will turn into a number or a boolean.
    Number,
    /// A step that never runs.
    Unreachable,
    /// Something that nothing uses.
    Unused,
}

impl Rule {
    /// Its name: `unknown-field`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::NotEvaluated => "not-evaluated",
            Self::Kind => "kind",
            Self::UnknownField => "unknown-field",
            Self::MissingField => "missing-field",
            Self::BadValue => "bad-value",
            Self::Duplicate => "duplicate",
            Self::OldDialect => "old-dialect",
            Self::Commercial => "commercial",
            Self::Reference => "reference",
            Self::Cycle => "cycle",
            Self::NeverArrives => "never-arrives",
            Self::Pipeline => "pipeline",
            Self::UnknownStep => "unknown-step",
            Self::Expression => "expression",
            Self::Alias => "alias",
            Self::Number => "number",
            Self::Unreachable => "unreachable",
            Self::Unused => "unused",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that is wrong, as a sentence with the way out, and its place. Printed, it looks like a compiler's message:
///
/// ```text
/// error[unknown-field]: There is no field "repoUrl" in spec.subscriptions[0].image; did you mean "repoURL"?
///   --> warehouse.yaml:9:7 (Warehouse shop/main)
///    |
///  9 |       repoUrl: ghcr.io/acme/app
///    |       ^^^^^^^
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing it is about.
    pub rule: Rule,
    /// The sentence.
    pub message: String,
    /// Where it is, when it is in a file.
    pub place: Option<Place>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The file's name, as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The resource: `Stage shop/dev`. Empty when it is not known.
    pub resource: String,
    /// The path of the field: `spec.promotionTemplate.spec.steps[2].config.path`. Empty for the whole resource.
    pub path: String,
    /// The line with the part that is meant; none in secrets.
    pub snippet: Option<Snippet>,
}

/// A line and the part of it that is meant. Passwords in URLs are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snippet {
    /// The line, or what of a long one is around the place.
    pub text: String,
    /// Where the part begins, from 1, in characters.
    pub column: usize,
    /// How many characters it has.
    pub width: usize,
}

impl Finding {
    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity, self.rule, self.message)?;
        let Some(place) = &self.place else { return Ok(()) };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        write!(f, "\n{margin} --> {}:{}:{}", place.file, place.line, place.column)?;
        match (place.resource.is_empty(), place.path.is_empty()) {
            (false, false) => write!(f, " ({}, {})", place.resource, place.path)?,
            (false, true) => write!(f, " ({})", place.resource)?,
            _ => {}
        }
        let Some(snippet) = &place.snippet else { return Ok(()) };
        let before = " ".repeat(snippet.column.saturating_sub(1));
        write!(f, "\n{margin}  |\n{number}  | {}\n{margin}  | {before}{}", snippet.text, "^".repeat(snippet.width))
    }
}

/// How many findings of one set are told.
pub(super) const MAX_FINDINGS: usize = 10_000;

/// How many bytes a message has at most.
pub(super) const MAX_MESSAGE: usize = 2000;

/// `text`, or its beginning and its end when it has more than `most` bytes: names and values may be of any length.
pub(super) fn shortened(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let begin = text.floor_char_boundary(most * 3 / 4);
    let end = text.ceil_char_boundary(text.len() - most / 4);
    format!("{} … {}", &text[..begin], &text[end..])
}

/// From how many bytes on a pointer is told by its ends.
const LONG_POINTER: usize = 2000;

/// A segment of a JSON pointer as the key that it names.
pub(super) fn unescaped(segment: &str) -> Cow<'_, str> {
    match segment.contains('~') {
        true => segment.replace("~1", "/").replace("~0", "~").into(),
        false => segment.into(),
    }
}

/// A JSON pointer as people write paths: `/spec/steps/2/config` is `spec.steps[2].config`.
pub(super) fn path(pointer: &str) -> String {
    // Of a long one only the ends are told, so that only they are looked at.
    if pointer.len() > LONG_POINTER {
        return path(&shortened(pointer.to_owned(), LONG_POINTER / 2));
    }
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        let segment = unescaped(segment);
        if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) {
            path += &format!("[{segment}]");
        } else if segment.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) {
            if !path.is_empty() {
                path.push('.');
            }
            path += &segment;
        } else {
            path += &format!("[{segment:?}]");
        }
    }
    shortened(path, 400)
}

/// `segment` at the end of a JSON pointer.
pub(super) fn below(pointer: &str, segment: impl fmt::Display) -> String {
    format!("{pointer}/{}", segment.to_string().replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_told_by_their_ends() {
        assert_eq!(shortened("short".into(), 10), "short");
        let told = shortened(format!("begin {} end", "é".repeat(1000)), 40);
        assert!(told.starts_with("begin é") && told.ends_with("é end") && told.len() < 60, "{told}");
    }

    #[test]
    fn a_finding_prints_with_a_mark_under_its_place() {
        let finding = Finding {
            severity: Severity::Error,
            rule: Rule::UnknownField,
            message: "There is no field \"repoUrl\".".into(),
            place: Some(Place {
                file: "warehouse.yaml".into(),
                line: 12,
                column: 7,
                resource: "Warehouse shop/main".into(),
                path: path("/spec/subscriptions/0/image/a~1b"),
                snippet: Some(Snippet { text: "      repoUrl: x".into(), column: 7, width: 7 }),
            }),
        };
        assert_eq!(
            finding.to_string(),
            "error[unknown-field]: There is no field \"repoUrl\".\n   --> warehouse.yaml:12:7 (Warehouse shop/main, spec.subscriptions[0].image[\"a/b\"])\n    |\n12  |       repoUrl: x\n    |       ^^^^^^^"
        );
    }
}
