//! The landscape a worker has adopted: contracts and rules, load and health, under one version.

use super::entrances::Passage;
use super::gates::Gates;
use super::hooks::Hooks;
use super::identify::{Identifier, Identities, withholding};
use super::limits::{Quotas, SharedQuotas};
use super::partners::Partners;
use super::secure::Upstreams;
use crate::balance::epoch::Epoch;
use crate::balance::standing::unknown;
use crate::config::companion::Companion;
use crate::config::hook::Hook;
use crate::config::settings::Bounds;
use crate::exchange::amendments::Amendments;
use crate::identity::Order;
use crate::io::publication::Numbered;
use crate::snapshot::{ServiceEntry, Snapshot};
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

/// What is published to all workers at once.
#[derive(Clone)]
pub struct Published {
    /// The frozen contracts and rules.
    pub snapshot: Arc<Snapshot>,
    /// The frozen load and health.
    pub epoch: Arc<Epoch>,
    /// How its services are reached over TLS.
    pub upstreams: Arc<Upstreams>,
    /// What workers count of its quotas together.
    pub quotas: Arc<SharedQuotas>,
    /// What callers are known by.
    pub identities: Arc<Identities>,
    /// The listeners, in the order in which the identities have them.
    pub gates: Arc<Gates>,
    /// The hooks, and how they are reached.
    pub hooks: Arc<Partners<Hook>>,
    /// The companions, likewise.
    pub companions: Arc<Partners<Companion>>,
    /// What bounds calls.
    pub bounds: Arc<Bounds>,
}

/// What is a worker's own of a landscape.
pub struct Own {
    /// Its part of the quotas.
    pub quotas: Quotas,
    /// What it remembers of callers.
    pub identifier: Rc<Identifier>,
    /// What it remembers of hooks.
    pub hooks: Rc<Hooks>,
}

impl Published {
    /// Takes over what was known of endpoints under the landscape before; of the others what is
    /// said of them before anybody looked. What leaves, leaves all the same.
    pub fn continue_from(&mut self, before: Option<&Self>) {
        let care = |service: &ServiceEntry| unknown(self.upstreams.care(&service.id));
        let nothing = Epoch::default();
        let (epoch, from) = match before {
            Some(before) => (&before.epoch, &before.snapshot),
            None => (&Arc::new(nothing), &self.snapshot),
        };
        let epoch = epoch.carried(from, &self.snapshot, care).leaving_as(&self.epoch);
        self.epoch = Arc::new(epoch.leveled(&self.snapshot));
    }
}

/// A worker's own hold on what was published.
pub struct Landscape {
    /// The frozen contracts and rules.
    pub snapshot: Arc<Snapshot>,
    /// The frozen load and health.
    pub epoch: Arc<Epoch>,
    /// How its services are reached over TLS.
    pub upstreams: Arc<Upstreams>,
    /// How many calls there may be.
    pub quotas: Quotas,
    /// What callers are known by.
    pub identities: Arc<Identities>,
    /// What the worker remembers of callers.
    pub identifier: Rc<Identifier>,
    /// Who is asked before a decision.
    pub hooks: Rc<Hooks>,
    /// The numbers of the listeners, in the order in which the identities have them.
    gates: Vec<u32>,
    /// The version under which it was published.
    pub version: u64,
    suffix: Vec<u8>,
}

impl Landscape {
    /// Takes hold of what is published, with what is the worker's own of it, in the process of this
    /// number in the trail.
    pub fn adopt(newest: &Numbered<Published>, own: Own, boot: Option<u64>) -> Self {
        let Numbered { number: version, value: published } = newest;
        let digest = published.snapshot.digest_text();
        let short = digest.get(..DIGEST_DIGITS).unwrap_or(&digest);
        let boot = boot.map(|boot| format!("; boot={boot}")).unwrap_or_default();
        Self {
            suffix: format!("{boot}; snapshot={short}; service=").into_bytes(),
            snapshot: Arc::clone(&published.snapshot),
            epoch: Arc::clone(&published.epoch),
            upstreams: Arc::clone(&published.upstreams),
            quotas: own.quotas,
            identities: Arc::clone(&published.identities),
            identifier: own.identifier,
            hooks: own.hooks,
            gates: published.gates.iter().map(|(gate, _)| gate.number).collect(),
            version: *version,
        }
    }

    /// The version as records have it.
    pub fn record_version(&self) -> u32 {
        u32::try_from(self.version).unwrap_or(u32::MAX)
    }

    /// In which order callers who came by this listener are identified. Of one that is gone it is
    /// what was said of it last, by the identities of now.
    pub fn order(&self, passage: &Passage) -> Cow<'_, Order> {
        let place = self.place(passage).and_then(|place| self.identities.orders.get(place));
        place.map_or_else(|| Cow::Owned(self.order_left(passage)), Cow::Borrowed)
    }

    /// What is to be changed in every exchange of this listener.
    pub fn amendments(&self, passage: &Passage) -> Option<Rc<Amendments>> {
        match self.place(passage) {
            Some(place) => self.identifier.amendments(place),
            None => withholding(&self.identities.providers.withheld(&self.order_left(passage))),
        }
    }

    fn place(&self, passage: &Passage) -> Option<usize> {
        self.gates.iter().position(|number| *number == passage.number())
    }

    #[cold]
    fn order_left(&self, passage: &Passage) -> Order {
        passage.with(|listener| self.identities.providers.order(&listener.identify))
    }

    /// What stands between a decision's id and its service in `CAIO-Decision`.
    pub fn decision_suffix(&self) -> &[u8] {
        &self.suffix
    }
}

/// Digits of the snapshot's digest in `CAIO-Decision`: 64 bits tell landscapes apart, the whole
/// digest is in the trail.
const DIGEST_DIGITS: usize = 16;
