//! The file set: how documents are found and read, without doing the reading.

use crate::wire::document::{Source, Text};
use crate::wire::fault::{Fault, Faults, quoted};
use crate::wire::limits::{DOCUMENT_BYTES_MAX, FILE_SET_BYTES_MAX, FILES_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// Where documents come from: a disk, or memory. Reading is passed in, because nothing at this
/// layer does IO.
pub trait FileSource {
    /// A whole file. It may stop one byte after [`crate::wire::limits::DOCUMENT_BYTES_MAX`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The names of the files directly inside a directory, in any order.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
}

/// Documents in memory, by path.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(pub BTreeMap<PathBuf, Vec<u8>>);

impl<P: Into<PathBuf>, B: Into<Vec<u8>>> FromIterator<(P, B)> for MemoryFiles {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(files: I) -> Self {
        Self(files.into_iter().map(|(path, bytes)| (path.into(), bytes.into())).collect())
    }
}

impl FileSource for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let inside = |path: &&PathBuf| path.parent() == Some(directory);
        let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        let names: Vec<String> = self.0.keys().filter(inside).filter_map(name).collect();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    }
}

/// Reads files and counts what was read.
pub(super) struct Reader<'a> {
    files: &'a dyn FileSource,
    count: usize,
    bytes: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(files: &'a dyn FileSource) -> Self {
        Self { files, count: 0, bytes: 0 }
    }

    /// The process file itself.
    pub(super) fn read_first(&mut self, path: &Path, faults: &mut Faults) -> Option<Source> {
        let blame = |what, mend| Fault::of_file(&display(path), what, mend);
        self.read_blaming(path, blame, faults)
    }

    /// A file that a document names; if it cannot be read, the naming text is to blame.
    pub(super) fn read(
        &mut self,
        path: &Path,
        named: Text<'_>,
        faults: &mut Faults,
    ) -> Option<Source> {
        self.read_blaming(path, |what, mend| named.fault(what, mend), faults)
    }

    /// The bytes of a file that a document names, whatever they are.
    pub(super) fn bytes(
        &mut self,
        path: &Path,
        named: Text<'_>,
        faults: &mut Faults,
    ) -> Option<Vec<u8>> {
        let bytes = self.bytes_blaming(path, |what, mend| named.fault(what, mend), faults)?;
        if bytes.len() > DOCUMENT_BYTES_MAX {
            let what = format!("{} has more than {DOCUMENT_BYTES_MAX} bytes", display(path));
            faults.push(named.fault(what, "give one without what the interface does not need"));
            return None;
        }
        Some(bytes)
    }

    fn read_blaming(
        &mut self,
        path: &Path,
        blame: impl Fn(String, String) -> Fault,
        faults: &mut Faults,
    ) -> Option<Source> {
        let bytes = self.bytes_blaming(path, blame, faults)?;
        Source::from_bytes(&display(path), bytes).map_err(|fault| faults.push(fault)).ok()
    }

    fn bytes_blaming(
        &mut self,
        path: &Path,
        blame: impl Fn(String, String) -> Fault,
        faults: &mut Faults,
    ) -> Option<Vec<u8>> {
        if self.count >= FILES_MAX || self.bytes > FILE_SET_BYTES_MAX {
            let what =
                format!("a file set has at most {FILES_MAX} files and {FILE_SET_BYTES_MAX} bytes");
            faults.push(blame(what, "put several contracts' services in one file".to_owned()));
            return None;
        }
        match self.files.read(path) {
            Ok(bytes) => {
                self.count += 1;
                self.bytes = self.bytes.saturating_add(bytes.len());
                Some(bytes)
            }
            Err(error) => {
                let (what, mend) = unreadable(&display(path), &error);
                faults.push(blame(what, mend));
                None
            }
        }
    }

    /// The files that an `include` entry names: itself, or with stars in its last part every file
    /// that fits, by name. What was named before is left out.
    pub(super) fn expand(
        &self,
        base: &Path,
        entry: Text<'_>,
        seen: &mut BTreeSet<PathBuf>,
        faults: &mut Faults,
    ) -> Vec<PathBuf> {
        let whole = resolve(base, entry.value);
        let Some(pattern) = whole.file_name().and_then(|name| name.to_str()) else {
            let what = format!("{} names no file", quoted(entry.value));
            faults.push(entry.fault(what, "write a file or `conf.d/*.toml`"));
            return Vec::new();
        };
        let directory = whole.parent().unwrap_or(Path::new(""));
        if directory.to_string_lossy().contains('*') {
            let what = format!("a star in a directory of {}", quoted(entry.value));
            faults.push(entry.fault(what, "stars stand only in the last part"));
            return Vec::new();
        }
        let mut found = Vec::new();
        if !pattern.contains('*') {
            found.push(whole.clone());
        } else {
            match self.files.list(directory) {
                Ok(names) => {
                    let fitting = names.into_iter().filter(|name| fits(pattern, name));
                    found.extend(fitting.map(|name| directory.join(name)));
                    found.sort();
                }
                Err(error) => {
                    let (what, mend) = unreadable(&directory.display().to_string(), &error);
                    faults.push(entry.fault(what, mend));
                }
            }
        }
        found.retain(|path| seen.insert(path.clone()));
        found
    }
}

/// A path as faults name it; a line break or an escape sequence in it stays visible.
fn display(path: &Path) -> String {
    let mut shown = String::new();
    for character in path.display().to_string().chars() {
        match character {
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

fn unreadable(shown: &str, error: &io::Error) -> (String, String) {
    let shown = quoted(shown);
    match error.kind() {
        io::ErrorKind::NotFound => {
            (format!("there is no {shown}"), "paths are relative to the naming file".to_owned())
        }
        io::ErrorKind::PermissionDenied => {
            (format!("{shown} may not be read"), "check its owner and mode".to_owned())
        }
        _ => {
            (format!("{shown} cannot be read: {}", error.to_string().to_lowercase()), String::new())
        }
    }
}

/// A path as written in a file of this directory.
pub(super) fn resolve(base: &Path, written: &str) -> PathBuf {
    let written = written.strip_prefix("./").unwrap_or(written);
    base.join(written)
}

/// Whether a name fits a pattern in which each star is any run of characters. Hidden files fit only
/// patterns that start with a dot.
fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|head| name.strip_prefix(head)) else {
        return false;
    };
    let Some(tail) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        // The earliest occurrence leaves most for the parts behind it.
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Matching by trying every split.
    fn fits_slowly(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|cut| fits_slowly(rest, &name[cut..])),
            Some((first, rest)) => name.first() == Some(first) && fits_slowly(rest, &name[1..]),
        }
    }

    #[test]
    fn a_path_cannot_steer_a_terminal() {
        assert_eq!(display(Path::new("a\u{1b}[2J\n/é b.toml")), "a\\u{1b}[2J\\n/é b.toml");
    }

    #[test]
    fn stars_fit_what_trying_every_split_fits() {
        let mut random = fastrand::Rng::with_seed(11);
        let mut fitting = 0;
        for _ in 0..50_000 {
            let mut text = |letters: &[u8], max| -> String {
                (0..random.usize(0..max))
                    .map(|_| char::from(letters[random.usize(0..letters.len())]))
                    .collect()
            };
            let (pattern, name) = (text(b"ab*", 6), text(b"ab", 7));
            let expected = fits_slowly(pattern.as_bytes(), name.as_bytes());
            assert_eq!(fits(&pattern, &name), expected, "{pattern} {name}");
            fitting += usize::from(expected);
        }
        assert!(fitting > 1000);
        assert!(!fits("*.toml", ".hidden.toml"));
    }
}
