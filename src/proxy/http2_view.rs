//! An HTTP/2 request head, made canonical once, as routing and forwarding see it.

use crate::exchange::refusal::{Reason, Refusal};
use crate::exchange::view::Inbound;
use crate::http1::HeadLimits;
use crate::http1::chunked::{DROPPED_FROM_TRAILERS, REFUSED_IN_TRAILERS};
use crate::identity::Field;
use crate::snapshot::request::RequestView;
use crate::wire::authority;
use crate::wire::field::{Kind, KindSet, classify};
use crate::wire::limits::METHOD_BYTES_MAX;
use crate::wire::target::{self, Canonical};
use http::request::Parts;
use http::{HeaderMap, Uri, header};

/// A canonical head: the same bytes are matched, authorised, forwarded and recorded.
#[derive(Clone)]
pub struct Http2Head {
    /// The method's text.
    pub method: http::Method,
    /// Every field as received.
    pub headers: HeaderMap,
    /// The target as sent; what of it was not canonical stands in `authority` and `target`.
    uri: Uri,
    /// The canonical authority, where it is not the one in `uri`.
    authority: Option<String>,
    /// Where the host ends within the canonical authority.
    host_len: usize,
    /// The canonical path and query, where they are not those in `uri`, and where the path ends.
    target: Option<(String, usize)>,
    /// The declared body length; 0 where the stream ended with the head.
    pub body_bytes: Option<u64>,
    /// The kinds of the fields there are: most that are asked for are not, and looking each up
    /// would cost more than classifying all once.
    present: KindSet,
}

impl Http2Head {
    /// Checks and canonicalises; h2 has checked pseudo-header order, names and connection fields.
    ///
    /// # Errors
    /// The refusal, before any service is contacted.
    pub fn new(parts: Parts, ended: bool, limits: &HeadLimits) -> Result<Self, Refusal> {
        if parts.method == http::Method::CONNECT {
            return Err(Refusal::new(Reason::MethodRefused, "CONNECT is not served"));
        }
        if parts.method.as_str().len() > METHOD_BYTES_MAX {
            return Err(Refusal::new(Reason::MethodRefused, "the method is longer than any known"));
        }
        if !matches!(parts.uri.scheme_str(), None | Some("http" | "https")) {
            return Err(Refusal::new(Reason::TargetInvalid, ":scheme is neither http nor https"));
        }
        check_fields(&parts.headers, limits)?;
        let (authority, host_len) = authority_of(&parts)?;
        let target = target_of(&parts, limits)?;
        let stated = length_of(&parts.headers)?;
        if ended && stated.is_some_and(|stated| stated > 0) {
            let detail = "the stream ends before the stated length";
            return Err(Refusal::new(Reason::FramingInvalid, detail));
        }
        let body_bytes = if ended { Some(0) } else { stated };
        if parts.headers.contains_key(header::EXPECT)
            && !parts
                .headers
                .get_all(header::EXPECT)
                .iter()
                .all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        {
            return Err(Refusal::new(Reason::ExpectationUnknown, "only 100-continue is known"));
        }
        let Parts { method, headers, uri, .. } = parts;
        let kinds = headers.keys().map(|name| classify(name.as_str().as_bytes()));
        let present = kinds.fold(KindSet::default(), |set, kind| set.with(KindSet::of(&[kind])));
        Ok(Self { method, headers, uri, authority, host_len, target, body_bytes, present })
    }

    /// The canonical target for the next hop; shares the received one's bytes where it can.
    ///
    /// # Errors
    /// When the target cannot be written, which canonical parts always can.
    pub fn forwarded(&self) -> Result<Uri, http::Error> {
        let sent = self.uri.clone().into_parts();
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = match &self.authority {
            Some(text) => Some(text.parse()?),
            None => sent.authority,
        };
        parts.path_and_query = match &self.target {
            Some((text, _)) => Some(text.parse()?),
            None => sent.path_and_query,
        };
        Ok(Uri::from_parts(parts)?)
    }
}

impl Inbound for Http2Head {
    fn each_value(&self, name: &str, with: &mut dyn FnMut(&[u8])) {
        if !self.present.contains(classify(name.as_bytes())) {
            return;
        }
        for value in self.headers.get_all(name) {
            with(value.as_bytes());
        }
    }

    fn authority(&self) -> &[u8] {
        let sent = || self.uri.authority().map_or("", http::uri::Authority::as_str);
        self.authority.as_deref().unwrap_or_else(sent).as_bytes()
    }

    fn sole(&self, name: &str) -> Field<'_> {
        let mut values = self.headers.get_all(name).iter().map(|value| value.as_bytes());
        Field::of(values.next(), values.next())
    }

    fn only(&self, kind: Kind, name: &str) -> Option<&[u8]> {
        if !self.present.contains(kind) {
            return None;
        }
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?;
        if values.next().is_some() { None } else { Some(first.as_bytes()) }
    }

    fn each_field(&self, with: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in &self.headers {
            with(name.as_str().as_bytes(), value.as_bytes());
        }
    }

    fn query(&self) -> Option<&str> {
        match &self.target {
            Some((text, end)) => text.get(*end..).and_then(|rest| rest.strip_prefix('?')),
            None => self.uri.query(),
        }
    }
}

impl RequestView for Http2Head {
    fn method(&self) -> &str {
        self.method.as_str()
    }

    fn host(&self) -> &str {
        let host = Inbound::authority(self).get(..self.host_len).unwrap_or_default();
        std::str::from_utf8(host).unwrap_or_default()
    }

    fn path(&self) -> &str {
        match &self.target {
            Some((text, end)) => text.get(..*end).unwrap_or_default(),
            None => self.uri.path(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?;
        if values.next().is_some() { None } else { first.to_str().ok() }
    }

    fn body_bytes(&self) -> Option<u64> {
        self.body_bytes
    }
}

/// The same bounds as for HTTP/1.1, and what h2 lets pass: the fields may be written as HTTP/1.1.
fn check_fields(headers: &HeaderMap, limits: &HeadLimits) -> Result<(), Refusal> {
    let too_large = |what: &'static str| Err(Refusal::new(Reason::HeaderTooLarge, what));
    if headers.len() > limits.fields_max {
        return too_large("there are more fields than `limits.fields_max` allows");
    }
    let mut total: usize = 0;
    for (name, value) in headers {
        if padded(value.as_bytes()) {
            let detail = "a field value begins or ends with white space";
            return Err(Refusal::new(Reason::HeaderInvalid, detail));
        }
        let line = line_bytes(name, value);
        if line > limits.line_bytes_max {
            return too_large("a field is longer than `limits.line_bytes_max` allows");
        }
        total = total.saturating_add(line);
    }
    if total > limits.head_bytes_max {
        return too_large("the fields are longer than `limits.head_bytes_max` allows");
    }
    Ok(())
}

/// The bytes of a field as a line of HTTP/1.1: with `: ` and CRLF.
pub fn line_bytes(name: &http::HeaderName, value: &http::HeaderValue) -> usize {
    name.as_str().len().saturating_add(value.len()).saturating_add(4)
}

/// Whether a value begins or ends with white space, which makes a message malformed
/// (RFC 9113 8.2.1).
pub fn padded(value: &[u8]) -> bool {
    let white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    white(value.first()) || white(value.last())
}

/// The authority and its host. `Host` may stand beside `:authority` only if it says the same
/// (RFC 9113 8.3.1).
fn authority_of(parts: &Parts) -> Result<(Option<String>, usize), Refusal> {
    let refuse = |what: &'static str| Refusal::new(Reason::AuthorityInvalid, what);
    let named = parts.uri.authority().map(http::uri::Authority::as_str);
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next().map(http::HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(refuse("there is more than one Host"));
    }
    let mut scratch = Vec::new();
    let mut canonical = |text: &[u8]| -> Result<(String, usize), Refusal> {
        scratch.clear();
        let found = authority::canonical(text, &mut scratch)
            .map_err(|_| refuse("the authority is not a host with perhaps a port"))?;
        let bytes = if found.in_scratch { &scratch[..] } else { text };
        let whole = bytes.get(found.start..found.end).unwrap_or_default();
        Ok((String::from_utf8_lossy(whole).into_owned(), found.host_end - found.start))
    };
    match (named, host) {
        (Some(named), host) => {
            let (text, host_len) = canonical(named.as_bytes())?;
            if let Some(host) = host
                && canonical(host)?.0 != text
            {
                return Err(refuse("Host and :authority differ"));
            }
            Ok(((text != named).then_some(text), host_len))
        }
        (None, Some(host)) => canonical(host).map(|(text, host_len)| (Some(text), host_len)),
        (None, None) => Err(refuse("there is neither :authority nor Host")),
    }
}

fn target_of(parts: &Parts, limits: &HeadLimits) -> Result<Option<(String, usize)>, Refusal> {
    // An absent path shows only here: `Uri::path` says `/` for it.
    if parts.uri.clone().into_parts().path_and_query.is_none() {
        // h2 asks for it only beside an `:authority`.
        return Err(Refusal::new(Reason::TargetInvalid, "there is no :path"));
    }
    let text = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    if text == "*" && parts.method == http::Method::OPTIONS {
        return Ok(None);
    }
    if text.len() > limits.target_bytes_max {
        let detail = "the target is longer than `limits.target_bytes_max` allows";
        return Err(Refusal::new(Reason::TargetTooLong, detail));
    }
    let mut scratch = Vec::new();
    let found = target::canonical(text.as_bytes(), &mut scratch).map_err(|_| {
        Refusal::new(Reason::TargetInvalid, "the path cannot be brought into canonical form")
    })?;
    let piece = |part: Canonical| match part {
        Canonical::Input(from, to) => text.get(from..to).unwrap_or_default(),
        Canonical::Scratch(from, to) => {
            std::str::from_utf8(scratch.get(from..to).unwrap_or_default()).unwrap_or_default()
        }
    };
    let path = piece(found.path);
    let canonical = match found.query.map(piece) {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let end = path.len();
    Ok((canonical != text).then_some((canonical, end)))
}

fn length_of(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match (digits.and_then(|text| text.parse().ok()), values.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(Refusal::new(Reason::FramingInvalid, "Content-Length is not one plain number")),
    }
}

/// Whether a field of a received head or trailer section may be passed on.
pub fn passes(name: &http::HeaderName, drops: crate::wire::field::KindSet) -> bool {
    !drops.contains(classify(name.as_str().as_bytes()))
}

/// Fields that may not stand in trailers (RFC 9110 6.5.1): they frame, route or authorise, or only
/// the gateway may write them. The same as in HTTP/1.1.
pub fn forbidden_in_trailers(name: &http::HeaderName) -> bool {
    const FORBIDDEN: KindSet = DROPPED_FROM_TRAILERS.with(REFUSED_IN_TRAILERS);
    FORBIDDEN.contains(classify(name.as_str().as_bytes()))
}
