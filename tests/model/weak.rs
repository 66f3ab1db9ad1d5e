//! The ring once more, with all its orders relaxed: what loom has to refuse.

#[path = "../../src/audit/ring.rs"]
pub mod ring;

use super::record;

mod atomics {
    pub use loom::sync::Arc;
    pub use loom::sync::atomic::AtomicU64;

    /// Whatever order is asked for, none is given.
    pub struct Ordering;

    #[allow(non_upper_case_globals, reason = "named like the variants they stand for")]
    impl Ordering {
        pub const Relaxed: loom::sync::atomic::Ordering = loom::sync::atomic::Ordering::Relaxed;
        pub const Acquire: loom::sync::atomic::Ordering = loom::sync::atomic::Ordering::Relaxed;
        pub const Release: loom::sync::atomic::Ordering = loom::sync::atomic::Ordering::Relaxed;
    }
}
