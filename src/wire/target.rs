//! The canonical path and query of a request target (RFC 3986, RFC 9112 3.2).
//!
//! One normal form is matched, authorised, forwarded and recorded:
//! - percent-encoded unreserved bytes are decoded, other triplets get upper-case digits;
//! - `[ ] { } | ^` and the back quote, which browsers send bare, are encoded;
//! - dot segments, plain or encoded, are **refused** rather than merged: two origins disagree on
//!   what `/a/%2e%2e/b` is, so no merged form is safe to authorise. `..;x` counts as one, because
//!   servers that cut path parameters off see `..`;
//! - `%2F`, `%5C`, `%00`, `\`, `#`, control bytes and bytes above 126 are refused;
//! - empty segments (`//`) are kept.
//!
//! A query keeps its triplets as sent, since `%2F` and letter case mean there what the origin says.

/// Why a target is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetFault {
    /// It has neither origin form, nor absolute form, nor is it `*`.
    Form,
    /// A byte that may not stand in a target: control, space, above 126, `#`, `\`, `"`, `<`, `>`.
    Byte,
    /// A `%` without two hexadecimal digits.
    Percent,
    /// An encoded separator or NUL: `%2F`, `%5C`, `%00`.
    Encoded,
    /// A segment `.` or `..`, plain or encoded.
    DotSegment,
}

/// What a byte of a target asks of the scan.
const PLAIN: u8 = 0;
const DOT: u8 = 1;
const PERCENT: u8 = 2;
const QUERY: u8 = 3;
const ENCODE: u8 = 4;
const BAD: u8 = 5;

const CLASS: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    reason = "a byte is an index below 256; evaluated when compiled"
)]
const fn classes() -> [u8; 256] {
    let mut table = [BAD; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'.' => DOT,
            b'%' => PERCENT,
            b'?' => QUERY,
            b'[' | b']' | b'{' | b'}' | b'|' | b'^' | b'`' => ENCODE,
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'~'
            | b'!'
            | b'$'
            | b'&'
            | b'\''
            | b'('
            | b')'
            | b'*'
            | b'+'
            | b','
            | b';'
            | b'='
            | b':'
            | b'@'
            | b'/' => PLAIN,
            _ => BAD,
        };
        byte += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "a byte is an index below 256")]
const fn class(byte: u8) -> u8 {
    CLASS[byte as usize]
}

/// A canonical part of a target: a range of what was given, or text written to the scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canonical {
    /// It was canonical as sent; the range is of the input.
    Input(usize, usize),
    /// Its canonical form lies in this range of the scratch buffer.
    Scratch(usize, usize),
}

/// A path and perhaps a query in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The path, beginning with `/`.
    pub path: Canonical,
    /// The query without its `?`; `None` where there is no `?`.
    pub query: Option<Canonical>,
}

/// Brings `text`, a path that begins with `/` and perhaps a query, into canonical form. What is
/// not canonical as sent is appended to `scratch`.
///
/// # Errors
/// The first [`TargetFault`] met.
pub fn canonical(text: &[u8], scratch: &mut Vec<u8>) -> Result<Target, TargetFault> {
    if text.first() != Some(&b'/') {
        return Err(TargetFault::Form);
    }
    let mut dots = false;
    let mut rewrite = false;
    let mut end = text.len();
    for (at, byte) in text.iter().enumerate() {
        match class(*byte) {
            PLAIN => {}
            DOT => dots = true,
            PERCENT | ENCODE => rewrite = true,
            QUERY => {
                end = at;
                break;
            }
            _ => return Err(TargetFault::Byte),
        }
    }
    let raw = text.get(..end).unwrap_or_default();
    let path = if rewrite {
        let start = scratch.len();
        rewrite_path(raw, scratch)?;
        Canonical::Scratch(start, scratch.len())
    } else {
        Canonical::Input(0, end)
    };
    if dots || rewrite {
        refuse_dot_segments(match path {
            Canonical::Input(..) => raw,
            Canonical::Scratch(from, to) => scratch.get(from..to).unwrap_or_default(),
        })?;
    }
    let query =
        if end < text.len() { Some(canonical_query(text, end + 1, scratch)?) } else { None };
    Ok(Target { path, query })
}

fn rewrite_path(raw: &[u8], out: &mut Vec<u8>) -> Result<(), TargetFault> {
    let mut rest = raw;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match class(*byte) {
            PERCENT => {
                let [high, low, after @ ..] = tail else { return Err(TargetFault::Percent) };
                let (Some(high), Some(low)) = (nibble(*high), nibble(*low)) else {
                    return Err(TargetFault::Percent);
                };
                rest = after;
                match high << 4 | low {
                    0 | b'/' | b'\\' => return Err(TargetFault::Encoded),
                    plain if is_unreserved(plain) => out.push(plain),
                    other => push_triplet(out, other),
                }
            }
            ENCODE => push_triplet(out, *byte),
            _ => out.push(*byte),
        }
    }
    Ok(())
}

fn refuse_dot_segments(path: &[u8]) -> Result<(), TargetFault> {
    let is_dots = |segment: &[u8]| {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        name == b"." || name == b".."
    };
    if path.split(|byte| *byte == b'/').any(is_dots) {
        return Err(TargetFault::DotSegment);
    }
    Ok(())
}

fn canonical_query(
    text: &[u8],
    start: usize,
    scratch: &mut Vec<u8>,
) -> Result<Canonical, TargetFault> {
    let raw = text.get(start..).unwrap_or_default();
    let mut encode = false;
    let mut digits_due = 0;
    for byte in raw {
        if digits_due > 0 {
            if nibble(*byte).is_none() {
                return Err(TargetFault::Percent);
            }
            digits_due -= 1;
            continue;
        }
        match class(*byte) {
            PLAIN | DOT | QUERY => {}
            PERCENT => digits_due = 2,
            ENCODE => encode = true,
            _ => return Err(TargetFault::Byte),
        }
    }
    if digits_due > 0 {
        return Err(TargetFault::Percent);
    }
    if !encode {
        return Ok(Canonical::Input(start, text.len()));
    }
    let from = scratch.len();
    for byte in raw {
        if class(*byte) == ENCODE {
            push_triplet(scratch, *byte);
        } else {
            scratch.push(*byte);
        }
    }
    Ok(Canonical::Scratch(from, scratch.len()))
}

fn push_triplet(out: &mut Vec<u8>, byte: u8) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + (value - 10) };
    out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
}

const fn nibble(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

const fn is_unreserved(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
}
