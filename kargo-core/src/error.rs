//! The one error of this crate, and of every plug-in call.
//!
//! A caller can act on an [`Error`] without reading its text: [`Error::kind`] says what went wrong,
//! [`Error::retry`] whether and when another try can help. The text is for people: a sentence that names the
//! object, what was being done, and the way out. Secrets never enter one: adapters put names of credentials
//! into errors, never their values.

use std::fmt;
use std::time::Duration;

/// What went wrong, in terms a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The other side cannot be reached or says that it cannot answer now.
    Unavailable,
    /// No answer came within the deadline. The effect may or may not have happened.
    Timeout,
    /// The credentials are missing or wrong.
    Unauthenticated,
    /// The credentials are known, but may not do this.
    PermissionDenied,
    /// The object does not exist.
    NotFound,
    /// Somebody else changed the object in between.
    Conflict,
    /// The configuration or the request is wrong; the same request will always fail.
    InvalidInput,
    /// The other side answered with something that is not an answer: HTML instead of JSON, half a list.
    InvalidResponse,
    /// The other side asked to slow down.
    RateLimited,
    /// The request is right, but this implementation or the server cannot do it.
    Unsupported,
    /// A rule of the pipeline forbids it, as [`crate::decide::Refusal`] says in full.
    Refused,
    /// The store has no room left.
    Full,
    /// Stored data is damaged, or was written by a newer version.
    Corrupt,
    /// The caller asked to stop.
    Cancelled,
    /// A plug-in panicked.
    Panicked,
    /// Anything else.
    Other,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission denied",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::InvalidInput => "invalid input",
            Self::InvalidResponse => "invalid response",
            Self::RateLimited => "rate limited",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
            Self::Full => "full",
            Self::Corrupt => "corrupt",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
            Self::Other => "error",
        })
    }
}

/// Whether, and when, doing the same again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request fails again until somebody changes something.
    Never,
    /// Another try can help; the caller chooses the pause (exponential, with jitter).
    Backoff,
    /// The other side named the pause, such as with `Retry-After`. Not before.
    After(Duration),
}

type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error: kind, retryability, a sentence, context pairs and the source chain.
///
/// ```
/// use kargo_core::{Error, ErrorKind, Retry};
///
/// let error = Error::new(ErrorKind::Unavailable, "The registry registry.example did not answer; is it up?")
///     .operation("list tags")
///     .with("repository", "shop/app");
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert_eq!(error.retry(), Retry::Backoff);
/// assert!(error.to_string().contains("registry.example"));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    message: String,
    operation: Option<&'static str>,
    plugin: Option<String>,
    context: Vec<(&'static str, String)>,
    source: Option<BoxError>,
}

impl Error {
    /// An error of `kind` with a full sentence. Retryability follows the kind until [`Error::retry_as`] says otherwise.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::RateLimited
            | ErrorKind::Conflict
            | ErrorKind::Full => Retry::Backoff,
            _ => Retry::Never,
        };
        Self(Box::new(Inner {
            kind,
            retry,
            message: message.into(),
            operation: None,
            plugin: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// Sets whether and when another try can help.
    #[must_use]
    pub fn retry_as(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Sets what was being done, as a short verb phrase: "list tags".
    #[must_use]
    pub fn operation(mut self, operation: &'static str) -> Self {
        self.0.operation = Some(operation);
        self
    }

    /// Sets the plug-in's registered name. The engine does this for every call it makes.
    #[must_use]
    pub fn plugin(mut self, name: impl Into<String>) -> Self {
        self.0.plugin = Some(name.into());
        self
    }

    /// Adds a context pair. Never a secret.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Sets the underlying error.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether and when another try can help.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The sentence, without context and sources.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The name of the plug-in that failed, if one did.
    pub fn plugin_name(&self) -> Option<&str> {
        self.0.plugin.as_deref()
    }

    /// The context pairs.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// The whole story on one line: the sentence, where it happened, and each source. For logs and journals.
    pub fn report(&self) -> String {
        use std::error::Error as _;
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            let next = error.to_string();
            // Wrappers like to repeat their source's text; saying it once is enough.
            if !text.contains(&next) {
                text.push_str(": ");
                text.push_str(&next);
            }
            source = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let mut pairs: Vec<String> = Vec::new();
        if let Some(plugin) = &self.0.plugin {
            pairs.push(format!("plug-in: {plugin}"));
        }
        if let Some(operation) = self.0.operation {
            pairs.push(format!("while: {operation}"));
        }
        pairs.extend(self.0.context.iter().map(|(key, value)| format!("{key}: {value}")));
        if pairs.is_empty() { Ok(()) } else { write!(f, " ({})", pairs.join(", ")) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("retry", &self.0.retry)
            .field("message", &self.0.message)
            .field("operation", &self.0.operation)
            .field("plugin", &self.0.plugin)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// An expression that cannot be evaluated is wrong input, unless the host could not answer it; then the host's error says
/// what went wrong, and whether another try can help.
impl From<crate::expr::Error> for Error {
    fn from(error: crate::expr::Error) -> Self {
        let message = error.to_string();
        match error.into_source().map(|source| source.downcast::<Self>()) {
            None => Self::new(ErrorKind::InvalidInput, message),
            Some(Ok(host)) => Self::new(host.kind(), message).retry_as(host.retry()).because(host),
            Some(Err(source)) => Self::new(ErrorKind::Other, message).because(source),
        }
    }
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_a_sentence_with_its_context() {
        let error = Error::new(ErrorKind::NotFound, "The branch main does not exist.")
            .operation("read the tip")
            .plugin("write:config")
            .with("repository", "https://git.example/config")
            .because(std::io::Error::other("404"));
        assert_eq!(
            error.to_string(),
            "The branch main does not exist. (plug-in: write:config, while: read the tip, repository: https://git.example/config)"
        );
        assert!(error.report().ends_with(": 404"));
        assert_eq!(error.retry(), Retry::Never);
    }

    #[test]
    fn an_expressions_error_is_that_of_its_host_if_the_host_failed() {
        use crate::expr::{Environment, Fault, Host, Program, Query, Scope, Value};

        #[derive(Debug)]
        struct Down;
        impl Host for Down {
            fn answer(&self, _: Query<'_>) -> std::result::Result<Value, Fault> {
                let error = Error::new(ErrorKind::Unavailable, "The vault does not answer.");
                Err(Fault::host("The secret cannot be read.", error))
            }
        }
        let program = Program::compile("secret('a').b", &Environment::promotion()).unwrap();
        let error = Error::from(program.evaluate(&Scope::default().host(&Down)).unwrap_err());
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff));
        assert!(error.report().starts_with("The secret cannot be read.\n  | secret('a').b"), "{}", error.report());
        let error = Error::from(Program::compile("1 +", &Environment::bare()).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
