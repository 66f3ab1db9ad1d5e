//! The chunked coding (RFC 9112 7.1): a strict decoder over arbitrary splits, and the encoder.
//!
//! ```text
//!  ┌─────────────────────────────────────────────────┐
//!  ▼                                                 │
//! Size ─ hex ─▶ Size ─ ";" ─▶ Extension ─ CR ─▶ SizeLf ─ LF, size > 0 ─▶ Data ─▶ DataCr ─▶ DataLf
//!                                                 │
//!                                                 └ LF, size = 0 ─▶ Trailers ─ empty line ─▶ Done
//! ```

use super::fields::{collect, fault_of};
use super::malformed::Malformed;
use super::scan::HeadLimits;
use crate::wire::field::{Field, Kind, KindSet, is_token_byte};
use crate::wire::limits::{
    CHUNK_EXTENSION_BYTES_MAX, HEAD_FIELDS_CEILING, TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX,
};
use std::ops::Range;

/// The hexadecimal digits of a size, leading zeros among them: 15 stay below 2^60.
const SIZE_DIGITS_MAX: u8 = 15;

/// Fields that frame or route a message: in trailers they are an attack (RFC 9110 6.5.1).
pub const REFUSED_IN_TRAILERS: KindSet = KindSet::of(&[
    Kind::TransferEncoding,
    Kind::ContentLength,
    Kind::Host,
    Kind::Connection,
    Kind::Trailer,
    Kind::Te,
    Kind::Upgrade,
    Kind::KeepAlive,
    Kind::ProxyConnection,
]);

/// Fields that mean something only in a head: left out of forwarded trailers.
pub const DROPPED_FROM_TRAILERS: KindSet = crate::wire::field::REQUEST_DROPS.with(KindSet::of(&[
    Kind::Authorization,
    Kind::Cookie,
    Kind::ContentType,
    Kind::Expect,
    Kind::GrpcTimeout,
    Kind::Tracestate,
    Kind::Via,
    Kind::Date,
    Kind::Server,
]));

/// A trailer section: its bytes as received and its fields as ranges into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trailers {
    /// The section's bytes with its final empty line.
    pub bytes: Vec<u8>,
    /// Its fields.
    pub fields: Vec<Field>,
}

impl Trailers {
    /// The trailers that may be forwarded, name and value.
    pub fn forwarded(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields
            .iter()
            .filter(|field| !field.nominated && !DROPPED_FROM_TRAILERS.contains(field.kind))
            .map(|field| (field.name.of(&self.bytes), field.value.of(&self.bytes)))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension(Extension),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// Within `*( ";" name [ "=" value ] )`, white space allowed around name and value only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Token,
    Quoted,
    Escaped,
    AfterValue,
    /// White space behind a value: only another extension may follow.
    Gap,
}

/// Bounds of what a chunked body holds besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes of one chunk's extensions, from the `;` to the CR; those of all chunks together have a
    /// bound of their own.
    pub chunk_extension_bytes_max: u16,
    /// Fields of the trailers; at most [`HEAD_FIELDS_CEILING`] are ever accepted.
    pub trailer_fields_max: u16,
    /// Bytes of the trailers.
    pub trailer_bytes_max: u32,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            chunk_extension_bytes_max: CHUNK_EXTENSION_BYTES_MAX as u16,
            trailer_fields_max: TRAILER_FIELDS_MAX as u16,
            trailer_bytes_max: TRAILER_BYTES_MAX as u32,
        }
    }
}

/// What one step of the decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Data: this range of the bytes that were given.
    Data(Range<usize>),
    /// All bytes are used up; more are needed.
    NeedMore,
    /// The body and its trailers have ended.
    End,
}

/// Decodes one chunked body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoder {
    state: State,
    digits: u8,
    /// The size being read, then the data bytes still due.
    left: u64,
    /// Bytes of extensions, of all chunks so far and of this one.
    extension_bytes: u16,
    chunk_extension_bytes: u16,
    limits: BodyLimits,
    trailers: Option<Box<Trailers>>,
    /// Names that the head's `Connection` calls fields of one hop.
    nominated: Box<[Box<[u8]>]>,
}

impl Decoder {
    /// A decoder with these bounds.
    #[must_use]
    pub fn within(limits: BodyLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The same, with the names that the head's `Connection` options call fields of one hop: such
    /// trailers are not forwarded either (RFC 9110 7.6.1).
    #[must_use]
    pub fn nominating(self, names: Box<[Box<[u8]>]>) -> Self {
        Self { nominated: names, ..self }
    }

    /// Takes bytes from the start of `buf`: how many were used, and what was found. `Data` always
    /// ends at the last byte used. Call again with the rest until `NeedMore` or `End`.
    ///
    /// # Errors
    /// The fault met; the decoder must not be used after it.
    pub fn next(&mut self, buf: &[u8]) -> Result<(usize, Chunk), Malformed> {
        let mut used = 0;
        loop {
            match self.state {
                State::Data => return Ok(self.data(buf, used)),
                State::Trailers => {
                    let (more, done) = self.trailers(buf.get(used..).unwrap_or_default())?;
                    let found = if done { Chunk::End } else { Chunk::NeedMore };
                    return Ok((used + more, found));
                }
                State::Done => return Ok((used, Chunk::End)),
                _ => {}
            }
            let Some(byte) = buf.get(used) else { return Ok((used, Chunk::NeedMore)) };
            used += 1;
            self.state = self.framing_byte(*byte)?;
        }
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailers, once the body has ended and if there are any.
    #[must_use]
    pub fn take_trailers(&mut self) -> Option<Box<Trailers>> {
        self.trailers.take()
    }

    fn data(&mut self, buf: &[u8], start: usize) -> (usize, Chunk) {
        let here = buf.len() - start;
        let take = usize::try_from(self.left).map_or(here, |left| left.min(here));
        if take == 0 {
            return (start, Chunk::NeedMore);
        }
        self.left -= take as u64;
        if self.left == 0 {
            self.state = State::DataCr;
        }
        (start + take, Chunk::Data(start..start + take))
    }

    fn framing_byte(&mut self, byte: u8) -> Result<State, Malformed> {
        match (self.state, byte) {
            (State::Size, b'\r') if self.digits > 0 => Ok(State::SizeLf),
            (State::Size, b';') if self.digits > 0 => {
                self.count_extension_byte()?;
                Ok(State::Extension(Extension::BeforeName))
            }
            (State::Size, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed::ChunkSize)?;
                self.digits += 1;
                if self.digits > SIZE_DIGITS_MAX {
                    return Err(Malformed::ChunkSize);
                }
                self.left = self.left << 4 | u64::from(digit);
                Ok(State::Size)
            }
            (State::Extension(extension), _) => {
                self.count_extension_byte()?;
                extension_byte(extension, byte)
            }
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                self.chunk_extension_bytes = 0;
                Ok(if self.left == 0 { State::Trailers } else { State::Data })
            }
            (State::SizeLf, _) => Err(Malformed::ChunkSize),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            _ => Err(Malformed::ChunkEnd),
        }
    }

    fn count_extension_byte(&mut self) -> Result<(), Malformed> {
        self.extension_bytes = self.extension_bytes.saturating_add(1);
        self.chunk_extension_bytes = self.chunk_extension_bytes.saturating_add(1);
        if usize::from(self.extension_bytes) > CHUNK_EXTENSION_BYTES_MAX
            || self.chunk_extension_bytes > self.limits.chunk_extension_bytes_max
        {
            return Err(Malformed::ChunkExtensionsTooLarge);
        }
        Ok(())
    }

    /// Takes bytes up to the empty line that ends the trailers; whether it was found.
    fn trailers(&mut self, buf: &[u8]) -> Result<(usize, bool), Malformed> {
        // By far the most bodies have none: then nothing is kept and nothing allocated.
        if self.trailers.is_none() && buf.starts_with(b"\r\n") {
            self.state = State::Done;
            return Ok((2, true));
        }
        if buf.is_empty() {
            return Ok((0, false));
        }
        let section = &mut self.trailers.get_or_insert_default().bytes;
        for (at, byte) in buf.iter().enumerate() {
            if section.len() >= self.limits.trailer_bytes_max as usize {
                return Err(Malformed::TrailersTooLarge);
            }
            section.push(*byte);
            if *byte != b'\n' {
                continue;
            }
            if !section.ends_with(b"\r\n") {
                return Err(Malformed::LineEnd);
            }
            if section.len() == 2 || section.ends_with(b"\r\n\r\n") {
                self.finish_trailers()?;
                self.state = State::Done;
                return Ok((at + 1, true));
            }
        }
        Ok((buf.len(), false))
    }

    fn finish_trailers(&mut self) -> Result<(), Malformed> {
        let Some(trailers) = &mut self.trailers else { return Ok(()) };
        if trailers.bytes.len() == 2 {
            self.trailers = None;
            return Ok(());
        }
        let mut slots = [httparse::EMPTY_HEADER; HEAD_FIELDS_CEILING];
        let most = usize::from(self.limits.trailer_fields_max).min(slots.len());
        let slots = slots.get_mut(..most).unwrap_or_default();
        let (len, headers) = match httparse::parse_headers(&trailers.bytes, slots) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Err(Malformed::Trailer),
            Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TrailersTooLarge),
            Err(error) => return Err(fault_of(error)),
        };
        if len != trailers.bytes.len() {
            return Err(Malformed::Trailer);
        }
        collect_trailers(&trailers.bytes, len, headers, &mut trailers.fields)?;
        for field in &mut trailers.fields {
            let name = field.name.of(&trailers.bytes);
            field.nominated = self.nominated.iter().any(|option| option.eq_ignore_ascii_case(name));
        }
        Ok(())
    }
}

fn collect_trailers(
    bytes: &[u8],
    len: usize,
    headers: &[httparse::Header<'_>],
    fields: &mut Vec<Field>,
) -> Result<(), Malformed> {
    collect(bytes, len, headers, &HeadLimits::default(), fields)?;
    if fields.iter().any(|field| REFUSED_IN_TRAILERS.contains(field.kind)) {
        return Err(Malformed::ForbiddenTrailer);
    }
    Ok(())
}

fn extension_byte(extension: Extension, byte: u8) -> Result<State, Malformed> {
    use Extension as E;
    let next = match (extension, byte) {
        (E::BeforeName, b' ' | b'\t') => E::BeforeName,
        (E::BeforeName | E::Name, _) if is_token_byte(byte) => E::Name,
        (E::Name | E::AfterName, b' ' | b'\t') => E::AfterName,
        (E::Name | E::AfterName, b'=') => E::BeforeValue,
        (E::BeforeValue, b' ' | b'\t') => E::BeforeValue,
        (E::BeforeValue, b'"') => E::Quoted,
        (E::BeforeValue | E::Token, _) if is_token_byte(byte) => E::Token,
        (E::Quoted, b'"') => E::AfterValue,
        (E::Quoted, b'\\') => E::Escaped,
        (E::Quoted | E::Escaped, b'\t' | b' '..=b'~' | 0x80..) => E::Quoted,
        (E::Token | E::AfterValue | E::Gap, b' ' | b'\t') => E::Gap,
        (E::Name | E::AfterName | E::Token | E::AfterValue | E::Gap, b';') => E::BeforeName,
        (E::Name | E::Token | E::AfterValue, b'\r') => return Ok(State::SizeLf),
        _ => return Err(Malformed::ChunkExtension),
    };
    Ok(State::Extension(next))
}

/// The head of a chunk, `1f40` CRLF, without allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHead {
    bytes: [u8; 18],
    start: u8,
}

impl ChunkHead {
    /// The head of a chunk of `length` bytes. A chunk of zero bytes ends the body: write
    /// [`write_end`] for that, and nothing where there is no data.
    #[must_use]
    pub fn new(length: u64) -> Self {
        let mut head = Self { bytes: *b"0000000000000000\r\n", start: 15 };
        let mut left = length;
        for (at, slot) in head.bytes.iter_mut().enumerate().take(16).rev() {
            if left == 0 {
                break;
            }
            let digit = (left & 15) as u8;
            *slot = if digit < 10 { b'0' + digit } else { b'a' + (digit - 10) };
            head.start = at as u8;
            left >>= 4;
        }
        head
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(usize::from(self.start)..).unwrap_or_default()
    }
}

/// What follows the data of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends the last chunk and the trailers that may be forwarded.
pub fn write_end(out: &mut Vec<u8>, trailers: Option<&Trailers>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flat_map(Trailers::forwarded) {
        super::write::field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}
