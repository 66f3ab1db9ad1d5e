//! Landscapes on their way to the workers: recorded first, where there is a trail, and freed once
//! nobody decides by them any more.

use super::{Epochal, Gateway, Notes, Published, Security, States};
use crate::balance::epoch::Epoch;
use crate::balance::standing::unknown;
use crate::snapshot::ServiceEntry;
use crate::wire::limits::RETIRED_MAX;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

impl Gateway {
    /// Puts another landscape in the place of the present one, for exchanges that begin from now
    /// on; with a trail, once the trail says so durably, and with it what the control plane has to
    /// say of it. What is known of endpoints that are in both stays, as it was seen last where it
    /// was `seen` since. To be called from one thread.
    pub fn publish(&self, mut published: Published, notes: Notes, seen: Option<Epochal>) {
        let mut now = self.published();
        if let Some(seen) = seen {
            now.epoch = Arc::new(Self::seen(&now, seen));
        }
        published.continue_from(Some(&now));
        self.put(published, notes);
    }

    /// The same snapshot with another view of load and health. Where another snapshot is in force
    /// by now than the one that was watched, it holds for what is in both. As
    /// [`Gateway::publish`].
    pub fn publish_epoch(&self, seen: Epochal) {
        let now = self.published();
        let epoch = Self::seen(&now, seen).leaving_as(&now.epoch).leveled(&now.snapshot);
        self.put(Published { epoch: Arc::new(epoch), ..now }, Notes::new());
    }

    /// What was seen of services, as the next epoch of the landscape in force.
    fn seen(now: &Published, epochal: Epochal) -> Epoch {
        let Epochal { snapshot, states: States { services, endpoints } } = epochal;
        let seen = Epoch::new(now.epoch.number() + 1, services);
        let seen = seen.with_endpoints(&snapshot, endpoints);
        if Arc::ptr_eq(&now.snapshot, &snapshot) {
            return seen;
        }
        let care = |service: &ServiceEntry| unknown(now.upstreams.care(&service.id));
        seen.carried(&snapshot, &now.snapshot, care)
    }

    fn put(&self, published: Published, notes: Notes) {
        self.put_as(self.version() + 1, published, notes);
    }

    pub(super) fn put_as(&self, version: u64, published: Published, notes: Notes) {
        match &self.trail {
            None => self.adopt(version, published),
            Some(trail) => {
                let recorded = u32::try_from(version).unwrap_or(u32::MAX);
                let durable = trail.publish(published.clone(), recorded, notes);
                *self.coming.borrow_mut() = Some((Some((version, published)), durable));
            }
        }
    }

    /// Lets workers adopt what is recorded, with its listeners.
    fn adopt(&self, version: u64, published: Published) {
        self.begin(&published);
        self.retired.borrow_mut().push_back(self.published());
        self.shared.published.publish_as(version, published);
        self.free_retired();
    }

    /// Has the listeners hold, and whatever is reached anew, as their files are by now.
    fn begin(&self, published: &Published) {
        let before = self.published();
        let listens_anew = !Arc::ptr_eq(&before.gates, &published.gates);
        let is_new = listens_anew
            || !Arc::ptr_eq(&before.upstreams, &published.upstreams)
            || !Arc::ptr_eq(&before.hooks, &published.hooks)
            || !Arc::ptr_eq(&before.companions, &published.companions);
        // What came on its way was read before that, and what has changed since is known already.
        let again = is_new && self.refreshed.take();
        if again {
            Security::read_anew(published, &before);
        }
        if listens_anew {
            self.leaving.borrow_mut().extend(published.gates.begin(&before.gates, again));
        }
    }

    /// Gives back the memory of landscapes that no worker holds any more.
    fn free_retired(&self) {
        let mut retired = self.retired.borrow_mut();
        // Each has an epoch of its own.
        retired.retain(|it| Arc::strong_count(&it.epoch) > 1);
        while retired.len() > RETIRED_MAX {
            retired.pop_front();
        }
    }

    /// Has records of the control plane written where no landscape comes with them. To be waited
    /// for as for a landscape.
    pub fn note(&self, notes: Notes) {
        if let Some(trail) = self.trail.as_ref().filter(|_| !notes.is_empty()) {
            *self.coming.borrow_mut() = Some((None, trail.note(notes)));
        }
    }

    /// Whether a landscape is still on its way to the workers, or a record to the disk, once so
    /// long was waited for it; to be asked until it is not, before another is published.
    pub fn is_publishing(&self, wait: Duration) -> bool {
        self.free_retired();
        self.leaving.borrow_mut().retain(|bound| bound.is_leaving());
        let Some((published, durable)) = self.coming.take() else { return false };
        match durable.recv_timeout(wait) {
            Ok(()) => {
                if let Some((version, published)) = published {
                    self.adopt(version, published);
                }
                false
            }
            Err(RecvTimeoutError::Timeout) => {
                *self.coming.borrow_mut() = Some((published, durable));
                true
            }
            // The trail's thread is gone: nothing is recorded any more, nor decided.
            Err(RecvTimeoutError::Disconnected) => {
                self.unrecorded.set(true);
                false
            }
        }
    }
}
