//! Names, each of its own type, so that a stage's name cannot stand where a warehouse's is meant.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// Says what is wrong with `text` as a resource name, or nothing when it is fine.
///
/// The rule is Kubernetes' DNS-1123 subdomain, which Kargo uses for every resource: lower-case letters, digits, `-` and `.`,
/// beginning and ending with a letter or digit, 1 to 253 characters.
pub fn name_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > 253 {
        return Some("it has more than 253 characters");
    }
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.chars().all(|c| alphanumeric(c) || c == '-' || c == '.') {
        return Some("only lower-case letters, digits, '-' and '.' may stand in it");
    }
    let part_ok = |part: &str| part.starts_with(alphanumeric) && part.ends_with(alphanumeric);
    if !text.split('.').all(part_ok) {
        return Some("each part between dots must begin and end with a letter or digit");
    }
    None
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<&$name> for $name {
            fn from(name: &$name) -> Self {
                name.clone()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }
    };
}

name_type! {
    /// The name of a pipeline; also the name of its journal in a store.
    PipelineName
}
name_type! {
    /// The name of a stage, unique in its pipeline.
    StageName
}
name_type! {
    /// The name of a warehouse, unique in its pipeline. It is the origin of the freight that the warehouse makes.
    WarehouseName
}
name_type! {
    /// The id of a piece of freight: 40 hexadecimal digits, derived from its content (see [`crate::Freight`]).
    FreightId
}
name_type! {
    /// The id of a promotion: `<stage>.<ulid>.<first 7 digits of the freight>`, in Kargo's form. Ids of one stage sort by creation.
    PromotionId
}
name_type! {
    /// The id of one verification of one promotion: `<promotion>.v<n>`.
    VerificationId
}
name_type! {
    /// A revision that a writer made or a deployer runs: a commit id, a chart version, an image digest.
    Revision
}

impl FreightId {
    /// The first seven digits, as people write it. An id that is shorter is returned whole.
    pub fn short(&self) -> &str {
        self.0.get(..7).unwrap_or(&self.0)
    }
}

/// The closest of `known` to `wanted`, when it is close enough to be what was meant. Nothing is close to a text of more than 253 bytes,
/// which is no name; and of a great many that may be close, the first thousand are looked at.
pub fn near_match<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes the product of both lengths, so what cannot be near by its length alone is left out first: a change of one
    // character is one of four bytes at most.
    let may_be = |candidate: &&str| wanted.len() <= 253 && candidate.len().abs_diff(wanted.len()) <= 8;
    known
        .into_iter()
        .filter(may_be)
        .take(1000)
        .map(|candidate| (strsim::damerau_levenshtein(wanted, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2 && distance * 3 <= candidate.len().max(wanted.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `text` as the value of a label, which has 63 bytes at most: of a longer one the beginning, and the first eight digits of its SHA-256, as
/// Kargo shortens the names of stages in labels.
///
/// ```
/// assert_eq!(kargo_core::label_value("prod"), "prod");
/// assert_eq!(kargo_core::label_value(&"prod.".repeat(20)).len(), 63);
/// ```
pub fn label_value(text: &str) -> Cow<'_, str> {
    const MOST: usize = 63;
    if text.len() <= MOST {
        return text.into();
    }
    let digits: String = Sha256::digest(text.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let beginning = &text[..text.floor_char_boundary(MOST - 1 - digits.len())];
    format!("{beginning}-{digits}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_5_a_long_label_is_shortened_as_kargo_does_it() {
        assert_eq!(label_value(&"x".repeat(70)), format!("{}-c71bd109", "x".repeat(54)));
        assert_eq!(label_value(&"x".repeat(63)), "x".repeat(63));
        assert_eq!(label_value(&"é".repeat(40)).len(), 63);
    }

    #[test]
    fn names_follow_the_rule_of_kubernetes() {
        for good in ["a", "prod", "eu-west.prod-1", "1a"] {
            assert_eq!(name_fault(good), None, "{good}");
        }
        for bad in ["", "Prod", "-a", "a-", "a..b", "a_b", "a b", "é", &"x".repeat(254)] {
            assert!(name_fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_near_match_is_proposed_only_when_it_is_near() {
        assert_eq!(near_match("stagin", ["dev", "staging", "prod"]), Some("staging"));
        for other in ["canary", "b", "write:foo"] {
            assert_eq!(near_match(other, ["dev", "staging", "prod", "a", "write:bar"]), None, "{other}");
        }
    }
}
