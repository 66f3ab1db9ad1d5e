//! How many answers wait for one caller to take them, and who may not begin meanwhile.
//!
//! An answer that its caller does not take keeps a service's connection. A caller who has left many
//! of them waiting gets no further one started until it takes some: otherwise a few connections
//! with a hundred streams each would have every connection to a service.

use crate::wire::limits::ANSWERS_WAITING_MAX;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The answers that wait for one caller's connection.
#[derive(Default)]
pub struct Backlog {
    count: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

/// One answer that waits; until dropped.
pub struct Waits(Rc<Backlog>);

impl Backlog {
    /// Counts one more answer.
    pub fn enter(self: &Rc<Self>) -> Waits {
        self.count.set(self.count.get() + 1);
        Waits(Rc::clone(self))
    }

    /// Waits until a further exchange may begin.
    pub async fn room(&self) {
        poll_fn(|cx| {
            if self.count.get() < ANSWERS_WAITING_MAX {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let left = self.0.count.get().saturating_sub(1);
        self.0.count.set(left);
        if left < ANSWERS_WAITING_MAX {
            // All of them look again: who finds no room waits on.
            for waker in self.0.waiting.take() {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn a_caller_with_a_full_backlog_waits_until_one_answer_is_taken() {
        let backlog = Rc::new(Backlog::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut waits: Vec<Waits> = (1..ANSWERS_WAITING_MAX).map(|_| backlog.enter()).collect();
        assert!(pin!(backlog.room()).poll(&mut cx).is_ready());
        waits.push(backlog.enter());
        let mut room = pin!(backlog.room());
        assert!(room.as_mut().poll(&mut cx).is_pending());
        waits.pop();
        assert!(room.as_mut().poll(&mut cx).is_ready());
    }
}
