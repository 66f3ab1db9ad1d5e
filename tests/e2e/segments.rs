//! The trail's life beside the calls: segments that are sealed and retired, calls that wait until
//! their decision is durable, and probes that say when nothing can be recorded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use caio::audit::frame;
use caio::audit::record::{self, Record};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::origin::{Answer, Origin};
use support::{Gateway, PATIENCE, Protocol, Scratch, Wire, eventually, exchange, strict};

fn audited(directory: &Path, more: &str) -> String {
    format!("\n[audit]\ndirectory = \"{}\"\n{more}\n", directory.display())
}

fn get(address: SocketAddr, path: &str) -> support::Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    exchange(address, request.as_bytes(), usize::MAX)
}

/// A call on a connection that is kept; its answer's body.
fn call_kept(wire: &mut Wire) -> Vec<u8> {
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let whole = |bytes: &[u8]| strict::responses(bytes).is_ok_and(|all| !all.is_empty());
    let (bytes, _) = wire.read_until(PATIENCE, whole);
    let answer = strict::responses(&bytes).unwrap().remove(0);
    assert_eq!(answer.status, 200);
    answer.body
}

fn segments(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory.join("segments")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The verifier's word: its exit code, and what it says as JSON.
fn check(directory: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_caio-check"))
        .arg(directory)
        .args(["--json", "--key"])
        .arg(directory.join("log-key.pub"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// How many records of a segment are such.
fn count(directory: &Path, segment: &str, is: fn(&Record<'_>) -> bool) -> usize {
    let bytes = std::fs::read(directory.join("segments").join(segment)).unwrap();
    let (mut rest, mut count) = (&bytes[..], 0);
    while let Some(frame) = frame::take(&mut rest) {
        let mut body = frame.body;
        while let Some((_, read)) = record::take(&mut body) {
            count += usize::from(is(&read));
        }
    }
    count
}

/// Decisions in all segments that are whole.
fn decisions(directory: &Path) -> usize {
    let is = |record: &Record<'_>| matches!(record, Record::Decision(_));
    segments(directory).iter().map(|segment| count(directory, segment, is)).sum()
}

fn whole(body: &str) -> Answer {
    Answer::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

#[test]
fn nothing_is_forwarded_before_it_is_durable_where_that_is_asked_for() {
    let kept = Scratch::new();
    let directory = kept.path().to_owned();
    let origin = Origin::scripted(move |_| whole(&decisions(&directory).to_string()));
    // Batched, records would wait for a second: whoever waits for them must not.
    let more = audited(kept.path(), "commit = \"sync\"\ncommit_interval = \"1s\"");
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
    let mut wire = Wire::connect(gateway.address);
    let begun = Instant::now();
    for call in 1..=10 {
        let body = call_kept(&mut wire);
        assert_eq!(body, call.to_string().as_bytes(), "on disk before the service hears");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "each call would have waited a second");

    // What cannot be made durable is not forwarded, and the caller hears it in time.
    gateway.limit_files("1:unlimited");
    let begun = Instant::now();
    let refused = get(gateway.address, "/");
    assert_eq!(refused.status(), Some(503));
    assert!(refused.responses[0].field("retry-after").is_some());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(origin.requests().len(), 10);
    gateway.limit_files("unlimited:unlimited");
    eventually("calls are served again", || get(gateway.address, "/").status() == Some(200));
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let (code, said) = check(kept.path());
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn probes_say_when_nothing_can_be_recorded() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let more = audited(kept.path(), "\n[admin]\nlisten = \"127.0.0.1:0\"");
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
    let probes = gateway.probes();
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(get(probes, path).status(), Some(200), "{path}");
    }
    assert_eq!(get(probes, "/config").status(), Some(404));
    let post = b"POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(exchange(probes, post, usize::MAX).status(), Some(405));
    assert_eq!(exchange(probes, b"nonsense\r\n\r\n", usize::MAX).status(), Some(400));
    // Whoever holds a connection and says nothing keeps no other from asking.
    let _silent: Vec<Wire> = (0..8).map(|_| Wire::connect(probes)).collect();

    gateway.limit_files("1:unlimited");
    get(gateway.address, "/");
    eventually("it is not ready", || get(probes, "/readyz").status() == Some(503));
    let body = get(probes, "/readyz");
    let text = String::from_utf8_lossy(&body.responses[0].body);
    assert!(text.contains("the trail cannot be written"), "{text}");
    assert_eq!(get(probes, "/healthz").status(), Some(200), "it lives");
    gateway.limit_files("unlimited:unlimited");
    eventually("it is ready", || get(probes, "/readyz").status() == Some(200));
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
}

/// A restore into the live trail puts another file where the writer's own was: nobody's calls are
/// served until the own one is back, and the other one is left as it is.
#[test]
fn another_file_in_the_place_of_a_segment_is_not_written_to() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let more = audited(kept.path(), "commit = \"sync\"");
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
    assert_eq!(get(gateway.address, "/").status(), Some(200));
    let name = kept.path().join("segments").join(&segments(kept.path())[0]);
    let aside = kept.path().join("aside");
    let before = std::fs::read(&name).unwrap();
    std::fs::rename(&name, &aside).unwrap();
    let foreign = [&before[..], b"and what the copy has besides"].concat();
    std::fs::write(&name, &foreign).unwrap();

    // So long that the writer has tried it again, more than once.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(get(gateway.address, "/").status(), Some(503), "the trail is another file's");
    }
    assert_eq!(std::fs::read(&name).unwrap(), foreign, "nobody touched it");
    std::fs::rename(&aside, &name).unwrap();
    eventually("calls are served again", || get(gateway.address, "/").status() == Some(200));
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let (code, said) = check(kept.path());
    assert_eq!(code, Some(0), "{said}");
}

/// Calls until so many segments have begun.
fn fill(gateway: &Gateway, directory: &Path, count: usize) {
    let mut wire = Wire::connect(gateway.address);
    let mut calls = 0;
    while segments(directory).len() < count {
        call_kept(&mut wire);
        calls += 1;
        assert!(calls < 50_000, "no segment is ever full");
    }
}

#[test]
fn segments_are_sealed_chained_and_retired_and_what_is_left_is_whole() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let settings = "segment_bytes = \"1MiB\"\ncommit_interval = \"1ms\"";
    let mut gateway =
        Gateway::start_with(origin.address, Protocol::Http1, &audited(kept.path(), settings));
    fill(&gateway, kept.path(), 3);
    gateway.kill();
    gateway.wait();
    let before = segments(kept.path());

    // Killed, and continued by one that keeps a mebibyte.
    let less = format!("{settings}\nretention_bytes = \"1MiB\"");
    let mut gateway =
        Gateway::start_with(origin.address, Protocol::Http1, &audited(kept.path(), &less));
    eventually("the oldest go", || segments(kept.path())[0] > before[0]);
    eventually("and the operator knows", || gateway.said().contains("retention took away"));
    assert_eq!(get(gateway.address, "/").status(), Some(200));
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let (code, said) = check(kept.path());
    assert_eq!(code, Some(0), "{said}");

    // Every start goes on from what is left, however long ago retention spoke, and whoever takes
    // away more is found out.
    for _ in 0..3 {
        let mut gateway =
            Gateway::start_with(origin.address, Protocol::Http1, &audited(kept.path(), settings));
        assert_eq!(get(gateway.address, "/").status(), Some(200));
        gateway.terminate();
        assert_eq!(gateway.wait(), Some(0));
        let (code, said) = check(kept.path());
        assert_eq!(code, Some(0), "{said}");
        // Said again, so that the next start need not look for it.
        let newest = segments(kept.path()).pop().unwrap();
        let is = |record: &Record<'_>| matches!(record, Record::Retention { .. });
        assert_eq!(count(kept.path(), &newest, is), 1);
    }
    let oldest = segments(kept.path()).remove(0);
    std::fs::remove_file(kept.path().join("segments").join(oldest)).unwrap();
    let (code, said) = check(kept.path());
    assert_eq!(code, Some(1), "{said}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => std::fs::copy(entry.path(), target).map(drop).unwrap(),
        }
    }
}

/// A trail as it was some days ago is as good as any, but to whoever kept something of the days
/// since.
#[test]
fn an_anchor_shows_a_trail_that_was_rolled_back() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let (trail, old) = (kept.path().join("trail"), kept.path().join("old"));
    for round in 0..2 {
        let mut gateway =
            Gateway::start_with(origin.address, Protocol::Http1, &audited(&trail, ""));
        assert_eq!(get(gateway.address, "/").status(), Some(200));
        gateway.terminate();
        assert_eq!(gateway.wait(), Some(0));
        if round == 0 {
            copy(&trail, &old);
        }
    }
    let anchored = |directory: &Path, anchor: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_caio-check"))
            .arg(directory)
            .arg("--anchor")
            .arg(anchor.join("checkpoint"))
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(check(&old).0, Some(0), "it was closed");
    assert_eq!(anchored(&trail, &old).0, Some(0));
    assert_eq!(anchored(&trail, &trail).0, Some(0));
    let (code, said) = anchored(&old, &trail);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the anchor covers"), "{said}");
}
