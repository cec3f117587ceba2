//! GitHub Apps.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kargo_core::{ErrorKind, Retry};
use kargo_git::testing::forge::{FakeForge, Fault};
use kargo_git::{CredentialKind, CredentialSource, GitHubApp, Provider, Remote};

use crate::bench::{Bench, cx, number};

struct App {
    fake: FakeForge,
    app: GitHubApp,
}

fn pem(key: &KeyPair) -> String {
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()))
}

/// An App whose tokens are good for `seconds`.
async fn installed(seconds: i64) -> App {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let fake = FakeForge::start(Provider::GitHub).await;
    fake.commit("promote", &[("tag", "v2")], "Promote v2");
    fake.install_app("Iv1.abc", key.public_key().as_ref(), seconds);
    let app = GitHubApp::builder("Iv1.abc", pem(&key)).host(fake.host()).api(format!("http://{}/api/v3", fake.host()));
    App { app: app.build().unwrap(), fake }
}

#[tokio::test]
async fn git_18_one_token_serves_git_and_the_api_until_shortly_before_its_end() {
    let App { fake, app } = installed(3600).await;
    let forges = fake.forges_with(app.clone()).unwrap();
    let bench =
        Bench { forges, fake, promotion: crate::bench::promotion("prod.1"), started_at: jiff::Timestamp::now() };
    assert_eq!(number(&bench.open().await.unwrap()), 1);
    bench.merge(1).await.unwrap();
    assert_eq!(bench.fake.app_tokens(), 1);
    // For Git it is the password of a fixed user.
    let found = app.get(&cx(), &bench.fake.url(), CredentialKind::Password).await.unwrap().unwrap();
    assert_eq!(found.name, "of the GitHub App Iv1.abc");
    assert!(format!("{found:?}").contains("x-access-token") && !format!("{found:?}").contains("ghs_"), "{found:?}");
    let remote = Remote::builder(bench.fake.url()).credentials_from(app).build().unwrap();
    // This server has the API alone.
    assert_eq!(remote.tip(&cx(), "main").await.unwrap_err().kind(), ErrorKind::NotFound);
    // x-access-token:
    let sent = bench.fake.authorizations().pop().flatten().unwrap();
    assert!(sent.starts_with("Basic eC1hY2Nlc3MtdG9rZW46"), "{sent}");
    assert_eq!(bench.fake.app_tokens(), 1);
}

#[tokio::test]
async fn git_18_a_token_is_renewed_before_its_end_and_after_it_was_refused() {
    // Good for less than the margin: each call needs a new one.
    let App { fake, app } = installed(9 * 60).await;
    for expected in 1..=2 {
        app.get(&cx(), &fake.url(), CredentialKind::Password).await.unwrap().unwrap();
        assert_eq!(fake.app_tokens(), expected);
    }
    let App { fake, app } = installed(3600).await;
    let forge = fake.forges_with(app).unwrap().repository(&fake.url()).unwrap();
    forge.branch(&cx(), "main").await.unwrap().unwrap();
    fake.revoke_app_tokens();
    forge.branch(&cx(), "main").await.unwrap().unwrap();
    assert_eq!(fake.app_tokens(), 2);
}

#[tokio::test]
async fn who_asks_at_the_same_time_shares_one_token() {
    let App { fake, app } = installed(3600).await;
    let cx = cx();
    let url = fake.url();
    let all = (0..20).map(|_| app.get(&cx, &url, CredentialKind::Password));
    for found in futures::future::join_all(all).await {
        found.unwrap().unwrap();
    }
    assert_eq!(fake.app_tokens(), 1);
}

#[tokio::test]
async fn another_server_is_shown_nothing_and_another_repository_is_refused() {
    let App { fake, app } = installed(3600).await;
    let stranger = FakeForge::start(Provider::GitHub).await;
    assert!(app.get(&cx(), &stranger.url(), CredentialKind::Password).await.unwrap().is_none());
    let forge = stranger.forges_with(app.clone()).unwrap().repository(&stranger.url()).unwrap();
    assert_eq!(forge.branch(&cx(), "main").await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert_eq!(stranger.authorizations(), [None]);
    let error = app.get(&cx(), &fake.url().replace("shop", "other"), CredentialKind::Password).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("not installed for acme/other"), "{error}");
    assert!(GitHubApp::builder("1", "no key").api("http://git.example/api/v3").build().is_err());
}

#[tokio::test]
async fn trouble_with_tokens_is_not_remembered() {
    let App { fake, app } = installed(3600).await;
    for (fault, kind) in
        [(Fault::Status(503), ErrorKind::Unavailable), (Fault::RateLimited { seconds: 3 }, ErrorKind::RateLimited)]
    {
        fake.fault_after(1, fault);
        let error = app.get(&cx(), &fake.url(), CredentialKind::Password).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_ne!(error.retry(), Retry::Never);
    }
    app.get(&cx(), &fake.url(), CredentialKind::Password).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_app_with_another_key_is_not_known() {
    let App { fake, .. } = installed(3600).await;
    let app = GitHubApp::builder("Iv1.abc", pem(&KeyPair::generate(KeySize::Rsa2048).unwrap())).host(fake.host());
    let app = app.api(format!("http://{}/api/v3", fake.host())).build().unwrap();
    let error = app.get(&cx(), &fake.url(), CredentialKind::Password).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.message().contains("private key of the GitHub App Iv1.abc"), "{error}");
}
