//! A new program takes the place of one that serves, and no call notices.
//!
//! ```text
//!   SIGUSR2 ─▶ old: starts the program of its own path ─▶ new, with a socket as its standard input
//!              new: hello ───────────────▶ old: takes no changes, closes the registry's store
//!              old: held ────────────────▶ new: reads, compiles, proves, binds what is new
//!              new: take ────────────────▶ old: makes the trail durable, lets go of it
//!              old: sockets, legacy ─────▶ new: goes on with the trail, accepts
//!              new: serving ─────────────▶ old: stops accepting, relays what it records, drains
//! ```
//! A socket that only these two have, rather than one with a name: nobody else can connect to it,
//! and there is no path to configure or to leave behind. Whatever fails before `serving`, the end
//! of the new process included, leaves the old one as it was.

mod new;
mod old;

pub(super) use new::TakeOver;
pub(super) use old::HandOver;

use crate::io::rights::{Came, Channel};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// The number of these messages, and of the form of what is relayed. Programs with other numbers
/// do not take over from each other.
const PROTOCOL: u64 = 1;

/// What listens beside the gateway, on a socket that is handed over too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// Probes and metrics.
    Probes,
    /// Changes over TCP.
    Changes,
    /// Callers who look for services.
    Discovery,
}

impl Beside {
    const ALL: [Self; 3] = [Self::Probes, Self::Changes, Self::Discovery];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Probes => "probes",
            Self::Changes => "changes",
            Self::Discovery => "discovery",
        }
    }
}

/// Those that there are, and as they are configured.
type Sockets = Vec<(Beside, SocketAddr, TcpListener)>;

/// What was received.
enum Said {
    /// A message, with the sockets in it.
    Message(Value, Vec<OwnedFd>),
    /// Nothing in time.
    Nothing,
    /// The other process is gone.
    End,
}

fn say(channel: &Channel, what: &Value, rights: &[BorrowedFd<'_>]) -> Result<(), String> {
    let text = what.to_string();
    channel.send(text.as_bytes(), rights).map_err(|error| format!("cannot be told: {error}"))
}

fn hear(channel: &Channel, wait: Duration) -> Result<Said, String> {
    match channel.receive(wait).map_err(|error| format!("cannot be heard: {error}"))? {
        Came::Message(bytes, rights) => {
            let read = serde_json::from_slice(&bytes);
            let read = read.map_err(|error| format!("said what is no message: {error}"))?;
            Ok(Said::Message(read, rights))
        }
        Came::Nothing => Ok(Said::Nothing),
        Came::End => Ok(Said::End),
    }
}

/// What a program says of itself.
fn hello() -> Value {
    json!({ "hello": { "protocol": PROTOCOL, "program": env!("CARGO_PKG_VERSION") } })
}
