//! A request's way past quotas: those that need no decision before it is made and before hooks are
//! asked, the others once it is known where the call would go.

use super::super::identify::Caller;
use super::super::limits::{Quotas, Taken, take, take_besides, take_early};
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
    let mut taken = opening.taken.take();
    let taking = with_subject(opening, chosen, |quotas, subject| {
        take(worker, quotas, taken.get_or_insert_default(), subject)
    });
    opening.taken = taken;
    taking.unwrap_or(Ok(()))?;
    if let Some(told) = opening.taken.as_ref().and_then(|taken| taken.told()) {
        let mut amendments = opening.amendments.as_deref().cloned().unwrap_or_default();
        amendments.answered.retain(|(name, _)| !name.starts_with("ratelimit"));
        let fields = told.each().map(|(name, value)| (name.to_owned(), value.into()));
        amendments.answered.extend(fields);
        opening.amendments = Some(Rc::new(amendments));
    }
    Ok(())
}

/// What a further attempt that goes there takes of quotas besides; `None` where one of them has no
/// room for it.
pub(super) fn besides(opening: &Opening, chosen: &Chosen) -> Option<Taken> {
    let none = Taken::default();
    let known = opening.taken.as_deref().unwrap_or(&none);
    let taken =
        with_subject(opening, chosen, |quotas, subject| take_besides(quotas, known, subject));
    taken.unwrap_or_else(|| Some(Taken::default()))
}

/// What quotas are asked of a call that goes there; `None` where there are none.
fn with_subject<T>(
    opening: &Opening,
    chosen: &Chosen,
    ask: impl FnOnce(&Quotas, &Subject<'_>) -> T,
) -> Option<T> {
    let (snapshot, quotas) = (&opening.landscape.snapshot, &opening.landscape.quotas);
    if quotas.is_empty() {
        return None;
    }
    let Chosen { settled, .. } = chosen;
    let named = obliged::limits(snapshot.policies(), settled.certified.obliging());
    let Caller { principal, .. } = opening.caller.as_ref()?;
    let decided = Decided {
        route: snapshot.route_entry(settled.route.route).map_or("", |route| &route.id),
        capability: snapshot.capability_entry(settled.route.capability).map_or("", |it| &it.name),
        service: snapshot.service(settled.certified.service()).map_or("", |service| &service.id),
        named: &named,
    };
    let subject = Subject { principal: &principal.id, decided: Some(decided) };
    Some(ask(quotas, &subject))
}
