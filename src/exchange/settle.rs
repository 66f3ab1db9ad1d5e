//! From a request's head to a certified decision, or to the refusal that says why not.
//!
//! Pure: everything that answers is an argument. The order is fixed: route, caller's requirements,
//! stated requirements, facts, decision, re-check.

use super::refusal::{Reason, Refusal, Stage as RefusedAt};
use super::view::Inbound;
use crate::balance::epoch::Epoch;
use crate::certify::{Certified, certify};
use crate::decide::{Question, Stage, Verdict, decide};
use crate::snapshot::request::Principal;
use crate::snapshot::vector::FactVector;
use crate::snapshot::{NoRoute, RouteMatch, ServiceId, Snapshot};
use crate::wire::field::Kind;

/// What one attempt of a request asks.
pub struct Inquiry<'a> {
    /// Who calls.
    pub principal: &'a Principal,
    /// The request's id.
    pub request_id: &'a [u8],
    /// Services that earlier attempts went to.
    pub tried: &'a [ServiceId],
    /// Milliseconds, for the bound on new requirement texts.
    pub now_ms: u64,
}

/// What is kept between requests so that none allocates.
#[derive(Default)]
pub struct Scratch {
    facts: FactVector,
    require: Vec<u8>,
}

/// A certified decision and the route it was made on.
pub struct Settled {
    /// Evidence that the choice was confirmed by other means.
    pub certified: Certified,
    /// The route.
    pub route: RouteMatch,
}

/// Decides one attempt.
///
/// # Errors
/// The refusal; nothing may be forwarded then.
pub fn settle(
    snapshot: &Snapshot,
    epoch: &Epoch,
    view: &impl Inbound,
    inquiry: &Inquiry<'_>,
    scratch: &mut Scratch,
) -> Result<Settled, Refusal> {
    let route = find_route(snapshot, view)?;
    let Some(needs) = snapshot.needs(&route, inquiry.principal.class) else {
        return Err(Refusal::new(Reason::Internal, "the route has no requirements' place"));
    };
    let Scratch { facts, require } = scratch;
    let header = stated(snapshot, view, inquiry, require)?;
    snapshot.facts(route.capability, view, inquiry.principal, facts).map_err(|fact| {
        let detail = format!("{} gives no `{}`: {}", fact.origin, fact.attribute, fact.what);
        Refusal::new(Reason::FactInvalid, detail)
    })?;
    let question = Question {
        capability: route.capability,
        needs,
        header,
        facts,
        seed: snapshot.seed(view, inquiry.principal, inquiry.request_id),
        tried: inquiry.tried,
    };
    match decide(snapshot, epoch, &question) {
        Verdict::Route(choice) => match certify(snapshot, epoch, &question, &choice) {
            Ok(certified) => Ok(Settled { certified, route }),
            Err(_) => Err(Refusal::new(
                Reason::Disagreement,
                "the decision and its independent re-check differ; nothing was forwarded",
            )),
        },
        Verdict::Deny(denial) => Err(denied(snapshot, epoch, &question, denial.stage)),
    }
}

fn find_route(snapshot: &Snapshot, view: &impl Inbound) -> Result<RouteMatch, Refusal> {
    let mut named = 0;
    view.each_value("caio-capability", &mut |_| named += 1);
    let found = match named {
        0 => snapshot.route(view),
        _ => match view.header("caio-capability") {
            Some(capability) => snapshot.route_to(capability, view),
            None => {
                let detail = "CAIO-Capability must be given once, as text";
                return Err(Refusal::new(Reason::RequirementInvalid, detail));
            }
        },
    };
    found.map_err(|missing| match missing {
        NoRoute::Unknown => Refusal::new(
            Reason::RouteUnknown,
            format!("no contract offers and no route knows `{}`", shown(view.path())),
        ),
        NoRoute::Method { allowed } => {
            let allow = allowed.join(", ");
            let detail = format!("`{}` is offered with {allow}", shown(view.path()));
            Refusal { allow: Some(allow), ..Refusal::new(Reason::RouteMethod, detail) }
        }
        NoRoute::Capability => Refusal::new(
            Reason::CapabilityUnknown,
            "CAIO-Capability names a capability that no contract offers",
        ),
    })
}

/// What the request's own header requires, parsed once per distinct text.
fn stated(
    snapshot: &Snapshot,
    view: &impl Inbound,
    inquiry: &Inquiry<'_>,
    text: &mut Vec<u8>,
) -> Result<Option<&'static crate::decide::HeaderNeeds>, Refusal> {
    if view.only(Kind::CaioRequire, "caio-require").is_none() && view.header("caio-require").is_none()
    {
        let mut any = false;
        view.each_value("caio-require", &mut |_| any = true);
        if !any {
            return Ok(None);
        }
    }
    text.clear();
    view.each_value("caio-require", &mut |value| {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(value);
    });
    let _ = (snapshot, inquiry);
    Err(Refusal::new(Reason::RequirementInvalid, "CAIO-Require is not read yet"))
}

fn denied(
    snapshot: &Snapshot,
    epoch: &Epoch,
    question: &Question<'_>,
    stage: Stage,
) -> Refusal {
    let reason = match stage {
        Stage::Offer => Reason::CapabilityUnknown,
        Stage::Demand => Reason::DemandUnmet,
        Stage::Permit => Reason::Forbidden,
        Stage::Guarantee => Reason::Unsatisfied,
        Stage::Health => Reason::Unhealthy,
        Stage::Drain => Reason::Draining,
        Stage::Tried => Reason::Exhausted,
    };
    let _ = (snapshot, epoch, question);
    let closest: Option<(String, String)> = None;
    let detail = match &closest {
        Some((service, fails)) => {
            format!("at stage `{}` nobody was left; closest is `{service}`, which fails: {fails}",
                stage.name())
        }
        None => format!("at stage `{}` nobody was left", stage.name()),
    };
    Refusal {
        stage: Some(RefusedAt { name: stage.name(), closest }),
        ..Refusal::new(reason, detail)
    }
}

/// A path for a person: cut, so that a refusal stays small whatever was sent.
fn shown(path: &str) -> &str {
    const SHOWN_BYTES_MAX: usize = 200;
    path.get(..SHOWN_BYTES_MAX).unwrap_or(path)
}
