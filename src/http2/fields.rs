//! A shadow of an HPACK decoder (RFC 7541): it follows a connection's field blocks and keeps, for
//! each entry of the dynamic table, its size and what kind of name it has; never a value.
//!
//! That is enough to know which fields of a block are pseudo-fields or forbidden ones, at a
//! fraction of a decoder's cost: an indexed field is one look into a table, and only the length of
//! a Huffman-coded value is computed, and only where the table's evictions depend on it.

use super::huffman;
use crate::wire::limits::H2_HEADER_TABLE_BYTES;
use std::collections::VecDeque;

/// What makes a block undecodable; RFC 9113 4.3 ends the connection with COMPRESSION_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpackFault {
    /// The block ends inside a field.
    Truncated,
    /// An integer above 2^28, or longer than it needs to be by far (RFC 7541 5.1).
    Integer,
    /// Index 0, or an index beyond both tables (RFC 7541 2.3.3).
    Index,
    /// A table size above what was agreed, or announced after the first field (RFC 7541 4.2, 6.3).
    TableSize,
    /// A Huffman code or its padding (RFC 7541 5.2).
    Huffman,
    /// A field without a name.
    EmptyName,
}

/// What a block holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Fields of any kind.
    pub fields: u32,
    /// Some field's name begins with a colon.
    pub pseudo: bool,
    /// There is a `:status` whose value begins with `1`.
    pub interim: bool,
    /// There is a `:path` with a `#`, which no target may hold (RFC 3986 3.3, RFC 9113 8.3.1), and
    /// which the library behind us cuts off without a word.
    pub fragment: bool,
    /// The block breaks RFC 9113 8.2.2 or 8.3: a connection-specific field, a `te` other than
    /// `trailers`, a pseudo-field that is unknown, repeated or behind a regular field.
    pub malformed: bool,
}

/// What kind of name a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Regular,
    Forbidden,
    Te,
    Pseudo(Pseudo),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pseudo {
    Authority = 1,
    Method = 2,
    Path = 4,
    Protocol = 8,
    Scheme = 16,
    Status = 32,
    Unknown = 64,
}

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Any,
    /// Of `:status`: it begins with `1`.
    Interim,
    /// Of `te`: it is exactly `trailers`.
    Trailers,
    /// Of `:path`: it holds a `#`.
    Fragment,
}

/// One entry of the dynamic table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    name_bytes: u32,
    /// Name, value and 32 (RFC 7541 4.1).
    size: u32,
    name: Name,
    value: Value,
}

/// The names of the static table (RFC 7541 appendix A), which starts at index 1.
const STATIC_NAMES: [&str; 61] = [
    ":authority",
    ":method",
    ":method",
    ":path",
    ":path",
    ":scheme",
    ":scheme",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
];

/// The longest name [`name_of`] tells from the others: `transfer-encoding`.
const NAME_BYTES_MAX: usize = 17;

/// The kind of a name, which is compared as sent: an upper-case name is refused by the decoder.
const fn name_of(name: &[u8]) -> Name {
    match name {
        b":authority" => Name::Pseudo(Pseudo::Authority),
        b":method" => Name::Pseudo(Pseudo::Method),
        b":path" => Name::Pseudo(Pseudo::Path),
        b":protocol" => Name::Pseudo(Pseudo::Protocol),
        b":scheme" => Name::Pseudo(Pseudo::Scheme),
        b":status" => Name::Pseudo(Pseudo::Status),
        [b':', ..] => Name::Pseudo(Pseudo::Unknown),
        b"te" => Name::Te,
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
            Name::Forbidden
        }
        _ => Name::Regular,
    }
}

static STATIC: [Entry; 61] = static_entries();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler; a bad index cannot build")]
const fn static_entries() -> [Entry; 61] {
    let mut out = [Entry { name_bytes: 0, size: 0, name: Name::Regular, value: Value::Any }; 61];
    let mut at = 0;
    while at < 61 {
        let name = STATIC_NAMES[at].as_bytes();
        out[at].name_bytes = name.len() as u32;
        out[at].name = name_of(name);
        at += 1;
    }
    out
}

/// The shadow of one direction's HPACK state.
#[derive(Debug)]
pub struct Fields {
    /// Newest first: dynamic index 62 is the front.
    entries: VecDeque<Entry>,
    /// The sum of the entries' sizes.
    size: u32,
    /// The size the encoder chose, at most `agreed`.
    size_max: u32,
    /// The size we announced.
    agreed: u32,
}

impl Default for Fields {
    fn default() -> Self {
        Self::new(H2_HEADER_TABLE_BYTES)
    }
}

impl Fields {
    /// An empty table; `agreed` is the SETTINGS_HEADER_TABLE_SIZE that we announced.
    pub fn new(agreed: u32) -> Self {
        Self { entries: VecDeque::new(), size: 0, size_max: agreed, agreed }
    }

    /// Bytes in the dynamic table as RFC 7541 4.1 counts them.
    pub fn table_bytes(&self) -> u32 {
        self.size
    }

    /// Entries in the dynamic table.
    pub fn table_entries(&self) -> usize {
        self.entries.len()
    }

    /// Follows one whole block. After a fault the state means nothing more.
    pub fn walk(&mut self, block: &[u8]) -> Result<Seen, HpackFault> {
        let mut from = Cursor { rest: block };
        let mut tally = Tally::default();
        while let Some(&first) = from.rest.first() {
            if first & 0x80 != 0 {
                let entry = self.entry(from.integer(7)?)?;
                tally.add(entry.name, entry.value);
            } else if first & 0x40 != 0 {
                let entry = self.literal(&mut from, 6, Measure::Yes)?;
                tally.add(entry.name, entry.value);
                self.insert(entry);
            } else if first & 0x20 != 0 {
                let size = from.integer(5)?;
                if size > self.agreed || tally.seen.fields != 0 {
                    return Err(HpackFault::TableSize);
                }
                self.size_max = size;
                self.evict(size);
            } else {
                let entry = self.literal(&mut from, 4, Measure::No)?;
                tally.add(entry.name, entry.value);
            }
        }
        Ok(tally.seen)
    }

    fn entry(&self, index: u32) -> Result<Entry, HpackFault> {
        let at = usize::try_from(index).map_err(|_| HpackFault::Index)?;
        let at = at.checked_sub(1).ok_or(HpackFault::Index)?;
        match STATIC.get(at) {
            Some(&entry) => Ok(entry),
            None => self.entries.get(at - STATIC.len()).copied().ok_or(HpackFault::Index),
        }
    }

    /// A literal field (RFC 7541 6.2), as the entry that it would be.
    fn literal(
        &self,
        from: &mut Cursor<'_>,
        prefix: u32,
        measure: Measure,
    ) -> Result<Entry, HpackFault> {
        let index = from.integer(prefix)?;
        let (name, name_bytes) = if index == 0 {
            let name = from.string()?;
            name.kind()?
        } else {
            let entry = self.entry(index)?;
            (entry.name, entry.name_bytes)
        };
        let text = from.string()?;
        let (value, value_bytes) = match name {
            Name::Pseudo(Pseudo::Status) | Name::Te => text.value(name)?,
            Name::Pseudo(Pseudo::Path) => text.path()?,
            // Nothing depends on this value's length; whether its code is valid the decoder sees.
            _ if measure == Measure::No => (Value::Any, 0),
            _ => (Value::Any, text.length()?),
        };
        let size = name_bytes.saturating_add(value_bytes).saturating_add(32);
        Ok(Entry { name_bytes, size, name, value })
    }

    fn insert(&mut self, entry: Entry) {
        match self.size_max.checked_sub(entry.size) {
            Some(room) => {
                self.evict(room);
                self.size += entry.size;
                self.entries.push_front(entry);
            }
            // RFC 7541 4.4: an entry larger than the table empties it, and that is no error.
            None => self.evict(0),
        }
    }

    /// Drops the oldest entries until at most `size_max` bytes are left.
    fn evict(&mut self, size_max: u32) {
        while self.size > size_max {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size -= oldest.size;
        }
    }
}

/// Whether a value's decoded length matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    Yes,
    No,
}

/// Judges a block field by field.
#[derive(Default)]
struct Tally {
    seen: Seen,
    /// Pseudo-fields so far, as bits.
    pseudo: u8,
    regular: bool,
}

impl Tally {
    fn add(&mut self, name: Name, value: Value) {
        self.seen.fields += 1;
        match name {
            Name::Regular => self.regular = true,
            Name::Forbidden => self.seen.malformed = true,
            Name::Te => {
                self.regular = true;
                self.seen.malformed |= value != Value::Trailers;
            }
            Name::Pseudo(which) => {
                let bit = which as u8;
                let wrong = self.regular || self.pseudo & bit != 0 || which == Pseudo::Unknown;
                self.pseudo |= bit;
                self.seen.pseudo = true;
                self.seen.interim |= value == Value::Interim;
                self.seen.fragment |= value == Value::Fragment;
                self.seen.malformed |= wrong;
            }
        }
    }
}

/// What is left of a block.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// An integer with a prefix of `bits` (RFC 7541 5.1), at most four bytes behind the prefix.
    fn integer(&mut self, bits: u32) -> Result<u32, HpackFault> {
        const TAIL_BYTES_MAX: u32 = 4;
        let (&first, rest) = self.rest.split_first().ok_or(HpackFault::Truncated)?;
        self.rest = rest;
        let mask = (1_u32 << bits) - 1;
        let mut value = u32::from(first) & mask;
        if value < mask {
            return Ok(value);
        }
        for place in 0..TAIL_BYTES_MAX {
            let (&byte, rest) = self.rest.split_first().ok_or(HpackFault::Truncated)?;
            self.rest = rest;
            value += (u32::from(byte) & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(HpackFault::Integer)
    }

    /// A string literal (RFC 7541 5.2).
    fn string(&mut self) -> Result<Text<'a>, HpackFault> {
        let huffman = self.rest.first().is_some_and(|first| first & 0x80 != 0);
        let length = usize::try_from(self.integer(7)?).map_err(|_| HpackFault::Integer)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(HpackFault::Truncated)?;
        self.rest = rest;
        Ok(Text { bytes, huffman })
    }
}

/// A string as it stands in the block.
struct Text<'a> {
    bytes: &'a [u8],
    huffman: bool,
}

impl Text<'_> {
    /// The decoded length.
    fn length(&self) -> Result<u32, HpackFault> {
        if self.huffman {
            huffman::decode(self.bytes, |_| ()).ok_or(HpackFault::Huffman)
        } else {
            u32::try_from(self.bytes.len()).map_err(|_| HpackFault::Integer)
        }
    }

    /// Calls `then` with the first bytes of the decoded text, and returns the decoded length.
    fn start<T>(&self, then: impl FnOnce(&[u8]) -> T) -> Result<(T, u32), HpackFault> {
        if !self.huffman {
            return Ok((then(self.bytes), self.length()?));
        }
        // One byte more than the longest name of interest, so that a longer one is not equal.
        let mut text = [0; NAME_BYTES_MAX + 1];
        let mut free = text.iter_mut();
        let length = huffman::decode(self.bytes, |byte| {
            if let Some(slot) = free.next() {
                *slot = byte;
            }
        });
        let length = length.ok_or(HpackFault::Huffman)?;
        let known = usize::try_from(length).unwrap_or(usize::MAX).min(text.len());
        Ok((then(text.get(..known).unwrap_or_default()), length))
    }

    /// The kind of this name and its length.
    fn kind(&self) -> Result<(Name, u32), HpackFault> {
        let (name, length) = self.start(name_of)?;
        if length == 0 { Err(HpackFault::EmptyName) } else { Ok((name, length)) }
    }

    /// What matters of this value of a `:path`, and its length.
    fn path(&self) -> Result<(Value, u32), HpackFault> {
        let mut fragment = false;
        let length = if self.huffman {
            huffman::decode(self.bytes, |byte| fragment |= byte == b'#')
                .ok_or(HpackFault::Huffman)?
        } else {
            fragment = self.bytes.contains(&b'#');
            self.length()?
        };
        Ok((if fragment { Value::Fragment } else { Value::Any }, length))
    }

    /// What matters of this value of a field named `name`, and its length.
    fn value(&self, name: Name) -> Result<(Value, u32), HpackFault> {
        self.start(|text| match (name, text) {
            (Name::Te, b"trailers") => Value::Trailers,
            (Name::Pseudo(Pseudo::Status), [b'1', ..]) => Value::Interim,
            _ => Value::Any,
        })
    }
}
