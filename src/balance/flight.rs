//! How many decisions of one worker are open, service by service: the load that a worker knows by
//! itself, at once, and without anybody's clock.
//!
//! A fold over the records of the worker's lane, and over nothing else: a decision that names a
//! service counts from its record on, until that of its outcome, however it ends. Who reads the
//! records can make the same counts, at each decision, and so say who had the fewest. That is why
//! a decision that was not recorded does not count, and why the counts of a worker are not those of
//! the whole process, which no order of records tells.
//!
//! Services go by the weight of their id and not by their number: a number may be another service's
//! in a later landscape, and a service may come back under another one. Nothing has to be mapped.
//! Each lane begins with nothing: it is a worker's of one process, and what an earlier process left
//! open is open nowhere any more.

use std::collections::BTreeMap;

/// Open decisions, by the weight of the service that each goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flights(BTreeMap<u64, u32>);

/// Nobody is called.
pub static NONE: Flights = Flights(BTreeMap::new());

impl Flights {
    /// How many there are to the service of this weight.
    #[inline]
    pub fn of(&self, weight: u64) -> u32 {
        self.0.get(&weight).copied().unwrap_or(0)
    }

    /// A decision to a service begins; a weight of 0 is nobody's.
    pub fn begin(&mut self, weight: u64) {
        if weight != 0 {
            let count = self.0.entry(weight).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// One ends. Whoever has none left takes no room.
    pub fn end(&mut self, weight: u64) {
        if let Some(count) = self.0.get_mut(&weight) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&weight);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_as_often_as_it_began_leaves_nothing_behind() {
        let mut flights = Flights::default();
        for weight in [7, 7, 9, 0] {
            flights.begin(weight);
        }
        assert_eq!([7, 9, 0, 8].map(|weight| flights.of(weight)), [2, 1, 0, 0]);
        for weight in [7, 9, 9, 0, 7] {
            flights.end(weight);
        }
        assert_eq!(flights, NONE);
    }
}
