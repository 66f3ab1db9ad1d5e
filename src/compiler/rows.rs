//! The re-check's rows of bits, by asking each pattern of each id; nothing of the programs enters.

use super::callers::Class;
use super::policies::tests;
use crate::config::model::Condition;
use crate::config::policy::{IdPattern, Stance, speaks_of};
use crate::snapshot::flat::FlatNeeds;
use crate::snapshot::policy::{Rule, Span};
use crate::snapshot::rulebook::{Line, Rulebook};
use crate::snapshot::{Capability, RouteEntry, ServiceEntry};
use std::collections::BTreeMap;

/// What rules speak of.
pub(super) struct Sides<'a> {
    pub(super) services: &'a [ServiceEntry],
    pub(super) capabilities: &'a [Capability],
    pub(super) routes: &'a [RouteEntry],
    pub(super) classes: &'a [Class],
}

/// Rows of bits; equal ones are one.
#[derive(Default)]
struct Rows {
    known: BTreeMap<Vec<u64>, u32>,
    all: Vec<u64>,
}

impl Rows {
    /// The row of one id: a bit for each rule that speaks of it.
    fn place(&mut self, rules: &[Rule], speaks: impl Fn(&Rule) -> bool) -> u32 {
        let mut row = vec![0u64; rules.len().div_ceil(64)];
        for (word, rules) in row.iter_mut().zip(rules.chunks(64)) {
            let bits = rules.iter().enumerate();
            *word = bits.fold(0, |word, (bit, rule)| word | u64::from(speaks(rule)) << bit);
        }
        *self.known.entry(row).or_insert_with_key(|row| {
            self.all.extend(row);
            u32::try_from(self.all.len() - row.len()).unwrap_or(u32::MAX)
        })
    }
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
        rows.place(rules, |rule| named(&rule.scope.capabilities, &capability.name))
    });
    let capabilities = capabilities.collect();
    let services = sides.services.iter();
    let services =
        services.map(|it| rows.place(rules, |rule| named(&rule.scope.services, &it.id))).collect();
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
    let mut alike: BTreeMap<_, Vec<&Capability>> = BTreeMap::new();
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
            let mine = |_: &&Condition| capabilities.iter().any(|it| speaks_of(patterns, &it.name));
            let Some(facts) = rule.facts.as_ref().filter(mine) else { continue };
            let span = *known.entry(&facts.cnf).or_insert_with(|| {
                let start = place(book.tests.len());
                book.tests.extend(tests(&capability.columns, &facts.cnf));
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
