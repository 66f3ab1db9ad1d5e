//! Peer certificates: whom a certificate names. That it is to be trusted, TLS has decided before.
//!
//! The first of these that a certificate has, and never another one when that is malformed:
//! ```text
//!   URI SAN spiffe://td/path   ▶ as it is       X.509-SVID 2: then it is the only URI
//!   the first DNS SAN          ▶ dns:host       no wildcard: nobody is called `*`
//!   the subject                ▶ subject:CN=…   as RFC 4514 writes it
//! ```

use super::{Identified, IdentityError, Method, evidence};
use crate::wire::limits::{NAME_BYTES_MAX, PRINCIPAL_BYTES_MAX};
use std::fmt::Write as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

type Outcome<T> = Result<T, IdentityError>;

fn refused<T>(why: &'static str) -> Outcome<T> {
    Err(IdentityError::Invalid(why))
}

/// Whom the DER of a certificate names: its one SPIFFE id, else its first DNS name, else its
/// subject.
pub fn certificate(der: &[u8]) -> Outcome<Identified> {
    let Ok((&[], parsed)) = x509_parser::parse_x509_certificate(der) else {
        return refused("the peer certificate cannot be read");
    };
    let id = name(&parsed)?;
    if id.len() > PRINCIPAL_BYTES_MAX {
        return refused("the peer certificate's name is too long");
    }
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    let validity = parsed.validity();
    Ok(Identified {
        id: id.into(),
        method: Method::PeerCertificate,
        evidence: evidence("certificate", der),
        facts: Vec::new(),
        from_s: seconds(validity.not_before),
        // RFC 5280 4.1.2.5: `notAfter` itself still counts.
        expires_s: Some(seconds(validity.not_after).saturating_add(1)),
    })
}

fn name(parsed: &X509Certificate<'_>) -> Outcome<String> {
    let Ok(extension) = parsed.subject_alternative_name() else {
        return refused("the peer certificate's alternative names cannot be read");
    };
    let names = extension.map_or(&[][..], |extension| extension.value.general_names.as_slice());
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    if uris.clone().any(|uri| uri.get(..7).is_some_and(|it| it.eq_ignore_ascii_case("spiffe:"))) {
        return match (uris.next(), uris.next()) {
            (Some(uri), None) if is_spiffe_id(uri) => Ok(uri.to_owned()),
            (Some(_), None) => refused("the peer certificate's SPIFFE id is malformed"),
            _ => refused("the peer certificate has a SPIFFE id and another URI"),
        };
    }
    let dns = names.iter().find_map(|name| match name {
        GeneralName::DNSName(host) => Some(*host),
        _ => None,
    });
    match dns {
        Some(host) if is_host(host) => Ok(format!("dns:{}", host.to_ascii_lowercase())),
        Some(_) => refused("the peer certificate's DNS name names no one host"),
        None => {
            let subject = subject(parsed.subject());
            let named = subject.filter(|text| !text.is_empty());
            named.map_or(refused("the peer certificate names nobody"), |text| {
                Ok(format!("subject:{text}"))
            })
        }
    }
}

/// SPIFFE-ID 2: `spiffe://`, a trust domain in lower case, and for a workload (X.509-SVID 5.2) a
/// path whose segments are neither empty nor dots. Nothing is escaped or has two spellings.
fn is_spiffe_id(uri: &str) -> bool {
    let Some((domain, path)) = uri.strip_prefix("spiffe://").and_then(|it| it.split_once('/'))
    else {
        return false;
    };
    let in_domain =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    let in_path = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let segment =
        |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(in_path);
    !domain.is_empty()
        && domain.len() <= 255
        && domain.bytes().all(in_domain)
        && path.split('/').all(segment)
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    host.len() <= NAME_BYTES_MAX && host.split('.').all(label)
}

/// RFC 4514 2.1: the last name first, commas between them and `+` within one. `None` where it has a
/// value that is no string.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for relative in name.iter_rdn() {
        let attributes: Option<Vec<String>> = relative.iter().map(attribute).collect();
        parts.push(attributes?.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let oid = attribute.attr_type().to_id_string();
    // The short names that RFC 4514 3 lists; every other type is written by its number.
    let short = match oid.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.6" => "C",
        "2.5.4.9" => "STREET",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        other => other,
    };
    Some(format!("{short}={}", escaped(attribute.as_str().ok()?)))
}

/// RFC 4514 2.4; control bytes are written by their number too.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            '#' if at == 0 => out.push_str("\\#"),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            control if control.is_control() => {
                let mut bytes = [0; 4];
                for byte in control.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "\\{byte:02X}");
                }
            }
            other => out.push(other),
        }
    }
    out
}
