//! A text out of an interval of byte strings, as a request could have it.

/// Bytes that any field, path or host may hold, and those of a field besides.
const PLAIN: (u8, u8) = (0x21, 0x7e);
const SPACED: (u8, u8) = (0x20, 0x7e);

/// A text in `[low, high)`; one of visible ASCII where there is one. `None` where no UTF-8 text is
/// in it.
pub(super) fn member(low: &[u8], high: Option<&[u8]>) -> Option<String> {
    let below = |text: &String| high.is_none_or(|high| text.as_bytes() < high);
    let ascii = [PLAIN, SPACED].into_iter().find_map(|range| at_least(low, range).filter(below));
    ascii.or_else(|| least(low).filter(below))
}

/// The least text of bytes of the range that is not below `low`.
fn at_least(low: &[u8], (first, last): (u8, u8)) -> Option<String> {
    let legal = low.iter().position(|byte| !(first..=last).contains(byte));
    let Some(at) = legal else { return String::from_utf8(low.to_vec()).ok() };
    let (head, rest) = low.split_at_checked(at)?;
    let mut text = head.to_vec();
    if rest.first().is_some_and(|byte| *byte < first) {
        text.push(first);
    } else {
        // Nothing behind this place is large enough: a byte before it must be.
        loop {
            let byte = text.pop()?;
            if byte < last {
                text.push(byte + 1);
                break;
            }
        }
    }
    String::from_utf8(text).ok()
}

/// The least UTF-8 text that is not below `low`: characters sort as their bytes do.
fn least(low: &[u8]) -> Option<String> {
    let error = match std::str::from_utf8(low) {
        Ok(text) => return Some(text.to_owned()),
        Err(error) => error,
    };
    let (head, rest) = low.split_at_checked(error.valid_up_to())?;
    let mut text = std::str::from_utf8(head).ok()?.to_owned();
    let large = |character: &char| {
        let mut bytes = [0; 4];
        character.encode_utf8(&mut bytes).as_bytes() >= rest
    };
    // The characters of each length of encoding, least first.
    let starts = ['\0', '\u{80}', '\u{800}', '\u{10000}'];
    if let Some(found) = starts.into_iter().find_map(|start| climb(start, large)) {
        text.push(found);
        return Some(text);
    }
    loop {
        let character = text.pop()?;
        if let Some(next) = (character..=char::MAX).nth(1) {
            text.push(next);
            return Some(text);
        }
    }
}

/// The least character from `start` on that is large enough, by halving.
fn climb(start: char, large: impl Fn(&char) -> bool) -> Option<char> {
    let (mut low, mut high) = (u32::from(start), u32::from(char::MAX));
    if !large(&char::MAX) {
        return None;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        // There are no characters in the gap of surrogates: what stands behind it decides.
        let character = char::from_u32(middle).unwrap_or('\u{e000}');
        if large(&character) { high = middle } else { low = middle + 1 }
    }
    char::from_u32(low).or(Some('\u{e000}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_lies_in_its_interval_and_is_readable_where_it_can_be() {
        let visible = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        for (low, high, due) in [
            (&b""[..], None, Some("")),
            (b"phi\0", None, Some("phi!")),
            (b"phi\0", Some(&b"phi\0\0"[..]), Some("phi\0")),
            (b"phi\0", Some(b"phi!"), Some("phi ")),
            (b"a\x7f", None, Some("b")),
            (b"~\x7f", Some(b"~\x80"), Some("~\x7f")),
            (b"\xc3\xc0", None, Some("\u{100}")),
            (b"\xc3\xc0", Some(b"\xc4\x80"), None),
            (b"\xff", None, None),
            (b"a\xff", None, Some("b")),
            (b"\xed\xa0\x80", None, Some("\u{e000}")),
        ] {
            let found = member(low, high);
            assert_eq!(found.as_deref(), due, "{low:?}");
            let Some(found) = found else { continue };
            assert!(low <= found.as_bytes() && high.is_none_or(|high| found.as_bytes() < high));
            assert!(visible(&found) || due.is_some_and(|due| !visible(due)));
        }
    }

    #[test]
    fn no_text_of_a_small_alphabet_is_missed() {
        let words: Vec<Vec<u8>> = (0..4096u32)
            .map(|mut number| {
                let mut word = Vec::new();
                while number > 0 {
                    word.push([0, b' ', b'!', b'~', 0x7f, 0xc3, 0x80, 0xff][number as usize % 8]);
                    number /= 8;
                }
                word
            })
            .collect();
        for pair in words.windows(2) {
            let (low, high) =
                (pair[0].clone().min(pair[1].clone()), pair[0].clone().max(pair[1].clone()));
            let found = member(&low, Some(&high));
            let any = words
                .iter()
                .any(|word| *word >= low && *word < high && std::str::from_utf8(word).is_ok());
            assert!(found.is_some() || !any, "{low:?} {high:?}");
            if let Some(found) = found {
                assert!(found.as_bytes() >= low.as_slice() && found.as_bytes() < high.as_slice());
            }
        }
    }
}
