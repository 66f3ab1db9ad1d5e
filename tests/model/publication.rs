//! The publication of landscapes to workers, in every order of their steps that C11 allows: loom
//! runs the very file that the gateway is built from, `src/io/publication.rs`.
//!
//! Modelled is the protocol: the pointer, then the number; the number, then the pointer. Trusted is
//! `arc-swap`: that a value whose pointer was read stays alive, and that storing and loading a
//! pointer releases and acquires what it points to. No more than that is given to what stands in
//! for it below.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::duplicate_mod,
    reason = "a test, with no outside, that panics where it fails, and has one file twice"
)]

#[path = "../../src/io/publication.rs"]
mod publication;
mod weak_publication;

use atomics::{Arc, AtomicU64, Ordering};

mod atomics {
    pub use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    pub use loom::sync::atomic::{AtomicU64, Ordering};
    use std::sync::OnceLock;

    /// Every value that was ever stored, and which is the current one.
    #[derive(Debug)]
    pub struct ArcSwap<T> {
        values: [OnceLock<Arc<T>>; 4],
        current: AtomicUsize,
    }

    impl<T> ArcSwap<T> {
        pub fn from_pointee(value: T) -> Self {
            let values: [OnceLock<Arc<T>>; 4] = Default::default();
            let _ = values[0].set(Arc::new(value));
            Self { values, current: AtomicUsize::new(0) }
        }

        pub fn load_full(&self) -> Arc<T> {
            Arc::clone(self.values[self.current.load(Ordering::Acquire)].get().unwrap())
        }

        pub fn store(&self, value: Arc<T>) {
            let free = self.values.iter().position(|place| place.get().is_none()).unwrap();
            let _ = self.values[free].set(value);
            self.current.store(free, Ordering::Release);
        }
    }
}

/// A landscape whose version is written with no order of its own: who reads it without the
/// publication's orders may find the zero from before.
#[derive(Debug)]
struct Landscape(AtomicU64);

impl Landscape {
    fn new(version: u64) -> Self {
        let landscape = Self(AtomicU64::new(0));
        landscape.0.store(version, Ordering::Relaxed);
        landscape
    }

    fn version(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A publisher of two more landscapes, and what a worker does before an exchange, twice.
macro_rules! worker_beside_publisher {
    ($publication:ty, |$worker:ident| $exchange:expr) => {
        loom::model(|| {
            let published = Arc::new(<$publication>::new(1, Landscape::new(1)));
            let publisher = Arc::clone(&published);
            let publishing = loom::thread::spawn(move || {
                assert_eq!(publisher.publish(Landscape::new(2)), 2);
                assert_eq!(publisher.publish(Landscape::new(3)), 3);
            });
            let mut $worker = (published.current(), &published);
            $exchange;
            $exchange;
            publishing.join().unwrap();
            $exchange;
            assert_eq!($worker.0.number, 3, "after the last publication, the last landscape");
        })
    };
}

#[test]
fn a_worker_decides_on_what_its_number_says_and_never_on_an_older_one() {
    worker_beside_publisher!(publication::Publication<Landscape>, |worker| {
        let seen = worker.1.newest();
        if seen > worker.0.number {
            let before = worker.0.number;
            worker.0 = worker.1.current();
            assert!(worker.0.number >= seen && seen > before, "at least as new as was seen");
        }
        assert_eq!(worker.0.value.version(), worker.0.number, "value and number belong together");
    });
}

/// As it was before the number stood beside the value: taken under the number that was seen.
#[test]
#[should_panic(expected = "under another's number")]
fn a_value_taken_under_the_number_seen_before_it_may_be_the_next_one() {
    worker_beside_publisher!(publication::Publication<Landscape>, |worker| {
        let seen = worker.1.newest();
        worker.0 = worker.1.current();
        assert_eq!(worker.0.value.version(), seen, "under another's number");
    });
}

/// The same file with its own orders taken out.
#[test]
#[should_panic(expected = "at least as new as was seen")]
fn without_release_and_acquire_the_number_arrives_before_the_value() {
    worker_beside_publisher!(weak_publication::publication::Publication<Landscape>, |worker| {
        let seen = worker.1.newest();
        if seen > worker.0.number {
            worker.0 = worker.1.current();
            assert!(worker.0.number >= seen, "at least as new as was seen");
        }
    });
}
