//! What a caller has shown of itself in its handshake, and whether that is still good.
//!
//! A certificate that was good when the connection began may be revoked while it lives, may expire,
//! or its authority may be taken out. A connection is judged again when the listener's files were
//! read anew, and when time alone may have changed the judgement: once each, and before the next
//! request, so that a reload costs nothing for who says nothing. From then on no request of that
//! connection is served; what is in flight ends as it would have.

use super::secure::{Guard, Listening};
use crate::io::tls::Secured;
use crate::io::tls::keys::expires_s;
use std::cell::Cell;
use std::sync::Arc;

/// What a caller is told whose certificate was good when its connection began.
pub(super) const UNTRUSTED: &str =
    "the certificate of this connection is not accepted any more; connect anew with one that is";

/// A certificate, and by what it was found good last.
pub struct Shown {
    guard: Arc<Guard>,
    judged: Cell<Judged>,
    /// The first second in which the caller's own certificate has expired, since 1970.
    expired_s: u64,
}

#[derive(Clone, Copy)]
struct Judged {
    /// The number of what judged.
    by: u64,
    /// Until when time alone does not change it.
    until_s: u64,
    good: bool,
}

impl Shown {
    /// What a handshake by `listening` has found good just now; `None` where nothing was shown.
    pub fn new(
        guard: &Arc<Guard>,
        listening: &Listening,
        secured: &Secured,
        now_s: u64,
    ) -> Option<Self> {
        let (judge, own) = (listening.judge()?, secured.certificate()?);
        let until_s = judge.holds_until_s(&secured.chain, now_s);
        let judged = Judged { by: listening.number(), until_s, good: true };
        let expired_s = expires_s(own).map_or(0, |last_s| last_s.saturating_add(1));
        Some(Self { guard: Arc::clone(guard), judged: Cell::new(judged), expired_s })
    }

    /// Whether it is good now. An atomic load in the common case.
    pub fn is_good(&self, secured: &Secured, now_s: u64) -> bool {
        let judged = self.judged.get();
        if judged.by == self.guard.newest() && now_s < judged.until_s {
            return judged.good;
        }
        let listening = self.guard.current();
        let chain = &secured.chain;
        // Nobody is asked any more: then nobody vouches either.
        let judged = listening.judge().map_or(
            Judged { by: listening.number(), until_s: u64::MAX, good: false },
            |judge| Judged {
                by: listening.number(),
                until_s: judge.holds_until_s(chain, now_s),
                good: judge.accepts(chain, now_s),
            },
        );
        self.judged.set(judged);
        judged.good
    }

    /// Milliseconds until the caller's own certificate has expired: who waits need not wait longer.
    pub fn left_ms(&self, wall_ms: u64) -> u64 {
        self.expired_s.saturating_mul(1000).saturating_sub(wall_ms)
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Judged { by, until_s, good } = self.judged.get();
        write!(out, "Shown {{ by: {by}, until_s: {until_s}, good: {good} }}")
    }
}
