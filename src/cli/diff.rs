//! `caio diff`: who may come where after a change, and could not before.

use super::check::{FINE, WRONG, report};
use super::disk::Disk;
use super::loading::{Loaded, load};
use super::progress::while_it_takes;
use super::proving::{base, strangers};
use super::style::Output;
use super::wanted;
use crate::prover::difference::{Change, Difference, Direction, Landscape, difference};
use crate::wire::fault::quoted;
use std::io;
use std::path::{Path, PathBuf};

/// What `caio diff --help` prints.
pub const HELP: &str = "\
Compare two landscapes: which calls may come to which service in the new one and could not in the
old one, which could and may not any more, and which go to another capability.

Usage: caio diff [--no-new-access] OLD NEW

Arguments:
  OLD, NEW         two process files, such as caio.toml

Options:
      --no-new-access  fail where any call may come to a service to which it could not before
  -h, --help           print this

Health, load, and what a caller requires besides are left out. Callers are compared by their ids.
Each kind of caller, of route and of requirement is looked at by itself, and what is found is shown
as conditions on the request.
Exit codes: 0 compared, 1 the files are wrong or cannot be compared, or access is gained or not
known not to be where that is asked for, 2 the command line is wrong.
";

/// Runs the verb with the arguments behind its name; the result is the exit code.
pub fn run(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    compare(args, out, err).unwrap_or(WRONG)
}

struct Wanted {
    old: PathBuf,
    new: PathBuf,
    no_new_access: bool,
}

fn compare(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> io::Result<u8> {
    let wanted = match wanted("diff", HELP, parse(args), out, err)? {
        Ok(wanted) => wanted,
        Err(code) => return Ok(code),
    };
    let Some(old) = read(&wanted.old, err)? else { return Ok(WRONG) };
    let Some(new) = read(&wanted.new, err)? else { return Ok(WRONG) };
    let compared = while_it_takes("comparing", || difference(side(&old), side(&new), None));
    let found = match compared {
        Ok(found) => found,
        Err(what) => {
            writeln!(err.writer, "caio diff: {what}")?;
            return Ok(WRONG);
        }
    };
    let bases = [&old, &new].map(|loaded| base(&loaded.configuration.settings, &[]));
    show(&found, &bases, out)?;
    let gained = |change: &Change| change.direction == Direction::Gained;
    let refused = wanted.no_new_access && (found.more || found.changes.iter().any(gained));
    Ok(if refused { WRONG } else { FINE })
}

pub(super) fn side(loaded: &Loaded) -> Landscape<'_> {
    let strangers = strangers(&loaded.configuration.settings);
    Landscape { snapshot: &loaded.snapshot, strangers }
}

fn read(path: &Path, err: &mut Output<'_>) -> io::Result<Option<Loaded>> {
    match while_it_takes("reading and compiling", || load(&Disk, path)) {
        Ok(loaded) => Ok(Some(loaded)),
        Err(faults) => report(&faults, err).map(|()| None),
    }
}

fn show(found: &Difference, bases: &[String; 2], out: &mut Output<'_>) -> io::Result<()> {
    if *found == Difference::default() {
        return writeln!(out.writer, "every call may come to the same services as before");
    }
    for change in &found.changes {
        write(change, bases, out)?;
    }
    for moved in &found.moves {
        let paint = out.paint;
        let (from, to) = (&moved.from, &moved.to);
        let word = paint.yellow("moved ");
        writeln!(
            out.writer,
            "{word} {}: from `{}` (route `{}`) to `{}` (route `{}`)",
            moved.calls, from.1, from.0, to.1, to.0
        )?;
    }
    let gained = found.changes.iter().filter(|it| it.direction == Direction::Gained).count();
    let lost = found.changes.len() - gained;
    let more = if found.more { ", and more that are not listed" } else { "" };
    writeln!(out.writer, "{gained} gained, {lost} lost, {} moved{more}", found.moves.len())
}

/// `gained service `us` of `embed.text/1` …`, its conditions below, and a request.
pub(super) fn write(change: &Change, bases: &[String; 2], out: &mut Output<'_>) -> io::Result<()> {
    let paint = out.paint;
    let (word, base) = match change.direction {
        Direction::Gained => (paint.red("gained"), &bases[1]),
        Direction::Lost => (paint.yellow("lost  "), &bases[0]),
    };
    let Change { service, capability, calls, .. } = change;
    writeln!(out.writer, "{word} service `{service}` of `{capability}`: {calls}")?;
    writeln!(out.writer, "       callers: {}", change.callers.join(", "))?;
    let named = |route: &Option<std::sync::Arc<str>>| {
        route.as_ref().map_or("no route".to_owned(), |id| format!("route `{id}`"))
    };
    let [before, after] = &change.routes;
    if before != after {
        writeln!(out.writer, "       {} before, {} after", named(before), named(after))?;
    }
    for text in &change.boxes {
        writeln!(out.writer, "       where {text}")?;
    }
    if change.more {
        writeln!(out.writer, "       and more")?;
    }
    if change.unknown {
        writeln!(out.writer, "       what else is not known: the steps do not suffice")?;
    }
    if let Some(request) = &change.request {
        writeln!(out.writer, "       {}", paint.dim(&request.curl(base)))?;
    }
    Ok(())
}

fn parse(args: &[String]) -> Result<Option<Wanted>, String> {
    let mut files = Vec::new();
    let mut no_new_access = false;
    for argument in args {
        match argument.as_str() {
            "-h" | "--help" => return Ok(None),
            "--no-new-access" => no_new_access = true,
            other if other.starts_with('-') => {
                return Err(format!("{} is not an option", quoted(other)));
            }
            file => files.push(PathBuf::from(file)),
        }
    }
    match <[PathBuf; 2]>::try_from(files) {
        Ok([old, new]) => Ok(Some(Wanted { old, new, no_new_access })),
        Err(_) => Err("two process files are compared, the old one first".to_owned()),
    }
}
