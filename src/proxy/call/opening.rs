//! A request from its arrival on: what is known of it before anything is decided.

use super::retry::Again;
use super::{Arrival, Asked, Ingress, Landscape, Opening, Worker};
use std::rc::Rc;

impl Opening {
    /// A request that came so and in this version of HTTP, under the landscape of this moment.
    pub fn new(worker: &Worker, ingress: &Rc<Ingress>, version: &'static str) -> Self {
        let peer = ingress.peer.ip();
        let landscape = worker.landscape();
        let bounds = worker.bounds();
        let sender = bounds.sender(peer);
        Self {
            ingress: Rc::clone(ingress),
            bounds,
            caller: None,
            amendments: landscape.amendments(&ingress.passage),
            landscape,
            additions: worker.additions.take(),
            arrival: Arrival {
                peer,
                version,
                sender,
                secure: ingress.secure.is_some(),
                wall_ms: worker.clock.wall_ms(),
                random: [worker.clock.random(), worker.clock.random()],
            },
            tried: Vec::new(),
            begun_ms: worker.clock.now_ms(),
            filled: false,
            retried_stale: false,
            idempotent: false,
            before: None,
            attempt: 0,
            again: Again::default(),
            governed: None,
            taken: None,
        }
    }

    /// The request's id; empty before the first [`begin`](super::begin).
    pub fn request_id(&self) -> &[u8] {
        self.additions.request_id()
    }

    /// The exchange is over; its fields' buffers are kept for another.
    pub fn end(self, worker: &Worker) {
        worker.additions.put(self.additions);
    }

    /// Whether a stale connection ate the request before.
    pub fn was_stale(&self) -> bool {
        self.retried_stale
    }

    /// Notes that a stale connection ate the request once: the next one must be new.
    pub fn stale(&mut self) {
        self.retried_stale = true;
    }

    /// Whether it was never decided on, nor tried to be: no record tells of it.
    pub fn is_undecided(&self) -> bool {
        !self.filled
    }

    /// When the request arrived.
    pub fn begun_ms(&self) -> u64 {
        self.begun_ms
    }

    /// What hooks said, for the first decision alone: attempts that follow name it.
    pub(super) fn asked(&self) -> &[Asked] {
        let governed = self.governed.as_ref().filter(|_| self.attempt == 0);
        governed.map_or(&[], |governed| &governed.asked)
    }

    /// The landscape that it is decided by, as far as that is certain yet.
    pub fn landscape(&self) -> &Landscape {
        &self.landscape
    }
}
