//! GitHub's Git database: commits that GitHub makes and signs itself, and the refs that lead to them.
//! <https://docs.github.com/rest/git>, <https://docs.github.com/rest/commits/commits#compare-two-commits>.

use kargo_core::Result;
use kargo_core::plugin::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Call;
use super::github::GitHub;

/// How two commits stand to each other, seen from the first.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// `ahead`, `behind`, `diverged` or `identical`.
    pub(crate) status: String,
    /// The commits that only the second has, oldest first.
    pub(crate) commits: Vec<String>,
}

/// Who made a commit, and when.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) email: String,
    /// As RFC 3339 has it.
    pub(crate) date: String,
}

/// A commit to make.
#[derive(Debug)]
pub(crate) struct NewCommit<'a> {
    pub(crate) message: &'a str,
    pub(crate) tree: &'a str,
    pub(crate) parents: &'a [String],
    /// Author and committer. Without them it is made in the name of whoever signs in, and signed by GitHub.
    pub(crate) people: Option<(Person, Person)>,
}

/// A commit that GitHub has made.
#[derive(Debug, Deserialize)]
pub(crate) struct MadeCommit {
    pub(crate) sha: String,
    pub(crate) tree: Sha,
    #[serde(default)]
    verification: Verification,
}

impl MadeCommit {
    /// Whether GitHub calls its signature verified.
    pub(crate) fn is_verified(&self) -> bool {
        self.verification.verified
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Sha {
    pub(crate) sha: String,
}

#[derive(Debug, Default, Deserialize)]
struct Verification {
    #[serde(default)]
    verified: bool,
}

/// What became of a ref.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RefMoved {
    /// It stands where it was to.
    Yes,
    /// Somebody else has moved, made or removed it.
    Overtaken,
    /// A rule of the repository is against it, in GitHub's words.
    Refused(String),
}

#[derive(Deserialize)]
struct CompareAnswer {
    status: String,
    total_commits: usize,
    commits: Vec<Sha>,
}

impl GitHub {
    /// Whether anybody is signed in.
    pub(crate) async fn has_token(&self, cx: &Context) -> Result<bool> {
        self.0.api.has_token(cx).await
    }

    pub(crate) async fn compare(&self, cx: &Context, base: &str, head: &str) -> Result<Comparison> {
        let ends = format!("{base}...{head}");
        let call = Call::get(&self.0.at(&["compare", &ends]), format!("compare {base} with {head}"));
        let answer: CompareAnswer = self.0.api.expect(cx, call.query("per_page", 100)).await?.json()?;
        let mut commits: Vec<String> = answer.commits.into_iter().map(|commit| commit.sha).collect();
        // Of more than a page the rest is not asked for: nobody here has so many.
        if commits.len() < answer.total_commits {
            commits.resize(answer.total_commits, String::new());
        }
        Ok(Comparison { status: answer.status, commits })
    }

    pub(crate) async fn make_commit(&self, cx: &Context, new: &NewCommit<'_>) -> Result<MadeCommit> {
        let mut body = json!({"message": new.message, "tree": new.tree, "parents": new.parents});
        let person = |who: &Person| -> Value { json!({"name": who.name, "email": who.email, "date": who.date}) };
        if let Some((author, committer)) = &new.people {
            body["author"] = person(author);
            body["committer"] = person(committer);
        }
        let what = format!("make a commit of the tree {}", new.tree);
        self.0.api.expect(cx, Call::post(&self.0.at(&["git", "commits"]), body, what)).await?.json()
    }

    /// Moves a branch that is there. Unless forced, only to a commit that stands on where it is.
    pub(crate) async fn move_branch(&self, cx: &Context, branch: &str, to: &str, force: bool) -> Result<RefMoved> {
        let path = self.ref_path(&format!("heads/{branch}"));
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let call = Call::patch(&path, json!({"sha": to, "force": force}), format!("move the branch {branch} to {to}"));
        let reply = self.0.api.ask(cx, call).await?;
        match reply.status {
            409 => Ok(RefMoved::Overtaken),
            422 if reply.says("fast forward") || reply.says("does not exist") => Ok(RefMoved::Overtaken),
            403 | 422 => Ok(RefMoved::Refused(reply.text())),
            _ => reply.expect().map(|_| RefMoved::Yes),
        }
    }

    /// Makes a branch.
    pub(crate) async fn make_branch(&self, cx: &Context, branch: &str, at: &str) -> Result<RefMoved> {
        let body = json!({"ref": format!("refs/heads/{branch}"), "sha": at});
        let call = Call::post(&self.0.at(&["git", "refs"]), body, format!("make the branch {branch} at {at}"));
        let reply = self.0.api.ask(cx, call).await?;
        match reply.status {
            422 if reply.says("already exists") => Ok(RefMoved::Overtaken),
            403 | 422 => Ok(RefMoved::Refused(reply.text())),
            _ => reply.expect().map(|_| RefMoved::Yes),
        }
    }

    /// Removes a ref, by its name without `refs/`. One that is not there is removed.
    pub(crate) async fn remove_ref(&self, cx: &Context, name: &str) -> Result<()> {
        let path = self.ref_path(name);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let reply = self.0.api.ask(cx, Call::delete(&path, format!("remove refs/{name}"))).await?;
        match reply.status {
            404 => Ok(()),
            422 if reply.says("does not exist") => Ok(()),
            _ => reply.expect().map(drop),
        }
    }

    /// The slashes of a ref's name are the path's.
    fn ref_path(&self, name: &str) -> Vec<String> {
        let fixed = self.0.at(&["git", "refs"]);
        fixed.into_iter().chain(name.split('/')).map(str::to_owned).collect()
    }
}
