//! Identities that certificates name, as a configuration trusts them.

use kargo_core::{Error, ErrorKind, Result};
use regex::Regex;
use serde::{Deserialize, Serialize};

/// Somebody whose signatures count without a key: the name that a certificate of Fulcio has, and who vouches for it.
///
/// ```
/// use kargo_oci::SignerIdentity;
///
/// let github = "https://token.actions.githubusercontent.com";
/// let release = SignerIdentity::matching("https://github.com/acme/app/.github/workflows/release.yaml@refs/tags/.*", github);
/// let person = SignerIdentity::exactly("alice@acme.example", "https://accounts.google.com");
/// # let _ = (release, person);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignerIdentity {
    issuer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity_regex: Option<String>,
}

/// An identity that has been checked.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    issuer: String,
    name: Name,
}

#[derive(Debug, Clone)]
enum Name {
    Is(String),
    Matches(Regex),
}

impl SignerIdentity {
    /// The one with this name, to the letter, for whom this issuer vouches.
    pub fn exactly(identity: impl Into<String>, issuer: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), identity: Some(identity.into()), identity_regex: None }
    }

    /// Everybody with a name that this regular expression describes from its first to its last letter, for whom this issuer
    /// vouches. (`cosign verify` takes it for a part of the name, so that a longer name may be anybody's.)
    pub fn matching(regex: impl Into<String>, issuer: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), identity: None, identity_regex: Some(regex.into()) }
    }

    pub(super) fn rule(&self) -> Result<Rule> {
        let invalid = |why: &str| {
            let text = format!("The identity of the issuer {:?} {why}.", self.issuer);
            Error::new(ErrorKind::InvalidInput, text)
        };
        let name = match (&self.identity, &self.identity_regex) {
            (Some(name), None) if !name.is_empty() => Name::Is(name.clone()),
            (None, Some(regex)) if !regex.is_empty() => {
                // By itself first, so that a parenthesis cannot end the group around it.
                Regex::new(regex)
                    .and_then(|_| Regex::new(&format!(r"\A(?:{regex})\z")))
                    .map(Name::Matches)
                    .map_err(|error| invalid("has an identityRegex that is no regular expression").because(error))?
            }
            _ => return Err(invalid("wants one of identity and identityRegex, and not both")),
        };
        if self.issuer.is_empty() {
            return Err(invalid("is empty; name who vouches, such as https://token.actions.githubusercontent.com"));
        }
        Ok(Rule { issuer: self.issuer.clone(), name })
    }
}

impl Rule {
    pub(super) fn fits(&self, identity: &str, issuer: &str) -> bool {
        self.issuer == issuer
            && match &self.name {
                Name::Is(name) => name == identity,
                Name::Matches(regex) => regex.is_match(identity),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_expression_describes_the_whole_name() {
        let rule = SignerIdentity::matching("https://github.com/acme/[a-z]+|alice@acme.example", "i").rule().unwrap();
        assert!(rule.fits("https://github.com/acme/app", "i") && rule.fits("alice@acme.example", "i"));
        for name in [
            "https://github.com/acme/app/evil",
            "xhttps://github.com/acme/app",
            "alice@acme.example.org",
            "",
            "a\nalice@acme.example",
        ] {
            assert!(!rule.fits(name, "i"), "{name}");
        }
        assert!(!rule.fits("alice@acme.example", "another"));
        let exact = SignerIdentity::exactly("a.c", "i").rule().unwrap();
        assert!(exact.fits("a.c", "i") && !exact.fits("abc", "i"));
    }

    #[test]
    fn an_identity_that_would_fit_everybody_or_nobody_is_refused() {
        let both = SignerIdentity { issuer: "i".into(), identity: Some("a".into()), identity_regex: Some("a".into()) };
        for (identity, needle) in [
            (SignerIdentity::exactly("", "i"), "one of identity"),
            (SignerIdentity::matching("", "i"), "one of identity"),
            (both, "not both"),
            (SignerIdentity::matching("a)|(b", "i"), "no regular expression"),
            (SignerIdentity::exactly("a", ""), "is empty"),
        ] {
            let error = identity.rule().unwrap_err();
            assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains(needle), "{error}");
        }
    }
}
