//! HTTP/1.1 messages without IO (RFC 9112): heads as ranges into the caller's buffer, bodies as a
//! state machine over whatever bytes have come, and writers that re-serialise.
//!
//! Nothing is forwarded as received: a head is validated byte for byte, then written anew, and a
//! chunked body is cut and framed again. What differs from the grammar is refused, not mended.

pub mod body;
pub mod chunked;
pub mod fields;
pub mod malformed;
pub mod request;
pub mod response;
pub mod scan;
pub mod write;

pub use malformed::{Family, Malformed};
pub use scan::{Cursor, HeadLimits, Parsed};

/// The two versions this codec speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

/// How the end of a message body is found (RFC 9112 6.3), or is to be stated when writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// Exactly this many bytes.
    Length(u64),
    /// Chunks, then perhaps trailers.
    Chunked,
    /// Until the connection closes; responses only.
    Close,
}
