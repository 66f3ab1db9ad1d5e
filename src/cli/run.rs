//! `caio run`: serve until asked to stop.

use super::check::{FINE, USAGE, WRONG, report};
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
use crate::proxy::secure::Upstreams;
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
    let upstreams = match Upstreams::read(&loaded.configuration.services, None) {
        Ok(upstreams) => upstreams,
        Err(faults) => {
            tell_insecure(&faults, err)?;
            return Ok(WRONG);
        }
    };
    let published = published(loaded.snapshot, upstreams);
    let Configuration { settings, digest, .. } = loaded.configuration;
    let mut files = Files { path, settings: settings.clone(), looks: 0 };
    let probes = settings.admin.listen;
    let gateway = match Gateway::start(settings, digest, published) {
        Ok(gateway) => gateway,
        Err(error) => {
            writeln!(err.writer, "caio run: {error}")?;
            return Ok(WRONG);
        }
    };
    gateway.look_at_memory();
    for warning in gateway.certificate_warnings() {
        writeln!(err.writer, "caio: {warning}")?;
    }
    writeln!(out.writer, "caio: {services} services, snapshot {named}")?;
    for address in gateway.addresses() {
        writeln!(out.writer, "caio: listening on {address}")?;
    }
    if let Some(address) = probes {
        match admin::start(address, gateway.readiness(), gateway.metrics()) {
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
pub(super) fn published(snapshot: Snapshot, upstreams: Upstreams) -> Published {
    let epoch = Arc::new(Epoch::default().leveled(&snapshot));
    Published { snapshot: Arc::new(snapshot), epoch, upstreams: Arc::new(upstreams) }
}

/// Tells why services cannot be reached over TLS.
fn tell_insecure(faults: &[String], err: &mut Output<'_>) -> io::Result<()> {
    faults.iter().try_for_each(|fault| writeln!(err.writer, "caio: {fault}"))
}

/// The files the process runs by, and what they said.
struct Files {
    path: PathBuf,
    settings: Settings,
    looks: u32,
}

/// Certificates are looked at once in so many looks, which is about once a second.
const CERTIFICATE_LOOKS: u32 = 10;

impl Files {
    /// Reads them again where that is asked for.
    fn look(&mut self, gateway: &Gateway, err: &mut Output<'_>) -> io::Result<()> {
        self.looks = self.looks.wrapping_add(1);
        // One landscape after the other: the one before must be recorded first.
        if gateway.is_publishing() {
            return Ok(());
        }
        let asked = process::reload_asked();
        if asked || self.looks.is_multiple_of(CERTIFICATE_LOOKS) {
            let told = gateway.refresh_certificates(asked);
            if !told.is_empty() {
                for line in told.into_iter().chain(gateway.certificate_warnings()) {
                    writeln!(err.writer, "caio: {line}")?;
                }
            }
        }
        if !asked {
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
        let before = gateway.published();
        let services = &loaded.configuration.services;
        let upstreams = match Upstreams::read(services, Some(&before.upstreams)) {
            Ok(upstreams) => upstreams,
            Err(faults) => {
                tell_insecure(&faults, err)?;
                return writeln!(err.writer, "caio: nothing was changed");
            }
        };
        let same = upstreams.is_same(&before.upstreams);
        if same && *before.snapshot.digest() == *loaded.snapshot.digest() {
            return writeln!(err.writer, "caio: read again, snapshot {named} as before");
        }
        let services = loaded.snapshot.services().len();
        gateway.publish(published(loaded.snapshot, upstreams));
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
