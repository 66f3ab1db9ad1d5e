//! A request's way past governance hooks: after its caller is known and before it is decided on.

use super::super::hooks;
use super::super::worker::Worker;
use super::{Opening, fill, limit_early, recognize, request_drops};
use crate::exchange::amendments::Amendments;
use crate::exchange::governed::Governed;
use crate::exchange::refusal::{Reason, Refusal};
use crate::exchange::settle::find_route;
use crate::exchange::view::Inbound;
use crate::governance::question::{Described, Fields, Whole};
use crate::snapshot::RouteId;
use crate::wire::field::classify;
use crate::wire::forwarded::Sender;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

impl Opening {
    /// Who calls, once that is known.
    pub fn principal(&self) -> Option<&str> {
        self.caller.as_ref().map(|caller| &*caller.principal.id)
    }
}

/// The route whose hooks are to be asked before the request is decided on; `None` where there are
/// none, where they were asked, or where the request is refused before.
pub fn hooked(worker: &Worker, opening: &mut Opening, view: &impl Inbound) -> Option<RouteId> {
    let asks = !opening.landscape.hooks.is_empty();
    if !asks || opening.governed.is_some() || opening.attempt > 0 {
        return None;
    }
    // What is refused whatever they say is nothing to ask them about.
    recognize(worker, opening, view).ok()?;
    limit_early(worker, opening).ok()?;
    let snapshot = &opening.landscape.snapshot;
    let route = find_route(snapshot, view).ok()?.route;
    (!snapshot.hooks(route).is_empty()).then_some(route)
}

/// How often the hooks of one request are asked because the landscape changed meanwhile.
const ASKED_MAX: usize = 2;

/// Asks the hooks of the request's route; what they say goes into the decision, and so does that
/// they could not be asked. `body` is the beginning of the request's body, as far as it was read.
///
/// What is decided is decided by the worker's newest landscape: where that has changed while they
/// were asked, nothing they said counts, and they are asked anew.
pub async fn govern(
    worker: &Rc<Worker>,
    opening: &mut Opening,
    view: &impl Inbound,
    body: Option<(&[u8], Whole)>,
) {
    for _ in 0..ASKED_MAX {
        // Pinned now: the landscape may be another than when the body was read.
        fill(worker, opening, view);
        let Some(route) = hooked(worker, opening, view) else { return };
        let governed = match ask(worker, opening, view, (route, body)).await {
            Ok(governed) => governed,
            Err(refusal) => unasked(route, refusal),
        };
        if worker.landscape().version == opening.landscape.version {
            let mut all =
                opening.amendments.take().map_or_else(Amendments::default, Rc::unwrap_or_clone);
            // Also where they change nothing: that they had a say is an amendment.
            all.join_governed(&governed.amendments);
            opening.amendments = Some(Rc::new(all));
            opening.governed = Some(Box::new(governed));
            return;
        }
        // The caller is forgotten with it, because the landscape says whom it stands for.
        opening.filled = false;
    }
    fill(worker, opening, view);
    if let Some(route) = hooked(worker, opening, view) {
        let detail = "the landscape changed each time that governance was asked";
        let refusal = Refusal::new(Reason::GovernanceUnavailable, detail);
        opening.governed = Some(Box::new(unasked(route, refusal)));
    }
}

/// The refusal of a request that hooks said nothing of.
fn unasked(route: RouteId, refusal: Refusal) -> Governed {
    let (asked, facts, amendments) = (Vec::new(), Vec::new(), Amendments::default());
    Governed { route, asked, facts, amendments, refusal: Some(refusal) }
}

/// Asks the hooks of a route under the landscape that is pinned.
///
/// # Errors
/// A field of the request is no text, and hooks would be asked about another request; or less was
/// read of its body than they are to see.
async fn ask(
    worker: &Rc<Worker>,
    opening: &Opening,
    view: &impl Inbound,
    (route, body): (RouteId, Option<(&[u8], Whole)>),
) -> Result<Governed, Refusal> {
    let landscape = Rc::clone(&opening.landscape);
    let wanted = hooks::wanted(&landscape, route);
    if !wanted.is_met(body, view.body_bytes()) {
        let detail = "governance is to see another part of the body than is there for it";
        return Err(Refusal::new(Reason::GovernanceUnavailable, detail));
    }
    let fields = described_fields(opening, view)?;
    let target = match view.query() {
        Some(query) => Cow::Owned(format!("{}?{query}", view.path())),
        None => Cow::Borrowed(view.path()),
    };
    let additions = Rc::clone(&opening.additions);
    let principal = opening.caller.as_ref().map(|caller| Arc::clone(&caller.principal.id));
    let ingress = Rc::clone(&opening.ingress);
    let secure = ingress.secure.as_ref();
    let described = Described {
        id: std::str::from_utf8(additions.request_id()).unwrap_or_default(),
        wall_ms: opening.arrival.wall_ms,
        method: view.method(),
        target: &target,
        authority: std::str::from_utf8(view.authority()).unwrap_or_default(),
        protocol: match opening.arrival.version {
            "1.0" => "HTTP/1.0",
            "1.1" => "HTTP/1.1",
            _ => "HTTP/2",
        },
        bytes: view.body_bytes(),
        peer: Some(ingress.peer),
        local: ingress.local,
        principal: principal.as_deref().unwrap_or_default(),
        scheme: if secure.is_some() { "https" } else { "http" },
        certificate: secure.and_then(|secure| secure.certificate()).map(|own| &**own),
        sni: secure.and_then(|secure| secure.name.as_deref()),
        fields: &fields,
        body,
    };
    let before = opening.amendments.as_deref();
    Ok(hooks::ask(worker, &landscape, route, &described, before).await)
}

/// The fields as the service would get them, had nobody changed them: what only the gateway may say
/// is what the gateway says.
fn described_fields(opening: &Opening, view: &impl Inbound) -> Result<Fields, Refusal> {
    let drops = request_drops(opening.arrival.sender == Sender::Trusted);
    let mut fields = Fields::default();
    let mut refused = false;
    view.each_field(&mut |name, value| {
        if !drops.contains(classify(name)) {
            refused |= fields.add(name, value).is_err();
        }
    });
    for (name, value) in opening.additions.request().iter() {
        refused |= fields.add(name, value).is_err();
    }
    if refused {
        let detail = "a header that governance is asked about is not text";
        return Err(Refusal::new(Reason::HeaderInvalid, detail));
    }
    Ok(fields)
}
