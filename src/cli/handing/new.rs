//! The side that takes over.

use super::{Beside, Said, Sockets, hear, hello, say};
use crate::io::process;
use crate::io::rights::Channel;
use crate::proxy::handing::{Bound, Heir, Legacy};
use crate::proxy::trail::Estate;
use crate::wire::limits::{HAND_OVER_MS, HAND_OVER_READY_MS};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A process that will serve in the place of the one that has started it.
pub(in crate::cli) struct TakeOver {
    channel: Channel,
    /// The addresses of the other, as they are configured.
    addresses: Vec<SocketAddr>,
    /// What listens beside its gateway.
    beside: Sockets,
}

impl TakeOver {
    /// Greets the process that has started this one, and waits until that one keeps everything as
    /// it is. To be called before anything is opened.
    ///
    /// # Errors
    /// Why there is nobody to take over from.
    pub(in crate::cli) fn begin() -> Result<Self, String> {
        process::close_inherited();
        let channel = Channel::inherited().map_err(|error| error.to_string())?;
        say(&channel, &hello(), &[])?;
        let (held, _) = answer(&channel, Duration::from_millis(HAND_OVER_READY_MS), "held")?;
        let addresses = held.get("addresses").and_then(Value::as_array);
        let addresses = addresses.into_iter().flatten().filter_map(address).collect();
        Ok(Self { channel, addresses, beside: Vec::new() })
    }

    /// Closes what nobody asked for: who connects there is refused, and does not wait.
    pub(in crate::cli) fn close_others(&mut self) {
        self.beside.clear();
    }

    /// The socket for this, if the other had one on this address.
    pub(in crate::cli) fn beside(
        &mut self,
        what: Beside,
        address: SocketAddr,
    ) -> Option<TcpListener> {
        let place = self.beside.iter().position(|(of, at, _)| (*of, *at) == (what, address))?;
        Some(self.beside.swap_remove(place).2)
    }

    /// Says that this process serves.
    ///
    /// # Errors
    /// When the other is gone or has taken everything back: nobody may serve then but that one.
    pub(in crate::cli) fn serving(&self) -> Result<(), String> {
        say(&self.channel, &json!({ "serving": {} }), &[])?;
        answer(&self.channel, Duration::from_millis(HAND_OVER_MS), "done").map(|_| ())
    }
}

/// The next answer, which has to be this one.
fn answer(channel: &Channel, wait: Duration, name: &str) -> Result<(Value, Vec<OwnedFd>), String> {
    match hear(channel, wait)? {
        Said::Message(mut message, rights) => match message.get_mut(name) {
            Some(value) => Ok((value.take(), rights)),
            None => Err(match message.get("refused").and_then(Value::as_str) {
                Some(why) => format!("the process that runs does not hand over: {why}"),
                None => "the process that runs says something else".to_owned(),
            }),
        },
        Said::Nothing => Err("the process that runs does not answer".to_owned()),
        Said::End => Err("the process that runs has ended, or goes on alone".to_owned()),
    }
}

fn address(value: &Value) -> Option<SocketAddr> {
    value.as_str()?.parse().ok()
}

fn estate(value: &Value) -> Option<Estate> {
    let number = |name: &str| value.get(name).and_then(Value::as_u64);
    let lane = |name: &str| u16::try_from(number(name)?).ok();
    Some(Estate {
        boot: number("boot")?,
        origin_ns: number("origin_ns")?,
        lanes: lane("from")?..lane("until")?,
        version: u32::try_from(number("version")?).ok()?,
    })
}

impl Heir for TakeOver {
    fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    fn take(&mut self) -> Result<Legacy, String> {
        let wait = Duration::from_millis(HAND_OVER_MS);
        let lacks = || "the process that runs hands over what is none".to_owned();
        say(&self.channel, &json!({ "take": {} }), &[])?;
        let mut bound: Vec<Bound> = Vec::new();
        loop {
            let (said, rights) = answer(&self.channel, wait, "legacy")?;
            let sockets = |rights: Vec<OwnedFd>| rights.into_iter().map(TcpListener::from);
            if let Some(name) = said.get("beside").and_then(Value::as_str) {
                let what = Beside::ALL.into_iter().find(|what| what.name() == name);
                let configured = said.get("configured").and_then(address).ok_or_else(lacks)?;
                let socket = sockets(rights).next().ok_or_else(lacks)?;
                self.beside.push((what.ok_or_else(lacks)?, configured, socket));
                continue;
            }
            if let Some(configured) = said.get("configured").and_then(address) {
                let place = said.get("place").and_then(Value::as_u64).ok_or_else(lacks)?;
                let own = said.get("address").and_then(address).ok_or_else(lacks)?;
                let mut all = Vec::from_iter(sockets(rights));
                if place as usize + 1 == bound.len()
                    && let Some(last) = bound.pop()
                {
                    all.splice(0..0, last.into_sockets());
                }
                bound.push(Bound::new(configured, own, all));
                continue;
            }
            let version = said.get("version").and_then(Value::as_u64).ok_or_else(lacks)?;
            let version = u32::try_from(version).map_err(|_| lacks())?;
            let estate = match said.get("estate").filter(|estate| !estate.is_null()) {
                None => None,
                Some(left) => {
                    let relay = rights.into_iter().next().map(UnixStream::from);
                    Some((estate(left).ok_or_else(lacks)?, relay.ok_or_else(lacks)?))
                }
            };
            let pass = said.get("pass").and_then(Value::as_str).map(str::to_owned);
            return Ok(Legacy { version, estate, bound, pass });
        }
    }
}
