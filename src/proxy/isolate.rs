//! A panic in one connection ends that connection, not the worker (monoio isolates nothing).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Polls `inner`, turning a panic into `Err(())`. Boxed by its maker: the connection's state is
/// dropped with it, and shared worker state holds no borrow across an await.
pub struct Isolated<F>(Pin<Box<F>>);

impl<F: Future> Isolated<F> {
    /// Isolates `inner`.
    pub fn new(inner: F) -> Self {
        Self(Box::pin(inner))
    }
}

impl<F: Future> Future for Isolated<F> {
    type Output = Result<F::Output, ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Err(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_panic_becomes_an_error_and_a_value_passes() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut sound = Isolated::new(async { 7 });
        assert_eq!(Pin::new(&mut sound).poll(&mut cx), Poll::Ready(Ok(7)));
        let mut broken = Isolated::new(async { panic!("on purpose") });
        let polled: Poll<Result<(), ()>> = Pin::new(&mut broken).poll(&mut cx);
        assert_eq!(polled, Poll::Ready(Err(())));
    }
}
