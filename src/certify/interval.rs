//! Intersections of unions of intervals, walked in place: nothing is built.

use crate::contract::set::Set;

/// An interval that can be cut by another.
trait Interval: Copy {
    /// What both contain, if anything.
    fn cut(self, other: Self) -> Option<Self>;
    /// Whether the other contains it whole.
    fn inside(self, other: Self) -> bool;
}

impl Interval for (i64, i64) {
    fn cut(self, other: Self) -> Option<Self> {
        let both = (self.0.max(other.0), self.1.min(other.1));
        (both.0 <= both.1).then_some(both)
    }

    fn inside(self, other: Self) -> bool {
        other.0 <= self.0 && self.1 <= other.1
    }
}

/// A half-open interval of texts, `None` being above all.
type Texts<'a> = (&'a [u8], Option<&'a [u8]>);

impl Interval for Texts<'_> {
    fn cut(self, other: Self) -> Option<Self> {
        let low = self.0.max(other.0);
        let high = match (self.1, other.1) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        high.is_none_or(|high| low < high).then_some((low, high))
    }

    fn inside(self, other: Self) -> bool {
        other.0 <= self.0
            && match (self.1, other.1) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(mine), Some(theirs)) => mine <= theirs,
            }
    }
}

fn numbers(set: &Set) -> impl Iterator<Item = (i64, i64)> {
    let intervals = match set {
        Set::Numbers(numbers) => numbers.intervals(),
        Set::Texts(_) => &[],
    };
    intervals.iter().copied()
}

fn texts(set: &Set) -> impl Iterator<Item = Texts<'_>> {
    let intervals = match set {
        Set::Texts(texts) => texts.intervals(),
        Set::Numbers(_) => &[],
    };
    intervals.iter().map(|(low, high)| (low.as_slice(), high.as_deref()))
}

/// Whether `check` holds of every interval of the intersection of `window` and all sets. Sets of a
/// contract have a handful of intervals and an attribute a handful of modes, so this is short.
fn every<'a, I, L, S>(
    sets: &'a [Option<&'a Set>],
    window: I,
    list: L,
    check: &mut impl FnMut(I) -> bool,
) -> bool
where
    I: Interval,
    L: Fn(&'a Set) -> S + Copy,
    S: Iterator<Item = I>,
{
    match sets {
        [] => check(window),
        [None, rest @ ..] => every(rest, window, list, check),
        [Some(set), rest @ ..] => {
            list(set).all(|part| part.cut(window).is_none_or(|both| every(rest, both, list, check)))
        }
    }
}

const ALL_NUMBERS: (i64, i64) = (i64::MIN, i64::MAX);
const ALL_TEXTS: Texts<'static> = (&[], None);

/// Whether the intersection of the sets lies inside `target`. The intervals of a set are never
/// adjacent, so an interval lies in a set only if it lies in one of its intervals.
pub(super) fn within<'a>(sets: &'a [Option<&'a Set>], target: &'a Set) -> bool {
    match target {
        Set::Numbers(_) => every(sets, ALL_NUMBERS, numbers, &mut |part| {
            numbers(target).any(|whole| part.inside(whole))
        }),
        Set::Texts(_) => every(sets, ALL_TEXTS, texts, &mut |part: Texts<'a>| {
            texts(target).any(|whole| part.inside(whole))
        }),
    }
}

/// Whether the intersection of the sets has a member.
pub(super) fn possible<'a>(sets: &'a [Option<&'a Set>]) -> bool {
    match sets.first().copied().flatten() {
        Some(Set::Numbers(_)) => !every(sets, ALL_NUMBERS, numbers, &mut |_| false),
        Some(Set::Texts(_)) => !every(sets, ALL_TEXTS, texts, &mut |_| false),
        None => true,
    }
}
