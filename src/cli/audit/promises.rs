//! What became of the promises of the service that a decision chose, about the time of it: it was
//! chosen by what it declares, and this is what was observed of that.

use super::changes::breach;
use super::exchange::Exchange;
use super::time::rfc3339;
use super::trail::{Span, Trail, at};
use crate::audit::breach::{Became, Breach};
use crate::audit::record::Record;
use crate::audit::scan::Context;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// How many segments before a decision's own, and behind it, are looked through: a window of calls
/// is over within seconds, and a segment holds minutes of a busy gateway.
const SEGMENTS: usize = 4;

/// One promise that was not kept.
pub(super) struct Observed {
    /// In a line.
    pub(super) text: String,
    /// For machines.
    pub(super) json: Json,
}

/// A service's id, and which of its promises.
type Which = (Option<u64>, u32);

/// What is on record, near a decision, of promises of the service of this id that were broken when
/// it was chosen, or in a window that the decision lies in.
///
/// # Errors
/// What is damaged.
pub(super) fn near(
    trail: &Trail,
    exchange: &Exchange,
    service: &str,
) -> Result<Vec<Observed>, String> {
    let own = trail.firsts.partition_point(|first| *first < exchange.lies.segment);
    let Some(from) = trail.firsts.get(own.saturating_sub(SEGMENTS)) else { return Ok(Vec::new()) };
    let end = trail.firsts.get(own.saturating_add(SEGMENTS)).copied();
    let at_ms = exchange.at_ms();
    // By promise what is true of the decision.
    let mut known: BTreeMap<Which, Breach<'static>> = BTreeMap::new();
    trail.records(at(*from), Span::Rest, &mut Context::default(), |seen| {
        let beyond = Some(seen.context.boot) > exchange.id.boot;
        if beyond || end.is_some_and(|end| seen.met.segment > end) {
            return Ok(ControlFlow::Break(()));
        }
        if seen.raw.kind != b'F' || Some(seen.context.boot) != exchange.id.boot {
            return Ok(ControlFlow::Continue(()));
        }
        let Some(Record::Breach(found)) = seen.raw.read() else {
            return Err("what became of a promise is malformed".to_owned());
        };
        if *found.id != *service.as_bytes() {
            return Ok(ControlFlow::Continue(()));
        }
        let which = (found.within_ns, found.except_ppm);
        let [began_ms, ended_ms] = found.window_ms;
        match found.became {
            Became::Broken if began_ms <= at_ms => {
                known.insert(which, Breach { id: found.id.into_owned().into(), ..found });
            }
            // It was kept again, or over, before.
            Became::Kept | Became::Over if ended_ms <= at_ms => {
                known.remove(&which);
            }
            Became::Broken | Became::Kept | Became::Over => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(known.into_values().map(|found| observed(&found, at_ms)).collect())
}

fn observed(found: &Breach<'_>, at_ms: u64) -> Observed {
    let [calls, otherwise] = found.seen;
    let [_, ended_ms] = found.window_ms;
    let percent = |ppm: u64| format!("{}.{:04}%", ppm / 10_000, ppm % 10_000);
    let share = otherwise.saturating_mul(1_000_000).checked_div(calls).unwrap_or(0);
    let when = match ended_ms <= at_ms {
        true => "was broken then",
        false => "was found broken in the window it lies in",
    };
    let text = format!(
        "{} {when}: declared at most {}, attested by nobody, observed {otherwise} of {calls} \
         calls, {}, since {}",
        found.promise(),
        percent(found.except_ppm.into()),
        percent(share),
        rfc3339(found.since_ms, 0),
    );
    Observed { text, json: breach(found).0 }
}
