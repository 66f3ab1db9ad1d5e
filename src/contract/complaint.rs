//! What is wrong with one short text (an expression, a promise, a header member), and where in it.

use crate::wire::fault::nearest;
pub(super) use crate::wire::fault::quoted;
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

/// `did you mean `x`` for the nearest of `names`, or else what `otherwise` says.
pub(super) fn suggest<'a>(
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    nearest(written, names).map_or_else(otherwise, |name| format!("did you mean `{name}`?"))
}
