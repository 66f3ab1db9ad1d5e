//! The facts of one request, as the numbers that the offers of one capability are compared with.

use super::request::{Attributes, BadFact, Principal, Reader, RequestView, Source};
use crate::contract::logic::{AttributeId, Facts};
use crate::contract::set::{Set, Value};
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

/// One attribute that some offer of the capability constrains.
#[derive(Clone, Debug)]
pub struct Column {
    /// The attribute.
    pub attribute: AttributeId,
    name: String,
    source: Option<Source>,
    reader: Reader,
    /// The ends of all text intervals on this attribute, sorted; empty for numbers. The rank of a
    /// text is how many of them are not above it, so `[low, high)` is a closed interval of ranks.
    ends: Vec<Vec<u8>>,
}

/// The columns of one capability, in the order of their attributes.
#[derive(Clone, Debug)]
pub struct Columns {
    columns: Vec<Column>,
    attributes: Arc<dyn Attributes>,
}

impl Columns {
    /// The columns for these attributes, each with every set that is compared with it.
    pub fn new<'a>(
        attributes: &Arc<dyn Attributes>,
        sets: impl IntoIterator<Item = (AttributeId, Vec<&'a Set>)>,
    ) -> Self {
        let columns = sets.into_iter().map(|(attribute, sets)| {
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
            Column {
                attribute,
                name: attributes.name(attribute),
                source: attributes.source(attribute),
                reader: attributes.reader(attribute),
                ends,
            }
        });
        Self { columns: columns.collect(), attributes: Arc::clone(attributes) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether nothing is constrained.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
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
                    let high = high.as_ref().map_or(i64::MAX, |high| {
                        column.rank(|end| end.cmp(high)) - 1
                    });
                    (low, high)
                })
                .collect(),
        }
    }

    /// Reads the facts of a request.
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
            if let Some(Source::BodyBytes) = column.source {
                if let Some(bytes) = view.body_bytes() {
                    facts.set(at, i64::try_from(bytes).unwrap_or(i64::MAX));
                }
            } else if let Some(text) = source_text(column.source.as_ref(), view, principal)
                && let Some(number) = column.number_of(self.attributes.as_ref(), text)?
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
        for column in &self.columns {
            let value = if let Some(Source::BodyBytes) = column.source {
                view.body_bytes()
                    .map(|bytes| Value::Number(i64::try_from(bytes).unwrap_or(i64::MAX)))
            } else if let Some(text) = source_text(column.source.as_ref(), view, principal) {
                column.value_of(self.attributes.as_ref(), text)?
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

fn source_text<'a>(
    source: Option<&Source>,
    view: &'a impl RequestView,
    principal: &'a Principal,
) -> Option<&'a str> {
    match source? {
        Source::BodyBytes => None,
        Source::Method => Some(view.method()),
        Source::Path => Some(view.path()),
        Source::Host => Some(view.host()),
        Source::Header(name) => view.header(name),
        Source::CallerId => Some(&principal.id),
        Source::CallerFact(name) => principal
            .facts
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str()),
    }
}

impl Column {
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
        let origin = match &self.source {
            Some(Source::Header(name)) => format!("header `{}`", name.escape_debug()),
            Some(Source::CallerFact(_) | Source::CallerId) => "caller".to_owned(),
            _ => "request".to_owned(),
        };
        BadFact { origin, attribute: self.name.clone(), what }
    }

    fn number_of(
        &self,
        attributes: &dyn Attributes,
        text: &str,
    ) -> Result<Option<i64>, BadFact> {
        match &self.reader {
            Reader::Text => Ok(Some(self.text_rank(text))),
            Reader::Reversed => {
                Ok(Some(self.rank(|end| end.iter().copied().cmp(text.bytes().rev()))))
            }
            Reader::Symbols(symbols) => {
                if let Some(rank) = symbols.iter().position(|symbol| symbol == text) {
                    return Ok(i64::try_from(rank).ok());
                }
                // The vocabulary words the complaint, or knows a spelling that this does not.
                self.other(attributes, text)
            }
            Reader::Other => self.other(attributes, text),
        }
    }

    fn other(&self, attributes: &dyn Attributes, text: &str) -> Result<Option<i64>, BadFact> {
        let value = attributes.read(self.attribute, text).map_err(|what| self.bad(what))?;
        Ok(value.map(|value| match value {
            Value::Number(number) => number,
            Value::Text(text) => self.text_rank(&text),
        }))
    }

    fn value_of(&self, attributes: &dyn Attributes, text: &str) -> Result<Option<Value>, BadFact> {
        attributes.read(self.attribute, text).map_err(|what| self.bad(what))
    }
}
