//! The demo's configuration, on disk while it runs, so that it can be read, checked and explained.

use super::origin::Service;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const VOCABULARY: &str = include_str!("../../../config/vocabulary.toml");

/// A folder of its own for one run.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Writes the process file, the vocabulary and the contracts.
    ///
    /// # Errors
    /// When the system's folder for temporary files cannot be written.
    pub(super) fn write(
        listen: &SocketAddr,
        workers: Option<u16>,
        services: &[Service],
    ) -> io::Result<Self> {
        let folder = Self(std::env::temp_dir().join(format!("caio-demo-{}", std::process::id())));
        fs::create_dir_all(&folder.0)?;
        let workers = workers.map_or(String::new(), |count| format!("workers = {count}\n"));
        let mut text = format!(
            "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n\n[process]\n{workers}\n\
             [[listeners]]\naddress = \"{listen}\"\n"
        );
        for service in services {
            let (name, address, tier) = (service.file, service.address, service.tier);
            text.push_str(&format!(
                "\n[[services]]\ncontract = \"{name}\"\nendpoints = [\"{address}\"]\n\
                 tier = {tier}\n"
            ));
            fs::write(folder.0.join(name), service.contract)?;
        }
        fs::write(folder.0.join("vocabulary.toml"), VOCABULARY)?;
        fs::write(folder.process_file(), text)?;
        Ok(folder)
    }

    /// The process file.
    pub(super) fn process_file(&self) -> PathBuf {
        self.0.join("caio.toml")
    }

    /// Removes what was written.
    pub(super) fn remove(&self) {
        // A leftover in the folder for temporary files harms nobody.
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}
