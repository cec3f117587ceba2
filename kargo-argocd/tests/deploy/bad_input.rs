//! Servers and states that are not as they should be: each ends in a clear error or the right verdict, and in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kargo_argocd::client::Refresh;
use kargo_argocd::testing::{Commits, FakeApp, FakeArgoCd, Fault};
use kargo_argocd::{AppRef, ArgoCd, ArgoCdApp, Client};
use kargo_core::plugin::{Context, DeployRequest, Deployer, Deployment, ObserveRequest};
use kargo_core::{Actor, ErrorKind, Freight, PromotionInfo, Retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::bench::{Bench, REPO, assert_live};

/// A certificate that signs itself, for `localhost`.
const CERTIFICATE: &[u8] = include_bytes!("tls/cert.pem");
const KEY: &[u8] = include_bytes!("tls/key.pem");
/// A certificate for `localhost` that an authority has signed, and that authority.
const SIGNED: &[u8] = include_bytes!("tls/signed.pem");
const SIGNED_KEY: &[u8] = include_bytes!("tls/signed-key.pem");
const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");

fn shop() -> FakeApp {
    FakeApp::new("shop").source(REPO, "main", "dev")
}

/// A server that takes every connection and says `answer`, or nothing at all.
async fn server(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            if let Some(answer) = answer {
                let _ = connection.write_all(answer.as_bytes()).await;
            } else {
                held.push(connection);
            }
        }
    });
    url
}

fn client(url: &str) -> Client {
    Client::builder(url).token("a.b.c").timeout(Duration::from_millis(300)).build().unwrap()
}

#[tokio::test]
async fn a_refused_content_type_is_named() {
    let answer = "HTTP/1.1 415 Unsupported Media Type\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\nInvalid content type";
    let client = client(&server(Some(answer)).await);
    let error = client.get(&AppRef::new("shop"), Refresh::No).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    assert!(error.message().contains("content type"), "{error}");
}

#[tokio::test]
async fn a_content_type_that_is_refused_for_a_sync_is_named_and_nothing_was_done() {
    let (bench, before) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.set_fault(Some(Fault::ContentType));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let error = deploy.poll().await.unwrap_err();
    assert!(
        error.message().contains("refused to sync the application shop") && error.message().contains("proxy"),
        "{error}"
    );
    assert!(bench.fake.syncs().is_empty());
    assert_eq!(bench.fake.live_revision("shop"), Some(before));
    bench.fake.set_fault(None);
    assert_live(&deploy.run().await.unwrap(), &wanted);
}

#[tokio::test]
async fn a_server_under_a_root_path_is_deployed_through() {
    let commits = Commits::new();
    let wanted = commits.commit("main", [("dev", "v1")]);
    let fake = FakeArgoCd::builder().commits(&commits).root_path("/tools/argo/").speed(100).start().await.unwrap();
    assert!(fake.url().ends_with("/tools/argo"));
    fake.create_app(shop());
    let argocd = ArgoCd::new(fake.client().unwrap());
    let cx = Context::new(fake.clock(), Actor::user("alice"), "p1");
    let freight = Freight::new("main", Vec::new(), cx.now());
    let promotion = PromotionInfo::new("shop", "p1", "dev", freight, Actor::user("alice"), cx.now());
    let config = serde_json::to_value(ArgoCdApp::new("shop")).unwrap();
    let mut state = None;
    loop {
        let cx = Context::new(fake.clock(), Actor::user("alice"), "p1");
        let request = DeployRequest::new(&promotion, &config, Some(wanted.as_str().into()), cx.now());
        match argocd.deploy(&cx, &request.with_state(state.as_ref())).await.unwrap() {
            Deployment::Pending { check_after, state: next, .. } => {
                state = next;
                cx.sleep(check_after).await.unwrap();
            }
            ended => break drop(assert_live(&ended, &wanted)),
        }
    }
    assert!(fake.requests().iter().any(|request| request.contains("/stream/")), "{:?}", fake.requests());
    // Without it there is only a page.
    let base = fake.url().replace("/tools/argo", "");
    let client = Client::builder(base).token(fake.token()).build().unwrap();
    let error = client.get(&AppRef::new("shop"), Refresh::No).await.unwrap_err();
    assert!(error.message().contains("root path"), "{error}");
}

#[tokio::test]
async fn an_odd_answer_in_the_middle_of_a_deployment_passes() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.set_fault(Some(Fault::Html));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let error = deploy.poll().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidResponse, Retry::Never), "the address may be wrong");
    bench.fake.set_fault(None);
    deploy.run_until("accepted").await;
    bench.fake.set_fault(Some(Fault::Html));
    let error = deploy.poll().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidResponse, Retry::Backoff), "it was right before");
    bench.fake.set_fault(None);
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn a_stream_that_is_silent_for_too_long_is_opened_anew() {
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicUsize, Ordering};
    let streams = Arc::new(AtomicUsize::new(0));
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let counted = Arc::clone(&streams);
    // It says that a stream begins, and then nothing, not even that it lives; all else is an application.
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { continue };
            let mut request = [0; 4096];
            let length = connection.read(&mut request).unwrap_or(0);
            if String::from_utf8_lossy(&request[..length]).contains("/stream/") {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = write!(connection, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n");
                held.push(connection);
                continue;
            }
            let body = r#"{"metadata": {"name": "shop"}, "status": {"reconciledAt": "2026-01-01T10:00:00Z"}}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length";
            let _ = write!(connection, "{head}: {}\r\n\r\n{body}", body.len());
        }
    });
    let argocd = ArgoCd::new(Client::builder(url).build().unwrap());
    let config = serde_json::to_value(ArgoCdApp::new("shop")).unwrap();
    let look = async || {
        let cx = Context::system("observe");
        let _ = argocd.observe(&cx, &ObserveRequest::new(&config)).await;
    };
    let opened = async |count: usize| {
        while streams.load(Ordering::SeqCst) < count {
            look().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), opened(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    // A server that lives says so every 15 seconds. Real time stands still from here on.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(44)).await;
    tokio::time::resume();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(streams.load(Ordering::SeqCst), 1, "it may be alive");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    tokio::time::timeout(Duration::from_secs(20), opened(2)).await.unwrap();
}

#[tokio::test]
async fn a_wrong_root_path_is_not_taken_for_an_application() {
    let bench = Bench::new().await;
    bench.fake.create_app(shop());
    let url = format!("{}/somewhere", bench.fake.url());
    let client = Client::builder(url).token(bench.fake.token()).build().unwrap();
    let error = client.get(&AppRef::new("shop"), Refresh::No).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    assert!(error.message().contains("root path"), "{error}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let client = client(&server(None).await);
    let began = Instant::now();
    let error = client.get(&AppRef::new("shop"), Refresh::No).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_body_that_is_cut_is_an_error_and_no_application() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"metadata\":{\"name\":\"shop\"}";
    let client = client(&server(Some(answer)).await);
    let error = client.get(&AppRef::new("shop"), Refresh::No).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
}

/// A server with this certificate, which tells its version.
async fn server_with(certificate: &[u8], key: &[u8]) -> u16 {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let Ok(mut connection) = acceptor.accept(connection).await else { continue };
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            let body = r#"{"Version":"v3.2.0"}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = connection.write_all(answer.as_bytes()).await;
            let _ = connection.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn a_self_signed_certificate_and_that_of_an_unknown_authority_are_refused_unless_they_are_given() {
    for (certificate, key, root) in [(CERTIFICATE, KEY, CERTIFICATE), (SIGNED, SIGNED_KEY, AUTHORITY)] {
        let port = server_with(certificate, key).await;
        let url = format!("https://localhost:{port}");
        let error = Client::builder(&url).build().unwrap().version().await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Never));
        let text = error.message();
        assert!(
            text.contains("a certificate that is not trusted") && text.contains("root_certificates_pem"),
            "{error}"
        );
        let trusting = Client::builder(&url).root_certificates_pem(root).build().unwrap();
        assert_eq!(trusting.version().await.unwrap(), "v3.2.0");
        // One that is trusted, and made out to another address.
        if root == CERTIFICATE {
            continue;
        }
        let elsewhere =
            Client::builder(format!("https://127.0.0.1:{port}")).root_certificates_pem(root).build().unwrap();
        let error = elsewhere.version().await.unwrap_err();
        assert!(error.message().contains("not trusted for this address"), "{error}");
    }
}

#[tokio::test]
async fn race_al_an_application_that_is_deleted_and_made_anew_while_we_wait_is_deployed_anew() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop").project("default"), &wanted);
    deploy.run_until("accepted").await;
    bench.fake.delete_app("shop");
    assert_eq!(deploy.poll().await.unwrap_err().kind(), ErrorKind::NotFound);
    bench.fake.create_app(shop());
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.live_revision("shop"), Some(wanted));
    assert!(bench.fake.is_ready("shop"));
}

#[tokio::test]
async fn race_aa_an_endless_progressing_is_never_live_and_says_what_it_waits_for() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.stall_revision(&wanted);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("progressing").await;
    for _ in 0..60 {
        bench.pass(60);
        let Deployment::Pending { reason, .. } = deploy.poll().await.unwrap() else { panic!("it has ended") };
        assert!(reason.contains("progressing") && reason.contains("Deployment/shop"), "{reason}");
    }
    deploy.abort().await.unwrap();
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_session_is_renewed_once_also_for_the_stream() {
    let fake = FakeArgoCd::builder().start().await.unwrap();
    let (user, password) = fake.login();
    let argocd = ArgoCd::new(Client::builder(fake.url()).login(user, password).build().unwrap());
    fake.create_app(shop());
    let cx = Context::new(fake.clock(), Actor::engine(), "observe");
    let config = serde_json::to_value(ArgoCdApp::new("shop")).unwrap();
    let request = ObserveRequest::new(&config);
    let streams = || fake.requests().iter().filter(|request| request.contains("/stream/")).count();
    let opened = async |count: usize| {
        while streams() < count {
            argocd.observe(&cx, &request).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), opened(1)).await.unwrap();
    fake.expire_sessions();
    fake.cut_streams();
    tokio::time::timeout(Duration::from_secs(20), opened(2)).await.unwrap();
    assert_eq!(fake.logins(), 2, "one log-in, and one more");
}
