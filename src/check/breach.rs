//! Promises that were found broken, and what became of them: that one is not found broken twice,
//! nor kept where it was not broken, and that what was seen says so.

use super::landscape::Landscape;
use super::limits::{BREACHES_MAX, ID_BYTES_MAX};
use super::promise::Promise;
use super::record::NONE;
use super::report::must;
use std::collections::BTreeMap;

/// Of a million calls a promise may leave out fewer than all.
const WHOLE: u128 = 1_000_000;
/// Nobody has seen as many calls, and with fewer nothing here overflows.
const CALLS_MAX: u64 = 1 << 40;

/// F.
pub(crate) struct Breach<'a> {
    pub(crate) window: [u64; 2],
    pub(crate) since: u64,
    pub(crate) version: u32,
    pub(crate) service: u32,
    /// 0 is broken, 1 kept, 2 over.
    pub(crate) became: u8,
    /// 0 is a latency, 1 the availability.
    pub(crate) kind: u8,
    pub(crate) within_ns: u64,
    pub(crate) except_ppm: u32,
    pub(crate) seen: [u64; 2],
    pub(crate) id: &'a str,
}

/// A service's id, and which of its promises.
type Which = (String, u8, u64, u32);

/// Promises of one process that are broken, with when they began to be and when they were looked at
/// last; `None` is one of which that it is not is known, where reading began later.
#[derive(Default)]
pub(crate) struct Breaches {
    known: BTreeMap<Which, Option<(u64, u64)>>,
    /// Reading began behind the process's beginning: of what was not read of nothing is known.
    late: bool,
}

impl Breaches {
    /// Of a process that began before reading did, or was joined by another.
    pub(crate) fn late() -> Self {
        Self { late: true, ..Self::default() }
    }

    /// The next record; `landscape` is that of its version, where it is known.
    pub(crate) fn add(
        &mut self,
        it: &Breach<'_>,
        landscape: Option<&Landscape>,
    ) -> Result<(), String> {
        let Breach { window: [from, to], since, service, seen: [calls, otherwise], id, .. } = *it;
        must!(from <= to && since <= from, "a promise was looked at before it could be");
        must!(!id.is_empty() && id.len() <= ID_BYTES_MAX, "a promise is of nobody");
        must!(it.kind == 0 || it.within_ns == 0, "an availability has a bound");
        must!(u128::from(it.except_ppm) < WHOLE, "a promise leaves out every call");
        must!(otherwise <= calls && calls < CALLS_MAX, "{otherwise} of {calls} calls were seen");
        if let Some(landscape) = landscape {
            let named = landscape.services.get(service as usize);
            let named = named.and_then(|it| it.as_ref()).map(|it| &*it.id);
            let is_there = || landscape.services.iter().flatten().any(|it| &*it.id == id);
            let fits = if service == NONE { !is_there() } else { named == Some(id) };
            must!(fits, "a promise is told of service {service}, which is not the one it names");
            let within_ns = (it.kind == 0).then_some(it.within_ns);
            let promise = Promise { within_ns, except_ppm: it.except_ppm };
            let made = it.became == 2 || landscape.promises(service, promise);
            must!(made, "`{id}` does not make the promise that became of it");
        }
        let breaks = breaks(calls, otherwise, it.except_ppm);
        let which = (id.to_owned(), it.kind, it.within_ns, it.except_ppm);
        let known = self.known.get(&which).copied();
        if it.became == 0 {
            must!(!matches!(known, Some(Some(_))), "a promise is broken that was broken");
            must!(breaks && since == from, "a promise is broken by what does not break it");
            self.known.insert(which, Some((since, to)));
            must!(self.known.len() <= BREACHES_MAX, "more promises are broken than there may be");
            return Ok(());
        }
        match known {
            Some(Some((begun, last))) => {
                must!(since == begun, "a promise was broken since another time");
                must!(from >= last, "a promise is kept before it was broken");
            }
            None if self.late => {}
            _ => return Err("a promise is kept again that was not broken".to_owned()),
        }
        match it.became {
            1 => must!(calls > 0 && !breaks, "a promise is kept by what breaks it"),
            _ => must!(calls == 0 && from == to, "a promise is over, and was looked at"),
        }
        if self.late {
            self.known.insert(which, None);
            must!(self.known.len() <= BREACHES_MAX, "more promises are broken than there may be");
        } else {
            self.known.remove(&which);
        }
        Ok(())
    }
}

/// Whether so many of so many calls are more than chance makes of a share: by a call and three
/// deviations, of which one is the root of what is expected.
fn breaks(calls: u64, otherwise: u64, except_ppm: u32) -> bool {
    let expected = u128::from(calls) * u128::from(except_ppm);
    let beyond = (u128::from(otherwise) * WHOLE).checked_sub(expected + WHOLE);
    beyond.is_some_and(|beyond| calls > 0 && beyond * beyond > 9 * expected * WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breach(became: u8, window: [u64; 2], since: u64, seen: [u64; 2]) -> Breach<'static> {
        let (version, service, kind, id) = (1, 0, 1, "a");
        let (within_ns, except_ppm) = (0, 10_000);
        Breach { window, since, version, service, became, kind, within_ns, except_ppm, seen, id }
    }

    #[test]
    fn of_a_thousand_calls_of_which_ten_may_fail_twenty_are_chance_and_twenty_one_are_not() {
        // Ten are expected, a call more is given, and three roots of ten are 9.49.
        assert!(!breaks(1000, 20, 10_000) && breaks(1000, 21, 10_000));
        assert!(!breaks(0, 0, 0) && !breaks(9, 1, 0) && breaks(9, 2, 0));
    }

    #[test]
    fn a_promise_is_broken_once_and_kept_after_that() {
        let (broken, kept) = ([1000, 50], [1000, 5]);
        let good = [breach(0, [5, 9], 5, broken), breach(1, [9, 12], 5, kept)];
        let mut breaches = Breaches::default();
        for _ in 0..2 {
            good.iter().for_each(|it| breaches.add(it, None).unwrap());
        }
        for bad in [
            breach(0, [9, 5], 9, broken),
            breach(0, [5, 9], 4, broken),
            breach(0, [5, 9], 5, kept),
            breach(0, [5, 9], 5, [4, 5]),
            breach(1, [9, 12], 5, kept),
            breach(2, [9, 9], 5, [0, 0]),
        ] {
            assert!(Breaches::default().add(&bad, None).is_err());
        }
        for bad in [
            breach(0, [9, 12], 9, broken),
            breach(1, [9, 12], 6, kept),
            breach(1, [8, 12], 5, kept),
            breach(1, [9, 12], 5, broken),
            breach(1, [9, 12], 5, [0, 0]),
            breach(2, [9, 12], 5, [0, 0]),
            breach(2, [9, 9], 5, kept),
        ] {
            let mut breaches = Breaches::default();
            breaches.add(&good[0], None).unwrap();
            assert!(breaches.add(&bad, None).is_err());
        }
        // Whoever comes late takes the first word for it, and no second.
        let mut late = Breaches::late();
        late.add(&good[1], None).unwrap();
        assert!(late.add(&good[1], None).is_err());
        late.add(&good[0], None).unwrap();
        assert!(late.add(&good[0], None).is_err());
    }
}
