//! Does a new contract refine an old one? Then every call that went to the service may still go
//! there, and is promised at least what it was.
//!
//! Demands may only weaken, on whatever the old ones take; promises may only strengthen, on the
//! same; what is offered stays, and each operation with it.

use super::asking::Asking;
use super::formula::Formula;
use super::problem::Values;
use super::{Settled, settle};
use crate::compiler::paths::covers;
use crate::config::model::{Contract, Interface, Offer};
use crate::contract::logic::{AttributeId, Clause, Cnf, Facts};
use crate::contract::set::{Numbers, Set, Texts, Value};
use crate::contract::vocabulary::Vocabulary;
use crate::snapshot::bound::contradictions;
use crate::snapshot::pattern::operation_text;
use crate::wire::limits::PROOF_STEPS_MAX;

/// A point in which a new contract does not refine the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The capability it is about.
    pub capability: String,
    /// Which part, and what is wrong with it, lower case, no full stop.
    pub what: String,
    /// The facts of a request that shows it, where it depends on requests.
    pub facts: Option<Facts>,
    /// Whether it is only not known to refine.
    pub unknown: bool,
}

/// Every point in which the new contract does not refine the old one.
pub fn refine(vocabulary: &Vocabulary, old: &Contract, new: &Contract) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for offer in &old.offers {
        let found = new.offers.iter().find(|it| it.capability == offer.capability);
        let Some(found) = found else {
            breaches.push(Breach {
                capability: offer.capability.clone(),
                what: "is not offered any more".to_owned(),
                facts: None,
                unknown: false,
            });
            continue;
        };
        let change = Change { vocabulary, old: offer, new: found };
        change.interface(&mut breaches);
        change.demands(&mut breaches);
        change.promises(&mut breaches);
    }
    breaches
}

/// Facts as a person would state them.
pub fn show_facts(vocabulary: &Vocabulary, facts: &Facts) -> String {
    let texts: Vec<String> = facts
        .iter()
        .map(|(attribute, value)| {
            let set = match value {
                Value::Number(number) => Set::Numbers(Numbers::new([(*number, *number)])),
                Value::Text(text) => Set::Texts(Texts::exactly([&**text])),
            };
            vocabulary.show_set(*attribute, &set)
        })
        .collect();
    if texts.is_empty() { "nothing known of it".to_owned() } else { texts.join(" && ") }
}

struct Change<'a> {
    vocabulary: &'a Vocabulary,
    old: &'a Offer,
    new: &'a Offer,
}

impl Change<'_> {
    fn breach(&self, what: String, facts: Option<Facts>, unknown: bool) -> Breach {
        Breach { capability: self.old.capability.clone(), what, facts, unknown }
    }

    fn interface(&self, breaches: &mut Vec<Breach>) {
        match (&self.old.interface, &self.new.interface) {
            (Interface::Grpc(old), Interface::Grpc(new)) if old == new => {}
            (Interface::Http(old), Interface::Http(new)) => {
                for operation in old {
                    if !new.iter().any(|it| covers(it, operation)) {
                        let text = operation_text(operation);
                        let what = format!("interface: `{text}` is not served any more");
                        breaches.push(self.breach(what, None, false));
                    }
                }
            }
            _ => {
                let what = "interface: it is spoken to in another way".to_owned();
                breaches.push(self.breach(what, None, false));
            }
        }
    }

    /// A question about requests that the old demands take.
    fn ask(&self) -> Asking<'_> {
        let mut asking = Asking::about(self.vocabulary);
        for demand in &self.old.demands {
            let demand = asking.condition(&demand.cnf);
            asking.assert(&demand);
        }
        asking
    }

    fn demands(&self, breaches: &mut Vec<Breach>) {
        for demand in &self.new.demands {
            for clause in &demand.cnf.clauses {
                let mut asking = self.ask();
                let one = Cnf { clauses: vec![clause.clone()] };
                let taken = asking.condition(&one);
                let refused = asking.not(&taken);
                asking.assert(&refused);
                let text = self.show(clause);
                let what = format!("demand `{}` is new or stricter: {text}", demand.name);
                breaches.extend(self.settled(asking, what));
            }
        }
    }

    fn promises(&self, breaches: &mut Vec<Breach>) {
        for modes in contradictions(self.new) {
            let mut asking = self.ask();
            for mode in self.chosen(modes) {
                let when = asking.condition(mode);
                asking.assert(&when);
            }
            let what = "its new promises contradict each other".to_owned();
            breaches.extend(self.settled(asking, what));
        }
        for mode in &self.old.promises {
            for (attribute, set) in &mode.then {
                let mut asking = self.ask();
                let when = asking.condition(&mode.when);
                asking.assert(&when);
                self.broken(&mut asking, *attribute, set);
                let promised = self.vocabulary.show_set(*attribute, set);
                let condition = match mode.when.clauses.is_empty() {
                    true => String::new(),
                    false => format!(" when {}", self.vocabulary.show_cnf(&mode.when)),
                };
                let what = format!("promise is gone or weaker: {promised}{condition}");
                breaches.extend(self.settled(asking, what));
            }
        }
    }

    fn chosen(&self, modes: u16) -> impl Iterator<Item = &Cnf> {
        let all = self.new.promises.iter().zip(0..u16::BITS);
        all.filter(move |(_, bit)| modes >> bit & 1 == 1).map(|(mode, _)| &mode.when)
    }

    /// The service keeps all that is promised now, and not this.
    fn broken(&self, asking: &mut Asking<'_>, attribute: AttributeId, set: &Set) {
        let variable = asking.variable(attribute);
        let kept = Formula::is(variable, Values::known(set.clone()));
        let broken = asking.not(&kept);
        asking.assert(&broken);
        asking.keep(&self.new.promises);
    }

    fn settled(&self, asking: Asking<'_>, what: String) -> Option<Breach> {
        let asked = asking.finish();
        match settle(&asked.problem, PROOF_STEPS_MAX) {
            Settled::Impossible => None,
            Settled::Possible(point) => Some(self.breach(what, Some(asked.facts(&point)), false)),
            Settled::Unknown => Some(self.breach(what, None, true)),
        }
    }

    fn show(&self, clause: &Clause) -> String {
        self.vocabulary.show_clause(clause)
    }
}
