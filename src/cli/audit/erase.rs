//! `erase`: what was hidden behind commitments is forgotten, and the signed trail stays as it is.
//!
//! ```text
//!   segment   … attribute · commitment …        signed, and stays
//!   openings  boot · sequence · … · salt · value   ─▶ zeros: nobody can open it any more
//! ```

use super::filter::Filter;
use super::gather::{Gather, each, find};
use super::id::Id;
use super::options::Options;
use super::trail::Trail;
use super::{Failure, Outcome, counted};
use crate::audit::opening::{Opening, ROW_BYTES};
use crate::audit::scan::Context;
use crate::cli::check::{FINE, WRONG};
use crate::cli::progress::while_it_takes;
use crate::cli::style::Output;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};

/// What `caio audit erase --help` prints.
pub const HELP: &str = "\
Forget the values of sensitive facts: what opens the commitments of these decisions is overwritten
with zeros. The trail itself is not touched, and verifies as before; decisions on what was erased
can not be made again by anybody. Copies elsewhere, backups and snapshots of the file system are not
reached from here.

Usage: caio audit erase --trail DIRECTORY --yes ID...
       caio audit erase --trail DIRECTORY --yes --caller CALLER

Options:
      --caller ID        every decision of this caller
      --yes              do it; without it only what would be erased is counted
";

/// Runs the verb.
///
/// # Errors
/// What is wrong with the command line or the trail.
pub fn run(options: &Options, out: &mut Output<'_>) -> Outcome {
    let by_caller = !options.filters.is_empty();
    if by_caller != options.words.is_empty() {
        let what = "name decisions by their ids, or all of one caller with --caller";
        return Err(Failure::Usage(what.to_owned()));
    }
    let ids = options.words.iter().map(|word| Id::read(word));
    let ids = ids.collect::<Result<Vec<Id>, String>>().map_err(Failure::Usage)?;
    let filter = Filter::read(options).map_err(Failure::Usage)?;
    let trail = options.open()?;
    let meant = while_it_takes("reading the trail", || match by_caller {
        true => of_caller(&trail, filter),
        false => ids.into_iter().map(|id| find(&trail, id).map(|exchange| exchange.id)).collect(),
    })?;
    let rows = rows(&trail, &meant, options.yes)?;
    let decisions = meant.len();
    if options.json {
        let told = json!({ "decisions": decisions, "openings": rows, "erased": options.yes });
        writeln!(out.writer, "{told:#}")?;
    } else {
        let openings = counted(rows, "opening");
        let of = counted(decisions, "decision");
        let done = if options.yes { "erased" } else { "add --yes to erase" };
        writeln!(out.writer, "{done} {openings} of {of}")?;
    }
    Ok(if options.yes { FINE } else { WRONG })
}

/// The decisions of a caller that hide something.
fn of_caller(trail: &Trail, filter: Filter) -> Result<BTreeSet<Id>, String> {
    let mut ids = BTreeSet::new();
    let mut gather = Gather::new(filter);
    if let Some(from) = trail.beginning() {
        each(trail, &mut gather, &mut Context::default(), from, |exchange, _| {
            if !exchange.decision.hidden.is_empty() {
                ids.insert(exchange.id);
            }
            Ok(())
        })?;
        let open = gather.open()?.into_iter();
        ids.extend(open.filter(|it| !it.decision.hidden.is_empty()).map(|it| it.id));
    }
    Ok(ids)
}

/// Counts the rows of these decisions, and overwrites them if that is wanted.
fn rows(trail: &Trail, meant: &BTreeSet<Id>, erase: bool) -> Result<usize, String> {
    let mut count = 0;
    // A decision's row may lie beside the segment before, where the writer was about to begin one.
    for name in names(trail)? {
        let bytes = trail.file(&name)?.unwrap_or_default();
        let rows = (0u64..).zip(bytes.chunks_exact(ROW_BYTES));
        let found: Vec<u64> = rows
            .filter_map(|(place, row)| {
                let row = Opening::read(row)?;
                let id = Id { boot: Some(row.boot), lane: row.lane, sequence: row.sequence };
                meant.contains(&id).then_some(place * ROW_BYTES as u64)
            })
            .collect();
        count += found.len();
        if erase && !found.is_empty() {
            overwrite(trail, &name, &found).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(count)
}

fn names(trail: &Trail) -> Result<Vec<String>, String> {
    let listed = match std::fs::read_dir(trail.path("openings")) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("openings: {error}")),
    };
    let mut names = Vec::new();
    for entry in listed {
        let name = entry.map_err(|error| format!("openings: {error}"))?.file_name();
        let name = name.into_string().ok().filter(|name| name.ends_with(".openings"));
        names.extend(name.map(|name| format!("openings/{name}")));
    }
    names.sort();
    Ok(names)
}

/// Zeros in the place of rows, durably. The writer only appends behind them.
fn overwrite(trail: &Trail, name: &str, places: &[u64]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(trail.path(name))?;
    for place in places {
        file.seek(SeekFrom::Start(*place))?;
        file.write_all(&[0; ROW_BYTES])?;
    }
    file.sync_all()
}
