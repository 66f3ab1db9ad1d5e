//! The identity of a request, as `X-Request-ID` carries it.

/// A UUID of version 7 (RFC 9562 5.7) as text: 48 bits of time in front, so ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; 36]);

impl RequestId {
    /// The id of this moment: milliseconds since 1970, and random bits of which 74 are used.
    #[must_use]
    pub fn new(unix_ms: u64, random: u128) -> Self {
        Self::from_bits(Self::bits(unix_ms, random))
    }

    /// The bits of such an id.
    #[must_use]
    pub const fn bits(unix_ms: u64, random: u128) -> u128 {
        let time = ((unix_ms & 0xffff_ffff_ffff) as u128) << 80;
        let high = (random >> 62 & 0xfff) << 64;
        let low = random & 0x3fff_ffff_ffff_ffff;
        time | 7 << 76 | high | 2 << 62 | low
    }

    /// The text of these bits.
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        let mut text = [b'-'; 36];
        let mut left = bits;
        for (at, slot) in text.iter_mut().enumerate().rev() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                *slot = hex_digit((left & 15) as u8);
                left >>= 4;
            }
        }
        Self(text)
    }

    /// Its 36 bytes, all ASCII.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The bits of an id in the text form of RFC 9562 4; `None` for any other text.
#[must_use]
pub fn uuid_bits(text: &[u8]) -> Option<u128> {
    let dashes = [8, 13, 18, 23].iter().all(|at| text.get(*at) == Some(&b'-'));
    if text.len() != 36 || !dashes {
        return None;
    }
    let digits = text.iter().filter(|byte| **byte != b'-');
    let mut count = 0;
    let bits = digits.map(|byte| char::from(*byte).to_digit(16)).try_fold(0u128, |bits, digit| {
        count += 1;
        Some(bits << 4 | u128::from(digit?))
    });
    bits.filter(|_| count == 32)
}

/// The lower-case digit of `value`, which is below 16.
pub(super) const fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + (value - 10) }
}

/// Bytes of a foreign request id that is taken over.
const FOREIGN_BYTES_MAX: usize = 128;

/// Whether an id that a trusted sender gave may be taken over: 1 to 128 letters, digits and
/// `- _ . : + / = @`, which are safe in logs, headers and JSON alike.
#[must_use]
pub fn is_acceptable(id: &[u8]) -> bool {
    let safe = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'.' | b':' | b'+' | b'/' | b'=' | b'@')
    };
    (1..=FOREIGN_BYTES_MAX).contains(&id.len()) && id.iter().all(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_9562_comes_out() {
        // RFC 9562 A.6: 017F22E2-79B0-7CC3-98C4-DC0C0C07398F, its random parts 0xCC3 and
        // 0x18C4DC0C0C07398F.
        let random = 0xcc3 << 62 | 0x18c4_dc0c_0c07_398f;
        let id = RequestId::new(0x017f_22e2_79b0, random);
        assert_eq!(id.as_str(), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        let bits = 0x017f_22e2_79b0_7cc3_98c4_dc0c_0c07_398f;
        assert_eq!(uuid_bits(id.as_bytes()), Some(bits));
        assert_eq!(RequestId::from_bits(bits), id);
        assert_eq!(uuid_bits(b"017f22e2-79b0-7cc3-98c4-dc0c0c07398"), None);
        assert_eq!(uuid_bits(b"017f22e2-79b0-7cc3-98c4-dc0c0c07398g"), None);
        assert_eq!(uuid_bits(b"017f22e2079b0-7cc3-98c4-dc0c0c07398f"), None);
        assert_eq!(uuid_bits(b"017f22e2-79b0-7cc3-98c4-dc0c0c07398-"), None);
    }

    #[test]
    fn ids_sort_by_time_and_keep_version_and_variant() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut last = RequestId::new(0, 0);
        for ms in 1..2000 {
            let id = RequestId::new(ms << 12, random.u128(..));
            assert!(id > last);
            assert_eq!(id.as_bytes()[14], b'7');
            assert!(b"89ab".contains(&id.as_bytes()[19]));
            last = id;
        }
    }

    #[test]
    fn foreign_ids_that_could_break_a_log_are_refused() {
        assert!(is_acceptable(b"abc-123_4.5:6+7/8=9@z"));
        for bad in [&b""[..], b"a b", b"a\"b", b"a\\b", b"\xc3\xa9", b"a,b", &[b'a'; 129]] {
            assert!(!is_acceptable(bad));
        }
    }
}
