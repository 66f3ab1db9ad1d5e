//! Layer 9: words for people.

pub mod audit;
pub mod check;
#[cfg(feature = "serve")]
pub mod companion;
#[cfg(feature = "serve")]
pub mod demo;
pub mod disk;
pub mod explain;
#[cfg(feature = "serve")]
mod keeping;
pub mod loading;
#[cfg(feature = "serve")]
mod opened;
pub mod progress;
#[cfg(feature = "serve")]
mod reloading;
#[cfg(feature = "serve")]
pub mod run;
pub mod style;

use crate::wire::fault::quoted;
use check::{FINE, USAGE, WRONG};
use style::Output;

/// What `caio --help` prints.
pub const HELP: &str = "\
CAIO routes calls by contract, with a proof a stranger can re-check.

Usage: caio VERB [OPTIONS]

Verbs:
  demo      example services and a gateway in front of them, to try with curl
  run       serve: route each call by contract
  check     read a configuration and report everything that is wrong with it
  explain   why a request is routed as it is, or was, and why not otherwise
  policy    what each policy rule did, from the trail
  audit     read the trail of decisions: tail, query, show, verify, prove, replay, export

Options:
  -h, --help     print this, or a verb's own help after the verb
  -V, --version  print the version
";

/// Runs the verb that the arguments name; the result is the exit code.
pub fn dispatch(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    let (verb, rest) = match args.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("--help", args),
    };
    let written = match verb {
        "check" => return check::run(rest, out, err),
        "audit" => return audit::run(rest, out, err),
        "policy" => return audit::policy::run(rest, out, err),
        "explain" => return explain::run(rest, out, err),
        #[cfg(feature = "serve")]
        "demo" => return demo::run(rest, out, err),
        #[cfg(feature = "serve")]
        "run" => return run::run(rest, out, err),
        "-h" | "--help" | "help" => write!(out.writer, "{HELP}").map(|()| FINE),
        "-V" | "--version" => {
            writeln!(out.writer, "caio {}", env!("CARGO_PKG_VERSION")).map(|()| FINE)
        }
        other => {
            let what = format!("{} is not a verb; see `caio --help`", quoted(other));
            writeln!(err.writer, "caio: {what}").map(|()| USAGE)
        }
    };
    written.unwrap_or(WRONG)
}
