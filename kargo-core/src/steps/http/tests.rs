use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::plugin::{Context, Step, StepOutcome, StepRequest};
use crate::steps::builtin;
use crate::workspace::Workspace;
use crate::{Actor, Error, ErrorKind, Freight, PromotionInfo, Retry};

/// A server that gives one answer after the other, the last one for ever, and keeps what it was asked.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: Vec<String> = answers.iter().map(|answer| answer.replace("\n", "\r\n")).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            for number in 0.. {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                loop {
                    let read = stream.read(&mut buffer).await.unwrap_or(0);
                    request.extend_from_slice(&buffer[..read]);
                    let text = String::from_utf8_lossy(&request);
                    let length = text
                        .to_ascii_lowercase()
                        .split("content-length: ")
                        .nth(1)
                        .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
                    let whole = text.find("\r\n\r\n").is_some_and(|end| request.len() >= end + 4 + length.unwrap_or(0));
                    if read == 0 || whole {
                        break;
                    }
                }
                log.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
                let answer = answers.get(number).or(answers.last()).unwrap();
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\n{headers}Connection: close\nContent-Length: {}\n\n{body}", body.len())
}

async fn run(
    uses: &str,
    config: Value,
    workspace: &Workspace,
    restored: Option<&serde_json::Map<String, Value>>,
) -> Result<StepOutcome, Error> {
    let at = Timestamp::UNIX_EPOCH;
    let promotion = PromotionInfo::new("shop", "dev.1", "dev", Freight::new("main", vec![], at), Actor::engine(), at);
    let plugins = builtin().build();
    let step = plugins.step(uses).unwrap();
    let request = StepRequest::new(&promotion, "step", &config, at).with_workspace(workspace);
    let request = match restored {
        Some(outputs) => request.restoring(outputs),
        None => request,
    };
    step.run(&Context::system("dev.1/step-1"), &request).await
}

async fn http(config: Value) -> Result<StepOutcome, Error> {
    run("http", config, &Workspace::new(), None).await
}

#[tokio::test]
async fn an_answer_is_judged_and_read_by_expressions() {
    let body = r#"{"state": "done", "id": 7}"#;
    let server = Server::start(&[&answer("201 Created", "Content-Type: application/json\nX-Trace: abc\n", body)]).await;
    let outcome = http(json!({
        "url": format!("{}/deploy", server.url),
        "method": "POST",
        "headers": [{ "name": "Authorization", "value": "Bearer t" }],
        "queryParams": [{ "name": "q", "value": "a b&c" }],
        "body": "{}",
        "successExpression": "response.status == 201 && response.body.state == 'done'",
        "outputs": [
            { "name": "id", "fromExpression": "response.body.id" },
            { "name": "trace", "fromExpression": "response.header('x-trace') + response.headers['X-Trace'][0]" },
        ],
    }))
    .await
    .unwrap();
    let StepOutcome::Succeeded { outputs, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(Value::Object(outputs), json!({ "id": 7, "trace": "abcabc" }));
    let asked = server.asked()[0].to_ascii_lowercase();
    for part in ["post /deploy?q=a+b%26c http/1.1", "authorization: bearer t", "\r\n\r\n{}"] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
}

#[tokio::test]
async fn a_post_that_is_sent_again_can_be_told_from_a_new_one_and_one_that_polls_cannot() {
    let server = Server::start(&[&answer("200 OK", "", "")]).await;
    http(json!({ "url": server.url, "method": "POST" })).await.unwrap();
    http(json!({ "url": server.url, "method": "POST", "successExpression": "true" })).await.unwrap();
    http(json!({ "url": server.url, "method": "PUT" })).await.unwrap();
    let keys: Vec<bool> = server.asked().iter().map(|asked| asked.contains("idempotency-key: dev.1/step-1")).collect();
    assert_eq!(keys, [true, false, false]);
}

#[tokio::test]
async fn every_kind_of_answer_has_its_outcome() {
    let fails = |outcome: Result<StepOutcome, Error>| match outcome {
        Ok(StepOutcome::Failed { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let server = Server::start(&[&answer("404 Not Found", "", "no such thing")]).await;
    let reason = fails(http(json!({ "url": format!("{}/x?token=secret", server.url) })).await);
    assert!(reason.contains("answers 404: no such thing") && !reason.contains("secret"), "{reason}");

    let server = Server::start(&[&answer("503 Service Unavailable", "Retry-After: 7\n", "")]).await;
    let error = http(json!({ "url": server.url })).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::After(Duration::from_secs(7))));

    let server = Server::start(&[&answer("200 OK", "Content-Type: text/plain\n", "pending")]).await;
    let polls = json!({ "url": server.url, "successExpression": "response.body == 'done'", "pollInterval": "1m30s" });
    let outcome = http(polls.clone()).await.unwrap();
    assert!(
        matches!(outcome, StepOutcome::Running { check_after, .. } if check_after == Duration::from_secs(90)),
        "{outcome:?}"
    );

    let mut failing = polls;
    failing["failureExpression"] = "response.body == 'pending'".into();
    failing["errorExpression"] = "'it says ' + response.body".into();
    assert!(fails(http(failing).await).ends_with("answers 200: it says pending"));

    let error = http(json!({ "url": server.url, "successExpression": "response.body" })).await.unwrap_err();
    assert!(error.message().contains("`successExpression` gives string"), "{error}");

    let gone = json!({ "url": "http://127.0.0.1:9/", "timeout": "2s" });
    assert_eq!(http(gone).await.unwrap_err().kind(), ErrorKind::Unavailable);
    for (config, wanted) in [
        (json!({ "url": "http://169.254.169.254/latest" }), "link-local"),
        (json!({ "url": "no url" }), "no URL"),
        (json!({ "url": "http://x", "method": "BREW" }), "not one of DELETE"),
        (json!({ "url": "http://x", "successExpression": "response.(" }), "successExpression"),
        (json!({ "url": "http://x", "timeout": "10 parsecs" }), "is no duration"),
        (json!({ "url": "http://x", "body": "a", "bodyFromFile": "b" }), "exclude each other"),
        (json!({ "url": "http://x", "headers": [{ "name": "a", "value": "b\nc" }] }), "control character"),
    ] {
        let reason = fails(http(config).await);
        assert!(reason.contains(wanted), "{reason}");
    }
}

#[tokio::test]
async fn another_host_gets_no_headers_and_a_body_has_a_limit() {
    let other = Server::start(&[&answer("200 OK", "", "there")]).await;
    let there = answer("302 Found", &format!("Location: {}/there\n", other.url.replace("127.0.0.1", "localhost")), "");
    let server = Server::start(&[&there]).await;
    let config = json!({ "url": server.url, "headers": [{ "name": "X-Api-Key", "value": "k" }] });
    assert!(matches!(http(config).await.unwrap(), StepOutcome::Succeeded { .. }));
    assert!(
        server.asked()[0].contains("x-api-key: k") && !other.asked()[0].contains("x-api-key"),
        "{:?}",
        other.asked()
    );

    let large = Server::start(&["HTTP/1.1 200 OK\nConnection: close\nContent-Length: 3000000\n\nx"]).await;
    assert!(http(json!({ "url": large.url })).await.unwrap_err().message().contains("more than 2097152 bytes"));
    let cut_off = Server::start(&["HTTP/1.1 200 OK\nConnection: close\nContent-Length: 30\n\nx"]).await;
    assert_eq!(http(json!({ "url": cut_off.url })).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_file_is_downloaded_and_known_again_after_a_restart() {
    let (workspace, cx) = (Workspace::new(), Context::system("dev.1/step-1"));
    let server =
        Server::start(&[&answer("200 OK", "", "one"), &answer("200 OK", "", "one"), &answer("200 OK", "", "two")])
            .await;
    let config = json!({ "url": server.url, "outPath": "in/file" });
    let StepOutcome::Succeeded { outputs, .. } = run("http-download", config.clone(), &workspace, None).await.unwrap()
    else {
        panic!("downloads")
    };
    assert_eq!(workspace.read(&cx, "in/file").await.unwrap().as_deref(), Some(&b"one"[..]));
    let again = run("http-download", config.clone(), &workspace, None).await.unwrap();
    assert!(matches!(&again, StepOutcome::Failed { reason } if reason.contains("allowOverwrite")), "{again:?}");
    assert!(run("http-download", config.clone(), &Workspace::new(), Some(&outputs)).await.is_ok());
    let error = run("http-download", config, &Workspace::new(), Some(&outputs)).await.unwrap_err();
    assert!(error.message().contains("is another file now"), "{error}");
}

#[tokio::test]
async fn a_body_is_what_its_answer_or_the_configuration_says() {
    for (headers, body, said, expression) in [
        ("Content-Type: application/json\n", r#"{"a": [1]}"#, None, "response.body.a[0] == 1"),
        ("Content-Type: application/vnd.acme+json; charset=utf-8\n", r#"{"a": 1}"#, None, "response.body.a == 1"),
        (
            "Content-Type: application/yaml\n",
            "a: [1]\nb: x\n",
            None,
            "response.body.a == [1] && response.body.b == 'x'",
        ),
        ("Content-Type: text/plain\n", "42", None, "response.body == '42'"),
        // Without a word it is JSON if it can be read as such, and else nothing.
        ("", r#"{"a": 1}"#, None, "response.body.a == 1"),
        ("Content-Type: text/html\n", "<p>", None, "response.body == {}"),
        ("Content-Type: application/json\n", "", None, "response.body == {} && response.status == 200"),
        ("Content-Type: application/json\n", " \n", None, "response.body == {}"),
        // What the configuration says counts for more than what the answer does.
        ("Content-Type: text/html\n", "a: 1", Some("application/yaml"), "response.body.a == 1"),
        ("Content-Type: application/json\n", r#"{"a": 1}"#, Some("text/plain"), "response.body contains 'a'"),
        ("Content-Type: text/plain\n", "[7]", Some("application/json"), "response.body[0] == 7"),
    ] {
        let server = Server::start(&[&answer("200 OK", headers, body)]).await;
        let mut config = json!({ "url": server.url, "successExpression": expression });
        if let Some(said) = said {
            config["responseContentType"] = said.into();
        }
        let outcome = http(config).await.unwrap();
        assert!(matches!(outcome, StepOutcome::Succeeded { .. }), "{headers}{body}: {outcome:?}");
    }
    for (headers, body) in [("Content-Type: application/json\n", "<p>"), ("Content-Type: application/yaml\n", "a: [")] {
        let server = Server::start(&[&answer("200 OK", headers, body)]).await;
        let error = http(json!({ "url": server.url })).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidResponse, Retry::Backoff), "{error}");
        // What has been done once is not done again to see the answer.
        let error = http(json!({ "url": server.url, "method": "POST" })).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidResponse, Retry::Never), "{error}");
    }
}

#[tokio::test]
async fn a_body_is_sent_from_a_file_of_the_workspace() {
    let (workspace, cx) = (Workspace::new(), Context::system("dev.1/step-1"));
    workspace.write(&cx, "d/body.json", "{\"from\": \"a file\"}").await.unwrap();
    let server = Server::start(&[&answer("200 OK", "", "")]).await;
    for path in ["d/body.json", "../../d/body.json", "/d/body.json"] {
        let config = json!({ "url": server.url, "method": "PUT", "bodyFromFile": path });
        let outcome = run("http", config, &workspace, None).await.unwrap();
        assert!(matches!(outcome, StepOutcome::Succeeded { .. }), "{path}: {outcome:?}");
        assert!(server.asked().last().unwrap().ends_with("{\"from\": \"a file\"}"), "{path}");
    }
    let missing = json!({ "url": server.url, "method": "PUT", "bodyFromFile": "d/boddy.json" });
    let error = run("http", missing, &workspace, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("Did you mean \"d/body.json\"?"), "{error}");
    workspace.write(&cx, "large", vec![b'x'; (2 << 20) + 1]).await.unwrap();
    let large = json!({ "url": server.url, "method": "PUT", "bodyFromFile": "large" });
    let outcome = run("http", large, &workspace, None).await.unwrap();
    assert!(
        matches!(&outcome, StepOutcome::Failed { reason } if reason.contains("more than 2097152 bytes")),
        "{outcome:?}"
    );
    assert_eq!(server.asked().len(), 3, "nothing of these was sent");
}

#[tokio::test]
async fn a_failure_is_looked_for_first_and_without_one_it_goes_on_waiting() {
    let server = Server::start(&[&answer("500 Internal Server Error", "", "broken")]).await;
    let ask = |expressions: Value| {
        let mut config = json!({ "url": server.url });
        config.as_object_mut().unwrap().extend(expressions.as_object().unwrap().clone());
        http(config)
    };
    let both =
        ask(json!({ "failureExpression": "response.status >= 500", "successExpression": "true" })).await.unwrap();
    assert!(
        matches!(&both, StepOutcome::Failed { reason } if reason.contains("which `failureExpression` calls a failure")),
        "{both:?}"
    );
    let waits = ask(json!({ "failureExpression": "response.status == 404" })).await.unwrap();
    let half_a_minute = Duration::from_secs(30);
    assert!(matches!(waits, StepOutcome::Running { check_after, .. } if check_after == half_a_minute), "{waits:?}");
    let succeeds =
        ask(json!({ "successExpression": "response.status == 500", "failureExpression": "false" })).await.unwrap();
    assert!(matches!(succeeds, StepOutcome::Succeeded { .. }), "{succeeds:?}");
    // What is said of a failure is a text, or it is not said.
    let odd = ask(json!({ "failureExpression": "true", "errorExpression": "response.status" })).await.unwrap();
    assert!(matches!(&odd, StepOutcome::Failed { reason } if reason.contains("calls a failure")), "{odd:?}");
}

#[tokio::test]
async fn a_download_is_asked_for_as_the_configuration_says_and_tried_again_when_refused() {
    let (workspace, cx) = (Workspace::new(), Context::system("dev.1/step-1"));
    let server = Server::start(&[
        &answer("503 Service Unavailable", "Retry-After: 3\n", ""),
        &answer("404 Not Found", "", "not yet"),
        &answer("200 OK", "", "one"),
        &answer("200 OK", "", "two"),
    ])
    .await;
    let config = json!({
        "url": format!("{}/file?v=1", server.url), "outPath": "../../in/file",
        "headers": [{ "name": "Authorization", "value": "Bearer t" }], "queryParams": [{ "name": "q", "value": "a b" }],
    });
    for retry in [Retry::After(Duration::from_secs(3)), Retry::Backoff] {
        let error = run("http-download", config.clone(), &workspace, None).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, retry), "{error}");
        assert!(workspace.read(&cx, "in/file").await.unwrap().is_none());
    }
    let digest = "sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    let outcome = run("http-download", config.clone(), &workspace, None).await.unwrap();
    let StepOutcome::Succeeded { outputs, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(Value::Object(outputs), json!({ "digest": digest }));
    let asked = server.asked().last().unwrap().to_ascii_lowercase();
    assert!(asked.starts_with("get /file?v=1&q=a+b http/1.1") && asked.contains("authorization: bearer t"), "{asked}");
    let mut over = config;
    over["allowOverwrite"] = true.into();
    run("http-download", over, &workspace, None).await.unwrap();
    assert_eq!(workspace.read(&cx, "in/file").await.unwrap().as_deref(), Some(&b"two"[..]));

    let large = Server::start(&["HTTP/1.1 200 OK\nConnection: close\nContent-Length: 104857601\n\nx"]).await;
    let outcome =
        run("http-download", json!({ "url": large.url, "outPath": "large" }), &workspace, None).await.unwrap();
    assert!(matches!(&outcome, StepOutcome::Failed { reason } if reason.contains("104857600 bytes")), "{outcome:?}");
}

#[tokio::test]
async fn metadata_and_aliases_are_recorded() {
    let at = Timestamp::UNIX_EPOCH;
    let promotion = PromotionInfo::new("shop", "dev.1", "dev", Freight::new("main", vec![], at), Actor::engine(), at);
    let plugins = builtin().build();
    let config = json!({ "updates": [{ "kind": "Stage", "name": "dev", "values": { "a": 1 } }] });
    let request = StepRequest::new(&promotion, "step", &config, at);
    plugins.step("set-metadata").unwrap().run(&Context::system("k"), &request).await.unwrap();
    let recorded = format!("{:?}", request.recorded());
    assert!(recorded.contains("StageMetadata") && recorded.contains("\"a\""), "{recorded}");
    assert!(plugins.step("set-metadata").unwrap().validate(&json!({ "updates": [] })).is_err());
    assert!(plugins.step("set-freight-alias").unwrap().validate(&json!({ "name": "x", "alias": "" })).is_err());
}

/// CORE-26: a server in trouble is asked again, whatever it says beside its status.
#[tokio::test]
async fn core_26_what_a_server_in_trouble_says_ends_nothing() {
    let large = "x".repeat(3 << 20);
    let bodies = [
        ("Content-Type: application/json\n", "<html>Bad Gateway</html>"),
        ("Content-Type: application/yaml\n", "a: ["),
        ("Content-Type: text/html\n", "<html>"),
        ("Content-Type: application/json\n", "{\"error\": 1}"),
        ("Content-Type: text/plain\n", large.as_str()),
        ("", ""),
    ];
    for (status, kind) in [
        ("504 Gateway Timeout", ErrorKind::Unavailable),
        ("500 Internal Server Error", ErrorKind::Unavailable),
        ("429 Too Many Requests", ErrorKind::RateLimited),
    ] {
        for (headers, body) in bodies {
            let server = Server::start(&[&answer(status, &format!("{headers}Retry-After: 70\n"), body)]).await;
            let outputs = json!([{ "name": "a", "fromExpression": "response.body.state.id" }]);
            let error = http(json!({ "url": server.url, "method": "POST", "outputs": outputs })).await.unwrap_err();
            let wanted = (kind, Retry::After(Duration::from_secs(70)));
            assert_eq!((error.kind(), error.retry()), wanted, "{status} {headers}: {error}");

            for expression in ["response.body.state.id == 'done'", "response.body", "response.body.a['b'].c() == 1"] {
                let config = json!({
                    "url": server.url, "successExpression": expression, "responseContentType": "application/json", "pollInterval": "2s",
                });
                let outcome = http(config).await;
                let Ok(StepOutcome::Running { check_after, .. }) = outcome else {
                    panic!("{status} {headers} {expression}: {outcome:?}")
                };
                assert!(check_after <= Duration::from_secs(70), "{check_after:?}");
            }
            let verdict = json!({
                "url": server.url, "failureExpression": "response.status >= 400", "responseContentType": "application/json",
            });
            let outcome = http(verdict).await;
            assert!(matches!(outcome, Ok(StepOutcome::Failed { .. })), "{status} {headers}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_judged_is_asked_again_and_what_was_done_is_not() {
    let json = |body: &str| answer("200 OK", "Content-Type: application/json\n", body);
    let server = Server::start(&[&json("{\"a\": null}")]).await;
    let error = |config: Value| async { http(config).await.unwrap_err() };
    for expression in ["response.body.a.b.c == 1", "response.body.a"] {
        let error = error(json!({ "url": server.url, "successExpression": expression })).await;
        assert_eq!(error.retry(), Retry::Backoff, "{error}");
    }
    let outputs = json!([{ "name": "id", "fromExpression": "response.body.a.b.c" }]);
    for (method, retry) in
        [("GET", Retry::Backoff), ("PUT", Retry::Backoff), ("POST", Retry::Never), ("PATCH", Retry::Never)]
    {
        let error = error(json!({ "url": server.url, "method": method, "outputs": outputs })).await;
        assert_eq!(error.retry(), retry, "{method}: {error}");
    }
    let error = error(json!({ "url": server.url, "successExpression": "true", "outputs": outputs })).await;
    assert_eq!(error.retry(), Retry::Never, "{error}");
    // Without expressions the status is the verdict, whatever the body.
    let server = Server::start(&[&answer("404 Not Found", "Content-Type: application/json\n", "<html>")]).await;
    let outcome = http(json!({ "url": server.url })).await.unwrap();
    assert!(matches!(&outcome, StepOutcome::Failed { reason } if reason.contains("404: <html>")), "{outcome:?}");
}

#[test]
fn a_timeout_is_kept_or_refused_and_so_is_an_interval() {
    let plugins = builtin().build();
    let refused = |uses: &str, config: Value| {
        let step = plugins.step(uses).unwrap();
        step.validate(&config).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let (get, download) = (json!({ "url": "http://x" }), json!({ "url": "http://x", "outPath": "f" }));
    let approval = json!({ "approvers": [{ "role": "admin" }] });
    let with = |config: &Value, field: &str, value: &str| {
        let mut config = config.clone();
        config[field] = value.into();
        config
    };
    for (uses, config) in [("http", &get), ("http-download", &download)] {
        for (timeout, wanted) in [("0s", "`timeout` is"), ("31m", "at most 30m"), ("30m", ""), ("6m", ""), ("1s", "")] {
            let told = refused(uses, with(config, "timeout", timeout));
            assert!(told.is_empty() == wanted.is_empty() && told.contains(wanted), "{uses} {timeout}: {told}");
        }
        let longest = crate::steps::config::MAX_TIMEOUT;
        assert!(
            plugins.step(uses).unwrap().defaults().call_deadline > longest,
            "the call lasts as long as its request may"
        );
    }
    for (uses, config) in [("http", &get), ("wait-for-approval", &approval)] {
        for (interval, wanted) in [("0s", "at least 1s"), ("0.5s", "at least 1s"), ("1s", ""), ("2h", "")] {
            let told = refused(uses, with(config, "pollInterval", interval));
            assert!(told.is_empty() == wanted.is_empty() && told.contains(wanted), "{uses} {interval}: {told}");
        }
    }
}
