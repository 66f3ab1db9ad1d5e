//! What the trail tells of exchanges beside decisions: how much went through and its digests, on
//! every pairing; as much of it as a route keeps; hidden facts; and what was refused undecided.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use caio::audit::frame;
use caio::audit::record::{self, Bodies, Decision, Ending, Hash, Outcome, Record, WRITER_LANE};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::{Response, http};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc;
use support::h2::{self, Connection, frame as h2_frame, head};
use support::origin::{Answer, Origin};
use support::peers::{self, BOTH, Caller, Content, Served, empty, full, parts, whole};
use support::{End, Gateway, PATIENCE, Protocol, Scratch, VOCABULARY, Wire, eventually, exchange};

/// Lane and sequence.
type Place = (u16, u64);

/// A trail, as far as these tests look at it.
#[derive(Default)]
struct Trail {
    decisions: BTreeMap<Place, Decision<'static>>,
    outcomes: BTreeMap<Place, Outcome>,
    /// Fields of the request and of the answer, then the beginnings of the bodies.
    payloads: BTreeMap<Place, [Vec<u8>; 4]>,
    /// What the lanes' ends say was refused undecided.
    refused: u64,
    bytes: Vec<u8>,
}

fn read(directory: &Path) -> Trail {
    let mut names: Vec<_> = std::fs::read_dir(directory.join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let mut trail = Trail::default();
    for name in names {
        let bytes: &'static [u8] = Vec::leak(std::fs::read(name).unwrap());
        trail.bytes.extend_from_slice(bytes);
        let mut rest = bytes;
        while let Some(frame) = frame::take(&mut rest) {
            let mut body = frame.body;
            while let Some((place, record)) = record::take(&mut body) {
                trail.follow((place.lane, place.sequence), record);
            }
            assert!(body.is_empty(), "a record that cannot be read");
        }
    }
    trail
}

impl Trail {
    fn follow(&mut self, place: Place, record: Record<'static>) {
        match record {
            Record::Decision(decision) => {
                assert!(self.decisions.insert(place, decision).is_none());
            }
            Record::Payload { request_fields, response_fields, request_body, response_body } => {
                assert!(!self.outcomes.contains_key(&place), "before the outcome");
                let texts = [request_fields, response_fields, request_body, response_body];
                let texts = texts.map(std::borrow::Cow::into_owned);
                assert!(self.payloads.insert(place, texts).is_none());
            }
            Record::Outcome(outcome) => {
                assert!(self.outcomes.insert(place, outcome).is_none());
            }
            Record::Close { refused, .. } if place.0 != WRITER_LANE => self.refused += refused,
            _ => {}
        }
    }

    /// The one decision whose outcome ended so.
    fn only(&self, ending: Ending) -> (&Decision<'static>, &Outcome) {
        let found: Vec<_> = self.outcomes.iter().filter(|it| it.1.ending == ending).collect();
        assert_eq!(found.len(), 1, "{:#?}", self.outcomes);
        (&self.decisions[found[0].0], found[0].1)
    }
}

fn digest(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

fn digests(request: &[u8], response: &[u8]) -> Bodies {
    let sizes = [request.len() as u64, response.len() as u64];
    Bodies::Digests(sizes, [digest(request), digest(response)])
}

/// The place that an answer says its decision has.
fn place_of(said: &str) -> Place {
    let (lane, rest) = said.strip_prefix('w').unwrap().split_once('-').unwrap();
    let (sequence, _) = rest.split_once(';').unwrap();
    (lane.parse().unwrap(), sequence.parse().unwrap())
}

fn audited(directory: &Path, more: &str) -> String {
    format!("\n[audit]\ndirectory = \"{}\"\n{more}\n", directory.display())
}

/// Ends the gateway, and reads what it has kept.
fn ended(mut gateway: Gateway, directory: &Path) -> Trail {
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.said());
    read(directory)
}

/// Answers as the path asks for, with something that depends on the request's body.
async fn origin(protocol: Protocol) -> Served {
    Served::start(protocol, |request| async move {
        let path = request.uri().path().to_owned();
        let (sent, _) = whole(request.into_body()).await.unwrap();
        let answer: Vec<u8> = [b"answer to ", sent.as_ref()].concat();
        let response = Response::builder().header("content-type", "text/plain");
        let response = response.header("x-note", "from the service");
        let split = |answer: Vec<u8>| {
            let (one, two) = answer.split_at(answer.len() / 3);
            vec![Bytes::copy_from_slice(one), Bytes::copy_from_slice(two)]
        };
        let built = match path.as_str() {
            "/chunked" => response.body(parts(split(answer), &[("x-sum", "1")])),
            "/grpc" => {
                let response = response.header("content-type", "application/grpc");
                response.body(parts(split(answer), &[("grpc-status", "0")]))
            }
            "/nothing" => response.body(empty()),
            "/204" => response.status(204).body(empty()),
            "/304" => response.status(304).header("content-length", "77").body(empty()),
            _ => response.body(full(answer)),
        };
        built.unwrap()
    })
    .await
}

struct Sent {
    place: Place,
    status: u16,
    request: Vec<u8>,
    response: Vec<u8>,
    what: String,
}

async fn send(
    caller: &mut Caller,
    request: http::Request<Content>,
    content: &[u8],
    what: String,
) -> Sent {
    let (answer, body) = caller.send(request).await.unwrap().into_parts();
    let (received, _) = peers::within(whole(body)).await.unwrap();
    Sent {
        place: place_of(answer.headers["caio-decision"].to_str().unwrap()),
        status: answer.status.as_u16(),
        request: content.to_vec(),
        response: received.to_vec(),
        what,
    }
}

/// Content that is no run of one byte.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

async fn all_kinds(address: SocketAddr, down: Protocol) -> Vec<Sent> {
    let mut caller = Caller::connect(address, down).await;
    let mut sent = Vec::new();
    for path in ["/length", "/chunked", "/nothing", "/204", "/304", "/grpc"] {
        let grpc = path == "/grpc";
        if grpc && down == Protocol::Http1 {
            continue;
        }
        let method = if grpc { "POST" } else { "PUT" };
        let request = || {
            let request = peers::request(down, method, path);
            if grpc { request.header("content-type", "application/grpc") } else { request }
        };
        for length in [0, 1, 1000, 70_000, 400_000] {
            let bytes = content(length);
            let what = format!("{path} {length}");
            let known = request().body(full(bytes.clone())).unwrap();
            sent.push(send(&mut caller, known, &bytes, format!("{what} known")).await);
            let cut: Vec<Bytes> = bytes.chunks(33_333).map(Bytes::copy_from_slice).collect();
            let unknown = request().body(parts(cut, &[("x-sum", "2")])).unwrap();
            sent.push(send(&mut caller, unknown, &bytes, format!("{what} unknown")).await);
        }
    }
    for method in ["GET", "HEAD"] {
        let request = peers::request(down, method, "/length").body(empty()).unwrap();
        sent.push(send(&mut caller, request, b"", method.to_owned()).await);
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_tell_what_went_through_on_every_pairing() {
    for up in BOTH {
        for down in BOTH {
            let kept = Scratch::new();
            let origin = origin(up).await;
            let more = audited(kept.path(), "");
            let gateway = Gateway::start_with(origin.address, up, &more);
            let sent = all_kinds(gateway.address, down).await;
            let trail = ended(gateway, kept.path());
            assert_eq!(trail.outcomes.len(), sent.len());
            assert!(trail.payloads.is_empty());
            for one in sent {
                let what = format!("{down:?} {up:?} {}", one.what);
                let (outcome, decision) =
                    (&trail.outcomes[&one.place], &trail.decisions[&one.place]);
                assert_eq!((outcome.status, outcome.ending), (one.status, Ending::Whole), "{what}");
                assert_eq!(outcome.bodies, digests(&one.request, &one.response), "{what}");
                assert_eq!(outcome.endpoint, 0, "{what}");
                let times = [decision.monotonic_ns, outcome.head_ns, outcome.monotonic_ns];
                assert!(times.is_sorted(), "{what}: {times:?}");
                assert_eq!(decision.evidence, digest(b"address 127.0.0.1")[..16], "{what}");
            }
        }
    }
}

/// A service that says where it is asked to, one byte for each, until told to go on.
fn interim_first() -> (SocketAddr, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (go, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            while !request.ends_with(b"\r\n\r\n") {
                let count = stream.read(&mut chunk).unwrap();
                request.extend_from_slice(&chunk[..count]);
            }
            if request.starts_with(b"GET /slow") {
                let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
                stream.write_all(interim).unwrap();
                if told.recv_timeout(PATIENCE).is_err() {
                    return;
                }
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            stream.write_all(answer).unwrap();
        }
    });
    (address, go)
}

#[test]
fn an_answer_begins_with_its_final_head() {
    for down in BOTH {
        let kept = Scratch::new();
        let (service, go) = interim_first();
        let more = audited(kept.path(), "");
        let gateway = Gateway::start_with(service, Protocol::Http1, &more);
        // Once the caller has the interim head the service waits; what comes meanwhile is denied.
        let meanwhile = || {
            let request = b"TRACE /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            assert_eq!(exchange(gateway.address, request, usize::MAX).status(), Some(405));
            go.send(()).unwrap();
        };
        match down {
            Protocol::Http1 => {
                let mut wire = Wire::connect(gateway.address);
                wire.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
                let end = wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"\r\n\r\n")).1;
                assert_eq!(end, End::Open);
                meanwhile();
                wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"ok"));
            }
            Protocol::H2c => {
                let mut connection = Connection::open(gateway.address);
                let fields = head("GET", "/slow", &[]);
                let flags = h2::END_HEADERS | h2::END_STREAM;
                connection.send(&h2_frame(h2::HEADERS, flags, 1, &fields));
                let headers = |frame: &h2::Frame| frame.kind == h2::HEADERS;
                assert_eq!(connection.read_until(PATIENCE, headers), End::Open);
                meanwhile();
                connection.until_stream_ends(1);
            }
        }
        let trail = ended(gateway, kept.path());
        let (_, outcome) = trail.only(Ending::Whole);
        let (denied, _) = trail.only(Ending::Refused);
        assert!(outcome.head_ns > denied.monotonic_ns, "{down:?}: {outcome:?} {denied:?}");
    }
}

#[test]
fn what_was_cut_off_tells_what_went_through_so_far() {
    for down in BOTH {
        let kept = Scratch::new();
        let origin =
            Origin::scripted(|_| Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"));
        let more = audited(&kept.path().join("service"), "");
        let gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
        let more = audited(&kept.path().join("caller"), "");
        let other = Gateway::start_with(origin.address, Protocol::Http1, &more);
        match down {
            Protocol::Http1 => {
                let mut wire = Wire::connect(gateway.address);
                wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                assert_ne!(wire.read_until(PATIENCE, |_| false).1, End::Open);
                let mut wire = Wire::connect(other.address);
                wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\none");
                eventually("a part is forwarded", || origin.has_seen(b"\r\n\r\none"));
                wire.send(b"two");
                eventually("so is the next", || origin.has_seen(b"onetwo"));
            }
            Protocol::H2c => {
                let mut connection = Connection::open(gateway.address);
                let flags = h2::END_HEADERS | h2::END_STREAM;
                connection.send(&h2_frame(h2::HEADERS, flags, 1, &head("GET", "/", &[])));
                connection.until_stream_ends(1);
                let mut connection = Connection::open(other.address);
                let fields = head("POST", "/", &[("content-length", "99")]);
                connection.send(&h2_frame(h2::HEADERS, h2::END_HEADERS, 1, &fields));
                connection.send(&h2_frame(h2::DATA, 0, 1, b"one"));
                eventually("a part is forwarded", || origin.has_seen(b"\r\n\r\none"));
                // Padding is no content.
                connection.send(&h2_frame(h2::DATA, h2::PADDED, 1, b"\x05two\0\0\0\0\0"));
                eventually("so is the next", || origin.has_seen(b"onetwo"));
                connection.send(&h2_frame(h2::RST_STREAM, 0, 1, &8u32.to_be_bytes()));
            }
        }
        let trail = ended(gateway, &kept.path().join("service"));
        let (_, outcome) = trail.only(Ending::CutOff);
        assert_eq!(outcome.bodies, digests(b"", b"half"), "{down:?}");
        assert!(outcome.head_ns > 0);
        let trail = ended(other, &kept.path().join("caller"));
        let (_, outcome) = trail.only(Ending::CutOff);
        assert_eq!(outcome.bodies, digests(b"onetwo", b""), "{down:?}");
        assert_eq!((outcome.status, outcome.endpoint, outcome.head_ns), (0, 0, 0));
    }
}

/// The same where the service speaks HTTP/2, and where nobody but the gateway ends the exchange.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_drain_cuts_off_tells_what_went_through_so_far() {
    for up in BOTH {
        for down in BOTH {
            let kept = Scratch::new();
            // It sends back what it gets, as it gets it.
            let echo = Served::start(up, |request| async move {
                Response::new(peers::echoed(request.into_body()))
            })
            .await;
            let more = "[timeouts]\ndrain = \"1ms\"\n".to_owned() + &audited(kept.path(), "");
            let gateway = Gateway::start_with(echo.address, up, &more);
            let mut caller = Caller::connect(gateway.address, down).await;
            let (part, content) = peers::channel();
            let request = peers::request(down, "POST", "/").body(content).unwrap();
            let (answer, ()) = tokio::join!(caller.send(request), async {
                part.send(Ok(hyper::body::Frame::data("one".into()))).await.unwrap();
            });
            let mut body = answer.unwrap().into_body();
            let mut received = Vec::new();
            for piece in ["one", "two"] {
                if piece == "two" {
                    part.send(Ok(hyper::body::Frame::data("two".into()))).await.unwrap();
                }
                while !received.ends_with(piece.as_bytes()) {
                    let frame = peers::within(body.frame()).await.unwrap().unwrap();
                    received.extend_from_slice(frame.data_ref().unwrap());
                }
            }
            let trail = ended(gateway, kept.path());
            let (_, outcome) = trail.only(Ending::CutOff);
            assert_eq!(outcome.bodies, digests(b"onetwo", b"onetwo"), "{down:?} {up:?}");
            assert!(outcome.head_ns > 0);
        }
    }
}

/// Framings that no library's caller or service writes by itself.
#[test]
fn content_is_told_without_what_frames_it() {
    let kept = Scratch::new();
    let origin = Origin::scripted(|request| match request.target.as_str() {
        "/close" => Answer::raw("HTTP/1.1 200 OK\r\n\r\nup to the end"),
        "/chunks" => Answer::kept(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nup to\r\n\
             8\r\n the end\r\n0\r\nX-Sum: 1\r\n\r\n",
        ),
        _ => Answer::kept("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nup to the end"),
    });
    let gateway = Gateway::start_with(origin.address, Protocol::Http1, &audited(kept.path(), ""));
    for path in ["/close", "/chunks", "/length"] {
        for version in ["1.0", "1.1"] {
            let get = format!("GET {path} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n");
            http1(gateway.address, get.as_bytes(), 200);
        }
        assert!(Connection::open(gateway.address).call(1, &head("GET", path, &[])));
    }
    let got = ended(gateway, kept.path());
    assert_eq!(got.outcomes.len(), 9);
    for outcome in got.outcomes.values() {
        assert_eq!(outcome.bodies, digests(b"", b"up to the end"), "{outcome:?}");
    }

    let kept = Scratch::new();
    let gateway = Gateway::start_with(origin.address, Protocol::Http1, &audited(kept.path(), ""));
    let request = b"POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                    3;x=y\r\nthe\r\n6\r\n whole\r\n0\r\nX-Sum: 1\r\n\r\n";
    // Whole, with a second one behind it, and cut at every byte behind the head.
    let body_at = 4 + request.windows(4).position(|at| at == b"\r\n\r\n").unwrap();
    let mut wire = Wire::connect(gateway.address);
    wire.send(&[&request[..], &request[..]].concat());
    wire.read_until(PATIENCE, |bytes| bytes.windows(3).filter(|at| at == b"end").count() == 2);
    for cut in body_at..request.len() {
        wire.send(&request[..cut]);
        eventually("the first part is forwarded", || {
            let seen = origin.records().pop().unwrap();
            seen.windows(7).filter(|at| at == b"chunked").count() == cut - body_at + 3
        });
        wire.send(&request[cut..]);
        wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"up to the end"));
    }
    drop(wire);
    let got = ended(gateway, kept.path());
    assert_eq!(got.outcomes.len(), 2 + request.len() - body_at);
    for outcome in got.outcomes.values() {
        assert_eq!(outcome.bodies, digests(b"the whole", b"up to the end"), "{outcome:?}");
    }
}

/// Routes that keep nothing, sizes, or what the process keeps.
const ROUTES: &str = r#"
[[routes]]
id = "nothing"
operation = "* /nothing/*"
capability = "test.echo/1"
audit = { payload = "none" }

[[routes]]
id = "sizes"
operation = "* /sizes/*"
capability = "test.echo/1"
[routes.audit]
payload = "sizes"
fields = ["x-none", "x-note"]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_keeps_as_much_as_it_says() {
    for up in BOTH {
        for down in BOTH {
            let kept = Scratch::new();
            let origin = origin(up).await;
            let keeps = "fields = [\"content-type\", \"content-length\", \"x-note\"]\n\
                         body_bytes = \"8B\"";
            let more = ROUTES.to_owned() + &audited(kept.path(), keeps);
            let gateway = Gateway::start_with(origin.address, up, &more);
            let mut caller = Caller::connect(gateway.address, down).await;
            let mut sent = Vec::new();
            for path in ["/nothing/a", "/sizes/a", "/length", "/chunked"] {
                let request = peers::request(down, "POST", path)
                    .header("x-note", "first")
                    .header("content-type", "text/html")
                    .header("X-Note", "second")
                    .header("authorization", "Bearer abc")
                    .body(full("a body of some length"))
                    .unwrap();
                let content = b"a body of some length";
                sent.push(send(&mut caller, request, content, path.to_owned()).await);
            }
            let trail = ended(gateway, kept.path());
            let [nothing, sizes, length, chunked] = &sent[..] else { panic!("four") };
            assert_eq!(trail.outcomes[&nothing.place].bodies, Bodies::Untold);
            assert_eq!(trail.outcomes[&sizes.place].bodies, Bodies::Sizes([21, 31]));
            let notes = "x-note: first\nx-note: second\n";
            let note = "x-note: from the service\n";
            let text = |parts: [&str; 4]| parts.map(|part| part.as_bytes().to_vec());
            let request = format!("content-type: text/html\ncontent-length: 21\n{notes}");
            let known = format!("content-type: text/plain\ncontent-length: 31\n{note}");
            let unknown = format!("content-type: text/plain\n{note}");
            let expected = BTreeMap::from([
                (sizes.place, text([notes, note, "", ""])),
                (length.place, text([&request, &known, "a body o", "answer t"])),
                (chunked.place, text([&request, &unknown, "a body o", "answer t"])),
            ]);
            assert_eq!(trail.payloads, expected, "{down:?} {up:?}");
            for one in [length, chunked] {
                let bodies = digests(&one.request, &one.response);
                assert_eq!(trail.outcomes[&one.place].bodies, bodies);
            }
            assert!(!trail.bytes.windows(3).any(|at| at == b"abc"));
        }
    }
}

/// A number that stands nowhere by chance.
const PATIENT: i64 = 4_981_273_645_918_273;

#[test]
fn a_sensitive_fact_is_in_no_segment() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let vocabulary = format!(
        "{VOCABULARY}\n[[attributes]]\nname = \"patient\"\nside = \"request\"\ntype = \"int\"\n\
         source = \"header:x-patient\"\nsensitive = true\n"
    );
    let address = origin.address;
    let config = format!(
        r#"config = "caio/1"
vocabulary = "vocabulary.toml"
[process]
workers = 1
[[listeners]]
address = "127.0.0.1:0"
[[services]]
endpoints = ["{address}"]
[services.contract]
service = "test.echo"
version = "1.0.0"
[[services.contract.offers]]
capability = "test.echo/1"
interface = {{ http = ["* /*"] }}
[services.contract.offers.demands]
known = "patient >= 1"
small = "request.bytes <= 1KiB"
{}"#,
        audited(kept.path(), "fields = [\"accept\"]")
    );
    let files = [("caio.toml", config.as_str()), ("vocabulary.toml", &vocabulary)];
    let gateway = Gateway::start_on(&files);
    let get = |patient: i64| {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Patient: {patient}\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n"
        );
        exchange(gateway.address, request.as_bytes(), usize::MAX).status()
    };
    assert_eq!((get(PATIENT), get(PATIENT), get(-PATIENT)), (Some(200), Some(200), Some(422)));
    let trail = ended(gateway, kept.path());
    let decisions: Vec<_> = trail.decisions.values().collect();
    assert_eq!(decisions.len(), 3);
    for decision in &decisions {
        assert_eq!(*decision.facts, [(0, 0)], "what is not sensitive is said");
        assert_eq!(decision.hidden.len(), 1);
        assert_eq!(decision.hidden[0].0, 1);
    }
    assert_ne!(decisions[0].hidden[0].1, decisions[1].hidden[0].1, "each has its own salt");
    let holds = |what: &[u8]| trail.bytes.windows(what.len()).any(|at| at == what);
    assert!(holds(b"accept: */*\n"), "what is looked for would be found");
    for value in [PATIENT, -PATIENT] {
        assert!(!holds(&value.to_le_bytes()) && !holds(&value.to_be_bytes()));
    }
    assert!(!holds(PATIENT.to_string().as_bytes()));
}

#[tokio::test]
async fn each_caller_is_known_by_its_own_address() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let more = audited(kept.path(), "");
    let gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
    let addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.1"];
    for address in addresses {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        let stream = peers::within(socket.connect(gateway.address)).await.unwrap();
        let stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let (mut stream, mut answer) = (stream, Vec::new());
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(b"ok"));
    }
    let trail = ended(gateway, kept.path());
    let evidence: Vec<_> = trail.decisions.values().map(|decision| decision.evidence).collect();
    let expected = addresses.map(|address| {
        let hash = digest(format!("address {address}").as_bytes());
        <[u8; 16]>::try_from(&hash[..16]).unwrap()
    });
    assert_eq!(evidence, expected);
}

/// What is sent on a connection of its own, and how many refusals without a decision it comes to.
type Message = (&'static str, fn(SocketAddr), u64);

fn http1(address: SocketAddr, bytes: &[u8], status: u16) {
    let reply = exchange(address, bytes, usize::MAX);
    assert_eq!(reply.status(), Some(status), "{reply:?}");
}

/// One stream with these fields; the frames that came back.
fn http2(address: SocketAddr, fields: &[u8]) -> h2::Ended {
    let mut connection = Connection::open(address);
    let flags = h2::END_HEADERS | h2::END_STREAM;
    connection.send(&h2_frame(h2::HEADERS, flags, 1, fields));
    connection.until_stream_ends(1)
}

const MESSAGES: [Message; 9] = [
    ("a malformed head", |to| http1(to, b"GET / HTTP/1.1\r\nbad\r\n\r\n", 400), 1),
    (
        "another protocol",
        |to| {
            let mut wire = Wire::connect(to);
            wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
            assert_eq!(wire.read_until(PATIENCE, |_| false).1, End::Closed);
        },
        1,
    ),
    (
        "a head that does not end",
        |to| {
            let mut wire = Wire::connect(to);
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n");
            assert_eq!(support::reply(&mut wire, PATIENCE).status(), Some(408));
        },
        1,
    ),
    (
        "two hosts",
        |to| {
            let ended = http2(to, &head("GET", "/", &[("host", "b.example")]));
            assert!(ended.head(1).is_some(), "{ended:?}");
        },
        1,
    ),
    (
        "a list that h2 itself answers",
        |to| {
            let long = "x".repeat(40_000);
            let ended = http2(to, &head("GET", "/", &[("x-long", &long[..10_000])]));
            assert!(ended.head(1).is_some(), "{ended:?}");
        },
        1,
    ),
    (
        "a preface that is none",
        |to| {
            let mut wire = Wire::connect(to);
            wire.send(b"PRI * HTTP/2.0\r\n\r\nxx\r\n\r\n");
            assert_ne!(wire.read_until(PATIENCE, |_| false).1, End::Open);
        },
        1,
    ),
    (
        "no route, which is a decision",
        |to| {
            http1(to, b"TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405);
        },
        0,
    ),
    (
        "a question to the gateway",
        |to| {
            http1(to, b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 204);
            assert!(Connection::open(to).call(1, &head("OPTIONS", "*", &[])));
        },
        0,
    ),
    (
        "a whole call",
        |to| {
            http1(to, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200);
            assert!(Connection::open(to).call(1, &head("GET", "/", &[])));
        },
        0,
    ),
];

#[test]
fn what_is_refused_without_a_decision_is_counted() {
    let origin = Origin::echo();
    for (what, message, count) in MESSAGES {
        let kept = Scratch::new();
        let more = "[timeouts]\nclient_header = \"300ms\"\n[limits]\n\
                    h2_header_list_bytes_max = \"8KiB\"\n"
            .to_owned()
            + &audited(kept.path(), "");
        let gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
        message(gateway.address);
        let trail = ended(gateway, kept.path());
        assert_eq!(trail.refused, count, "{what}");
    }
}

#[test]
fn the_next_decision_says_how_many_were_refused_before_it() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let gateway = Gateway::start_with(origin.address, Protocol::Http1, &audited(kept.path(), ""));
    for _ in 0..3 {
        http1(gateway.address, b"GET / HTTP/1.1\r\nbad\r\n\r\n", 400);
    }
    for _ in 0..2 {
        http1(gateway.address, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200);
    }
    let trail = ended(gateway, kept.path());
    let refused: Vec<u32> = trail.decisions.values().map(|decision| decision.refused).collect();
    assert_eq!((refused, trail.refused), (vec![3, 0], 3));
}
