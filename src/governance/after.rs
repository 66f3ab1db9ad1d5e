//! A decision after the fact, in the same message in which a hook is asked before one.
//!
//! The trail has no method and no path: what it has of the request is said where `ext_authz` has a
//! place for it, and the decision itself in the context extensions, as `caio.…`.

use super::framing;
use super::proto::{AttributeContext, CheckRequest, HttpRequest, Peer, Request, Timestamp};
use std::collections::BTreeMap;

/// What is told of one decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// The request's id.
    pub request_id: String,
    /// When it was decided on, in ms since 1970.
    pub at_ms: u64,
    /// The caller's id.
    pub caller: String,
    /// Everything else, by name.
    pub facts: BTreeMap<String, String>,
}

/// The message with its prefix, as the one of a unary call.
pub fn framed(decided: &Decided) -> Vec<u8> {
    let (seconds, ms) = (decided.at_ms / 1000, decided.at_ms % 1000);
    let time = Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(ms * 1_000_000).unwrap_or(0),
    };
    let http = HttpRequest { id: decided.request_id.clone(), size: -1, ..HttpRequest::default() };
    framing::framed(&CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer { principal: decided.caller.clone(), ..Peer::default() }),
            request: Some(Request { time: Some(time), http: Some(http) }),
            context_extensions: decided.facts.clone(),
            ..AttributeContext::default()
        }),
    })
}
