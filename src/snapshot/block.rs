//! Small cells, packed: what a decision reads of a capability with at most 64 candidates stands in
//! a few adjacent cache lines, so that deciding about one of 100 000 services waits for memory once
//! and not once per question.
//!
//! ```text
//! word 0      candidates u8 | log2 of a row's bits u8 | slot columns u16 | sets of needs u32
//! word 1      where the rows of the needs begin
//! word 2      bit per candidate: its plain clauses must be checked too
//! slots       column u8 | whether it ends its clause u8 | starts u16 | where its starts begin u32
//! who         per candidate: service u32 | tier u8
//! weights     per candidate: its rendezvous weight
//! starts      of each slot column, then its rows: unknown, below the first start, and so on
//! needs       per set of needs two rows: always, possible
//! ```
//! A row is a bit per candidate, 8 to 64 bits wide, several to a word. Places are counted in words
//! from the beginning of the block.

use super::cell::{Cell, SlotColumn};
use super::shelf::Shelf;
use super::vector::FactVector;
use super::{CapabilityId, NeedsId, ServiceId};
use std::sync::Arc;

/// Words of a cache line; every block begins with one.
const LINE: usize = 8;
const HEAD: usize = 3;
/// Lines that a decision asks for at once: those of some twenty candidates.
const LINES_TOUCHED: usize = 24;

/// The packed cells of one landscape, by capability; none when its cell is too large to pack.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks(Shelf<Option<Arc<[u64]>>>);

/// One packed cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    words: &'a [u64],
    head: u64,
}

fn code(number: usize) -> u64 {
    number as u64
}

/// Rows of a bit per candidate, several to a word.
fn pack_rows(rows: impl ExactSizeIterator<Item = u64>, log: u32, words: &mut Vec<u64>) {
    let start = words.len();
    words.resize(start + (rows.len() << log).div_ceil(64), 0);
    for (number, row) in rows.enumerate() {
        let bit = number << log;
        if let Some(word) = words.get_mut(start + bit / 64) {
            *word |= row << (bit % 64);
        }
    }
}

/// A cell's block.
fn pack(cell: &Cell) -> Vec<u64> {
    let count = cell.len();
    let log = count.next_power_of_two().trailing_zeros().max(3);
    let mask = u64::MAX >> (64 - count.clamp(1, 64));
    let mut words = vec![0; HEAD + cell.slots().len() + 2 * count];
    let mut slots = Vec::new();
    for slot in cell.slots() {
        let SlotColumn { column, starts, last, .. } = slot;
        let place = code(words.len()) << 32;
        slots.push(code(*column) | u64::from(*last) << 8 | code(starts.len()) << 16 | place);
        words.extend(starts.iter().map(|start| start.cast_unsigned()));
        pack_rows(cell.slot_rows(slot).iter().map(|row| row & mask), log, &mut words);
    }
    let needs = words.len();
    let first = |row: &[u64]| row.first().copied().unwrap_or(0);
    let rows = cell.all_bound().iter().flat_map(|it| [first(&it.always), first(&it.possible)]);
    pack_rows(rows.collect::<Vec<_>>().into_iter(), log, &mut words);
    let head = [
        code(count)
            | u64::from(log) << 8
            | code(slots.len()) << 16
            | code(cell.all_bound().len()) << 32,
        code(needs),
        first(cell.inexact()),
    ];
    let who = cell.fixed.iter().map(|it| u64::from(it.service.0) | u64::from(it.tier) << 32);
    let weights = cell.fixed.iter().map(|it| it.weight);
    let front = head.into_iter().chain(slots).chain(who).chain(weights);
    words.iter_mut().zip(front).for_each(|(word, value)| *word = value);
    words
}

/// Words before the first full cache line. That they are never moved is why they are packed here.
#[inline]
fn before_line(words: &[u64]) -> usize {
    (words.as_ptr() as usize / 8).wrapping_neg() % LINE
}

/// A cell's words, packed if that is possible, where a cache line begins.
pub(crate) fn packed(cell: &Cell) -> Option<Arc<[u64]>> {
    let block = cell.packs().then(|| pack(cell))?;
    let mut words: Arc<[u64]> = std::iter::repeat_n(0, block.len() + LINE - 1).collect();
    let begin = before_line(&words);
    let to = Arc::get_mut(&mut words)?.get_mut(begin..begin + block.len())?;
    to.copy_from_slice(&block);
    Some(words)
}

impl Blocks {
    /// Those of all capabilities.
    pub(crate) fn new(blocks: impl IntoIterator<Item = Option<Arc<[u64]>>>) -> Self {
        Self(blocks.into_iter().collect())
    }

    /// Puts another in the place of a capability's.
    pub(crate) fn put(&mut self, capability: CapabilityId, words: Option<Arc<[u64]>>) {
        self.0.put(capability.0 as usize, words);
    }

    /// The words of a capability's, to be shared.
    pub(crate) fn words(&self, capability: CapabilityId) -> Option<Arc<[u64]>> {
        self.0.get(capability.0 as usize)?.clone()
    }

    /// The packed cell of a capability, if it has one.
    #[inline]
    pub(crate) fn get(&self, capability: CapabilityId) -> Option<Block<'_>> {
        let words = self.0.get(capability.0 as usize)?.as_deref()?;
        let begin = before_line(words);
        let words = words.get(begin..begin + words.len().checked_sub(LINE - 1)?)?;
        Some(Block { head: *words.first()?, words })
    }
}

impl<'a> Block<'a> {
    /// How many candidates there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        (self.head & 0xff) as usize
    }

    #[inline]
    fn slots(&self) -> usize {
        (self.head >> 16 & 0xffff) as usize
    }

    #[inline]
    fn row(&self, rows: usize, number: usize) -> u64 {
        let log = self.head >> 8 & 0xff;
        let bit = number << log;
        let word = self.words.get(rows + bit / 64).copied().unwrap_or(0);
        // Of the bits above the row's own, 64 minus its width are shifted out again.
        let above = 64 - (1u32 << log);
        word >> (bit % 64) << above >> above
    }

    /// Asks for all lines of the block at once: what follows would wait for one after the other.
    #[inline]
    fn touch(&self) {
        let lines = self.words.iter().step_by(LINE).take(LINES_TOUCHED);
        std::hint::black_box(lines.fold(0, |all, word| all | word));
    }

    /// The candidates whose packed demands the facts satisfy.
    #[inline]
    pub(crate) fn satisfied(&self, facts: &FactVector) -> u64 {
        let mut all = u64::MAX >> (64 - self.len().clamp(1, 64));
        let mut clause = 0;
        self.touch();
        for slot in self.words.get(HEAD..HEAD + self.slots()).unwrap_or(&[]) {
            let column = (slot & 0xff) as usize;
            let count = (slot >> 16 & 0xffff) as usize;
            let place = (slot >> 32) as usize;
            let number = match facts.number(column) {
                Some(fact) => {
                    let starts = self.words.get(place..place + count).unwrap_or(&[]);
                    1 + starts.partition_point(|start| start.cast_signed() <= fact)
                }
                None => 0,
            };
            clause |= self.row(place + count, number);
            if slot >> 8 & 1 == 1 {
                all &= clause;
                clause = 0;
            }
        }
        all
    }

    /// The candidates whose plain clauses must be checked too.
    #[inline]
    pub(crate) fn inexact(&self) -> u64 {
        self.words.get(2).copied().unwrap_or(u64::MAX)
    }

    /// For a set of bound needs, who meets it always, and who possibly does.
    #[inline]
    pub(crate) fn needs(&self, needs: NeedsId) -> Option<(u64, u64)> {
        if u64::from(needs.0) >= self.head >> 32 {
            return None;
        }
        let rows = *self.words.get(1)? as usize;
        let number = 2 * needs.0 as usize;
        Some((self.row(rows, number), self.row(rows, number + 1)))
    }

    /// A candidate's service and tier.
    #[inline]
    pub(crate) fn who(&self, candidate: usize) -> Option<(ServiceId, u8)> {
        let word = *self.words.get(HEAD + self.slots() + candidate)?;
        let service = ServiceId((word & 0xffff_ffff) as u32);
        Some((service, (word >> 32 & 0xff) as u8))
    }

    /// A candidate's rendezvous weight.
    #[inline]
    pub(crate) fn weight(&self, candidate: usize) -> u64 {
        let at = HEAD + self.slots() + self.len() + candidate;
        self.words.get(at).copied().unwrap_or(0)
    }
}
