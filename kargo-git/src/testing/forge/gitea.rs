//! The API of Gitea and Forgejo, as a server shows it under `/api/swagger`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::serve::{Reply, Request, behind, number, page_of};
use super::world::{Method, Obstacle, Pull, State, World};
use super::{NAME, OWNER, Shared, TOKEN};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    title: String,
    #[serde(default)]
    body: String,
    head: String,
    base: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    state: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    #[serde(rename = "Do")]
    style: String,
    head_commit_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Labels {
    labels: Vec<String>,
}

fn no(status: u16, message: &str) -> Reply {
    Reply::new(status, json!({"message": message, "url": "/api/swagger"}))
}

fn shown(world: &World, pull: &Pull, request: &Request) -> Value {
    json!({
        "number": pull.number,
        "html_url": page_of(request, pull.number),
        "state": if pull.state == State::Open { "open" } else { "closed" },
        "merged": pull.state == State::Merged,
        "draft": pull.draft,
        "mergeable": !matches!(world.obstacle(pull), Some(Obstacle::Unchecked | Obstacle::Conflict | Obstacle::NotOpen)),
        "title": pull.title,
        "body": pull.body,
        "head": {"ref": pull.source, "sha": pull.head, "repo_id": if pull.from_fork { 2 } else { 1 }},
        "base": {"ref": pull.target, "sha": world.branches.get(&pull.target), "repo_id": 1},
        "merge_commit_sha": pull.merge_commit,
        "updated_at": pull.updated.to_string(),
        "labels": pull.labels.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
    })
}

pub(super) fn answer(world: &mut World, request: &Request, _: &Shared) -> Result<Reply, Reply> {
    if request.header("authorization") != Some(&format!("token {TOKEN}")) {
        return Err(no(401, "invalid username, password or token"));
    }
    let missing = || no(404, "The target couldn't be found.");
    let path = behind(request, &["api", "v1", "repos", OWNER, NAME]).ok_or_else(missing)?;
    match (request.method.as_str(), path.as_slice()) {
        ("GET", []) => Ok(Reply::ok(json!({"id": 1, "full_name": format!("{OWNER}/{NAME}")}))),
        ("GET", ["branches", name]) => {
            let commit = world.resolve(name).filter(|_| world.branches.contains_key(*name)).ok_or_else(missing)?;
            Ok(Reply::ok(json!({"name": name, "commit": {"id": commit.id, "message": commit.message}})))
        }
        ("GET", ["git", "commits", id]) => {
            request.only(&["stat", "verification", "files"])?;
            let commit = world.commits.get(*id).ok_or_else(missing)?;
            Ok(Reply::ok(
                json!({"sha": commit.id, "commit": {"message": commit.message, "tree": {"sha": commit.tree}}}),
            ))
        }
        ("GET", ["compare", ends]) => {
            let found =
                ends.split_once("...").and_then(|(base, head)| Some((world.resolve(base)?, world.resolve(head)?)));
            let (base, head) = found.ok_or_else(missing)?;
            Ok(Reply::ok(json!({"total_commits": world.ahead(&head.id, &base.id), "commits": []})))
        }
        ("GET", ["pulls"]) => list(world, request),
        ("POST", ["pulls"]) => {
            let new: Open = request.body()?;
            if let Some(other) = world.is_open(&new.head, &new.base) {
                let at =
                    format!("[id: {other}, issue_id: {other}, head_branch: {}, base_branch: {}]", new.head, new.base);
                return Err(no(409, &format!("pull request already exists for these targets {at}")));
            }
            let number = world.open(&new.head, &new.base, &new.title, &new.body).ok_or_else(missing)?;
            let pull = world.pull(number).ok_or_else(missing)?;
            Ok(Reply::new(201, shown(world, pull, request)))
        }
        ("GET", ["pulls", n]) => {
            let pull = world.look(number(n)).ok_or_else(missing)?;
            Ok(Reply::ok(shown(world, &pull, request)))
        }
        ("PATCH", ["pulls", n]) => {
            let edit: Edit = request.body()?;
            let pull = world.pull(number(n)).ok_or_else(missing)?.clone();
            if edit.state != "closed" || pull.state == State::Merged {
                return Err(no(412, "cannot change state of this pull request, it was already merged"));
            }
            world.close(pull.number);
            Ok(Reply::new(201, shown(world, &pull, request)))
        }
        ("POST", ["pulls", n, "merge"]) => merge(world, request, number(n)),
        ("POST", ["issues", n, "labels"]) => {
            let labels: Labels = request.body()?;
            let pull = world.pull_mut(number(n)).ok_or_else(missing)?;
            let new = labels.labels.into_iter().filter(|label| !pull.labels.contains(label)).collect::<Vec<_>>();
            pull.labels.extend(new);
            Ok(Reply::ok(pull.labels.iter().map(|name| json!({"name": name})).collect()))
        }
        _ => Err(missing()),
    }
}

/// There is no way to ask for branches.
fn list(world: &World, request: &Request) -> Result<Reply, Reply> {
    request.only(&["state", "sort", "milestone", "labels", "poster", "page", "limit"])?;
    let state = request.query("state").unwrap_or("open");
    let mut pulls: Vec<Pull> = world.pulls.clone();
    pulls.retain(|pull| state == "all" || (state == "open") == (pull.state == State::Open));
    if request.query("sort") == Some("recentupdate") {
        pulls.sort_by_key(|pull| std::cmp::Reverse((pull.updated, pull.number)));
    }
    let (pulls, next) = request.page(pulls, request.number("limit", 30), 50);
    let reply = Reply::ok(pulls.iter().map(|pull| shown(world, pull, request)).collect());
    Ok(match next {
        Some(next) => reply.header("link", format!("<{next}>; rel=\"next\"")),
        None => reply,
    })
}

fn merge(world: &mut World, request: &Request, number: u64) -> Result<Reply, Reply> {
    let merge: Merge = request.body()?;
    if world.forbidden_method.as_deref() == Some(&merge.style) {
        return Err(no(405, &format!("{} is not allowed an allowed merge style for this repository", merge.style)));
    }
    let method = match merge.style.as_str() {
        "merge" | "rebase-merge" => Method::Merge,
        "squash" | "rebase" => Method::Squash,
        "fast-forward-only" => Method::FastForward,
        _ => return Err(no(422, "[Do]: In")),
    };
    match world.merge(number, method, Some(&merge.head_commit_id)) {
        Ok(_) => Ok(Reply::empty(200)),
        Err(Obstacle::HeadMoved) => Err(no(409, "head out of date")),
        Err(Obstacle::Draft) => Err(no(405, "Work in progress PRs cannot be merged")),
        Err(Obstacle::Required(what)) => {
            Err(no(405, &format!("[reason: Not all required status checks successful: {what}]")))
        }
        Err(Obstacle::NotOpen) if world.pull(number).is_some_and(|pull| pull.state == State::Merged) => {
            Err(no(405, ""))
        }
        Err(Obstacle::NotOpen) => Err(no(404, "The target couldn't be found.")),
        // A conflict is a state in which it cannot be merged now, as one that is not looked at yet.
        Err(_) => Err(no(405, "Please try again later")),
    }
}
