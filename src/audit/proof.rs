//! Proofs that a frame is under a checkpoint, C2SP tlog-proof: one text that verifies offline.
//!
//! ```text
//!   c2sp.org/tlog-proof@v1
//!   extra <base64 of the frame: what the entry, its digest, is computed from>
//!   index <the frame's number>
//!   <base64 of a sibling>        from the leaf's up to the root's child (RFC 6962 2.1.1)
//!
//!   <the signed checkpoint, as it is>
//! ```

use super::note::{Checkpoint, LogVerifier};
use super::padded;
use super::tree::{self, Hash, leaf, node};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// Hashes in a full tile, and the height of a tile.
const TILE_WIDTH: u64 = 256;
const TILE_HEIGHT: u32 = 8;
/// A path is as long as a tree is high.
const HASHES_MAX: usize = 64;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What the entry is computed from; nothing of it is trusted before it hashes to the entry.
    pub extra: Vec<u8>,
    /// The entry's number.
    pub index: u64,
    /// The path.
    pub hashes: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

impl Proof {
    /// The text.
    pub fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        if !self.extra.is_empty() {
            text.push_str(&format!("extra {}\n", padded::encode(&self.extra)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&padded::encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a text; `None` for what is no proof.
    pub fn read(text: &str) -> Option<Self> {
        let (head, checkpoint) = text.split_once("\n\n")?;
        let mut lines = head.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let mut line = lines.next()?;
        let mut extra = Vec::new();
        if let Some(encoded) = line.strip_prefix("extra ") {
            extra = padded::decode(encoded)?;
            line = lines.next()?;
        }
        let digits = line.strip_prefix("index ")?;
        let index: u64 = digits.parse().ok().filter(|index: &u64| index.to_string() == digits)?;
        let hashes = lines.take(HASHES_MAX + 1).map(|line| padded::decode(line)?.try_into().ok());
        let hashes = hashes.collect::<Option<Vec<Hash>>>()?;
        let checkpoint = checkpoint.to_owned();
        (hashes.len() <= HASHES_MAX).then_some(Self { extra, index, hashes, checkpoint })
    }

    /// The checkpoint, if this key signed it and the entry is under it at this index.
    pub fn verify(&self, entry: &[u8], key: &LogVerifier) -> Option<Checkpoint> {
        let checkpoint = key.open(&self.checkpoint)?;
        let root = root(&leaf(entry), self.index, checkpoint.size, &self.hashes)?;
        (root == checkpoint.root).then_some(checkpoint)
    }
}

/// The root that a path leads to (RFC 9162 2.1.3.2).
fn root(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let mut last = size.checked_sub(1).filter(|last| index <= *last)?;
    let mut at = index;
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// The partial tiles of a tree of this size: the path that each has once it is full, and the one
/// that it has now.
pub fn partial_paths(size: u64) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    let mut nodes = size;
    for level in 0u8.. {
        if nodes == 0 {
            break;
        }
        let full = tree::path(level, nodes / TILE_WIDTH);
        let width = nodes % TILE_WIDTH;
        if width > 0 {
            let partial = format!("{full}.p/{width}");
            paths.push((full, partial));
        }
        nodes /= TILE_WIDTH;
    }
    paths
}

/// The path of a leaf in the tree of this size, out of its tiles: `read` gives a file by its path.
/// `None` where one is missing or short, or there is no such leaf.
pub fn path(
    index: u64,
    size: u64,
    mut read: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Option<Vec<Hash>> {
    if index >= size {
        return None;
    }
    let mut tiles = Tiles { size, read: &mut read };
    let (mut from, mut until) = (0, size);
    let mut path = Vec::new();
    while until - from > 1 {
        let split = from + (until - from).next_power_of_two() / 2;
        if index < split {
            path.push(tiles.root(split, until)?);
            until = split;
        } else {
            path.push(tiles.root(from, split)?);
            from = split;
        }
    }
    path.reverse();
    Some(path)
}

struct Tiles<'a> {
    size: u64,
    read: &'a mut dyn FnMut(&str) -> Option<Vec<u8>>,
}

impl Tiles<'_> {
    /// The root over these leaves, as they lie in a tree.
    fn root(&mut self, from: u64, until: u64) -> Option<Hash> {
        let count = until - from;
        if !count.is_power_of_two() {
            let split = from + count.next_power_of_two() / 2;
            let (left, right) = (self.root(from, split)?, self.root(split, until)?);
            return Some(node(&left, &right));
        }
        let height = count.trailing_zeros();
        self.subtree(height, from >> height)
    }

    /// The root of a whole subtree of this height: of the tile that has it, or of both halves.
    fn subtree(&mut self, height: u32, place: u64) -> Option<Hash> {
        let level = height / TILE_HEIGHT;
        let below = height % TILE_HEIGHT;
        let first = place << below;
        let tile = first / TILE_WIDTH;
        let full = tree::path(u8::try_from(level).ok()?, tile);
        let width = ((self.size >> (level * TILE_HEIGHT)) - tile * TILE_WIDTH).min(TILE_WIDTH);
        // A partial tile goes once its tile is full.
        let partial =
            if width < TILE_WIDTH { (self.read)(&format!("{full}.p/{width}")) } else { None };
        let bytes = partial.or_else(|| (self.read)(&full))?;
        let (hashes, _) = bytes.as_chunks::<32>();
        let at = usize::try_from(first % TILE_WIDTH).ok()?;
        Some(halved(hashes.get(at..at.checked_add(1 << below)?)?))
    }
}

/// The root over a power of two of hashes.
fn halved(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => [0; 32],
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            node(&halved(left), &halved(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::note::LogKey;
    use crate::audit::tree::Tree;
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use sha2::Sha256;
    use std::collections::BTreeMap;

    #[test]
    fn paths_are_those_of_ct_merkle_at_every_place_and_prove_nothing_else() {
        for size in [1u64, 2, 3, 7, 255, 256, 257, 700] {
            let (mut tree, mut full) = (Tree::default(), Vec::new());
            let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
            for number in 0..size {
                tree.append(&number.to_be_bytes(), &mut full);
                theirs.push(number.to_be_bytes().to_vec());
            }
            let partial: Vec<String> =
                partial_paths(size).into_iter().map(|(_, partial)| partial).collect();
            let stored: Vec<String> = tree.partial().into_iter().map(|tile| tile.path).collect();
            assert_eq!(partial, stored);
            full.extend(tree.partial());
            let files: BTreeMap<String, Vec<u8>> =
                full.into_iter().map(|tile| (tile.path, tile.bytes)).collect();
            for index in 0..size {
                let ours = path(index, size, |path| files.get(path).cloned()).unwrap();
                let proof = theirs.prove_inclusion(usize::try_from(index).unwrap());
                assert_eq!(ours.concat(), proof.as_bytes(), "{index} of {size}");
                let it = leaf(&index.to_be_bytes());
                assert_eq!(root(&it, index, size, &ours), Some(tree.root()));
                let other = leaf(&(index + 1).to_be_bytes());
                assert_ne!(root(&other, index, size, &ours), Some(tree.root()));
                if size > 1 {
                    let moved = root(&it, (index + 1) % size, size, &ours);
                    assert_ne!(moved, Some(tree.root()), "{index} of {size}");
                }
            }
            assert_eq!(path(size, size, |_| None), None);
            assert!(size == 1 || path(0, size, |_| None).is_none());
        }
    }

    #[test]
    fn a_proof_survives_its_text_and_hostile_text_is_none() {
        let key = LogKey::from_seed(&[3; 32]);
        let (entry, sibling) = ([1; 32], leaf(&[2; 32]));
        let root = node(&leaf(&entry), &sibling);
        let checkpoint = key.sign(&Checkpoint { size: 2, root });
        let proof = Proof { extra: b"frame".to_vec(), index: 0, hashes: vec![sibling], checkpoint };
        let read = Proof::read(&proof.text()).unwrap();
        assert_eq!(read, proof);
        assert_eq!(read.verify(&entry, &key.verifier()).unwrap().size, 2);
        assert_eq!(read.verify(&[3; 32], &key.verifier()), None);
        assert_eq!(read.verify(&entry, &LogKey::from_seed(&[4; 32]).verifier()), None);
        let plain = Proof { extra: Vec::new(), ..proof.clone() };
        assert_eq!(Proof::read(&plain.text()), Some(plain));
        let text = proof.text();
        for (from, to) in [("index 0", "index 00"), ("@v1", "@v2"), ("\n\n", "\n"), ("index", "x")]
        {
            assert_eq!(Proof::read(&text.replacen(from, to, 1)), None, "{from}");
        }
        let long = format!("{}\n", padded::encode(&sibling)).repeat(HASHES_MAX + 1);
        assert_eq!(Proof::read(&format!("{FIRST_LINE}\nindex 0\n{long}\nx\n")), None);
    }
}
