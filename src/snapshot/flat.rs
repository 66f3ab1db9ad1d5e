//! Contracts as flat lines, built straight from the offers: what the re-check reads. Nothing of
//! the decision's cells enters here, so a fault in those cannot hide in these.
//!
//! All lines of a capability stand in one array and those of an offer next to each other, so that
//! re-checking one of 100 000 services waits for one stretch of memory and not for a dozen places:
//! ```text
//! a Place for each offer, then of each:
//! Offer, its demands' Tests, { Mode, its condition's Tests, what it promises: Atoms }…, Shared…
//! ```

use super::shelf::Shelf;
use super::vector::{Columns, FactVector};
use super::{CapabilityId, NeedsId, ServiceId};
use crate::config::model::{Condition, Offer};
use crate::contract::logic::{Atom, AttributeId, Cnf};
use crate::contract::set::Set;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An attribute and a set of its values.
#[derive(Clone, Copy, Debug)]
pub struct FlatAtom {
    /// The attribute.
    pub attribute: AttributeId,
    /// Whether it ends its clause.
    pub last: bool,
    /// Which of the sets that stand beside the lines.
    set: u32,
    /// The set's only interval; an empty one when it has not just one.
    low: i64,
    high: i64,
}

/// What an offer is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offering {
    /// Who offers it.
    pub service: ServiceId,
    /// The service's tier.
    pub tier: u8,
    /// The service's rendezvous weight.
    pub weight: u64,
}

/// One line of an offer.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// Where the lines of an offer stand.
    Place { start: u32, end: u32 },
    /// Its head: the tests of its demands follow.
    Offer(Offering),
    /// `low <= fact <= high`, one literal of a clause.
    Test { column: u16, last: bool, low: i64, high: i64 },
    /// A promise: the tests of its condition, then what it says.
    Mode,
    /// A set and what else a [`FlatAtom`] has.
    Says { attribute: AttributeId, set: u32, low: i64, high: i64 },
    /// An attribute that more than one promise speaks of: there they may contradict each other.
    Shared(AttributeId),
}

// A cache line holds two of them and a half.
const _: () = assert!(size_of::<Line>() == 24);

fn place(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The offers and needs of one capability.
#[derive(Clone, Debug)]
pub(crate) struct Sheet {
    lines: Arc<[Line]>,
    sets: Arc<[Set]>,
    needs: NeedsList,
}

/// The needs of a capability, by their numbers.
pub(crate) type NeedsList = Arc<[Arc<FlatNeeds>]>;

/// The offers and needs of one landscape, by capability.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flat(Shelf<Sheet>);

/// Needs that were laid out before: equal ones share theirs, whoever they are bound for, so that
/// they are in the caches when a request needs them.
#[derive(Debug, Default)]
pub(crate) struct KnownNeeds {
    needs: BTreeMap<Vec<Cnf>, (u32, Arc<FlatNeeds>)>,
    lists: BTreeMap<Vec<u32>, NeedsList>,
}

impl KnownNeeds {
    /// The needs of a capability, laid out.
    pub(crate) fn list(&mut self, needs: &[Vec<Condition>]) -> NeedsList {
        let each = needs.iter().map(|conditions| {
            let key: Vec<Cnf> = conditions.iter().map(|condition| condition.cnf.clone()).collect();
            let number = place(self.needs.len());
            let fresh = || (number, Arc::new(FlatNeeds::new(conditions)));
            self.needs.entry(key).or_insert_with(fresh).clone()
        });
        let (numbers, flat): (Vec<u32>, Vec<Arc<FlatNeeds>>) = each.unzip();
        Arc::clone(self.lists.entry(numbers).or_insert_with(|| flat.into()))
    }
}

/// Requirements as one line of literals, clause after clause.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    /// The literals.
    pub atoms: &'a [FlatAtom],
    sets: &'a [Set],
}

/// The requirements of a header, flat.
#[derive(Clone, Debug, Default)]
pub struct FlatNeeds {
    atoms: Box<[FlatAtom]>,
    sets: Box<[Set]>,
}

/// The lines of one offer.
#[derive(Clone, Copy, Debug)]
pub struct FlatOffer<'a> {
    /// What it is known by.
    pub offering: Offering,
    lines: &'a [Line],
    sets: &'a [Set],
}

impl FlatAtom {
    fn new(attribute: AttributeId, set: &Set, last: bool, sets: &mut Vec<Set>) -> Self {
        let interval = match set {
            Set::Numbers(numbers) => match numbers.intervals() {
                [interval] => Some(*interval),
                _ => None,
            },
            Set::Texts(_) => None,
        };
        let (low, high) = interval.unwrap_or((1, 0));
        sets.push(set.clone());
        Self { attribute, last, set: place(sets.len() - 1), low, high }
    }

    /// The set, where it is just one interval of numbers.
    #[inline]
    pub fn interval(&self) -> Option<(i64, i64)> {
        (self.low <= self.high).then_some((self.low, self.high))
    }
}

/// The atoms of requirements. No promise speaks of the last attribute there can be, so a clause
/// without literals becomes one about that, which nothing entails.
fn needs_atoms<'a>(
    cnfs: impl IntoIterator<Item = &'a Cnf>,
    atoms: &mut Vec<FlatAtom>,
    sets: &mut Vec<Set>,
) {
    for clause in cnfs.into_iter().flat_map(|cnf| &cnf.clauses) {
        for (at, atom) in clause.atoms.iter().enumerate() {
            let last = at + 1 == clause.atoms.len();
            atoms.push(FlatAtom::new(atom.attribute, &atom.set, last, sets));
        }
        if clause.atoms.is_empty() {
            let attribute = AttributeId(u16::MAX);
            let set = place(sets.len());
            sets.push(Set::Numbers(crate::contract::set::Numbers::new([])));
            atoms.push(FlatAtom { attribute, last: true, set, low: 1, high: 0 });
        }
    }
}

impl FlatNeeds {
    /// Flattens conditions.
    pub fn new<'a>(conditions: impl IntoIterator<Item = &'a Condition>) -> Self {
        let (mut atoms, mut sets) = (Vec::new(), Vec::new());
        needs_atoms(conditions.into_iter().map(|it| &it.cnf), &mut atoms, &mut sets);
        Self { atoms: atoms.into(), sets: sets.into() }
    }

    /// The literals.
    pub fn needs(&self) -> Needs<'_> {
        Needs { atoms: &self.atoms, sets: &self.sets }
    }
}

impl<'a> Needs<'a> {
    /// The set of one of the atoms.
    pub fn set(&self, atom: &FlatAtom) -> Option<&'a Set> {
        self.sets.get(atom.set as usize)
    }
}

/// What becomes a sheet.
#[derive(Default)]
struct Draft {
    lines: Vec<Line>,
    sets: Vec<Set>,
}

impl Draft {
    fn offer(&mut self, columns: &Columns, offering: Offering, offer: &Offer) {
        self.lines.push(Line::Offer(offering));
        for demand in &offer.demands {
            self.push_tests(columns, &demand.cnf);
        }
        let mut seen = BTreeSet::new();
        let mut shared = BTreeSet::new();
        for mode in &offer.promises {
            self.lines.push(Line::Mode);
            self.push_tests(columns, &mode.when);
            for (attribute, set) in &mode.then {
                let FlatAtom { attribute: _, set, low, high, .. } =
                    FlatAtom::new(*attribute, set, true, &mut self.sets);
                self.lines.push(Line::Says { attribute: *attribute, set, low, high });
                if !seen.insert(*attribute) {
                    shared.insert(*attribute);
                }
            }
        }
        self.lines.extend(shared.into_iter().map(Line::Shared));
    }

    /// Flattens a normal form; attributes without a column are never known.
    fn push_tests(&mut self, columns: &Columns, cnf: &Cnf) {
        for clause in &cnf.clauses {
            let before = self.lines.len();
            for Atom { attribute, set } in &clause.atoms {
                let Some(column) = columns.find(*attribute) else { continue };
                let column = u16::try_from(column).unwrap_or(u16::MAX);
                let intervals = columns.intervals(column.into(), set).into_iter();
                self.lines.extend(intervals.map(|(low, high)| Line::Test {
                    column,
                    last: false,
                    low,
                    high,
                }));
            }
            if before == self.lines.len() {
                // No fact lies in it: a clause without literals is false.
                self.lines.push(Line::Test { column: 0, last: true, low: 1, high: 0 });
            } else if let Some(Line::Test { last, .. }) = self.lines.last_mut() {
                *last = true;
            }
        }
    }
}

impl Sheet {
    /// Lays out offers, each with what it is known by, and needs.
    pub(crate) fn new<'a>(
        columns: &Columns,
        offers: impl ExactSizeIterator<Item = (Offering, &'a Offer)>,
        needs: NeedsList,
    ) -> Self {
        let mut draft = Draft::default();
        draft.lines.resize(offers.len(), Line::Place { start: 0, end: 0 });
        for (number, (offering, offer)) in offers.enumerate() {
            let start = place(draft.lines.len());
            draft.offer(columns, offering, offer);
            let end = place(draft.lines.len());
            if let Some(line) = draft.lines.get_mut(number) {
                *line = Line::Place { start, end };
            }
        }
        Self { lines: draft.lines.into(), sets: draft.sets.into(), needs }
    }

    /// Its needs, to be shared.
    pub(crate) fn needs(&self) -> NeedsList {
        Arc::clone(&self.needs)
    }
}

impl Flat {
    /// The sheets of all capabilities.
    pub(crate) fn new(sheets: impl IntoIterator<Item = Sheet>) -> Self {
        Self(sheets.into_iter().collect())
    }

    /// Puts another in the place of a capability's.
    pub(crate) fn put(&mut self, capability: CapabilityId, sheet: Sheet) {
        self.0.put(capability.0 as usize, sheet);
    }

    /// The sheet of a capability.
    #[inline]
    pub(crate) fn sheet(&self, capability: CapabilityId) -> Option<&Sheet> {
        self.0.get(capability.0 as usize)
    }

    /// One offer of a capability.
    #[inline]
    pub(crate) fn offer(&self, capability: CapabilityId, number: u32) -> Option<FlatOffer<'_>> {
        let Sheet { lines, sets, .. } = self.sheet(capability)?;
        // Behind the places stand the offers: none of their lines is a place.
        let Line::Place { start, end } = *lines.get(number as usize)? else { return None };
        let lines = lines.get(start as usize..end as usize)?;
        let (Line::Offer(offering), lines) = lines.split_first()? else { return None };
        Some(FlatOffer { offering: *offering, lines, sets })
    }

    /// One set of bound needs of a capability.
    #[inline]
    pub(crate) fn needs(&self, capability: CapabilityId, needs: NeedsId) -> Option<Needs<'_>> {
        self.sheet(capability)?.needs.get(needs.0 as usize).map(|needs| needs.needs())
    }
}

/// Whether the facts satisfy every clause of the tests at the front, and what follows those; an
/// unknown fact satisfies nothing.
#[inline]
fn hold<'a>(mut lines: &'a [Line], facts: &FactVector) -> (bool, &'a [Line]) {
    let (mut all, mut satisfied) = (true, false);
    while let [Line::Test { column, last, low, high }, rest @ ..] = lines {
        satisfied |= facts
            .number(usize::from(*column))
            .is_some_and(|number| *low <= number && number <= *high);
        if *last {
            all &= satisfied;
            satisfied = false;
        }
        lines = rest;
    }
    (all, lines)
}

impl<'a> FlatOffer<'a> {
    /// Whether the facts satisfy all demands.
    #[inline]
    pub fn demands_hold(&self, facts: &FactVector) -> bool {
        hold(self.lines, facts).0
    }

    /// Which promises hold for the facts, by their places.
    #[inline]
    pub fn active(&self, facts: &FactVector) -> u32 {
        let (mut active, mut bit) = (0, 1);
        let mut lines = self.lines;
        while let [line, rest @ ..] = lines {
            lines = rest;
            if let Line::Mode = line {
                let (holds, rest) = hold(rest, facts);
                active |= if holds { bit } else { 0 };
                bit <<= 1;
                lines = rest;
            }
        }
        active
    }

    /// What the active promises say of an attribute.
    #[inline]
    pub fn promises(
        &self,
        active: u32,
        wanted: AttributeId,
    ) -> impl Iterator<Item = FlatAtom> + use<'a> {
        let mut bit = 0;
        self.lines.iter().filter_map(move |line| match line {
            Line::Mode => {
                bit = if bit == 0 { 1 } else { bit << 1 };
                None
            }
            Line::Says { attribute, set, low, high }
                if *attribute == wanted && active & bit != 0 =>
            {
                Some(FlatAtom { attribute: wanted, last: true, set: *set, low: *low, high: *high })
            }
            _ => None,
        })
    }

    /// The attributes that more than one promise speaks of.
    #[inline]
    pub fn shared(&self) -> impl Iterator<Item = AttributeId> + use<'a> {
        // They are the last lines.
        self.lines.iter().rev().map_while(|line| match line {
            Line::Shared(attribute) => Some(*attribute),
            _ => None,
        })
    }

    /// The set of one of its atoms.
    pub fn set(&self, atom: &FlatAtom) -> Option<&'a Set> {
        self.sets.get(atom.set as usize)
    }
}
