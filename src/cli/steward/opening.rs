//! The listeners that the files say: everything they need is to be had before any of it holds.

use super::Steward;
use crate::config::fixed::of_listener;
use crate::proxy::gates::Gates;
use crate::proxy::gateway::Gateway;
use crate::wire::fault::Fault;
use std::sync::Arc;

impl Steward {
    /// The listeners of the landscape that is in force, or on its way.
    pub(super) fn gates(&self, gateway: &Gateway) -> Arc<Gates> {
        self.gates.clone().unwrap_or_else(|| gateway.gates())
    }

    /// Has the listeners of the files' text opened, where they are others than before; the last of
    /// all that may fail, because callers come to a socket that is bound.
    pub(super) fn open(&mut self, text: &str, gateway: &Gateway) -> Result<(), Vec<Fault>> {
        let listeners = &self.assembly.configuration().settings.listeners;
        match gateway.open(&self.gates(gateway), listeners) {
            Ok(gates) => {
                self.gates = Some(gates);
                Ok(())
            }
            Err(it) => {
                Err(vec![of_listener(&self.path, text, (it.place, it.key), it.what, it.mend)])
            }
        }
    }
}

/// What becomes of addresses, a line for each that is new or gone.
pub(super) fn told(before: &Gates, now: &Gates) -> Vec<String> {
    let [before, now] = [before.addresses(), now.addresses()];
    let fresh = now.iter().filter(|it| !before.contains(it));
    let gone = before.iter().filter(|it| !now.contains(it));
    let fresh = fresh.map(|address| format!("listening on {address}"));
    fresh.chain(gone.map(|address| format!("not listening on {address} any more"))).collect()
}
