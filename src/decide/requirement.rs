//! Requirements that requests carry in `CAIO-Require`, conjoined with the bound ones: a header can
//! only narrow. What a header means is worked out once per worker and kept.

use crate::config::model::Condition;
use crate::contract::complaint::Complaint;
use crate::contract::require::{self, Required};
use crate::snapshot::bound::Bound;
use crate::snapshot::flat::FlatNeeds;
use crate::snapshot::{Capability, CapabilityId, Snapshot};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A header's requirements, and what they mean for the capabilities they were bound to.
#[derive(Clone, Debug, Default)]
pub struct HeaderNeeds {
    conditions: Vec<Condition>,
    flat: FlatNeeds,
    bound: BTreeMap<CapabilityId, Bound>,
    number: Cell<u64>,
}

impl HeaderNeeds {
    /// The requirements of a header, parsed.
    pub fn new(conditions: Vec<Condition>) -> Self {
        let flat = FlatNeeds::new(&conditions);
        Self { flat, conditions, bound: BTreeMap::new(), number: Cell::new(0) }
    }

    /// The requirements.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Which explanation of its worker's trail was its own, counted from 1; 0 for none yet.
    pub fn number(&self) -> u64 {
        self.number.get()
    }

    /// Notes that it was explained.
    pub fn set_number(&self, number: u64) {
        self.number.set(number);
    }

    /// The same, flat, for the re-check.
    pub fn flat(&self) -> &FlatNeeds {
        &self.flat
    }

    /// Works out what the requirements mean for the candidates of a capability.
    pub fn bind(&mut self, snapshot: &Snapshot, capability: CapabilityId) {
        if let Some(entry) = snapshot.capability_entry(capability) {
            let bound = Bound::new(&entry.candidates, &self.conditions);
            self.bound.insert(capability, bound);
        }
    }

    pub(super) fn bound(&self, id: CapabilityId, capability: &Capability) -> Cow<'_, Bound> {
        match self.bound.get(&id) {
            Some(bound) => Cow::Borrowed(bound),
            None => Cow::Owned(Bound::new(&capability.candidates, &self.conditions)),
        }
    }
}

/// Who limits how many headers a caller may have worked out: one token is one miss.
pub trait Tokens {
    /// Takes a token if there is one.
    fn take(&mut self) -> bool;
}

/// Why a header's requirements are not available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable<E> {
    /// The header does not parse.
    Malformed(E),
    /// The caller sent too many headers that nobody sent before.
    Limited,
}

/// The headers of one worker, for one snapshot: make a new one when a snapshot is adopted.
#[derive(Debug)]
pub struct Interner {
    known: BTreeMap<Box<str>, BTreeMap<CapabilityId, Rc<HeaderNeeds>>>,
    entries: usize,
    entries_max: usize,
}

impl Interner {
    /// An interner that keeps that many (header, capability) pairs.
    pub fn new(entries_max: usize) -> Self {
        Self { known: BTreeMap::new(), entries: 0, entries_max }
    }

    /// How many pairs are kept.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The requirements of a header for a capability. A hit allocates nothing; a miss takes a token
    /// before `parse` is asked. When it is full everything is forgotten: what is in use comes back
    /// at one miss each, and a flood of new headers is what the tokens are for.
    ///
    /// # Errors
    /// The header is malformed, or there was no token.
    pub fn resolve<E>(
        &mut self,
        snapshot: &Snapshot,
        capability: CapabilityId,
        header: &str,
        tokens: &mut impl Tokens,
        parse: impl FnOnce(&str) -> Result<Vec<Condition>, E>,
    ) -> Result<Rc<HeaderNeeds>, Unavailable<E>> {
        let known = self.known.get(header).and_then(|by| by.get(&capability));
        if let Some(known) = known {
            return Ok(Rc::clone(known));
        }
        if !tokens.take() {
            return Err(Unavailable::Limited);
        }
        let mut needs = HeaderNeeds::new(parse(header).map_err(Unavailable::Malformed)?);
        needs.bind(snapshot, capability);
        let needs = Rc::new(needs);
        if self.entries >= self.entries_max {
            self.known.clear();
            self.entries = 0;
        }
        self.known.entry(header.into()).or_default().insert(capability, Rc::clone(&needs));
        self.entries += 1;
        Ok(needs)
    }
}

/// Reads the lines of a `CAIO-Require` field to conditions: named requirements become what they
/// name, expressions stand for themselves.
///
/// # Errors
/// What is wrong with the field.
pub fn read<'a>(
    snapshot: &Snapshot,
    lines: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Condition>, Complaint> {
    let known = |id: &str| snapshot.requirement(id).is_some();
    let required = require::resolve(snapshot.vocabulary(), require::parse(lines)?, known)?;
    let mut conditions = Vec::new();
    for one in required {
        match one {
            Required::Named(id) => {
                conditions.extend_from_slice(snapshot.requirement(&id).unwrap_or_default());
            }
            Required::Expression { text, cnf } => {
                conditions.push(Condition { name: "caio-require".to_owned(), text, cnf });
            }
        }
    }
    Ok(conditions)
}
