//! The field section that requests, responses and trailers share: from httparse's slices to ranges,
//! with the strictness httparse lacks, and the bookkeeping of framing and `Connection`.

use super::malformed::Malformed;
use super::scan::HeadLimits;
use super::{Framing, Version};
use crate::wire::field::{Field, Kind, KindSet, Span, classify, is_token, list};
use crate::wire::limits::CONNECTION_OPTIONS_MAX;
use httparse::Header;

/// Where `part` begins within `whole`, of which it is a slice.
pub(super) fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr())
}

/// What the fields said about framing and the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many `Host` fields there are, counted to two.
    pub hosts: u8,
    /// The value of the last `Host`.
    pub host: Span,
    /// How many `Content-Length` fields there are, counted to two.
    lengths: u8,
    length: Span,
    /// How many `Transfer-Encoding` fields there are, counted to two.
    codings: u8,
    coding: Span,
    connection: bool,
    /// There is an `Expect`.
    pub expect: bool,
    /// There is a `TE`.
    pub te: bool,
    /// There is an `Upgrade`.
    pub upgrade: bool,
}

/// What the `Connection` options said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `close`
    pub close: bool,
    /// `keep-alive`
    pub keep_alive: bool,
    /// `upgrade`
    pub upgrade: bool,
}

/// Fills `fields` from what httparse found in `buf[..len]`, checking every line's end.
pub(super) fn collect(
    buf: &[u8],
    len: usize,
    headers: &[Header<'_>],
    limits: &HeadLimits,
    fields: &mut Vec<Field>,
) -> Result<Seen, Malformed> {
    fields.clear();
    let mut seen = Seen::default();
    // httparse takes a lone LF for a line end. Each line's end is right before the next line, so
    // looking at the two bytes there finds every one; the last is before the final CRLF.
    let first = headers.first().map_or(len.saturating_sub(2), |h| offset(buf, h.name.as_bytes()));
    // A trailer section begins with its first field: there is no line before it.
    if first > 0 && !ends_line(buf, first) || !ends_line(buf, len) {
        return Err(Malformed::LineEnd);
    }
    fields.reserve(headers.len());
    let mut name_start = first;
    for (at, header) in headers.iter().enumerate() {
        let name = header.name.as_bytes();
        let name_end = name_start + name.len();
        let value_start = offset(buf, header.value);
        let value_end = value_start + header.value.len();
        let line_end = headers
            .get(at + 1)
            .map_or(len.saturating_sub(2), |next| offset(buf, next.name.as_bytes()));
        if !ends_line(buf, line_end) {
            return Err(Malformed::LineEnd);
        }
        if line_end - name_start > limits.line_bytes_max {
            return Err(Malformed::HeadTooLarge);
        }
        let kind = classify(name);
        let value = Span::new(value_start, value_end);
        if kind != Kind::Other {
            seen.note(kind, value);
        }
        fields.push(Field {
            name: Span::new(name_start, name_end),
            value,
            kind,
            nominated: false,
            // Only white space can stand between name, value and CRLF, so distances tell.
            canonical: value_start == name_end + 2
                && buf.get(name_end + 1) == Some(&b' ')
                && line_end == value_end + 2,
        });
        name_start = line_end;
    }
    Ok(seen)
}

/// Whether CRLF stands right before `at`.
fn ends_line(buf: &[u8], at: usize) -> bool {
    matches!(at.checked_sub(2).and_then(|from| buf.get(from..at)), Some([b'\r', b'\n']))
}

impl Seen {
    fn note(&mut self, kind: Kind, value: Span) {
        match kind {
            Kind::Host => {
                self.hosts = (self.hosts + 1).min(2);
                self.host = value;
            }
            Kind::ContentLength => {
                self.lengths = (self.lengths + 1).min(2);
                self.length = value;
            }
            Kind::TransferEncoding => {
                self.codings = (self.codings + 1).min(2);
                self.coding = value;
            }
            Kind::Connection => self.connection = true,
            Kind::Expect => self.expect = true,
            Kind::Te => self.te = true,
            Kind::Upgrade => self.upgrade = true,
            _ => {}
        }
    }

    /// The framing the fields declare, [`Framing::None`] where they say nothing.
    ///
    /// Stricter than RFC 9112 6.3: repeated or listed equal lengths, and codings before `chunked`,
    /// are refused too. Two readers of one ambiguous message are how smuggling begins.
    pub(super) fn framing(&self, buf: &[u8], version: Version) -> Result<Framing, Malformed> {
        match (self.lengths, self.codings) {
            (0, 0) => Ok(Framing::None),
            (1.., 1..) => Err(Malformed::LengthAndCoding),
            (1, 0) => parse_length(self.length.of(buf)).map(Framing::Length),
            (2.., 0) => Err(Malformed::RepeatedLength),
            (0, _) if version == Version::Http10 => Err(Malformed::CodingInOldVersion),
            (0, 1) if self.coding.of(buf).eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (0, _) => Err(Malformed::Coding),
        }
    }

    /// Reads every `Connection` option and marks the fields they nominate. An option that names a
    /// field of `protected` is refused.
    pub(super) fn options(
        &self,
        buf: &[u8],
        fields: &mut [Field],
        protected: KindSet,
    ) -> Result<Options, Malformed> {
        let mut options = Options::default();
        if !self.connection {
            return Ok(options);
        }
        let mut count = 0;
        for at in 0..fields.len() {
            let Some(field) = fields.get(at).filter(|field| field.kind == Kind::Connection) else {
                continue;
            };
            // Nearly every such field says one of these and nothing else.
            match field.value.of(buf) {
                b"keep-alive" => {
                    options.keep_alive = true;
                    continue;
                }
                b"close" => {
                    options.close = true;
                    continue;
                }
                _ => {}
            }
            for option in list(field.value.of(buf)) {
                count += 1;
                if count > CONNECTION_OPTIONS_MAX || !is_token(option) {
                    return Err(Malformed::ConnectionOption);
                }
                if option.eq_ignore_ascii_case(b"close") {
                    options.close = true;
                } else if option.eq_ignore_ascii_case(b"keep-alive") {
                    options.keep_alive = true;
                } else if option.eq_ignore_ascii_case(b"upgrade") {
                    options.upgrade = true;
                } else {
                    nominate(buf, fields, option, protected)?;
                }
            }
        }
        Ok(options)
    }
}

/// The names that the `Connection` options among these fields call fields of one hop, whether a
/// head holds such fields or its trailers may.
pub(super) fn nominated(buf: &[u8], fields: &[Field]) -> Box<[Box<[u8]>]> {
    let options = fields.iter().filter(|field| field.kind == Kind::Connection);
    let names = options.flat_map(|field| list(field.value.of(buf)));
    let about_itself = |option: &&[u8]| {
        let words: [&[u8]; 3] = [b"close", b"keep-alive", b"upgrade"];
        words.iter().any(|word| option.eq_ignore_ascii_case(word))
    };
    names.filter(|option| !about_itself(option)).map(Into::into).collect()
}

fn nominate(
    buf: &[u8],
    fields: &mut [Field],
    option: &[u8],
    protected: KindSet,
) -> Result<(), Malformed> {
    if protected.contains(classify(option)) {
        return Err(Malformed::ConnectionOption);
    }
    for field in fields {
        if field.name.of(buf).eq_ignore_ascii_case(option) {
            field.nominated = true;
        }
    }
    Ok(())
}

/// A `Content-Length` (RFC 9110 8.6): digits only, below 2^63 so that sums of it cannot overflow.
fn parse_length(text: &[u8]) -> Result<u64, Malformed> {
    if text.is_empty() {
        return Err(Malformed::Length);
    }
    if text.contains(&b',') {
        return Err(Malformed::RepeatedLength);
    }
    let mut value: u64 = 0;
    for byte in text {
        if !byte.is_ascii_digit() {
            return Err(Malformed::Length);
        }
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(byte - b'0')))
            .filter(|value| *value < 1 << 63)
            .ok_or(Malformed::Length)?;
    }
    Ok(value)
}

/// The faults httparse names, in this codec's words.
pub(super) fn fault_of(error: httparse::Error) -> Malformed {
    match error {
        httparse::Error::HeaderName => Malformed::FieldName,
        httparse::Error::HeaderValue => Malformed::FieldValue,
        httparse::Error::NewLine => Malformed::LineEnd,
        httparse::Error::TooManyHeaders => Malformed::TooManyFields,
        httparse::Error::Status => Malformed::Status,
        httparse::Error::Token | httparse::Error::Version => Malformed::StartLine,
    }
}

/// The first field of `kind` that is not for this hop only.
#[must_use]
pub fn first(fields: &[Field], kind: Kind) -> Option<&Field> {
    fields.iter().find(|field| field.kind == kind && !field.nominated)
}

/// Every value, in order, of the fields called `name` that are not for this hop only.
pub fn named<'a>(
    fields: &'a [Field],
    buf: &'a [u8],
    name: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |field| !field.nominated && field.name.of(buf).eq_ignore_ascii_case(name))
        .map(move |field| field.value.of(buf))
}
