//! The REST API of Azure DevOps, as <https://learn.microsoft.com/rest/api/azure/devops/git/> has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::serve::{Reply, Request, behind, newest_first, number};
use super::world::{Method, Obstacle, Pull, State, World};
use super::{NAME, OWNER, Shared, TOKEN};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Open {
    title: String,
    #[serde(default)]
    description: String,
    source_ref_name: String,
    target_ref_name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CommitRef {
    commit_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Options {
    #[serde(default, rename = "deleteSourceBranch")]
    _delete_source_branch: bool,
    merge_strategy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Update {
    status: String,
    last_merge_source_commit: Option<CommitRef>,
    completion_options: Option<Options>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    name: String,
}

fn no(status: u16, message: &str, key: &str) -> Reply {
    Reply::new(status, json!({"$id": "1", "message": message, "typeKey": key, "errorCode": 0, "eventId": 3000}))
}

fn missing() -> Reply {
    no(
        404,
        "TF401019: The Git repository or object does not exist or you do not have permissions for it.",
        "GitObjectNotFoundException",
    )
}

fn shown(world: &World, pull: &Pull, in_full: bool) -> Value {
    let status = match pull.state {
        State::Open => "active",
        State::Merged => "completed",
        State::Closed => "abandoned",
    };
    let merge_status = match world.obstacle(pull) {
        _ if pull.merging.is_some() => "queued",
        Some(Obstacle::Unchecked) => "queued",
        Some(Obstacle::Conflict) => "conflicts",
        // What policies want is not seen in the trial merge.
        _ => "succeeded",
    };
    // Listings cut it off.
    let description: String = if in_full { pull.body.clone() } else { pull.body.chars().take(400).collect() };
    let trial = pull.merge_commit.clone().unwrap_or_else(|| pull.head.chars().rev().collect());
    let mut json = json!({
        "pullRequestId": pull.number,
        "status": status,
        "isDraft": pull.draft,
        "title": pull.title,
        "description": description,
        "sourceRefName": format!("refs/heads/{}", pull.source),
        "targetRefName": format!("refs/heads/{}", pull.target),
        "mergeStatus": merge_status,
        "lastMergeSourceCommit": {"commitId": pull.head},
        "lastMergeCommit": {"commitId": trial},
        "labels": pull.labels.iter().map(|name| json!({"name": name, "active": true})).collect::<Vec<_>>(),
    });
    if let Some(what) = &world.required {
        json["reviewers"] =
            json!([{"displayName": what, "vote": 0, "isRequired": true}, {"displayName": "Others", "vote": 0}]);
    }
    if let Some(closed) = pull.closed {
        json["closedDate"] = closed.to_string().into();
    }
    if pull.from_fork {
        json["forkSource"] = json!({"name": "refs/heads/fork"});
    }
    json
}

pub(super) fn answer(world: &mut World, request: &Request, _: &Shared) -> Result<Reply, Reply> {
    // Anybody's password, when it is the token; who is not known is sent to a page.
    if request.header("authorization") != Some(&format!("Basic {}", STANDARD.encode(format!(":{TOKEN}")))) {
        return Err(Reply::new(203, Value::from("<html>Sign in</html>")).header("content-type", "text/html"));
    }
    if request.query("api-version") != Some("7.1") {
        return Err(no(400, "No api-version was supplied for the request.", "VssVersionNotSpecifiedException"));
    }
    let path = behind(request, &[OWNER, "project", "_apis", "git", "repositories", NAME]).ok_or_else(missing)?;
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["refs"]) => {
            request.only(&["filter", "api-version"])?;
            let filter = format!("refs/{}", request.query("filter").unwrap_or_default());
            let all = world.branches.iter().map(|(name, id)| (format!("refs/heads/{name}"), id));
            let found: Vec<Value> = all
                .filter(|(name, _)| name.starts_with(&filter))
                .map(|(name, id)| json!({"name": name, "objectId": id}))
                .collect();
            Ok(Reply::ok(json!({"count": found.len(), "value": found})))
        }
        ("GET", ["commits", id]) => {
            let commit = world.commits.get(*id).ok_or_else(missing)?;
            Ok(Reply::ok(json!({"commitId": commit.id, "comment": commit.message, "treeId": commit.tree})))
        }
        ("GET", ["diffs", "commits"]) => compare(world, request),
        ("GET", ["pullrequests"]) => list(world, request),
        ("POST", ["pullrequests"]) => open(world, request),
        ("GET", ["pullrequests", n]) => {
            let pull = world.look(number(n)).ok_or_else(missing)?;
            Ok(Reply::ok(shown(world, &pull, true)))
        }
        ("PATCH", ["pullrequests", n]) => update(world, request, number(n)),
        ("POST", ["pullRequests", n, "labels"]) => {
            let label: Label = request.body()?;
            let pull = world.pull_mut(number(n)).ok_or_else(missing)?;
            if !pull.labels.contains(&label.name) {
                pull.labels.push(label.name.clone());
            }
            Ok(Reply::ok(json!({"id": "1", "name": label.name, "active": true})))
        }
        _ => Err(missing()),
    }
}

fn compare(world: &World, request: &Request) -> Result<Reply, Reply> {
    request.only(&[
        "baseVersion",
        "baseVersionType",
        "targetVersion",
        "targetVersionType",
        "diffCommonCommit",
        "$top",
        "api-version",
    ])?;
    let end = |name| request.query(name).and_then(|id| world.commits.get(id)).ok_or_else(missing);
    let (base, target) = (end("baseVersion")?, end("targetVersion")?);
    let changed = world.changed(&target.id, &base.id, request.query("diffCommonCommit") == Some("true"));
    let changes: Vec<Value> =
        changed.iter().take(request.number("$top", 100)).map(|path| json!({"item": {"path": path}})).collect();
    let ahead = world.ahead(&target.id, &base.id);
    Ok(Reply::ok(
        json!({"aheadCount": ahead, "changes": changes, "allChangesIncluded": changes.len() == changed.len()}),
    ))
}

fn list(world: &World, request: &Request) -> Result<Reply, Reply> {
    let known = [
        "searchCriteria.status",
        "searchCriteria.sourceRefName",
        "searchCriteria.targetRefName",
        "$top",
        "$skip",
        "api-version",
    ];
    request.only(&known)?;
    let is = |key: &str, branch: &str| request.query(key).is_none_or(|name| name == format!("refs/heads/{branch}"));
    let found = newest_first(world).into_iter().filter(|pull| {
        let open = request.query("searchCriteria.status") == Some("all") || pull.state == State::Open;
        open && is("searchCriteria.sourceRefName", &pull.source) && is("searchCriteria.targetRefName", &pull.target)
    });
    let page = found.skip(request.number("$skip", 0)).take(request.number("$top", 100).min(1000));
    let page: Vec<Value> = page.map(|pull| shown(world, &pull, false)).collect();
    Ok(Reply::ok(json!({"count": page.len(), "value": page})))
}

fn open(world: &mut World, request: &Request) -> Result<Reply, Reply> {
    let new: Open = request.body()?;
    if new.description.chars().count() > 4000 {
        return Err(no(400, "A description must not be longer than 4000 characters.", "InvalidArgumentValueException"));
    }
    let names = [&new.source_ref_name, &new.target_ref_name].map(|name| name.strip_prefix("refs/heads/"));
    let [Some(source), Some(target)] = names else {
        return Err(no(
            400,
            "TF401021: The branch names must begin with refs/heads/.",
            "InvalidArgumentValueException",
        ));
    };
    if world.is_open(source, target).is_some() {
        let message = "TF401179: An active pull request for the source and target branch already exists.";
        return Err(no(409, message, "GitPullRequestExistsException"));
    }
    let number = world.open(source, target, &new.title, &new.description).ok_or_else(missing)?;
    let pull = world.pull(number).ok_or_else(missing)?;
    Ok(Reply::new(201, shown(world, pull, true)))
}

fn update(world: &mut World, request: &Request, number: u64) -> Result<Reply, Reply> {
    let update: Update = request.body()?;
    let pull = world.pull(number).ok_or_else(missing)?.clone();
    if pull.state != State::Open {
        let message = "TF401181: The pull request cannot be edited due to its state.";
        return Err(no(400, message, "GitPullRequestNotEditableException"));
    }
    match update.status.as_str() {
        "abandoned" => world.close(number),
        "completed" => {
            let strategy = update.completion_options.and_then(|options| options.merge_strategy);
            let strategy = strategy.as_deref().unwrap_or("noFastForward");
            let refused = "GitPullRequestUpdateRejectedByPolicyException";
            if world.forbidden_method.as_deref() == Some(strategy) {
                return Err(no(
                    403,
                    &format!("A policy of the branch does not allow the merge strategy {strategy}."),
                    refused,
                ));
            }
            let method = match strategy {
                "noFastForward" | "rebaseMerge" => Method::Merge,
                "squash" | "rebase" => Method::Squash,
                _ => {
                    return Err(no(
                        400,
                        "The value of mergeStrategy is out of range.",
                        "InvalidArgumentValueException",
                    ));
                }
            };
            let head = update.last_merge_source_commit.map(|commit| commit.commit_id);
            match world.merge(number, method, head.as_deref()) {
                // What the trial merge finds out comes after the answer.
                Ok(_) | Err(Obstacle::Unchecked | Obstacle::Conflict) => {}
                Err(Obstacle::Required(what)) => {
                    return Err(no(
                        403,
                        &format!("The pull request cannot be completed: policies are not met ({what})."),
                        refused,
                    ));
                }
                Err(Obstacle::HeadMoved) => {
                    let message = "TF401192: The pull request was modified by another process.";
                    return Err(no(409, message, "GitPullRequestStaleException"));
                }
                Err(_) => return Err(no(400, "A draft cannot be completed.", "InvalidArgumentValueException")),
            }
        }
        _ => return Err(no(400, "The value of status is out of range.", "InvalidArgumentValueException")),
    }
    let pull = world.pull(number).ok_or_else(missing)?;
    Ok(Reply::ok(shown(world, pull, true)))
}
