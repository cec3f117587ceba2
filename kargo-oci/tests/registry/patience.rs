//! How long a server is waited for when nobody says how long: the client's own limits, on time that is turned forward.

use std::time::Duration;

use kargo_core::plugin::Context;
use kargo_core::testing::ManualClock;
use kargo_core::{Actor, Error, ErrorKind};
use kargo_oci::{Client, Repository};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;

/// A server that takes each request and then sends these pieces, with this pause before each, and never ends.
async fn server(pieces: &'static [&'static str], pause: Duration) -> Repository {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // It goes on until the client has gone.
                let _: std::io::Result<()> = async {
                    let mut asked = [0; 1024];
                    let _ = stream.read(&mut asked).await?;
                    for piece in pieces {
                        tokio::time::sleep(pause).await;
                        stream.write_all(piece.as_bytes()).await?;
                    }
                    loop {
                        if pause.is_zero() {
                            std::future::pending::<()>().await;
                        }
                        tokio::time::sleep(pause).await;
                        stream.write_all(b" ").await?;
                    }
                }
                .await;
            });
        }
    });
    Repository::parse(&format!("{host}/app")).unwrap()
}

/// How a call fails, and how long that takes on a clock on which the call's own deadline never comes.
async fn failure(repository: &Repository) -> (Error, Duration) {
    let client = Client::builder().tries(1).build().unwrap();
    let clock = std::sync::Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
    let cx = Context::new(clock, Actor::engine(), "test");
    tokio::time::pause();
    let started = Instant::now();
    let error = client.list_tags(&cx, repository).await.unwrap_err();
    let took = started.elapsed();
    tokio::time::resume();
    (error, took)
}

fn assert_about(took: Duration, seconds: u64) {
    assert!(took >= Duration::from_secs(seconds) && took < Duration::from_secs(seconds + 2), "{took:?}");
}

#[tokio::test]
async fn a_server_that_takes_a_request_and_is_silent_is_given_half_a_minute() {
    let (error, took) = failure(&server(&[], Duration::ZERO).await).await;
    assert!(error.kind() == ErrorKind::Timeout && error.message().contains("did not answer in time"), "{error}");
    assert_about(took, 30);
}

#[tokio::test]
async fn a_server_that_falls_silent_in_its_answer_is_given_half_a_minute_too() {
    let begin = &["HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"tags\":["];
    let (error, took) = failure(&server(begin, Duration::ZERO).await).await;
    assert!(error.kind() == ErrorKind::Timeout && error.message().contains("did not answer in time"), "{error}");
    assert_about(took, 30);
}

#[tokio::test]
async fn a_server_that_says_something_now_and_then_is_given_two_minutes() {
    let begin = &["HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"tags\":["];
    let (error, took) = failure(&server(begin, Duration::from_secs(20)).await).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_about(took, 120);
}

#[tokio::test]
async fn a_server_that_takes_no_connection_is_given_five_seconds() {
    // One that is waiting to be taken leaves no room for another.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(stream);
        assert!(waiting.len() < 100, "this system has room for all");
    }
    let (error, took) = failure(&Repository::parse(&format!("{address}/app")).unwrap()).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_about(took, 5);
}
