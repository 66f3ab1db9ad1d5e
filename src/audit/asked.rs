//! `H`: what a governance hook said of the request that the next decision of its lane is about.

use super::record::{HEADER_BYTES, Place, begin};

/// Bytes of its record.
pub const ASKED_BYTES: usize = HEADER_BYTES + 28;

/// What one hook said, for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its number in the landscape.
    pub hook: u16,
    /// What came of asking it.
    pub came: Came,
    /// Whether the answer was kept from an earlier request.
    pub cached: bool,
    /// The first half of the SHA-256 of the answer's bytes; zeros where none came.
    pub digest: [u8; 16],
    /// Nanoseconds from the question to the answer.
    pub took_ns: u64,
}

/// What came of asking a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It allows the request.
    Allow,
    /// It does not.
    Deny,
    /// Silence, an error or nonsense: the request is refused.
    Unavailable,
    /// The same, and the operator chose that it opens.
    Open,
}

impl Came {
    /// The byte for it.
    pub fn code(self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Deny => 1,
            Self::Unavailable => 2,
            Self::Open => 3,
        }
    }

    /// What a byte stands for.
    pub fn of(code: u8) -> Option<Self> {
        [Self::Allow, Self::Deny, Self::Unavailable, Self::Open].get(usize::from(code)).copied()
    }

    /// Whether the request goes on.
    pub fn passes(self) -> bool {
        match self {
            Self::Allow | Self::Open => true,
            Self::Deny | Self::Unavailable => false,
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Unavailable => "unavailable",
            Self::Open => "open",
        }
    }
}

impl Asked {
    /// Appends its record.
    pub fn encode(&self, out: &mut Vec<u8>, place: Place) {
        begin(out, b'H', ASKED_BYTES, place);
        out.extend_from_slice(&self.hook.to_le_bytes());
        out.extend_from_slice(&[self.came.code(), u8::from(self.cached)]);
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(&self.took_ns.to_le_bytes());
    }
}
