//! What keeps the keys of identities fresh, and what becomes of it.

use super::style::Output;
use crate::admin::keysets::{Event, Keeper, Tell};
use crate::proxy::identify::Identities;
use crate::wire::fault::quoted;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// The threads that read keys; they end when it is dropped.
pub(super) struct Keeping {
    _keeper: Keeper,
    events: Receiver<Event>,
}

impl Keeping {
    /// Reads what credentials are checked with, where it is in files here, and keeps it fresh.
    pub(super) fn start(identities: &Identities) -> io::Result<Self> {
        let (sender, events) = channel();
        let tell: Tell = Arc::new(move |event| {
            // Nobody listens any more while the process ends.
            let _ = sender.send(event);
        });
        let Identities { providers, keys, stale, .. } = identities;
        Ok(Self { _keeper: Keeper::start(providers, keys, stale, &tell)?, events })
    }

    /// Tells what became of it since the last time.
    pub(super) fn tell(&self, err: &mut Output<'_>) -> io::Result<()> {
        self.events.try_iter().try_for_each(|event| writeln!(err.writer, "caio: {}", told(&event)))
    }
}

fn told(event: &Event) -> String {
    let name = quoted(&event.identity);
    match (&event.outcome, event.usable) {
        (Ok(count), _) => format!("identity {name}: {count} keys"),
        (Err(why), true) => format!("identity {name} keeps its keys: {why}"),
        (Err(why), false) => format!("identity {name} has no keys, and is refused: {why}"),
    }
}
