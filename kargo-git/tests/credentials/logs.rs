//! What is logged, at its most talkative.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use kargo_core::Subscription;
use kargo_core::plugin::{Context, DiscoverRequest, Plugins, Source as _};
use kargo_git::testing::StepByStep;
use kargo_git::testing::forge::FakeForge;
use kargo_git::{
    CredentialRules, Credentials, Forges, GitSource, GitSteps, GitSubscription, Provider, PullRequestQuery,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::server::Server;
use crate::{change, clone, push};

const SECRET: &str = "h0w-nobody-logs-this";

/// Keeps all that is said, by whatever library in the process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut log = self.0.lock().unwrap();
        log.push_str(attributes.metadata().name());
        attributes.record(&mut Words(&mut log));
        log.push('\n');
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Words(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut log = self.0.lock().unwrap();
        log.push_str(event.metadata().target());
        event.record(&mut Words(&mut log));
        log.push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What libraries say through the crate `log` comes to the same place.
impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let _ = writeln!(self.0.lock().unwrap(), "{} {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn secrets_are_in_no_log_however_much_of_it_is_asked_for() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    log::set_boxed_logger(Box::new(log.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    let server = Server::new();
    server.wants(SECRET);
    let host = server.url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let rules =
        CredentialRules::new().ask(&host, CredentialRules::new().with(&host, Credentials::basic("kargo", SECRET)));
    let access = GitSource::new().credentials_from(rules.clone());
    let config = Subscription::from(GitSubscription::new(&server.url).branch("main")).config;
    access.discover(&Context::system("look"), &DiscoverRequest::new(&config)).await.unwrap();
    let mut promotion = StepByStep::new("dev.1", GitSteps::new(access.clone()).register(Plugins::builder()).build());
    clone(&mut promotion, &server).await;
    change(&mut promotion, "v2").await;
    push(&mut promotion).await;
    // Also of what is refused, and by a forge.
    server.wants("another one");
    let config = serde_json::json!({"repoURL": server.url, "checkout": [{"path": "more"}]});
    promotion.fails("git-clone", config).await;
    let fake = FakeForge::start(Provider::GitLab).await;
    let token = fake.credentials();
    for credentials in [token, Credentials::basic("kargo", SECRET)] {
        let rules = CredentialRules::new().with(fake.host(), credentials);
        let forges = Forges::builder(rules).host(fake.host(), Provider::GitLab, None).unwrap().build().unwrap();
        let query = PullRequestQuery::new("a", "main", jiff::Timestamp::now());
        let _ = forges.repository(&fake.url()).unwrap().pull_requests(&Context::system("list"), &query).await;
    }
    tracing::trace!("the log hears {}", "this");
    log::trace!("and it hears {}", "that");

    let log = log.0.lock().unwrap().clone();
    assert!(log.contains("the log hears this") && log.contains("and it hears that"), "nothing is heard");
    assert!(log.contains("127.0.0.1"), "the libraries below have said nothing: {log}");
    for secret in [SECRET, "fake-forge-token"] {
        for written in [
            secret.to_owned(),
            STANDARD.encode(secret),
            STANDARD.encode(format!("kargo:{secret}")),
            URL_SAFE.encode(format!("kargo:{secret}")),
        ] {
            let found = log.lines().find(|line| line.contains(&written));
            assert_eq!(found, None, "{written}");
        }
    }
}
