//! Who is calling: from what a request shows to a principal, through the public door only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod kinds;
mod order;
mod refreshing;
mod support;
mod tokens;
