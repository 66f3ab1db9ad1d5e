//! What the frames of a trail say about the processes that wrote them: which was the last, whether
//! it ended cleanly, and what it left open.

use super::record::{self, CRASHED_MAX, Place, Record, WRITER_LANE};
use std::collections::{BTreeMap, BTreeSet};

/// The last process of a trail, as far as its frames were followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    boot: Option<u64>,
    closed: bool,
    lanes: BTreeMap<u16, Lane>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lane {
    decisions: u64,
    open: BTreeSet<u64>,
}

/// Records that are not what the format has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl History {
    /// Follows the records of one frame.
    ///
    /// # Errors
    /// When they are not whole records; what was followed so far stays.
    pub fn follow(&mut self, mut body: &[u8]) -> Result<(), Malformed> {
        while !body.is_empty() {
            let (place, record) = record::take(&mut body).ok_or(Malformed)?;
            match record {
                Record::Boot { boot, .. } => *self = Self { boot: Some(boot), ..Self::default() },
                Record::Decision(_) => {
                    let lane = self.lanes.entry(place.lane).or_default();
                    lane.decisions += 1;
                    lane.open.insert(place.sequence);
                }
                Record::Outcome { .. } => {
                    let lane = self.lanes.entry(place.lane).or_default();
                    lane.open.remove(&place.sequence);
                }
                Record::Close { .. } if place.lane == WRITER_LANE => self.closed = true,
                Record::Close { .. }
                | Record::Snapshot { .. }
                | Record::Epoch { .. }
                | Record::Adoption { .. }
                | Record::Dictionary { .. }
                | Record::Gap { .. }
                | Record::Crash { .. } => {}
            }
        }
        Ok(())
    }

    /// Whether a process has begun in what was followed.
    pub fn has_boot(&self) -> bool {
        self.boot.is_some()
    }

    /// The number of the next process.
    pub fn next_boot(&self) -> u64 {
        self.boot.map_or(0, |boot| boot + 1)
    }

    /// Appends what the next process has to say about this one, and counts the records.
    pub fn crashed(&self, out: &mut Vec<u8>) -> u32 {
        let mut records = 0;
        let Some(boot) = self.boot.filter(|_| !self.closed) else { return records };
        for (lane, Lane { decisions, open }) in &self.lanes {
            let open: Vec<u64> = open.iter().copied().collect();
            for open in open.chunks(CRASHED_MAX) {
                let place = Place { lane: *lane, sequence: *decisions };
                Record::Crash { boot, open: open.into() }.encode(out, place);
                records += 1;
            }
        }
        records
    }

    /// Decisions without an outcome.
    pub fn open(&self) -> usize {
        self.lanes.values().map(|lane| lane.open.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{Ending, outcome};

    fn put(out: &mut Vec<u8>, record: &Record<'_>, lane: u16, sequence: u64) {
        record.encode(out, Place { lane, sequence });
    }

    fn boot(out: &mut Vec<u8>, boot: u64) {
        let text = b"caio"[..].into();
        put(out, &Record::Boot { wall_ms: 0, boot, lanes: 2, text }, WRITER_LANE, 0);
    }

    fn decision(out: &mut Vec<u8>, lane: u16, sequence: u64) {
        let mut bytes = vec![0; record::DECISION_BYTES + 4];
        let length = u16::try_from(bytes.len()).unwrap().to_le_bytes();
        bytes[..4].copy_from_slice(&[b'D', record::VERSION, length[0], length[1]]);
        bytes[4..6].copy_from_slice(&lane.to_le_bytes());
        bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        out.extend(bytes);
    }

    #[test]
    fn what_a_process_left_open_is_said_by_the_next_lane_by_lane() {
        let mut history = History::default();
        assert_eq!((history.has_boot(), history.next_boot()), (false, 0));
        let mut body = Vec::new();
        boot(&mut body, 4);
        for sequence in 0..9000 {
            decision(&mut body, 1, sequence);
        }
        decision(&mut body, 0, 0);
        decision(&mut body, 0, 1);
        body.extend(outcome(Place { lane: 0, sequence: 0 }, 200, Ending::Whole, 1));
        history.follow(&body).unwrap();
        assert_eq!((history.next_boot(), history.open()), (5, 9001));
        let mut said = Vec::new();
        assert_eq!(history.crashed(&mut said), 3, "one for lane 0, two for lane 1");
        let mut rest = &said[..];
        let mut seen = Vec::new();
        while let Some((place, Record::Crash { boot: 4, open })) = record::take(&mut rest) {
            seen.push((place.lane, place.sequence, open.len(), open[0]));
        }
        assert_eq!(seen, [(0, 2, 1, 1), (1, 9000, 8188, 0), (1, 9000, 812, 8188)]);
    }

    #[test]
    fn a_clean_end_and_a_new_beginning_leave_nothing_to_say() {
        let mut body = Vec::new();
        boot(&mut body, 0);
        decision(&mut body, 0, 0);
        let mut open = body.clone();
        let close = Record::Close { decisions: 1, outcomes: 0 };
        put(&mut body, &close, WRITER_LANE, 1);
        let mut history = History::default();
        history.follow(&body).unwrap();
        assert_eq!(history.crashed(&mut Vec::new()), 0);
        boot(&mut open, 1);
        let mut history = History::default();
        history.follow(&open).unwrap();
        assert_eq!((history.crashed(&mut Vec::new()), history.open()), (0, 0));
        assert_eq!(history.follow(&open[..50]), Err(Malformed));
    }
}
