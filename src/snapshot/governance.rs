//! The hooks that a landscape has asked before decisions, as far as records need them.

use crate::config::hook::{Hooks, OnFailure};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a landscape says of governance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Governance {
    hooks: Vec<(Arc<str>, OnFailure)>,
    /// The attributes of callers that some hook states, for proofs: no record needs them.
    stated: BTreeSet<String>,
    /// The header fields that something is decided by, in order, which hooks leave alone.
    deciding: Arc<[String]>,
    /// Asked on every route that names none itself, in order.
    pub default: Arc<[u16]>,
}

impl Governance {
    /// The hooks of these settings. Their numbers follow the order of their ids, so that the order
    /// of writing means nothing.
    pub fn new(settings: &Hooks) -> Self {
        let all = settings.all.iter();
        let hooks = all.map(|hook| (Arc::from(hook.id.as_str()), hook.on_failure)).collect();
        let facts = settings.all.iter().flat_map(|hook| &hook.facts);
        let stated = facts.map(|fact| fact.attribute.name.clone()).collect();
        let deciding = Arc::from(settings.deciding.as_slice());
        Self { stated, deciding, ..Self::of(hooks, &settings.default) }
    }

    /// The same from its parts.
    pub fn of(mut hooks: Vec<(Arc<str>, OnFailure)>, default: &[String]) -> Self {
        hooks.sort();
        hooks.dedup_by(|one, other| one.0 == other.0);
        let mut governance = Self { hooks, ..Self::default() };
        governance.default = default.iter().filter_map(|id| governance.number(id)).collect();
        governance
    }

    /// Whether some hook's word on an attribute stands in place of what is configured of a caller.
    pub fn states(&self, attribute: &str) -> bool {
        self.stated.contains(attribute)
    }

    /// The header fields that something is decided by, in order: no hook's to change.
    pub fn deciding(&self) -> &[String] {
        &self.deciding
    }

    /// Every hook's id and what its failure means, by number.
    pub fn hooks(&self) -> &[(Arc<str>, OnFailure)] {
        &self.hooks
    }

    /// A hook's number.
    pub fn number(&self, id: &str) -> Option<u16> {
        let at = self.hooks.binary_search_by(|(known, _)| (**known).cmp(id)).ok()?;
        u16::try_from(at).ok()
    }

    /// A hook's id and what its failure means.
    pub fn hook(&self, number: u16) -> Option<(&str, OnFailure)> {
        self.hooks.get(usize::from(number)).map(|(id, failure)| (&**id, *failure))
    }
}
