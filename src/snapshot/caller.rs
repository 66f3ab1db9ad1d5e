//! Ids in classes: those that the same patterns match; and callers by their ids.
//!
//! Patterns are whole ids and prefixes, so the whole id, or else the longest prefix, that matches
//! an id says which others match it too: there is at most one class more than there are patterns,
//! and the class of an id that nobody configured, as tokens bring them, is one search away.

use super::request::{CallerClass, Principal};
use crate::config::policy::IdPattern;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The id of everyone who was not identified.
pub const ANONYMOUS: &str = "anonymous";

/// A prefix, and the longest other one that is a prefix of it.
#[derive(Clone, Debug)]
struct Prefix {
    text: Box<str>,
    parent: Option<u32>,
    class: u16,
}

/// The classes of all ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    exact: BTreeMap<Box<str>, u16>,
    /// Sorted by text.
    prefixes: Vec<Prefix>,
    /// Whoever no pattern speaks of.
    other: u16,
}

/// What an id stands for when classes are made: itself, or all that begin so and that no longer
/// pattern speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Id(String),
    Prefix(String),
    Other,
}

/// A class of callers.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    /// Which of the sets of requirements is bound to it.
    pub(crate) needs: u16,
    /// The rules that name callers, these among them.
    pub(crate) rules: Vec<u32>,
    /// One kind of caller in it.
    pub(crate) member: Member,
}

impl Member {
    /// Whether a pattern speaks of it.
    pub(crate) fn is_of(&self, pattern: &IdPattern) -> bool {
        match (self, pattern) {
            (Self::Id(id), pattern) => pattern.matches(id),
            (Self::Prefix(text), IdPattern::Prefix(prefix)) => text.starts_with(prefix.as_str()),
            (Self::Other, IdPattern::Prefix(prefix)) => prefix.is_empty(),
            (Self::Prefix(_) | Self::Other, IdPattern::Exact(_)) => false,
        }
    }
}

impl Classes {
    /// Classes for these patterns, each with the number of whoever wrote it. `class_of` is asked
    /// for the class of each kind of id that they tell apart, with the numbers that speak of it, in
    /// order; of those that no pattern speaks of first.
    pub(crate) fn new<'p>(
        patterns: impl IntoIterator<Item = (&'p IdPattern, u32)>,
        mut class_of: impl FnMut(Member, Vec<u32>) -> u16,
    ) -> Self {
        let mut exact: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let mut begun: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (pattern, number) in patterns {
            match pattern {
                IdPattern::Exact(id) => exact.entry(id).or_default().push(number),
                IdPattern::Prefix(text) => begun.entry(text).or_default().push(number),
            }
        }
        let sorted = |mut numbers: Vec<u32>| {
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let everyone = begun.get("").cloned().unwrap_or_default();
        let other = class_of(Member::Other, sorted(everyone));
        let mut prefixes: Vec<Prefix> = Vec::with_capacity(begun.len());
        // What speaks of each prefix: itself and all prefixes of it.
        let mut all: Vec<Vec<u32>> = Vec::with_capacity(begun.len());
        for (text, mut numbers) in begun {
            let parent = ancestor(&prefixes, prefixes.len().checked_sub(1), text);
            numbers.extend(parent.and_then(|at| all.get(at)).into_iter().flatten());
            let numbers = sorted(numbers);
            let class = class_of(Member::Prefix(text.to_owned()), numbers.clone());
            let parent = parent.and_then(|at| u32::try_from(at).ok());
            prefixes.push(Prefix { text: text.into(), parent, class });
            all.push(numbers);
        }
        let mut classes = Self { exact: BTreeMap::new(), prefixes, other };
        for (id, mut numbers) in exact {
            let prefix = classes.longest(id);
            numbers.extend(prefix.and_then(|at| all.get(at)).into_iter().flatten());
            let class = class_of(Member::Id(id.to_owned()), sorted(numbers));
            classes.exact.insert(id.into(), class);
        }
        classes
    }

    /// The class of an id.
    pub(crate) fn of(&self, id: &str) -> u16 {
        if let Some(class) = self.exact.get(id) {
            return *class;
        }
        let found = self.longest(id).and_then(|at| self.prefixes.get(at));
        found.map_or(self.other, |prefix| prefix.class)
    }

    /// The longest prefix of an id.
    fn longest(&self, id: &str) -> Option<usize> {
        let behind = self.prefixes.partition_point(|prefix| *prefix.text <= *id);
        ancestor(&self.prefixes, behind.checked_sub(1), id)
    }
}

/// The longest prefix that a text begins with, given the last one that is not above the text:
/// between a prefix of a text and the text stands nothing that does not begin with that prefix.
fn ancestor(prefixes: &[Prefix], last: Option<usize>, text: &str) -> Option<usize> {
    let mut at = last?;
    loop {
        let prefix = prefixes.get(at)?;
        if text.starts_with(&*prefix.text) {
            return Some(at);
        }
        at = prefix.parent? as usize;
    }
}

/// Who may call, as far as it is known beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Callers {
    pub(crate) classes: Classes,
    /// By id, those that are configured.
    pub(crate) known: BTreeMap<Arc<str>, Arc<Principal>>,
    pub(crate) anonymous: Arc<Principal>,
}

impl Callers {
    /// The class of an id.
    pub(crate) fn class_of(&self, id: &str) -> CallerClass {
        CallerClass(self.classes.of(id))
    }

    /// The principal of an id with these facts; what is configured about it goes first.
    pub(crate) fn principal(&self, id: &str, mut facts: Vec<(String, String)>) -> Principal {
        let class = self.class_of(id);
        let Some((id, known)) = self.known.get_key_value(id) else {
            return Principal { id: id.into(), class, facts };
        };
        facts.retain(|(name, _)| known.facts.iter().all(|(own, _)| own != name));
        facts.splice(0..0, known.facts.iter().cloned());
        Principal { id: Arc::clone(id), class, facts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rng: &mut fastrand::Rng, most: usize) -> String {
        (0..rng.usize(0..=most)).map(|_| rng.choice(['a', 'b', '/']).unwrap()).collect()
    }

    #[test]
    fn the_class_of_any_id_is_the_set_of_patterns_that_match_it() {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut met = 0;
        for _ in 0..500 {
            let patterns: Vec<IdPattern> = (0..rng.usize(0..9))
                .map(|_| {
                    let text = text(&mut rng, 4);
                    if rng.bool() { IdPattern::Prefix(text) } else { IdPattern::Exact(text) }
                })
                .collect();
            let mut sets: Vec<Vec<u32>> = Vec::new();
            let numbered = patterns.iter().zip(0..);
            let classes = Classes::new(numbered.clone(), |member, numbers| {
                let speaking = numbered.clone().filter(|(pattern, _)| member.is_of(pattern));
                let speaking: Vec<u32> = speaking.map(|(_, number)| number).collect();
                assert_eq!(speaking, numbers, "{member:?} {patterns:?}");
                let at = sets.iter().position(|known| *known == numbers).unwrap_or_else(|| {
                    sets.push(numbers);
                    sets.len() - 1
                });
                u16::try_from(at).unwrap()
            });
            assert!(sets.len() <= patterns.len() + 1);
            for _ in 0..50 {
                let id = text(&mut rng, 6);
                let matching = numbered.clone().filter(|(pattern, _)| pattern.matches(&id));
                let matching: Vec<u32> = matching.map(|(_, number)| number).collect();
                met += usize::from(matching.len() > 1);
                assert_eq!(sets[usize::from(classes.of(&id))], matching, "{id} {patterns:?}");
            }
        }
        assert!(met > 1000, "{met}");
    }

    #[test]
    fn what_is_configured_of_a_caller_wins_over_what_comes_with_it() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let known = Principal {
            id: "a".into(),
            class: CallerClass(0),
            facts: vec![pair("clearance", "low")],
        };
        let anonymous = Principal { id: ANONYMOUS.into(), facts: Vec::new(), ..known.clone() };
        let callers = Callers {
            classes: Classes::default(),
            known: [(Arc::clone(&known.id), Arc::new(known))].into(),
            anonymous: Arc::new(anonymous),
        };
        let given = vec![pair("clearance", "high"), pair("team", "x")];
        let facts = callers.principal("a", given.clone()).facts;
        assert_eq!(facts, [pair("clearance", "low"), pair("team", "x")]);
        assert_eq!(callers.principal("b", given.clone()).facts, given);
    }
}
