//! One program takes the place of another while calls flow: none fails, the trail stays one, and
//! whatever goes wrong with the new one leaves the old one as it was.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

#[path = "registry/client.rs"]
#[allow(dead_code, reason = "this test uses its own part")]
mod client;
#[path = "grpc/service.rs"]
#[allow(dead_code, reason = "this test uses its own part")]
mod service;
mod support;

use client::{Control, verified};
use hyper::body::Bytes;
use hyper::http::uri::PathAndQuery;
use service::{BytesCodec, Echo};
use sha2::{Digest, Sha256};
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use support::load::{call, http1, http2};
use support::origin::Origin;
use support::peers::within;
use support::{End, Gateway, PATIENCE, Scratch, VOCABULARY, Wire, eventually, strict};
use tokio_stream::StreamExt;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::Channel;

const GRPC: &str = r#"contract = "caio/1"
service = "test.grpc"
version = "1.0.0"
[[offers]]
capability = "test.grpc/1"
interface = { grpc = "test.v1.Echo" }
"#;
const HTTP: &str = r#"contract = "caio/1"
service = "test.http"
version = "1.0.0"
[[offers]]
capability = "test.http/1"
interface = { http = ["* /x"] }
"#;

/// A gateway of a program of its own, which can be replaced, and whoever takes its place.
struct World {
    gateway: Gateway,
    base: String,
    program: PathBuf,
    /// The process that serves.
    serving: u32,
    origin: Origin,
    _kept: Scratch,
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").args([name, &process.to_string()]).status();
    assert!(sent.expect("`kill` runs").success());
}

/// Whether a process is there and is no zombie.
fn runs(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

impl World {
    fn start(grpc: SocketAddr, more: &str) -> Self {
        let (kept, scratch) = (Scratch::new(), Scratch::new());
        let program = kept.path().join("caio");
        std::fs::copy(env!("CARGO_BIN_EXE_caio"), &program).unwrap();
        let origin = Origin::echo();
        let base = format!(
            "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 2\n\
             [[listeners]]\naddress = \"127.0.0.1:0\"\n\
             [audit]\ndirectory = \"{}\"\n[admin]\nsocket = \"admin.sock\"\n\
             listen = \"127.0.0.1:0\"\n[registry]\ndirectory = \"registry\"\n\
             [[services]]\ncontract = \"http.toml\"\nendpoints = [\"{}\"]\n\
             [[services]]\ncontract = \"grpc.toml\"\nendpoints = [\"{grpc}\"]\n\
             protocol = \"h2c\"\n",
            kept.path().join("trail").display(),
            origin.address
        );
        for (name, text) in
            [("vocabulary.toml", VOCABULARY), ("http.toml", HTTP), ("grpc.toml", GRPC)]
        {
            scratch.write(name, text);
        }
        let file = scratch.write("caio.toml", &(base.clone() + more));
        let gateway = Gateway::attempt_program(&program, scratch, &file, &[]);
        let gateway = gateway.unwrap_or_else(|(_, why)| panic!("{why}"));
        let serving = gateway.id();
        Self { gateway, base, program, serving, origin, _kept: kept }
    }

    fn trail(&self) -> PathBuf {
        self._kept.path().join("trail")
    }

    /// Puts another program in the place of the one that runs: other bytes, the same meaning.
    fn replace(&self, what: &[u8]) {
        let mut bytes = std::fs::read(env!("CARGO_BIN_EXE_caio")).unwrap();
        bytes.extend(what);
        let beside = self.program.with_extension("new");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::set_permissions(&beside, Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&beside, &self.program).unwrap();
    }

    /// Asks the process that serves to hand over.
    fn upgrade(&self) {
        signal("-USR2", self.serving);
    }

    fn told(&self, what: &str) -> usize {
        self.gateway.said().matches(what).count()
    }

    /// Has another process take over; the one that has handed over.
    fn swap(&mut self) -> u32 {
        let (told, failed) = (self.told("has taken over"), self.told("nobody takes over"));
        self.upgrade();
        eventually("another process takes over", || {
            self.told("has taken over") > told || self.told("nobody takes over") > failed
        });
        let said = self.gateway.said();
        let line = said.lines().rev().find(|line| line.contains("has taken over"));
        let line = line.unwrap_or_else(|| panic!("{said}"));
        let number = line.split_whitespace().nth(2).and_then(|word| word.parse().ok());
        std::mem::replace(&mut self.serving, number.unwrap())
    }

    /// Ends the process that serves, and waits for the end of all.
    fn end(&self) {
        signal("-TERM", self.serving);
        eventually("the last process ends", || !runs(self.serving));
    }

    fn assert_complete(&self) -> String {
        let (code, said) = verified(&self.trail());
        assert_eq!(code, Some(0), "{said}\n{}", self.gateway.said());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tamper/naive_check.py");
        let mut other = Command::new("python3");
        let other = other.arg("-B").arg(script).arg(self.trail()).output().unwrap();
        assert_eq!(other.status.code(), Some(0), "{}", String::from_utf8_lossy(&other.stdout));
        assert!(!self.gateway.said().contains("panicked at"), "{}", self.gateway.said());
        said
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if runs(self.serving) {
            let _ = Command::new("kill").args(["-KILL", &self.serving.to_string()]).status();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_are_swapped_under_load_and_no_call_fails() {
    let echo = Echo::start().await;
    let mut world = World::start(echo.address, "");
    let address = world.gateway.address;
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut threads = Vec::new();
    for method in ["GET", "POST", "GET"] {
        let (over, calls) = (Arc::clone(&over), Arc::clone(&calls));
        threads.push(std::thread::spawn(move || http1(&|| address, (method, true), &over, &calls)));
    }
    let (stop, count) = (Arc::clone(&over), Arc::clone(&calls));
    let streams = tokio::spawn(async move { http2(&|| address, &stop, &count).await });
    for number in 1..=3u8 {
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        let mut client = Grpc::new(within(endpoint.connect()).await.unwrap());
        client.ready().await.unwrap();
        let (ask, asked) = tokio::sync::mpsc::channel(1);
        let asked = Request::new(tokio_stream::wrappers::ReceiverStream::new(asked));
        let talk: PathAndQuery = "/test.v1.Echo/Talk".parse().unwrap();
        let answer = client.streaming(asked, talk, BytesCodec);
        let mut answer = within(answer).await.unwrap().into_inner();
        ask.send(Bytes::from("before")).await.unwrap();
        assert_eq!(within(answer.next()).await.unwrap().unwrap(), "before");
        let before = calls.load(Ordering::Relaxed);
        eventually("calls flow", || calls.load(Ordering::Relaxed) > before + 20);
        world.replace(&[number]);
        let old = world.swap();
        for word in ["during", "the", "swap"] {
            ask.send(Bytes::from(word)).await.unwrap();
            assert_eq!(within(answer.next()).await.unwrap().unwrap(), word);
        }
        let before = calls.load(Ordering::Relaxed);
        eventually("calls flow on", || calls.load(Ordering::Relaxed) > before + 50);
        assert!(runs(old), "it ends no sooner than what it serves");
        drop(ask);
        assert!(within(answer.next()).await.is_none(), "the stream ends whole");
        eventually("the process before ends", || !runs(old));
    }
    over.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    streams.await.unwrap();
    world.end();
    let said = world.assert_complete();
    for number in ["\"boots\":1,", "\"joined\":3,", "\"left\":0,", "\"unknown\":0,"] {
        assert!(said.contains(number), "{number} in {said}");
    }
    let outcomes = said.split_once("\"outcomes\":").unwrap().1;
    let outcomes: u32 = outcomes.split_once(',').unwrap().0.parse().unwrap();
    assert!(outcomes >= calls.load(Ordering::Relaxed) + 3, "{outcomes} outcomes");
}

#[test]
fn a_program_that_cannot_serve_changes_nothing() {
    let mut world = World::start(support::nowhere(), "");
    let mut wire = Wire::connect(world.gateway.address);
    let control = Control::of(&world.gateway);
    let file = world.gateway.folder().join("caio.toml");
    let more = "\n[[listeners]]\naddress = \"192.0.2.1:9\"\n";
    for wrong in ["\nnonsense = 1\n", more] {
        std::fs::write(&file, world.base.clone() + wrong).unwrap();
        let told = world.told("nobody takes over");
        world.upgrade();
        eventually("nobody takes over", || world.told("nobody takes over") > told);
        assert_eq!(call(&mut wire, "GET"), (200, true));
        // The registry's store is open again.
        let id = format!("service-{told}");
        eventually("changes are taken", || {
            control.register(&id, world.origin.address, "").status == 201
        });
    }
    // What is no program at all, and then one that is.
    std::fs::write(&file, &world.base).unwrap();
    std::fs::write(world.program.with_extension("new"), "nothing").unwrap();
    std::fs::rename(world.program.with_extension("new"), &world.program).unwrap();
    world.upgrade();
    eventually("it cannot be started", || world.told("cannot be started") > 0);
    assert_eq!(call(&mut wire, "GET"), (200, true));
    world.replace(b"x");
    let told = world.told("nobody takes over");
    world.upgrade();
    eventually("it is settled", || {
        world.told("has taken over") > 0 || world.told("nobody takes over") > told
    });
    assert!(world.told("has taken over") > 0, "{}", world.gateway.said());
    assert_eq!(world.told("nobody takes over"), told);
    let said = world.gateway.said();
    let line = said.lines().rev().find(|line| line.contains("has taken over")).unwrap();
    world.serving = line.split_whitespace().nth(2).unwrap().parse().unwrap();
    // A kept connection is used on, and told that it ends.
    eventually("it is told", || {
        let (status, kept) = call(&mut wire, "GET");
        assert_eq!(status, 200);
        !kept
    });
    // What was acknowledged before is there, and the socket is the new one's.
    eventually("the new process takes changes", || {
        control.tried("GET", "/v1/services/service-1", &[]).is_some_and(|it| it.status == 200)
            && control.register("later", world.origin.address, "").status == 201
    });
    assert_eq!(world.gateway.wait(), Some(0));
    world.end();
    let said = world.assert_complete();
    assert!(said.contains("\"joined\":1,") && said.contains("\"boots\":1,"), "{said}");
}

#[test]
fn listeners_that_a_reload_has_changed_are_handed_over_as_they_are() {
    let mut world = World::start(support::nowhere(), "");
    let first = world.gateway.address;
    let (added, gone) = (support::nowhere(), support::nowhere());
    let listener = |address: SocketAddr| format!("[[listeners]]\naddress = \"{address}\"\n");
    let reload = |world: &World, more: &str, told: &str| {
        let file = world.gateway.folder().join("caio.toml");
        std::fs::write(file, world.base.clone() + more).unwrap();
        let before = world.told(told);
        signal("-HUP", world.serving);
        eventually("the files are read", || world.told(told) > before);
    };
    let both = listener(gone) + &listener(added);
    reload(&world, &both, &format!("listening on {added}"));
    assert_eq!(call(&mut Wire::connect(gone), "GET"), (200, true));
    reload(&world, &listener(added), &format!("not listening on {gone} any more"));
    let mut kept = Wire::connect(added);
    assert_eq!(call(&mut kept, "GET"), (200, true));
    world.replace(b"x");
    let old = world.swap();
    eventually("it is told that it ends", || {
        let (status, kept) = call(&mut kept, "GET");
        assert_eq!(status, 200);
        !kept
    });
    eventually("the process before ends", || !runs(old));
    for address in [first, added] {
        assert_eq!(call(&mut Wire::connect(address), "GET"), (200, true));
    }
    assert!(Wire::try_connect(gone).is_err());
    // The next one changes its listeners like the one before.
    reload(&world, &listener(gone), &format!("not listening on {added} any more"));
    assert_eq!(call(&mut Wire::connect(gone), "GET"), (200, true));
    eventually("nobody listens there", || Wire::try_connect(added).is_err());
    world.end();
    world.assert_complete();
}

/// The status of a question to where callers look for services, on a kept connection.
fn looked(wire: &mut Wire, when: &str) -> u16 {
    let ask = b"GET /.well-known/ai-catalog.json HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(wire.send(ask), "a kept connection takes a request");
    let whole = |bytes: &[u8]| strict::responses(bytes).is_ok_and(|all| !all.is_empty());
    let (bytes, end) = wire.read_until(PATIENCE, whole);
    let answers = strict::responses(&bytes).unwrap();
    answers.first().unwrap_or_else(|| panic!("{when}: {end:?} behind {bytes:?}")).status
}

#[test]
fn changes_over_tcp_and_whoever_looks_for_services_go_along() {
    let token = "operators-have-a-secret-of-32-bytes-and-more";
    let digest = Sha256::digest(token.as_bytes());
    let hashed: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let (remote, discovery) = (support::nowhere(), support::nowhere());
    let more = format!(
        "[discovery]\nlisten = \"{discovery}\"\n[admin.remote]\nlisten = \"{remote}\"\n\
         [[admin.remote.clients]]\nname = \"ops\"\ntoken = \"sha256:{hashed}\"\n\
         owner = \"ops\"\nrole = \"operator\"\n"
    );
    let mut world = World::start(support::nowhere(), &more);
    let register = |id: &str, endpoint: SocketAddr| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"]);
        curl.args(["-X", "PUT", "-H", &format!("Authorization: Bearer {token}")]);
        curl.args(["--data-binary", &client::service(id, endpoint, "")]);
        let said = curl.arg(format!("http://{remote}/v1/services/{id}")).output().unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    let endpoint = world.origin.address;
    assert_eq!(register("before", endpoint), "201");
    let mut kept = Wire::connect(world.gateway.address);
    assert_eq!(looked(&mut kept, "before"), 200);
    for number in 1..=2 {
        world.replace(&[number]);
        let old = world.swap();
        // The process before asks the one that serves, which knows it.
        assert_eq!(looked(&mut kept, "on the process before"), 200);
        kept = Wire::connect(world.gateway.address);
        assert_eq!(looked(&mut kept, "on the one that took over"), 200);
        eventually("changes are taken", || register(&format!("later-{number}"), endpoint) == "201");
        eventually("the process before ends", || !runs(old));
        // The one before may have been the process before's, which ends what is idle.
        kept = Wire::connect(world.gateway.address);
        assert_eq!(looked(&mut kept, "once it is alone"), 200);
        assert_eq!(register(&format!("alone-{number}"), endpoint), "201");
    }
    drop(kept);
    world.end();
    let said = world.assert_complete();
    assert!(said.contains("\"joined\":2,") && said.contains("\"outcomes\":7,"), "{said}");
}

#[test]
fn what_a_reload_cannot_change_another_process_brings_also_listeners_that_come_and_go() {
    let mut world = World::start(support::nowhere(), "");
    let (first, second) = (world.gateway.address, support::nowhere());
    let file = world.gateway.folder().join("caio.toml");
    let more = format!("[[listeners]]\naddress = \"{second}\"\n");
    let other = world.base.replace("workers = 2", "workers = 3") + &more;
    let mut kept = Wire::connect(first);
    assert_eq!(call(&mut kept, "GET"), (200, true));
    std::fs::write(&file, other).unwrap();
    signal("-HUP", world.serving);
    eventually("the reload is refused", || world.told("SIGUSR2 has a process take over") == 1);
    let refused = || std::net::TcpStream::connect(second).is_err();
    assert!(refused(), "a refused reload changes nothing");
    let old = world.swap();
    assert_eq!(call(&mut Wire::connect(second), "GET"), (200, true));
    assert_eq!(call(&mut Wire::connect(first), "GET"), (200, true));
    assert_eq!(call(&mut kept, "GET").0, 200);
    eventually("the process before ends", || !runs(old));
    std::fs::write(&file, &world.base).unwrap();
    let mut kept = Wire::connect(second);
    assert_eq!(call(&mut kept, "GET"), (200, true));
    let old = world.swap();
    assert_eq!(call(&mut kept, "GET").0, 200, "what is there already is served to its end");
    eventually("the process before ends", || !runs(old));
    eventually("nobody listens there any more", refused);
    assert_eq!(call(&mut Wire::connect(first), "GET"), (200, true));
    world.end();
    world.assert_complete();
}

#[test]
fn a_process_that_is_killed_while_it_drains_takes_nobody_with_it_who_comes_anew() {
    let mut world = World::start(support::nowhere(), "");
    for number in 1..=5 {
        // Half of a request: the process before has something to wait for.
        let mut held = Wire::connect(world.gateway.address);
        assert_eq!(call(&mut held, "GET"), (200, true));
        assert!(held.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"));
        world.replace(&[number]);
        let old = world.swap();
        let over = AtomicBool::new(false);
        let address = world.gateway.address;
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        // What the killed one has accepted is gone with it.
                        let mut wire = Wire::connect(address);
                        let ask = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                        let _ = wire.send(ask);
                        let (bytes, end) = wire.read_until(PATIENCE, |_| false);
                        assert!(end != End::Open, "{number}: nobody answers, behind {bytes:?}");
                    }
                });
            }
            signal("-KILL", old);
            eventually("the process before ends", || !runs(old));
            for _ in 0..50 {
                assert_eq!(call(&mut Wire::connect(address), "GET"), (200, true));
            }
            over.store(true, Ordering::Relaxed);
        });
    }
    world.end();
    let said = world.assert_complete();
    assert!(said.contains("\"joined\":5,"), "{said}");
}

/// Greets like a program that takes over, takes everything, and is gone without serving.
const GREEDY: &str = r#"#!/usr/bin/env python3
import json, os, socket
old = socket.socket(fileno=os.dup(0))
say = lambda message: old.send(json.dumps(message).encode())
say({"hello": {"protocol": 1, "program": "greedy"}})
assert "held" in json.loads(old.recv(65536))
say({"take": {}})
while True:
    said, rights, _, _ = socket.recv_fds(old, 65536, 64)
    if "estate" in json.loads(said)["legacy"]:
        break
"#;

#[test]
fn what_a_process_took_and_did_not_serve_is_taken_back() {
    let mut world = World::start(support::nowhere(), "");
    let mut wire = Wire::connect(world.gateway.address);
    std::fs::write(world.program.with_extension("new"), GREEDY).unwrap();
    let mode = Permissions::from_mode(0o755);
    std::fs::set_permissions(world.program.with_extension("new"), mode).unwrap();
    std::fs::rename(world.program.with_extension("new"), &world.program).unwrap();
    for told in 0..2 {
        world.upgrade();
        eventually("nobody takes over", || world.told("nobody takes over") > told);
        assert_eq!(call(&mut wire, "GET"), (200, true));
        assert_eq!(call(&mut Wire::connect(world.gateway.address), "GET"), (200, true));
    }
    let control = Control::of(&world.gateway);
    eventually("changes are taken", || {
        control.register("a", world.origin.address, "").status == 201
    });
    // And one that is killed before it has read anything.
    world.replace(b"y");
    world.upgrade();
    let last = |world: &World| {
        let said = world.gateway.said();
        let line = said.lines().rev().find(|line| line.ends_with("starts, to take over")).unwrap();
        line.split_whitespace().nth(2).unwrap().parse::<u32>().unwrap()
    };
    eventually("it starts", || world.told("starts, to take over") == 3);
    signal("-KILL", last(&world));
    eventually("nobody takes over", || world.told("nobody takes over") == 3);
    assert_eq!(call(&mut wire, "GET"), (200, true));
    world.gateway.assert_sound();
    world.end();
    let said = world.assert_complete();
    assert!(said.contains("\"joined\":0,") && said.contains("\"unknown\":0,"), "{said}");
}

#[test]
fn what_a_process_put_on_record_before_it_failed_is_gone_behind() {
    let mut world = World::start(support::nowhere(), "");
    let mut wire = Wire::connect(world.gateway.address);
    let control = Control::of(&world.gateway);
    let real = world.program.with_extension("real");
    std::fs::copy(env!("CARGO_BIN_EXE_caio"), &real).unwrap();
    let joined = |world: &World| {
        let (_, said) = verified(&world.trail());
        let count = said.split_once("\"joined\":").unwrap_or_else(|| panic!("{said}")).1;
        count.split_once(',').unwrap().0.parse::<u32>().unwrap()
    };
    // One descriptor more each time, until it is on record and has none left to serve with.
    for (told, most) in (5..60).enumerate() {
        let script = format!("#!/bin/sh\nulimit -n {most}\nexec {} \"$@\"\n", real.display());
        std::fs::write(world.program.with_extension("new"), script).unwrap();
        let mode = Permissions::from_mode(0o755);
        std::fs::set_permissions(world.program.with_extension("new"), mode).unwrap();
        std::fs::rename(world.program.with_extension("new"), &world.program).unwrap();
        world.upgrade();
        eventually("nobody takes over", || {
            assert_eq!(world.told("has taken over"), 0, "{}", world.gateway.said());
            world.told("nobody takes over") > told
        });
        assert_eq!(call(&mut wire, "GET"), (200, true));
        if joined(&world) > 0 {
            break;
        }
    }
    assert_eq!(joined(&world), 1, "one fails once it is on record");
    // What is refused, and what comes to hold, is recorded behind that.
    let refused = control.put("/v1/services/x", "nonsense = 1", &[]).status;
    assert!(refused == 422 || refused == 400, "{refused}");
    assert_eq!(control.register("a", world.origin.address, "").status, 201);
    assert_eq!(call(&mut wire, "GET"), (200, true));
    world.replace(b"z");
    world.swap();
    assert_eq!(call(&mut Wire::connect(world.gateway.address), "GET"), (200, true));
    drop(wire);
    assert_eq!(world.gateway.wait(), Some(0));
    world.end();
    let said = world.assert_complete();
    assert!(said.contains("\"joined\":2,"), "{said}");
}

#[test]
fn nobody_takes_over_from_a_stranger() {
    for stdin in [Stdio::null(), Stdio::piped()] {
        let mut caio = Command::new(env!("CARGO_BIN_EXE_caio"));
        let caio = caio.args(["run", "-c", "caio.toml", "--take-over"]).stdin(stdin);
        let said = caio.output().unwrap();
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(1), "{text}");
        assert!(text.contains("no socket of the process that hands over"), "{text}");
    }
}
