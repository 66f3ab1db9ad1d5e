//! Sets of values of one attribute: finite unions of intervals, over numbers or over text.

use std::sync::Arc;

/// A value of one monadic attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Bool (0, 1), enum or region rank, scaled integer, nanoseconds, parts per million, version.
    Number(i64),
    /// Text and fingerprints, compared as bytes.
    Text(Arc<str>),
}

/// A union of closed intervals of `i64`: sorted, disjoint, never adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Numbers(Vec<(i64, i64)>);

/// A union of half-open intervals `[low, high)` of byte strings, `None` being above every string;
/// sorted, disjoint, never adjacent. Half-open suffices for all of the theory because `s\0` is the
/// immediate successor of `s`: exact `s` is `[s, s\0)`, a prefix `p` is `[p, successor of p…)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Texts(Vec<(Vec<u8>, Option<Vec<u8>>)>);

/// A set of values of one attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Set {
    /// Of a numeric attribute.
    Numbers(Numbers),
    /// Of a text attribute.
    Texts(Texts),
}

impl Numbers {
    /// The union of closed intervals; those with `low > high` are empty.
    pub fn new(intervals: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut sorted: Vec<_> = intervals.into_iter().filter(|(low, high)| low <= high).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(sorted.len());
        for (low, high) in sorted {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        Self(merged)
    }

    /// The intervals, sorted and disjoint.
    pub fn intervals(&self) -> &[(i64, i64)] {
        &self.0
    }

    /// Everything in `i64` outside the set.
    pub fn complement(&self) -> Self {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut next = Some(i64::MIN);
        for &(low, high) in &self.0 {
            if let Some(from) = next
                && from < low
            {
                gaps.push((from, low - 1));
            }
            next = high.checked_add(1);
        }
        if let Some(from) = next {
            gaps.push((from, i64::MAX));
        }
        Self(gaps)
    }
}

impl Texts {
    /// The union of half-open intervals; those with `low >= high` are empty.
    pub fn new(intervals: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Self {
        let mut sorted: Vec<_> = intervals
            .into_iter()
            .filter(|(low, high)| high.as_ref().is_none_or(|high| low < high))
            .collect();
        sorted.sort_unstable();
        let mut merged: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::with_capacity(sorted.len());
        for (low, high) in sorted {
            match merged.last_mut() {
                Some((_, last)) if last.as_ref().is_none_or(|last| low <= *last) => {
                    if let Some(end) = last
                        && high.as_ref().is_none_or(|high| high > end)
                    {
                        *last = high;
                    }
                }
                _ => merged.push((low, high)),
            }
        }
        Self(merged)
    }

    /// The set of exactly these texts.
    pub fn exactly<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(texts.into_iter().map(|text| {
            let mut successor = text.as_bytes().to_vec();
            successor.push(0);
            (text.as_bytes().to_vec(), Some(successor))
        }))
    }

    /// The set of all texts that start with `prefix`.
    pub fn prefixed(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        let high = end.last_mut().map(|last| *last += 1).is_some();
        Self::new([(prefix.to_vec(), high.then_some(end))])
    }

    /// The intervals, sorted and disjoint.
    pub fn intervals(&self) -> &[(Vec<u8>, Option<Vec<u8>>)] {
        &self.0
    }

    /// The members, if the set is finite and each is UTF-8; the empty set is an empty list.
    pub fn as_list(&self) -> Option<Vec<&str>> {
        self.0
            .iter()
            .map(|(low, high)| {
                let exact = high.as_ref().is_some_and(|high| {
                    high.strip_prefix(low.as_slice()).is_some_and(|rest| rest == [0])
                });
                exact.then(|| std::str::from_utf8(low).ok()).flatten()
            })
            .collect()
    }

    /// Every text outside the set.
    pub fn complement(&self) -> Self {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut next = Some(Vec::new());
        for (low, high) in &self.0 {
            if let Some(from) = next {
                gaps.push((from, Some(low.clone())));
            }
            next = high.clone();
        }
        if let Some(from) = next {
            gaps.push((from, None));
        }
        Self::new(gaps)
    }
}

impl Set {
    /// Whether `value` is in the set; a value of the other kind never is.
    pub fn contains(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Numbers(set), Value::Number(number)) => {
                set.0.iter().any(|(low, high)| low <= number && number <= high)
            }
            (Self::Texts(set), Value::Text(text)) => set.0.iter().any(|(low, high)| {
                low.as_slice() <= text.as_bytes()
                    && high.as_ref().is_none_or(|high| text.as_bytes() < high.as_slice())
            }),
            (Self::Numbers(_), Value::Text(_)) | (Self::Texts(_), Value::Number(_)) => false,
        }
    }

    /// Whether the set has no member.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Numbers(set) => set.0.is_empty(),
            Self::Texts(set) => set.0.is_empty(),
        }
    }

    /// The complement within the kind's whole domain (all of `i64`, or all text).
    pub fn complement(&self) -> Self {
        match self {
            Self::Numbers(set) => Self::Numbers(set.complement()),
            Self::Texts(set) => Self::Texts(set.complement()),
        }
    }

    /// The union; sets of different kinds never meet on one attribute, and then the first stays.
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Numbers(a), Self::Numbers(b)) => {
                Self::Numbers(Numbers::new(a.0.iter().chain(&b.0).copied()))
            }
            (Self::Texts(a), Self::Texts(b)) => {
                Self::Texts(Texts::new(a.0.iter().chain(&b.0).cloned()))
            }
            (Self::Numbers(_), Self::Texts(_)) | (Self::Texts(_), Self::Numbers(_)) => self.clone(),
        }
    }

    /// The intersection, by De Morgan: small sets, built at compile time.
    pub fn intersection(&self, other: &Self) -> Self {
        self.complement().union(&other.complement()).complement()
    }

    /// Whether every member is in `other`: each interval lies inside one of the other's, because
    /// those are never adjacent. Sets of different kinds are subsets of each other never.
    pub fn is_subset(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Numbers(a), Self::Numbers(b)) => {
                a.0.iter().all(|(low, high)| b.0.iter().any(|(from, to)| from <= low && high <= to))
            }
            (Self::Texts(a), Self::Texts(b)) => a.0.iter().all(|(low, high)| {
                b.0.iter().any(|(from, to)| {
                    from <= low
                        && match (high, to) {
                            (_, None) => true,
                            (None, Some(_)) => false,
                            (Some(high), Some(to)) => high <= to,
                        }
                })
            }),
            (Self::Numbers(_), Self::Texts(_)) | (Self::Texts(_), Self::Numbers(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complement_is_an_involution_and_excludes_its_set() {
        for set in [
            Numbers::new([]),
            Numbers::new([(i64::MIN, i64::MAX)]),
            Numbers::new([(i64::MIN, -3), (0, 0), (2, 5), (6, 9)]),
            Numbers::new([(7, i64::MAX)]),
        ] {
            assert_eq!(set.complement().complement(), set);
            let set = Set::Numbers(set);
            assert!(set.intersection(&set.complement()).is_empty());
        }
    }

    /// All unions of the points 0 to 4, and their mirror with the unbounded ends.
    fn small_sets() -> Vec<Set> {
        let points = |bits: u32| (0..5).filter(move |at| bits & (1 << at) != 0);
        let bounded = |bits: u32| Set::Numbers(Numbers::new(points(bits).map(|at| (at, at))));
        let texts = |bits: u32| {
            let words = ["", "a", "a\0", "ab", "b"];
            Set::Texts(Texts::exactly(points(bits).map(|at| words[usize::try_from(at).unwrap()])))
        };
        let all = (0..32).flat_map(|bits| [bounded(bits), texts(bits)]);
        all.flat_map(|set| [set.complement(), set]).collect()
    }

    #[test]
    fn operations_agree_with_membership_on_every_small_set() {
        let sets = small_sets();
        let numbers = (-2..7).map(Value::Number);
        let texts = ["", "\0", "a", "a\0", "a\0\0", "aa", "ab", "abc", "b", "c"];
        let values: Vec<_> =
            numbers.chain(texts.into_iter().map(|text| Value::Text(text.into()))).collect();
        let same = |a: &Set, b: &Set| {
            matches!((a, b), (Set::Numbers(_), Set::Numbers(_)) | (Set::Texts(_), Set::Texts(_)))
        };
        for a in &sets {
            for b in sets.iter().filter(|b| same(a, b)) {
                let (both, either) = (a.intersection(b), a.union(b));
                for value in &values {
                    let (in_a, in_b) = (a.contains(value), b.contains(value));
                    assert_eq!(both.contains(value), in_a && in_b, "{a:?} {b:?} {value:?}");
                    assert_eq!(either.contains(value), in_a || in_b, "{a:?} {b:?} {value:?}");
                }
                let outside = a.intersection(&b.complement());
                assert_eq!(a.is_subset(b), outside.is_empty(), "{a:?} {b:?}");
                assert_eq!(a == b, a.is_subset(b) && b.is_subset(a), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn only_finite_sets_of_texts_are_lists() {
        assert_eq!(Texts::exactly(["b", "a"]).as_list(), Some(vec!["a", "b"]));
        assert_eq!(Texts::new([]).as_list(), Some(vec![]));
        assert_eq!(Texts::prefixed(b"a").as_list(), None);
        assert_eq!(Texts::exactly(["a"]).complement().as_list(), None);
    }

    #[test]
    fn a_prefix_is_an_interval_and_an_exact_text_is_one_point_of_it() {
        let prefix = Set::Texts(Texts::prefixed(b"eu-"));
        let exact = Set::Texts(Texts::exactly(["eu-west", "eu-"]));
        assert!(exact.is_subset(&prefix));
        assert!(!prefix.is_subset(&exact));
        assert!(!prefix.contains(&Value::Text("eu.".into())));
        assert!(Set::Texts(Texts::prefixed(b"")).complement().is_empty());
        assert_eq!(Texts::prefixed(&[0xff]).intervals(), &[(vec![0xff], None)]);
    }
}
