//! The landscape that changes while calls flow: what holds from when, and what a trail says of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use support::origin::{Answer, Origin};
use support::{Gateway, PATIENCE, Protocol, Scratch, Wire, eventually, strict};

fn saying(word: &'static str) -> Origin {
    Origin::scripted(move |_| {
        Answer::kept(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len()))
    })
}

/// A call on a connection that is kept: status and body.
fn call(wire: &mut Wire) -> (u16, Vec<u8>) {
    assert!(wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    let whole = |bytes: &[u8]| strict::responses(bytes).is_ok_and(|all| !all.is_empty());
    let (bytes, _) = wire.read_until(PATIENCE, whole);
    let answer = strict::responses(&bytes).unwrap().remove(0);
    (answer.status, answer.body)
}

fn verified(trail: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_caio-check"))
        .arg(trail)
        .args(["--json", "--key"])
        .arg(trail.join("log-key.pub"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_landscape_changes_under_load_without_a_failed_call_and_the_trail_proves_it() {
    let trail = Scratch::new();
    let (one, two) = (saying("one"), saying("two"));
    let audit = format!("[audit]\ndirectory = \"{}\"", trail.path().display());
    let mut gateway = Gateway::start_with(one.address, Protocol::Http1, &audit);
    let file = gateway.folder().join("caio.toml");
    let first = std::fs::read_to_string(&file).unwrap();
    let second = first.replace(&one.address.to_string(), &two.address.to_string());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut wire = Wire::connect(gateway.address);
                while !over.load(Ordering::Relaxed) {
                    let (status, body) = call(&mut wire);
                    assert_eq!(status, 200);
                    assert!(body == b"one" || body == b"two");
                }
            });
        }
        for round in 0..10 {
            let (text, word) = match round % 2 {
                0 => (&second, b"two"),
                _ => (&first, b"one"),
            };
            std::fs::write(&file, text).unwrap();
            gateway.reload();
            let mut wire = Wire::connect(gateway.address);
            eventually("the change holds", || call(&mut wire).1 == word);
            // From then on for good, on every connection.
            (0..20).for_each(|_| assert_eq!(call(&mut wire).1, word));
        }
        over.store(true, Ordering::Relaxed);
    });
    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let (code, said) = verified(trail.path());
    assert_eq!(code, Some(0), "{said}");
    let texts = std::fs::read_dir(trail.path().join("snapshots")).unwrap().count();
    assert_eq!(texts, 2, "two landscapes were decided by");
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_is_told_by_its_place() {
    let one = saying("one");
    let mut gateway = Gateway::start(one.address, Protocol::Http1);
    let file = gateway.folder().join("caio.toml");
    let sound = std::fs::read_to_string(&file).unwrap();
    let mut wire = Wire::connect(gateway.address);
    for wrong in ["config = \"caio/1\"\nvocabulary = 3", "", "\u{0}"] {
        let told = gateway.said().matches("nothing was changed").count();
        std::fs::write(&file, wrong).unwrap();
        gateway.reload();
        eventually("the fault is told", || {
            gateway.said().matches("nothing was changed").count() > told
        });
        assert!(gateway.said().contains("caio.toml"), "{}", gateway.said());
        assert_eq!(call(&mut wire), (200, b"one".to_vec()));
    }
    std::fs::write(&file, &sound).unwrap();
    gateway.reload();
    eventually("the same again is nothing new", || gateway.said().contains("as before"));
    std::fs::write(&file, sound + "\n[timeouts]\nconnect = \"3s\"\n").unwrap();
    gateway.reload();
    eventually("what cannot change yet is told", || gateway.said().contains("next start"));
    gateway.assert_sound();
}
