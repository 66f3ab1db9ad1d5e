//! Layer 5: the trail of decisions, `caio-trail/1`: bytes only.
//!
//! ```text
//!   worker   lane ─▶ record ─▶ ring ─┐
//!   worker   lane ─▶ record ─▶ ring ─┴─▶ frame ─▶ tree ─▶ note        the writer, which is in
//!            D, O and what explains them  commit   leaf    checkpoint  `proxy`: io is done there
//! ```
//!
#![doc = include_str!("format.md")]

pub mod base64;
pub mod chain;
pub mod frame;
pub mod history;
pub mod lane;
pub mod ledger;
pub mod note;
pub mod opening;
pub mod proof;
pub mod reading;
pub mod record;
pub mod ring;
pub mod scan;
pub mod seal;
pub mod told;
pub mod tree;
