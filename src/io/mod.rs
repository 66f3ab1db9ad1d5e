//! The machine's side: rings, sockets, clocks, deadlines, buffers. Knows no HTTP and no contracts.
//!
//! This is the only module that may say `unsafe`; each use carries its argument.
#![allow(unsafe_code, reason = "system calls and owned-buffer reads need it; nowhere else may")]

pub mod buffers;
pub mod clock;
pub mod deadline;
pub mod duplex;
pub mod files;
#[cfg(feature = "inject")]
mod inject;
pub mod isolate;
pub mod journal;
pub mod listener;
pub mod local;
pub mod notify;
pub mod process;
pub mod publication;
pub mod rights;
pub mod ring;
pub mod stream;
pub mod tls;

/// What a publication is made of. Its model brings others: see `tests/model/publication.rs`.
mod atomics {
    pub(super) use arc_swap::ArcSwap;
    pub(super) use std::sync::Arc;
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}
