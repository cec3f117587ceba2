//! What an application's sources become, and which revisions they should be at.

use kargo_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use super::super::config::SourceUpdate;
use crate::client::{Application, Edit, Source};
use crate::deployer::is_repository;
use crate::judge::Wanted;
use crate::scrub::without_userinfo;

/// What is to be done with one application.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// The revisions that its sources should be at.
    pub(super) wanted: Wanted,
    /// The change of its sources; empty when they are as they should be.
    pub(super) edit: Edit,
}

impl Plan {
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when an update meets no source.
    pub(super) fn of(app: &Application, updates: &[SourceUpdate]) -> Result<Self> {
        let sources = app.spec.written_sources();
        let meets =
            |source: &Source, update: &SourceUpdate| is_repository(source, &update.repo_url, update.chart.as_deref());
        if let Some(lost) = updates.iter().find(|update| !sources.iter().any(|source| meets(source, update))) {
            let chart = lost.chart.as_ref().map(|chart| format!(" with the chart {chart}")).unwrap_or_default();
            let url = without_userinfo(&lost.repo_url);
            let text = format!(
                "Application {} has no source in the repository {url}{chart} that is to be updated.",
                app.metadata.name
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let is_rendered = app.spec.source_hydrator.is_some();
        if is_rendered && updates.iter().any(|update| update.kustomize.is_some() || update.helm.is_some()) {
            // Argo CD does not render a revision again for other settings alone, and would call the old manifests theirs.
            let text = format!(
                "Application {} is rendered ahead by Argo CD's source hydrator, which does not render a revision anew for other images; write \
                 them to the repository, and give `desiredRevision`.",
                app.metadata.name
            );
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        let (mut wanted, mut edit) = (Wanted::anything(), Edit::default());
        for (index, source) in sources.iter().enumerate() {
            let mine = || updates.iter().filter(|update| meets(source, update));
            // A source that only lends its files may be shown at an old revision, or at a name, unless it is all that there is.
            let counts = !source.is_reference_only() || sources.len() == 1;
            if let Some(desired) = mine().find_map(SourceUpdate::desired).filter(|_| counts) {
                wanted = wanted.at(index, desired.as_str());
            }
            let next = mine().fold(source.clone(), updated);
            let at = match app.spec.sources.is_empty() {
                _ if is_rendered => "/spec/sourceHydrator/drySource".to_owned(),
                true => "/spec/source".to_owned(),
                false => format!("/spec/sources/{index}"),
            };
            edit = edit.and(difference(&at, source, &next));
        }
        Ok(Self { wanted, edit })
    }
}

fn field<'a>(source: &'a Source, tool: &str, name: &str) -> Option<&'a Value> {
    source.rest.get(tool)?.get(name)
}

/// Sets one field of a tool's settings and leaves the others.
fn set(source: &mut Source, tool: &str, name: &str, value: Value) {
    let settings = source.rest.entry(tool.to_owned()).or_insert(Value::Null);
    if !settings.is_object() {
        *settings = Value::Object(Map::new());
    }
    settings[name] = value;
}

/// The source after an update. Kustomize's images are replaced as a list, Helm's parameters one by one.
fn updated(mut source: Source, update: &SourceUpdate) -> Source {
    if let Some(desired) = update.desired().filter(|_| update.update_target_revision) {
        source.target_revision = Some(desired.clone());
    }
    if let Some(kustomize) = &update.kustomize {
        let images = kustomize.images.iter().map(|image| image.text().into()).collect();
        set(&mut source, "kustomize", "images", Value::Array(images));
    }
    if let Some(helm) = &update.helm {
        let mut parameters =
            field(&source, "helm", "parameters").and_then(Value::as_array).cloned().unwrap_or_default();
        for image in &helm.images {
            match parameters.iter_mut().find(|parameter| parameter["name"] == image.key.as_str()) {
                Some(known) => known["value"] = image.value.as_str().into(),
                None => parameters.push(json!({"name": image.key, "value": image.value})),
            }
        }
        set(&mut source, "helm", "parameters", Value::Array(parameters));
    }
    source
}

/// The edit that makes `next` of `now`: only the fields that change, and only if the source is still that one.
fn difference(at: &str, now: &Source, next: &Source) -> Edit {
    let mut edit = Edit::default().expect(format!("{at}/repoURL"), now.repo_url.as_str());
    // Sources of one repository may change their places.
    for (field, value) in [("chart", &now.chart), ("path", &now.path)] {
        if let Some(value) = value {
            edit = edit.expect(format!("{at}/{field}"), value.as_str());
        }
    }
    if now.target_revision != next.target_revision {
        edit = edit.set(format!("{at}/targetRevision"), next.target_revision.clone());
    }
    for (tool, name) in [("kustomize", "images"), ("helm", "parameters")] {
        let (old, new) = (field(now, tool, name), field(next, tool, name));
        let Some(new) = new.filter(|new| Some(*new) != old) else { continue };
        if let Some(old) = old {
            edit = edit.expect(format!("{at}/{tool}/{name}"), old.clone());
        }
        edit = if now.rest.get(tool).is_some_and(Value::is_object) {
            edit.set(format!("{at}/{tool}/{name}"), new.clone())
        } else {
            edit.set(format!("{at}/{tool}"), json!({ name: new }))
        };
    }
    edit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(spec: Value) -> Application {
        serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": spec})).unwrap()
    }

    fn updates(json: Value) -> Vec<SourceUpdate> {
        serde_json::from_value(json).unwrap()
    }

    const REPO: &str = "https://git.example/config.git";

    #[test]
    fn a_desired_revision_is_demanded_however_the_url_is_written() {
        let app = app(json!({"source": {"repoURL": REPO, "targetRevision": "main", "path": "dev"}}));
        let plan =
            Plan::of(&app, &updates(json!([{"repoURL": "https://git.example/config", "desiredRevision": "abc"}])))
                .unwrap();
        assert_eq!(plan.wanted, Wanted::revision("abc"));
        assert!(plan.edit.is_empty(), "the target revision is changed only when that is asked for");
    }

    #[test]
    fn report_12_only_the_fields_that_change_are_written() {
        let helm = json!({"valueFiles": ["a.yaml"], "parameters": [{"name": "image.tag", "value": "1", "forceString": true}, {"name": "b", "value": "2"}]});
        let app = app(json!({"sources": [
            {"repoURL": "https://charts.example", "chart": "shop", "targetRevision": "1.0.0", "helm": helm},
            {"repoURL": REPO, "targetRevision": "main", "ref": "values"},
        ]}));
        let update = json!([{
            "repoURL": "https://charts.example", "chart": "shop", "desiredRevision": "1.1.0", "updateTargetRevision": true,
            "helm": {"images": [{"key": "image.tag", "value": "9"}, {"key": "c", "value": "3"}]},
        }]);
        let plan = Plan::of(&app, &updates(update)).unwrap();
        assert_eq!(plan.wanted, Wanted::revision("1.1.0"));
        let parameters = json!([
            {"name": "image.tag", "value": "9", "forceString": true}, {"name": "b", "value": "2"}, {"name": "c", "value": "3"},
        ]);
        let expected = Edit::default()
            .expect("/spec/sources/0/repoURL", "https://charts.example")
            .expect("/spec/sources/0/chart", "shop")
            .set("/spec/sources/0/targetRevision", "1.1.0")
            .expect("/spec/sources/0/helm/parameters", app.spec.sources[0].rest["helm"]["parameters"].clone())
            .set("/spec/sources/0/helm/parameters", parameters)
            .expect("/spec/sources/1/repoURL", REPO);
        assert_eq!(plan.edit, expected);
    }

    #[test]
    fn kustomize_images_take_the_place_of_those_before() {
        let app = app(json!({"source": {"repoURL": REPO, "path": "dev"}}));
        let update = json!([{"repoURL": REPO, "kustomize": {"images": [{"repoURL": "nginx", "tag": "2"}]}}]);
        let plan = Plan::of(&app, &updates(update)).unwrap();
        let expected = Edit::default()
            .expect("/spec/source/repoURL", REPO)
            .expect("/spec/source/path", "dev")
            .set("/spec/source/kustomize", json!({"images": ["nginx:2"]}));
        assert_eq!(plan.edit, expected);
        assert!(plan.wanted.is_anything());
    }

    #[test]
    fn an_update_that_meets_no_source_is_refused() {
        let app = app(json!({"source": {"repoURL": REPO, "path": "dev"}}));
        let lost = |json: Value| Plan::of(&app, &updates(json)).unwrap_err().message().to_owned();
        assert!(lost(json!([{"repoURL": "https://u:hunter2@git.example/other"}])).contains("***@git.example/other"));
        assert!(lost(json!([{"repoURL": REPO, "chart": "shop"}])).contains("the chart shop"));
    }
}
