//! A landscape's text in sections, and its content address in two levels, so that another service
//! changes a few hundred bytes of what is hashed and not all of it.
//!
//! ```text
//!   common ─────────────────────────────H──┐
//!   capability "a"  ─H─┐                   ├─▶ root text ─H─▶ the landscape's name
//!   service 17 "b"  ─H─┼─▶ shard text ──H──┘
//!   service 4 "c"   ─H─┘   (by the first byte of H of the name)
//! ```
//! * A section's digest is `H`, SHA-256, of its lines.
//! * A shard's text has a line for each of its sections: `capability "a" DIGEST` for each
//!   capability and behind them `service "b" DIGEST` for each service, both in the order of names.
//! * The root text names the semantics, then `common DIGEST`, then `shard 0a DIGEST` for each shard
//!   that has a section, in order.

use sha2::{Digest, Sha256};
use std::cmp::Ordering;
use std::fmt::Write;
use std::sync::Arc;

/// A digest.
pub(crate) type Hash = [u8; 32];

/// What the words of the text mean, and how a decision follows from them.
pub(crate) const SEMANTICS: &str = "caio-landscape/2 caio-sem/1";

/// What a section is about; those about one thing each stand in shards in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// What is bound to a capability.
    Capability,
    /// A service.
    Service,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Capability => "capability",
            Self::Service => "service",
        }
    }
}

/// Lines about one thing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    pub(crate) name: Arc<str>,
    /// A service's.
    pub(crate) number: u32,
    pub(crate) text: String,
    pub(crate) digest: Hash,
}

impl Section {
    /// A section of these lines.
    pub(crate) fn new(kind: Kind, name: Arc<str>, number: u32, text: String) -> Arc<Self> {
        let digest = Sha256::digest(text.as_bytes()).into();
        Arc::new(Self { kind, name, number, text, digest })
    }

    fn compare(&self, kind: Kind, name: &str) -> Ordering {
        (self.kind, &*self.name).cmp(&(kind, name))
    }
}

/// The sections whose names begin with one byte of hash.
#[derive(Clone, Debug)]
struct Shard {
    /// In order.
    members: Vec<Arc<Section>>,
    digest: Hash,
    /// Its line of the root text.
    line: String,
    /// How many bytes its sections have.
    bytes: usize,
}

impl Shard {
    fn new(number: usize, members: Vec<Arc<Section>>) -> Arc<Self> {
        let mut text = String::new();
        for member in &members {
            let (word, name) = (member.kind.word(), quoted(&member.name));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{word} {name} {}", hex(&member.digest));
        }
        let bytes = members.iter().map(|section| section.text.len()).sum();
        let digest: Hash = Sha256::digest(text.as_bytes()).into();
        let line = format!("shard {number:02x} {}\n", hex(&digest));
        Arc::new(Self { members, digest, line, bytes })
    }
}

/// How many shards there are: of 100 000 services each has some four hundred, and the root text as
/// many lines, so that both are hashed in microseconds.
const SHARDS: usize = 256;

/// All sections of a landscape.
#[derive(Clone, Debug)]
pub(crate) struct Sections {
    common: Arc<str>,
    common_digest: Hash,
    shards: Vec<Option<Arc<Shard>>>,
    digest: Hash,
}

/// What becomes of a section.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// It is there, in the place of one of this name.
    Put(Arc<Section>),
    /// It is there no longer.
    Gone(Kind, Arc<str>),
}

impl Edit {
    fn key(&self) -> (Kind, &Arc<str>) {
        match self {
            Self::Put(section) => (section.kind, &section.name),
            Self::Gone(kind, name) => (*kind, name),
        }
    }
}

/// `"text"` in ASCII.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

/// In hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// SHA-256 of a name, whose beginning says where it stands and how it is hashed to requests.
pub(crate) fn name_digest(name: &str) -> Hash {
    Sha256::digest(name.as_bytes()).into()
}

fn shard_of(name: &str) -> usize {
    let [first, ..] = name_digest(name);
    usize::from(first)
}

impl Sections {
    /// All sections, in any order.
    pub(crate) fn new(common: String, sections: impl IntoIterator<Item = Arc<Section>>) -> Self {
        let mut shards: Vec<Vec<Arc<Section>>> = vec![Vec::new(); SHARDS];
        for section in sections {
            if let Some(shard) = shards.get_mut(shard_of(&section.name)) {
                shard.push(section);
            }
        }
        let shards = shards.into_iter().enumerate().map(|(number, mut members)| {
            members.sort_by(|a, b| a.compare(b.kind, &b.name));
            (!members.is_empty()).then(|| Shard::new(number, members))
        });
        let common_digest = Sha256::digest(common.as_bytes()).into();
        let shards = shards.collect();
        Self { common: common.into(), common_digest, shards, digest: [0; 32] }.named()
    }

    /// The same with another common section, where one is given, and these edits; of those about
    /// one name the last holds.
    pub(crate) fn edited(&self, common: Option<String>, edits: &[Edit]) -> Self {
        let mut next = self.clone();
        if let Some(common) = common {
            next.common_digest = Sha256::digest(common.as_bytes()).into();
            next.common = common.into();
        }
        let mut touched: Vec<(usize, &Edit)> =
            edits.iter().map(|edit| (shard_of(edit.key().1), edit)).collect();
        touched.sort_by_key(|(shard, _)| *shard);
        for group in touched.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(number, _)) = group.first() else { continue };
            let Some(slot) = next.shards.get_mut(number) else { continue };
            let mut members = slot.as_ref().map(|shard| shard.members.clone()).unwrap_or_default();
            for (_, edit) in group {
                let (kind, name) = edit.key();
                let at = members.binary_search_by(|member| member.compare(kind, name));
                match (edit, at) {
                    (Edit::Put(section), Ok(at)) => {
                        if let Some(slot) = members.get_mut(at) {
                            *slot = Arc::clone(section);
                        }
                    }
                    (Edit::Put(section), Err(at)) => members.insert(at, Arc::clone(section)),
                    (Edit::Gone(..), Ok(at)) => {
                        members.remove(at);
                    }
                    (Edit::Gone(..), Err(_)) => {}
                }
            }
            *slot = (!members.is_empty()).then(|| Shard::new(number, members));
        }
        next.named()
    }

    fn named(mut self) -> Self {
        let mut text = format!("{SEMANTICS}\ncommon {}\n", hex(&self.common_digest));
        self.shards.iter().flatten().for_each(|shard| text.push_str(&shard.line));
        self.digest = Sha256::digest(text.as_bytes()).into();
        self
    }

    /// The content address.
    pub(crate) fn digest(&self) -> &Hash {
        &self.digest
    }

    /// The section of a name.
    pub(crate) fn find(&self, kind: Kind, name: &str) -> Option<&Arc<Section>> {
        let shard = self.shards.get(shard_of(name))?.as_ref()?;
        let at = shard.members.binary_search_by(|member| member.compare(kind, name)).ok()?;
        shard.members.get(at)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Section>> {
        self.shards.iter().flatten().flat_map(|shard| &shard.members)
    }

    /// The whole text: what is common, then capabilities by their names, then services by their
    /// numbers.
    pub(crate) fn text(&self) -> String {
        let mut text = self.common.to_string();
        put(self.all(), &mut text);
        text
    }

    /// How many bytes the whole text has.
    pub(crate) fn bytes(&self) -> usize {
        self.common.len() + self.shards.iter().flatten().map(|shard| shard.bytes).sum::<usize>()
    }

    /// What makes these sections of those before: as in the whole text the lines of each section
    /// that is new or another, and before them a line `gone capability "a"` or `gone service "b"`
    /// for each that is gone; first the common section, if it is another.
    pub(crate) fn delta(&self, before: &Self) -> String {
        let (mut gone, mut put_here) = (Vec::new(), Vec::new());
        for (old, new) in before.shards.iter().zip(&self.shards) {
            let digest = |shard: &Option<Arc<Shard>>| shard.as_ref().map(|shard| shard.digest);
            if digest(old) == digest(new) {
                continue;
            }
            let members = |shard: &Option<Arc<Shard>>| {
                shard.as_ref().map(|shard| shard.members.clone()).unwrap_or_default()
            };
            let (old, new) = (members(old), members(new));
            let same = |a: &Section, among: &[Arc<Section>]| {
                let at = among.binary_search_by(|member| member.compare(a.kind, &a.name));
                at.ok().and_then(|at| among.get(at)).map(|member| member.digest)
            };
            gone.extend(old.iter().filter(|it| same(it, &new).is_none()).cloned());
            put_here.extend(new.iter().filter(|it| same(it, &old) != Some(it.digest)).cloned());
        }
        let mut text = String::new();
        if self.common_digest != before.common_digest {
            text.push_str(&self.common);
        }
        gone.sort_by(|a, b| a.compare(b.kind, &b.name));
        for section in gone {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "gone {} {}", section.kind.word(), quoted(&section.name));
        }
        put(put_here.iter(), &mut text);
        text
    }
}

/// Appends sections in the order of the whole text.
fn put<'a>(sections: impl Iterator<Item = &'a Arc<Section>>, text: &mut String) {
    let mut sections: Vec<&Arc<Section>> = sections.collect();
    sections.sort_by(|a, b| (a.kind, a.number, &a.name).cmp(&(b.kind, b.number, &b.name)));
    sections.iter().for_each(|section| text.push_str(&section.text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(rng: &mut fastrand::Rng) -> Arc<Section> {
        let kind = if rng.bool() { Kind::Capability } else { Kind::Service };
        let (name, number) = (rng.u8(..40).to_string(), rng.u32(..3));
        Section::new(kind, name.into(), number, format!("{}\n", rng.u8(..3)))
    }

    #[test]
    fn edited_sections_are_those_that_are_made_anew() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut all: Vec<Arc<Section>> = Vec::new();
        let mut common = "a\n".to_owned();
        let mut sections = Sections::new(common.clone(), []);
        for _ in 0..400 {
            let mut edits = Vec::new();
            for _ in 0..rng.usize(..4) {
                let section = section(&mut rng);
                all.retain(|it| (it.kind, &it.name) != (section.kind, &section.name));
                if rng.bool() {
                    edits.push(Edit::Gone(section.kind, Arc::clone(&section.name)));
                } else {
                    all.push(Arc::clone(&section));
                    edits.push(Edit::Put(section));
                }
            }
            let other = (rng.u8(..5) == 0).then(|| format!("{}\n", rng.u8(..9)));
            common = other.clone().unwrap_or(common);
            let before = sections.clone();
            sections = sections.edited(other, &edits);
            let anew = Sections::new(common.clone(), all.iter().cloned());
            assert_eq!(sections.digest(), anew.digest());
            assert_eq!(sections.text(), anew.text());
            assert_eq!(sections.bytes(), sections.text().len());
            let same = sections.digest() == before.digest();
            assert_eq!(same, sections.delta(&before).is_empty());
            assert!(all.iter().all(|it| sections.find(it.kind, &it.name) == Some(it)));
        }
    }
}
