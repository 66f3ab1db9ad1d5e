//! Callers by their ids: the class of any of them, and what is configured about some.
//!
//! A class is a set of ids that the same caller patterns match. Patterns are whole ids and
//! prefixes, so the whole id, or else the longest prefix, that matches an id says which others
//! match it too: there is at most one class more than there are patterns, and the class of an id
//! that nobody configured, as tokens bring them, is one search away.

use super::request::{CallerClass, Principal};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The id of everyone who was not identified.
pub const ANONYMOUS: &str = "anonymous";

/// Ids that a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallerPattern {
    /// This one.
    Exact(String),
    /// All that begin with this; the empty text begins every id.
    Prefix(String),
}

impl CallerPattern {
    /// The pattern a person wrote: a trailing `*` stands for anything.
    pub fn of(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    /// Whether it speaks of this id.
    pub fn matches(&self, id: &str) -> bool {
        match self {
            Self::Exact(text) => text == id,
            Self::Prefix(prefix) => id.starts_with(prefix.as_str()),
        }
    }
}

/// A prefix, and the longest other one that is a prefix of it.
#[derive(Clone, Debug)]
struct Prefix {
    text: Box<str>,
    parent: Option<u32>,
    class: CallerClass,
}

/// The classes of all ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    exact: BTreeMap<Box<str>, CallerClass>,
    /// Sorted by text.
    prefixes: Vec<Prefix>,
    /// Whoever no pattern speaks of.
    other: CallerClass,
}

/// What an id stands for when classes are made: itself, or all that begin so and that no longer
/// pattern speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member<'a> {
    Id(&'a str),
    Prefix(&'a str),
    Other,
}

impl Member<'_> {
    /// Whether a pattern speaks of it.
    pub(crate) fn is_of(self, pattern: &CallerPattern) -> bool {
        match (self, pattern) {
            (Self::Id(id), pattern) => pattern.matches(id),
            (Self::Prefix(text), CallerPattern::Prefix(prefix)) => {
                text.starts_with(prefix.as_str())
            }
            (Self::Other, CallerPattern::Prefix(prefix)) => prefix.is_empty(),
            (Self::Prefix(_) | Self::Other, CallerPattern::Exact(_)) => false,
        }
    }
}

impl Classes {
    /// Classes for these patterns; `class_of` is asked for the class of each kind of caller that
    /// they tell apart, those that no pattern speaks of first.
    pub(crate) fn new<'p>(
        patterns: impl IntoIterator<Item = &'p CallerPattern>,
        mut class_of: impl FnMut(Member<'_>) -> CallerClass,
    ) -> Self {
        let other = class_of(Member::Other);
        let (mut exact, mut texts) = (BTreeMap::new(), Vec::new());
        for pattern in patterns {
            match pattern {
                CallerPattern::Exact(id) => {
                    let id = id.as_str();
                    exact.entry(id.into()).or_insert_with(|| class_of(Member::Id(id)));
                }
                CallerPattern::Prefix(text) => texts.push(text.as_str()),
            }
        }
        texts.sort_unstable();
        texts.dedup();
        let mut prefixes: Vec<Prefix> = Vec::with_capacity(texts.len());
        for text in texts {
            let parent = ancestor(&prefixes, prefixes.len().checked_sub(1), text);
            let parent = parent.and_then(|at| u32::try_from(at).ok());
            let class = class_of(Member::Prefix(text));
            prefixes.push(Prefix { text: text.into(), parent, class });
        }
        Self { exact, prefixes, other }
    }

    /// The class of an id.
    pub(crate) fn of(&self, id: &str) -> CallerClass {
        if let Some(class) = self.exact.get(id) {
            return *class;
        }
        let behind = self.prefixes.partition_point(|prefix| *prefix.text <= *id);
        let found = ancestor(&self.prefixes, behind.checked_sub(1), id);
        found.and_then(|at| self.prefixes.get(at)).map_or(self.other, |prefix| prefix.class)
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
    /// The principal of an id with these facts; what is configured about it goes first.
    pub(crate) fn principal(&self, id: &str, mut facts: Vec<(String, String)>) -> Principal {
        let class = self.classes.of(id);
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

    /// Classes numbered by the set of patterns that match, and those sets.
    fn classes(patterns: &[CallerPattern]) -> (Classes, Vec<Vec<usize>>) {
        let mut sets: Vec<Vec<usize>> = Vec::new();
        let classes = Classes::new(patterns, |member| {
            let matching = patterns.iter().enumerate().filter(|(_, one)| member.is_of(one));
            let set: Vec<usize> = matching.map(|(at, _)| at).collect();
            let at = sets.iter().position(|known| *known == set).unwrap_or_else(|| {
                sets.push(set);
                sets.len() - 1
            });
            CallerClass(u16::try_from(at).unwrap())
        });
        (classes, sets)
    }

    #[test]
    fn the_class_of_any_id_is_the_set_of_patterns_that_match_it() {
        let mut rng = fastrand::Rng::with_seed(11);
        let text = |rng: &mut fastrand::Rng, most: usize| -> String {
            (0..rng.usize(0..=most)).map(|_| rng.choice(['a', 'b', '/']).unwrap()).collect()
        };
        let mut met = 0;
        for _ in 0..500 {
            let patterns: Vec<CallerPattern> = (0..rng.usize(0..9))
                .map(|_| {
                    let text = text(&mut rng, 4);
                    if rng.bool() {
                        CallerPattern::Prefix(text)
                    } else {
                        CallerPattern::Exact(text)
                    }
                })
                .collect();
            let (classes, sets) = classes(&patterns);
            assert!(sets.len() <= patterns.len() + 1);
            for _ in 0..50 {
                let id = text(&mut rng, 6);
                let matching: Vec<usize> =
                    (0..patterns.len()).filter(|at| patterns[*at].matches(&id)).collect();
                met += usize::from(matching.len() > 1);
                assert_eq!(sets[usize::from(classes.of(&id).0)], matching, "{id} {patterns:?}");
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
