//! The logic: typed attributes, sets of values, clauses, promises, and exact entailment.
//!
//! Every atom constrains **one** attribute (the theory is monadic), so a box of promises entails a
//! clause exactly when one attribute alone does (`tests/proofs/Caio.v`, `entailment_exact`).

pub mod logic;
pub mod set;
