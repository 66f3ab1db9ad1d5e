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
