//! What is wrong with a document a person wrote: where, what, and how to mend it.

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
