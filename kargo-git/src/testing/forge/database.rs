//! GitHub's Git database over a bare repository on disk, which is served at the clone URL as well: what is pushed there is what the API
//! sees. Done by Git itself, with the program `git`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use axum::body::Body;
use axum::http::{Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::serve::{Reply, Request};
use super::{NAME, OWNER, TOKEN, USER};

/// The repository behind a fake GitHub.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    /// Branches that nobody may move.
    pub(super) protected: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCommit {
    message: String,
    tree: String,
    parents: Vec<String>,
    author: Option<Person>,
    committer: Option<Person>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    name: String,
    email: String,
    date: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRef {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MovedRef {
    sha: String,
    #[serde(default)]
    force: bool,
}

fn no(status: u16, message: &str) -> Reply {
    Reply::new(status, json!({"message": message, "documentation_url": "https://docs.github.com/rest/git"}))
}

impl Database {
    pub(super) fn new(path: PathBuf) -> Self {
        let database = Self { path, protected: Vec::new() };
        // What GitHub lets its clients do.
        for (key, value) in [
            ("http.receivepack", "true"),
            ("uploadpack.allowFilter", "true"),
            ("uploadpack.allowAnySHA1InWant", "true"),
        ] {
            database.run(&["config", key, value], &[]).expect("git is installed and can set up the repository");
        }
        database
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.env("GIT_DIR", &self.path).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", &self.path);
        command
    }

    /// What git prints; none when it says no.
    fn run(&self, arguments: &[&str], input: &[u8]) -> Option<String> {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let output = piped(command, input);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    fn is(&self, kind: &str, id: &str) -> bool {
        id.len() == 40 && self.run(&["cat-file", "-t", id], &[]).as_deref() == Some(kind)
    }

    fn tip(&self, name: &str) -> Option<String> {
        self.run(&["rev-parse", "--verify", "--quiet", &format!("refs/{name}")], &[])
    }

    /// Answers what concerns commits and refs; nothing else.
    pub(super) fn answer(&self, rest: &[&str], request: &Request) -> Option<Result<Reply, Reply>> {
        Some(match (request.method.as_str(), rest) {
            ("GET", ["compare", ends]) => self.compare(ends, request),
            ("POST", ["git", "commits"]) => self.commit(request),
            ("POST", ["git", "refs"]) => self.make_ref(request),
            ("PATCH", ["git", "refs", name @ ..]) => self.move_ref(&name.join("/"), request),
            ("DELETE", ["git", "refs", name @ ..]) => {
                let name = name.join("/");
                match self.tip(&name) {
                    None => Err(no(422, "Reference does not exist")),
                    Some(_) => {
                        self.run(&["update-ref", "-d", &format!("refs/{name}")], &[]);
                        Ok(Reply::empty(204))
                    }
                }
            }
            _ => return None,
        })
    }

    fn compare(&self, ends: &str, request: &Request) -> Result<Reply, Reply> {
        request.only(&["page", "per_page"])?;
        let (base, head) = ends.split_once("...").ok_or_else(|| no(404, "Not Found"))?;
        if !self.is("commit", base) || !self.is("commit", head) {
            return Err(no(404, "Not Found"));
        }
        let only = |from: &str, to: &str| {
            let listed = self.run(&["rev-list", "--reverse", "--topo-order", &format!("{from}..{to}")], &[]);
            listed.unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let (ahead, behind) = (only(base, head), only(head, base));
        let status = match (ahead.is_empty(), behind.is_empty()) {
            (true, true) => "identical",
            (false, true) => "ahead",
            (true, false) => "behind",
            (false, false) => "diverged",
        };
        let commits: Vec<Value> = ahead.iter().map(|sha| json!({"sha": sha})).collect();
        let total = commits.len();
        let (page, _) = request.page(commits, request.number("per_page", 250), 250);
        Ok(Reply::ok(json!({
            "status": status, "ahead_by": total, "behind_by": behind.len(), "total_commits": total, "commits": page, "files": [],
        })))
    }

    fn commit(&self, request: &Request) -> Result<Reply, Reply> {
        let new: NewCommit = request.body()?;
        if !self.is("tree", &new.tree) {
            return Err(no(422, "Tree SHA does not exist"));
        }
        if new.parents.iter().any(|parent| !self.is("commit", parent)) {
            return Err(no(422, "Parent SHA does not exist or is not a commit object"));
        }
        let now = Timestamp::now();
        let line = |person: &Person| {
            format!("{} <{}> {} +0000", person.name, person.email, person.date.unwrap_or(now).as_second())
        };
        // GitHub signs what it makes in the name of whoever signs in.
        let signed = new.author.is_none() && new.committer.is_none();
        let app =
            || Person { name: "kargo[bot]".into(), email: "1+kargo[bot]@users.noreply.github.com".into(), date: None };
        let author = new.author.unwrap_or_else(app);
        let committer = match new.committer {
            Some(committer) => committer,
            None if signed => Person { name: "GitHub".into(), email: "noreply@github.com".into(), date: None },
            None => Person { name: author.name.clone(), email: author.email.clone(), date: author.date },
        };
        let mut raw = format!("tree {}\n", new.tree);
        raw.extend(new.parents.iter().map(|parent| format!("parent {parent}\n")));
        raw.push_str(&format!("author {}\ncommitter {}\n", line(&author), line(&committer)));
        if signed {
            raw.push_str("gpgsig -----BEGIN PGP SIGNATURE-----\n \n made by the fake\n -----END PGP SIGNATURE-----\n");
        }
        raw.push_str(&format!("\n{}", new.message));
        let written = self.run(&["hash-object", "-t", "commit", "-w", "--stdin"], raw.as_bytes());
        let sha = written.ok_or_else(|| no(422, "The commit is not well formed"))?;
        Ok(Reply::new(
            201,
            json!({
                "sha": sha,
                "tree": {"sha": new.tree},
                "message": new.message,
                "parents": new.parents.iter().map(|sha| json!({"sha": sha})).collect::<Vec<_>>(),
                "verification": {"verified": signed, "reason": if signed { "valid" } else { "unsigned" }},
            }),
        ))
    }

    fn is_protected(&self, name: &str) -> bool {
        self.protected.iter().any(|branch| name == format!("heads/{branch}"))
    }

    fn make_ref(&self, request: &Request) -> Result<Reply, Reply> {
        let new: NewRef = request.body()?;
        let name = new.name.strip_prefix("refs/").filter(|name| name.contains('/'));
        let name = name.ok_or_else(|| no(422, "Reference name must start with 'refs/' and have two slashes"))?;
        if self.tip(name).is_some() {
            return Err(no(422, "Reference already exists"));
        }
        if !self.is("commit", &new.sha) {
            return Err(no(422, "Object does not exist"));
        }
        if self.is_protected(name) {
            return Err(no(422, "Repository rule violations found"));
        }
        // Only when it is still not there.
        match self.run(&["update-ref", &new.name, &new.sha, &"0".repeat(40)], &[]) {
            Some(_) => Ok(Reply::new(201, json!({"ref": new.name, "object": {"type": "commit", "sha": new.sha}}))),
            None => Err(no(422, "Reference already exists")),
        }
    }

    fn move_ref(&self, name: &str, request: &Request) -> Result<Reply, Reply> {
        let moved: MovedRef = request.body()?;
        let tip = self.tip(name).ok_or_else(|| no(422, "Reference does not exist"))?;
        if !self.is("commit", &moved.sha) {
            return Err(no(422, "Object does not exist"));
        }
        if self.is_protected(name) {
            return Err(no(422, "Repository rule violations found"));
        }
        if !moved.force && self.run(&["merge-base", "--is-ancestor", &tip, &moved.sha], &[]).is_none() {
            return Err(no(422, "Update is not a fast forward"));
        }
        match self.run(&["update-ref", &format!("refs/{name}"), &moved.sha, &tip], &[]) {
            Some(_) => {
                Ok(Reply::ok(json!({"ref": format!("refs/{name}"), "object": {"type": "commit", "sha": moved.sha}})))
            }
            None => Err(no(422, "Update is not a fast forward")),
        }
    }

    /// Answers a request of Git itself; none when it is not one.
    pub(super) fn git(&self, request: &Request) -> Option<Response<Body>> {
        let [owner, name, rest @ ..] = request.path.as_slice() else { return None };
        if owner != OWNER || *name != format!("{NAME}.git") {
            return None;
        }
        let plain = |status: StatusCode| Response::builder().status(status);
        let wanted = format!("Basic {}", STANDARD.encode(format!("{USER}:{TOKEN}")));
        if request.header("authorization") != Some(wanted.as_str()) {
            let asked = plain(StatusCode::UNAUTHORIZED).header("www-authenticate", "Basic realm=\"GitHub\"");
            return asked.body(Body::empty()).ok();
        }
        let mut command = self.command();
        command.arg("http-backend").env_remove("GIT_DIR");
        command.env("GIT_PROJECT_ROOT", &self.path).env("GIT_HTTP_EXPORT_ALL", "1").env("REMOTE_USER", USER);
        command.env("REQUEST_METHOD", &request.method).env("PATH_INFO", format!("/{}", rest.join("/")));
        command.env("QUERY_STRING", request.query("service").map(|name| format!("service={name}")).unwrap_or_default());
        for (variable, header) in [
            ("CONTENT_TYPE", "content-type"),
            ("GIT_PROTOCOL", "git-protocol"),
            ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ] {
            command.env(variable, request.header(header).unwrap_or_default());
        }
        command.env("CONTENT_LENGTH", request.bytes().len().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let output = piped(command, request.bytes()).stdout;
        let end = output.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (head, body) = (String::from_utf8_lossy(&output[..end]).into_owned(), output[end + 4..].to_vec());
        let fields: Vec<(&str, &str)> = head.lines().filter_map(|line| line.split_once(": ")).collect();
        let status = fields.iter().find(|(name, _)| *name == "Status").and_then(|(_, value)| value.get(..3));
        let mut reply = Response::builder().status(status.and_then(|code| code.parse().ok()).unwrap_or(200_u16));
        for (name, value) in fields.into_iter().filter(|(name, _)| *name != "Status") {
            reply = reply.header(name, value);
        }
        reply.body(Body::from(body)).ok()
    }
}

/// Runs a command on some input. One that reads none of it may have ended before all was written.
fn piped(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.spawn().expect("the program git is installed");
    let mut stdin = child.stdin.take().expect("it was asked for");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("git was started")
    })
}
