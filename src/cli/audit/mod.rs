//! `caio audit`: the trail read, for operators and auditors, beside whoever writes it.
//!
//! ```text
//!   options ─▶ trail ─walk─▶ gather ─▶ exchange ─▶ told ─▶ a table, an object, a line
//!   the words   bytes, read-only        D + P + O   names for numbers: the stored snapshots
//! ```

pub mod changes;
pub mod erase;
pub mod exchange;
pub mod export;
pub mod filter;
mod flights;
pub mod gather;
pub mod id;
mod landscapes;
pub mod options;
pub mod policy;
mod promises;
pub mod prove;
pub mod query;
pub mod recorded;
pub mod replay;
pub mod show;
pub mod table;
pub mod time;
pub mod told;
pub mod trail;
pub mod verify;

use super::check::{FINE, USAGE, WRONG};
use super::style::Output;
use crate::wire::fault::quoted;
use options::Options;
use std::io;
use std::sync::mpsc::channel;
use std::time::Duration;

/// What `caio audit --help` prints.
pub const HELP: &str = "\
Read the trail of decisions: nothing is changed (but by `erase`), nothing locked, and the gateway
may go on writing.

Usage: caio audit VERB [OPTIONS]

Verbs:
  tail          the newest exchanges, and on as they come
  query         exchanges by time, caller, service, capability, verdict, rule, reason, status
  changes       what was asked of the control plane, and who looked for services
  show          everything about one decision
  verify        whether the trail is of one piece and signed
  prove         a proof that a decision is on record, to be verified offline
  verify-proof  verify such a proof, with nothing but the log's key
  replay        decide everything again and report what comes out otherwise
  export        a JSON line for each exchange, in OpenTelemetry's names
  erase         forget the values behind commitments

`caio explain ID --trail DIRECTORY` tells why a recorded decision was made.
";

/// What every verb's help ends with.
const COMMON_HELP: &str = "
  -t, --trail DIRECTORY  what `[audit] directory` names
  -c, --config FILE      the process file that names it
      --key VKEY         the log's public key, or a file with it; log-key.pub without it
      --json             for machines
  -h, --help             print this

Exit codes: 0 all is well, 1 something is wrong with the trail or in the answer, 2 with the command
line.
";

/// Why a verb fails.
#[derive(Debug)]
pub enum Failure {
    /// The command line.
    Usage(String),
    /// The trail.
    Wrong(String),
    /// The words cannot be written.
    Output(io::Error),
}

impl From<String> for Failure {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// A verb's exit code.
pub type Outcome = Result<u8, Failure>;

/// The verbs with their help, whether they filter, and the options that they know beside those of
/// filters and the common ones.
const VERBS: [(&str, &str, bool, &[&str]); 10] = [
    ("tail", query::TAIL_HELP, false, &["--limit", "--follow"]),
    ("query", query::QUERY_HELP, true, &["--limit", "--kind"]),
    ("changes", changes::HELP, false, &["--limit", "--since", "--until"]),
    ("show", show::HELP, false, &[]),
    ("verify", verify::HELP, false, &[]),
    ("prove", prove::HELP, false, &["--out", "--outcome"]),
    ("verify-proof", prove::VERIFY_HELP, false, &[]),
    ("replay", replay::HELP, true, &[]),
    ("export", export::HELP, true, &["--follow"]),
    ("erase", erase::HELP, false, &["--caller", "--yes"]),
];

/// Runs the verb with the arguments behind its name; the result is the exit code.
pub fn run(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    let (verb, rest) = match args.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("--help", args),
    };
    if matches!(verb, "-h" | "--help" | "help") {
        return write!(out.writer, "{HELP}").map_or(WRONG, |()| FINE);
    }
    let Some((verb, help, filters, own)) = VERBS.iter().find(|(name, ..)| *name == verb) else {
        let what = format!("{} is not a verb; see `caio audit --help`", quoted(verb));
        let _ = writeln!(err.writer, "caio audit: {what}");
        return USAGE;
    };
    let outcome = match Options::read(rest, own, *filters) {
        Ok(None) => write!(out.writer, "{help}{COMMON_HELP}").map(|()| FINE).map_err(Into::into),
        Ok(Some(options)) => act(verb, &options, out, err),
        Err(what) => Err(Failure::Usage(what)),
    };
    outcome.unwrap_or_else(|failure| said(&format!("caio audit {verb}"), failure, err))
}

fn act(verb: &str, options: &Options, out: &mut Output<'_>, err: &mut Output<'_>) -> Outcome {
    if verb != "verify-proof" {
        options.names_trail().map_err(Failure::Usage)?;
    }
    match verb {
        "tail" => query::tail(options, out),
        "query" => query::query(options, out, err),
        "changes" => changes::run(options, out),
        "show" => show::run(options, out),
        "verify" => verify::run(options, out),
        "prove" => prove::run(options, out, err),
        "verify-proof" => prove::verify(options, out),
        "replay" => replay::run(options, out),
        "export" => export::run(options, out),
        _ => erase::run(options, out),
    }
}

/// Says why a verb failed; the exit code.
pub fn said(verb: &str, failure: Failure, err: &mut Output<'_>) -> u8 {
    match failure {
        Failure::Usage(what) => {
            let _ = writeln!(err.writer, "{verb}: {what}; see `{verb} --help`");
            USAGE
        }
        Failure::Wrong(what) => {
            let _ = writeln!(err.writer, "{}", err.paint.red(&format!("{verb}: {what}")));
            WRONG
        }
        // Whoever closed the pipe does not read it.
        Failure::Output(_) => WRONG,
    }
}

/// Waits a little each time it is called: how often a trail that grows is looked at.
fn patience() -> impl FnMut() {
    let (keeps_it_open, nobody_sends) = channel::<()>();
    move || {
        let _ = &keeps_it_open;
        let _ = nobody_sends.recv_timeout(Duration::from_millis(200));
    }
}

fn counted(count: usize, noun: &str) -> String {
    match (count, noun) {
        (1, noun) => format!("1 {noun}"),
        (count, noun) if noun.ends_with("ss") => format!("{count} {noun}es"),
        (count, noun) => format!("{count} {noun}s"),
    }
}
