//! Behind a proxy that says whose connection it passes on: with curl's header of version 1, a
//! Python client's of version 2, and headers that are none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;
use support::origin::Origin;
use support::{End, Gateway, PATIENCE, Wire, eventually, exchange};

const CONTRACT: &str = r#"contract = "caio/1"
service = "test.echo"
version = "1.0.0"

[[offers]]
capability = "test.echo/1"
interface = { http = ["* /*"] }
"#;

/// A gateway that takes PROXY headers from this network; the clinic may only be served by somebody
/// deterministic, whom there is not.
fn gateway(origin: SocketAddr, trusted: &str, more: &str) -> Gateway {
    let config = format!(
        r#"config = "caio/1"
vocabulary = "vocabulary.toml"
[process]
workers = 1
[admin]
listen = "127.0.0.1:0"
[timeouts]
client_header = "1s"
[[listeners]]
address = "127.0.0.1:0"
proxy_protocol = ["{trusted}"]
[[services]]
contract = "echo.toml"
endpoints = ["{origin}"]
[[callers]]
id = "clinic"
networks = ["192.0.2.0/24", "2001:db8::/32"]
[[requirements]]
id = "clinic"
caller = "clinic"
needs = ["deterministic"]
{more}"#
    );
    let vocabulary = include_str!("../../config/vocabulary.toml");
    let files = [("caio.toml", &*config), ("vocabulary.toml", vocabulary), ("echo.toml", CONTRACT)];
    Gateway::start_on(&files)
}

const LAST: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

/// Sends the header and a request behind it, in pieces of so many bytes.
fn ask(gateway: &Gateway, header: &[u8], piece: usize) -> Option<u16> {
    let bytes = [header, LAST.as_bytes()].concat();
    let reply = exchange(gateway.address, &bytes, piece);
    assert!(reply.ended());
    reply.status()
}

/// Who the origin was told called, request by request.
fn callers(origin: &Origin) -> Vec<String> {
    let requests = origin.requests();
    requests.iter().map(|request| request.field("x-forwarded-for").unwrap().to_owned()).collect()
}

/// How many headers came to this.
fn results(gateway: &Gateway, result: &str) -> u64 {
    gateway.counted(&format!("caio_proxy_headers_total{{result=\"{result}\"}}"))
}

#[test]
fn the_header_says_who_calls_in_all_that_follows() {
    let origin = Origin::echo();
    let mut gateway = gateway(origin.address, "127.0.0.0/8", "");
    for piece in [usize::MAX, 1, 7] {
        let header = b"PROXY TCP4 203.0.113.9 198.51.100.1 40123 443\r\n";
        assert_eq!(ask(&gateway, header, piece), Some(200));
        // By its network it is the clinic, whom nobody may serve here.
        let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 40123 443\r\n";
        assert_eq!(ask(&gateway, header, piece), Some(503));
        let header = b"PROXY TCP6 2001:db8::7 ::1 40123 443\r\n";
        assert_eq!(ask(&gateway, header, piece), Some(503));
        assert_eq!(ask(&gateway, b"PROXY UNKNOWN\r\n", piece), Some(200));
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        assert_eq!(ask(&gateway, local, piece), Some(200));
    }
    let round = ["203.0.113.9", "127.0.0.1", "127.0.0.1"];
    assert_eq!(callers(&origin), [round, round, round].concat());
    assert_eq!((results(&gateway, "caller"), results(&gateway, "proxy")), (9, 6));
    gateway.assert_sound();
}

#[test]
fn http2_begins_right_behind_the_header() {
    let origin = Origin::echo();
    let gateway = gateway(origin.address, "127.0.0.0/8", "");
    let mut wire = Wire::connect(gateway.address);
    wire.send(b"PROXY TCP4 203.0.113.9 198.51.100.1 40123 443\r\n");
    wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let (bytes, _) = wire.read_until(PATIENCE, |bytes| bytes.len() >= 9);
    assert_eq!(bytes[3], 4, "SETTINGS come first: {bytes:?}");
}

#[test]
fn curl_and_python_are_understood() {
    let origin = Origin::echo();
    let gateway = gateway(origin.address, "127.0.0.0/8", "");
    let url = format!("http://{}/", gateway.address);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let curl = Command::new("curl")
            .args(["-sS", "--max-time", "20", "--haproxy-protocol", version, &url])
            .output()
            .expect("curl is there");
        assert_eq!(curl.stdout, b"ok", "{}", String::from_utf8_lossy(&curl.stderr));
    }
    let python = Command::new("python3")
        .args([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/proxy_protocol/version2.py")])
        .args([gateway.address.ip().to_string(), gateway.address.port().to_string()])
        .output()
        .expect("python3 is there");
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let said = String::from_utf8(python.stdout).unwrap();
    assert_eq!(said.lines().collect::<Vec<_>>(), ["200", "200", "503", "200", "200", "-"]);
    let told = callers(&origin);
    let local = "127.0.0.1";
    let due = [local, local, "203.0.113.9", "203.0.113.9", local, local];
    assert_eq!(told, due);
}

#[test]
fn from_elsewhere_nobody_is_taken() {
    let origin = Origin::echo();
    let gateway = gateway(origin.address, "10.0.0.0/8", "");
    let header = b"PROXY TCP4 10.0.0.1 198.51.100.1 40123 443\r\n";
    assert_eq!(ask(&gateway, header, usize::MAX), None);
    assert_eq!(ask(&gateway, b"", usize::MAX), None);
    assert_eq!(results(&gateway, "untrusted"), 2);
    assert!(origin.records().is_empty());
}

#[test]
fn without_a_legal_header_nothing_is_read() {
    let origin = Origin::echo();
    let gateway = gateway(origin.address, "127.0.0.1", "");
    let bad: &[&[u8]] = &[
        b"",
        b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40123\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40123 443\n",
        b"PROXY TCP4 ::1 ::1 40123 443\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x05abcde",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c",
    ];
    for header in bad {
        assert_eq!(ask(&gateway, header, usize::MAX), None, "{header:?}");
    }
    assert_eq!(results(&gateway, "malformed"), bad.len() as u64);
    // A second one behind the first is what the caller says, and no request.
    let twice = b"PROXY TCP4 203.0.113.9 1.1.1.1 1 2\r\nPROXY TCP4 192.0.2.7 1.1.1.1 1 2\r\n";
    assert_eq!(ask(&gateway, twice, usize::MAX), Some(400));
    assert!(origin.records().is_empty());
}

#[test]
fn half_a_header_is_waited_for_as_long_as_a_head() {
    let origin = Origin::echo();
    let gateway = gateway(origin.address, "127.0.0.1", "");
    let began = Instant::now();
    let mut half = Wire::connect(gateway.address);
    half.send(b"PROXY TCP4 192.0.2.7 ");
    let mut silent = Wire::connect(gateway.address);
    for wire in [&mut half, &mut silent] {
        let (bytes, end) = wire.read_until(PATIENCE, |_| false);
        assert!(bytes.is_empty() && end != End::Open, "{end:?}");
    }
    assert!(began.elapsed() >= std::time::Duration::from_millis(900));
    eventually("both are counted", || results(&gateway, "missing") == 2);
}

#[test]
fn connections_are_bounded_for_the_address_in_the_header() {
    let origin = Origin::echo();
    let more = "[limits]\nconnections_per_address_max = 2\n";
    let gateway = gateway(origin.address, "127.0.0.1", more);
    let open = |address: &str| {
        let mut wire = Wire::connect(gateway.address);
        wire.send(format!("PROXY TCP4 {address} 198.51.100.1 40123 443\r\n").as_bytes());
        wire.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let (bytes, _) = wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"ok"));
        (!bytes.is_empty()).then_some(wire)
    };
    let held = [open("203.0.113.9").unwrap(), open("203.0.113.9").unwrap()];
    assert!(open("203.0.113.9").is_none(), "that address has its most");
    let others = [open("203.0.113.10").unwrap(), open("203.0.113.11").unwrap()];
    drop(held);
    eventually("places are given back", || open("203.0.113.9").is_some());
    drop(others);
}
