//! Conformance vectors, one file an RFC, and the promises of the bad-input list.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a vector that cannot be read must end its test"
)]

mod harness;
mod limits;
mod rfc3986;
mod rfc9110;
mod rfc9112;
mod rfc9112_responses;
