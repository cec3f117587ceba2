//! Fakes of six forges: each speaks its provider's REST API over HTTP on this machine, over one repository that is kept in memory.
//!
//! They answer what is documented, and refuse the rest: unknown paths, parameters, fields and tokens. What people do at a forge, and
//! what goes wrong there, is ordered by methods.

mod azure;
mod bitbucket_cloud;
mod bitbucket_data_center;
mod database;
mod gitea;
mod github;
mod gitlab;
mod serve;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kargo_core::Result;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::credentials::CredentialRules;
use crate::forge::{Forges, Provider};
use crate::remote::Credentials;
use serve::Request;
use world::{State, World};

/// The token that the fakes accept.
const TOKEN: &str = "fake-forge-token";
/// The user that goes with it.
const USER: &str = "kargo";
/// Whose the repository is: owner, group, workspace, project, or organization.
const OWNER: &str = "acme";
/// The repository's name.
const NAME: &str = "shop";

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is done, and the answer is lost on the way.
    LoseAnswer,
    /// It is done, and the server says nothing; see [`FakeForge::hung`].
    Hang,
    /// It is not done; the answer has this status.
    Status(u16),
    /// It is not done; the server asks to come back after so many seconds, in its own way.
    RateLimited {
        /// For how long.
        seconds: u64,
    },
    /// Somebody merges this pull request just before it is done.
    MergedFirst(u64),
    /// A page with status 200, as a sign-in in front of the server shows.
    Html,
    /// A redirect to this address.
    Redirect(String),
}

/// A pull request, as a test wants to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FakePullRequest {
    /// Its number.
    pub number: u64,
    /// The branch with the changes.
    pub source: String,
    /// The branch that gets them.
    pub target: String,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: String,
    /// `open`, `merged` or `closed`.
    pub state: &'static str,
    /// Its labels.
    pub labels: Vec<String>,
    /// The commit by which it was merged.
    pub merge_commit: Option<String>,
}

#[derive(Debug)]
struct Shared {
    provider: Provider,
    origin: String,
    world: Mutex<World>,
    wire: Mutex<Wire>,
    database: Mutex<Option<database::Database>>,
    hung: Notify,
}

#[derive(Debug, Default)]
struct Wire {
    /// The requests so far, as `METHOD /path`.
    log: Vec<String>,
    /// The authorizations that came with them.
    authorizations: Vec<Option<String>>,
    /// Faults by the number of the request, from 0.
    at: BTreeMap<usize, Fault>,
    /// A fault of all requests.
    always: Option<Fault>,
    app: github::App,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> MutexGuard<'_, Option<database::Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request, and says what goes wrong with it.
    fn log(&self, request: &Request) -> Option<Fault> {
        let mut wire = self.wire();
        let number = wire.log.len();
        wire.log.push(format!("{} /{}", request.method, request.path.join("/")));
        wire.authorizations.push(request.header("authorization").map(str::to_owned));
        wire.at.remove(&number).or_else(|| wire.always.clone())
    }
}

/// A forge with one repository, `acme/shop`, whose branch `main` has one commit. Ends when it is dropped.
///
/// Methods panic when what they name is not there: this is for tests.
///
/// ```
/// use kargo_core::plugin::Context;
/// use kargo_git::testing::forge::FakeForge;
/// use kargo_git::{NewPullRequest, Opened, Provider};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kargo_core::Result<()> {
/// let fake = FakeForge::start(Provider::GitLab).await;
/// fake.commit("promote", &[("tag", "v2")], "Promote v2");
///
/// let forge = fake.forges()?.repository(&fake.url())?;
/// let new = NewPullRequest::new("promote", "main", "Promote v2", "");
/// assert!(matches!(forge.open(&Context::system("open"), &new).await?, Opened::New(_)));
/// assert_eq!(fake.pull_requests()[0].state, "open");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FakeForge {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl FakeForge {
    /// A forge of this provider.
    pub async fn start(provider: Provider) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("this machine has a port to give");
        let address = listener.local_addr().expect("the listener was just bound");
        let shared = Arc::new(Shared {
            provider,
            origin: format!("http://{address}"),
            world: Mutex::default(),
            wire: Mutex::default(),
            database: Mutex::default(),
            hung: Notify::new(),
        });
        let app = serve::router(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("the fake serves until it is dropped");
        });
        let fake = Self { shared, task };
        fake.commit("main", &[("tag", "v1")], "Start");
        fake
    }

    /// GitHub only: serves `repository` at the clone URL, for fetching and pushing, and its commits and refs by the API, in place of the
    /// repository in memory; pull requests know nothing of it. Needs the program `git`.
    pub fn serve_repository(&self, repository: &crate::testing::BareRepository) {
        *self.shared.database() = Some(database::Database::new(repository.path().to_owned()));
    }

    /// With [`FakeForge::serve_repository`]: the API lets nobody move `branch`, by a rule of the repository.
    pub fn protect_branch(&self, branch: &str) {
        let mut database = self.shared.database();
        database.as_mut().expect("a repository is served").protected.push(branch.to_owned());
    }

    /// Whose API it speaks.
    pub fn provider(&self) -> Provider {
        self.shared.provider
    }

    /// Host and port.
    pub fn host(&self) -> &str {
        self.shared.origin.trim_start_matches("http://")
    }

    /// The repository's clone URL.
    pub fn url(&self) -> String {
        let origin = &self.shared.origin;
        match self.shared.provider {
            Provider::BitbucketDataCenter => format!("{origin}/scm/{OWNER}/{NAME}.git"),
            Provider::Azure => format!("{origin}/{OWNER}/project/_git/{NAME}"),
            _ => format!("{origin}/{OWNER}/{NAME}.git"),
        }
    }

    /// Where the API is, when that does not follow from the clone URL.
    pub fn api(&self) -> Option<String> {
        (self.shared.provider == Provider::BitbucketCloud).then(|| format!("{}/2.0/", self.shared.origin))
    }

    /// What it accepts.
    pub fn credentials(&self) -> Credentials {
        Credentials::basic(USER, TOKEN)
    }

    /// This forge alone, signed in.
    ///
    /// # Errors
    /// None that a test would expect.
    pub fn forges(&self) -> Result<Forges> {
        self.forges_with(CredentialRules::new().with(self.host(), self.credentials()))
    }

    /// This forge alone, with credentials from `source`.
    ///
    /// # Errors
    /// None that a test would expect.
    pub fn forges_with(&self, source: impl crate::CredentialSource) -> Result<Forges> {
        Forges::builder(source).host(self.host(), self.provider(), self.api().as_deref())?.build()
    }

    /// Commits `files` on `branch`, on top of what is there, and returns the id. A branch that is not there begins at `main`.
    pub fn commit(&self, branch: &str, files: &[(&str, &str)], message: &str) -> String {
        let mut world = self.shared.world();
        let parent = world.resolve(branch).or_else(|| world.resolve("main")).cloned();
        let mut tree = parent.as_ref().map(|parent| parent.files.clone()).unwrap_or_default();
        tree.extend(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
        let id = world.commit(parent.into_iter().map(|parent| parent.id).collect(), tree, message);
        world.point(branch, &id);
        id
    }

    /// Makes `branch` stand where `other` does.
    pub fn branch(&self, branch: &str, other: &str) {
        let mut world = self.shared.world();
        let id = world.resolve(other).expect("the other branch is there").id.clone();
        world.point(branch, &id);
    }

    /// Removes a branch.
    pub fn delete_branch(&self, branch: &str) {
        self.shared.world().branches.remove(branch).expect("the branch is there");
    }

    /// The contents of a file on a branch.
    pub fn read(&self, branch: &str, path: &str) -> Option<String> {
        self.shared.world().resolve(branch).and_then(|commit| commit.files.get(path).cloned())
    }

    /// Where a branch stands.
    pub fn tip(&self, branch: &str) -> String {
        self.shared.world().resolve(branch).expect("the branch is there").id.clone()
    }

    /// The pull requests, oldest first.
    pub fn pull_requests(&self) -> Vec<FakePullRequest> {
        let world = self.shared.world();
        let seen = world.pulls.iter().map(|pull| FakePullRequest {
            number: pull.number,
            source: pull.source.clone(),
            target: pull.target.clone(),
            title: pull.title.clone(),
            description: pull.body.clone(),
            state: match pull.state {
                State::Open => "open",
                State::Merged => "merged",
                State::Closed => "closed",
            },
            labels: pull.labels.clone(),
            merge_commit: pull.merge_commit.clone(),
        });
        seen.collect()
    }

    /// Somebody opens a pull request.
    pub fn open(&self, source: &str, target: &str) -> u64 {
        self.shared.world().open(source, target, "By hand", "").expect("both branches are there")
    }

    /// Somebody opens one from a branch of this name in a fork.
    pub fn open_from_fork(&self, source: &str, target: &str) -> u64 {
        let number = self.open(source, target);
        self.shared.world().pull_mut(number).expect("it was just opened").from_fork = true;
        number
    }

    /// Somebody merges a pull request, past all that is required.
    pub fn merge(&self, number: u64) -> String {
        self.shared.world().merge_by_hand(number)
    }

    /// Somebody closes a pull request without merging it.
    pub fn close(&self, number: u64) {
        self.shared.world().close(number);
    }

    /// Somebody makes a pull request a draft, or ready.
    pub fn set_draft(&self, number: u64, draft: bool) {
        self.shared.world().pull_mut(number).expect("it is there").draft = draft;
    }

    /// Somebody rewrites a pull request's description.
    pub fn describe(&self, number: u64, description: &str) {
        self.shared.world().pull_mut(number).expect("it is there").body = description.to_owned();
    }

    /// Every target branch requires `what` before a merge, or nothing any more.
    pub fn require(&self, what: Option<&str>) {
        self.shared.world().required = what.map(str::to_owned);
    }

    /// Pull requests that are opened from now on are looked at so many times before the server knows whether they can be merged.
    pub fn check_slowly(&self, looks: u32) {
        self.shared.world().unchecked = looks;
    }

    /// Merges go on behind their answer, until the pull request was looked at so many times. Only Azure DevOps, Bitbucket Cloud and GitLab
    /// do that.
    pub fn merge_slowly(&self, looks: u32) {
        self.shared.world().merging = looks;
    }

    /// The repository does not allow this way to merge.
    pub fn forbid_method(&self, method: &str) {
        self.shared.world().forbidden_method = Some(method.to_owned());
    }

    /// The requests so far, as `METHOD /path`.
    pub fn requests(&self) -> Vec<String> {
        self.shared.wire().log.clone()
    }

    /// The header `Authorization` of each request so far.
    pub fn authorizations(&self) -> Vec<Option<String>> {
        self.shared.wire().authorizations.clone()
    }

    /// Lets the request after the next `ahead` ones go wrong.
    pub fn fault_after(&self, ahead: usize, fault: Fault) {
        let mut wire = self.shared.wire();
        let number = wire.log.len() + ahead;
        wire.at.insert(number, fault);
    }

    /// Waits until a request hangs, and is done: the moment at which to kill whoever made it.
    pub async fn hung(&self) {
        self.shared.hung.notified().await;
    }

    /// Lets every request go wrong, or none any more.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.shared.wire().always = fault;
    }

    /// GitHub only: knows an App by its id and public key (an RSA key as PKCS#1 has it), whose tokens are good for `seconds`.
    pub fn install_app(&self, id: &str, public_key: &[u8], seconds: i64) {
        self.shared.wire().app = github::App::new(id, public_key, seconds);
    }

    /// GitHub only: how many tokens the App was given.
    pub fn app_tokens(&self) -> usize {
        self.shared.wire().app.tokens.len()
    }

    /// GitHub only: accepts none of the tokens any more that the App was given.
    pub fn revoke_app_tokens(&self) {
        self.shared.wire().app.revoke();
    }
}

impl Drop for FakeForge {
    fn drop(&mut self) {
        self.task.abort();
    }
}
