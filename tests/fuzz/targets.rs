//! One target for each parser that strangers' bytes reach. `cargo test` runs each for a bounded
//! number of inputs; `cargo bolero test TARGET` runs one for as long as it is let.
//!
//! A target asserts what must hold whatever the bytes say; not to panic is the least of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

use bolero::check;
use caio::config::{MemoryFiles, load};
use caio::contract::expression::{Scope, parse as parse_expression};
use caio::contract::require;
use caio::contract::vocabulary::Vocabulary;
use caio::http1::body::{Decoder, Event};
use caio::http1::request::{self, Method, RequestHead};
use caio::http1::response::{self, ResponseHead};
use caio::http1::{Cursor, Framing, HeadLimits, Parsed};
use caio::http2::{Meter, MeterLimits, Role};
use caio::wire::trace::Traceparent;
use caio::wire::{authority, grpc, preamble, target};
use std::path::Path;

fn vocabulary() -> Vocabulary {
    Vocabulary::parse("vocabulary.toml", include_str!("../../config/vocabulary.toml")).unwrap()
}

#[test]
fn request_heads() {
    check!().for_each(|bytes: &[u8]| {
        let mut head = RequestHead::default();
        let parsed =
            request::parse(bytes, &HeadLimits::default(), &mut Cursor::default(), &mut head);
        if let Parsed::Complete(len) = parsed {
            assert!(len <= bytes.len() && len == head.len);
            assert!(!head.path(bytes).contains(&b' '));
        }
    });
}

#[test]
fn response_heads() {
    check!().for_each(|bytes: &[u8]| {
        let (mut head, limits) = (ResponseHead::default(), HeadLimits::default());
        let parsed =
            response::parse(bytes, Method::Get, &limits, &mut Cursor::default(), &mut head);
        if let Parsed::Complete(len) = parsed {
            assert!(len <= bytes.len() && (100..600).contains(&head.status));
        }
    });
}

/// A header is over where it says, whatever comes behind, and is never said to miss more than it
/// turns out to have.
#[test]
fn proxy_headers() {
    use preamble::Preamble;
    const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21";
    check!().for_each(|bytes: &[u8]| {
        for start in [&b""[..], b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN", BINARY] {
            let bytes = [start, bytes].concat();
            let whole = preamble::read(&bytes);
            let mut have = 0;
            let trickled = loop {
                match preamble::read(&bytes[..have]) {
                    Preamble::Missing(more) if have + more <= bytes.len() => {
                        assert!(more > 0);
                        have += more;
                    }
                    other => break other,
                }
            };
            match (whole, trickled) {
                (Preamble::Complete { len, .. }, trickled) => {
                    assert_eq!((whole, len), (trickled, have));
                }
                (Preamble::Missing(_), Preamble::Missing(_)) => {}
                (Preamble::Malformed(_), Preamble::Malformed(_) | Preamble::Missing(_)) => {}
                (whole, trickled) => panic!("{whole:?} at once, {trickled:?} byte by byte"),
            }
        }
    });
}

#[test]
fn chunked_bodies() {
    check!().for_each(|bytes: &[u8]| {
        let mut decoder = Decoder::new(Framing::Chunked);
        let mut at = 0;
        while let Ok((used, event)) = decoder.next(&bytes[at..]) {
            at += used;
            assert!(at <= bytes.len());
            match event {
                Event::Data(range) => assert!(range.end <= used),
                Event::NeedMore | Event::End => break,
            }
        }
    });
}

#[test]
fn targets_have_one_normal_form() {
    check!().for_each(|bytes: &[u8]| {
        let mut scratch = Vec::new();
        let Ok(found) = target::canonical(bytes, &mut scratch) else { return };
        let text = |found: target::Canonical, input: &[u8], scratch: &[u8]| match found {
            target::Canonical::Input(from, to) => input[from..to].to_vec(),
            target::Canonical::Scratch(from, to) => scratch[from..to].to_vec(),
        };
        let path = text(found.path, bytes, &scratch);
        let mut again = Vec::new();
        let same = target::canonical(&path, &mut again).expect("a canonical path is a path");
        assert_eq!(text(same.path, &path, &again), path, "canonical twice is canonical once");
    });
}

#[test]
fn authorities() {
    check!().for_each(|bytes: &[u8]| {
        let mut scratch = Vec::new();
        if let Ok(found) = authority::canonical(bytes, &mut scratch) {
            let held = if found.in_scratch { &scratch[..] } else { bytes };
            assert!(found.start < found.host_end && found.end <= held.len());
        }
    });
}

#[test]
fn requirement_headers() {
    let vocabulary = vocabulary();
    check!().for_each(|bytes: &[u8]| {
        if let Ok(members) = require::parse([bytes]) {
            assert!(members.len() <= caio::wire::limits::REQUIRE_CLAUSES_MAX);
            let _ = require::resolve(&vocabulary, members, |_| false);
        }
    });
}

#[test]
fn expressions() {
    let vocabulary = vocabulary();
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        for scope in [Scope::Facts, Scope::Promises] {
            if let Err(complaints) = parse_expression(&vocabulary, scope, &text) {
                assert!(!complaints.is_empty());
                assert!(complaints.iter().all(|complaint| complaint.offset <= text.len()));
            }
        }
    });
}

#[test]
fn configurations() {
    check!().for_each(|bytes: &[u8]| {
        let vocabulary = include_bytes!("../../config/vocabulary.toml").to_vec();
        let files: MemoryFiles =
            [("caio.toml", bytes.to_vec()), ("vocabulary.toml", vocabulary)].into_iter().collect();
        if let Err(faults) = load(&files, Path::new("caio.toml")) {
            assert!(!faults.is_empty());
        }
    });
}

#[test]
fn http2_frames() {
    check!().for_each(|bytes: &[u8]| {
        for role in [Role::Downstream, Role::Upstream] {
            let mut meter = Meter::new(MeterLimits::default(), role);
            if let Err(abuse) = meter.feed(bytes, 0) {
                assert!(abuse.safe <= bytes.len());
            }
        }
    });
}

#[test]
fn small_fields() {
    check!().for_each(|bytes: &[u8]| {
        if let Some(parent) = Traceparent::parse(bytes) {
            assert_ne!((parent.trace, parent.span), (0, 0));
        }
        if let Some(nanos) = grpc::parse_timeout(bytes) {
            let mut text = Vec::new();
            grpc::push_timeout(&mut text, nanos);
            assert!(grpc::parse_timeout(&text).is_some_and(|again| again <= nanos));
        }
    });
}
