//! Conformance vectors, one file an RFC, and the promises of the bad-input list.

mod harness;
mod rfc9112;
