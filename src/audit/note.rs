//! Checkpoints: the tree's size and root as a C2SP tlog-checkpoint, signed as a C2SP signed-note
//! with Ed25519 (RFC 8032).

use super::padded;
use super::tree::Hash;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

/// The log's origin, which is also the name of its key.
pub const ORIGIN: &str = "caio-trail";
/// The algorithm byte of Ed25519 in keys of signed notes.
const ED25519: u8 = 1;

/// The key that signs checkpoints.
pub struct LogKey {
    signing: SigningKey,
}

/// The key that others check them with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogVerifier {
    verifying: VerifyingKey,
}

/// What a checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many leaves.
    pub size: u64,
    /// The tree's hash.
    pub root: Hash,
}

/// What a key's id is made of: the name, and the key with its algorithm.
fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let hash = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519])
        .chain_update(key.as_bytes())
        .finalize();
    let [a, b, c, d, ..]: Hash = hash.into();
    [a, b, c, d]
}

fn line(name: &str, words: &str, key: &VerifyingKey, body: &[u8; 32]) -> String {
    let id = u32::from_be_bytes(key_id(name, key));
    let body = padded::encode(&[&[ED25519][..], body].concat());
    format!("{words}{name}+{id:08x}+{body}\n")
}

/// The key of this name as a line: a verifier key of a signed note.
pub fn public_line(name: &str, key: &VerifyingKey) -> String {
    line(name, "", key, key.as_bytes())
}

/// The private key as a line, in the form that other tools for signed notes take.
pub fn private_line(name: &str, key: &SigningKey) -> String {
    line(name, PRIVATE, &key.verifying_key(), key.as_bytes())
}

/// Reads what [`private_line`] writes.
pub fn read_private(name: &str, text: &str) -> Option<SigningKey> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let key = SigningKey::from_bytes(&body(name, line.strip_prefix(PRIVATE)?)?);
    (private_line(name, &key).trim_end() == line).then_some(key)
}

/// What a private key's line begins with.
const PRIVATE: &str = "PRIVATE+KEY+";

/// The 32 bytes behind the algorithm in a key's text.
fn body(name: &str, text: &str) -> Option<[u8; 32]> {
    let encoded = text.strip_prefix(name)?.strip_prefix('+')?.get(8..)?.strip_prefix('+')?;
    let bytes = padded::decode(encoded)?;
    let (algorithm, rest) = bytes.split_first()?;
    if *algorithm == ED25519 { rest.try_into().ok() } else { None }
}

impl LogKey {
    /// The key of these 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { signing: SigningKey::from_bytes(seed) }
    }

    /// Reads what [`LogKey::text`] writes.
    pub fn read(text: &str) -> Option<Self> {
        read_private(ORIGIN, text).map(|signing| Self { signing })
    }

    /// The key itself, for what is no checkpoint.
    pub(super) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The private key as a line, in the form that other tools for signed notes take.
    pub fn text(&self) -> String {
        private_line(ORIGIN, &self.signing)
    }

    /// The key to check with.
    pub fn verifier(&self) -> LogVerifier {
        LogVerifier { verifying: self.signing.verifying_key() }
    }

    /// A signed checkpoint.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let Checkpoint { size, root } = checkpoint;
        let text = format!("{ORIGIN}\n{size}\n{}\n", padded::encode(root));
        let id = key_id(ORIGIN, &self.signing.verifying_key());
        let signature = self.signing.sign(text.as_bytes()).to_bytes();
        let signature = padded::encode(&[&id[..], &signature].concat());
        format!("{text}\n\u{2014} {ORIGIN} {signature}\n")
    }
}

impl LogVerifier {
    /// Reads what [`LogVerifier::text`] writes; more lines may follow.
    pub fn read(text: &str) -> Option<Self> {
        let line = text.lines().next()?;
        let verifying = VerifyingKey::from_bytes(&body(ORIGIN, line)?).ok()?;
        let verifier = Self { verifying };
        (verifier.text().trim_end() == line).then_some(verifier)
    }

    /// The key as a line: a verifier key of a signed note.
    pub fn text(&self) -> String {
        public_line(ORIGIN, &self.verifying)
    }

    /// What a signed checkpoint says, if this key signed it.
    pub fn open(&self, note: &str) -> Option<Checkpoint> {
        let (text, signatures) = note.split_once("\n\n")?;
        let text = format!("{text}\n");
        let mut signatures = signatures.lines();
        let signed = signatures.any(|line| self.signed(&text, line) == Some(true));
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let size: u64 = size.parse().ok().filter(|read: &u64| read.to_string() == size)?;
        let root = padded::decode(root)?.try_into().ok()?;
        (signed && origin == ORIGIN).then_some(Checkpoint { size, root })
    }

    fn signed(&self, text: &str, line: &str) -> Option<bool> {
        let encoded = line.strip_prefix("\u{2014} ")?.strip_prefix(ORIGIN)?.strip_prefix(' ')?;
        let bytes = padded::decode(encoded)?;
        let (id, signature) = bytes.split_at_checked(4)?;
        let signature = Signature::from_slice(signature).ok()?;
        let verified = self.verifying.verify_strict(text.as_bytes(), &signature).is_ok();
        Some(id == key_id(ORIGIN, &self.verifying) && verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};

    const CHECKPOINT: Checkpoint = Checkpoint { size: 1234, root: [7; 32] };

    #[test]
    fn the_signed_note_crate_opens_what_is_signed_here() {
        let key = LogKey::from_seed(&[3; 32]);
        let note = key.sign(&CHECKPOINT);
        let verifier = StandardVerifier::new(key.verifier().text().trim_end()).unwrap();
        let read = Note::from_bytes(note.as_bytes()).unwrap();
        let (good, _) = read.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
        assert_eq!(good.len(), 1);
        let read = tlog_tiles::Checkpoint::from_bytes(read.text()).unwrap();
        assert_eq!((read.origin(), read.size(), read.hash().0), (ORIGIN, 1234, [7; 32]));
    }

    #[test]
    fn what_the_signed_note_crate_signs_with_this_key_is_opened_here() {
        let key = LogKey::from_seed(&[4; 32]);
        let signer = StandardSigner::new(key.text().trim_end()).unwrap();
        let ours = key.sign(&CHECKPOINT);
        let (text, _) = ours.split_once("\n\n").unwrap();
        let mut note = Note::new(format!("{text}\n").as_bytes(), &[]).unwrap();
        note.add_sigs(&[&signer]).unwrap();
        let theirs = String::from_utf8(note.to_bytes()).unwrap();
        assert_eq!(theirs, ours, "Ed25519 is deterministic");
        assert_eq!(key.verifier().open(&theirs), Some(CHECKPOINT));
    }

    #[test]
    fn keys_survive_their_text_and_only_their_own() {
        let key = LogKey::from_seed(&[5; 32]);
        assert_eq!(LogKey::read(&key.text()).unwrap().text(), key.text());
        let verifier = key.verifier();
        assert_eq!(LogVerifier::read(&verifier.text()), Some(verifier.clone()));
        let wrong = verifier.text().replacen('+', "+0", 1);
        assert_eq!(LogVerifier::read(&wrong), None);
        assert!(LogKey::read(&verifier.text()).is_none());
    }

    #[test]
    fn no_byte_of_a_signed_checkpoint_can_change() {
        let key = LogKey::from_seed(&[6; 32]);
        let note = key.sign(&CHECKPOINT);
        assert_eq!(key.verifier().open(&note), Some(CHECKPOINT));
        for at in 0..note.len() - 1 {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert_eq!(key.verifier().open(&changed), None, "byte {at}");
            }
        }
        assert_eq!(LogKey::from_seed(&[7; 32]).verifier().open(&note), None);
    }
}
