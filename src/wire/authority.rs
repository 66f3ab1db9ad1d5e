//! The canonical authority: a host in lower case and perhaps a port (RFC 3986 3.2, RFC 9110 4.2.3).
//!
//! Narrower than the grammar on purpose, because routes and policies are keyed by it: a host is a
//! name of letters, digits, `-`, `_`, `~` and `.`, or an IPv4 address, or an IPv6 literal in
//! brackets without a zone. Percent-encoding, sub-delimiters and user information are refused. One
//! trailing dot and an empty port are dropped.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

/// Why an authority is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthorityFault {
    /// There is no host.
    Empty,
    /// It names a user: `user@host`.
    UserInfo,
    /// The host is not a name, an IPv4 address or an IPv6 literal.
    Host,
    /// The port is not a number from 1 to 65535 without leading zeros.
    Port,
}

/// An authority whose canonical text the caller can take from its input or from the scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Where the canonical `host` or `host:port` lies: in the scratch if true, else in the input.
    pub in_scratch: bool,
    /// Start of the canonical text.
    pub start: usize,
    /// End of the host within the same bytes.
    pub host_end: usize,
    /// End of the canonical text; equals `host_end` when there is no port.
    pub end: usize,
    /// The port, where one is given.
    pub port: Option<u16>,
}

/// Names above this are not DNS names (RFC 1035 2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// Brings `text` into canonical form; appended to `scratch` only where it is not canonical as sent.
///
/// # Errors
/// The first [`AuthorityFault`] met.
pub fn canonical(text: &[u8], scratch: &mut Vec<u8>) -> Result<Authority, AuthorityFault> {
    if text.first() == Some(&b'[') {
        return literal(text, scratch);
    }
    let mut upper = false;
    let mut host_end = text.len();
    let mut before = b'.';
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {}
            b'A'..=b'Z' => upper = true,
            b'.' if before != b'.' => {}
            b':' => {
                host_end = at;
                break;
            }
            _ if text.contains(&b'@') => return Err(AuthorityFault::UserInfo),
            _ => return Err(AuthorityFault::Host),
        }
        before = *byte;
    }
    let rest = text.get(host_end..).unwrap_or_default();
    let port = port(rest)?;
    let host = text.get(..host_end).unwrap_or_default();
    let name = host.strip_suffix(b".").unwrap_or(host);
    if name.is_empty() {
        return Err(if text.is_empty() { AuthorityFault::Empty } else { AuthorityFault::Host });
    }
    if name.len() > HOST_BYTES_MAX {
        return Err(AuthorityFault::Host);
    }
    let bare_colon = port.is_none() && !rest.is_empty();
    if upper || name.len() < host.len() {
        let start = scratch.len();
        scratch.extend(name.iter().map(u8::to_ascii_lowercase));
        return Ok(finish(scratch, start, port, rest));
    }
    let end = if bare_colon { host_end } else { text.len() };
    Ok(Authority { in_scratch: false, start: 0, host_end, end, port })
}

fn literal(text: &[u8], scratch: &mut Vec<u8>) -> Result<Authority, AuthorityFault> {
    let close = text.iter().position(|byte| *byte == b']').ok_or(AuthorityFault::Host)?;
    let inside = text.get(1..close).unwrap_or_default();
    let rest = text.get(close + 1..).unwrap_or_default();
    let address: Ipv6Addr = std::str::from_utf8(inside)
        .ok()
        .and_then(|inside| inside.parse().ok())
        .ok_or(AuthorityFault::Host)?;
    let port = port(rest)?;
    let start = scratch.len();
    let mut name = String::with_capacity(41);
    // Writing to a string cannot fail.
    let _ = write!(name, "[{address}]");
    scratch.extend_from_slice(name.as_bytes());
    Ok(finish(scratch, start, port, rest))
}

fn finish(scratch: &mut Vec<u8>, start: usize, port: Option<u16>, rest: &[u8]) -> Authority {
    let host_end = scratch.len();
    if port.is_some() {
        scratch.extend_from_slice(rest);
    }
    Authority { in_scratch: true, start, host_end, end: scratch.len(), port }
}

/// The port in `rest`, which is empty or begins with `:`.
fn port(rest: &[u8]) -> Result<Option<u16>, AuthorityFault> {
    let digits = match rest {
        [] | [b':'] => return Ok(None),
        [b':', digits @ ..] => digits,
        _ => return Err(AuthorityFault::Host),
    };
    if digits.contains(&b'@') {
        return Err(AuthorityFault::UserInfo);
    }
    if digits.len() > 5 || digits.first() == Some(&b'0') || !digits.iter().all(u8::is_ascii_digit) {
        return Err(AuthorityFault::Port);
    }
    let number = digits.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    u16::try_from(number).map(Some).map_err(|_| AuthorityFault::Port)
}
