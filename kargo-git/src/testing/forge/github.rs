//! GitHub's REST API, as <https://docs.github.com/rest> has it.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::serve::{Reply, Request, behind, newest_first, number, page_of};
use super::world::{Method, Obstacle, Pull, State, World};
use super::{NAME, OWNER, Shared, TOKEN};

/// An App that is installed for the repository, and the tokens it was given.
#[derive(Debug, Default)]
pub(super) struct App {
    id: String,
    public_key: Vec<u8>,
    seconds: i64,
    pub(super) tokens: Vec<(String, Timestamp)>,
    revoked: usize,
}

const INSTALLATION: u64 = 77;

impl App {
    pub(super) fn new(id: &str, public_key: &[u8], seconds: i64) -> Self {
        Self { id: id.to_owned(), public_key: public_key.to_owned(), seconds, ..Self::default() }
    }

    pub(super) fn revoke(&mut self) {
        self.revoked = self.tokens.len();
    }

    /// Whether `token` is one that the App signed a moment ago.
    fn signed(&self, token: &str) -> bool {
        let Some((signed, signature)) = token.rsplit_once('.') else { return false };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key);
        let claims = signed.split_once('.').and_then(|(_, claims)| URL_SAFE_NO_PAD.decode(claims).ok());
        let claims: Value = claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
        let now = Timestamp::now().as_second();
        let (Some(from), Some(until)) = (claims["iat"].as_i64(), claims["exp"].as_i64()) else { return false };
        let good = claims["iss"] == self.id.as_str() && from <= now && now < until && until - from <= 10 * 60;
        good && key.verify(signed.as_bytes(), &signature).is_ok()
    }

    fn knows(&self, token: &str) -> bool {
        let now = Timestamp::now();
        self.tokens.iter().skip(self.revoked).any(|(known, until)| known == token && now < *until)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessTokens {
    repositories: Vec<String>,
}

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
struct Patch {
    state: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    sha: String,
    merge_method: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Labels {
    labels: Vec<String>,
}

fn no(status: u16, message: &str) -> Reply {
    Reply::new(
        status,
        json!({"message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string()}),
    )
}

fn invalid(message: &str) -> Reply {
    let error = json!({"resource": "PullRequest", "code": "custom", "message": message});
    Reply::new(422, json!({"message": "Validation Failed", "errors": [error]}))
}

fn shown(world: &World, pull: &Pull, request: &Request, in_full: bool) -> Value {
    // A fork of the owner's own, by another name, is the hardest to tell.
    let repository = |is_fork: bool| json!({"id": if is_fork { 2 } else { 1 }});
    let mut json = json!({
        "number": pull.number,
        "html_url": page_of(request, pull.number),
        "state": if pull.state == State::Open { "open" } else { "closed" },
        "draft": pull.draft,
        "title": pull.title,
        "body": pull.body,
        "merged_at": pull.closed.filter(|_| pull.state == State::Merged).map(|at| at.to_string()),
        "labels": pull.labels.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
        "head": {"ref": pull.source, "sha": pull.head, "label": format!("{OWNER}:{}", pull.source), "repo": repository(pull.from_fork)},
        "base": {"ref": pull.target, "sha": world.branches.get(&pull.target), "repo": repository(false)},
        // Of an open one, the commit of the trial merge.
        "merge_commit_sha": pull.merge_commit.clone().or_else(|| Some(pull.head.chars().rev().collect())),
    });
    if in_full {
        let state = match world.obstacle(pull) {
            None => "clean",
            Some(Obstacle::Draft) => "draft",
            Some(Obstacle::Conflict) => "dirty",
            Some(Obstacle::Required(_)) => "blocked",
            _ => "unknown",
        };
        json["mergeable_state"] = state.into();
        json["merged"] = (pull.state == State::Merged).into();
    }
    json
}

fn commit(world: &World, name: &str) -> Option<Value> {
    let commit = world.resolve(name)?;
    Some(json!({"sha": commit.id, "commit": {"message": commit.message, "tree": {"sha": commit.tree}}}))
}

pub(super) fn answer(world: &mut World, request: &Request, shared: &Shared) -> Result<Reply, Reply> {
    if request.header("user-agent").is_none() {
        return Err(no(403, "Request forbidden by administrative rules."));
    }
    let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let Some(path) = behind(request, &["api", "v3"]) else { return Err(no(404, "Not Found")) };
    if let Some(reply) = app(&path, request, shared, token) {
        return reply;
    }
    if token != TOKEN && !shared.wire().app.knows(token) {
        return Err(no(401, "Bad credentials"));
    }
    let ["repos", OWNER, NAME, rest @ ..] = path.as_slice() else { return Err(no(404, "Not Found")) };
    if let Some(reply) = shared.database().as_ref().and_then(|database| database.answer(rest, request)) {
        return reply;
    }
    match (request.method.as_str(), rest) {
        ("GET", ["branches", name]) => {
            let commit = commit(world, name).filter(|_| world.branches.contains_key(*name));
            commit
                .map(|commit| Reply::ok(json!({"name": name, "commit": commit})))
                .ok_or_else(|| no(404, "Branch not found"))
        }
        ("GET", ["compare", ends]) => {
            request.only(&["page", "per_page"])?;
            let found =
                ends.split_once("...").and_then(|(base, head)| Some((world.resolve(base)?, world.resolve(head)?)));
            let (base, head) = found.ok_or_else(|| no(404, "Not Found"))?;
            let files = world.changed(&head.id, &base.id, true);
            let files: Vec<Value> = files.into_iter().map(|name| json!({"filename": name})).collect();
            let (ahead, behind) = (world.ahead(&head.id, &base.id), world.ahead(&base.id, &head.id));
            Ok(Reply::ok(json!({"ahead_by": ahead, "behind_by": behind, "files": files})))
        }
        ("GET", ["pulls"]) => list(world, request),
        ("POST", ["pulls"]) => open(world, request),
        ("GET", ["pulls", n]) => {
            let pull = world.look(number(n)).ok_or_else(|| no(404, "Not Found"))?;
            Ok(Reply::ok(shown(world, &pull, request, true)))
        }
        ("PATCH", ["pulls", n]) => {
            let patch: Patch = request.body()?;
            let pull = world.pull(number(n)).ok_or_else(|| no(404, "Not Found"))?.clone();
            if patch.state != "closed" {
                return Err(invalid("state can only be set to closed here"));
            }
            // Closing what is merged changes nothing.
            if pull.state == State::Open {
                world.close(pull.number);
            }
            let pull = world.pull(pull.number).cloned().unwrap_or(pull);
            Ok(Reply::ok(shown(world, &pull, request, true)))
        }
        ("PUT", ["pulls", n, "merge"]) => merge(world, request, number(n)),
        ("POST", ["issues", n, "labels"]) => {
            let labels: Labels = request.body()?;
            let pull = world.pull_mut(number(n)).ok_or_else(|| no(404, "Not Found"))?;
            let new = labels.labels.into_iter().filter(|label| !pull.labels.contains(label)).collect::<Vec<_>>();
            pull.labels.extend(new);
            Ok(Reply::ok(pull.labels.iter().map(|name| json!({"name": name})).collect()))
        }
        _ => Err(no(404, "Not Found")),
    }
}

/// What an App asks in its own name.
fn app(path: &[&str], request: &Request, shared: &Shared, token: &str) -> Option<Result<Reply, Reply>> {
    let mut wire = shared.wire();
    let app = &mut wire.app;
    let answer = match (request.method.as_str(), path) {
        ("GET", ["repos", OWNER, NAME, "installation"]) => Ok(Reply::ok(json!({"id": INSTALLATION}))),
        ("GET", ["repos", _, _, "installation"]) => Err(no(404, "Not Found")),
        ("POST", ["app", "installations", id, "access_tokens"]) if number(id) == INSTALLATION => {
            match request.body::<AccessTokens>() {
                Err(reply) => Err(reply),
                Ok(body) if body.repositories != [NAME] => {
                    Err(no(422, "There is at least one repository that does not exist"))
                }
                Ok(_) => {
                    let token = format!("ghs_fake{}", app.tokens.len());
                    let until = Timestamp::now() + jiff::SignedDuration::from_secs(app.seconds);
                    app.tokens.push((token.clone(), until));
                    Ok(Reply::new(201, json!({"token": token, "expires_at": until.to_string(), "permissions": {}})))
                }
            }
        }
        _ => return None,
    };
    Some(if app.signed(token) { answer } else { Err(no(401, "A JSON web token could not be decoded")) })
}

fn list(world: &World, request: &Request) -> Result<Reply, Reply> {
    request.only(&["state", "head", "base", "sort", "direction", "per_page", "page"])?;
    let (state, head) = (request.query("state").unwrap_or("open"), request.query("head"));
    let pulls = newest_first(world).into_iter().filter(|pull| {
        (state == "all" || (state == "open") == (pull.state == State::Open))
            && head.is_none_or(|head| head == format!("{OWNER}:{}", pull.source))
            && request.query("base").is_none_or(|base| base == pull.target)
    });
    let (pulls, next) = request.page(pulls.collect(), request.number("per_page", 30), 100);
    let reply = Reply::ok(pulls.iter().map(|pull| shown(world, pull, request, false)).collect());
    Ok(match next {
        Some(next) => reply.header("link", format!("<{next}>; rel=\"next\", <{next}>; rel=\"last\"")),
        None => reply,
    })
}

fn open(world: &mut World, request: &Request) -> Result<Reply, Reply> {
    let new: Open = request.body()?;
    let (Some(head), Some(base)) = (world.branches.get(&new.head), world.branches.get(&new.base)) else {
        return Err(Reply::new(
            422,
            json!({"message": "Validation Failed", "errors": [{"field": "head", "code": "invalid"}]}),
        ));
    };
    if world.ahead(head, base) == 0 {
        return Err(invalid(&format!("No commits between {} and {}", new.base, new.head)));
    }
    if world.is_open(&new.head, &new.base).is_some() {
        return Err(invalid(&format!("A pull request already exists for {OWNER}:{}.", new.head)));
    }
    let number = world.open(&new.head, &new.base, &new.title, &new.body).ok_or_else(|| no(404, "Not Found"))?;
    let pull = world.pull(number).cloned().ok_or_else(|| no(404, "Not Found"))?;
    Ok(Reply::new(201, shown(world, &pull, request, true)))
}

fn merge(world: &mut World, request: &Request, number: u64) -> Result<Reply, Reply> {
    let merge: Merge = request.body()?;
    let method = merge.merge_method.as_deref().unwrap_or("merge");
    if world.forbidden_method.as_deref() == Some(method) {
        return Err(no(
            405,
            &format!(
                "{}s are not allowed on this repository.",
                if method == "squash" { "Squash merge" } else { "Merge commit" }
            ),
        ));
    }
    let method = match method {
        "merge" => Method::Merge,
        "squash" | "rebase" => Method::Squash,
        _ => return Err(no(422, "Invalid request. merge_method is not one of: merge, squash, rebase.")),
    };
    // Asked to merge, GitHub finds out at once whether it can.
    if let Some(pull) = world.pull_mut(number) {
        pull.unchecked = 0;
    }
    match world.merge(number, method, Some(&merge.sha)) {
        Ok(commit) => {
            Ok(Reply::ok(json!({"sha": commit, "merged": true, "message": "Pull Request successfully merged"})))
        }
        Err(Obstacle::HeadMoved) => Err(no(409, "Head branch was modified. Review and try the merge again.")),
        Err(Obstacle::Required(what)) => Err(no(405, &format!("{what} is expected."))),
        Err(Obstacle::Draft) => Err(no(405, "Pull Request is still a draft")),
        Err(_) => Err(no(405, "Pull Request is not mergeable")),
    }
}
