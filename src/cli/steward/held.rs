//! Keeping everything as it is while another process gets ready to take over: it must find what
//! is registered, and nothing may be acknowledged that it does not see.

use super::notes::renewed;
use super::{Steward, TICK};
use crate::admin::desk::Answer;
use crate::admin::store::{FileStore, Store};
use crate::cli::style::Output;
use crate::io::process;
use crate::proxy::gateway::Gateway;
use crate::wire::limits::ASKS_WAITING_MAX;
use std::io;
use std::sync::mpsc::RecvTimeoutError;

/// Whether changes are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Held {
    /// They are.
    #[default]
    Not,
    /// Those that are on their way are brought to their end first.
    Soon,
    /// None is, and the store is another process's to open.
    Now,
    /// They are again, once the store is open.
    NoMore,
}

impl Steward {
    /// Takes no changes from now on: whoever asks waits, for as long as anybody waits for one.
    pub(in crate::cli) fn hold(&mut self) {
        self.held = Held::Soon;
    }

    /// Whether nothing changes any more, and the store is closed.
    pub(in crate::cli) fn is_held(&self) -> bool {
        self.held == Held::Now
    }

    /// Takes changes again.
    pub(in crate::cli) fn resume(&mut self) {
        if self.held != Held::Not {
            self.held = Held::NoMore;
        }
    }

    /// Whether no changes are to be taken, while nothing is on its way.
    pub(super) fn holds(&mut self, gateway: &Gateway, err: &mut Output<'_>) -> io::Result<bool> {
        match self.held {
            Held::Not => return Ok(false),
            Held::Soon => {
                // The other process knows of none that was answered here.
                let taken = self.view.take_renewals(u64::MAX);
                if !taken.is_empty() {
                    gateway.note(renewed(taken, (self.registry.revision(), gateway.version())));
                    return Ok(true);
                }
                self.store = None;
                self.held = Held::Now;
            }
            // What was seen of services counts meanwhile; who asks for a change waits.
            Held::Now => {
                match self.asks.recv_timeout(TICK / 10) {
                    Ok(coming) => {
                        let ask = self.heard.ask_of(coming);
                        let (late, kept) = match self.follow_up.len() < ASKS_WAITING_MAX {
                            true => (None, ask),
                            false => (ask, None),
                        };
                        self.follow_up.extend(kept);
                        if let Some(ask) = late {
                            let what = "more changes wait than can be taken at once";
                            let _ = ask.reply.send(Answer::unavailable("busy", what));
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => process::pause(TICK / 10),
                }
                self.heard.tell(err)?;
            }
            Held::NoMore => {
                let reopened = self.settings.registry.directory.as_deref().map(FileStore::open);
                match reopened.transpose() {
                    Ok(store) => {
                        self.store = store.map(|store| Box::new(store) as Box<dyn Store>);
                        self.held = Held::Not;
                        return Ok(false);
                    }
                    Err(error) => {
                        writeln!(err.writer, "caio: {error}; trying again")?;
                        process::pause(TICK);
                    }
                }
            }
        }
        Ok(true)
    }
}
