//! Who was called by each lane where a walk over its records is: see [`crate::balance::flight`].
//!
//! A walk may begin at any segment, because the state there says what was open, and to whom.

use super::trail::Seen;
use crate::audit::record::Record;
use crate::audit::scan::Sketch;
use crate::balance::flight::Flights;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The counts of all lanes, record by record.
#[derive(Default)]
pub struct Fold {
    lanes: BTreeMap<u16, Lane>,
}

#[derive(Default)]
struct Lane {
    open: BTreeMap<u64, u64>,
    /// Shared with the decisions that were made by it, and copied when it changes.
    flights: Rc<Flights>,
}

impl Lane {
    fn begin(&mut self, sequence: u64, weight: u64) {
        // A state says again what is known.
        if self.open.insert(sequence, weight).is_none() {
            Rc::make_mut(&mut self.flights).begin(weight);
        }
    }
}

impl Fold {
    /// Goes on behind a record.
    pub fn see(&mut self, seen: &Seen<'_>) {
        let place = seen.raw.place;
        match seen.raw.kind {
            b'B' => self.lanes.clear(),
            b'D' => {
                let lane = self.lanes.entry(place.lane).or_default();
                lane.begin(place.sequence, Sketch(seen.raw.bytes).weight());
            }
            b'O' => {
                let lane = self.lanes.entry(place.lane).or_default();
                if let Some(weight) = lane.open.remove(&place.sequence) {
                    Rc::make_mut(&mut lane.flights).end(weight);
                }
            }
            b'V' => {
                if let Some(Record::LaneState { open, .. }) = seen.raw.read() {
                    let lane = self.lanes.entry(place.lane).or_default();
                    open.iter().for_each(|(sequence, weight)| lane.begin(*sequence, *weight));
                }
            }
            _ => {}
        }
    }

    /// Those of a lane, up to here.
    pub fn now(&self, lane: u16) -> Rc<Flights> {
        self.lanes.get(&lane).map(|lane| Rc::clone(&lane.flights)).unwrap_or_default()
    }
}
