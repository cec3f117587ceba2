//! Reports of vulnerabilities, in the forms in which scanners write them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use kargo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::find::Attestation;

/// The predicate types that are read: cosign's, which holds the report of a scanner, and in-toto's own.
const COSIGN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
const IN_TOTO: [&str; 2] = ["https://in-toto.io/attestation/vulns/v0.1", "https://in-toto.io/attestation/vulns/v0.2"];

/// How bad a vulnerability is, as scanners say it. What they do not know counts as the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Not known, or none.
    Unknown,
    /// Of no practical meaning.
    Negligible,
    /// CVSS below 4.
    Low,
    /// CVSS from 4.
    Medium,
    /// CVSS from 7.
    High,
    /// CVSS from 9.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Negligible => "negligible",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

impl FromStr for Severity {
    type Err = ();

    /// In any case, and by the other words that scanners have.
    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "unknown" | "none" | "" => Self::Unknown,
            "negligible" | "info" | "informational" => Self::Negligible,
            "low" | "minor" => Self::Low,
            "medium" | "moderate" => Self::Medium,
            "high" | "important" => Self::High,
            "critical" => Self::Critical,
            _ => return Err(()),
        })
    }
}

/// What counts of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) found: Vec<Vulnerability>,
    /// When the scan was over.
    pub(super) at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vulnerability {
    pub(super) id: String,
    pub(super) severity: Severity,
}

#[derive(Deserialize)]
struct Predicate {
    scanner: Scanner,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Scanner {
    result: Outcome,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    scan_finished_on: Option<String>,
}

/// A report of Trivy or Grype, or in-toto's list. One of them must be there: a form that is not known is no clean report.
#[derive(Deserialize)]
#[serde(untagged)]
enum Outcome {
    InToto(Vec<Listed>),
    Trivy {
        #[serde(rename = "Results", deserialize_with = "null_is_empty")]
        results: Vec<Scanned>,
    },
    Grype {
        matches: Vec<Match>,
    },
    /// Trivy leaves its results out when it has found nothing to look at.
    TrivyWithout {
        #[serde(rename = "SchemaVersion")]
        _schema: u64,
        #[serde(rename = "ArtifactName")]
        _artifact: String,
        /// Never anything but null: results that are not understood are not left out.
        #[serde(rename = "Results", default)]
        _results: Option<()>,
    },
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    severity: Vec<Score>,
}

#[derive(Deserialize)]
struct Score {
    /// A number, as text or not, or a word.
    #[serde(default)]
    score: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Scanned {
    #[serde(default, deserialize_with = "null_is_empty")]
    vulnerabilities: Vec<Seen>,
}

#[derive(Deserialize)]
struct Seen {
    #[serde(rename = "VulnerabilityID")]
    id: String,
    #[serde(rename = "Severity", default)]
    severity: String,
}

#[derive(Deserialize)]
struct Match {
    vulnerability: Matched,
}

#[derive(Deserialize)]
struct Matched {
    id: String,
    #[serde(default)]
    severity: String,
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Whether this type is one of a report of vulnerabilities.
pub(super) fn is_report(predicate_type: &str) -> bool {
    predicate_type == COSIGN || IN_TOTO.contains(&predicate_type)
}

impl Report {
    /// # Errors
    /// [`ErrorKind::InvalidResponse`] when the report is of a form that is not known, or has a severity that is none.
    pub(super) fn of(attestation: &Attestation) -> Result<Self> {
        let predicate: Predicate = attestation.predicate()?;
        let at = predicate.metadata.scan_finished_on.and_then(|at| at.parse().ok());
        let pairs: Vec<(String, Value)> = match predicate.scanner.result {
            Outcome::InToto(listed) => {
                // Several methods may have judged, each by itself.
                let scores = |listed: Listed| {
                    let none = listed.severity.is_empty().then(|| (listed.id.clone(), Value::from("")));
                    let all = listed.severity.into_iter().map(move |score| (listed.id.clone(), score.score));
                    none.into_iter().chain(all)
                };
                listed.into_iter().flat_map(scores).collect()
            }
            Outcome::Trivy { results } => {
                let all = results.into_iter().flat_map(|scanned| scanned.vulnerabilities);
                all.map(|seen| (seen.id, seen.severity.into())).collect()
            }
            Outcome::Grype { matches } => {
                matches.into_iter().map(|found| (found.vulnerability.id, found.vulnerability.severity.into())).collect()
            }
            Outcome::TrivyWithout { .. } => Vec::new(),
        };
        let found = pairs.into_iter().map(|(id, said)| match severity(&said) {
            Some(severity) => Ok(Vulnerability { id, severity }),
            None => {
                let text = format!("The report of vulnerabilities calls the severity of {id:?} {said}, which is none.");
                Err(Error::new(ErrorKind::InvalidResponse, text))
            }
        });
        Ok(Self { found: found.collect::<Result<_>>()?, at })
    }
}

/// A severity of a word, or of a score by CVSS.
fn severity(said: &Value) -> Option<Severity> {
    let score = said.as_f64().or_else(|| said.as_str()?.trim().parse().ok());
    match score.filter(|score| score.is_finite()) {
        Some(score) if score >= 9.0 => Some(Severity::Critical),
        Some(score) if score >= 7.0 => Some(Severity::High),
        Some(score) if score >= 4.0 => Some(Severity::Medium),
        Some(score) if score > 0.0 => Some(Severity::Low),
        Some(_) => Some(Severity::Unknown),
        None => said.as_str()?.parse().ok(),
    }
}
