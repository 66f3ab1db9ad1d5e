//! Layer 2: who is calling. Credentials in, a principal out, or the reason why not.
//!
//! ```text
//!   handshake ── peer certificate ──┐
//!   head ── Authorization: Bearer ──┤            ┌─ all that are present are valid ─▶ the first
//!        └─ X-Api-Key ──────────────┼─▶ identify ┼─ none present ─▶ anonymous, where listed
//!   key sets, now ──────────────────┘            └─ one is not valid ─▶ refused
//! ```
//! Nothing here reads a clock, a file or a socket: key sets come in as values ([`KeySets`]), which
//! a thread of the control surface keeps fresh, and the time is an argument. A credential that is
//! present and not valid is refused and never ignored, because whoever sends two could otherwise
//! choose which one is looked at.
//!
//! Ids of principals have namespaces, so that one kind of credential cannot name what another one
//! vouches for: `spiffe://…`, `dns:…` and `subject:…` come from peer certificates, an issuer's have
//! its prefix, and only the operator's own files name principals freely.

pub mod assertion;
mod base64url;
mod cache;
mod certificate;
mod claims;
mod json;
mod jwks;
mod keys;
mod order;
mod providers;
pub mod refresh;
mod sets;
mod token;

pub use assertion::{Asserter, Claims};
pub use cache::TokenCache;
pub use certificate::certificate;
pub use jwks::JwkSet;
pub use keys::KeyTable;
pub use order::{Order, Selected, select};
pub use providers::{Field, Presented, Providers, SourceOf};
pub use sets::{KeySets, Material};

pub use crate::wire::method::Method;

use std::sync::Arc;

/// A caller whose credential was found valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// The principal's id, in the namespace of whoever vouches for it.
    pub id: Arc<str>,
    /// How it was identified.
    pub method: Method,
    /// The first half of the SHA-256 of what it was known by; see [`evidence`].
    pub evidence: [u8; 16],
    /// Facts of the caller's side: declared attribute, value as the vocabulary reads it.
    pub facts: Vec<(String, String)>,
    /// The first second of Unix time at which it is valid.
    pub from_s: u64,
    /// The first second of Unix time at which it is not valid any more; `None` is never.
    pub expires_s: Option<u64>,
}

impl Identified {
    /// Whether it is valid at this second.
    pub fn holds_at(&self, now_s: u64) -> bool {
        self.from_s <= now_s && self.expires_s.is_none_or(|expires| now_s < expires)
    }
}

/// Why a caller could not be identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// There is no credential, and the listener asks for one: `credential.missing`.
    Missing,
    /// The header of a credential stands more than once: the request is malformed,
    /// `header.invalid`.
    Repeated,
    /// The header of a credential is named in `Connection`: the request is malformed,
    /// `header.invalid`, as one is that so names `Authorization`.
    ForOneHop,
    /// A credential is present and not valid, for this reason: `credential.invalid`.
    Invalid(&'static str),
    /// The token names a key that the key set of this identity does not have: `credential.invalid`,
    /// and the set is worth reading again, which `admin::keysets` does.
    KeyUnknown(u16),
    /// There is no key set to check it with, or it is too old to be believed:
    /// `identity.unavailable`.
    Unavailable(u16),
}

impl IdentityError {
    /// One sentence for the caller, lower case, no full stop; it tells no more than that.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Missing => "send a credential that this listener accepts",
            Self::Repeated => "the header of a credential stands more than once",
            Self::ForOneHop => "the connection field names the header of a credential",
            Self::Invalid(why) => why,
            Self::KeyUnknown(_) => "the token is signed with a key that is not known",
            Self::Unavailable(_) => "what credentials are checked with is not to be had; try again",
        }
    }
}

/// What a principal was known by, as records have it: the kind, a space, and the credential's bytes
/// (a whole compact token, a certificate's DER, the stored text of a key's hash), hashed together.
/// No record can be turned back into a credential.
pub fn evidence(kind: &str, bytes: &[u8]) -> [u8; 16] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(kind.as_bytes());
    context.update(b" ");
    context.update(bytes);
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

/// Whether two secrets are the same; how long that takes does not tell where they differ.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// The facts of a principal: what the operator configured of it, and what its credential says of
/// other attributes. The operator's word counts where both say something of one attribute, because
/// it is written about this one principal, and a credential must not be able to take it back.
pub fn merge(
    configured: &[(String, String)],
    claimed: &[(String, String)],
) -> Vec<(String, String)> {
    let new = |(name, _): &&(String, String)| configured.iter().all(|(known, _)| known != name);
    configured.iter().chain(claimed.iter().filter(new)).cloned().collect()
}
