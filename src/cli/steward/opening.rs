//! What the files say of listeners, hooks, companions and bounds: everything they need is to be had
//! before any of it holds.

use super::Steward;
use crate::cli::reloading::Opened;
use crate::config::fixed::of_entry;
use crate::proxy::gateway::Gateway;
use crate::wire::fault::Fault;
use std::sync::Arc;

impl Steward {
    /// What is opened for the landscape that is in force, or on its way.
    pub(super) fn opened(&self, gateway: &Gateway) -> Opened {
        self.opened.clone().unwrap_or_else(|| Opened::of(&gateway.published()))
    }

    /// Has what the files' text says opened, where that is another than before; the last of all
    /// that may fail, because callers come to a socket that is bound.
    pub(super) fn open(&mut self, text: &str, gateway: &Gateway) -> Result<(), Vec<Fault>> {
        let settings = &self.assembly.configuration().settings;
        let fault = |entry: (&str, usize, &str), what: String, mend: &str| {
            vec![of_entry(&self.path, text, entry, what, mend)]
        };
        let before = self.opened(gateway);
        let hooks = gateway.reach(&before.hooks, &settings.hooks.all);
        let hooks = hooks.map_err(|(place, what)| fault(("hooks", place, "tls"), what, ""))?;
        let companions = gateway.reach(&before.companions, &settings.companions);
        let companions =
            companions.map_err(|(place, what)| fault(("companions", place, "tls"), what, ""))?;
        let gates = gateway.open(&before.gates, &settings.listeners);
        let gates = gates.map_err(|it| fault(("listeners", it.place, it.key), it.what, it.mend))?;
        let bounds = settings.bounds();
        let same = *before.bounds == bounds;
        let bounds = if same { before.bounds } else { Arc::new(bounds) };
        self.opened = Some(Opened { gates, hooks, companions, bounds });
        Ok(())
    }
}

/// What becomes of addresses, a line for each that is new or gone.
pub(super) fn told(before: &Opened, now: &Opened) -> Vec<String> {
    let [before, now] = [before, now].map(|it| it.gates.addresses());
    let fresh = now.iter().filter(|it| !before.contains(it));
    let gone = before.iter().filter(|it| !now.contains(it));
    let fresh = fresh.map(|address| format!("listening on {address}"));
    fresh.chain(gone.map(|address| format!("not listening on {address} any more"))).collect()
}
