//! The chain of segment keys, checked: each is signed by the one before, the first by the log's.
//! [`super::seal`] is the half that signs.

use super::padded;
use super::record::{Hash, SegmentKey};
use ed25519_dalek::{Signature, VerifyingKey};

/// The algorithm byte of Ed25519 in keys of signed notes.
const ED25519: u8 = 1;

/// The public key in the text of a signed note's verifier key, whatever its name.
pub fn public_key(vkey: &str) -> Option<Hash> {
    let mut parts = vkey.trim_end().splitn(3, '+');
    let (_name, _id, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = padded::decode(encoded)?;
    let (algorithm, key) = bytes.split_first()?;
    key.try_into().ok().filter(|_| *algorithm == ED25519)
}

/// Whether this key signed what a segment begins with.
pub fn is_signed_by(key: &SegmentKey, by: &Hash) -> bool {
    let signature = Signature::from_bytes(&key.signature);
    let by = VerifyingKey::from_bytes(by);
    by.is_ok_and(|by| by.verify_strict(&key.signed(), &signature).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::note::LogKey;
    use ed25519_dalek::{Signer, SigningKey};

    #[test]
    fn a_key_is_signed_by_the_one_that_signed_it_and_nothing_of_it_can_change() {
        let log = LogKey::from_seed(&[1; 32]);
        let by = public_key(&log.verifier().text()).unwrap();
        let signing = SigningKey::from_bytes(&[1; 32]);
        let mut key = SegmentKey { size: 3, root: [4; 32], public: [5; 32], signature: [0; 64] };
        key.signature = signing.sign(&key.signed()).to_bytes();
        assert!(is_signed_by(&key, &by));
        assert!(!is_signed_by(&SegmentKey { size: 4, ..key }, &by));
        assert!(!is_signed_by(&SegmentKey { root: [5; 32], ..key }, &by));
        assert!(!is_signed_by(&SegmentKey { public: [4; 32], ..key }, &by));
        assert!(!is_signed_by(&key, &[9; 32]));
        assert_eq!(public_key("caio-trail+00000000+AAAA"), None);
        assert_eq!(public_key(""), None);
    }
}
