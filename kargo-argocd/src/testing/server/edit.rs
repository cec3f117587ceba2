//! Edits of an application: patches of its annotations and sources.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::super::Shared;
use super::super::render::application;
use super::{error, hidden, key, show};
use crate::client::{Source, SourceHydrator, Spec};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    patch: String,
    patch_type: String,
    project: Option<String>,
    app_namespace: Option<String>,
}

/// A JSON patch; of its operations those that this crate sends.
#[derive(Deserialize)]
struct Change {
    op: String,
    path: String,
    value: Value,
}

pub(super) async fn patch(State(shared): State<Arc<Shared>>, Path(name): Path<String>, body: Bytes) -> Response {
    let body: Body = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(fault) => return error(400, 3, fault.to_string()),
    };
    let key = key(body.app_namespace.as_deref(), &name);
    if let Some(answer) = hidden(&shared, &key, body.project.as_deref()) {
        return answer;
    }
    let changes: Vec<Change> = match (body.patch_type.as_str(), serde_json::from_str(&body.patch)) {
        ("json", Ok(changes)) => changes,
        (other, _) => return error(400, 3, format!("Patch type '{other}' is not supported, or not such a patch")),
    };
    let now = shared.clock.now();
    {
        let mut world = shared.world();
        if let Some(left) = world.edit_conflicts.get_mut(&key).filter(|left| **left > 0) {
            *left -= 1;
            return error(
                409,
                10,
                "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version",
            );
        }
        let before = world.edited_before.remove(&key);
        let Some(mut app) = world.apps.remove(&key) else { return error(404, 5, "not found") };
        if let Some(before) = before {
            before(&mut app.spec);
            world.changed(&mut app);
        }
        let edited = apply(application(&app), &changes);
        let sources = edited.and_then(|edited| {
            let spec: Spec = serde_json::from_value(edited["spec"].clone()).map_err(|fault| fault.to_string())?;
            Ok((spec.effective_sources().to_vec(), spec.source_hydrator))
        });
        let answer = sources.map(|(sources, hydrator): (Vec<Source>, Option<SourceHydrator>)| {
            (app.spec.sources, app.spec.hydrator) = (sources, hydrator);
            if app.spec.application_set.is_some() {
                app.regenerate_at = Some(super::super::world::later(now, world.timings.notice));
            }
            // An edit makes the controller compare at once.
            app.compare_at = app.compare_at.min(now);
            world.changed(&mut app);
        });
        world.apps.insert(key.clone(), app);
        if let Err(fault) = answer {
            return error(500, 2, format!("error applying patch: {fault}"));
        }
        world.advance(now);
    }
    shared.changed.notify_one();
    show(&shared, &key)
}

fn apply(mut object: Value, changes: &[Change]) -> Result<Value, String> {
    for change in changes {
        if change.op == "test" {
            if object.pointer(&change.path) != Some(&change.value) {
                return Err(format!("testing value {} failed: test failed", change.path));
            }
            continue;
        }
        let (parent, field) = change.path.rsplit_once('/').ok_or("no such path")?;
        let parent = object.pointer_mut(parent).and_then(Value::as_object_mut);
        let parent =
            parent.ok_or_else(|| format!("add operation does not apply: doc is missing path: {}", change.path))?;
        match change.op.as_str() {
            "add" | "replace" => parent.insert(field.to_owned(), change.value.clone()),
            other => return Err(format!("Unexpected kind: {other}")),
        };
    }
    Ok(object)
}
