//! A decision told to people: every candidate, the first clause it fails, its key, who was chosen
//! and why; with public parts, so that another form can be made of it.

use super::permission::{self, Standing};
use super::reference::{self, Appraisal, Asked, Failure, Judgement};
use super::{Question, Stage, Verdict};
use crate::balance::epoch::Epoch;
use crate::config::model::Condition;
use crate::contract::logic::{Atom, AttributeId, Facts};
use crate::contract::set::{Numbers, Set, Texts, Value};
use crate::contract::vocabulary::Vocabulary;
use crate::snapshot::policy::{By, RuleKind};
use crate::snapshot::{ServiceId, Snapshot};
use crate::wire::limits::CLOSEST_RULES_MAX;
use std::fmt::{self, Write};

/// Candidates that a refusal looks at for the closest one: a refusal must stay cheap.
pub const CLOSEST_CANDIDATES_MAX: usize = 64;

/// The candidate that came furthest, and what stopped it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closest {
    /// Its id.
    pub service: String,
    /// Where and why it stopped.
    pub failure: Failure,
}

impl fmt::Display for Closest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}` fails at {}: {}", self.service, self.failure.stage.name(), self.failure)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.condition {
            Some(name) => write!(out, "{} ({})", self.clause, name),
            None => out.write_str(&self.clause),
        }
    }
}

/// For a refusal: which of the first [`CLOSEST_CANDIDATES_MAX`] candidates came furthest through
/// the filters, the first of them in the order of (tier, service).
///
/// It is asked where a call waits, so what policy says comes from the program that the engine runs
/// for this call, and not from all rules; of more than [`CLOSEST_RULES_MAX`] that are left in it
/// nobody is named.
pub fn closest(
    snapshot: &Snapshot,
    epoch: &Epoch,
    question: &Question<'_>,
    caller: &str,
    facts: &Facts,
) -> Option<Closest> {
    let asked = asked(snapshot, question, caller, facts);
    let candidates = &snapshot.capability_entry(question.capability)?.candidates;
    let Question { capability, route, caller: class, facts: vector, .. } = *question;
    let policies = snapshot.policies();
    if policies.left(capability, route, class) > CLOSEST_RULES_MAX {
        return None;
    }
    let gate = policies.gate(capability, route, class, vector);
    let mut best: Option<(ServiceId, Failure)> = None;
    for (number, candidate) in (0..).zip(candidates.iter().take(CLOSEST_CANDIDATES_MAX)) {
        let refused = || {
            let gate = gate.as_ref().filter(|gate| !gate.permits(number))?;
            Some(gate.refusal(number))
        };
        let failure = reference::first_failure(snapshot, epoch, &asked, candidate, refused)?;
        if best.as_ref().is_none_or(|(_, best)| failure.stage > best.stage) {
            best = Some((candidate.service, failure));
        }
    }
    let (service, failure) = best?;
    Some(Closest { service: snapshot.service(service)?.id.to_string(), failure })
}

/// A question of a caller in the terms of the reference.
pub fn asked<'a>(
    snapshot: &'a Snapshot,
    question: &Question<'a>,
    caller: &'a str,
    facts: &'a Facts,
) -> Asked<'a> {
    let entry = snapshot.capability_entry(question.capability);
    let bound = entry.and_then(|entry| entry.needs.get(question.needs.0 as usize));
    let header = question.header.into_iter().flat_map(|header| header.conditions());
    Asked {
        capability: question.capability,
        route: question.route,
        caller,
        needs: bound.into_iter().flatten().chain(header).collect(),
        facts,
        seed: question.seed,
        tried: question.tried,
        flights: question.flights,
    }
}

/// Everything there is to say about one decision.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The snapshot's digest, hexadecimal.
    pub snapshot: String,
    /// The epoch's number.
    pub epoch: u64,
    /// The id of the route that matched.
    pub route: String,
    /// The capability's name.
    pub capability: String,
    /// The request's seed.
    pub seed: u64,
    /// Everything that was required.
    pub needs: Vec<Condition>,
    /// What was known, as conditions.
    pub facts: Vec<String>,
    /// Whether policy has anything to say.
    pub governed: bool,
    /// Every candidate, in the order of (tier, service).
    pub candidates: Vec<Told>,
    judgement: Judgement,
}

/// What became of one candidate, by name.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its id.
    pub service: String,
    /// Its key, and why it is out.
    pub appraisal: Appraisal,
    /// What policy says to it.
    pub ruled: Ruled,
}

/// What policy says to a candidate, by name.
#[derive(Clone, Debug, Default)]
pub struct Ruled {
    /// Whether it is let through.
    pub permitted: bool,
    /// The rule that lets it through or refuses it; `None` is that no rule speaks.
    pub rule: Option<String>,
    /// Whether that is an override.
    pub overridden: bool,
    /// The rule that would refuse it were all enforced; `default` for none that permits it.
    pub shadow: Option<String>,
    /// Permits whose obligations hold.
    pub obliging: Vec<String>,
}

/// What stands for a rule where none permits.
const DEFAULT: &str = "default";

impl Ruled {
    fn new(snapshot: &Snapshot, standing: &Standing) -> Self {
        let policies = snapshot.policies();
        let name = |by: By| match by {
            By::Nobody => None,
            By::Default => Some(DEFAULT.to_owned()),
            By::Rule(rule) => policies.rule(rule).map(|rule| rule.id.to_string()),
        };
        let (permitted, by) = match standing.now {
            permission::Verdict::Permitted(by) => (true, by),
            permission::Verdict::Refused(by) => (false, by),
        };
        let kind = match by {
            By::Rule(rule) => policies.rule(rule).map(|rule| rule.kind),
            By::Nobody | By::Default => None,
        };
        let shadow = match standing.strict {
            permission::Verdict::Refused(by) if permitted => name(by),
            permission::Verdict::Refused(_) | permission::Verdict::Permitted(_) => None,
        };
        let obliging = standing.obliging.iter().filter_map(|rule| name(By::Rule(*rule)));
        let overridden = kind == Some(RuleKind::Override);
        Self { permitted, rule: name(by), overridden, shadow, obliging: obliging.collect() }
    }

    /// In words, behind what else is said of a candidate.
    fn text(&self) -> String {
        let rule = self.rule.as_deref().unwrap_or_default();
        let mut text = match (self.permitted, self.overridden, &self.rule) {
            (_, _, None) => String::new(),
            (true, true, _) => format!("; override `{rule}` lets it through"),
            (true, false, _) => format!("; `{rule}` permits it"),
            // Its failure says the rest.
            (false, ..) => String::new(),
        };
        match self.shadow.as_deref() {
            None => {}
            Some(DEFAULT) => text += "; were all rules enforced, none would permit it",
            Some(shadow) => {
                text += &format!("; were all rules enforced, `{shadow}` would forbid it")
            }
        }
        text
    }
}

impl Explanation {
    /// Decides by the book and keeps what was seen. `route` is the id of the route that matched.
    pub fn new(snapshot: &Snapshot, epoch: &Epoch, route: &str, asked: &Asked<'_>) -> Self {
        let judgement = reference::decide(snapshot, epoch, asked);
        let id = |service| snapshot.service(service).map_or(String::new(), |it| it.id.to_string());
        let candidates = judgement
            .appraisals
            .iter()
            .map(|one| Told {
                service: id(one.service),
                appraisal: one.clone(),
                ruled: Ruled::new(snapshot, &one.standing),
            })
            .collect();
        let capability = snapshot.capability_entry(asked.capability);
        Self {
            snapshot: snapshot.digest_text(),
            epoch: epoch.number(),
            route: route.to_owned(),
            capability: capability.map_or(String::new(), |entry| entry.name.to_string()),
            seed: asked.seed,
            needs: asked.needs.iter().map(|&need| need.clone()).collect(),
            facts: asked
                .facts
                .iter()
                .map(|(attribute, value)| fact_text(snapshot.vocabulary(), *attribute, value))
                .collect(),
            governed: snapshot.policies().speaks(),
            candidates,
            judgement,
        }
    }

    /// The answer.
    pub fn verdict(&self) -> &Verdict {
        &self.judgement.verdict
    }

    /// Who was chosen.
    pub fn chosen(&self) -> Option<&str> {
        let Verdict::Route(choice) = &self.judgement.verdict else { return None };
        self.candidates.get(choice.candidate as usize).map(|told| told.service.as_str())
    }

    /// What set the chosen service apart from the next best, in words.
    pub fn why(&self) -> String {
        let mut keys: Vec<_> = self
            .candidates
            .iter()
            .filter(|told| told.appraisal.failure.is_none())
            .map(|told| (told.appraisal.key, told.service.as_str()))
            .collect();
        keys.sort_unstable_by_key(|(key, _)| *key);
        match keys.as_slice() {
            [] => "nobody is eligible".to_owned(),
            [_] => "nobody else is eligible".to_owned(),
            [(best, _), (next, other), ..] => {
                let by = if best.tier < next.tier {
                    "its tier is lower than that of"
                } else if best.bucket < next.bucket {
                    "it is less loaded than"
                } else {
                    "the request's seed ranks it before"
                };
                format!("{by} the next best, `{}`", plain(other))
            }
        }
    }

    /// The explanation for a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "route       {}", plain(&self.route))?;
        writeln!(out, "capability  {}", plain(&self.capability))?;
        for need in &self.needs {
            let (name, text) = (plain(&need.name), plain(&need.text));
            writeln!(out, "needs       {text}  ({name})")?;
        }
        for fact in &self.facts {
            writeln!(out, "fact        {}", plain(fact))?;
        }
        writeln!(out)?;
        let width = self.candidates.iter().map(|told| told.service.chars().count()).max();
        for told in &self.candidates {
            let key = &told.appraisal.key;
            write!(out, "{:width$}  ", told.service, width = width.unwrap_or(0))?;
            match &told.appraisal.failure {
                Some(failure) => {
                    writeln!(out, "no   {}: {}", failure.stage.name(), plain(&failure.to_string()))?
                }
                None => writeln!(
                    out,
                    "yes  tier {}, load {}, rendezvous {:016x}{}",
                    key.tier,
                    key.bucket,
                    key.rendezvous,
                    plain(&told.ruled.text())
                )?,
            }
        }
        writeln!(out)?;
        match &self.judgement.verdict {
            Verdict::Route(_) => {
                let chosen = self.chosen().unwrap_or_default();
                writeln!(out, "chosen      {}: {}", plain(chosen), self.why())?;
            }
            Verdict::Deny(denial) => {
                writeln!(
                    out,
                    "refused     nobody is left after the stage {}",
                    denial.stage.name()
                )?;
                let left = Stage::ALL.iter().zip(denial.survivors);
                let left: Vec<String> =
                    left.map(|(stage, count)| format!("{} {count}", stage.name())).collect();
                writeln!(out, "left        {}", left.join(", "))?;
            }
        }
        writeln!(out, "snapshot    sha256:{}", self.snapshot)?;
        writeln!(out, "epoch       {}", self.epoch)?;
        writeln!(out, "seed        {:016x}", self.seed)
    }
}

/// Text with its control characters escaped, so that no document writes to a terminal.
fn plain(text: &str) -> String {
    let escape = |character: char| match character.is_control() {
        true => character.escape_default().collect::<String>(),
        false => character.to_string(),
    };
    text.chars().map(escape).collect()
}

/// `request.bytes == 1KiB`
fn fact_text(vocabulary: &Vocabulary, attribute: AttributeId, value: &Value) -> String {
    let set = match value {
        Value::Number(number) => Set::Numbers(Numbers::new([(*number, *number)])),
        Value::Text(text) => Set::Texts(Texts::exactly([&**text])),
    };
    vocabulary.show_atom(&Atom { attribute, set })
}
