//! What a gRPC answer's status says of the service that gave it.

use super::{
    BytesCodec, CONTRACT, Echo, Gateway, VOCABULARY, bare, client, message, path, unary, within,
};
use crate::support::peers::{Served, call, channel, full};
use crate::support::{PATIENCE, Protocol};
use hyper::Response;
use hyper::body::{Bytes, Frame};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio_stream::StreamExt;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request};

/// A gateway before both, which are one service of which this is said; an epoch is short.
fn before(one: SocketAddr, other: SocketAddr, own: &str) -> Gateway {
    let config = format!(
        r#"config = "caio/1"
vocabulary = "vocabulary.toml"
[process]
workers = 1
[balance]
epoch = "10ms"
[outlier]
max_ejection_percent = 100
[[listeners]]
address = "127.0.0.1:0"
[[services]]
contract = "grpc.toml"
endpoints = ["{}", "{}"]
{own}
"#,
        one, other
    );
    Gateway::start_on(&[
        ("vocabulary.toml", VOCABULARY),
        ("grpc.toml", CONTRACT),
        ("caio.toml", &config),
    ])
}

/// What a call of the kind answers: its status is in the head, or behind a message.
async fn asked(client: &mut Grpc<Channel>, streams: bool) -> Code {
    let asked = Request::new(Bytes::from("x"));
    if !streams {
        return unary(client, asked).await.map_or_else(|status| status.code(), |_| Code::Ok);
    }
    within(client.ready()).await.unwrap();
    let answer = client.server_streaming(asked, path("Scatter"), BytesCodec);
    let mut answer = within(answer).await.unwrap().into_inner();
    let mut code = Code::Ok;
    while let Some(word) = within(answer.next()).await {
        code = word.map_or_else(|status| status.code(), |_| code);
    }
    code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_answers_unavailable_is_ejected_wherever_its_status_stands() {
    for streams in [false, true] {
        let (bad, good) = (Echo::failing(Some(Code::Unavailable)).await, Echo::start().await);
        let mut gateway = before(bad.address, good.address, "");
        let mut client = client(&gateway).await;
        let until = Instant::now() + PATIENCE;
        while !gateway.said().contains("calls failed") {
            let code = asked(&mut client, streams).await;
            assert!(matches!(code, Code::Ok | Code::Unavailable), "{code:?}");
            assert!(Instant::now() < until, "nobody is ejected, streams: {streams}");
        }
        assert!(gateway.said().contains(&bad.address.to_string()), "{}", gateway.said());
        // What is told is published a moment later.
        let mut calm = 0;
        while calm < 20 {
            let code = asked(&mut client, streams).await;
            calm = if code == Code::Ok { calm + 1 } else { 0 };
            assert!(Instant::now() < until, "it is called all the same, streams: {streams}");
        }
        let calls = bad.calls();
        for _ in 0..50 {
            assert_eq!(asked(&mut client, streams).await, Code::Ok);
        }
        assert_eq!(bad.calls(), calls);
        gateway.assert_sound();
    }
}

/// One that answers at once, and never ends; its calls are counted.
async fn endless() -> (Served, Arc<AtomicU64>) {
    let calls = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&calls);
    let served = Served::start(Protocol::H2c, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async {
            let (sender, body) = channel();
            tokio::spawn(async move {
                sender.send(Ok(Frame::data(message("a")))).await.unwrap();
                sender.closed().await;
            });
            let answer = Response::builder().header("content-type", "application/grpc");
            answer.body(body).unwrap()
        }
    });
    (served.await, calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_whose_streams_are_silent_for_too_long_is_ejected() {
    let ((endless, _), good) = (endless().await, Echo::start().await);
    let idle = "[timeouts]\nstream_idle = \"500ms\"";
    let mut gateway = before(endless.address, good.address, idle);
    let until = Instant::now() + PATIENCE;
    while !gateway.said().contains("calls failed") {
        let asked = bare("Scatter", &[], full(message("x")));
        // Cut off, where it was the endless one.
        let _ = within(call(gateway.address, Protocol::H2c, asked)).await;
        assert!(Instant::now() < until, "nobody is ejected");
    }
    assert!(gateway.said().contains(&endless.address.to_string()), "{}", gateway.said());
    gateway.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_of_the_caller_s_ejects_nobody() {
    let ((endless, calls), good) = (endless().await, Echo::start().await);
    let mut gateway = before(endless.address, good.address, "");
    let until = Instant::now() + PATIENCE;
    while calls.load(Ordering::SeqCst) < 20 {
        let asked = bare("Scatter", &[("grpc-timeout", "100m")], full(message("x")));
        call(gateway.address, Protocol::H2c, asked).await.unwrap();
        assert!(Instant::now() < until, "it is called");
    }
    assert!(!gateway.said().contains("calls failed"), "{}", gateway.said());
    gateway.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_is_the_caller_s_own_fault_is_held_against_nobody() {
    let (strict, broken) =
        (Echo::failing(Some(Code::NotFound)).await, Echo::failing(Some(Code::Internal)).await);
    let gateway = before(strict.address, broken.address, "");
    let mut client = client(&gateway).await;
    let until = Instant::now() + PATIENCE;
    while !gateway.said().contains("calls failed") {
        asked(&mut client, false).await;
        assert!(Instant::now() < until, "nobody is ejected");
    }
    assert!(strict.calls() > 0);
    let said = gateway.said();
    assert!(said.contains(&broken.address.to_string()), "{said}");
    assert!(!said.contains(&format!("{} is not called", strict.address)), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_it_does_not_serve_is_not_called_until_it_does() {
    let (one, other) = (Echo::start().await, Echo::start().await);
    let checked = "health = { check = \"grpc\", interval = \"100ms\", timeout = \"100ms\" }";
    let mut gateway = before(one.address, other.address, checked);
    let mut client = client(&gateway).await;
    let until = Instant::now() + PATIENCE;
    while one.calls() == 0 || other.calls() == 0 {
        assert_eq!(asked(&mut client, false).await, Code::Ok);
        assert!(Instant::now() < until, "both are called at first");
    }
    one.serves(false);
    while !gateway.said().contains(&format!("{} fails its checks", one.address)) {
        assert_eq!(asked(&mut client, false).await, Code::Ok);
        assert!(Instant::now() < until, "it is never told");
    }
    // What is told is published a moment later.
    let (mut calm, mut calls) = (0, one.calls());
    while calm < 50 {
        assert_eq!(asked(&mut client, false).await, Code::Ok);
        calm = if one.calls() == calls { calm + 1 } else { 0 };
        calls = one.calls();
        assert!(Instant::now() < until, "it is called all the same");
    }
    one.serves(true);
    while one.calls() == calls {
        assert_eq!(asked(&mut client, false).await, Code::Ok);
        assert!(Instant::now() < until, "it never comes back");
    }
    gateway.tells("is called again");
    gateway.assert_sound();
}
