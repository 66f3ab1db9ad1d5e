//! What only HTTP/1.1 callers meet: pipelining, old versions, `Expect`, interim responses.

use super::support::origin::{Answer, Origin};
use super::support::peers::{Served, full, whole};
use super::support::{End, Gateway, PATIENCE, Protocol, Wire, exchange, reply, strict};
use hyper::Response;

#[test]
fn pipelined_requests_are_answered_in_order_however_they_are_cut() {
    let origin = Origin::scripted(|request| {
        let body = format!("{} {}", request.target, request.body.len());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        Answer { bytes: (head + &body).into_bytes(), close: false }
    });
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let bytes = b"GET /one HTTP/1.1\r\nHost: a.example\r\n\r\n\
        POST /two HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello\
        POST /three HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n\
        \r\nGET /four HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    for piece in [usize::MAX, 1, 7, 50] {
        let reply = exchange(gateway.address, bytes, piece);
        let bodies: Vec<_> = reply.responses.iter().map(|answer| &answer.body[..]).collect();
        let expected: [&[u8]; 4] = [b"/one 0", b"/two 5", b"/three 7", b"/four 0"];
        assert_eq!(bodies, expected, "in pieces of {piece}");
        assert_eq!(reply.end, End::Closed, "in pieces of {piece}");
    }
    gateway.assert_sound();
}

#[test]
fn callers_of_http_1_0_are_served_in_their_own_words() {
    let origin = Origin::scripted(|request| match request.target.as_str() {
        "/chunked" => Answer {
            bytes: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                .to_vec(),
            close: false,
        },
        _ => Answer::ok(),
    });
    let gateway = Gateway::start(origin.address, Protocol::Http1);
    let read = |bytes: &[u8]| {
        let mut wire = Wire::connect(gateway.address);
        wire.send(bytes);
        let (bytes, end) = wire.read_until(PATIENCE, |_| false);
        (String::from_utf8(bytes).unwrap(), end)
    };
    let (text, end) = read(b"GET /plain HTTP/1.0\r\nHost: a.example\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\nok"), "{text}");
    assert_eq!(end, End::Closed);
    // No chunks: the end of the connection ends the body.
    let (text, end) = read(b"GET /chunked HTTP/1.0\r\nHost: a.example\r\n\r\n");
    assert!(text.ends_with("\r\n\r\nhello"), "{text}");
    assert!(!text.to_lowercase().contains("transfer-encoding"), "{text}");
    assert_eq!(end, End::Closed);
    // One that asks for it is kept, and told so.
    let mut wire = Wire::connect(gateway.address);
    for _ in 0..3 {
        wire.send(b"GET /plain HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n");
        let (bytes, end) = wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"\r\n\r\nok"));
        assert_eq!(end, End::Open);
        let text = String::from_utf8(bytes).unwrap().to_lowercase();
        assert!(text.contains("connection: keep-alive"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_100_comes_from_the_origin_and_a_refusal_asks_for_no_body() {
    for up in super::support::peers::BOTH {
        let origin = Served::start(up, |request| async move {
            let (got, _) = whole(request.into_body()).await.unwrap();
            Response::new(full(got))
        })
        .await;
        let gateway =
            Gateway::start_with(origin.address, up, "[limits]\nbody_bytes_max = \"1KiB\"\n");
        let address = gateway.address;
        let talked = tokio::task::spawn_blocking(move || {
            let mut wire = Wire::connect(address);
            wire.send(
                b"POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\n\
                  Content-Length: 5\r\nConnection: close\r\n\r\n",
            );
            if up == Protocol::Http1 {
                // hyper's origin says so as soon as it wants the body.
                let (bytes, end) = wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"\r\n\r\n"));
                assert_eq!(end, End::Open);
                assert!(bytes.starts_with(b"HTTP/1.1 100 "), "{bytes:?}");
            }
            wire.send(b"hello");
            let reply = reply(&mut wire, PATIENCE);
            assert_eq!(reply.status(), Some(200), "{up:?}: {reply:?}");
            assert_eq!(reply.responses[0].body, b"hello");

            let refused = exchange(
                address,
                b"POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\n\
                  Content-Length: 5000\r\n\r\n",
                usize::MAX,
            );
            assert_eq!(refused.status(), Some(413), "{refused:?}");
            assert!(refused.interim.is_empty(), "no 100 before a refusal: {refused:?}");
            assert!(refused.ended(), "what would come next is not known");
        });
        talked.await.unwrap();
    }
}

#[test]
fn early_hints_are_relayed_before_the_answer_and_counted() {
    let origin = Origin::scripted(|request| {
        let count: usize = request.target[1..].parse().unwrap_or(0);
        let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
        let bytes = hint.repeat(count) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        Answer { bytes: bytes.into_bytes(), close: true }
    });
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let ask = |target: &str| {
        let request =
            format!("GET /{target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        exchange(gateway.address, request.as_bytes(), usize::MAX)
    };
    let reply = ask("3");
    assert_eq!(reply.interim, [103, 103, 103]);
    assert_eq!(reply.status(), Some(200));
    assert_eq!(reply.responses[0].body, b"ok");
    let reply = ask("2000");
    assert_eq!(reply.status(), Some(502), "a flood of them is an error");
    assert!(reply.interim.len() <= 8);
    assert_eq!(reply.responses[0].field("caio-refusal"), Some("upstream.framing"));
    // HTTP/1.0 knows none.
    let mut wire = Wire::connect(gateway.address);
    wire.send(b"GET /3 HTTP/1.0\r\nHost: a.example\r\n\r\n");
    let (bytes, _) = wire.read_until(PATIENCE, |_| false);
    assert!(bytes.starts_with(b"HTTP/1.1 200 "));
    gateway.assert_sound();
}

#[test]
fn an_absolute_target_names_the_host_and_the_origin_sees_one_form() {
    let origin = Origin::echo();
    let gateway = Gateway::start(origin.address, Protocol::Http1);
    let request = b"GET http://A.Example:80/a%41/b?x=%7e HTTP/1.1\r\nHost: a.example\r\n\
                    Connection: close\r\n\r\n";
    let reply = exchange(gateway.address, request, usize::MAX);
    if reply.status() == Some(200) {
        let requests: Vec<strict::Request> = origin.requests();
        assert_eq!(requests[0].target.split('?').next(), Some("/aA/b"));
    } else {
        // `a.example:80` and `a.example` may be held to differ; never are both let through.
        assert_eq!(reply.status(), Some(400), "{reply:?}");
    }
}
