//! What credentials are checked with at one moment: key sets and key tables, by identity.

use super::jwks::JwkSet;
use super::keys::KeyTable;
use std::sync::Arc;

/// What the credentials of one identity are checked with.
#[derive(Clone, Debug)]
pub enum Material {
    /// Public keys of an issuer.
    Tokens(Arc<JwkSet>),
    /// Hashes of API keys.
    Keys(Arc<KeyTable>),
}

impl Material {
    /// The SHA-256 of the text it was read from.
    pub fn digest(&self) -> [u8; 32] {
        match self {
            Self::Tokens(set) => set.digest(),
            Self::Keys(table) => table.digest(),
        }
    }

    /// How many keys it has.
    pub fn count(&self) -> usize {
        match self {
            Self::Tokens(set) => set.len(),
            Self::Keys(table) => table.len(),
        }
    }
}

/// What credentials are checked with at one moment; immutable, replaced whole.
#[derive(Clone, Debug, Default)]
pub struct KeySets {
    version: u64,
    loaded: Vec<Option<Loaded>>,
}

#[derive(Clone, Debug)]
struct Loaded {
    material: Material,
    /// The first second at which it is too old to be believed.
    until_s: u64,
}

impl KeySets {
    /// Nothing is known yet of so many identities: each of their credentials is refused.
    pub fn empty(identities: usize) -> Self {
        Self { version: 0, loaded: vec![None; identities] }
    }

    /// Changes whenever what a credential was checked with may have changed. Whoever remembers a
    /// result forgets it then.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The same with this material for an identity, believed until that second. Reading the same
    /// text again only moves the end.
    #[must_use]
    pub fn with(&self, identity: u16, material: Material, until_s: u64) -> Self {
        let mut next = self.clone();
        if let Some(slot) = next.loaded.get_mut(usize::from(identity)) {
            let known = slot.as_ref().map(|loaded| loaded.material.digest());
            if known != Some(material.digest()) {
                next.version = next.version.wrapping_add(1);
            }
            *slot = Some(Loaded { material, until_s });
        }
        next
    }

    /// The same with what `others` have for an identity that is `theirs` there, believed as long.
    #[must_use]
    pub fn carried(&self, identity: u16, others: &Self, theirs: u16) -> Self {
        match others.loaded.get(usize::from(theirs)) {
            Some(Some(Loaded { material, until_s })) => {
                self.with(identity, material.clone(), *until_s)
            }
            Some(None) | None => self.clone(),
        }
    }

    /// The same without anything for an identity, whose credentials are then refused.
    #[must_use]
    pub fn without(&self, identity: u16) -> Self {
        let mut next = self.clone();
        if let Some(slot) = next.loaded.get_mut(usize::from(identity))
            && slot.take().is_some()
        {
            next.version = next.version.wrapping_add(1);
        }
        next
    }

    /// What there is for an identity, unless it is too old at this second.
    pub fn material(&self, identity: u16, now_s: u64) -> Option<&Material> {
        let loaded = self.loaded.get(usize::from(identity))?.as_ref()?;
        (now_s < loaded.until_s).then_some(&loaded.material)
    }

    /// Until when what there is for an identity is believed.
    pub fn until_s(&self, identity: u16) -> Option<u64> {
        self.loaded.get(usize::from(identity))?.as_ref().map(|loaded| loaded.until_s)
    }
}
