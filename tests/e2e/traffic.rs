//! Legitimate traffic through the real binary, between callers and origins that are not ours: every
//! pairing of HTTP/1.1 and HTTP/2, and what a caller may rely on in each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

#[path = "traffic/fields.rs"]
mod fields;
#[path = "traffic/http1.rs"]
mod http1;
#[path = "traffic/http2.rs"]
mod http2;
mod support;
#[path = "traffic/tools.rs"]
mod tools;

use hyper::body::{Bytes, Frame};
use hyper::{Response, StatusCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use support::peers::{
    BOTH, Caller, Content, Served, call, channel, echoed, empty, full, parts, request, whole,
    within,
};
use support::{Gateway, Protocol};

/// Every pairing: the caller's version and the origin's.
fn pairings() -> impl Iterator<Item = (Protocol, Protocol)> {
    BOTH.into_iter().flat_map(|down| BOTH.map(|up| (down, up)))
}

/// Bytes that repeat in no power of two, so that a lost or doubled buffer shows.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8).collect()
}

async fn echo_origin(protocol: Protocol) -> Served {
    Served::start(protocol, |request| async move {
        let mut answer = Response::builder().header("trailer", "x-sum");
        if let Some(length) = request.headers().get("content-length") {
            answer = answer.header("content-length", length);
        }
        answer.body(echoed(request.into_body())).unwrap()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pairing_relays_bodies_both_ways_whatever_their_length() {
    for (down, up) in pairings() {
        let origin = echo_origin(up).await;
        let mut gateway = Gateway::start(origin.address, up);
        let mut caller = Caller::connect(gateway.address, down).await;
        for length in [0, 1, 4_095, 65_535, 65_536, 3 << 20] {
            let sent = pattern(length);
            for sized in [true, false] {
                let body = if sized {
                    full(sent.clone())
                } else {
                    parts(sent.chunks(10_007).map(Bytes::copy_from_slice).collect(), &[])
                };
                let asked = request(down, "POST", "/echo").body(body).unwrap();
                let answer = caller.send(asked).await;
                let case = format!("{down:?} to {up:?}, {length} bytes, sized {sized}");
                let answer = answer.unwrap_or_else(|why| panic!("{case}: {why:?}"));
                let (head, body) = answer.into_parts();
                assert_eq!(head.status, 200, "{case}");
                let (got, _) = within(whole(body)).await.unwrap();
                assert_eq!(got.len(), length, "{case}");
                assert!(got == sent, "{case}");
            }
        }
        assert_eq!(origin.connections(), 1, "{down:?} to {up:?}: one connection serves them all");
        gateway.assert_sound();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pairing_relays_trailers_both_ways() {
    for (down, up) in pairings() {
        let origin = echo_origin(up).await;
        let gateway = Gateway::start(origin.address, up);
        let body = parts(vec![pattern(10), pattern(20_000)], &[("x-sum", "41")]);
        let asked = request(down, "POST", "/echo")
            .header("te", "trailers")
            .header("trailer", "x-sum")
            .body(body)
            .unwrap();
        let (head, got, trailers) = call(gateway.address, down, asked).await.unwrap();
        assert_eq!(head.status, 200, "{down:?} to {up:?}");
        assert_eq!(got.len(), 20_010, "{down:?} to {up:?}");
        let sum = trailers.get("x-sum").map(|value| value.as_bytes());
        assert_eq!(sum, Some(&b"41"[..]), "{down:?} to {up:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_content_have_none_and_keep_the_connection() {
    for (down, up) in pairings() {
        let origin = Served::start(up, |request| async move {
            let path = request.uri().path().to_owned();
            let answer = Response::builder();
            match path.as_str() {
                "/204" => answer.status(204).body(empty()).unwrap(),
                "/304" => answer.status(304).header("etag", "\"a\"").body(empty()).unwrap(),
                "/205" => answer.status(205).body(empty()).unwrap(),
                _ => answer.header("content-length", "5").body(full("hello")).unwrap(),
            }
        })
        .await;
        let gateway = Gateway::start(origin.address, up);
        let mut caller = Caller::connect(gateway.address, down).await;
        let cases =
            [("HEAD", "/a", 200), ("GET", "/204", 204), ("GET", "/304", 304), ("GET", "/205", 205)];
        for (method, path, status) in cases {
            let asked = request(down, method, path).body(empty()).unwrap();
            let (head, body) = caller.send(asked).await.unwrap().into_parts();
            assert_eq!(head.status, status, "{down:?} to {up:?}: {method} {path}");
            if method == "HEAD" {
                let length = head.headers.get("content-length");
                assert_eq!(length.unwrap(), "5", "{down:?} to {up:?}: HEAD states the length");
            }
            if path == "/304" {
                assert_eq!(head.headers["etag"], "\"a\"");
            }
            let (got, _) = within(whole(body)).await.unwrap();
            assert!(got.is_empty(), "{down:?} to {up:?}: {method} {path}");
            let asked = request(down, "GET", "/a").body(empty()).unwrap();
            let answer = caller.send(asked).await.unwrap();
            let (got, _) = within(whole(answer.into_body())).await.unwrap();
            assert_eq!(got, "hello", "{down:?} to {up:?}: after {method} {path}");
        }
        assert_eq!(origin.connections(), 1, "{down:?} to {up:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_encodings_and_validators_pass_untouched() {
    for (down, up) in pairings() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let origin = Served::start(up, move |request| {
            kept.lock().unwrap().push(request.headers().clone());
            async move {
                Response::builder()
                    .status(206)
                    .header("content-range", "bytes 2-4/10")
                    .header("content-encoding", "gzip")
                    .header("etag", "W/\"x\"")
                    .header("vary", "accept")
                    .header("set-cookie", "a=1")
                    .header("set-cookie", "b=2")
                    .body(full("abc"))
                    .unwrap()
            }
        })
        .await;
        let gateway = Gateway::start(origin.address, up);
        let asked = request(down, "GET", "/file?x=1&y=%20")
            .header("range", "bytes=2-4")
            .header("accept-encoding", "gzip, br")
            .header("if-none-match", "W/\"y\"")
            .header("cookie", "c=3; d=4")
            .body(empty())
            .unwrap();
        let (head, got, _) = call(gateway.address, down, asked).await.unwrap();
        assert_eq!((head.status.as_u16(), &got[..]), (206, &b"abc"[..]));
        assert_eq!(head.headers["content-range"], "bytes 2-4/10");
        assert_eq!(head.headers["content-encoding"], "gzip");
        assert_eq!(head.headers["etag"], "W/\"x\"");
        let cookies: Vec<_> = head.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"], "{down:?} to {up:?}");
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0]["range"], "bytes=2-4", "{down:?} to {up:?}");
        assert_eq!(seen[0]["accept-encoding"], "gzip, br");
        assert_eq!(seen[0]["if-none-match"], "W/\"y\"");
        assert_eq!(seen[0]["cookie"], "c=3; d=4");
    }
}

/// An origin that answers before it has read the upload, and a caller that goes on sending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_while_the_caller_still_sends_arrives() {
    for (down, up) in pairings() {
        let origin = Served::start(up, |request| async move {
            // The request's body is held, unread, until the answer is on its way.
            let body = request.into_body();
            tokio::spawn(async move { drop(body) });
            Response::builder().status(403).body(full("no")).unwrap()
        })
        .await;
        let gateway = Gateway::start(origin.address, up);
        let (sender, body) = channel();
        let feeding = tokio::spawn(async move {
            // More than a window and less than a closing connection still reads; then silence.
            for _ in 0..8 {
                if sender.send(Ok(Frame::data(pattern(16_384)))).await.is_err() {
                    return;
                }
            }
            sender.closed().await;
        });
        let asked = request(down, "POST", "/upload").body(body).unwrap();
        let (head, got, _) = call(gateway.address, down, asked).await.unwrap();
        assert_eq!(head.status, StatusCode::FORBIDDEN, "{down:?} to {up:?}");
        assert_eq!(got, "no", "{down:?} to {up:?}");
        within(feeding).await.unwrap();
    }
}

/// Half a call each way, in turns: nothing waits for the whole of anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_stream_in_both_directions_at_once() {
    for (down, up) in pairings() {
        let origin = echo_origin(up).await;
        let gateway = Gateway::start(origin.address, up);
        let mut caller = Caller::connect(gateway.address, down).await;
        let (sender, body) = channel();
        let asked = request(down, "POST", "/echo").body(body).unwrap();
        sender.send(Ok(Frame::data(Bytes::from("first")))).await.unwrap();
        let mut answer = caller.send(asked).await.unwrap().into_body();
        for word in ["first", "second", "third"] {
            if word != "first" {
                sender.send(Ok(Frame::data(Bytes::from(word)))).await.unwrap();
            }
            let mut got = Vec::new();
            while got.len() < word.len() {
                use http_body_util::BodyExt;
                let frame = within(answer.frame()).await.unwrap().unwrap();
                got.extend(frame.into_data().unwrap());
            }
            assert_eq!(got, word.as_bytes(), "{down:?} to {up:?}");
        }
        drop(sender);
        let (rest, _) = within(whole(answer)).await.unwrap();
        assert!(rest.is_empty());
    }
}

/// Content without end, and how much of it was asked for.
fn endless(taken: Arc<AtomicUsize>, length: usize) -> Content {
    let (sender, body) = channel();
    tokio::spawn(async move {
        let part = Bytes::from(vec![b'x'; 65_536]);
        for _ in 0..length / part.len() {
            if sender.send(Ok(Frame::data(part.clone()))).await.is_err() {
                return;
            }
            taken.fetch_add(part.len(), Ordering::SeqCst);
        }
    });
    body
}

/// Waits until `counter` has not moved for a while: the flow has come to rest.
async fn at_rest(counter: &AtomicUsize) -> usize {
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(100));
    let (mut last, mut same) = (usize::MAX, 0);
    within(async {
        while same < 5 {
            ticks.tick().await;
            let now = counter.load(Ordering::SeqCst);
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
    })
    .await;
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_does_not_read_stops_the_origin_and_fills_no_memory() {
    const READERS: usize = 16;
    const LENGTH: usize = 64 << 20;
    for (down, up) in pairings() {
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&taken);
        let origin = Served::start(up, move |request| {
            let body = match request.uri().path() {
                "/warm" => full("ok"),
                _ => endless(Arc::clone(&counted), LENGTH),
            };
            async move { Response::new(body) }
        })
        .await;
        let gateway = Gateway::start(origin.address, up);
        let asked = request(down, "GET", "/warm").body(empty()).unwrap();
        call(gateway.address, down, asked).await.unwrap();
        let before = gateway.resident_kib();
        let mut answers = Vec::new();
        for _ in 0..READERS {
            let mut caller = Caller::connect(gateway.address, down).await;
            let asked = request(down, "GET", "/large").body(empty()).unwrap();
            answers.push((caller.send(asked).await.unwrap(), caller));
        }
        let sent = at_rest(&taken).await;
        // Sockets' own buffers hold up to some MiB each; without back-pressure it were 1 GiB.
        assert!(sent < READERS * LENGTH / 2, "{down:?} to {up:?}: {sent} bytes were taken");
        let grown = gateway.resident_kib().saturating_sub(before);
        assert!(grown < 24 << 10, "{down:?} to {up:?}: stalled answers hold {grown} KiB");
        // One that reads again gets all of it.
        let (answer, _caller) = answers.pop().unwrap();
        let (got, _) = within(whole(answer.into_body())).await.unwrap();
        assert_eq!(got.len(), LENGTH, "{down:?} to {up:?}");
        let grown = gateway.resident_kib().saturating_sub(before);
        assert!(grown < 24 << 10, "{down:?} to {up:?}: a large answer left {grown} KiB");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_does_not_read_stops_the_caller_and_fills_no_memory() {
    const LENGTH: usize = 64 << 20;
    for (down, up) in pairings() {
        let (go, went) = tokio::sync::watch::channel(false);
        let origin = Served::start(up, move |request| {
            let mut went = went.clone();
            async move {
                if request.uri().path() != "/warm" {
                    went.wait_for(|go| *go).await.unwrap();
                }
                let (got, _) = whole(request.into_body()).await.unwrap();
                Response::new(full(got.len().to_string()))
            }
        })
        .await;
        let gateway = Gateway::start(origin.address, up);
        let asked = request(down, "POST", "/warm").body(full("warm")).unwrap();
        call(gateway.address, down, asked).await.unwrap();
        let before = gateway.resident_kib();
        let taken = Arc::new(AtomicUsize::new(0));
        let body = endless(Arc::clone(&taken), LENGTH);
        let asked = request(down, "POST", "/upload").body(body).unwrap();
        let address = gateway.address;
        let calling = tokio::spawn(async move { call(address, down, asked).await.unwrap() });
        let sent = at_rest(&taken).await;
        assert!(sent < LENGTH / 2, "{down:?} to {up:?}: {sent} bytes were taken");
        let grown = gateway.resident_kib().saturating_sub(before);
        assert!(grown < 8 << 10, "{down:?} to {up:?}: a stalled upload holds {grown} KiB");
        go.send(true).unwrap();
        let (_, got, _) = within(calling).await.unwrap();
        assert_eq!(got, LENGTH.to_string(), "{down:?} to {up:?}");
    }
}
