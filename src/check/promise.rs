//! Which promises of latency and availability a service makes whatever the request: those that its
//! calls are held against.
//!
//! What stands under a condition is not among them, because conditions are on requests; and only
//! what all offers of the service promise is, the weakest of it, because calls are counted by
//! service.

use super::set::Set;
use super::text::{Cnf, Cursor};

/// The attribute of the tail.
const LATENCY: &str = "latency";
/// The attribute of the share of calls that do not fail.
const AVAILABILITY: &str = "availability";
/// All of a ratio.
const WHOLE: i128 = 1_000_000;

/// One of them, as a record tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    /// The bound of a latency in ns; `None` is the availability.
    pub(crate) within_ns: Option<u64>,
    /// So many calls of a million may be otherwise.
    pub(crate) except_ppm: u32,
}

/// The attributes that are watched.
#[derive(Default)]
pub(crate) struct Watched {
    /// The bounds of the tail that is declared.
    grid: Vec<u64>,
    /// The attributes of these bounds, in order.
    tails: Vec<u16>,
    /// Whether a ratio is declared.
    is_ratio: bool,
    ratio: Option<u16>,
}

/// Modes of one offer: when, and then what.
pub(crate) type Modes = [(Cnf, Vec<(u16, Set)>)];

impl Watched {
    /// A line `declared`, behind that word.
    pub(crate) fn declared(&mut self, from: &mut Cursor<'_>) -> Option<()> {
        let name = from.quoted()?;
        from.eat(" ")?;
        from.word();
        from.eat(" ")?;
        let kind = from.quoted()?;
        match name.as_str() {
            LATENCY => {
                let grid = kind.strip_prefix("Tail([").and_then(|rest| rest.strip_suffix("])"));
                let bounds = grid.into_iter().flat_map(|grid| grid.split(", "));
                self.grid = bounds.map(|bound| bound.parse().ok()).collect::<Option<_>>()?;
            }
            AVAILABILITY => self.is_ratio = kind == "Ratio",
            _ => {}
        }
        Some(())
    }

    /// A line `attribute`, behind that word.
    pub(crate) fn attribute(&mut self, from: &mut Cursor<'_>) -> Option<()> {
        let name = from.quoted()?;
        from.eat(" ")?;
        let number = from.number()?;
        from.eat(":")?;
        if name == AVAILABILITY {
            self.ratio = Some(number);
        } else if name.strip_prefix(LATENCY).is_some_and(|rest| rest.starts_with('@')) {
            self.tails.push(number);
        }
        Some(())
    }

    fn number(&self, within_ns: Option<u64>) -> Option<u16> {
        let Some(within_ns) = within_ns else { return self.ratio.filter(|_| self.is_ratio) };
        let place = self.grid.iter().position(|bound| *bound == within_ns)?;
        self.tails.get(place).copied()
    }

    /// Whether these offers, all of one service, make a promise.
    pub(crate) fn is_made<'a>(
        &self,
        promise: Promise,
        offers: impl Iterator<Item = &'a Modes>,
    ) -> bool {
        let Some(number) = self.number(promise.within_ns) else { return false };
        let mut weakest = None;
        for modes in offers {
            let always = modes.iter().filter(|(when, _)| when.is_empty());
            let sets = always.flat_map(|(_, then)| then).filter(|(own, _)| *own == number);
            let excepts = sets.filter_map(|(_, set)| except(set, promise.within_ns.is_some()));
            match excepts.min() {
                Some(own) => weakest = weakest.max(Some(own)),
                None => return false,
            }
        }
        weakest == Some(i128::from(promise.except_ppm))
    }
}

/// How many calls in a million a promised set lets be otherwise.
fn except(set: &Set, tail: bool) -> Option<i128> {
    let Set::Numbers(spans) = set else { return None };
    let (first, last) = (spans.spans().first()?, spans.spans().last()?);
    let except = if tail { last.1 - 1 } else { WHOLE - first.0 };
    (0..WHOLE).contains(&except).then_some(except)
}

#[cfg(test)]
mod tests {
    use super::super::set::Spans;
    use super::*;

    fn watched() -> Watched {
        let mut watched = Watched::default();
        for line in [
            r#""latency" promise "Tail([50000000, 100000000])" "None""#,
            r#""availability" promise "Ratio" "None""#,
        ] {
            watched.declared(&mut Cursor(line.as_bytes())).unwrap();
        }
        for line in [r#""latency@50ms" 3:{}"#, r#""latency@100ms" 4:{}"#, r#""availability" 7:{}"#]
        {
            watched.attribute(&mut Cursor(line.as_bytes())).unwrap();
        }
        watched
    }

    fn set(low: i128, high: i128) -> Set {
        Set::Numbers(Spans::new(vec![(low, high + 1)]).unwrap())
    }

    #[test]
    fn a_promise_is_what_all_offers_make_without_a_condition_and_the_weakest_of_it() {
        let watched = watched();
        let always = |number, set: Set| (Vec::new(), vec![(number, set)]);
        let quick = vec![always(4, set(0, 10_000)), always(4, set(0, 500))];
        let slow = vec![always(4, set(0, 2_000)), always(7, set(999_000, 1_000_000))];
        let sometimes = vec![(vec![Vec::new()], vec![(4, set(0, 1))])];
        let made = |offers: &[&Vec<_>], within_ns, except_ppm| {
            let offers = offers.iter().map(|modes| &modes[..]);
            watched.is_made(Promise { within_ns, except_ppm }, offers)
        };
        let tail = Some(100_000_000);
        assert!(made(&[&quick], tail, 500) && !made(&[&quick], tail, 10_000));
        assert!(made(&[&quick, &slow], tail, 2_000) && !made(&[&quick, &slow], tail, 500));
        assert!(!made(&[&quick, &sometimes], tail, 500) && !made(&[], tail, 500));
        assert!(!made(&[&quick], Some(50_000_000), 500) && !made(&[&quick], Some(1), 500));
        assert!(made(&[&slow], None, 1_000) && !made(&[&quick, &slow], None, 1_000));
    }
}
