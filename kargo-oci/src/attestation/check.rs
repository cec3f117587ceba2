//! What is demanded of the attestations of an image.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::find::{Attestation, Attestations};
use super::provenance::{Provenance, comparable, is_provenance};
use super::vulnerabilities::{Report, Severity, is_report};
use crate::client::{Client, Fault, ManifestContent, ManifestEntry, Platform};
use crate::repository::Repository;
use crate::signature::{Good, Judgement, Rule, SignerIdentity, Trust, TrustedRoot, repositories, signers};

/// How far ahead of ours a scanner's clock may be.
const AHEAD: SignedDuration = SignedDuration::from_mins(10);
/// How many vulnerabilities a reason names.
const NAMED: usize = 5;
/// Of how many platforms of an index the attestations are looked for.
const PLATFORMS: usize = 32;
/// How the predicate types of SBOMs begin; the version may follow.
const SBOM: [&str; 2] = ["https://spdx.dev/Document", "https://cyclonedx.org/bom"];

/// What must be said of an image, and by whom. It is the configuration of an [`AttestationVerifier`](super::AttestationVerifier), and
/// what [`ImageSubscription::attested`](crate::ImageSubscription::attested) takes.
///
/// ```
/// use kargo_oci::{AttestationCheck, ProvenanceRule, Severity, VulnerabilityRule};
///
/// let key = "-----BEGIN PUBLIC KEY-----\n\
///     MCowBQYDK2VwAyEAdz2YWkdFugz3kgC5zTkVqll9Lw/RaKQ42cBRx48HRK8=\n\
///     -----END PUBLIC KEY-----";
/// let check = AttestationCheck::new(key)
///     .provenance(ProvenanceRule::default().builder("https://ci.acme.example/*").source("https://github.com/acme/app"))
///     .vulnerabilities(VulnerabilityRule::at_most(Severity::Medium).max_age_hours(48))
///     .sbom();
/// # let _ = check;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttestationCheck {
    /// The public keys, as PEM. One of them must have signed each attestation, or one of the identities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    identities: Vec<SignerIdentity>,
    /// The repositories whose images are checked; all of the freight's when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provenance: Option<ProvenanceRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vulnerabilities: Option<VulnerabilityRule>,
    /// Whether there must be an SBOM, of SPDX or CycloneDX.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    sbom: bool,
    /// Other types of predicates of which there must be one each.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    predicates: BTreeSet<String>,
    /// Whether what is said of the images of an index counts for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platforms: Option<Platforms>,
}

/// Of how many images of an index something must be said, when it is not said of the index itself. Where one platform is all that
/// matters, it must be said of each image that may run there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platforms {
    /// Of one at least.
    Any,
    /// Of each.
    All,
}

/// Demands SLSA provenance, of version 1 or 0.2.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProvenanceRule {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    builders: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<String>,
}

/// Demands a report of vulnerabilities that has none worse than a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VulnerabilityRule {
    max_severity: Severity,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    ignore: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age_hours: Option<u32>,
}

impl ProvenanceRule {
    /// The builder must be this one, by its id, or another that is added in the same way. A `*` at the end stands for any rest.
    #[must_use]
    pub fn builder(mut self, id: impl Into<String>) -> Self {
        self.builders.push(id.into());
        self
    }

    /// The source must be this repository, or another that is added in the same way, at whatever revision.
    #[must_use]
    pub fn source(mut self, url: impl Into<String>) -> Self {
        self.sources.push(url.into());
        self
    }

    fn judge(&self, attestation: &Attestation) -> Result<String, String> {
        let Provenance { builder, source } = Provenance::of(attestation).map_err(|error| error.message().to_owned())?;
        let is_builder = |wanted: &String| match wanted.strip_suffix('*') {
            Some(begin) => builder.starts_with(begin),
            None => builder == *wanted,
        };
        if !self.builders.is_empty() && !self.builders.iter().any(is_builder) {
            return Err(format!("its provenance names the builder {builder:?}, which is not trusted"));
        }
        let is_source = |source: &String| self.sources.iter().any(|wanted| comparable(wanted) == *source);
        if !self.sources.is_empty() && !source.as_ref().is_some_and(is_source) {
            return Err(match source {
                Some(source) => {
                    format!("its provenance names the source {source:?}, which is not one of those that are wanted")
                }
                None => "its provenance does not say from which source it was built".into(),
            });
        }
        Ok(format!("built by {builder:?}"))
    }
}

impl VulnerabilityRule {
    /// No vulnerability may be worse than this.
    #[must_use]
    pub fn at_most(severity: Severity) -> Self {
        Self { max_severity: severity, ignore: BTreeSet::new(), max_age_hours: None }
    }

    /// Does not count this vulnerability, by its id: somebody has judged it.
    #[must_use]
    pub fn ignore(mut self, id: impl Into<String>) -> Self {
        self.ignore.insert(id.into());
        self
    }

    /// The scan must not be older: what is known of an image changes while the image does not.
    #[must_use]
    pub fn max_age_hours(mut self, hours: u32) -> Self {
        self.max_age_hours = Some(hours);
        self
    }

    /// The newest report counts. Where one does not say when it was made, all do; a time that has yet to come says nothing.
    fn judge(&self, attestations: &[&Attestation], now: Timestamp) -> Judgement {
        let latest = now.checked_add(AHEAD).unwrap_or(Timestamp::MAX);
        let reports: Vec<Report> = attestations
            .iter()
            .map(|attestation| {
                let report = Report::of(attestation)?;
                Ok(Report { at: report.at.filter(|at| *at <= latest), ..report })
            })
            .collect::<Result<_>>()
            .map_err(|error: Error| error.message().to_owned())?;
        let newest = reports.iter().map(|report| report.at).max().flatten();
        let all_say_when = reports.iter().all(|report| report.at.is_some());
        let mut until = None;
        if let Some(hours) = self.max_age_hours {
            let age = SignedDuration::from_hours(i64::from(hours));
            let oldest = now.checked_sub(age).unwrap_or(Timestamp::MIN);
            match newest {
                Some(at) if at >= oldest => until = at.checked_add(age).ok(),
                Some(at) => {
                    return Err(format!(
                        "its newest report of vulnerabilities is of {at}, more than {hours} hours ago"
                    ));
                }
                None => {
                    let why = "its report of vulnerabilities does not say when it was made, or names a time that has yet to come";
                    return Err(why.into());
                }
            }
        }
        let counting = reports.iter().filter(|report| !all_say_when || report.at == newest);
        let mut worse: Vec<String> = counting
            .flat_map(|report| &report.found)
            .filter(|found| found.severity > self.max_severity && !self.ignore.contains(&found.id))
            .map(|found| format!("{} ({})", found.id.escape_default(), found.severity))
            .collect();
        worse.sort_unstable();
        worse.dedup();
        if worse.is_empty() {
            return Ok(Good { evidence: format!("no vulnerability worse than {}", self.max_severity), until });
        }
        let more = worse.len().saturating_sub(NAMED);
        let named = worse[..worse.len().min(NAMED)].join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Err(format!("it has vulnerabilities worse than {}: {named}{more}", self.max_severity))
    }
}

impl AttestationCheck {
    /// The name under which [`AttestationVerifier`](super::AttestationVerifier) is registered for these.
    pub const VERIFIER: &'static str = "image-attestation";

    /// Attestations count that this key, in PEM, has signed. What must be attested is added.
    pub fn new(key: impl Into<String>) -> Self {
        Self::of(vec![key.into()], Vec::new())
    }

    /// Attestations count that this identity has signed, without a key. What must be attested is added.
    pub fn keyless(identity: SignerIdentity) -> Self {
        Self::of(Vec::new(), vec![identity])
    }

    fn of(keys: Vec<String>, identities: Vec<SignerIdentity>) -> Self {
        Self {
            keys,
            identities,
            images: Vec::new(),
            provenance: None,
            vulnerabilities: None,
            sbom: false,
            predicates: BTreeSet::new(),
            platforms: None,
        }
    }

    /// Demands provenance.
    #[must_use]
    pub fn provenance(mut self, rule: ProvenanceRule) -> Self {
        self.provenance = Some(rule);
        self
    }

    /// Demands a report of vulnerabilities.
    #[must_use]
    pub fn vulnerabilities(mut self, rule: VulnerabilityRule) -> Self {
        self.vulnerabilities = Some(rule);
        self
    }

    /// Demands an SBOM.
    #[must_use]
    pub fn sbom(mut self) -> Self {
        self.sbom = true;
        self
    }

    /// Demands an attestation of this type, whatever it says.
    #[must_use]
    pub fn predicate(mut self, predicate_type: impl Into<String>) -> Self {
        self.predicates.insert(predicate_type.into());
        self
    }

    /// For an index of which not all is said that must be: takes what is said of its images too. Without this only what is said of the
    /// very digest counts. What BuildKit keeps in the index is looked at then; it mostly is not signed, and does not count.
    #[must_use]
    pub fn platforms(mut self, which: Platforms) -> Self {
        self.platforms = Some(which);
        self
    }

    pub(super) fn read(config: &Value, root: Option<&TrustedRoot>) -> Result<AttestationRule> {
        let check: Self =
            serde_json::from_value(config.clone()).map_err(|error| invalid(&format!("cannot be read: {error}")))?;
        check.rule(root)
    }

    pub(crate) fn rule(self, root: Option<&TrustedRoot>) -> Result<AttestationRule> {
        let demands_none =
            self.provenance.is_none() && self.vulnerabilities.is_none() && !self.sbom && self.predicates.is_empty();
        if demands_none {
            return Err(invalid("demands nothing; set provenance, vulnerabilities, sbom or predicates"));
        }
        let trust = Trust::read(&self.keys, &self.identities, root, "attestations")?;
        let images = repositories(&self.images)?;
        Ok(AttestationRule { check: self, trust, images })
    }

    /// What speaks for the image, or the first thing that is wrong.
    fn judge(&self, found: &Attestations, now: Timestamp) -> Judgement {
        // What was not looked at could say the opposite.
        if let Some(why) = &found.incomplete {
            return Err(format!("it {why}"));
        }
        let (mut evidence, mut until) = (Vec::new(), None);
        if let Some(rule) = &self.provenance {
            let all = wanted(found, "provenance", is_provenance)?;
            // Two builds may have made the same image; one that is trusted is enough.
            let judged: Vec<_> = all.iter().map(|attestation| rule.judge(attestation)).collect();
            let good = judged.iter().find_map(|judged| judged.as_ref().ok().cloned());
            evidence.push(match (good, judged.into_iter().next()) {
                (Some(good), _) => good,
                (None, Some(first)) => first?,
                (None, None) => return Err("it has no provenance".into()),
            });
        }
        if let Some(rule) = &self.vulnerabilities {
            let good = rule.judge(&wanted(found, "report of vulnerabilities", is_report)?, now)?;
            evidence.push(good.evidence);
            until = good.until;
        }
        if self.sbom {
            wanted(found, "SBOM", |kind| SBOM.iter().any(|begin| kind.starts_with(begin)))?;
            evidence.push("has an SBOM".into());
        }
        for predicate_type in &self.predicates {
            wanted(found, &format!("attestation of type {predicate_type:?}"), |kind| kind == predicate_type)?;
            evidence.push(format!("has an attestation of type {predicate_type:?}"));
        }
        Ok(Good { evidence: evidence.join(", "), until })
    }
}

signers!(AttestationCheck);

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("The check of attestations {why}."))
}

/// An [`AttestationCheck`] that has been read.
#[derive(Debug)]
pub(crate) struct AttestationRule {
    check: AttestationCheck,
    trust: Trust,
    images: Vec<Repository>,
}

#[async_trait]
impl Rule for AttestationRule {
    fn images(&self) -> &[Repository] {
        &self.images
    }

    async fn judge(
        &self,
        cx: &Context,
        client: &Client,
        repository: &Repository,
        digest: &str,
        platform: Option<&Platform>,
    ) -> Result<Judgement> {
        let whole = client.attestations(cx, repository, digest, &self.trust).await?;
        let judged = match (self.check.judge(&whole, cx.now()), self.check.platforms) {
            (Err(why), Some(which)) => {
                // An image that another one stands in for must not be good by it, where it is known which of them runs.
                let which = if platform.is_some() { Platforms::All } else { which };
                match self.parts(cx, client, repository, digest, platform).await? {
                    Ok(parts) => {
                        self.judge_parts(cx, client, repository, &whole, &parts, which).await?.unwrap_or(Err(why))
                    }
                    Err(why) => Err(why),
                }
            }
            (judged, _) => judged,
        };
        Ok(judged
            .map(|good| Good { evidence: format!("is attested: {}", good.evidence), ..good })
            .map_err(|why| format!("is not good enough: {why}")))
    }
}

/// The entries of an index, and those of them that may be run and matter.
#[derive(Debug, Default)]
struct Parts {
    entries: Vec<ManifestEntry>,
    images: Vec<ManifestEntry>,
}

impl AttestationRule {
    /// Or what is wrong with the index.
    async fn parts(
        &self,
        cx: &Context,
        client: &Client,
        repository: &Repository,
        digest: &str,
        platform: Option<&Platform>,
    ) -> Result<Result<Parts, String>> {
        let content = match client.try_manifest(cx, repository, digest).await {
            Ok(manifest) => manifest.content,
            Err(Fault::Image { error, .. }) => {
                return Ok(Err(format!("its manifest cannot be used: {}", error.message())));
            }
            Err(Fault::Look(error)) => return Err(error),
        };
        let ManifestContent::Index { entries } = content else { return Ok(Ok(Parts::default())) };
        // What says nothing of a platform is run where nothing else fits, whatever it is; only what says that it is of an unknown one is
        // never run.
        let matters = |entry: &&ManifestEntry| match platform {
            Some(platform) => entry.runs_anywhere || entry.platform.as_ref() == Some(platform),
            None => entry.runs_anywhere || entry.platform.is_some(),
        };
        let images: Vec<_> = entries.iter().filter(matters).cloned().collect();
        Ok(if images.len() > PLATFORMS {
            Err(format!("it is an index of more than {PLATFORMS} images"))
        } else {
            Ok(Parts { entries, images })
        })
    }

    /// Nothing for what is no index.
    async fn judge_parts(
        &self,
        cx: &Context,
        client: &Client,
        repository: &Repository,
        whole: &Attestations,
        parts: &Parts,
        which: Platforms,
    ) -> Result<Option<Judgement>> {
        let mut good: Option<Good> = None;
        let mut bad = None;
        for image in &parts.images {
            let of_it = client.attestations_within(cx, repository, &parts.entries, image, &self.trust).await?;
            let name = match &image.platform {
                Some(platform) => platform.to_string(),
                None => format!("{}, which names no platform", image.digest),
            };
            match (self.check.judge(&whole.with(&of_it), cx.now()), which) {
                (Ok(one), Platforms::Any) => {
                    return Ok(Some(Ok(Good { evidence: format!("{} ({name})", one.evidence), ..one })));
                }
                (Ok(one), Platforms::All) => {
                    let evidence = format!("{} ({name})", one.evidence);
                    good = Some(match good.take() {
                        None => Good { evidence, ..one },
                        Some(before) => Good {
                            evidence: format!("{}, {evidence}", before.evidence),
                            until: [before.until, one.until].into_iter().flatten().min(),
                        },
                    });
                }
                (Err(why), Platforms::All) => return Ok(Some(Err(format!("of {name}, {why}")))),
                (Err(why), Platforms::Any) => bad = bad.or(Some(format!("of {name}, {why}"))),
            }
        }
        Ok(good.map(Ok).or(bad.map(Err)))
    }
}

/// The signed attestations of a kind, of which there must be one.
fn wanted<'a>(
    found: &'a Attestations,
    what: &str,
    is_kind: impl Fn(&str) -> bool,
) -> Result<Vec<&'a Attestation>, String> {
    let fitting: Vec<_> = found.signed.iter().filter(|attestation| is_kind(&attestation.predicate_type)).collect();
    if !fitting.is_empty() {
        return Ok(fitting);
    }
    // One that says that it is of the kind helps to see what is wrong; else any that does not count may be the one.
    let claim = found.claims.iter().find(|claim| is_kind(&claim.kind)).or(found.claims.first());
    Err(match claim {
        None => format!("it has no {what} that counts"),
        Some(claim) => format!(
            "it has no {what} that counts; of {} that do not, one of type {:?} {}",
            found.claims.len(),
            claim.kind,
            claim.why
        ),
    })
}
