//! The routes of the next landscape out of those of the one before, where capabilities came, went
//! or changed: theirs are bound, and all others carried over under the numbers that they have now.
//!
//! It gives what binding all of them gives. Explicit routes, requirements and classes are the same
//! in both landscapes, and a capability that is kept has the same routes in the same order, so the
//! sets of requirements bound to it have the same numbers.

use super::Problems;
use super::offers::Draft;
use super::routes::{
    Binder, Compiled, Input, check_shapes, length_of_template, offered, refuse_ties, written,
};
use crate::config::model::{Operation, PathPattern};
use crate::snapshot::table::{Moved, Rule};
use crate::snapshot::{CapabilityId, RouteEntry, RouteId, Routing, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Routes on their way.
struct Rebinding<'a> {
    input: &'a Input<'a>,
    /// The routes before.
    known: &'a Routing,
    compiled: Compiled,
    binder: Binder,
    /// Where each block of needs stood, and stands.
    blocks: BTreeMap<u32, u32>,
    /// By the number that a route had, the one that it has.
    moved: Vec<Option<RouteId>>,
    /// What came.
    operations: BTreeSet<&'a Operation>,
    /// Where something came or went.
    paths: BTreeSet<&'a PathPattern>,
}

/// See the module's text.
pub(super) fn rebind(input: &Input<'_>, previous: &Snapshot, problems: &mut Problems) -> Compiled {
    let known = &*previous.routing;
    let numbers = numbers(input.drafts, previous.capability_count());
    let numbered = (0..).map(CapabilityId).zip(input.drafts);
    let mut new =
        offered(numbered.filter(|(_, draft)| draft.kept.is_none())).into_iter().peekable();
    let mut next = Rebinding {
        input,
        known,
        compiled: Compiled::default(),
        binder: Binder::new(input.drafts.len()),
        blocks: BTreeMap::new(),
        moved: Vec::with_capacity(known.routes.len()),
        operations: BTreeSet::new(),
        paths: BTreeSet::new(),
    };
    for (rule, entry) in known.rules.iter().zip(&known.routes) {
        let number = numbers.get(entry.capability.0 as usize).copied().flatten();
        if !rule.explicit {
            // Those that follow from contracts stand in the order of operation and capability.
            while let Some(came) = new.next_if(|(operation, capability)| match number {
                Some(number) => (*operation, *capability) < (&rule.operation, number),
                // It is gone, or among those that come.
                None => *operation < &rule.operation,
            }) {
                next.comes(came, problems);
            }
        }
        match number {
            Some(number) => next.stays(rule, entry, number),
            None if rule.explicit => next.is_bound_anew(rule, entry, problems),
            None => next.goes(rule),
        }
    }
    new.for_each(|came| next.comes(came, problems));
    next.finish(previous, problems)
}

/// By the number that a capability had, the one that it has, where nothing of it changes.
fn numbers(drafts: &[Draft], before: usize) -> Vec<Option<CapabilityId>> {
    let mut numbers = vec![None; before];
    for (number, draft) in (0..).map(CapabilityId).zip(drafts) {
        let slot = draft.kept.and_then(|before| numbers.get_mut(before.0 as usize));
        slot.into_iter().for_each(|slot| *slot = Some(number));
    }
    numbers
}

impl<'a> Rebinding<'a> {
    /// A route that follows from a contract, and that nobody knew or whose capability changed.
    fn comes(
        &mut self,
        (operation, capability): (&'a Operation, CapabilityId),
        problems: &mut Problems,
    ) {
        self.compiled.follow(self.input, (operation, capability), &mut self.binder, problems);
        self.paths.insert(&operation.path);
        self.operations.insert(operation);
    }

    fn goes(&mut self, rule: &'a Rule) {
        self.moved.push(None);
        self.paths.insert(&rule.operation.path);
    }

    /// A route to a capability of which nothing changes but its number.
    fn stays(&mut self, rule: &Arc<Rule>, entry: &RouteEntry, capability: CapabilityId) {
        let Self { input, known, compiled, binder, .. } = self;
        let bound = *self.blocks.entry(entry.bound).or_insert_with(|| {
            let length = input.classes.len() << entry.overlays.len();
            let block = known.bound.iter().skip(entry.bound as usize).take(length);
            binder.place(block.copied().collect(), &mut compiled.bound)
        });
        self.put(rule, RouteEntry { capability, bound, ..entry.clone() });
    }

    /// A route that an operator wrote, to a capability that changed.
    fn is_bound_anew(&mut self, rule: &Arc<Rule>, entry: &RouteEntry, problems: &mut Problems) {
        let Self { input, compiled, binder, .. } = self;
        let route = input.parts.routes.iter().find(|route| *route.id == *entry.id);
        let bound = &mut compiled.bound;
        match route.and_then(|route| written(input, route, binder, bound, problems)) {
            Some(entry) => self.put(rule, entry),
            // What is wrong with it is told.
            None => self.moved.push(None),
        }
    }

    fn put(&mut self, rule: &Arc<Rule>, entry: RouteEntry) {
        let number = u32::try_from(self.compiled.entries.len()).unwrap_or(u32::MAX);
        self.moved.push(Some(RouteId(number)));
        self.compiled.rules.push(Arc::clone(rule));
        self.compiled.entries.push(entry);
    }

    fn finish(self, previous: &Snapshot, problems: &mut Problems) -> Compiled {
        let Self { input, known, mut compiled, binder, moved, operations, paths, .. } = self;
        let lengths = operations.iter().filter_map(|it| length_of_template(&it.path));
        let lengths: BTreeSet<usize> = lengths.collect();
        let of_such_length = |rule: &&Rule| {
            let length = length_of_template(&rule.operation.path);
            rule.host.is_none() && length.is_some_and(|length| lengths.contains(&length))
        };
        let rules = compiled.rules.iter().map(|rule| &**rule);
        check_shapes(rules.filter(of_such_length), problems);
        refuse_ties(&compiled, |rule| operations.contains(&rule.operation), problems);
        let lists = input.drafts.iter().zip(binder.lists);
        let needs = lists.map(|(draft, list)| {
            let before = draft.kept.and_then(|id| previous.capability_entry(id));
            before.map_or_else(|| list.into(), |before| Arc::clone(&before.needs))
        });
        compiled.needs = needs.collect();
        let moved = Moved { routes: &moved, paths: &paths };
        compiled.table = known.table.moved(&moved, &compiled.rules, &compiled.entries);
        compiled
    }
}
