//! `caio audit` and `caio explain` on trails that the real binary writes, meanwhile and after.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use serde_json::Value as Json;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use support::origin::{Answer, Origin};
use support::{Gateway, PATIENCE, Scratch, VOCABULARY, Wire, eventually, exchange, nowhere};

/// Two services, of which the preferred one is never there; what they demand is of every type that
/// records have numbers for.
fn world(origin: std::net::SocketAddr, trail: &Path, more: &str) -> String {
    let (dead, trail) = (nowhere(), trail.display());
    format!(
        r#"config = "caio/1"
vocabulary = "vocabulary.toml"

[process]
workers = 2

[audit]
directory = "{trail}"
{more}

[[listeners]]
address = "127.0.0.1:0"

[[routes]]
id = "jobs"
operation = "* /jobs/*"
audit = {{ payload = "sizes", fields = ["content-length"], body_bytes = "8B" }}
capability = "test/1"
needs = ['speed >= 1']

[[services]]
endpoints = ["{dead}"]
[services.contract]
contract = "caio/1"
service = "test.dead"
version = "1.0.0"
[[services.contract.offers]]
capability = "test/1"
interface = {{ http = ["* /others/*"] }}
[services.contract.offers.demands]
kind = 'tenant == "a" || tenant.startsWith("dead-")'
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
interface = {{ http = ["* /others/*"] }}
[services.contract.offers.demands]
size = "request.bytes <= 1KiB"
[[services.contract.offers.promises]]
speed = ">= 3"
region = 'within "eu"'
"#
    )
}

fn vocabulary() -> String {
    let more = r#"
[[attributes]]
name = "speed"
side = "promise"
type = "int"

[[attributes]]
name = "tenant"
side = "request"
type = "text"
source = "header:x-tenant"
sensitive = true

[[attributes]]
name = "region"
side = "promise"
type = "region"
tree = { eu = { de = {}, fr = {} }, us = {} }
"#;
    format!("{VOCABULARY}{more}")
}

fn caio(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_caio")).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn fine(args: &[&str]) -> String {
    let (code, out, err) = caio(args);
    assert_eq!(code, 0, "{args:?}\n{out}\n{err}");
    out
}

fn lines(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn get(gateway: &Gateway, path: &str, fields: &str) -> support::Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    exchange(gateway.address, request.as_bytes(), usize::MAX)
}

/// A trail of two processes: in the first a retry, a denial and a refusal; in the second one call.
struct Story {
    _kept: Scratch,
    trail: PathBuf,
    key: String,
}

fn start(trail: &Path, origin: &Origin) -> Gateway {
    start_with(trail, origin, "")
}

fn start_with(trail: &Path, origin: &Origin, more: &str) -> Gateway {
    let caio = world(origin.address, trail, more);
    Gateway::start_on(&[("caio.toml", &caio), ("vocabulary.toml", &vocabulary())])
}

fn story() -> &'static Story {
    static STORY: OnceLock<Story> = OnceLock::new();
    STORY.get_or_init(|| {
        let kept = Scratch::new();
        let trail = kept.path().join("trail");
        let origin = Origin::scripted(|_| Answer::ok());
        let mut gateway = start(&trail, &origin);
        let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
        assert_eq!(
            get(&gateway, "/jobs/a", &format!("X-Tenant: a\r\n{trace}")).status(),
            Some(200)
        );
        let narrower = "CAIO-Require: \"speed >= 2\"\r\n";
        assert_eq!(
            get(&gateway, "/jobs/b", &format!("X-Tenant: b\r\n{narrower}")).status(),
            Some(200)
        );
        assert_eq!(
            get(&gateway, "/jobs/c", "CAIO-Require: \"speed >= 9\"\r\n").status(),
            Some(503)
        );
        assert_eq!(get(&gateway, "/nowhere", "").status(), Some(404));
        gateway.terminate();
        assert_eq!(gateway.wait(), Some(0));
        let mut gateway = start(&trail, &origin);
        assert_eq!(get(&gateway, "/jobs/z", "X-Tenant: z\r\n").status(), Some(200));
        gateway.terminate();
        assert_eq!(gateway.wait(), Some(0));
        let key = std::fs::read_to_string(trail.join("log-key.pub")).unwrap();
        let key = key.lines().next().unwrap().to_owned();
        Story { _kept: kept, trail, key }
    })
}

fn trail() -> &'static str {
    story().trail.to_str().unwrap()
}

fn query(more: &[&str]) -> Vec<Json> {
    lines(&fine(&[&["audit", "query", "--json", "-t", trail()], more].concat()))
}

/// A verb that goes on, and what it said.
struct Following {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Following {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caio"));
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (told, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for such a line; all until then.
    fn lines_until(&mut self, wanted: impl Fn(&str) -> bool) -> &[String] {
        while !self.seen.last().is_some_and(|line| wanted(line)) {
            self.seen.push(self.lines.recv_timeout(support::PATIENCE).unwrap());
        }
        &self.seen
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn query_finds_by_every_field_and_nothing_else() {
    let all = query(&[]);
    assert_eq!(all.len(), 6, "a retry is a decision of its own: {all:#?}");
    let count = |more: &[&str]| query(more).len();
    assert_eq!(count(&["--verdict", "deny"]), 1);
    assert_eq!(count(&["--verdict", "refuse"]), 1);
    assert_eq!(count(&["--service", "test.dead"]), 1);
    assert_eq!(count(&["--service", "test.echo"]), 3);
    assert_eq!(count(&["--service", "test.ech"]), 0);
    assert_eq!(count(&["--capability", "test/1"]), 5);
    assert_eq!(count(&["--reason", "contract.unsatisfied"]), 1);
    assert_eq!(count(&["--status", "2xx"]), 3);
    assert_eq!(count(&["--status", "404"]), 1);
    assert_eq!(count(&["--caller", "anonymous"]), 6);
    assert_eq!(count(&["--caller", "someone"]), 0);
    assert_eq!(count(&["--since", "1h"]), 6);
    assert_eq!(count(&["--until", "1h"]), 0);
    assert_eq!(count(&["--limit", "2"]), 2);
    assert_eq!(count(&["--trace", "0af7651916cd43dd8448eb211c80319c"]), 2);
    let id = all[0]["request_id"].as_str().unwrap();
    assert_eq!(count(&["--request-id", id]), 2, "both attempts");
    assert!(all.iter().all(|it| it["signed"] == true));
    // As a table, aligned.
    let table = fine(&["audit", "query", "-t", trail()]);
    let starts: Vec<_> = table.lines().map(|line| line.find("test/1")).collect();
    assert!(starts.iter().flatten().all(|at| Some(at) == starts[1].as_ref()), "{table}");
    let (code, _, err) = caio(&["audit", "query", "-t", trail(), "--verdict", "perhaps"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn tail_shows_the_newest() {
    let newest = lines(&fine(&["audit", "tail", "-n", "1", "--json", "-t", trail()]));
    assert_eq!(newest.len(), 1);
    assert_eq!((newest[0]["boot"].as_u64(), &newest[0]["service"]), (Some(1), &"test.echo".into()));
}

#[test]
fn show_names_everything_and_finds_the_retry() {
    let all = query(&["--trace", "0af7651916cd43dd8448eb211c80319c"]);
    let ids: Vec<&str> = all.iter().map(|it| it["id"].as_str().unwrap()).collect();
    let first = fine(&["audit", "show", "-t", trail(), ids[0]]);
    let second: Json =
        serde_json::from_str(&fine(&["audit", "show", "--json", "-t", trail(), ids[1]])).unwrap();
    for words in ["route to test.dead", "tenant == \"a\"", "speed >= 1", "w", "signed"] {
        assert!(first.contains(words), "{words} in\n{first}");
    }
    assert_eq!(second["attempts"], serde_json::json!(ids));
    assert_eq!(second["attempt_before"], ids[0]);
    assert_eq!(second["tried"], serde_json::json!(["test.dead"]));
    assert_eq!((second["route"].as_str(), second["status"].as_u64()), (Some("jobs"), Some(200)));
    assert_eq!(second["outcome"]["ending"], "whole");
    assert_eq!(second["outcome"]["response_body_bytes"], 2);
    assert!(second["outcome"]["endpoint"].as_str().unwrap().starts_with("127.0.0.1:"));
    // The header's value finds it as well; without a process, the newest that has one is taken.
    let header = format!("{}; boot=0; snapshot=x; service=y", ids[1].split('@').next().unwrap());
    let again = fine(&["audit", "show", "--json", "-t", trail(), &header]);
    assert_eq!(serde_json::from_str::<Json>(&again).unwrap(), second);
    let (code, _, err) = caio(&["audit", "show", "-t", trail(), "w0-99@0"]);
    assert_eq!((code, err.contains("no decision w0-000000000099@0")), (1, true), "{err}");
}

#[test]
fn explain_tells_a_recorded_decision_from_the_trail_alone() {
    let routed = query(&["--service", "test.echo"]);
    let id = routed[1]["id"].as_str().unwrap();
    let told = fine(&["explain", "-t", trail(), id]);
    assert!(told.contains("chosen      test.echo: nobody else is eligible"), "{told}");
    assert!(told.contains("test.dead  no   demand: tenant"), "{told}");
    let denied = query(&["--verdict", "deny"]);
    let id = denied[0]["id"].as_str().unwrap();
    let (code, told, _) = caio(&["explain", "--json", "-t", trail(), id]);
    let told: Json = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (code, &told["refused"]["stage"], &told["differs"]),
        (1, &"guarantee".into(), &Json::Null)
    );
    let clauses = told["candidates"].as_array().unwrap().iter().map(|it| &it["failure"]["clause"]);
    assert!(clauses.clone().any(|it| *it == "speed >= 9"), "{told:#}");
    let refused = query(&["--verdict", "refuse"]);
    let (code, told, _) = caio(&["explain", "-t", trail(), refused[0]["id"].as_str().unwrap()]);
    assert_eq!((code, told.contains("route.unknown")), (1, true), "{told}");
}

#[test]
fn verify_finds_the_trail_sound_and_replay_decides_alike() {
    let told: Json =
        serde_json::from_str(&fine(&["audit", "verify", "--json", "-t", trail()])).unwrap();
    assert_eq!((&told["decisions"], &told["outcomes"]), (&6.into(), &6.into()), "{told:#}");
    assert_eq!((&told["processes"], &told["segment_keys"]), (&2.into(), &2.into()));
    assert!(fine(&["audit", "verify", "-t", trail(), "--key", &story().key]).contains("one piece"));
    let told: Json =
        serde_json::from_str(&fine(&["audit", "replay", "--json", "-t", trail()])).unwrap();
    assert_eq!((&told["replayed"], &told["refused_beside"]), (&5.into(), &1.into()), "{told:#}");
}

#[test]
fn a_proof_verifies_without_the_trail() {
    let kept = Scratch::new();
    let file = kept.path().join("one.tlog-proof");
    let file = file.to_str().unwrap();
    let all = query(&[]);
    let id = all[5]["id"].as_str().unwrap();
    fine(&["audit", "prove", "-t", trail(), "-o", file, id]);
    let told = fine(&["audit", "verify-proof", "--key", &story().key, file, id]);
    assert!(told.contains("decided route for anonymous"), "{told}");
    let (code, _, err) = caio(&["audit", "verify-proof", "--key", &story().key, file, "w7-9"]);
    assert_eq!(code, 1, "{err}");
}

#[test]
fn export_speaks_the_names_of_opentelemetry() {
    let all = lines(&fine(&["audit", "export", "-t", trail()]));
    assert_eq!(all.len(), 6);
    let traced: Vec<&Json> =
        all.iter().filter(|it| it["trace_id"] == "0af7651916cd43dd8448eb211c80319c").collect();
    let answered = traced.iter().find(|it| it["attributes"]["caio.service"] == "test.echo");
    let answered = answered.unwrap();
    let attributes = &answered["attributes"];
    assert_eq!(answered["severity_text"], "INFO");
    assert_eq!(attributes["http.response.status_code"], 200);
    assert_eq!(attributes["http.route"], "jobs");
    assert_eq!(attributes["server.address"], "127.0.0.1");
    assert_eq!(attributes["http.response.body.size"], 2);
    assert!(all.iter().any(|it| it["attributes"]["error.type"] == "contract.unsatisfied"));
}

/// Sends calls one behind the other, and waits for all answers.
fn pipelined(wire: &mut Wire, call: &str, count: usize) {
    wire.send(call.repeat(count).as_bytes());
    let (bytes, _) = wire.read_until(PATIENCE, |bytes| answers(bytes) == count);
    assert_eq!(answers(&bytes), count);
}

fn answers(bytes: &[u8]) -> usize {
    bytes.windows(13).filter(|it| it.starts_with(b"HTTP/1.1 ") && it[12] == b' ').count()
}

/// Segments that the real writer rolls and gives up: nothing that is left is missed.
#[test]
fn segments_that_rolled_and_went_are_read_as_one_trail() {
    let kept = Scratch::new();
    let trail = kept.path().join("trail");
    let origin = Origin::scripted(|_| Answer::ok());
    let more = "segment_bytes = \"1MiB\"\nretention_bytes = \"3MiB\"";
    let mut gateway = start_with(&trail, &origin, more);
    let directory = trail.to_str().unwrap();
    let firsts = || -> Vec<String> {
        let names = std::fs::read_dir(trail.join("segments")).unwrap();
        let mut names: Vec<String> =
            names.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let mut wire = Wire::connect(gateway.address);
    let began = std::time::Instant::now();
    while firsts()[0].starts_with("00000000000000000000") || firsts().len() < 3 {
        assert!(began.elapsed() < 3 * PATIENCE, "{:?}", firsts());
        pipelined(&mut wire, "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 200);
        assert_eq!(get(&gateway, "/jobs/a", "X-Tenant: z\r\n").status(), Some(200));
    }
    support::eventually("it is verified beside its writer", || {
        let (code, out, err) = caio(&["audit", "verify", "-t", directory]);
        // Retention may still take a segment that was to be read.
        assert!(code == 0 || err.contains("retention took it meanwhile"), "{out}\n{err}");
        code == 0
    });
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let told: Json =
        serde_json::from_str(&fine(&["audit", "verify", "--json", "-t", directory])).unwrap();
    let decisions = told["decisions"].as_u64().unwrap();
    // The verifier that shares no code with this one counts the same. Decisions, not outcomes: of a
    // segment that went, the first that is left may hold the outcomes.
    let checked = Command::new(env!("CARGO_BIN_EXE_caio-check"));
    let checked = { checked }.args([directory, "--json"]).output().unwrap();
    let said: Json = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{said:#}");
    let counted = ["routes", "denials", "refusals"].map(|it| said[it].as_u64().unwrap());
    assert_eq!(counted.iter().sum::<u64>(), decisions, "{said:#}");
    let query = |more: &[&str]| {
        lines(&fine(
            &[&["audit", "query", "--json", "-t", directory, "-n", "999999"], more].concat(),
        ))
    };
    let all = query(&[]);
    assert_eq!(all.len() as u64, decisions, "{told:#}");
    assert!(all.iter().all(|it| !it["outcome"].is_null() && it["signed"] == true));
    let routed = query(&["--verdict", "route"]);
    fine(&["audit", "replay", "-t", directory]);
    // The first that is left, one from the middle, and the last are found by their ids.
    for id in [&all[0], &routed[routed.len() / 2], all.last().unwrap()].map(|it| &it["id"]) {
        let id = id.as_str().unwrap();
        let told = fine(&["audit", "show", "--json", "-t", directory, id]);
        assert_eq!(serde_json::from_str::<Json>(&told).unwrap()["id"], id);
        let proof = fine(&["audit", "prove", "-t", directory, id]);
        let file = kept.write("p", &proof);
        let key = trail.join("log-key.pub");
        let (file, key) = (file.to_str().unwrap(), key.to_str().unwrap());
        fine(&["audit", "verify-proof", "--key", key, file, id]);
    }
    let since = all[all.len() / 2]["time"].as_str().unwrap();
    let half = query(&["--since", since]);
    assert!(half.len() + 300 > all.len() / 2 && half.len() < all.len() / 2 + 300, "{}", half.len());
}

#[test]
fn a_trail_that_is_being_written_is_read_beside_its_writer() {
    let kept = Scratch::new();
    let trail = kept.path().join("trail");
    let origin = Origin::scripted(|_| Answer::ok());
    let mut gateway = start(&trail, &origin);
    let trail = trail.to_str().unwrap();
    for number in 0..50 {
        let path = format!("/jobs/{number}");
        assert_eq!(get(&gateway, &path, "X-Tenant: z\r\n").status(), Some(200));
        if number % 10 == 0 {
            fine(&["audit", "query", "-t", trail]);
            fine(&["audit", "verify", "-t", trail]);
        }
    }
    let ended = |it: &Json| it["status"] == 200;
    let all = || lines(&fine(&["audit", "query", "--json", "-t", trail]));
    eventually("all are on the trail", || all().iter().filter(|it| ended(it)).count() == 50);
    eventually("all are signed", || all().iter().all(|it| it["signed"] == true));
    let id = all()[20]["id"].as_str().unwrap().to_owned();
    fine(&["audit", "prove", "-t", trail, &id]);
    fine(&["audit", "prove", "--outcome", "-t", trail, &id]);
    // Whoever follows sees what comes, once and soon.
    for verb in ["tail", "export"] {
        let mut following = Following::start(&["audit", verb, "--json", "-f", "-t", trail]);
        let before = following.lines_until(|line| line.contains(&id) || verb == "tail");
        assert!(!before.is_empty());
        let ids = || -> Vec<String> {
            let ended = all().into_iter().filter(|it| ended(it));
            ended.map(|it| it["id"].as_str().unwrap().to_owned()).collect()
        };
        let known = ids();
        assert_eq!(get(&gateway, &format!("/jobs/{verb}"), "X-Tenant: z\r\n").status(), Some(200));
        eventually("it is on the trail", || ids().len() > known.len());
        let id = ids().into_iter().find(|id| !known.contains(id)).unwrap();
        following.lines_until(|line| line.contains(&id));
        let again = following.seen.iter().filter(|line| line.contains(&id)).count();
        assert_eq!(again, 1);
    }
    fine(&["audit", "replay", "-t", trail]);
    // What is erased beside the writer is gone, and the writer does not mind.
    assert!(fine(&["audit", "show", "-t", trail, &id]).contains("tenant"));
    let erased = fine(&["audit", "erase", "--yes", "-t", trail, &id]);
    assert!(erased.contains("erased 1 opening of 1 decision"), "{erased}");
    let told = fine(&["audit", "show", "-t", trail, &id]);
    assert!(told.contains("tenant is hidden, and its opening is erased"), "{told}");
    gateway.assert_sound();
    gateway.kill();
    gateway.wait();
    let told: Json =
        serde_json::from_str(&fine(&["audit", "verify", "--json", "-t", trail])).unwrap();
    assert_eq!((&told["decisions"], &told["open"]), (&52.into(), &0.into()), "{told:#}");
}
