//! Getting at Argo CD, and at the application.

use std::time::Duration;

use kargo_argocd::client::Search;
use kargo_argocd::testing::{FakeApp, Fault, Timings};
use kargo_argocd::{ArgoCd, ArgoCdApp, Client};
use kargo_core::plugin::{Deployer, Deployment, Health};
use kargo_core::{ErrorKind, Retry};

use crate::bench::{Bench, REPO, assert_live};

fn shop() -> FakeApp {
    FakeApp::new("shop").source(REPO, "main", "dev")
}

#[tokio::test]
async fn argo_12_a_missing_application_is_not_found_or_not_permitted() {
    let bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    let hidden = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).poll().await.unwrap_err();
    assert_eq!(hidden.kind(), ErrorKind::PermissionDenied);
    assert!(
        hidden.message().contains("not found or not permitted") && hidden.message().contains("waitForApp"),
        "{hidden}"
    );
    let plain = bench.deploy("p1", ArgoCdApp::new("shop").project("default"), &wanted).poll().await.unwrap_err();
    assert_eq!((plain.kind(), plain.retry()), (ErrorKind::NotFound, Retry::Never));
}

#[tokio::test]
async fn report_17_argo_12_an_application_that_is_yet_to_be_created_can_be_waited_for() {
    let bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    let config = ArgoCdApp::new("shop").wait_for_app(Duration::from_secs(60));
    let mut deploy = bench.deploy("p1", config, &wanted);
    deploy.run_until("not found or not permitted").await;
    bench.pass(30);
    bench.fake.create_app(shop());
    assert_live(&deploy.run().await.unwrap(), &wanted);
}

#[tokio::test]
async fn argo_12_the_wait_for_an_application_ends() {
    let bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    let config = ArgoCdApp::new("shop").wait_for_app(Duration::from_secs(60));
    let error = bench.deploy("p1", config, &wanted).run().await.unwrap_err();
    assert!(error.message().contains("not found or not permitted"), "{error}");
}

#[tokio::test]
async fn a_wrong_token_is_said_to_be_wrong_and_does_not_show() {
    let mut bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(shop());
    let client = Client::builder(bench.fake.url()).token("not-the.right.token").build().unwrap();
    bench.argocd = ArgoCd::new(client).polling();
    let error = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).poll().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never));
    assert!(!format!("{error:?} {}", error.report()).contains("not-the"));
    assert!(!format!("{:?}", bench.argocd).contains("not-the"));
}

#[tokio::test]
async fn a_page_with_http_200_is_not_an_answer() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    bench.fake.set_fault(Some(Fault::Html));
    let error = deploy.poll().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    assert!(error.message().contains("text/html") && error.message().contains("root path"), "{error}");
    // The same is what a wrong root path looks like.
    let client = Client::builder(format!("{}/wrong", bench.fake.url())).token(bench.fake.token()).build().unwrap();
    bench.fake.set_fault(None);
    assert_eq!(client.version().await.unwrap_err().kind(), ErrorKind::InvalidResponse);
}

#[tokio::test]
async fn a_server_that_fails_is_an_error_that_another_try_can_mend() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    bench.fake.set_fault(Some(Fault::Status { status: 500, code: 2, message: "etcd is on fire".into() }));
    let error = deploy.poll().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff));
    assert!(error.message().contains("etcd is on fire"), "{error}");
    bench.fake.set_fault(None);
    assert_live(&deploy.run().await.unwrap(), &wanted);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let bench = Bench::new().await;
    let url = bench.fake.url();
    drop(bench);
    let client = Client::builder(url).build().unwrap();
    // The listener's task ends soon after it is dropped.
    for _ in 0..100 {
        if let Err(error) = client.version().await {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the fake still answers");
}

#[tokio::test]
async fn a_session_is_opened_once_and_again_once_when_it_has_expired() {
    let (mut bench, _) = Bench::running(shop()).await;
    let (username, password) = bench.fake.login();
    let client = Client::builder(bench.fake.url()).login(username, password).build().unwrap();
    bench.argocd = ArgoCd::new(client).history(bench.commits.clone()).polling();
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("accepted").await;
    assert_eq!(bench.fake.logins(), 1);
    bench.fake.expire_sessions();
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.logins(), 2);
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_does_not_show() {
    let bench = Bench::new().await;
    let client = Client::builder(bench.fake.url()).login("kargo", "battery staple").build().unwrap();
    let error = client.list(&Search::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!format!("{error:?} {client:?}").contains("battery"));
    assert_eq!(bench.fake.logins(), 0);
}

#[tokio::test]
async fn the_version_and_the_list_are_read() {
    let bench = Bench::new().await;
    bench.commits.commit("main", [("dev", "v1")]);
    let client = bench.fake.client().unwrap();
    assert!(client.version().await.unwrap().starts_with('v'));
    assert!(client.list(&Search::new()).await.unwrap().is_empty());
    bench.fake.create_app(shop());
    assert_eq!(client.list(&Search::new().project("default")).await.unwrap()[0].app.metadata.name, "shop");
    assert!(client.list(&Search::new().project("other")).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_application_that_is_being_deleted_fails_at_once() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.edit_app("shop", |app| app.deleting = true);
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).poll().await.unwrap();
    assert!(matches!(&ended, Deployment::Failed { reason } if reason.contains("being deleted")), "{ended:?}");
}

#[tokio::test]
async fn a_configuration_is_checked_when_the_pipeline_is_put_together() {
    let bench = Bench::new().await;
    assert!(bench.argocd.validate(&serde_json::json!({"app": "shop", "mode": "tracking"})).is_ok());
    assert!(bench.argocd.validate(&serde_json::json!({"application": "shop"})).is_err());
}

#[tokio::test]
async fn a_server_that_repeats_the_token_does_not_bring_it_into_an_error() {
    let bench = Bench::new().await;
    let text = format!("cannot verify {} for https://bob:hunter2@git.example/config", bench.fake.token());
    bench.fake.set_fault(Some(Fault::Status { status: 401, code: 16, message: text }));
    let error = bench.fake.client().unwrap().list(&Search::new()).await.unwrap_err();
    let shown = format!("{error:?} {}", error.report());
    assert!(shown.contains("cannot verify ***"), "{shown}");
    assert!(!shown.contains(bench.fake.token()) && !shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn an_observation_asks_for_a_comparison_when_the_last_one_is_too_old() {
    let bench = Bench::with(Timings { notice: Duration::from_secs(100), ..Timings::default() }).await;
    bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(shop());
    assert!(bench.fake.sync_as_user("shop", "alice", None));
    bench.pass(30);
    let observation = bench.observe("shop").await;
    assert_eq!(observation.health, Health::Healthy, "{observation:?}");
}

#[tokio::test]
async fn every_error_names_the_server_with_its_port() {
    let bench = Bench::new().await;
    let client = bench.fake.client().unwrap();
    let host = bench.fake.url().replace("http://", "");
    let mut errors = Vec::new();
    for fault in [Fault::Html, Fault::Status { status: 500, code: 2, message: "etcd is on fire".into() }] {
        bench.fake.set_fault(Some(fault));
        errors.push(client.version().await.unwrap_err());
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable = Client::builder(format!("http://{nobody}")).build().unwrap();
    for error in errors {
        assert!(error.message().contains(&host), "{error}");
    }
    let error = unreachable.version().await.unwrap_err();
    assert!(error.message().contains(&nobody.to_string()), "{error}");
}

#[tokio::test]
async fn what_is_remembered_outlasts_a_while_in_which_the_application_is_not_found() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let config = ArgoCdApp::new("shop").wait_for_app(Duration::from_secs(600));
    let mut deploy = bench.deploy("p1", config, &wanted);
    deploy.run_until("accepted").await;
    bench.fake.set_fault(Some(Fault::Status { status: 404, code: 5, message: "not found".into() }));
    let away = deploy.poll().await.unwrap();
    assert!(
        matches!(&away, Deployment::Pending { state: Some(state), .. } if state["apps"]["shop"]["latches"]["syncs"] == 1),
        "{away:?}"
    );
    bench.fake.set_fault(None);
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn a_log_in_that_is_answered_oddly_does_not_show_the_token() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        let body = "\"eyJ.very.secret\"";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length";
        write!(stream, "{head}: {}\r\n\r\n{body}", body.len()).unwrap();
    });
    let client = Client::builder(format!("http://{address}")).login("kargo", "battery staple").build().unwrap();
    let error = client.list(&Search::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    let shown = format!("{error:?} {}", error.report());
    assert!(!shown.contains("very.secret"), "{shown}");
}

#[tokio::test]
async fn a_server_on_this_machine_is_reached_without_the_proxy_of_the_environment() {
    const WITHIN: &str = "KARGO_ARGOCD_TEST_WITHIN";
    if std::env::var_os(WITHIN).is_some() {
        Bench::new().await.fake.client().unwrap().version().await.unwrap();
        return;
    }
    let name = "access::a_server_on_this_machine_is_reached_without_the_proxy_of_the_environment";
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", name]).env(WITHIN, "1");
    for proxy in ["http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        test.env(proxy, "http://127.0.0.1:9");
    }
    let ended = test.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
}
