//! One value for many readers, replaced whole.
//!
//! ```text
//!   publish   current := (n, value) ──▶ newest := n
//!   read                                newest ──▶ newer than mine? ──▶ current, which says its n
//! ```
//! A reader pays one load in the common case. The number travels with the value: between a reader's
//! two loads there may be another publication, and a value taken under the number of the one before
//! would make records say what nobody decided on.
//!
//! `tests/model/publication.rs` compiles this very file with loom's atomics.

use super::atomics::{Arc, ArcSwap, AtomicU64, Ordering};

/// A value under its number.
#[derive(Debug)]
pub struct Numbered<T> {
    /// Grows with each publication, mostly by one.
    pub number: u64,
    /// What was published.
    pub value: T,
}

/// See the module's text.
#[derive(Debug)]
pub struct Publication<T> {
    current: ArcSwap<Numbered<T>>,
    newest: AtomicU64,
}

impl<T> Publication<T> {
    /// A first value under a number of the caller's choice.
    pub fn new(number: u64, value: T) -> Self {
        let current = ArcSwap::from_pointee(Numbered { number, value });
        Self { current, newest: AtomicU64::new(number) }
    }

    /// The number of a value that [`Publication::current`] gives from now on, or one before it.
    #[inline]
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// The newest value: as new as [`Publication::newest`] said at any time before, or newer.
    pub fn current(&self) -> Arc<Numbered<T>> {
        self.current.load_full()
    }

    /// Publishes the next value; its number. For one thread: two would take the same number.
    pub fn publish(&self, value: T) -> u64 {
        let number = self.newest.load(Ordering::Relaxed) + 1;
        self.publish_as(number, value);
        number
    }

    /// The same under a number beyond the next, where others were given away.
    pub fn publish_as(&self, number: u64, value: T) {
        self.current.store(Arc::new(Numbered { number, value }));
        // Only now: whoever sees the number must find the value.
        self.newest.store(number, Ordering::Release);
    }
}
