//! Layer 0: what every other layer speaks in. Limits, faults, documents, ids, names.

pub mod document;
pub mod authority;
pub mod fault;
pub mod field;
pub mod limits;
pub mod units;
pub mod target;
