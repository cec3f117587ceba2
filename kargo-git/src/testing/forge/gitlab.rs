//! GitLab's REST API, as <https://docs.gitlab.com/api/merge_requests/> has it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::serve::{Reply, Request, behind, newest_first, number};
use super::world::{Method, Obstacle, Pull, State, World};
use super::{NAME, OWNER, Shared, TOKEN};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    source_branch: String,
    target_branch: String,
    title: String,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    state_event: Option<String>,
    add_labels: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    sha: String,
    squash: Option<bool>,
}

fn no(status: u16, message: &str) -> Reply {
    Reply::new(status, json!({ "message": message }))
}

fn shown(world: &World, pull: &Pull, request: &Request) -> Value {
    let status = match world.obstacle(pull) {
        None => "mergeable",
        Some(Obstacle::Draft) => "draft_status",
        Some(Obstacle::Conflict) => "conflict",
        Some(Obstacle::Required(_)) => "ci_must_pass",
        Some(Obstacle::NotOpen) => "not_open",
        Some(_) => "checking",
    };
    let state = match pull.state {
        State::Open if pull.merging.is_some() => "locked",
        State::Open => "opened",
        State::Merged => "merged",
        State::Closed => "closed",
    };
    json!({
        "iid": pull.number,
        "id": pull.number + 1000,
        "web_url": format!("{}/{OWNER}/{NAME}/-/merge_requests/{}", request.origin, pull.number),
        "state": state,
        "draft": pull.draft,
        "title": pull.title,
        "description": pull.body,
        "source_branch": pull.source,
        "target_branch": pull.target,
        "source_project_id": if pull.from_fork { 2 } else { 1 },
        "target_project_id": 1,
        "sha": pull.head,
        "merge_commit_sha": pull.merge_commit,
        "squash_commit_sha": null,
        "labels": pull.labels,
        "detailed_merge_status": status,
    })
}

pub(super) fn answer(world: &mut World, request: &Request, _: &Shared) -> Result<Reply, Reply> {
    if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
        return Err(no(401, "401 Unauthorized"));
    }
    let project = format!("{OWNER}/{NAME}");
    let path = behind(request, &["api", "v4", "projects"]).ok_or_else(|| no(404, "404 Not Found"))?;
    let [id, rest @ ..] = path.as_slice() else { return Err(no(404, "404 Not Found")) };
    if *id != project {
        return Err(no(404, "404 Project Not Found"));
    }
    match (request.method.as_str(), rest) {
        ("GET", ["repository", "branches", name]) => {
            let commit = world.resolve(name).filter(|_| world.branches.contains_key(*name));
            let commit = commit.ok_or_else(|| no(404, "404 Branch Not Found"))?;
            Ok(Reply::ok(json!({"name": name, "commit": {"id": commit.id, "message": commit.message}})))
        }
        ("GET", ["repository", "compare"]) => {
            request.only(&["from", "to", "straight"])?;
            let ends = request.query("from").and_then(|from| world.resolve(from));
            let (from, to) = ends
                .zip(request.query("to").and_then(|to| world.resolve(to)))
                .ok_or_else(|| no(404, "404 Not Found"))?;
            let changed = world.changed(&to.id, &from.id, request.query("straight") != Some("true"));
            let diffs: Vec<Value> = changed.into_iter().map(|path| json!({"new_path": path})).collect();
            Ok(Reply::ok(json!({"diffs": diffs, "commits": [], "compare_timeout": false, "compare_same_ref": false})))
        }
        ("GET", ["merge_requests"]) => list(world, request),
        ("POST", ["merge_requests"]) => open(world, request),
        ("GET", ["merge_requests", n]) => {
            let pull = world.look(number(n)).ok_or_else(|| no(404, "404 Not found"))?;
            Ok(Reply::ok(shown(world, &pull, request)))
        }
        ("PUT", ["merge_requests", n]) => {
            let update: Update = request.body()?;
            let pull = world.pull_mut(number(n)).ok_or_else(|| no(404, "404 Not found"))?;
            let n = pull.number;
            let labels = update.add_labels.unwrap_or_default();
            let new: Vec<String> = labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect();
            pull.labels.extend(new);
            match update.state_event.as_deref() {
                Some("close") if pull.state == State::Open => world.close(n),
                Some(_) => return Err(no(400, "state_event does not have a valid value")),
                None => {}
            }
            let pull = world.pull(n).ok_or_else(|| no(404, "404 Not found"))?;
            Ok(Reply::ok(shown(world, pull, request)))
        }
        ("PUT", ["merge_requests", n, "merge"]) => {
            let merge: Merge = request.body()?;
            let method = if merge.squash == Some(true) { Method::Squash } else { Method::Merge };
            let outcome = world.merge(number(n), method, Some(&merge.sha));
            match outcome {
                Ok(_) => {
                    let pull = world.pull(number(n)).ok_or_else(|| no(404, "404 Not found"))?;
                    Ok(Reply::ok(shown(world, pull, request)))
                }
                Err(Obstacle::HeadMoved) => Err(no(409, "SHA does not match HEAD of source branch")),
                // Conflicts too, whatever the documentation has.
                Err(_) => Err(no(405, "405 Method Not Allowed")),
            }
        }
        _ => Err(no(404, "404 Not Found")),
    }
}

fn list(world: &World, request: &Request) -> Result<Reply, Reply> {
    request.only(&["state", "source_branch", "target_branch", "order_by", "sort", "per_page", "page"])?;
    let pulls = newest_first(world).into_iter().filter(|pull| {
        request.query("source_branch").is_none_or(|branch| branch == pull.source)
            && request.query("target_branch").is_none_or(|branch| branch == pull.target)
            && (request.query("state") == Some("all") || pull.state == State::Open)
    });
    let (pulls, next) = request.page(pulls.collect(), request.number("per_page", 20), 100);
    let reply = Reply::ok(pulls.iter().map(|pull| shown(world, pull, request)).collect());
    Ok(match next {
        Some(next) => reply.header("link", format!("<{next}>; rel=\"next\"")),
        None => reply,
    })
}

fn open(world: &mut World, request: &Request) -> Result<Reply, Reply> {
    let new: Open = request.body()?;
    if let Some(other) = world.is_open(&new.source_branch, &new.target_branch) {
        let message = format!("Another open merge request already exists for this source branch: !{other}");
        return Err(Reply::new(409, json!({"message": [message]})));
    }
    let opened = world.open(&new.source_branch, &new.target_branch, &new.title, &new.description);
    let pull = opened
        .and_then(|number| world.pull(number))
        .ok_or_else(|| Reply::new(422, json!({"message": {"source_branch": ["does not exist"]}})))?;
    Ok(Reply::new(201, shown(world, pull, request)))
}
