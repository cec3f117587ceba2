//! Rules that hold for many stages at once, and rollback without being asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Stage;
use crate::name::StageName;
use crate::promotion::Phase;

/// Whether the stages that it selects promote, and go back, by themselves. Of a pipeline's policies the first that matches a
/// stage decides, as in Kargo; a stage that none matches goes by its own word.
///
/// ```
/// use kargo_core::{Pipeline, PromotionPolicy, Stage, StageSelector, Subscription, Warehouse};
/// use serde_json::json;
///
/// let pipeline = Pipeline::builder("shop")
///     .warehouse(Warehouse::new("main").subscribe(Subscription::new("image", json!({}))))
///     .stage(Stage::new("dev").direct("main"))
///     .stage(Stage::new("prod-eu").after("main", ["dev"]))
///     .policy(PromotionPolicy::new(StageSelector::name("glob:prod-*")))
///     .policy(PromotionPolicy::new(StageSelector::all()).auto_promote())
///     .build()?;
/// assert!(pipeline.stage(&"dev".into()).is_some_and(Stage::auto_promotes));
/// assert!(!pipeline.stage(&"prod-eu".into()).is_some_and(Stage::auto_promotes));
/// # Ok::<(), kargo_core::PipelineError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotionPolicy {
    pub(crate) selector: StageSelector,
    #[serde(default)]
    pub(crate) auto_promote: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) auto_rollback: Option<AutoRollback>,
}

impl PromotionPolicy {
    /// A policy by which the stages that `selector` matches do nothing by themselves.
    pub fn new(selector: StageSelector) -> Self {
        Self { selector, auto_promote: false, auto_rollback: None }
    }

    /// They promote by themselves.
    #[must_use]
    pub fn auto_promote(mut self) -> Self {
        self.auto_promote = true;
        self
    }

    /// They go back by themselves.
    #[must_use]
    pub fn auto_rollback(mut self, when: AutoRollback) -> Self {
        self.auto_rollback = Some(when);
        self
    }
}

/// When a stage goes back by itself to the last freight that was verified there.
///
/// It does so once for each promotion that ended badly, never after a rollback that did, and not for one that ended longer ago
/// than [`AutoRollback::within`]. The rollback is a promotion of its own, and holds automatic promotions of that warehouse's
/// freight until a person moves on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoRollback {
    /// The ends of a promotion after which it goes back: [`Phase::Failed`], [`Phase::Errored`].
    #[serde(default)]
    pub on_promotion: BTreeSet<Phase>,
    /// The ends of a verification after which it goes back: [`Phase::Failed`], [`Phase::Errored`], [`Phase::Inconclusive`].
    #[serde(default)]
    pub on_verification: BTreeSet<Phase>,
    /// For how long after the bad end. Default: 20 minutes, Kargo's.
    #[serde(default = "AutoRollback::twenty_minutes")]
    pub within: Duration,
}

impl AutoRollback {
    /// After a verification that failed: Kargo's default.
    pub fn on_failed_verification() -> Self {
        Self {
            on_promotion: BTreeSet::new(),
            on_verification: BTreeSet::from([Phase::Failed]),
            within: Self::twenty_minutes(),
        }
    }

    /// After a promotion or a verification that failed, or ended by an error.
    pub fn on_any_failure() -> Self {
        let bad = BTreeSet::from([Phase::Failed, Phase::Errored]);
        Self { on_promotion: bad.clone(), on_verification: bad, within: Self::twenty_minutes() }
    }

    fn twenty_minutes() -> Duration {
        Duration::from_secs(20 * 60)
    }
}

/// Selects stages by name and labels; what is given must all match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageSelector {
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<StagePattern>,
    /// Labels and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Demands on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelRequirement>,
}

impl StageSelector {
    /// Every stage.
    pub fn all() -> Self {
        Self::default()
    }

    /// The stages of this name: a name, `glob:` with a pattern, or `regex:` with a regular expression, as in Kargo.
    pub fn name(pattern: impl Into<StagePattern>) -> Self {
        Self { name: Some(pattern.into()), ..Self::default() }
    }

    /// Those with this label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.match_labels.insert(key.into(), value.into());
        self
    }

    /// Those whose labels meet `requirement`.
    #[must_use]
    pub fn require(mut self, requirement: LabelRequirement) -> Self {
        self.match_expressions.push(requirement);
        self
    }

    /// A matcher, or why its pattern cannot be used.
    pub(crate) fn matcher(&self) -> Result<impl Fn(&Stage) -> bool + '_, String> {
        let name = self.name.as_ref().map(StagePattern::matcher).transpose()?;
        Ok(move |stage: &Stage| {
            name.as_ref().is_none_or(|matches| matches(stage.name()))
                && self.match_labels.iter().all(|(key, value)| stage.labels().get(key) == Some(value))
                && self.match_expressions.iter().all(|requirement| requirement.is_met(stage.labels()))
        })
    }
}

/// A stage's name, or a pattern for names. Written as text: `prod`, `glob:prod-*`, `regex:^prod-`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StagePattern(String);

type Matcher = Box<dyn Fn(&StageName) -> bool + Send + Sync>;

impl StagePattern {
    /// The name, when it is no pattern.
    pub(crate) fn exact(&self) -> Option<&str> {
        (!self.0.contains(':')).then_some(&self.0)
    }

    fn matcher(&self) -> Result<Matcher, String> {
        match self.0.split_once(':') {
            None => {
                let name = self.0.clone();
                Ok(Box::new(move |stage| *stage == *name))
            }
            Some(("glob", pattern)) => {
                let glob = globset::GlobBuilder::new(pattern).build().map_err(|error| error.to_string())?;
                let glob = glob.compile_matcher();
                Ok(Box::new(move |stage| glob.is_match(stage.as_str())))
            }
            Some(("regex" | "regexp", pattern)) => {
                let limited = regex::RegexBuilder::new(pattern).size_limit(1 << 20).build();
                let regex = limited.map_err(|error| error.to_string())?;
                Ok(Box::new(move |stage| regex.is_match(stage.as_str())))
            }
            Some((other, _)) => Err(format!("there is no kind of pattern {other:?}; write glob: or regex:")),
        }
    }
}

impl<T: Into<String>> From<T> for StagePattern {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Display for StagePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A demand on one label, as Kubernetes' selectors have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operator")]
pub enum LabelRequirement {
    /// The label has one of these values.
    In {
        /// The label.
        key: String,
        /// The values.
        values: Vec<String>,
    },
    /// The label has none of these values, or is not there.
    NotIn {
        /// The label.
        key: String,
        /// The values.
        values: Vec<String>,
    },
    /// The label is there.
    Exists {
        /// The label.
        key: String,
    },
    /// The label is not there.
    DoesNotExist {
        /// The label.
        key: String,
    },
}

impl LabelRequirement {
    fn is_met(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In { key, values } => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn { key, values } => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists { key } => labels.contains_key(key),
            Self::DoesNotExist { key } => !labels.contains_key(key),
        }
    }
}
