//! Layer 9: words for people.

pub mod audit;
pub mod check;
#[cfg(feature = "serve")]
pub mod companion;
#[cfg(feature = "serve")]
pub mod demo;
pub mod diff;
pub mod disk;
pub mod explain;
#[cfg(feature = "serve")]
mod handing;
#[cfg(feature = "serve")]
mod keeping;
pub mod loading;
#[cfg(feature = "serve")]
mod opened;
pub mod progress;
pub mod prove;
mod proving;
#[cfg(feature = "serve")]
pub mod registry;
#[cfg(feature = "serve")]
mod reloading;
#[cfg(feature = "serve")]
pub mod run;
pub mod second;
#[cfg(feature = "serve")]
mod steward;
pub mod style;
pub mod upgrade;

use crate::wire::fault::quoted;
use check::{FINE, USAGE, WRONG};
use std::io;
use style::Output;

/// What `caio --help` prints.
pub const HELP: &str = "\
CAIO routes calls by contract, with a proof a stranger can re-check.

Usage: caio VERB [OPTIONS]

Verbs:
  demo      example services and a gateway in front of them, to try with curl
  run       serve: route each call by contract
  check     read a configuration and report everything that is wrong with it
  prove     what holds of a landscape, and a request that shows what does not
  diff      which calls may come where after a change, and could not before
  upgrade   whether a new contract may take the place of an old one
  explain   why a request is routed as it is, or was, and why not otherwise
  policy    what each policy rule did, from the trail
  registry  see and change what is registered with a running gateway
  discover  find who offers what is needed, and why the others do not
  audit     read the trail of decisions: tail, query, show, verify, prove, replay, export

Options:
  -h, --help     print this, or a verb's own help after the verb
  -V, --version  print the version
";

/// What the arguments of a verb ask for. The code to end with where that is help, which is written,
/// or nothing that the verb knows, which is told.
fn wanted<T>(
    verb: &str,
    help: &str,
    parsed: Result<Option<T>, String>,
    out: &mut Output<'_>,
    err: &mut Output<'_>,
) -> io::Result<Result<T, u8>> {
    match parsed {
        Ok(Some(wanted)) => Ok(Ok(wanted)),
        Ok(None) => write!(out.writer, "{help}").map(|()| Err(FINE)),
        Err(what) => {
            writeln!(err.writer, "caio {verb}: {what}; see `caio {verb} --help`")?;
            Ok(Err(USAGE))
        }
    }
}

/// Runs the verb that the arguments name; the result is the exit code.
pub fn dispatch(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    let (verb, rest) = match args.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("--help", args),
    };
    let written = match verb {
        "check" => return check::run(rest, out, err),
        "prove" => return prove::run(rest, out, err),
        "diff" => return diff::run(rest, out, err),
        "upgrade" => return upgrade::run(rest, out, err),
        "audit" => return audit::run(rest, out, err),
        "policy" => return audit::policy::run(rest, out, err),
        "explain" => return explain::run(rest, out, err),
        #[cfg(feature = "serve")]
        "registry" => return registry::run(rest, out, err),
        #[cfg(feature = "serve")]
        "discover" => return registry::discover(rest, out, err),
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
