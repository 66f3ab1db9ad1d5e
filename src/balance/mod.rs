//! Layer 4: what is known of the services' load and health, and what callers may still use of them.

pub mod endpoint;
pub mod epoch;
pub mod flight;
pub mod health;
pub mod latency;
pub mod load;
pub mod outlier;
pub mod promise;
pub mod rate;
pub mod standing;
pub mod success;
pub mod table;
#[cfg(test)]
mod table_tests;

/// What the table is made of; loom's in the tests that model it.
mod atomics {
    pub(super) use std::hint::spin_loop;
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}
