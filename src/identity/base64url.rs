//! Base64url as JOSE has it (RFC 7515 2): no padding, no white space, no line breaks, and only the
//! canonical form, since a signature covers the text and not what it decodes to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What a text says; `None` for anything but the canonical form. The engine refuses padding, other
/// alphabets and trailing bits that are not zero.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The canonical form.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_read() {
        assert_eq!(decode(b"AA"), Some(vec![0]));
        assert_eq!(decode(b""), Some(Vec::new()));
        for text in ["AB", "A", "AA==", "AA=", "A A", "AA\n", "+w", "/w", "AAA%", "AAB"] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(decode(b"-_8"), Some(vec![0xFB, 0xFF]));
        for length in 0..64_u8 {
            let bytes: Vec<u8> = (0..length).map(|at| at.wrapping_mul(37)).collect();
            assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }
    }
}
