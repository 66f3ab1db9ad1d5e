//! How far a companion has been told: a small file beside the trail, written after each batch that
//! was taken. What lies behind it may be sent again, what lies before it never is.

use crate::cli::audit::trail::Position;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A companion's file.
pub(super) struct Cursor {
    path: PathBuf,
}

const FORMAT: &str = "caio-companion/1";

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
    pub(super) fn read(&self) -> Result<Option<Position>, String> {
        let Some(text) = crate::cli::audit::trail::read_small(&self.path)? else { return Ok(None) };
        let wrong = || format!("{} is no cursor", self.path.display());
        let words: Vec<&str> = text.split_whitespace().collect();
        let [FORMAT, segment, offset, number] = words[..] else { return Err(wrong()) };
        let read = |word: &str| word.parse::<u64>().map_err(|_| wrong());
        let (segment, offset, number) = (read(segment)?, read(offset)?, read(number)?);
        Ok(Some(Position { segment, offset, number }))
    }

    /// Writes it, durably and whole.
    ///
    /// # Errors
    /// When the disk does not take it: then what was told may be told again.
    pub(super) fn write(&self, position: Position) -> io::Result<()> {
        let Position { segment, offset, number } = position;
        let fresh = self.path.with_extension("cursor.tmp");
        let mut file = File::create(&fresh)?;
        writeln!(file, "{FORMAT} {segment} {offset} {number}")?;
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
        cursor.write(position).unwrap();
        assert_eq!(cursor.read(), Ok(Some(position)));
        for text in
            ["", "caio-companion/1 3 99", "caio-companion/2 3 99 7", "caio-companion/1 a b c"]
        {
            std::fs::write(&cursor.path, text).unwrap();
            assert!(cursor.read().is_err(), "{text}");
        }
        std::fs::remove_dir_all(&trail).unwrap();
    }
}
