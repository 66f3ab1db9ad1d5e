//! `caio run`: serve until asked to stop.

use super::check::{FINE, USAGE, WRONG, notices, report};
use super::companion;
use super::disk::Disk;
use super::loading::load;
use super::progress::while_it_takes;
use super::reloading::{Files, published, tell_insecure};
use super::style::Output;
use crate::admin;
use crate::admin::keysets::{Event, Keeper, Tell};
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
use std::sync::mpsc::{Receiver, channel};
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
requirements, callers, rules and quotas holds for calls that begin from then on; a file that is
wrong is told and changes nothing.
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
    let published = published(loaded.snapshot, upstreams, None);
    let configuration = loaded.configuration;
    let asserter = match asserter(&configuration.settings) {
        Ok(asserter) => asserter,
        Err(what) => {
            writeln!(err.writer, "caio run: {what}")?;
            return Ok(WRONG);
        }
    };
    let key_set = asserter.as_ref().map(Asserter::key_set);
    let Configuration { settings, vocabulary, .. } = &configuration;
    let identities = Identities::new(settings, vocabulary, asserter);
    // Before the first caller: what credentials are checked with is read then, where it is here.
    let (keeper, events) = keep(&identities)?;
    for event in events.try_iter() {
        writeln!(err.writer, "caio: {}", told(&event))?;
    }
    let (settings, digest) = (configuration.settings.clone(), configuration.digest);
    let mut files = Files::new(path, configuration);
    let probes = settings.admin.listen;
    let gateway = match Gateway::start(settings, digest, published, identities) {
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
        Some(trail) => Some(companion::start(&files.settings().companions, trail)?),
        None => None,
    };
    out.writer.flush()?;
    let code = watch(gateway, err, &mut |gateway, err| {
        for text in companions.iter().flat_map(|told| told.try_iter()) {
            writeln!(err.writer, "caio: {text}")?;
        }
        for event in events.try_iter() {
            writeln!(err.writer, "caio: {}", told(&event))?;
        }
        files.look(gateway, err)
    });
    drop(keeper);
    code
}

/// What signs what services are told of callers, where that is wanted.
fn asserter(settings: &Settings) -> Result<Option<Asserter>, String> {
    let Some(assertion) = &settings.assertion else { return Ok(None) };
    let shown = assertion.key.display();
    let pem = std::fs::read(&assertion.key);
    let pem = Zeroizing::new(pem.map_err(|error| format!("{shown}: {error}"))?);
    Asserter::new(assertion, &pem).map(Some).map_err(|what| format!("{shown}: {what}"))
}

/// Reads what credentials are checked with, and keeps it fresh; what becomes of that comes out of
/// the receiver.
fn keep(identities: &Identities) -> io::Result<(Keeper, Receiver<Event>)> {
    let (sender, events) = channel();
    let tell: Tell = Arc::new(move |event| {
        // Nobody listens any more while the process ends.
        let _ = sender.send(event);
    });
    let Identities { providers, keys, stale, .. } = identities;
    Ok((Keeper::start(providers, keys, stale, &tell)?, events))
}

fn told(event: &Event) -> String {
    let name = quoted(&event.identity);
    match (&event.outcome, event.usable) {
        (Ok(count), _) => format!("identity {name}: {count} keys"),
        (Err(why), true) => format!("identity {name} keeps its keys: {why}"),
        (Err(why), false) => format!("identity {name} has no keys, and is refused: {why}"),
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
