//! `caio-check`: verifies an audit trail, from its bytes to each decision.
//!
//! It shares no code with the gateway that wrote the trail: a fault of one is not a fault of both.

mod breach;
mod bytes;
mod condition;
mod endpoint;
mod follow;
mod governance;
mod keys;
mod landscape;
mod lane;
mod limits;
mod meaning;
mod note;
mod opening;
mod outcome;
mod policy;
mod promise;
mod query;
mod quota;
mod reading;
mod record;
mod report;
mod sections;
mod segment;
mod set;
mod state;
mod text;
mod trail;
mod tree;

use follow::Following;
use limits::NOTE_BYTES_MAX;
use reading::{Reading, Step};
use report::{Fault, Report};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str =
    "usage: caio-check DIRECTORY [--key VKEY-or-file] [--anchor CHECKPOINT] [--json]
       [--follow [--interval SECONDS] [--until-closed]]
an anchor is a checkpoint of the trail that was kept elsewhere: what it covers must be there still
exit codes: 0 complete and right, 1 wrong, 2 usage, 3 incomplete";

struct Arguments {
    directory: String,
    key: Option<String>,
    anchor: Option<String>,
    json: bool,
    follow: bool,
    interval: Option<Duration>,
    until_closed: bool,
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
    let mut directory = None;
    let mut it = Arguments {
        directory: String::new(),
        key: None,
        anchor: None,
        json: false,
        follow: false,
        interval: None,
        until_closed: false,
    };
    while let Some(word) = given.next() {
        match word.as_str() {
            "--key" => it.key = Some(given.next()?),
            "--anchor" => it.anchor = Some(given.next()?),
            "--json" => it.json = true,
            "--follow" => it.follow = true,
            "--until-closed" => it.until_closed = true,
            "--interval" => {
                let seconds: f64 = given.next()?.parse().ok()?;
                let interval = Duration::try_from_secs_f64(seconds).ok()?;
                it.interval = Some(interval).filter(|interval| !interval.is_zero());
                it.interval?;
            }
            _ if word.starts_with('-') || directory.is_some() => return None,
            _ => directory = Some(word),
        }
    }
    it.directory = directory?;
    let beside = it.interval.is_some() || it.until_closed;
    (it.follow || !beside).then_some(it)
}

fn check(arguments: &Arguments, report: &mut Report) -> Result<(), Fault> {
    let directory = Path::new(&arguments.directory);
    let keys = keys(directory, arguments.key.as_deref(), report)?;
    // Before the frames: of a trail that grows, it covers fewer than are there.
    let checkpoint = match small(&directory.join("checkpoint"))? {
        Some(text) => Some(note::checkpoint(&text, &keys)?),
        None => None,
    };
    let load = |digest: &tree::Hash| reading::landscape(directory, digest);
    let anchor = match &arguments.anchor {
        Some(file) => {
            let text = small(Path::new(file))?.ok_or_else(|| format!("there is no `{file}`"))?;
            Some(note::checkpoint(&text, &keys).map_err(|why| format!("the anchor: {why}"))?)
        }
        None => None,
    };
    let mut reading = Reading::new(directory, &keys, &load, [checkpoint, anchor])?;
    let read = if arguments.follow {
        let how = Following {
            interval: arguments.interval.unwrap_or(Duration::from_secs(1)),
            until_closed: arguments.until_closed,
            json: arguments.json,
        };
        reading = reading.growing();
        follow::follow(directory, &keys, &mut reading, &how)
    } else {
        to_the_end(&mut reading, report)
    };
    reading.summarize(report);
    read?;
    reading.finish(report)?;
    report.note_gaps();
    Ok(())
}

fn to_the_end(reading: &mut Reading<'_>, report: &mut Report) -> Result<(), Fault> {
    loop {
        match reading.step()? {
            Step::Frame => {}
            Step::End => return Ok(()),
            Step::Torn(reason) => {
                let frame = reading.frames();
                report.gaps.push(format!("frame {frame} is torn: {reason}"));
                return Ok(());
            }
        }
    }
}

/// The keys that the trail is held against.
fn keys(directory: &Path, given: Option<&str>, report: &mut Report) -> Result<note::Keys, Fault> {
    let text = match given {
        Some(line) if line.contains('+') && !Path::new(line).exists() => line.to_owned(),
        Some(file) => small(Path::new(file))?.ok_or_else(|| format!("there is no `{file}`"))?,
        None => {
            report.remark(
                "the key is the directory's own: this proves that the trail is of one piece, \
                 not whose it is",
            );
            small(&directory.join("log-key.pub"))?.ok_or("there is no log-key.pub")?
        }
    };
    let keys = note::keys(&text)?;
    if keys.segment.is_none() {
        report.remark(
            "the key does not name the first segment's: whoever has the log's key may have \
             written another past",
        );
    }
    Ok(keys)
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
