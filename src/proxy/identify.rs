//! Who calls: worked out once for each request, before anything else is asked about it.

use super::accept::Ingress;
use super::landscape::Landscape;
use super::worker::Worker;
use crate::exchange::refusal::Refusal;
use crate::exchange::view::Inbound;
use crate::snapshot::request::Principal;
use std::sync::Arc;

/// Who calls, and what shows it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub principal: Arc<Principal>,
    /// What shows it, as records have it.
    pub evidence: [u8; 16],
}

/// The caller of a request.
///
/// # Errors
/// The refusal, where a credential is missing or wrong.
pub fn identify(
    worker: &Worker,
    landscape: &Landscape,
    ingress: &Ingress,
    _view: &impl Inbound,
) -> Result<Caller, Refusal> {
    let address = ingress.peer.ip();
    Ok(Caller {
        principal: Arc::clone(landscape.snapshot.principal(address)),
        evidence: worker.evidence(address),
    })
}
