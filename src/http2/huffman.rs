//! How many bytes an HPACK string stands for, and which, where a short name is asked for
//! (RFC 7541 5.2 and appendix B).
//!
//! The code is canonical: codes of one length are consecutive numbers, and every longer code is
//! greater when both are aligned left. So a symbol's length follows from comparing 32 bits with the
//! first code that is *not* of that length, and no tree is needed. All letters, digits and marks
//! that a field name of interest is made of have codes of at most 7 bits.

/// (length in bits, codes of that length), in code order; 256 bytes and the end mark.
const LENGTHS: [(u32, u64); 21] = [
    (5, 10),
    (6, 26),
    (7, 32),
    (8, 6),
    (10, 5),
    (11, 3),
    (12, 2),
    (13, 6),
    (14, 2),
    (15, 3),
    (19, 3),
    (20, 8),
    (21, 13),
    (22, 26),
    (23, 29),
    (24, 12),
    (25, 4),
    (26, 15),
    (27, 19),
    (28, 29),
    (30, 4),
];

/// For each length, the first left-aligned 32-bit window that begins with a longer code.
const LIMITS: [(u32, u64); 21] = limits();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler; a bad index cannot build")]
const fn limits() -> [(u32, u64); 21] {
    let mut out = [(0, 0); 21];
    let mut limit = 0;
    let mut at = 0;
    while at < LENGTHS.len() {
        let (bits, codes) = LENGTHS[at];
        limit += codes << (32 - bits);
        out[at] = (bits, limit);
        at += 1;
    }
    // A code without a hole: the last limit is exactly 2^32.
    assert!(limit == 1 << 32);
    out
}

/// Bytes with codes of at most 8 bits, in code order.
const SHORT: &[u8; 74] =
    b"012aceiost %-./3456789=A_bdfghlmnpru:BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz&*,;XZ";

/// By a window's first byte: the code's length, 0 when above 8, and its byte.
static FIRST: [(u8, u8); 256] = first();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler; a bad index cannot build")]
const fn first() -> [(u8, u8); 256] {
    let mut out = [(0, 0); 256];
    let (mut byte, mut symbol, mut group) = (0, 0, 0);
    while group < 4 {
        let (bits, codes) = LENGTHS[group];
        let mut code = 0;
        while code < codes {
            let mut same = 0;
            while same < 1 << (8 - bits) {
                out[byte] = (bits as u8, SHORT[symbol]);
                byte += 1;
                same += 1;
            }
            symbol += 1;
            code += 1;
        }
        group += 1;
    }
    out
}

/// Decodes `coded`: calls `each` with every byte (0 for the rare ones whose code is above 8 bits,
/// `#` excepted) and returns how many there are; `None` for a code or padding that RFC 7541 5.2
/// forbids.
pub(crate) fn decode(coded: &[u8], mut each: impl FnMut(u8)) -> Option<u32> {
    let (mut window, mut have, mut count) = (0_u64, 0_u32, 0_u32);
    let mut bytes = coded.iter();
    loop {
        while have <= 56 {
            let Some(&byte) = bytes.next() else { break };
            window |= u64::from(byte) << (56 - have);
            have += 8;
        }
        if have == 0 {
            return Some(count);
        }
        // Beyond the end stand ones, as in the padding, so what is left of a cut code is long.
        let peek = (window | u64::MAX.checked_shr(have).unwrap_or(0)) >> 32;
        let (bits, byte) = symbol(peek);
        if bits > have {
            let all_ones = window == !u64::MAX.checked_shr(have).unwrap_or(0);
            return (have < 8 && all_ones).then_some(count);
        }
        if peek >> 2 == 0x3fff_ffff {
            return None; // the end mark itself
        }
        each(byte);
        count += 1;
        window <<= bits;
        have -= bits;
    }
}

/// The code at the front of 32 bits: its length and, up to 8 bits and of `#`, its byte.
fn symbol(peek: u64) -> (u32, u8) {
    let front = usize::try_from(peek >> 24).unwrap_or(255);
    match FIRST.get(front) {
        Some(&(bits, byte)) if bits != 0 => (u32::from(bits), byte),
        _ => {
            let found = LIMITS.iter().find(|(_, limit)| peek < *limit);
            // The one longer code whose byte somebody asks for (RFC 7541 appendix B).
            let byte = if peek >> 20 == 0xffa { b'#' } else { 0 };
            (found.map_or(30, |&(bits, _)| bits), byte)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Option<(u32, Vec<u8>)> {
        let mut text = Vec::new();
        decode(coded, |byte| text.push(byte)).map(|count| (count, text))
    }

    #[test]
    fn the_examples_of_the_rfc_decode() {
        // RFC 7541 C.4.1, C.4.2, C.4.3, C.6.1.
        let cases: [(&[u8], &str); 4] = [
            (
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f], "custom-key"),
            (&[0x64, 0x02], "302"),
        ];
        for (coded, text) in cases {
            assert_eq!(decoded(coded), Some((text.len() as u32, text.as_bytes().to_vec())));
        }
    }

    #[test]
    fn padding_that_is_long_or_not_ones_is_refused() {
        assert_eq!(decoded(&[0x64, 0x02, 0xff]), None); // eight bits of padding
        assert_eq!(decoded(&[0x00]), None); // one symbol, then three zeros
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), None); // the end mark
        assert_eq!(decoded(&[]), Some((0, vec![])));
        assert_eq!(decoded(&[0x07]), Some((1, b"0".to_vec())));
    }
}
