//! The records of a process that hands over, on their way to the one that writes the trail now.
//!
//! ```text
//!   rings ─drain─▶ batch ──socket──▶ reader ─▶ writer: into one frame, durable
//!     ▲ settle ◀─── one byte ◀────────────────────┘     the next batch comes after that
//! ```
//! One batch at a time: what is not on its way waits in the rings, which are bounded. A socket that
//! ends is the process's end: its lanes have closed, or it was killed.

use super::durable::Bell;
use crate::audit::record::{HEADER_BYTES, OPENING_BYTES, OPENING_KIND};
use crate::audit::ring::Consumer;
use crate::audit::scan::Raw;
use crate::wire::limits::{DURABLE_WAIT_MS, RELAY_BYTES_MAX};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// What stands before a batch: how many records, their bytes, and those of openings.
const HEAD_BYTES: usize = 12;
/// What says that a batch is durable.
const DURABLE: u8 = 1;

/// What was drained of the rings at once.
#[derive(Debug, Default, PartialEq, Eq)]
struct Batch {
    count: u32,
    records: Vec<u8>,
    openings: Vec<u8>,
}

/// The end at the process that hands over.
pub struct Sending {
    socket: UnixStream,
    batch: Batch,
    /// Whose ring is drained first: it goes round.
    first: usize,
}

impl Sending {
    /// Sends what the rings hold into this socket.
    pub fn new(socket: UnixStream) -> Self {
        Self { socket, batch: Batch::default(), first: 0 }
    }

    /// Drains what waits, and comes back once that is durable; whether there was anything.
    ///
    /// # Errors
    /// When the other process is gone: whether what was sent is durable nobody can say.
    pub fn turn(&mut self, consumers: &mut [Consumer], enough: usize) -> io::Result<bool> {
        let Batch { count, records, openings } = &mut self.batch;
        *count = 0;
        records.clear();
        openings.clear();
        // A decision's openings are less than three times its record.
        let enough = enough.min(RELAY_BYTES_MAX / 4);
        self.first = (self.first + 1) % consumers.len().max(1);
        let (before, from) = consumers.split_at_mut(self.first.min(consumers.len()));
        for consumer in from.iter_mut().chain(before) {
            *count += consumer.drain(records, openings, enough);
        }
        if *count == 0 && openings.is_empty() {
            return Ok(false);
        }
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let head = [count.to_le_bytes(), length(records), length(openings)].concat();
        self.socket.write_all(&head)?;
        self.socket.write_all(records)?;
        self.socket.write_all(openings)?;
        self.socket.read_exact(&mut [0; 1])?;
        Ok(true)
    }
}

/// The end at the process that writes.
pub struct Relayed {
    socket: UnixStream,
    coming: Receiver<Batch>,
    lanes: Range<u16>,
    /// Whether a batch is in the frame and not told to be durable.
    taken: bool,
    over: bool,
}

impl Relayed {
    /// Takes what comes of these lanes; the bell wakes the writer for it.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start(socket: UnixStream, lanes: Range<u16>, bell: Bell) -> io::Result<Self> {
        let (found, coming) = sync_channel(1);
        let (from, of) = (socket.try_clone()?, lanes.clone());
        // Nobody at the other end is as good as an end; the writer is not to wait for an answer.
        socket.set_write_timeout(Some(Duration::from_millis(DURABLE_WAIT_MS)))?;
        std::thread::Builder::new().name("caio-relay".to_owned()).spawn(move || {
            read(from, &of, &found, &bell);
            drop(found);
            bell.ring();
        })?;
        Ok(Self { socket, coming, lanes, taken: false, over: false })
    }

    /// Moves a batch that came behind what is in `out`; how many records.
    pub fn drain(&mut self, out: &mut Vec<u8>, aside: &mut Vec<u8>) -> u32 {
        if self.taken || self.over {
            return 0;
        }
        match self.coming.try_recv() {
            Ok(batch) => {
                out.extend_from_slice(&batch.records);
                aside.extend_from_slice(&batch.openings);
                self.taken = true;
                batch.count
            }
            Err(TryRecvError::Empty) => 0,
            Err(TryRecvError::Disconnected) => {
                self.over = true;
                0
            }
        }
    }

    /// Says that what was drained is durable.
    pub fn settle(&mut self) {
        if std::mem::take(&mut self.taken) {
            // Whoever is gone hears nothing; its end is noticed by who reads.
            let _ = self.socket.write_all(&[DURABLE]);
        }
    }

    /// Whether nothing comes any more, once all that came is durable.
    pub fn is_over(&self) -> bool {
        self.over && !self.taken
    }

    /// Whose records come.
    pub fn lanes(&self) -> Range<u16> {
        self.lanes.clone()
    }
}

fn read(mut from: UnixStream, lanes: &Range<u16>, found: &SyncSender<Batch>, bell: &Bell) {
    while let Ok(batch) = next(&mut from)
        && batch.is_of(lanes)
        && found.send(batch).is_ok()
    {
        bell.ring();
    }
    // Also where it says what it may not: it hears that nothing of it is taken any more.
    let _ = from.shutdown(std::net::Shutdown::Both);
}

fn next(from: &mut UnixStream) -> io::Result<Batch> {
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head)?;
    let (words, _) = head.as_chunks::<4>();
    let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
    let mut word = || words.next().unwrap_or(0);
    let (count, records, openings) = (word(), word() as usize, word() as usize);
    if records.saturating_add(openings) > RELAY_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut batch = Batch { count, records: vec![0; records], openings: vec![0; openings] };
    from.read_exact(&mut batch.records)?;
    from.read_exact(&mut batch.openings)?;
    Ok(batch)
}

impl Batch {
    /// Whether it holds whole records of these lanes, as many as it says, and whole openings.
    fn is_of(&self, lanes: &Range<u16>) -> bool {
        let (mut rest, mut count) = (self.records.as_slice(), 0);
        while !rest.is_empty() {
            match Raw::take(&mut rest) {
                Some(raw) if lanes.contains(&raw.place.lane) && LANES.contains(&raw.kind) => {
                    count += 1;
                }
                _ => return false,
            }
        }
        let (openings, half) = self.openings.as_chunks::<OPENING_BYTES>();
        let opening = |opening: &[u8; OPENING_BYTES]| {
            let [kind, _, _, _, low, high, ..] = opening;
            *kind == OPENING_KIND && lanes.contains(&u16::from_le_bytes([*low, *high]))
        };
        count == self.count && half.is_empty() && openings.iter().all(opening)
    }
}

/// Kinds of records that lanes write.
const LANES: &[u8] = b"ARHDPOGC";

const _: () = assert!(OPENING_BYTES > HEADER_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{Place, Record};
    use crate::audit::ring::ring;

    fn close(lane: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        let close = Record::Close { decisions: 0, outcomes: 0, refused: 0 };
        close.encode(&mut bytes, Place { lane, sequence: 0 });
        bytes
    }

    /// Drains until something came, or nothing comes any more.
    fn drained(relayed: &mut Relayed, out: &mut Vec<u8>) -> u32 {
        loop {
            match relayed.drain(out, &mut Vec::new()) {
                0 if !relayed.over => std::thread::yield_now(),
                count => return count,
            }
        }
    }

    #[test]
    fn what_lanes_write_comes_whole_and_is_settled_once_it_is_durable() {
        let (one, other) = UnixStream::pair().unwrap();
        let mut relayed = Relayed::start(other, 3..5, Bell::default()).unwrap();
        let (mut producer, consumer) = ring();
        producer.push(&close(4));
        let sending = std::thread::spawn(move || {
            let (mut sending, mut consumers) = (Sending::new(one), [consumer]);
            let sent = sending.turn(&mut consumers, 1 << 20).unwrap();
            let again = sending.turn(&mut consumers, 1 << 20).unwrap();
            (sent, again)
        });
        let mut out = Vec::new();
        assert_eq!(drained(&mut relayed, &mut out), 1);
        assert_eq!(out, close(4));
        assert_eq!(relayed.drain(&mut out, &mut Vec::new()), 0, "one at a time");
        assert!(!sending.is_finished() && !relayed.is_over());
        relayed.settle();
        assert_eq!(sending.join().unwrap(), (true, false));
        assert_eq!(drained(&mut relayed, &mut out), 0);
        assert!(relayed.is_over());
    }

    #[test]
    fn what_is_no_record_of_these_lanes_ends_the_relay() {
        let mut state = Vec::new();
        let (boot, lanes) = (0, 9);
        let all = Record::State { boot, wall_ms: 0, lanes, kept: 0, follow: 0 };
        all.encode(&mut state, Place { lane: 3, sequence: 0 });
        for wrong in [close(5), close(2), close(3)[..39].to_vec(), state] {
            let (mut one, other) = UnixStream::pair().unwrap();
            let mut relayed = Relayed::start(other, 3..5, Bell::default()).unwrap();
            let length = (wrong.len() as u32).to_le_bytes();
            one.write_all(&[1u32.to_le_bytes(), length, [0; 4]].concat()).unwrap();
            one.write_all(&wrong).unwrap();
            let mut out = Vec::new();
            assert_eq!((drained(&mut relayed, &mut out), out.len()), (0, 0));
            assert!(one.read_exact(&mut [0; 1]).is_err(), "it is told");
        }
    }
}
