//! The head of a request (RFC 9112 3, 5, 6).

use super::fields::{Options, Seen, collect, fault_of, first, named, offset};
use super::malformed::Malformed;
use super::scan::{Cursor, HeadLimits, Look, Parsed};
use super::{Framing, Version};
use crate::wire::authority;
use crate::wire::field::{Field, Kind, NEVER_NOMINATED, Span, list};
use crate::wire::limits::{HEAD_FIELDS_CEILING, METHOD_BYTES_MAX};
use crate::wire::target::{self, Canonical, TargetFault};
use std::mem::MaybeUninit;

/// A request method; those the gateway does not tell apart are `Other`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `CONNECT`
    Connect,
    /// Any other token.
    Other,
}

impl Method {
    /// The method `token` names; methods are case-sensitive (RFC 9110 9.1).
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// Whether repeating a request has the effect of making it once (RFC 9110 9.2.2).
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch | Self::Connect | Self::Other)
    }
}

/// The form of the request target (RFC 9112 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `*`, of OPTIONS only.
    Asterisk,
}

/// A piece of text: bytes of the buffer, or bytes the head holds because they had to be rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Text {
    span: Span,
    in_scratch: bool,
}

/// Room for fields that an idle connection keeps: 32 of 20 bytes, more than browsers send.
const IDLE_FIELDS: usize = 32;
/// Room for rewritten text that an idle connection keeps.
const IDLE_SCRATCH_BYTES: usize = 256;

impl Text {
    /// Where `part` lies, given that its input began at `at` of the buffer.
    fn placed(part: Canonical, at: usize) -> Self {
        match part {
            Canonical::Input(from, to) => {
                Self { span: Span::new(at + from, at + to), in_scratch: false }
            }
            Canonical::Scratch(from, to) => Self { span: Span::new(from, to), in_scratch: true },
        }
    }
}

/// A parsed request head: ranges into the buffer it was parsed from. Reuse one for many requests;
/// it allocates only when it meets more fields, or longer rewritten targets, than before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of the buffer the head takes.
    pub len: usize,
    /// The method.
    pub method: Method,
    /// The method's bytes.
    pub method_span: Span,
    /// The version.
    pub version: Version,
    /// The target's form.
    pub form: Form,
    /// How the body is framed; never [`Framing::Close`].
    pub framing: Framing,
    /// Whether the sender wants the connection kept after the response.
    pub keep_alive: bool,
    /// Whether the sender waits for `100 Continue` before its body.
    pub expect_continue: bool,
    /// Whether the sender offers to switch protocols: `Upgrade` and `Connection: upgrade`.
    pub upgrade: bool,
    /// Whether the sender accepts trailers in the response (`TE: trailers`).
    pub te_trailers: bool,
    /// The port the authority names.
    pub port: Option<u16>,
    /// Every field in order.
    pub fields: Vec<Field>,
    path: Text,
    query: Option<Text>,
    authority: Text,
    host_len: usize,
    scratch: Vec<u8>,
}

impl RequestHead {
    /// The canonical path, or `*`.
    #[must_use]
    pub fn path<'a>(&'a self, buf: &'a [u8]) -> &'a [u8] {
        self.text(self.path, buf)
    }

    /// The query without its `?`; `None` where the target has none.
    #[must_use]
    pub fn query<'a>(&'a self, buf: &'a [u8]) -> Option<&'a [u8]> {
        self.query.map(|query| self.text(query, buf))
    }

    /// The canonical authority, `host` or `host:port`; empty only in HTTP/1.0 without a `Host`.
    #[must_use]
    pub fn authority<'a>(&'a self, buf: &'a [u8]) -> &'a [u8] {
        self.text(self.authority, buf)
    }

    /// The canonical host: lower case, no port, no trailing dot.
    #[must_use]
    pub fn host<'a>(&'a self, buf: &'a [u8]) -> &'a [u8] {
        self.authority(buf).get(..self.host_len).unwrap_or_default()
    }

    /// The method as sent.
    #[must_use]
    pub fn method_bytes<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        self.method_span.of(buf)
    }

    /// The first value of `kind`, leaving out fields for this hop only.
    #[must_use]
    pub fn value<'a>(&self, buf: &'a [u8], kind: Kind) -> Option<&'a [u8]> {
        first(&self.fields, kind).map(|field| field.value.of(buf))
    }

    /// Every value of `kind` in order, leaving out fields for this hop only.
    pub fn values<'a>(&'a self, buf: &'a [u8], kind: Kind) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |field| field.kind == kind && !field.nominated)
            .map(move |field| field.value.of(buf))
    }

    /// Every value of the fields called `name`, case ignored, leaving out those for this hop only.
    pub fn named<'a>(&'a self, buf: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        named(&self.fields, buf, name)
    }

    /// Gives back what an unusually large head made it keep, for a connection that goes idle.
    pub fn shrink(&mut self) {
        self.fields.clear();
        self.fields.shrink_to(IDLE_FIELDS);
        self.scratch.clear();
        self.scratch.shrink_to(IDLE_SCRATCH_BYTES);
    }

    fn text<'a>(&'a self, text: Text, buf: &'a [u8]) -> &'a [u8] {
        text.span.of(if text.in_scratch { &self.scratch } else { buf })
    }
}

/// Parses the head at the start of `buf` into `head`, whose former content is lost.
///
/// `cursor` remembers the search between calls with ever more bytes of the same head; give
/// `Cursor::default()` with each new head. Every range of `head` counts from the start of `buf`.
pub fn parse(
    buf: &[u8],
    limits: &HeadLimits,
    cursor: &mut Cursor,
    head: &mut RequestHead,
) -> Parsed {
    match cursor.look(buf, limits) {
        Look::Parse => {}
        Look::Wait => return Parsed::Incomplete,
        Look::Refuse(fault) => return Parsed::Malformed(fault),
    }
    match parse_now(buf, limits, head) {
        Ok(Some(len)) => Parsed::Complete(len),
        Ok(None) => cursor.incomplete(buf, limits),
        Err(fault) => Parsed::Malformed(fault),
    }
}

fn parse_now(
    buf: &[u8],
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<Option<usize>, Malformed> {
    // One empty line before the request is passed over (RFC 9112 2.2).
    let skipped = if buf.starts_with(b"\r\n") { 2 } else { 0 };
    let input = buf.get(skipped..).unwrap_or_default();
    let mut slots = [const { MaybeUninit::uninit() }; HEAD_FIELDS_CEILING];
    let fields_max = limits.fields_max.min(HEAD_FIELDS_CEILING);
    let slots = slots.get_mut(..fields_max).unwrap_or_default();
    let mut request = httparse::Request::new(&mut []);
    let status = request
        .parse_with_uninit_headers(input, slots)
        .map_err(|error| start_line_fault(input, error))?;
    let (httparse::Status::Complete(len), Some(method), Some(target), Some(version)) =
        (status, request.method, request.path, request.version)
    else {
        return Ok(None);
    };
    let len = len + skipped;
    if offset(buf, method.as_bytes()) != skipped {
        return Err(Malformed::StartLine);
    }
    if target.len() > limits.target_bytes_max {
        return Err(Malformed::TargetTooLong);
    }
    if len > limits.head_bytes_max {
        return Err(Malformed::HeadTooLarge);
    }
    if method.len() > METHOD_BYTES_MAX {
        return Err(Malformed::StartLine);
    }
    head.len = len;
    head.method = Method::of(method.as_bytes());
    head.method_span = Span::new(skipped, skipped + method.len());
    head.version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let seen = collect(buf, len, request.headers, limits, &mut head.fields)?;
    let options = seen.options(buf, &mut head.fields, NEVER_NOMINATED)?;
    head.framing = seen.framing(buf, head.version)?;
    head.place(buf, target.as_bytes(), &seen)?;
    head.persist(buf, &seen, options)?;
    Ok(Some(len))
}

impl RequestHead {
    /// The target and the authority, canonical and agreeing.
    fn place(&mut self, buf: &[u8], target: &[u8], seen: &Seen) -> Result<(), Malformed> {
        if self.method == Method::Connect {
            return Err(Malformed::Connect);
        }
        self.scratch.clear();
        self.query = None;
        self.port = None;
        let at = offset(buf, target);
        if target.first() == Some(&b'/') {
            self.form = Form::Origin;
            self.place_path(target, at)?;
        } else if target == b"*" && self.method == Method::Options {
            self.form = Form::Asterisk;
            self.path = Text { span: Span::new(at, at + 1), in_scratch: false };
        } else {
            return self.place_absolute(buf, target, seen);
        }
        if seen.hosts == 1 {
            return self.place_authority(buf, seen.host);
        }
        self.hostless(seen)
    }

    /// No `Host`, or several. Only HTTP/1.0 may lack one; its authority is then empty.
    fn hostless(&mut self, seen: &Seen) -> Result<(), Malformed> {
        match (seen.hosts, self.version) {
            (2.., _) => Err(Malformed::HostRepeated),
            (0, Version::Http10) => {
                self.authority = Text::default();
                self.host_len = 0;
                Ok(())
            }
            _ => Err(Malformed::HostMissing),
        }
    }

    fn place_path(&mut self, text: &[u8], at: usize) -> Result<(), Malformed> {
        let found = target::canonical(text, &mut self.scratch)?;
        self.path = Text::placed(found.path, at);
        self.query = found.query.map(|query| Text::placed(query, at));
        Ok(())
    }

    fn place_authority(&mut self, buf: &[u8], span: Span) -> Result<(), Malformed> {
        let found = authority::canonical(span.of(buf), &mut self.scratch)?;
        let base = if found.in_scratch { 0 } else { span.start as usize };
        self.authority = Text {
            span: Span::new(base + found.start, base + found.end),
            in_scratch: found.in_scratch,
        };
        self.host_len = found.host_end - found.start;
        self.port = found.port;
        Ok(())
    }

    /// Absolute form: its authority counts, and `Host` must say the same (RFC 9112 3.2.2).
    fn place_absolute(&mut self, buf: &[u8], text: &[u8], seen: &Seen) -> Result<(), Malformed> {
        self.form = Form::Absolute;
        let default_port = if has_scheme(text, b"http://") {
            80
        } else if has_scheme(text, b"https://") {
            443
        } else {
            return Err(TargetFault::Form.into());
        };
        let start = if default_port == 80 { 7 } else { 8 };
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let at = offset(buf, text) + start;
        let path = rest.get(length..).unwrap_or_default();
        self.place_absolute_path(path, at + length)?;
        if seen.hosts == 1 {
            self.place_authority(buf, seen.host)?;
            let host = (self.host(buf).to_vec(), self.port.unwrap_or(default_port));
            self.place_authority(buf, Span::new(at, at + length))?;
            let agrees = host.0 == self.host(buf) && host.1 == self.port.unwrap_or(default_port);
            return if agrees { Ok(()) } else { Err(Malformed::AuthorityDiffers) };
        }
        self.hostless(seen)?;
        self.place_authority(buf, Span::new(at, at + length))
    }

    fn place_absolute_path(&mut self, path: &[u8], at: usize) -> Result<(), Malformed> {
        if path.first() == Some(&b'/') {
            return self.place_path(path, at);
        }
        // An empty path is `/`, or `*` for OPTIONS without a query (RFC 9112 3.2.4).
        let asterisk = self.method == Method::Options && path.is_empty();
        let mut whole = Vec::with_capacity(path.len() + 1);
        whole.push(b'/');
        whole.extend_from_slice(path);
        let found = target::canonical(&whole, &mut self.scratch)?;
        let start = self.scratch.len();
        self.scratch.push(if asterisk { b'*' } else { b'/' });
        self.path = Text { span: Span::new(start, start + 1), in_scratch: true };
        // `whole` has one byte more in front than what stands at `at` of the buffer, which is
        // never its first byte.
        self.query = found.query.map(|query| Text::placed(query, at - 1));
        Ok(())
    }

    /// What the fields say about the connection and the expectation.
    fn persist(&mut self, buf: &[u8], seen: &Seen, options: Options) -> Result<(), Malformed> {
        self.keep_alive = match self.version {
            Version::Http11 => !options.close,
            Version::Http10 => options.keep_alive && !options.close,
        };
        self.upgrade = seen.upgrade && options.upgrade;
        self.te_trailers = seen.te
            && self.fields.iter().filter(|field| field.kind == Kind::Te).any(|field| {
                list(field.value.of(buf)).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
            });
        self.expect_continue = false;
        // HTTP/1.0 has no expectations: they are ignored (RFC 9110 10.1.1).
        if seen.expect && self.version == Version::Http11 {
            let met = |field: &Field| field.value.of(buf).eq_ignore_ascii_case(b"100-continue");
            if !self.fields.iter().filter(|field| field.kind == Kind::Expect).all(met) {
                return Err(Malformed::Expectation);
            }
            self.expect_continue = !matches!(self.framing, Framing::None | Framing::Length(0));
        }
        Ok(())
    }
}

fn has_scheme(text: &[u8], scheme: &[u8]) -> bool {
    text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// httparse says only "token" or "version" of a request line: look again to say what it was.
#[cold]
fn start_line_fault(input: &[u8], error: httparse::Error) -> Malformed {
    if !matches!(error, httparse::Error::Token | httparse::Error::Version) {
        return fault_of(error);
    }
    let line = input.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (version, more) = (words.next(), words.next());
    if !crate::wire::field::is_token(method) {
        return Malformed::StartLine;
    }
    match (version, more) {
        (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None)
            if major.is_ascii_digit() && minor.is_ascii_digit() && !target.is_empty() =>
        {
            match (major, minor) {
                (b'1', b'0' | b'1') => Malformed::Target(TargetFault::Byte),
                _ => Malformed::Version,
            }
        }
        // Of a line that is here whole only: the rest of it may say HTTP yet.
        (Some(version), None)
            if line.len() < input.len()
                && !target.is_empty()
                && !version.is_empty()
                && !has_scheme(version, b"HTTP") =>
        {
            Malformed::Foreign
        }
        _ => Malformed::StartLine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_head_gives_back_what_a_large_one_took() {
        let target = "[".repeat(8000);
        let fields = "X: y\r\n".repeat(98);
        let sent = format!("GET /{target} HTTP/1.1\r\nHost: A\r\n{fields}\r\n").into_bytes();
        let mut head = RequestHead::default();
        let parsed = parse(&sent, &HeadLimits::default(), &mut Cursor::default(), &mut head);
        assert_eq!(parsed, Parsed::Complete(sent.len()));
        assert!(head.scratch.capacity() >= 24_000);
        head.shrink();
        let kept = head.fields.capacity() * size_of::<Field>() + head.scratch.capacity();
        assert!(kept + size_of::<RequestHead>() <= 1280, "{kept}");
    }
}
