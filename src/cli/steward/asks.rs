//! Asks among others: which of them are changes, and what time asks for.

use crate::admin::desk::{Answer, Ask, LEASE, Who, Wish};
use crate::registry::Change;
use std::sync::mpsc::channel;

/// What nobody but time asks for.
pub(super) fn of_clock(change: Change) -> Ask {
    let (reply, _) = channel();
    let who = Who { name: LEASE.to_owned(), from: "clock".to_owned() };
    Ask { who, wish: Wish::Change(change), dry_run: false, reply }
}

/// Whether the ask of this number asks for a change of what is registered.
pub(super) fn is_change(asks: &[Ask], number: usize) -> bool {
    asks.get(number).is_some_and(|ask| matches!(ask.wish, Wish::Put { .. } | Wish::Change(_)))
}

/// Answers the ask of this number.
pub(super) fn fill(answers: &mut [Option<Answer>], number: usize, answer: Answer) {
    if let Some(slot) = answers.get_mut(number) {
        *slot = Some(answer);
    }
}
