//! `caio run`: serve until asked to stop.

use super::check::{FINE, USAGE, WRONG, notices, report};
use super::companion;
use super::disk::Disk;
use super::keeping::Keeping;
use super::loading::load;
use super::progress::while_it_takes;
use super::reloading::{Files, first, tell_insecure};
use super::style::Output;
use crate::admin;
use crate::admin::watcher::{self, News};
use crate::config::model::Configuration;
use crate::config::settings::Settings;
use crate::identity::Asserter;
use crate::io::clock::monotonic_ns;
use crate::io::process;
use crate::proxy::gateway::Gateway;
use crate::proxy::identify::Identities;
use crate::proxy::secure::Upstreams;
use crate::wire::fault::quoted;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;
use zeroize::Zeroizing;

/// What `caio run --help` prints.
pub const HELP: &str = "\
Serve: accept calls, route each by contract, refuse what nothing satisfies.

Usage: caio run -c FILE

Options:
  -c, --config FILE  the process file, such as caio.toml
  -h, --help         print this

SIGTERM or SIGINT drains: no new connections, what is in flight ends, then the process does. A
second signal ends it at once. SIGHUP reads the files again: what has changed in services, routes,
requirements, callers, rules, quotas and identities holds for calls that begin from then on; a file
that is wrong is told and changes nothing.
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
    let upstreams = match Upstreams::read(&loaded.configuration.services, None) {
        Ok(upstreams) => upstreams,
        Err(faults) => {
            tell_insecure(&faults, err)?;
            return Ok(WRONG);
        }
    };
    let configuration = loaded.configuration;
    let asserter = match self::asserter(&configuration.settings) {
        Ok(asserter) => asserter.map(Arc::new),
        Err(what) => {
            writeln!(err.writer, "caio run: {what}")?;
            return Ok(WRONG);
        }
    };
    let key_set = asserter.as_deref().map(Asserter::key_set);
    let Configuration { settings, vocabulary, .. } = &configuration;
    let identities = Arc::new(Identities::new(settings, vocabulary, asserter));
    // Before the first caller: what credentials are checked with is read then, where it is here.
    let keeping = Keeping::start(&identities)?;
    keeping.tell(err)?;
    let published = first(loaded.snapshot, upstreams, identities);
    let (settings, digest) = (configuration.settings.clone(), configuration.digest);
    let mut files = Files::new(path, configuration, keeping);
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
    for notice in notices {
        writeln!(out.writer, "caio: {notice}")?;
    }
    for address in gateway.addresses() {
        writeln!(out.writer, "caio: listening on {address}")?;
    }
    if let Some(address) = probes {
        match admin::start(address, gateway.readiness(), gateway.metrics(), key_set) {
            Ok(address) => writeln!(out.writer, "caio: probes on {address}")?,
            Err(error) => {
                writeln!(err.writer, "caio run: cannot listen on {address}: {error}")?;
                gateway.stop();
                let _ = gateway.join();
                return Ok(WRONG);
            }
        }
    }
    // After the gateway: the trail is open, and what a crash left has been recovered.
    let companions = match &files.settings().audit.directory {
        Some(trail) => {
            let towards = |place| gateway.towards_companion(place);
            Some(companion::start(&files.settings().companions, trail, towards)?)
        }
        None => None,
    };
    out.writer.flush()?;
    watch(gateway, err, &mut |gateway, err| {
        for text in companions.iter().flat_map(|told| told.try_iter()) {
            writeln!(err.writer, "caio: {text}")?;
        }
        files.look(gateway, err)
    })
}

/// What signs what services are told of callers, where that is wanted.
pub(super) fn asserter(settings: &Settings) -> Result<Option<Asserter>, String> {
    let Some(assertion) = &settings.assertion else { return Ok(None) };
    let shown = assertion.key.display();
    let pem = std::fs::read(&assertion.key);
    let pem = Zeroizing::new(pem.map_err(|error| format!("{shown}: {error}"))?);
    Asserter::new(assertion, &pem).map(Some).map_err(|what| format!("{shown}: {what}"))
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

/// Nanoseconds between two chores.
const CHORE_NS: u64 = 100_000_000;
/// How long a landscape on its way is not looked after: as long as a disk takes.
const PUBLISHING: Duration = Duration::from_millis(1);

/// What is done now and then beside the workers.
pub(super) type Chore<'a> = &'a mut dyn FnMut(&Gateway, &mut Output<'_>) -> io::Result<()>;

/// Waits for a signal or a fault, then for the workers. Here alone landscapes are published.
pub(super) fn watch(gateway: Gateway, err: &mut Output<'_>, chore: Chore<'_>) -> io::Result<u8> {
    let (tell, told) = channel();
    // Held, so that waiting for news is waiting also where nobody has any.
    let _held = tell.clone();
    if let Some(watching) = gateway.watching() {
        watcher::start(watching, tell)?;
    }
    let mut due_ns = 0;
    while process::termination().is_none() && !gateway.worker_ended() {
        // One landscape after the other: the one before must be recorded first.
        let publishing = gateway.is_publishing();
        if monotonic_ns() >= due_ns {
            due_ns = monotonic_ns() + CHORE_NS;
            gateway.look_at_memory();
            chore(&gateway, err)?;
            for notice in gateway.notices() {
                writeln!(err.writer, "caio: {notice}")?;
            }
        }
        let wait = if publishing { PUBLISHING } else { Duration::from_nanos(CHORE_NS) };
        let mut epoch = None;
        let news = told.recv_timeout(wait).into_iter().chain(told.try_iter());
        for news in news {
            match news {
                News::Epoch(newer) => epoch = Some(newer),
                News::Told(text) => writeln!(err.writer, "caio: {text}")?,
            }
        }
        if let Some(epoch) = epoch.filter(|_| !gateway.is_publishing()) {
            gateway.publish_epoch(epoch);
        }
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
