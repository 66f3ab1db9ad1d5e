//! A JSON text (RFC 8259) as the same document that TOML gives, so that whoever reads documents
//! reads both, and every fault has its line and column in either.
//!
//! Strict: a member that stands twice is refused, `null` is nothing a document could mean, and
//! nesting is bounded because the reader calls itself.

use super::document::{Source, fault_at};
use super::fault::{Fault, quoted};
use super::limits::DOCUMENT_DEPTH_MAX;
use std::borrow::Cow;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// The object that the text is.
///
/// # Errors
/// The first thing that is not JSON, or means nothing in a document.
pub(super) fn table(source: &Source) -> Result<Spanned<DeTable<'_>>, Fault> {
    let mut reader = Reader { source, text: source.text(), at: 0 };
    reader.space();
    if reader.peek() != Some(b'{') {
        return Err(reader.fault("a document in JSON begins with `{`"));
    }
    let start = reader.at;
    let table = reader.object(DOCUMENT_DEPTH_MAX)?;
    let end = reader.at;
    reader.space();
    if reader.at != reader.text.len() {
        return Err(reader.fault("there is more behind the document's end"));
    }
    Ok(Spanned::new(start..end, table))
}

struct Reader<'d> {
    source: &'d Source,
    text: &'d str,
    at: usize,
}

impl<'d> Reader<'d> {
    fn fault(&self, what: &str) -> Fault {
        fault_at(self.source, self.at, format!("this is not JSON: {what}"), "")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8, what: &str) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(self.fault(what));
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Spanned<DeValue<'d>>, Fault> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => DeValue::Table(self.object(depth)?),
            Some(b'[') => DeValue::Array(self.array(depth)?),
            Some(b'"') => DeValue::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Spanned::new(start..self.at, value))
    }

    fn word(&mut self) -> Result<DeValue<'d>, Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word: &str = rest.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let value = match word {
            "true" => DeValue::Boolean(true),
            "false" => DeValue::Boolean(false),
            "null" => {
                let what = "`null` means nothing here";
                return Err(fault_at(self.source, self.at, what.to_owned(), "leave the key out"));
            }
            _ => return Err(self.fault("a value is missing")),
        };
        self.at += word.len();
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<DeTable<'d>, Fault> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.fault("it is nested too deeply"));
        };
        self.take(b'{', "an object begins with `{`")?;
        let mut table = DeTable::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(table);
        }
        loop {
            self.space();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.fault("a name in quotes is missing"));
            }
            let name = self.string()?;
            let key = Spanned::new(start..self.at, name);
            if table.contains_key(&key) {
                let what = format!("{} stands twice", quoted(key.get_ref()));
                return Err(fault_at(self.source, start, what, "remove one of the two"));
            }
            self.space();
            self.take(b':', "`:` is missing behind a name")?;
            self.space();
            let value = self.value(depth)?;
            table.insert(key, value);
            self.space();
            if self.peek() == Some(b',') {
                self.at += 1;
                continue;
            }
            self.take(b'}', "`,` or `}` is missing")?;
            return Ok(table);
        }
    }

    fn array(&mut self, depth: usize) -> Result<DeArray<'d>, Fault> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.fault("it is nested too deeply"));
        };
        self.take(b'[', "an array begins with `[`")?;
        let mut array = DeArray::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(array);
        }
        loop {
            self.space();
            array.push(self.value(depth)?);
            self.space();
            if self.peek() == Some(b',') {
                self.at += 1;
                continue;
            }
            self.take(b']', "`,` or `]` is missing")?;
            return Ok(array);
        }
    }

    /// TOML's numbers are a superset of JSON's, but for leading zeros, which neither has.
    fn number(&mut self) -> Result<DeValue<'d>, Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let end = rest.find(|c: char| !part(c)).unwrap_or(rest.len());
        let written = rest.get(..end).unwrap_or_default();
        let parsed = DeValue::parse(written).ok().map(Spanned::into_inner);
        match parsed {
            Some(value @ (DeValue::Integer(_) | DeValue::Float(_))) => {
                self.at += end;
                Ok(value)
            }
            _ => Err(self.fault("this is no number")),
        }
    }

    fn string(&mut self) -> Result<Cow<'d, str>, Fault> {
        self.take(b'"', "a string begins with `\"`")?;
        let start = self.at;
        let mut owned: Option<String> = None;
        loop {
            let run = self.at;
            while self.peek().is_some_and(|byte| byte >= 0x20 && !matches!(byte, b'"' | b'\\')) {
                self.at += 1;
            }
            let plain = self.text.get(run..self.at).unwrap_or_default();
            if let Some(owned) = &mut owned {
                owned.push_str(plain);
            }
            match self.peek() {
                Some(b'"') => {
                    let whole = self.text.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(owned.map_or(Cow::Borrowed(whole), Cow::Owned));
                }
                Some(b'\\') => {
                    let before = self.text.get(start..self.at).unwrap_or_default();
                    let owned = owned.get_or_insert_with(|| before.to_owned());
                    let character = self.escape()?;
                    owned.push(character);
                }
                Some(_) => return Err(self.fault("a control character in a string")),
                None => return Err(self.fault("a string has no end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let letter = self.text.as_bytes().get(self.at + 1).copied();
        let plain = match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.fault("this is no escape")),
        };
        self.at += 2;
        Ok(plain)
    }

    /// One escape by number (RFC 8259 7), or two where the first is the first half of a pair.
    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.unit(self.at)?;
        if !(0xD800..0xDC00).contains(&first) {
            let character = char::from_u32(first).ok_or_else(|| self.fault("half a character"))?;
            self.at += 6;
            return Ok(character);
        }
        let second = self.unit(self.at + 6)?;
        let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400);
        let low = low.ok_or_else(|| self.fault("half a character"))?;
        let character = char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + low);
        self.at += 12;
        character.ok_or_else(|| self.fault("half a character"))
    }

    fn unit(&self, at: usize) -> Result<u32, Fault> {
        let digits = self.text.get(at..at + 6).and_then(|escape| escape.strip_prefix("\\u"));
        let hex = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        hex.and_then(|hex| u32::from_str_radix(hex, 16).ok())
            .ok_or_else(|| self.fault("this is no escape"))
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::document::{Document, Item, Source, Syntax};
    use crate::wire::fault::Faults;

    fn fault(text: &str) -> String {
        let (source, mut faults) = (Source::new("d", text), Faults::new());
        assert!(Document::parse_as(Syntax::Json, &source, &mut faults).is_none(), "{text}");
        faults.into_sorted().remove(0).to_string()
    }

    #[test]
    fn a_document_in_json_means_what_it_means_in_toml_and_knows_its_places() {
        let text = "{\n \"a\": {\"b\": [1, -2, \"x\\u00e9\\ud83d\\ude00\\/\"]},\n \"c\": true }";
        let (source, mut faults) = (Source::new("d", text), Faults::new());
        let document = Document::parse_as(Syntax::Json, &source, &mut faults).unwrap();
        let mut root = document.root();
        let mut inner = root.table("a", &mut faults).unwrap();
        let Some(Item::Array(list)) = inner.item("b") else { panic!() };
        let [Item::Integer(one), Item::Integer(two), Item::Text(three)] = &list.value[..] else {
            panic!()
        };
        assert_eq!((one.value, two.value, three.value), (1, -2, "xé😀/"));
        assert_eq!(three.place.position(), (2, 21));
        assert_eq!(root.boolean("c", &mut faults).unwrap().place.position(), (3, 7));
        root.finish(&mut faults);
        assert!(faults.is_empty());
    }

    #[test]
    fn what_is_not_json_is_told_by_its_place() {
        assert_eq!(fault("[1]"), "d:1:1: this is not JSON: a document in JSON begins with `{`");
        assert_eq!(
            fault("{\"a\": 1, \"a\": 2}"),
            "d:1:10: `a` stands twice; remove one of the two"
        );
        assert_eq!(fault("{\"a\": null}"), "d:1:7: `null` means nothing here; leave the key out");
        for text in [
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{} x",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":1_0}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":nul}",
            "{\"a\":[1 2]}",
            "{\"a\":\"\\u12",
            "{\"a\":--1}",
            "{'a':1}",
        ] {
            assert!(fault(text).starts_with("d:1:"), "{text}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(fault(&deep).contains("nested too deeply"));
    }
}
