//! Layer 5: the trail of decisions, `caio-trail/1`: bytes only.
//!
//! ```text
//!   worker   lane ─▶ record ─▶ ring ─┐
//!   worker   lane ─▶ record ─▶ ring ─┴─▶ frame ─▶ tree ─▶ note        the writer, which is in
//!            D, O and what explains them  commit   leaf    checkpoint  `proxy`: io is done there
//! ```
//!
#![doc = include_str!("format.md")]

pub mod asked;
pub mod breach;
pub mod chain;
pub mod control;
pub mod frame;
pub mod history;
pub mod lane;
pub mod ledger;
pub mod names;
pub mod note;
pub mod opening;
pub mod padded;
pub mod proof;
pub mod reading;
pub mod record;
pub mod ring;
#[cfg(test)]
mod ring_tests;
pub mod scan;
pub mod seal;
pub mod told;
pub mod tree;

/// What the ring is made of. Its model brings others: see `tests/model/ring.rs`.
mod atomics {
    pub(super) use std::sync::Arc;
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}
