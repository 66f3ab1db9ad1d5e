//! gRPC through the real binary, between tonic's client and tonic's server: the four kinds of
//! methods, metadata, errors, deadlines, cancellation, and refusals in gRPC's own words.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

#[path = "grpc/service.rs"]
mod service;
#[path = "grpc/standing.rs"]
mod standing;
mod support;

use hyper::body::{Bytes, Frame};
use hyper::header::HeaderMap;
use hyper::http::uri::PathAndQuery;
use hyper::{Response, StatusCode};
use service::{BytesCodec, Echo};
use std::net::SocketAddr;
use std::time::Duration;
use support::peers::{
    Caller, Content, Served, call, channel, empty, full, parts, request, whole, within,
};
use support::{Gateway, Protocol, VOCABULARY, nowhere};
use tokio_stream::StreamExt;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const CONTRACT: &str = r#"contract = "caio/1"
service = "test.grpc"
version = "1.0.0"

[[offers]]
capability = "test.grpc/1"
interface = { grpc = "test.v1.Echo" }
"#;

fn gateway(origin: SocketAddr, more: &str) -> Gateway {
    let config = format!(
        r#"config = "caio/1"
vocabulary = "vocabulary.toml"

[process]
workers = 1

[[listeners]]
address = "127.0.0.1:0"

[[services]]
contract = "grpc.toml"
endpoints = ["{origin}"]
{more}"#
    );
    Gateway::start_on(&[
        ("vocabulary.toml", VOCABULARY),
        ("grpc.toml", CONTRACT),
        ("caio.toml", &config),
    ])
}

async fn client(gateway: &Gateway) -> Grpc<Channel> {
    let endpoint = Channel::from_shared(format!("http://{}", gateway.address)).unwrap();
    Grpc::new(within(endpoint.connect()).await.unwrap())
}

fn path(method: &str) -> PathAndQuery {
    format!("/test.v1.Echo/{method}").parse().unwrap()
}

async fn unary(
    client: &mut Grpc<Channel>,
    request: Request<Bytes>,
) -> Result<tonic::Response<Bytes>, Status> {
    within(client.ready()).await.unwrap();
    within(client.unary(request, path("Unary"), BytesCodec)).await
}

/// One gRPC message as it stands in a body.
fn message(text: &str) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend((text.len() as u32).to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes.into()
}

/// A gRPC call without a gRPC library, which would keep deadlines by itself.
fn bare(method: &str, more: &[(&str, &str)], body: Content) -> hyper::Request<Content> {
    let mut builder = request(Protocol::H2c, "POST", path(method).as_str())
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in more {
        builder = builder.header(*name, *value);
    }
    builder.body(body).unwrap()
}

fn status_of(fields: &HeaderMap) -> Option<&str> {
    fields.get("grpc-status").map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_four_kinds_of_methods_work_with_metadata_both_ways() {
    let echo = Echo::start().await;
    let mut gateway = gateway(echo.address, "");
    let mut client = client(&gateway).await;

    let mut asked = Request::new(Bytes::from("hello"));
    asked.metadata_mut().insert("x-word", "ascii".parse().unwrap());
    let binary = tonic::metadata::BinaryMetadataValue::from_bytes(&[0, 255, 10, 13]);
    asked.metadata_mut().insert_bin("x-word-bin", binary);
    let answer = unary(&mut client, asked).await.unwrap();
    assert_eq!(answer.metadata().get("x-word").unwrap(), "ascii");
    let got = answer.metadata().get_bin("x-word-bin").unwrap().to_bytes().unwrap();
    assert_eq!(&got[..], [0, 255, 10, 13]);
    assert!(answer.metadata().get("caio-decision").is_some(), "the decision is told");
    assert_eq!(answer.into_inner(), "hello");

    client.ready().await.unwrap();
    let words = tokio_stream::iter(["a", "b", "c"].map(Bytes::from));
    let answer = client.client_streaming(Request::new(words), path("Gather"), BytesCodec);
    assert_eq!(within(answer).await.unwrap().into_inner(), "a+b+c");

    client.ready().await.unwrap();
    let asked = Request::new(Bytes::from("x-y-z"));
    let answer = client.server_streaming(asked, path("Scatter"), BytesCodec);
    let mut answer = within(answer).await.unwrap().into_inner();
    for word in ["x", "y", "z"] {
        assert_eq!(within(answer.next()).await.unwrap().unwrap(), word);
    }
    assert!(within(answer.next()).await.is_none());
    let trailers = answer.trailers().await.unwrap().unwrap();
    assert!(trailers.get("grpc-status").is_none_or(|status| status == "0"));

    // In turns: each answer is read before the next question is asked.
    client.ready().await.unwrap();
    let (ask, asked) = tokio::sync::mpsc::channel(1);
    let asked = Request::new(tokio_stream::wrappers::ReceiverStream::new(asked));
    let answer = client.streaming(asked, path("Talk"), BytesCodec);
    let mut answer = within(answer).await.unwrap().into_inner();
    for count in 0..50 {
        ask.send(Bytes::from(format!("word {count}"))).await.unwrap();
        let got = within(answer.next()).await.unwrap().unwrap();
        assert_eq!(got, format!("word {count}"));
    }
    drop(ask);
    assert!(within(answer.next()).await.is_none());
    gateway.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_pass_both_ways() {
    let echo = Echo::start().await;
    let gateway = gateway(echo.address, "");
    let mut client = client(&gateway).await.max_decoding_message_size(16 << 20);
    let large: Bytes = (0..3 << 20).map(|at| (at % 251) as u8).collect();
    let answer = unary(&mut client, Request::new(large.clone())).await.unwrap();
    assert!(answer.into_inner() == large);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_s_errors_arrive_as_it_said_them() {
    let echo = Echo::start().await;
    let gateway = gateway(echo.address, "");
    let mut client = client(&gateway).await;
    let why = unary(&mut client, Request::new(Bytes::from("fail"))).await.unwrap_err();
    assert_eq!(why.code(), Code::NotFound);
    assert_eq!(why.message(), "no such thing: 100% ünknown");
    assert_eq!(why.metadata().get("x-why").unwrap(), "because");
    assert_eq!(why.details(), b"details");
    // The same behind messages that were already sent.
    client.ready().await.unwrap();
    let asked = Request::new(Bytes::from("a-fail"));
    let answer = client.server_streaming(asked, path("Scatter"), BytesCodec);
    let mut answer = within(answer).await.unwrap().into_inner();
    assert_eq!(within(answer.next()).await.unwrap().unwrap(), "a");
    let why = within(answer.next()).await.unwrap().unwrap_err();
    assert_eq!(why.code(), Code::NotFound);
    // And the connection serves on.
    assert!(unary(&mut client, Request::new(Bytes::from("x"))).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_trailers_only_and_keep_the_connection() {
    let echo = Echo::start().await;
    let gateway = gateway(echo.address, "[limits]\nbody_bytes_max = \"1KiB\"\n");
    let mut client = client(&gateway).await;
    client.ready().await.unwrap();
    let unknown: PathAndQuery = "/test.v1.Other/Unary".parse().unwrap();
    let asked = Request::new(Bytes::from("x"));
    let why = within(client.unary(asked, unknown, BytesCodec)).await.unwrap_err();
    assert_eq!(why.code(), Code::Unimplemented);
    assert!(why.message().starts_with("route.unknown: "), "{}", why.message());
    assert_eq!(why.metadata().get("caio-refusal").unwrap(), "route.unknown");
    assert!(why.metadata().get("x-request-id").is_some());

    let large = Request::new(Bytes::from(vec![b'x'; 5000]));
    let why = unary(&mut client, large).await.unwrap_err();
    assert_eq!(why.code(), Code::ResourceExhausted, "{why:?}");
    assert!(unary(&mut client, Request::new(Bytes::from("x"))).await.is_ok());

    // On the wire: one HEADERS frame that ends the stream, with status 200.
    let asked = bare("Unary", &[("caio-capability", "no.such/1")], full(message("x")));
    let (head, body, trailers) = call(gateway.address, Protocol::H2c, asked).await.unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(head.headers["content-type"], "application/grpc");
    assert_eq!(status_of(&head.headers), Some("12"));
    assert!(body.is_empty() && trailers.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_cannot_be_reached_is_unavailable() {
    let gateway = gateway(nowhere(), "");
    let mut client = client(&gateway).await;
    let why = unary(&mut client, Request::new(Bytes::from("x"))).await.unwrap_err();
    assert_eq!(why.code(), Code::Unavailable, "{why:?}");
    assert_eq!(why.metadata().get("caio-refusal").unwrap(), "service.exhausted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_not_grpc_is_told_so_in_http() {
    let echo = Echo::start().await;
    let gateway = gateway(echo.address, "");
    for protocol in support::peers::BOTH {
        let asked = request(protocol, "POST", "/test.v1.Echo/Unary")
            .header("content-type", "application/json")
            .body(full("{}"))
            .unwrap();
        let (head, body, _) = call(gateway.address, protocol, asked).await.unwrap();
        assert_eq!(head.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{protocol:?}");
        assert_eq!(head.headers["content-type"], "application/problem+json");
        assert_eq!(head.headers["caio-refusal"], "grpc.invalid");
        assert!(!body.is_empty());
    }
    assert_eq!(echo.calls(), 0, "nothing reached the service");
    let asked = bare("Unary", &[("grpc-timeout", "soon")], full(message("x")));
    let (head, ..) = call(gateway.address, Protocol::H2c, asked).await.unwrap();
    assert_eq!(status_of(&head.headers), Some("13"), "{head:?}");
    assert_eq!(echo.calls(), 0);
}

/// The time a `grpc-timeout` stands for.
fn timeout(text: &str) -> Duration {
    let (digits, unit) = text.split_at(text.len() - 1);
    let count: u64 = digits.parse().unwrap();
    match unit {
        "n" => Duration::from_nanos(count),
        "u" => Duration::from_micros(count),
        "m" => Duration::from_millis(count),
        "S" => Duration::from_secs(count),
        "M" => Duration::from_secs(60 * count),
        "H" => Duration::from_secs(3600 * count),
        other => panic!("the unit {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_are_passed_on_and_never_grow() {
    let echo = Echo::start().await;
    let gateway = gateway(echo.address, "");
    let mut client = client(&gateway).await;
    let mut asked = Request::new(Bytes::from("timeout"));
    asked.set_timeout(Duration::from_secs(10));
    let told = unary(&mut client, asked).await.unwrap().into_inner();
    let told = timeout(std::str::from_utf8(&told).unwrap());
    assert!(told <= Duration::from_secs(10), "{told:?}");
    assert!(told > Duration::from_secs(1), "{told:?}");
    let told = unary(&mut client, Request::new(Bytes::from("timeout"))).await.unwrap();
    assert_eq!(told.into_inner(), "none", "no deadline is made up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_are_kept_whatever_the_service_does() {
    // An origin that keeps no deadlines, as tonic's server would.
    let origin = Served::start(Protocol::H2c, |request| async move {
        if request.uri().path() == "/test.v1.Echo/Unary" {
            std::future::pending::<()>().await;
        }
        let (sender, body) = channel();
        tokio::spawn(async move {
            sender.send(Ok(Frame::data(message("a")))).await.unwrap();
            sender.closed().await;
        });
        let answer = Response::builder().header("content-type", "application/grpc");
        answer.body(body).unwrap()
    })
    .await;
    let gateway = gateway(origin.address, "");
    // Before anything was answered: trailers only.
    let asked = bare("Unary", &[("grpc-timeout", "300m")], full(message("wait")));
    let (head, body, _) = call(gateway.address, Protocol::H2c, asked).await.unwrap();
    assert_eq!((head.status.as_u16(), status_of(&head.headers)), (200, Some("4")));
    assert!(body.is_empty());
    // Behind a message that was already sent: in the trailers.
    let asked = bare("Scatter", &[("grpc-timeout", "500m")], full(message("x")));
    let (head, body, trailers) = call(gateway.address, Protocol::H2c, asked).await.unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(body, message("a"));
    assert_eq!(status_of(&trailers), Some("4"));
    // While the caller itself keeps the stream open and says nothing.
    let (held, body) = channel();
    held.send(Ok(Frame::data(message("word")))).await.unwrap();
    let asked = bare("Talk", &[("grpc-timeout", "500m")], body);
    let (_, body, trailers) = call(gateway.address, Protocol::H2c, asked).await.unwrap();
    assert_eq!(body, message("a"));
    assert_eq!(status_of(&trailers), Some("4"));
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_cancels_a_silent_stream_cancels_it_at_the_service() {
    let echo = Echo::start().await;
    let gateway = gateway(echo.address, "");
    let mut client = client(&gateway).await;
    client.ready().await.unwrap();
    let asked = Request::new(Bytes::from("a-wait"));
    let answer = client.server_streaming(asked, path("Scatter"), BytesCodec);
    let mut answer = within(answer).await.unwrap().into_inner();
    assert_eq!(within(answer.next()).await.unwrap().unwrap(), "a");
    assert_eq!(echo.cancelled(), 0);
    drop(answer);
    within(echo.until_cancelled(1)).await;
    // And one that was not answered at all.
    let mut caller = Caller::connect(gateway.address, Protocol::H2c).await;
    let call = async move {
        let asked = bare("Unary", &[], full(message("wait")));
        let _ = caller.send(asked).await;
    };
    let calling = tokio::spawn(call);
    within(echo.until_called("wait")).await;
    calling.abort();
    within(echo.until_cancelled(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_that_a_service_owes_are_replaced_by_an_error() {
    let origin = Served::start(Protocol::H2c, |request| async move {
        let answer = Response::builder().header("content-type", "application/grpc");
        let body = match request.uri().path() {
            "/test.v1.Echo/Data" => full(message("x")),
            "/test.v1.Echo/Other" => parts(vec![message("x")], &[("x-other", "1")]),
            _ => empty(),
        };
        answer.body(body).unwrap()
    })
    .await;
    let gateway = gateway(origin.address, "");
    for (method, content) in [("Data", true), ("Other", true), ("None", false)] {
        let asked = bare(method, &[], full(message("x")));
        let (head, body, trailers) = call(gateway.address, Protocol::H2c, asked).await.unwrap();
        assert_eq!(head.status, 200, "{method}");
        assert_eq!(body == message("x"), content, "{method}");
        let status = status_of(&trailers).or(status_of(&head.headers));
        assert_eq!(status, Some("13"), "{method}: {head:?} {trailers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_breaks_off_never_looks_like_success() {
    let origin = Served::start(Protocol::H2c, |request| async move {
        let answer = Response::builder().header("content-type", "application/grpc");
        let (sender, body) = channel();
        let early = request.uri().path() == "/test.v1.Echo/Early";
        tokio::spawn(async move {
            if !early {
                sender.send(Ok(Frame::data(message("x")))).await.unwrap();
            }
            let _ = sender.send(Err(std::io::Error::other("broken on purpose"))).await;
        });
        answer.body(body).unwrap()
    })
    .await;
    let gateway = gateway(origin.address, "");
    for method in ["Early", "Late"] {
        let mut caller = Caller::connect(gateway.address, Protocol::H2c).await;
        let answer = caller.send(bare(method, &[], full(message("x")))).await;
        let Ok(answer) = answer else { continue };
        let (head, body) = answer.into_parts();
        let Ok((_, trailers)) = within(whole(body)).await else { continue };
        let status = status_of(&trailers).or(status_of(&head.headers));
        assert!(!matches!(status, None | Some("0")), "{method}: {head:?} {trailers:?}");
    }
}

/// What an honest caller sends along with thousands of small messages is no flood.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_calls_and_messages_on_one_connection_are_no_abuse() {
    let echo = Echo::start().await;
    let mut gateway = gateway(echo.address, "");
    let mut client = client(&gateway).await;
    for count in 0..1_500 {
        let asked = Request::new(Bytes::from("x"));
        let answer = unary(&mut client, asked).await;
        assert!(answer.is_ok(), "call {count}: {answer:?}");
    }
    client.ready().await.unwrap();
    let (ask, asked) = tokio::sync::mpsc::channel(1);
    let asked = Request::new(tokio_stream::wrappers::ReceiverStream::new(asked));
    let answer = client.streaming(asked, path("Talk"), BytesCodec);
    let mut answer = within(answer).await.unwrap().into_inner();
    for count in 0..1_500 {
        ask.send(Bytes::from("x")).await.unwrap();
        let got = within(answer.next()).await;
        assert!(matches!(got, Some(Ok(_))), "message {count}: {got:?}");
    }
    gateway.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_calls_at_once_share_connections() {
    let echo = Echo::start().await;
    let mut gateway = gateway(echo.address, "");
    let shared = client(&gateway).await;
    let mut calls = tokio::task::JoinSet::new();
    for count in 0..400 {
        let mut client = shared.clone();
        calls.spawn(async move {
            let word = Bytes::from(format!("call {count}"));
            let answer = unary(&mut client, Request::new(word.clone())).await;
            assert_eq!(answer.unwrap().into_inner(), word);
        });
    }
    while let Some(ended) = within(calls.join_next()).await {
        ended.unwrap();
    }
    gateway.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_answers_for_its_own_health() {
    let mut gateway = gateway(nowhere(), "");
    let mut client = client(&gateway).await;
    let check = |method: &str| -> PathAndQuery {
        format!("/grpc.health.v1.Health/{method}").parse().unwrap()
    };
    let mut ask = async |method: &str, message: &'static [u8]| {
        within(client.ready()).await.unwrap();
        let asked = Request::new(Bytes::from_static(message));
        within(client.unary(asked, check(method), BytesCodec)).await
    };
    let answer = ask("Check", b"").await.unwrap().into_inner();
    assert_eq!(answer, Bytes::from_static(&[0x08, 1]), "SERVING");
    assert_eq!(ask("Check", b"\x0a\x01x").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(ask("Check", b"\xff").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(ask("Watch", b"").await.unwrap_err().code(), Code::Unimplemented);
    gateway.assert_sound();
}
