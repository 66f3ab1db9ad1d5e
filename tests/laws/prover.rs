//! Laws of the prover: its solver against enumeration, and its answers against their checks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected fails"
)]

#[path = "prover/compared.rs"]
mod compared;
#[path = "prover/interfaces.rs"]
mod interfaces;
#[path = "prover/landscapes.rs"]
mod landscapes;
#[path = "prover/solver.rs"]
mod solver;
#[path = "prover/stated.rs"]
mod stated;
#[path = "prover/verbs.rs"]
mod verbs;
#[expect(dead_code, reason = "the suite of decisions uses the rest")]
#[path = "decision/world.rs"]
mod world;
