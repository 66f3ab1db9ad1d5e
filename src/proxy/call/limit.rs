//! A request's way past quotas: those that need no decision before it is made and before hooks are
//! asked, the others once it is known where the call would go.

use super::super::identify::Caller;
use super::super::limits::{take, take_early};
use super::super::worker::Worker;
use super::{Chosen, Opening};
use crate::config::quota::{Decided, Subject};
use crate::exchange::obliged;
use crate::exchange::refusal::Refusal;
use std::rc::Rc;

/// Takes the call from the quotas it is for that need no decision.
pub(super) fn limit_early(worker: &Worker, opening: &mut Opening) -> Result<(), Refusal> {
    let quotas = &opening.landscape.quotas;
    match &opening.caller {
        Some(Caller { principal, .. }) if !quotas.is_empty() => {
            take_early(worker, quotas, opening.taken.get_or_insert_default(), &principal.id)
        }
        _ => Ok(()),
    }
}

/// Takes the call from the other quotas it is for, now that it is known where it would go.
pub(super) fn limit(
    worker: &Worker,
    opening: &mut Opening,
    chosen: &Chosen,
) -> Result<(), Refusal> {
    let (snapshot, quotas) = (&opening.landscape.snapshot, &opening.landscape.quotas);
    if quotas.is_empty() {
        return Ok(());
    }
    let Chosen { settled, .. } = chosen;
    let named = obliged::limits(snapshot.policies(), settled.certified.obliging());
    let Some(Caller { principal, .. }) = &opening.caller else { return Ok(()) };
    let decided = Decided {
        route: snapshot.route_entry(settled.route.route).map_or("", |route| &route.id),
        capability: snapshot.capability_entry(settled.route.capability).map_or("", |it| &it.name),
        service: snapshot.service(settled.certified.service()).map_or("", |service| &service.id),
        named: &named,
    };
    let subject = Subject { principal: &principal.id, decided: Some(decided) };
    let taken = opening.taken.get_or_insert_default();
    take(worker, quotas, taken, &subject)?;
    if let Some(told) = taken.told() {
        let mut amendments = opening.amendments.as_deref().cloned().unwrap_or_default();
        amendments.answered.retain(|(name, _)| !name.starts_with("ratelimit"));
        let fields = told.each().map(|(name, value)| (name.to_owned(), value.into()));
        amendments.answered.extend(fields);
        opening.amendments = Some(Rc::new(amendments));
    }
    Ok(())
}
