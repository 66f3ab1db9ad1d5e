//! The words of an expression, each with its place in the text.

use super::complaint::{Complaint, quoted};
use super::quantity::Number;

/// One word of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// `request.bytes`, `true`, `in`
    Name(String),
    /// `64KiB`, `-3`, `99.9%`
    Number(Number),
    /// A string, unescaped.
    Text(String),
    /// One of [`SIGNS`].
    Sign(&'static str),
}

/// A word and its place: byte offset and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) word: Word,
    pub(super) span: (usize, usize),
}

/// Longest first, so that `<=` is not read as `<` and `=`. The arithmetic signs are known in order
/// to be refused by name.
const SIGNS: [&str; 20] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ",", "+", "-", "*", "/",
    "%", "?",
];

/// Splits a text into words; what is no word is complained of and skipped.
pub(super) fn lex(text: &str) -> (Vec<Token>, Vec<Complaint>) {
    let mut tokens: Vec<Token> = Vec::new();
    let mut complaints = Vec::new();
    let mut offset = 0;
    while let Some(first) = text.get(offset..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(offset..).unwrap_or_default();
        if first.is_ascii_whitespace() {
            offset += 1;
            continue;
        }
        let (word, length) = match first {
            'a'..='z' | 'A'..='Z' | '_' => name(rest),
            '0'..='9' => number(rest),
            '-' if rest
                .get(1..2)
                .is_some_and(|next| next.bytes().all(|byte| byte.is_ascii_digit()))
                && !ends_operand(tokens.last()) =>
            {
                number(rest)
            }
            '"' | '\'' => string(rest, first, offset, &mut complaints),
            _ => sign(rest, first, offset, &mut complaints),
        };
        if let Some(word) = word {
            tokens.push(Token { word, span: (offset, length) });
        }
        // Every arm consumes at least one character; this keeps a mistake there from hanging.
        offset += length.max(first.len_utf8());
    }
    (tokens, complaints)
}

/// After a value `-` subtracts, elsewhere it is a sign.
fn ends_operand(token: Option<&Token>) -> bool {
    matches!(
        token.map(|token| &token.word),
        Some(Word::Name(_) | Word::Number(_) | Word::Text(_) | Word::Sign(")" | "]"))
    )
}

/// Dotted words; a point that no word follows is left for the next token.
fn name(rest: &str) -> (Option<Word>, usize) {
    let word_byte = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = rest.as_bytes();
    let run = |from: usize| bytes.iter().skip(from).take_while(|byte| word_byte(byte)).count();
    let mut end = run(0);
    while bytes.get(end) == Some(&b'.')
        && bytes.get(end + 1).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
    {
        end += 1 + run(end + 1);
    }
    (rest.get(..end).map(|name| Word::Name(name.to_owned())), end)
}

/// Digits with points and the unit that touches them.
fn number(rest: &str) -> (Option<Word>, usize) {
    let bytes = rest.as_bytes();
    let mut end = usize::from(bytes.first() == Some(&b'-'));
    let run = |from: usize, test: fn(&u8) -> bool| {
        bytes.iter().skip(from).take_while(|byte| test(byte)).count()
    };
    end += run(end, |byte| byte.is_ascii_digit() || *byte == b'.');
    end += match bytes.get(end) {
        Some(b'%') => 1,
        _ => run(end, |byte| byte.is_ascii_alphanumeric() || *byte == b'_'),
    };
    (rest.get(..end).and_then(Number::parse).map(Word::Number), end)
}

/// A quoted text with the escapes `\\ \" \' \n \r \t`.
fn string(
    rest: &str,
    quote: char,
    offset: usize,
    complaints: &mut Vec<Complaint>,
) -> (Option<Word>, usize) {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            _ if character == quote => return (Some(Word::Text(text)), at + 1),
            '\\' => match characters.next() {
                Some((_, escaped @ ('\\' | '"' | '\''))) => text.push(escaped),
                Some((_, 'n')) => text.push('\n'),
                Some((_, 'r')) => text.push('\r'),
                Some((_, 't')) => text.push('\t'),
                Some((_, other)) => complaints.push(Complaint::new(
                    (offset + at, 1 + other.len_utf8()),
                    format!("{} is not an escape", quoted(&format!("\\{other}"))),
                    "write a backslash as `\\\\`",
                )),
                None => {}
            },
            _ => text.push(character),
        }
    }
    complaints.push(Complaint::new(
        (offset, rest.len()),
        "the string is not closed",
        format!("add a `{quote}`"),
    ));
    (Some(Word::Text(text)), rest.len())
}

fn sign(
    rest: &str,
    first: char,
    offset: usize,
    complaints: &mut Vec<Complaint>,
) -> (Option<Word>, usize) {
    if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
        return (Some(Word::Sign(sign)), sign.len());
    }
    let (word, mend) = match first {
        '&' => (Some(Word::Sign("&&")), "write `&&`"),
        '|' => (Some(Word::Sign("||")), "write `||`"),
        '=' => (Some(Word::Sign("==")), "write `==`"),
        '.' => (None, "write attribute and method without space around the point"),
        _ => (None, "remove it, or put text in quotes"),
    };
    let length = first.len_utf8();
    let what = format!("{} is not part of the language", quoted(first.encode_utf8(&mut [0; 4])));
    complaints.push(Complaint::new((offset, length), what, mend));
    (word, length)
}
