//! What the files of a trail are called.

/// The folder of segments.
pub const SEGMENTS: &str = "segments";
/// What the name of a segment ends with.
pub const SEGMENT_SUFFIX: &str = ".trail";
/// Digits of a segment's name: every `u64` has a place, and names sort as numbers do.
pub const DIGITS: usize = 20;

/// The path of the segment that begins with this frame.
pub fn segment_name(first: u64) -> String {
    format!("{SEGMENTS}/{first:0DIGITS$}{SEGMENT_SUFFIX}")
}

/// The path of what opens that segment's commitments.
pub fn openings_name(first: u64) -> String {
    format!("openings/{first:0DIGITS$}.openings")
}
