//! Deadlines for many connections at the price of one timer.
//!
//! A timer per request would cost a ring operation each. Instead every connection keeps one entry
//! in its worker's table; arming it writes a number, and one task sweeps the table every
//! [`TICK_MS`]. An overdue entry is acted on by `shutdown(2)` on its socket, which completes the
//! receive or send in flight without losing bytes or buffers (dropping a receive would), or by
//! waking a task. The owner then sees [`Watch::fired`].
//!
//! A deadline fires up to one tick late, never early.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Waker;

/// How often the table is swept. 100 ms is a tenth of the shortest useful timeout (1 s); a sweep
/// over 10 000 idle connections takes about 50 µs.
pub const TICK_MS: u64 = 100;

/// What happens to an overdue entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// End receiving: the owner can still answer (408).
    StopReceiving,
    /// End both ways: the peer does not read.
    StopBoth,
    /// Wake the waiting task.
    Wake,
}

#[derive(Debug)]
struct Entry {
    deadline_ms: Cell<u64>,
    fired: Cell<bool>,
    idle: Cell<bool>,
    action: Cell<Overdue>,
    fd: Cell<RawFd>,
    waker: RefCell<Option<Waker>>,
}

/// All deadlines of one worker.
#[derive(Debug, Default)]
pub struct Deadlines {
    table: RefCell<Vec<Option<Rc<Entry>>>>,
    free: RefCell<Vec<usize>>,
}

/// One owner's deadline; leaves the table on drop.
#[derive(Debug)]
pub struct Watch {
    table: Rc<Deadlines>,
    slot: usize,
    entry: Rc<Entry>,
}

const NEVER: u64 = u64::MAX;

impl Deadlines {
    /// An empty table.
    pub fn new() -> Rc<Self> {
        Rc::new(Self::default())
    }

    /// A new, disarmed entry; `fd` is -1 where only waking is wanted. The descriptor must stay open
    /// as long as the watch lives.
    pub fn watch(self: &Rc<Self>, fd: RawFd) -> Watch {
        let entry = Rc::new(Entry {
            deadline_ms: Cell::new(NEVER),
            fired: Cell::new(false),
            idle: Cell::new(false),
            action: Cell::new(Overdue::Wake),
            fd: Cell::new(fd),
            waker: RefCell::new(None),
        });
        let mut table = self.table.borrow_mut();
        let slot = match self.free.borrow_mut().pop() {
            Some(slot) => {
                if let Some(place) = table.get_mut(slot) {
                    *place = Some(Rc::clone(&entry));
                }
                slot
            }
            None => {
                table.push(Some(Rc::clone(&entry)));
                table.len() - 1
            }
        };
        Watch { table: Rc::clone(self), slot, entry }
    }

    /// Acts on every entry that is overdue at `now_ms`; returns how many.
    pub fn sweep(&self, now_ms: u64) -> usize {
        let mut wakers = Vec::new();
        let mut overdue = 0;
        for entry in self.table.borrow().iter().flatten() {
            if entry.deadline_ms.get() > now_ms || entry.fired.get() {
                continue;
            }
            entry.fired.set(true);
            overdue += 1;
            match entry.action.get() {
                Overdue::StopReceiving => shutdown(entry.fd.get(), libc::SHUT_RD),
                Overdue::StopBoth => shutdown(entry.fd.get(), libc::SHUT_RDWR),
                Overdue::Wake => {}
            }
            wakers.extend(entry.waker.borrow_mut().take());
        }
        // Outside the borrow: a woken task may make or drop watches at once.
        for waker in wakers {
            waker.wake();
        }
        overdue
    }

    /// Acts on every entry whose owner is idle, as if its deadline had passed: for a drain.
    pub fn end_idle(&self) {
        for entry in self.table.borrow().iter().flatten() {
            if entry.idle.get() {
                entry.deadline_ms.set(0);
            }
        }
        self.sweep(0);
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.table.borrow().len() - self.free.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Watch {
    /// Sets the deadline and what happens then; replaces an earlier one.
    pub fn arm(&self, deadline_ms: u64, action: Overdue) {
        self.entry.deadline_ms.set(deadline_ms);
        self.entry.action.set(action);
    }

    /// No deadline.
    pub fn disarm(&self) {
        self.entry.deadline_ms.set(NEVER);
    }

    /// Whether the deadline has passed and was acted on; stays so.
    pub fn fired(&self) -> bool {
        self.entry.fired.get()
    }

    /// Forgets that it fired: for owners that live on after a wake.
    pub fn reset(&self) {
        self.entry.fired.set(false);
        self.disarm();
    }

    /// Says whether the owner waits for work; a drain ends idle owners at once.
    pub fn idle(&self, idle: bool) {
        self.entry.idle.set(idle);
    }

    /// Wakes this task when the deadline passes.
    pub fn register(&self, waker: &Waker) {
        let mut held = self.entry.waker.borrow_mut();
        match held.as_mut() {
            Some(held) => held.clone_from(waker),
            None => *held = Some(waker.clone()),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(place) = self.table.table.borrow_mut().get_mut(self.slot) {
            *place = None;
        }
        self.table.free.borrow_mut().push(self.slot);
    }
}

fn shutdown(fd: RawFd, how: libc::c_int) {
    if fd >= 0 {
        // SAFETY: a plain system call on a descriptor that the watch's owner keeps open; a failure
        // (already disconnected) needs no answer, because the operation in flight then ends too.
        unsafe { libc::shutdown(fd, how) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_fires_once_never_early_and_leaves_with_its_owner() {
        let table = Deadlines::new();
        let first = table.watch(-1);
        let second = table.watch(-1);
        first.arm(100, Overdue::Wake);
        assert_eq!(table.sweep(99), 0);
        assert!(!first.fired());
        assert_eq!(table.sweep(100), 1);
        assert!(first.fired() && !second.fired());
        assert_eq!(table.sweep(1000), 0, "acted on once");
        drop(first);
        assert_eq!(table.len(), 1);
        let third = table.watch(-1);
        assert_eq!(table.len(), 2, "the slot is used again");
        drop((second, third));
        assert!(table.is_empty());
    }
}
