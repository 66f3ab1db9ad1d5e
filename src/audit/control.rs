//! `M` and `Q`: what was asked of the control plane, and who looked for services.

use super::record::{HEADER_BYTES, Hash, Place, begin, put_texts};
use std::borrow::Cow;

/// Bytes of a change without its texts.
pub const CHANGED_BYTES: usize = HEADER_BYTES + 8 + 16 + 8 + 1 + 32 + 10;
/// Bytes of a query without its texts and rows.
pub const QUERIED_BYTES: usize = HEADER_BYTES + 8 + 4 + 4 + 4 + 4 + 6;
/// Bytes that each text of these records has at most; longer ones are cut.
pub const TEXT_BYTES_MAX: usize = 4_000;
/// In a query's row: whoever asked may not see this service.
pub const HIDDEN: u16 = 0xFFFE;
/// Services of one query that are kept one by one; the others are counted.
pub const ROWS_MAX: usize = 8_000;

/// What came of a change that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It was made.
    Made,
    /// Everything was so already.
    Already,
    /// It was refused.
    Refused,
}

impl Came {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Made, Self::Already, Self::Refused];

    /// The byte for it.
    pub fn code(self) -> u8 {
        match self {
            Self::Made => 0,
            Self::Already => 1,
            Self::Refused => 2,
        }
    }

    /// What a byte stands for.
    pub fn of(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Already => "already",
            Self::Refused => "refused",
        }
    }
}

/// `M`: a change of the control plane, made or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<'a> {
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// The registry's revision before and behind it.
    pub registry: [u64; 2],
    /// The landscape's version before and behind it.
    pub landscape: [u32; 2],
    /// What came of it.
    pub came: Came,
    /// The SHA-256 of the document; zeros where there is none.
    pub document: Hash,
    /// What was asked for.
    pub action: Cow<'a, [u8]>,
    /// Of what.
    pub subject: Cow<'a, [u8]>,
    /// Who asked.
    pub who: Cow<'a, [u8]>,
    /// Which way it came.
    pub from: Cow<'a, [u8]>,
    /// Why it was refused; nothing otherwise.
    pub why: Cow<'a, [u8]>,
}

impl Changed<'_> {
    fn texts(&self) -> [&[u8]; 5] {
        [&self.action, &self.subject, &self.who, &self.from, &self.why].map(|text| cut(text))
    }

    /// Appends its record.
    pub fn encode(&self, out: &mut Vec<u8>, place: Place) {
        let texts = self.texts();
        let length = texts.iter().map(|text| text.len()).sum::<usize>();
        begin(out, b'M', CHANGED_BYTES + length, place);
        out.extend_from_slice(&self.wall_ms.to_le_bytes());
        self.registry.iter().for_each(|it| out.extend_from_slice(&it.to_le_bytes()));
        self.landscape.iter().for_each(|it| out.extend_from_slice(&it.to_le_bytes()));
        out.push(self.came.code());
        out.extend_from_slice(&self.document);
        put_texts(out, &texts);
    }
}

/// `Q`: a question for services, and what was said of each that offers the capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queried<'a> {
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// The landscape's version.
    pub landscape: u32,
    /// The capability's number.
    pub capability: u32,
    /// How many offer it.
    pub offers: u32,
    /// Who asked.
    pub who: Cow<'a, [u8]>,
    /// Which way it came.
    pub from: Cow<'a, [u8]>,
    /// What was required, as `need` lines.
    pub needs: Cow<'a, [u8]>,
    /// Services in the order of their offers, each with the place of the first need it does not
    /// meet, from 1; 0 meets all, 65535 is in no state to be called, and of [`HIDDEN`] whoever
    /// asked was told nothing.
    pub rows: Cow<'a, [(u32, u16)]>,
}

impl Queried<'_> {
    /// Appends its record.
    pub fn encode(&self, out: &mut Vec<u8>, place: Place) {
        let texts = [&self.who, &self.from, &self.needs].map(|text| cut(text));
        let rows = self.rows.get(..self.rows.len().min(ROWS_MAX)).unwrap_or_default();
        let length = texts.iter().map(|text| text.len()).sum::<usize>() + 6 * rows.len();
        begin(out, b'Q', QUERIED_BYTES + length, place);
        out.extend_from_slice(&self.wall_ms.to_le_bytes());
        out.extend_from_slice(&self.landscape.to_le_bytes());
        out.extend_from_slice(&self.capability.to_le_bytes());
        out.extend_from_slice(&self.offers.to_le_bytes());
        out.extend_from_slice(&u32::try_from(rows.len()).unwrap_or(0).to_le_bytes());
        put_texts(out, &texts);
        for (service, failed) in rows {
            out.extend_from_slice(&service.to_le_bytes());
            out.extend_from_slice(&failed.to_le_bytes());
        }
    }
}

/// As much of a text as a record keeps, never half a character.
fn cut(text: &[u8]) -> &[u8] {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while end < text.len() && text.get(end).is_some_and(|byte| byte & 0xC0 == 0x80) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
