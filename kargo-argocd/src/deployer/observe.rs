//! How applications are, outside any deployment.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use kargo_core::plugin::{Context, Health, Observation, Relation};
use kargo_core::{ErrorKind, Result, Revision};

use super::find::missing;
use super::{AT_ONCE, ArgoCd, place, target};
use crate::client::{AppRef, Refresh, Snapshot, is_missing};
use crate::config::ArgoCdApp;
use crate::judge::{Wanted, observe};

/// The sources of applications for which a later step has asked for something else.
#[derive(Debug, Default)]
pub(crate) struct TakenOver {
    /// Where the server has the application, and the index.
    places: BTreeSet<((Option<String>, String), usize)>,
    /// Whether there may be more of them, since one could not be looked at.
    pub(crate) unsure: bool,
}

impl TakenOver {
    pub(crate) fn insert(&mut self, place: (Option<String>, String), source: usize) {
        self.places.insert((place, source));
    }

    pub(crate) fn holds(&self, place: &(Option<String>, String), source: usize) -> bool {
        self.places.contains(&(place.clone(), source))
    }
}

impl ArgoCd {
    /// What later steps have taken over.
    pub(super) async fn taken_over(&self, cx: &Context, later: &[ArgoCdApp]) -> TakenOver {
        let mut taken = TakenOver::default();
        for config in later {
            let found = match &config.selector {
                None => self.get(cx, &config.reference()).await.map(|found| vec![found]),
                Some(selector) => self.list(cx, &config.search(selector), false).await,
            };
            taken.unsure |= found.is_err();
            for snapshot in found.unwrap_or_default() {
                let pins = target::pins(config, &snapshot.app).unwrap_or_default();
                let source = target::source(config, &snapshot.app).ok();
                for at in source.into_iter().chain(pins.iter().map(|(at, _)| at)) {
                    taken.insert(place(&snapshot), at);
                }
            }
        }
        taken
    }

    /// All applications as one: the worst health, and every one's reason in the order of the configuration.
    pub(crate) async fn observe_all(
        &self,
        cx: &Context,
        apps: &[ArgoCdApp],
        revision: Option<&Revision>,
        taken: &TakenOver,
    ) -> Result<Observation> {
        let mut seen = Vec::new();
        for config in apps {
            let wanted = config.revision.as_deref().map(Revision::from).or_else(|| revision.cloned());
            let targets: Vec<(AppRef, Option<Snapshot>)> = match &config.selector {
                None => vec![(config.reference(), None)],
                Some(selector) => {
                    let found = self.list(cx, &config.search(selector), false).await?;
                    found.into_iter().map(|found| (AppRef::of(&found.app), Some(found))).collect()
                }
            };
            if targets.is_empty() {
                let detail = format!(
                    "no application has the labels {}",
                    config.selector.as_ref().map(ToString::to_string).unwrap_or_default()
                );
                seen.push((String::new(), Ok(Observation::new(None, Health::Unknown, detail))));
            }
            let wanted = wanted.as_ref();
            let looks = targets.into_iter().map(|(app, snapshot)| async move {
                let snapshot = match snapshot {
                    Some(snapshot) => Ok(snapshot),
                    None => self.get(cx, &app).await.map_err(|error| match is_missing(&error) {
                        true => missing(&app, config, error),
                        false => error,
                    }),
                };
                let observation = match snapshot {
                    Ok(snapshot) => self.observe_one(cx, &app, config, snapshot, (wanted, taken)).await,
                    Err(error) => Err(error),
                };
                (app.to_string(), observation)
            });
            seen.extend(stream::iter(looks).buffered(AT_ONCE).collect::<Vec<_>>().await);
        }
        merge(seen)
    }

    async fn observe_one(
        &self,
        cx: &Context,
        app: &AppRef,
        config: &ArgoCdApp,
        snapshot: Snapshot,
        (revision, taken): (Option<&Revision>, &TakenOver),
    ) -> Result<Observation> {
        let source = target::source(config, &snapshot.app)?;
        let here = place(&snapshot);
        let is_ours = |at: usize| !taken.holds(&here, at);
        let revision = revision.filter(|_| is_ours(source));
        let pins = target::pins(config, &snapshot.app)?.only(is_ours);
        let held = Held { revision, pins: &pins, unsure: taken.unsure };
        let mut observation = observe(&snapshot.app, source);
        if observation.health == Health::Unhealthy
            && let Some((what, runs)) = self.aborted(cx, app, &snapshot.app).await
        {
            observation.revision = runs;
            observation.detail.push_str(&format!("; {what}"));
        }
        if observation.health != Health::Unknown {
            return self.against(cx, &snapshot, observation, &held).await;
        }
        // One comparison may be all that is missing.
        let read = async { Ok(self.read(cx, app, Refresh::Normal).await) };
        match cx.guard("refresh the application", read).await? {
            Ok(snapshot) => self.against(cx, &snapshot, observe(&snapshot.app, source), &held).await,
            Err(error) if error.kind() == ErrorKind::Timeout => Ok(observation),
            Err(error) => Err(error),
        }
    }

    /// An application that does well, and does not run what was promoted, is not well.
    async fn against(
        &self,
        cx: &Context,
        snapshot: &Snapshot,
        seen: Observation,
        &Held { revision, pins, unsure }: &Held<'_>,
    ) -> Result<Observation> {
        if seen.health >= Health::Unknown {
            return Ok(seen);
        }
        let mut pairs: Vec<(Revision, Revision)> = Vec::new();
        if let (Some(wanted), None, Some(_)) = (revision, &seen.revision, &snapshot.app.spec.source_hydrator) {
            let detail = format!(
                "of which revision its manifests are rendered is not known, where {wanted} is wanted; {}",
                seen.detail
            );
            return Ok(Observation::new(None, Health::Unknown, detail));
        }
        let own = revision.map(|wanted| (seen.revision.clone(), wanted));
        let pinned = pins.iter().map(|(source, wanted)| (observe(&snapshot.app, source).revision, wanted));
        for (runs, wanted) in own.into_iter().chain(pinned) {
            match runs {
                Some(runs) => pairs.push((runs, wanted.clone())),
                // As where no history is kept.
                None => {
                    let detail =
                        format!("which revision it runs is not known, where {wanted} is wanted; {}", seen.detail);
                    return Ok(Observation::new(seen.revision, Health::Unknown, detail));
                }
            }
        }
        for (runs, wanted) in pairs {
            if crate::judge::same_revision(runs.as_str(), wanted.as_str()) {
                continue;
            }
            let (health, why) = match self.relate(cx, &runs, &wanted).await? {
                Relation::Same | Relation::Later => continue,
                Relation::Earlier | Relation::Diverged if unsure => (
                    Health::Unknown,
                    "which a later step, whose applications cannot be looked at, may have asked for in place of",
                ),
                Relation::Earlier | Relation::Diverged => (Health::Unhealthy, "which does not hold what was promoted"),
                _ => (Health::Unknown, "and whether that holds what was promoted is not known"),
            };
            let detail = format!("it runs another revision, {runs}, {why}: {wanted}; {}", seen.detail);
            return Ok(Observation::new(seen.revision, health, detail));
        }
        Ok(seen)
    }
}

/// What an application is held against.
struct Held<'a> {
    revision: Option<&'a Revision>,
    pins: &'a Wanted,
    /// Whether a later step may have asked for something else, of which nothing is known.
    unsure: bool,
}

/// The only one as it is; of several the worst health, with each one's name before its reason. One that cannot be looked at is not known,
/// and hides no other that is unhealthy.
fn merge(mut seen: Vec<(String, Result<Observation>)>) -> Result<Observation> {
    if seen.is_empty() {
        return Ok(Observation::new(None, Health::Unknown, "there is no application to look at"));
    }
    if seen.len() == 1 {
        return seen.remove(0).1;
    }
    let (mut health, mut revision, mut details) = (Health::Healthy, None, Vec::new());
    for (app, observation) in seen {
        let one = observation.unwrap_or_else(|error| Observation::new(None, Health::Unknown, error.report()));
        health = health.max(one.health);
        revision = revision.or(one.revision);
        // Hundreds may be well, and only those that are not are of interest.
        if one.health != Health::Healthy {
            details.push(if app.is_empty() { one.detail } else { format!("{app}: {}", one.detail) });
        }
    }
    let detail = if details.is_empty() { "all applications are healthy".to_owned() } else { super::some(&details) };
    Ok(Observation::new(revision, health, detail))
}

#[cfg(test)]
mod tests {
    use kargo_core::Error;

    use super::*;

    #[test]
    fn without_an_application_nothing_is_healthy() {
        assert_eq!(merge(Vec::new()).unwrap().health, Health::Unknown);
    }

    fn seen(app: &str, health: Health, detail: &str) -> (String, Result<Observation>) {
        (app.into(), Ok(Observation::new(Some("r1".into()), health, detail)))
    }

    #[test]
    fn several_have_the_worst_health_and_the_reasons_of_those_that_are_not_well() {
        let all = || {
            vec![
                seen("a", Health::Healthy, "fine"),
                seen("b", Health::Unhealthy, "no pods"),
                seen("c", Health::Progressing, "soon"),
            ]
        };
        let merged = merge(all()).unwrap();
        assert_eq!((merged.health, merged.detail.as_str()), (Health::Unhealthy, "b: no pods; c: soon"));
        assert_eq!(merge(all()).unwrap(), merged, "the same state has the same words");
    }

    #[test]
    fn one_that_cannot_be_looked_at_does_not_hide_an_unhealthy_one() {
        let lost = ("a".to_owned(), Err(Error::new(ErrorKind::Unavailable, "The server is down.")));
        let merged = merge(vec![lost, seen("b", Health::Unhealthy, "no pods")]).unwrap();
        assert_eq!(merged.health, Health::Unhealthy);
        assert!(merged.detail.contains("server is down") && merged.detail.contains("no pods"), "{}", merged.detail);
    }
}
