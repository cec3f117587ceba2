//! How much memory it takes to talk to registries that are large, or that want to be. A process of its own, in which one thing
//! happens after the other, so that the numbers mean something.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kargo_core::plugin::{Context, DiscoverRequest, Discovery, Source};
use kargo_core::{ErrorKind, Subscription};
use kargo_oci::testing::Registry;
use kargo_oci::{ChartSource, ChartSubscription, Client, CopyOptions, ImageSpec, Repository};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const MIB: usize = 1024 * 1024;

/// A line of this process's status, in bytes.
fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Does `work`, and returns by how much the memory of this process had grown at its peak.
async fn peak_of<T>(work: impl Future<Output = T>) -> (T, usize) {
    // Forgets the peak so far.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let result = work.await;
    (result, status("VmHWM:").saturating_sub(before))
}

/// What a server answers to requests with this text in their first line: a status with further lines of the header, in which `HOST` is the
/// server itself, and a body of `head`, so many times `piece`, and `tail`.
struct Endless {
    path: &'static str,
    status: &'static str,
    head: &'static str,
    piece: &'static str,
    times: usize,
    tail: &'static str,
}

/// A server that sends what is never held in memory.
async fn server(answers: Vec<Endless>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let (answers, name) = (Arc::new(answers), host.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answers, name) = (Arc::clone(&answers), name.clone());
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                let length = stream.read(&mut asked).await?;
                let asked = String::from_utf8_lossy(&asked[..length]);
                let line = asked.lines().next().unwrap_or_default();
                let Some(answer) = answers.iter().find(|answer| line.contains(answer.path)) else { return Ok(()) };
                let status = answer.status.replace("HOST", &name);
                stream.write_all(format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
                stream.write_all(answer.head.as_bytes()).await?;
                let block = answer.piece.repeat(1_000);
                for _ in 0..answer.times / 1_000 {
                    stream.write_all(block.as_bytes()).await?;
                }
                stream.write_all(answer.tail.as_bytes()).await
            });
        }
    });
    host
}

/// A server that has the same answer to everything.
async fn endless_server(head: &'static str, piece: &'static str, times: usize, tail: &'static str) -> String {
    server(vec![Endless { path: "", status: "200 OK", head, piece, times, tail }]).await
}

async fn nine_thousand_tags(client: &Client) {
    let registry = Registry::builder().page_size(100).start().await;
    for number in 0..9_036 {
        registry.put_image("library/node", &format!("{}.{}-alpine", number / 100, number % 100), &ImageSpec::default());
    }
    let node = Repository::parse(&format!("{}/library/node", registry.host())).unwrap();
    let cx = Context::system("test");
    let (tags, peak) = peak_of(client.list_tags(&cx, &node)).await;
    assert_eq!((tags.unwrap().len(), registry.count("GET", "tags/list")), (9_036, 91));
    println!("9,036 tags in pages of 100: {} KiB", peak / 1024);
    assert!(peak < 32 * MIB, "{peak}");
}

async fn too_many_tags(client: &Client) {
    // What fits into the bytes that a listing may have, and would be four hundred megabytes of names.
    let host = endless_server(r#"{"tags":["#, r#""a","#, 8_000_000, r#""a"]}"#).await;
    let app = Repository::parse(&format!("{host}/app")).unwrap();
    let cx = Context::system("test");
    let (result, peak) = peak_of(client.list_tags(&cx, &app)).await;
    let error = result.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidResponse && error.message().contains("200000 tags"), "{error}");
    println!("8,000,000 tags in one page: {} KiB", peak / 1024);
    assert!(peak < 112 * MIB, "{peak}");

    let host = endless_server(r#"{"tags":["#, r#""a-tag-of-a-usual-length","#, 12_000_000, r#""a"]}"#).await;
    let app = Repository::parse(&format!("{host}/app")).unwrap();
    let (result, peak) = peak_of(client.list_tags(&cx, &app)).await;
    assert!(result.unwrap_err().message().contains("bytes that this answer may have"));
    println!("300 MB of tags: {} KiB", peak / 1024);
    assert!(peak < 112 * MIB, "{peak}");
}

async fn answers_without_end(client: &Client) {
    let cx = Context::system("test");
    // A bomb is refused by its name, before a byte of it is looked at.
    let status = "200 OK\r\ncontent-encoding: gzip";
    let host = server(vec![Endless { path: "", status, head: "", piece: "\0", times: 300_000_000, tail: "" }]).await;
    let app = Repository::parse(&format!("{host}/app")).unwrap();
    let (result, peak) = peak_of(client.list_tags(&cx, &app)).await;
    assert!(result.unwrap_err().message().contains("compressed"));
    println!("300 MB that are compressed: {} KiB", peak / 1024);
    assert!(peak < 8 * MIB, "{peak}");

    let host = endless_server(r#"{"layers":["#, r#"{"digest":"sha256:0"},"#, 20_000_000, "").await;
    let app = Repository::parse(&format!("{host}/app")).unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    let (result, peak) = peak_of(client.manifest(&cx, &app, "1.0.0")).await;
    assert!(result.unwrap_err().message().contains("bytes that this answer may have"));
    println!("a manifest of 400 MB: {} KiB", peak / 1024);
    assert!(peak < 16 * MIB, "{peak}");
    let (result, peak) = peak_of(client.blob(&cx, &app, &digest)).await;
    assert!(result.unwrap_err().message().contains("bytes that this answer may have"));
    println!("a configuration of 400 MB: {} KiB", peak / 1024);
    assert!(peak < 32 * MIB, "{peak}");
    let (result, peak) = peak_of(client.referrers(&cx, &app, &digest)).await;
    assert!(result.unwrap_err().message().contains("bytes that this answer may have"));
    println!("referrers of 400 MB: {} KiB", peak / 1024);
    assert!(peak < 16 * MIB, "{peak}");
}

async fn what_else_may_be_without_end(client: &Client) {
    let cx = Context::system("test");
    // A token, and what a server says of its failure: the status is enough.
    let (challenge, failure) =
        ("401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://HOST/token\"", "500 Internal Server Error");
    let host = server(vec![
        Endless {
            path: "/token",
            status: "200 OK",
            head: r#"{"token":""#,
            piece: "abcdefgh",
            times: 40_000_000,
            tail: "",
        },
        Endless { path: "/v2/app/", status: challenge, head: "", piece: "", times: 0, tail: "" },
        Endless { path: "/v2/failing/", status: failure, head: "", piece: "sorry ", times: 50_000_000, tail: "" },
    ])
    .await;
    for (name, needle) in [("app", "bytes that this answer may have"), ("failing", "status 500")] {
        let repository = Repository::parse(&format!("{host}/{name}")).unwrap();
        let (result, peak) = peak_of(client.list_tags(&cx, &repository)).await;
        let error = result.unwrap_err();
        assert!(error.message().contains(needle), "{error}");
        println!("{name}, 300 MB: {} KiB", peak / 1024);
        assert!(peak < 8 * MIB, "{peak}");
    }

    let deep =
        |head| server(vec![Endless { path: "", status: "200 OK", head, piece: "[", times: 4_000_000, tail: "" }]);
    let child = r#"{"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000"},"#;
    for (name, host, needle, most) in [
        ("a list that is nested 4,000,000 deep", deep(r#"{"tags":["#).await, "list of tags was expected", 24),
        ("a manifest that is nested 4,000,000 deep", deep(r#"{"annotations":"#).await, "not JSON of a manifest", 24),
        (
            "an index of 40,000 entries",
            endless_server(r#"{"manifests":["#, child, 40_000, r#"{"digest":"sha256:0"}]}"#).await,
            "more than 1000 entries",
            48,
        ),
        (
            "an index of 100,000 entries",
            endless_server(r#"{"manifests":["#, child, 100_000, "").await,
            "bytes that",
            16,
        ),
        (
            "3 MB of annotations",
            endless_server(r#"{"manifests":[],"annotations":{"x":""#, "abcdefghij", 300_000, r#""}}"#).await,
            "bytes of annotations",
            24,
        ),
    ] {
        let app = Repository::parse(&format!("{host}/app")).unwrap();
        let (error, peak) = if name.contains("list") {
            let (result, peak) = peak_of(client.list_tags(&cx, &app)).await;
            (result.unwrap_err(), peak)
        } else {
            let (result, peak) = peak_of(client.manifest(&cx, &app, "1.0.0")).await;
            (result.unwrap_err(), peak)
        };
        assert!(error.message().contains(needle), "{name}: {error}");
        println!("{name}: {} KiB", peak / 1024);
        assert!(peak < most * MIB, "{name}: {peak}");
    }

    let piece = "  - version: 1.2.3\n    description: of the usual length for a chart\n";
    let host = endless_server("entries:\n  shop:\n", piece, 5_000_000, "").await;
    let config = Subscription::from(ChartSubscription::classic(format!("http://{host}"), "shop")).config;
    let source = ChartSource::new(client.clone());
    let (result, peak) = peak_of(source.discover(&cx, &DiscoverRequest::new(&config))).await;
    assert!(result.unwrap_err().message().contains("bytes that this answer may have"));
    println!("an index.yaml of 340 MB: {} KiB", peak / 1024);
    assert!(peak < 144 * MIB, "{peak}");
}

async fn a_large_index(client: &Client) {
    let piece = concat!(
        "  - apiVersion: v2\n    appVersion: \"1.0\"\n    created: \"2026-01-01T00:00:00.000000000Z\"\n    description: A chart of ",
        "the usual kind, described at some length, so that an entry has its five hundred bytes.\n    digest: ",
        "0000000000000000000000000000000000000000000000000000000000000000\n    home: https://charts.example.com/shop\n    ",
        "keywords:\n    - shop\n    - sales\n    maintainers:\n    - email: shop@example.com\n      name: Shop\n    name: shop\n    ",
        "urls:\n    - https://charts.example.com/shop-1.2.3.tgz\n    version: 1.2.3\n"
    );
    let host = endless_server("apiVersion: v1\nentries:\n  shop:\n", piece, 20_000, "  - version: 1.2.4\n").await;
    let config =
        Subscription::from(ChartSubscription::classic(format!("http://{host}"), "shop").constraint("^1")).config;
    let (source, cx) = (ChartSource::new(client.clone()), Context::system("test"));
    let request = DiscoverRequest::new(&config);
    let started = Instant::now();
    let (result, peak) = peak_of(source.discover(&cx, &request)).await;
    let took = started.elapsed();
    let Discovery::Found { candidates, .. } = result.unwrap() else { panic!() };
    assert_eq!(candidates.iter().map(kargo_core::Artifact::version).collect::<Vec<_>>(), ["1.2.4", "1.2.3"]);
    println!("an index of 20,001 versions, {} KiB: {} KiB, {took:?}", piece.len() * 20_000 / 1024, peak / 1024);
    assert!(peak < 64 * MIB, "{peak}");
    assert!(took < Duration::from_secs(60), "{took:?}");
}

async fn an_alias_bomb(client: &Client) {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\nentries:\n  shop: [*g,*g,*g,*g,*g,*g,*g,*g,*g,*g,{version: 1.0.0}]\n";
    let host = endless_server(bomb, "", 0, "").await;
    let config = Subscription::from(ChartSubscription::classic(format!("http://{host}"), "shop")).config;
    let (source, cx) = (ChartSource::new(client.clone()), Context::system("test"));
    let (result, peak) = peak_of(source.discover(&cx, &DiscoverRequest::new(&config))).await;
    let Discovery::Found { candidates, .. } = result.unwrap() else { panic!() };
    assert_eq!(candidates.len(), 1);
    assert!(peak < 16 * MIB, "{peak}");
}

/// A registry that has this manifest, or none when it is empty, and blobs of so many zeros. What is sent to it is counted and forgotten.
async fn registry_of_zeros(manifest: String, config: String, size: usize, received: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (manifest, config, received) = (manifest.clone(), config.clone(), Arc::clone(&received));
            tokio::spawn(async move {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte).await?;
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
                let length =
                    head.split_once("content-length: ").and_then(|(_, rest)| rest.split("\r\n").next()?.parse().ok());
                let mut left: usize = length.unwrap_or(0);
                let mut chunk = vec![0; 64 * 1024];
                while left > 0 {
                    let read = stream.read(&mut chunk).await?;
                    left -= read;
                    received.fetch_add(read, Ordering::Relaxed);
                }
                let kind = "content-type: application/vnd.oci.image.manifest.v1+json";
                let (status, header, body) = match head.split(' ').next() {
                    Some("get") if head.contains("/manifests/") && manifest.is_empty() => {
                        ("404 Not Found", "x: y", String::new())
                    }
                    Some("get") if head.contains("/manifests/") => ("200 OK", kind, manifest),
                    Some("get") if head.contains(&config) => ("200 OK", "x: y", "{}".to_owned()),
                    Some("get") => {
                        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n");
                        stream.write_all(head.as_bytes()).await?;
                        for _ in 0..size / chunk.len() {
                            stream.write_all(&chunk).await?;
                        }
                        return Ok(());
                    }
                    Some("head") => ("404 Not Found", "x: y", String::new()),
                    Some("post") => ("202 Accepted", "location: /upload", String::new()),
                    _ => ("201 Created", "x: y", String::new()),
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\n{header}\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await
            });
        }
    });
    host
}

async fn a_large_copy(client: &Client) {
    let size = 512 * MIB;
    let hash = |bytes: &mut dyn Iterator<Item = &[u8]>| {
        let mut hash = Sha256::new();
        bytes.for_each(|bytes| hash.update(bytes));
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    };
    let zeros = vec![0; MIB];
    let (layer, config) =
        (hash(&mut std::iter::repeat_n(zeros.as_slice(), 512)), hash(&mut std::iter::once(b"{}".as_slice())));
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type, "config": {"digest": config, "size": 2},
        "layers": [{"digest": layer, "size": size}],
    });
    let received = Arc::new(AtomicUsize::new(0));
    let server = |manifest| registry_of_zeros(manifest, config.clone(), size, Arc::clone(&received));
    let (here, there) = (server(manifest.to_string()).await, server(String::new()).await);
    let [from, to] = [here, there].map(|host| Repository::parse(&format!("{host}/app")).unwrap());
    let (cx, options, started) = (Context::system("test"), CopyOptions::default(), Instant::now());
    let (copied, peak) = peak_of(client.copy(&cx, &from, "1", &to, "1", &options)).await;
    assert_eq!(copied.unwrap().bytes, size as u64 + 2);
    assert!(received.load(Ordering::Relaxed) > size);
    println!("a copy of 512 MiB: {} KiB, {:?}", peak / 1024, started.elapsed());
    assert!(peak < 16 * MIB, "{peak}");
}

#[tokio::test]
async fn memory_stays_small_whatever_a_server_sends() {
    let client = Client::builder().tries(1).build().unwrap();
    nine_thousand_tags(&client).await;
    a_large_copy(&client).await;
    a_large_index(&client).await;
    an_alias_bomb(&client).await;
    answers_without_end(&client).await;
    what_else_may_be_without_end(&client).await;
    too_many_tags(&client).await;
}
