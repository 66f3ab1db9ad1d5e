//! From a decision to a connection: which endpoint of the chosen service, and what follows where it
//! cannot be reached.

use super::{Begun, Call, Failed, Opening};
use crate::balance::endpoint::choose;
use crate::exchange::refusal::{Reason, Refusal};
use crate::proxy::counters::Again;
use crate::proxy::meters::Running;
use crate::proxy::pool::{Connection, Endpoint, NoConnection};
use crate::proxy::worker::Worker;
use std::rc::Rc;

/// What the endpoint follows from, and then the endpoint.
pub(super) struct Reach {
    seed: u64,
    attempt: u8,
    chosen: Option<(Rc<Endpoint>, Running)>,
    /// `u64::MAX` where an attempt has as long as any answer.
    per_try_ms: u64,
    /// When another attempt is to be made beside it, if ever.
    hedge_ms: Option<u64>,
    /// The endpoint has as many calls in flight as it may.
    beyond: bool,
}

impl Reach {
    /// Of an attempt of this number with this place in the rendezvous order.
    pub(super) fn new(seed: u64, attempt: u8) -> Self {
        Self { seed, attempt, chosen: None, per_try_ms: u64::MAX, hedge_ms: None, beyond: false }
    }

    /// Whether the endpoint is not to be burdened with this call.
    pub(super) fn is_beyond(&self) -> bool {
        self.beyond
    }

    /// How long the attempt is waited for, where another may follow.
    pub(super) fn per_try_ms(&self) -> u64 {
        self.per_try_ms
    }

    /// Milliseconds after which another attempt is to be made beside it.
    pub(super) fn hedge_ms(&self) -> Option<u64> {
        self.hedge_ms
    }

    /// The call that is counted, if it has begun.
    pub(super) fn into_running(self) -> Option<Running> {
        self.chosen.map(|(_, running)| running)
    }
}

impl Begun {
    /// The endpoint that follows from the decision; from here on the call is counted there.
    pub fn endpoint(&mut self, worker: &Worker, opening: &Opening) -> Option<Rc<Endpoint>> {
        if let Some((endpoint, _)) = &self.reach.chosen {
            return Some(Rc::clone(endpoint));
        }
        let landscape = &opening.landscape;
        let id = self.certified.service();
        let service = landscape.snapshot.service(id)?;
        let Reach { seed, attempt, .. } = self.reach;
        let states = landscape.epoch.endpoints(id);
        let place = choose(states, service.endpoints.len(), seed, attempt)?;
        let address = *service.endpoints.get(place)?;
        let towards = match service.tls {
            None => None,
            // Without it the service is not reached at all, rather than in the clear.
            Some(_) => Some(landscape.upstreams.get(&service.id)?),
        };
        self.recorded.tell(|told| told.endpoint(place));
        let care = landscape.upstreams.care(&service.id);
        self.reach.per_try_ms = opening.per_try_ms(&care.retry).unwrap_or(u64::MAX);
        self.reach.hedge_ms = opening.hedge_ms(&care.retry);
        let endpoint = worker.pool.endpoint(address, towards);
        let open_max = worker.bounds().limits.upstream_connections_per_endpoint_max;
        endpoint.bound(&care.breaker, open_max);
        let running = Running::begin(&endpoint.metered(&worker.meters, &service.id));
        self.reach.beyond = running.is_beyond(care.breaker.max_requests);
        self.reach.chosen = Some((Rc::clone(&endpoint), running));
        Some(endpoint)
    }

    /// Whether the endpoint has as many calls in flight as it may.
    pub fn is_beyond(&self) -> bool {
        self.reach.is_beyond()
    }

    /// Counts that no connection came about.
    pub(super) fn counts(&self, worker: &Worker, opening: &Opening, why: &NoConnection) {
        if matches!(why, NoConnection::Full) {
            let service = opening.landscape.snapshot.service(self.certified.service());
            service.iter().for_each(|service| worker.counters.broken.add(&service.id, 1));
        } else {
            self.reach.chosen.iter().for_each(|(_, running)| running.unconnected());
        }
    }

    /// What follows from an endpoint that cannot be reached: nothing was sent, so another service
    /// may be asked.
    pub fn unreachable(self, worker: &Worker, opening: &mut Opening, why: &NoConnection) -> Failed {
        opening.was_full(matches!(why, NoConnection::Full));
        self.counts(worker, opening, why);
        let landscape = Rc::clone(&opening.landscape);
        let service = landscape.snapshot.service(self.certified.service());
        let retry = service.map(|service| &landscape.upstreams.care(&service.id).retry);
        if let Some(retry) = retry.filter(|retry| retry.connect_failure)
            && opening.begins_again(worker, retry)
        {
            worker.counters.retries.add(Again::Unreachable, 1);
            return Failed::Reroute;
        }
        let refusal = match why {
            NoConnection::Full => {
                Refusal::new(Reason::Overload, "the service has its most connections open")
            }
            NoConnection::Timeout => {
                Refusal::new(Reason::UpstreamConnect, "the service did not accept in time")
            }
            NoConnection::Refused(_) => {
                Refusal::new(Reason::UpstreamConnect, "the service refused the connection")
            }
            NoConnection::Insecure => {
                Refusal::new(Reason::UpstreamTls, "no secure connection to the service came about")
            }
        };
        self.refuse(refusal)
    }
}

/// An idle HTTP/1.1 connection for the decision; the decision back where there is none.
///
/// # Errors
/// The decision, for [`connect`].
#[expect(clippy::result_large_err, reason = "a box would be an allocation for each new connection")]
pub fn idle(worker: &Worker, mut begun: Begun, opening: &mut Opening) -> Result<Call, Begun> {
    if opening.retried_stale {
        return Err(begun);
    }
    let endpoint = begun.endpoint(worker, opening).filter(|_| !begun.is_beyond());
    match endpoint.and_then(|endpoint| worker.pool.idle(&endpoint, opening.begun_ms)) {
        Some(idle) => Ok(begun.into_call(worker, opening, Some(idle))),
        None => Err(begun),
    }
}

/// A new HTTP/1.1 connection for the decision.
///
/// # Errors
/// What is to follow from its absence.
pub async fn connect(
    worker: &Rc<Worker>,
    mut begun: Begun,
    opening: &mut Opening,
) -> Result<Call, Failed> {
    let Some(endpoint) = begun.endpoint(worker, opening) else {
        return Err(begun.refuse(Refusal::new(Reason::Internal, "the service has no endpoint")));
    };
    if begun.is_beyond() {
        return Err(begun.unreachable(worker, opening, &NoConnection::Full));
    }
    match worker.pool.connect(worker, &endpoint, opening.retried_stale).await {
        Ok(connection) => Ok(begun.into_call(worker, opening, Some::<Connection>(connection))),
        Err(why) => Err(begun.unreachable(worker, opening, &why)),
    }
}
