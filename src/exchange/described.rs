//! A request that another proxy describes in a `CheckRequest`, as routing and facts see it.
//!
//! What is described is made canonical and checked like what arrives: the other proxy may match
//! paths by other rules, and a path that has two readings is refused rather than guessed.

use super::refusal::{Reason, Refusal};
use super::view::Inbound;
use crate::governance::answer::{is_name, is_value};
use crate::governance::proto::{AttributeContext, CheckRequest, HttpRequest, Peer};
use crate::governance::question::{PARTIAL, Whole};
use crate::identity::Field;
use crate::snapshot::request::RequestView;
use crate::wire::authority;
use crate::wire::field::Kind;
use crate::wire::limits::{HEAD_FIELDS_CEILING, METHOD_BYTES_MAX, TARGET_BYTES_MAX};
use crate::wire::target::{self, Canonical};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A described request.
#[derive(Clone, Debug)]
pub struct DescribedRequest {
    method: String,
    authority: String,
    host_len: usize,
    path: String,
    query: Option<String>,
    /// In the order of their names.
    fields: Vec<(String, String)>,
    bytes: Option<u64>,
    /// The version, as `Via` says it.
    pub version: &'static str,
    /// Where it came from.
    pub peer: SocketAddr,
    /// Where it came to.
    pub local: Option<SocketAddr>,
    /// The beginning of its body, and whether that is all of it.
    pub body: Option<(Vec<u8>, Whole)>,
}

fn refuse<T>(reason: Reason, what: &'static str) -> Result<T, Refusal> {
    Err(Refusal::new(reason, what))
}

impl DescribedRequest {
    /// Reads a description.
    ///
    /// # Errors
    /// The refusal of the request that it describes.
    pub fn read(asked: CheckRequest) -> Result<Self, Refusal> {
        let AttributeContext { source, destination, request, .. } =
            asked.attributes.unwrap_or_default();
        let Some(http) = request.and_then(|request| request.http) else {
            return refuse(Reason::FramingInvalid, "no HTTP request is described");
        };
        let fields = fields_of(&http)?;
        if http.method.is_empty()
            || http.method.len() > METHOD_BYTES_MAX
            || !is_name(&http.method.to_ascii_lowercase())
        {
            return refuse(Reason::MethodRefused, "the method is no token");
        }
        if http.method == "CONNECT" {
            return refuse(Reason::MethodRefused, "CONNECT is not served");
        }
        let (authority, host_len) = authority_of(&http)?;
        let (path, query) = target_of(&http)?;
        let bytes = bytes_of(&http, &fields)?;
        let peer = source.and_then(socket_of);
        let local = destination.and_then(socket_of);
        let partial = fields.iter().any(|(name, value)| name == PARTIAL && value == "true");
        let whole = if partial { Whole::No } else { Whole::Yes };
        let body = if http.raw_body.is_empty() { http.body.into_bytes() } else { http.raw_body };
        Ok(Self {
            method: http.method,
            authority,
            host_len,
            path,
            query,
            fields,
            bytes,
            version: match http.protocol.as_str() {
                "HTTP/1.0" => "1.0",
                "HTTP/1.1" => "1.1",
                _ => "2.0",
            },
            // Nobody calls from there: a description without an address is of nobody known.
            peer: peer.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)),
            local,
            body: (!body.is_empty()).then_some((body, whole)),
        })
    }

    fn value(&self, name: &str) -> Option<&str> {
        let at = self.fields.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        self.fields.get(at).map(|(_, value)| value.as_str())
    }
}

fn socket_of(peer: Peer) -> Option<SocketAddr> {
    let address = peer.address?.socket_address?;
    let port = u16::try_from(address.port_value.unwrap_or(0)).ok()?;
    Some(SocketAddr::new(address.address.parse().ok()?, port))
}

/// The fields without pseudo-headers, sorted; repeated ones come joined or one by one.
fn fields_of(http: &HttpRequest) -> Result<Vec<(String, String)>, Refusal> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let listed = http.header_map.iter().flat_map(|map| &map.headers).map(|header| {
        let raw = String::from_utf8(header.raw_value.clone()).unwrap_or_else(|_| "\0".to_owned());
        (&header.key, if header.raw_value.is_empty() { header.value.clone() } else { raw })
    });
    let all = http.headers.iter().map(|(name, value)| (name, value.clone())).chain(listed);
    for (name, value) in all.filter(|(name, _)| !name.starts_with(':')) {
        let name = name.to_ascii_lowercase();
        if !is_name(&name) || !is_value(&value) {
            return refuse(Reason::HeaderInvalid, "a field that is described is none");
        }
        fields.push((name, value));
    }
    if fields.len() > HEAD_FIELDS_CEILING {
        return refuse(Reason::HeaderTooLarge, "more fields are described than a head may have");
    }
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields.dedup_by(|(name, value), (before, joined)| {
        let same = name == before;
        if same {
            joined.push_str(if name == "cookie" { "; " } else { "," });
            joined.push_str(value);
        }
        same
    });
    Ok(fields)
}

fn authority_of(http: &HttpRequest) -> Result<(String, usize), Refusal> {
    let mut scratch = Vec::new();
    let text = http.host.as_bytes();
    let Ok(found) = authority::canonical(text, &mut scratch) else {
        return refuse(Reason::AuthorityInvalid, "the host is not a host with perhaps a port");
    };
    let bytes = if found.in_scratch { &scratch[..] } else { text };
    let whole = bytes.get(found.start..found.end).unwrap_or_default();
    Ok((String::from_utf8_lossy(whole).into_owned(), found.host_end - found.start))
}

fn target_of(http: &HttpRequest) -> Result<(String, Option<String>), Refusal> {
    if http.path.len() > TARGET_BYTES_MAX {
        return refuse(Reason::TargetTooLong, "the target is too long");
    }
    let mut scratch = Vec::new();
    let found = target::canonical(http.path.as_bytes(), &mut scratch).map_err(|_| {
        Refusal::new(Reason::TargetInvalid, "the path cannot be brought into canonical form")
    })?;
    let piece = |part: Canonical| match part {
        Canonical::Input(from, to) => http.path.get(from..to).unwrap_or_default().to_owned(),
        Canonical::Scratch(from, to) => {
            String::from_utf8_lossy(scratch.get(from..to).unwrap_or_default()).into_owned()
        }
    };
    let path = piece(found.path);
    if path != http.path.split(['?', '#']).next().unwrap_or_default() {
        // The other proxy forwards what it has, and it would be decided on something else.
        return refuse(Reason::TargetInvalid, "the path is not in canonical form");
    }
    Ok((path, found.query.map(piece)))
}

/// What is known of the body's length. Without a length and a coding HTTP/1 has no body.
fn bytes_of(http: &HttpRequest, fields: &[(String, String)]) -> Result<Option<u64>, Refusal> {
    let named = |wanted: &str| fields.iter().find(|(name, _)| name == wanted);
    if let Some((_, value)) = named("content-length") {
        let plain = value.bytes().all(|byte| byte.is_ascii_digit());
        return match value.parse() {
            Ok(bytes) if plain => Ok(Some(bytes)),
            _ => refuse(Reason::FramingInvalid, "Content-Length is not one plain number"),
        };
    }
    let old = http.protocol.starts_with("HTTP/1");
    Ok((old && named("transfer-encoding").is_none()).then_some(0))
}

impl RequestView for DescribedRequest {
    fn method(&self) -> &str {
        &self.method
    }

    fn host(&self) -> &str {
        self.authority.get(..self.host_len).unwrap_or_default()
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.value(name)
    }

    fn body_bytes(&self) -> Option<u64> {
        self.bytes
    }
}

impl Inbound for DescribedRequest {
    fn each_value(&self, name: &str, with: &mut dyn FnMut(&[u8])) {
        self.value(name).into_iter().for_each(|value| with(value.as_bytes()));
    }

    fn authority(&self) -> &[u8] {
        self.authority.as_bytes()
    }

    /// Repeated fields come joined, and a credential that was joined is none.
    fn sole(&self, name: &str) -> Field<'_> {
        Field::of(self.value(name).map(str::as_bytes), None)
    }

    fn only(&self, _kind: Kind, name: &str) -> Option<&[u8]> {
        self.value(name).map(str::as_bytes)
    }

    fn each_field(&self, with: &mut dyn FnMut(&[u8], &[u8])) {
        self.fields.iter().for_each(|(name, value)| with(name.as_bytes(), value.as_bytes()));
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::proto::{Address, Peer, Request, SocketAddress};
    use std::collections::BTreeMap;

    fn described(method: &str, host: &str, path: &str, headers: &[(&str, &str)]) -> CheckRequest {
        let headers: BTreeMap<String, String> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let http = HttpRequest {
            method: method.to_owned(),
            host: host.to_owned(),
            path: path.to_owned(),
            protocol: "HTTP/1.1".to_owned(),
            headers,
            ..HttpRequest::default()
        };
        let socket_address = Some(SocketAddress {
            address: "192.0.2.7".to_owned(),
            port_value: Some(4711),
            protocol: 0,
        });
        let source = Peer { address: Some(Address { socket_address }), ..Peer::default() };
        let request = Some(Request { http: Some(http), time: None });
        let attributes = AttributeContext { source: Some(source), request, ..Default::default() };
        CheckRequest { attributes: Some(attributes) }
    }

    #[test]
    fn a_description_reads_as_the_request_itself_would() {
        let headers = [(":path", "/x"), ("content-length", "7"), ("X-Data-Class", "public")];
        let asked = described("POST", "API.example:8080", "/v1/a?b=c", &headers);
        let view = DescribedRequest::read(asked).unwrap();
        assert_eq!((view.method(), view.host(), view.path()), ("POST", "api.example", "/v1/a"));
        assert_eq!((view.query(), view.body_bytes()), (Some("b=c"), Some(7)));
        assert_eq!(view.header("x-data-class"), Some("public"));
        assert_eq!(view.header(":path"), None);
        assert_eq!(view.peer.to_string(), "192.0.2.7:4711");
        let bare = DescribedRequest::read(described("GET", "a", "/", &[])).unwrap();
        assert_eq!(bare.body_bytes(), Some(0));
        let chunked = [("transfer-encoding", "chunked")];
        let chunked = DescribedRequest::read(described("PUT", "a", "/", &chunked)).unwrap();
        assert_eq!(chunked.body_bytes(), None);
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        let reason = |asked| DescribedRequest::read(asked).unwrap_err().reason;
        for path in ["/a/../b", "/a%2fb", "//a/./b", "", "a", "/a#b", "/%61"] {
            assert_eq!(reason(described("GET", "a", path, &[])), Reason::TargetInvalid, "{path}");
        }
        assert_eq!(reason(described("GET", "", "/", &[])), Reason::AuthorityInvalid);
        assert_eq!(reason(described("GET", "a b", "/", &[])), Reason::AuthorityInvalid);
        assert_eq!(reason(described("G T", "a", "/", &[])), Reason::MethodRefused);
        assert_eq!(reason(described("CONNECT", "a", "/", &[])), Reason::MethodRefused);
        let length = described("GET", "a", "/", &[("content-length", "+7")]);
        assert_eq!(reason(length), Reason::FramingInvalid);
        assert_eq!(reason(described("GET", "a", "/", &[("x", "a\r\nb")])), Reason::HeaderInvalid);
        assert_eq!(reason(CheckRequest::default()), Reason::FramingInvalid);
    }
}
