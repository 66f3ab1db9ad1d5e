//! The re-check's rows of bits, by asking each pattern of each id; nothing of the programs enters.

use super::build::Places;
use super::policies::{Side, tests};
use crate::config::model::Condition;
use crate::config::policy::{IdPattern, Stance, speaks_of};
use crate::snapshot::caller::Class;
use crate::snapshot::flat::FlatNeeds;
use crate::snapshot::policy::{Rule, Span};
use crate::snapshot::rulebook::{Line, Rulebook};
use crate::snapshot::{CapabilityId, RouteEntry};
use std::collections::{BTreeMap, BTreeSet};

/// What rules speak of.
pub(super) struct Sides<'a> {
    pub(super) services: &'a Places,
    pub(super) capabilities: &'a [Side<'a>],
    pub(super) routes: &'a [RouteEntry],
    pub(super) classes: &'a [Class],
}

/// Where the row of a number stands that no service has: nowhere.
const NOBODY: u32 = u32::MAX;

/// Rows of bits; equal ones are one.
#[derive(Default)]
struct Rows {
    known: BTreeMap<Vec<u64>, u32>,
    all: Vec<u64>,
}

impl Rows {
    /// The row of one id.
    fn place(&mut self, rules: &[Rule], speaks: impl Fn(&Rule) -> bool) -> u32 {
        let row = row(rules, speaks);
        *self.known.entry(row).or_insert_with_key(|row| {
            self.all.extend(row);
            u32::try_from(self.all.len() - row.len()).unwrap_or(u32::MAX)
        })
    }
}

/// A bit for each rule that speaks of one id.
fn row(rules: &[Rule], speaks: impl Fn(&Rule) -> bool) -> Vec<u64> {
    let mut row = vec![0u64; rules.len().div_ceil(64)];
    for (word, rules) in row.iter_mut().zip(rules.chunks(64)) {
        let bits = rules.iter().enumerate();
        *word = bits.fold(0, |word, (bit, rule)| word | u64::from(speaks(rule)) << bit);
    }
    row
}

/// The rulebook.
pub(super) fn book(rules: &[Rule], sides: &Sides<'_>) -> Rulebook {
    let mut rows = Rows::default();
    let named = |patterns: &Option<Vec<IdPattern>>, id: &str| speaks_of(patterns.as_deref(), id);
    let classes = sides.classes.iter().map(|class| {
        rows.place(rules, |rule| {
            let patterns = rule.scope.callers.as_deref();
            patterns.is_none_or(|all| all.iter().any(|pattern| class.member.is_of(pattern)))
        })
    });
    let classes = classes.collect();
    let capabilities = sides.capabilities.iter().map(|capability| {
        rows.place(rules, |rule| named(&rule.scope.capabilities, capability.name))
    });
    let capabilities = capabilities.collect();
    let services = sides.services.iter().map(|place| match place {
        Some(it) => rows.place(rules, |rule| named(&rule.scope.services, &it.entry.id)),
        None => NOBODY,
    });
    let services = services.collect();
    let routes = sides.routes.iter();
    let routes =
        routes.map(|it| rows.place(rules, |rule| named(&rule.scope.routes, &it.id))).collect();
    let lines = rules.iter().map(|rule| Line {
        kind: rule.kind,
        shadow: rule.stance == Stance::Shadow,
        obliges: !rule.obligations.is_empty(),
        conditional: rule.facts.is_some(),
        promises: rule.promises.as_ref().map(|condition| FlatNeeds::new([condition])),
    });
    let mut book = Rulebook {
        lines: lines.collect(),
        words: rules.len().div_ceil(64),
        classes,
        capabilities,
        services,
        routes,
        shadowed: sides.routes.iter().map(|route| route.shadowed).collect(),
        rows: rows.all,
        ..Rulebook::default()
    };
    conditions(rules, sides, &mut book);
    book
}

fn conditions(rules: &[Rule], sides: &Sides<'_>, book: &mut Rulebook) {
    let place = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    // Those with the same columns share what is laid out for them.
    let mut alike: BTreeMap<_, Vec<&Side<'_>>> = BTreeMap::new();
    for capability in sides.capabilities {
        alike.entry(capability.columns.identity()).or_default().push(capability);
    }
    let mut spans = BTreeMap::new();
    for (identity, capabilities) in &alike {
        let Some(capability) = capabilities.first() else { continue };
        let start = place(book.conditions.len());
        let mut known = BTreeMap::new();
        for (rule, number) in rules.iter().zip(0u32..) {
            let patterns = rule.scope.capabilities.as_deref();
            let mine = |_: &&Condition| capabilities.iter().any(|it| speaks_of(patterns, it.name));
            let Some(facts) = rule.facts.as_ref().filter(mine) else { continue };
            let span = *known.entry(&facts.cnf).or_insert_with(|| {
                let start = place(book.tests.len());
                book.tests.extend(tests(capability.columns, &facts.cnf));
                Span { start, end: place(book.tests.len()) }
            });
            book.conditions.push((number, span));
        }
        spans.insert(identity, Span { start, end: place(book.conditions.len()) });
    }
    book.conditional = sides
        .capabilities
        .iter()
        .map(|it| spans.get(&it.columns.identity()).copied().unwrap_or_default())
        .collect();
}

/// Makes again what the book says of these capabilities and services.
pub(super) fn touch(
    book: &mut Rulebook,
    rules: &[Rule],
    (capabilities, services): (&[(CapabilityId, Side<'_>)], &BTreeSet<u32>),
    places: &Places,
) {
    let place = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    book.services.resize(places.len().max(book.services.len()), NOBODY);
    for number in services {
        let start = match places.get(*number as usize).and_then(Option::as_ref) {
            None => NOBODY,
            Some(it) => {
                let speaks = |rule: &Rule| speaks_of(rule.scope.services.as_deref(), &it.entry.id);
                let row = row(rules, speaks);
                let mut known = book.rows.chunks_exact(book.words.max(1));
                let known = known.position(|known| *known == *row).map(|at| at * book.words);
                let start = place(known.unwrap_or(book.rows.len()));
                if known.is_none() {
                    book.rows.extend(row);
                }
                start
            }
        };
        if let Some(slot) = book.services.get_mut(*number as usize) {
            *slot = start;
        }
    }
    for (number, capability) in capabilities {
        let start = place(book.conditions.len());
        for (rule, number) in rules.iter().zip(0u32..) {
            let mine = speaks_of(rule.scope.capabilities.as_deref(), capability.name);
            let Some(facts) = rule.facts.as_ref().filter(|_| mine) else { continue };
            let from = place(book.tests.len());
            book.tests.extend(tests(capability.columns, &facts.cnf));
            book.conditions.push((number, Span { start: from, end: place(book.tests.len()) }));
        }
        if let Some(slot) = book.conditional.get_mut(number.0 as usize) {
            *slot = Span { start, end: place(book.conditions.len()) };
        }
    }
}
