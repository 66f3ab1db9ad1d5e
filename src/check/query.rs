//! A question for services, answered again: what each promises whatever the request, and whether
//! it takes calls.

use super::landscape::{Landscape, Offer};
use super::meaning::{DRAINED, UNHEALTHY, entail};
use super::policy::may_see;
use super::record::Queried;
use super::report::must;
use super::text::{Need, needs};

/// Rows of one question that are recorded.
const ROWS_MAX: usize = 8_000;
/// Bytes of a text that are recorded; one that may have been cut says nothing more.
const TEXT_BYTES_MAX: usize = 4_000;
/// In no state to be called, whether or not it meets what is needed.
const STATE: u16 = 0xFFFF;
/// Not shown to who asked.
const HIDDEN: u16 = 0xFFFE;

/// Whether a question was answered as the landscape and these states say.
pub(crate) fn answered(
    landscape: &Landscape,
    states: &[u8],
    queried: &Queried<'_>,
) -> Result<(), String> {
    let Queried { capability, offers, who, way, needs: text, rows, .. } = queried;
    let entry = landscape.capabilities.get(*capability as usize);
    let entry = entry.ok_or("a question is of no capability")?;
    must!(*offers as usize == entry.offers.len(), "{offers} offers are told of");
    must!(rows.len() == entry.offers.len().min(ROWS_MAX), "{} rows are told of", rows.len());
    let cut = text.len() + 3 >= TEXT_BYTES_MAX;
    let needs = match needs(text) {
        Some(needs) => needs,
        None if cut => return Ok(()),
        None => return Err("the needs of a question are not canonical".to_owned()),
    };
    let is_caller = way.starts_with("decision ");
    let shown = |code: u16| code != HIDDEN || !is_caller;
    for ((service, code), offer) in rows.iter().zip(&entry.offers) {
        must!(*service == offer.service, "a question tells of service {service}");
        if is_caller && *code != HIDDEN {
            let may = may_see(landscape, (entry, offer), who.as_bytes());
            must!(may, "service {service} was shown to whom no rule lets call it");
        }
        if !shown(*code) || cut {
            continue;
        }
        let due = said(offer, states, &needs);
        must!(*code == due, "of service {service} {code} was said, and it is {due}");
    }
    Ok(())
}

/// What is to be said of an offer.
fn said(offer: &Offer, states: &[u8], needs: &[Need]) -> u16 {
    if !entail(offer, &[], []) {
        return STATE;
    }
    let unmet = needs.iter().position(|need| !entail(offer, &[], [&need.cnf]));
    if let Some(place) = unmet {
        return u16::try_from(place + 1).unwrap_or(STATE);
    }
    let state = states.get(offer.service as usize).copied().unwrap_or(UNHEALTHY);
    if state & (UNHEALTHY | DRAINED) == 0 { 0 } else { STATE }
}
