//! Bitbucket Cloud's REST API, as <https://developer.atlassian.com/cloud/bitbucket/rest/> has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::serve::{Reply, Request, behind, newest_first, number, page_of};
use super::world::{Method, Obstacle, Pull, State, World};
use super::{NAME, OWNER, Shared, TOKEN, USER};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    branch: Named,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    title: String,
    #[serde(default)]
    description: String,
    source: End,
    destination: End,
    #[serde(default, rename = "close_source_branch")]
    _close_source_branch: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    #[serde(default, rename = "close_source_branch")]
    _close_source_branch: bool,
    merge_strategy: Option<String>,
}

fn no(status: u16, message: &str) -> Reply {
    Reply::new(status, json!({"type": "error", "error": {"message": message}}))
}

fn shown(world: &World, pull: &Pull, request: &Request) -> Value {
    let state = match pull.state {
        State::Open => "OPEN",
        State::Merged => "MERGED",
        State::Closed => "DECLINED",
    };
    let owner = if pull.from_fork { "stranger" } else { OWNER };
    let end = |branch: &str, commit: Option<&String>, owner: &str| {
        // As they are shown: the first twelve digits.
        let commit = commit.map(|id| json!({"hash": &id[..12]}));
        json!({"branch": {"name": branch}, "commit": commit, "repository": {"full_name": format!("{owner}/{NAME}")}})
    };
    json!({
        "type": "pullrequest",
        "id": pull.number,
        "state": state,
        "draft": pull.draft,
        "title": pull.title,
        "description": pull.body,
        "source": end(&pull.source, Some(&pull.head), owner),
        "destination": end(&pull.target, world.branches.get(&pull.target), OWNER),
        "merge_commit": pull.merge_commit.as_ref().map(|id| json!({"hash": &id[..12]})),
        "links": {"html": {"href": page_of(request, pull.number)}},
    })
}

/// A condition of the query language.
fn filter(field: &str, name: &str) -> String {
    format!("{field} = \"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The commit that an id, or its first digits, names.
fn find<'a>(world: &'a World, id: &str) -> Option<&'a super::world::Commit> {
    world.commits.values().find(|commit| id.len() >= 7 && commit.id.starts_with(id))
}

pub(super) fn answer(world: &mut World, request: &Request, _: &Shared) -> Result<Reply, Reply> {
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{TOKEN}")));
    let bearer = format!("Bearer {TOKEN}");
    if !request.header("authorization").is_some_and(|value| value == basic || value == bearer) {
        return Err(no(401, "Token is invalid, expired, or not supported for this endpoint."));
    }
    let missing = || no(404, "Resource not found");
    let path = behind(request, &["2.0", "repositories", OWNER, NAME]).ok_or_else(missing)?;
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["refs", "branches"]) => {
            request.only(&["q", "sort", "pagelen", "page"])?;
            let named = |name: &str| request.query("q") == Some(&filter("name", name));
            let found = world.branches.keys().filter(|name| named(name)).filter_map(|name| {
                let commit = world.resolve(name)?;
                Some(json!({"name": name, "target": {"hash": commit.id, "message": commit.message}}))
            });
            Ok(Reply::ok(json!({"values": found.collect::<Vec<_>>()})))
        }
        ("GET", ["commit", id]) => {
            let commit = find(world, id).ok_or_else(missing)?;
            Ok(Reply::ok(json!({"hash": commit.id, "message": commit.message})))
        }
        ("GET", ["diffstat", spec]) => {
            request.only(&["topic", "pagelen"])?;
            let found = spec.split_once("..").and_then(|(new, old)| Some((find(world, new)?, find(world, old)?)));
            let (new, old) = found.ok_or_else(missing)?;
            let changed = world.changed(&new.id, &old.id, request.query("topic") == Some("true"));
            let values: Vec<Value> = changed.into_iter().map(|path| json!({"new": {"path": path}})).collect();
            Ok(Reply::ok(json!({"size": values.len(), "values": values})))
        }
        ("GET", ["pullrequests"]) => list(world, request),
        ("POST", ["pullrequests"]) => open(world, request),
        ("GET", ["pullrequests", n]) => {
            let pull = world.look(number(n)).ok_or_else(missing)?;
            Ok(Reply::ok(shown(world, &pull, request)))
        }
        ("POST", ["pullrequests", n, "decline"]) => {
            let pull = world.pull(number(n)).ok_or_else(missing)?.clone();
            if pull.state != State::Open {
                return Err(no(400, "This pull request is already closed."));
            }
            world.close(pull.number);
            let pull = world.pull(pull.number).ok_or_else(missing)?;
            Ok(Reply::ok(shown(world, pull, request)))
        }
        ("POST", ["pullrequests", n, "merge"]) => merge(world, request, number(n)),
        ("GET", ["pullrequests", n, "merge", "task-status", _]) => {
            let pull = world.look(number(n)).ok_or_else(missing)?;
            match pull.state {
                State::Merged => {
                    Ok(Reply::ok(json!({"task_status": "SUCCESS", "merge_result": shown(world, &pull, request)})))
                }
                _ if pull.merging.is_some() => Ok(Reply::ok(json!({"task_status": "PENDING"}))),
                _ => Err(no(409, "There are merge conflicts.")),
            }
        }
        _ => Err(missing()),
    }
}

fn list(world: &World, request: &Request) -> Result<Reply, Reply> {
    request.only(&["q", "state", "sort", "pagelen", "page"])?;
    let pulls = newest_first(world).into_iter().filter(|pull| {
        let branches = [filter("source.branch.name", &pull.source), filter("destination.branch.name", &pull.target)];
        request.query("q") == Some(&branches.join(" AND "))
    });
    let (pulls, next) = request.page(pulls.collect(), request.number("pagelen", 10), 50);
    let values: Vec<Value> = pulls.iter().map(|pull| shown(world, pull, request)).collect();
    let mut body = json!({ "values": values });
    if let Some(next) = next {
        body["next"] = next.replace(' ', "%20").replace('"', "%22").into();
    }
    Ok(Reply::ok(body))
}

fn open(world: &mut World, request: &Request) -> Result<Reply, Reply> {
    let new: Open = request.body()?;
    let (source, target) = (&new.source.branch.name, &new.destination.branch.name);
    let ends = world.branches.get(source).zip(world.branches.get(target));
    let (head, base) = ends.ok_or_else(|| no(400, "source.branch.name: branch not found"))?;
    if world.ahead(head, base) == 0 {
        return Err(no(400, "There are no changes to be pulled"));
    }
    // A second one for the same branches becomes the first one.
    let number = match world.is_open(source, target) {
        Some(number) => {
            if let Some(pull) = world.pull_mut(number) {
                (pull.title, pull.body) = (new.title.clone(), new.description.clone());
            }
            number
        }
        None => {
            world.open(source, target, &new.title, &new.description).ok_or_else(|| no(404, "Resource not found"))?
        }
    };
    let pull = world.pull(number).ok_or_else(|| no(404, "Resource not found"))?;
    Ok(Reply::new(201, shown(world, pull, request)))
}

fn merge(world: &mut World, request: &Request, number: u64) -> Result<Reply, Reply> {
    let merge: Merge = request.body()?;
    let strategy = merge.merge_strategy.as_deref().unwrap_or("merge_commit");
    if world.forbidden_method.as_deref() == Some(strategy) {
        return Err(no(400, &format!("The merge strategy {strategy} is not allowed on this branch.")));
    }
    let method = match strategy {
        "merge_commit" | "rebase_merge" => Method::Merge,
        "squash" | "squash_fast_forward" | "rebase_fast_forward" => Method::Squash,
        "fast_forward" => Method::FastForward,
        _ => return Err(no(400, "merge_strategy: not a valid strategy")),
    };
    match world.merge(number, method, None) {
        Ok(Some(_)) => {
            let pull = world.pull(number).ok_or_else(|| no(404, "Resource not found"))?;
            Ok(Reply::ok(shown(world, pull, request)))
        }
        Ok(None) => {
            let at =
                format!("{}/2.0/repositories/{OWNER}/{NAME}/pullrequests/{number}/merge/task-status/1", request.origin);
            Ok(Reply::empty(202).header("location", at))
        }
        Err(Obstacle::Conflict) => Err(no(409, "There are merge conflicts.")),
        Err(Obstacle::Required(what)) => Err(no(400, &format!("2 failed merge checks: {what}"))),
        Err(Obstacle::NotOpen) => Err(no(400, "This pull request is already closed.")),
        Err(_) => Err(no(400, "This pull request cannot be merged now.")),
    }
}
