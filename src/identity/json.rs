//! JSON as security tokens need it (RFC 8259): strict, bounded, and one meaning for each text.
//!
//! A member that stands twice is refused, because two readers that each take another one of the two
//! disagree about who is calling (RFC 7519 4). Numbers stay as they are written: nothing here
//! rounds.

use crate::wire::limits::{JSON_DEPTH_MAX, JSON_VALUES_MAX};
use std::borrow::Cow;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it is written.
    Number(&'a str),
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object; no name stands twice.
    Object(Object<'a>),
}

/// The members of an object, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Object<'a> {
    /// The member of this name.
    pub(super) fn member(&self, name: &str) -> Option<&Json<'a>> {
        let found = self.0.binary_search_by(|(known, _)| known.as_ref().cmp(name)).ok()?;
        self.0.get(found).map(|(_, value)| value)
    }

    /// The member of this name, where it is a string.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.member(name).and_then(Json::text)
    }
}

impl<'a> Json<'a> {
    /// Reads one whole text; `None` is anything that is not exactly one bounded JSON value.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut reader = Reader { text, at: 0, values: 0 };
        let value = reader.value(JSON_DEPTH_MAX)?;
        reader.space();
        (reader.at == text.len()).then_some(value)
    }

    /// Reads one whole object.
    pub(super) fn parse_object(bytes: &'a [u8]) -> Option<Object<'a>> {
        match Self::parse(bytes)? {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// A string's text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number's whole seconds, a fraction cut off; `None` for what is negative, no number, or
    /// beyond any date.
    pub(super) fn seconds(&self) -> Option<u64> {
        let Self::Number(written) = self else { return None };
        let (digits, fraction) = match written.split_once('.') {
            Some((digits, fraction)) => (digits, fraction),
            None => (*written, ""),
        };
        // An exponent would be legal JSON, and no issuer writes dates that way.
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(digits) || !plain(fraction) {
            return None;
        }
        digits.parse().ok().filter(|seconds| *seconds <= SECONDS_MAX)
    }
}

/// The last second of the year 9999: later than any date that is meant.
const SECONDS_MAX: u64 = 253_402_300_799;

struct Reader<'a> {
    text: &'a str,
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        rest.starts_with(word).then(|| self.at += word.len())
    }

    fn value(&mut self, depth: usize) -> Option<Json<'a>> {
        self.values += 1;
        if self.values > JSON_VALUES_MAX {
            return None;
        }
        self.space();
        match self.peek()? {
            b'{' => self.object(depth.checked_sub(1)?).map(Json::Object),
            b'[' => self.array(depth.checked_sub(1)?).map(Json::Array),
            b'"' => self.string().map(Json::Text),
            b't' => self.word("true").map(|()| Json::Bool(true)),
            b'f' => self.word("false").map(|()| Json::Bool(false)),
            b'n' => self.word("null").map(|()| Json::Null),
            _ => self.number().map(Json::Number),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Object<'a>> {
        self.take(b'{')?;
        self.space();
        let mut members = Vec::new();
        if self.take(b'}').is_some() {
            return Some(Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.take(b':')?;
            members.push((name, self.value(depth)?));
            self.space();
            if self.take(b',').is_none() {
                break;
            }
        }
        self.take(b'}')?;
        members.sort_by(|(left, _), (right, _)| left.cmp(right));
        let twice = members.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b));
        (!twice).then_some(Object(members))
    }

    fn array(&mut self, depth: usize) -> Option<Vec<Json<'a>>> {
        self.take(b'[')?;
        self.space();
        let mut items = Vec::new();
        if self.take(b']').is_some() {
            return Some(items);
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.take(b',').is_none() {
                break;
            }
        }
        self.take(b']')?;
        Some(items)
    }

    /// RFC 8259 6: `-`, an integer without leading zeros, a fraction, an exponent.
    fn number(&mut self) -> Option<&'a str> {
        let start = self.at;
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.text.get(start..self.at)
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.take(b'"')?;
        let start = self.at;
        let mut owned: Option<String> = None;
        let mut from = start;
        loop {
            match self.peek()? {
                b'"' => {
                    let last = self.text.get(from..self.at)?;
                    self.at += 1;
                    return Some(match owned {
                        None => Cow::Borrowed(last),
                        Some(mut text) => {
                            text.push_str(last);
                            Cow::Owned(text)
                        }
                    });
                }
                b'\\' => {
                    let text = owned.get_or_insert_default();
                    text.push_str(self.text.get(from..self.at)?);
                    self.at += 1;
                    let character = self.escape()?;
                    owned.get_or_insert_default().push(character);
                    from = self.at;
                }
                0..=0x1F => return None,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                let code = match first {
                    // The two halves of a character beyond the basic plane; one alone is no text.
                    0xD800..0xDC00 => {
                        self.take(b'\\')?;
                        self.take(b'u')?;
                        let second = self.unit()?;
                        let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
                        0x10000 + ((first - 0xD800) << 10) + low
                    }
                    _ => first,
                };
                char::from_u32(code)?
            }
            _ => return None,
        })
    }

    /// Four hex digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_json_reads_is_read_alike_and_nothing_more() {
        let texts = [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "12",
            "-12.5e+3",
            "1e9",
            "\"\"",
            "\"a\\u00e9\\n\"",
            "\"\\ud83d\\ude00\"",
            "[]",
            "[1,2,[3]]",
            "{}",
            "{\"a\":1,\"b\":{\"c\":[null]}}",
            " { \"a\" : [ 1 , 2 ] } ",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "nul",
            "truefalse",
            "[1,]",
            "[,1]",
            "{\"a\":}",
            "{\"a\" 1}",
            "{a:1}",
            "{\"a\":1,}",
            "'a'",
            "\"\\x\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\ud83d\\u0041\"",
            "\"\n\"",
            "\"",
            "",
            " ",
            "1 2",
            "NaN",
            "Infinity",
            "-",
            "{",
            "[",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\u{feff}1",
        ];
        for text in texts {
            let ours = Json::parse(text.as_bytes());
            let theirs = serde_json::from_str::<serde_json::Value>(text);
            assert_eq!(ours.is_some(), theirs.is_ok(), "{text:?}: {ours:?}, {theirs:?}");
            if let (Some(Json::Text(ours)), Ok(theirs)) = (ours, theirs) {
                assert_eq!(Some(ours.as_ref()), theirs.as_str());
            }
        }
    }

    #[test]
    fn a_member_that_stands_twice_is_refused_at_every_depth_and_in_every_spelling() {
        for text in
            [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"b":[{"x":{"a":1,"c":2,"a":3}}]}"#]
        {
            assert_eq!(Json::parse(text.as_bytes()), None, "{text}");
        }
        assert!(Json::parse(br#"{"a":1,"A":1,"b":{"a":1}}"#).is_some());
    }

    #[test]
    fn depth_values_and_bytes_that_are_not_utf_8_are_bounded() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(nested(JSON_DEPTH_MAX).as_bytes()).is_some());
        assert!(Json::parse(nested(JSON_DEPTH_MAX + 1).as_bytes()).is_none());
        let many = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert!(Json::parse(many(JSON_VALUES_MAX - 1).as_bytes()).is_some());
        assert!(Json::parse(many(JSON_VALUES_MAX).as_bytes()).is_none());
        assert!(Json::parse(b"\"\xff\"").is_none());
    }

    #[test]
    fn seconds_are_whole_and_within_dates() {
        let seconds = |text: &'static str| Json::parse(text.as_bytes()).and_then(|it| it.seconds());
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds("1300819380"), Some(1_300_819_380));
        assert_eq!(seconds("1300819380.999"), Some(1_300_819_380));
        assert_eq!(seconds("253402300799"), Some(253_402_300_799));
        for text in [
            "253402300800",
            "99999999999999999999999999",
            "-1",
            "-0",
            "1e9",
            "1E9",
            "\"1\"",
            "null",
            "true",
            "[1]",
            "{}",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
