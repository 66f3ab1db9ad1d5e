//! The durable trail, written by the real binary: what happened is on it, nothing twice, nothing
//! missing, signed; also after SIGKILL, and when the disk fails and comes back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use caio::audit::frame;
use caio::audit::note::LogVerifier;
use caio::audit::record::{self, Decision, Ending, NO_PARENT, NONE, Record, Verdict, WRITER_LANE};
use caio::audit::tree::Tree;
use caio::compiler::stored;
use caio::exchange::refusal::Reason;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::h2::{Connection, head};
use support::origin::{Answer, Origin};
use support::{
    End, Gateway, PATIENCE, Protocol, Scratch, VOCABULARY, Wire, eventually, exchange, nowhere,
    reply,
};

/// One process of the trail.
#[derive(Default)]
struct Boot {
    lanes: u16,
    decisions: BTreeMap<(u16, u64), Decision<'static>>,
    outcomes: BTreeMap<(u16, u64), (u16, Ending)>,
    /// The landscape lines of each dictionary.
    dictionaries: BTreeMap<(u16, u32), String>,
    /// A record said what the next landscape differs in.
    delta: bool,
    lost: u64,
    closed: BTreeSet<u16>,
    /// What the next process said was open.
    open: BTreeMap<u16, Vec<u64>>,
}

struct Trail {
    boots: Vec<Boot>,
    frames: u64,
    checkpointed: u64,
}

impl Boot {
    fn outcome(&self, place: (u16, u64)) -> (u16, Ending) {
        self.outcomes[&place]
    }

    /// The decisions that say this verdict, with their outcomes.
    fn with(&self, verdict: Verdict) -> Vec<(&Decision<'static>, (u16, Ending))> {
        let all = self.decisions.iter().filter(|(_, decision)| decision.verdict == verdict);
        all.map(|(place, decision)| (decision, self.outcome(*place))).collect()
    }
}

fn owned(decision: &Decision<'_>) -> Decision<'static> {
    Decision {
        tried: decision.tried.to_vec().into(),
        facts: decision.facts.to_vec().into(),
        hidden: decision.hidden.to_vec().into(),
        caller: decision.caller.to_vec().into(),
        ..Decision {
            tried: [][..].into(),
            facts: [][..].into(),
            hidden: [][..].into(),
            caller: [][..].into(),
            ..*decision
        }
    }
}

/// Reads a trail and fails the test on whatever does not fit together. Where the process still
/// runs, `torn` allows an end that is not whole.
fn read(directory: &Path, torn: bool) -> Trail {
    let key = std::fs::read_to_string(directory.join("log-key.pub")).unwrap();
    let note = std::fs::read_to_string(directory.join("checkpoint")).unwrap();
    let checkpoint = LogVerifier::read(&key).unwrap().open(&note).expect("it is signed");
    let mut names: Vec<_> = std::fs::read_dir(directory.join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let (mut tree, mut number, mut files) = (Tree::default(), 0, Vec::new());
    let mut trail = Trail { boots: Vec::new(), frames: 0, checkpointed: checkpoint.size };
    for (at, name) in names.iter().enumerate() {
        assert_eq!(*name, format!("{number:020}.trail"));
        let bytes = std::fs::read(directory.join("segments").join(name)).unwrap();
        let mut rest = &bytes[..];
        while let Some(frame) = frame::take(&mut rest) {
            assert_eq!(frame.number, number);
            let mut body = frame.body;
            for _ in 0..frame.records {
                let (place, record) = record::take(&mut body).expect("a whole record");
                follow(directory, &mut trail.boots, place, record, number);
            }
            assert!(body.is_empty());
            tree.append(&frame.digest, &mut files);
            number += 1;
            if number == checkpoint.size {
                assert_eq!(tree.root(), checkpoint.root, "the signed root");
                files.extend(tree.partial());
                for tile in files.drain(..) {
                    let stored = std::fs::read(directory.join(&tile.path));
                    assert_eq!(stored.unwrap(), tile.bytes, "{}", tile.path);
                }
            }
        }
        assert!(rest.is_empty() || torn && at + 1 == names.len(), "{name} has a torn end");
    }
    assert!(number >= checkpoint.size);
    trail.frames = number;
    trail
}

fn follow(
    directory: &Path,
    boots: &mut Vec<Boot>,
    place: record::Place,
    record: Record<'_>,
    frame: u64,
) {
    let record::Place { lane, sequence } = place;
    let count = boots.len() as u64;
    if let Record::Key(key) = record {
        assert_eq!((key.size, lane, sequence), (frame, WRITER_LANE, frame));
        return;
    }
    if let Record::Boot { boot, lanes, .. } = record {
        assert_eq!((boot, lane, sequence), (count, WRITER_LANE, 0));
        boots.push(Boot { lanes, ..Boot::default() });
        return;
    }
    let before = boots.len().checked_sub(2);
    let boot = boots.last_mut().expect("a boot first");
    let next = boot.decisions.keys().filter(|key| key.0 == lane).count() as u64 + boot.lost;
    assert!(!boot.closed.contains(&lane), "nothing comes behind a close");
    match record {
        Record::Boot { .. }
        | Record::Key(_)
        | Record::State { .. }
        | Record::LaneState { .. }
        | Record::Payload { .. }
        | Record::Changed(_)
        | Record::Queried(_)
        | Record::Breach(_)
        | Record::Retention { .. } => {}
        Record::Joined { .. } => panic!("nobody takes over here"),
        Record::Asked(_) => assert_eq!(sequence, next, "hooks are asked before the decision"),
        Record::Delta { .. } => boot.delta = true,
        // What it differs in from the one before stood before it: `caio-check` makes it again.
        Record::Snapshot { .. } if std::mem::take(&mut boot.delta) => {}
        Record::Snapshot { digest, .. } => {
            let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let file = directory.join("snapshots").join(format!("{name}.landscape"));
            let text = std::fs::read_to_string(file).unwrap();
            assert_eq!(*stored::snapshot(&text).unwrap().digest(), digest);
            assert!(text.starts_with("caio-landscape/2 caio-sem/1\n"));
        }
        Record::Epoch { states, .. } => assert!(!states.is_empty()),
        Record::Adoption { .. } => assert_eq!(sequence, next),
        Record::Dictionary { id, text, .. } => {
            let text = String::from_utf8(text.into_owned()).unwrap();
            // A segment inside of a process says it again.
            let known = boot.dictionaries.insert((lane, id), text.clone());
            assert!(known.is_none_or(|known| known == text));
        }
        Record::Decision(decision) => {
            assert_eq!(sequence, next, "no gap in lane {lane}");
            let known = boot.dictionaries.contains_key(&(lane, decision.dictionary));
            assert!(known || decision.dictionary == 0);
            boot.decisions.insert((lane, sequence), owned(&decision));
        }
        Record::Outcome(outcome) => {
            let decision = &boot.decisions[&(lane, sequence)];
            assert!(outcome.monotonic_ns >= decision.monotonic_ns);
            let end = (outcome.status, outcome.ending);
            let kept = boot.outcomes.insert((lane, sequence), end);
            assert_eq!(kept, None, "one outcome");
        }
        Record::Gap { decisions, outcomes } => {
            assert_eq!((sequence, decisions), (next, outcomes));
            boot.lost += decisions;
        }
        Record::Close { decisions, outcomes, .. } => {
            if lane == WRITER_LANE {
                assert_eq!((decisions, boot.closed.len()), (frame + 1, boot.lanes.into()));
                assert_eq!(boot.decisions.len(), boot.outcomes.len(), "one outcome each");
            } else {
                assert_eq!((decisions, outcomes), (next, next));
            }
            boot.closed.insert(lane);
        }
        Record::Crash { boot: number, open } => {
            assert_eq!(number, count - 2);
            let before = &mut boots[before.unwrap()];
            let decisions = before.decisions.keys().filter(|key| key.0 == lane).count();
            assert_eq!(sequence, decisions as u64);
            before.open.entry(lane).or_default().extend(open.iter());
        }
    }
    for boot in boots.iter().rev().skip(1) {
        let waiting = boot.decisions.keys().filter(|place| !boot.outcomes.contains_key(place));
        let waiting: Vec<_> = waiting.copied().collect();
        let open = boot.open.iter().flat_map(|(lane, open)| open.iter().map(|one| (*lane, *one)));
        let open: Vec<_> = open.collect();
        // The crash records of a boot come one after the other, all before anything else.
        assert!(matches!(place.lane, lane if lane != WRITER_LANE) || open == waiting);
    }
}

fn audited(directory: &Path, more: &str) -> String {
    format!("\n[audit]\ndirectory = \"{}\"\n{more}\n", directory.display())
}

fn get(gateway: &Gateway, path: &str, fields: &str) -> support::Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
    exchange(gateway.address, request.as_bytes(), usize::MAX)
}

/// Two services of which the first cannot be reached, with promises and demands.
fn world(origin: std::net::SocketAddr, audit: &str) -> String {
    let dead = nowhere();
    format!(
        r#"config = "caio/1"
vocabulary = "vocabulary.toml"

[process]
workers = 2

[[listeners]]
address = "127.0.0.1:0"

[[services]]
endpoints = ["{dead}"]
[services.contract]
contract = "caio/1"
service = "test.dead"
version = "1.0.0"
[[services.contract.offers]]
capability = "test/1"
interface = {{ http = ["* /jobs/*"] }}
[[services.contract.offers.promises]]
speed = ">= 5"

[[services]]
endpoints = ["{origin}"]
tier = 1
[services.contract]
contract = "caio/1"
service = "test.echo"
version = "1.0.0"
[[services.contract.offers]]
capability = "test/1"
interface = {{ http = ["* /jobs/*"] }}
[services.contract.offers.demands]
size = "request.bytes <= 1KiB"
[[services.contract.offers.promises]]
speed = ">= 3"
{audit}"#
    )
}

fn vocabulary() -> String {
    format!("{VOCABULARY}\n[[attributes]]\nname = \"speed\"\nside = \"promise\"\ntype = \"int\"\n")
}

#[test]
fn what_happened_is_on_the_trail_with_one_outcome_each() {
    let kept = Scratch::new();
    let origin = Origin::scripted(|request| match request.target.as_str() {
        "/jobs/cut" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        "/jobs/bad" => Answer::raw("HTTP/1.1 2x0 OK\r\n\r\n"),
        _ => Answer::ok(),
    });
    // The dead one is asked every time.
    let patient = "[outlier]\nconsecutive_5xx = 0\nconsecutive_gateway_failure = 0\n";
    let audited = audited(&kept.path().join("trail"), "");
    let caio = world(origin.address, &format!("{audited}\n{patient}"));
    let files = [("caio.toml", caio.as_str()), ("vocabulary.toml", &vocabulary())];
    let mut gateway = Gateway::start_on(&files);
    // Each to the dead one first, then to the other.
    assert_eq!(get(&gateway, "/jobs/a", "X-Request-ID: foreign\r\n").status(), Some(200));
    assert_eq!(get(&gateway, "/jobs/a", "CAIO-Require: \"speed >= 2\"\r\n").status(), Some(200));
    assert_eq!(get(&gateway, "/jobs/a", "CAIO-Require: \"speed >= 2\"\r\n").status(), Some(200));
    let bad = get(&gateway, "/jobs/bad", "");
    assert_eq!(bad.status(), Some(502));
    // The origin ends half way through the answer.
    let mut wire = Wire::connect(gateway.address);
    wire.send(b"GET /jobs/cut HTTP/1.1\r\nHost: a\r\n\r\n");
    let (_, end) = wire.read_until(PATIENCE, |_| false);
    assert_ne!(end, End::Open);
    // Refusals: no route, nobody promises, a malformed requirement, a method that is not served.
    assert_eq!(get(&gateway, "/nowhere", "").status(), Some(404));
    assert_eq!(get(&gateway, "/jobs/a", "CAIO-Require: \"speed >= 9\"\r\n").status(), Some(503));
    assert_eq!(get(&gateway, "/jobs/a", "CAIO-Require: \"speed >=\"\r\n").status(), Some(400));
    let trace = b"TRACE /jobs/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(gateway.address, trace, usize::MAX).status(), Some(405));
    // HTTP/2 takes the same way.
    let mut http2 = Connection::open(gateway.address);
    assert!(http2.call(1, &head("GET", "/jobs/a", &[])));
    drop(http2);
    // A caller that leaves in the middle of its body.
    let mut wire = Wire::connect(gateway.address);
    wire.send(b"POST /jobs/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    eventually("the half is forwarded", || origin.has_seen(b"half"));
    drop(wire);
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));

    let trail = read(&kept.path().join("trail"), false);
    assert_eq!(trail.boots.len(), 1);
    assert_eq!(trail.checkpointed, trail.frames);
    let boot = &trail.boots[0];
    assert_eq!(boot.closed.len(), 3, "two lanes and the writer: {:?}", boot.closed);
    let routed = boot.with(Verdict::Route);
    let whole: Vec<_> = routed.iter().filter(|(_, end)| *end == (200, Ending::Whole)).collect();
    assert_eq!(whole.len(), 4, "{routed:#?}");
    for (decision, _) in &whole {
        assert_eq!((decision.attempt, decision.tier, decision.service), (1, 1, 1));
        assert_eq!(*decision.tried, [0]);
        let parent = boot.decisions.iter().find(|((_, sequence), first)| {
            *sequence == decision.parent && first.request_id == decision.request_id
        });
        let (place, parent) = parent.expect("the first attempt");
        assert_eq!((parent.attempt, parent.parent, parent.service), (0, NO_PARENT, 0));
        assert_eq!(boot.outcome(*place), (0, Ending::CutOff));
        assert_eq!((parent.seed, parent.dictionary), (decision.seed, decision.dictionary));
        assert_eq!(*decision.facts, [(0, 0)], "its body has no bytes");
        assert_eq!(*decision.caller, *b"anonymous");
    }
    let with_header = whole.iter().filter(|(decision, _)| decision.dictionary > 0).count();
    assert_eq!(with_header, 2);
    let lines: BTreeSet<&str> = boot.dictionaries.values().map(String::as_str).collect();
    assert!(lines.iter().any(|line| line.starts_with("need \"caio-require\" \"speed >= 2\" ")));
    let cut = routed.iter().filter(|(it, end)| it.attempt == 1 && end.1 == Ending::CutOff).count();
    assert_eq!(cut, 2, "the service that ended and the caller that left");
    let refused: Vec<_> = routed.iter().filter(|(_, end)| end.1 == Ending::Refused).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].1, (502, Ending::Refused));

    let denied = boot.with(Verdict::Deny);
    assert_eq!(denied.len(), 1);
    let (decision, end) = &denied[0];
    assert_eq!((decision.stage, decision.service, *end), (3, NONE, (503, Ending::Refused)));
    assert_eq!(decision.survivors[..4], [2, 2, 2, 0]);
    let reason = |decision: &Decision<'_>| Reason::ALL[usize::from(decision.reason) - 1];
    assert_eq!(reason(decision), Reason::Unsatisfied);
    let others = boot.with(Verdict::Refuse);
    let reasons: BTreeSet<Reason> = others.iter().map(|(decision, _)| reason(decision)).collect();
    let expected = [Reason::RouteUnknown, Reason::RequirementInvalid, Reason::MethodRefused];
    assert_eq!(reasons, BTreeSet::from(expected));
    assert!(others.iter().all(|(_, end)| end.1 == Ending::Refused));
    for (decision, _) in others.iter().filter(|(it, _)| reason(it) != Reason::RequirementInvalid) {
        assert_eq!((decision.capability, decision.needs, decision.facts.len()), (NONE, 0, 0));
    }
}

/// Exchanges that the drain cuts off have their outcome too.
#[test]
fn what_a_drain_cuts_off_is_on_the_trail() {
    let kept = Scratch::new();
    let origin = Origin::scripted(|_| Answer { bytes: Vec::new(), close: false });
    let more = "\n[timeouts]\ndrain = \"1ms\"\n".to_owned() + &audited(kept.path(), "");
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
    let mut wires: Vec<Wire> = (0..5).map(|_| Wire::connect(gateway.address)).collect();
    for wire in &mut wires {
        wire.send(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    eventually("all are forwarded", || origin.requests().len() == 5);
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let trail = read(kept.path(), false);
    let routed = trail.boots[0].with(Verdict::Route);
    assert_eq!(routed.len(), 5);
    assert!(routed.iter().all(|(_, end)| *end == (0, Ending::CutOff)), "{routed:#?}");
    assert!(trail.boots[0].closed.contains(&WRITER_LANE));
}

/// Callers that never stop, until told.
fn load(address: std::net::SocketAddr, stop: &AtomicBool, served: &AtomicU64) {
    let request = b"GET /load HTTP/1.1\r\nHost: a\r\n\r\n";
    while !stop.load(Ordering::Relaxed) {
        let Ok(stream) = std::net::TcpStream::connect(address) else { return };
        drop(stream);
        let mut wire = Wire::connect(address);
        for _ in 0..200 {
            if !wire.send(request) {
                break;
            }
            let (bytes, end) = wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"\r\n\r\nok"));
            if bytes.is_empty() || end != End::Open {
                break;
            }
            served.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn killed_at_any_moment_under_load_the_trail_goes_on_where_it_was() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let kills: u64 = 8;
    let mut random = fastrand::Rng::with_seed(11);
    let mut at_least = 0;
    for round in 0..=kills {
        let more = audited(kept.path(), "");
        let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
        let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
        let (stop, served) = (&stop, &served);
        let enough = random.u64(1..800);
        let address = gateway.address;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || load(address, stop, served));
            }
            // Also when the test fails here, the callers are to stop.
            let _stopping = Stopping(stop);
            eventually("requests are served", || served.load(Ordering::Relaxed) >= enough);
            if round < kills {
                gateway.kill();
            }
        });
        if round == kills {
            gateway.terminate();
            assert_eq!(gateway.wait(), Some(0));
            at_least = served.load(Ordering::Relaxed);
        } else {
            // What is durable reads well at once, before anything mends it.
            let trail = read(kept.path(), true);
            assert_eq!(trail.boots.len() as u64, round + 1);
        }
    }
    let trail = read(kept.path(), false);
    assert_eq!(trail.boots.len() as u64, kills + 1);
    let decisions: Vec<usize> = trail.boots.iter().map(|boot| boot.decisions.len()).collect();
    assert!(decisions[1..].iter().any(|count| *count > 0), "{decisions:?}");
    let last = trail.boots.last().unwrap();
    let whole = last.with(Verdict::Route).iter().filter(|it| it.1.1 == Ending::Whole).count();
    assert!(whole as u64 >= at_least, "{whole} of {at_least} served are on the trail");
}

/// A file-size limit is the disk that fails: writes end with EFBIG until it is lifted.
#[test]
fn a_disk_that_fails_refuses_new_calls_until_it_is_back_and_loses_nothing() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let mut gateway =
        Gateway::start_with(origin.address, Protocol::Http1, &audited(kept.path(), ""));
    for _ in 0..3 {
        for _ in 0..20 {
            assert_eq!(get(&gateway, "/", "").status(), Some(200));
        }
        let before = gateway.said();
        gateway.limit_files("1:unlimited");
        eventually("calls are refused", || {
            let reply = get(&gateway, "/", "");
            let refused = reply.status() == Some(503);
            if refused {
                assert_eq!(reply.responses[0].field("retry-after"), Some("1"));
            }
            refused
        });
        eventually("the operator is told once", || {
            gateway.said()[before.len()..].matches("cannot be written").count() == 1
        });
        gateway.limit_files("unlimited:unlimited");
        eventually("calls are served again", || get(&gateway, "/", "").status() == Some(200));
        eventually("and the operator knows", || {
            gateway.said()[before.len()..].matches("durable again").count() == 1
        });
    }
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let trail = read(kept.path(), false);
    let boot = &trail.boots[0];
    assert_eq!(boot.lost, 0);
    let seen = origin.requests().len();
    assert_eq!(boot.with(Verdict::Route).len(), seen, "each call that was forwarded, once");
    assert!(seen >= 63);
    let segments = std::fs::read_dir(kept.path().join("segments")).unwrap().count();
    assert!(segments >= 4, "each failure begins a new one: {segments}");
}

#[test]
fn best_effort_forwards_and_says_how_many_are_missing() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let more = audited(kept.path(), "mode = \"best-effort\"");
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
    gateway.limit_files("1:unlimited");
    for _ in 0..50 {
        assert_eq!(get(&gateway, "/", "").status(), Some(200));
    }
    eventually("it fails", || gateway.said().contains("cannot be written"));
    gateway.limit_files("unlimited:unlimited");
    eventually("it is back", || gateway.said().contains("durable again"));
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let boot = &read(kept.path(), false).boots[0];
    assert_eq!((boot.decisions.len(), boot.lost), (50, 0), "the ring held them all");
}

/// Starts on a trail that must not be continued; what it says.
fn refused(directory: &Path) -> String {
    let scratch = Scratch::new();
    scratch.write("vocabulary.toml", &vocabulary());
    let file = scratch.write("caio.toml", &world(nowhere(), &audited(directory, "")));
    let mut child = Command::new(env!("CARGO_BIN_EXE_caio"))
        .args(["run".as_ref(), "-c".as_ref(), file.as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A gateway that starts says where it listens; then it is to end, and the test with it.
    let stdout = child.stdout.take().unwrap();
    let started = BufReader::new(stdout).lines().any(|line| line.unwrap().contains("listening"));
    if started {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(!started, "it started on a trail that does not fit together");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_trail_that_is_held_or_damaged_is_not_continued() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let more = audited(kept.path(), "");
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
    assert_eq!(get(&gateway, "/", "").status(), Some(200));
    let said = refused(kept.path());
    assert!(said.contains("another process writes it"), "{said}");
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(read(kept.path(), false).boots.len(), 1);

    let segment = kept.path().join("segments/00000000000000000000.trail");
    let whole = std::fs::read(&segment).unwrap();
    for (what, spoil) in [
        ("a byte", Box::new(|bytes: &mut Vec<u8>| bytes[100] ^= 1) as Box<dyn Fn(&mut Vec<u8>)>),
        ("the end", Box::new(|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 40))),
    ] {
        let mut bytes = whole.clone();
        spoil(&mut bytes);
        std::fs::write(&segment, &bytes).unwrap();
        let said = refused(kept.path());
        let damaged = ["is damaged behind byte 0", "the checkpoint says"];
        assert!(damaged.iter().any(|it| said.contains(it)), "{what}: {said}");
    }
    std::fs::write(&segment, &whole).unwrap();
    let key = kept.path().join("log-key");
    let secret = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    assert!(refused(kept.path()).contains("log-key is missing"));
    std::fs::write(&key, &secret).unwrap();
    // Tiles follow from the frames: without them a start takes longer, and makes them again.
    std::fs::remove_dir_all(kept.path().join("tile")).unwrap();
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
    assert_eq!(get(&gateway, "/", "").status(), Some(200));
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let trail = read(kept.path(), false);
    assert_eq!(trail.boots.len(), 2);
    assert!(trail.boots[0].open.is_empty(), "a clean end leaves nothing open");
}

#[test]
fn a_reply_still_comes_within_its_time() {
    // The trail waits for nobody: a call is forwarded while its record is on its way to the disk.
    let kept = Scratch::new();
    let origin = Origin::echo();
    let more = audited(kept.path(), "commit_interval = \"1s\"");
    let gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
    let mut wire = Wire::connect(gateway.address);
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answered = reply(&mut wire, Duration::from_millis(900));
    assert_eq!(answered.status(), Some(200));
}

/// The verifier's word.
fn check(directory: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caio-check"));
    let output = command.arg(directory).arg("--json").output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn requirements_beyond_what_a_dictionary_holds_replace_the_oldest() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let caio = world(origin.address, &audited(&kept.path().join("trail"), ""));
    // Every call is repeated here, which is more than a budget of repeats is for.
    let budget =
        "tier = 0\nretry = { budget_percent = 100, budget_min = 1000 }\n[services.contract]";
    let caio = caio.replacen("[services.contract]", budget, 1);
    let caio = caio.replace("workers = 2", "workers = 1");
    let files = [("caio.toml", caio.as_str()), ("vocabulary.toml", &vocabulary())];
    let mut gateway = Gateway::start_on(&files);
    // Each to the dead one first: a further attempt asks what the one before asked.
    for number in (0..700).chain(0..3).chain([699, 0]) {
        let field = format!("CAIO-Require: \"speed >= -{number}\"\r\n");
        assert_eq!(get(&gateway, "/jobs/a", &field).status(), Some(200), "{number}");
    }
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let (code, said) = check(&kept.path().join("trail"));
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn what_a_crash_tore_is_cut_off_and_what_was_damaged_is_not() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let more = audited(kept.path(), "");
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
    let segment = kept.path().join("segments/00000000000000000000.trail");
    let length = || std::fs::metadata(&segment).unwrap().len();
    // A frame each, and all within a second: no checkpoint covers them.
    for _ in 0..5 {
        let before = length();
        assert_eq!(get(&gateway, "/", "").status(), Some(200));
        eventually("it is written", || length() > before);
    }
    gateway.kill();
    gateway.wait();
    let whole = std::fs::read(&segment).unwrap();
    let mut ends = Vec::new();
    let mut rest = &whole[..];
    while frame::take(&mut rest).is_some() {
        ends.push(whole.len() - rest.len());
    }
    assert!(ends.len() > 3, "{ends:?}");
    let mut spoilt = whole.clone();
    spoilt[ends[1] - 1] ^= 1;
    std::fs::write(&segment, &spoilt).unwrap();
    let said = refused(kept.path());
    assert!(said.contains("is damaged behind byte"), "{said}");
    assert_eq!(std::fs::read(&segment).unwrap(), spoilt, "nothing was cut");
    // The last may be torn in any way: cut short, or in its place and never written.
    let last = ends[ends.len() - 2];
    for torn in [whole[..last + 20].to_vec(), [&whole[..last], &[0; 300][..]].concat()] {
        std::fs::write(&segment, &torn).unwrap();
        let (code, said) = check(kept.path());
        assert_eq!(code, Some(3), "{said}");
    }
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
    assert_eq!(get(&gateway, "/", "").status(), Some(200));
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(length(), last as u64);
    let (code, said) = check(kept.path());
    assert_eq!(code, Some(0), "{said}");
}
