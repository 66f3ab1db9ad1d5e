//! The ring between a worker and the writer, in every order of their steps that C11 allows: loom
//! runs the very file that the gateway is built from, `src/audit/ring.rs`, with its own atomics
//! and a ring of four words in place of half a million.
//!
//! A feature or a `cfg` would build every dependency a second time, and some of them change under
//! `cfg(loom)`; to compile one file twice costs nothing, and leaves no switch in it.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::duplicate_mod,
    reason = "a test, with no outside, that panics where it fails, and has one file twice"
)]

#[path = "../../src/audit/ring.rs"]
mod ring;
mod weak;

/// What `ring.rs` finds beside it in `audit`.
mod record {
    pub const HEADER_BYTES: usize = 16;
    pub const OPENING_KIND: u8 = b'o';
}

mod atomics {
    pub use loom::sync::Arc;
    pub use loom::sync::atomic::{AtomicU64, Ordering};
}

mod wire {
    pub mod limits {
        /// Two records of two words: the third takes the place of the first.
        pub const RING_WORDS: u64 = 4;
    }
}

/// A record of that many bytes whose second word is its number.
fn record(length: u16, number: u8) -> Vec<u8> {
    let mut bytes = vec![number; usize::from(length)];
    bytes[2..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Every order in which a thread is interrupted at most twice beside where it waits: loom's authors
/// found that more finds nothing more, and here it is millions of orders.
fn explore(steps: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(steps);
}

/// One thread pushes `lengths` as room comes, the other drains at most `enough` bytes at a time:
/// what was pushed comes out, in order and whole.
macro_rules! passes {
    ($ring:path, $lengths:expr, $enough:expr) => {
        explore(|| {
            use $ring::{ring, words};
            let lengths: &'static [u16] = $lengths;
            let numbered = move || (0..).zip(lengths);
            let sent = move || numbered().map(|(number, length)| record(*length, number));
            let (mut producer, mut consumer) = ring();
            let worker = loom::thread::spawn(move || {
                for bytes in sent() {
                    while !producer.has_room(words(bytes.len())) {
                        loom::thread::yield_now();
                    }
                    producer.push(&bytes);
                }
            });
            let (mut got, mut records) = (Vec::new(), 0);
            while records < lengths.len() {
                let mut frame = Vec::new();
                let count = consumer.drain(&mut frame, &mut Vec::new(), $enough) as usize;
                assert_eq!(count == 0, frame.is_empty());
                if count == 0 {
                    loom::thread::yield_now();
                }
                records += count;
                got.extend(frame);
            }
            assert_eq!(got, sent().flatten().collect::<Vec<u8>>(), "as it was pushed");
            worker.join().unwrap();
        })
    };
}

#[test]
fn what_is_pushed_comes_out_whole_and_in_order_also_round_the_end() {
    passes!(crate::ring, &[16, 16, 16], usize::MAX);
    passes!(crate::ring, &[24, 16, 24], usize::MAX);
}

#[test]
fn a_drain_that_has_enough_leaves_the_rest_where_it_is() {
    passes!(crate::ring, &[16, 16, 16], 1);
}

/// An outcome whose room was kept free is pushed without a look at the other end.
#[test]
fn room_that_was_seen_stays_until_it_is_used() {
    explore(|| {
        let (mut producer, mut consumer) = ring::ring();
        let writer = loom::thread::spawn(move || {
            let mut out = Vec::new();
            consumer.drain(&mut out, &mut Vec::new(), usize::MAX);
            (consumer, out)
        });
        assert!(producer.has_room(4), "an empty ring");
        producer.push(&record(16, 1));
        producer.push(&record(16, 2));
        let drained = producer.has_room(1);
        let (mut consumer, mut out) = writer.join().unwrap();
        assert!(!drained || out.len() >= 16, "room only where something was taken out");
        consumer.drain(&mut out, &mut Vec::new(), usize::MAX);
        assert_eq!(out, [record(16, 1), record(16, 2)].concat());
    });
}

/// What waits for its record to be durable goes on only when the disk has it.
#[test]
fn what_is_said_to_be_durable_was_written_before() {
    explore(|| {
        let (mut producer, mut consumer) = ring::ring();
        let disk = atomics::Arc::new(atomics::AtomicU64::new(0));
        let written = atomics::Arc::clone(&disk);
        let writer = loom::thread::spawn(move || {
            for _ in 0..2 {
                let mut frame = Vec::new();
                let count = consumer.drain(&mut frame, &mut Vec::new(), usize::MAX);
                let before = written.load(atomics::Ordering::Relaxed);
                written.store(before + u64::from(count), atomics::Ordering::Relaxed);
                consumer.settle();
            }
        });
        for number in [1, 2] {
            assert!(producer.has_room(2));
            producer.push(&record(16, number));
        }
        let durable = producer.durable();
        let disk = disk.load(atomics::Ordering::Relaxed);
        assert!(disk * 2 >= durable, "{disk} records of two words each, and {durable} words");
        writer.join().unwrap();
        assert!(producer.durable() <= 4);
    });
}

/// The same file with every order taken out of it: loom has to see that.
#[test]
#[should_panic(expected = "as it was pushed")]
fn without_release_and_acquire_a_record_arrives_before_its_words() {
    passes!(crate::weak::ring, &[16, 16, 16], usize::MAX);
}
