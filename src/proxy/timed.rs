//! A bound on how long a droppable future may wait, at the price of two stores.

use crate::io::deadline::{Overdue, Watch};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// The deadline passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Awaits `future` until `deadline_ms` of the watch's clock. Only for futures that may be dropped
/// without losing bytes (h2's are; receives of our own are not).
///
/// # Errors
/// [`Elapsed`] when the deadline passed first.
pub async fn until<F: Future>(
    watch: &Watch,
    deadline_ms: u64,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    watch.reset();
    watch.arm(deadline_ms, Overdue::Wake);
    let output = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending if watch.fired() => Poll::Ready(Err(Elapsed)),
        Poll::Pending => {
            watch.register(cx.waker());
            Poll::Pending
        }
    })
    .await;
    watch.disarm();
    output
}
