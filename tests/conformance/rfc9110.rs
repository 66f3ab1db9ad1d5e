//! RFC 9110: hosts, hop-by-hop fields, expectations.

use crate::harness::{accepted, fault, forwarded, response};
use caio::http1::body::{Decoder, Event};
use caio::http1::chunked::{ChunkHead, write_end};
use caio::http1::request::{Form, Method};
use caio::http1::write::{self, Persistence, RequestPlan, ResponsePlan};
use caio::http1::{Family, Framing, Malformed, Parsed};
use caio::wire::field::Kind;

fn with(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

fn forwarded_text(fields: &str) -> String {
    String::from_utf8(forwarded(&with(fields))).unwrap()
}

#[test]
fn a_request_has_exactly_one_host() {
    assert_eq!(fault(b"GET / HTTP/1.1\r\n\r\n"), Malformed::HostMissing);
    assert_eq!(fault(b"GET http://a/ HTTP/1.1\r\n\r\n"), Malformed::HostMissing);
    assert_eq!(fault(&with("Host: a\r\n")), Malformed::HostRepeated);
    assert_eq!(fault(&with("host: b\r\n")), Malformed::HostRepeated);
    let old = b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n";
    assert_eq!(fault(old), Malformed::HostRepeated);
}

#[test]
fn http_1_0_without_host_has_the_empty_authority() {
    let sent = b"GET / HTTP/1.0\r\n\r\n";
    let head = accepted(sent);
    assert_eq!((head.authority(sent), head.host(sent)), (&b""[..], &b""[..]));
}

#[test]
fn absolute_form_must_agree_with_host() {
    for (target, host, path) in [
        ("http://a.b/c?d", "a.b", "/c?d"),
        ("HTTP://A.B:80/c", "a.b", "/c"),
        ("http://a.b/", "A.b:80", "/"),
        ("http://a.b", "a.b", "/"),
        ("http://a.b?d", "a.b", "/?d"),
        ("http://a.b?d[]", "a.b", "/?d%5B%5D"),
        ("https://a.b/", "a.b:443", "/"),
    ] {
        let sent = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let out = String::from_utf8(forwarded(sent.as_bytes())).unwrap();
        assert!(out.starts_with(&format!("GET {path} HTTP/1.1\r\nHost: a.b")), "{out}");
        assert_eq!(accepted(sent.as_bytes()).form, Form::Absolute);
    }
    for (target, host) in [
        ("http://a.b/", "a.c"),
        ("http://a.b/", "a.b:81"),
        ("http://a.b:81/", "a.b"),
        ("https://a.b/", "a.b:80"),
    ] {
        let sent = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(fault(sent.as_bytes()), Malformed::AuthorityDiffers, "{target} {host}");
    }
    for target in ["http:///a", "http://u@a/", "http://a b/", "http://a:b/"] {
        let sent = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(fault(sent.as_bytes()).status(), 400, "{target}");
    }
}

#[test]
fn asterisk_is_of_options_only_and_connect_is_not_served() {
    let sent = b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(forwarded(sent), sent);
    assert_eq!(accepted(sent).form, Form::Asterisk);
    let absolute = b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(forwarded(absolute), sent);
    for target in ["a:443", "/", "http://a/", "*"] {
        let sent = format!("CONNECT {target} HTTP/1.1\r\nHost: a:443\r\n\r\n");
        assert_eq!(fault(sent.as_bytes()).status(), 405, "{target}");
    }
}

#[test]
fn hop_by_hop_fields_are_not_forwarded() {
    let out = forwarded_text(
        "A: 1\r\nConnection: keep-alive, X-Hop, Upgrade\r\nKeep-Alive: timeout=5\r\n\
         X-Hop: secret\r\nProxy-Connection: close\r\nProxy-Authorization: Basic x\r\n\
         Upgrade: websocket\r\nB: 2\r\nHTTP2-Settings: AAA\r\nx-hop: secret\r\nC: 3\r\n",
    );
    assert_eq!(out, "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n");
}

#[test]
fn fields_for_this_hop_only_are_invisible_to_policy() {
    let sent = with("Connection: x-tenant\r\nX-Tenant: 1\r\n");
    assert_eq!(accepted(&sent).named(&sent, b"x-tenant").count(), 0);
}

#[test]
fn a_sender_cannot_hide_what_authorises_or_frames() {
    for name in [
        "Authorization",
        "Cookie",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "X-Forwarded-For",
        "forwarded",
        "CAIO-Require",
        "caio-decision",
        "X-Request-ID",
    ] {
        let found = fault(&with(&format!("Connection: close, {name}\r\n")));
        assert_eq!(found, Malformed::ConnectionOption, "{name}");
        assert_eq!((found.status(), found.family()), (400, Family::HopHeader));
    }
    let many = format!("Connection: {}\r\n", "x,".repeat(33));
    assert_eq!(fault(&with(&many)), Malformed::ConnectionOption);
    assert_eq!(fault(&with("Connection: \"close\"\r\n")), Malformed::ConnectionOption);
    assert_eq!(fault(&with("Connection: a b\r\n")), Malformed::ConnectionOption);
}

#[test]
fn identity_fields_of_senders_are_replaced() {
    let sent = with(
        "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Port: 1\r\nForwarded: for=1.1.1.1\r\n\
         X-Real-IP: 1.1.1.1\r\nX-Client-Cert: x\r\nX_Client_Cert: x\r\nX_Forwarded_For: x\r\n\
         X-Request-ID: x\r\ntraceparent: x\r\nCAIO-Decision: x\r\nCAIO_Require: x\r\nA: 1\r\n",
    );
    let mut out = Vec::new();
    let added: [write::Added<'_>; 1] = [(b"X-Forwarded-For", b"10.0.0.1")];
    let head = accepted(&sent);
    write::request_head(&mut out, &sent, &head, &RequestPlan::new(&head, &added));
    let expected = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn lines_are_forwarded_in_one_spelling() {
    let out = forwarded_text("A:1\r\nB:  2\t\r\nC: \r\nD:\r\nE: 5\r\nF: 6 7\t8\r\n");
    let expected = "A: 1\r\nB: 2\r\nC: \r\nD: \r\nE: 5\r\nF: 6 7\t8\r\n\r\n";
    assert_eq!(out, format!("GET / HTTP/1.1\r\nHost: a\r\n{expected}"));
}

#[test]
fn framing_is_stated_anew() {
    assert!(forwarded_text("Content-Length: 007\r\n").ends_with("\r\nContent-Length: 7\r\n\r\n"));
    let out = forwarded_text("transfer-encoding: Chunked\r\n");
    assert!(out.ends_with("\r\nTransfer-Encoding: chunked\r\n\r\n"));
}

#[test]
fn trailers_are_asked_for_anew() {
    let out = forwarded_text("TE: gzip;q=1, Trailers\r\nConnection: TE\r\n");
    assert_eq!(out, "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    assert_eq!(forwarded_text("TE: gzip\r\n"), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn the_only_expectation_is_100_continue() {
    let head = accepted(&with("Expect: 100-Continue\r\nContent-Length: 3\r\n"));
    assert!(head.expect_continue);
    for nothing in ["Expect: 100-continue\r\n", "Expect: 100-continue\r\nContent-Length: 0\r\n"] {
        assert!(!accepted(&with(nothing)).expect_continue, "no body to wait for");
    }
    for odd in ["Expect: 200-ok\r\n", "Expect:\r\n", "Expect: 100-continue, x\r\n"] {
        assert_eq!(fault(&with(odd)).status(), 417, "{odd}");
    }
    let old = b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\nExpect: x\r\n\r\n";
    assert!(!accepted(old).expect_continue);
    let expected = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(forwarded(old), expected, "HTTP/1.1 would act on it");
    let kept = forwarded_text("Expect: 100-continue\r\nContent-Length: 1\r\n");
    assert!(kept.contains("\r\nExpect: 100-continue\r\n"));
}

#[test]
fn an_upgrade_is_an_offer_only_with_its_connection_option() {
    assert!(accepted(&with("Connection: upgrade\r\nUpgrade: websocket\r\n")).upgrade);
    assert!(!accepted(&with("Upgrade: websocket\r\n")).upgrade);
    assert!(!accepted(&with("Connection: upgrade\r\n")).upgrade);
}

#[test]
fn chunk_heads_are_those_of_the_standard_library() {
    for length in (0..64).map(|bit| 1_u64 << bit).flat_map(|bit| [bit - 1, bit, bit | bit >> 3]) {
        let expected = format!("{length:x}\r\n");
        assert_eq!(ChunkHead::new(length).as_bytes(), expected.as_bytes());
    }
}

#[test]
fn trailers_that_belong_in_a_head_are_not_forwarded() {
    let sent = b"0\r\nX-Sum:1\r\nAuthorization: x\r\nX-Forwarded-For: y\r\nContent_Length: 3\r\n\
        grpc-status: 0\r\n\r\n";
    let mut decoder = Decoder::new(Framing::Chunked);
    assert_eq!(decoder.next(sent).unwrap(), (sent.len(), Event::End));
    let mut out = Vec::new();
    write_end(&mut out, decoder.take_trailers().as_deref());
    assert_eq!(String::from_utf8(out).unwrap(), "0\r\nX-Sum: 1\r\ngrpc-status: 0\r\n\r\n");
}

#[test]
fn own_responses_state_their_framing_and_connection() {
    let mut out = Vec::new();
    let added: [write::Added<'_>; 1] = [(b"X-Request-ID", b"1")];
    write::own_head(&mut out, 431, Framing::Length(0), Persistence::Close, &added);
    let expected = "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\
        Connection: close\r\nX-Request-ID: 1\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn values_are_found_by_kind_and_by_name() {
    let sent = with("Content-Type: application/grpc\r\nX-A: 1\r\nx-a: 2\r\nCAIO-Require: a\r\n");
    let head = accepted(&sent);
    assert_eq!(head.value(&sent, Kind::ContentType), Some(&b"application/grpc"[..]));
    assert_eq!(head.values(&sent, Kind::CaioRequire).collect::<Vec<_>>(), [b"a"]);
    assert_eq!(head.named(&sent, b"X-a").collect::<Vec<_>>(), [b"1", b"2"]);
}

/// What a caller that sent `request` is told when the origin answers `answer`.
fn answered(request: &[u8], answer: &str) -> String {
    let request = accepted(request);
    let (parsed, head) = response(answer.as_bytes(), request.method);
    assert!(matches!(parsed, Parsed::Complete(_)), "{answer:?} is {parsed:?}");
    let mut out = Vec::new();
    let plan = ResponsePlan::new(&head, &request, true, &[]);
    write::response_head(&mut out, answer.as_bytes(), &head, &plan);
    String::from_utf8(out).unwrap()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const OLD: &[u8] = b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";

#[test]
fn responses_lose_hop_by_hop_fields_too() {
    let answer = "HTTP/1.1 200 Fine\r\nConnection: X-Secret, Content-Length\r\nX-Secret: leak\r\n\
        Server: x\r\nCAIO-Decision: forged\r\nContent-Length: 3\r\nKeep-Alive: 1\r\n\r\n";
    let expected = "HTTP/1.1 200 Fine\r\nServer: x\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(answered(GET, answer), expected);
}

#[test]
fn responses_are_framed_for_the_version_of_their_caller() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let close = "HTTP/1.1 200 OK\r\n\r\n";
    let sized = "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(answered(GET, chunked), chunked);
    assert_eq!(answered(GET, close), chunked);
    assert_eq!(answered(OLD, chunked), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    assert_eq!(answered(OLD, close), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    let kept = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(answered(OLD, sized), kept);
    assert_eq!(answered(HEAD, sized), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(answered(HEAD, close), "HTTP/1.1 200 OK\r\n\r\n");
}

#[test]
fn interim_responses_are_relayed_without_framing() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert_eq!(answered(GET, hints), hints);
    let closing = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(answered(closing, hints), hints);
}

#[test]
fn answers_without_content_have_no_body() {
    for (request, answer, declared) in [
        (Method::Get, "HTTP/1.1 204 No Content\r\n\r\n", Framing::None),
        (Method::Get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Framing::Length(9)),
        (Method::Head, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", Framing::Length(9)),
        (Method::Head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Chunked),
    ] {
        let (parsed, head) = response(answer.as_bytes(), request);
        assert_eq!(parsed, Parsed::Complete(answer.len()));
        assert_eq!((head.framing, head.declared), (Framing::None, declared), "{answer}");
        assert!(head.keep_alive);
    }
}

#[test]
fn an_expectation_is_not_one_hop_s_to_name() {
    let sent = with("Connection: Expect\r\nExpect: 100-continue\r\nContent-Length: 3\r\n");
    assert_eq!(fault(&sent).family(), Family::HopHeader);
}

#[test]
fn trailers_that_connection_nominates_stay_behind() {
    let sent = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: X-Hop, close\r\n\
                 Transfer-Encoding: chunked\r\n\r\n";
    let head = accepted(sent);
    let limits = caio::http1::chunked::BodyLimits::default();
    let mut decoder = Decoder::behind(head.framing, limits, sent, &head.fields);
    let (_, event) = decoder.next(b"0\r\nx-hop: secret\r\nX-Sum: 1\r\n\r\n").unwrap();
    assert_eq!(event, Event::End);
    let mut out = Vec::new();
    write_end(&mut out, decoder.take_trailers().as_deref());
    assert_eq!(out, b"0\r\nX-Sum: 1\r\n\r\n");
}
