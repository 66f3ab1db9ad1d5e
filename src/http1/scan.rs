//! Finding the end of a head in time linear in its bytes, however few come at once.
//!
//! The first look is the parse itself, because nearly every head arrives whole. If it is not whole,
//! later looks only search the new bytes for the empty line, and the parse is tried again when that
//! is found, or when the buffer has doubled (so garbage is refused early, and all tries together
//! cost at most twice the last).

use super::malformed::Malformed;
use crate::wire::limits;

/// What a parse of the bytes so far says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The head is not complete; call again with more bytes after the same ones.
    Incomplete,
    /// The head is complete and takes this many bytes of the buffer.
    Complete(usize),
    /// The head breaks the rules; nothing of it may be used.
    Malformed(Malformed),
}

/// Bounds of one head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head.
    pub head_bytes_max: usize,
    /// Bytes of one line, with its CRLF.
    pub line_bytes_max: usize,
    /// Bytes of a request target.
    pub target_bytes_max: usize,
    /// Fields; at most [`limits::HEAD_FIELDS_CEILING`] are ever accepted.
    pub fields_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_bytes_max: limits::HEAD_BYTES_MAX,
            line_bytes_max: limits::HEAD_LINE_BYTES_MAX,
            target_bytes_max: limits::TARGET_BYTES_MAX,
            fields_max: limits::HEAD_FIELDS_MAX,
        }
    }
}

/// Where the search for a head's end stands; one per connection, `default()` for each new head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Bytes searched so far.
    scanned: usize,
    /// Where the current line begins.
    line_start: usize,
    /// Lines ended so far, counted to two: an empty line ends a head only after a first line.
    lines: u8,
    /// The buffer length from which the parse is tried again before the end is found.
    retry_at: usize,
}

/// What to do with the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Parse them.
    Parse,
    /// Wait for more.
    Wait,
    /// Refuse.
    Refuse(Malformed),
}

impl Cursor {
    /// Whether it pays to parse `buf` now.
    pub(super) fn look(&mut self, buf: &[u8], limits: &HeadLimits) -> Look {
        if self.retry_at == 0 {
            return Look::Parse;
        }
        match self.scan(buf, limits) {
            Look::Wait if buf.len() >= self.retry_at => Look::Parse,
            look => look,
        }
    }

    /// Notes that a parse of `buf` found no end; refuses what can no longer become a legal head.
    pub(super) fn incomplete(&mut self, buf: &[u8], limits: &HeadLimits) -> Parsed {
        self.retry_at = buf.len().saturating_mul(2).max(64);
        match self.scan(buf, limits) {
            Look::Refuse(fault) => Parsed::Malformed(fault),
            Look::Parse | Look::Wait => Parsed::Incomplete,
        }
    }

    fn scan(&mut self, buf: &[u8], limits: &HeadLimits) -> Look {
        while let Some(found) =
            buf.get(self.scanned..).and_then(|new| new.iter().position(|byte| *byte == b'\n'))
        {
            let at = self.scanned + found;
            if at == self.line_start || buf.get(at - 1) != Some(&b'\r') {
                return Look::Refuse(Malformed::LineEnd);
            }
            // CR CR LF would hide the empty line, and the end of the head would never be found.
            if at - self.line_start > 1 && buf.get(at - 2) == Some(&b'\r') {
                return Look::Refuse(Malformed::LineEnd);
            }
            if let Some(fault) = self.over_limit(at + 1, limits) {
                return Look::Refuse(fault);
            }
            let empty = at - self.line_start == 1;
            self.scanned = at + 1;
            self.line_start = at + 1;
            if empty && self.lines > 0 {
                return Look::Parse;
            }
            // One empty line before the first is passed over (RFC 9112 2.2), a second is not.
            if empty && at > 1 {
                return Look::Refuse(Malformed::StartLine);
            }
            if !empty {
                self.lines = 1;
            }
        }
        self.scanned = buf.len();
        self.over_limit(buf.len(), limits).map_or(Look::Wait, Look::Refuse)
    }

    /// What limit a head reaching to `end`, whose last line began at `line_start`, has passed.
    fn over_limit(&self, end: usize, limits: &HeadLimits) -> Option<Malformed> {
        let line = end - self.line_start;
        // A first line over the target's limit is over it because of the target: the rest of the
        // line is some twenty bytes, and a method longer than that is refused by its own limit.
        let first_line_max = limits.target_bytes_max.saturating_add(limits::REQUEST_LINE_SLACK);
        if self.lines == 0 && line > first_line_max {
            return Some(Malformed::TargetTooLong);
        }
        if line > limits.line_bytes_max || end > limits.head_bytes_max {
            return Some(Malformed::HeadTooLarge);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dribbled_head_is_parsed_a_logarithmic_number_of_times() {
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        while head.len() < 60_000 {
            head.extend_from_slice(b"Name: and a value of some length\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let limits = HeadLimits::default();
        let (mut cursor, mut parses) = (Cursor::default(), 0);
        for end in 1..=head.len() {
            let before = cursor.scanned;
            if cursor.look(&head[..end], &limits) == Look::Parse {
                parses += 1;
                if end < head.len() {
                    assert_eq!(cursor.incomplete(&head[..end], &limits), Parsed::Incomplete);
                }
            }
            // No byte is searched twice.
            assert!(cursor.scanned >= before && cursor.scanned <= end);
        }
        // Once at first, once for each doubling from 64 bytes to 60 000, once at the end.
        assert!(parses <= 12, "{parses}");
        assert_eq!(cursor.scanned, head.len());
    }
}
