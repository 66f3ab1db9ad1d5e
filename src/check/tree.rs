//! The tree over all frames (RFC 6962 2.1), and the tiles that were written of it.

use super::limits::{TILE_FOLDERS_MAX, TILE_HASHES};
use sha2::{Digest, Sha256};
use std::fs::{DirEntry, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// SHA-256.
pub(crate) type Hash = [u8; 32];

/// A tree that grows leaf by leaf.
pub(crate) struct Tree {
    size: u64,
    /// The roots of the full subtrees, the largest first.
    peaks: Vec<Hash>,
    tiles: PathBuf,
    /// By level, the hashes since the last full tile.
    levels: Vec<Level>,
    compared: u64,
}

#[derive(Default)]
struct Level {
    full: u64,
    hashes: Vec<Hash>,
}

impl Tree {
    /// An empty tree, whose tiles are in this folder.
    pub(crate) fn new(tiles: PathBuf) -> Self {
        Self { size: 0, peaks: Vec::new(), tiles, levels: Vec::new(), compared: 0 }
    }

    /// How many leaves there are.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf; says which tile does not fit.
    pub(crate) fn push(&mut self, entry: &Hash) -> Result<(), String> {
        let leaf = hash(&[&[0], entry]);
        let mut peak = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                peak = node(&left, &peak);
            }
        }
        self.peaks.push(peak);
        self.size += 1;
        self.tile(leaf)
    }

    /// The root of all leaves so far.
    pub(crate) fn root(&self) -> Hash {
        let smallest_first = self.peaks.iter().rev().copied();
        smallest_first.reduce(|right, left| node(&left, &right)).unwrap_or_else(|| hash(&[]))
    }

    fn tile(&mut self, leaf: Hash) -> Result<(), String> {
        let mut carried = Some(leaf);
        let mut number = 0;
        while let Some(hash) = carried.take() {
            if self.levels.len() <= number {
                self.levels.push(Level::default());
            }
            let Some(level) = self.levels.get_mut(number) else { break };
            level.hashes.push(hash);
            if level.hashes.len() == TILE_HASHES {
                let hashes = std::mem::take(&mut level.hashes);
                let index = level.full;
                level.full += 1;
                self.compare(number, index, &hashes)?;
                carried = Some(subtree(hashes));
            }
            number += 1;
        }
        Ok(())
    }

    /// Compares what is there of one tile, whole or in part.
    fn compare(&mut self, level: usize, index: u64, hashes: &[Hash]) -> Result<(), String> {
        let path = self.tiles.join(level.to_string()).join(place(index));
        let bytes = hashes.concat();
        let differs = |path: &Path| format!("the tile {} is not of these frames", path.display());
        if hashes.len() == TILE_HASHES
            && let Some(written) = read(&path)
        {
            self.compared += 1;
            if written != bytes {
                return Err(differs(&path));
            }
        }
        for entry in entries(&path.with_extension("p")) {
            self.compared += 1;
            let name = entry.file_name();
            let width = name.to_str().and_then(|name| name.parse::<usize>().ok());
            let expected = width.and_then(|width| bytes.get(..width.checked_mul(32)?));
            let written = read(&entry.path());
            if expected.is_none() || written.as_deref() != expected {
                return Err(differs(&entry.path()));
            }
        }
        Ok(())
    }

    /// Compares the last tiles; how many there are of frames that are not.
    pub(crate) fn finish(&mut self) -> Result<u64, String> {
        for number in 0..self.levels.len() {
            let level = self.levels.get(number).map(|level| (level.full, level.hashes.clone()));
            if let Some((full, hashes)) = level {
                self.compare(number, full, &hashes)?;
            }
        }
        Ok(count(&self.tiles, TILE_FOLDERS_MAX).saturating_sub(self.compared))
    }
}

/// What is in a folder; a file before it is renamed is not there yet.
fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    let all = std::fs::read_dir(folder).into_iter().flatten().flatten();
    all.filter(|entry| entry.path().extension().is_none_or(|extension| extension != "tmp"))
}

/// A tile as it is written, and a byte more of what is longer than any.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = TILE_HASHES as u64 * 32 + 1;
    File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn count(folder: &Path, depth: usize) -> u64 {
    let files = entries(folder).map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() && depth > 0 => count(&entry.path(), depth - 1),
        _ => 1,
    });
    files.sum()
}

/// `x001/x234/067` for 1 234 067.
fn place(index: u64) -> PathBuf {
    let mut parts = vec![format!("{:03}", index % 1000)];
    let mut rest = index / 1000;
    while rest > 0 {
        parts.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    parts.iter().rev().collect()
}

fn subtree(mut hashes: Vec<Hash>) -> Hash {
    while hashes.len() > 1 {
        let pairs = hashes.chunks(2).map(|pair| match pair {
            [left, right] => node(left, right),
            odd => odd.concat().try_into().unwrap_or_default(),
        });
        hashes = pairs.collect();
    }
    hashes.pop().unwrap_or_default()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    hash(&[&[1], left, right])
}

/// SHA-256 of these one after the other.
pub(crate) fn hash(parts: &[&[u8]]) -> Hash {
    let mut state = Sha256::new();
    parts.iter().for_each(|part| state.update(part));
    state.finalize().into()
}
