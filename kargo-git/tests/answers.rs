//! Answers of HTTP servers that are no answers, and what is made of them.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kargo_core::plugin::{Context, DiscoverRequest, Source as _};
use kargo_core::{Error, ErrorKind, Retry, Subscription};
use kargo_git::{Credentials, GitSource, GitSubscription, Limits, PushOptions, RefChange, Remote, Timeouts};

/// A server that answers each request with what `answer` makes of its head.
struct Fake {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn new(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/acme/config.git", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = heads.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let answer = answer(&head);
                seen.lock().unwrap().push(head);
                let _ = stream.write_all(&answer);
            }
        });
        Self { url, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
        .into_bytes()
}

const ADVERTISEMENT: &str = "Content-Type: application/x-git-upload-pack-advertisement\r\n";

async fn fails(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Error {
    let fake = Fake::new(answer);
    let remote = Remote::builder(&fake.url).credentials(Credentials::basic("kargo", "s3cret-pw")).build().unwrap();
    let error = remote.tip(&Context::system("test"), "main").await.unwrap_err();
    let report = format!("{} {error:?}", error.report());
    assert!(!report.contains("s3cret-pw") && !report.contains("czNjcmV0"), "a secret is shown: {report}");
    error
}

#[tokio::test]
async fn a_page_for_people_with_status_200_is_no_answer() {
    let error = fails(|_| answer("200 OK", "Content-Type: text/html; charset=utf-8\r\n", "<html>Sign in</html>")).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidResponse, Retry::Never));
    assert!(error.message().contains("text/html") && error.message().contains("sign-in"), "{error}");
    let error = fails(|_| answer("200 OK", ADVERTISEMENT, "<html>Sign in</html>")).await;
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
}

#[tokio::test]
async fn a_list_that_is_cut_off_is_an_error() {
    let error = fails(|_| {
        let line = format!("{} refs/heads/main\0side-band-64k\n", "1".repeat(40));
        answer("200 OK", ADVERTISEMENT, &format!("{:04x}{line}", line.len() + 4))
    })
    .await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidResponse, Retry::Backoff));
    let error = fails(|_| {
        let mut bytes = answer("200 OK", ADVERTISEMENT, &"x".repeat(100));
        bytes.truncate(bytes.len() - 50);
        bytes
    })
    .await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff));
}

#[tokio::test]
async fn a_status_says_what_is_wrong_and_whether_to_try_again() {
    for (status, headers, kind, retry) in [
        ("401 Unauthorized", "", ErrorKind::Unauthenticated, Retry::Never),
        ("403 Forbidden", "", ErrorKind::PermissionDenied, Retry::Never),
        // How forges say that somebody asks too much.
        ("403 Forbidden", "Retry-After: 5\r\n", ErrorKind::RateLimited, Retry::After(Duration::from_secs(5))),
        ("404 Not Found", "", ErrorKind::NotFound, Retry::Never),
        ("429 Too Many Requests", "Retry-After: 7\r\n", ErrorKind::RateLimited, Retry::After(Duration::from_secs(7))),
        ("503 Service Unavailable", "", ErrorKind::Unavailable, Retry::Backoff),
        ("503 Unavailable", "Retry-After: 9\r\n", ErrorKind::Unavailable, Retry::After(Duration::from_secs(9))),
        ("418 I'm a teapot", "", ErrorKind::InvalidResponse, Retry::Never),
    ] {
        let (status, headers) = (status.to_owned(), headers.to_owned());
        let shown = status.clone();
        let error = fails(move |_| answer(&status, &headers, "")).await;
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{shown}");
    }
}

#[tokio::test]
async fn a_server_that_names_a_pause_is_not_asked_for_its_introduction_again() {
    let fake = Fake::new(|head| match head.starts_with("GET") {
        true => answer("200 OK", ADVERTISEMENT, "000eversion 2\n000cls-refs\n0000"),
        false => answer("429 Too Many Requests", "Retry-After: 7\r\n", ""),
    });
    let remote = Remote::new(&fake.url).unwrap();
    for calls in [2, 3] {
        let error = remote.tip(&Context::system("test"), "main").await.unwrap_err();
        assert_eq!(error.retry(), Retry::After(Duration::from_secs(7)));
        assert_eq!(fake.heads().len(), calls, "{:?}", fake.heads());
    }
}

#[tokio::test]
async fn who_looks_at_the_same_time_asks_once_and_is_told_the_same_even_when_it_fails() {
    let fake = Fake::new(|head| match head.starts_with("GET") {
        true => answer("200 OK", ADVERTISEMENT, "000eversion 2\n000cls-refs\n0000"),
        false => answer("503 Unavailable", "Retry-After: 9\r\n", ""),
    });
    let source = GitSource::new();
    let look = |branch: &str| {
        let config = Subscription::from(GitSubscription::new(&fake.url).branch(branch)).config;
        let source = source.clone();
        async move { source.discover(&Context::system("test"), &DiscoverRequest::new(&config)).await.unwrap_err() }
    };
    for round in 1..=2 {
        let errors = futures::future::join_all((0..20).map(|n| look(["main", "dev"][n % 2]))).await;
        for error in &errors {
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::After(Duration::from_secs(9))));
            assert_eq!(error.message(), errors[0].message());
        }
        assert_eq!(fake.heads().len(), 1 + round, "the introduction, and once in each round: {:?}", fake.heads());
    }
}

#[tokio::test]
async fn who_asks_instead_of_one_that_gave_up_gets_its_answer() {
    let fake = Fake::new(|head| match head.starts_with("GET") {
        true => answer("200 OK", ADVERTISEMENT, "000eversion 2\n000cls-refs\n0000"),
        false => answer("404 Not Found", "", ""),
    });
    let source = GitSource::new();
    let config = Subscription::from(GitSubscription::new(&fake.url).branch("main")).config;
    let (request, cancel) = (DiscoverRequest::new(&config), tokio_util::sync::CancellationToken::new());
    let cx = Context::system("test").with_cancellation(cancel.clone());
    let (first, second) = futures::future::join(source.discover(&cx, &request), async {
        let cx = Context::system("test");
        let second = source.discover(&cx, &request);
        let mut second = std::pin::pin!(second);
        // It waits for the first, which then goes away.
        tokio::select! {
            biased;
            _ = &mut second => panic!("it has not been asked for yet"),
            () = std::future::ready(()) => cancel.cancel(),
        }
        second.await
    })
    .await;
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(second.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn this_machine_is_reached_without_the_proxy_that_would_see_the_credentials() {
    if std::env::var_os("KARGO_GIT_PROXIED").is_some() {
        let error = fails(|_| answer("404 Not Found", "", "")).await;
        assert_eq!(error.kind(), ErrorKind::NotFound);
        return;
    }
    let proxy = Fake::new(|_| answer("502 Bad Gateway", "", ""));
    let address = proxy.url.trim_end_matches("/acme/config.git");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "this_machine_is_reached_without_the_proxy_that_would_see_the_credentials"]);
    child.env("KARGO_GIT_PROXIED", "1").env("http_proxy", address).env("HTTP_PROXY", address);
    child.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(proxy.heads().is_empty(), "{:?}", proxy.heads());
}

#[tokio::test]
async fn a_pause_may_be_named_as_a_date() {
    let in_an_hour = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let date = in_an_hour.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let error = fails(move |_| answer("429 Too Many Requests", &format!("Retry-After: {date}\r\n"), "")).await;
    let Retry::After(pause) = error.retry() else { panic!("{:?}", error.retry()) };
    assert!((3500..=3600).contains(&pause.as_secs()), "{pause:?}");
}

#[tokio::test]
async fn a_redirect_that_costs_the_credentials_is_named_when_they_are_missed() {
    let elsewhere = Fake::new(|_| answer("401 Unauthorized", "", ""));
    let target = elsewhere.url.clone();
    let error =
        fails(move |_| answer("301 Moved", &format!("Location: {target}/info/refs?service=git-upload-pack\r\n"), ""))
            .await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.message().contains(&elsewhere.url) && error.message().contains("redirect"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_says_nothing_is_not_waited_for_without_end() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let remote = Remote::new(format!("http://{closed}/x.git")).unwrap();
    let error = remote.tip(&Context::system("test"), "main").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff));

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.git", silent.local_addr().unwrap());
    let timeouts = Timeouts { read: Duration::from_millis(200), ..Timeouts::default() };
    let remote = Remote::builder(&url).timeouts(timeouts).build().unwrap();
    let error = remote.tip(&Context::system("test"), "main").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Backoff));
}

#[tokio::test]
async fn the_deadline_of_the_call_ends_it() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = Remote::new(format!("http://{}/x.git", silent.local_addr().unwrap())).unwrap();
    let cx = Context::system("test");
    let soon = cx.now() + jiff::SignedDuration::from_millis(200);
    let error = remote.tip(&cx.with_deadline(soon), "main").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn an_endless_answer_ends_at_the_limit() {
    let fake = Fake::new(|_| answer("200 OK", ADVERTISEMENT, &"0".repeat(1 << 20)));
    let limits = Limits { bytes: 1000, ..Limits::default() };
    let remote = Remote::builder(&fake.url).limits(limits).build().unwrap();
    let error = remote.tip(&Context::system("test"), "main").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("1000 bytes"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_followed_but_credentials_do_not_go_to_another_server() {
    let elsewhere = Fake::new(|_| answer("404 Not Found", "", ""));
    let target = elsewhere.url.clone();
    let first = Fake::new(move |_| {
        answer("301 Moved", &format!("Location: {target}/info/refs?service=git-upload-pack\r\n"), "")
    });
    let remote = Remote::builder(&first.url).credentials(Credentials::basic("kargo", "s3cret-pw")).build().unwrap();
    let error = remote.tip(&Context::system("test"), "main").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let sent = |fake: &Fake| fake.heads().iter().any(|head| head.to_lowercase().contains("authorization"));
    assert!(sent(&first) && !elsewhere.heads().is_empty() && !sent(&elsewhere));
}

/// To one reader of the URL what stands before the backslash is a user, to the one who connects it is the host.
#[tokio::test]
async fn a_backslash_in_a_url_sends_no_credentials_to_another_host() {
    let attacker = Fake::new(|_| answer("404 Not Found", "", ""));
    let host = attacker.url.trim_end_matches("/acme/config.git");
    let source = GitSource::new()
        .allow_insecure_credentials()
        .credentials("http://github.com/acme", Credentials::basic("kargo", "s3cret-pw"));
    for url in [format!("{host}\\@github.com/acme/config"), format!("{host}/x/..\\@github.com/acme/config")] {
        let error = source.remote(&url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
        assert!(error.message().contains("backslash"), "{error}");
    }
    // What leads out of a path is not under it.
    let source = GitSource::new().credentials(&format!("{host}/acme"), Credentials::basic("kargo", "s3cret-pw"));
    let remote = source.remote(&format!("{host}/acme/../config.git")).unwrap();
    remote.tip(&Context::system("test"), "main").await.unwrap_err();
    let heads = attacker.heads();
    assert!(heads.len() == 1 && !heads[0].to_lowercase().contains("authorization"), "{heads:?}");
}

#[tokio::test]
async fn redirects_in_a_circle_and_to_no_repository_are_refused() {
    let error =
        fails(|_| answer("302 Found", "Location: /acme/config.git/info/refs?service=git-upload-pack\r\n", "")).await;
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    let error = fails(|_| answer("302 Found", "Location: /sign-in?to=acme\r\n", "")).await;
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    assert!(error.message().contains("/sign-in"), "{error}");
    let error = fails(|_| answer("302 Found", "Location: file:///etc/passwd\r\n", "")).await;
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
}

fn config(url: &str) -> serde_json::Value {
    Subscription::from(GitSubscription::new(url).branch("main")).config
}

#[tokio::test]
async fn git_18_each_request_of_a_look_carries_the_credentials() {
    let fake = Fake::new(|head| match head.starts_with("GET") {
        true => answer("200 OK", ADVERTISEMENT, "000eversion 2\n000cls-refs\n0000"),
        false => answer("403 Forbidden", "", ""),
    });
    let source = GitSource::new().credentials(&fake.url, Credentials::basic("x-access-token", "s3cret-pw"));
    let config = config(&fake.url);
    let error = source.discover(&Context::system("test"), &DiscoverRequest::new(&config)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let heads = fake.heads();
    // x-access-token:s3cret-pw
    let sent = |head: &String| head.contains("authorization: Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0LXB3");
    assert!(heads.len() == 2 && heads.iter().all(sent), "{heads:?}");
}

#[tokio::test]
async fn git_19_the_credentials_that_fit_best_are_used_and_named_without_the_secret() {
    let fake = Fake::new(|_| answer("401 Unauthorized", "", ""));
    let host = fake.url.trim_end_matches("/acme/config.git");
    let source = GitSource::new()
        .credentials(&fake.url, Credentials::basic("exact", "s3cret-1"))
        .credentials(host, Credentials::basic("anywhere", "s3cret-2"));
    let look = |url: String| {
        let (source, config) = (source.clone(), config(&url));
        async move { source.discover(&Context::system("test"), &DiscoverRequest::new(&config)).await.unwrap_err() }
    };
    for (url, named) in [
        (fake.url.clone(), "config (user exact)"),
        (format!("{host}/acme/other.git"), "(user anywhere)"),
        (fake.url.replace("127.0.0.1", "localhost"), "none fit"),
    ] {
        let error = look(url).await;
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.message().contains(named), "{error}");
        assert!(!format!("{} {error:?}", error.report()).contains("s3cret"), "{error:?}");
    }
}

#[tokio::test]
async fn git_15_a_server_that_takes_its_time_is_waited_for_and_one_that_says_nothing_holds_up_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = format!("http://{}/acme/slow.git", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let line = format!("{} refs/heads/main\0side-band-64k\n", "1".repeat(40));
            let whole = answer("200 OK", ADVERTISEMENT, &format!("{:04x}{line}0000", line.len() + 4));
            // Longer than the limit in all, and never that long between two pieces.
            for piece in whole.chunks(whole.len() / 5 + 1) {
                let _ = stream.write_all(piece);
                std::thread::sleep(Duration::from_millis(500));
            }
        }
    });
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/acme/silent.git", silent.local_addr().unwrap());
    let timeouts = Timeouts { read: Duration::from_secs(2), ..Timeouts::default() };
    let remote = |url: &str| Remote::builder(url).timeouts(timeouts).build().unwrap();
    let cx = Context::system("test");
    let (slow, silent) = (remote(&slow), remote(&silent));
    let (slow, silent) = futures::future::join(slow.tip(&cx, "main"), silent.tip(&cx, "main")).await;
    assert_eq!(slow.unwrap().as_str(), "1".repeat(40));
    assert_eq!(silent.unwrap_err().kind(), ErrorKind::Timeout);
}

/// A server on which main stands at `before`, and at `after` once somebody has tried to remove it, which it refuses with this reason.
fn refusing(reason: &str, before: &str, after: &str) -> Fake {
    let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let refs = |tip: &str| line(&format!("{tip} refs/heads/main\0report-status delete-refs\n")) + "0000";
    let report = line("unpack ok\n") + &line(&format!("ng refs/heads/main {reason}\n")) + "0000";
    let (first, then) = (refs(before), refs(after));
    Fake::new(move |head| {
        let kind = |what: &str| format!("Content-Type: application/x-git-{what}\r\n");
        if head.starts_with("POST") {
            answer("200 OK", &kind("receive-pack-result"), &report)
        } else if head.contains("service=git-receive-pack") {
            answer("200 OK", &kind("receive-pack-advertisement"), &first)
        } else {
            answer("200 OK", ADVERTISEMENT, &then)
        }
    })
}

#[tokio::test]
async fn git_02_a_race_is_told_from_a_refusal_by_the_ref_and_never_by_the_words() {
    let (old, new) = ("1".repeat(40), "2".repeat(40));
    for reason in [
        "cannot lock ref 'refs/heads/main': is at X but expected Y",
        "incorrect old value provided",
        "fetch first",
        "non-fast-forward",
        "failed to lock",
        "failed to update ref",
        "pre-receive hook declined",
    ] {
        for (after, kind) in [(&new, ErrorKind::Conflict), (&old, ErrorKind::PermissionDenied)] {
            let fake = refusing(reason, &old, after);
            let remote = Remote::new(&fake.url).unwrap();
            let remove = [RefChange::delete("refs/heads/main", old.as_str().into())];
            let error = remote.change_refs(&Context::system("test"), &remove, &PushOptions::new()).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{reason}: {error}");
            // Which words the server had is for people.
            assert_eq!(error.message().contains(reason), kind == ErrorKind::PermissionDenied, "{error}");
        }
    }
}

/// Asks a repository on a server elsewhere in a process of its own, whose environment names a proxy: 192.0.2.1 is nobody's address.
#[test]
fn a_server_elsewhere_is_reached_through_the_proxy_that_the_environment_names() {
    const URL: &str = "A_REPOSITORY_ELSEWHERE";
    if let Ok(url) = std::env::var(URL) {
        let timeouts = Timeouts { connect: Duration::from_secs(1), ..Timeouts::default() };
        let credentials = Credentials::basic("kargo", "s3cret-pw");
        let remote = Remote::builder(&url).timeouts(timeouts).credentials(credentials).allow_insecure_credentials();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(remote.build().unwrap().tip(&Context::system("test"), "main")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "the proxy alone says so");
        return;
    }
    let proxy = Fake::new(|_| answer("404 Not Found", "", ""));
    let address = proxy.url.trim_end_matches("/acme/config.git");
    let ask = |url: &str, exceptions: &str| {
        let mut process = std::process::Command::new(std::env::current_exe().unwrap());
        process.arg("--exact");
        process.arg("a_server_elsewhere_is_reached_through_the_proxy_that_the_environment_names");
        for name in ["HTTP_PROXY", "ALL_PROXY", "all_proxy", "no_proxy", "REQUEST_METHOD"] {
            process.env_remove(name);
        }
        let output = process.env(URL, url).env("http_proxy", address).env("NO_PROXY", exceptions).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("1 passed") || said.contains("1 failed"), "nothing was asked: {said}");
        (output.status.success(), proxy.heads().len())
    };
    // A proxy needs no name server.
    assert_eq!(ask("http://git.example/x.git", ""), (true, 1));
    assert_eq!(ask("http://192.0.2.1/x.git", "other.example"), (true, 2));
    assert_eq!(ask("http://192.0.2.1/x.git", "other.example,192.0.2.1"), (false, 2), "it is an exception");
    // What stays on this machine is nothing for a proxy.
    assert_eq!(ask("http://127.0.0.1:9/x.git", ""), (false, 2));
    let heads = proxy.heads();
    assert!(
        heads[0].starts_with("GET http://git.example/x.git/info/refs?service=git-upload-pack HTTP/1.1\r\n"),
        "{heads:?}"
    );
    assert!(heads[1].starts_with("GET http://192.0.2.1/x.git/info/refs?"), "{heads:?}");
}
