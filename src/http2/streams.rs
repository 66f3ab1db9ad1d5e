//! Which streams a peer has begun a message on and not finished it: a short sorted list of ids.

use crate::wire::limits::H2_OPEN_STREAMS_TRACKED_MAX;

/// Ids of streams whose message has a head and no end yet, ascending.
#[derive(Debug, Default)]
pub(crate) struct OpenStreams {
    ids: Vec<u32>,
    /// Some stream was forgotten to stay within the bound.
    forgot: bool,
}

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
        }
        found.is_ok()
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
    fn beyond_the_bound_the_oldest_is_forgotten_and_that_is_known() {
        let mut list = OpenStreams::default();
        for id in 0..=H2_OPEN_STREAMS_TRACKED_MAX as u32 {
            list.open(2 * id + 1);
        }
        assert!(!list.is_open(1) && list.is_open(3) && list.forgot_some());
        assert_eq!(list.ids.len(), H2_OPEN_STREAMS_TRACKED_MAX);
    }
}
