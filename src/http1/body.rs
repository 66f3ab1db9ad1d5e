//! One decoder for every framing of a message body.

use super::Framing;
use super::chunked::{self, BodyLimits, Chunk, Trailers};
use super::malformed::Malformed;
use crate::wire::field::Field;
use std::ops::Range;

/// What one step found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Content: this range of the bytes that were given; it ends at the last byte used.
    Data(Range<usize>),
    /// All bytes are used up; more are needed.
    NeedMore,
    /// The body has ended. Bytes after it belong to the next message.
    End,
}

/// Where the body of one message ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Decoder {
    /// It has ended.
    #[default]
    Done,
    /// After this many more bytes.
    Length(u64),
    /// With the last chunk and its trailers.
    Chunked(chunked::Decoder),
    /// With the connection.
    Close,
}

impl Decoder {
    /// The decoder of a body framed so.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(chunked::Decoder::default()),
            Framing::Close => Self::Close,
        }
    }

    /// The same with bounds for what a chunked body holds besides its content.
    #[must_use]
    pub fn within(framing: Framing, limits: BodyLimits) -> Self {
        match framing {
            Framing::Chunked => Self::Chunked(chunked::Decoder::within(limits)),
            framing => Self::new(framing),
        }
    }

    /// The decoder of the body behind a head with these fields, which stand in `buf`.
    #[must_use]
    pub fn behind(framing: Framing, limits: BodyLimits, buf: &[u8], fields: &[Field]) -> Self {
        match framing {
            Framing::Chunked => {
                let names = super::fields::nominated(buf, fields);
                Self::Chunked(chunked::Decoder::within(limits).nominating(names))
            }
            framing => Self::new(framing),
        }
    }

    /// Takes bytes from the start of `buf`: how many were used, and what was found. Call again with
    /// the rest until `NeedMore` or `End`.
    ///
    /// # Errors
    /// The fault met; the decoder must not be used after it.
    pub fn next(&mut self, buf: &[u8]) -> Result<(usize, Event), Malformed> {
        match self {
            Self::Done => Ok((0, Event::End)),
            _ if buf.is_empty() && !self.is_done() => Ok((0, Event::NeedMore)),
            Self::Length(left) => {
                let take = usize::try_from(*left).map_or(buf.len(), |left| left.min(buf.len()));
                *left -= take as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok((take, Event::Data(0..take)))
            }
            Self::Chunked(decoder) => {
                let (used, found) = decoder.next(buf)?;
                Ok((
                    used,
                    match found {
                        Chunk::Data(range) => Event::Data(range),
                        Chunk::NeedMore => Event::NeedMore,
                        Chunk::End => Event::End,
                    },
                ))
            }
            Self::Close => Ok((buf.len(), Event::Data(0..buf.len()))),
        }
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Chunked(decoder) => decoder.is_done(),
            Self::Length(_) | Self::Close => false,
        }
    }

    /// How many bytes are certain to come, where that is known.
    #[must_use]
    pub const fn left(&self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::Close => None,
        }
    }

    /// Notes that the connection has ended.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] where the body had not ended; what was relayed of it must then not
    /// be made to look complete.
    pub fn close(&mut self) -> Result<(), Malformed> {
        if *self == Self::Close || self.is_done() {
            *self = Self::Done;
            return Ok(());
        }
        Err(Malformed::Truncated)
    }

    /// The trailers of a chunked body that has ended, if it had any; once.
    #[must_use]
    pub fn take_trailers(&mut self) -> Option<Box<Trailers>> {
        match self {
            Self::Chunked(decoder) => decoder.take_trailers(),
            Self::Done | Self::Length(_) | Self::Close => None,
        }
    }
}
