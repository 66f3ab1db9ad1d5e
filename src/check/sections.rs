//! A landscape's text in sections, and the digest that names all of them: sections into shards by
//! the first byte of the hash of their names, shards into a root.

use super::report::must;
use super::text::Cursor;
use super::tree::{Hash, hash};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;

/// The first line of every landscape.
pub(crate) const SEMANTICS: &str = "caio-landscape/2 caio-sem/1";

/// What a section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Capability,
    Service,
}

/// The name of a section.
pub(crate) type Key = (Kind, Rc<str>);

/// A text, or what changes one into another.
#[derive(Default)]
pub(crate) struct Split<'a> {
    /// What is common, where it is said.
    pub(crate) common: Option<&'a str>,
    /// Sections that are there no longer.
    pub(crate) gone: Vec<Key>,
    /// Sections with their lines; of a service with its number.
    pub(crate) put: BTreeMap<Key, (u32, &'a str)>,
}

/// The key of a section by the words of its first line, and a service's number.
fn key(kind: Kind, from: &mut Cursor<'_>, numbered: bool) -> Option<(Key, u32)> {
    let mut number = 0;
    if numbered {
        number = from.number()?;
        from.eat(" ")?;
    }
    let key = (kind, from.quoted()?.into());
    // Behind a service's name its line goes on.
    (numbered || from.0.is_empty()).then_some((key, number))
}

impl<'a> Split<'a> {
    /// Splits a text.
    pub(crate) fn new(text: &'a str) -> Result<Self, String> {
        let mut split = Self::default();
        let mut rest = text;
        let mut here: Option<(Key, u32)> = None;
        let mut begun = 0;
        let mut at = 0;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let none = || format!("its line {number} begins no section");
            let length = rest.find('\n').map(|end| end + 1);
            let length = length.ok_or_else(|| format!("its line {number} has no end"))?;
            let (line, behind) = rest.split_at(length);
            rest = behind;
            let (word, words) = line.trim_end_matches('\n').split_once(' ').unwrap_or((line, ""));
            let mut from = Cursor(words.as_bytes());
            let head = match word {
                "capability" => Some(key(Kind::Capability, &mut from, false).ok_or_else(none)?),
                "service" => Some(key(Kind::Service, &mut from, true).ok_or_else(none)?),
                _ => None,
            };
            if head.is_some() || (word == "gone" && here.is_none()) {
                split.end(here.take(), text.get(begun..at).unwrap_or_default())?;
                begun = at;
            }
            if word == "gone" {
                let service = from.eat("service ").is_some();
                let kind = if service { Kind::Service } else { Kind::Capability };
                service.then_some(()).or_else(|| from.eat("capability ")).ok_or_else(none)?;
                let (key, _) = key(kind, &mut from, false).ok_or_else(none)?;
                must!(!split.gone.contains(&key), "{key:?} is gone twice");
                split.gone.push(key);
                begun = at + length;
            }
            here = head.or(here);
            at += length;
        }
        split.end(here, text.get(begun..at).unwrap_or_default())?;
        Ok(split)
    }

    /// Lines that belong together have ended.
    fn end(&mut self, of: Option<(Key, u32)>, lines: &'a str) -> Result<(), String> {
        let Some((key, number)) = of else {
            if !lines.is_empty() {
                let first = self.common.is_none() && self.gone.is_empty();
                let first = first && lines.lines().next() == Some(SEMANTICS);
                must!(first, "it does not begin with `{SEMANTICS}`");
                self.common = Some(lines);
            }
            return Ok(());
        };
        let shown = format!("{key:?}");
        must!(self.put.insert(key, (number, lines)).is_none(), "{shown} is there twice");
        Ok(())
    }
}

/// What becomes of a section: its number and digest, or nothing.
type Edit<'a> = (&'a Key, Option<(u32, Hash)>);

struct Shard {
    /// Number and digest of each section.
    members: BTreeMap<Key, (u32, Hash)>,
    digest: Hash,
}

impl Shard {
    fn new(members: BTreeMap<Key, (u32, Hash)>) -> Rc<Self> {
        let mut text = String::new();
        for ((kind, name), (_, digest)) in &members {
            let word = if *kind == Kind::Service { "service" } else { "capability" };
            let escaped = name.escape_default();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{word} \"{escaped}\" {}", hex(digest));
        }
        Rc::new(Self { members, digest: hash(&[text.as_bytes()]) })
    }
}

fn hex(digest: &Hash) -> String {
    digest.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// The digests of all sections of a landscape.
#[derive(Clone, Default)]
pub(crate) struct Sections {
    common: Hash,
    shards: BTreeMap<u8, Rc<Shard>>,
}

impl Sections {
    /// The number of a service that is there.
    pub(crate) fn number(&self, key: &Key) -> Option<u32> {
        let [shard, ..] = hash(&[key.1.as_bytes()]);
        self.shards.get(&shard)?.members.get(key).map(|(number, _)| *number)
    }

    /// The same with these changes.
    pub(crate) fn with(&self, split: &Split<'_>) -> Result<Self, String> {
        let mut next = self.clone();
        if let Some(common) = split.common {
            next.common = hash(&[common.as_bytes()]);
        }
        let mut edits: BTreeMap<u8, Vec<Edit<'_>>> = BTreeMap::new();
        for key in &split.gone {
            must!(!split.put.contains_key(key), "{key:?} is gone and there");
            let [shard, ..] = hash(&[key.1.as_bytes()]);
            edits.entry(shard).or_default().push((key, None));
        }
        for (key, (number, lines)) in &split.put {
            let [shard, ..] = hash(&[key.1.as_bytes()]);
            let member = (*number, hash(&[lines.as_bytes()]));
            edits.entry(shard).or_default().push((key, Some(member)));
        }
        for (number, edits) in edits {
            let before = next.shards.get(&number);
            let mut members = before.map(|shard| shard.members.clone()).unwrap_or_default();
            for (key, member) in edits {
                match member {
                    Some(member) => {
                        members.insert(key.clone(), member);
                    }
                    None => must!(members.remove(key).is_some(), "{key:?} is gone and was not"),
                }
            }
            match members.is_empty() {
                true => next.shards.remove(&number),
                false => next.shards.insert(number, Shard::new(members)),
            };
        }
        Ok(next)
    }

    /// What names all of it.
    pub(crate) fn digest(&self) -> Hash {
        let mut text = format!("{SEMANTICS}\ncommon {}\n", hex(&self.common));
        for (number, shard) in &self.shards {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "shard {number:02x} {}", hex(&shard.digest));
        }
        hash(&[text.as_bytes()])
    }
}

/// A list that shares with the one it was made from what has not changed.
pub(crate) struct Row<T>(Vec<Rc<Vec<T>>>);

const PIECE: usize = 128;

impl<T: Clone> Default for Row<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Clone for Row<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone> Row<T> {
    pub(crate) fn of(items: Vec<T>) -> Self {
        Self(items.chunks(PIECE).map(|piece| Rc::new(piece.to_vec())).collect())
    }

    pub(crate) fn len(&self) -> usize {
        let last = self.0.last().map_or(0, |piece| piece.len());
        self.0.len().saturating_sub(1) * PIECE + last
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.0.get(at / PIECE)?.get(at % PIECE)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|piece| piece.iter())
    }

    /// Puts an item at a place, which may be the one behind the last.
    pub(crate) fn put(&mut self, at: usize, item: T) {
        if at == self.len() && at.is_multiple_of(PIECE) {
            self.0.push(Rc::new(Vec::new()));
        }
        let Some(piece) = self.0.get_mut(at / PIECE).map(Rc::make_mut) else { return };
        match piece.get_mut(at % PIECE) {
            Some(slot) => *slot = item,
            None => piece.push(item),
        }
    }

    pub(crate) fn pop(&mut self) {
        if let Some(piece) = self.0.last_mut().map(Rc::make_mut) {
            piece.pop();
            if piece.is_empty() {
                self.0.pop();
            }
        }
    }
}
