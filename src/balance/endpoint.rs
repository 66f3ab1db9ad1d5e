//! Which endpoint of the chosen service is called: of two hashed probes among the open ones the
//! less loaded, and for each further attempt the next.
//!
//! A function of what is on record, so that whoever reads the trail can tell: the states of the
//! endpoints, the request's seed, and the number of the attempt. Of two probes and not the least
//! loaded of all, because the view is as old as the epoch: everyone would go to the same one until
//! the next (Mitzenmacher, TPDS 2000). The two may fall on one endpoint, so that each keeps a small
//! share whatever the others do.

use super::epoch::State;
use crate::snapshot::hash::rendezvous;

/// What tells the two probes apart.
const FIRST: u64 = 1;
/// See [`FIRST`].
const SECOND: u64 = 2;

/// The place of the endpoint among the service's; `None` where none is open. Endpoints without a
/// state are open and idle.
#[inline]
pub fn choose(states: &[State], count: usize, seed: u64, attempt: u8) -> Option<usize> {
    let state = |place: usize| states.get(place).copied().unwrap_or_default();
    if count == 1 {
        return Some(0).filter(|place| state(*place).is_open());
    }
    let mut open = (0..count).filter(|place| state(*place).is_open());
    let many = open.clone().count() as u64;
    let probe = |salt| rendezvous(seed, salt).checked_rem(many);
    let nth = |number: u64| open.clone().nth(number.try_into().ok()?);
    let (first, second) = (probe(FIRST)?, probe(SECOND)?);
    let bucket = |number: u64| nth(number).map(|place| state(place).bucket());
    let winner = if bucket(second) < bucket(first) { second } else { first };
    let turned = winner.wrapping_add(u64::from(attempt)).checked_rem(many)?;
    open.nth(turned.try_into().ok()?)
}

/// The state of a service whose endpoints have these: it can be called while one of them can, and
/// is as loaded as they are on average, rounded down.
pub fn fold(states: &[State]) -> State {
    let open = states.iter().filter(|state| state.is_open());
    let (count, sum) =
        open.fold((0u32, 0u32), |(count, sum), state| (count + 1, sum + u32::from(state.bucket())));
    let bucket = sum.checked_div(count).and_then(|mean| u8::try_from(mean).ok());
    State::new(count > 0, false, bucket.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(count: usize) -> Vec<State> {
        vec![State::default(); count]
    }

    #[test]
    fn equal_endpoints_are_called_equally_often() {
        let states = idle(4);
        let mut counts = [0u32; 4];
        let mut random = fastrand::Rng::with_seed(1);
        (0..100_000).for_each(|_| counts[choose(&states, 4, random.u64(..), 0).unwrap()] += 1);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most * 100 < least * 105, "{counts:?}");
    }

    #[test]
    fn of_two_probes_the_less_loaded_is_called_and_nobody_is_left_out() {
        let mut states = idle(4);
        states[2] = State::new(true, false, 3);
        let mut counts = [0u32; 4];
        let mut random = fastrand::Rng::with_seed(2);
        (0..64_000).for_each(|_| counts[choose(&states, 4, random.u64(..), 0).unwrap()] += 1);
        // Both probes on it: one in sixteen.
        assert!((3_600..4_400).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn what_is_not_open_is_never_called_and_attempts_go_round_the_others() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            let count = random.usize(1..6);
            let states: Vec<State> = (0..count)
                .map(|_| State::new(random.bool(), random.u8(..4) == 0, random.u8(..8)))
                .collect();
            let open: Vec<usize> = (0..count).filter(|place| states[*place].is_open()).collect();
            let seed = random.u64(..);
            let mut called: Vec<Option<usize>> =
                (0..open.len()).map(|turn| choose(&states, count, seed, turn as u8)).collect();
            called.sort_unstable();
            assert_eq!(called, open.iter().copied().map(Some).collect::<Vec<_>>());
            assert_eq!(choose(&states, count, seed, 0).is_none(), open.is_empty());
        }
    }

    #[test]
    fn a_service_is_as_its_endpoints_are() {
        let (ill, gone) = (State::new(false, false, 7), State::new(true, true, 7));
        let loaded = |bucket| State::new(true, false, bucket);
        assert_eq!(fold(&[]), State::new(false, false, 0));
        assert_eq!(fold(&[ill, gone]), State::new(false, false, 0));
        assert_eq!(fold(&[ill, loaded(3)]), loaded(3));
        assert_eq!(fold(&[loaded(2), loaded(5)]), loaded(3));
    }
}
