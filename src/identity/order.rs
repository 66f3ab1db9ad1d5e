//! Which of several credentials counts: a listener's order, and the choice by it.

use super::{Identified, IdentityError};
use std::sync::Arc;

/// What one listener accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Identities by their number, the most preferred first.
    pub(super) identities: Vec<u16>,
    /// Where credentials are looked for, each place once.
    pub(super) places: Vec<Place>,
    /// Whether callers without any credential are taken for their address.
    pub(super) anonymous: bool,
}

/// Where a credential is looked for, and the identities it may be of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the handshake.
    Certificate(u16),
    /// A key in a header.
    ApiKey(u16, String),
    /// A token, for one of these issuers; in `Authorization` where no header is named.
    Token(Vec<u16>, Option<String>),
}

impl Order {
    /// Whether no credential is looked for at all, so that only the caller's address counts.
    pub fn is_address_only(&self) -> bool {
        self.places.is_empty() && self.anonymous
    }
}

/// Who a request is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// The principal of a credential, and the number of the identity that vouches for it.
    Principal(u16, Arc<Identified>),
    /// The principal that the caller's address has: one of `[[callers]]`, or `anonymous`.
    Address,
}

/// Chooses among the credentials that are present, in whatever order they were checked: one that is
/// not valid refuses the request, whatever the others are; else the identity that stands first in
/// the listener's order counts; without any, the caller is `anonymous` where that is listed.
pub fn select(
    order: &Order,
    present: impl IntoIterator<Item = Result<(u16, Arc<Identified>), IdentityError>>,
) -> Result<Selected, IdentityError> {
    let mut best: Option<(usize, u16, Arc<Identified>)> = None;
    for found in present {
        let (identity, identified) = found?;
        let place = order.identities.iter().position(|listed| *listed == identity);
        // INVARIANT: only listed identities are checked; anything else must not become a principal.
        let place = place.ok_or(IdentityError::Invalid("the credential is not accepted here"))?;
        if best.as_ref().is_none_or(|(first, ..)| place < *first) {
            best = Some((place, identity, identified));
        }
    }
    match best {
        Some((_, identity, identified)) => Ok(Selected::Principal(identity, identified)),
        None if order.anonymous => Ok(Selected::Address),
        None => Err(IdentityError::Missing),
    }
}
