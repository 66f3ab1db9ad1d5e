//! What runs while the landscape changes: it ends once it is not admitted any more, and what is
//! admitted goes on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

#[allow(dead_code, reason = "other tests look at what it has seen")]
#[path = "grpc/service.rs"]
mod service;
mod support;

use serde_json::Value as Json;
use service::{BytesCodec, Echo};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::h2::{self, Connection, DATA, END_HEADERS, END_STREAM, HEADERS};
use support::origin::{Answer, Origin};
use support::peers::within;
use support::{End, Gateway, PATIENCE, Scratch, VOCABULARY, Wire, eventually, strict};
use tokio_stream::StreamExt;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request};

const OFFERS: &str = r#"contract = "caio/1"
service = "test.streams"
version = "1.0.0"
[[offers]]
capability = "test.stream/1"
interface = { http = ["GET /stream/*"] }
[[offers]]
capability = "test.held/1"
interface = { http = ["GET /held"] }
"#;

const ALL: &str = "[[policies]]\nid = \"all\"\neffect = \"permit\"\n";
const NO_STREAMS: &str = "[[policies]]\nid = \"no-streams\"\neffect = \"forbid\"\n\
                          capabilities = [\"test.stream/1\"]\n";

/// A gateway before an origin that begins answers on `/stream/…` and does not end them, says
/// nothing on `/stream/silent`, and answers `/held` when it is let and all else at once.
struct World {
    gateway: Gateway,
    base: String,
    trail: Scratch,
    let_go: Arc<AtomicBool>,
    _origin: Origin,
}

impl World {
    fn start(timeouts: &str, listener: &str, more: &str) -> Self {
        let (trail, let_go) = (Scratch::new(), Arc::new(AtomicBool::new(false)));
        let may_end = Arc::clone(&let_go);
        let origin = Origin::scripted(move |request| match request.target.as_str() {
            "/stream/chunked" => {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                Answer::kept(format!("{head}5\r\nbegun\r\n"))
            }
            "/stream/closed" => Answer::kept("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbegun"),
            "/stream/silent" => Answer::kept(""),
            "/held" => {
                eventually("it is let go", || may_end.load(Ordering::SeqCst));
                Answer::ok()
            }
            _ => Answer::ok(),
        });
        let base = format!(
            "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 1\n\
             [audit]\ndirectory = \"{}\"\n[timeouts]\n{timeouts}\n[[listeners]]\n\
             address = \"127.0.0.1:0\"\n{listener}[[services]]\ncontract = \"streams.toml\"\n\
             endpoints = [\"{}\"]\n",
            trail.path().display(),
            origin.address
        );
        let config = format!("{base}{more}");
        let files =
            [("caio.toml", &*config), ("vocabulary.toml", VOCABULARY), ("streams.toml", OFFERS)];
        let gateway = Gateway::start_on(&files);
        Self { gateway, base, trail, let_go, _origin: origin }
    }

    /// Has other rules read; what stands in the file before them is `base`.
    fn reload(&self, base: &str, more: &str) {
        let file = self.gateway.folder().join("caio.toml");
        std::fs::write(file, format!("{base}{more}")).unwrap();
        self.gateway.reload();
    }

    /// A call whose answer has begun with these bytes, or that was sent, where there are none.
    fn begin(&self, path: &str, fields: &str, begun: &[u8]) -> Wire {
        begin(self.gateway.address, path, fields, begun)
    }

    /// A call on `/held` that has reached the service.
    fn hold(&self) -> Wire {
        let wire = self.begin("/held", "", b"");
        eventually("the call has arrived", || self._origin.has_seen(b"GET /held"));
        wire
    }

    /// The call that is held ends well, once it is let.
    fn goes_on(&self, mut wire: Wire) {
        self.let_go.store(true, Ordering::SeqCst);
        let (bytes, _) = wire.read_until(PATIENCE, whole);
        assert_eq!(strict::responses(&bytes).unwrap()[0].status, 200);
    }

    /// Ends the gateway and has its trail checked; its exchanges as the trail tells them.
    fn recorded(&mut self) -> Vec<Json> {
        self.gateway.assert_sound();
        self.gateway.terminate();
        assert_eq!(self.gateway.wait(), Some(0));
        checked(self.trail.path())
    }
}

fn whole(bytes: &[u8]) -> bool {
    strict::responses(bytes).is_ok_and(|all| !all.is_empty())
}

fn begin(address: SocketAddr, path: &str, fields: &str, begun: &[u8]) -> Wire {
    let mut wire = Wire::connect(address);
    assert!(wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()));
    if !begun.is_empty() {
        let has = |bytes: &[u8]| bytes.windows(begun.len()).any(|at| at == begun);
        let (bytes, end) = wire.read_until(PATIENCE, has);
        assert_eq!(end, End::Open, "{}", String::from_utf8_lossy(&bytes));
    }
    wire
}

fn checked(trail: &Path) -> Vec<Json> {
    let output = Command::new(env!("CARGO_BIN_EXE_caio-check"))
        .arg(trail)
        .args(["--json", "--key"])
        .arg(trail.join("log-key.pub"))
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    told("query", trail)
}

/// What this verb tells of a trail.
fn told(verb: &str, trail: &Path) -> Vec<Json> {
    let output = Command::new(env!("CARGO_BIN_EXE_caio"))
        .args(["audit", verb, "--json", "--trail"])
        .arg(trail)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How these exchanges ended, and why, without those that ended whole.
fn ends(recorded: &[Json]) -> Vec<String> {
    let word = |one: &Json, key: &str| one[key].as_str().unwrap_or("none").to_owned();
    let all = recorded.iter().map(|one| {
        let ending = one["outcome"]["ending"].as_str().unwrap_or("none");
        format!("{ending} {} {}", one["status"], word(one, "reason"))
    });
    let mut all: Vec<String> = all.filter(|it| !it.starts_with("whole")).collect();
    all.sort();
    all
}

#[test]
fn what_is_not_admitted_any_more_ends_and_never_looks_whole() {
    let mut world = World::start("revoked_stream_grace = \"0s\"", "", ALL);
    let held = world.hold();
    let mut chunked = world.begin("/stream/chunked", "", b"begun");
    let mut closed = world.begin("/stream/closed", "", b"begun");
    let mut silent = world.begin("/stream/silent", "", b"");
    eventually("the call has arrived", || world._origin.has_seen(b"GET /stream/silent"));
    let mut streams = Connection::open(world.gateway.address);
    let block = h2::head("GET", "/stream/chunked", &[]);
    streams.send(&h2::frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    let begun = |frame: &h2::Frame| frame.kind == DATA && frame.stream == 1;
    assert_eq!(streams.read_until(PATIENCE, begun), End::Open);

    world.reload(&world.base, &format!("{ALL}{NO_STREAMS}"));
    let (bytes, end) = chunked.read_until(PATIENCE, |_| false);
    assert!(end != End::Open && !bytes.ends_with(b"0\r\n\r\n"), "{end:?}");
    assert_eq!(closed.read_until(PATIENCE, |_| false).1, End::Reset, "an end would say: whole");
    // What has not begun is answered, by the rules of now.
    let (bytes, _) = silent.read_until(PATIENCE, whole);
    let refused = strict::responses(&bytes).unwrap().remove(0);
    assert_eq!((refused.status, refused.field("caio-refusal")), (403, Some("policy.forbidden")));
    let told = String::from_utf8(refused.body.clone()).unwrap();
    assert!(told.contains("rule `no-streams` forbids it"), "{told}");
    assert_eq!(streams.until_stream_ends(1).reset(1), Some(8), "CANCEL");
    world.goes_on(held);
    let withdrawn = "withdrawn 200 policy.forbidden";
    let refused = "refused 403 policy.forbidden";
    assert_eq!(ends(&world.recorded()), [refused, withdrawn, withdrawn, withdrawn]);
}

#[test]
fn a_grace_passes_first_and_a_service_that_has_gone_is_a_reason() {
    let mut world = World::start("revoked_stream_grace = \"150ms\"", "", ALL);
    let mut stream = world.begin("/stream/chunked", "", b"begun");
    world.reload(&world.base.replace("workers = 1", "workers = 2"), ALL);
    let key = "`process.workers` is not what the process was started with; SIGUSR2";
    eventually("what a reload cannot change is told", || world.gateway.said().contains(key));
    let gone = world.base.split("[[services]]").next().unwrap().to_owned();
    world.reload(&gone, ALL);
    assert!(stream.read_until(PATIENCE, |_| false).1 != End::Open);
    assert_eq!(ends(&world.recorded()), ["withdrawn 200 route.unknown"]);
    // Each is on record, also the one that changed nothing.
    let changes = told("changes", world.trail.path()).into_iter().map(|it| {
        let word = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", word("by"), word("asked"), word("came"))
    });
    let changes: Vec<String> = changes.collect();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(changes[0].starts_with("SIGHUP") && changes[0].contains("refused"), "{changes:?}");
    assert!(changes[1].starts_with("SIGHUP") && !changes[1].contains("refused"), "{changes:?}");
}

#[test]
fn other_endpoints_and_other_services_are_no_reason() {
    let mut world = World::start("revoked_stream_grace = \"0s\"", "", ALL);
    let held = world.hold();
    let mut stream = world.begin("/stream/chunked", "", b"begun");
    let other = Origin::echo();
    let elsewhere =
        world.base.replace(&world._origin.address.to_string(), &other.address.to_string());
    world.reload(&elsewhere, ALL);
    eventually("new calls go elsewhere", || {
        let mut wire = Wire::connect(world.gateway.address);
        wire.send(b"GET /held?now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        wire.read_until(PATIENCE, |_| false);
        !other.records().is_empty()
    });
    // Both were judged by then or are in the next tick; one that is not admitted shows when.
    world.reload(&elsewhere, &format!("{ALL}{NO_STREAMS}"));
    assert!(stream.read_until(PATIENCE, |_| false).1 != End::Open);
    world.goes_on(held);
    assert_eq!(ends(&world.recorded()), ["withdrawn 200 policy.forbidden"]);
}

const KEY: &str = "caio_0123456789abcdef0123456789abcdef";

#[test]
fn what_is_revoked_of_a_caller_ends_what_it_runs() {
    let folder = Scratch::new();
    let hash: String = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    let entry = |name: &str, hash: &str| {
        format!("[[keys]]\nprincipal = \"{name}\"\nhash = \"sha256:{hash}\"\nowner = \"us\"\n")
    };
    let file = folder.write("keys.toml", &entry("a", &hash));
    let other = folder.write("other.toml", &entry("b", &"0".repeat(64)));
    let identity = |file: &Path| {
        format!(
            "{ALL}[[identities]]\nname = \"keys\"\nkind = \"api_key\"\nfile = \"{}\"\n\
             header = \"x-key\"\n",
            file.display()
        )
    };
    let identify = "identify = [\"keys\", \"anonymous\"]\n";
    let grace = "revoked_stream_grace = \"0s\"";
    let mut world = World::start(grace, identify, &identity(&file));
    let held = world.hold();
    let mut stream = world.begin("/stream/chunked", &format!("X-Key: {KEY}\r\n"), b"begun");
    world.reload(&world.base.replace(", \"anonymous\"", ""), &identity(&other));
    assert!(stream.read_until(PATIENCE, |_| false).1 != End::Open);
    // Who has shown nothing is not to be served any more either.
    let mut held = held;
    let (bytes, _) = held.read_until(PATIENCE, whole);
    assert_eq!(strict::responses(&bytes).unwrap()[0].status, 401);
    world.let_go.store(true, Ordering::SeqCst);
    let ended = ends(&world.recorded());
    assert_eq!(ended, ["refused 401 credential.missing", "withdrawn 200 credential.invalid"]);
}

const GRPC: &str = r#"contract = "caio/1"
service = "test.grpc"
version = "1.0.0"
[[offers]]
capability = "test.grpc/1"
interface = { grpc = "test.v1.Echo" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_stream_hears_why_it_ends_and_its_service_hears_that() {
    let (echo, trail) = (Echo::start().await, Scratch::new());
    let base = format!(
        "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 1\n\
         [audit]\ndirectory = \"{}\"\n[timeouts]\nrevoked_stream_grace = \"0s\"\n[[listeners]]\n\
         address = \"127.0.0.1:0\"\n[[services]]\ncontract = \"grpc.toml\"\n\
         endpoints = [\"{}\"]\n",
        trail.path().display(),
        echo.address
    );
    let config = format!("{base}{ALL}");
    let files = [("caio.toml", &*config), ("vocabulary.toml", VOCABULARY), ("grpc.toml", GRPC)];
    let mut gateway = Gateway::start_on(&files);
    let endpoint = Channel::from_shared(format!("http://{}", gateway.address)).unwrap();
    let mut client = Grpc::new(within(endpoint.connect()).await.unwrap());
    client.ready().await.unwrap();
    let (ask, asked) = tokio::sync::mpsc::channel(1);
    let asked = Request::new(tokio_stream::wrappers::ReceiverStream::new(asked));
    let path = |method: &str| format!("/test.v1.Echo/{method}").parse().unwrap();
    let answer = client.streaming(asked, path("Talk"), BytesCodec);
    let mut answer = within(answer).await.unwrap().into_inner();
    ask.send("word".into()).await.unwrap();
    assert_eq!(within(answer.next()).await.unwrap().unwrap(), "word");
    let forbid = NO_STREAMS.replace("test.stream/1", "test.grpc/1");
    std::fs::write(gateway.folder().join("caio.toml"), format!("{base}{ALL}{forbid}")).unwrap();
    gateway.reload();
    let why = within(answer.next()).await.unwrap().unwrap_err();
    assert_eq!(why.code(), Code::PermissionDenied);
    assert!(why.message().contains("rule `no-streams` forbids it"), "{why}");
    // Whoever asks on hears at the end that nobody listens.
    within(async { while ask.send("more".into()).await.is_ok() {} }).await;
    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(ends(&checked(trail.path())), ["withdrawn 200 policy.forbidden"]);
}
