//! The nine bytes in front of every HTTP/2 frame (RFC 9113 4.1), and the one frame we write.

/// The bytes that open every connection from a client (RFC 9113 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame header.
pub const HEAD_BYTES: usize = 9;

/// Frame types of RFC 9113 6.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Frame flags of RFC 9113 6.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// An error code of RFC 9113 7 that this layer may end a connection with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 0x1: the peer broke the protocol.
    ProtocolError,
    /// 0x5: the peer goes on behind its own end of a stream.
    StreamClosed,
    /// 0x9: the peer's field compression makes no sense.
    CompressionError,
    /// 0xb: the peer makes us work for nothing.
    EnhanceYourCalm,
}

impl Code {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        match self {
            Self::ProtocolError => 0x1,
            Self::StreamClosed => 0x5,
            Self::CompressionError => 0x9,
            Self::EnhanceYourCalm => 0xb,
        }
    }
}

/// A frame header, parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl FrameHead {
    /// Reads a frame header; the reserved bit in front of the stream is ignored (RFC 9113 4.1).
    pub(crate) fn parse(bytes: [u8; HEAD_BYTES]) -> Self {
        let [a, b, c, kind, flags, w, x, y, z] = bytes;
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([w & 0x7f, x, y, z]),
        }
    }

    /// Whether all bits of `flag` are set.
    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag == flag
    }
}

/// A whole GOAWAY frame (RFC 9113 6.8): `last_stream` is the highest stream that may have been
/// acted on, `debug` is for people and cut at 128 bytes.
pub fn goaway_frame(last_stream: u32, code: Code, debug: &str) -> Vec<u8> {
    const DEBUG_BYTES_MAX: usize = 128;
    let debug = debug.as_bytes();
    let debug = debug.get(..DEBUG_BYTES_MAX).unwrap_or(debug);
    let length = u32::try_from(8 + debug.len()).unwrap_or(8);
    let [_, a, b, c] = length.to_be_bytes();
    let mut frame = Vec::with_capacity(HEAD_BYTES + 8 + debug.len());
    frame.extend_from_slice(&[a, b, c, kind::GOAWAY, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(&(last_stream & 0x7fff_ffff).to_be_bytes());
    frame.extend_from_slice(&code.number().to_be_bytes());
    frame.extend_from_slice(debug);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goaway_frame_says_stream_code_and_reason() {
        let frame = goaway_frame(0x8000_0007, Code::EnhanceYourCalm, "calm");
        assert_eq!(frame[..9], [0, 0, 12, 7, 0, 0, 0, 0, 0]);
        assert_eq!(frame[9..17], [0, 0, 0, 7, 0, 0, 0, 0xb]);
        assert_eq!(&frame[17..], b"calm");
        assert_eq!(goaway_frame(1, Code::ProtocolError, &"x".repeat(500)).len(), 9 + 8 + 128);
    }

    #[test]
    fn the_reserved_bit_is_no_part_of_a_stream_id() {
        let head = FrameHead::parse([1, 2, 3, 4, 5, 0x80, 0, 0, 9]);
        assert_eq!((head.length, head.stream), (0x01_0203, 9));
    }
}
