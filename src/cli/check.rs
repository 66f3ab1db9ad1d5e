//! `caio check`: is this configuration sound, and if not, what is wrong with it?

use super::disk::Disk;
use super::loading::{Loaded, load};
use super::progress::while_it_takes;
use super::style::Output;
use crate::snapshot::Snapshot;
use crate::wire::fault::{Fault, quoted};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// What `caio check --help` prints.
pub const HELP: &str = "\
Read a configuration with all its contracts and the files it names, and report everything that is
wrong with it. Certificates, keys, authorities, revocation lists, OCSP responses, key sets and API
keys are opened as a start would open them; nothing is fetched.

Usage: caio check -c FILE [--no-files]

Options:
  -c, --config FILE  the process file, such as caio.toml
      --no-files     read the documents alone, where keys and certificates are not at hand
  -h, --help         print this

Each fault is one line: file:line:column, what is wrong, how to mend it.
Exit codes: 0 all is well, 1 the files are wrong, 2 the command line is wrong.
";

/// All is well.
pub const FINE: u8 = 0;
/// The files are wrong, or the result could not be written.
pub const WRONG: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;

/// Runs the verb with the arguments behind its name; the result is the exit code. Faults go to
/// `err`, the summary to `out`.
pub fn run(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    check(args, out, err).unwrap_or(WRONG)
}

enum Request {
    Help,
    Check(PathBuf, Files),
}

/// Whether the files are opened that documents name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    Opened,
    LeftAlone,
}

fn check(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> io::Result<u8> {
    let (path, files) = match parse(args) {
        Ok(Request::Check(path, files)) => (path, files),
        Ok(Request::Help) => {
            write!(out.writer, "{HELP}")?;
            return Ok(FINE);
        }
        Err(what) => {
            writeln!(err.writer, "caio check: {what}; see `caio check --help`")?;
            return Ok(USAGE);
        }
    };
    let checked: Result<_, Vec<Fault>> = while_it_takes("reading and compiling", || {
        let loaded = load(&Disk, &path)?;
        let warnings = match files {
            Files::Opened => opened(&path, &loaded)?,
            Files::LeftAlone => Vec::new(),
        };
        Ok((loaded, warnings))
    });
    match checked {
        Ok((loaded, warnings)) => {
            summary(&path, &loaded, &warnings, out)?;
            Ok(FINE)
        }
        Err(faults) => {
            report(&faults, err)?;
            Ok(WRONG)
        }
    }
}

/// What an operator is to be warned of in the files that the documents name.
#[cfg(feature = "serve")]
fn opened(path: &Path, loaded: &Loaded) -> Result<Vec<String>, Vec<Fault>> {
    super::opened::open(path, &loaded.configuration)
}

/// Without what serves, nothing here knows certificates.
#[cfg(not(feature = "serve"))]
fn opened(_path: &Path, _loaded: &Loaded) -> Result<Vec<String>, Vec<Fault>> {
    Ok(vec!["this binary does not serve, and opened no certificate, key or key set".to_owned()])
}

fn parse(args: &[String]) -> Result<Request, String> {
    let mut files = Files::Opened;
    let mut path: Option<PathBuf> = None;
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        let value = match argument.as_str() {
            "-h" | "--help" => return Ok(Request::Help),
            "--no-files" => {
                files = Files::LeftAlone;
                continue;
            }
            "-c" | "--config" => rest.next().map(String::as_str),
            other => match other.strip_prefix("--config=") {
                Some(value) => Some(value),
                None => return Err(format!("{} is not an option", quoted(other))),
            },
        };
        let value = value.filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| format!("{} needs a file", quoted(argument)))?;
        if path.replace(PathBuf::from(value)).is_some() {
            return Err("one file at a time".to_owned());
        }
    }
    path.map(|path| Request::Check(path, files))
        .ok_or_else(|| "no file is named; add `-c caio.toml`".to_owned())
}

/// Writes the faults as they were sorted, one a line, and how many there are.
pub fn report(faults: &[Fault], err: &mut Output<'_>) -> io::Result<()> {
    let paint = err.paint;
    for fault in faults {
        let place = match fault.line {
            0 => format!("{}:", fault.file),
            line => format!("{}:{line}:{}:", fault.file, fault.column),
        };
        let mend = match fault.mend.as_str() {
            "" => String::new(),
            mend => format!("; {mend}"),
        };
        writeln!(err.writer, "{} {}{}", paint.bold(&place), fault.what, paint.dim(&mend))?;
    }
    let files: BTreeSet<&str> = faults.iter().map(|fault| fault.file.as_str()).collect();
    let count = counted(faults.len(), "fault");
    let total = format!("{count} in {}", counted(files.len(), "file"));
    writeln!(err.writer, "{}", paint.red(&total))
}

fn summary(
    path: &Path,
    loaded: &Loaded,
    warnings: &[String],
    out: &mut Output<'_>,
) -> io::Result<()> {
    let configuration = &loaded.configuration;
    let services = &configuration.services;
    let offers = services.iter().map(|service| service.contract.offers.len()).sum();
    let endpoints = services.iter().map(|service| service.endpoints.len()).sum();
    let lines = [
        counted(services.len(), "service"),
        counted(offers, "offer"),
        counted(endpoints, "endpoint"),
        counted(configuration.routes.len(), "route"),
        counted(configuration.requirements.len(), "requirement"),
        counted(configuration.callers.len(), "caller"),
        counted(loaded.snapshot.policies().rules().len(), "rule"),
        counted(configuration.settings.listeners.len(), "listener"),
    ];
    let fine = out.paint.green("all is well");
    writeln!(out.writer, "{}: {fine}", path.display())?;
    writeln!(out.writer, "  {}", lines.join(", "))?;
    for notice in notices(&loaded.snapshot).iter().chain(warnings) {
        writeln!(out.writer, "  {}", out.paint.yellow(notice))?;
    }
    writeln!(out.writer, "  snapshot {}", out.paint.bold(&loaded.snapshot.digest_text()))
}

/// What an operator is to be told of a landscape that compiles.
pub(super) fn notices(snapshot: &Snapshot) -> Vec<String> {
    let mut notices = snapshot.notices().to_vec();
    if !snapshot.policies().denies() {
        let told = if snapshot.policies().speaks() { "no rule is enforced" } else { "no policy" };
        notices.push(format!("{told}: everyone may call everything"));
    }
    notices
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
