//! How an exchange may have ended, given what was decided.

use super::endpoint;
use super::lane::Known;
use super::record::Outcome;
use super::report::must;
use super::tree::hash;

const WHOLE: u8 = 0;
const REFUSED: u8 = 1;
/// Told to another proxy, which forwards by it.
const TOLD: u8 = 4;
/// Cut off, because a later landscape does not admit what was decided.
const WITHDRAWN: u8 = 5;
/// Given up, because the attempt beside it was answered.
pub(crate) const CANCELLED: u8 = 6;
/// No endpoint.
const NOWHERE: u16 = u16::MAX;

/// Whether an outcome makes sense in itself.
pub(crate) fn check(it: &Outcome) -> Result<(), String> {
    let Outcome { status, kind, depth, .. } = *it;
    let fits = match kind {
        WHOLE => (100..600).contains(&status),
        // A hook may refuse by sending the caller elsewhere.
        REFUSED => status == 0 || (300..600).contains(&status),
        2 | 3 => status < 600,
        TOLD => status == 200,
        WITHDRAWN => (100..600).contains(&status),
        CANCELLED => status == 0,
        _ => false,
    };
    must!(fits, "an outcome of kind {kind} has status {status}");
    let reasoned = matches!(kind, REFUSED | WITHDRAWN);
    must!(reasoned == (it.reason != 0), "a refusal has no reason, or another end has one");
    must!(depth <= 2, "an outcome has depth {depth}");
    must!(depth > 0 || it.bytes == [0; 2], "bytes were counted that were not looked at");
    for (bytes, digest) in it.bytes.iter().zip(it.digests.iter().flatten()) {
        must!(*bytes > 0 || *digest == hash(&[]), "the digest of no bytes is another");
    }
    let (began, nowhere) = (it.began_ns != 0, it.endpoint == NOWHERE);
    must!(kind != WHOLE || began, "a whole answer never began");
    must!(kind != WITHDRAWN || began, "what was withdrawn is refused until an answer begins");
    must!(kind != CANCELLED || !began, "what was given up had begun to answer");
    must!(kind != TOLD || nowhere && !began, "what was told went somewhere");
    must!(!began || !nowhere, "an answer came from no endpoint");
    must!(it.began_ns <= it.ns, "an answer began after its end");
    let [request, answer] = it.bytes;
    must!(request == 0 || !nowhere, "a body was forwarded to no endpoint");
    must!(answer == 0 || began, "an answer's body came, and the answer never began");
    Ok(())
}

/// Whether what was decided under one version may have been withdrawn by a lane that has adopted
/// this one.
pub(crate) fn withdrawn(it: &Outcome, known: &Known, adopted: u32) -> Result<(), String> {
    let fits = it.kind != WITHDRAWN || adopted > known.decision.version;
    must!(fits, "it was withdrawn, and no later landscape was adopted");
    Ok(())
}

/// Whether it can be the outcome of this decision.
pub(crate) fn follows(it: &Outcome, known: &Known) -> Result<(), String> {
    let decision = &known.decision;
    must!(it.ns >= decision.ns, "the outcome is older than the decision");
    must!(it.began_ns == 0 || it.began_ns >= decision.ns, "the answer is older than the decision");
    let routed = decision.verdict == 0;
    must!(routed || it.kind == REFUSED, "what was not routed was not refused");
    must!(routed || it.endpoint == NOWHERE, "what was not routed has an endpoint");
    let Some(version) = known.version.as_ref().filter(|_| it.endpoint != NOWHERE) else {
        return Ok(());
    };
    let service = version.landscape.services.get(decision.service as usize);
    let service = service.and_then(Option::as_ref);
    let endpoints = service.map_or(0, |service| service.endpoints);
    must!(usize::from(it.endpoint) < endpoints, "the service has {endpoints} endpoints");
    let Some(states) = &version.endpoints else { return Ok(()) };
    let own = endpoint::of(&version.landscape, decision.service as usize, states);
    let right = endpoint::choose(own, decision.seed, decision.attempt);
    let called = Some(usize::from(it.endpoint));
    must!(called == right, "the endpoint {} was called, and right is {right:?}", it.endpoint);
    Ok(())
}
