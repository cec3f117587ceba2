use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kargo_core::plugin::{Context, DiscoverRequest, Discovery, Source};
use kargo_core::testing::ManualClock;
use kargo_core::{Actor, Clock, ErrorKind, Result};
use kargo_oci::testing::{BearerAuth, Fault, Registry, RegistryAuth};
use kargo_oci::{
    Client, CredentialSource, Credentials, DockerConfig, ImageSource, ImageSpec, ImageSubscription, StaticCredentials,
};
use secrecy::SecretString;
use tokio::sync::Mutex;

use crate::{cx, repository};

const PASSWORD: &str = "correct horse";

fn client_with(registry: &Registry, password: &str) -> Client {
    let credentials = StaticCredentials::new().with(registry.host(), Credentials::basic("robot", password));
    Client::builder().credentials(credentials).build().unwrap()
}

async fn guarded(auth: impl Into<RegistryAuth>) -> Registry {
    let registry = Registry::builder().auth(auth).start().await;
    for name in ["app", "other"] {
        registry.put_image(name, "1.0.0", &ImageSpec::default());
    }
    registry
}

fn bearer() -> BearerAuth {
    BearerAuth::new("robot", PASSWORD)
}

#[tokio::test]
async fn a_password_is_sent_once_it_is_asked_for_and_from_then_on_at_once() {
    let registry = guarded(RegistryAuth::basic("robot", PASSWORD)).await;
    let client = client_with(&registry, PASSWORD);
    for expected in [vec![401, 200], vec![200]] {
        registry.clear_requests();
        client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap();
        assert_eq!(registry.requests().iter().map(|request| request.status).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_wrong_password_names_the_user_and_the_repository_but_not_the_password() {
    for auth in [RegistryAuth::basic("robot", PASSWORD), bearer().into()] {
        let registry = guarded(auth).await;
        let client = client_with(&registry, "hunter2");
        for _ in 0..2 {
            let error = client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthenticated);
            let text = format!("{} {error:?} {client:?}", error.report());
            assert!(text.contains("robot") && text.contains("app"), "{text}");
            assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{text}");
        }
    }
}

#[tokio::test]
async fn missing_credentials_are_called_missing() {
    let registry = guarded(RegistryAuth::basic("robot", PASSWORD)).await;
    let error = crate::client().list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.message().contains("none are configured"), "{error}");
}

#[tokio::test]
async fn anonymous_tokens_are_fetched_without_a_password() {
    let registry = guarded(BearerAuth::anonymous()).await;
    crate::client().list_tags(&cx(), &repository(&registry, "app")).await.unwrap();
    let requests = registry.requests();
    assert_eq!(requests.iter().map(|request| request.status).collect::<Vec<_>>(), [401, 200, 200]);
    assert_eq!(requests[1].authorization, None);
}

#[tokio::test]
async fn oci_17_the_scope_of_the_challenge_is_asked_for_exactly() {
    let registry = guarded(bearer().list_action("metadata_read")).await;
    let client = client_with(&registry, PASSWORD);
    client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap();
    client.manifest(&cx(), &repository(&registry, "app"), "1.0.0").await.unwrap();
    let scopes: Vec<String> = registry
        .requests()
        .into_iter()
        .filter(|request| request.path == "/token")
        .map(|request| {
            request.query.split('&').find_map(|pair| pair.strip_prefix("scope=").map(str::to_owned)).unwrap()
        })
        .collect();
    assert_eq!(scopes, ["repository%3Aapp%3Ametadata_read", "repository%3Aapp%3Apull"]);
}

#[tokio::test]
async fn oci_18_a_token_without_a_lifetime_is_kept_for_a_minute_and_then_renewed() {
    let registry = guarded(bearer().expires_in(None)).await;
    let client = client_with(&registry, PASSWORD);
    let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
    let cx = Context::new(Arc::clone(&clock) as Arc<dyn Clock>, Actor::engine(), "test");
    for (pause, tokens) in [(0, 1), (30, 1), (29, 2), (30, 2)] {
        clock.advance(Duration::from_secs(pause));
        client.list_tags(&cx, &repository(&registry, "app")).await.unwrap();
        assert_eq!(registry.count("GET", "/token"), tokens, "after another {pause} s");
    }
}

#[tokio::test]
async fn oci_19_tokens_are_kept_by_repository_not_by_host() {
    let registry = guarded(bearer()).await;
    let client = client_with(&registry, PASSWORD);
    for name in ["app", "other", "app", "other"] {
        client.list_tags(&cx(), &repository(&registry, name)).await.unwrap();
    }
    assert_eq!(registry.count("GET", "/token"), 2);
    assert_eq!(registry.count("", ""), 2 * (1 + 1 + 1) + 2);
    let asked = registry.requests().into_iter().filter(|request| request.path == "/token");
    let repository =
        |query: &str| query.contains("repository%3Aapp%3Apull") || query.contains("repository%3Aother%3Apull");
    assert!(asked.into_iter().all(|request| repository(&request.query)), "no token is for the host alone");
    assert!(
        registry.requests().iter().all(|request| request.path != "/v2/"),
        "nothing is asked for the sake of asking"
    );
}

#[tokio::test]
async fn oci_20_a_challenge_without_a_scope_and_a_token_by_its_other_name_are_fine() {
    let registry = guarded(bearer().without_scope().field("access_token")).await;
    let client = client_with(&registry, PASSWORD);
    assert_eq!(client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap(), ["1.0.0"]);
    let token = registry.requests().into_iter().find(|request| request.path == "/token").unwrap();
    assert!(token.query.contains("scope=repository%3Aapp%3Apull"), "{token:?}");
}

#[tokio::test]
async fn oci_21_a_token_that_is_rejected_early_is_renewed_once() {
    let registry = guarded(bearer()).await;
    let client = client_with(&registry, PASSWORD);
    client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap();
    registry.expire_tokens();
    registry.clear_requests();
    client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap();
    assert_eq!(registry.requests().iter().map(|request| request.status).collect::<Vec<_>>(), [401, 200, 200]);
    // A registry that rejects every token gets one new one, not an endless row of them.
    registry.inject(Fault::status(401).on("tags/list"));
    registry.clear_requests();
    let error = client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(registry.requests().len(), 3);
}

/// Credentials that change, and count how often they are asked for.
#[derive(Debug)]
struct Changing {
    password: Mutex<Result<SecretString, &'static str>>,
    asked: AtomicUsize,
}

impl Changing {
    fn new(password: &str) -> Arc<Self> {
        Arc::new(Self { password: Mutex::new(Ok(password.into())), asked: AtomicUsize::new(0) })
    }
}

#[derive(Debug)]
struct Shared(Arc<Changing>);

#[async_trait]
impl CredentialSource for Shared {
    async fn get(&self, _host: &str, _repository: &str) -> Result<Credentials> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        match &*self.0.password.lock().await {
            Ok(password) => Ok(Credentials::basic("robot", password.clone())),
            Err(message) => Err(kargo_core::Error::new(ErrorKind::Unavailable, *message)),
        }
    }
}

#[tokio::test]
async fn oci_21_a_password_that_was_changed_is_read_again_without_a_restart() {
    for auth in [RegistryAuth::basic("robot", PASSWORD), bearer().into()] {
        let registry = guarded(auth).await;
        let source = Changing::new(PASSWORD);
        let client = Client::builder().credentials(Shared(Arc::clone(&source))).tries(1).build().unwrap();
        let app = repository(&registry, "app");
        client.list_tags(&cx(), &app).await.unwrap();
        client.list_tags(&cx(), &app).await.unwrap();
        assert_eq!(source.asked.load(Ordering::Relaxed), 1);

        registry.set_password("battery staple");
        registry.expire_tokens();
        // A source that fails once is asked again the next time.
        *source.password.lock().await = Err("the vault is sealed");
        let error = client.list_tags(&cx(), &app).await.unwrap_err();
        assert!(error.message().contains("sealed"), "{error}");
        *source.password.lock().await = Ok("battery staple".into());
        assert_eq!(client.list_tags(&cx(), &app).await.unwrap(), ["1.0.0"]);
    }
}

#[tokio::test]
async fn many_requests_at_once_share_one_token_and_one_question_for_credentials() {
    let registry = guarded(bearer()).await;
    let source = Changing::new(PASSWORD);
    let client = Client::builder().credentials(Shared(Arc::clone(&source))).build().unwrap();
    let (cx, app) = (cx(), repository(&registry, "app"));
    futures::future::try_join_all((0..20).map(|_| client.list_tags(&cx, &app))).await.unwrap();
    assert_eq!(registry.count("GET", "/token"), 1);
    assert_eq!(source.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_foreign_token_server_never_sees_the_password() {
    let thief = guarded(BearerAuth::anonymous()).await;
    let registry = guarded(bearer().realm(format!("http://{}/token", thief.host()))).await;
    let error = client_with(&registry, PASSWORD).list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.message().contains(thief.host()), "{error}");
    assert!(thief.requests().is_empty());

    // The operator can say that it is no thief.
    let credentials = StaticCredentials::new().with(registry.host(), Credentials::basic("robot", PASSWORD));
    let client = Client::builder().credentials(credentials).trust_realm(thief.host()).build().unwrap();
    let _ = client.list_tags(&cx(), &repository(&registry, "app")).await;
    assert_eq!(thief.count("GET", "/token"), 1);
}

#[tokio::test]
async fn credentials_of_one_repository_are_not_used_for_another() {
    let registry = guarded(RegistryAuth::basic("robot", PASSWORD)).await;
    let prefix = format!("{}/app", registry.host());
    let credentials = StaticCredentials::new().with(prefix, Credentials::basic("robot", PASSWORD));
    let client = Client::builder().credentials(credentials).build().unwrap();
    client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap();
    registry.clear_requests();
    client.list_tags(&cx(), &repository(&registry, "other")).await.unwrap_err();
    assert!(registry.requests().iter().all(|request| request.authorization.is_none()));
}

#[tokio::test]
async fn a_token_server_may_leave_one_of_the_two_names_of_the_token_empty() {
    let registry = guarded(bearer()).await;
    registry.inject(Fault::body("application/json", r#"{"token": "", "access_token": "x"}"#).on("/token"));
    let error = client_with(&registry, PASSWORD).list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
    // The token is found, and the registry, which has given no such token, does not accept it.
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
}

#[tokio::test]
async fn the_password_of_a_proxy_does_not_show() {
    let proxy = reqwest::Proxy::all("http://me:hunter2@127.0.0.1:9").unwrap();
    let builder = Client::builder().http(reqwest::Client::builder().proxy(proxy)).tries(1);
    let shown = format!("{builder:?}");
    let client = builder.build().unwrap();
    let app = kargo_oci::Repository::parse("registry.example/app").unwrap();
    let error = client.list_tags(&cx(), &app).await.unwrap_err();
    let shown = format!("{shown} {error:?} {} {client:?}", error.report());
    assert!(!shown.contains("hunter2") && !shown.contains("bWU6aHVudGVyMg"), "{shown}");
}

fn client_as(registry: &Registry, credentials: Credentials) -> Client {
    let credentials = StaticCredentials::new().with(registry.host(), credentials);
    Client::builder().credentials(credentials).tries(1).build().unwrap()
}

#[tokio::test]
async fn an_identity_token_is_exchanged_in_the_body_of_a_post_and_the_result_is_kept() {
    let registry = guarded(bearer().identity("refresh me")).await;
    let client = client_as(&registry, Credentials::identity("refresh me"));
    for expected in [vec![("GET", 401), ("POST", 200), ("GET", 200)], vec![("GET", 200)]] {
        registry.clear_requests();
        client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap();
        let requests = registry.requests();
        let seen: Vec<_> = requests.iter().map(|request| (request.method.as_str(), request.status)).collect();
        assert_eq!(seen, expected);
        assert!(requests.iter().all(|request| !format!("{request:?}").contains("refresh")), "{requests:?}");
    }
    let error = client_as(&registry, Credentials::identity("hunter2"))
        .list_tags(&cx(), &repository(&registry, "app"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.message().contains("identity token") && !format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn an_identity_token_does_not_go_to_a_foreign_token_server_either() {
    let thief = guarded(BearerAuth::anonymous()).await;
    let registry = guarded(bearer().realm(format!("http://{}/token", thief.host()))).await;
    let client = client_as(&registry, Credentials::identity("refresh me"));
    assert!(client.list_tags(&cx(), &repository(&registry, "app")).await.is_err());
    assert!(thief.requests().is_empty());
}

#[tokio::test]
async fn a_token_is_shown_as_it_is_and_to_the_registry_alone() {
    let thief = guarded(BearerAuth::anonymous()).await;
    let registry = guarded(bearer().realm(format!("http://{}/token", thief.host()))).await;
    registry.accept_token("made elsewhere", &["repository:app:pull"]);
    let client = client_as(&registry, Credentials::bearer("made elsewhere"));
    client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap();
    assert_eq!(registry.requests().last().unwrap().authorization.as_deref(), Some("Bearer made elsewhere"));
    let error = client.list_tags(&cx(), &repository(&registry, "other")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!format!("{error:?}").contains("made elsewhere"));
    assert!(thief.requests().is_empty());
}

#[tokio::test]
async fn oci_16_missing_credentials_name_those_that_are_near() {
    let registry = guarded(RegistryAuth::basic("robot", PASSWORD)).await;
    let near = format!("{}/acme", registry.host());
    let credentials = StaticCredentials::new()
        .with(near.clone(), Credentials::basic("robot", PASSWORD))
        .with("ghcr.io", Credentials::basic("other", "x"));
    let client = Client::builder().credentials(credentials).build().unwrap();
    let error = client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
    assert!(error.message().contains(&near) && !error.message().contains("ghcr.io"), "{error}");
}

#[tokio::test]
async fn what_was_learned_with_one_credential_is_not_told_to_another() {
    let registry = guarded(RegistryAuth::basic("robot", PASSWORD)).await;
    let credentials = Changing::new(PASSWORD);
    let client = Client::builder().credentials(Shared(Arc::clone(&credentials))).tries(1).build().unwrap();
    let source = ImageSource::new(client);
    let subscription = ImageSubscription::new(format!("{}/app", registry.host())).immutable_tags(true);
    let config = kargo_core::Subscription::from(subscription).config;
    let request = DiscoverRequest::new(&config);
    let Discovery::Found { cursor, .. } = source.discover(&cx(), &request).await.unwrap() else { panic!() };
    // The same memory and the same cursor, but somebody who may not look.
    *credentials.password.lock().await = Ok("of nobody".into());
    registry.set_password("battery staple");
    for cursor in [None, cursor.as_ref()] {
        let error = source.discover(&cx(), &request.clone().with_cursor(cursor)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    }
}

#[tokio::test]
async fn oci_16_a_docker_configuration_names_what_is_near_too() {
    let registry = guarded(RegistryAuth::basic("robot", PASSWORD)).await;
    let near = format!("{}/acme", registry.host());
    let json = serde_json::json!({
        "auths": {format!("https://{near}/"): {"auth": "hunter2"}, "ghcr.io": {}}, "credHelpers": {"example.com": "x"},
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    std::fs::write(&path, json.to_string()).unwrap();
    for config in [DockerConfig::text(json.to_string()), DockerConfig::at(&path)] {
        let client = Client::builder().credentials(config).build().unwrap();
        let error = client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
        assert!(error.message().contains(&near) && !error.message().contains("ghcr.io"), "{error}");
        assert!(!error.report().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_token_is_for_one_password_one_token_server_and_one_service() {
    let registry = guarded(bearer().expires_in(Some(3_600))).await;
    let source = Changing::new(PASSWORD);
    let client = Client::builder().credentials(Shared(Arc::clone(&source))).tries(1).build().unwrap();
    let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
    let cx = || Context::new(Arc::clone(&clock) as Arc<dyn Clock>, Actor::engine(), "test");
    let app = repository(&registry, "app");
    client.list_tags(&cx(), &app).await.unwrap();
    // The same scope, for other purposes: of another service, and then at another address.
    let wanted = |path: &str| {
        let realm = format!("http://{}/{path}", registry.host());
        format!("Bearer realm=\"{realm}\",service=\"another\",scope=\"repository:app:pull\"")
    };
    let asked = |text: &str| {
        registry.requests().iter().filter(|request| request.path == "/token" && request.query.contains(text)).count()
    };
    let fault = |path: &str| Fault::status(401).with_header("www-authenticate", wanted(path)).times(1);
    registry.inject(fault("token").on("/manifests/1.0.0"));
    client.manifest(&cx(), &app, "1.0.0").await.unwrap();
    assert_eq!((asked(""), asked("service=another")), (2, 1));
    registry.inject(fault("token?elsewhere=yes").on("/blobs/sha256").method("HEAD"));
    client.push_blob(&cx(), &app, b"x".to_vec()).await.unwrap();
    assert_eq!(asked("elsewhere=yes"), 1);
    // With another password the token of the one before is worth nothing, as soon as it is known to be another one.
    *source.password.lock().await = Ok("of nobody".into());
    client.list_tags(&cx(), &app).await.unwrap();
    clock.advance(Duration::from_secs(301));
    let error = client.list_tags(&cx(), &app).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
}

/// Knows nothing, and takes its time over that.
#[derive(Debug)]
struct Slow;

#[async_trait]
impl CredentialSource for Slow {
    async fn get(&self, _host: &str, _repository: &str) -> Result<Credentials> {
        std::future::pending().await
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(50)
    }
}

#[tokio::test]
async fn a_source_of_credentials_has_as_long_as_it_says() {
    let registry = Registry::builder().auth(BearerAuth::new("robot", "right")).start().await;
    let client = Client::builder().credentials(Slow).tries(1).build().unwrap();
    let error = client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.message().contains("50ms"), "{error}");
    let patient = DockerConfig::text("{}").helper_deadline(Duration::from_secs(90));
    assert!(CredentialSource::deadline(&patient) > Duration::from_secs(90));
}
