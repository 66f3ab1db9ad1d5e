//! The command lines of all verbs about trails: each verb names the options it knows.

use super::time;
use super::trail::Trail;
use crate::cli::disk::Disk;
use crate::config;
use crate::wire::fault::quoted;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a command line says.
#[derive(Debug, Default)]
pub struct Options {
    /// What is no option: ids, files.
    pub words: Vec<String>,
    trail: Option<PathBuf>,
    config: Option<PathBuf>,
    /// A verifier key, or its file.
    pub key: Option<String>,
    /// For machines.
    pub json: bool,
    /// Go on as the trail grows.
    pub follow: bool,
    /// Yes, do it.
    pub yes: bool,
    /// Of the outcome, not of the decision.
    pub outcome: bool,
    /// How many.
    pub limit: Option<usize>,
    /// Where to write.
    pub out: Option<PathBuf>,
    /// The first moment, in ms since 1970.
    pub since_ms: Option<u64>,
    /// The moment that is not in it any more.
    pub until_ms: Option<u64>,
    /// Records of which kind.
    pub kind: Option<String>,
    /// Filters by name, with their texts.
    pub filters: Vec<(&'static str, String)>,
}

/// Options that every verb has.
const COMMON: [&str; 4] = ["--trail", "--config", "--key", "--json"];
/// Options that filter by time.
const TIMES: [&str; 2] = ["--since", "--until"];
/// Options that filter by a text.
pub const FILTERS: [&str; 10] = [
    "--caller",
    "--service",
    "--capability",
    "--verdict",
    "--rule",
    "--method",
    "--reason",
    "--status",
    "--trace",
    "--request-id",
];

impl Options {
    /// Reads a command line of a verb that knows these options, and filters or not; `None` where
    /// help is asked for.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(args: &[String], own: &[&str], filters: bool) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut rest = args.iter();
        while let Some(argument) = rest.next() {
            let (name, inline) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                _ => (argument.as_str(), None),
            };
            let name = match name {
                "-h" | "--help" => return Ok(None),
                "-n" => "--limit",
                "-f" => "--follow",
                "-t" => "--trail",
                "-c" => "--config",
                "-o" => "--out",
                other if !other.starts_with('-') || other == "-" => {
                    options.words.push(argument.clone());
                    continue;
                }
                other => other,
            };
            let filter = filters && (FILTERS.contains(&name) || TIMES.contains(&name));
            if !COMMON.contains(&name) && !own.contains(&name) && !filter {
                return Err(format!("{} is not an option", quoted(argument)));
            }
            let mut value = || {
                let value = inline.clone().or_else(|| rest.next().cloned());
                value
                    .filter(|value| !value.is_empty())
                    .ok_or_else(|| format!("{} needs a value", quoted(name)))
            };
            options.option(name, &mut value)?;
        }
        Ok(Some(options))
    }

    fn option(
        &mut self,
        name: &str,
        value: &mut dyn FnMut() -> Result<String, String>,
    ) -> Result<(), String> {
        match name {
            "--trail" => self.trail = Some(PathBuf::from(value()?)),
            "--config" => self.config = Some(PathBuf::from(value()?)),
            "--out" => self.out = Some(PathBuf::from(value()?)),
            "--key" => self.key = Some(value()?),
            "--kind" => self.kind = Some(value()?),
            "--json" => self.json = true,
            "--follow" => self.follow = true,
            "--yes" => self.yes = true,
            "--outcome" => self.outcome = true,
            "--since" => self.since_ms = Some(time::read(&value()?, now_ms())?),
            "--until" => self.until_ms = Some(time::read(&value()?, now_ms())?),
            "--limit" => {
                let text = value()?;
                let number = text.parse().map_err(|_| format!("{} is no number", quoted(&text)));
                self.limit = Some(number?);
            }
            other => {
                let name = FILTERS.into_iter().find(|known| *known == other);
                let name = name.ok_or_else(|| format!("{} is not an option", quoted(other)))?;
                self.filters.push((name, value()?));
            }
        }
        Ok(())
    }

    /// The one word that is no option.
    ///
    /// # Errors
    /// When there is none, or another.
    pub fn word(&self, noun: &str) -> Result<&str, String> {
        match self.words.as_slice() {
            [word] => Ok(word),
            [] => Err(format!("no {noun} is given")),
            [_, second, ..] => Err(format!("one {noun} at a time; {} is a second", quoted(second))),
        }
    }

    /// That nothing stands there which is no option.
    ///
    /// # Errors
    /// What stands there.
    pub fn no_words(&self) -> Result<(), String> {
        let first = self.words.first();
        first.map_or(Ok(()), |word| Err(format!("{} is not an option", quoted(word))))
    }

    /// Whether a directory is named.
    ///
    /// # Errors
    /// That none is.
    pub fn names_trail(&self) -> Result<(), String> {
        let named = self.trail.is_some() || self.config.is_some();
        if named { Ok(()) } else { Err("no trail is named; add `--trail DIRECTORY`".to_owned()) }
    }

    /// The trail that is named, or that of the named configuration.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn open(&self) -> Result<Trail, String> {
        Trail::open(&self.directory()?, self.key.as_deref())
    }

    fn directory(&self) -> Result<PathBuf, String> {
        if let Some(directory) = &self.trail {
            return Ok(directory.clone());
        }
        let file: &Path = self.config.as_deref().unwrap_or(Path::new("caio.toml"));
        let loaded = config::load(&Disk, file).map_err(|faults| {
            let first = faults.first().map(|fault| fault.what.clone()).unwrap_or_default();
            format!("{}: {first}; see `caio check`", file.display())
        })?;
        let directory = loaded.settings.audit.directory;
        directory.ok_or_else(|| format!("{} keeps no trail: [audit] directory", file.display()))
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
