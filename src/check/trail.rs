//! The trail's order: boots, what a crash left open, landscapes and who adopts them, the close.
//! Records come in, and the first that does not fit ends it.

use super::landscape::Landscape;
use super::lane::{Lane, Version};
use super::record::{Body, Record, WRITER};
use super::report::must;
use super::tree::Hash;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

/// Where a landscape comes from by its digest; the text was verified.
pub(crate) type Load<'a> = &'a dyn Fn(&Hash) -> Result<Landscape, String>;

/// What was seen, for the summary.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) records: u64,
    pub(crate) boots: u64,
    pub(crate) crashes: u64,
    pub(crate) snapshots: u64,
    pub(crate) epochs: u64,
    pub(crate) routes: u64,
    pub(crate) denials: u64,
    pub(crate) refusals: u64,
    pub(crate) outcomes: u64,
    /// Lost with a crash.
    pub(crate) unknown: u64,
    /// Decisions and outcomes that were not recorded.
    pub(crate) lost: u64,
}

/// Everything that is known while reading.
pub(crate) struct Trail<'a> {
    load: Load<'a>,
    pub(crate) counts: Counts,
    landscapes: BTreeMap<Hash, Weak<Landscape>>,
    boot: Option<Boot>,
    /// What must come next after a crash: lane, its decisions, those left open.
    crashed: VecDeque<(u16, u64, Vec<u64>)>,
}

struct Boot {
    number: u64,
    lanes: Vec<Lane>,
    written: u64,
    /// The newest snapshot and from which version on.
    snapshot: Option<(u32, Rc<Landscape>)>,
    versions: BTreeMap<u32, Rc<Version>>,
    newest: Option<u32>,
    /// How many frames the close counted.
    closed: Option<u64>,
}

impl<'a> Trail<'a> {
    /// Nothing was read yet.
    pub(crate) fn new(load: Load<'a>) -> Self {
        let (counts, landscapes) = (Counts::default(), BTreeMap::new());
        Self { load, counts, landscapes, boot: None, crashed: VecDeque::new() }
    }

    /// Whether the last boot ended cleanly.
    pub(crate) fn is_closed(&self) -> bool {
        self.boot.as_ref().is_some_and(|boot| boot.closed.is_some())
    }

    /// Decisions that still wait for their outcome.
    pub(crate) fn open(&self) -> usize {
        self.boot.iter().flat_map(|boot| &boot.lanes).map(|lane| lane.open.len()).sum()
    }

    /// After the last record of a frame; there are so many frames then.
    pub(crate) fn end_frame(&self, frames: u64) -> Result<(), String> {
        must!(self.crashed.is_empty(), "the record X of a crashed lane is missing");
        let claimed = self.boot.as_ref().and_then(|boot| boot.closed);
        must!(claimed.is_none_or(|it| it == frames), "the close counts other than {frames} frames");
        Ok(())
    }

    /// The next record; `place` is its place in its frame.
    pub(crate) fn record(&mut self, place: u32, record: Record<'_>) -> Result<(), String> {
        self.counts.records += 1;
        let Record { lane, sequence, body } = record;
        if let Body::Boot { number, lanes } = body {
            return self.boot(place, (lane, sequence), number, lanes);
        }
        if let Body::Crash { boot, open } = body {
            return self.crash(lane, sequence, boot, &open);
        }
        must!(self.crashed.is_empty(), "the record X of a crashed lane is missing");
        let Some(boot) = self.boot.as_mut() else {
            return Err("the trail does not begin with a boot".to_owned());
        };
        must!(boot.closed.is_none(), "a record follows the close of the trail");
        if lane != WRITER {
            return boot.lane_record(lane, sequence, body, &mut self.counts);
        }
        must!(sequence == boot.written, "the writer's record {} is missing", boot.written);
        boot.written += 1;
        match body {
            Body::Snapshot { version, digest } => {
                must!(boot.newest < Some(version), "version {version} is not new");
                let landscape = self.landscapes.get(&digest).and_then(Weak::upgrade);
                let landscape = match landscape {
                    Some(known) => known,
                    None => Rc::new((self.load)(&digest)?),
                };
                self.landscapes.insert(digest, Rc::downgrade(&landscape));
                boot.snapshot = Some((version, landscape));
                self.counts.snapshots += 1;
                Ok(())
            }
            Body::Epoch { version, states } => {
                self.counts.epochs += 1;
                boot.epoch(version, states)
            }
            Body::Close { first, second } => {
                let open = boot.lanes.iter().any(|lane| !lane.closed);
                must!(!open, "the trail is closed before all lanes are");
                must!(second == 0, "the close of the trail counts what it does not");
                boot.closed = Some(first);
                Ok(())
            }
            _ => Err("a record of this kind is no writer's".to_owned()),
        }
    }

    fn boot(&mut self, place: u32, by: (u16, u64), number: u64, lanes: u16) -> Result<(), String> {
        must!(place == 0, "a boot stands inside a frame");
        must!(by == (WRITER, 0), "a boot is not the writer's first record");
        must!(lanes > 0 && lanes < WRITER, "a boot has {lanes} lanes");
        let due = self.boot.as_ref().map_or(0, |boot| boot.number + 1);
        must!(number == due, "boot {due} is missing");
        self.counts.boots += 1;
        if let Some(before) = self.boot.take().filter(|before| before.closed.is_none()) {
            self.counts.crashes += 1;
            for (number, lane) in (0..).zip(before.lanes) {
                if !lane.open.is_empty() {
                    self.counts.unknown += lane.open.len() as u64;
                    let open = lane.open.into_keys().collect();
                    self.crashed.push_back((number, lane.next, open));
                }
            }
        }
        self.boot = Some(Boot {
            number,
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            written: 1,
            snapshot: None,
            versions: BTreeMap::new(),
            newest: None,
            closed: None,
        });
        Ok(())
    }

    fn crash(&mut self, lane: u16, sequence: u64, boot: u64, open: &[u64]) -> Result<(), String> {
        let before = self.boot.as_ref().and_then(|boot| boot.number.checked_sub(1));
        must!(before == Some(boot), "the crash of boot {boot} is not the one before");
        let Some((due, decisions, left)) = self.crashed.front_mut() else {
            return Err("nothing was left open by a crash".to_owned());
        };
        must!((lane, sequence) == (*due, *decisions), "lane {due} left {decisions} decisions");
        must!(!open.is_empty(), "a crash left nothing open");
        must!(left.starts_with(open), "other decisions were left open");
        left.drain(..open.len());
        if left.is_empty() {
            self.crashed.pop_front();
        }
        Ok(())
    }
}

impl Boot {
    fn epoch(&mut self, version: u32, states: &[u8]) -> Result<(), String> {
        must!(self.newest < Some(version), "version {version} is not new");
        let Some((from, landscape)) = &self.snapshot else {
            return Err("an epoch comes before any snapshot".to_owned());
        };
        // A snapshot's own version must have an epoch, or nobody can decide by it.
        let fresh = self.newest.is_none_or(|newest| newest < *from);
        must!(!fresh || version == *from, "version {from} has no epoch");
        must!(
            states.len() == landscape.services.len(),
            "an epoch of {} services, and there are {}",
            states.len(),
            landscape.services.len()
        );
        must!(states.iter().all(|state| *state < 32), "an epoch's byte has no meaning");
        let landscape = Rc::clone(landscape);
        let states = states.to_vec();
        let version_of = Version { number: version, landscape, states };
        self.versions.insert(version, Rc::new(version_of));
        self.newest = Some(version);
        Ok(())
    }

    fn lane_record(
        &mut self,
        number: u16,
        sequence: u64,
        body: Body<'_>,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let lanes = self.lanes.len();
        let Some(lane) = self.lanes.get_mut(usize::from(number)) else {
            return Err(format!("lane {number} of {lanes}"));
        };
        lane.record(sequence, body, &self.versions, counts)?;
        self.forget();
        Ok(())
    }

    /// Versions that no lane will decide by any more: lanes only go forward. What is still open
    /// holds its own.
    fn forget(&mut self) {
        if self.versions.len() < 2 {
            return;
        }
        let adopted = self.lanes.iter().map(|lane| lane.version.as_ref().map(|it| it.number));
        let oldest = adopted.min().flatten();
        while let Some(first) = self.versions.first_entry()
            && Some(*first.key()) < oldest
        {
            first.remove();
        }
    }
}
