//! Layer 0: what every other layer speaks in. Limits, faults, documents, ids, names.

pub mod fault;
pub mod limits;
