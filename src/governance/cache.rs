//! Answers that hold for a while, by what the operator says they depend on.
//!
//! Only what a hook said is kept, never that it said nothing. A new landscape forgets all of it: an
//! answer was given to a caller, a route and a hook as they were then.

use super::answer::Answer;
use super::question::{Described, Whole};
use crate::config::hook::{HookCache, KeyPart};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};

/// What one answer is kept under: the SHA-256 of everything that it depends on, so that neither
/// tokens nor bodies stay in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of a request.
    pub fn of(cache: &HookCache, described: &Described<'_>) -> Self {
        let mut hash = Sha256::new();
        // Each part with its length: no two requests that differ in a part have the same bytes.
        let mut put = |part: Option<&[u8]>| {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            hash.update(length.to_le_bytes());
            hash.update(part.unwrap_or_default());
        };
        for part in &cache.key {
            match part {
                KeyPart::Principal => put(Some(described.principal.as_bytes())),
                KeyPart::Address => {
                    let address = described.peer.map(|peer| peer.ip().to_canonical().to_string());
                    put(address.as_deref().map(str::as_bytes));
                }
                KeyPart::Method => put(Some(described.method.as_bytes())),
                KeyPart::Host => put(Some(described.authority.as_bytes())),
                KeyPart::Path => put(Some(described.target.as_bytes())),
                KeyPart::Body => {
                    put(described.body.map(|(bytes, _)| bytes));
                    // The hook is told whether there is more, and may answer by that.
                    let whole = described.body.map(|(_, whole)| [u8::from(whole == Whole::Yes)]);
                    put(whole.as_ref().map(|byte| &byte[..]));
                    put(described.bytes.map(u64::to_le_bytes).as_ref().map(|bytes| &bytes[..]));
                }
                KeyPart::Header(name) => put(described.fields.value(name).map(str::as_bytes)),
            }
        }
        Self(hash.finalize().into())
    }
}

/// An answer that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What the hook said.
    pub answer: Answer,
    /// The first half of the SHA-256 of its bytes.
    pub digest: [u8; 16],
}

/// One hook's answers.
#[derive(Debug, Default)]
pub struct Cache {
    /// The landscape they were given under.
    version: u64,
    entries: BTreeMap<Key, (u64, Kept)>,
    /// In the order in which they end: all hold equally long.
    order: VecDeque<(u64, Key)>,
}

impl Cache {
    /// The answer that holds for this request at `now_ms`.
    pub fn find(&mut self, key: &Key, version: u64, now_ms: u64) -> Option<&Kept> {
        self.follow(version, now_ms);
        self.entries.get(key).map(|(_, kept)| kept)
    }

    /// Keeps an answer; the oldest gives way where there are `terms.most`.
    pub fn keep(&mut self, key: Key, kept: Kept, terms: &HookCache, version: u64, now_ms: u64) {
        self.follow(version, now_ms);
        let until_ms = now_ms.saturating_add(terms.ttl_ms);
        self.entries.insert(key, (until_ms, kept));
        self.order.push_back((until_ms, key));
        while self.entries.len() > terms.most || self.order.len() > terms.most.saturating_mul(2) {
            let Some(oldest) = self.order.pop_front() else { break };
            self.forget(oldest);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Lets go of what does not hold any more.
    fn follow(&mut self, version: u64, now_ms: u64) {
        if version != self.version {
            *self = Self { version, ..Self::default() };
        }
        while let Some(oldest) = self.order.pop_front_if(|(until_ms, _)| *until_ms <= now_ms) {
            self.forget(oldest);
        }
    }

    /// Lets go of an entry, unless it was given anew since.
    fn forget(&mut self, (until_ms, key): (u64, Key)) {
        if self.entries.get(&key).is_some_and(|(until, _)| *until == until_ms) {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::answer::{Changes, Verdict};
    use crate::governance::question::Fields;

    fn terms(most: usize) -> HookCache {
        let key = vec![KeyPart::Principal, KeyPart::Path, KeyPart::Header("x-tenant".to_owned())];
        HookCache { key, ttl_ms: 100, most }
    }

    fn kept(mark: u8) -> Kept {
        let answer = Answer { verdict: Verdict::Allow(Changes::default()), facts: Vec::new() };
        Kept { answer, digest: [mark; 16] }
    }

    fn key_of(method: &str, principal: &str, target: &str, tenant: Option<&str>) -> Key {
        let mut fields = Fields::default();
        if let Some(tenant) = tenant {
            fields.add(b"X-Tenant", tenant.as_bytes()).unwrap();
        }
        let fields = &fields;
        Key::of(&terms(9), &Described { method, principal, target, fields, ..Described::default() })
    }

    fn key(principal: &str, target: &str, tenant: Option<&str>) -> Key {
        key_of("GET", principal, target, tenant)
    }

    #[test]
    fn keys_differ_where_a_declared_input_does_and_nowhere_else() {
        let one = key("ab", "/c", Some("t"));
        for other in [
            key("a", "b/c", Some("t")),
            key("ab", "/c", None),
            key("ab", "/c", Some("")),
            key("ab", "/ct", None),
            key("x", "/c", Some("t")),
        ] {
            assert_ne!(one, other);
        }
        assert_ne!(key("ab", "/c", None), key("ab", "/c", Some("")));
        assert_eq!(key_of("POST", "ab", "/c", Some("t")), one, "the method is no declared input");
        let body = HookCache { key: vec![KeyPart::Body], ..terms(9) };
        let with = |body, bytes| Described { body, bytes, ..Described::default() };
        let (no, yes) = (Some((&b"x"[..], Whole::No)), Some((&b"x"[..], Whole::Yes)));
        let of = |described: Described<'_>| Key::of(&body, &described);
        assert_ne!(of(with(no, Some(9))), of(with(yes, Some(1))), "a longer body is another");
        assert_ne!(of(with(None, Some(0))), of(with(yes, Some(1))));
        assert_ne!(of(with(no, None)), of(with(yes, None)), "the beginning is not the whole");
        assert_eq!(of(with(no, None)), of(with(no, None)));
    }

    #[test]
    fn an_answer_ends_with_its_time_with_the_landscape_and_with_the_room() {
        let mut cache = Cache::default();
        let place = |number: u8| key("a", &format!("/{number}"), None);
        for number in 0..3 {
            cache.keep(place(number), kept(number), &terms(2), 1, u64::from(number));
        }
        assert_eq!(cache.len(), 2);
        assert_eq!(cache.find(&place(0), 1, 3), None, "the oldest gave way");
        assert_eq!(cache.find(&place(2), 1, 3).map(|kept| kept.digest), Some([2; 16]));
        // Given anew, it holds from then on.
        cache.keep(place(1), kept(9), &terms(2), 1, 50);
        assert_eq!(cache.find(&place(1), 1, 149).map(|kept| kept.digest), Some([9; 16]));
        assert_eq!(cache.find(&place(2), 1, 149), None, "its time has passed");
        assert_eq!(cache.find(&place(1), 1, 150), None, "at its end it does not hold");
        cache.keep(place(1), kept(1), &terms(2), 1, 200);
        assert_eq!(cache.find(&place(1), 2, 201), None, "another landscape");
        assert!(cache.is_empty());
    }

    #[test]
    fn an_answer_that_is_given_again_and_again_takes_one_place() {
        let mut cache = Cache::default();
        for at in 0..1000 {
            cache.keep(key("a", "/", None), kept(1), &terms(4), 1, at);
            assert!(cache.len() == 1 && cache.order.len() <= 8, "{}", cache.order.len());
        }
        assert!(cache.find(&key("a", "/", None), 1, 1000).is_some());
    }
}
