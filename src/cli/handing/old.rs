//! The side that hands over.

use super::{Beside, PROTOCOL, Said, Sockets, hear, say};
use crate::cli::steward::Steward;
use crate::cli::style::Output;
use crate::io::clock::monotonic_ns;
use crate::io::notify::notify;
use crate::io::process;
use crate::io::rights::{Channel, RIGHTS_MAX};
use crate::proxy::gateway::Gateway;
use crate::proxy::pass::Pass;
use crate::wire::limits::{HAND_OVER_MS, HAND_OVER_READY_MS};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// What makes a program one that takes over.
pub(in crate::cli) const TAKE_OVER: &str = "--take-over";

/// Starts another process when that is asked for, and hands over to it.
pub(in crate::cli) struct HandOver {
    /// The path of this program, where another may lie by then.
    program: PathBuf,
    arguments: Vec<OsString>,
    starter: Starter,
    /// What listens beside the gateway.
    beside: Sockets,
    going: Option<Going>,
    /// Whether the trail is to be taken back before anything else.
    owed: bool,
}

/// A thread that starts programs. They have its priority, and this one gives up none: whoever
/// decides that one is started gives way to calls, and the calls of the other are to be carried as
/// these.
struct Starter {
    asks: Sender<Command>,
    started: Receiver<io::Result<Child>>,
}

impl Starter {
    fn begin() -> io::Result<Self> {
        let (asks, asked) = channel::<Command>();
        let (tell, started) = channel();
        std::thread::Builder::new().name("caio-start".to_owned()).spawn(move || {
            // Nobody is told any more where the process ends.
            while let Ok(mut command) = asked.recv()
                && tell.send(command.spawn()).is_ok()
            {}
        })?;
        Ok(Self { asks, started })
    }

    fn start(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts programs is gone");
        self.asks.send(command).map_err(|_| gone())?;
        self.started.recv().map_err(|_| gone())?
    }
}

/// Another process on its way.
struct Going {
    child: Child,
    channel: Channel,
    stage: Stage,
    until_ns: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not said anything yet.
    Started,
    /// It waits until nothing changes here any more.
    Greeted,
    /// It reads and compiles.
    Held,
}

/// Why the other process does not take over.
type Failed = String;

impl HandOver {
    /// To be called as the process begins: the path is right then, and the priority.
    ///
    /// # Errors
    /// When the path is not to be had.
    pub(in crate::cli) fn new() -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        arguments.retain(|argument| argument != TAKE_OVER);
        arguments.push(TAKE_OVER.into());
        let starter = Starter::begin()?;
        Ok(Self { program, arguments, starter, beside: Vec::new(), going: None, owed: false })
    }

    /// This socket is to be handed over, too.
    pub(in crate::cli) fn beside(
        &mut self,
        what: Beside,
        configured: SocketAddr,
        socket: TcpListener,
    ) {
        self.beside.push((what, configured, socket));
    }

    /// Goes on with handing over, where that is asked for; without waiting but for the last step.
    pub(in crate::cli) fn turn(
        &mut self,
        steward: &mut Steward,
        gateway: &Gateway,
        err: &mut Output<'_>,
    ) -> io::Result<()> {
        if self.owed {
            return self.take_back(steward, gateway, err);
        }
        if process::upgrade_asked() && self.going.is_none() {
            match self.start() {
                Ok(going) => {
                    let id = going.child.id();
                    writeln!(err.writer, "caio: process {id} starts, to take over")?;
                    self.going = Some(going);
                }
                Err(error) => {
                    let shown = self.program.display();
                    writeln!(err.writer, "caio: {shown} cannot be started: {error}")?;
                }
            }
        }
        let Some(mut going) = self.going.take() else { return Ok(()) };
        match self.step(&mut going, steward, gateway) {
            Ok(()) if gateway.is_handed_over() => {
                let id = going.child.id();
                // Where the other listens elsewhere now, nobody is to wait for an answer here.
                self.beside.clear();
                // The service manager follows the one that serves.
                notify(&format!("MAINPID={id}"));
                writeln!(err.writer, "caio: process {id} has taken over, draining")
            }
            Ok(()) => {
                self.going = Some(going);
                Ok(())
            }
            Err(why) => {
                // It may have ended by itself, and is ended in any case before anything goes on.
                let _ = going.child.kill();
                let status = going.child.wait();
                let how = status.map(|status| format!(" ({status})")).unwrap_or_default();
                writeln!(err.writer, "caio: nobody takes over: {why}{how}; this process goes on")?;
                self.take_back(steward, gateway, err)
            }
        }
    }

    /// Whether the trail is still to be taken back.
    pub(in crate::cli) fn owes(&self) -> bool {
        self.owed
    }

    fn start(&self) -> io::Result<Going> {
        let (channel, theirs) = Channel::pair()?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::from(theirs));
        let child = self.starter.start(command)?;
        let until_ns = monotonic_ns().saturating_add(HAND_OVER_READY_MS * 1_000_000);
        Ok(Going { child, channel, stage: Stage::Started, until_ns })
    }

    /// Whatever was let go is this process's again.
    fn take_back(
        &mut self,
        steward: &mut Steward,
        gateway: &Gateway,
        err: &mut Output<'_>,
    ) -> io::Result<()> {
        let back = gateway.take_back(Duration::from_millis(HAND_OVER_MS));
        if let Err(why) = &back
            && !self.owed
        {
            writeln!(err.writer, "caio: the trail cannot be taken back: {why}; trying again")?;
        }
        self.owed = back.is_err();
        if self.owed {
            process::pause(RETRY);
        } else {
            steward.resume();
        }
        Ok(())
    }

    fn step(
        &self,
        going: &mut Going,
        steward: &mut Steward,
        gateway: &Gateway,
    ) -> Result<(), Failed> {
        if monotonic_ns() > going.until_ns {
            return Err("it is not ready in time".to_owned());
        }
        if going.stage == Stage::Greeted && steward.is_held() {
            let gates = gateway.gates();
            let configured = gates.bound().map(|it| it.configured().to_string());
            let addresses: Vec<String> = configured.collect();
            say(&going.channel, &json!({ "held": { "addresses": addresses } }), &[])?;
            going.stage = Stage::Held;
        }
        let message = match hear(&going.channel, Duration::ZERO)? {
            Said::Message(message, _) => message,
            Said::Nothing => return Ok(()),
            Said::End => return Err("it has ended".to_owned()),
        };
        match going.stage {
            Stage::Started => {
                let protocol = message.pointer("/hello/protocol").and_then(Value::as_u64);
                if protocol != Some(PROTOCOL) {
                    let why = "it hands over in another way; start it anew instead";
                    say(&going.channel, &json!({ "refused": why }), &[])?;
                    return Err(why.to_owned());
                }
                steward.hold();
                going.stage = Stage::Greeted;
                Ok(())
            }
            Stage::Held if message.get("take").is_some() => self.give(going, gateway),
            Stage::Greeted | Stage::Held => Err("it says what nobody asked for".to_owned()),
        }
    }

    /// Gives everything away. Until the other says that it serves this process serves, and what it
    /// records waits.
    fn give(&self, going: &mut Going, gateway: &Gateway) -> Result<(), Failed> {
        let wait = Duration::from_millis(HAND_OVER_MS);
        let channel = &going.channel;
        let (version, estate) = match gateway.let_go(wait) {
            Ok(left) => left,
            Err(why) => {
                say(channel, &json!({ "refused": why }), &[])?;
                return Err(format!("the trail cannot be handed over: {why}"));
            }
        };
        for (what, configured, socket) in &self.beside {
            let (what, configured) = (what.name(), configured.to_string());
            let said = json!({ "legacy": { "beside": what, "configured": configured } });
            say(channel, &said, &[socket.as_fd()])?;
        }
        for (place, bound) in gateway.gates().bound().enumerate() {
            let (configured, address) = (bound.configured().to_string(), bound.address());
            let said = json!({ "legacy": {
                "place": place, "configured": configured, "address": address.to_string(),
            } });
            for part in bound.sockets().chunks(RIGHTS_MAX) {
                let rights: Vec<_> = part.iter().map(AsFd::as_fd).collect();
                say(channel, &said, &rights)?;
            }
        }
        let pair = UnixStream::pair().map_err(|error| error.to_string())?;
        let (relay, theirs) = pair;
        let estate = estate.map(|it| {
            json!({
                "boot": it.boot, "origin_ns": it.origin_ns, "version": it.version,
                "from": it.lanes.start, "until": it.lanes.end,
            })
        });
        let pass = gateway.pass();
        let pass = pass.as_ref().map(Pass::text);
        let said = json!({ "legacy": { "version": version, "estate": estate, "pass": pass } });
        say(channel, &said, &[theirs.as_fd()])?;
        drop(theirs);
        match hear(channel, wait)? {
            Said::Message(message, _) if message.get("serving").is_some() => {}
            Said::Message(..) => return Err("it says what nobody asked for".to_owned()),
            Said::Nothing => return Err("it does not serve in time".to_owned()),
            Said::End => return Err("it has ended".to_owned()),
        }
        // From here on there is no way back: the other serves once it hears this, and this process
        // no more.
        say(channel, &json!({ "done": {} }), &[])?;
        gateway.hand_over(Some(relay));
        Ok(())
    }
}

/// How often the trail is tried to be taken back.
const RETRY: Duration = Duration::from_millis(100);
