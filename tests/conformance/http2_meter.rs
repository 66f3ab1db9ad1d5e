//! The frame meter: each flood ends within its bound, honest traffic never does, and neither the
//! split nor the content of the bytes makes a difference to either (RFC 9113).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    reason = "a test that fails is meant to panic"
)]

use caio::http2::{Abuse, AbuseKind, Code, Glitch, HpackFault, Meter, MeterLimits, Role};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;
/// GET https / of no authority; every field is static.
const HEAD: &[u8] = &[0x82, 0x87, 0x84];
/// A head in which `x: y` enters the table, and trailers that name that entry.
const HEAD_INDEXING: &[u8] = &[0x82, 0x87, 0x84, 0x40, 1, b'x', 1, b'y'];
const TRAILERS: &[u8] = &[0xbe];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

fn hello() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, 1, 0, &[])].concat()
}

fn meter() -> Meter {
    let mut meter = Meter::new(MeterLimits::default(), Role::Downstream);
    meter.feed(&hello(), 0).unwrap();
    meter
}

/// Feeds one slice after the other at one moment; how many were taken, and what ended it.
fn flood(next: impl Fn(u32) -> Vec<u8>) -> (u32, AbuseKind) {
    let mut meter = meter();
    meter.feed(&frame(HEADERS, END_HEADERS, 1, HEAD), 0).unwrap();
    for count in 0..100_000 {
        if let Err(abuse) = meter.feed(&next(count), 0) {
            return (count, abuse.kind);
        }
    }
    panic!("100 000 were taken");
}

#[test]
fn every_flood_of_useless_frames_is_told_to_calm_down_within_two_hundred() {
    type Next = fn(u32) -> Vec<u8>;
    let floods: [(Glitch, Next); 16] = [
        (Glitch::Ping, |_| frame(PING, 0, 0, &[0; 8])),
        (Glitch::Ping, |_| frame(PING, 1, 0, &[0; 8])),
        (Glitch::Settings, |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])),
        (Glitch::Priority, |_| frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 7])),
        (Glitch::StreamError, |n| frame(WINDOW_UPDATE, 0, 2 * n + 3, &[0; 4])),
        (Glitch::UnknownFrame, |n| frame(10 + (n % 200) as u8, 0, 0, &[1, 2, 3])),
        (Glitch::GoAway, |_| frame(GOAWAY, 0, 0, &[0; 8])),
        (Glitch::TinyWindowUpdate, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        (Glitch::TinyWindowUpdate, |_| frame(WINDOW_UPDATE, 0, 1, &[0, 0, 3, 255])),
        (Glitch::StreamError, |_| frame(WINDOW_UPDATE, 0, 1, &[0x7f, 255, 255, 255])),
        (Glitch::EmptyData, |_| frame(DATA, 0, 1, &[])),
        (Glitch::EmptyData, |_| frame(DATA, PADDED, 1, &[[9].as_slice(), &[0; 9]].concat())),
        (Glitch::EmptyData, |_| frame(DATA, PADDED, 1, &[0])),
        // Rapid reset: a request and its cancellation.
        (Glitch::Reset, |n| {
            let id = 2 * n + 3;
            let head = frame(HEADERS, END_HEADERS | END_STREAM, id, HEAD);
            [head, frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
        }),
        // A malformed head, which h2 answers with a reset.
        (Glitch::StreamError, |n| {
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 3, &[0x82, 0x82, 0x87, 0x84])
        }),
        // MadeYouReset: DATA behind the end of its stream.
        (Glitch::StreamError, |n| {
            let id = 2 * n + 3;
            let head = frame(HEADERS, END_HEADERS | END_STREAM, id, HEAD);
            [head, frame(DATA, 0, id, b"more")].concat()
        }),
    ];
    for (glitch, next) in floods {
        let (count, kind) = flood(next);
        assert_eq!(kind, AbuseKind::Useless(glitch));
        assert_eq!(kind.code(), Code::EnhanceYourCalm);
        assert!((100..=200).contains(&count), "{glitch:?} after {count}");
    }
}

#[test]
fn a_message_that_goes_on_behind_its_own_end_ends_the_connection() {
    let begun = || frame(HEADERS, END_HEADERS, 1, HEAD);
    let ends = [frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), frame(DATA, END_STREAM, 1, b"all")];
    let more = [frame(DATA, 0, 1, b"more"), frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD)];
    for end in &ends {
        for more in &more {
            let mut meter = meter();
            meter.feed(&[begun(), end.clone()].concat(), 0).unwrap();
            let found = meter.feed(more, 0).unwrap_err();
            assert_eq!(found, Abuse { kind: AbuseKind::StreamClosed, safe: 0 });
            assert_eq!(found.code(), Code::StreamClosed);
        }
    }
    let mut meter = meter();
    meter.feed(&begun(), 0).unwrap();
    let found = meter.feed(&frame(HEADERS, END_HEADERS, 1, &[0x90]), 0).unwrap_err();
    assert_eq!((found.kind, found.code()), (AbuseKind::SecondHead, Code::ProtocolError));
}

#[test]
fn streams_begun_and_never_ended_are_a_flood() {
    let (count, kind) = flood(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 3, HEAD));
    assert_eq!(kind, AbuseKind::Useless(Glitch::StreamFlood));
    assert!(count < 700, "{count}");
}

#[test]
fn resets_that_only_h2_can_see_the_reason_of_are_counted_when_reported() {
    let mut meter = meter();
    let taken = (0..1000).take_while(|_| meter.exchange_provoked_reset().is_ok()).count();
    assert_eq!(taken, 150);
    let found = meter.feed(&frame(DATA, END_STREAM, 1, b"x"), 0).unwrap_err();
    assert_eq!(found, Abuse { kind: AbuseKind::Useless(Glitch::StreamError), safe: 0 });
}

#[test]
fn kinds_share_one_count() {
    let (count, _) = flood(|n| match n % 3 {
        0 => frame(PING, 0, 0, &[0; 8]),
        1 => frame(DATA, 0, 1, &[]),
        _ => frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 7]),
    });
    assert!(count <= 200, "{count}");
}

fn block_flood(head: &[u8], next: &[u8]) -> (u32, AbuseKind) {
    let mut meter = meter();
    meter.feed(&frame(HEADERS, 0, 1, head), 0).unwrap();
    for count in 1.. {
        if let Err(abuse) = meter.feed(&frame(CONTINUATION, 0, 1, next), 0) {
            return (count, abuse.kind);
        }
    }
    unreachable!()
}

#[test]
fn a_header_block_is_bounded_in_frames_and_bytes() {
    assert_eq!(block_flood(HEAD, &[]), (9, AbuseKind::Continuations));
    assert_eq!(block_flood(HEAD, &[0x82]), (9, AbuseKind::Continuations));
    let full = vec![0x82; 16_384];
    assert_eq!(block_flood(&full, &full), (4, AbuseKind::HeaderBlock));
    // Blocks of empty frames, each within the bound, add up.
    let (count, kind) = flood(|n| {
        let id = 2 * n + 3;
        let mut out = frame(HEADERS, END_STREAM, id, &[]);
        out.extend(frame(CONTINUATION, 0, id, &[]).repeat(7));
        out.extend(frame(CONTINUATION, END_HEADERS, id, HEAD));
        out
    });
    assert_eq!(kind, AbuseKind::Useless(Glitch::EmptyFragment));
    assert!(count <= 25, "{count}");
}

/// What one connection with these frames ends with.
fn verdict(frames: &[Vec<u8>]) -> Option<AbuseKind> {
    meter().feed(&frames.concat(), 0).err().map(|abuse| abuse.kind)
}

#[test]
fn pseudo_fields_in_trailers_are_refused_however_they_are_written() {
    let head = |block: &[u8]| frame(HEADERS, END_HEADERS, 1, block);
    let end = |block: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, 1, block);
    assert_eq!(verdict(&[head(HEAD_INDEXING), end(TRAILERS)]), None);
    let status = [0x40, 0x07, b':', b's', b't', b'a', b't', b'u', b's', 0x03, b'2', b'0', b'0'];
    let path_huffman = [0x00, 0x84, 0xb9, 0x58, 0xd3, 0x3f, 0x81, 0x63];
    let indexed = [&[0x04_u8, 0x01, b'/'][..], TRAILERS].concat();
    for block in [&[0x84][..], &[0xbe, 0x82], &status, &path_huffman, &indexed] {
        let found = verdict(&[head(HEAD_INDEXING), frame(DATA, 0, 1, b"body"), end(block)]);
        assert_eq!(found, Some(AbuseKind::PseudoInTrailers), "{block:x?}");
    }
    // By the table: the head put `:path` there.
    let head_path = [&[0x82, 0x87, 0x44, 0x02, b'/', b'a'][..]].concat();
    assert_eq!(verdict(&[head(&head_path), end(&[0xbe])]), Some(AbuseKind::PseudoInTrailers));
    // In a later frame of the block, between the frames of other streams.
    let found = verdict(&[
        head(HEAD_INDEXING),
        frame(HEADERS, END_HEADERS | END_STREAM, 3, HEAD),
        frame(HEADERS, END_STREAM, 1, TRAILERS),
        frame(CONTINUATION, END_HEADERS, 1, &[0x84]),
    ]);
    assert_eq!(found, Some(AbuseKind::PseudoInTrailers));
    assert_eq!(AbuseKind::PseudoInTrailers.code(), Code::ProtocolError);
}

#[test]
fn a_services_trailers_are_held_to_the_same_and_interim_heads_are_not_trailers() {
    let mut meter = Meter::new(MeterLimits::default(), Role::Upstream);
    let interim = [0x08, 0x03, b'1', b'0', b'3'];
    let interim_huffman = [0x48, 0x82, 0x08, 0x19];
    meter.feed(&frame(SETTINGS, 0, 0, &[]), 0).unwrap();
    meter.feed(&frame(HEADERS, END_HEADERS, 1, &interim), 0).unwrap();
    meter.feed(&frame(HEADERS, END_HEADERS, 1, &interim_huffman), 0).unwrap();
    meter.feed(&frame(HEADERS, END_HEADERS, 1, &[0xbe]), 0).unwrap();
    assert_eq!(meter.useless_frames(), 3);
    meter.feed(&frame(HEADERS, END_HEADERS, 1, &[0x88]), 0).unwrap();
    meter.feed(&frame(HEADERS, END_HEADERS, 3, &[0x88]), 0).unwrap();
    meter.feed(&frame(DATA, 0, 1, b"body"), 0).unwrap();
    meter.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x10, 1, b'a', 0]), 0).unwrap();
    let found = meter.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &[0x88]), 0);
    assert_eq!(found.unwrap_err().kind, AbuseKind::PseudoInTrailers);
}

#[test]
fn a_malformed_block_cannot_hide_in_a_split() {
    let connection = [HEAD, &[0x00, 10], b"connection", &[5], b"close"].concat();
    let late_pseudo = [0x82, 0x87, 0x00, 1, b'x', 1, b'y', 0x84];
    let te = [HEAD, &[0x00, 2], b"te", &[4], b"gzip"].concat();
    let twice = [0x82, 0x87, 0x84, 0x84];
    let tail = [0x00, 3, b'a', b'b', b'c', 3, b'd', b'e', b'f'];
    for bad in [&connection[..], &late_pseudo, &te, &twice] {
        let block = [bad, &tail].concat();
        for cut in 0..=block.len() {
            let frames = [
                frame(HEADERS, END_STREAM, 1, &block[..cut]),
                frame(CONTINUATION, END_HEADERS, 1, &block[cut..]),
            ];
            assert_eq!(verdict(&frames), Some(AbuseKind::MalformedBlock), "cut at {cut}");
        }
        // In one frame it is h2's to answer, with an error of the stream alone.
        assert_eq!(verdict(&[frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)]), None);
    }
}

#[test]
fn breaches_of_the_protocol_have_their_codes() {
    let calm = |kind: AbuseKind| kind.code() == Code::EnhanceYourCalm;
    let split = frame(HEADERS, END_STREAM, 1, &[0x82]);
    let cases: [(Vec<Vec<u8>>, AbuseKind); 9] = [
        (vec![split.clone(), frame(PING, 0, 0, &[0; 8])], AbuseKind::Sequence),
        (vec![split.clone(), frame(200, 0, 1, &[])], AbuseKind::Sequence),
        (vec![split, frame(CONTINUATION, 0, 3, &[])], AbuseKind::Sequence),
        (vec![frame(CONTINUATION, END_HEADERS, 1, HEAD)], AbuseKind::Sequence),
        (vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])], AbuseKind::PushPromise),
        (vec![frame(HEADERS, PADDED | END_HEADERS, 1, &[4, 0x82, 0, 0])], AbuseKind::Padding),
        (vec![frame(HEADERS, WITH_PRIORITY, 1, &[0, 0, 0])], AbuseKind::Padding),
        (
            vec![frame(HEADERS, WITH_PRIORITY | END_HEADERS, 5, &[0x80, 0, 0, 5, 1, 0x82])],
            AbuseKind::SelfDependency,
        ),
        (vec![frame(HEADERS, END_HEADERS, 1, &[0x80])], AbuseKind::Compression(HpackFault::Index)),
    ];
    for (frames, kind) in cases {
        assert_eq!(verdict(&frames), Some(kind));
        assert!(!calm(kind));
    }
    let found = Meter::new(MeterLimits::default(), Role::Downstream).feed(b"PRI * HTTP/1.1", 0);
    assert_eq!(found.unwrap_err().kind, AbuseKind::Preface);
    // Padding and priority that do fit.
    let whole = [2, 0, 0, 0, 3, 9, 0x82, 0x87, 0x84, 0, 0];
    let fits = frame(HEADERS, PADDED | WITH_PRIORITY | END_HEADERS | END_STREAM, 1, &whole);
    assert_eq!(verdict(&[fits]), None);
}

#[test]
fn the_frames_before_the_offending_one_are_safe() {
    let good = [frame(HEADERS, END_HEADERS, 1, HEAD), frame(DATA, 0, 1, b"1234")].concat();
    let bad = frame(PUSH_PROMISE, 0, 1, &[0; 4]);
    let mut meter = meter();
    let found = meter.feed(&[&good[..], &bad, &good].concat(), 0).unwrap_err();
    assert_eq!(found, Abuse { kind: AbuseKind::PushPromise, safe: good.len() });
    // And the end is the end.
    assert_eq!(meter.feed(&good, 99_999).unwrap_err().safe, 0);
    assert_eq!(meter.last_stream_id(), 1);
}

#[test]
fn a_long_grpc_connection_is_never_told_to_calm_down() {
    let mut meter = meter();
    let message = frame(DATA, 0, 1, &[7; 200]);
    let update = frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0x80, 0]);
    meter.feed(&frame(HEADERS, END_HEADERS, 1, HEAD), 0).unwrap();
    for count in 0..1_000_000_u64 {
        let now_ms = count / 10; // ten messages a millisecond
        meter.feed(&message, now_ms).unwrap();
        if count % 16 == 0 {
            meter.feed(&update, now_ms).unwrap();
        }
        // Twenty pings in one moment every two seconds.
        if count % 20_000 < 20 {
            meter.feed(&frame(PING, 0, 0, &[0; 8]), now_ms).unwrap();
        }
    }
    assert!(meter.useless_frames() <= 20);
}

#[test]
fn calls_that_end_well_pay_for_their_pings_updates_and_cancellations() {
    let mut meter = meter();
    for count in 0..100_000 {
        let id = 2 * count + 1;
        meter.feed(&frame(HEADERS, END_HEADERS, id, HEAD), 0).unwrap();
        meter.feed(&frame(DATA, END_STREAM, id, b"hello"), 0).unwrap();
        meter.sent(1);
        // The client acknowledges our one small message on connection and stream.
        meter.feed(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 9]), 0).unwrap();
        meter.feed(&frame(PING, 0, 0, &[0; 8]), 0).unwrap();
        meter.exchange_completed();
    }
    // A browser leaves the page: everything open is cancelled at once.
    for count in 0..128 {
        let id = 200_001 + 2 * count;
        meter.feed(&frame(HEADERS, END_HEADERS | END_STREAM, id, HEAD), 0).unwrap();
    }
    for count in 0..128 {
        meter.feed(&frame(RST_STREAM, 0, 200_001 + 2 * count, &[0, 0, 0, 8]), 0).unwrap();
    }
}

#[test]
fn one_call_that_ends_well_does_not_buy_a_flood() {
    let mut meter = meter();
    for _ in 0..10_000 {
        meter.exchange_completed();
    }
    let ping = frame(PING, 0, 0, &[0; 8]);
    let taken = (0..1000).take_while(|_| meter.feed(&ping, 0).is_ok()).count();
    assert_eq!(taken, 150);
}

/// A seeded connection: mostly honest, with some of everything.
fn connection(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut out = hello();
    let mut next = 1;
    for _ in 0..random.usize(1..120) {
        let id = if random.bool() { next } else { random.u32(0..=next) };
        let bytes: Vec<u8> = (0..random.usize(0..30)).map(|_| random.u8(..)).collect();
        let flags = random.u8(..) & 0x2d;
        match random.u8(0..12) {
            0..4 => {
                let mut block = HEAD_INDEXING.to_vec();
                if random.u8(0..8) == 0 {
                    block.extend(&bytes);
                }
                let cut = random.usize(0..=block.len());
                if random.bool() {
                    out.extend(frame(HEADERS, END_HEADERS | (flags & 1), next, &block));
                } else {
                    out.extend(frame(HEADERS, flags & 1, next, &block[..cut]));
                    out.extend(frame(CONTINUATION, END_HEADERS, next, &block[cut..]));
                }
                next += 2;
            }
            4 => out.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, TRAILERS)),
            5..8 => out.extend(frame(DATA, flags & 9, id, &bytes)),
            8 => out.extend(frame(random.u8(2..14), flags, id, &bytes)),
            9 => out.extend(frame(PING, 0, 0, &[0; 8]).repeat(random.usize(0..30))),
            10 => out.extend(frame(WINDOW_UPDATE, 0, id, &random.u32(..).to_be_bytes())),
            _ => out.extend(frame(SETTINGS, 0, 0, &[])),
        }
    }
    out
}

#[test]
fn every_split_has_the_answer_of_the_whole() {
    let mut random = fastrand::Rng::with_seed(21);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..2000 {
        let bytes = connection(&mut random);
        let new = || Meter::new(MeterLimits::default(), Role::Downstream);
        let mut whole = new();
        let answer = whole.feed(&bytes, 0);
        for largest in [1, 2, 7, 40] {
            let (mut split, mut at, mut found) = (new(), 0, Ok(()));
            while at < bytes.len() && found.is_ok() {
                let until = (at + random.usize(1..=largest)).min(bytes.len());
                found = split.feed(&bytes[at..until], 0).map_err(|abuse| (abuse, at));
                if found.is_ok() {
                    at = until;
                }
            }
            match (answer, found) {
                (Ok(()), Ok(())) => good += 1,
                (Err(abuse), Err((other, from))) => {
                    bad += 1;
                    assert_eq!(abuse.kind, other.kind);
                    // Up to the offending frame, or it began earlier and never gets its end.
                    let exact = from + other.safe == abuse.safe;
                    assert!(exact || (other.safe == 0 && from > abuse.safe));
                }
                (answer, found) => panic!("{answer:?} but {found:?}"),
            }
            assert_eq!(split.last_stream_id(), whole.last_stream_id());
            assert_eq!(split.useless_frames(), whole.useless_frames());
            assert_eq!(split.fields().table_bytes(), whole.fields().table_bytes());
        }
    }
    assert!(good > 500 && bad > 500, "{good} good, {bad} bad");
}

#[test]
fn random_bytes_never_panic() {
    let mut random = fastrand::Rng::with_seed(22);
    for round in 0..3000 {
        let role = if round % 2 == 0 { Role::Downstream } else { Role::Upstream };
        let mut meter = Meter::new(MeterLimits::default(), role);
        let mut bytes = connection(&mut random);
        for _ in 0..random.usize(0..8) {
            let at = random.usize(0..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.extend((0..random.usize(0..200)).map(|_| random.u8(..)));
        let from = if role == Role::Upstream { PREFACE.len() } else { 0 };
        let mut rest = &bytes[from..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(random.usize(1..=rest.len()));
            match meter.feed(now, u64::from(random.u32(..))) {
                Ok(()) => rest = later,
                Err(abuse) => {
                    assert!(abuse.safe <= now.len());
                    break;
                }
            }
        }
    }
}

#[test]
fn a_clock_that_steps_back_forgives_nothing_and_breaks_nothing() {
    let mut meter = meter();
    let ping = frame(PING, 0, 0, &[0; 8]);
    for _ in 0..100 {
        meter.feed(&ping, 5_000).unwrap();
    }
    meter.feed(&ping, 0).unwrap();
    assert_eq!(meter.useless_frames(), 101);
    meter.feed(&[], 10_000).unwrap();
    assert_eq!(meter.useless_frames(), 51);
}
