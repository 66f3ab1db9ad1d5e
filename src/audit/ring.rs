//! The way of records from one worker to the writer: a ring of words with one end each.
//!
//! ```text
//!   words   ░░░░░░░░████ D ████ O ██ D ████░░░░░░░░      head and tail only grow; a place is its
//!                   ▲ head: the writer's   ▲ tail: the worker's          number modulo the size
//! ```
//! Records have any length and start at a word; the first word holds the record's length, so that
//! the ring needs none of its own. Words are atomics because safe code may not share bytes: stores
//! and loads are relaxed, that is, plain moves; the release of `tail` and its acquire order them.
//! Fixed slots would move 512 bytes for a decision of 160; a queue of boxes would allocate.
//!
//! `tests/model/ring.rs` compiles this very file with loom's atomics and a ring of a few words.

use super::atomics::{Arc, AtomicU64, Ordering};
use super::record::{HEADER_BYTES, OPENING_KIND};
use crate::wire::limits::RING_WORDS;

/// On a cache line pair of its own, which is what today's prefetchers fetch: the two ends are
/// written by different cores.
#[repr(align(128))]
#[derive(Debug)]
struct Place(AtomicU64);

#[derive(Debug)]
struct Ring {
    words: Box<[AtomicU64]>,
    head: Place,
    tail: Place,
    /// Where the writer was when it last made everything before it durable.
    durable: Place,
}

/// The worker's end.
#[derive(Debug)]
pub struct Producer {
    ring: Arc<Ring>,
    tail: u64,
    /// Where the other end was when it was last looked at.
    head: u64,
}

/// The writer's end.
#[derive(Debug)]
pub struct Consumer {
    ring: Arc<Ring>,
    head: u64,
}

const _: () = assert!(RING_WORDS.is_power_of_two());

/// How many words a record of that many bytes takes.
#[inline]
pub const fn words(bytes: usize) -> u64 {
    bytes.div_ceil(8) as u64
}

/// A ring and its two ends.
pub fn ring() -> (Producer, Consumer) {
    let words = (0..RING_WORDS).map(|_| AtomicU64::new(0)).collect();
    let place = || Place(AtomicU64::new(0));
    let ring = Arc::new(Ring { words, head: place(), tail: place(), durable: place() });
    (Producer { ring: Arc::clone(&ring), tail: 0, head: 0 }, Consumer { ring, head: 0 })
}

impl Ring {
    #[inline]
    fn word(&self, place: u64) -> Option<&AtomicU64> {
        // A power of two: the remainder is a mask.
        self.words.get((place % RING_WORDS) as usize)
    }
}

impl Producer {
    /// Whether that many words are free.
    #[inline]
    pub fn has_room(&mut self, words: u64) -> bool {
        if self.tail - self.head + words <= RING_WORDS {
            return true;
        }
        self.head = self.ring.head.0.load(Ordering::Acquire);
        self.tail - self.head + words <= RING_WORDS
    }

    /// Appends a record and lets the other end see it.
    #[inline]
    pub fn push(&mut self, record: &[u8]) {
        self.put(record);
        self.publish();
    }

    /// Lets the other end see what was put.
    #[inline]
    pub fn publish(&mut self) {
        self.ring.tail.0.store(self.tail, Ordering::Release);
    }

    /// Appends a record, which begins with its header, and which the other end does not see yet.
    /// There must be room: see [`Producer::has_room`].
    #[inline]
    pub fn put(&mut self, record: &[u8]) {
        let mut place = self.tail;
        let mut put = |word: [u8; 8]| {
            if let Some(slot) = self.ring.word(place) {
                slot.store(u64::from_le_bytes(word), Ordering::Relaxed);
            }
            place += 1;
        };
        let mut chunks = record.chunks_exact(8);
        for chunk in chunks.by_ref() {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            put(word);
        }
        if !chunks.remainder().is_empty() {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunks.remainder()) {
                *to = *from;
            }
            put(word);
        }
        self.tail = place;
    }
}

impl Producer {
    /// Where the next record goes.
    pub fn end(&self) -> u64 {
        self.tail
    }

    /// Up to where records are durable.
    #[inline]
    pub fn durable(&self) -> u64 {
        self.ring.durable.0.load(Ordering::Acquire)
    }
}

impl Consumer {
    /// Says that everything drained so far is durable; whether that is news.
    pub fn settle(&mut self) -> bool {
        self.ring.durable.0.swap(self.head, Ordering::Release) != self.head
    }

    /// Moves whole records behind what is in `out`, until there are none or `out` has `enough`
    /// bytes; how many. Openings go `aside` and are not counted.
    pub fn drain(&mut self, out: &mut Vec<u8>, aside: &mut Vec<u8>, enough: usize) -> u32 {
        let tail = self.ring.tail.0.load(Ordering::Acquire);
        let mut records = 0;
        while self.head < tail && out.len() < enough {
            let word = |place| self.ring.word(place).map_or(0, |it| it.load(Ordering::Relaxed));
            let first = word(self.head);
            // The header's length: its third and fourth byte. Less than a header cannot be.
            let length = usize::from((first >> 16) as u16).max(HEADER_BYTES);
            let until = (self.head + words(length)).min(tail);
            let is_opening = first as u8 == OPENING_KIND;
            let to = if is_opening { &mut *aside } else { &mut *out };
            let end = to.len() + length;
            to.extend_from_slice(&first.to_le_bytes());
            for place in self.head + 1..until {
                to.extend_from_slice(&word(place).to_le_bytes());
            }
            to.truncate(end);
            self.head = until;
            records += u32::from(!is_opening);
        }
        self.ring.head.0.store(self.head, Ordering::Release);
        records
    }
}
