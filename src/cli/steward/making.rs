//! The landscape that comes of files and registry, proved before it is published.

use super::opening;
use super::{Made, Steward};
use crate::balance::epoch::{Epoch, State};
use crate::cli::check::notices;
use crate::cli::loading::{all_placed, compile_behind};
use crate::cli::proving::Proof;
use crate::cli::reloading::{Opened, published};
use crate::compiler::{Changed, touched, update};
use crate::config::registered::Kind;
use crate::io::clock::wall_ms;
use crate::proxy::gateway::Gateway;
use crate::proxy::identify::Identities;
use crate::proxy::landscape::Published;
use crate::proxy::secure::Upstreams;
use crate::registry::Key;
use crate::snapshot::{CapabilityId, Snapshot};
use crate::wire::fault::Fault;
use crate::wire::limits::PROOF_WORK_MAX;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The files' and the registry's parts of a landscape that is in force, or could be.
pub(super) struct Candidate {
    pub(super) snapshot: Snapshot,
    pub(super) proof: Proof,
    pub(super) upstreams: Upstreams,
    pub(super) identities: Arc<Identities>,
    /// What it takes to prove all of it.
    pub(super) spent: u64,
}

/// What a landscape must not lack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusing {
    /// Nothing: what an override let through ends, whatever has to hold besides.
    Nothing,
    /// What is not known to hold refuses it.
    Unproved,
}

impl Steward {
    /// What comes of files and registry as they are.
    pub(super) fn candidate(
        &self,
        gateway: &Gateway,
        refusing: Refusing,
    ) -> Result<Candidate, Vec<Fault>> {
        let (before, now_s) = (gateway.published(), wall_ms() / 1000);
        let configuration = self.assembly.configuration();
        let snapshot = compile_behind(&before.snapshot, configuration, &self.path, now_s)?;
        let upstreams = Upstreams::read(&configuration.services, Some(&before.upstreams));
        self.proved((snapshot, upstreams), None, (gateway, &before), refusing)
    }

    /// What comes of the landscape in force and of these changes: work for what they touch, where
    /// all of them are of services.
    pub(super) fn changed(
        &self,
        made: &[Made],
        gateway: &Gateway,
    ) -> Result<Candidate, Vec<Fault>> {
        let service = |made: &Made| made.before.key.kind == Kind::Service;
        if self.read_anew || !made.iter().all(service) {
            return self.candidate(gateway, Refusing::Unproved);
        }
        let before = gateway.published();
        let keys: BTreeSet<&Key> = made.iter().map(|made| &made.before.key).collect();
        let services = || keys.iter().map(|key| (key.id.as_str(), self.assembly.service(key)));
        let changes = services().map(|(id, service)| match service {
            Some(service) => Changed::Put(Arc::new(service.clone())),
            None => Changed::Removed(id.to_owned()),
        });
        let snapshot = update(&before.snapshot, &changes.collect::<Vec<_>>());
        let origins = &self.assembly.configuration().origins;
        let snapshot = snapshot.map_err(|problems| all_placed(problems, origins, &self.path))?;
        // Of all others the same was asked when the landscape in force was made.
        let ids = services().map(|(id, _)| id);
        let only = self.is_proved.then(|| touched(&before.snapshot, &snapshot, ids));
        let upstreams = before.upstreams.changed(services());
        self.proved((snapshot, upstreams), only, (gateway, &before), Refusing::Unproved)
    }

    /// A landscape that holds what has to hold, and how its services are reached.
    fn proved(
        &self,
        (snapshot, upstreams): (Snapshot, Result<Upstreams, Vec<String>>),
        only: Option<BTreeSet<CapabilityId>>,
        (gateway, before): (&Gateway, &Published),
        refusing: Refusing,
    ) -> Result<Candidate, Vec<Fault>> {
        let configuration = self.assembly.configuration();
        let mut proof = Proof::of_some(configuration, &snapshot, only.as_ref());
        let mut spent = proof.report.work;
        if only.is_some() {
            spent = spent.saturating_add(self.spent);
            // Of all together no more may be asked than the next start can prove.
            if spent > PROOF_WORK_MAX {
                proof = Proof::of(configuration, &snapshot);
                spent = proof.report.work;
            }
        }
        if proof.is_refused() && refusing == Refusing::Unproved {
            return Err(proof.faults(&self.place(gateway)));
        }
        let upstreams = upstreams.map_err(|told| {
            let shown = self.path.display().to_string();
            let fault = |what: String| Fault::of_file(&shown, what, "");
            told.into_iter().map(fault).collect::<Vec<_>>()
        })?;
        let known = self.known.as_ref().map(|(identities, _)| Arc::clone(identities));
        let identities = known.unwrap_or_else(|| Arc::clone(&before.identities));
        Ok(Candidate { snapshot, proof, upstreams, identities, spent })
    }

    /// What is to be published of a candidate, unless all of it is in force; and what is to be told
    /// of it then.
    pub(super) fn fresh(
        &mut self,
        candidate: Candidate,
        gateway: &Gateway,
    ) -> (Option<Published>, Vec<String>) {
        let Candidate { snapshot, proof, upstreams, identities, spent } = candidate;
        self.spent = spent;
        self.is_proved = !proof.is_refused();
        let named = snapshot.digest_text();
        let before = gateway.published();
        let epoch = self.epoch_of(&snapshot);
        let same_states = snapshot.services().all(|(service, _)| {
            epoch.state(service).drained() == before.epoch.state(service).drained()
        });
        let (opened, opened_before) = (self.opened(gateway), Opened::of(&before));
        let same = upstreams.is_same(&before.upstreams)
            && same_states
            && Arc::ptr_eq(&identities, &before.identities)
            && opened.is_same(&opened_before);
        if same && *before.snapshot.digest() == *snapshot.digest() {
            let read = self.read_anew;
            return (
                None,
                read.then(|| format!("read again, snapshot {named} as before"))
                    .into_iter()
                    .collect(),
            );
        }
        let services = snapshot.service_count();
        let quotas = before.quotas.followed_by(snapshot.quotas());
        // Once is enough to tell what has not changed.
        let known = notices(&before.snapshot);
        let mut told = notices(&snapshot);
        told.retain(|notice| !known.contains(notice));
        told.push(format!("{services} services, snapshot {named} from now on, {}", proof.cost()));
        told.extend(opening::told(&opened_before, &opened));
        (Some(published((snapshot, epoch), upstreams, quotas, (identities, opened))), told)
    }

    /// Who drains, for a snapshot's services.
    pub(super) fn epoch_of(&self, snapshot: &Snapshot) -> Epoch {
        let draining = self.assembly.draining();
        if draining.is_empty() {
            return Epoch::default();
        }
        let mut states = vec![State::default(); snapshot.service_places()];
        for id in draining.iter().filter_map(|id| snapshot.service_named(id)) {
            if let Some(state) = states.get_mut(id.0 as usize) {
                *state = State::new(true, true, 0);
            }
        }
        Epoch::new(0, states)
    }
}
