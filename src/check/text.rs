//! The spelling of canonical lines: quoted text, numbers, sets, clauses.

use super::set::{Edge, Set, Spans};

/// A conjunction of clauses, each a disjunction of atoms, each a set of one attribute.
pub(crate) type Cnf = Vec<Vec<(u16, Set)>>;

/// A condition on promises, with the line it came from.
#[derive(Clone)]
pub(crate) struct Need {
    pub(crate) line: String,
    pub(crate) cnf: Cnf,
}

impl PartialEq for Need {
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line
    }
}

/// Canonical `need …` lines, as requirement records carry them.
pub(crate) fn needs(text: &str) -> Option<Vec<Need>> {
    let lines = text.split_inclusive('\n').map(|line| {
        let line = line.strip_suffix('\n')?;
        let mut from = Cursor(line.strip_prefix("need ")?.as_bytes());
        let cnf = from.condition()?.1;
        from.0.is_empty().then_some(Need { line: line.to_owned(), cnf })
    });
    lines.collect()
}

/// What is left of a line.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl Cursor<'_> {
    /// These words, if they come next.
    pub(crate) fn eat(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text.as_bytes())?;
        Some(())
    }

    /// Up to the next space.
    pub(crate) fn word(&mut self) {
        let end = self.0.iter().position(|byte| *byte == b' ').unwrap_or(self.0.len());
        self.0 = self.0.get(end..).unwrap_or_default();
    }

    /// A number in decimal.
    pub(crate) fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        let digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
        let end = self.0.iter().position(|byte| !digit(byte)).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// A quoted text, or the word `none`.
    /// One or more, separated by spaces.
    pub(crate) fn quoted_list(&mut self) -> Option<Vec<String>> {
        let mut list = vec![self.quoted()?];
        while self.eat(" ").is_some() {
            list.push(self.quoted()?);
        }
        Some(list)
    }

    pub(crate) fn quoted_or_none(&mut self) -> Option<Option<String>> {
        if self.eat("none").is_some() { Some(None) } else { self.quoted().map(Some) }
    }

    /// A quoted text.
    pub(crate) fn quoted(&mut self) -> Option<String> {
        String::from_utf8(self.quoted_bytes()?).ok()
    }

    /// Text between double quotes, with the escapes of Rust's `escape_default` and `escape_ascii`.
    fn quoted_bytes(&mut self) -> Option<Vec<u8>> {
        self.eat("\"")?;
        let mut text = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => return Some(text),
                b'\\' => self.escape(&mut text)?,
                b' '..=b'~' => text.push(byte),
                _ => return None,
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let (&kind, rest) = self.0.split_first()?;
        self.0 = rest;
        match kind {
            b't' => text.push(b'\t'),
            b'r' => text.push(b'\r'),
            b'n' => text.push(b'\n'),
            b'\'' | b'"' | b'\\' => text.push(kind),
            b'x' => {
                let (digits, rest) = self.0.split_at_checked(2)?;
                self.0 = rest;
                text.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            }
            b'u' => {
                let end = self.0.iter().position(|byte| *byte == b'}')?;
                let (digits, rest) = self.0.split_at_checked(end)?;
                self.0 = rest.get(1..)?;
                let digits = std::str::from_utf8(digits.strip_prefix(b"{")?).ok()?;
                let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                text.extend(character.encode_utf8(&mut [0; 4]).bytes());
            }
            _ => return None,
        }
        Some(())
    }

    /// Name, text and what they mean; the text is for people.
    pub(crate) fn condition(&mut self) -> Option<(String, Cnf)> {
        let name = self.quoted()?;
        self.eat(" ")?;
        self.quoted()?;
        self.eat(" ")?;
        Some((name, self.cnf()?))
    }

    /// Clauses of atoms; `true` is none, `false` an empty one.
    pub(crate) fn cnf(&mut self) -> Option<Cnf> {
        if self.eat("true").is_some() {
            return Some(Vec::new());
        }
        let mut clauses = Vec::new();
        loop {
            if self.eat("false").is_some() {
                clauses.push(Vec::new());
            } else {
                self.eat("(")?;
                clauses.push(self.constraints(" | ")?);
                self.eat(")")?;
            }
            if self.eat(" & ").is_none() {
                return Some(clauses);
            }
        }
    }

    /// The sets of one mode, which may be none.
    pub(crate) fn promises(&mut self) -> Option<Vec<(u16, Set)>> {
        if self.0.is_empty() { Some(Vec::new()) } else { self.constraints(" & ") }
    }

    /// Each attribute once, in order.
    fn constraints(&mut self, between: &str) -> Option<Vec<(u16, Set)>> {
        let mut found: Vec<(u16, Set)> = Vec::new();
        loop {
            let attribute = self.number()?;
            self.eat(":")?;
            if found.last().is_some_and(|(last, _)| *last >= attribute) {
                return None;
            }
            found.push((attribute, self.set()?));
            if self.eat(between).is_none() {
                return Some(found);
            }
        }
    }

    fn set(&mut self) -> Option<Set> {
        self.eat("{")?;
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        while self.eat("}").is_none() {
            if !numbers.is_empty() || !texts.is_empty() {
                self.eat(",")?;
            }
            if self.eat("[").is_some() {
                let low = Edge::Text(self.quoted_bytes()?);
                self.eat(" ")?;
                let top = self.eat("none").map(|()| Edge::Top);
                let high = top.or_else(|| Some(Edge::Text(self.quoted_bytes()?)))?;
                self.eat(")")?;
                texts.push((low, high));
            } else {
                let low: i64 = self.number()?;
                self.eat("..")?;
                let high: i64 = self.number()?;
                numbers.push((i128::from(low), i128::from(high) + 1));
            }
        }
        match (numbers.is_empty(), texts.is_empty()) {
            (_, true) => Spans::new(numbers).map(Set::Numbers),
            (true, false) => Spans::new(texts).map(Set::Texts),
            (false, false) => None,
        }
    }
}
