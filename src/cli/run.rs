//! `caio run`: serve until asked to stop.

use super::check::{FINE, WRONG, notices, report};
use super::companion::Companions;
use super::handing::{Beside, HandOver, TakeOver};
use super::keeping::Keeping;
use super::progress::while_it_takes;
use super::proving::{Place, Proof, Weight, tell};
use super::reloading::{first, tell_insecure};
use super::steward::{Beginning, Steward};
use super::style::Output;
use super::wanted;
use crate::admin;
use crate::admin::control::{self, Arrival};
use crate::admin::desk::{Coming, Desk};
use crate::admin::watcher;
use crate::config::model::Configuration;
use crate::config::settings::Settings;
use crate::identity::Asserter;
use crate::io::notify::notify;
use crate::io::process;
use crate::proxy::gateway::Gateway;
use crate::proxy::identify::Identities;
use crate::proxy::secure::Upstreams;
use crate::wire::fault::quoted;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use zeroize::Zeroizing;

/// What `caio run --help` prints.
pub const HELP: &str = "\
Serve: accept calls, route each by contract, refuse what nothing satisfies.

Usage: caio run -c FILE

Options:
  -c, --config FILE  the process file, such as caio.toml
      --take-over    serve in the place of the process that starts this one; see SIGUSR2
  -h, --help         print this

SIGTERM or SIGINT drains: no new connections, what is in flight ends, then the process does. A
second signal ends it at once. SIGHUP reads the files again: what has changed in services, routes,
requirements, callers, rules, quotas, identities, hooks, listeners, timeouts and limits holds for
calls that begin from then on; a file that is wrong, or a port that is taken, is told and changes
nothing. SIGUSR2 starts the program of this path, which takes over the sockets and the trail once
it is ready to serve; this process drains then, and no call fails. Whatever goes wrong with the
other one before, this one goes on.
Exit codes: 0 ended as asked, 1 could not start or failed, 2 the command line is wrong.
";

/// Runs the verb with the arguments behind its name; the result is the exit code.
pub fn run(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    serve(args, out, err).unwrap_or(WRONG)
}

fn serve(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> io::Result<u8> {
    let take_over = args.iter().any(|argument| argument == "--take-over");
    let rest: Vec<String> = args.iter().filter(|it| *it != "--take-over").cloned().collect();
    let path = match wanted("run", HELP, config_path(&rest), out, err)? {
        Ok(path) => path,
        Err(code) => return Ok(code),
    };
    let mut hand_over = HandOver::new()?;
    let mut heir = match take_over.then(TakeOver::begin).transpose() {
        Ok(heir) => heir,
        Err(why) => {
            writeln!(err.writer, "caio run: {why}")?;
            return Ok(WRONG);
        }
    };
    let begun = while_it_takes("reading and compiling", || Steward::begin(path.clone()));
    let Beginning { mut steward, asking, snapshot, epoch } = match begun {
        Ok(beginning) => beginning,
        Err(faults) => {
            report(&faults, err)?;
            return Ok(WRONG);
        }
    };
    let configuration = steward.configuration();
    let proof = while_it_takes("proving", || Proof::of(configuration, &snapshot));
    let place = Place::of(&path, configuration, &[]);
    if proof.is_refused() {
        tell(&proof, &place, Weight::Binding, err)?;
        return Ok(WRONG);
    }
    tell(&proof, &place, Weight::Advisory, err)?;
    steward.know_work(&proof);
    process::catch_termination()?;
    process::catch_reload()?;
    process::catch_upgrade()?;
    process::raise_descriptor_limit();
    process::ignore_file_limit_signal();
    let named = snapshot.digest_text();
    let services = snapshot.service_count();
    let notices = notices(&snapshot);
    let upstreams = match Upstreams::read(&steward.configuration().services, None) {
        Ok(upstreams) => upstreams,
        Err(faults) => {
            tell_insecure(&faults, err)?;
            return Ok(WRONG);
        }
    };
    let configuration = steward.configuration();
    let asserter = match self::asserter(&configuration.settings) {
        Ok(asserter) => asserter.map(Arc::new),
        Err(what) => {
            writeln!(err.writer, "caio run: {what}")?;
            return Ok(WRONG);
        }
    };
    let key_set = asserter.as_deref().map(Asserter::key_set);
    let Configuration { settings, vocabulary, .. } = configuration;
    let identities = Arc::new(Identities::new(settings, vocabulary, asserter));
    // Before the first caller: what credentials are checked with is read then, where it is here.
    let keeping = Keeping::start(&identities)?;
    keeping.tell(err)?;
    let (settings, digest) = (configuration.settings.clone(), configuration.digest);
    steward.know(Arc::clone(&identities), keeping);
    let published = first(snapshot, epoch, upstreams, identities);
    let gateway =
        match Gateway::start(settings, digest, published, heir.as_mut().map(|heir| heir as _)) {
            Ok(gateway) => gateway,
            Err(error) => {
                writeln!(err.writer, "caio run: {error}")?;
                return Ok(WRONG);
            }
        };
    if let Some(Err(why)) = heir.as_ref().map(TakeOver::serving) {
        writeln!(err.writer, "caio run: {why}")?;
        // What was begun is the other's again, which ends what this process has of it.
        process::leave();
    }
    // The workers are there: from here on this is about who may call, not about calls.
    process::give_way();
    if let Some(watching) = gateway.watching() {
        watcher::start(watching, asking.clone(), steward.view())?;
    }
    steward.note_beginning(&gateway);
    gateway.look_at_memory();
    for warning in gateway.certificate_warnings() {
        writeln!(err.writer, "caio: {warning}")?;
    }
    writeln!(out.writer, "caio: {services} services, snapshot {named}, {}", proof.cost())?;
    for notice in notices {
        writeln!(out.writer, "caio: {notice}")?;
    }
    for address in gateway.addresses() {
        writeln!(out.writer, "caio: listening on {address}")?;
    }
    let mut doors = Doors {
        heir: heir.as_mut(),
        hand_over: &mut hand_over,
        told: Vec::new(),
        shut: Vec::new(),
    };
    doors.open(&steward, &gateway, &asking, key_set);
    let Doors { told, shut, .. } = doors;
    heir.iter_mut().for_each(TakeOver::close_others);
    for why in &shut {
        writeln!(err.writer, "caio run: {why}")?;
    }
    // Where the process before has gone, calls would have nobody else.
    if !shut.is_empty() && !take_over {
        gateway.stop();
        let _ = gateway.join();
        return Ok(WRONG);
    }
    for line in told {
        writeln!(out.writer, "caio: {line}")?;
    }
    // After the gateway: the trail is open, and what a crash left has been recovered.
    let mut companions = steward.settings().audit.directory.as_deref().map(Companions::new);
    if let Some(companions) = &mut companions {
        companions.follow(&gateway.published().companions)?;
    }
    out.writer.flush()?;
    notify("READY=1");
    watch(gateway, err, &mut |gateway, err| {
        if let Some(companions) = &mut companions {
            if let Err(error) = companions.follow(&gateway.published().companions) {
                writeln!(err.writer, "caio: a companion cannot be told: {error}; trying again")?;
            }
            for text in companions.told() {
                writeln!(err.writer, "caio: {text}")?;
            }
        }
        // Nothing can be put on record while the trail is nobody's.
        if !hand_over.owes() {
            match process::termination() {
                Some(_) => steward.farewell(gateway),
                None => steward.turn(gateway, err)?,
            }
        }
        hand_over.turn(&mut steward, gateway, err)?;
        if let Some(companions) = companions.as_ref().filter(|_| gateway.is_handed_over()) {
            companions.end();
        }
        Ok(())
    })
}

/// What listens beside the gateway: those of the process before come along.
struct Doors<'a> {
    heir: Option<&'a mut TakeOver>,
    hand_over: &'a mut HandOver,
    /// What there is to say of them.
    told: Vec<String>,
    /// Why some are not to be had.
    shut: Vec<String>,
}

impl Doors<'_> {
    fn open(
        &mut self,
        steward: &Steward,
        gateway: &Gateway,
        asking: &SyncSender<Coming>,
        key_set: Option<String>,
    ) {
        let readiness = gateway.readiness();
        let view = steward.view();
        let desk = Desk { asks: asking.clone(), view, readiness: readiness.clone() };
        let settings = steward.settings();
        if let Some(address) = settings.admin.listen {
            self.listen(Beside::Probes, address, |inherited| {
                admin::start(address, readiness, gateway.metrics(), key_set, inherited)
            });
        }
        if let Some(control) = &settings.admin.control {
            let arrival = if self.heir.is_some() { Arrival::InPlace } else { Arrival::First };
            let shown = control.socket.display();
            match control::start(control, desk.clone(), arrival) {
                Ok(()) => self.told.push(format!("changes on {shown}")),
                Err(error) => self.shut.push(format!("cannot listen on {shown}: {error}")),
            }
        }
        if let Some(remote) = &settings.admin.remote {
            let (guard, clients) = (gateway.control_guard(), steward.clients());
            self.listen(Beside::Changes, remote.address, |inherited| {
                control::start_remote(remote, guard, clients, desk.clone(), inherited)
            });
        }
        if let (Some(address), Some(pass)) = (settings.discovery, gateway.pass()) {
            self.listen(Beside::Discovery, address, |inherited| {
                control::start_discovery(address, &pass, desk, inherited)
            });
        }
    }

    /// Has it listen on the socket that the process before had for it, if there is one.
    fn listen(
        &mut self,
        what: Beside,
        address: SocketAddr,
        start: impl FnOnce(Option<TcpListener>) -> io::Result<TcpListener>,
    ) {
        let inherited = self.heir.as_mut().and_then(|heir| heir.beside(what, address));
        match start(inherited).and_then(|socket| Ok((socket.local_addr()?, socket))) {
            Ok((own, socket)) => {
                // That callers may look for services their own listeners say.
                if what != Beside::Discovery {
                    self.told.push(format!("{} on {own}", what.name()));
                }
                self.hand_over.beside(what, address, socket);
            }
            Err(error) => self.shut.push(format!("cannot listen on {address}: {error}")),
        }
    }
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

/// How often it is looked whether a process that handed over has come to its end.
const LEAVING: Duration = Duration::from_millis(20);

/// What is done now and then beside the workers; it waits for something to do, for a tenth of a
/// second at most.
pub(super) type Chore<'a> = &'a mut dyn FnMut(&Gateway, &mut Output<'_>) -> io::Result<()>;

/// Waits for a signal or a fault, then for the workers.
pub(super) fn watch(gateway: Gateway, err: &mut Output<'_>, chore: Chore<'_>) -> io::Result<u8> {
    let ended = |gateway: &Gateway| gateway.worker_ended() || gateway.is_handed_over();
    while process::termination().is_none() && !ended(&gateway) {
        gateway.look_at_memory();
        chore(&gateway, err)?;
        for notice in gateway.notices() {
            writeln!(err.writer, "caio: {notice}")?;
        }
    }
    if gateway.is_handed_over() {
        while !gateway.all_ended() {
            // Nobody else may end it: whoever manages it follows the one that serves.
            if gateway.is_cut_off() {
                writeln!(err.writer, "caio: nobody keeps the trail any more: ending at once")?;
                process::leave();
            }
            process::pause(LEAVING);
        }
    } else if let Some(signal) = process::termination() {
        notify("STOPPING=1");
        writeln!(err.writer, "caio: signal {signal}, draining")?;
        // Once more: what was waiting for its time has no later one.
        chore(&gateway, err)?;
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
