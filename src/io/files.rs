//! A directory whose files are replaced whole or appended to, durably. For threads that may wait;
//! no worker calls this.

pub use std::fs::File;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever may enter the directory.
    Shared,
    /// Its owner only.
    Secret,
}

/// A directory that only this process writes to.
pub struct Directory {
    path: PathBuf,
    /// Held for as long as the directory is: the lock is on it.
    lock: File,
}

impl Directory {
    /// Opens the directory, makes it where it is missing, and takes it for this process alone.
    ///
    /// # Errors
    /// When it cannot be made, or another process holds it (`WouldBlock`).
    pub fn open(path: &Path) -> io::Result<Self> {
        make(path)?;
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(path.join("lock"))?;
        lock.try_lock().map_err(io::Error::from)?;
        // A start before this one may have ended between making a folder and making it durable.
        sync(path)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Whether it still is where it was opened: what is written under its path would lie elsewhere.
    ///
    /// # Errors
    /// When it was moved or taken away.
    pub fn is_there(&self) -> io::Result<()> {
        self.is_named("lock", &self.lock)
    }

    /// Whether a name still is this open file's, so that whoever looks for the name finds the file.
    ///
    /// # Errors
    /// When it is another's or nobody's.
    pub fn is_named(&self, name: &str, file: &File) -> io::Result<()> {
        let path = self.path.join(name);
        let gone = |why: &str| format!("{} is not the file that was opened: {why}", path.display());
        let there = fs::metadata(&path);
        let there =
            there.map_err(|error| io::Error::new(error.kind(), gone(&error.to_string())))?;
        let own = file.metadata()?;
        if (there.dev(), there.ino()) == (own.dev(), own.ino()) {
            return Ok(());
        }
        Err(io::Error::other(gone("another stands in its place")))
    }

    /// The names in a folder, sorted; none where it is missing.
    ///
    /// # Errors
    /// As `readdir(3)`.
    pub fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    /// A file's bytes; `None` where it is missing.
    ///
    /// # Errors
    /// As `read(2)`.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match File::open(self.path.join(name)) {
            Ok(mut file) => file.read_to_end(&mut bytes).map(|_| Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a whole file in its place, durably: whoever looks sees the old one or the new one.
    ///
    /// # Errors
    /// As the system calls; the old one is there then, or the new one.
    pub fn replace(&self, name: &str, bytes: &[u8], access: Access) -> io::Result<()> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!("{name}.tmp"));
        let folder = path.parent().unwrap_or(&self.path);
        make(folder)?;
        let mode = match access {
            Access::Shared => 0o644,
            Access::Secret => 0o600,
        };
        let mut options = OpenOptions::new();
        let mut file =
            options.create(true).truncate(true).write(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        sync(folder)
    }

    /// Opens a file for appending, made where it is missing; its length.
    ///
    /// # Errors
    /// As the system calls.
    pub fn append_to(&self, name: &str) -> io::Result<(File, u64)> {
        let path = self.path.join(name);
        let folder = path.parent().unwrap_or(&self.path);
        make(folder)?;
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&path)?;
        let length = file.metadata()?.len();
        sync(folder)?;
        Ok((file, length))
    }

    /// Puts bytes at this place of a file, made where it is missing, durably.
    ///
    /// # Errors
    /// As the system calls; the bytes from there on are undefined then.
    pub fn put(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (file, _) = self.append_to(name)?;
        file.write_all_at(bytes, offset)?;
        file.sync_all()
    }

    /// A file's bytes and when they were last changed, in milliseconds since 1970.
    ///
    /// # Errors
    /// As `stat(2)`.
    pub fn size(&self, name: &str) -> io::Result<(u64, u64)> {
        let about = fs::metadata(self.path.join(name))?;
        let since = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok((about.len(), u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Gives a file another name in its folder, durably; one of that name is replaced.
    ///
    /// # Errors
    /// As `rename(2)`.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let target = self.path.join(to);
        fs::rename(self.path.join(from), &target)?;
        sync(target.parent().unwrap_or(&self.path))
    }

    /// Cuts a file to its first `bytes`, durably.
    ///
    /// # Errors
    /// As the system calls.
    pub fn cut(&self, name: &str, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path.join(name))?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    /// Takes a file away; one that is missing is no error.
    ///
    /// # Errors
    /// As `unlink(2)`.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync(self.path.join(name).parent().unwrap_or(&self.path)),
        }
    }

    /// Takes a folder away with all that is in it, as far as that is possible.
    pub fn clear(&self, folder: &str) {
        // What remains costs room and is looked at by nobody.
        let _ = fs::remove_dir_all(self.path.join(folder));
    }
}

/// Makes a folder and those above it, each durable in the one above it.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        make(above)?;
    }
    // Records say who called what: whoever else is to read them is let in by the operator.
    match DirBuilder::new().mode(0o750).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    above.map_or(Ok(()), sync)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_replaced_whole_cut_and_held_by_one() {
        let path = std::env::temp_dir().join(format!("caio-files-{}", std::process::id()));
        let directory = Directory::open(&path.join("a/b")).unwrap();
        let second = Directory::open(&path.join("a/b")).err().unwrap();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(directory.read("x/one").unwrap(), None);
        directory.replace("x/one", b"first", Access::Secret).unwrap();
        directory.replace("x/one", b"second", Access::Secret).unwrap();
        assert_eq!(directory.read("x/one").unwrap().as_deref(), Some(&b"second"[..]));
        let mode = fs::metadata(path.join("a/b/x/one")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        directory.cut("x/one", 3).unwrap();
        assert_eq!(directory.append_to("x/one").unwrap().1, 3);
        assert_eq!(directory.append_to("x/two").unwrap().1, 0);
        assert_eq!(directory.names("x").unwrap(), ["one", "two"]);
        directory.put("x/two", 3, b"end").unwrap();
        assert_eq!(directory.read("x/two").unwrap().as_deref(), Some(&b"\0\0\0end"[..]));
        let (bytes, changed_ms) = directory.size("x/two").unwrap();
        assert!(bytes == 6 && changed_ms > 1_600_000_000_000);
        directory.rename("x/two", "x/three").unwrap();
        assert_eq!(directory.names("x").unwrap(), ["one", "three"]);
        directory.rename("x/three", "x/two").unwrap();
        directory.remove("x/two").unwrap();
        directory.remove("x/two").unwrap();
        directory.remove("y/two").unwrap();
        directory.clear("x");
        assert_eq!(directory.names("x").unwrap(), [""; 0]);
        fs::remove_dir_all(&path).unwrap();
    }
}
