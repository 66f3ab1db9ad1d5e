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
}

#[derive(Default)]
struct Level {
    full: u64,
    hashes: Vec<Hash>,
}

impl Tree {
    /// An empty tree, whose tiles are in this folder.
    pub(crate) fn new(tiles: PathBuf) -> Self {
        Self { size: 0, peaks: Vec::new(), tiles, levels: Vec::new() }
    }

    /// How many leaves there are.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf; says which tile does not fit.
    pub(crate) fn push(&mut self, entry: &Hash) -> Result<(), String> {
        self.push_leaf(hash(&[&[0], entry]))
    }

    /// Grows to this size by the leaves that the tiles have: their frames are gone.
    pub(crate) fn retired(&mut self, size: u64) -> Result<(), String> {
        while self.size < size {
            let (index, from) = (self.size / TILE_HASHES as u64, self.size % TILE_HASHES as u64);
            let until = size.min((index + 1) * TILE_HASHES as u64);
            let wide = usize::try_from(until - index * TILE_HASHES as u64).unwrap_or(TILE_HASHES);
            let path = self.tiles.join("0").join(place(index));
            let tile = widest(&path).filter(|tile| tile.len() >= wide * 32);
            let tile = tile.ok_or_else(|| format!("the tile {} is missing", path.display()))?;
            let (leaves, _) = tile.as_chunks::<32>();
            for leaf in leaves.iter().take(wide).skip(usize::try_from(from).unwrap_or(0)) {
                self.push_leaf(*leaf)?;
            }
        }
        Ok(())
    }

    fn push_leaf(&mut self, leaf: Hash) -> Result<(), String> {
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

    /// Compares what is there of one tile, whole or in part. A part of a trail that grows may be
    /// wider than what was read.
    fn compare(&mut self, level: usize, index: u64, hashes: &[Hash]) -> Result<(), String> {
        let path = self.tiles.join(level.to_string()).join(place(index));
        let bytes = hashes.concat();
        let differs = |path: &Path| format!("the tile {} is not of these frames", path.display());
        if hashes.len() == TILE_HASHES
            && let Some(written) = read(&path)
            && written != bytes
        {
            return Err(differs(&path));
        }
        for entry in entries(&path.with_extension("p")) {
            let path = entry.path();
            let name = entry.file_name();
            let width = name.to_str().and_then(|name| name.parse::<usize>().ok());
            // One that was there a moment ago may have been replaced by the whole tile.
            let Some(written) = read(&path) else { continue };
            let whole = width.and_then(|width| width.checked_mul(32)) == Some(written.len());
            let alike = written.iter().zip(&bytes).all(|(one, other)| one == other);
            if !whole || !alike {
                return Err(differs(&path));
            }
        }
        Ok(())
    }

    /// Compares the last tiles; the first that is of frames that are not there.
    pub(crate) fn finish(&mut self) -> Result<Option<PathBuf>, String> {
        for number in 0..self.levels.len() {
            let level = self.levels.get(number).map(|level| (level.full, level.hashes.clone()));
            if let Some((full, hashes)) = level {
                self.compare(number, full, &hashes)?;
            }
        }
        Ok(self.beyond(&self.tiles, TILE_FOLDERS_MAX))
    }

    fn beyond(&self, folder: &Path, depth: usize) -> Option<PathBuf> {
        entries(folder).map(|entry| entry.path()).find_map(|path| {
            if path.is_dir() && depth > 0 {
                return self.beyond(&path, depth - 1);
            }
            let name = path.strip_prefix(&self.tiles).ok().and_then(Path::to_str);
            let hashes = name.and_then(hashes);
            let there = hashes.is_some_and(|(level, hashes)| {
                hashes <= self.size.checked_shr(level.saturating_mul(8)).unwrap_or(0)
            });
            if there { None } else { Some(path) }
        })
    }
}

/// Of a tile's name its level, and how many hashes the level has that has it.
fn hashes(name: &str) -> Option<(u32, u64)> {
    let (level, rest) = name.split_once('/')?;
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, width.parse().ok()?),
        None => (rest, TILE_HASHES as u64),
    };
    let digits: String = number.split('/').map(|part| part.trim_start_matches('x')).collect();
    let index: u64 = digits.parse().ok()?;
    let plain = place(index).to_str() == Some(number) && width > 0 && width <= TILE_HASHES as u64;
    let hashes = index.checked_mul(TILE_HASHES as u64)?.checked_add(width)?;
    plain.then_some((level.parse().ok()?, hashes))
}

/// The tile, or the widest of its parts.
fn widest(path: &Path) -> Option<Vec<u8>> {
    let folder = path.with_extension("p");
    let parts = || entries(&folder).filter_map(|entry| read(&entry.path())).max_by_key(Vec::len);
    read(path).or_else(parts)
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
