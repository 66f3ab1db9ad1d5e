//! The ring with the machine's own atomics; with all their orders: `tests/model/ring.rs`.

use super::ring::{ring, words};
use crate::wire::limits::RING_WORDS;

fn record(length: u16, filler: u8) -> Vec<u8> {
    let mut bytes = vec![filler; usize::from(length)];
    bytes[0] = b'D';
    bytes[2..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

#[test]
fn what_goes_in_comes_out_in_order_whatever_its_length() {
    let (mut producer, mut consumer) = ring();
    let mut random = fastrand::Rng::with_seed(1);
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    for round in 0..20_000u32 {
        let bytes = record(random.u16(16..1500), round as u8);
        if !producer.has_room(words(bytes.len())) || random.u8(..) < 10 {
            consumer.drain(&mut got, &mut Vec::new(), usize::MAX);
        }
        assert!(producer.has_room(words(bytes.len())));
        producer.push(&bytes);
        sent.extend(bytes);
    }
    consumer.drain(&mut got, &mut Vec::new(), usize::MAX);
    assert!(sent == got);
}

#[test]
fn a_full_ring_has_no_room_until_it_is_drained() {
    let (mut producer, mut consumer) = ring();
    let mut count = 0;
    while producer.has_room(4) {
        producer.push(&record(32, 1));
        count += 1;
    }
    assert_eq!(count, RING_WORDS / 4);
    let mut out = Vec::new();
    assert_eq!(consumer.drain(&mut out, &mut Vec::new(), 33), 2, "whole records only");
    assert_eq!(out.len(), 64);
    assert!(producer.has_room(8) && !producer.has_room(9));
}

#[test]
fn two_threads_lose_nothing() {
    let (mut producer, mut consumer) = ring();
    let sending = std::thread::spawn(move || {
        for number in 0..200_000u64 {
            let length = 16 + (number % 200) as u16;
            let mut bytes = record(length, 0);
            bytes[8..16].copy_from_slice(&number.to_le_bytes());
            while !producer.has_room(words(bytes.len())) {
                std::thread::yield_now();
            }
            producer.push(&bytes);
        }
    });
    let (mut out, mut next) = (Vec::new(), 0u64);
    while next < 200_000 {
        out.clear();
        consumer.drain(&mut out, &mut Vec::new(), 1 << 20);
        let mut rest = &out[..];
        while !rest.is_empty() {
            let length = usize::from(u16::from_le_bytes([rest[2], rest[3]]));
            assert_eq!(length as u64, 16 + next % 200);
            assert_eq!(u64::from_le_bytes(rest[8..16].try_into().unwrap()), next);
            rest = &rest[length..];
            next += 1;
        }
    }
    sending.join().unwrap();
}
