//! What a peer did that ends its connection, and with which code.

use super::fields::HpackFault;
use super::frame::Code;

/// One kind of useless frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Glitch {
    /// A PING, or an answer to one.
    Ping,
    /// A SETTINGS after the first.
    Settings,
    /// A PRIORITY, which RFC 9113 5.3.2 deprecates.
    Priority,
    /// A frame of a type that we do not know.
    UnknownFrame,
    /// A GOAWAY after the first.
    GoAway,
    /// A WINDOW_UPDATE too small to be of use.
    TinyWindowUpdate,
    /// A DATA that holds nothing, or only padding, and ends nothing.
    EmptyData,
    /// A HEADERS or CONTINUATION that holds nothing and ends nothing.
    EmptyFragment,
    /// A RST_STREAM.
    Reset,
    /// A frame that makes us reset a stream (CVE-2025-8671).
    StreamError,
    /// An interim response.
    Interim,
    /// A stream begun while far more than allowed have not ended.
    StreamFlood,
}

/// What a peer did that ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbuseKind {
    /// Too many useless frames, of which this was the last.
    Useless(Glitch),
    /// Too many CONTINUATION frames in one block.
    Continuations,
    /// A header block above its byte limit.
    HeaderBlock,
    /// Not the preface of RFC 9113 3.4.
    Preface,
    /// A frame between the frames of a header block, or a CONTINUATION outside one.
    Sequence,
    /// A HEADERS whose padding or priority does not fit into it.
    Padding,
    /// A PUSH_PROMISE, which callers may not send and which we told services not to.
    PushPromise,
    /// A HEADERS that names its own stream as the one it depends on.
    SelfDependency,
    /// A header block that cannot be decoded.
    Compression(HpackFault),
    /// A pseudo-field in trailers (RFC 9113 8.1).
    PseudoInTrailers,
    /// A malformed header block in more than one frame.
    MalformedBlock,
    /// A `:path` with a `#`.
    Fragment,
    /// A message that goes on behind the end which its sender gave it (RFC 9113 5.1).
    StreamClosed,
    /// A second head that ends nothing, where only trailers may follow (RFC 9113 8.1).
    SecondHead,
}

impl AbuseKind {
    /// The error code to end the connection with.
    pub fn code(self) -> Code {
        match self {
            Self::Useless(_) | Self::Continuations | Self::HeaderBlock => Code::EnhanceYourCalm,
            Self::Compression(_) => Code::CompressionError,
            Self::StreamClosed => Code::StreamClosed,
            Self::Preface
            | Self::Sequence
            | Self::Padding
            | Self::PushPromise
            | Self::SelfDependency
            | Self::PseudoInTrailers
            | Self::MalformedBlock
            | Self::Fragment
            | Self::SecondHead => Code::ProtocolError,
        }
    }

    /// A stable word for records and counters.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Useless(Glitch::Reset | Glitch::StreamError | Glitch::StreamFlood) => {
                "reset-flood"
            }
            Self::Useless(_) => "glitches",
            Self::Continuations | Self::HeaderBlock => "header-limit",
            Self::Compression(_) => "compression",
            Self::PseudoInTrailers | Self::MalformedBlock | Self::Fragment | Self::SecondHead => {
                "h2-malformed"
            }
            Self::Preface
            | Self::Sequence
            | Self::Padding
            | Self::PushPromise
            | Self::SelfDependency
            | Self::StreamClosed => "h2-protocol",
        }
    }
}

/// A finding that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abuse {
    /// What was found.
    pub kind: AbuseKind,
    /// How many bytes of the slice just fed stand before the offending frame and may be passed on.
    pub safe: usize,
}

impl Abuse {
    /// The error code for the GOAWAY.
    pub fn code(&self) -> Code {
        self.kind.code()
    }
}
