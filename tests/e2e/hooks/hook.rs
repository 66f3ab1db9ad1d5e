//! An authorization server that does what the request's path asks of it, well-behaved or not.

use crate::support::Protocol;
use crate::support::peers::{Content, Failure, Served, full, parts, whole};
use crate::wire::{self, denied, framed, header, metadata, ok, status};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Request, Response};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// The running server and every question it was asked.
pub(crate) struct Hook {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Bytes>>>,
    gate: Arc<Semaphore>,
    _served: Served,
}

impl Hook {
    pub(crate) async fn start() -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        let served = Served::start(Protocol::H2c, move |request: Request<Incoming>| {
            let (kept, held) = (Arc::clone(&kept), Arc::clone(&held));
            async move {
                assert_eq!(request.uri().path(), "/envoy.service.auth.v3.Authorization/Check");
                assert_eq!(request.headers()["content-type"], "application/grpc");
                assert!(request.headers().contains_key("grpc-timeout"));
                let (body, _) = whole(request.into_body()).await.unwrap();
                let message = body.slice(5..);
                kept.lock().unwrap().push(message.clone());
                answer(&message, &held).await
            }
        });
        let served = served.await;
        Self { address: served.address, asked, gate, _served: served }
    }

    /// Lets one question go on that is held.
    pub(crate) fn release(&self) {
        self.gate.add_permits(1);
    }

    /// Every `CheckRequest` so far.
    pub(crate) fn asked(&self) -> Vec<Bytes> {
        self.asked.lock().unwrap().clone()
    }
}

/// The header of a credential that the listener withholds, in the tests that have one.
const KEY: &str = "x-api-key";

fn grpc(body: Content) -> Response<Content> {
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

fn fine(message: &[u8]) -> Response<Content> {
    grpc(parts(vec![framed(message).into()], &[("grpc-status", "0")]))
}

async fn answer(message: &[u8], gate: &Semaphore) -> Response<Content> {
    let path = wire::text(message, &[1, 4, 2, 4]);
    let word = path.trim_start_matches('/').split(['/', '?']).next().unwrap();
    let good = [status(0), ok(&[header(2, "x-user", "ann")])].concat();
    let trailers = [("grpc-status", "0")];
    match word {
        "allow" => fine(&good),
        "plain" => fine(&status(0)),
        "held" => {
            gate.acquire().await.unwrap().forget();
            fine(&good)
        }
        "change" => fine(
            &[
                status(0),
                ok(&[
                    header(2, "X-User", "ann"),
                    wire::field(5, b"x-secret"),
                    header(6, "x-seen", "yes"),
                ]),
                metadata("clearance", "3"),
            ]
            .concat(),
        ),
        "exchanged" => fine(&[status(0), ok(&[header(2, KEY, "internal")])].concat()),
        "appended" => fine(&[status(0), ok(&[wire::header_as(2, KEY, "internal", 0)])].concat()),
        "absent" => fine(&[status(0), ok(&[wire::header_as(2, KEY, "internal", 1)])].concat()),
        "present" => fine(&[status(0), ok(&[wire::header_as(2, KEY, "internal", 3)])].concat()),
        "echoed" | "wrapped" => {
            let seen = wire::described_header(message, KEY).expect("hooks see credentials");
            let said = if word == "echoed" { seen } else { format!("Key {seen}") };
            fine(&[status(0), ok(&[header(2, KEY, &said)])].concat())
        }
        "low" => fine(&[status(0), metadata("clearance", "1")].concat()),
        "badfact" => fine(&[status(0), metadata("clearance", "high")].concat()),
        "deny" => fine(
            &[
                status(7),
                denied(401, &[header(2, "www-authenticate", "Basic"), wire::field(3, b"go away")]),
            ]
            .concat(),
        ),
        "plaindeny" => fine(&status(7)),
        "slow" => std::future::pending().await,
        "halfway" => {
            let first: Result<_, Failure> =
                Ok(Frame::data(Bytes::from(framed(&good)[..7].to_vec())));
            let first = tokio_stream::iter([first]);
            let never = tokio_stream::StreamExt::chain(first, tokio_stream::pending());
            grpc(StreamBody::new(never).boxed_unsync())
        }
        "twice" => {
            let both = [framed(&good), framed(&good)].concat();
            grpc(parts(vec![both.into()], &trailers))
        }
        "lying" => fine(&[status(0), denied(403, &[])].concat()),
        "nostatus" => fine(&ok(&[])),
        "empty" => grpc(parts(vec![framed(&[]).into()], &trailers)),
        "nothing" => grpc(parts(vec![Bytes::new()], &trailers)),
        "garbage" => fine(&[0xff; 40]),
        "huge" => fine(&[status(0), wire::field(15, &vec![b'x'; 200_000])].concat()),
        "compressed" => {
            let mut bytes = framed(&good);
            bytes[0] = 1;
            grpc(parts(vec![bytes.into()], &trailers))
        }
        "cut" => grpc(parts(vec![framed(&good)[..9].to_vec().into()], &trailers)),
        "notrailers" => grpc(full(framed(&good))),
        "failed" => {
            let mut response = grpc(full(""));
            response.headers_mut().insert("grpc-status", "13".parse().unwrap());
            response
        }
        "failedlate" => grpc(parts(vec![framed(&good).into()], &[("grpc-status", "14")])),
        "html" => Response::builder().header("content-type", "text/html").body(full("ok")).unwrap(),
        "http500" => {
            let mut response = fine(&good);
            *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
        "reset" => {
            let broken: Result<Frame<Bytes>, Failure> = Err(Failure::other("on purpose"));
            grpc(StreamBody::new(tokio_stream::iter([broken])).boxed_unsync())
        }
        "host" => fine(&[status(0), ok(&[header(2, "host", "evil")])].concat()),
        "split" => fine(&[status(0), ok(&[header(2, "x-user", "a\r\nx-admin: 1")])].concat()),
        other => panic!("`{other}` is nothing to do"),
    }
}

/// Words whose answers are none: each refuses.
pub(crate) const FAILURES: &[&str] = &[
    "slow",
    "halfway",
    "twice",
    "lying",
    "nostatus",
    "empty",
    "nothing",
    "garbage",
    "huge",
    "compressed",
    "cut",
    "notrailers",
    "failed",
    "failedlate",
    "html",
    "http500",
    "reset",
    "host",
    "split",
    "badfact",
];
