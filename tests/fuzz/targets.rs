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
use caio::registry::{self, Entry, Registry};
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

struct Bearer(Vec<u8>);

impl caio::identity::Presented for Bearer {
    fn field(&self, name: &str) -> caio::identity::Field<'_> {
        match name {
            "x-token" => caio::identity::Field::One(&self.0),
            _ => caio::identity::Field::Absent,
        }
    }

    fn peer(
        &self,
    ) -> Option<&Result<std::sync::Arc<caio::identity::Identified>, caio::identity::IdentityError>>
    {
        None
    }
}

/// A key, the identity it signs for, and one valid token of it.
fn issuer() -> (caio::identity::Providers, caio::identity::KeySets, String) {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use caio::config::identity::{Algorithm, Identity, Jwt, KeyPlace, KeySource, Kind};
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let place = KeyPlace::File("keys.json".into());
    let jwt = Jwt {
        issuer: "i".to_owned(),
        audiences: vec!["a".to_owned()],
        algorithms: Algorithm::ALL.iter().map(|(_, algorithm)| *algorithm).collect(),
        keys: KeySource { place, ca: None, refresh_s: 300, min_refresh_s: 30, keep_s: 1000 },
        leeway_s: 0,
        header: Some("x-token".to_owned()),
        principal: vec!["sub".to_owned()],
        prefix: "i/".to_owned(),
        facts: Vec::new(),
        unknown_symbols: caio::config::identity::UnknownSymbols::Refuse,
        typ: None,
        expiry_required: true,
        forward: false,
    };
    let identity = Identity { name: "i".to_owned(), kind: Kind::Jwt(Box::new(jwt)) };
    let providers = caio::identity::Providers::new(&[identity], &vocabulary());
    let x = encode(key.public_key().as_ref());
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#);
    let material = providers.read(0, "keys.json", set.into_bytes()).unwrap();
    let keys = caio::identity::KeySets::empty(1).with(0, material, u64::MAX);
    let signed = format!(
        "{}.{}",
        encode(br#"{"alg":"EdDSA","kid":"k"}"#),
        encode(br#"{"iss":"i","aud":"a","sub":"s","exp":2000}"#)
    );
    let token = format!("{signed}.{}", encode(key.sign(signed.as_bytes()).as_ref()));
    (providers, keys, token)
}

/// Nothing but the one signed token is ever believed, however its bytes are changed.
#[test]
fn tokens() {
    let (providers, keys, token) = issuer();
    let order = providers.order(&["i".to_owned()]);
    let keys = std::panic::AssertUnwindSafe(keys);
    let identify = |bytes: Vec<u8>| {
        let keys: &caio::identity::KeySets = &keys;
        let mut cache = caio::identity::TokenCache::new([1, 2]);
        providers.identify(&order, &Bearer(bytes), keys, &mut cache, 1000)
    };
    assert!(identify(token.clone().into_bytes()).is_ok());
    check!().with_type::<(Vec<(u16, u8)>, Vec<u8>)>().for_each(|(changes, raw)| {
        assert!(identify(raw.clone()).is_err());
        let mut bytes = token.clone().into_bytes();
        for (at, byte) in changes {
            let at = usize::from(*at) % bytes.len();
            bytes[at] = *byte;
        }
        assert_eq!(identify(bytes.clone()).is_ok(), bytes == token.as_bytes());
        // The same inside: the parts decoded, changed, and encoded again.
        let parts = [raw.as_slice(), b"{}", b"x"].map(|part| {
            use base64::Engine as _;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part)
        });
        for at in 0..3 {
            let mut whole: Vec<&str> = token.split('.').collect();
            whole[at] = &parts[0];
            let whole = whole.join(".");
            assert_eq!(identify(whole.clone().into_bytes()).is_ok(), whole == token);
        }
        assert!(identify(parts.join(".").into_bytes()).is_err());
    });
}

/// Whatever a set says, reading it ends, and one that is read has a bounded number of keys.
#[test]
fn key_sets_and_key_files() {
    let (providers, _, _) = issuer();
    let vocabulary = vocabulary();
    check!().for_each(|bytes: &[u8]| {
        if let Ok(material) = providers.read(0, "keys.json", bytes.to_vec()) {
            assert!((1..=256).contains(&material.count()));
        }
        let _ = caio::config::api_keys::read("keys.toml", bytes.to_vec(), &vocabulary);
        let _ = caio::identity::certificate(bytes);
    });
}

/// Whatever a store or a log holds: it is an event with exactly this text, or it is none, and no
/// event shakes a registry.
#[test]
fn registry_events() {
    let mut registry = Registry::default();
    check!().for_each(move |bytes: &[u8]| {
        if let Ok(event) = registry::Event::decode(bytes) {
            assert_eq!(event.encode().as_bytes(), bytes);
            let before = registry.clone();
            if registry.apply(&event).is_err() {
                assert_eq!(registry, before);
            }
        }
        if let Ok(entry) = Entry::decode(bytes) {
            assert_eq!(entry.encode().as_bytes(), bytes);
        }
    });
}
