//! Layer 0: what every other layer speaks in. Limits, faults, documents, ids, names.

pub mod authority;
pub mod date;
pub mod decimal;
pub mod document;
pub mod exposition;
pub mod fault;
pub mod field;
pub mod forwarded;
pub mod grpc;
pub mod limits;
pub mod method;
pub mod preamble;
pub mod request_id;
pub mod target;
pub mod trace;
pub mod units;
