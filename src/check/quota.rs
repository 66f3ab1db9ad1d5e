//! How many calls there may be, caio-sem/1: whether what a refusal says of a quota can be.
//!
//! How much was used up is a count in the gateway's memory and not on record. Whom and what a
//! quota counts is: a refusal names a quota of its landscape that the call counts towards.

use super::landscape::Offer;
use super::meaning::{Answer, Question, answer, is_open};
use super::policy;
use super::record::Decision;
use super::report::must;
use super::text::Cursor;

/// Places in the refusal table and 1: a rate is used up, so many calls are in flight.
const RATE: u16 = 41;
const FLIGHT: u16 = 42;

/// All quotas, by their numbers.
#[derive(Default)]
pub(crate) struct Quotas(Vec<Quota>);

/// A quota.
pub(crate) struct Quota {
    id: String,
    /// Each route or each service has its own.
    apart: bool,
    /// How many calls are in flight is counted.
    flight: bool,
    /// Only calls whose rule names it.
    named: bool,
    /// Callers, routes, services, capabilities; `None` is all.
    counts: [Option<Vec<String>>; 4],
}

const CALLERS: usize = 0;
const ROUTES: usize = 1;
const SERVICES: usize = 2;
const CAPABILITIES: usize = 3;
const SIDES: [&str; 4] = ["callers ", "routes ", "services ", "capabilities "];

/// Whether it is a quota that refuses for this reason.
pub(crate) fn is_reason(reason: u16) -> bool {
    matches!(reason, RATE | FLIGHT)
}

impl Quotas {
    /// The next line that is about quotas.
    pub(crate) fn line(&mut self, word: &str, from: &mut Cursor<'_>) -> Option<()> {
        if word == "counts" {
            let side = SIDES.iter().position(|side| from.eat(side).is_some())?;
            let names = from.quoted_list()?;
            let slot = self.0.last_mut()?.counts.get_mut(side)?;
            *slot = Some(names).filter(|_| slot.is_none());
            return slot.as_ref().filter(|_| from.0.is_empty()).map(|_| ());
        }
        let id = from.quoted()?;
        from.eat(" per")?;
        let none = from.eat(" none").is_some();
        let each = [" principal", " route", " service"].map(|word| from.eat(word).is_some());
        let [_, route, service] = each;
        (none != each.contains(&true)).then_some(())?;
        from.eat(" rate ")?;
        if from.eat("none").is_none() {
            from.number::<u64>()?;
            from.eat(" in ")?;
            from.number::<u64>()?;
            from.eat(" burst ")?;
            from.number::<u64>()?;
        }
        from.eat(" flight ")?;
        let flight = from.eat("none").is_none();
        if flight {
            from.number::<u32>()?;
        }
        from.eat(" scope shared").or_else(|| from.eat(" scope worker"))?;
        let named = from.eat(" apply named").is_some();
        if !named {
            from.eat(" apply always")?;
        }
        from.eat(" headers told").or_else(|| from.eat(" headers untold"))?;
        // Numbers are places in this order, so the order must be the only possible one.
        if self.0.last().is_some_and(|last| last.id >= id) {
            return None;
        }
        let (apart, counts) = (route || service, [const { None }; 4]);
        self.0.push(Quota { id, apart, flight, named, counts });
        from.0.is_empty().then_some(())
    }

    /// The quota that a refusal names.
    pub(crate) fn of(&self, decision: &Decision) -> Result<&Quota, String> {
        let [number, _] = decision.rules;
        let quota = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        let quota =
            quota.ok_or_else(|| "it was refused for a quota that there is not".to_owned())?;
        let fits = decision.reason == RATE || quota.flight;
        must!(fits, "the quota `{}` counts no calls in flight", quota.id);
        Ok(quota)
    }
}

impl Quota {
    fn counts(&self, side: usize, name: &[u8]) -> bool {
        let names = self.counts.get(side).and_then(Option::as_ref);
        names.is_none_or(|names| {
            names.iter().any(|one| match one.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix.as_bytes()),
                None => one.as_bytes() == name,
            })
        })
    }

    fn lists(&self, side: usize) -> bool {
        self.counts.get(side).is_some_and(Option::is_some)
    }

    /// Whether it is asked before anything is decided: nothing but who calls matters to it.
    fn is_early(&self) -> bool {
        let lists = [ROUTES, SERVICES, CAPABILITIES].into_iter().any(|side| self.lists(side));
        !self.apart && !lists && !self.named
    }

    /// Whether a call to what an offer's service does counts towards it, as far as that is known.
    fn counts_offer(&self, question: &Question<'_>, offer: &Offer, known: bool) -> bool {
        let service = question.landscape.services.get(offer.service as usize);
        let service = service.and_then(Option::as_ref).map_or("", |service| &*service.id);
        let names = || policy::holds_to(question, offer, &self.id, known);
        self.counts(SERVICES, service.as_bytes()) && (!self.named || names())
    }

    /// Whether it can have refused what was asked; `known` is whether all facts are.
    pub(crate) fn refuses(&self, question: &Question<'_>, known: bool) -> Result<(), String> {
        let id = &self.id;
        must!(self.counts(CALLERS, question.caller), "the quota `{id}` does not count this caller");
        let Some(capability) = question.capability else {
            must!(self.is_early(), "the quota `{id}` refuses where nothing was decided");
            return Ok(());
        };
        must!(!self.is_early(), "the quota `{id}` is asked before anything is decided");
        let route = question.route;
        must!(route.is_some() || !self.lists(ROUTES), "there is no such route");
        let route = route.map_or("", |route| &route.id);
        must!(self.counts(ROUTES, route.as_bytes()), "the quota `{id}` does not count this route");
        let own = self.counts(CAPABILITIES, capability.name.as_bytes());
        must!(own, "the quota `{id}` does not count this capability");
        let mut offers = capability.offers.iter();
        let counted = match known {
            // Quotas are asked about the one service that the call would go to.
            true => match answer(question) {
                Answer::Route((_, _, _, service), _) => offers
                    .find(|offer| offer.service == service)
                    .is_some_and(|offer| self.counts_offer(question, offer, true)),
                Answer::Deny { .. } => return Err(format!("the quota `{id}` refuses a denial")),
            },
            false => offers
                .any(|offer| is_open(question, offer) && self.counts_offer(question, offer, false)),
        };
        must!(counted, "the quota `{id}` does not count calls of where it would go");
        Ok(())
    }
}
