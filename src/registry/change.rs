//! What is asked of the registry, and what comes of asking: an event, nothing, or a refusal.

use super::event::{Cause, What};
use super::{Entry, Key, Registry, Written};
use crate::config::registered::{Kind, Part, Registered};
use crate::wire::limits::{ENDPOINTS_MAX, REGISTERED_MAX};
use std::net::SocketAddr;
use std::sync::Arc;

/// What is to be done with an entry.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// To be there with this document, which has been read.
    Put {
        /// The document.
        written: Arc<Written>,
        /// What it says.
        read: Arc<Registered>,
    },
    /// To be gone.
    Remove(Cause),
    /// To take no new calls, or to take them again.
    Drain(bool),
    /// The same of one endpoint.
    EndpointDrain(SocketAddr, bool),
    /// To have one endpoint, or not to.
    Endpoint(SocketAddr, bool),
}

/// What must be so for a change to be wanted at all (RFC 9110 13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Anything may be there.
    #[default]
    None,
    /// `If-Match`: one of these revisions; none is `*`, anything that is there.
    Is(Vec<u64>),
    /// `If-None-Match`: none of these revisions; none is `*`, nothing at all.
    IsNot(Vec<u64>),
}

/// One change that is asked for.
#[derive(Clone, Debug)]
pub struct Change {
    /// Of what.
    pub key: Key,
    /// What is to become of it.
    pub wanted: Wanted,
    /// When.
    pub precondition: Precondition,
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such entry.
    Missing,
    /// The precondition does not hold; what is there has this revision, if it is there.
    Precondition(Option<u64>),
    /// It is there, and this cannot be done with it: what, and how to mend it.
    Unfit(String, &'static str),
    /// There is no room for more.
    Full,
}

impl Registry {
    /// What follows from a change, `None` where everything is so already. `read` is what the
    /// present entry's document says, where there is one.
    ///
    /// # Errors
    /// Why nothing is to follow.
    pub fn decide(
        &self,
        change: &Change,
        read: Option<&Registered>,
    ) -> Result<Option<What>, Refused> {
        let entry = self.entry(&change.key);
        let revision = entry.map(|entry| entry.revision);
        let holds = match &change.precondition {
            Precondition::None => true,
            Precondition::Is(any) if any.is_empty() => entry.is_some(),
            Precondition::Is(one) => revision.is_some_and(|revision| one.contains(&revision)),
            Precondition::IsNot(any) if any.is_empty() => entry.is_none(),
            Precondition::IsNot(one) => revision.is_none_or(|revision| !one.contains(&revision)),
        };
        let key = || change.key.clone();
        match &change.wanted {
            // The same document under the same key is no change, whatever came of it since: that is
            // how a service says again and again that it is there.
            Wanted::Put { written, .. }
                if holds && entry.is_some_and(|entry| entry.written == *written) =>
            {
                let back = entry.filter(|entry| entry.lingers());
                Ok(back.map(|_| What::Drain { id: change.key.id.clone(), draining: false }))
            }
            _ if !holds => Err(Refused::Precondition(revision)),
            Wanted::Put { .. } if entry.is_none() && self.len() >= REGISTERED_MAX => {
                Err(Refused::Full)
            }
            Wanted::Put { written, .. } => {
                Ok(Some(What::Put { key: key(), written: Arc::clone(written) }))
            }
            Wanted::Remove(cause) => match entry {
                Some(_) => Ok(Some(What::Removed { key: key(), cause: *cause })),
                None => Err(Refused::Missing),
            },
            Wanted::Drain(draining) => {
                let entry = self.service_of(&change.key)?;
                let what = What::Drain { id: change.key.id.clone(), draining: *draining };
                Ok((entry.draining != *draining).then_some(what))
            }
            Wanted::EndpointDrain(address, draining) => {
                let entry = self.service_of(&change.key)?;
                if !entry.present(endpoints(read)).contains(address) {
                    return Err(Refused::Missing);
                }
                let (id, draining) = (change.key.id.clone(), *draining);
                let what = What::EndpointDrain { id, address: *address, draining };
                Ok((entry.leaving.contains(address) != draining).then_some(what))
            }
            Wanted::Endpoint(address, present) => {
                let entry = self.service_of(&change.key)?;
                endpoint(&change.key, entry, endpoints(read), *address, *present)
            }
        }
    }

    fn service_of(&self, key: &Key) -> Result<&Entry, Refused> {
        if key.kind != Kind::Service {
            let what = format!("a {} has no endpoints", key.kind.name());
            return Err(Refused::Unfit(what, "only services drain"));
        }
        self.entry(key).map(Arc::as_ref).ok_or(Refused::Missing)
    }
}

fn endpoints(read: Option<&Registered>) -> &[SocketAddr] {
    match read.map(|read| &read.part) {
        Some(Part::Service(service)) => &service.endpoints,
        _ => &[],
    }
}

fn endpoint(
    key: &Key,
    entry: &Entry,
    documented: &[SocketAddr],
    address: SocketAddr,
    present: bool,
) -> Result<Option<What>, Refused> {
    let there = entry.present(documented);
    if there.contains(&address) == present {
        // Whoever comes back stays: it is wanted for calls.
        let stays = !present || !entry.leaving.contains(&address);
        return match (present, stays) {
            (false, _) => Err(Refused::Missing),
            (true, true) => Ok(None),
            (true, false) => {
                let id = key.id.clone();
                Ok(Some(What::EndpointDrain { id, address, draining: false }))
            }
        };
    }
    if !present && there.len() == 1 {
        let what = format!("`{address}` is the only endpoint of {key}");
        return Err(Refused::Unfit(what, "deregister the service, or add another endpoint first"));
    }
    if present && there.len() >= ENDPOINTS_MAX {
        let what = format!("{key} has {ENDPOINTS_MAX} endpoints already");
        return Err(Refused::Unfit(what, "put a balancer before them"));
    }
    Ok(Some(What::Endpoint { id: key.id.clone(), address, present }))
}
