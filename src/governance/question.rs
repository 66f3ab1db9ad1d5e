//! What a hook is asked: one request, as Envoy's external authorization describes it.

use super::framing;
use super::proto::{
    Address, AttributeContext, CheckRequest, HttpRequest, Peer, Request, SocketAddress, Timestamp,
    TlsSession,
};
use crate::config::hook::{Hook, frames};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The one method of Envoy's authorization service.
pub const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// What Envoy tells a hook of whether a body is whole.
pub const PARTIAL: &str = "x-envoy-auth-partial-body";

/// One request as hooks are told of it.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    /// The request's id.
    pub id: &'a str,
    /// When it arrived, in ms since 1970.
    pub wall_ms: u64,
    /// The method.
    pub method: &'a str,
    /// The canonical target, path and query.
    pub target: &'a str,
    /// The canonical authority.
    pub authority: &'a str,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// `HTTP/1.1`
    pub protocol: &'static str,
    /// The declared bytes of its body.
    pub bytes: Option<u64>,
    /// Where it comes from.
    pub peer: Option<SocketAddr>,
    /// Where it arrived.
    pub local: Option<SocketAddr>,
    /// The caller's id.
    pub principal: &'a str,
    /// The caller's certificate in DER, where it showed one.
    pub certificate: Option<&'a [u8]>,
    /// The name that the connection was secured for.
    pub sni: Option<&'a str>,
    /// All fields.
    pub fields: &'a Fields,
    /// The beginning of its body, and whether that is all of it.
    pub body: Option<(&'a [u8], Whole)>,
}

impl Default for Described<'_> {
    fn default() -> Self {
        static NONE: Fields = Fields(BTreeMap::new());
        Self {
            id: "",
            wall_ms: 0,
            method: "",
            target: "",
            authority: "",
            scheme: "http",
            protocol: "HTTP/1.1",
            bytes: None,
            peer: None,
            local: None,
            principal: "",
            certificate: None,
            sni: None,
            fields: &NONE,
            body: None,
        }
    }
}

impl Described<'_> {
    /// The same with no more than this of the body.
    pub fn cut(&self, bytes_max: usize) -> Self {
        let body = self.body.filter(|_| bytes_max > 0);
        let body = body.map(|(bytes, whole)| match bytes.get(..bytes_max) {
            Some(start) if start.len() < bytes.len() => (start, Whole::No),
            _ => (bytes, whole),
        });
        Self { body, ..*self }
    }
}

/// Whether all of a body is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// It is.
    Yes,
    /// There is more.
    No,
}

/// The fields of a request, by name in lower case, repeated ones joined as RFC 9110 5.3 has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(BTreeMap<String, String>);

/// A field's value is not text: a hook would be asked about another request than the service gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoText;

impl Fields {
    /// Adds one field.
    ///
    /// # Errors
    /// When its value is not text.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), NoText> {
        let name = std::str::from_utf8(name).map_err(|_| NoText)?.to_ascii_lowercase();
        let value = std::str::from_utf8(value).map_err(|_| NoText)?;
        match self.0.get_mut(&name) {
            None => {
                self.0.insert(name, value.to_owned());
            }
            Some(before) => {
                before.push_str(if name == "cookie" { "; " } else { "," });
                before.push_str(value);
            }
        }
        Ok(())
    }

    /// The value of a field.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The values of a field under this name, or under one with `_` for `-`: some origins take the
    /// two for one.
    pub fn twins<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let folded = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        let twins = self.0.iter().filter(move |(known, _)| {
            known.len() == name.len()
                && known.bytes().zip(name.bytes()).all(|(a, b)| folded(a) == folded(b))
        });
        twins.map(|(_, value)| value.as_str())
    }

    /// Those with these names; all where `None`. What only the gateway tells hooks no caller does.
    fn listed(&self, names: Option<&[String]>) -> BTreeMap<String, String> {
        let mut listed = match names {
            None => self.0.clone(),
            Some(names) => {
                let listed = names.iter();
                listed.filter_map(|name| Some((name.clone(), self.0.get(name)?.clone()))).collect()
            }
        };
        listed.remove(PARTIAL);
        listed
    }
}

/// What is sent to a hook. Only this module makes one, out of a hook and a request: a call that
/// carries it cannot carry anything else to anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question(Vec<u8>);

impl Question {
    /// A `CheckRequest` with its prefix, as the one message of a unary call.
    pub fn grpc(hook: &Hook, described: &Described<'_>) -> Self {
        Self(framing::framed(&check_request(hook, described)))
    }

    /// The same over HTTP: the request's method and target, behind the hook's prefix, with the
    /// fields that the hook is to see, and the beginning of the body.
    pub fn http(hook: &Hook, described: &Described<'_>, authority: &str) -> Self {
        let mut out = Vec::with_capacity(512);
        let mut put = |parts: &[&str]| {
            parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        };
        put(&[described.method, " ", &hook.path_prefix, described.target, " HTTP/1.1\r\n"]);
        put(&["Host: ", authority, "\r\n"]);
        let (body, whole) = described.body.unwrap_or((&[], Whole::Yes));
        put(&["Content-Length: ", &body.len().to_string(), "\r\n"]);
        for (name, value) in described.fields.listed(hook.headers.as_deref()) {
            if !frames(&name) && !hook.context.contains_key(&name) {
                put(&[&name, ": ", &value, "\r\n"]);
            }
        }
        if described.body.is_some() {
            put(&[PARTIAL, ": ", if whole == Whole::No { "true" } else { "false" }, "\r\n"]);
        }
        for (name, value) in &hook.context {
            put(&[name, ": ", value, "\r\n"]);
        }
        put(&["\r\n"]);
        out.extend_from_slice(body);
        Self(out)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes, given away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The message without its prefix.
pub fn check_request(hook: &Hook, described: &Described<'_>) -> CheckRequest {
    let mut headers = described.fields.listed(hook.headers.as_deref());
    let (mut body, mut raw_body) = (String::new(), Vec::new());
    if let Some((bytes, whole)) = described.body {
        match std::str::from_utf8(bytes) {
            Ok(text) => body.push_str(text),
            Err(_) => raw_body.extend_from_slice(bytes),
        }
        let partial = if whole == Whole::No { "true" } else { "false" };
        headers.insert(PARTIAL.to_owned(), partial.to_owned());
    }
    if hook.headers.is_none() {
        // As Envoy's own map of all fields has them.
        let length = described.bytes.filter(|bytes| *bytes > 0).map(|bytes| bytes.to_string());
        let own = [
            (":method", Some(described.method)),
            (":path", Some(described.target)),
            (":authority", Some(described.authority)),
            (":scheme", Some(described.scheme)),
            ("content-length", length.as_deref()),
        ];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
        headers.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    let size = described.bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1);
    let http = HttpRequest {
        id: described.id.to_owned(),
        method: described.method.to_owned(),
        headers,
        header_map: None,
        path: described.target.to_owned(),
        host: described.authority.to_owned(),
        scheme: described.scheme.to_owned(),
        size,
        protocol: described.protocol.to_owned(),
        body,
        raw_body,
    };
    let (seconds, ms) = (described.wall_ms / 1000, described.wall_ms % 1000);
    let time = Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(ms * 1_000_000).unwrap_or(0),
    };
    let source = Peer {
        address: described.peer.map(address),
        principal: described.principal.to_owned(),
        certificate: described.certificate.map(url_pem).unwrap_or_default(),
        ..Peer::default()
    };
    let destination = Peer { address: described.local.map(address), ..Peer::default() };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(source),
            destination: Some(destination),
            request: Some(Request { time: Some(time), http: Some(http) }),
            context_extensions: hook.context.clone(),
            tls_session: described.sni.map(|sni| TlsSession { sni: sni.to_owned() }),
        }),
    }
}

fn address(address: SocketAddr) -> Address {
    let port_value = Some(u32::from(address.port()));
    let address = address.ip().to_canonical().to_string();
    Address { socket_address: Some(SocketAddress { protocol: 0, address, port_value }) }
}

/// A certificate as PEM (RFC 7468 3) with every byte but letters, digits and `-._~` escaped.
fn url_pem(der: &[u8]) -> String {
    const LINE_CHARS: usize = 64;
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(LINE_CHARS) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    let mut out = String::with_capacity(pem.len() + pem.len() / 8);
    for byte in pem.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_fields_are_joined_and_bytes_that_are_no_text_are_refused() {
        let mut fields = Fields::default();
        for (name, value) in [("Accept", "a"), ("accept", "b"), ("Cookie", "c=1"), ("cookie", "d")]
        {
            fields.add(name.as_bytes(), value.as_bytes()).unwrap();
        }
        assert_eq!(fields.value("accept"), Some("a,b"));
        assert_eq!(fields.value("cookie"), Some("c=1; d"));
        assert_eq!(fields.add(b"x", &[0xff]), Err(NoText));
    }

    #[test]
    fn a_certificate_is_percent_encoded_pem() {
        let text = url_pem(&[0xfb; 60]);
        assert!(text.starts_with("-----BEGIN%20CERTIFICATE-----%0A%2B%2Fv7"), "{text}");
        assert!(text.ends_with("%0A-----END%20CERTIFICATE-----%0A"), "{text}");
        assert_eq!(text.matches("%0A").count(), 4, "lines have 64 characters");
    }
}
