//! The head of a response (RFC 9112 4, 6.3).

use super::fields::{collect, fault_of, first};
use super::malformed::Malformed;
use super::request::Method;
use super::scan::{Cursor, HeadLimits, Look, Parsed};
use super::{Framing, Version};
use crate::wire::field::{Field, Kind, KindSet, Span};
use crate::wire::limits::HEAD_FIELDS_CEILING;
use std::mem::MaybeUninit;

/// A parsed response head: ranges into the buffer it was parsed from. Reuse one for many responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the buffer the head takes.
    pub len: usize,
    /// The version.
    pub version: Version,
    /// The status, 100 to 599 and not 101.
    pub status: u16,
    /// The reason phrase, perhaps empty.
    pub reason: Span,
    /// How the body that follows is framed (RFC 9112 6.3), [`Framing::None`] after HEAD.
    pub framing: Framing,
    /// What the fields declare. It differs from `framing` where there is no body although one is
    /// described (HEAD, 304), and where only the close of the connection ends the body.
    pub declared: Framing,
    /// Whether the connection can carry another request once the body has ended.
    pub keep_alive: bool,
    /// Every field in order.
    pub fields: Vec<Field>,
}

impl ResponseHead {
    /// Whether this is an interim response (1xx): another head follows on the same connection.
    /// HTTP/1.0 callers must not be sent one (RFC 9110 15.2).
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// The first value of `kind`, leaving out fields for this hop only.
    #[must_use]
    pub fn value<'a>(&self, buf: &'a [u8], kind: Kind) -> Option<&'a [u8]> {
        first(&self.fields, kind).map(|field| field.value.of(buf))
    }
}

/// Parses the head at the start of `buf`, an answer to a request of `method`, into `head`.
///
/// `cursor` is used as in [`super::request::parse`]. Every range counts from the start of `buf`.
pub fn parse(
    buf: &[u8],
    method: Method,
    limits: &HeadLimits,
    cursor: &mut Cursor,
    head: &mut ResponseHead,
) -> Parsed {
    // A status line has no target: the bound of every line holds for it too.
    let lines = HeadLimits { target_bytes_max: limits.line_bytes_max, ..*limits };
    match cursor.look(buf, &lines) {
        Look::Parse => {}
        Look::Wait => return Parsed::Incomplete,
        Look::Refuse(fault) => return Parsed::Malformed(fault),
    }
    match parse_now(buf, method, limits, head) {
        Ok(Some(len)) => Parsed::Complete(len),
        Ok(None) => cursor.incomplete(buf, &lines),
        Err(fault) => Parsed::Malformed(fault),
    }
}

fn parse_now(
    buf: &[u8],
    method: Method,
    limits: &HeadLimits,
    head: &mut ResponseHead,
) -> Result<Option<usize>, Malformed> {
    // httparse passes over empty lines; before a response they are bytes nobody asked for.
    if matches!(buf.first(), Some(b'\r' | b'\n')) {
        return Err(Malformed::StartLine);
    }
    let mut slots = [const { MaybeUninit::uninit() }; HEAD_FIELDS_CEILING];
    let fields_max = limits.fields_max.min(HEAD_FIELDS_CEILING);
    let slots = slots.get_mut(..fields_max).unwrap_or_default();
    let mut response = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, buf, slots)
        .map_err(fault_of)?;
    let (httparse::Status::Complete(len), Some(code), Some(version)) =
        (status, response.code, response.version)
    else {
        return Ok(None);
    };
    if len > limits.head_bytes_max {
        return Err(Malformed::HeadTooLarge);
    }
    if !(100..=599).contains(&code) {
        return Err(Malformed::Status);
    }
    head.len = len;
    head.status = code;
    head.version = if version == 0 { Version::Http10 } else { Version::Http11 };
    head.reason = reason(buf);
    if head.reason.end as usize + 2 > limits.line_bytes_max {
        return Err(Malformed::HeadTooLarge);
    }
    let seen = collect(buf, len, response.headers, limits, &mut head.fields)?;
    // Nothing a response nominates is worth refusing it for: what is nominated is left out.
    let options = seen.options(buf, &mut head.fields, KindSet::default())?;
    head.declared = seen.framing(buf, head.version)?;
    head.frame(method)?;
    head.keep_alive &= match head.version {
        Version::Http11 => !options.close,
        Version::Http10 => options.keep_alive && !options.close,
    };
    Ok(Some(len))
}

/// The reason phrase: what follows `HTTP/1.1 200 ` on the first line. httparse hides a phrase that
/// is not ASCII, so it is looked up here; its bytes were checked there.
fn reason(buf: &[u8]) -> Span {
    const START: usize = "HTTP/1.1 200 ".len();
    let rest = buf.get(START..).unwrap_or_default();
    match buf.get(START - 1) {
        Some(b' ') => {
            let length = rest.iter().position(|byte| *byte == b'\r').unwrap_or(0);
            Span::new(START, START + length)
        }
        _ => Span::default(),
    }
}

impl ResponseHead {
    /// RFC 9112 6.3 in its order.
    fn frame(&mut self, method: Method) -> Result<(), Malformed> {
        self.keep_alive = true;
        if self.status == 101 {
            return Err(Malformed::UnaskedSwitch);
        }
        if self.is_interim() && self.declared != Framing::None {
            return Err(Malformed::FramingOfInterim);
        }
        if self.status == 204 {
            // A server must not frame a 204 (RFC 9112 6.1), many say `Content-Length: 0`. Other
            // framing is not believed, and neither is what may follow.
            self.keep_alive = matches!(self.declared, Framing::None | Framing::Length(0));
            self.declared = Framing::None;
        }
        self.framing = match (self.status, method, self.declared) {
            (100..200 | 204 | 304, ..) | (_, Method::Head, _) => Framing::None,
            (_, _, Framing::None) => Framing::Close,
            (_, _, declared) => declared,
        };
        if self.framing == Framing::Close {
            self.keep_alive = false;
        }
        Ok(())
    }
}
