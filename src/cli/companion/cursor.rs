//! How far a companion has been told: a small file beside the trail, written after each batch that
//! was taken, and within one that is not taken whole or takes long. What lies behind it may be sent
//! again, what lies before it never is.

use crate::cli::audit::trail::Position;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A companion's file.
pub(super) struct Cursor {
    path: PathBuf,
}

/// Everything before a frame was told, and so many decisions of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: Position,
    pub(super) decisions: u64,
}

impl Mark {
    /// Everything before this frame.
    pub(super) fn at(position: Position) -> Self {
        Self { position, decisions: 0 }
    }
}

const FORMAT: &str = "caio-companion/2";
/// As it was when only whole frames were counted.
const BEFORE: &str = "caio-companion/1";

impl Cursor {
    /// The cursor of this companion in a trail's directory.
    ///
    /// # Errors
    /// When there is no place for it.
    pub(super) fn new(trail: &Path, id: &str) -> io::Result<Self> {
        let directory = trail.join("companions");
        std::fs::create_dir_all(&directory)?;
        Ok(Self { path: directory.join(format!("{id}.cursor")) })
    }

    /// Where to go on; `None` where nothing was told yet.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    pub(super) fn read(&self) -> Result<Option<Mark>, String> {
        let Some(text) = crate::cli::audit::trail::read_small(&self.path)? else { return Ok(None) };
        let wrong = || format!("{} is no cursor", self.path.display());
        let words: Vec<&str> = text.split_whitespace().collect();
        let read = |word: &str| word.parse::<u64>().map_err(|_| wrong());
        let (numbers, decisions) = match words[..] {
            [FORMAT, segment, offset, number, decisions] => {
                ([segment, offset, number], read(decisions)?)
            }
            [BEFORE, segment, offset, number] => ([segment, offset, number], 0),
            _ => return Err(wrong()),
        };
        let [segment, offset, number] = numbers.map(read);
        let position = Position { segment: segment?, offset: offset?, number: number? };
        Ok(Some(Mark { position, decisions }))
    }

    /// Writes it, durably and whole.
    ///
    /// # Errors
    /// When the disk does not take it: then what was told may be told again.
    pub(super) fn write(&self, mark: Mark) -> io::Result<()> {
        let Mark { position: Position { segment, offset, number }, decisions } = mark;
        let fresh = self.path.with_extension("cursor.tmp");
        let mut file = File::create(&fresh)?;
        writeln!(file, "{FORMAT} {segment} {offset} {number} {decisions}")?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(&fresh, &self.path)?;
        match self.path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let trail = std::env::temp_dir().join(format!("caio-cursor-{}", std::process::id()));
        let cursor = Cursor::new(&trail, "a").unwrap();
        assert_eq!(cursor.read(), Ok(None));
        let position = Position { segment: 3, offset: 99, number: 7 };
        let mark = Mark { position, decisions: 12 };
        cursor.write(mark).unwrap();
        assert_eq!(cursor.read(), Ok(Some(mark)));
        std::fs::write(&cursor.path, "caio-companion/1 3 99 7\n").unwrap();
        assert_eq!(cursor.read(), Ok(Some(Mark::at(position))), "as it was written before");
        for text in
            ["", "caio-companion/1 3 99", "caio-companion/2 3 99 7", "caio-companion/2 a b c d"]
        {
            std::fs::write(&cursor.path, text).unwrap();
            assert!(cursor.read().is_err(), "{text}");
        }
        std::fs::remove_dir_all(&trail).unwrap();
    }
}
