//! Semantic versions as numbers, and version ranges as intervals of them.
//!
//! A version's core is one number (21 bits each for major, minor and patch); whether it is a
//! pre-release is a separate bool. Ranges never admit a pre-release, so a range is exactly
//! `core ∈ intervals ∧ ¬pre`: two monadic atoms. A comparator that names a pre-release would break
//! that and is refused.

use super::complaint::{Objection, quoted};
use super::set::{Numbers, Set};

/// Bits of each of major, minor and patch.
const COMPONENT_BITS: u32 = 21;
/// The largest component.
const COMPONENT_MAX: i64 = (1 << COMPONENT_BITS) - 1;
/// The largest core.
pub const CORE_MAX: i64 = i64::MAX;
const _: () = assert!(COMPONENT_BITS * 3 == 63);

/// A version: its core as one number, and whether it is a pre-release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// `major << 42 | minor << 21 | patch`.
    pub core: i64,
    /// Whether it has a pre-release tag.
    pub pre: bool,
}

/// A parsed range: the cores it admits (as releases only) and its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// The admitted cores, one interval or none.
    pub cores: Set,
    /// As written.
    pub text: String,
}

impl Version {
    /// Parses `major.minor.patch[-pre][+build]` (semver.org 2.0.0).
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("{} is not a version such as `1.4.2`", quoted(text));
        let (text_core, build) = cut(text, '+');
        let (text_core, pre) = cut(text_core, '-');
        if build.is_some_and(|build| !identifiers(build, Zeros::Allowed))
            || pre.is_some_and(|pre| !identifiers(pre, Zeros::Refused))
        {
            return Err(fault());
        }
        let mut parts = text_core.split('.');
        let (Some(major), Some(minor), Some(patch), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(fault());
        };
        let core = pack(component(major)?, component(minor)?, component(patch)?);
        Ok(Self { core, pre: pre.is_some() })
    }
}

/// Shows a core as `1.4.2`.
pub fn show_core(core: i64) -> String {
    let part = |shift: u32| (core >> shift) & COMPONENT_MAX;
    format!("{}.{}.{}", part(2 * COMPONENT_BITS), part(COMPONENT_BITS), part(0))
}

/// The text of a range that admits exactly the closed interval of cores.
pub fn show_range(low: i64, high: i64) -> String {
    match (low, high) {
        (0, CORE_MAX) => "*".into(),
        (low, high) if low == high => format!("={}", show_core(low)),
        (0, high) => format!("<{}", show_core(high + 1)),
        (low, CORE_MAX) => format!(">={}", show_core(low)),
        (low, high) => format!(">={}, <{}", show_core(low), show_core(high + 1)),
    }
}

impl Range {
    /// Parses a comma list of comparators with Cargo's meaning; a bare version is a caret.
    pub fn parse(text: &str) -> Result<Self, Objection> {
        let mend = || "write for example `^1.4` or `>=1.2, <2`".to_owned();
        let (mut low, mut high) = (0, CORE_MAX);
        if !matches!(text.trim_matches(' '), "*" | "x" | "X") {
            for comparator in text.split(',') {
                let Some((from, to)) =
                    interval(comparator.trim_matches(' ')).map_err(|what| (what, mend()))?
                else {
                    (low, high) = (1, 0);
                    continue;
                };
                (low, high) = (low.max(from), high.min(to));
            }
        }
        if low > high {
            return Err((format!("the range {} admits no version", quoted(text)), mend()));
        }
        Ok(Self { cores: Set::Numbers(Numbers::new([(low, high)])), text: text.to_owned() })
    }
}

/// The closed interval of cores that one comparator admits, `None` when it admits none.
fn interval(comparator: &str) -> Result<Option<(i64, i64)>, String> {
    let (operator, rest) = operator(comparator);
    let rest = rest.trim_start_matches(' ');
    if cut(rest, '+').0.contains('-') {
        return Err(format!("{} names a pre-release, and ranges never do", quoted(comparator)));
    }
    let (core, build) = cut(rest, '+');
    let (major, minor, patch) = partial(core).map_err(|what| {
        if what.is_empty() {
            format!("{} is not a version comparator", quoted(comparator))
        } else {
            what
        }
    })?;
    if build.is_some_and(|build| patch.is_none() || !identifiers(build, Zeros::Allowed)) {
        return Err(format!("{} is not a version comparator", quoted(comparator)));
    }
    // The block of versions that agree with every given component.
    let first = pack(major, minor.unwrap_or(0), patch.unwrap_or(0));
    let last = pack(major, minor.unwrap_or(COMPONENT_MAX), patch.unwrap_or(COMPONENT_MAX));
    let last_of_major = pack(major, COMPONENT_MAX, COMPONENT_MAX);
    let last_of_minor = pack(major, minor.unwrap_or(COMPONENT_MAX), COMPONENT_MAX);
    Ok(match operator {
        Operator::Exact => Some((first, last)),
        Operator::Greater => last.checked_add(1).map(|next| (next, CORE_MAX)),
        Operator::GreaterEqual => Some((first, CORE_MAX)),
        Operator::Less => (first > 0).then(|| (0, first - 1)),
        Operator::LessEqual => Some((0, last)),
        Operator::Tilde => Some((first, last_of_minor)),
        Operator::Caret if major > 0 || minor.is_none() => Some((first, last_of_major)),
        Operator::Caret if minor.is_some_and(|minor| minor > 0) || patch.is_none() => {
            Some((first, last_of_minor))
        }
        Operator::Caret => Some((first, last)),
    })
}

enum Operator {
    Exact,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Tilde,
    Caret,
}

/// A bare version is a caret, unless it holds a wildcard: then its given components are exact.
fn operator(text: &str) -> (Operator, &str) {
    for (sign, operator) in [
        (">=", Operator::GreaterEqual),
        ("<=", Operator::LessEqual),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("=", Operator::Exact),
        ("~", Operator::Tilde),
        ("^", Operator::Caret),
    ] {
        if let Some(rest) = text.strip_prefix(sign) {
            return (operator, rest);
        }
    }
    let wild = text.split('.').any(wildcard);
    (if wild { Operator::Exact } else { Operator::Caret }, text)
}

type Partial = (i64, Option<i64>, Option<i64>);

/// `1`, `1.2`, `1.2.3`, `1.*`, `1.2.x`; an error without text is one of shape.
fn partial(text: &str) -> Result<Partial, String> {
    let mut parts = text.split('.');
    let major = component(parts.next().unwrap_or_default())?;
    let mut given = [None, None];
    let mut open = false;
    for (slot, part) in given.iter_mut().zip(parts.by_ref()) {
        if wildcard(part) {
            open = true;
        } else if open {
            return Err(String::new());
        } else {
            *slot = Some(component(part)?);
        }
    }
    let [minor, patch] = given;
    if parts.next().is_some() { Err(String::new()) } else { Ok((major, minor, patch)) }
}

fn wildcard(part: &str) -> bool {
    matches!(part, "*" | "x" | "X")
}

/// Digits without a leading zero, within 21 bits.
fn component(text: &str) -> Result<i64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return Err(format!("{} is not a version component", quoted(text)));
    }
    match text.parse::<i64>() {
        Ok(number) if number <= COMPONENT_MAX => Ok(number),
        _ => Err(format!("{} is above {COMPONENT_MAX}", quoted(text))),
    }
}

fn pack(major: i64, minor: i64, patch: i64) -> i64 {
    (major << (2 * COMPONENT_BITS)) | (minor << COMPONENT_BITS) | patch
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(head, tail)| (head, Some(tail)))
}

#[derive(Clone, Copy)]
enum Zeros {
    Allowed,
    Refused,
}

/// Dot-separated identifiers of semver: pre-release numbers have no leading zeros, build ones may.
fn identifiers(text: &str, zeros: Zeros) -> bool {
    text.split('.').all(|part| {
        let legal = !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let padded = part.len() > 1
            && part.starts_with('0')
            && part.bytes().all(|byte| byte.is_ascii_digit());
        legal && !(padded && matches!(zeros, Zeros::Refused))
    })
}
