//! Layer 5: governance hooks: what is asked of them, and what an answer means. No IO: a question is
//! bytes to send, an answer bytes that came.
//!
//! ```text
//!   request ─▶ question::Described ─▶ cache ──hit──────────────▶ Answer ─▶ facts, changes, verdict
//!                                       └miss▶ Question ─▶ hook ─▶ answer::interpret ─┘
//!                                                            └ silence, error, nonsense ─▶ breaker
//! ```
//! The messages are those of Envoy's `ext_authz`, so that what speaks it answers here unchanged.

pub mod after;
pub mod answer;
pub mod breaker;
pub mod cache;
pub mod framing;
pub mod http;
pub mod proto;
pub mod question;
pub mod verdict;
pub mod wanted;
