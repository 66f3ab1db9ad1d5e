//! A panic in one connection ends that connection, not the worker (monoio isolates nothing).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Polls `inner`, turning a panic into `Err(())`. What the panic left of the connection's state is
/// dropped with it; shared worker state holds no borrow across an await.
pub struct Isolated<F>(F);

impl<F: Future> Isolated<F> {
    /// Isolates `inner`.
    pub fn new(inner: F) -> Self {
        Self(inner)
    }
}

impl<F: Future> Future for Isolated<F> {
    type Output = Result<F::Output, ()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the field is structurally pinned: it is never moved out, `Isolated` has no `Drop`
        // and is `Unpin` only if `F` is.
        let inner = unsafe { self.map_unchecked_mut(|this| &mut this.0) };
        match catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Err(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Waker;

    #[test]
    fn a_panic_becomes_an_error_and_a_value_passes() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut sound = pin!(Isolated::new(async { 7 }));
        assert_eq!(sound.as_mut().poll(&mut cx), Poll::Ready(Ok(7)));
        let mut broken = pin!(Isolated::new(async { panic!("on purpose") }));
        let polled: Poll<Result<(), ()>> = broken.as_mut().poll(&mut cx);
        assert_eq!(polled, Poll::Ready(Err(())));
    }
}
