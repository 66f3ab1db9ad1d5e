//! Checkpoints and the key they are signed with: C2SP tlog-checkpoint, signed-note.

use super::bytes::base64;
use super::tree::{Hash, hash};
use ed25519_dalek::{Signature, VerifyingKey};

/// The log's name, and the origin of its checkpoints.
const NAME: &str = "caio-trail";

/// A verification key with its id.
pub(crate) struct Key {
    id: [u8; 4],
    key: VerifyingKey,
}

/// A checkpoint whose signature was verified.
pub(crate) struct Checkpoint {
    /// How many frames it covers.
    pub(crate) size: u64,
    /// The root over them.
    pub(crate) root: Hash,
}

/// `caio-trail+12345678+base64`, or why it is no such line.
pub(crate) fn key(line: &str) -> Result<Key, String> {
    let read = || {
        let (id, encoded) =
            line.trim_end().strip_prefix(NAME)?.strip_prefix('+')?.split_once('+')?;
        let bytes = base64(encoded)?;
        let full = hash(&[NAME.as_bytes(), b"\n", &bytes]);
        let own: [u8; 4] = *full.first_chunk()?;
        // The first byte is the algorithm; 1 is Ed25519.
        let key = VerifyingKey::try_from(bytes.strip_prefix(&[1])?).ok()?;
        (super::bytes::hex(&own) == id).then_some(Key { id: own, key })
    };
    read().ok_or_else(|| "the key is no verification key of a trail".to_owned())
}

/// Verifies a checkpoint.
pub(crate) fn checkpoint(note: &str, key: &Key) -> Result<Checkpoint, String> {
    let Some((body, signatures)) = note.split_once("\n\n") else {
        return Err("the checkpoint is no signed note".to_owned());
    };
    let read = || {
        let mut lines = body.split('\n');
        let origin = lines.next()?;
        let size: &str = lines.next()?;
        let root = base64(lines.next()?)?.try_into().ok()?;
        let number: u64 = size.parse().ok()?;
        let plain = origin == NAME && number.to_string() == size && lines.next().is_none();
        plain.then_some(Checkpoint { size: number, root })
    };
    let checkpoint = read().ok_or("the checkpoint is not one of a trail")?;
    let signed = format!("{body}\n");
    let mut valid = false;
    for line in signatures.lines() {
        // Others, witnesses, may have signed too.
        let Some(encoded) = line.strip_prefix("— ").and_then(|line| line.strip_prefix(NAME))
        else {
            continue;
        };
        let bytes = encoded.strip_prefix(' ').and_then(base64);
        let signature = bytes.as_deref().and_then(|bytes| bytes.strip_prefix(&key.id));
        let Some(signature) = signature.and_then(|bytes| Signature::from_slice(bytes).ok()) else {
            continue;
        };
        if key.key.verify_strict(signed.as_bytes(), &signature).is_err() {
            return Err("the checkpoint's signature is not the key's".to_owned());
        }
        valid = true;
    }
    if valid { Ok(checkpoint) } else { Err("the key has not signed the checkpoint".to_owned()) }
}
