//! The HTTP/1.1 codec under mutated input: it never panics, however its input is cut it says the
//! same, and what it forwards two independent strict parsers read as the same messages.
//!
//! The corpus in `tests/fuzz/corpus/http1` is replayed as it is, then mutated from fixed seeds.

#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a finding ends the test"
)]

#[path = "http1/naive.rs"]
mod naive;
#[path = "http1/second.rs"]
mod second;

use caio::http1::body::{Decoder, Event};
use caio::http1::request::{self, Method, RequestHead};
use caio::http1::response::{self, ResponseHead};
use caio::http1::write::{self, RequestPlan, ResponsePlan};
use caio::http1::{Cursor, Framing, HeadLimits, Malformed, Parsed, chunked};
use caio::wire::{authority, target};
use fastrand::Rng;

fn corpus(kind: &str) -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/http1");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("tests/fuzz/corpus/http1 is part of the package")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == kind))
        .collect();
    paths.sort();
    assert!(paths.len() > 5);
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

const PIECES: [&[u8]; 36] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"%",
    b"%2e",
    b"%2F",
    b"..",
    b"/",
    b"?",
    b"#",
    b"\\",
    b"\x7f",
    b"\x80",
    b"_",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b"Connection: close, X-A\r\n",
    b"X-A: b\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"3;a=\"b\"\r\nabc\r\n",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"chunked",
    b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"Expect: 100-continue\r\n",
    b"TE: trailers\r\n",
    b"fF0",
];

fn mutate(random: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(0..5) {
        let at = random.usize(..=bytes.len());
        let to = (at + random.usize(..8)).min(bytes.len());
        match random.u8(..6) {
            0 => drop(bytes.splice(at..at, PIECES[random.usize(..PIECES.len())].iter().copied())),
            1 => drop(bytes.splice(at..to, PIECES[random.usize(..PIECES.len())].iter().copied())),
            2 => drop(bytes.drain(at..to)),
            3 if at < bytes.len() => bytes[at] = random.u8(..),
            4 => {
                // A line from elsewhere, doubled or moved here.
                let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                if !lines.is_empty() {
                    let (from, to) = (random.usize(..lines.len()), random.usize(..lines.len()));
                    let mut moved = lines.clone();
                    moved.insert(to, lines[from]);
                    bytes = moved.concat();
                }
            }
            _ => {
                let other = &seeds[random.usize(..seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.usize(..=other.len())..]);
            }
        }
    }
    bytes
}

/// What a gateway does with everything one client sends: what it forwards, the content of each
/// message it took to its end, and the fault that stopped it.
fn relay(bytes: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>, Option<Malformed>) {
    let (mut out, mut contents, mut head) = (Vec::new(), Vec::new(), RequestHead::default());
    let mut rest = bytes;
    loop {
        match request::parse(rest, &HeadLimits::default(), &mut Cursor::default(), &mut head) {
            Parsed::Incomplete => return (out, contents, None),
            Parsed::Malformed(fault) => return (out, contents, Some(fault)),
            Parsed::Complete(_) => {}
        }
        let mut plan = RequestPlan::new(&head, &[(b"X-Forwarded-For", b"10.0.0.1")]);
        plan.authority = head.authority(rest).is_empty().then_some(b"upstream:80");
        write::request_head(&mut out, rest, &head, &plan);
        rest = &rest[head.len..];
        let mut decoder = Decoder::new(head.framing);
        let mut content = Vec::new();
        loop {
            let (used, event) = match decoder.next(rest) {
                Ok(step) => step,
                Err(fault) => return (out, contents, Some(fault)),
            };
            match event {
                Event::Data(range) => {
                    content.extend_from_slice(&rest[range.clone()]);
                    if head.framing == Framing::Chunked {
                        out.extend_from_slice(
                            chunked::ChunkHead::new(range.len() as u64).as_bytes(),
                        );
                        out.extend_from_slice(&rest[range]);
                        out.extend_from_slice(chunked::CHUNK_END);
                    } else {
                        out.extend_from_slice(&rest[range]);
                    }
                }
                Event::NeedMore => return (out, contents, None),
                Event::End => {
                    if head.framing == Framing::Chunked {
                        chunked::write_end(&mut out, decoder.take_trailers().as_deref());
                    }
                    rest = &rest[used..];
                    contents.push(content);
                    break;
                }
            }
            rest = &rest[used..];
        }
    }
}

/// Both independent parsers must see exactly the messages that were taken to their end.
fn check_forwarded(sent: &[u8]) -> usize {
    let (out, contents, _) = relay(sent);
    let shown = || {
        format!(
            "sent {:?}\nforwarded {:?}",
            String::from_utf8_lossy(sent),
            String::from_utf8_lossy(&out)
        )
    };
    let mut rest = &out[..];
    let mut messages = Vec::new();
    loop {
        match naive::request(rest) {
            Ok((message, after)) => {
                messages.push(message);
                rest = after;
            }
            Err(naive::Not::Whole) => break,
            Err(naive::Not::Legal(why)) => panic!("{why}\n{}", shown()),
        }
    }
    let naive_contents: Vec<_> = messages.iter().map(|message| message.content.clone()).collect();
    assert_eq!(naive_contents, contents, "{}", shown());
    for message in &messages {
        for hop in ["keep-alive", "upgrade", "proxy-connection", "http2-settings", "x-real-ip"] {
            assert!(naive::all(&message.fields, hop).is_empty(), "{hop}\n{}", shown());
        }
        let forwarded_for = naive::all(&message.fields, "x-forwarded-for");
        assert_eq!(forwarded_for, [b"10.0.0.1"], "{}", shown());
    }
    check_second(&out, &messages, &shown);
    messages.len()
}

fn check_second(out: &[u8], messages: &[naive::Message], shown: &dyn Fn() -> String) {
    // It knows registered methods only, so that others are not held against the codec.
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    if messages.iter().any(|m| !known.iter().any(|k| k.as_bytes() == m.start[0])) {
        return;
    }
    let seen = second::requests(out);
    let agree = seen.messages.len() >= messages.len()
        && messages.iter().zip(&seen.messages).all(|(ours, theirs)| {
            ours.start[1] == theirs.url
                && ours.content == theirs.content
                // Theirs has the trailers at the end.
                && ours.fields.iter().zip(&theirs.fields).all(|(a, b)| a == b)
        });
    assert!(agree, "{seen:?}\n{messages:?}\n{}", shown());
    let complete = naive::request(&out[out.len()..]) == Err(naive::Not::Whole);
    assert!(complete && seen.messages.len() == messages.len(), "{seen:?}\n{}", shown());
}

#[test]
fn what_is_forwarded_reads_the_same_to_two_strict_parsers() {
    let seeds = corpus("request");
    let mut taken = 0;
    for seed in &seeds {
        taken += check_forwarded(seed);
    }
    assert!(taken >= 10, "the corpus holds good requests too: {taken}");
    let mut random = Rng::with_seed(0xca10);
    let (mut taken, mut refused) = (0_u64, 0_u64);
    for _ in 0..60_000 {
        let sent = mutate(&mut random, &seeds);
        taken += check_forwarded(&sent) as u64;
        refused += u64::from(relay(&sent).2.is_some());
    }
    // A fuzzer that only ever meets one verdict tests little.
    assert!(taken > 10_000 && refused > 10_000, "{taken} taken, {refused} refused");
}

#[test]
fn however_a_request_is_cut_its_verdict_is_the_same() {
    let seeds = corpus("request");
    let mut random = Rng::with_seed(0xca11);
    let limits = HeadLimits::default();
    for _ in 0..20_000 {
        let sent = mutate(&mut random, &seeds);
        let mut whole = RequestHead::default();
        let verdict = request::parse(&sent, &limits, &mut Cursor::default(), &mut whole);
        let (mut cut, mut cursor, mut end) = (RequestHead::default(), Cursor::default(), 0);
        let piece = random.usize(1..20);
        let mut parsed = Parsed::Incomplete;
        while parsed == Parsed::Incomplete && end < sent.len() {
            end = (end + random.usize(1..=piece)).min(sent.len());
            parsed = request::parse(&sent[..end], &limits, &mut cursor, &mut cut);
        }
        let text = String::from_utf8_lossy(&sent);
        match (verdict, parsed) {
            (Parsed::Complete(_), _) => {
                assert_eq!(parsed, verdict, "{text:?}");
                assert_eq!(whole, cut, "{text:?}");
            }
            // Which fault is met first may differ, and one in an unended head may be met later.
            (Parsed::Malformed(_), Parsed::Malformed(_)) => {}
            (Parsed::Malformed(_), Parsed::Incomplete) => {
                assert!(!sent.windows(4).any(|w| w == b"\r\n\r\n"), "{text:?}");
            }
            (Parsed::Incomplete, _) => assert_eq!(parsed, Parsed::Incomplete, "{text:?}"),
            (Parsed::Malformed(_), Parsed::Complete(_)) => panic!("{text:?}"),
        }
    }
}

fn decode(
    bytes: &[u8],
    random: &mut Rng,
    piece: usize,
) -> Result<(Vec<u8>, bool, usize), Malformed> {
    let mut decoder = Decoder::new(Framing::Chunked);
    let (mut content, mut used_total, mut end) = (Vec::new(), 0, 0);
    while end < bytes.len() {
        end = (end + random.usize(1..=piece)).min(bytes.len());
        loop {
            let (used, event) = decoder.next(&bytes[used_total..end])?;
            if let Event::Data(range) = &event {
                content.extend_from_slice(&bytes[used_total..end][range.clone()]);
            }
            used_total += used;
            match event {
                Event::Data(_) => {}
                Event::NeedMore => break,
                Event::End => return Ok((content, true, used_total)),
            }
        }
        assert_eq!(used_total, end, "all bytes are used up");
    }
    Ok((content, false, used_total))
}

#[test]
fn chunks_decode_as_the_slow_reference_says_however_they_are_cut() {
    let seeds: Vec<Vec<u8>> = [
        &b"5\r\nhello\r\n0\r\n\r\n"[..],
        b"5;a=b\r\nhello\r\n1;x;y=\"z\\\"\"\r\n!\r\n0;q\r\nX: y\r\n\r\nrest",
        b"00a\r\n0123456789\r\n0\r\nA: 1\r\nB: 2\r\n\r\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    let mut random = Rng::with_seed(0xca12);
    let (mut whole, mut refused) = (0, 0);
    for _ in 0..60_000 {
        let sent = mutate(&mut random, &seeds);
        let piece = random.usize(1..30);
        let found = decode(&sent, &mut random, piece);
        let text = String::from_utf8_lossy(&sent);
        match (naive::chunks(&sent), found) {
            (Ok((content, trailers, rest)), Ok((ours, done, used))) => {
                assert!(done && ours == content && sent.len() - used == rest.len(), "{text:?}");
                for framing in ["content-length", "transfer-encoding", "host", "connection"] {
                    assert!(naive::all(&trailers, framing).is_empty(), "{text:?}");
                }
                whole += 1;
            }
            (Ok(_), Err(Malformed::ForbiddenTrailer)) => {}
            (Err(naive::Not::Whole), Ok((_, done, _))) => assert!(!done, "{text:?}"),
            // The reference looks at whole lines, the decoder at each byte as it comes.
            (Err(_), Err(_)) => refused += 1,
            (Err(naive::Not::Legal(_)), Ok((_, done, _))) => {
                // A fault in trailers that have not ended yet is found at their end.
                assert!(!done, "{text:?}");
            }
            (reference, ours) => panic!("{reference:?}\n{ours:?}\n{text:?}"),
        }
    }
    assert!(whole > 5000 && refused > 5000, "{whole} whole, {refused} refused");
}

#[test]
fn what_is_answered_reads_the_same_to_a_strict_parser() {
    let seeds = corpus("response");
    let mut random = Rng::with_seed(0xca13);
    let asked = |line: &str| {
        let sent = format!("{line}\r\nHost: a\r\n\r\n");
        let mut head = RequestHead::default();
        let limits = HeadLimits::default();
        request::parse(sent.as_bytes(), &limits, &mut Cursor::default(), &mut head);
        head
    };
    let requests = [asked("GET / HTTP/1.1"), asked("HEAD / HTTP/1.1"), asked("GET / HTTP/1.0")];
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..60_000 {
        let answer = mutate(&mut random, &seeds);
        let request = &requests[random.usize(..3)];
        let mut head = ResponseHead::default();
        let limits = HeadLimits::default();
        let parsed =
            response::parse(&answer, request.method, &limits, &mut Cursor::default(), &mut head);
        let (mut cut, mut cursor, mut end) = (ResponseHead::default(), Cursor::default(), 0);
        let mut dribbled = Parsed::Incomplete;
        while dribbled == Parsed::Incomplete && end < answer.len() {
            end = (end + random.usize(1..9)).min(answer.len());
            dribbled =
                response::parse(&answer[..end], request.method, &limits, &mut cursor, &mut cut);
        }
        let text = String::from_utf8_lossy(&answer);
        let Parsed::Complete(_) = parsed else {
            assert!(!matches!(dribbled, Parsed::Complete(_)), "{text:?}");
            refused += 1;
            continue;
        };
        assert_eq!((dribbled, &cut), (parsed, &head), "{text:?}");
        taken += 1;
        let mut out = Vec::new();
        let plan = ResponsePlan::new(&head, request, true, &[]);
        write::response_head(&mut out, &answer, &head, &plan);
        let bodiless = request.method == Method::Head;
        match naive::response(&out, bodiless) {
            Ok((message, rest)) => {
                assert!(rest.is_empty() && message.content.is_empty(), "{text:?}");
            }
            Err(naive::Not::Whole) => {}
            Err(naive::Not::Legal(why)) => panic!("{why}\n{text:?}"),
        }
    }
    assert!(taken > 5000 && refused > 5000, "{taken} taken, {refused} refused");
}

/// The normal form by its definition: cut into segments, decode, encode.
fn slow_path(path: &[u8]) -> Option<Vec<u8>> {
    let mut symbols = Vec::new();
    let mut at = 0;
    while at < path.len() {
        if path[at] == b'%' {
            let digits = std::str::from_utf8(path.get(at + 1..at + 3)?).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            let byte = u8::from_str_radix(digits, 16).unwrap();
            if b"/\\\0".contains(&byte) {
                return None;
            }
            symbols.push((byte, true));
            at += 3;
        } else {
            symbols.push((path[at], false));
            at += 1;
        }
    }
    let mut out = Vec::new();
    for (byte, encoded) in symbols {
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let literal = b"!$&'()*+,;=:@/".contains(&byte);
        let sloppy = b"[]{}|^`".contains(&byte);
        if unreserved || (literal && !encoded) {
            out.push(byte);
        } else if encoded || sloppy {
            out.extend(format!("%{byte:02X}").bytes());
        } else {
            return None;
        }
    }
    let text = String::from_utf8(out.clone()).unwrap();
    let dots = |segment: &str| {
        ["", "."].contains(&segment.split(';').next().unwrap().strip_prefix('.')?).then_some(())
    };
    if text.split('/').any(|segment| dots(segment).is_some()) {
        return None;
    }
    (out.first() == Some(&b'/')).then_some(out)
}

#[test]
fn paths_have_the_form_the_slow_reference_gives_them() {
    let mut random = Rng::with_seed(0xca14);
    let pieces: [&[u8]; 24] = [
        b"/", b"/", b"a", b"Z", b".", b"..", b"%2e", b"%2E", b"%41", b"%c3", b"%2f", b"%5C",
        b"%00", b"%", b"%4", b";", b"=", b"[", b"|", b"\\", b"#", b"\x80", b"~", b"%7e",
    ];
    let (mut good, mut bad) = (0, 0);
    for _ in 0..100_000 {
        let mut path = b"/".to_vec();
        for _ in 0..random.usize(0..6) {
            path.extend_from_slice(pieces[random.usize(..pieces.len())]);
        }
        let mut scratch = b"before".to_vec();
        let found = target::canonical(&path, &mut scratch).ok().map(|found| match found.path {
            target::Canonical::Input(from, to) => path[from..to].to_vec(),
            target::Canonical::Scratch(from, to) => scratch[from..to].to_vec(),
        });
        let text = String::from_utf8_lossy(&path);
        assert_eq!(found, slow_path(&path), "{text}");
        if let Some(form) = found {
            let mut scratch = Vec::new();
            let again = target::canonical(&form, &mut scratch).unwrap();
            let fresh = form.windows(1).all(|w| !b"%".contains(&w[0]));
            assert!(!fresh || again.path == target::Canonical::Input(0, form.len()), "{text}");
            good += 1;
        } else {
            bad += 1;
        }
    }
    assert!(good > 10_000 && bad > 10_000, "{good} good, {bad} bad");
}

#[test]
fn an_authority_has_one_form_of_harmless_bytes() {
    let mut random = Rng::with_seed(0xca16);
    let pieces: [&[u8]; 22] = [
        b"a",
        b"B",
        b"example",
        b".",
        b"org",
        b":",
        b":80",
        b"0",
        b"65535",
        b"9",
        b"[",
        b"]",
        b"::1",
        b"[2001:DB8::1]",
        b"@",
        b"%",
        b"_",
        b"-",
        b" ",
        b"/",
        b"\xc3",
        b"127.0.0.1",
    ];
    let (mut good, mut bad) = (0, 0);
    for _ in 0..100_000 {
        let sent: Vec<u8> = (0..random.usize(1..6))
            .flat_map(|_| pieces[random.usize(..pieces.len())].iter().copied())
            .collect();
        let mut scratch = b"before".to_vec();
        let Ok(found) = authority::canonical(&sent, &mut scratch) else {
            bad += 1;
            continue;
        };
        good += 1;
        let bytes = if found.in_scratch { &scratch } else { &sent };
        let (form, host) = (&bytes[found.start..found.end], &bytes[found.start..found.host_end]);
        let text = std::str::from_utf8(form).unwrap();
        // What is left of the form without its host is exactly the port.
        let port = found.port.map(|port| format!(":{port}")).unwrap_or_default();
        assert_eq!(&form[host.len()..], port.as_bytes(), "{text}");
        let name = host
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_~.".contains(b));
        let literal = text.starts_with('[')
            && host.ends_with(b"]")
            && text[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok();
        assert!(!host.is_empty() && (name != literal), "{text}");
        assert!(!host.ends_with(b".") && !host.starts_with(b"."), "{text}");
        let mut scratch = Vec::new();
        let again = authority::canonical(form, &mut scratch).unwrap();
        let bytes = if again.in_scratch { &scratch } else { form };
        assert_eq!(&bytes[again.start..again.end], form, "the form of a form is itself");
    }
    assert!(good > 5000 && bad > 5000, "{good} good, {bad} bad");
}

#[test]
fn noise_is_refused_or_waited_for_without_panic() {
    let mut random = Rng::with_seed(0xca15);
    for _ in 0..50_000 {
        let length = random.usize(..200);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        let _ = relay(&noise);
        let mut head = ResponseHead::default();
        let limits = HeadLimits::default();
        let _ = response::parse(&noise, Method::Get, &limits, &mut Cursor::default(), &mut head);
        let _ = decode(&noise, &mut random, 7);
    }
}
