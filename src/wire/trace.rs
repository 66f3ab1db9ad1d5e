//! W3C Trace Context: `traceparent`, parsed strictly, and one span per hop.

use super::request_id::hex_digit;

/// A `traceparent`: which trace, which span, which flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace, never zero.
    pub trace: u128,
    /// The span of the sender, never zero.
    pub span: u64,
    /// The flags; bit 0 is "sampled".
    pub flags: u8,
}

/// `00-` and 32, 16 and 2 digits with dashes between.
const BYTES: usize = 55;

impl Traceparent {
    /// Reads a field value (Trace Context 3.2). Lower-case digits only; version `ff`, a zero trace
    /// or span, and anything after version 00's last field are refused. A later version is read by
    /// its first four fields.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, more) = value.split_at_checked(BYTES)?;
        let version = hex(head.get(..2)?)?;
        let dashes = [2, 35, 52].iter().all(|at| head.get(*at) == Some(&b'-'));
        let ends = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.first() == Some(&b'-'),
        };
        if !dashes || !ends {
            return None;
        }
        let trace = hex(head.get(3..35)?)?;
        let span = u64::try_from(hex(head.get(36..52)?)?).ok()?;
        let flags = u8::try_from(hex(head.get(53..55)?)?).ok()?;
        (trace != 0 && span != 0).then_some(Self { trace, span, flags })
    }

    /// The start of a new trace from random bits, not sampled unless `flags` says so. Zero, which
    /// the format forbids, becomes one.
    #[must_use]
    pub const fn root(trace: u128, span: u64, flags: u8) -> Self {
        Self {
            trace: if trace == 0 { 1 } else { trace },
            span: if span == 0 { 1 } else { span },
            flags,
        }
    }

    /// The same trace with this hop's own span, from random bits.
    #[must_use]
    pub const fn child(self, span: u64) -> Self {
        // Of the flags only "sampled" is known in version 00, which is what is written.
        Self::root(self.trace, span, self.flags & 1)
    }

    /// The field value, of version 00.
    #[must_use]
    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut text = [b'-'; BYTES];
        put(text.get_mut(..2), 0);
        put(text.get_mut(3..35), self.trace);
        put(text.get_mut(36..52), u128::from(self.span));
        put(text.get_mut(53..), u128::from(self.flags));
        text
    }
}

fn put(digits: Option<&mut [u8]>, value: u128) {
    let mut left = value;
    for slot in digits.unwrap_or_default().iter_mut().rev() {
        *slot = hex_digit((left & 15) as u8);
        left >>= 4;
    }
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |sum: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_value_survives_parse_and_write() {
        let read = Traceparent::parse(SAMPLE).unwrap();
        assert_eq!(read.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((read.span, read.flags), (0x00f0_67aa_0ba9_02b7, 1));
        assert_eq!(read.to_bytes(), SAMPLE);
    }

    #[test]
    fn a_child_keeps_the_trace_and_has_its_own_span() {
        let child = Traceparent::parse(SAMPLE).unwrap().child(5);
        assert_eq!(&child.to_bytes()[..36], &SAMPLE[..36]);
        assert_eq!(child.span, 5);
        assert_ne!(Traceparent::root(0, 0, 0).to_bytes(), Traceparent::root(2, 2, 0).to_bytes());
        assert!(Traceparent::parse(&Traceparent::root(0, 0, 0).to_bytes()).is_some());
    }

    #[test]
    fn one_wrong_byte_anywhere_is_refused_or_another_value() {
        let read = Traceparent::parse(SAMPLE).unwrap();
        for at in 0..SAMPLE.len() {
            for byte in 0..=255_u8 {
                let mut changed = SAMPLE.to_vec();
                changed[at] = byte;
                match Traceparent::parse(&changed) {
                    Some(other) if byte == SAMPLE[at] => assert_eq!(other, read),
                    Some(other) if at < 2 => assert_eq!(other, read, "a later version"),
                    Some(other) => {
                        assert_ne!(other, read);
                        assert_eq!(other.to_bytes(), changed[..]);
                    }
                    None => assert_ne!(byte, SAMPLE[at]),
                }
            }
        }
    }

    #[test]
    fn zero_ids_wrong_lengths_and_version_ff_are_refused() {
        for bad in [
            &b""[..],
            b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        ] {
            assert_eq!(Traceparent::parse(bad), None);
        }
        let later = b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert_eq!(Traceparent::parse(later), Traceparent::parse(SAMPLE));
    }
}
