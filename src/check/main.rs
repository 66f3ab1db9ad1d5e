//! `caio-check`: verifies an audit trail, from its bytes to each decision.
//!
//! It shares no code with the gateway that wrote the trail: a fault of one is not a fault of both.

mod bytes;
mod condition;
mod landscape;
mod lane;
mod limits;
mod meaning;
mod note;
mod record;
mod report;
mod segment;
mod set;
mod text;
mod trail;
mod tree;

use limits::NOTE_BYTES_MAX;
use report::{Fault, Report};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: caio-check DIRECTORY [--key VKEY-or-file] [--json]";

struct Arguments {
    directory: String,
    key: Option<String>,
    json: bool,
}

fn main() -> ExitCode {
    let arguments = arguments(std::env::args().skip(1));
    let Some(arguments) = arguments.filter(|it| Path::new(&it.directory).is_dir()) else {
        // Whoever closed the pipe does not read it.
        let _ = writeln!(std::io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    let mut report = Report::default();
    if let Err(fault) = check(&arguments, &mut report) {
        report.fault = Some(fault);
    }
    let text = if arguments.json { report.json() } else { report.text() };
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::from(report.code())
}

fn arguments(mut given: impl Iterator<Item = String>) -> Option<Arguments> {
    let (mut directory, mut key, mut json) = (None, None, false);
    while let Some(word) = given.next() {
        match word.as_str() {
            "--key" => key = Some(given.next()?),
            "--json" => json = true,
            _ if word.starts_with('-') || directory.is_some() => return None,
            _ => directory = Some(word),
        }
    }
    Some(Arguments { directory: directory?, key, json })
}

fn check(arguments: &Arguments, report: &mut Report) -> Result<(), Fault> {
    let directory = Path::new(&arguments.directory);
    let key = match &arguments.key {
        Some(line) if line.contains('+') && !Path::new(line).exists() => line.clone(),
        Some(file) => small(Path::new(file))?.ok_or_else(|| format!("there is no `{file}`"))?,
        None => {
            report.remark(
                "the key is the directory's own: this proves that the trail is of one piece, \
                 not whose it is",
            );
            small(&directory.join("log-key.pub"))?.ok_or("there is no log-key.pub")?
        }
    };
    let key = note::key(&key)?;
    // Before the frames: of a trail that grows, it covers fewer than are there.
    let checkpoint = match small(&directory.join("checkpoint"))? {
        Some(text) => Some(note::checkpoint(&text, &key)?),
        None => None,
    };
    segment::check(directory, checkpoint.as_ref(), report)
}

/// A small text file; `None` when there is none.
fn small(path: &Path) -> Result<Option<String>, String> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(_) => return Ok(None),
        Ok(file) if file.len() > NOTE_BYTES_MAX => return Err(format!("{shown} is too long")),
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map(Some).map_err(|_| format!("{shown} cannot be read as text"))
}
