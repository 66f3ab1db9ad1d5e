//! A request as operations see it: every part of its target decoded.

use super::door::Sent;
use crate::http1::request::RequestHead;
use crate::proxy::pass::FIELD;
use crate::registry::Precondition;
use crate::wire::document::Syntax;

/// One request, read whole.
#[derive(Clone, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// The parts of the path, decoded; `None` for one that is not text.
    pub(super) path: Vec<Option<String>>,
    query: Vec<(String, String)>,
    content_type: String,
    if_match: Option<String>,
    if_none_match: Option<String>,
    authorization: Vec<Vec<u8>>,
    own: Vec<Vec<u8>>,
    decision: String,
    pub(super) last_event: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn of(head: &RequestHead, bytes: &[u8]) -> Self {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        // Several lines of one field are one list (RFC 9110 5.3).
        let list = |name: &'static [u8]| {
            let lines: Vec<String> = head.named(bytes, name).map(text).collect();
            (!lines.is_empty()).then(|| lines.join(", "))
        };
        let path = String::from_utf8_lossy(head.path(bytes)).into_owned();
        let query = head.query(bytes).map(text).unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |text: &str| decode(&text.replace('+', " ")).unwrap_or_default();
            (decoded(name), decoded(value))
        });
        Self {
            method: text(head.method_bytes(bytes)),
            path: path.split('/').skip(1).map(decode).collect(),
            query: pairs.collect(),
            content_type: list(b"content-type").unwrap_or_default(),
            if_match: list(b"if-match"),
            if_none_match: list(b"if-none-match"),
            authorization: head.named(bytes, b"authorization").map(<[u8]>::to_vec).collect(),
            own: head.named(bytes, FIELD.as_bytes()).map(<[u8]>::to_vec).collect(),
            decision: list(b"caio-decision").unwrap_or_default(),
            last_event: list(b"last-event-id"),
            body: Vec::new(),
        }
    }

    /// What it says of who sends it.
    pub(super) fn authorization(&self) -> Sent<'_> {
        Sent::of(&self.authorization)
    }

    /// What shows that the gateway itself has forwarded it.
    pub(super) fn own(&self) -> &[Vec<u8>] {
        &self.own
    }

    /// The id of the decision by which it was forwarded.
    pub(super) fn decision(&self) -> &str {
        self.decision.split(';').next().unwrap_or_default()
    }

    /// The value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Parameters that nobody knows.
    pub(super) fn unknown_parameter(&self, known: &[&str]) -> Option<&str> {
        let mut names = self.query.iter().map(|(name, _)| name.as_str());
        names.find(|name| !known.contains(name))
    }

    /// Whether it is only asked what would come of it; `None` where that is not said well.
    pub(super) fn dry_run(&self) -> Option<bool> {
        match self.parameter("dry-run") {
            None | Some("false") => Some(false),
            Some("true") => Some(true),
            Some(_) => None,
        }
    }

    /// How the body is written; `None` for a type that no document has. curl says that a body is a
    /// form where nobody says what it is, so that is taken for nothing.
    pub(super) fn syntax(&self) -> Option<Syntax> {
        let kind = self.content_type.split(';').next().unwrap_or_default().trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/toml" | "text/toml" => Some(Syntax::Toml),
            "application/json" => Some(Syntax::Json),
            "" | "application/x-www-form-urlencoded" | "text/plain" => {
                let first = self.body.iter().find(|byte| !byte.is_ascii_whitespace());
                Some(if first == Some(&b'{') { Syntax::Json } else { Syntax::Toml })
            }
            _ => None,
        }
    }

    /// What must be there for the request to be wanted; `None` where that is not said well.
    pub(super) fn precondition(&self) -> Option<Precondition> {
        match (&self.if_match, &self.if_none_match) {
            (None, None) => Some(Precondition::None),
            (Some(is), None) => revisions(is).map(Precondition::Is),
            (None, Some(is_not)) => revisions(is_not).map(Precondition::IsNot),
            (Some(_), Some(_)) => None,
        }
    }
}

/// The revisions of a list of entity tags; none for `*`. A tag of nobody's is a revision that is
/// never there.
fn revisions(list: &str) -> Option<Vec<u64>> {
    if list.trim() == "*" {
        return Some(Vec::new());
    }
    let tags = list.split(',').map(|tag| {
        let inner = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
        Some(inner.parse().unwrap_or(u64::MAX))
    });
    tags.collect()
}

/// Text without its percent-encoding; `None` for what is no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = behind.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_revisions_and_strange_ones_are_never_there() {
        assert_eq!(revisions("*"), Some(vec![]));
        assert_eq!(revisions("\"3\", \"4\""), Some(vec![3, 4]));
        assert_eq!(revisions("\"x\""), Some(vec![u64::MAX]));
        assert_eq!(revisions("3"), None);
        assert_eq!(revisions("W/\"3\""), None, "a weak tag never matches (RFC 9110 8.8.3.2)");
    }

    #[test]
    fn parts_of_a_target_are_decoded_or_are_no_text() {
        assert_eq!(decode("%5B%3a%3A1%5d:9"), Some("[::1]:9".to_owned()));
        assert_eq!(
            (decode("%"), decode("%g0"), decode("%+1"), decode("%ff")),
            (None, None, None, None)
        );
    }
}
