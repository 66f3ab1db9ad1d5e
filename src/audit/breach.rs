//! `F`: a promise that a service makes whatever the request, from when on it was found broken and
//! from when on no longer.

use super::record::{HEADER_BYTES, Place, begin, put_texts};
use std::borrow::Cow;

/// Bytes of it without the service's id.
pub const BREACH_BYTES: usize = HEADER_BYTES + 24 + 8 + 2 + 8 + 4 + 16 + 2;
/// What stands for the bound of a promise that has none.
const NO_BOUND: u64 = 0;

/// What became of a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// What was seen breaks it.
    Broken,
    /// What was seen keeps it again.
    Kept,
    /// It is held against nothing any more: the service is gone, or promises otherwise.
    Over,
}

impl Became {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Broken, Self::Kept, Self::Over];

    /// The byte for it.
    pub fn code(self) -> u8 {
        match self {
            Self::Broken => 0,
            Self::Kept => 1,
            Self::Over => 2,
        }
    }

    /// What a byte stands for.
    pub fn of(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Kept => "kept",
            Self::Over => "over",
        }
    }
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach<'a> {
    /// Milliseconds since 1970 between which it was seen.
    pub window_ms: [u64; 2],
    /// When the first window began that broke it, in the same.
    pub since_ms: u64,
    /// The landscape's version as it was recorded.
    pub landscape: u32,
    /// The service's number in it; `u32::MAX` where it is not there any more.
    pub service: u32,
    /// What became of it.
    pub became: Became,
    /// Of a latency the time within which answers are promised to begin, in ns; `None` is of the
    /// availability.
    pub within_ns: Option<u64>,
    /// Of a million calls so many may be otherwise.
    pub except_ppm: u32,
    /// Calls that were seen, and of these such that were otherwise.
    pub seen: [u64; 2],
    /// The service's id.
    pub id: Cow<'a, [u8]>,
}

impl Breach<'_> {
    /// Appends its record.
    pub fn encode(&self, out: &mut Vec<u8>, place: Place) {
        begin(out, b'F', BREACH_BYTES + self.id.len(), place);
        self.window_ms.iter().for_each(|it| out.extend_from_slice(&it.to_le_bytes()));
        out.extend_from_slice(&self.since_ms.to_le_bytes());
        out.extend_from_slice(&self.landscape.to_le_bytes());
        out.extend_from_slice(&self.service.to_le_bytes());
        out.extend_from_slice(&[self.became.code(), u8::from(self.within_ns.is_none())]);
        out.extend_from_slice(&self.within_ns.unwrap_or(NO_BOUND).to_le_bytes());
        out.extend_from_slice(&self.except_ppm.to_le_bytes());
        self.seen.iter().for_each(|it| out.extend_from_slice(&it.to_le_bytes()));
        put_texts(out, &[&self.id]);
    }

    /// The bound of a promise that is of this kind, as a record has it.
    pub(super) fn bound(kind: u8, within_ns: u64) -> Option<Option<u64>> {
        match (kind, within_ns) {
            (0, within_ns) => Some(Some(within_ns)),
            (1, NO_BOUND) => Some(None),
            _ => None,
        }
    }

    /// `latency(50ms)`, `availability`.
    pub fn promise(&self) -> String {
        match self.within_ns {
            None => "availability".to_owned(),
            Some(ns) if ns.is_multiple_of(1_000_000) => format!("latency({}ms)", ns / 1_000_000),
            Some(ns) => format!("latency({}us)", ns / 1_000),
        }
    }
}
