//! The slow, obvious meaning of expressions and promises, for tests and for whoever doubts the fast
//! one.
//!
//! It evaluates the tree as it was written, with the typed predicates as they were written, in
//! Kleene's strong logic: true, false, or unknown. It knows nothing of normal forms, intervals or
//! the linear rule; entailment is decided by trying every point of the box.

use super::expression::{Test, Tree};
use super::logic::{Facts, PromiseBox};
use super::predicate::{Predicate, Relation};
use super::set::{Set, Value};
use super::version::show_core;
use super::vocabulary::{Kind, Vocabulary};
use std::collections::BTreeSet;

/// True, false, or unknown, of one tree and one point.
pub fn evaluate(vocabulary: &Vocabulary, tree: &Tree, facts: &Facts) -> Option<bool> {
    match tree {
        Tree::Test(test) => evaluate_test(vocabulary, test, facts),
        Tree::Not(below) => evaluate(vocabulary, below, facts).map(|truth| !truth),
        Tree::All(below) => below.iter().fold(Some(true), |all, tree| {
            match (all, evaluate(vocabulary, tree, facts)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            }
        }),
        Tree::Any(below) => below.iter().fold(Some(false), |any, tree| {
            match (any, evaluate(vocabulary, tree, facts)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            }
        }),
    }
}

fn evaluate_test(vocabulary: &Vocabulary, test: &Test, facts: &Facts) -> Option<bool> {
    let declared = vocabulary.declared().get(test.declared)?;
    let number = |place: usize| match facts.get(&declared.nth(place)) {
        Some(Value::Number(number)) => Some(*number),
        _ => None,
    };
    let text = || match facts.get(&declared.id()) {
        Some(Value::Text(text)) => Some(text.to_string()),
        _ => None,
    };
    match &test.predicate {
        Predicate::Is(relation, value) => Some(compares(*relation, number(0)?, *value)),
        Predicate::Tail(place, relation, ppm) => Some(compares(*relation, number(*place)?, *ppm)),
        Predicate::OneOf(values) => Some(values.contains(&number(0)?)),
        Predicate::TextOneOf(texts) => Some(texts.contains(&text()?)),
        Predicate::TextIsNot(other) => Some(text()? != *other),
        Predicate::StartsWith(prefix) => Some(text()?.starts_with(prefix)),
        Predicate::EndsWith(suffix) => Some(text()?.ends_with(suffix)),
        Predicate::Within(region) => {
            let Kind::Region(regions) = &declared.kind else { return None };
            let leaf = usize::try_from(number(0)?).ok()?;
            let leaf = regions.leaves().get(leaf)?;
            Some(regions.is_within(leaf, region))
        }
        Predicate::Matches(range) => {
            let (core, pre) = (number(0)?, number(1)?);
            Some(pre == 0 && admits(&range.text, &show_core(core)))
        }
        Predicate::Prerelease => Some(number(1)? == 1),
        Predicate::ContainsAll(_) | Predicate::SubsetOf(_) | Predicate::DisjointFrom(_) => {
            let Kind::Set(symbols) = &declared.kind else { return None };
            let mut held = BTreeSet::new();
            for place in 0..symbols.len() {
                if number(place)? == 1 {
                    held.insert(place);
                }
            }
            Some(compares_set(&test.predicate, &held))
        }
    }
}

fn compares(relation: Relation, left: i64, right: i64) -> bool {
    match relation {
        Relation::Equal => left == right,
        Relation::NotEqual => left != right,
        Relation::Less => left < right,
        Relation::LessEqual => left <= right,
        Relation::Greater => left > right,
        Relation::GreaterEqual => left >= right,
    }
}

fn compares_set(predicate: &Predicate, held: &BTreeSet<usize>) -> bool {
    match predicate {
        Predicate::ContainsAll(places) => places.iter().all(|place| held.contains(place)),
        Predicate::SubsetOf(places) => held.iter().all(|place| places.contains(place)),
        Predicate::DisjointFrom(places) => !places.iter().any(|place| held.contains(place)),
        _ => false,
    }
}

/// Whether a release is in a range: component by component, as Cargo's documentation tells it.
fn admits(range: &str, version: &str) -> bool {
    let version: Vec<i64> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    let range = range.trim_matches(' ');
    matches!(range, "*" | "x" | "X")
        || range.split(',').all(|comparator| admits_one(comparator.trim_matches(' '), &version))
}

fn admits_one(comparator: &str, version: &[i64]) -> bool {
    let digits = comparator.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
    let (sign, rest) = comparator.split_at_checked(digits).unwrap_or_default();
    let rest = rest.split('+').next().unwrap_or_default();
    let wild = rest.contains(['*', 'x', 'X']);
    let given: Vec<i64> = rest.split('.').map_while(|part| part.parse().ok()).collect();
    let agrees = version.iter().zip(&given).all(|(a, b)| a == b);
    let compared = version.get(..given.len()).unwrap_or_default().cmp(given.as_slice());
    match sign.trim_matches(' ') {
        "=" => agrees,
        "" if wild => agrees,
        ">" => compared.is_gt(),
        ">=" => compared.is_ge(),
        "<" => compared.is_lt(),
        "<=" => compared.is_le(),
        "~" => {
            let fixed = given.len().min(2);
            version.get(..fixed) == given.get(..fixed) && compared.is_ge()
        }
        "^" | "" => {
            // Everything up to and including the first component that is not zero stays.
            let nonzero = given.iter().position(|part| *part != 0);
            let fixed = nonzero.map_or(given.len(), |place| place + 1);
            version.get(..fixed) == given.get(..fixed) && compared.is_ge()
        }
        _ => false,
    }
}

/// Whether a point lies in the box: every promised attribute has a value, inside its set.
pub fn inside(promises: &PromiseBox, point: &Facts) -> bool {
    promises.iter().all(|(id, set)| point.get(id).is_some_and(|value| set.contains(value)))
}

/// Whether the tree is true of every one of the points that lies in the box, of which there must be
/// one. With every point of the domains that is the definition of entailment.
pub fn entails_over<'a>(
    vocabulary: &Vocabulary,
    promises: &PromiseBox,
    tree: &Tree,
    points: impl IntoIterator<Item = &'a Facts>,
) -> bool {
    let mut some = false;
    for point in points.into_iter().filter(|point| inside(promises, point)) {
        some = true;
        if evaluate(vocabulary, tree, point) != Some(true) {
            return false;
        }
    }
    some
}

/// Values that stand for every way the given sets can tell values apart: both ends of each
/// interval, the values beside them, and the ends of the domain.
pub fn representatives<'a>(domain: &'a Set, sets: impl IntoIterator<Item = &'a Set>) -> Vec<Value> {
    let mut numbers = BTreeSet::new();
    let mut texts = BTreeSet::new();
    for set in std::iter::once(domain).chain(sets) {
        match set {
            Set::Numbers(set) => {
                for &(low, high) in set.intervals() {
                    numbers.extend([low.saturating_sub(1), low, high, high.saturating_add(1)]);
                }
            }
            Set::Texts(set) => {
                for (low, high) in set.intervals() {
                    for end in [Some(low), high.as_ref()].into_iter().flatten() {
                        let end = String::from_utf8_lossy(end).into_owned();
                        texts.extend([format!("{end}\u{0}"), format!("{end}a"), end]);
                    }
                }
            }
        }
    }
    let numbers = numbers.into_iter().map(Value::Number);
    let texts = texts.into_iter().map(|text| Value::Text(text.into()));
    numbers.chain(texts).filter(|value| domain.contains(value)).collect()
}
