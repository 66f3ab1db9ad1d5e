//! Raw HTTP/2 frames over a [`Wire`] (RFC 9113), with no state machine to get in the way.

use super::{End, PATIENCE, Wire};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The bytes of one frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header block of literals that leave the table alone, without Huffman codes.
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            length(&mut out, text.len());
            out.extend(*text);
        }
    }
    out
}

fn length(out: &mut Vec<u8>, length: usize) {
    if length < 127 {
        out.push(length as u8);
        return;
    }
    out.push(127);
    let mut left = length - 127;
    while left >= 128 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// A request's head as a block: method, path, and `more` behind the pseudo-fields.
pub fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields: Vec<(&[u8], &[u8])> = vec![
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":authority", b"a.example"),
        (b":path", path.as_bytes()),
    ];
    fields.extend(more.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    block(&fields)
}

/// What a connection ended with.
#[derive(Debug)]
pub struct Ended {
    pub frames: Vec<Frame>,
    pub end: End,
}

impl Ended {
    /// The code of the last GOAWAY.
    pub fn goaway(&self) -> Option<u32> {
        let last = self.frames.iter().rev().find(|frame| frame.kind == GOAWAY)?;
        Some(u32::from_be_bytes(last.payload[4..8].try_into().unwrap()))
    }

    /// The code of the first RST_STREAM on `stream`.
    pub fn reset(&self, stream: u32) -> Option<u32> {
        let is_it = |frame: &&Frame| frame.kind == RST_STREAM && frame.stream == stream;
        let found = self.frames.iter().find(is_it)?;
        Some(u32::from_be_bytes(found.payload[..4].try_into().unwrap()))
    }

    /// The first HEADERS on `stream`.
    pub fn head(&self, stream: u32) -> Option<&Frame> {
        self.frames.iter().find(|frame| frame.kind == HEADERS && frame.stream == stream)
    }
}

/// A connection with prior knowledge whose settings are exchanged.
pub struct Connection {
    wire: Wire,
    pending: Vec<u8>,
    seen: Vec<Frame>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let mut wire = Wire::connect(address);
        wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        let mut new = Self { wire, pending: Vec::new(), seen: Vec::new() };
        let settings = |frame: &Frame| frame.kind == SETTINGS && frame.flags & ACK == 0;
        assert_eq!(new.read_until(PATIENCE, settings), End::Open, "the gateway speaks HTTP/2");
        new.wire.send(&frame(SETTINGS, ACK, 0, &[]));
        new
    }

    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.wire.send(bytes)
    }

    /// One call without content on a connection that stays; whether its answer came whole.
    pub fn call(&mut self, id: u32, head: &[u8]) -> bool {
        self.send(&frame(HEADERS, END_HEADERS | END_STREAM, id, head));
        let ends = |frame: &Frame| {
            let last = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
            frame.kind == GOAWAY || frame.stream == id && (last || frame.kind == RST_STREAM)
        };
        let end = self.read_until(PATIENCE, ends);
        let last = self.seen.last().map(|frame| frame.kind);
        end == End::Open && matches!(last, Some(DATA | HEADERS))
    }

    /// Reads frames until one is `wanted` ([`End::Open`]) or the connection ends.
    pub fn read_until(&mut self, patience: Duration, wanted: impl Fn(&Frame) -> bool) -> End {
        let deadline = Instant::now() + patience;
        let mut chunk = vec![0; 16_384];
        loop {
            while let Some(frame) = self.take() {
                let found = wanted(&frame);
                self.seen.push(frame);
                if found {
                    return End::Open;
                }
            }
            match self.wire.read(&mut chunk, deadline) {
                Ok(count) => self.pending.extend(&chunk[..count]),
                Err(end) => {
                    assert!(end != End::Open, "neither frame nor end; seen: {:?}", self.seen);
                    return end;
                }
            }
        }
    }

    /// Like [`Self::read_until`], but nothing coming is no failure: whether a frame was `wanted`,
    /// or
    /// `None` at the end of the connection.
    pub fn read_for(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&Frame) -> bool,
    ) -> Option<bool> {
        let deadline = Instant::now() + patience;
        let mut chunk = vec![0; 16_384];
        loop {
            while let Some(frame) = self.take() {
                let found = wanted(&frame);
                self.seen.push(frame);
                if found {
                    return Some(true);
                }
            }
            match self.wire.read(&mut chunk, deadline) {
                Ok(count) => self.pending.extend(&chunk[..count]),
                Err(End::Open) => return Some(false),
                Err(_) => return None,
            }
        }
    }

    /// What the last PING of the gateway carried, to be sent back.
    pub fn ping_payload(&self) -> Vec<u8> {
        let ping = |frame: &&Frame| frame.kind == PING && frame.flags & ACK == 0;
        self.seen.iter().rev().find(ping).expect("the gateway sent a PING").payload.clone()
    }

    fn take(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.pending.get(..9)?.try_into().unwrap();
        let [a, b, c, kind, flags, w, x, y, z] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = self.pending.get(9..9 + length)?.to_vec();
        self.pending.drain(..9 + length);
        Some(Frame { kind, flags, stream: u32::from_be_bytes([w & 0x7f, x, y, z]), payload })
    }

    /// Everything up to the end of the connection, which has to come.
    pub fn until_end(mut self) -> Ended {
        let end = self.read_until(PATIENCE, |_| false);
        Ended { frames: self.seen, end }
    }

    /// Everything up to the end of `stream`, of whatever kind, or of the connection.
    pub fn until_stream_ends(mut self, stream: u32) -> Ended {
        let last = |frame: &Frame| {
            let ends = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
            frame.kind == GOAWAY || frame.stream == stream && (ends || frame.kind == RST_STREAM)
        };
        let end = self.read_until(PATIENCE, last);
        Ended { frames: self.seen, end }
    }
}
