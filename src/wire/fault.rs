//! What is wrong with a document a person wrote: where, what, and how to mend it.

use super::limits::{FAULTS_MAX, QUOTED_CHARS_MAX};
use std::fmt;

/// One fault in one file. Lines and columns count from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file's name as the user gave it.
    pub file: String,
    /// Line, from 1; 0 when the fault is of the whole file.
    pub line: usize,
    /// Column, from 1; 0 when the fault is of the whole file.
    pub column: usize,
    /// What is wrong, lower case, no full stop; user input in backticks.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

impl Fault {
    /// A fault of a whole file: it cannot be read, it is too large.
    pub fn of_file(file: &str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, what: what.into(), mend: mend.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(out, "{}: {}", self.file, self.what)?;
        } else {
            write!(out, "{}:{}:{}: {}", self.file, self.line, self.column, self.what)?;
        }
        if self.mend.is_empty() { Ok(()) } else { write!(out, "; {}", self.mend) }
    }
}

/// Collects the faults of a whole file set, so that a person mends them in one go.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    list: Vec<Fault>,
    dropped: usize,
}

impl Faults {
    /// No faults yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; above [`FAULTS_MAX`] only the count grows.
    pub fn push(&mut self, fault: Fault) {
        if self.list.len() < FAULTS_MAX {
            self.list.push(fault);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many faults were pushed so far, whether they were kept or only counted. Comparing two
    /// readings tells whether a step in between found anything.
    pub fn count(&self) -> usize {
        self.list.len().saturating_add(self.dropped)
    }

    /// All of them by file, line and column, without repetitions.
    pub fn into_sorted(mut self) -> Vec<Fault> {
        self.list.sort();
        self.list.dedup();
        if self.dropped > 0
            && let Some(last) = self.list.last()
        {
            let what = format!("{} more faults are not listed", self.dropped);
            let rest = Fault::of_file(&last.file, what, "mend the listed ones first");
            self.list.push(rest);
        }
        self.list
    }
}

impl Extend<Fault> for Faults {
    fn extend<I: IntoIterator<Item = Fault>>(&mut self, faults: I) {
        for fault in faults {
            self.push(fault);
        }
    }
}

/// What a person wrote, in backticks, escaped and cut so that it can neither break the line it is
/// printed in nor steer a terminal.
pub fn quoted(input: &str) -> String {
    let mut out = String::from("`");
    for (count, character) in input.chars().enumerate() {
        if count == QUOTED_CHARS_MAX {
            out.push('…');
            break;
        }
        match character {
            '`' => out.push_str("\\`"),
            '\'' | '"' => out.push(character),
            other => out.extend(other.escape_debug()),
        }
    }
    out.push('`');
    out
}

/// The candidate nearest to what was written, when it is near enough to be a slip: at most a third
/// of the letters differ (and always one may).
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let bound = (written.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(written, candidate), candidate))
        .filter(|&(distance, _)| distance <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead from one text to the
/// other (optimal string alignment). Long texts are never a slip and are not measured.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(QUOTED_CHARS_MAX).collect();
    let to: Vec<char> = to.chars().take(QUOTED_CHARS_MAX).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    let mut last = None;
    for (row, &left) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        let mut previous = None;
        for (column, &right) in to.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let mut best = (at(&above, column) + usize::from(left != right))
                .min(at(&above, column + 1) + 1)
                .min(at(&current, column) + 1);
            if last == Some(right) && previous == Some(left) && column > 0 {
                best = best.min(at(&before, column - 1).saturating_add(1));
            }
            current.push(best);
            previous = Some(right);
        }
        before = std::mem::replace(&mut above, current);
        last = Some(left);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_key_and_a_stranger_finds_none() {
        let keys = ["connect", "client_header", "drain"];
        assert_eq!(nearest("conect", keys), Some("connect"));
        assert_eq!(nearest("drian", keys), Some("drain"));
        assert_eq!(nearest("client-header", keys), Some("client_header"));
        assert_eq!(nearest("colour", keys), None);
    }

    #[test]
    fn distance_counts_swaps_as_one() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn quoted_input_cannot_steer_a_terminal() {
        assert_eq!(quoted("a\u{1b}[31m\n`b`"), "`a\\u{1b}[31m\\n\\`b\\``");
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), QUOTED_CHARS_MAX + 3);
        assert_eq!(quoted("\u{202e}"), "`\\u{202e}`");
    }

    #[test]
    fn faults_are_sorted_unique_and_bounded() {
        let fault = |line| Fault { line, ..Fault::of_file("f", "w", "m") };
        let mut faults = Faults::new();
        faults.extend([fault(3), fault(1), fault(3)]);
        assert_eq!(faults.into_sorted(), [fault(1), fault(3)]);
        let mut many = Faults::new();
        many.extend((0..FAULTS_MAX + 7).map(|line| fault(line + 1)));
        assert_eq!(many.count(), FAULTS_MAX + 7);
        let sorted = many.into_sorted();
        assert_eq!(sorted.len(), FAULTS_MAX + 1);
        assert_eq!(sorted[FAULTS_MAX].what, "7 more faults are not listed");
    }
}
