//! Which streams a peer has begun a message on and not finished it: a short sorted list of ids.

use crate::wire::limits::H2_OPEN_STREAMS_TRACKED_MAX;

/// Ids of streams whose message has a head and no end yet, ascending.
#[derive(Debug, Default)]
pub(crate) struct OpenStreams {
    ids: Vec<u32>,
    /// Some stream was forgotten to stay within the bound.
    forgot: bool,
    /// The ids that were closed last, in a ring; 0 is none.
    closed: [u32; CLOSED_REMEMBERED],
    closed_next: usize,
}

/// Closed ids that are remembered. A peer that sends on after its own end does so at once; what
/// comes later h2 still answers by itself.
const CLOSED_REMEMBERED: usize = 16;

impl OpenStreams {
    /// Remembers `id`; beyond the bound the oldest id is forgotten.
    pub(crate) fn open(&mut self, id: u32) {
        if self.ids.last().is_none_or(|&last| last < id) {
            self.ids.push(id);
        } else if let Err(at) = self.ids.binary_search(&id) {
            self.ids.insert(at, id);
        }
        if self.ids.len() > H2_OPEN_STREAMS_TRACKED_MAX {
            self.ids.remove(0);
            self.forgot = true;
        }
    }

    /// Forgets `id`; false if it was not open.
    pub(crate) fn close(&mut self, id: u32) -> bool {
        let found = self.ids.binary_search(&id);
        if let Ok(at) = found {
            self.ids.remove(at);
            if let Some(place) = self.closed.get_mut(self.closed_next % CLOSED_REMEMBERED) {
                *place = id;
            }
            self.closed_next = self.closed_next.wrapping_add(1);
        }
        found.is_ok()
    }

    /// Whether the peer has just ended its message on `id` itself.
    pub(crate) fn was_closed(&self, id: u32) -> bool {
        id != 0 && self.closed.contains(&id)
    }

    /// Whether `id` is open as far as is remembered.
    pub(crate) fn is_open(&self, id: u32) -> bool {
        self.ids.last() == Some(&id) || self.ids.binary_search(&id).is_ok()
    }

    /// Whether an id that is not here may still be open.
    pub(crate) fn forgot_some(&self) -> bool {
        self.forgot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_list_is_a_set_within_its_bound() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut list, mut set) = (OpenStreams::default(), BTreeSet::new());
        for _ in 0..20_000 {
            let id = random.u32(1..600);
            match random.u8(0..3) {
                0 => {
                    list.open(id);
                    set.insert(id);
                }
                1 => assert_eq!(list.close(id), set.remove(&id)),
                _ => assert_eq!(list.is_open(id), set.contains(&id)),
            }
        }
        assert!(!list.forgot_some());
    }

    #[test]
    fn who_was_closed_is_known_for_a_while() {
        let mut list = OpenStreams::default();
        assert!(!list.close(1) && !list.was_closed(1) && !list.was_closed(0));
        for id in 1..=CLOSED_REMEMBERED as u32 + 1 {
            list.open(id);
            assert!(list.close(id) && list.was_closed(id));
        }
        assert!(!list.was_closed(1) && list.was_closed(2));
    }

    #[test]
    fn beyond_the_bound_the_oldest_is_forgotten_and_that_is_known() {
        let mut list = OpenStreams::default();
        for id in 0..=H2_OPEN_STREAMS_TRACKED_MAX as u32 {
            list.open(2 * id + 1);
        }
        assert!(!list.is_open(1) && list.is_open(3) && list.forgot_some());
        assert_eq!(list.ids.len(), H2_OPEN_STREAMS_TRACKED_MAX);
    }
}
