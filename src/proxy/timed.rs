//! A bound on how long a droppable future may wait, at the price of two stores.

use super::backlog::Backlog;
use crate::io::deadline::{Deadlines, Kept, Overdue, Watch};
use std::cell::{Cell, OnceCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

/// The deadline passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// A deadline that costs nothing until it is waited for: most futures are ready at once.
pub struct Timer {
    table: Rc<Deadlines>,
    watch: OnceCell<Watch>,
    keeps: Cell<Option<Kept>>,
    backlog: Option<Rc<Backlog>>,
}

impl Timer {
    /// A timer of this table.
    pub fn new(table: &Rc<Deadlines>) -> Self {
        Self {
            table: Rc::clone(table),
            watch: OnceCell::new(),
            keeps: Cell::new(None),
            backlog: None,
        }
    }

    /// The same for what one caller is sent: what keeps something from others counts here.
    pub fn counted(self, backlog: &Rc<Backlog>) -> Self {
        Self { backlog: Some(Rc::clone(backlog)), ..self }
    }

    /// Says that its waits are for a caller, and what they keep from others, if anything.
    pub fn keep(&self, kept: Option<Kept>) {
        self.keeps.set(kept);
    }
}

/// Awaits `future` until `deadline_ms` of the table's clock. Only for futures that may be dropped
/// without losing bytes (h2's are; receives of our own are not).
///
/// # Errors
/// [`Elapsed`] when the deadline passed first.
pub async fn until<F: Future>(
    timer: &Timer,
    deadline_ms: u64,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut armed = false;
    let mut waits = None;
    let output = poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let watch = timer.watch.get_or_init(|| timer.table.watch(-1));
        if !armed {
            armed = true;
            watch.reset();
            watch.arm(deadline_ms, Overdue::Wake);
            if let Some(kept) = timer.keeps.get() {
                watch.keeps(kept);
                waits = timer.backlog.as_ref().map(Backlog::enter);
            }
        } else if watch.fired() {
            return Poll::Ready(Err(Elapsed));
        }
        watch.register(cx.waker());
        Poll::Pending
    })
    .await;
    drop(waits);
    if let Some(watch) = timer.watch.get() {
        watch.disarm();
    }
    output
}
