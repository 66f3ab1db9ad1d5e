//! Random worlds, and states of services and endpoints as an epoch may have them.

use super::world::World;
use caio::balance::epoch::State;
use caio::snapshot::{ServiceId, Snapshot};
use fastrand::Rng;

/// Those of all services and of all endpoints. Of every eight services `bad` are ill or leave for a
/// reason of their own; in the first version of epochs nothing follows from endpoints.
pub(crate) fn draw(
    rng: &mut Rng,
    snapshot: &Snapshot,
    bad: usize,
    first: bool,
) -> (Vec<State>, Vec<State>) {
    let (mut states, mut all) = (Vec::new(), Vec::new());
    for place in 0..snapshot.service_places() {
        let service = snapshot.service(ServiceId(place as u32));
        let places = service.map_or(0, |service| service.endpoints.len());
        let mut some = || State::new(rng.u8(..8) > 0, rng.u8(..8) == 0, rng.u8(..4));
        let endpoints: Vec<State> = (0..places).map(|_| some()).collect();
        let open: Vec<u8> =
            endpoints.iter().filter(|it| it.is_open()).map(|it| it.bucket()).collect();
        let (ill, gone) = (rng.usize(..8) < bad, rng.usize(..8) < bad);
        states.push(match first {
            true => State::new(!ill, gone, rng.u8(..3)),
            false => {
                let sum: usize = open.iter().map(|bucket| usize::from(*bucket)).sum();
                let mean = sum / open.len().max(1);
                State::new(!ill && !open.is_empty(), gone, mean as u8)
            }
        });
        all.extend(endpoints);
    }
    (states, all)
}

/// A world of at most so many services; where it may be crowded, one in four is.
pub(crate) fn world(rng: &mut Rng, crowded: bool, most: usize) -> World {
    loop {
        let world = match crowded && rng.u8(..4) == 0 {
            true => World::crowded(rng),
            false => World::random(rng),
        };
        if world.services.len() <= most {
            return world;
        }
    }
}

/// Chooses the services of all capabilities by how many calls there are to each.
pub(crate) fn count_all(world: &mut World) {
    let offers = world.services.iter().flat_map(|service| &service.contract.offers);
    world.counted = offers.map(|offer| offer.capability.clone()).collect();
    world.probed.clear();
}
