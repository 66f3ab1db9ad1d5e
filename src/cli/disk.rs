//! The disk as a source of documents.

use crate::config::FileSource;
use crate::wire::limits::{DOCUMENT_BYTES_MAX, FILES_MAX};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads regular files; nothing larger than a document may be is read to its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl FileSource for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // Opening a pipe would wait for a writer, so the kind is asked first.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        let bound = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path)?.take(bound).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let directory = if directory == Path::new("") { Path::new(".") } else { directory };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            if names.len() > FILES_MAX {
                break;
            }
            // A name that is not UTF-8 cannot be written in an `include` either.
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && !entry.path().is_dir()
            {
                names.push(name);
            }
        }
        Ok(names)
    }
}
