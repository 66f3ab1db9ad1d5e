//! `caio prove`: what holds of a landscape, and what does not, with a request that shows it.

use super::check::{FINE, WRONG, report};
use super::disk::Disk;
use super::loading::load;
use super::progress::while_it_takes;
use super::proving::{Place, Proof};
use super::second::Compared;
use super::style::Output;
use super::wanted;
use crate::prover::Row;
use crate::wire::fault::quoted;
use std::io;
use std::path::PathBuf;

/// What `caio prove --help` prints.
pub const HELP: &str = "\
Prove what has to hold of a landscape: that its contracts can be kept, and what `[[prove]]` states.
The same is asked at each start, and of each change before it takes effect.

Usage: caio prove -c FILE [--smt COMMAND]

Options:
  -c, --config FILE  the process file, such as caio.toml
      --smt COMMAND  ask every question of a second solver as well, in SMT-LIB 2 on the command's
                     input, such as 'z3 -in', and fail where it disagrees
  -h, --help         print this

Exit codes: 0 everything binding holds, 1 something does not or is not known to, or the solvers
disagree, 2 the command line is wrong.
";

/// Runs the verb with the arguments behind its name; the result is the exit code.
pub fn run(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    table(args, out, err).unwrap_or(WRONG)
}

struct Wanted {
    config: PathBuf,
    smt: Option<String>,
}

fn table(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> io::Result<u8> {
    let wanted = match wanted("prove", HELP, parse(args), out, err)? {
        Ok(wanted) => wanted,
        Err(code) => return Ok(code),
    };
    let path = &wanted.config;
    let loaded = match while_it_takes("reading and compiling", || load(&Disk, path)) {
        Ok(loaded) => loaded,
        Err(faults) => {
            report(&faults, err)?;
            return Ok(WRONG);
        }
    };
    let asked = while_it_takes("proving", || match &wanted.smt {
        None => Ok((Proof::of(&loaded.configuration, &loaded.snapshot), None)),
        Some(command) => {
            Proof::beside(&loaded, command).map(|(proof, compared)| (proof, Some(compared)))
        }
    });
    let (proof, compared) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            writeln!(err.writer, "caio prove: the second solver: {error}")?;
            return Ok(WRONG);
        }
    };
    let place = Place::of(path, &loaded.configuration, &[]);
    for row in &proof.report.rows {
        line(row, out)?;
        for failure in &row.failures {
            let lines = place.lines(row, failure, out);
            for line in lines.lines() {
                writeln!(out.writer, "    {line}")?;
            }
        }
    }
    writeln!(out.writer, "{}", proof.cost())?;
    let agreed = match compared {
        None => true,
        Some(compared) => second(&compared, out, err)?,
    };
    Ok(if proof.is_refused() || !agreed { WRONG } else { FINE })
}

/// What the second solver says; whether it never says otherwise.
fn second(compared: &Compared, out: &mut Output<'_>, err: &mut Output<'_>) -> io::Result<bool> {
    let Compared { agreed, open, disagreed } = compared;
    for told in disagreed {
        writeln!(err.writer, "caio prove: the second solver disagrees: {told}")?;
    }
    let open = if *open > 0 { format!(", {open} are open") } else { String::new() };
    match disagreed.len() {
        0 => writeln!(out.writer, "a second solver agrees on all {agreed} problems{open}")?,
        count => writeln!(
            err.writer,
            "{}",
            err.paint
                .red(&format!("a second solver disagrees on {count}, agrees on {agreed}{open}"))
        )?,
    }
    Ok(disagreed.is_empty())
}

/// `holds   demands            12  some request satisfies what an offer asks`
fn line(row: &Row, out: &mut Output<'_>) -> io::Result<()> {
    let paint = out.paint;
    let open = row.failures.iter().all(|failure| failure.unknown);
    let verdict = match (row.failures.is_empty(), open) {
        (true, _) => paint.green("holds  "),
        (false, true) => paint.yellow("unknown"),
        (false, false) if row.binding => paint.red("fails  "),
        (false, false) => paint.yellow("fails  "),
    };
    let weight = if row.binding { "" } else { " (advisory)" };
    let (name, subjects) = (&row.name, row.subjects);
    writeln!(out.writer, "{verdict} {name:<28} {subjects:>7}  {}{weight}", row.text)
}

fn parse(args: &[String]) -> Result<Option<Wanted>, String> {
    let (mut config, mut smt) = (None, None);
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-h" | "--help" => return Ok(None),
            "-c" | "--config" => {
                let value = rest.next().filter(|value| !value.is_empty());
                let value = value.ok_or_else(|| format!("{} needs a value", quoted(argument)))?;
                config = Some(PathBuf::from(value));
            }
            "--smt" => {
                let value = rest.next().filter(|value| !value.trim().is_empty());
                let value = value.ok_or_else(|| format!("{} needs a command", quoted(argument)))?;
                smt = Some(value.clone());
            }
            other => return Err(format!("{} is not an option", quoted(other))),
        }
    }
    let config = config.ok_or("no file is named; add `-c caio.toml`")?;
    Ok(Some(Wanted { config, smt }))
}
