//! What expressions can ask about a promotion, its freight and its project.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value as Json, json};

use super::{StepBefore, Surroundings, short_alias, task_of};
use crate::artifact::{Artifact, normalize_chart_url, normalize_git_url, normalize_image_url};
use crate::engine::Shared;
use crate::error::Result;
use crate::expr::{Fault, FaultKind, Host, Map, Query, Value, kargo};
use crate::name::{FreightId, StageName};
use crate::plugin::{Context, ProjectData};
use crate::promotion::{Phase, PromotionInfo};
use crate::state::FreightState;

/// How many secrets and config maps the expressions of one step may ask for.
const MAX_ASKED: usize = 64;

/// A secret or a config map that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    secret: bool,
    shared: bool,
    name: String,
}

/// The data of the project that has been asked for so far.
#[derive(Debug, Default)]
pub(super) struct Answers {
    secrets: BTreeMap<Asked, BTreeMap<String, SecretString>>,
    config_maps: BTreeMap<Asked, BTreeMap<String, String>>,
}

impl Answers {
    /// Gets what is missing, and says whether anything was.
    pub(super) async fn fetch(
        &mut self,
        cx: &Context,
        info: &PromotionInfo,
        data: Option<&dyn ProjectData>,
        known: Missing,
    ) -> Result<bool> {
        let missing = known.0;
        let there = self.secrets.len() + self.config_maps.len();
        let Some(data) = data.filter(|_| !missing.is_empty() && there + missing.len() <= MAX_ASKED) else {
            return Ok(false);
        };
        for asked in missing {
            let project = &info.pipeline;
            if asked.secret {
                let found = data.secret(cx, project, &asked.name, asked.shared).await?;
                self.secrets.insert(asked, found.unwrap_or_default());
            } else {
                let found = data.config_map(cx, project, &asked.name, asked.shared).await?;
                self.config_maps.insert(asked, found.unwrap_or_default());
            }
        }
        Ok(true)
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = SecretString> {
        self.secrets.values().flat_map(|entries| entries.values().cloned())
    }
}

/// What was asked for and is not there yet.
#[derive(Debug)]
pub(super) struct Missing(BTreeSet<Asked>);

/// Answers expressions.
#[derive(Debug)]
pub(super) struct Known<'a> {
    info: &'a PromotionInfo,
    alias: &'a str,
    before: &'a [StepBefore],
    shared: &'a Shared,
    answers: &'a Answers,
    has_data: bool,
    missing: Mutex<BTreeSet<Asked>>,
}

impl<'a> Known<'a> {
    pub(super) fn new(
        (info, alias): (&'a PromotionInfo, &'a str),
        surroundings: &'a Surroundings,
        answers: &'a Answers,
        has_data: bool,
    ) -> Self {
        let Surroundings { before, shared, .. } = surroundings;
        Self { info, alias, before, shared, answers, has_data, missing: Mutex::default() }
    }

    pub(super) fn missing(&self) -> Missing {
        Missing(std::mem::take(&mut *self.missing.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn data(&self, secret: bool, name: &str, shared: bool) -> std::result::Result<Value, Fault> {
        if !self.has_data {
            let message = "The host of this engine gives expressions no secrets and no config maps; it can, with Plugins::builder().data(…).";
            return Err(Fault::new(FaultKind::Host, message));
        }
        let asked = Asked { secret, shared, name: name.to_owned() };
        let found: Option<BTreeMap<std::sync::Arc<str>, Value>> = if secret {
            let entries = self.answers.secrets.get(&asked);
            entries.map(|entries| {
                entries.iter().map(|(key, value)| (key.as_str().into(), Value::from(value.expose_secret()))).collect()
            })
        } else {
            let entries = self.answers.config_maps.get(&asked);
            entries.map(|entries| {
                entries.iter().map(|(key, value)| (key.as_str().into(), Value::from(value.as_str()))).collect()
            })
        };
        match found {
            Some(entries) => Ok(Value::Map(Map::new(entries)?)),
            None => {
                self.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(asked);
                let what = if secret { "secrets" } else { "config maps" };
                let message = format!("The expressions ask for more than {MAX_ASKED} {what}.");
                Err(Fault::new(FaultKind::Host, message))
            }
        }
    }

    /// What `answer` says of the artifacts of the one piece of freight that has such.
    fn of_one(
        &self,
        what: &str,
        warehouse: Option<&str>,
        answer: impl Fn(&Artifact) -> Option<Value>,
    ) -> std::result::Result<Value, Fault> {
        let mut found: Option<(&str, Value)> = None;
        for freight in self.info.collection.iter() {
            let origin = freight.origin().as_str();
            if warehouse.is_some_and(|warehouse| warehouse != origin) {
                continue;
            }
            let whose = format!("Freight of the warehouse {origin:?}");
            let way = "subscribe to each in a warehouse of its own, and name that as the last argument, as in warehouse(\"other\")";
            let one = kargo::of_only_one(freight.artifacts(), (what, &whose, way), &answer)?;
            let Some(value) = one else { continue };
            if let Some((other, _)) = found {
                return Err(Fault::new(
                    FaultKind::Value,
                    format!(
                        "Freight of several warehouses has {what}; say which is meant, as in warehouse({other:?}) or warehouse({origin:?}), as the last argument."
                    ),
                ));
            }
            found = Some((origin, value));
        }
        Ok(found.map_or(Value::Nil, |(_, value)| value))
    }

    /// What `look` sees of freight, by its id.
    fn of_freight(&self, id: &str, look: impl Fn(&FreightState) -> Option<Json>) -> std::result::Result<Value, Fault> {
        let found = self.shared.read(|state| look(state.freight_by_id(&FreightId::from(id))?));
        found.map_or(Ok(Value::Nil), |found| Value::from_json(&found))
    }

    fn is_failed(step: &StepBefore) -> bool {
        step.counts && matches!(step.phase, Phase::Failed | Phase::Errored | Phase::Inconclusive)
    }
}

/// Where freight stands, with the names that Kargo has for it.
fn status(known: &FreightState) -> Json {
    let of = |entries: Vec<(String, Json)>| Json::Object(entries.into_iter().collect());
    let verified = known.verified().iter().map(|(stage, verified)| {
        let longest = known.presence().get(stage).map(|presence| presence.longest).filter(|longest| !longest.is_zero());
        let soak = longest.map(|longest| json!({ "longestSoak": format!("{}s", longest.as_secs()) }));
        let mut entry = json!({ "verifiedAt": verified.at });
        if let (Some(entry), Some(Json::Object(soak))) = (entry.as_object_mut(), soak) {
            entry.extend(soak);
        }
        (stage.to_string(), entry)
    });
    let running = known.presence().iter().filter_map(|(stage, presence)| Some((stage, presence.since?)));
    let approved = known.approved().iter();
    json!({
        "currentlyIn": of(running.map(|(stage, since)| (stage.to_string(), json!({ "since": since }))).collect()),
        "verifiedIn": of(verified.collect()),
        "approvedFor": of(approved.map(|(stage, by)| (stage.to_string(), json!({ "approvedAt": by.at }))).collect()),
        "metadata": known.metadata().cloned().unwrap_or_default(),
    })
}

impl Host for Known<'_> {
    fn answer(&self, query: Query<'_>) -> std::result::Result<Value, Fault> {
        match query {
            Query::Secret { name, shared } => self.data(true, name, shared),
            Query::ConfigMap { name, shared } => self.data(false, name, shared),
            Query::Commit { repo_url, warehouse } => {
                let wanted = normalize_git_url(repo_url);
                self.of_one(&format!("a commit of {repo_url:?}"), warehouse, |artifact| match artifact {
                    Artifact::Commit(found) if normalize_git_url(&found.repo_url) == wanted => {
                        let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
                        let fields = kargo::CommitFields {
                            repo_url: &found.repo_url,
                            id: &found.id,
                            branch: &text(&found.branch),
                            tag: &text(&found.tag),
                            message: &text(&found.message),
                            author: &text(&found.author),
                            subscription_name: artifact.subscription_name().unwrap_or_default(),
                            ..kargo::CommitFields::default()
                        };
                        Some(kargo::commit(&fields).into())
                    }
                    _ => None,
                })
            }
            Query::Image { repo_url, warehouse } => {
                let wanted = normalize_image_url(repo_url);
                self.of_one(&format!("an image of {repo_url:?}"), warehouse, |artifact| match artifact {
                    Artifact::Image(found) if normalize_image_url(&found.repo_url) == wanted => {
                        let (annotations, name) =
                            (found.annotations.clone(), artifact.subscription_name().unwrap_or_default());
                        Some(kargo::image(&found.repo_url, &found.tag, &found.digest, annotations, name).into())
                    }
                    _ => None,
                })
            }
            Query::Chart { repo_url, name, warehouse } => {
                let wanted = normalize_chart_url(repo_url);
                self.of_one(&format!("a chart of {repo_url:?}"), warehouse, |artifact| match artifact {
                    Artifact::Chart(found)
                        if normalize_chart_url(&found.repo_url) == wanted
                            && name.is_none_or(|name| name == found.name) =>
                    {
                        let subscription = artifact.subscription_name().unwrap_or_default();
                        Some(kargo::chart(&found.repo_url, &found.name, &found.version, subscription).into())
                    }
                    _ => None,
                })
            }
            Query::Artifact { subscription, warehouse } => {
                let nothing = serde_json::Value::Object(serde_json::Map::new());
                self.of_one(&format!("an artifact of subscription {subscription:?}"), warehouse, |artifact| {
                    match artifact {
                        Artifact::Generic(found) if found.subscription_name == subscription => {
                            let metadata = if found.metadata.is_object() { &found.metadata } else { &nothing };
                            // Too deep a value cannot be: it came through the journal.
                            let Ok(Value::Map(metadata)) = Value::from_json(metadata) else { return None };
                            Some(kargo::artifact(&found.artifact_type, subscription, &found.version, metadata).into())
                        }
                        _ => None,
                    }
                })
            }
            Query::Failure => Ok(Value::Bool(self.before.iter().any(Self::is_failed))),
            Query::Status { alias } => {
                let of_task = task_of(self.alias);
                let found = self
                    .before
                    .iter()
                    .find(|step| task_of(&step.alias) == of_task && short_alias(&step.alias) == alias);
                Ok(Value::from(found.map(|step| step.phase.to_string()).unwrap_or_default()))
            }
            Query::FreightMetadata { freight } => {
                self.of_freight(freight, |known| known.metadata().map(|entries| Json::Object(entries.clone())))
            }
            Query::FreightStatus { freight } => self.of_freight(freight, |known| Some(status(known))),
            Query::StageMetadata { stage } => {
                let found =
                    self.shared.read(|state| state.stage(&StageName::from(stage))?.metadata.as_deref().cloned());
                found.map_or(Ok(Value::Nil), |entries| Value::from_json(&Json::Object(entries)))
            }
            // Steps and verifiers have no function that asks for anything else.
            _ => Ok(Value::Nil),
        }
    }
}
