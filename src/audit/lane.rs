//! One worker's sequence of decisions: gap-free numbers, and as many outcomes as decisions.
//!
//! [`Lane::record`] is the only source of [`Recorded`], and the way to a connection consumes one:
//! what is not recorded cannot be forwarded.

use crate::certify::Certified;
use crate::wire::decimal;
use std::cell::Cell;
use std::rc::Rc;

/// Decisions of one worker whose outcome is still open: above it nothing more is taken in. More
/// than the most connections and streams of a worker, so that the bound means a leak, not load.
pub const OPEN_MAX: u64 = 1 << 20;

/// See the module's text.
#[derive(Debug)]
pub struct Lane {
    worker: u16,
    next: u64,
    cut_off: u64,
    open: Rc<Cell<u64>>,
}

/// There is no room for the decision and its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneFull;

/// Evidence that a decision has its number; ends with the exchange's outcome.
#[derive(Debug)]
pub struct Recorded {
    worker: u16,
    sequence: u64,
    open: Rc<Cell<u64>>,
}

impl Lane {
    /// An empty lane.
    pub fn new(worker: u16) -> Self {
        Self { worker, next: 0, cut_off: 0, open: Rc::default() }
    }

    /// Numbers a certified decision.
    ///
    /// # Errors
    /// When too many outcomes are open.
    pub fn record(&mut self, _decision: &Certified) -> Result<Recorded, LaneFull> {
        if self.open.get() >= OPEN_MAX {
            return Err(LaneFull);
        }
        let sequence = self.next;
        self.next += 1;
        self.open.set(self.open.get() + 1);
        Ok(Recorded { worker: self.worker, sequence, open: Rc::clone(&self.open) })
    }

    /// The one outcome of a recorded decision; a status of 0 is an exchange that was cut off.
    pub fn finish(&mut self, recorded: Recorded, status: u16) {
        if status == 0 {
            self.cut_off += 1;
        }
        drop(recorded);
    }

    /// Exchanges that were cut off.
    pub fn cut_off(&self) -> u64 {
        self.cut_off
    }

    /// Decisions made so far.
    pub fn decisions(&self) -> u64 {
        self.next
    }

    /// Of these, how many still wait for their outcome.
    pub fn open(&self) -> u64 {
        self.open.get()
    }
}

impl Recorded {
    /// Appends the decision's id, `w3-000000018842`.
    pub fn push_id(&self, out: &mut Vec<u8>) {
        out.push(b'w');
        decimal::push(out, u64::from(self.worker));
        out.push(b'-');
        let start = out.len();
        decimal::push(out, self.sequence);
        let digits = out.len() - start;
        if digits < ID_DIGITS {
            out.splice(start..start, std::iter::repeat_n(b'0', ID_DIGITS - digits));
        }
    }
}

/// Digits of a sequence number in an id: sorts as text for a year at 30 000 a second.
const ID_DIGITS: usize = 12;

impl Drop for Recorded {
    fn drop(&mut self) {
        self.open.set(self.open.get().saturating_sub(1));
    }
}
