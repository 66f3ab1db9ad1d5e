//! Who calls: worked out once for each request, before anything else is asked about it.
//!
//! Verified tokens are remembered by the worker, and so are the principals that came of them: a
//! caller who stays costs a lookup.

use super::accept::Ingress;
use super::landscape::Landscape;
use super::worker::Worker;
use crate::config::settings::Settings;
use crate::contract::vocabulary::Vocabulary;
use crate::exchange::amendments::Amendments;
use crate::exchange::refusal::{Reason, Refusal};
use crate::exchange::view::Inbound;
use crate::identity::{
    Asserter, Field, Identified, IdentityError, KeySets, Method, Order, Presented, Providers,
    Selected, TokenCache,
};
use crate::io::publication::{Numbered, Publication};
use crate::snapshot::request::Principal;
use crate::wire::limits::PRINCIPALS_KEPT;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Who calls, and what shows it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub principal: Arc<Principal>,
    /// How that is known.
    pub method: Method,
    /// What shows it, as records have it.
    pub evidence: [u8; 16],
    /// What its credential says, where it has shown one.
    pub identified: Option<Arc<Identified>>,
}

/// What all workers identify by.
pub struct Identities {
    /// How credentials are read.
    pub providers: Providers,
    /// By listener, what it accepts.
    pub orders: Vec<Order>,
    /// By listener, the headers of credentials that do not go on to services.
    pub withheld: Vec<Vec<String>>,
    /// What signs what services are told of callers, where that is wanted.
    pub asserter: Option<Arc<Asserter>>,
    /// What credentials are checked with, kept fresh by a thread of its own.
    pub keys: Arc<Publication<KeySets>>,
    /// Identities whose keys are worth reading again, as bits: a token named one that is not known.
    pub stale: Arc<AtomicU64>,
}

impl Identities {
    /// Those of the settings; nothing is known of their keys yet.
    pub fn new(
        settings: &Settings,
        vocabulary: &Vocabulary,
        asserter: Option<Arc<Asserter>>,
    ) -> Self {
        let providers = Providers::new(&settings.identities, vocabulary);
        let listeners = settings.listeners.iter();
        let orders: Vec<Order> = listeners.map(|it| providers.order(&it.identify)).collect();
        let withheld = orders.iter().map(|order| providers.withheld(order)).collect();
        let keys = KeySets::empty(providers.len());
        let keys = Arc::new(Publication::new(1, keys));
        Self { providers, orders, withheld, asserter, keys, stale: Arc::default() }
    }

    /// Those of other settings, with the keys of identities that are as they were.
    pub fn followed_by(&self, settings: &Settings, vocabulary: &Vocabulary) -> Self {
        let next = Self::new(settings, vocabulary, self.asserter.clone());
        let before = &self.keys.current().value;
        let known = self.providers.kept_by(&next.providers);
        let keys = known.fold(KeySets::empty(next.providers.len()), |keys, (old, new)| {
            keys.carried(new, before, old)
        });
        Self { keys: Arc::new(Publication::new(1, keys)), ..next }
    }

    /// The first of the identities whose file of keys was not to be read.
    pub fn unread(&self) -> Option<&str> {
        let keys = self.keys.current();
        let mut unread = self.providers.of_files().filter(|it| keys.value.until_s(*it).is_none());
        unread.find_map(|identity| self.providers.name(identity))
    }
}

/// One worker's part of it.
pub struct Identifier {
    tokens: RefCell<TokenCache>,
    keys: RefCell<Arc<Numbered<KeySets>>>,
    /// By a hash of where the credential's answer lies, which is held and so stays its own.
    principals: RefCell<Vec<Option<Known>>>,
    /// By listener, what its credentials' headers come to; `None` where there are none.
    amendments: Vec<Option<Rc<Amendments>>>,
}

/// A principal that came of a credential in one version of the landscape.
struct Known {
    identified: Arc<Identified>,
    version: u64,
    principal: Arc<Principal>,
}

impl Identifier {
    /// One that knows nobody yet; the seed is random and secret.
    pub fn new(identities: &Identities, seed: [u64; 2]) -> Self {
        Self {
            tokens: RefCell::new(TokenCache::new(seed)),
            keys: RefCell::new(identities.keys.current()),
            principals: RefCell::default(),
            amendments: identities.withheld.iter().map(|names| withholding(names)).collect(),
        }
    }

    /// What is to be changed in every exchange of a listener.
    pub(super) fn amendments(&self, listener: usize) -> Option<Rc<Amendments>> {
        self.amendments.get(listener).cloned().flatten()
    }

    /// The principal of a credential in this landscape.
    fn principal(&self, landscape: &Landscape, identified: &Arc<Identified>) -> Arc<Principal> {
        let mut principals = self.principals.borrow_mut();
        if principals.is_empty() {
            principals.resize_with(PRINCIPALS_KEPT, || None);
        }
        // Allocations are 16 bytes apart at least.
        let place = (Arc::as_ptr(identified).addr() >> 4) % PRINCIPALS_KEPT;
        let slot = principals.get_mut(place);
        if let Some(Some(known)) = &slot
            && Arc::ptr_eq(&known.identified, identified)
            && known.version == landscape.version
        {
            return Arc::clone(&known.principal);
        }
        let facts = identified.facts.clone();
        let principal = Arc::new(landscape.snapshot.principal_of(&identified.id, facts));
        if let Some(slot) = slot {
            *slot = Some(Known {
                identified: Arc::clone(identified),
                version: landscape.version,
                principal: Arc::clone(&principal),
            });
        }
        principal
    }
}

pub(super) fn withholding(names: &[String]) -> Option<Rc<Amendments>> {
    let withheld = Amendments { withheld: names.to_vec(), ..Amendments::default() };
    (!withheld.is_empty()).then(|| Rc::new(withheld))
}

/// What one request shows.
struct Shown<'a, V> {
    view: &'a V,
    ingress: &'a Ingress,
}

impl<V: Inbound> Presented for Shown<'_, V> {
    fn field(&self, name: &str) -> Field<'_> {
        self.view.sole(name)
    }

    fn peer(&self) -> Option<&Result<Arc<Identified>, IdentityError>> {
        self.ingress.peer_certificate.as_ref()
    }
}

/// The caller of a request.
///
/// # Errors
/// The refusal, where a credential is missing or wrong.
pub fn identify(
    worker: &Worker,
    landscape: &Landscape,
    ingress: &Ingress,
    view: &impl Inbound,
) -> Result<Caller, Refusal> {
    let Landscape { identities, identifier, .. } = landscape;
    let order = &*landscape.order(&ingress.passage);
    if order.is_address_only() {
        return Ok(by_address(worker, landscape, ingress));
    }
    let mut keys = identifier.keys.borrow_mut();
    if identities.keys.newest() > keys.number {
        *keys = identities.keys.current();
    }
    let now_s = worker.clock.wall_ms() / 1000;
    let shown = Shown { view, ingress };
    let mut tokens = identifier.tokens.borrow_mut();
    match identities.providers.identify(order, &shown, &keys.value, &mut tokens, now_s) {
        Ok(Selected::Address) => Ok(by_address(worker, landscape, ingress)),
        Ok(Selected::Principal(_, identified)) => Ok(Caller {
            principal: identifier.principal(landscape, &identified),
            method: identified.method,
            evidence: identified.evidence,
            identified: Some(identified),
        }),
        Err(error) => Err(refusal(identities, error)),
    }
}

fn by_address(worker: &Worker, landscape: &Landscape, ingress: &Ingress) -> Caller {
    let address = ingress.peer.ip();
    Caller {
        principal: Arc::clone(landscape.snapshot.principal(address)),
        method: Method::Network,
        evidence: worker.evidence(address),
        identified: None,
    }
}

/// The same caller as another landscape knows it. Its credential is read anew where that has other
/// identities, and is then to hold by them.
///
/// # Errors
/// As [`identify`].
pub fn known_by(
    worker: &Worker,
    (before, landscape): (&Landscape, &Landscape),
    (ingress, caller): (&Ingress, &Caller),
    view: &impl Inbound,
) -> Result<Arc<Principal>, Refusal> {
    if !Arc::ptr_eq(&before.identities, &landscape.identities) {
        return identify(worker, landscape, ingress, view).map(|caller| caller.principal);
    }
    Ok(match &caller.identified {
        Some(identified) => landscape.identifier.principal(landscape, identified),
        None => Arc::clone(landscape.snapshot.principal(ingress.peer.ip())),
    })
}

fn refusal(identities: &Identities, error: IdentityError) -> Refusal {
    let reason = match error {
        IdentityError::Missing => Reason::CredentialMissing,
        IdentityError::Repeated | IdentityError::ForOneHop => Reason::HeaderInvalid,
        IdentityError::Invalid(_) => Reason::CredentialInvalid,
        IdentityError::KeyUnknown(identity) => {
            // Whoever keeps the keys looks at it when it may: a flood of such tokens is one bit.
            let bit = 1u64.checked_shl(u32::from(identity)).unwrap_or(0);
            identities.stale.fetch_or(bit, Ordering::Relaxed);
            Reason::CredentialInvalid
        }
        IdentityError::Unavailable(_) => Reason::IdentityUnavailable,
    };
    Refusal::new(reason, error.detail())
}
