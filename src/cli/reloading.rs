//! What a gateway is given to decide by, made of what was compiled, and what of it the files may
//! change.

use super::keeping::Keeping;
use super::style::Output;
use crate::balance::epoch::Epoch;
use crate::config::companion::Companion;
use crate::config::hook::Hook;
use crate::config::model::Configuration;
use crate::config::remote::Client;
use crate::config::settings::{Bounds, Settings};
use crate::proxy::gates::Gates;
use crate::proxy::identify::Identities;
use crate::proxy::landscape::Published;
use crate::proxy::limits::SharedQuotas;
use crate::proxy::partners::Partners;
use crate::proxy::secure::Upstreams;
use crate::snapshot::Snapshot;
use crate::wire::fault::quoted;
use std::io;
use std::sync::Arc;

/// The landscape that a process starts with: nothing of its quotas is used up.
pub(super) fn first(
    snapshot: Snapshot,
    epoch: Epoch,
    upstreams: Upstreams,
    identities: Arc<Identities>,
) -> Published {
    let quotas = SharedQuotas::new(snapshot.quotas());
    // Whoever starts has the listeners bound and the hooks read, last of all.
    let opened = Opened::default();
    published((snapshot, epoch), upstreams, quotas, (identities, opened))
}

/// A landscape with its epoch, the ways to its services, and what goes on from the one before.
pub(super) fn published(
    (snapshot, epoch): (Snapshot, Epoch),
    upstreams: Upstreams,
    quotas: SharedQuotas,
    (identities, opened): (Arc<Identities>, Opened),
) -> Published {
    let epoch = Arc::new(epoch.leveled(&snapshot));
    let (upstreams, quotas) = (Arc::new(upstreams), Arc::new(quotas));
    let Opened { gates, hooks, companions, bounds } = opened;
    let snapshot = Arc::new(snapshot);
    Published { snapshot, epoch, upstreams, quotas, identities, gates, hooks, companions, bounds }
}

/// What there is of a landscape beside what it decides by.
#[derive(Clone, Default)]
pub(super) struct Opened {
    /// Where callers come in.
    pub(super) gates: Arc<Gates>,
    /// Who is asked before a decision.
    pub(super) hooks: Arc<Partners<Hook>>,
    /// Who is told of it afterwards.
    pub(super) companions: Arc<Partners<Companion>>,
    /// What bounds calls.
    pub(super) bounds: Arc<Bounds>,
}

impl Opened {
    /// What is opened for one that was published.
    pub(super) fn of(published: &Published) -> Self {
        let Published { gates, hooks, companions, bounds, .. } = published.clone();
        Self { gates, hooks, companions, bounds }
    }

    /// Whether these are the very same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.gates, &other.gates)
            && Arc::ptr_eq(&self.hooks, &other.hooks)
            && Arc::ptr_eq(&self.companions, &other.companions)
            && Arc::ptr_eq(&self.bounds, &other.bounds)
    }
}

/// Who may ask for changes over TCP.
pub(super) fn clients(settings: &Settings) -> &[Client] {
    settings.admin.remote.as_ref().map_or(&[], |remote| &remote.clients)
}

/// Whether callers are known by the same, on listeners in the same order.
fn identifies_alike(one: &Configuration, other: &Configuration) -> bool {
    let orders = |of: &Configuration| {
        let listeners = of.settings.listeners.iter();
        listeners.map(|it| (it.address, it.identify.clone())).collect::<Vec<_>>()
    };
    one.settings.identities == other.settings.identities
        && one.vocabulary == other.vocabulary
        && orders(one) == orders(other)
}

/// Tells why services cannot be reached over TLS.
pub(super) fn tell_insecure(faults: &[String], err: &mut Output<'_>) -> io::Result<()> {
    faults.iter().try_for_each(|fault| writeln!(err.writer, "caio: {fault}"))
}

/// What other files make of how callers are known.
pub(super) enum Known {
    /// Nothing new.
    AsBefore,
    /// These from now on, and what keeps their keys fresh.
    Anew(Arc<Identities>, Keeping),
    /// It cannot be.
    Impossible,
}

impl Known {
    /// What the files make of how callers are known; told why, where that cannot be.
    pub(super) fn of(
        (settings, now): (&Settings, &Configuration),
        next: &Configuration,
        before: &Identities,
        err: &mut Output<'_>,
    ) -> io::Result<Self> {
        if settings.assertion != next.settings.assertion {
            // The rules that were read with it may set the header that is still signed.
            let what = "`[assertion]` has changed, which only a process that takes over can do";
            writeln!(err.writer, "caio: {what}")?;
            return Ok(Self::Impossible);
        }
        if identifies_alike(now, next) {
            return Ok(Self::AsBefore);
        }
        let identities = before.followed_by(&next.settings, &next.vocabulary);
        let identities = Arc::new(identities);
        let keeping = Keeping::start(&identities)?;
        keeping.tell(err)?;
        if let Some(name) = identities.unread() {
            writeln!(err.writer, "caio: the keys of identity {} cannot be read", quoted(name))?;
            return Ok(Self::Impossible);
        }
        Ok(Self::Anew(identities, keeping))
    }
}
