//! The demands of a capability's candidates, laid out for one decision.
//!
//! For every clause slot and column there is one row of bits per elementary interval of the column
//! (Lakshman and Stiliadis, SIGCOMM 1998): a clause is the OR of the rows that the facts select,
//! the demands are the AND of the slots, 64 candidates an instruction. A cell of up to 64
//! candidates is packed into a block; of a larger one the rows stay here.
//!
//! What does not fit exactly (a slot or an interval too many) is kept as plain clauses too and
//! checked for the survivors.

use super::bound::{Bound, Modes, unconditional};
use super::vector::{Columns, FactVector};
use super::{Candidate, NeedsId, ServiceId};
use crate::contract::logic::Cnf;
use crate::wire::limits::{CELL_INTERVALS_MAX, CELL_ROWS_MAX, MODES_MAX, PACKED_CANDIDATES_MAX};
use std::collections::{BTreeMap, BTreeSet};

/// Which layout a cell has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Packed up to [`PACKED_CANDIDATES_MAX`] candidates, rows above.
    #[default]
    Sized,
    /// Always rows.
    Rows,
}

/// A literal over a column: one of these closed intervals.
type Literal = (usize, Box<[(i64, i64)]>);

/// A candidate and its clause in a slot.
type User<'a> = (usize, &'a [Literal]);

/// Clauses over columns; an unknown fact satisfies no literal.
#[derive(Clone, Debug, Default)]
struct Clauses(Box<[Box<[Literal]>]>);

impl Clauses {
    fn new<'a>(columns: &Columns, cnfs: impl IntoIterator<Item = &'a Cnf>) -> Self {
        let clauses = cnfs.into_iter().flat_map(|cnf| &cnf.clauses).map(|clause| {
            let literals = clause.atoms.iter().filter_map(|atom| {
                let column = columns.find(atom.attribute)?;
                Some((column, columns.intervals(column, &atom.set).into()))
            });
            literals.filter(|(_, intervals): &Literal| !intervals.is_empty()).collect()
        });
        Self(clauses.collect())
    }

    fn hold(&self, facts: &FactVector) -> bool {
        self.0.iter().all(|clause| {
            clause.iter().any(|(column, intervals)| {
                facts.number(*column).is_some_and(|fact| contains(intervals, fact))
            })
        })
    }
}

fn contains(intervals: &[(i64, i64)], fact: i64) -> bool {
    intervals.iter().any(|(low, high)| (*low..=*high).contains(&fact))
}

/// What a decision needs of a candidate besides its demands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixed {
    pub(crate) service: ServiceId,
    pub(crate) tier: u8,
    pub(crate) weight: u64,
}

/// One column of a clause slot.
#[derive(Clone, Debug)]
pub(crate) struct SlotColumn {
    pub(crate) column: usize,
    /// Where elementary intervals begin; the one before the first has number 0.
    pub(crate) starts: Box<[i64]>,
    /// Where the row for an unknown fact is; those of the intervals follow.
    rows: usize,
    /// Whether this is the slot's last column.
    pub(crate) last: bool,
}

/// The candidates of one capability as the decision reads them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) fixed: Box<[Fixed]>,
    /// Bit per candidate whose plain clauses must be checked too.
    inexact: Box<[u64]>,
    plain: Box<[Clauses]>,
    modes: Box<[Box<[Clauses]>]>,
    /// Empty when the cell is packed.
    slots: Vec<SlotColumn>,
    rows: Vec<u64>,
    layout: Layout,
    /// By [`NeedsId`].
    bound: Vec<Bound>,
}

/// 64 words, 4096 candidates: what is intersected at a time, so that it stays in the first cache.
const BLOCK: usize = 64;

impl Cell {
    pub(crate) fn new(
        columns: &Columns,
        candidates: &[Candidate],
        bound: Vec<Bound>,
        layout: Layout,
    ) -> Self {
        let clauses: Vec<Clauses> = candidates
            .iter()
            .map(|it| Clauses::new(columns, it.offer.demands.iter().map(|demand| &demand.cnf)))
            .collect();
        let modes = candidates.iter().map(|it| {
            let modes = it.offer.promises.iter().take(MODES_MAX);
            modes.map(|mode| Clauses::new(columns, [&mode.when])).collect()
        });
        let fixed = candidates.iter().map(|it| Fixed {
            service: it.service,
            tier: it.tier,
            weight: it.weight,
        });
        let mut cell = Self {
            fixed: fixed.collect(),
            modes: modes.collect(),
            bound,
            inexact: vec![0; candidates.len().div_ceil(64)].into(),
            layout,
            ..Self::default()
        };
        cell.fill_rows(&clauses);
        cell.plain = clauses.into();
        cell
    }

    /// Whether a block can hold it.
    pub(crate) fn packs(&self) -> bool {
        self.layout == Layout::Sized && (1..=PACKED_CANDIDATES_MAX).contains(&self.len())
    }

    /// Forgets what stands in its block.
    pub(crate) fn forget_packed(&mut self) {
        if self.packs() {
            self.slots = Vec::new();
            self.rows = Vec::new();
        }
    }

    /// The columns of the clause slots.
    pub(crate) fn slots(&self) -> &[SlotColumn] {
        &self.slots
    }

    /// The rows of a slot column, where a row is one word.
    pub(crate) fn slot_rows(&self, slot: &SlotColumn) -> &[u64] {
        self.rows.get(slot.rows..slot.rows + slot.starts.len() + 2).unwrap_or(&[])
    }

    /// Bit per candidate whose plain clauses must be checked too.
    pub(crate) fn inexact(&self) -> &[u64] {
        &self.inexact
    }

    /// What every set of bound requirements means for the candidates.
    pub(crate) fn all_bound(&self) -> &[Bound] {
        &self.bound
    }

    /// How many candidates there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.fixed.len()
    }

    /// What a set of bound requirements means for the candidates.
    #[inline]
    pub(crate) fn bound(&self, needs: NeedsId) -> Option<&Bound> {
        self.bound.get(needs.0 as usize)
    }

    /// The active modes of a candidate.
    pub(crate) fn active(&self, candidate: u32, facts: &FactVector) -> Modes {
        let modes = self.modes.get(candidate as usize).map_or(&[][..], |modes| modes);
        modes
            .iter()
            .enumerate()
            .filter(|(_, when)| when.hold(facts))
            .fold(0, |active, (bit, _)| active | 1 << bit)
    }

    /// Those of a word whose plain clauses hold, where they must be looked at.
    #[cold]
    pub(crate) fn check(&self, number: usize, word: u64, inexact: u64, facts: &FactVector) -> u64 {
        bits(inexact).fold(word, |word, bit| {
            let plain = self.plain.get(number * 64 + bit as usize);
            let holds = plain.is_some_and(|clauses| clauses.hold(facts));
            if holds { word } else { word & !(1 << bit) }
        })
    }

    fn mark_inexact(&mut self, candidate: usize) {
        if let Some(word) = self.inexact.get_mut(candidate / 64) {
            *word |= 1 << (candidate % 64);
        }
    }

    /// Files every clause under a slot: by the columns it speaks of, and how many clauses of the
    /// same candidate speak of the same before it.
    fn fill_rows(&mut self, clauses: &[Clauses]) {
        let mut slots: BTreeMap<(Vec<usize>, usize), Vec<User<'_>>> = BTreeMap::new();
        for (candidate, clauses) in clauses.iter().enumerate() {
            let mut seen: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
            for clause in &clauses.0 {
                let signature: BTreeSet<usize> = clause.iter().map(|(column, _)| *column).collect();
                let signature: Vec<usize> = signature.into_iter().collect();
                if signature.is_empty() {
                    self.mark_inexact(candidate);
                    continue;
                }
                let ordinal = seen.entry(signature.clone()).or_default();
                slots.entry((signature, *ordinal)).or_default().push((candidate, clause));
                *ordinal += 1;
            }
        }
        // The most used first: what does not fit is checked one by one.
        let mut slots: Vec<_> = slots.into_iter().collect();
        slots.sort_by_key(|(_, users)| std::cmp::Reverse(users.len()));
        for ((signature, _), users) in slots {
            if self.slots.len() + signature.len() > CELL_ROWS_MAX {
                users.iter().for_each(|(candidate, _)| self.mark_inexact(*candidate));
                continue;
            }
            let last = signature.last().copied();
            for column in signature {
                self.fill_slot_column(column, Some(column) == last, &users);
            }
        }
    }

    fn fill_slot_column(&mut self, column: usize, last: bool, users: &[User<'_>]) {
        let mine = |clause: &[Literal]| -> Vec<(i64, i64)> {
            let here = clause.iter().filter(|(at, _)| *at == column);
            here.flat_map(|(_, intervals)| intervals.iter().copied()).collect()
        };
        let mut starts = BTreeSet::new();
        for (low, high) in users.iter().flat_map(|(_, clause)| mine(clause)) {
            starts.insert(low);
            starts.extend(high.checked_add(1));
        }
        let every = starts.len().div_ceil(CELL_INTERVALS_MAX).max(1);
        let merged = every > 1;
        let starts: Box<[i64]> = starts.into_iter().step_by(every).collect();
        let words = self.inexact.len();
        let begin = self.rows.len();
        // Who has no clause here passes always, even when the fact is unknown.
        let mut unknown = vec![u64::MAX; words];
        for (candidate, _) in users {
            if let Some(word) = unknown.get_mut(candidate / 64) {
                *word &= !(1 << (candidate % 64));
            }
        }
        for _ in 0..starts.len() + 2 {
            self.rows.extend(&unknown);
        }
        for (candidate, clause) in users {
            for (low, high) in mine(clause) {
                let from = starts.partition_point(|start| *start <= low);
                let to = starts.partition_point(|start| *start <= high);
                for interval in from..=to {
                    let at = begin + (interval + 1) * words + candidate / 64;
                    if let Some(word) = self.rows.get_mut(at) {
                        *word |= 1 << (candidate % 64);
                    }
                }
            }
            if merged {
                self.mark_inexact(*candidate);
            }
        }
        self.slots.push(SlotColumn { column, starts, rows: begin, last });
    }

    /// Shows `see` the candidates that lie in the rows which the facts select, by words, until it
    /// is false.
    pub(crate) fn intersect(&self, facts: &FactVector, see: &mut impl FnMut(usize, u64) -> bool) {
        let words = self.inexact.len();
        let mut chosen: [&[u64]; CELL_ROWS_MAX] = [&[]; CELL_ROWS_MAX];
        for (row, slot) in chosen.iter_mut().zip(&self.slots) {
            let number = facts
                .number(slot.column)
                .map_or(0, |fact| slot.starts.partition_point(|start| *start <= fact) + 1);
            let at = slot.rows + number * words;
            *row = self.rows.get(at..at + words).unwrap_or(&[]);
        }
        for first in (0..words).step_by(BLOCK) {
            let length = BLOCK.min(words - first);
            let block = self.block(&chosen, first, length);
            if block.iter().fold(0, |any, word| any | word) == 0 {
                continue;
            }
            for (at, word) in block.iter().take(length).enumerate() {
                let number = first + at;
                // The last word may have bits beyond the last candidate.
                let left = self.fixed.len() - number * 64;
                let mask = if left < 64 { (1 << left) - 1 } else { u64::MAX };
                if *word & mask != 0 && !see(number, *word & mask) {
                    return;
                }
            }
        }
    }

    /// One block of the intersection; words beyond `length` are zero.
    #[inline]
    fn block(&self, rows: &[&[u64]], first: usize, length: usize) -> [u64; BLOCK] {
        let mut block = [0; BLOCK];
        block.iter_mut().take(length).for_each(|word| *word = u64::MAX);
        let mut clause = [0u64; BLOCK];
        let mut open = false;
        for (row, slot) in rows.iter().zip(&self.slots) {
            let row = row.get(first..first + length).unwrap_or(&[]);
            match (open, slot.last) {
                (false, true) => and(&mut block, row),
                (false, false) => clause.iter_mut().zip(row).for_each(|(to, row)| *to = *row),
                (true, _) => clause.iter_mut().zip(row).for_each(|(to, row)| *to |= row),
            }
            if open && slot.last {
                and(&mut block, &clause);
            }
            open = !slot.last;
        }
        block
    }
}

#[inline]
fn and(block: &mut [u64; BLOCK], row: &[u64]) {
    match row.first_chunk::<BLOCK>() {
        // Of known length, so that it becomes straight vector code.
        Some(row) => block.iter_mut().zip(row).for_each(|(to, row)| *to &= row),
        None => block.iter_mut().zip(row).for_each(|(to, row)| *to &= row),
    }
}

/// The numbers of the bits that are set, lowest first.
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}

/// Whether active modes contradict each other.
pub(crate) fn contradict(candidate: &Candidate, active: Modes) -> bool {
    let active = active | unconditional(&candidate.offer);
    candidate.contradictions.iter().any(|set| set & active == *set)
}
