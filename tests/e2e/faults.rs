//! Faults of origins and slow or dying peers: what a caller is told, what is tried again, and what
//! never happens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use hyper::Response;
use hyper::body::{Bytes, Frame};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use support::origin::{Answer, Origin};
use support::peers::{
    BOTH, Caller, Served, call, channel, empty, full, parts, request, whole, within,
};
use support::{
    End, Gateway, PATIENCE, Protocol, VOCABULARY, Wire, assert_serves, eventually, exchange,
    nowhere, reply,
};

const GET: &[u8] = b"GET /asked HTTP/1.1\r\nHost: a.example\r\n\r\n";
const LAST: &[u8] = b"GET /asked HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

/// Row 18: an answer that is cut off must not look whole to anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_18_an_answer_that_is_cut_off_never_looks_whole() {
    let cut = [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nonly this",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\nX-Sum: 1\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\nzz\r\n",
    ];
    for bytes in cut {
        let origin = Origin::scripted(move |_| Answer::raw(bytes));
        let mut gateway = Gateway::start(origin.address, Protocol::Http1);
        for down in BOTH {
            let asked = request(down, "GET", "/").body(empty()).unwrap();
            let ended = call(gateway.address, down, asked).await;
            // Nothing may have been sent yet: then a 502 says so. Otherwise the body is an error.
            if let Ok((head, body, _)) = ended {
                assert_eq!(head.status, 502, "{down:?}: it looks whole: {body:?}\n{bytes}");
            }
        }
        gateway.assert_sound();
    }
    let origin = Served::start(Protocol::H2c, |_| async {
        let (sender, body) = channel();
        tokio::spawn(async move {
            sender.send(Ok(Frame::data(Bytes::from("only this")))).await.unwrap();
            let _ = sender.send(Err(std::io::Error::other("broken on purpose"))).await;
        });
        Response::new(body)
    })
    .await;
    let mut gateway = Gateway::start(origin.address, Protocol::H2c);
    for down in BOTH {
        let asked = request(down, "GET", "/").body(empty()).unwrap();
        let ended = call(gateway.address, down, asked).await;
        assert!(ended.is_err(), "{down:?}: it looks whole: {ended:?}");
    }
    gateway.assert_sound();
}

/// Row 17: a malformed answer is a 502, and nothing of it reaches anybody, then or later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_17_malformed_answers_are_a_502_and_leave_nothing_behind() {
    let long = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "a".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: b\r\n".repeat(400));
    let bad: Vec<(&str, &str)> = vec![
        (
            "CL and TE",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Length: 7\r\n\r\nsecret"),
        ("negative length", "HTTP/1.1 200 OK\r\nContent-Length: -6\r\n\r\nsecret"),
        ("length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +6\r\n\r\nsecret"),
        ("garbage", "secret\r\n\r\n"),
        ("HTTP/0.9", "<html>secret</html>"),
        ("no status", "HTTP/1.1 OK\r\n\r\nsecret"),
        ("status 99", "HTTP/1.1 099 Low\r\nContent-Length: 6\r\n\r\nsecret"),
        ("status 1000", "HTTP/1.1 1000 High\r\nContent-Length: 6\r\n\r\nsecret"),
        ("version", "HTTP/3.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"),
        ("bare CR", "HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 6\r\n\r\nsecret"),
        ("bare LF", "HTTP/1.1 200 OK\nContent-Length: 6\n\nsecret"),
        ("no colon", "HTTP/1.1 200 OK\r\nsecret\r\nContent-Length: 0\r\n\r\n"),
        ("space in a name", "HTTP/1.1 200 OK\r\nX A: secret\r\nContent-Length: 0\r\n\r\n"),
        ("folded", "HTTP/1.1 200 OK\r\nX-A: b\r\n secret\r\nContent-Length: 0\r\n\r\n"),
        ("unasked 101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nsecret"),
        ("other coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nsecret"),
        ("too long", &long),
        ("too many fields", &many),
        ("nothing", ""),
    ];
    let answers: Vec<(String, Vec<u8>)> =
        bad.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    for (name, bytes) in answers {
        let origin = Origin::scripted(move |request| match request.target.as_str() {
            "/bad" => Answer::raw(bytes.clone()),
            _ => Answer::ok(),
        });
        let mut gateway = Gateway::start(origin.address, Protocol::Http1);
        for down in BOTH {
            let asked = request(down, "GET", "/bad").body(empty()).unwrap();
            let (head, body, _) = call(gateway.address, down, asked).await.unwrap();
            assert_eq!(head.status, 502, "{down:?}, {name}");
            let code = head.headers["caio-refusal"].to_str().unwrap();
            let expected = if name == "nothing" { "upstream.aborted" } else { "upstream.framing" };
            // HTTP/0.9 has no end of its head: the connection's end is met instead.
            if name != "HTTP/0.9" && name != "garbage" {
                assert_eq!(code, expected, "{down:?}, {name}");
            }
            let text = String::from_utf8_lossy(&body).into_owned();
            assert!(!text.contains("secret"), "{down:?}, {name}: {text}");
            let asked = request(down, "GET", "/good").body(empty()).unwrap();
            let (head, body, _) = call(gateway.address, down, asked).await.unwrap();
            assert_eq!((head.status.as_u16(), &body[..]), (200, &b"ok"[..]), "{down:?}, {name}");
        }
        gateway.assert_sound();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_17_bytes_behind_an_answer_never_reach_another_request() {
    let origin = Origin::scripted(|request| {
        let extra = match request.target.as_str() {
            "/extra" => "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
            _ => "",
        };
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{extra}");
        Answer { bytes: bytes.into_bytes(), close: false }
    });
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    for down in BOTH {
        let mut caller = Caller::connect(gateway.address, down).await;
        for path in ["/extra", "/a", "/extra", "/b", "/c"] {
            let asked = request(down, "GET", path).body(empty()).unwrap();
            let answer = caller.send(asked).await.unwrap();
            let (body, _) = within(whole(answer.into_body())).await.unwrap();
            assert_eq!(body, "ok", "{down:?}: {path}");
        }
    }
    gateway.assert_sound();
}

/// An origin that serves the first request of a connection and ends it, without an answer, when the
/// second has come; every request it was sent is counted.
fn ends_on_reuse() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut bytes = Vec::<u8>::new();
                let mut chunk = [0; 4096];
                for turn in 0..2 {
                    while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
                        match stream.read(&mut chunk) {
                            Ok(count @ 1..) => bytes.extend(&chunk[..count]),
                            _ => return,
                        }
                    }
                    bytes.clear();
                    counted.fetch_add(1, Ordering::SeqCst);
                    if turn == 0 {
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        stream.write_all(answer).unwrap();
                    }
                }
            });
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_19_a_stale_connection_is_made_good_once_and_only_where_that_is_safe() {
    for down in BOTH {
        let (address, count) = ends_on_reuse();
        let mut gateway = Gateway::start(address, Protocol::Http1);
        let ask = |method: &'static str, body: &'static str| {
            let asked = request(down, method, "/").body(full(body)).unwrap();
            call(gateway.address, down, asked)
        };
        let (head, ..) = ask("GET", "").await.unwrap();
        assert_eq!(head.status, 200, "{down:?}");
        // The pooled connection dies with the request in hand: a GET is sent again, on a new one.
        let (head, ..) = ask("GET", "").await.unwrap();
        assert_eq!((head.status.as_u16(), count.load(Ordering::SeqCst)), (200, 3), "{down:?}");
        // What may have been acted on is not.
        for (method, body) in [("POST", ""), ("POST", "body"), ("PATCH", "")] {
            let before = count.load(Ordering::SeqCst);
            let (head, ..) = ask(method, body).await.unwrap();
            assert_eq!(head.status, 502, "{down:?}: {method} {body:?}");
            assert_eq!(head.headers["caio-refusal"], "upstream.aborted", "{down:?}");
            assert_eq!(count.load(Ordering::SeqCst), before + 1, "{down:?}: sent once");
            assert_eq!(ask("GET", "").await.unwrap().0.status, 200, "{down:?}");
        }
        gateway.assert_sound();
    }
}

/// An HTTP/2 origin that says goodbye after each answer.
async fn leaves_after_each() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    connection.graceful_shutdown();
                    tokio::spawn(async move {
                        let mut body = request.into_body();
                        while let Some(Ok(data)) = body.data().await {
                            let _ = body.flow_control().release_capacity(data.len());
                        }
                        let answer = Response::builder().status(200).body(()).unwrap();
                        let _ = respond.send_response(answer, true);
                    });
                }
            });
        }
    });
    (address, accepted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_19_a_service_that_says_goodbye_loses_no_call() {
    let (address, accepted) = leaves_after_each().await;
    let mut gateway = Gateway::start(address, Protocol::H2c);
    for down in BOTH {
        let mut caller = Caller::connect(gateway.address, down).await;
        for count in 0..60 {
            // With content: what was not sent at all may be sent elsewhere, whatever it is.
            let asked = request(down, "POST", "/").body(full("content")).unwrap();
            let answer = caller.send(asked).await.unwrap();
            assert_eq!(answer.status(), 200, "{down:?}: call {count}");
            within(whole(answer.into_body())).await.unwrap();
        }
    }
    assert!(accepted.load(Ordering::SeqCst) > 10, "the origin did say goodbye");
    gateway.assert_sound();
}

fn two_services(first: SocketAddr, second: SocketAddr, protocol: Protocol) -> Gateway {
    let contract = |name: &str| {
        format!(
            "contract = \"caio/1\"\nservice = \"test.{name}\"\nversion = \"1.0.0\"\n\n[[offers]]\n\
             capability = \"test.echo/1\"\ninterface = {{ http = [\"* /*\"] }}\n"
        )
    };
    let config = format!(
        "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 1\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n\
         [[services]]\ncontract = \"one.toml\"\nendpoints = [\"{first}\"]\nprotocol = \"{0}\"\n\
         [[services]]\ncontract = \"two.toml\"\nendpoints = [\"{second}\"]\nprotocol = \"{0}\"\n",
        protocol.word()
    );
    Gateway::start_on(&[
        ("vocabulary.toml", VOCABULARY),
        ("one.toml", &contract("one")),
        ("two.toml", &contract("two")),
        ("caio.toml", &config),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_cannot_be_reached_is_passed_over_for_another_that_satisfies() {
    for up in BOTH {
        let origin = Served::start(up, |request| async move {
            let (got, _) = whole(request.into_body()).await.unwrap();
            Response::new(full(got))
        })
        .await;
        let mut gateway = two_services(nowhere(), origin.address, up);
        for down in BOTH {
            // Both equally good: about half of the calls are meant for the dead one first.
            for count in 0..20 {
                let body = format!("body {count}");
                let path = format!("/{count}");
                let asked = request(down, "POST", &path).body(full(body.clone())).unwrap();
                let (head, got, _) = call(gateway.address, down, asked).await.unwrap();
                assert_eq!(head.status, 200, "{down:?} to {up:?}");
                assert_eq!(got, body, "{down:?} to {up:?}");
                let decision = head.headers["caio-decision"].to_str().unwrap();
                assert!(decision.ends_with("test.two"), "{decision}");
            }
        }
        gateway.assert_sound();
        let gateway = two_services(nowhere(), nowhere(), up);
        for down in BOTH {
            let asked = request(down, "GET", "/").body(empty()).unwrap();
            let (head, body, _) = call(gateway.address, down, asked).await.unwrap();
            assert_eq!(head.status, 502, "{down:?} to {up:?}: {body:?}");
        }
    }
}

/// Listens and never answers.
fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_come_is_a_504() {
    for up in BOTH {
        let origin = silent();
        let address = origin.local_addr().unwrap();
        let more = "[timeouts]\nupstream_response = \"300ms\"\n";
        let gateway = Gateway::start_with(address, up, more);
        for down in BOTH {
            for body in [empty(), full("body"), parts(vec![Bytes::from("body")], &[])] {
                let asked = request(down, "POST", "/").body(body).unwrap();
                let (head, ..) = call(gateway.address, down, asked).await.unwrap();
                assert_eq!(head.status, 504, "{down:?} to {up:?}");
                assert_eq!(head.headers["caio-refusal"], "upstream.timeout");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_stalls_is_cut_off() {
    for up in BOTH {
        let origin = Served::start(up, |_| async {
            let (sender, body) = channel();
            tokio::spawn(async move {
                sender.send(Ok(Frame::data(Bytes::from("begun")))).await.unwrap();
                sender.closed().await;
            });
            Response::new(body)
        })
        .await;
        let more = "[timeouts]\nstream_idle = \"300ms\"\n";
        let gateway = Gateway::start_with(origin.address, up, more);
        for down in BOTH {
            let asked = request(down, "GET", "/").body(empty()).unwrap();
            let ended = call(gateway.address, down, asked).await;
            assert!(ended.is_err(), "{down:?} to {up:?}: it looks whole: {ended:?}");
        }
    }
}

/// Row 25: a reader that takes nothing has its time, and then its call is over at the origin too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_25_a_reader_that_takes_nothing_is_cut_off_after_its_time() {
    for up in BOTH {
        let ended = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ended);
        let origin = Served::start(up, move |_| {
            let counted = Arc::clone(&counted);
            async move {
                let (sender, body) = channel();
                tokio::spawn(async move {
                    let part = Bytes::from(vec![b'x'; 65_536]);
                    while sender.send(Ok(Frame::data(part.clone()))).await.is_ok() {}
                    counted.fetch_add(1, Ordering::SeqCst);
                });
                Response::new(body)
            }
        })
        .await;
        let more = "[timeouts]\nclient_body_idle = \"300ms\"\n";
        let mut gateway = Gateway::start_with(origin.address, up, more);
        for (count, down) in BOTH.into_iter().enumerate() {
            let mut caller = Caller::connect(gateway.address, down).await;
            let asked = request(down, "GET", "/").body(empty()).unwrap();
            let answer = caller.send(asked).await.unwrap();
            within(async {
                while ended.load(Ordering::SeqCst) <= count {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            })
            .await;
            // And what it reads then does not look whole.
            assert!(within(whole(answer.into_body())).await.is_err(), "{down:?} to {up:?}");
        }
        gateway.assert_sound();
    }
}

/// Row 24 from the other side: a service that floods loses its connection, and nobody else notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_24_a_service_that_floods_loses_its_connection() {
    use support::h2::{ACK, PING, PREFACE, SETTINGS, frame};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let cut = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&cut);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut preface = vec![0; PREFACE.len()];
            stream.read_exact(&mut preface).unwrap();
            assert_eq!(preface, PREFACE);
            let settings = [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat();
            stream.write_all(&settings).unwrap();
            let flood = frame(PING, 0, 0, &[0; 8]).repeat(2_000);
            let _ = stream.write_all(&flood);
            // Its end comes whether it stops or not.
            let mut chunk = [0; 4096];
            while matches!(stream.read(&mut chunk), Ok(1..)) {}
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut gateway = Gateway::start(address, Protocol::H2c);
    for (count, down) in BOTH.into_iter().enumerate() {
        let asked = request(down, "POST", "/").body(full("x")).unwrap();
        let (head, ..) = call(gateway.address, down, asked).await.unwrap();
        assert_eq!(head.status, 502, "{down:?}");
        eventually("the flooding connection is cut", || cut.load(Ordering::SeqCst) > count);
    }
    gateway.assert_sound();
}

/// Row 27: from the first byte of the head, or of the connection, to its end.
#[test]
fn row_27_heads_that_come_too_slowly_are_a_408() {
    let origin = Origin::echo();
    let more = "[timeouts]\nclient_header = \"400ms\"\n";
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
    // Nothing at all: closed without a word, because nothing was asked.
    let mut wire = Wire::connect(gateway.address);
    let (bytes, end) = wire.read_until(PATIENCE, |_| false);
    assert!(bytes.is_empty() && end == End::Closed, "{end:?}");
    // A part of it, then silence.
    let mut wire = Wire::connect(gateway.address);
    wire.send(&GET[..20]);
    let reply_ = reply(&mut wire, PATIENCE);
    assert_eq!(reply_.status(), Some(408), "{reply_:?}");
    assert_eq!(reply_.responses[0].field("caio-refusal"), Some("header.timeout"));
    assert!(reply_.ended());
    // A drip does not prolong it.
    let mut wire = Wire::connect(gateway.address);
    let begun = Instant::now();
    let long = [&GET[..30], b"\r\nX-A: ", &[b'a'; 500]].concat();
    let mut got = Vec::new();
    for byte in long {
        wire.send(&[byte]);
        let (bytes, end) = wire.read_until(std::time::Duration::from_millis(40), |_| false);
        got.extend(bytes);
        if end != End::Open {
            break;
        }
    }
    assert!(got.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&got));
    assert!(begun.elapsed() < PATIENCE, "500 bytes at 40 ms each would take longer");
    gateway.assert_sound();
    assert_serves(gateway.address);
    assert!(!origin.has_seen(b"asked"));
}

/// Row 28: bodies that stall, from callers of both versions to origins of both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_28_bodies_that_stall_are_a_408_and_the_origin_s_side_is_aborted() {
    for up in BOTH {
        let whole_seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&whole_seen);
        let origin = Served::start(up, move |request| {
            let counted = Arc::clone(&counted);
            async move {
                if whole(request.into_body()).await.is_ok() {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                Response::new(full("taken"))
            }
        })
        .await;
        // Whether it is the wait for more that ends it, or the time for all of it.
        for bound in ["client_body_idle", "request"] {
            let more = format!("[timeouts]\n{bound} = \"300ms\"\n");
            let mut gateway = Gateway::start_with(origin.address, up, &more);
            for down in BOTH {
                for sized in [true, false] {
                    let (sender, body) = channel();
                    let mut asked = request(down, "POST", "/");
                    if sized {
                        asked = asked.header("content-length", "100");
                    }
                    sender.send(Ok(Frame::data(Bytes::from("begun")))).await.unwrap();
                    let asked = asked.body(body).unwrap();
                    let (head, ..) = call(gateway.address, down, asked).await.unwrap();
                    assert_eq!(head.status, 408, "{down:?} to {up:?}, {sized}, {bound}");
                    assert_eq!(head.headers["caio-refusal"], "body.timeout");
                    drop(sender);
                }
            }
            gateway.assert_sound();
        }
        assert_eq!(whole_seen.load(Ordering::SeqCst), 0, "{up:?}: no body looked whole");
    }
}

/// Row 28: an answer that streams does not prolong the wait for a body that stalls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_28_a_body_that_stalls_beside_a_streaming_answer_ends_the_exchange() {
    for up in BOTH {
        let origin = Served::start(up, |request| async move {
            let (sender, body) = channel();
            tokio::spawn(async move {
                // Held, not read: the answer is all that moves.
                let _held = request;
                let part = Bytes::from("part");
                while sender.send(Ok(Frame::data(part.clone()))).await.is_ok() {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            });
            Response::new(body)
        })
        .await;
        let more = "[timeouts]\nclient_body_idle = \"300ms\"\n";
        let mut gateway = Gateway::start_with(origin.address, up, more);
        for down in BOTH {
            let (sender, body) = channel();
            sender.send(Ok(Frame::data(Bytes::from("begun")))).await.unwrap();
            let asked = request(down, "POST", "/").body(body).unwrap();
            let mut caller = Caller::connect(gateway.address, down).await;
            let answer = within(caller.send(asked)).await.unwrap();
            assert_eq!(answer.status(), 200, "{down:?} to {up:?}");
            let whole = within(whole(answer.into_body())).await;
            assert!(whole.is_err(), "{down:?} to {up:?}: it does not look whole");
            drop(sender);
        }
        gateway.assert_sound();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_above_the_limit_are_a_413_however_they_are_framed() {
    for up in BOTH {
        let whole_seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&whole_seen);
        let origin = Served::start(up, move |request| {
            let counted = Arc::clone(&counted);
            async move {
                if whole(request.into_body()).await.is_ok() {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                Response::new(full("taken"))
            }
        })
        .await;
        let more = "[limits]\nbody_bytes_max = \"64KiB\"\n";
        let mut gateway = Gateway::start_with(origin.address, up, more);
        for down in BOTH {
            let most = Bytes::from(vec![b'x'; 64 << 10]);
            let asked = request(down, "POST", "/").body(full(most.clone())).unwrap();
            let (head, ..) = call(gateway.address, down, asked).await.unwrap();
            assert_eq!(head.status, 200, "{down:?} to {up:?}: exactly the limit");
            let asked = request(down, "POST", "/").body(parts(vec![most.clone()], &[])).unwrap();
            let (head, ..) = call(gateway.address, down, asked).await.unwrap();
            assert_eq!(head.status, 200, "{down:?} to {up:?}: exactly the limit, chunked");
            let before = whole_seen.load(Ordering::SeqCst);
            let more = Bytes::from(vec![b'x'; (64 << 10) + 1]);
            for body in [full(more.clone()), parts(vec![most, Bytes::from("x")], &[])] {
                let asked = request(down, "POST", "/").body(body).unwrap();
                let (head, ..) = call(gateway.address, down, asked).await.unwrap();
                assert_eq!(head.status, 413, "{down:?} to {up:?}");
                assert_eq!(head.headers["caio-refusal"], "body.too_large");
            }
            assert_eq!(whole_seen.load(Ordering::SeqCst), before, "{down:?} to {up:?}");
        }
        gateway.assert_sound();
    }
}

/// The operator's bounds on what a body holds besides its content, over both versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_and_chunk_extensions_keep_to_the_configured_bounds() {
    let more = "[limits]\ntrailer_fields_max = 2\ntrailer_bytes_max = \"100B\"\n\
                chunk_extension_bytes_max = \"10B\"\n";
    for up in BOTH {
        let origin = Served::start(up, |request| async move {
            match whole(request.into_body()).await {
                Ok(_) => Response::new(full("whole")),
                Err(_) => Response::builder().status(599).body(full("cut")).unwrap(),
            }
        })
        .await;
        let mut gateway = Gateway::start_with(origin.address, up, more);
        let long = "x".repeat(120);
        let few = [("x-a", "1"), ("x-b", "2")];
        let many = [("x-a", "1"), ("x-b", "2"), ("x-c", "3")];
        for down in BOTH {
            let cases = [(&few[..], 200), (&many[..], 400), (&[("x-a", &*long)][..], 400)];
            for (trailers, status) in cases {
                let asked = request(down, "POST", "/")
                    .header("trailer", "x-a, x-b, x-c")
                    .body(parts(vec![Bytes::from("x")], trailers))
                    .unwrap();
                let (head, ..) = call(gateway.address, down, asked).await.unwrap();
                assert_eq!(head.status, status, "{down:?} to {up:?}: {trailers:?}");
            }
        }
        let address = gateway.address;
        let chunks = tokio::task::spawn_blocking(move || {
            // From the `;` to the CR.
            [9, 10].map(|bytes| {
                let extension = format!(";{}", "e".repeat(bytes - 1));
                let request = format!(
                    "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
                     Transfer-Encoding: chunked\r\n\r\n1{extension}\r\nx\r\n\
                     1{extension}\r\ny\r\n0\r\n\r\n"
                );
                exchange(address, request.as_bytes(), usize::MAX).status()
            })
        });
        assert_eq!(chunks.await.unwrap(), [Some(200), Some(400)], "to {up:?}");
        gateway.assert_sound();
    }
}

/// Row 32: connections above the bound are closed; those below it are served on.
#[test]
fn row_32_connections_above_the_bound_are_closed_and_the_others_served() {
    let origin = Origin::echo();
    let more = "[limits]\nconnections_per_worker_max = 3\n";
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
    let mut held: Vec<Wire> = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::connect(gateway.address);
        wire.send(GET);
        let (_, end) = wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"ok"));
        assert_eq!(end, End::Open);
        held.push(wire);
    }
    let mut beyond = Wire::connect(gateway.address);
    beyond.send(GET);
    let (bytes, end) = beyond.read_until(PATIENCE, |_| false);
    assert!(bytes.is_empty() && end != End::Open, "{end:?}: {bytes:?}");
    for wire in &mut held {
        wire.send(GET);
        let (_, end) = wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"ok"));
        assert_eq!(end, End::Open, "the others are served on");
    }
    drop(held);
    eventually("a place is free again", || {
        exchange(gateway.address, LAST, usize::MAX).status() == Some(200)
    });
    gateway.assert_sound();
}

/// Row 32: so many requests on one connection, then it ends politely, whatever its version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_32_a_connection_that_has_served_its_share_ends_politely() {
    let origin = Served::start(Protocol::Http1, |_| async { Response::new(full("ok")) }).await;
    let more = "[limits]\nrequests_per_connection_max = 3\n";
    let gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
    for down in BOTH {
        let mut caller = Caller::connect(gateway.address, down).await;
        for count in 1..=3 {
            let asked = request(down, "GET", "/").body(empty()).unwrap();
            let answer = caller.send(asked).await.unwrap();
            let told = answer.headers().get("connection").is_some_and(|value| value == "close");
            assert_eq!(told, count == 3 && down == Protocol::Http1, "{down:?}: {count}");
            let (body, _) = within(whole(answer.into_body())).await.unwrap();
            assert_eq!(body, "ok", "{down:?}: {count}");
        }
        within(async {
            while caller.is_kept().await {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
