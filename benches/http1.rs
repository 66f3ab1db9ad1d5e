//! What does one request's HTTP/1.1 codec cost: parse the head, write it anew, and back?

#![allow(clippy::panic, reason = "a bench whose input is refused must end")]

use caio::http1::body::Decoder;
use caio::http1::request::{self, Method, RequestHead};
use caio::http1::response::{self, ResponseHead};
use caio::http1::write::{self, RequestPlan, ResponsePlan};
use caio::http1::{Cursor, Framing, HeadLimits, Parsed};
use std::mem::MaybeUninit;

use divan::{AllocProfiler, Bencher, black_box};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Who sends the request.
#[derive(Clone, Copy, Debug)]
enum Sender {
    LoadGenerator,
    Browser,
}

impl Sender {
    const ALL: [Self; 2] = [Self::LoadGenerator, Self::Browser];

    fn bytes(self) -> &'static [u8] {
        match self {
            Self::LoadGenerator => SMALL,
            Self::Browser => BROWSER,
        }
    }
}

const SMALL: &[u8] = b"GET /v1/embed HTTP/1.1\r\nHost: localhost:8080\r\n\r\n";

const BROWSER: &[u8] = b"GET /assets/app.3f2a.js?v=12&lang=en HTTP/1.1\r\n\
Host: shop.example.org\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-US,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://shop.example.org/products/1234\r\n\
Connection: keep-alive\r\n\
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; cart=3\r\n\
Upgrade-Insecure-Requests: 1\r\n\
Sec-Fetch-Dest: document\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-Site: same-origin\r\n\
X-Forwarded-For: 198.51.100.7\r\n\
Priority: u=0, i\r\n\
\r\n";

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\n\
Content-Type: application/octet-stream\r\nContent-Length: 1024\r\n\
Last-Modified: Mon, 23 Nov 2026 00:00:00 GMT\r\nConnection: keep-alive\r\n\
ETag: \"6560-400\"\r\nAccept-Ranges: bytes\r\n\r\n";

const ADDED: [write::Added<'_>; 5] = [
    (b"X-Forwarded-For", b"198.51.100.7"),
    (b"X-Forwarded-Proto", b"http"),
    (b"X-Forwarded-Host", b"shop.example.org"),
    (b"X-Request-ID", b"017f22e2-79b0-7cc3-98c4-dc0c0c07398f"),
    (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
];

fn parsed(bytes: &[u8], head: &mut RequestHead) {
    let limits = HeadLimits::default();
    let parsed = request::parse(black_box(bytes), &limits, &mut Cursor::default(), head);
    assert!(matches!(parsed, Parsed::Complete(_)));
}

#[divan::bench(args = Sender::ALL)]
fn parse_request(bencher: Bencher<'_, '_>, sender: Sender) {
    let (mut head, bytes) = (RequestHead::default(), sender.bytes());
    bencher.bench_local(|| parsed(bytes, black_box(&mut head)));
}

/// The part of it that is httparse's, to tell what the strictness on top costs.
#[divan::bench(args = Sender::ALL)]
fn parse_request_leniently(bencher: Bencher<'_, '_>, sender: Sender) {
    let bytes = sender.bytes();
    bencher.bench_local(|| {
        let mut slots = [const { MaybeUninit::uninit() }; 100];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(black_box(bytes), &mut slots);
        assert!(parsed.is_ok());
        black_box(&request);
    });
}

#[divan::bench(args = Sender::ALL)]
fn write_request(bencher: Bencher<'_, '_>, sender: Sender) {
    let (mut head, mut out, bytes) = (RequestHead::default(), Vec::new(), sender.bytes());
    parsed(bytes, &mut head);
    bencher.bench_local(|| {
        out.clear();
        write::request_head(&mut out, bytes, black_box(&head), &RequestPlan::new(&head, &ADDED));
        black_box(&out);
    });
}

fn answered(head: &mut ResponseHead) {
    let limits = HeadLimits::default();
    let mut cursor = Cursor::default();
    let parsed = response::parse(black_box(ANSWER), Method::Get, &limits, &mut cursor, head);
    assert!(matches!(parsed, Parsed::Complete(_)));
}

#[divan::bench]
fn parse_response(bencher: Bencher<'_, '_>) {
    let mut head = ResponseHead::default();
    bencher.bench_local(|| answered(black_box(&mut head)));
}

#[divan::bench]
fn write_response(bencher: Bencher<'_, '_>) {
    let (mut request, mut head, mut out) =
        (RequestHead::default(), ResponseHead::default(), Vec::new());
    parsed(SMALL, &mut request);
    answered(&mut head);
    bencher.bench_local(|| {
        out.clear();
        let plan = ResponsePlan::new(&head, &request, true, &[]);
        write::response_head(&mut out, ANSWER, black_box(&head), &plan);
        black_box(&out);
    });
}

#[divan::bench]
fn decode_64_chunks_of_1_kib(bencher: Bencher<'_, '_>) {
    let mut body = Vec::new();
    for _ in 0..64 {
        body.extend_from_slice(b"400\r\n");
        body.extend_from_slice(&[b'x'; 1024]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    bencher.bench_local(|| {
        let (mut decoder, mut at) = (Decoder::new(Framing::Chunked), 0);
        while !decoder.is_done() {
            let Ok((used, event)) = decoder.next(body.get(at..).unwrap_or_default()) else {
                panic!("the body is well-formed");
            };
            black_box(event);
            at += used;
        }
    });
}
