//! Bitbucket Data Center's REST API, as <https://developer.atlassian.com/server/bitbucket/rest/> has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::serve::{Reply, Request, behind, newest_first, number, page_of};
use super::world::{Method, Obstacle, Pull, State, World};
use super::{NAME, OWNER, Shared, TOKEN, USER};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Project {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Repository {
    slug: String,
    project: Project,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    id: String,
    repository: Repository,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Open {
    title: String,
    #[serde(default)]
    description: String,
    from_ref: End,
    to_ref: End,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Merge {
    strategy_id: Option<String>,
}

fn no(status: u16, message: &str, exception: &str) -> Reply {
    let exception = format!("com.atlassian.bitbucket.{exception}");
    Reply::new(status, json!({"errors": [{"context": null, "message": message, "exceptionName": exception}]}))
}

fn missing() -> Reply {
    no(404, "It does not exist in this repository.", "NoSuchObjectException")
}

fn shown(world: &World, pull: &Pull, request: &Request) -> Value {
    let state = match pull.state {
        State::Open => "OPEN",
        State::Merged => "MERGED",
        State::Closed => "DECLINED",
    };
    let end = |branch: &str, commit: Option<&String>, repository: u64| {
        let repository = json!({"id": repository, "slug": NAME, "project": {"key": OWNER}});
        json!({"id": format!("refs/heads/{branch}"), "displayId": branch, "latestCommit": commit, "repository": repository})
    };
    let properties = match &pull.merge_commit {
        Some(id) => json!({"mergeCommit": {"id": id, "displayId": &id[..11]}}),
        None => json!({}),
    };
    json!({
        "id": pull.number,
        "version": pull.version,
        "state": state,
        "draft": pull.draft,
        "title": pull.title,
        "description": pull.body,
        "fromRef": end(&pull.source, Some(&pull.head), if pull.from_fork { 2 } else { 1 }),
        "toRef": end(&pull.target, world.branches.get(&pull.target), 1),
        "properties": properties,
        "links": {"self": [{"href": page_of(request, pull.number)}]},
    })
}

/// One page of a list.
fn paged(values: Vec<Value>, request: &Request) -> Reply {
    let (start, limit) = (request.number("start", 0), request.number("limit", 25).min(1000));
    let total = values.len();
    let values: Vec<Value> = values.into_iter().skip(start).take(limit).collect();
    let is_last = start + values.len() >= total;
    let next = (!is_last).then_some(start + limit);
    Reply::ok(json!({"values": values, "isLastPage": is_last, "nextPageStart": next, "start": start, "limit": limit}))
}

pub(super) fn answer(world: &mut World, request: &Request, _: &Shared) -> Result<Reply, Reply> {
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{TOKEN}")));
    let bearer = format!("Bearer {TOKEN}");
    if !request.header("authorization").is_some_and(|value| value == basic || value == bearer) {
        return Err(no(401, "Authentication failed.", "AuthenticationException"));
    }
    if request.method != "GET" && request.header("x-atlassian-token") != Some("no-check") {
        return Err(no(403, "XSRF check failed", "XsrfException"));
    }
    let path = behind(request, &["rest", "api", "1.0", "projects", OWNER, "repos", NAME]).ok_or_else(missing)?;
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["branches"]) => {
            request.only(&["filterText", "boostMatches", "limit", "start"])?;
            let filter = request.query("filterText").unwrap_or_default();
            let found = world.branches.iter().filter(|(name, _)| name.contains(filter));
            Ok(paged(found.map(|(name, id)| json!({"displayId": name, "latestCommit": id})).collect(), request))
        }
        ("GET", ["commits", id]) => {
            let commit = world.commits.get(*id).ok_or_else(missing)?;
            Ok(Reply::ok(json!({"id": commit.id, "message": commit.message})))
        }
        ("GET", ["compare", "changes"]) => {
            request.only(&["from", "to", "limit", "start"])?;
            changes(world, request, "from", "to", true)
        }
        ("GET", ["changes"]) => {
            request.only(&["since", "until", "limit", "start"])?;
            changes(world, request, "until", "since", false)
        }
        ("GET", ["pull-requests"]) => {
            request.only(&["state", "direction", "at", "order", "limit", "start"])?;
            let (at, state) = (request.query("at").unwrap_or_default(), request.query("state").unwrap_or("OPEN"));
            let outgoing = request.query("direction") == Some("OUTGOING");
            let found = newest_first(world).into_iter().filter(|pull| {
                let end = if outgoing { &pull.source } else { &pull.target };
                at == format!("refs/heads/{end}") && (state == "ALL" || pull.state == State::Open)
            });
            Ok(paged(found.map(|pull| shown(world, &pull, request)).collect(), request))
        }
        ("POST", ["pull-requests"]) => open(world, request),
        ("GET", ["pull-requests", n]) => {
            let pull = world.look(number(n)).ok_or_else(missing)?;
            Ok(Reply::ok(shown(world, &pull, request)))
        }
        ("GET", ["pull-requests", n, "merge"]) => {
            let pull = world.pull(number(n)).ok_or_else(missing)?;
            let obstacle = world.obstacle(pull);
            let vetoes: Vec<Value> = match &obstacle {
                Some(Obstacle::Required(what)) => vec![json!({"summaryMessage": what, "detailedMessage": what})],
                _ => Vec::new(),
            };
            let conflicted = obstacle == Some(Obstacle::Conflict);
            Ok(Reply::ok(json!({"canMerge": obstacle.is_none(), "conflicted": conflicted, "vetoes": vetoes})))
        }
        ("POST", ["pull-requests", n, "merge"]) => merge(world, request, number(n)),
        ("POST", ["pull-requests", n, "decline"]) => {
            request.only(&["version"])?;
            current(world, request, number(n))?;
            world.close(number(n));
            let pull = world.pull(number(n)).ok_or_else(missing)?;
            Ok(Reply::ok(shown(world, pull, request)))
        }
        _ => Err(missing()),
    }
}

fn changes(world: &World, request: &Request, new: &str, old: &str, from_base: bool) -> Result<Reply, Reply> {
    let end = |name| request.query(name).and_then(|id| world.commits.get(id)).ok_or_else(missing);
    let changed = world.changed(&end(new)?.id, &end(old)?.id, from_base);
    Ok(paged(changed.into_iter().map(|path| json!({"path": {"toString": path}})).collect(), request))
}

/// Refuses a request about another version than the present one, and about what has ended.
fn current(world: &World, request: &Request, number: u64) -> Result<(), Reply> {
    let pull = world.pull(number).ok_or_else(missing)?;
    if request.query("version") != Some(&pull.version.to_string()) {
        let message = "You are attempting to modify a pull request based on out-of-date information.";
        return Err(no(409, message, "pull.PullRequestOutOfDateException"));
    }
    if pull.state != State::Open {
        return Err(no(409, "This pull request is not open.", "pull.IllegalPullRequestStateException"));
    }
    Ok(())
}

fn open(world: &mut World, request: &Request) -> Result<Reply, Reply> {
    let new: Open = request.body()?;
    let names = [&new.from_ref, &new.to_ref].map(|end| {
        let own = end.repository.slug == NAME && end.repository.project.key == OWNER;
        end.id.strip_prefix("refs/heads/").filter(|_| own)
    });
    let [Some(source), Some(target)] = names else { return Err(missing()) };
    let (head, base) = world.branches.get(source).zip(world.branches.get(target)).ok_or_else(missing)?;
    if world.is_open(source, target).is_some() {
        let message = "Only one pull request may be open for a given source and target branch";
        return Err(no(409, message, "pull.DuplicatePullRequestException"));
    }
    if world.ahead(head, base) == 0 {
        let message = format!("{target} is already up-to-date with branch {source}");
        return Err(no(409, &message, "pull.EmptyPullRequestException"));
    }
    let number = world.open(source, target, &new.title, &new.description).ok_or_else(missing)?;
    let pull = world.pull(number).ok_or_else(missing)?;
    Ok(Reply::new(201, shown(world, pull, request)))
}

fn merge(world: &mut World, request: &Request, number: u64) -> Result<Reply, Reply> {
    request.only(&["version"])?;
    let merge: Merge = request.body()?;
    current(world, request, number)?;
    let strategy = merge.strategy_id.as_deref().unwrap_or("no-ff");
    if world.forbidden_method.as_deref() == Some(strategy) {
        return Err(no(
            400,
            &format!("The merge strategy {strategy} is not enabled."),
            "validation.ArgumentValidationException",
        ));
    }
    let method = match strategy {
        "no-ff" | "ff" | "rebase-no-ff" => Method::Merge,
        "squash" | "squash-ff-only" | "rebase-ff-only" => Method::Squash,
        "ff-only" => Method::FastForward,
        _ => return Err(no(400, "There is no such strategy.", "validation.ArgumentValidationException")),
    };
    match world.merge(number, method, None) {
        Ok(_) => {
            let pull = world.pull(number).ok_or_else(missing)?;
            Ok(Reply::ok(shown(world, pull, request)))
        }
        Err(Obstacle::Conflict) => {
            Err(no(409, "The pull request has conflicts and cannot be merged.", "pull.PullRequestMergeVetoedException"))
        }
        Err(_) => Err(no(
            409,
            "The pull request has been vetoed and cannot be merged.",
            "pull.PullRequestMergeVetoedException",
        )),
    }
}
