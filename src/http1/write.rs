//! Writing heads anew: every byte was validated, hop-by-hop fields are gone, framing is restated.
//!
//! Fields that are kept and whose lines are canonical are copied in runs: a head of thirty fields
//! of which two are dropped costs three copies.

use super::Framing;
use super::request::RequestHead;
use super::response::ResponseHead;
use crate::wire::decimal;
use crate::wire::field::{Edits, Field, Kind, KindSet, REQUEST_DROPS, RESPONSE_DROPS};

/// A field to add: name and value, both already legal.
pub type Added<'a> = (&'a [u8], &'a [u8]);

/// How a request goes on.
#[derive(Clone, Copy, Debug)]
pub struct RequestPlan<'a> {
    /// What is not copied besides hop-by-hop fields; [`REQUEST_DROPS`] unless the sender is
    /// trusted.
    pub drops: KindSet,
    /// How the body will be framed: [`RequestHead::framing`] unless the gateway changes it.
    pub framing: Framing,
    /// The value of `Host`; the request's own authority where `None`.
    pub authority: Option<&'a [u8]>,
    /// What else becomes of the sender's fields.
    pub edits: Option<&'a Edits>,
    /// Fields to add after the sender's.
    pub added: &'a [Added<'a>],
}

impl<'a> RequestPlan<'a> {
    /// The plan for a request of an untrusted sender, framed as it was.
    #[must_use]
    pub const fn new(head: &RequestHead, added: &'a [Added<'a>]) -> Self {
        let (framing, authority, edits) = (head.framing, None, None);
        Self { drops: REQUEST_DROPS, framing, authority, edits, added }
    }
}

/// Appends the head of the forwarded request, always HTTP/1.1.
pub fn request_head(out: &mut Vec<u8>, buf: &[u8], head: &RequestHead, plan: &RequestPlan<'_>) {
    out.reserve(head.len + added_bytes(plan.added) + 96);
    out.extend_from_slice(head.method_bytes(buf));
    out.push(b' ');
    out.extend_from_slice(head.path(buf));
    if let Some(query) = head.query(buf) {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(plan.authority.unwrap_or_else(|| head.authority(buf)));
    out.extend_from_slice(b"\r\n");
    // An expectation nobody waits for, or one HTTP/1.0 does not have, must not reach an origin that
    // would act on it.
    let expectation = if head.expect_continue { KindSet::default() } else { EXPECTATION };
    let drops = plan.drops.with(ALWAYS_RESTATED).with(expectation);
    copy_fields(out, buf, &head.fields, drops, plan.edits);
    for (name, value) in plan.edits.into_iter().flat_map(|edits| &edits.set) {
        field(out, name.as_bytes(), value.as_bytes());
    }
    framing(out, plan.framing);
    if head.te_trailers {
        // The next hop may send trailers: this one relays them (RFC 9110 10.1.4).
        out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
    }
    finish(out, plan.added);
}

/// To be dropped as well by a gateway that answers `100 Continue` itself.
pub const EXPECTATION: KindSet = KindSet::of(&[Kind::Expect]);

/// What the writers state themselves whatever the plan says.
const ALWAYS_RESTATED: KindSet = KindSet::of(&[
    Kind::Host,
    Kind::Connection,
    Kind::Te,
    Kind::TransferEncoding,
    Kind::ContentLength,
    Kind::KeepAlive,
    Kind::ProxyConnection,
    Kind::ProxyAuth,
    Kind::Upgrade,
    Kind::Http2Settings,
]);

/// What the caller is told of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing: HTTP/1.1 keeps it.
    #[default]
    Implied,
    /// `Connection: keep-alive`, which HTTP/1.0 needs to hear.
    KeepAlive,
    /// `Connection: close`.
    Close,
}

/// How a response goes on.
#[derive(Clone, Copy, Debug)]
pub struct ResponsePlan<'a> {
    /// What is not copied besides hop-by-hop fields; mostly [`RESPONSE_DROPS`].
    pub drops: KindSet,
    /// What the head states of the body.
    pub framing: Framing,
    /// What it states of the connection.
    pub persistence: Persistence,
    /// Fields to add after the origin's.
    pub added: &'a [Added<'a>],
    /// What `Date` says where the origin gave none (RFC 9110 6.6.1).
    pub date: Option<&'a [u8]>,
}

impl<'a> ResponsePlan<'a> {
    /// The plan for `response` to `request`, of which `keep` says whether the gateway itself wants
    /// the caller's connection kept.
    ///
    /// A body that only the origin's close ends is chunked for HTTP/1.1. HTTP/1.0 knows no chunks:
    /// a body of unknown length ends with the connection there.
    #[must_use]
    pub fn new(
        response: &ResponseHead,
        request: &RequestHead,
        keep: bool,
        added: &'a [Added<'a>],
    ) -> Self {
        use super::Version::Http10;
        let old = request.version == Http10;
        let stated = match response.framing {
            Framing::None => response.declared,
            framing => framing,
        };
        let framing = match stated {
            Framing::Chunked | Framing::Close if old => Framing::Close,
            Framing::Close => Framing::Chunked,
            framing => framing,
        };
        let ends = framing == Framing::Close && response.framing != Framing::None;
        let persistence = match (request.keep_alive && keep && !ends, old) {
            _ if response.is_interim() => Persistence::Implied,
            (false, _) => Persistence::Close,
            (true, true) => Persistence::KeepAlive,
            (true, false) => Persistence::Implied,
        };
        Self { drops: RESPONSE_DROPS, framing, persistence, added, date: None }
    }
}

/// Appends the head of the response, always HTTP/1.1 (RFC 9110 2.5).
pub fn response_head(out: &mut Vec<u8>, buf: &[u8], head: &ResponseHead, plan: &ResponsePlan<'_>) {
    out.reserve(head.len + added_bytes(plan.added) + 96);
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal::push(out, u64::from(head.status));
    out.push(b' ');
    out.extend_from_slice(head.reason.of(buf));
    out.extend_from_slice(b"\r\n");
    copy_fields(out, buf, &head.fields, plan.drops.with(ALWAYS_RESTATED), None);
    framing(out, plan.framing);
    persistence(out, plan.persistence);
    if let Some(date) = plan.date
        && !head.fields.iter().any(|field| field.kind == Kind::Date && !field.nominated)
    {
        field(out, b"Date", date);
    }
    finish(out, plan.added);
}

/// Appends the head of a response the gateway makes itself.
pub fn own_head(
    out: &mut Vec<u8>,
    status: u16,
    stated: Framing,
    kept: Persistence,
    added: &[Added<'_>],
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal::push(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    framing(out, stated);
    persistence(out, kept);
    finish(out, added);
}

/// The interim response that asks for the body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

fn copy_fields(
    out: &mut Vec<u8>,
    buf: &[u8],
    fields: &[Field],
    drops: KindSet,
    edits: Option<&Edits>,
) {
    // [run, end) is what of `buf` is to be copied next.
    let (mut run, mut end) = (0, 0);
    let flush = |out: &mut Vec<u8>, run: usize, end: usize| {
        out.extend_from_slice(buf.get(run..end).unwrap_or_default());
    };
    for kept in fields {
        if kept.nominated
            || drops.contains(kept.kind)
            || edits.is_some_and(|edits| edits.drops(kept.name.of(buf)))
        {
            continue;
        }
        if !kept.canonical {
            flush(out, run, end);
            (run, end) = (0, 0);
            field(out, kept.name.of(buf), kept.value.of(buf));
            continue;
        }
        let start = kept.name.start as usize;
        if start != end {
            flush(out, run, end);
            run = start;
        }
        // A canonical line's value is followed by CRLF.
        end = kept.value.end as usize + 2;
    }
    flush(out, run, end);
}

/// Appends one field line.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal::push(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::None | Framing::Close => {}
    }
}

fn persistence(out: &mut Vec<u8>, persistence: Persistence) {
    match persistence {
        Persistence::Implied => {}
        Persistence::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Persistence::Close => out.extend_from_slice(b"Connection: close\r\n"),
    }
}

fn finish(out: &mut Vec<u8>, added: &[Added<'_>]) {
    for (name, value) in added {
        field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

fn added_bytes(added: &[Added<'_>]) -> usize {
    added.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
}

/// The reason phrase of a status the gateway answers itself; empty for others.
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
