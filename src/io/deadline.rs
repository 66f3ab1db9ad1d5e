//! Deadlines for many connections at the price of one timer.
//!
//! A timer per request would cost a ring operation each. Instead every connection keeps one entry
//! in its worker's table; arming it writes a number, and one task sweeps the table every
//! [`TICK_MS`]. An overdue entry is acted on by `shutdown(2)` on its socket, which completes the
//! receive or send in flight without losing bytes or buffers (dropping a receive would), or by
//! waking a task. The owner then sees [`Watch::fired`].
//!
//! A deadline fires up to one tick late, never early.
//!
//! An owner that waits for its caller may say what it keeps from others meanwhile
//! ([`Watch::keeps`]). When that runs out, those who have waited longest are ended as if their
//! deadlines had passed ([`Deadlines::release`]): who does not read gives way to who does.

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

/// Which idle owners a drain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// All of them.
    All,
    /// Those that wake to tell their peer first: no request is lost that is on its way to them.
    Told,
}

#[derive(Debug)]
struct Entry {
    deadline_ms: Cell<u64>,
    fired: Cell<bool>,
    idle: Cell<bool>,
    action: Cell<Overdue>,
    fd: Cell<RawFd>,
    group: Cell<u32>,
    waker: RefCell<Option<Waker>>,
    /// What the owner keeps from others while it waits, and since when.
    keeps: Cell<Option<(Kept, u64)>>,
}

/// The number of something scarce that owners keep: an endpoint's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept(pub u32);

/// All deadlines of one worker.
#[derive(Debug, Default)]
pub struct Deadlines {
    table: RefCell<Vec<Option<Rc<Entry>>>>,
    free: RefCell<Vec<usize>>,
    /// When it was swept last.
    swept_ms: Cell<u64>,
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
            group: Cell::new(0),
            waker: RefCell::new(None),
            keeps: Cell::new(None),
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
        self.swept_ms.set(now_ms.max(self.swept_ms.get()));
        let mut wakers = Vec::new();
        let mut overdue = 0;
        for entry in self.table.borrow().iter().flatten() {
            if entry.deadline_ms.get() > now_ms || entry.fired.get() {
                continue;
            }
            overdue += 1;
            wakers.extend(entry.fire());
        }
        // Outside the borrow: a woken task may make or drop watches at once.
        for waker in wakers {
            waker.wake();
        }
        overdue
    }

    /// Ends those who keep `kept` and have waited for their callers since `before_ms` or longer, as
    /// if their deadlines had passed: the longest first, `most` of them. Returns how many.
    pub fn release(&self, kept: Kept, before_ms: u64, most: usize) -> usize {
        let mut waiting: Vec<(u64, Rc<Entry>)> = Vec::new();
        for entry in self.table.borrow().iter().flatten() {
            if let Some((what, since_ms)) = entry.keeps.get()
                && what == kept
                && since_ms <= before_ms
                && !entry.fired.get()
            {
                waiting.push((since_ms, Rc::clone(entry)));
            }
        }
        waiting.sort_by_key(|(since_ms, _)| *since_ms);
        waiting.truncate(most);
        let wakers: Vec<Waker> = waiting.iter().filter_map(|(_, entry)| entry.fire()).collect();
        for waker in wakers {
            waker.wake();
        }
        waiting.len()
    }

    /// Acts on every entry whose owner is idle, as if its deadline had passed: for a drain, of one
    /// group alone where one is named.
    pub fn end_idle(&self, which: Idle, group: Option<u32>) {
        for entry in self.table.borrow().iter().flatten() {
            let told = entry.action.get() == Overdue::Wake;
            let meant = group.is_none_or(|group| entry.group.get() == group);
            if entry.idle.get() && meant && (told || which == Idle::All) {
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

impl Entry {
    /// Acts on it; whom to wake once the table is not borrowed any more.
    fn fire(&self) -> Option<Waker> {
        self.fired.set(true);
        self.keeps.set(None);
        match self.action.get() {
            Overdue::StopReceiving => shutdown(self.fd.get(), libc::SHUT_RD),
            Overdue::StopBoth => shutdown(self.fd.get(), libc::SHUT_RDWR),
            Overdue::Wake => {}
        }
        self.waker.borrow_mut().take()
    }
}

impl Watch {
    /// Sets the deadline and what happens then; replaces an earlier one.
    pub fn arm(&self, deadline_ms: u64, action: Overdue) {
        self.entry.deadline_ms.set(deadline_ms);
        self.entry.action.set(action);
        self.entry.keeps.set(None);
    }

    /// Says that the wait which was just armed is for a caller, and what it keeps from others.
    pub fn keeps(&self, kept: Kept) {
        self.entry.keeps.set(Some((kept, self.table.swept_ms.get())));
    }

    /// No deadline.
    pub fn disarm(&self) {
        self.entry.deadline_ms.set(NEVER);
        self.entry.keeps.set(None);
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

    /// Puts the owner into a group of those that may be ended together; 0 is in none.
    pub fn group(&self, group: u32) {
        self.entry.group.set(group);
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

    #[test]
    fn idle_owners_of_one_group_end_and_no_others() {
        let table = Deadlines::new();
        let watches: Vec<Watch> = (0..4).map(|_| table.watch(-1)).collect();
        for (at, watch) in watches.iter().enumerate() {
            watch.group(at as u32 % 2 + 1);
            watch.idle(at < 3);
            watch.arm(NEVER, if at == 0 { Overdue::Wake } else { Overdue::StopReceiving });
        }
        let fired = |watches: &[Watch]| watches.iter().map(Watch::fired).collect::<Vec<_>>();
        table.end_idle(Idle::Told, Some(1));
        assert_eq!(fired(&watches), [true, false, false, false], "who is told first");
        table.end_idle(Idle::All, Some(2));
        assert_eq!(fired(&watches), [true, true, false, false], "who is busy goes on");
        table.end_idle(Idle::All, None);
        assert_eq!(fired(&watches), [true, true, true, false]);
    }

    #[test]
    fn who_waits_longest_for_its_caller_gives_way_first() {
        let table = Deadlines::new();
        let watches: Vec<Watch> = (0..5).map(|_| table.watch(-1)).collect();
        for (at, watch) in watches.iter().enumerate() {
            table.sweep(at as u64 * 100);
            watch.arm(NEVER, Overdue::Wake);
            watch.keeps(Kept(if at == 1 { 8 } else { 7 }));
        }
        watches[0].arm(NEVER, Overdue::Wake);
        assert_eq!(table.release(Kept(7), 300, 1), 1);
        let fired = |table: &[Watch]| table.iter().map(Watch::fired).collect::<Vec<_>>();
        let one = [false, false, true, false, false];
        assert_eq!(fired(&watches), one, "not who was armed anew, nor who keeps another thing");
        assert_eq!(table.release(Kept(7), 300, 9), 1, "the last one has not waited as long");
        assert_eq!(fired(&watches), [false, false, true, true, false]);
        watches[4].disarm();
        assert_eq!(table.release(Kept(7), 400, 9), 0, "nor who waits no more");
    }
}
