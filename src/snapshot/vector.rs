//! The facts of one request, as the numbers that the offers of one capability are compared with.

use super::reading::{self, Reader};
use super::request::{BadFact, Principal, RequestView};
use crate::contract::logic::{AttributeId, Facts};
use crate::contract::set::{Numbers, Set, Texts, Value};
use crate::contract::vocabulary::{Declared, Side, Source, Vocabulary};
use crate::wire::limits::FACT_COLUMNS_MAX;
use std::cmp::Ordering;
use std::sync::Arc;

/// One value per column and which of them are known. Reused from request to request.
#[derive(Clone, Debug)]
pub struct FactVector {
    known: u64,
    values: [i64; FACT_COLUMNS_MAX],
}

impl Default for FactVector {
    fn default() -> Self {
        Self { known: 0, values: [0; FACT_COLUMNS_MAX] }
    }
}

impl FactVector {
    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self) {
        self.known = 0;
    }

    /// Which columns are known: bit n is column n.
    #[inline]
    pub fn known(&self) -> u64 {
        self.known
    }

    /// The number in a column, if it is known.
    #[inline]
    pub fn number(&self, column: usize) -> Option<i64> {
        if self.known.checked_shr(u32::try_from(column).ok()?)? & 1 == 0 {
            return None;
        }
        self.values.get(column).copied()
    }

    /// All numbers; those of unknown columns mean nothing.
    #[inline]
    pub fn numbers(&self) -> &[i64; FACT_COLUMNS_MAX] {
        &self.values
    }

    #[inline]
    fn set(&mut self, column: usize, number: i64) {
        if let Some(slot) = self.values.get_mut(column) {
            *slot = number;
            self.known |= 1 << column;
        }
    }
}

/// Where a column's text comes from; the vocabulary's source, with what a caller entry says.
#[derive(Clone, Debug)]
enum Origin {
    Request(Source),
    Caller,
    /// A promise-side attribute has no facts.
    Nowhere,
}

/// One attribute that some offer of the capability constrains.
#[derive(Clone, Debug)]
pub struct Column {
    /// The attribute.
    pub attribute: AttributeId,
    declared: Declared,
    origin: Origin,
    reader: Reader,
    /// The ends of all text intervals on this attribute, sorted; empty for numbers. The rank of a
    /// text is how many of them are not above it, so `[low, high)` is a closed interval of ranks.
    ends: Vec<Vec<u8>>,
}

/// The columns of one capability, in the order of their attributes. Capabilities whose offers
/// constrain the same share them, so that they are in the caches when a request needs them.
#[derive(Clone, Debug)]
pub struct Columns {
    columns: Arc<[Column]>,
}

/// What columns differ in.
pub(crate) type Identity = Vec<(AttributeId, Vec<Vec<u8>>)>;

impl Columns {
    /// The columns for these attributes, each with every set that is compared with it.
    pub fn new<'a>(
        vocabulary: &Vocabulary,
        sets: impl IntoIterator<Item = (AttributeId, Vec<&'a Set>)>,
    ) -> Self {
        let columns = sets.into_iter().filter_map(|(attribute, sets)| {
            let declared = vocabulary.owner(attribute)?.clone();
            let mut ends: Vec<Vec<u8>> = Vec::new();
            for set in sets {
                if let Set::Texts(texts) = set {
                    for (low, high) in texts.intervals() {
                        ends.push(low.clone());
                        ends.extend(high.clone());
                    }
                }
            }
            ends.sort_unstable();
            ends.dedup();
            let place = usize::from(attribute.0.saturating_sub(declared.ids.start));
            let reader = Reader::new(&declared.kind, place);
            let origin = match (&declared.source, declared.side) {
                (Some(source), _) => Origin::Request(source.clone()),
                (None, Side::Caller) => Origin::Caller,
                (None, Side::Request | Side::Promise) => Origin::Nowhere,
            };
            Some(Column { attribute, declared, origin, reader, ends })
        });
        Self { columns: columns.collect() }
    }

    /// What sets them apart from others of the same vocabulary.
    pub(crate) fn identity(&self) -> Identity {
        self.columns.iter().map(|column| (column.attribute, column.ends.clone())).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether nothing is constrained.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Their attributes, in order.
    pub fn attributes(&self) -> impl Iterator<Item = AttributeId> {
        self.columns.iter().map(|column| column.attribute)
    }

    /// The column of an attribute.
    pub fn find(&self, attribute: AttributeId) -> Option<usize> {
        self.columns.binary_search_by_key(&attribute, |column| column.attribute).ok()
    }

    /// The closed intervals of numbers that stand for `set` in this column.
    pub fn intervals(&self, column: usize, set: &Set) -> Vec<(i64, i64)> {
        let Some(column) = self.columns.get(column) else { return Vec::new() };
        match set {
            Set::Numbers(numbers) => numbers.intervals().to_vec(),
            Set::Texts(texts) => texts
                .intervals()
                .iter()
                .map(|(low, high)| {
                    let low = column.rank(|end| end.cmp(low));
                    let high =
                        high.as_ref().map_or(i64::MAX, |high| column.rank(|end| end.cmp(high)) - 1);
                    (low, high)
                })
                .collect(),
        }
    }

    /// Reads the facts of a request. Allocates only for a text that is malformed or unusually
    /// spelled (a sign, an upper-case digest, more than 18 digits): a few short strings for each.
    ///
    /// # Errors
    /// The first source whose text is malformed.
    #[inline]
    pub fn read(
        &self,
        view: &impl RequestView,
        principal: &Principal,
        facts: &mut FactVector,
    ) -> Result<(), BadFact> {
        facts.clear();
        for (at, column) in self.columns.iter().enumerate() {
            if let Origin::Request(Source::BodyBytes) = column.origin {
                if let Some(bytes) = view.body_bytes() {
                    facts.set(at, i64::try_from(bytes).unwrap_or(i64::MAX));
                }
            } else if let Some(text) = column.text(view, principal)
                && let Some(number) = column.number_of(text)?
            {
                facts.set(at, number);
            }
        }
        Ok(())
    }

    /// The same facts as values, for explanations.
    ///
    /// # Errors
    /// The first source whose text is malformed.
    pub fn values(&self, view: &impl RequestView, principal: &Principal) -> Result<Facts, BadFact> {
        let mut facts = Facts::new();
        for column in self.columns.iter() {
            let value = if let Origin::Request(Source::BodyBytes) = column.origin {
                view.body_bytes()
                    .map(|bytes| Value::Number(i64::try_from(bytes).unwrap_or(i64::MAX)))
            } else if let Some(text) = column.text(view, principal) {
                column.value_of(text)?
            } else {
                None
            };
            facts.extend(value.map(|value| (column.attribute, value)));
        }
        Ok(facts)
    }

    /// The vector of given values; those of other attributes are left out.
    pub fn vector(&self, values: &Facts) -> FactVector {
        let mut facts = FactVector::default();
        for (at, column) in self.columns.iter().enumerate() {
            match values.get(&column.attribute) {
                Some(Value::Number(number)) => facts.set(at, *number),
                Some(Value::Text(text)) => facts.set(at, column.text_rank(text)),
                None => {}
            }
        }
        facts
    }
}

impl Columns {
    /// The vector of numbers as records have them; those of other attributes are left out.
    pub fn recorded(&self, numbers: impl IntoIterator<Item = (AttributeId, i64)>) -> FactVector {
        let mut facts = FactVector::default();
        for (attribute, number) in numbers {
            if let Some(column) = self.find(attribute) {
                facts.set(column, number);
            }
        }
        facts
    }

    /// What a recorded number stands for: of a text every text of that rank. `None` where the
    /// attribute has no column, or no value has this number.
    pub fn meaning(&self, attribute: AttributeId, number: i64) -> Option<Set> {
        let column = self.columns.get(self.find(attribute)?)?;
        if !column.is_text() {
            return Some(Set::Numbers(Numbers::new([(number, number)])));
        }
        let rank = usize::try_from(number).ok().filter(|rank| *rank <= column.ends.len())?;
        let low = rank.checked_sub(1).and_then(|below| column.ends.get(below));
        let low = low.cloned().unwrap_or_default();
        Some(Set::Texts(Texts::new([(low, column.ends.get(rank).cloned())])))
    }
}

impl Column {
    fn is_text(&self) -> bool {
        matches!(self.reader, Reader::Text | Reader::Reversed | Reader::Fingerprint)
    }

    #[inline]
    fn text<'a>(&self, view: &'a impl RequestView, principal: &'a Principal) -> Option<&'a str> {
        match &self.origin {
            Origin::Nowhere | Origin::Request(Source::BodyBytes) => None,
            Origin::Request(Source::Method) => Some(view.method()),
            Origin::Request(Source::Path) => Some(view.path()),
            Origin::Request(Source::Host) => Some(view.host()),
            Origin::Request(Source::Header(name)) => view.header(name),
            Origin::Request(Source::CallerId) => Some(&principal.id),
            Origin::Caller => {
                let mut facts = principal.facts.iter();
                facts.find(|(known, _)| *known == self.declared.name).map(|(_, text)| text.as_str())
            }
        }
    }

    /// How many ends are not above the text that `compare` compares an end with.
    #[inline]
    fn rank(&self, compare: impl Fn(&[u8]) -> Ordering) -> i64 {
        let below = self.ends.partition_point(|end| compare(end) != Ordering::Greater);
        i64::try_from(below).unwrap_or(i64::MAX)
    }

    fn text_rank(&self, text: &str) -> i64 {
        self.rank(|end| end.cmp(text.as_bytes()))
    }

    fn bad(&self, what: String) -> BadFact {
        let origin = match &self.origin {
            Origin::Request(Source::Header(name)) => format!("header `{name}`"),
            Origin::Request(Source::CallerId) | Origin::Caller => "caller".to_owned(),
            Origin::Request(_) | Origin::Nowhere => "request".to_owned(),
        };
        BadFact { origin, attribute: self.declared.name.clone(), what }
    }

    #[inline]
    fn number_of(&self, text: &str) -> Result<Option<i64>, BadFact> {
        match &self.reader {
            Reader::Text => Ok(Some(self.text_rank(text))),
            Reader::Reversed => Ok(Some(self.rank(|end| {
                end.iter().copied().cmp(text.chars().rev().flat_map(|character| {
                    let mut utf8 = [0; 4];
                    let length = character.encode_utf8(&mut utf8).len();
                    utf8.into_iter().take(length)
                }))
            }))),
            Reader::Fingerprint => match reading::fingerprint(text) {
                Some(text) => Ok(Some(self.text_rank(text))),
                None => self.other(text),
            },
            reader => match reader.number(text) {
                Some(number) => Ok(Some(number)),
                // A spelling that only the vocabulary reads, or a fault that it words.
                None => self.other(text),
            },
        }
    }

    #[cold]
    fn other(&self, text: &str) -> Result<Option<i64>, BadFact> {
        Ok(self.value_of(text)?.map(|value| match value {
            Value::Number(number) => number,
            Value::Text(text) => self.text_rank(&text),
        }))
    }

    fn value_of(&self, text: &str) -> Result<Option<Value>, BadFact> {
        let values = self.declared.facts(text).map_err(|what| self.bad(what))?;
        let mut values = values.into_iter();
        Ok(values.find(|(attribute, _)| *attribute == self.attribute).map(|(_, value)| value))
    }
}
