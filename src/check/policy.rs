//! Who may call what, caio-sem/1: each rule as it is written, asked of each call.

use super::condition::Condition;
use super::landscape::{Capability, Landscape, Offer, Route};
use super::meaning::{Question, entail};
use super::record::NONE;
use super::report::must;
use super::text::{Cnf, Cursor};

/// The number for what no rule permits, where that is a denial.
pub(crate) const DEFAULT: u32 = u32::MAX - 1;

/// All rules, by their numbers, and what is said of calls that none speaks of.
#[derive(Default)]
pub(crate) struct Policies {
    rules: Vec<Rule>,
    deny: bool,
}

/// What a rule does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Permit,
    Forbid,
    Override,
}

struct Rule {
    id: String,
    kind: Kind,
    shadow: bool,
    /// Callers, capabilities, services, routes; `None` is all.
    speaks_of: [Option<Vec<String>>; 4],
    /// Of a forbid both are their negations.
    facts: Option<Cnf>,
    promises: Option<Cnf>,
    /// The quotas that it holds calls to.
    limits: Vec<String>,
}

const CALLERS: usize = 0;
const CAPABILITIES: usize = 1;
const SERVICES: usize = 2;
const ROUTES: usize = 3;
const SIDES: [&str; 4] = ["callers", "capabilities", "services", "routes"];

/// A rule that speaks of a capability, its condition laid out for it.
pub(crate) struct Here {
    number: usize,
    facts: Option<Condition>,
}

impl Rule {
    fn speaks_of(&self, side: usize, id: &[u8]) -> bool {
        let patterns = self.speaks_of.get(side).and_then(Option::as_ref);
        patterns.is_none_or(|patterns| {
            patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => id.starts_with(prefix.as_bytes()),
                None => pattern.as_bytes() == id,
            })
        })
    }
}

impl Policies {
    /// The next line that is about rules.
    pub(crate) fn line(&mut self, word: &str, from: &mut Cursor<'_>) -> Option<()> {
        if let Some(side) = SIDES.iter().position(|side| *side == word) {
            let mut patterns = vec![from.quoted()?];
            while from.eat(" ").is_some() {
                patterns.push(from.quoted()?);
            }
            let slot = self.rules.last_mut()?.speaks_of.get_mut(side)?;
            *slot = Some(patterns).filter(|_| slot.is_none());
            return slot.as_ref().filter(|_| from.0.is_empty()).map(|_| ());
        }
        match word {
            "policies" => {
                self.deny = from.0 == b"deny";
                return (self.deny || from.0 == b"open").then_some(());
            }
            "policy" => {
                let id = from.quoted()?;
                let permit = from.eat(" permit").is_some();
                permit.then_some(()).or_else(|| from.eat(" forbid"))?;
                let shadow = from.eat(" shadow").is_some();
                shadow.then_some(()).or_else(|| from.eat(" enforce"))?;
                self.begin(id, if permit { Kind::Permit } else { Kind::Forbid }, shadow)?;
            }
            "override" => {
                let id = from.quoted()?;
                from.eat(" expires ")?;
                from.word();
                from.eat(" owner ")?;
                from.quoted()?;
                self.begin(id, Kind::Override, false)?;
            }
            "if" | "unless" => {
                let promises = from.eat("promises ").is_some();
                promises.then_some(()).or_else(|| from.eat("facts "))?;
                let condition = from.condition()?.1;
                let rule = self.rules.last_mut()?;
                let right = (rule.kind == Kind::Forbid) == (word == "unless")
                    && !(promises && rule.kind == Kind::Override);
                let slot = if promises { &mut rule.promises } else { &mut rule.facts };
                *slot = Some(condition).filter(|_| slot.is_none() && right);
                slot.as_ref()?;
            }
            // For people, and what is done beside the decision.
            "reason" | "set" | "remove" | "keep" => return self.rules.last().map(|_| ()),
            "limit" => {
                let id = from.quoted()?;
                self.rules.last_mut().filter(|rule| rule.kind == Kind::Permit)?.limits.push(id);
            }
            _ => return None,
        }
        from.0.is_empty().then_some(())
    }

    fn begin(&mut self, id: String, kind: Kind, shadow: bool) -> Option<()> {
        // Numbers are places in this order, so the order must be the only possible one.
        let place = |rule: &Rule| (rule.kind == Kind::Override, rule.id.clone());
        let next = (kind == Kind::Override, id.clone());
        if self.rules.last().is_some_and(|last| place(last) >= next) {
            return None;
        }
        let speaks_of = [const { None }; 4];
        let (facts, promises, limits) = (None, None, Vec::new());
        self.rules.push(Rule { id, kind, shadow, speaks_of, facts, promises, limits });
        Some(())
    }

    /// Whether anything is decided by them.
    fn speak(&self) -> bool {
        self.deny || !self.rules.is_empty()
    }

    /// Whether whoever is not permitted is refused; `all` is were all rules enforced.
    fn denies(&self, all: bool) -> bool {
        self.deny || self.rules.iter().any(|it| it.kind != Kind::Override && (all || !it.shadow))
    }

    /// The conditions on facts of those that speak of a capability.
    pub(crate) fn conditions(&self, capability: &str) -> impl Iterator<Item = &Cnf> {
        self.of(capability).filter_map(|(_, rule)| rule.facts.as_ref())
    }

    fn of(&self, capability: &str) -> impl Iterator<Item = (usize, &Rule)> {
        let rules = self.rules.iter().enumerate();
        rules.filter(move |(_, rule)| rule.speaks_of(CAPABILITIES, capability.as_bytes()))
    }

    /// Lays out for a capability those that speak of it, and for each of its offers which those
    /// are that its service's name and its unconditional promises leave.
    pub(crate) fn lay_out<'a>(&self, capability: &mut Capability, id: &dyn Fn(u32) -> &'a str) {
        let columns = &capability.columns;
        let here = self.of(&capability.name).map(|(number, rule)| Here {
            number,
            facts: rule.facts.as_ref().map(|cnf| Condition::new(cnf, columns)),
        });
        capability.rules = here.collect();
        for offer in &mut capability.offers {
            let id = id(offer.service);
            let left = capability.rules.iter().zip(0..).filter(|(here, _)| {
                let Some(rule) = self.rules.get(here.number) else { return false };
                let promises = rule.promises.as_ref().map(|cnf| entail(offer, &[], [cnf]));
                let applies = match rule.kind {
                    Kind::Forbid => promises != Some(true),
                    Kind::Permit | Kind::Override => promises != Some(false),
                };
                applies && rule.speaks_of(SERVICES, id.as_bytes())
            });
            let left = left.map(|(_, place)| place).collect();
            offer.rules = left;
        }
    }

    /// Whether the route of a decision must be known to weigh it.
    pub(crate) fn name_routes(&self) -> bool {
        self.rules.iter().any(|rule| rule.speaks_of.get(ROUTES).is_some_and(Option::is_some))
    }

    /// The rules that speak of an offer, this caller and this route.
    fn speaking<'a>(
        &'a self,
        question: &'a Question<'_>,
        offer: &'a Offer,
    ) -> impl Iterator<Item = (&'a Rule, &'a Here)> {
        let here = question.capability.map_or(&[][..], |capability| &capability.rules);
        let route = question.route.map_or("", |route| &route.id);
        let left = offer.rules.iter().filter_map(|place| here.get(*place as usize));
        let rules = left.filter_map(|here| Some((self.rules.get(here.number)?, here)));
        rules.filter(move |(rule, _)| {
            rule.speaks_of(CALLERS, question.caller) && rule.speaks_of(ROUTES, route.as_bytes())
        })
    }
}

/// What rules say to an offer: the number of the rule that lets it through, or that refuses it.
pub(crate) type Said = Result<u32, u32>;

/// The first rules of each kind that apply.
#[derive(Default)]
struct First {
    permit: Option<u32>,
    forbid: Option<u32>,
    overriding: Option<u32>,
}

impl First {
    fn said(&self, denies: bool) -> Said {
        match self {
            Self { forbid: None, permit: Some(permit), .. } => Ok(*permit),
            Self { overriding: Some(overriding), .. } => Ok(*overriding),
            Self { forbid: Some(forbid), .. } => Err(*forbid),
            Self { .. } if denies => Err(DEFAULT),
            Self { .. } => Ok(NONE),
        }
    }
}

fn shadowed(question: &Question<'_>) -> bool {
    question.route.is_some_and(|route| route.shadow)
}

/// What is said to an offer now, and what were all rules enforced everywhere.
pub(crate) fn weigh(question: &Question<'_>, offer: &Offer) -> [Said; 2] {
    let policies = &question.landscape.common.policies;
    if !policies.speak() {
        return [Ok(NONE); 2];
    }
    let told = shadowed(question);
    let mut firsts = [First::default(), First::default()];
    for (rule, here) in policies.speaking(question, offer) {
        let holds = here.facts.as_ref().map(|facts| facts.holds(question.facts));
        let applies = match rule.kind {
            Kind::Forbid => holds != Some(true),
            Kind::Permit | Kind::Override => holds != Some(false),
        };
        if !applies {
            continue;
        }
        let number = u32::try_from(here.number).unwrap_or(NONE);
        let skipped = usize::from(told || rule.shadow);
        for first in firsts.iter_mut().skip(skipped) {
            let first = match rule.kind {
                Kind::Permit => &mut first.permit,
                Kind::Forbid => &mut first.forbid,
                Kind::Override => &mut first.overriding,
            };
            *first = first.or(Some(number));
        }
    }
    let [now, all] = firsts;
    [now.said(policies.denies(false) && !told), all.said(policies.denies(true))]
}

/// Whether rules can have said this to whom a call went, whatever the facts were.
pub(crate) fn possible(
    question: &Question<'_>,
    offer: &Offer,
    [rule, shadow]: [u32; 2],
) -> Result<(), String> {
    let policies = &question.landscape.common.policies;
    let told = shadowed(question);
    let speaks = |number: u32, fits: &dyn Fn(&Rule) -> bool| {
        let mut speaking = policies.speaking(question, offer);
        speaking.any(|(rule, here)| here.number == number as usize && fits(rule))
    };
    let lets = |rule: &Rule| !told && !rule.shadow && rule.kind != Kind::Forbid;
    let none = rule == NONE && (told || !policies.denies(false));
    must!(none || speaks(rule, &lets), "rule {rule} does not let it through");
    let refuses = |rule: &Rule| rule.kind == Kind::Forbid && (told || rule.shadow);
    let default = shadow == DEFAULT && policies.denies(true) && (told || !policies.denies(false));
    let right = shadow == NONE || default || speaks(shadow, &refuses);
    must!(right, "rule {shadow} would not refuse it");
    Ok(())
}

/// Whether whoever looks for services may have been shown this one: policy lets it call that,
/// whatever the request and the route, by some facts of its own; these are not on record.
pub(crate) fn may_see(
    landscape: &Landscape,
    (capability, offer): (&Capability, &Offer),
    caller: &[u8],
) -> bool {
    let policies = &landscape.common.policies;
    let (mut permitted, mut overridden, mut forbidden) = (false, false, false);
    for here in offer.rules.iter().filter_map(|place| capability.rules.get(*place as usize)) {
        let Some(rule) = policies.rules.get(here.number) else { continue };
        if rule.shadow || !rule.speaks_of(CALLERS, caller) {
            continue;
        }
        let anywhere = rule.speaks_of(ROUTES, b"");
        match rule.kind {
            Kind::Permit => permitted |= anywhere,
            Kind::Override => overridden |= anywhere,
            // What forbids some route counts, and what asks for facts may be met.
            Kind::Forbid => forbidden |= here.facts.is_none(),
        }
    }
    overridden || !forbidden && (permitted || !policies.denies(false))
}

/// Whether some permit that applies holds a call of an offer to this quota; `known` is whether all
/// facts are, and where they are not, any that may apply does.
pub(crate) fn holds_to(question: &Question<'_>, offer: &Offer, quota: &str, known: bool) -> bool {
    let mut speaking = question.landscape.common.policies.speaking(question, offer);
    !shadowed(question)
        && speaking.any(|(rule, here)| {
            let holds = || here.facts.as_ref().is_none_or(|facts| facts.holds(question.facts));
            let names = rule.limits.iter().any(|limit| limit == quota);
            !rule.shadow && names && (!known || holds())
        })
}

/// Whether a route is known, where some rule names routes.
pub(crate) fn knows(policies: &Policies, route: Option<&Route>) -> bool {
    route.is_some() || !policies.name_routes()
}
