//! What is wrong with one short text (an expression, a promise, a header member), and where in it.

use std::fmt;

/// One complaint about a text. Offsets and lengths are bytes of that text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// Where it starts; never beyond the end of the text.
    pub offset: usize,
    /// How far it reaches; 0 at the end of the text.
    pub length: usize,
    /// What is wrong, lower case, no full stop; user input in backticks.
    pub what: String,
    /// How to mend it; empty where `what` says it all.
    pub mend: String,
}

impl Complaint {
    /// A complaint about `length` bytes at `offset`.
    pub fn new(
        (offset, length): (usize, usize),
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { offset, length, what: what.into(), mend: mend.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "at byte {}: {}", self.offset, self.what)?;
        if self.mend.is_empty() { Ok(()) } else { write!(out, "; {}", self.mend) }
    }
}

/// A complaint whose place is not yet known: what is wrong, how to mend it.
pub(super) type Objection = (String, String);

/// Characters of user input that an error text repeats at most.
const QUOTED_CHARS_MAX: usize = 64;

/// User input in backticks, escaped and cut to a length a terminal bears.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    let cut = shown.len() < text.len();
    shown = shown.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'");
    if cut { format!("`{shown}…`") } else { format!("`{shown}`") }
}

/// `did you mean `x`` for the nearest of `names`, or else what `otherwise` says.
pub(super) fn suggest<'a>(
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    nearest(written, names).map_or_else(otherwise, |name| format!("did you mean `{name}`?"))
}

/// The name with the smallest edit distance, if that is at most a third of the name's length.
/// Ties go to the first.
fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer input is no misspelling of any name, and the distance is quadratic.
    if written.len() > QUOTED_CHARS_MAX {
        return None;
    }
    names
        .into_iter()
        .map(|name| (edit_distance(written, name), name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein's distance, one row at a time.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut before = i + 1;
        next.push(before);
        for (b, above) in right.iter().zip(row.windows(2)) {
            let &[diagonal, above] = above else { continue };
            before = (diagonal + usize::from(a != *b)).min(above + 1).min(before + 1);
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("residancy", ["retention", "residency"]), Some("residency"));
        assert_eq!(nearest("qqq", ["retention", "residency"]), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
    }

    #[test]
    fn quoted_input_is_escaped_and_cut() {
        assert_eq!(quoted("a\n\"b\""), "`a\\n\"b\"`");
        assert!(quoted(&"x".repeat(500)).chars().count() < 70);
    }
}
