//! Getting at a forge: tokens, pages, other hosts.

use std::time::Duration;

use kargo_core::{ErrorKind, Retry};
use kargo_git::testing::forge::{FakeForge, Fault};
use kargo_git::{CredentialRules, Credentials, Forges, Provider, RepositoryOptions};

use crate::bench::{ALL, Bench, cx};

#[tokio::test]
async fn git_19_a_token_that_is_refused_is_named_and_does_not_show() {
    for provider in ALL {
        let mut bench = Bench::new(provider).await;
        let rules = CredentialRules::new().with(bench.fake.host(), Credentials::basic("kargo", "hunter2"));
        bench.forges = bench.fake.forges_with(rules).unwrap();
        let error = bench.open().await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never), "{provider}: {error}");
        assert!(error.message().contains(&format!("the credentials for {}", bench.fake.host())), "{error}");
        assert!(!format!("{error:?} {} {:?}", error.report(), bench.forges).contains("hunter2"), "{provider}");
        assert_eq!(bench.fake.requests().len(), 1, "{provider}: servers lock accounts out");
        bench.forges = bench.fake.forges_with(CredentialRules::new()).unwrap();
        let error = bench.open().await.unwrap_err();
        assert!(error.message().contains("none are set up"), "{provider}: {error}");
    }
}

#[tokio::test]
async fn a_page_with_status_200_is_no_answer() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        bench.fake.set_fault(Some(Fault::Html));
        for outcome in [bench.open().await, bench.wait(1).await, bench.merge(1).await] {
            let error = outcome.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidResponse, Retry::Never), "{provider}");
            assert!(error.message().contains("text/html") && error.message().contains("sign-in page"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_gets_no_credentials() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        let other = FakeForge::start(provider).await;
        bench.fake.set_fault(Some(Fault::Redirect(other.url())));
        let error = bench.wait(1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{provider}");
        assert!(error.message().contains(other.host()), "{error}");
        assert!(other.requests().is_empty(), "{provider}: it was not even asked");
    }
}

#[tokio::test]
async fn a_redirect_within_the_server_is_followed_for_reading_only() {
    let bench = Bench::with_open(Provider::GitHub).await;
    let own = format!("http://{}", bench.fake.host());
    bench.fake.fault_after(0, Fault::Redirect(format!("{own}/api/v3/repos/acme/shop/pulls/1")));
    bench.wait(1).await.unwrap();
    bench.fake.fault_after(1, Fault::Redirect(format!("{own}/api/v3/repositories/1/pulls/1/merge")));
    let error = bench.merge(1).await.unwrap_err();
    assert!(error.message().contains("renamed"), "{error}");
    bench.fake.set_fault(Some(Fault::Redirect(format!("{own}/again"))));
    let error = bench.wait(1).await.unwrap_err();
    assert!(error.message().contains("redirects more than"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_down_or_hangs_is_an_error_that_another_try_can_mend() {
    for provider in ALL {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let url = match provider {
            Provider::Azure => format!("http://{host}/acme/project/_git/shop"),
            _ => format!("http://{host}/acme/shop.git"),
        };
        let api = (provider == Provider::BitbucketCloud).then(|| format!("http://{host}/2.0/"));
        let forges = Forges::builder(CredentialRules::new()).timeout(Duration::from_millis(200));
        let forges = forges.host(&host, provider, api.as_deref()).unwrap().build().unwrap();
        let forge = forges.repository(&url).unwrap();
        // It takes connections, and says nothing.
        let error = forge.pull_request(&cx(), 1).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Backoff), "{provider}: {error}");
        drop(listener);
        let error = forge.pull_request(&cx(), 1).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff), "{provider}: {error}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[").await;
        while stream.write_all(&[b' '; 65_536]).await.is_ok() {}
    });
    let forges = Forges::builder(CredentialRules::new()).host(&host, Provider::GitHub, None).unwrap().build().unwrap();
    let forge = forges.repository(&format!("http://{host}/acme/shop")).unwrap();
    let error = forge.pull_request(&cx(), 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    assert!(error.message().contains("16 MiB"), "{error}");
    server.abort();
}

#[tokio::test]
async fn credentials_are_not_sent_over_the_network_unencrypted() {
    let rules = CredentialRules::new().with("git.example", Credentials::basic("kargo", "hunter2"));
    let forges = Forges::new(rules).unwrap();
    let forge = forges
        .repository_with("http://git.example/acme/shop", RepositoryOptions::new().provider(Provider::Gitea))
        .unwrap();
    let error = forge.pull_request(&cx(), 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("unencrypted") && !error.report().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn the_next_page_is_not_fetched_from_another_host() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let other = FakeForge::start(Provider::BitbucketCloud).await;
    let body = format!("{{\"values\": [], \"next\": \"http://{}/2.0/x\"}}", other.host());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 8192]).await;
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    });
    let rules = CredentialRules::new().with(&*host, Credentials::basic("kargo", "hunter2"));
    let forges =
        Forges::builder(rules).host(&host, Provider::BitbucketCloud, Some(&format!("http://{host}/2.0/"))).unwrap();
    let forge = forges.build().unwrap().repository(&format!("http://{host}/acme/shop")).unwrap();
    let query = kargo_git::PullRequestQuery::new("promote", "main", jiff::Timestamp::now());
    let error = forge.pull_requests(&cx(), &query).await.unwrap_err();
    assert!(error.message().contains("not on the same server"), "{error}");
    assert!(other.requests().is_empty());
    server.await.unwrap();
}
