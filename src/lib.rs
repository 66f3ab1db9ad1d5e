//! CAIO: a gateway that routes by contract, with a proof a stranger can re-check.
//!
//! # Map: imports only go down
//! ```text
//!  9  cli          words for people: demo, run, check, explain, registry, audit
//!  8  admin        the control surface: probes, the control socket, store ┐
//!  7  proxy        one worker per core: accept, drive, relay, adopt    ├ feature "serve"
//!     io           monoio, sockets, timers, files; knows no HTTP       ┘
//!  ───────────────── nothing below this line can do IO ─────────────────
//!  6  exchange     one request and its response: head in, verdict and heads out; refusals
//!  5  audit        records, lanes, frames, the tree over them, checkpoints (bytes only)
//!     certify      the inline re-check of a decision by other means
//!     governance   what hooks are asked before a decision, and what their answers mean
//!  4  balance      the epoch: load view, health, drain; how many calls a worker has where
//!     decide       which services are eligible, which one, why; why not the others
//!     prover       what holds of a whole landscape, and a counter-example where it does not
//!  3  compiler     config + contracts → snapshot, or every reason why not
//!     snapshot     the immutable landscape, and its lookups
//!     registry     who is there: documents that come and go while the process runs
//!  2  config       what an operator writes, typed; every fault at once
//!     identity     who is calling: tokens, keys, peer certificates; the assertion to services
//!     contract     the logic: values, sets, atoms, clauses, promises, entailment
//!  1  http1        sans-IO codec on httparse
//!     http2        what h2 hides from us, seen at the byte level: frame meter
//!  0  wire         limits, faults, documents, ids, names
//!  –  check        `caio-check`, a binary of its own: shares no code with anything above
//! ```
//! `tests/tidy.rs` holds this table and fails on an upward import.

#[cfg(feature = "serve")]
pub mod admin;
#[cfg(feature = "serve")]
pub mod proxy;

pub mod audit;
pub mod balance;
pub mod certify;
pub mod cli;
pub mod compiler;
pub mod config;
pub mod contract;
pub mod decide;
pub mod exchange;
pub mod governance;
pub mod http1;
pub mod http2;
pub mod identity;
#[cfg(feature = "serve")]
pub mod io;
pub mod prover;
pub mod registry;
pub mod snapshot;
pub mod wire;
