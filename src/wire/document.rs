//! A TOML document whose every value knows where it stands.
//!
//! Readers ask a [`Table`] for the keys they know and go on after a fault, so that one pass reports
//! everything that is wrong. [`Table::finish`] then refuses every key nobody asked for: silence
//! about a misspelt key is how a limit stays at its default for a year.
//!
//! ```
//! use caio::wire::{document::{Document, Source}, fault::Faults};
//! let mut faults = Faults::new();
//! let source = Source::new("caio.toml", "workers = 2\npni = true\n");
//! let document = Document::parse(&source, &mut faults).unwrap();
//! let mut root = document.root();
//! assert_eq!(root.integer("workers", 1..=64, &mut faults).unwrap().value, 2);
//! assert!(root.boolean("pin", &mut faults).is_none());
//! root.finish(&mut faults);
//! let fault = faults.into_sorted().remove(0).to_string();
//! let mend = "did you mean `pin`? known here: pin, workers";
//! assert_eq!(fault, format!("caio.toml:2:1: unknown key `pni`; {mend}"));
//! ```

use super::fault::{Fault, Faults, nearest, quoted};
use super::limits::{DOCUMENT_BYTES_MAX, TABLES_MAX};
use super::units::{parse_duration, parse_size};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file's name and text, and the way from a byte to a line and column.
#[derive(Clone, Debug)]
pub struct Source {
    file: String,
    text: String,
    /// Byte offset of each line's first byte, ascending; the first is 0.
    lines: Vec<usize>,
}

impl Source {
    /// Takes a file's text as it is.
    pub fn new(file: impl Into<String>, text: impl Into<String>) -> Self {
        let (file, text) = (file.into(), text.into());
        let mut lines = vec![0];
        lines.extend(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1));
        Self { file, text, lines }
    }

    /// Takes a file's bytes; too many of them, or bytes that are not UTF-8, are a fault.
    pub fn from_bytes(file: &str, bytes: Vec<u8>) -> Result<Self, Fault> {
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(too_large(file, bytes.len()));
        }
        String::from_utf8(bytes).map(|text| Self::new(file, text)).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let sound = error.as_bytes().get(..valid).unwrap_or_default();
            let place = Self::new(file, String::from_utf8_lossy(sound));
            let (line, column) = place.position(valid);
            let what = "a byte that is not UTF-8".to_owned();
            Fault { file: file.to_owned(), line, column, what, mend: "save as UTF-8".to_owned() }
        })
    }

    /// The file's name as the user gave it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset, both from 1, columns in characters; an offset past the end
    /// or inside a character counts as the nearest boundary before it.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let before = self.text.bytes().take(offset).skip(start);
        // A character is its one byte that is not a continuation byte.
        let mut columns = before.filter(|byte| byte & 0xC0 != 0x80).count();
        if !self.text.is_char_boundary(offset) {
            columns = columns.saturating_sub(1);
        }
        (line, columns + 1)
    }
}

fn too_large(file: &str, bytes: usize) -> Fault {
    let what = format!("{bytes} bytes are more than the {DOCUMENT_BYTES_MAX} a document may have");
    Fault::of_file(file, what, "split it into several files")
}

/// Where something stands: a range of bytes of a source.
#[derive(Clone, Copy, Debug)]
pub struct Place<'d> {
    source: &'d Source,
    start: usize,
    end: usize,
}

impl<'d> Place<'d> {
    /// Line and column of the first byte, both from 1.
    pub fn position(&self) -> (usize, usize) {
        self.source.position(self.start)
    }

    /// A fault at this place.
    pub fn fault(&self, what: impl Into<String>, mend: impl Into<String>) -> Fault {
        let (line, column) = self.position();
        let file = self.source.file.clone();
        Fault { file, line, column, what: what.into(), mend: mend.into() }
    }

    fn line(&self) -> &'d str {
        let before = self.source.text.get(..self.start).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        self.source.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default()
    }

    /// The source this is a place of.
    pub fn source(&self) -> &'d Source {
        self.source
    }

    /// The text from first to last byte, as written: quotes and escapes included.
    pub fn raw(&self) -> &'d str {
        self.source.text.get(self.start..self.end).unwrap_or_default()
    }
}

/// A value and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct At<'d, T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place<'d>,
}

/// A string and where it stands, quotes included.
pub type Text<'d> = At<'d, &'d str>;

impl<'d, T> At<'d, T> {
    /// The same place with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> At<'d, U> {
        At { value: change(self.value), place: self.place }
    }

    /// A fault at the value.
    pub fn fault(&self, what: impl Into<String>, mend: impl Into<String>) -> Fault {
        self.place.fault(what, mend)
    }
}

impl<'d> Text<'d> {
    /// The place of a byte of the string's **value**, exact for every way TOML has to write a
    /// string; the string's own place when the offset lies outside.
    pub fn place_inside(&self, offset: usize) -> Place<'d> {
        match raw_offset(self.place.raw(), self.value, offset) {
            Some(inside) => {
                let start = self.place.start + inside;
                Place { start, end: start.max(self.place.end), ..self.place }
            }
            None => self.place,
        }
    }

    /// A fault at a byte of the string's value.
    pub fn fault_inside(
        &self,
        offset: usize,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Fault {
        self.place_inside(offset).fault(what, mend)
    }
}

/// Where in the written form the byte `offset` of the value stands. Walks both together, so a
/// disagreement with the TOML reader is noticed and answered with `None`.
fn raw_offset(raw: &str, value: &str, offset: usize) -> Option<usize> {
    let quote = raw.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    let multiline = raw.len() >= 6 && raw.chars().take(3).all(|character| character == quote);
    let mut at = if multiline { 3 } else { 1 };
    if multiline {
        let inside = raw.get(at..)?;
        at += if inside.starts_with("\r\n") { 2 } else { usize::from(inside.starts_with('\n')) };
    }
    let mut done = 0;
    for expected in value.chars() {
        if quote == '"' && multiline {
            at += continuation(raw.get(at..)?);
        }
        if done >= offset {
            return Some(at);
        }
        let rest = raw.get(at..)?;
        let written = rest.chars().next()?;
        if quote == '"' && written == '\\' {
            at += escape_length(rest)?;
        } else if written == expected {
            at += written.len_utf8();
        } else {
            return None;
        }
        done += expected.len_utf8();
    }
    (done == offset).then_some(at)
}

/// Bytes of the line continuations (a backslash, then white space with a line break) `rest` starts
/// with.
fn continuation(rest: &str) -> usize {
    let mut length = 0;
    while let Some(after) = rest.get(length..).and_then(|rest| rest.strip_prefix('\\')) {
        let trimmed = after.trim_start_matches([' ', '\t', '\r', '\n']);
        let space = after.len() - trimmed.len();
        if !after.get(..space).is_some_and(|space| space.contains('\n')) {
            break;
        }
        length += 1 + space;
    }
    length
}

fn escape_length(rest: &str) -> Option<usize> {
    Some(match rest.chars().nth(1)? {
        'x' => 4,
        'u' => 6,
        'U' => 10,
        _ => 2,
    })
}

/// How a document is written; it means the same in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Syntax {
    /// TOML.
    #[default]
    Toml,
    /// JSON.
    Json,
}

/// A fault at a byte of a source.
pub(super) fn fault_at(source: &Source, start: usize, what: String, mend: &str) -> Fault {
    Place { source, start, end: start }.fault(what, mend)
}

/// A document without syntax errors.
#[derive(Debug)]
pub struct Document<'d> {
    source: &'d Source,
    root: Spanned<DeTable<'d>>,
}

impl<'d> Document<'d> {
    /// Parses a source. Every syntax error is pushed; with one there is no document, since what the
    /// reader recovers would only bring faults that are not the person's.
    pub fn parse(source: &'d Source, faults: &mut Faults) -> Option<Self> {
        if source.text.len() > DOCUMENT_BYTES_MAX {
            faults.push(too_large(&source.file, source.text.len()));
            return None;
        }
        // Each table header costs the reader more than its bytes; see TABLES_MAX.
        let headers = source.text.lines().filter(|line| line.trim_start().starts_with('[')).count();
        if headers > TABLES_MAX {
            let what = format!("{headers} tables are more than the {TABLES_MAX} allowed");
            faults.push(Fault::of_file(&source.file, what, "split it into several files"));
            return None;
        }
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        let sound = errors.is_empty();
        let mut headers_sound = true;
        for error in errors {
            let start = error.span().map_or(0, |span| span.start);
            // Behind a broken header the reader files keys under the wrong table.
            if error.message().starts_with("duplicate key") && !headers_sound {
                continue;
            }
            let place = Place { source, start, end: start };
            headers_sound &= !place.line().trim_start().starts_with('[');
            let what = error.message().lines().collect::<Vec<_>>().join(", ");
            faults.push(place.fault(format!("this is not TOML: {what}"), ""));
        }
        sound.then_some(Self { source, root })
    }

    /// Parses a source in one of the syntaxes a document may have.
    pub fn parse_as(syntax: Syntax, source: &'d Source, faults: &mut Faults) -> Option<Self> {
        if syntax == Syntax::Toml || source.text.len() > DOCUMENT_BYTES_MAX {
            return Self::parse(source, faults);
        }
        let root = super::json::table(source).map_err(|fault| faults.push(fault)).ok()?;
        Some(Self { source, root })
    }

    /// The table of the whole document.
    pub fn root(&self) -> Table<'_> {
        let place = Place { source: self.source, start: 0, end: 0 };
        Table::new(self.root.get_ref(), place, String::new())
    }
}

/// Any value of a document, for tables whose keys the reader cannot know beforehand.
#[derive(Clone, Debug)]
pub enum Item<'d> {
    /// A string.
    Text(Text<'d>),
    /// An integer that fits 64 bits.
    Integer(At<'d, i64>),
    /// `true` or `false`.
    Boolean(At<'d, bool>),
    /// An array.
    Array(At<'d, Vec<Item<'d>>>),
    /// A table.
    Table(Table<'d>),
    /// A float, a date, an integer beyond 64 bits: nothing of CAIO's is one. The value is its kind.
    Other(At<'d, &'static str>),
}

impl<'d> Item<'d> {
    fn new(value: &'d Spanned<DeValue<'d>>, source: &'d Source, path: &str) -> Self {
        let span = value.span();
        let place = Place { source, start: span.start, end: span.end };
        match value.get_ref() {
            DeValue::String(text) => Self::Text(At { value: text.as_ref(), place }),
            DeValue::Boolean(value) => Self::Boolean(At { value: *value, place }),
            DeValue::Integer(integer) => {
                match i64::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(value) => Self::Integer(At { value, place }),
                    Err(_) => Self::Other(At { value: "an integer beyond 64 bits", place }),
                }
            }
            DeValue::Float(_) => Self::Other(At { value: "a float", place }),
            DeValue::Datetime(_) => Self::Other(At { value: "a date or time", place }),
            DeValue::Array(array) => {
                let items = array.iter().map(|item| Self::new(item, source, path)).collect();
                Self::Array(At { value: items, place })
            }
            DeValue::Table(table) => Self::Table(Table::new(table, place, path.to_owned())),
        }
    }

    /// Where it stands.
    pub fn place(&self) -> Place<'d> {
        match self {
            Self::Text(at) => at.place,
            Self::Integer(at) => at.place,
            Self::Boolean(at) => at.place,
            Self::Array(at) => at.place,
            Self::Table(table) => table.place,
            Self::Other(at) => at.place,
        }
    }

    /// What it is, for a sentence: `a string`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Other(at) => at.value,
        }
    }

    /// The fault of being something else than was asked for.
    pub fn wrong(&self, key: &str, expected: &str) -> Fault {
        let what = format!("{} must be {expected}, not {}", quoted(key), self.kind());
        self.place().fault(what, "")
    }
}

/// A table of a document, read key by key. The getters push what is wrong and return `None`.
#[derive(Clone, Debug)]
pub struct Table<'d> {
    table: &'d DeTable<'d>,
    place: Place<'d>,
    /// How a person would name it: `limits`, `services.limits`; empty for the root.
    path: String,
    known: BTreeSet<&'static str>,
}

impl<'d> Table<'d> {
    fn new(table: &'d DeTable<'d>, place: Place<'d>, path: String) -> Self {
        Self { table, place, path, known: BTreeSet::new() }
    }

    /// Where the table stands: its header, its braces, or the document's beginning.
    pub fn place(&self) -> Place<'d> {
        self.place
    }

    /// How a person would name it: `limits`, `services.limits`; empty for the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the value under a key stands.
    pub fn place_of(&self, key: &str) -> Option<Place<'d>> {
        let span = self.table.get(key)?.span();
        Some(Place { start: span.start, end: span.end, ..self.place })
    }

    /// Whether it has no keys at all.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The value under a key, whatever it is; the key counts as known from here on.
    pub fn item(&mut self, key: &'static str) -> Option<Item<'d>> {
        self.known.insert(key);
        let path = self.path_of(key);
        self.table.get(key).map(|value| Item::new(value, self.place.source, &path))
    }

    /// Every key with its value in the order of writing, for tables with free keys; none of them
    /// is unknown afterwards as long as [`Table::finish`] is not called.
    pub fn entries(&self) -> Vec<(Text<'d>, Item<'d>)> {
        let source = self.place.source;
        let mut entries: Vec<_> = self
            .table
            .iter()
            .map(|(key, value)| {
                let path = self.path_of(key.get_ref());
                (key_text(source, key), Item::new(value, source, &path))
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.place.start);
        entries
    }

    /// The keys nobody asked for yet, in the order of writing: the free part of a table that has
    /// fixed keys too (a promise and its `when`).
    pub fn rest(&self) -> Vec<(Text<'d>, Item<'d>)> {
        let mut entries = self.entries();
        entries.retain(|(key, _)| !self.known.contains(key.value));
        entries
    }

    /// A string.
    pub fn string(&mut self, key: &'static str, faults: &mut Faults) -> Option<Text<'d>> {
        match self.item(key)? {
            Item::Text(text) => Some(text),
            other => refuse(faults, other.wrong(key, "a string")),
        }
    }

    /// A string that must be there and must not be empty.
    pub fn required_string(&mut self, key: &'static str, faults: &mut Faults) -> Option<Text<'d>> {
        self.require(key, faults)?;
        let text = self.string(key, faults)?;
        if text.value.is_empty() {
            return refuse(faults, text.fault(format!("`{key}` is empty"), ""));
        }
        Some(text)
    }

    /// Pushes a fault at the table's place when the key is missing.
    pub fn require(&mut self, key: &'static str, faults: &mut Faults) -> Option<()> {
        self.known.insert(key);
        if self.table.contains_key(key) {
            return Some(());
        }
        let what = match self.path.as_str() {
            "" => format!("`{key}` is missing"),
            path => format!("`{key}` is missing in {}", quoted(path)),
        };
        refuse(faults, self.place.fault(what, format!("add `{key} = …`")))
    }

    /// An integer inside a range.
    pub fn integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
        faults: &mut Faults,
    ) -> Option<At<'d, i64>> {
        match self.item(key)? {
            Item::Integer(at) if range.contains(&at.value) => Some(at),
            Item::Integer(at) => {
                let what = format!("`{key}` is {}", at.value);
                let mend = format!("take {} to {}", range.start(), range.end());
                refuse(faults, at.fault(what, mend))
            }
            other => refuse(faults, other.wrong(key, "an integer")),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str, faults: &mut Faults) -> Option<At<'d, bool>> {
        match self.item(key)? {
            Item::Boolean(at) => Some(at),
            other => refuse(faults, other.wrong(key, "`true` or `false`")),
        }
    }

    /// A duration such as `"250ms"` or `"5s"`, in nanoseconds.
    pub fn duration(&mut self, key: &'static str, faults: &mut Faults) -> Option<At<'d, u64>> {
        self.unit(key, "a duration such as `\"5s\"`", parse_duration, faults)
    }

    /// A size such as `"64KiB"`, in bytes.
    pub fn size(&mut self, key: &'static str, faults: &mut Faults) -> Option<At<'d, u64>> {
        self.unit(key, "a size such as `\"64KiB\"`", parse_size, faults)
    }

    fn unit(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: fn(&str) -> Result<u64, String>,
        faults: &mut Faults,
    ) -> Option<At<'d, u64>> {
        match self.item(key)? {
            Item::Text(text) => match parse(text.value) {
                Ok(value) => Some(text.map(|_| value)),
                Err(why) => {
                    let what = format!("{} is not {expected}", quoted(text.value));
                    refuse(faults, text.fault(what, why))
                }
            },
            other => refuse(faults, other.wrong(key, expected)),
        }
    }

    /// An array of strings; absent is empty. An element that is no string is a fault and left out.
    pub fn strings(&mut self, key: &'static str, faults: &mut Faults) -> Vec<Text<'d>> {
        let items = match self.item(key) {
            None => return Vec::new(),
            Some(Item::Array(at)) => at.value,
            Some(other) => {
                faults.push(other.wrong(key, "an array of strings"));
                return Vec::new();
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Text(text) => texts.push(text),
                other => faults.push(other.wrong(key, "an array of strings")),
            }
        }
        texts
    }

    /// A table under a key.
    pub fn table(&mut self, key: &'static str, faults: &mut Faults) -> Option<Table<'d>> {
        match self.item(key)? {
            Item::Table(table) => Some(table),
            other => refuse(faults, other.wrong(key, "a table")),
        }
    }

    /// An array of tables, `[[key]]`; absent is empty. An element that is no table is a fault and
    /// left out.
    pub fn tables(&mut self, key: &'static str, faults: &mut Faults) -> Vec<Table<'d>> {
        let (items, mend) = match self.item(key) {
            None => return Vec::new(),
            Some(Item::Array(at)) => (at.value, ""),
            Some(other) => (vec![other], "double the brackets"),
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Table(table) if mend.is_empty() => tables.push(table),
                other => {
                    let fault = other.wrong(key, &format!("an array of tables, `[[{key}]]`"));
                    faults.push(Fault { mend: mend.to_owned(), ..fault });
                }
            }
        }
        tables
    }

    /// Refuses every key that nobody asked for, with the nearest known one and all known ones.
    pub fn finish(self, faults: &mut Faults) {
        for (key, _) in self.rest() {
            let known = self.known.iter().copied().collect::<Vec<_>>().join(", ");
            let what = match self.path.as_str() {
                "" => format!("unknown key {}", quoted(key.value)),
                path => format!("unknown key {} in {}", quoted(key.value), quoted(path)),
            };
            let mend = match nearest(key.value, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? known here: {known}"),
                None => format!("known here: {known}"),
            };
            faults.push(key.fault(what, mend));
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

fn key_text<'d>(source: &'d Source, key: &'d Spanned<std::borrow::Cow<'d, str>>) -> Text<'d> {
    let span = key.span();
    let place = Place { source, start: span.start, end: span.end };
    At { value: key.get_ref().as_ref(), place }
}

fn refuse<T>(faults: &mut Faults, fault: Fault) -> Option<T> {
    faults.push(fault);
    None
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
