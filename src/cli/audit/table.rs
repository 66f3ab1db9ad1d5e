//! Columns that align, and colours that do not disturb them.

use crate::cli::style::{Output, Paint};
use std::io;

/// How a cell is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// May be skipped.
    Dim,
    /// Well.
    Good,
    /// To be looked at.
    Odd,
    /// Wrong.
    Bad,
}

/// One cell.
pub type Cell = (String, Tone);

/// Columns as wide as what was written in them so far.
pub struct Table {
    heads: &'static [&'static str],
    widths: Vec<usize>,
    begun: bool,
}

impl Table {
    /// A table with these heads.
    pub fn new(heads: &'static [&'static str]) -> Self {
        Self { heads, widths: heads.iter().map(|head| head.len()).collect(), begun: false }
    }

    /// Writes rows, all of them as wide as the widest; the heads before the first.
    ///
    /// # Errors
    /// As the stream's.
    pub fn write(&mut self, rows: &[Vec<Cell>], out: &mut Output<'_>) -> io::Result<()> {
        for row in rows {
            for (width, (text, _)) in self.widths.iter_mut().zip(row) {
                *width = text.chars().count().max(*width);
            }
        }
        if !self.begun && !rows.is_empty() {
            self.begun = true;
            let heads: Vec<Cell> =
                self.heads.iter().map(|head| ((*head).to_owned(), Tone::Dim)).collect();
            self.line(&heads, out)?;
        }
        rows.iter().try_for_each(|row| self.line(row, out))
    }

    fn line(&self, row: &[Cell], out: &mut Output<'_>) -> io::Result<()> {
        let mut line = String::new();
        let mut behind = 0;
        for ((text, tone), width) in row.iter().zip(&self.widths) {
            line.push_str(&" ".repeat(behind));
            line.push_str(&painted(out.paint, text, *tone));
            behind = width.saturating_sub(text.chars().count()) + 2;
        }
        writeln!(out.writer, "{}", line.trim_end())
    }
}

/// A text in its tone.
pub fn painted(paint: Paint, text: &str, tone: Tone) -> String {
    match tone {
        Tone::Plain => text.to_owned(),
        Tone::Dim => paint.dim(text),
        Tone::Good => paint.green(text),
        Tone::Odd => paint.yellow(text),
        Tone::Bad => paint.red(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_later_rows_keep_what_earlier_ones_needed() {
        let mut table = Table::new(&["ID", "WHAT"]);
        let row = |id: &str, what: &str| vec![(id.into(), Tone::Bad), (what.into(), Tone::Plain)];
        let mut bytes = Vec::new();
        let mut out = Output::plain(&mut bytes);
        table.write(&[], &mut out).unwrap();
        table.write(&[row("long one", "x"), row("é", "")], &mut out).unwrap();
        table.write(&[row("b", "y")], &mut out).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, "ID        WHAT\nlong one  x\né\nb         y\n");
    }
}
