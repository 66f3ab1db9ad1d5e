//! Operations, paths, hosts and names as people write them.
//!
//! Patterns are compared with **canonical** paths and hosts, so a pattern that no canonical path
//! can equal is refused here instead of never matching.

use super::model::{HostPattern, Operation, PathPattern};
use crate::wire::document::Text;
use crate::wire::fault::{Faults, quoted};
use crate::wire::field::{Kind, KindSet, classify};
use crate::wire::limits::{NAME_BYTES_MAX, PATTERN_BYTES_MAX};

/// What is wrong at a byte of the text, and how to mend it.
type Objection = (usize, String, String);

fn objection<T>(
    at: usize,
    what: impl Into<String>,
    mend: impl Into<String>,
) -> Result<T, Objection> {
    Err((at, what.into(), mend.into()))
}

fn report<T>(text: Text<'_>, parsed: Result<T, Objection>, faults: &mut Faults) -> Option<T> {
    parsed.map_err(|(at, what, mend)| faults.push(text.fault_inside(at, what, mend))).ok()
}

/// Parses `POST /v1/embed`, `GET /v1/items/{id}`, `* /static/*`.
pub(super) fn operation(text: Text<'_>, faults: &mut Faults) -> Option<Operation> {
    report(text, parse_operation(text.value), faults)
}

/// Parses a host: `api.example.org`, or `*.example.org` for one or more labels before it.
pub(super) fn host(text: Text<'_>, faults: &mut Faults) -> Option<HostPattern> {
    report(text, parse_host(text.value), faults)
}

/// Checks the name of a service, a route, a requirement: lower-case letters, digits, `.`, `-`, `_`.
pub(super) fn name<'d>(text: Text<'d>, noun: &str, faults: &mut Faults) -> Option<&'d str> {
    report(text, check_name(text.value, noun), faults).map(|()| text.value)
}

/// Checks a capability: a name, a slash, a major version: `embed.text/1`.
pub(super) fn capability<'d>(text: Text<'d>, faults: &mut Faults) -> Option<&'d str> {
    report(text, check_capability(text.value), faults).map(|()| text.value)
}

/// Checks a gRPC service's full name: `nme.v2.Embed`.
pub(super) fn grpc_service<'d>(text: Text<'d>, faults: &mut Faults) -> Option<&'d str> {
    report(text, check_grpc(text.value), faults).map(|()| text.value)
}

/// Checks the name of a header that speaks of the request, in lower case.
pub(super) fn header_name<'d>(text: Text<'d>, faults: &mut Faults) -> Option<&'d str> {
    report(text, check_header(text.value), faults).map(|()| text.value)
}

/// The name of any field, in lower case.
pub(super) fn field_name<'d>(text: Text<'d>, faults: &mut Faults) -> Option<&'d str> {
    report(text, check_token(text.value), faults).map(|()| text.value)
}

/// The name of a field that is kept in the trail, in lower case.
pub(super) fn obliged_field<'d>(text: Text<'d>, faults: &mut Faults) -> Option<&'d str> {
    report(text, check_obliged(text.value), faults).map(|()| text.value)
}

/// Whether a header can have this value as it stands: RFC 9110 5.5, what is left of a field value
/// after its outer white space is gone.
pub(super) fn is_field_value(text: &str) -> bool {
    let visible = text.bytes().all(|byte| (0x20..0x7F).contains(&byte));
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.trim() == text && visible
}

pub(super) fn kept_field<'d>(text: Text<'d>, faults: &mut Faults) -> Option<&'d str> {
    report(text, check_kept(text.value), faults).map(|()| text.value)
}

/// Fields that let whoever reads them act for the caller: no trail is read by the caller alone.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "set-cookie"];

/// What a rule may set or remove: nothing that frames the message, belongs to one hop, or is the
/// gateway's own to say.
fn check_obliged(text: &str) -> Result<(), Objection> {
    check_token(text)?;
    const FREE: KindSet = KindSet::of(&[
        Kind::Other,
        Kind::Authorization,
        Kind::Cookie,
        Kind::Tracestate,
        Kind::Date,
        Kind::Server,
    ]);
    if !FREE.contains(classify(text.as_bytes())) {
        let what = format!("{} is not for rules to set or remove", quoted(text));
        return objection(0, what, "take a field that speaks of the request, `x-tenant`");
    }
    Ok(())
}

fn check_kept(text: &str) -> Result<(), Objection> {
    check_token(text)?;
    if CREDENTIALS.contains(&text) {
        let what = format!("{} would put credentials into the trail", quoted(text));
        return objection(0, what, "keep a field that nobody can call with");
    }
    Ok(())
}

/// Fields that speak of the message or the connection, or have a key of their own: nothing about a
/// route can depend on them.
const HEADERS_REFUSED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn check_header(text: &str) -> Result<(), Objection> {
    check_token(text)?;
    if HEADERS_REFUSED.contains(&text) {
        let what = format!("a route cannot depend on {}", quoted(text));
        return objection(0, what, "take a header that speaks of the request");
    }
    Ok(())
}

fn check_token(text: &str) -> Result<(), Objection> {
    bounded(text, NAME_BYTES_MAX)?;
    let token = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    if text.is_empty() || !text.bytes().all(token) {
        let what = format!("{} is no header name", quoted(text));
        return objection(0, what, "write it in lower case: `x-tenant`");
    }
    Ok(())
}

fn bounded(text: &str, bytes_max: usize) -> Result<(), Objection> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    objection(
        0,
        format!("{} bytes are more than the {bytes_max} allowed", text.len()),
        "shorten it",
    )
}

fn parse_operation(text: &str) -> Result<Operation, Objection> {
    bounded(text, PATTERN_BYTES_MAX)?;
    let mend = "write a method and a path, `POST /v1/embed`, or `* /v1/embed` for every method";
    let Some((method, path)) = text.split_once(' ') else {
        return objection(0, format!("{} is no operation", quoted(text)), mend);
    };
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if method.is_empty() || !method.bytes().all(token) {
        return objection(0, format!("{} is no method", quoted(method)), mend);
    }
    let method = match method {
        "*" => None,
        // RFC 9110 9.1: methods are case-sensitive, and the registered ones are upper case.
        _ if method.bytes().any(|byte| byte.is_ascii_lowercase()) => {
            let upper = method.to_ascii_uppercase();
            let what = format!("methods are upper case, not {}", quoted(method));
            return objection(0, what, format!("write `{upper}`"));
        }
        "CONNECT" => return objection(0, "`CONNECT` has no path", "tunnels are not routed"),
        _ => Some(method.to_owned()),
    };
    let start = text.len() - path.len();
    let path = parse_path(path).map_err(|(at, what, mend)| (start + at, what, mend))?;
    Ok(Operation { method, path })
}

fn parse_path(path: &str) -> Result<PathPattern, Objection> {
    let Some(rest) = path.strip_prefix('/') else {
        return objection(0, format!("the path {} does not start with a slash", quoted(path)), "");
    };
    let mut segments = Vec::new();
    let mut parameters = Vec::new();
    let mut at = 1;
    let mut left = rest.split('/').peekable();
    while let Some(segment) = left.next() {
        let last = left.peek().is_none();
        if segment == "*" && last {
            if !parameters.is_empty() {
                let mend = "name the last segment, or drop the parameters";
                return objection(at, "a path with parameters cannot end in a star", mend);
            }
            let prefix = path.strip_suffix('*').unwrap_or(path);
            return Ok(PathPattern::Prefix(prefix.to_owned()));
        }
        if segment.is_empty() && !last {
            return objection(at, "an empty segment", "write one slash");
        }
        if let Some(parameter) = segment.strip_prefix('{') {
            check_parameter(parameter, at, &parameters)?;
            parameters.push(parameter);
            segments.push(None);
        } else {
            check_segment(segment, at)?;
            segments.push(Some(segment.to_owned()));
        }
        at += segment.len() + 1;
    }
    if parameters.is_empty() {
        Ok(PathPattern::Exact(path.to_owned()))
    } else {
        Ok(PathPattern::Template(segments))
    }
}

fn check_parameter(parameter: &str, at: usize, before: &[&str]) -> Result<(), Objection> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match parameter.strip_suffix('}') {
        Some(name) if !name.is_empty() && name.bytes().all(legal) => {
            if before.contains(&parameter) {
                return objection(at, format!("a second parameter {}", quoted(name)), "rename one");
            }
            Ok(())
        }
        _ => {
            let what = format!("{} is no parameter", quoted(&format!("{{{parameter}")));
            objection(at, what, "a parameter is a whole segment, `{name}`")
        }
    }
}

/// A literal segment in canonical form: RFC 3986 3.3 characters, percent-encoding only where it is
/// needed and in upper case, no dot segments.
fn check_segment(segment: &str, start: usize) -> Result<(), Objection> {
    if segment == "." || segment == ".." {
        let mend = "write the path that remains after resolving it";
        return objection(start, "a dot segment never reaches a service", mend);
    }
    let mut characters = segment.char_indices();
    while let Some((offset, character)) = characters.next() {
        let at = start + offset;
        match character {
            '%' => {
                check_escape(segment, offset, at)?;
                characters.nth(1);
            }
            'a'..='z' | 'A'..='Z' | '0'..='9' => {}
            '-' | '.' | '_' | '~' | '!' | '$' | '&' | '\'' | '(' | ')' | '+' | ',' | ';' | '='
            | ':' | '@' => {}
            '*' => {
                return objection(at, "a star stands only alone at the end", "write `/static/*`");
            }
            '?' | '#' => {
                let mend = "routes do not see the query; drop it";
                return objection(
                    at,
                    format!("{} ends a path", quoted(&character.to_string())),
                    mend,
                );
            }
            '{' | '}' => {
                let mend = "a parameter is a whole segment, `{name}`";
                return objection(at, "a brace inside a segment", mend);
            }
            other => {
                let shown = quoted(&other.to_string());
                return objection(
                    at,
                    format!("{shown} cannot stand in a path"),
                    "percent-encode it",
                );
            }
        }
    }
    Ok(())
}

fn check_escape(segment: &str, offset: usize, at: usize) -> Result<(), Objection> {
    let hex = segment.get(offset + 1..offset + 3).unwrap_or_default();
    let Some(byte) = u8::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+')) else {
        return objection(
            at,
            "a percent sign without two hex digits",
            "write `%25` for a percent sign",
        );
    };
    if byte == 0 || byte == b'/' {
        return objection(at, format!("`%{hex}` is refused in every request"), "drop it");
    }
    let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if unreserved {
        let mend = format!("write `{}`", char::from(byte));
        return objection(at, format!("`%{hex}` is decoded before paths are compared"), mend);
    }
    if hex.bytes().any(|digit| digit.is_ascii_lowercase()) {
        let mend = format!("write `%{}`", hex.to_ascii_uppercase());
        return objection(at, "escapes are compared in upper case", mend);
    }
    Ok(())
}

fn parse_host(text: &str) -> Result<HostPattern, Objection> {
    bounded(text, NAME_BYTES_MAX)?;
    let (suffix, labels) = match text.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let start = text.len() - labels.len();
    if let Some(inside) = labels.strip_prefix('[') {
        let address = inside.strip_suffix(']').and_then(|v6| v6.parse::<std::net::Ipv6Addr>().ok());
        return match address {
            Some(address) if !suffix && format!("[{address}]") == text => {
                Ok(HostPattern::Exact(text.to_owned()))
            }
            Some(address) => objection(
                start,
                "an IPv6 host in another than its short form",
                format!("write `[{address}]`"),
            ),
            None => objection(start, format!("{} is no IPv6 address", quoted(labels)), ""),
        };
    }
    let mut at = start;
    for label in labels.split('.') {
        let legal =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if label.is_empty() || label.len() > 63 || !label.bytes().all(legal) {
            let mend = "write lower-case labels without a port: `api.example.org`, `*.example.org`";
            return objection(at, format!("{} is no label of a host", quoted(label)), mend);
        }
        at += label.len() + 1;
    }
    Ok(if suffix {
        HostPattern::Suffix(format!(".{labels}"))
    } else {
        HostPattern::Exact(text.to_owned())
    })
}

fn check_name(text: &str, noun: &str) -> Result<(), Objection> {
    bounded(text, NAME_BYTES_MAX)?;
    let mend = "write lower-case letters, digits, `.`, `-`, `_`, starting with a letter or digit";
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    match text.find(|c: char| !legal(c)) {
        None if starts => Ok(()),
        at => objection(at.unwrap_or(0), format!("{} is no name of a {noun}", quoted(text)), mend),
    }
}

fn check_capability(text: &str) -> Result<(), Objection> {
    let mend = "write a name, a slash and the major version: `embed.text/1`";
    let Some((name, major)) = text.split_once('/') else {
        return objection(
            text.len(),
            format!("the capability {} has no version", quoted(text)),
            mend,
        );
    };
    check_name(name, "capability")?;
    let number = !major.starts_with('0') && major.bytes().all(|byte| byte.is_ascii_digit());
    if major.parse::<u32>().is_err() || !number {
        let what = format!("{} is no major version", quoted(major));
        return objection(name.len() + 1, what, mend);
    }
    Ok(())
}

fn check_grpc(text: &str) -> Result<(), Objection> {
    bounded(text, NAME_BYTES_MAX)?;
    let mend = "write the service with its package: `nme.v2.Embed`";
    let mut at = 0;
    for part in text.split('.') {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let starts = part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !starts || !part.bytes().all(legal) {
            let what = format!("{} is no part of a gRPC service's name", quoted(part));
            return objection(at, what, mend);
        }
        at += part.len() + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_read_as_written() {
        let path = |text| parse_operation(text).unwrap().path;
        assert_eq!(path("POST /v1/embed"), PathPattern::Exact("/v1/embed".into()));
        assert_eq!(path("GET /"), PathPattern::Exact("/".into()));
        assert_eq!(path("GET /a/"), PathPattern::Exact("/a/".into()));
        assert_eq!(path("GET /*"), PathPattern::Prefix("/".into()));
        assert_eq!(path("GET /static/*"), PathPattern::Prefix("/static/".into()));
        assert_eq!(path("GET /a%20b/c:d"), PathPattern::Exact("/a%20b/c:d".into()));
        let parts = vec![Some("items".into()), None, Some("parts".into())];
        assert_eq!(path("GET /items/{id}/parts"), PathPattern::Template(parts));
        assert_eq!(parse_operation("* /x").unwrap().method, None);
        assert_eq!(parse_operation("M-SEARCH /x").unwrap().method.as_deref(), Some("M-SEARCH"));
    }

    #[test]
    fn paths_no_request_can_have_are_refused_where_they_go_wrong() {
        let cases = [
            ("/v1", 0),
            ("post /v1", 0),
            ("POST  /v1", 5),
            ("POST v1", 5),
            ("P(ST /v1", 0),
            ("CONNECT /x", 0),
            ("GET /a//b", 7),
            ("GET /a/../b", 7),
            ("GET /a?b=1", 6),
            ("GET /a#b", 6),
            ("GET /a b", 6),
            ("GET /a%2Fb", 6),
            ("GET /a%00", 6),
            ("GET /a%41", 6),
            ("GET /a%3f", 6),
            ("GET /a%+1", 6),
            ("GET /a%é1", 6),
            ("GET /a%2", 6),
            ("GET /é", 5),
            ("GET /a*", 6),
            ("GET /*/a", 5),
            ("GET /{id", 5),
            ("GET /{}", 5),
            ("GET /{id}x", 5),
            ("GET /x{id}", 6),
            ("GET /{a}/{a}", 9),
            ("GET /{a}/*", 9),
        ];
        for (text, at) in cases {
            assert_eq!(parse_operation(text).expect_err(text).0, at, "{text}");
        }
        assert!(parse_operation(&format!("GET /{}", "x".repeat(PATTERN_BYTES_MAX))).is_err());
    }

    #[test]
    fn hosts_are_canonical_or_refused() {
        assert_eq!(parse_host("api.example.org"), Ok(HostPattern::Exact("api.example.org".into())));
        assert_eq!(parse_host("*.example.org"), Ok(HostPattern::Suffix(".example.org".into())));
        assert_eq!(parse_host("[::1]"), Ok(HostPattern::Exact("[::1]".into())));
        for text in [
            "API.example.org",
            "a..b",
            "",
            "a.",
            "*",
            "*.",
            "a.*.b",
            "a:80",
            "[::01]",
            "[x]",
            "*.[::1]",
        ] {
            assert!(parse_host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_and_capabilities_are_strict() {
        for text in ["nme.embed", "a", "0-x_y"] {
            assert!(check_name(text, "service").is_ok(), "{text}");
        }
        for text in ["", "Nme", "-a", ".a", "a/b", "a b", "é"] {
            assert!(check_name(text, "service").is_err(), "{text}");
        }
        assert!(check_capability("embed.text/1").is_ok());
        for text in
            ["embed", "embed/", "embed/01", "embed/0", "embed/1.2", "/1", "embed/+1", "embed/1/2"]
        {
            assert!(check_capability(text).is_err(), "{text}");
        }
        assert!(check_grpc("nme.v2.Embed").is_ok());
        for text in ["", "nme.", "nme.v2/Embed", "2a", "nme..x", "*"] {
            assert!(check_grpc(text).is_err(), "{text}");
        }
    }
}
