//! Layer 0: what every other layer speaks in. Limits, faults, documents, ids, names.

pub mod document;
pub mod authority;
pub mod decimal;
pub mod fault;
pub mod field;
pub mod forwarded;
pub mod grpc;
pub mod limits;
pub mod units;
pub mod request_id;
pub mod target;
pub mod trace;
