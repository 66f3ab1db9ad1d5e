//! The `CAIO-Require` field: an RFC 9651 list of strings and tokens, each the id of a named
//! requirement or an expression over promises. What it says is conjoined to what route and caller
//! require already, so it can narrow and never widen.

use super::complaint::{Complaint, quoted};
use super::expression::{Scope, parse as parse_expression};
use super::logic::Cnf;
use super::vocabulary::Vocabulary;
use crate::wire::limits::{REQUIRE_BYTES_MAX, REQUIRE_CLAUSES_MAX};

/// One member of the list as the caller wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A token, which can only be the id of a named requirement.
    Token(String),
    /// A string: an id, or else an expression.
    Text(String),
}

/// One member, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Required {
    /// The id of a named requirement.
    Named(String),
    /// An expression over promises.
    Expression {
        /// As written.
        text: String,
        /// Its exact normal form.
        cnf: Cnf,
    },
}

/// Parses the field's lines in their order as one list (RFC 9651 4.2: joined by a comma). The
/// offset of a complaint is a byte of the joined value. An empty field is an empty list.
pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Member>, Complaint> {
    let mut joined: Vec<u8> = Vec::new();
    for (index, line) in lines.into_iter().enumerate() {
        if index > 0 {
            joined.extend(b", ");
        }
        if joined.len() + line.len() > REQUIRE_BYTES_MAX {
            return Err(Complaint::new(
                (REQUIRE_BYTES_MAX, 0),
                format!("the field has more than {REQUIRE_BYTES_MAX} bytes"),
                "name a requirement instead of writing it out",
            ));
        }
        joined.extend(line);
    }
    let (rest, _) = spaces(&joined, |byte| byte == b' ');
    let end = rest.len() - rest.iter().rev().take_while(|byte| **byte == b' ').count();
    let mut reader = Reader {
        whole: joined.len(),
        rest: rest.get(..end).unwrap_or_default(),
        tail: rest.len() - end,
    };
    reader.list()
}

/// Parses each member to what it means; `named` says which ids there are. A string that is an id
/// means the requirement of that id even where it would also be an expression.
pub fn resolve(
    vocabulary: &Vocabulary,
    members: Vec<Member>,
    named: impl Fn(&str) -> bool,
) -> Result<Vec<Required>, Complaint> {
    let mut required = Vec::with_capacity(members.len());
    for (number, member) in (1_usize..).zip(members) {
        required.push(match member {
            Member::Token(id) | Member::Text(id) if named(&id) => Required::Named(id),
            Member::Token(id) => {
                return Err(Complaint::new(
                    (0, 0),
                    format!("member {number}: there is no requirement {}", quoted(&id)),
                    "write an expression in double quotes, or a requirement's id",
                ));
            }
            Member::Text(text) => {
                let cnf = parse_expression(vocabulary, Scope::Promises, &text)
                    .map_err(|complaints| first_of(number, complaints))?;
                Required::Expression { text, cnf }
            }
        });
    }
    Ok(required)
}

/// One answer has room for one complaint; the member's first says enough to go on.
fn first_of(number: usize, complaints: Vec<Complaint>) -> Complaint {
    let first = complaints.into_iter().next();
    let first = first.unwrap_or_else(|| Complaint::new((0, 0), "it does not parse", ""));
    Complaint { what: format!("member {number}: {}", first.what), ..first }
}

struct Reader<'a> {
    whole: usize,
    rest: &'a [u8],
    /// Bytes cut from the end.
    tail: usize,
}

/// Splits off leading bytes that pass the test.
fn spaces(bytes: &[u8], test: fn(u8) -> bool) -> (&[u8], usize) {
    let count = bytes.iter().take_while(|byte| test(**byte)).count();
    (bytes.get(count..).unwrap_or_default(), count)
}

impl Reader<'_> {
    fn offset(&self) -> usize {
        self.whole.saturating_sub(self.rest.len() + self.tail)
    }

    fn wrong(&self, what: String, mend: &str) -> Complaint {
        Complaint::new((self.offset(), usize::from(!self.rest.is_empty())), what, mend)
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip_optional_space(&mut self) {
        (self.rest, _) = spaces(self.rest, |byte| matches!(byte, b' ' | b'\t'));
    }

    /// RFC 9651 4.2.1.
    fn list(&mut self) -> Result<Vec<Member>, Complaint> {
        let mut members = Vec::new();
        while !self.rest.is_empty() {
            let number = members.len() + 1;
            if number > REQUIRE_CLAUSES_MAX {
                let what = format!("the list has more than {REQUIRE_CLAUSES_MAX} members");
                return Err(self.wrong(what, "join them with `&&`, or name a requirement"));
            }
            members.push(self.member(number)?);
            self.skip_optional_space();
            match self.rest.first() {
                None => break,
                Some(b',') => {
                    self.take();
                }
                Some(b';') => {
                    let what = format!("member {number} has a parameter, and there are none");
                    return Err(self.wrong(what, "remove `;` and what follows it"));
                }
                Some(_) => {
                    let what = format!("member {number} is not followed by a comma");
                    return Err(self.wrong(what, "separate members with commas"));
                }
            }
            self.skip_optional_space();
            if self.rest.is_empty() {
                let what = format!("no member follows the comma after member {number}");
                return Err(self.wrong(what, "remove the comma"));
            }
        }
        Ok(members)
    }

    fn member(&mut self, number: usize) -> Result<Member, Complaint> {
        match self.rest.first() {
            Some(b'"') => self.string(number).map(Member::Text),
            Some(byte) if byte.is_ascii_alphabetic() || *byte == b'*' => {
                Ok(Member::Token(self.token()))
            }
            Some(b'(') => Err(self.wrong(
                format!("member {number} is an inner list, and there are none"),
                "write its items as members of their own",
            )),
            _ => Err(self.wrong(
                format!("member {number} is neither a string nor a token"),
                "write an expression in double quotes, or a requirement's id",
            )),
        }
    }

    /// RFC 9651 4.2.5: printable ASCII; a backslash escapes a quote or a backslash.
    fn string(&mut self, number: usize) -> Result<String, Complaint> {
        self.take();
        let mut text = String::new();
        loop {
            match self.rest.first() {
                Some(b'"') => {
                    self.take();
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.take();
                    match self.rest.first() {
                        Some(byte @ (b'"' | b'\\')) => text.push(char::from(*byte)),
                        _ => {
                            return Err(self.wrong(
                                format!("member {number}: a backslash escapes `\"` or `\\` only"),
                                "write a backslash as `\\\\`",
                            ));
                        }
                    }
                }
                Some(byte @ 0x20..=0x7e) => text.push(char::from(*byte)),
                Some(_) => {
                    return Err(self.wrong(
                        format!("member {number}: a string holds printable ASCII only"),
                        "name a requirement that says it",
                    ));
                }
                None => {
                    return Err(self.wrong(
                        format!("member {number}: the string is not closed"),
                        "add a `\"`",
                    ));
                }
            }
            self.take();
        }
    }

    /// RFC 9651 4.2.6: characters of a token, `:` and `/`.
    fn token(&mut self) -> String {
        let token_byte =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
        let mut token = String::new();
        while let Some(byte) = self.rest.first().copied().filter(|byte| token_byte(*byte)) {
            token.push(char::from(byte));
            self.take();
        }
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(field: &str) -> Result<Vec<Member>, Complaint> {
        parse([field.as_bytes()])
    }

    #[test]
    fn strings_and_tokens_of_several_lines_form_one_list() {
        let parsed =
            parse([&b" \"a \\\"b\\\" \\\\\" ,\tphi-inference "[..], &b"*x:/1"[..]]).unwrap();
        let expected = [
            Member::Text("a \"b\" \\".into()),
            Member::Token("phi-inference".into()),
            Member::Token("*x:/1".into()),
        ];
        assert_eq!(parsed, expected);
        assert_eq!(members("").unwrap(), []);
        assert_eq!(members("   ").unwrap(), []);
    }

    #[test]
    fn what_is_no_list_of_strings_and_tokens_is_refused_with_its_member() {
        for (field, offset, what) in [
            ("a, 1", 3, "member 2 is neither"),
            ("a, ?1", 3, "member 2 is neither"),
            ("a, :YQ==:", 3, "member 2 is neither"),
            ("(a b)", 0, "member 1 is an inner list"),
            ("\"a\";q=1", 3, "member 1 has a parameter"),
            ("a;q", 1, "member 1 has a parameter"),
            ("a b", 2, "member 1 is not followed by a comma"),
            ("a,", 2, "no member follows the comma after member 1"),
            ("a, , b", 3, "member 2 is neither"),
            (",a", 0, "member 1 is neither"),
            ("\"a", 2, "member 1: the string is not closed"),
            ("\"a\\n\"", 3, "member 1: a backslash escapes"),
            ("\"ä\"", 1, "member 1: a string holds printable ASCII only"),
            ("a,b,c,d,e,f,g,h,i", 16, "more than 8 members"),
            ("\ta", 0, "member 1 is neither"),
        ] {
            let complaint = members(field).unwrap_err();
            assert!(complaint.what.contains(what), "{field}: {complaint}");
            assert_eq!(complaint.offset, offset, "{field}: {complaint}");
        }
        assert!(members(&"a".repeat(REQUIRE_BYTES_MAX)).is_ok());
        assert!(members(&"a".repeat(REQUIRE_BYTES_MAX + 1)).is_err());
    }
}
