//! Chained keys of segments: each signs once, the next segment's beginning, and is destroyed.
//!
//! ```text
//!   log key ──signs──▶ K of segment 0: size 0, key 0
//!   key 0 ────signs──▶ K of segment 1: size, root, key 1        then key 0 is gone
//!   key 1 ────signs──▶ K of segment 2 …
//! ```
//! The root of a `K` covers all frames before it, so whoever takes over the machine at some time
//! holds one key, and can sign nothing about what lies before that key's segment.

use super::note::LogKey;
use super::record::{Hash, SegmentKey};
use ed25519_dalek::{Signer, SigningKey};

/// The name of segments' keys.
pub const SEGMENT_KEY: &str = "caio-trail/segment";

/// The private key of one segment; its memory is cleared when it is dropped.
pub struct SegmentSecret {
    signing: SigningKey,
}

impl SegmentSecret {
    /// The key of these 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { signing: SigningKey::from_bytes(seed) }
    }

    /// Reads what [`SegmentSecret::text`] writes.
    pub fn read(text: &str) -> Option<Self> {
        super::note::read_private(SEGMENT_KEY, text).map(|signing| Self { signing })
    }

    /// The private key as a line, in the form that other tools for signed notes take.
    pub fn text(&self) -> String {
        super::note::private_line(SEGMENT_KEY, &self.signing)
    }

    /// The public key as a line.
    pub fn public_text(&self) -> String {
        super::note::public_line(SEGMENT_KEY, &self.signing.verifying_key())
    }

    /// The public key.
    pub fn public(&self) -> Hash {
        self.signing.verifying_key().to_bytes()
    }

    /// Signs the beginning of the next segment, whose key `next` is; to be dropped thereafter.
    pub fn begin(&self, next: &Self, size: u64, root: Hash) -> SegmentKey {
        begin(&self.signing, next, size, root)
    }
}

/// Signs the beginning of a trail's first segment.
pub fn begin_first(log: &LogKey, first: &SegmentSecret, root: Hash) -> SegmentKey {
    begin(log.signing(), first, 0, root)
}

fn begin(signing: &SigningKey, next: &SegmentSecret, size: u64, root: Hash) -> SegmentKey {
    let mut key = SegmentKey { size, root, public: next.public(), signature: [0; 64] };
    key.signature = signing.sign(&key.signed()).to_bytes();
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signature, VerifyingKey};

    fn signed_by(key: &SegmentKey, public: Hash) -> bool {
        let signature = Signature::from_bytes(&key.signature);
        let verifying = VerifyingKey::from_bytes(&public).unwrap();
        verifying.verify_strict(&key.signed(), &signature).is_ok()
    }

    #[test]
    fn each_key_vouches_for_the_next_and_for_all_before_it() {
        let log = LogKey::from_seed(&[1; 32]);
        let [first, second] = [2, 3].map(|seed| SegmentSecret::from_seed(&[seed; 32]));
        let opening = begin_first(&log, &first, [7; 32]);
        assert!(signed_by(&opening, log.signing().verifying_key().to_bytes()));
        assert_eq!((opening.size, opening.public), (0, first.public()));
        let next = first.begin(&second, 9, [8; 32]);
        assert!(signed_by(&next, first.public()));
        assert!(!signed_by(&next, second.public()));
        for changed in [
            SegmentKey { size: 8, ..next },
            SegmentKey { root: [9; 32], ..next },
            SegmentKey { public: first.public(), ..next },
        ] {
            assert!(!signed_by(&changed, first.public()));
        }
    }

    #[test]
    fn a_secret_survives_its_text_and_only_its_own() {
        let secret = SegmentSecret::from_seed(&[4; 32]);
        assert_eq!(SegmentSecret::read(&secret.text()).unwrap().public(), secret.public());
        assert!(SegmentSecret::read(&secret.public_text()).is_none());
        assert!(SegmentSecret::read(&LogKey::from_seed(&[4; 32]).text()).is_none());
        assert!(secret.public_text().starts_with("caio-trail/segment+"));
    }
}
