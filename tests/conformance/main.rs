//! Conformance vectors, one file an RFC, and the promises of the bad-input list.

mod harness;
mod limits;
mod rfc3986;
mod rfc9110;
mod rfc9112;
mod rfc9112_responses;
