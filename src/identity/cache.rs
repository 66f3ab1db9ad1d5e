//! Verified tokens, remembered by one worker until they expire or the keys change.
//!
//! ```text
//!   token ──▶ keyed hash ──▶ set of 8 entries ──▶ the one whose bytes are equal
//! ```
//! An entry is found by a hash and believed by its bytes: a collision costs a place and never says
//! who is calling. Only valid tokens get in, so whoever has none cannot push out those of others.

use super::Identified;
use crate::wire::limits::{TOKEN_CACHE_BYTES_MAX, TOKEN_CACHE_SETS};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Entries that one hash may have.
const WAYS: usize = 8;

/// See the module's text.
#[derive(Debug)]
pub struct TokenCache {
    /// Two halves of a secret, so that nobody outside can aim at one set.
    seed: [u64; 2],
    /// The version of the key sets that all entries were verified with.
    version: u64,
    sets: Vec<[Option<Entry>; WAYS]>,
    bytes: usize,
    /// Which entry of a full set goes next.
    turn: usize,
    /// Which set was forgotten last for want of room.
    swept: usize,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    token: Zeroizing<Box<[u8]>>,
    identity: u16,
    identified: Arc<Identified>,
}

impl TokenCache {
    /// An empty one; the seed is random and secret.
    pub fn new(seed: [u64; 2]) -> Self {
        let mut sets = Vec::new();
        sets.resize_with(TOKEN_CACHE_SETS, Default::default);
        Self { seed, version: 0, sets, bytes: 0, turn: 0, swept: 0 }
    }

    /// How many tokens it holds.
    pub fn len(&self) -> usize {
        self.sets.iter().flatten().flatten().count()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the tokens it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Who a token was found to be of, and by which identity, with key sets of this version.
    pub(super) fn find(
        &mut self,
        token: &[u8],
        version: u64,
        now_s: u64,
    ) -> Option<(u16, Arc<Identified>)> {
        if self.version != version {
            self.clear(version);
            return None;
        }
        let hash = hash(self.seed, token);
        let set = self.sets.get_mut(place(hash))?;
        let found = set.iter_mut().find(|slot| {
            slot.as_ref().is_some_and(|entry| entry.hash == hash && **entry.token == *token)
        })?;
        let entry = found.as_ref()?;
        if entry.identified.holds_at(now_s) {
            return Some((entry.identity, Arc::clone(&entry.identified)));
        }
        self.bytes -= entry.token.len();
        *found = None;
        None
    }

    /// Remembers a token that was verified with key sets of this version.
    pub(super) fn insert(
        &mut self,
        token: &[u8],
        version: u64,
        identity: u16,
        identified: &Arc<Identified>,
    ) {
        if self.version != version {
            self.clear(version);
        }
        for _ in 0..TOKEN_CACHE_SETS {
            if self.bytes + token.len() <= TOKEN_CACHE_BYTES_MAX {
                break;
            }
            self.sweep();
        }
        let hash = hash(self.seed, token);
        let Some(set) = self.sets.get_mut(place(hash)) else { return };
        let free = set.iter().position(Option::is_none);
        let at = free.unwrap_or(self.turn % WAYS);
        self.turn = self.turn.wrapping_add(1);
        if let Some(slot) = set.get_mut(at) {
            self.bytes -= slot.as_ref().map_or(0, |entry| entry.token.len());
            self.bytes += token.len();
            let (token, identified) = (Zeroizing::new(token.into()), Arc::clone(identified));
            *slot = Some(Entry { hash, token, identity, identified });
        }
    }

    /// Forgets one set after the other: no order of age is kept, and what is in use comes back.
    fn sweep(&mut self) {
        self.swept = (self.swept + 1) % TOKEN_CACHE_SETS;
        for slot in self.sets.get_mut(self.swept).into_iter().flatten() {
            self.bytes -= slot.take().map_or(0, |entry| entry.token.len());
        }
    }

    fn clear(&mut self, version: u64) {
        self.version = version;
        self.bytes = 0;
        self.sets.iter_mut().flatten().for_each(|slot| *slot = None);
    }
}

fn place(hash: u64) -> usize {
    usize::try_from(hash % TOKEN_CACHE_SETS as u64).unwrap_or(0)
}

/// A hash of the whole token under a secret: 16 bytes a step, each folded by a multiplication to
/// 128 bits, as wyhash does. It spreads and is quick; nothing is believed because of it.
fn hash(seed: [u64; 2], token: &[u8]) -> u64 {
    let [first, second] = seed;
    let fold = |left: u64, right: u64| {
        let product = u128::from(left) * u128::from(right);
        let [high, low] = [(product >> 64) as u64, product as u64];
        high ^ low
    };
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(word)
    };
    let (steps, rest) = token.as_chunks::<16>();
    let mut state = first ^ token.len() as u64;
    for step in steps {
        let both = u128::from_le_bytes(*step);
        state = fold(state ^ both as u64, second ^ (both >> 64) as u64);
    }
    let (low, high) = rest.split_at(rest.len().min(8));
    fold(fold(state ^ word(low), second ^ word(high)), first | 1)
}
