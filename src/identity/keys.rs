//! API keys: found by the hash of what is presented, compared in constant time.
//!
//! Only hashes are kept, so nobody can call with what a stolen file or memory image says. A key has
//! 32 random bytes or more, which is why a plain hash is enough: there is no dictionary to try.
//!
//! The table is ordered by hash and searched by the hash of the presented bytes. How long that
//! takes depends on the hash alone, and whoever measures it learns the first bits of the hash of a
//! text that they know anyway; to use that they would need a text whose hash begins like that of a
//! key they do not know, and then still not have the key. The last comparison, hash against hash,
//! takes the same time wherever they differ.

use super::{Identified, IdentityError, Method, evidence};
use crate::config::api_keys::ApiKeyEntry;
use crate::wire::limits::{API_KEY_BYTES_MAX, API_KEY_BYTES_MIN};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use std::sync::Arc;

/// The keys of one identity, by hash.
#[derive(Clone, Debug)]
pub struct KeyTable {
    digest: [u8; 32],
    /// In the order of the hashes, which are unique.
    keys: Vec<Key>,
}

#[derive(Clone, Debug)]
struct Key {
    hash: [u8; 32],
    disabled: bool,
    identified: Arc<Identified>,
}

impl KeyTable {
    /// The table of these entries, which were read from a text of this digest.
    pub fn new(digest: [u8; 32], entries: Vec<ApiKeyEntry>) -> Self {
        let mut keys: Vec<Key> = entries.into_iter().map(Key::new).collect();
        keys.sort_by_key(|key| key.hash);
        Self { digest, keys }
    }

    /// The SHA-256 of its text.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// How many keys it has, disabled ones too.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it has none: then nobody has a key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whose key this is. All refusals say the same, so that no answer tells that a key exists.
    ///
    /// # Errors
    /// The one reason there is.
    pub fn identify(&self, presented: &[u8], now_s: u64) -> Result<Arc<Identified>, IdentityError> {
        let refused = Err(IdentityError::Invalid("the API key is not valid"));
        if !(API_KEY_BYTES_MIN..=API_KEY_BYTES_MAX).contains(&presented.len()) {
            return refused;
        }
        let hash = digest::digest(&digest::SHA256, presented);
        let Ok(at) = self.keys.binary_search_by(|key| key.hash[..].cmp(hash.as_ref())) else {
            return refused;
        };
        match self.keys.get(at) {
            Some(key)
                if verify_slices_are_equal(&key.hash, hash.as_ref()).is_ok()
                    && !key.disabled
                    && key.identified.holds_at(now_s) =>
            {
                Ok(Arc::clone(&key.identified))
            }
            _ => refused,
        }
    }
}

impl Key {
    fn new(entry: ApiKeyEntry) -> Self {
        let ApiKeyEntry { principal, hash, owner: _, expires_s, disabled, facts } = entry;
        let text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let identified = Identified {
            id: principal.into(),
            method: Method::ApiKey,
            evidence: evidence("key", format!("sha256:{text}").as_bytes()),
            facts,
            from_s: 0,
            expires_s,
        };
        Self { hash, disabled, identified: Arc::new(identified) }
    }
}
