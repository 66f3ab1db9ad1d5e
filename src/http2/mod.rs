//! Layer 1: what the `h2` crate hides from us, seen at the byte level.
//!
//! `h2` speaks the protocol; this watches the bytes a peer sends *before* `h2` reads them, because
//! `h2` answers, drops or repairs several abuses without telling anyone.
//!
//! ```text
//!  socket ──bytes──▶ meter.feed() ──the same bytes──▶ h2
//!                        │
//!                        └─ Err(Abuse): pass on the first `safe` bytes, write
//!                           goaway_frame(meter.last_stream_id(), abuse.code(), …), close
//! ```
//! What `h2` 0.4.20 already does well is left to it: flow control, stream states, frame lengths,
//! small DATA frames, the decoded size of a header list. What it does not do, and is done here:
//! - one count of useless frames of every kind, that time and useful work forgive ([`Meter`]);
//! - empty CONTINUATION frames, PING, SETTINGS, PRIORITY and unknown-frame floods;
//! - pseudo-fields in trailers, which it drops in silence ([`Fields`]);
//! - malformed field blocks that are split inside a field: `h2` forgets the malformation that
//!   it saw in one frame when that frame ends in the middle of a field;
//! - a HEADERS frame that depends on itself: `h2` resets the stream without decoding the block,
//!   which leaves its compression state behind the peer's.
//!
//! # Why a connection error and not a stream error
//! RFC 9113 8.1.1 asks for a stream error on a malformed message and 5.4.1 allows any stream error
//! to be treated as a connection error. From outside `h2` only the latter is sound: a frame that is
//! withheld takes its header block with it and the compression state is lost for every later
//! stream, and a RST_STREAM put in its place would tell `h2` that the peer gave up while the peer
//! was told nothing. No honest peer sends these, so nobody is hurt by the stricter choice.

pub mod fields;
pub mod frame;
mod huffman;
pub mod meter;
mod streams;

pub use fields::{Fields, HpackFault, Seen};
pub use frame::{Code, goaway_frame};
pub use meter::{Abuse, AbuseKind, Glitch, Meter, MeterLimits, Role};
