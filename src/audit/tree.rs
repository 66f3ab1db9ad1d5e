//! The tree over frames: RFC 6962 2.1 hashes, kept as the right edge of C2SP tlog-tiles.
//!
//! ```text
//!   level 1   ██████░░░░  a hash for each full tile below        each level is the last, partial
//!   level 0   ███░░░░░░░  a hash for each of the last leaves     tile: at most 255 hashes of it
//! ```
//! A tile of 256 hashes that fills up is handed out and becomes one hash of the level above. What
//! is kept is 8 KiB for each factor of 256 in the tree's size, and it is all that a restart needs.

use sha2::{Digest, Sha256};

/// A hash of the tree.
pub type Hash = [u8; 32];

/// Hashes in a full tile: a subtree of height 8.
const TILE_WIDTH: usize = 256;

/// A file of the trail: where, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// `tile/0/x001/234`, or `tile/0/000.p/17`.
    pub path: String,
    /// Its hashes.
    pub bytes: Vec<u8>,
}

/// The tree's size and right edge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    edge: Vec<Vec<Hash>>,
}

/// The hash of a leaf with this entry (RFC 6962 2.1).
pub fn leaf(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// The hash of a node (RFC 6962 2.1).
pub fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root over a power of two of hashes; of other counts, what RFC 6962 2.1 has too.
fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        many => {
            let split = many.len().next_power_of_two() / 2;
            let (left, right) = many.split_at(split);
            node(&root_of(left), &root_of(right))
        }
    }
}

impl Tree {
    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf; tiles that it fills are pushed to `full`.
    pub fn append(&mut self, entry: &[u8], full: &mut Vec<Tile>) {
        let mut hash = leaf(entry);
        let mut nodes = self.size + 1;
        self.size = nodes;
        for level in 0u8.. {
            let at = usize::from(level);
            if self.edge.len() == at {
                self.edge.push(Vec::with_capacity(TILE_WIDTH));
            }
            let Some(edge) = self.edge.get_mut(at) else { return };
            edge.push(hash);
            if edge.len() < TILE_WIDTH {
                return;
            }
            nodes /= TILE_WIDTH as u64;
            full.push(tile(level, nodes - 1, edge));
            hash = root_of(edge);
            edge.clear();
        }
    }

    /// The tree's hash (RFC 6962 2.1). Everything of a level lies to the left of all that is below.
    pub fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        for edge in &self.edge {
            let mut rest = edge.as_slice();
            // The smallest subtree is the rightmost: the lowest bit of the count.
            while !rest.is_empty() {
                let (left, last) = rest.split_at(rest.len() & (rest.len() - 1));
                let hash = root_of(last);
                root = Some(root.map_or(hash, |right| node(&hash, &right)));
                rest = left;
            }
        }
        root.unwrap_or_else(|| root_of(&[]))
    }

    /// The partial tiles of this size.
    pub fn partial(&self) -> Vec<Tile> {
        let mut nodes = self.size;
        let mut tiles = Vec::new();
        for (level, edge) in (0u8..).zip(&self.edge) {
            if !edge.is_empty() {
                let mut tile = tile(level, nodes / TILE_WIDTH as u64, edge);
                tile.path.push_str(&format!(".p/{}", edge.len()));
                tiles.push(tile);
            }
            nodes /= TILE_WIDTH as u64;
        }
        tiles
    }

    /// The tree of this size, from its tiles: `read` gives a file by its path. `None` where one is
    /// missing or short; whether the hashes are right shows in the root.
    pub fn resume(size: u64, mut read: impl FnMut(&str) -> Option<Vec<u8>>) -> Option<Self> {
        let mut edge = Vec::new();
        let mut nodes = size;
        let width = TILE_WIDTH as u64;
        for level in 0u8.. {
            if nodes == 0 {
                break;
            }
            let count = usize::try_from(nodes % width).ok()?;
            let path = path(level, nodes / width);
            // A partial tile is deleted once its tile is full.
            let bytes = match count {
                0 => Vec::new(),
                _ => read(&format!("{path}.p/{count}")).or_else(|| read(&path))?,
            };
            let (hashes, _) = bytes.as_chunks::<32>();
            edge.push(hashes.get(..count)?.to_vec());
            nodes /= width;
        }
        Some(Self { size, edge })
    }
}

fn tile(level: u8, index: u64, hashes: &[Hash]) -> Tile {
    Tile { path: path(level, index), bytes: hashes.concat() }
}

/// The path of a full tile: the index in groups of three digits, all but the last with an `x`.
pub(super) fn path(level: u8, index: u64) -> String {
    let mut text = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    format!("tile/{level}/{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// RFC 6962 2.1 as it is written, over all leaves.
    fn slow(entries: &[Vec<u8>]) -> Hash {
        match entries {
            [] => Sha256::digest([]).into(),
            [one] => leaf(one),
            many => {
                let mut split = 1;
                while split * 2 < many.len() {
                    split *= 2;
                }
                node(&slow(&many[..split]), &slow(&many[split..]))
            }
        }
    }

    fn entries(count: u64) -> Vec<Vec<u8>> {
        (0..count).map(|number| number.to_be_bytes().to_vec()).collect()
    }

    fn hex(hash: Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_vectors_of_the_certificate_transparency_project_hold() {
        // The eight leaves and roots of certificate-transparency's merkle_tree_test.
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let mut tree = Tree::default();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(tree.root()), empty);
        let mut roots = Vec::new();
        for entry in leaves {
            tree.append(entry, &mut Vec::new());
            roots.push(hex(tree.root()));
        }
        assert_eq!(roots[0], "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(roots[7], "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    #[test]
    fn roots_are_those_of_ct_merkle_and_of_the_rfc_s_own_words() {
        let all = entries(600);
        let mut tree = Tree::default();
        let mut theirs = ct_merkle::mem_backed_tree::MemoryBackedTree::<Sha256, Vec<u8>>::new();
        for (at, entry) in all.iter().enumerate() {
            tree.append(entry, &mut Vec::new());
            theirs.push(entry.clone());
            assert_eq!(tree.root()[..], theirs.root().as_bytes()[..], "{at}");
            if at % 37 == 0 {
                assert_eq!(tree.root(), slow(&all[..=at]));
            }
        }
    }

    /// All tiles that a trail would hold, of one size after the other.
    fn grown(count: u64, every: u64) -> (Tree, BTreeMap<String, Vec<u8>>) {
        let mut tree = Tree::default();
        let mut files = BTreeMap::new();
        let mut full = Vec::new();
        for (at, entry) in (1..).zip(entries(count)) {
            tree.append(&entry, &mut full);
            if at % every == 0 || at == count {
                full.extend(tree.partial());
            }
            files.extend(full.drain(..).map(|tile| (tile.path, tile.bytes)));
        }
        (tree, files)
    }

    #[test]
    fn the_tiles_are_those_of_the_tlog_tiles_crate_and_prove_the_root() {
        for count in [1u64, 255, 256, 257, 300, 65_536, 66_000] {
            let (tree, files) = grown(count, 1 << 20);
            for tile in tlog_tiles::Tile::new_tiles(8, 0, count) {
                // That crate writes the height and the level; in tlog-tiles the height is fixed.
                let path = tile.path().replacen("tile/8/", "tile/", 1);
                let bytes = files.get(&path).unwrap_or_else(|| panic!("no {path} of {count}"));
                assert_eq!(bytes.len(), tile.width() as usize * 32, "{path}");
            }
            let root = tree.root();
            let resumed = Tree::resume(count, |path| files.get(path).cloned()).unwrap();
            assert_eq!((resumed.root(), resumed.size()), (root, count));
        }
    }

    #[test]
    fn a_resumed_tree_grows_like_one_that_never_stopped() {
        let all = entries(1200);
        for stop in [1, 200, 256, 511, 512, 700] {
            let (_, files) = grown(stop, 50);
            let mut tree = Tree::resume(stop, |path| files.get(path).cloned()).unwrap();
            let mut full = Vec::new();
            for entry in &all[usize::try_from(stop).unwrap()..] {
                tree.append(entry, &mut full);
            }
            let (whole, files) = grown(1200, 50);
            assert_eq!(tree, whole);
            assert!(full.iter().all(|tile| files.get(&tile.path) == Some(&tile.bytes)));
        }
        assert_eq!(Tree::resume(5, |_| None), None);
        assert_eq!(Tree::resume(5, |_| Some(vec![0; 100])), None);
        assert_eq!(Tree::resume(0, |_| None), Some(Tree::default()));
    }

    #[test]
    fn paths_have_three_digits_a_part() {
        assert_eq!(path(0, 0), "tile/0/000");
        assert_eq!(path(1, 1234), "tile/1/x001/234");
        assert_eq!(path(0, 1_234_067), "tile/0/x001/x234/067");
    }
}
