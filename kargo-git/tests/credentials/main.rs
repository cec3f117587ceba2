//! Credentials that are asked for, in each look, each step and each attempt to push.
#![allow(missing_docs, clippy::unwrap_used)]

mod logs;
mod server;
#[cfg(unix)]
mod ssh;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kargo_core::plugin::{
    Context, Cursor, DiscoverRequest, Discovery, History as _, Plugins, Relation, Source as _, WriteRequest,
    Writer as _,
};
use kargo_core::testing::ManualClock;
use kargo_core::{Actor, Clock, ErrorKind, Freight, PromotionInfo, Retry, Subscription};
use kargo_git::testing::StepByStep;
use kargo_git::{
    CredentialKind, CredentialSource, Credentials, GitCache, GitSource, GitSteps, GitSubscription, GitWriter,
    NamedCredentials, Remote, YamlUpdate,
};
use serde_json::{Map, Value, json};

use server::Server;

const HOUR: Duration = Duration::from_secs(3600);

/// Gives tokens that are good for an hour, and keeps the last one until shortly before its end or until it was refused.
#[derive(Debug)]
struct Hourly {
    name: Mutex<String>,
    clock: Arc<ManualClock>,
    given: Mutex<Given>,
}

#[derive(Debug, Default)]
struct Given {
    asked: usize,
    refused: Vec<String>,
    tokens: usize,
    held: Option<(String, Timestamp)>,
    asked_for: Vec<(String, CredentialKind)>,
}

impl Hourly {
    fn new(clock: &Arc<ManualClock>) -> Arc<Self> {
        let (name, clock) = (Mutex::new("of the vault".to_owned()), clock.clone());
        Arc::new(Self { name, clock, given: Mutex::default() })
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut self.given.lock().unwrap().asked)
    }

    fn was_refused(&self) -> Vec<String> {
        std::mem::take(&mut self.given.lock().unwrap().refused)
    }
}

#[async_trait]
impl CredentialSource for Hourly {
    async fn get(&self, cx: &Context, url: &str, kind: CredentialKind) -> kargo_core::Result<Option<NamedCredentials>> {
        assert!(cx.deadline() > self.clock.now(), "it is asked in the name of a call that is over");
        let mut given = self.given.lock().unwrap();
        given.asked += 1;
        given.asked_for.push((url.to_owned(), kind));
        let now = cx.now();
        given.held = given.held.take().filter(|(_, end)| now + HOUR / 6 < *end);
        if given.held.is_none() {
            given.tokens += 1;
            given.held = Some((format!("s3cret-{}", given.tokens), now + HOUR));
        }
        let (token, _) = given.held.clone().unwrap();
        let name = self.name.lock().unwrap().clone();
        Ok(Some(NamedCredentials::new(name, Credentials::basic("x-access-token", token))))
    }

    async fn refused(&self, _: &Context, _: &str, refused: &NamedCredentials) {
        let mut given = self.given.lock().unwrap();
        given.refused.push(refused.name.clone());
        given.held = None;
    }
}

struct World {
    server: Server,
    clock: Arc<ManualClock>,
    source: Arc<Hourly>,
}

impl World {
    /// Tokens are good until their end by the clock.
    fn new() -> Self {
        let server = Server::new();
        let clock = Arc::new(ManualClock::at("2026-01-02T03:04:05Z"));
        let source = Hourly::new(&clock);
        let (held, now) = (source.clone(), clock.clone());
        server.lets_in(move |password| {
            let given = held.given.lock().unwrap();
            let good = given.held.as_ref().is_some_and(|(token, end)| password == Some(token) && now.now() < *end);
            if good { 200 } else { 401 }
        });
        Self { server, clock, source }
    }

    fn access(&self) -> GitSource {
        GitSource::new().credentials_from(self.source.clone())
    }

    fn promotion(&self, id: &str) -> StepByStep {
        StepByStep::new(id, GitSteps::new(self.access()).register(Plugins::builder()).build()).clock(self.clock.clone())
    }

    fn cx(&self, key: &str) -> Context {
        Context::new(self.clock.clone(), Actor::engine(), key)
    }

    /// The passwords of the requests since this was asked last, without those that follow the same one.
    fn passwords(&self) -> Vec<String> {
        let mut passwords: Vec<String> =
            self.server.seen().into_iter().map(|seen| seen.password.unwrap_or_default()).collect();
        passwords.dedup();
        passwords
    }
}

async fn clone(promotion: &mut StepByStep, server: &Server) {
    promotion.run("git-clone", json!({"repoURL": server.url, "checkout": [{"path": "src", "branch": "main"}]})).await;
}

async fn change(promotion: &mut StepByStep, tag: &str) {
    promotion.write("src/env/dev/values.yaml", &format!("tag: {tag}\n")).await;
    promotion.run("git-commit", json!({"path": "src", "message": format!("Set {tag}")})).await;
}

async fn push(promotion: &mut StepByStep) -> Map<String, Value> {
    promotion.run("git-push", json!({"path": "src"})).await
}

#[tokio::test]
async fn git_18_a_promotion_that_takes_longer_than_a_token_pushes_with_the_next_one() {
    let world = World::new();
    let mut promotion = world.promotion("dev.1");
    clone(&mut promotion, &world.server).await;
    assert_eq!((world.source.asked(), world.passwords()), (1, vec!["s3cret-1".to_owned()]));
    assert_eq!(promotion.read("src/env/dev/values.yaml").await.unwrap(), "tag: v1\n");
    assert_eq!(world.passwords(), ["s3cret-1"]);

    // People think about it.
    world.clock.advance(2 * HOUR);
    change(&mut promotion, "v2").await;
    // What is read for the first time now is read with a token of now.
    assert_eq!(promotion.read("src/docs/far/away").await.unwrap(), "Hello\n");
    assert_eq!(world.passwords(), ["s3cret-2"]);
    // Somebody was quicker, so that commits have to be made again on top, for which more is read.
    world.server.repository.commit("main", &[("env/prod/values.yaml", "tag: v9\n")], "Theirs");
    world.clock.advance(2 * HOUR);
    world.source.asked();
    let outputs = push(&mut promotion).await;
    assert_eq!(json!(world.server.repository.head("main")), outputs["commit"]);
    // One attempt, one question, one token for all of its requests.
    assert_eq!((world.source.asked(), world.passwords()), (1, vec!["s3cret-3".to_owned()]));

    world.clock.advance(2 * HOUR);
    promotion.run("git-tag", json!({"path": "src", "tag": "v2", "message": "Release"})).await;
    promotion.run("git-push", json!({"path": "src", "tag": "v2"})).await;
    assert_eq!(world.passwords(), ["s3cret-4"]);
    assert!(world.source.was_refused().is_empty(), "no token was used behind its end");
    let asked_for = &world.source.given.lock().unwrap().asked_for;
    assert!(asked_for.iter().all(|asked| *asked == (world.server.url.clone(), CredentialKind::Password)));
}

#[tokio::test]
async fn git_18_a_token_that_is_refused_before_its_end_is_replaced_once() {
    let world = World::new();
    for status in [401, 403] {
        let mut promotion = world.promotion(&format!("dev.{status}"));
        clone(&mut promotion, &world.server).await;
        change(&mut promotion, &format!("v{status}")).await;
        // Between the reading of the refs and the push, somebody revokes all tokens that there are.
        let (first, count) = (world.source.given.lock().unwrap().tokens, Mutex::new(0));
        world.server.lets_in(move |password| {
            let mut count = count.lock().unwrap();
            *count += 1;
            let old = password == Some(format!("s3cret-{first}").as_str());
            if old && *count > 1 { status } else { 200 }
        });
        world.server.seen();
        let outputs = push(&mut promotion).await;
        assert_eq!(json!(world.server.repository.head("main")), outputs["commit"]);
        let refused: Vec<u16> =
            world.server.seen().iter().map(|seen| seen.status).filter(|status| *status != 200).collect();
        assert_eq!((refused, world.source.was_refused()), (vec![status], vec!["of the vault".to_owned()]), "{status}");
        assert_eq!(world.source.given.lock().unwrap().tokens, first + 1);
    }
    let log = world.server.repository.log("main");
    assert_eq!(log.len(), 3, "each was pushed once");
}

#[tokio::test]
async fn git_18_a_push_that_is_refused_at_its_last_request_is_made_again_with_another_token() {
    let world = World::new();
    let mut promotion = world.promotion("dev.1");
    clone(&mut promotion, &world.server).await;
    change(&mut promotion, "v2").await;
    world.server.seen();
    // A first push of another promotion shows how many requests there are before the one that counts.
    world.server.lets_in(|_| 200);
    let before = {
        let mut other = world.promotion("dev.0");
        clone(&mut other, &world.server).await;
        world.server.seen();
        other.write("src/other", "1").await;
        other.run("git-commit", json!({"path": "src", "message": "Other"})).await;
        other.run("git-push", json!({"path": "src", "targetBranch": "other"})).await;
        let seen = world.server.seen();
        assert_eq!(seen.last().unwrap().what, "git-receive-pack");
        seen.len() - 1
    };
    let count = Mutex::new(0);
    world.server.lets_in(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if *count == before + 1 { 401 } else { 200 }
    });
    promotion.run("git-push", json!({"path": "src", "targetBranch": "new"})).await;
    let seen: Vec<(String, u16)> = world.server.seen().into_iter().map(|seen| (seen.what, seen.status)).collect();
    let last = [("git-receive-pack".to_owned(), 401), ("git-receive-pack".to_owned(), 200)];
    assert_eq!(seen[seen.len() - 2..], last, "{seen:?}");
    assert_eq!(world.server.repository.log("new").len(), 2);
}

#[tokio::test]
async fn git_19_what_is_refused_for_good_is_named_and_not_tried_for_ever() {
    let world = World::new();
    for (status, kind) in
        [(401, ErrorKind::Unauthenticated), (403, ErrorKind::PermissionDenied), (404, ErrorKind::NotFound)]
    {
        world.server.lets_in(move |_| status);
        let mut promotion = world.promotion("dev.1");
        let config = json!({"repoURL": world.server.url, "checkout": [{"path": "src"}]});
        let error = promotion.try_run("git-clone", config).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, Retry::Never), "{error}");
        assert!(error.message().contains("the credentials of the vault (user x-access-token)"), "{error}");
        assert!(!format!("{} {error:?}", error.report()).contains("s3cret"), "{error:?}");
        let (seen, refused) = (world.server.seen(), world.source.was_refused().len());
        // Of what is not there nobody knows whether a token would show it.
        let tries = if status == 404 { 1 } else { 2 };
        assert_eq!((seen.len(), refused), (tries, tries - 1), "{seen:?}");
    }
    let printed = format!("{:?} {:?}", world.access(), world.access().remote(&world.server.url).unwrap());
    assert!(!printed.contains("s3cret"), "{printed}");
}

/// Has nothing, and says so.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl CredentialSource for Nothing {
    async fn get(&self, _: &Context, _: &str, _: CredentialKind) -> kargo_core::Result<Option<NamedCredentials>> {
        Ok(None)
    }
}

#[tokio::test]
async fn git_19_that_there_are_no_credentials_is_said_and_given_ones_come_first() {
    let server = Server::new();
    server.wants("given");
    let tip =
        async |access: GitSource, url: &str| access.remote(url).unwrap().tip(&Context::system("tip"), "main").await;
    let nothing = GitSource::new().credentials_from(Nothing);
    let error = tip(nothing.clone(), &server.url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.message().contains("none are set up for it"), "{error}");
    assert_eq!(server.seen().len(), 1);

    let given = nothing.clone().credentials(&server.url, Credentials::basic("kargo", "given"));
    tip(given, &server.url).await.unwrap();
    let in_url = server.url.replace("http://", "http://kargo:given@");
    tip(nothing, &in_url).await.unwrap();

    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let hourly = Hourly::new(&clock);
    let given = GitSource::new()
        .credentials_from(hourly.clone())
        .credentials(&server.url, Credentials::basic("kargo", "given"));
    tip(given, &server.url).await.unwrap();
    assert_eq!(hourly.asked(), 0);
}

/// Has nothing at first, and a token later.
#[derive(Debug, Default)]
struct Later(Mutex<Option<&'static str>>);

#[async_trait]
impl CredentialSource for Later {
    async fn get(&self, _: &Context, _: &str, _: CredentialKind) -> kargo_core::Result<Option<NamedCredentials>> {
        let token = *self.0.lock().unwrap();
        Ok(token.map(|token| NamedCredentials::new("of the vault", Credentials::basic("kargo", token))))
    }
}

#[tokio::test]
async fn credentials_that_come_after_a_redirect_to_another_server_stay_at_home() {
    let elsewhere = Server::new();
    elsewhere.lets_in(|_| 200);
    let home = server::redirecting_to(&elsewhere.url);
    let (clock, source) = (Arc::new(ManualClock::at("2026-01-02T03:04:05Z")), Arc::new(Later::default()));
    let steps = GitSteps::new(GitSource::new().credentials_from(source.clone()));
    let mut promotion = StepByStep::new("dev.1", steps.register(Plugins::builder()).build()).clock(clock.clone());
    let config = json!({"repoURL": home, "checkout": [{"path": "src", "branch": "main"}]});
    promotion.run("git-clone", config).await;
    // The checkout goes on where the redirect led.
    *source.0.lock().unwrap() = Some("s3cret");
    clock.advance(2 * HOUR);
    assert_eq!(promotion.read("src/docs/far/away").await.unwrap(), "Hello\n");
    change(&mut promotion, "v2").await;
    push(&mut promotion).await;
    let seen = elsewhere.seen();
    assert!(seen.len() > 3 && seen.iter().all(|seen| seen.password.is_none()), "{seen:?}");
}

async fn look(world: &World, source: &GitSource, cursor: Option<&Cursor>) -> kargo_core::Result<Discovery> {
    let config = Subscription::from(GitSubscription::new(&world.server.url).branch("main")).config;
    let mut request = DiscoverRequest::new(&config);
    request.cursor = cursor;
    source.discover(&world.cx("look"), &request).await
}

#[tokio::test]
async fn git_18_what_was_learned_stays_when_a_token_is_renewed_and_is_told_to_nobody_else() {
    let world = World::new();
    let cache = GitCache::new();
    let source = world.access().cache(cache.clone());
    let found = async |source: &GitSource| match look(&world, source, None).await.unwrap() {
        Discovery::Found { .. } => world.server.seen().len(),
        other => panic!("{other:?}"),
    };
    let first = found(&source).await;
    assert!(first > 1, "{first}");
    for _ in 0..3 {
        world.clock.advance(2 * HOUR);
        assert_eq!(found(&source).await, 1, "with a new token nothing but the refs is asked for");
    }
    assert_eq!(world.source.given.lock().unwrap().tokens, 4);
    // Another source's credentials may have the same name and open something else.
    let other = GitSource::new().credentials_from(world.source.clone()).cache(cache.clone());
    assert_eq!(found(&other).await, first);
    // And what another name answers for is another's.
    *world.source.name.lock().unwrap() = "of somebody else".to_owned();
    assert_eq!(found(&source).await, first);
    *world.source.name.lock().unwrap() = "of the vault".to_owned();
    assert_eq!(found(&source).await, 2, "only the server introduces itself again");
}

#[tokio::test]
async fn a_look_does_not_go_on_under_another_name_but_the_next_one_does() {
    let world = World::new();
    let source = world.access();
    look(&world, &source, None).await.unwrap();
    // The vault hands the repository over to somebody else, and revokes what it gave.
    let name = world.source.clone();
    world.server.lets_in(move |password| {
        *name.name.lock().unwrap() = "of somebody else".to_owned();
        if password == Some("s3cret-1") { 401 } else { 200 }
    });
    world.server.seen();
    let error = look(&world, &source, None).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Backoff), "{error}");
    assert!(error.to_string().contains("of the vault") && error.to_string().contains("of somebody else"), "{error}");
    assert_eq!(world.server.seen().len(), 1);
    look(&world, &source, None).await.unwrap();
}

#[tokio::test]
async fn a_writer_asks_in_each_attempt_too() {
    let world = World::new();
    let remote = Remote::builder(&world.server.url).credentials_from(world.source.clone()).build().unwrap();
    let writer = GitWriter::new(remote.clone());
    let write = async |id: &str, tag: &str| {
        let at = world.clock.now();
        let promotion = PromotionInfo::new("shop", id, "dev", Freight::new("main", vec![], at), Actor::engine(), at);
        let config = serde_json::to_value(YamlUpdate::new("env/dev/values.yaml").set("tag", tag)).unwrap();
        let cx = world.cx(&format!("{id}/step-1"));
        writer.write(&cx, &WriteRequest::new(&promotion, &config, at)).await.unwrap().revision
    };
    let first = write("dev.1", "v2").await;
    world.clock.advance(2 * HOUR);
    world.passwords();
    let second = write("dev.2", "v3").await;
    assert_eq!(world.passwords(), ["s3cret-2"]);
    world.clock.advance(2 * HOUR);
    let cx = world.cx("read");
    assert_eq!(remote.relate(&cx, &second, &first).await.unwrap(), Relation::Later);
    assert_eq!(remote.tip(&cx, "main").await.unwrap(), second);
    assert_eq!(remote.read(&cx, "main", "env/dev/values.yaml").await.unwrap().unwrap(), b"tag: v3\n");
    assert_eq!(world.passwords(), ["s3cret-3"]);
    assert!(world.source.was_refused().is_empty());
}
