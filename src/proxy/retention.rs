//! Which sealed segments go, by age and by size: the oldest first, and never the one being written.

use crate::config::settings::Audit;
use std::collections::VecDeque;

/// A segment that is not written any more, or the one that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its first frame.
    pub first: u64,
    /// Its bytes.
    pub bytes: u64,
    /// When it was last written, in milliseconds since 1970.
    pub written_ms: u64,
}

/// The segments of a trail and for how long they stay.
#[derive(Debug)]
pub struct Retention {
    /// Oldest first; the last is being written.
    segments: VecDeque<Kept>,
    age_ms: Option<u64>,
    bytes: Option<u64>,
}

impl Retention {
    /// Of a trail with these segments.
    pub fn new(settings: &Audit, segments: impl IntoIterator<Item = Kept>) -> Self {
        let segments = segments.into_iter().collect();
        Self { segments, age_ms: settings.retention_age_ms, bytes: settings.retention_bytes }
    }

    /// Notes what was written to the segment that begins with this frame.
    pub fn written(&mut self, first: u64, bytes: u64, now_ms: u64) {
        let kept = Kept { first, bytes, written_ms: now_ms };
        match self.segments.back_mut() {
            Some(last) if last.first == first => *last = kept,
            _ => self.segments.push_back(kept),
        }
    }

    /// The first frame to keep from now on, where that is further than what is there.
    pub fn first_to_keep(&self, now_ms: u64) -> Option<u64> {
        let mut total: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let mut keep = None;
        for (segment, after) in self.segments.iter().zip(self.segments.iter().skip(1)) {
            let aged =
                self.age_ms.is_some_and(|age| segment.written_ms < now_ms.saturating_sub(age));
            let large = self.bytes.is_some_and(|bytes| total > bytes);
            if !aged && !large {
                break;
            }
            total -= segment.bytes;
            keep = Some(after.first);
        }
        keep
    }

    /// The oldest segment that lies before this frame, to be taken away.
    pub fn oldest_before(&self, first_kept: u64) -> Option<u64> {
        let first = self.segments.front().map(|segment| segment.first);
        first.filter(|first| *first < first_kept && self.segments.len() > 1)
    }

    /// The oldest is gone.
    pub fn gone(&mut self) {
        self.segments.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retention(age_ms: Option<u64>, bytes: Option<u64>) -> Retention {
        let settings =
            Audit { retention_age_ms: age_ms, retention_bytes: bytes, ..Audit::default() };
        let kept = |first, written_ms| Kept { first, bytes: 100, written_ms };
        Retention::new(&settings, [kept(0, 10), kept(7, 20), kept(9, 30), kept(12, 40)])
    }

    #[test]
    fn the_oldest_go_by_age_and_by_size_and_the_newest_stays() {
        assert_eq!(retention(None, None).first_to_keep(1_000_000), None);
        assert_eq!(retention(Some(100), None).first_to_keep(110), None);
        assert_eq!(retention(Some(100), None).first_to_keep(111), Some(7));
        assert_eq!(retention(Some(100), None).first_to_keep(1_000_000), Some(12));
        assert_eq!(retention(None, Some(400)).first_to_keep(50), None);
        assert_eq!(retention(None, Some(399)).first_to_keep(50), Some(7));
        assert_eq!(retention(None, Some(0)).first_to_keep(50), Some(12));
        assert_eq!(retention(Some(100), Some(250)).first_to_keep(111), Some(9));
    }

    #[test]
    fn what_is_gone_is_not_looked_at_again() {
        let mut retention = retention(None, Some(250));
        assert_eq!(retention.oldest_before(9), Some(0));
        retention.gone();
        assert_eq!(retention.oldest_before(9), Some(7));
        retention.gone();
        assert_eq!((retention.oldest_before(9), retention.first_to_keep(50)), (None, None));
        retention.written(12, 150, 60);
        assert_eq!(retention.first_to_keep(60), None);
        retention.written(15, 10, 60);
        assert_eq!(retention.first_to_keep(60), Some(12));
        assert_eq!(retention.oldest_before(u64::MAX), Some(9));
    }
}
