//! The logic: typed attributes, sets of values, clauses, promises, and exact entailment.
//!
//! Every atom constrains **one** attribute (the theory is monadic), so a box of promises entails a
//! clause exactly when one attribute alone does (`tests/proofs/Caio.v`, `entailment_exact`).

pub mod complaint;
mod declaration;
pub mod entailment;
pub mod expression;
mod fact;
mod lexer;
pub mod logic;
pub mod normal;
pub mod predicate;
pub mod promise;
pub mod quantity;
mod reading;
pub mod reference;
pub mod region;
pub mod require;
pub mod set;
mod show;
pub mod version;
pub mod vocabulary;
