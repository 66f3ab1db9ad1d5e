//! The demands of a capability's candidates, laid out for one decision.
//!
//! * A **direct** cell has one record per candidate: a low and a high bound for every column, four
//!   columns to a cache line, compared without branches. For few candidates nothing is faster.
//! * A **bitmap** cell has, for every clause slot and column, one row of bits per elementary
//!   interval of the column (Lakshman and Stiliadis, SIGCOMM 1998): a clause is the OR of the
//!   rows that the
//!   facts select, the demands are the AND of the slots, 64 candidates an instruction.
//!
//! What does not fit a layout exactly (a union in a direct cell, a slot or an interval too many in
//! a bitmap cell) is kept as plain clauses and checked for the survivors.

use super::bound::{Bound, Modes, unconditional};
use super::vector::{Columns, FactVector};
use super::{Candidate, NeedsId, ServiceId};
use crate::contract::logic::Cnf;
use crate::wire::limits::{
    CELL_INTERVALS_MAX, CELL_ROWS_MAX, DIRECT_CANDIDATES_MAX, FACT_COLUMNS_MAX, MODES_MAX,
};
use std::collections::{BTreeMap, BTreeSet};

/// Which layout a cell has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Direct up to [`DIRECT_CANDIDATES_MAX`] candidates, bitmap above.
    #[default]
    Sized,
    /// Always direct.
    Direct,
    /// Always bitmap.
    Bitmap,
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

/// Four columns of one candidate: exactly a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Record {
    low: [i64; 4],
    high: [i64; 4],
}

const OPEN: Record = Record { low: [i64::MIN; 4], high: [i64::MAX; 4] };

/// What a decision needs of a candidate besides its demands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixed {
    pub(crate) service: ServiceId,
    pub(crate) tier: u8,
    pub(crate) weight: u64,
    /// Columns that a direct record constrains: they must be known.
    constrained: u64,
}

/// One column of a clause slot.
#[derive(Clone, Debug)]
struct SlotColumn {
    column: usize,
    /// Where elementary intervals begin; the one before the first has number 0.
    starts: Box<[i64]>,
    /// Where the row for an unknown fact is; those of the intervals follow.
    rows: usize,
    /// Whether this is the slot's last column.
    last: bool,
}

/// The candidates of one capability as the decision reads them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) fixed: Box<[Fixed]>,
    /// Bit per candidate whose plain clauses must be checked too.
    inexact: Box<[u64]>,
    plain: Box<[Clauses]>,
    modes: Box<[Box<[Clauses]>]>,
    /// Direct: records by candidate, this many each.
    records: Vec<Record>,
    per_candidate: usize,
    /// Bitmap.
    slots: Vec<SlotColumn>,
    rows: Vec<u64>,
    bitmap: bool,
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
            constrained: 0,
        });
        let mut cell = Self {
            fixed: fixed.collect(),
            modes: modes.collect(),
            bound,
            inexact: vec![0; candidates.len().div_ceil(64)].into(),
            ..Self::default()
        };
        cell.bitmap = match layout {
            Layout::Sized => candidates.len() > DIRECT_CANDIDATES_MAX,
            Layout::Direct => false,
            Layout::Bitmap => true,
        };
        match cell.bitmap {
            true => cell.fill_rows(&clauses),
            false => cell.fill_records(columns, &clauses),
        }
        cell.plain = match cell.bitmap {
            true => clauses.into(),
            false => clauses.into_iter().map(|clauses| clauses.without_records()).collect(),
        };
        cell
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

    /// Shows `see` the candidates whose demands the facts satisfy, by words, until it is false.
    #[inline]
    pub(crate) fn satisfied(&self, facts: &FactVector, mut see: impl FnMut(usize, u64) -> bool) {
        let mut see = |number: usize, word: u64| {
            if word == 0 {
                return true;
            }
            let inexact = self.inexact.get(number).copied().unwrap_or(u64::MAX) & word;
            see(number, if inexact == 0 { word } else { self.check(number, word, inexact, facts) })
        };
        if self.bitmap {
            self.intersect(facts, &mut see);
            return;
        }
        for (number, fixed) in self.fixed.chunks(64).enumerate() {
            if !see(number, self.compare(number, fixed, facts)) {
                return;
            }
        }
    }

    #[cold]
    fn check(&self, number: usize, word: u64, inexact: u64, facts: &FactVector) -> u64 {
        bits(inexact).fold(word, |word, bit| {
            let plain = self.plain.get(number * 64 + bit as usize);
            let holds = plain.is_some_and(|clauses| clauses.hold(facts));
            if holds { word } else { word & !(1 << bit) }
        })
    }

    /// The candidates of one word whose records the facts lie in.
    #[inline]
    fn compare(&self, number: usize, fixed: &[Fixed], facts: &FactVector) -> u64 {
        let known = facts.known();
        let numbers = facts.numbers();
        let first = number * 64 * self.per_candidate;
        let mut records = self.records.get(first..).unwrap_or(&[]);
        let mut word = 0;
        for (bit, fixed) in fixed.iter().enumerate() {
            let mut inside = fixed.constrained & !known == 0;
            let (mine, rest) = records.split_at_checked(self.per_candidate).unwrap_or((&[], &[]));
            records = rest;
            for (record, four) in mine.iter().zip(numbers.as_chunks::<4>().0) {
                for ((low, high), fact) in record.low.iter().zip(&record.high).zip(four) {
                    inside &= (low <= fact) & (fact <= high);
                }
            }
            word |= u64::from(inside) << bit;
        }
        word
    }

    fn fill_records(&mut self, columns: &Columns, clauses: &[Clauses]) {
        self.per_candidate = columns.len().min(FACT_COLUMNS_MAX).div_ceil(4);
        for (number, clauses) in clauses.iter().enumerate() {
            let mut records = vec![OPEN; self.per_candidate];
            for (column, (low, high)) in clauses.0.iter().filter_map(|clause| single(clause)) {
                let lane = column % 4;
                if let Some(record) = records.get_mut(column / 4)
                    && let (Some(at_least), Some(at_most)) =
                        (record.low.get_mut(lane), record.high.get_mut(lane))
                {
                    *at_least = low.max(*at_least);
                    *at_most = high.min(*at_most);
                }
                if let Some(fixed) = self.fixed.get_mut(number) {
                    fixed.constrained |= 1 << column;
                }
            }
            if clauses.0.iter().any(|clause| single(clause).is_none()) {
                self.mark_inexact(number);
            }
            self.records.extend(records);
        }
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

    /// Intersects the rows that the facts select, block by block.
    fn intersect(&self, facts: &FactVector, see: &mut impl FnMut(usize, u64) -> bool) {
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

impl Clauses {
    /// The clauses that a direct record does not hold.
    fn without_records(self) -> Self {
        Self(self.0.into_iter().filter(|clause| single(clause).is_none()).collect())
    }
}

/// The column and interval of a clause that is just one interval.
fn single(clause: &[Literal]) -> Option<(usize, (i64, i64))> {
    match clause {
        [(column, intervals)] if *column < FACT_COLUMNS_MAX => match &**intervals {
            [interval] => Some((*column, *interval)),
            _ => None,
        },
        _ => None,
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
