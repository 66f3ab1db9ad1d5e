//! `caio run`: serve until asked to stop.

use super::check::{FINE, USAGE, WRONG, notices, report};
use super::disk::Disk;
use super::loading::load;
use super::progress::while_it_takes;
use super::style::Output;
use crate::admin;
use crate::balance::epoch::Epoch;
use crate::config::model::Configuration;
use crate::config::settings::Settings;
use crate::io::process;
use crate::proxy::gateway::Gateway;
use crate::proxy::landscape::Published;
use crate::snapshot::Snapshot;
use crate::wire::fault::quoted;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What `caio run --help` prints.
pub const HELP: &str = "\
Serve: accept calls, route each by contract, refuse what nothing satisfies.

Usage: caio run -c FILE

Options:
  -c, --config FILE  the process file, such as caio.toml
  -h, --help         print this

SIGTERM or SIGINT drains: no new connections, what is in flight ends, then the process does. A
second signal ends it at once. SIGHUP reads the files again: what has changed in services, routes,
requirements, callers and rules holds for calls that begin from then on; a file that is wrong is
told and changes nothing.
Exit codes: 0 ended as asked, 1 could not start or failed, 2 the command line is wrong.
";

/// Runs the verb with the arguments behind its name; the result is the exit code.
pub fn run(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    serve(args, out, err).unwrap_or(WRONG)
}

fn serve(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> io::Result<u8> {
    let path = match config_path(args) {
        Ok(Some(path)) => path,
        Ok(None) => {
            write!(out.writer, "{HELP}")?;
            return Ok(FINE);
        }
        Err(what) => {
            writeln!(err.writer, "caio run: {what}; see `caio run --help`")?;
            return Ok(USAGE);
        }
    };
    let loaded = match while_it_takes("reading and compiling", || load(&Disk, &path)) {
        Ok(loaded) => loaded,
        Err(faults) => {
            report(&faults, err)?;
            return Ok(WRONG);
        }
    };
    process::catch_termination()?;
    process::catch_reload()?;
    process::raise_descriptor_limit();
    process::ignore_file_limit_signal();
    let named = loaded.snapshot.digest_text();
    let services = loaded.snapshot.services().len();
    let notices = notices(&loaded.snapshot);
    let published = published(loaded.snapshot);
    let Configuration { settings, digest, .. } = loaded.configuration;
    let mut files = Files { path, settings: settings.clone() };
    let probes = settings.admin.listen;
    let gateway = match Gateway::start(settings, digest, published) {
        Ok(gateway) => gateway,
        Err(error) => {
            writeln!(err.writer, "caio run: {error}")?;
            return Ok(WRONG);
        }
    };
    gateway.look_at_memory();
    writeln!(out.writer, "caio: {services} services, snapshot {named}")?;
    for notice in notices {
        writeln!(out.writer, "caio: {notice}")?;
    }
    for address in gateway.addresses() {
        writeln!(out.writer, "caio: listening on {address}")?;
    }
    if let Some(address) = probes {
        match admin::start(address, gateway.readiness()) {
            Ok(address) => writeln!(out.writer, "caio: probes on {address}")?,
            Err(error) => {
                writeln!(err.writer, "caio run: cannot listen on {address}: {error}")?;
                gateway.stop();
                let _ = gateway.join();
                return Ok(WRONG);
            }
        }
    }
    out.writer.flush()?;
    watch(gateway, err, &mut |gateway, err| files.look(gateway, err))
}

/// A landscape whose services are all well.
pub(super) fn published(snapshot: Snapshot) -> Published {
    let epoch = Epoch::default().leveled(&snapshot);
    Published { snapshot: Arc::new(snapshot), epoch: Arc::new(epoch) }
}

/// The files the process runs by, and what they said.
struct Files {
    path: PathBuf,
    settings: Settings,
}

impl Files {
    /// Reads them again where that is asked for.
    fn look(&mut self, gateway: &Gateway, err: &mut Output<'_>) -> io::Result<()> {
        // One landscape after the other: the one before must be recorded first.
        if gateway.is_publishing() || !process::reload_asked() {
            return Ok(());
        }
        let loaded = match load(&Disk, &self.path) {
            Ok(loaded) => loaded,
            Err(faults) => {
                report(&faults, err)?;
                return writeln!(err.writer, "caio: nothing was changed");
            }
        };
        let named = loaded.snapshot.digest_text();
        if self.settings != loaded.configuration.settings {
            let what = "the settings of the process have changed, and hold from its next start";
            writeln!(err.writer, "caio: {what}")?;
        }
        if *gateway.published().snapshot.digest() == *loaded.snapshot.digest() {
            return writeln!(err.writer, "caio: read again, snapshot {named} as before");
        }
        let services = loaded.snapshot.services().len();
        for notice in notices(&loaded.snapshot) {
            writeln!(err.writer, "caio: {notice}")?;
        }
        gateway.publish(published(loaded.snapshot));
        writeln!(err.writer, "caio: read again, {services} services, snapshot {named}")
    }
}

/// `-c FILE`; `None` where help is asked for.
pub(super) fn config_path(args: &[String]) -> Result<Option<PathBuf>, String> {
    let mut path = None;
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-h" | "--help" => return Ok(None),
            "-c" | "--config" => {
                let value = rest.next().filter(|value| !value.is_empty());
                let value = value.ok_or_else(|| format!("{} needs a file", quoted(argument)))?;
                path = Some(PathBuf::from(value));
            }
            other => return Err(format!("{} is not an option", quoted(other))),
        }
    }
    path.map(Some).ok_or_else(|| "no file is named; add `-c caio.toml`".to_owned())
}

/// What is done now and then beside the workers.
pub(super) type Chore<'a> = &'a mut dyn FnMut(&Gateway, &mut Output<'_>) -> io::Result<()>;

/// Waits for a signal or a fault, then for the workers.
pub(super) fn watch(gateway: Gateway, err: &mut Output<'_>, chore: Chore<'_>) -> io::Result<u8> {
    while process::termination().is_none() && !gateway.worker_ended() {
        gateway.look_at_memory();
        chore(&gateway, err)?;
        for notice in gateway.notices() {
            writeln!(err.writer, "caio: {notice}")?;
        }
        process::pause(Duration::from_millis(100));
    }
    if let Some(signal) = process::termination() {
        writeln!(err.writer, "caio: signal {signal}, draining")?;
    }
    gateway.stop();
    match gateway.join() {
        Ok(()) => Ok(FINE),
        Err(error) => {
            writeln!(err.writer, "caio: {error}")?;
            Ok(WRONG)
        }
    }
}
