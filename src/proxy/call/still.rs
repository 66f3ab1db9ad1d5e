//! Whether a call that runs may go on.

use super::super::identify::known_by;
use super::super::landscape::Landscape;
use super::super::tenure::{Judged, Tenure};
use super::super::worker::Worker;
use super::{Call, Opening};
use crate::exchange::governed::principal_with;
use crate::exchange::refusal::{Reason, Refusal};
use crate::exchange::tenure::goes_on;
use crate::exchange::view::Inbound;
use crate::snapshot::ServiceId;

/// Judges a call to this service, as its landscape names it, by the landscape of this moment;
/// `None` where the trail does not say yet that the lane has adopted it.
pub fn judge(
    worker: &Worker,
    opening: &Opening,
    view: &impl Inbound,
    service: ServiceId,
) -> Option<Judged> {
    let landscape = worker.landscape();
    if !worker.lane.has_adopted(landscape.record_version()) {
        return None;
    }
    let refusal = still(worker, opening, (view, service), &landscape).err();
    Some(Judged { version: landscape.version, refusal })
}

fn still(
    worker: &Worker,
    opening: &Opening,
    (view, service): (&impl Inbound, ServiceId),
    landscape: &Landscape,
) -> Result<(), Refusal> {
    let before = &*opening.landscape;
    let (Some(caller), Some(service)) = (&opening.caller, before.snapshot.service(service)) else {
        return Err(Refusal::new(Reason::Internal, "nobody knows who calls whom"));
    };
    let principal = known_by(worker, (before, landscape), (&opening.ingress, caller), view)?;
    let governed = opening.governed.as_ref().filter(|governed| !governed.facts.is_empty());
    let known = governed.map(|governed| principal_with(&principal, &governed.facts));
    goes_on(&landscape.snapshot, view, known.as_ref().unwrap_or(&principal), &service.id)
}

impl Call {
    /// Whom it goes to.
    pub fn service(&self) -> ServiceId {
        self.aside.service
    }

    /// Whether it may go on.
    pub fn tenure(&self) -> &Tenure {
        &self.aside.tenure
    }

    /// The exchange's end because a later landscape does not admit it, once its answer had begun
    /// with this status: its one outcome.
    pub fn withdraw(self, status: u16, refusal: &Refusal) {
        self.recorded.withdraw(status, refusal.reason.number());
    }
}
