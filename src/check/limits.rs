//! Every bound of the verifier, with its reason: a trail may be written by an enemy.

/// A frame is never larger than a segment, and a segment is rolled at this size.
pub(crate) const FRAME_BYTES_MAX: usize = 64 << 20;
/// A landscape of 100 000 services is some 60 MB of text; what is far above is not a landscape.
pub(crate) const LANDSCAPE_BYTES_MAX: u64 = 1 << 30;
/// Numbers of services, empty ones too: an epoch has a byte for each.
pub(crate) const SERVICES_MAX: usize = 1 << 22;
/// Key and checkpoint are a few lines.
pub(crate) const NOTE_BYTES_MAX: u64 = 64 << 10;
/// Failed attempts of a lane that may still be repeated. A repeat comes within milliseconds of the
/// failure's record; at 30 000 failures a second this remembers those of two seconds.
pub(crate) const PARENTS_MAX: usize = 1 << 16;
/// Routes whose needs were looked at, and callers of each: a gateway has a few thousand of both.
/// More are looked at again, so that a trail of invented names does not fill the memory.
pub(crate) const BOUND_KEPT_MAX: usize = 1 << 14;
/// Bytes of a service's id, which each promise that is broken is kept with: DNS allows 253 for a
/// whole host.
pub(crate) const ID_BYTES_MAX: usize = 253;
/// Promises that are broken at one time: of 100 000 services each a few.
pub(crate) const BREACHES_MAX: usize = 1 << 20;
/// Hashes of a tile, C2SP tlog-tiles: height 8.
pub(crate) const TILE_HASHES: usize = 256;
/// Folders below `tile/`: level, and three digits of the number each; 2^64 tiles need seven.
pub(crate) const TILE_FOLDERS_MAX: usize = 10;
/// A segment's record of its key is 152 bytes; this is 400 000 segments, or 25 TB of trail.
pub(crate) const SEGMENT_KEYS_BYTES_MAX: u64 = 64 << 20;
/// What opens a commitment is 48 bytes, and the commitment takes 34 of a segment of 64 MiB, which
/// is rolled at the first frame that reaches this size.
pub(crate) const OPENINGS_BYTES_MAX: u64 = 256 << 20;
/// Roots that no checkpoint was compared with yet, while following: one is signed about each
/// second, and there are some hundred frames in it. The oldest are forgotten first.
pub(crate) const ROOTS_KEPT_MAX: usize = 1 << 16;
/// How long the word of a closed trail's last checkpoint is waited for, in intervals: it is signed
/// right behind the last frame.
pub(crate) const CLOSED_INTERVALS_MAX: u32 = 10;
/// How often reading begins anew because retention took the first segment away meanwhile.
pub(crate) const BEGINNINGS_MAX: u32 = 8;
/// Requirements that a lane's dictionary holds; then they are replaced, the oldest first.
pub(crate) const DICTIONARY_MAX: u32 = 512;
