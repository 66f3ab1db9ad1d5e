//! Checkpoints and the keys of a trail: C2SP tlog-checkpoint, signed-note.

use super::bytes::{base64, hex};
use super::tree::{Hash, hash};
use ed25519_dalek::{Signature, VerifyingKey};

/// The log's name, and the origin of its checkpoints.
const NAME: &str = "caio-trail";
/// The name of the first segment's key.
const SEGMENT_NAME: &str = "caio-trail/segment";

/// A verification key with its id.
struct Key {
    id: [u8; 4],
    key: VerifyingKey,
}

/// What a trail is held against.
pub(crate) struct Keys {
    log: Key,
    /// The key of the first segment, where it is named.
    pub(crate) segment: Option<VerifyingKey>,
}

/// A checkpoint whose signature was verified.
pub(crate) struct Checkpoint {
    /// How many frames it covers.
    pub(crate) size: u64,
    /// The root over them.
    pub(crate) root: Hash,
}

impl Keys {
    /// The key that signs checkpoints, and the first segment's.
    pub(crate) fn log(&self) -> VerifyingKey {
        self.log.key
    }
}

/// One line of the log's key and, if there is a second, one of the first segment's.
pub(crate) fn keys(text: &str) -> Result<Keys, String> {
    let mut lines = text.trim_end().lines();
    let log = lines.next().and_then(|line| key(line, NAME));
    let log = log.ok_or("the key is no verification key of a trail")?;
    let segment = match lines.next() {
        None => None,
        Some(line) => {
            let found = key(line, SEGMENT_NAME).filter(|_| lines.next().is_none());
            Some(found.ok_or("the second key is not that of a first segment")?.key)
        }
    };
    Ok(Keys { log, segment })
}

/// `caio-trail+12345678+base64`.
fn key(line: &str, name: &str) -> Option<Key> {
    let (id, encoded) = line.strip_prefix(name)?.strip_prefix('+')?.split_once('+')?;
    let bytes = base64(encoded)?;
    let full = hash(&[name.as_bytes(), b"\n", &bytes]);
    let own: [u8; 4] = *full.first_chunk()?;
    // The first byte is the algorithm; 1 is Ed25519.
    let key = VerifyingKey::try_from(bytes.strip_prefix(&[1])?).ok()?;
    (hex(&own) == id).then_some(Key { id: own, key })
}

/// Verifies a checkpoint.
pub(crate) fn checkpoint(note: &str, keys: &Keys) -> Result<Checkpoint, String> {
    let key = &keys.log;
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
