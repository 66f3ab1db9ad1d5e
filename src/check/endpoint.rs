//! Endpoints: how the state of a service follows from theirs, and which of them a decision calls.

use super::landscape::Landscape;
use super::meaning::{BUCKET, DRAINED, UNHEALTHY, rendezvous};
use super::report::must;

/// The endpoints of the service of this number among all of them.
pub(crate) fn of<'a>(landscape: &Landscape, service: usize, states: &'a [u8]) -> &'a [u8] {
    landscape.endpoints(service).and_then(|own| states.get(own)).unwrap_or(&[])
}

fn is_open(state: u8) -> bool {
    state & (UNHEALTHY | DRAINED) == 0
}

/// Whether each service is as its endpoints are: without an open one it is ill, and its bucket is
/// the mean of the open ones', rounded down.
pub(crate) fn fit(landscape: &Landscape, states: &[u8], endpoints: &[u8]) -> Result<(), String> {
    let count = landscape.endpoint_count();
    must!(endpoints.len() == count, "an epoch of {} endpoints, of {count}", endpoints.len());
    must!(endpoints.iter().all(|state| *state < 32), "an endpoint's byte has no meaning");
    for (number, (service, state)) in landscape.services.iter().zip(states).enumerate() {
        if service.is_none() {
            continue;
        }
        let open = of(landscape, number, endpoints).iter().filter(|state| is_open(**state));
        let (mut many, mut sum) = (0u32, 0u32);
        for state in open {
            many += 1;
            sum += u32::from(state & BUCKET);
        }
        must!(many > 0 || state & UNHEALTHY != 0, "service {number} is well without endpoints");
        let mean = sum.checked_div(many).unwrap_or(0);
        must!(u32::from(state & BUCKET) == mean, "the bucket of service {number} is {mean}");
    }
    Ok(())
}

/// The endpoint that is called, by its place: of two probes among the open ones the less loaded,
/// the first where both are alike, and for each further attempt the next.
pub(crate) fn choose(states: &[u8], seed: u64, attempt: u8) -> Option<usize> {
    let places = states.iter().enumerate().filter(|(_, state)| is_open(**state));
    let open: Vec<(usize, u8)> = places.map(|(place, state)| (place, state & BUCKET)).collect();
    let many = open.len() as u64;
    let probe = |salt| rendezvous(seed, salt).checked_rem(many);
    let (first, second) = (probe(1)?, probe(2)?);
    let load = |probe: u64| open.get(usize::try_from(probe).ok()?).map(|(_, load)| *load);
    let winner = if load(second) < load(first) { second } else { first };
    let turned = (winner + u64::from(attempt)).checked_rem(many)?;
    open.get(usize::try_from(turned).ok()?).map(|(place, _)| *place)
}
