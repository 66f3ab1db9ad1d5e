//! Whether an exchange that was begun under one landscape may go on under a later one.
//!
//! What was decided is not decided again: nobody is chosen. The one service that the exchange runs
//! with must still be one that might be: the request leads to a capability that it offers, the
//! facts meet its demands, policy permits the caller to call it, and its promises entail what is
//! required. Load and health, which other service would be better, what hooks would say, and how
//! many calls quotas leave are asked of what begins, not of what runs.

use super::refusal::{Reason, Refusal};
use super::settle::{find_route, forbidden};
use super::view::Inbound;
use crate::balance::epoch::Epoch;
use crate::balance::flight;
use crate::certify::{Disagreement, admits};
use crate::decide::requirement::{self, HeaderNeeds};
use crate::decide::{Question, Stage, Verdict, decide};
use crate::snapshot::Snapshot;
use crate::snapshot::policy::By;
use crate::snapshot::request::Principal;
use crate::snapshot::vector::FactVector;

/// Whether this landscape admits that the request of this caller goes on to the service.
///
/// # Errors
/// What the caller would hear if it asked now.
pub fn goes_on(
    snapshot: &Snapshot,
    view: &impl Inbound,
    principal: &Principal,
    service: &str,
) -> Result<(), Refusal> {
    let route = find_route(snapshot, view)?;
    let Some(needs) = snapshot.needs(&route, principal.class) else {
        return Err(Refusal::new(Reason::Internal, "the route has no requirements' place"));
    };
    let Some(service) = snapshot.service_named(service) else {
        return Err(Refusal::new(Reason::Draining, "the service that it ran with has left"));
    };
    let header = stated(snapshot, view)?;
    let mut facts = FactVector::default();
    snapshot.facts(route.capability, view, principal, &mut facts).map_err(|fact| {
        let detail = format!("{} gives no `{}`: {}", fact.origin, fact.attribute, fact.what);
        Refusal::new(Reason::FactInvalid, detail)
    })?;
    let question = Question {
        capability: route.capability,
        route: route.route,
        caller: principal.class,
        needs,
        header: header.as_ref(),
        facts: &facts,
        seed: 0,
        tried: &[],
        flights: &flight::NONE,
    };
    let why = match admits(snapshot, &question, service) {
        Ok(()) => return Ok(()),
        Err(why) => why,
    };
    Err(match why {
        Disagreement::Permit | Disagreement::Ruling => {
            // Which rule it is the decision knows, where nobody at all is permitted.
            let by = match decide(snapshot, &Epoch::default(), &question) {
                Verdict::Deny(denial) if denial.stage == Stage::Permit => denial.rule,
                Verdict::Deny(_) | Verdict::Route(_) => By::Nobody,
            };
            match by {
                By::Nobody => {
                    Refusal::new(Reason::Forbidden, "policy does not permit that service any more")
                }
                by => forbidden(snapshot, by),
            }
        }
        Disagreement::Demand => {
            Refusal::new(Reason::DemandUnmet, "the service does not accept such requests any more")
        }
        Disagreement::Guarantee => Refusal::new(
            Reason::Unsatisfied,
            "the service that it ran with does not promise what is required any more",
        ),
        Disagreement::Offer
        | Disagreement::Health
        | Disagreement::Drain
        | Disagreement::Tried
        | Disagreement::Key => {
            let detail = "the service that it ran with does not offer that any more";
            Refusal::new(Reason::Draining, detail)
        }
    })
}

/// What the request's own header requires in the words of this landscape.
fn stated(snapshot: &Snapshot, view: &impl Inbound) -> Result<Option<HeaderNeeds>, Refusal> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    view.each_value("caio-require", &mut |value| lines.push(value.to_vec()));
    if lines.is_empty() {
        return Ok(None);
    }
    let text = lines.join(&b", "[..]);
    let conditions = requirement::read(snapshot, [text.as_slice()]).map_err(|complaint| {
        let detail = format!("CAIO-Require does not hold any more: {}", complaint.what);
        Refusal::new(Reason::RequirementInvalid, detail)
    })?;
    Ok(Some(HeaderNeeds::new(conditions)))
}
