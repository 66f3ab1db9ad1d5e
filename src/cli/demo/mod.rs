//! `caio demo`: example services inside this process, a gateway in front of them, and lines to try.

mod files;
mod origin;
mod tour;

use super::check::{FINE, USAGE, WRONG, report};
use super::disk::Disk;
use super::loading::load;
use super::proving::{Place, Proof, Weight, tell};
use super::reloading::first;
use super::run::watch;
use super::style::Output;
use crate::balance::epoch::Epoch;
use crate::config::model::Configuration;
use crate::io::process;
use crate::proxy::gateway::Gateway;
use crate::proxy::identify::Identities;
use crate::proxy::secure::Upstreams;
use crate::wire::fault::quoted;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What `caio demo --help` prints.
pub const HELP: &str = "\
Start example services and a gateway in front of them, and print lines to try.

Usage: caio demo [--listen ADDRESS] [--workers N]

Options:
      --listen ADDRESS  where the gateway listens [default: 127.0.0.1:8080]
      --workers N       worker threads of the gateway [default: one for each core]
  -h, --help            print this

Ctrl-C ends it. A running demo can also be pointed at with wrk or h2load.
Exit codes: 0 ended as asked, 1 could not start or failed, 2 the command line is wrong.
";

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    listen: SocketAddr,
    workers: Option<u16>,
}

/// Runs the verb with the arguments behind its name; the result is the exit code.
pub fn run(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    serve(args, out, err).unwrap_or(WRONG)
}

fn serve(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> io::Result<u8> {
    let wanted = match parse(args) {
        Ok(Some(wanted)) => wanted,
        Ok(None) => {
            write!(out.writer, "{HELP}")?;
            return Ok(FINE);
        }
        Err(what) => {
            writeln!(err.writer, "caio demo: {what}; see `caio demo --help`")?;
            return Ok(USAGE);
        }
    };
    process::catch_termination()?;
    process::raise_descriptor_limit();
    if let Err(error) = crate::io::ring::probe() {
        writeln!(err.writer, "caio demo: {error}")?;
        return Ok(WRONG);
    }
    let services = origin::start()?;
    let folder = files::Folder::write(&wanted.listen, wanted.workers, &services)?;
    let loaded = match load(&Disk, &folder.process_file()) {
        Ok(loaded) => loaded,
        Err(faults) => {
            report(&faults, err)?;
            return Ok(WRONG);
        }
    };
    let proof = Proof::of(&loaded.configuration, &loaded.snapshot);
    if proof.is_refused() {
        let file = folder.process_file();
        let place = Place::of(&file, &loaded.configuration, &[]);
        tell(&proof, &place, Weight::Binding, err)?;
        return Ok(WRONG);
    }
    let Configuration { settings, digest, vocabulary, .. } = loaded.configuration;
    let identities = Arc::new(Identities::new(&settings, &vocabulary, None));
    let published = first(loaded.snapshot, Epoch::default(), Upstreams::default(), identities);
    let gateway = match Gateway::start(settings, digest, published, None) {
        Ok(gateway) => gateway,
        Err(error) => {
            let mend = "take another address with `--listen 127.0.0.1:0`";
            writeln!(err.writer, "caio demo: {error}; {mend}")?;
            return Ok(WRONG);
        }
    };
    let address = gateway.addresses().first().copied().unwrap_or(wanted.listen);
    tour::print(out, address, &services, &folder.process_file())?;
    let code = watch(gateway, err, &mut |_, _| {
        process::pause(Duration::from_millis(100));
        Ok(())
    })?;
    folder.remove();
    Ok(code)
}

fn parse(args: &[String]) -> Result<Option<Wanted>, String> {
    let mut wanted = Wanted { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), workers: None };
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        let mut value = || {
            let value = rest.next();
            value.ok_or_else(|| format!("{} needs a value", quoted(argument)))
        };
        match argument.as_str() {
            "-h" | "--help" => return Ok(None),
            "--listen" => {
                let text = value()?;
                wanted.listen = text.parse().map_err(|_| {
                    format!("{} is no address such as `127.0.0.1:8080`", quoted(text))
                })?;
            }
            "--workers" => {
                let text = value()?;
                let workers = text.parse().ok().filter(|workers| (1..=1024).contains(workers));
                wanted.workers = Some(
                    workers
                        .ok_or_else(|| format!("{} is no number from 1 to 1024", quoted(text)))?,
                );
            }
            other => return Err(format!("{} is not an option", quoted(other))),
        }
    }
    Ok(Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Option<Wanted>, String> {
        parse(&args.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_is_read_or_refused_with_its_words() {
        let wanted = parsed(&["--listen", "[::1]:0", "--workers", "2"]).unwrap().unwrap();
        assert_eq!(wanted.listen.to_string(), "[::1]:0");
        assert_eq!(wanted.workers, Some(2));
        assert_eq!(parsed(&["--help"]), Ok(None));
        for (args, words) in [
            (&["--listen", "8080"][..], "`8080` is no address"),
            (&["--listen"], "`--listen` needs a value"),
            (&["--workers", "0"], "`0` is no number"),
            (&["--fast"], "`--fast` is not an option"),
        ] {
            assert!(parsed(args).unwrap_err().contains(words), "{args:?}");
        }
    }
}
