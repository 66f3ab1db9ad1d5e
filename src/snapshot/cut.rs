//! Paths as the route table looks them up: cut into segments, hashed once for all lookups.

use super::hash;
use crate::wire::limits::PATTERN_SEGMENTS_MAX;

/// What the hash of the literals of a path begins with.
pub(super) const SEGMENT: u64 = 3;

/// What kind of path a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Exact,
    Prefix,
    /// With its shape: the most significant bit is the first segment, set for a literal; the lowest
    /// eight bits are how many segments there are.
    Template(u32),
}

impl Form {
    /// Two numbers that no two forms share, the first from 1 to 3.
    pub(super) fn codes(self) -> (u32, u32) {
        match self {
            Self::Exact => (1, 0),
            Self::Prefix => (2, 0),
            Self::Template(shape) => (3, shape),
        }
    }

    /// Where a path of this form is looked up, given the hash of what is literal in it.
    #[inline]
    pub(super) fn key(self, host: u32, literals: u64) -> u64 {
        let (form, shape) = self.codes();
        let form = u64::from(form) << 62 ^ u64::from(shape);
        hash::fold(hash::fold(literals, u64::from(host)), form)
    }
}

pub(super) fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

fn is_literal(shape: u32, segment: usize) -> bool {
    shape >> (31 - segment.min(31)) & 1 == 1
}

/// The shape of a template: see [`Form::Template`].
pub(crate) fn shape(segments: &[Option<String>]) -> u32 {
    let literal = segments.iter().enumerate().filter(|(_, segment)| segment.is_some());
    literal.fold(number(segments.len()), |shape, (at, _)| shape | 1 << (31 - at.min(31)))
}

// The number of segments stands below the bits of all of them.
const _: () = assert!(PATTERN_SEGMENTS_MAX <= 24);

pub(super) fn segment_hash(segment: &[u8]) -> u64 {
    hash::bytes(SEGMENT, segment)
}

/// A path cut into segments, each hashed once for all lookups.
pub(super) struct Cut<'a> {
    pub(super) path: &'a [u8],
    /// How many segments; at most one more than are hashed, which no template and no prefix has.
    pub(super) count: usize,
    pub(super) ends: [u32; PATTERN_SEGMENTS_MAX],
    pub(super) hashes: [u64; PATTERN_SEGMENTS_MAX],
    /// Bit as in a shape: the segment is empty.
    pub(super) empty: u32,
}

impl<'a> Cut<'a> {
    #[inline(never)]
    pub(super) fn new(path: &'a str) -> Self {
        let path = path.as_bytes();
        let mut cut = Self {
            path,
            count: 0,
            ends: [0; PATTERN_SEGMENTS_MAX],
            hashes: [0; PATTERN_SEGMENTS_MAX],
            empty: 0,
        };
        let Some(rest) = path.strip_prefix(b"/") else { return cut };
        let mut end = 0;
        for segment in rest.split(|&byte| byte == b'/') {
            end += 1 + segment.len();
            if let (Some(slot), Some(hash)) =
                (cut.ends.get_mut(cut.count), cut.hashes.get_mut(cut.count))
            {
                *slot = number(end);
                *hash = segment_hash(segment);
                cut.empty |= u32::from(segment.is_empty()) << (31 - cut.count);
            }
            cut.count += 1;
            if cut.count > PATTERN_SEGMENTS_MAX {
                break;
            }
        }
        cut
    }

    /// The hash of the literals of a shape.
    #[inline]
    pub(super) fn literals(&self, shape: u32) -> u64 {
        let hashes = self.hashes.iter().take(self.count).enumerate();
        let literal = hashes.filter(|(at, _)| is_literal(shape, *at));
        literal.fold(SEGMENT, |state, (_, hash)| hash::fold(state, *hash))
    }

    /// Whether the literals of a shape, each behind its slash, are this text.
    pub(super) fn has_literals(&self, shape: u32, mut text: &[u8]) -> bool {
        let mut start = 0;
        for (at, end) in self.ends.iter().take(self.count).enumerate() {
            let end = *end as usize;
            if is_literal(shape, at) {
                let rest = self.path.get(start..end).and_then(|it| text.strip_prefix(it));
                let Some(rest) = rest else { return false };
                text = rest;
            }
            start = end;
        }
        text.is_empty()
    }
}

/// The hash of what stands before the last slash of a prefix.
pub(super) fn prefix_literals(prefix: &str) -> u64 {
    let inner = prefix.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    let segments = inner.map(|inner| inner.split('/')).into_iter().flatten();
    segments.fold(SEGMENT, |state, segment| hash::fold(state, segment_hash(segment.as_bytes())))
}

/// The literals of a template, each behind its slash.
pub(super) fn template_text(segments: &[Option<String>]) -> String {
    segments.iter().flatten().map(|text| format!("/{text}")).collect()
}
