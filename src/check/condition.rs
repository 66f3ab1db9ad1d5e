//! Conditions on facts, laid out to be evaluated; texts are told apart by their ranks alone.

use super::set::{Edge, Set};
use super::text::Cnf;
use std::collections::BTreeMap;

/// The attributes that the conditions of a capability are of, each with the ends that its texts are
/// ranked by; numbers have none.
pub(crate) type Columns = BTreeMap<u16, Vec<Edge>>;

/// A conjunction of clauses over facts, those of texts as ranks. Spans of all clauses lie in one
/// row and in order: of ten thousand services few are in the caches, and this is read most.
pub(crate) struct Condition {
    clauses: u32,
    spans: Box<[Span]>,
}

/// One way to satisfy a clause: the fact lies between these two, both included.
struct Span {
    clause: u32,
    attribute: u16,
    low: i64,
    high: i64,
}

impl Condition {
    /// Lays a condition out, with ranks in the place of texts.
    pub(crate) fn new(cnf: &Cnf, columns: &Columns) -> Self {
        let mut spans = Vec::new();
        for (clause, atoms) in (0..).zip(cnf) {
            for (attribute, set) in atoms {
                let ends = columns.get(attribute).map_or(&[][..], Vec::as_slice);
                let rank = |edge: &Edge| match edge {
                    Edge::Top => i128::MAX,
                    text => ends.partition_point(|end| end <= text) as i128,
                };
                let between: Vec<(i128, i128)> = match set {
                    Set::Numbers(numbers) => numbers.spans().to_vec(),
                    Set::Texts(texts) => {
                        texts.spans().iter().map(|(low, high)| (rank(low), rank(high))).collect()
                    }
                };
                spans.extend(between.into_iter().map(|(low, behind)| Span {
                    clause,
                    attribute: *attribute,
                    low: i64::try_from(low).unwrap_or(i64::MAX),
                    high: i64::try_from(behind - 1).unwrap_or(i64::MAX),
                }));
            }
        }
        Self { clauses: u32::try_from(cnf.len()).unwrap_or(u32::MAX), spans: spans.into() }
    }

    /// Whether each clause has a span that a known fact lies in.
    pub(crate) fn holds(&self, facts: &[(u16, i64)]) -> bool {
        let mut met = 0;
        for span in &self.spans {
            let lies = |value: i64| span.low <= value && value <= span.high;
            let known = || facts.iter().find(|(attribute, _)| *attribute == span.attribute);
            // A clause that is not met stays the one to be met, and no span behind it is of it.
            met += u32::from(span.clause == met && known().is_some_and(|(_, it)| lies(*it)));
        }
        met == self.clauses
    }
}

/// The attributes that conditions on facts are of, each with the ends that texts are ranked by.
pub(crate) fn columns<'a>(conditions: impl Iterator<Item = &'a Cnf>) -> Columns {
    let mut columns = Columns::new();
    for (attribute, set) in conditions.flatten().flatten() {
        let ends = columns.entry(*attribute).or_default();
        if let Set::Texts(texts) = set {
            let both = texts.spans().iter().flat_map(|(low, high)| [low, high]);
            ends.extend(both.filter(|end| **end != Edge::Top).cloned());
        }
    }
    for ends in columns.values_mut() {
        ends.sort();
        ends.dedup();
    }
    columns
}
