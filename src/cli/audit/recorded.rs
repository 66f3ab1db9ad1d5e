//! A recorded decision made again, from the log and the stored snapshot alone: for `explain` and
//! for `replay`.
//!
//! ```text
//!   D: capability, needs, facts, seed, tried ─┐
//!   E: a byte of health and load per service ─┼─▶ decide ─▶ the same as D says?
//!   R: what the request stated, S: the digest ┘
//! ```

use super::exchange::{DEFAULT, Exchange, Fact, Names, Openings, Snapshots, facts, shown};
use super::gather::find;
use super::id::Id;
use super::options::Options;
use super::time::rfc3339;
use super::trail::Trail;
use super::{Failure, Outcome};
use crate::audit::record;
use crate::audit::scan::Landscape;
use crate::balance::epoch::{Epoch, State};
use crate::cli::check::{FINE, WRONG};
use crate::cli::explain;
use crate::cli::progress::while_it_takes;
use crate::cli::style::Output;
use crate::contract::logic::Facts;
use crate::contract::set::{Set, Value};
use crate::decide::Verdict;
use crate::decide::explain::Explanation;
use crate::decide::reference::Asked;
use crate::snapshot::policy::RuleId;
use crate::snapshot::{CapabilityId, RouteId, ServiceId, Snapshot};
use serde_json::json;
use std::sync::Arc;

/// The epoch that a landscape was recorded with.
pub fn epoch(landscape: &Landscape) -> Epoch {
    let state = |byte: &u8| State::new(byte & 8 == 0, byte & 16 != 0, byte & 7);
    let states: Vec<State> = landscape.states.iter().map(state).collect();
    Epoch::new(landscape.epoch.into(), states)
}

/// How a verdict differs from the record of it; `None` where it does not.
pub fn difference(
    decision: &record::Decision<'_>,
    made: &Verdict,
    snapshot: &Snapshot,
) -> Option<String> {
    let id = |number| snapshot.service(ServiceId(number)).map_or("nobody", |it| &*it.id);
    let rule = |number: u32| match number {
        record::NONE => "none".to_owned(),
        record::DEFAULT_RULE => DEFAULT.to_owned(),
        number => snapshot
            .policies()
            .rule(RuleId(number))
            .map_or_else(|| format!("#{number}"), |rule| rule.id.to_string()),
    };
    let recorded = match decision.verdict {
        record::Verdict::Route => {
            let (tier, load) = (decision.tier, decision.bucket);
            let (service, rendezvous) = (id(decision.service), decision.rendezvous);
            let rules = [decision.rule, decision.shadow].map(rule).join(" and ");
            let rules = format!("rules {rules}");
            format!(
                "{service} with tier {tier}, load {load}, rendezvous {rendezvous:016x}, {rules}"
            )
        }
        record::Verdict::Deny => {
            let (stage, by) = (super::told::stage(decision.stage), rule(decision.rule));
            format!("nobody left after {stage}, {:?}, rule {by}", decision.survivors)
        }
        record::Verdict::Refuse => return None,
    };
    let again = match made {
        Verdict::Route(choice) => {
            let (tier, load) = (choice.key.tier, choice.key.bucket);
            let (service, rendezvous) = (id(choice.service.0), choice.key.rendezvous);
            let rules = [choice.ruling.rule, choice.ruling.shadow].map(record::rule_code);
            let rules = format!("rules {}", rules.map(rule).join(" and "));
            format!(
                "{service} with tier {tier}, load {load}, rendezvous {rendezvous:016x}, {rules}"
            )
        }
        Verdict::Deny(denial) => {
            let (stage, by) = (denial.stage.name(), rule(record::rule_code(denial.rule)));
            format!("nobody left after {stage}, {:?}, rule {by}", denial.survivors)
        }
    };
    (recorded != again).then(|| format!("recorded {recorded}; decided again {again}"))
}

/// The services that were tried.
pub fn tried(decision: &record::Decision<'_>) -> Vec<ServiceId> {
    decision.tried.iter().map(|service| ServiceId(*service)).collect()
}

/// One value for each fact that is known: of texts that nothing tells apart, the first.
fn values(facts: &[Fact]) -> Facts {
    let known =
        facts.iter().filter_map(|fact| Some((fact.attribute, value(fact.meaning.as_ref()?)?)));
    known.collect()
}

fn value(set: &Set) -> Option<Value> {
    match set {
        Set::Numbers(numbers) => numbers.intervals().first().map(|(low, _)| Value::Number(*low)),
        Set::Texts(texts) => {
            let (low, high) = texts.intervals().first()?;
            let text = first_text(low)?;
            let within = high.as_ref().is_none_or(|high| text.as_bytes() < high.as_slice());
            within.then(|| Value::Text(Arc::from(text.as_str())))
        }
    }
}

/// The first text that is not below these bytes, which need not be text themselves.
fn first_text(low: &[u8]) -> Option<String> {
    let wrong = match std::str::from_utf8(low) {
        Ok(text) => return Some(text.to_owned()),
        Err(error) => error.valid_up_to(),
    };
    let (text, rest) = low.split_at_checked(wrong)?;
    let text = std::str::from_utf8(text).ok()?;
    // Letters have the order of their bytes.
    let above = |letter: &char| letter.encode_utf8(&mut [0; 4]).as_bytes() >= rest;
    let (mut least, mut most) = (0u32, 0x0011_0000u32);
    while least < most {
        let middle = least + (most - least) / 2;
        // Surrogates are no letters, and lie between letters.
        let letter = char::from_u32(middle).unwrap_or('\u{e000}');
        if above(&letter) { most = middle } else { least = middle + 1 }
    }
    let letter = if (0xd800..0xe000).contains(&least) { 0xe000 } else { least };
    Some(format!("{text}{}", char::from_u32(letter)?))
}

/// `caio explain ID --trail DIRECTORY`.
///
/// # Errors
/// What is wrong with the command line or the trail.
pub fn run(options: &Options, out: &mut Output<'_>) -> Outcome {
    let id = Id::read(options.word("decision").map_err(Failure::Usage)?).map_err(Failure::Usage)?;
    let trail = options.open()?;
    let exchange = while_it_takes("reading the trail", || find(&trail, id))?;
    let mut snapshots = Snapshots::default();
    let snapshot = snapshots.of(&trail, &exchange)?;
    let names = Names { exchange: &exchange, snapshot: Some(&snapshot) };
    if exchange.decision.verdict == record::Verdict::Refuse {
        return refused(&exchange, options, out);
    }
    let (explanation, erased) = explained(&trail, &names, &snapshot)?;
    let differs = difference(&exchange.decision, explanation.verdict(), &snapshot);
    if options.json {
        let mut told = explain::json(&explanation);
        if let Some(told) = told.as_object_mut() {
            told.insert("id".to_owned(), exchange.id.to_string().into());
            told.insert("time".to_owned(), rfc3339(exchange.at_ms(), 0).into());
            told.insert("caller".to_owned(), exchange.caller().into());
            told.insert("erased_facts".to_owned(), erased.into());
            told.insert("differs".to_owned(), differs.clone().into());
        }
        writeln!(out.writer, "{told:#}")?;
    } else {
        writeln!(out.writer, "decision    {}", exchange.id)?;
        writeln!(out.writer, "time        {}", rfc3339(exchange.at_ms(), 0))?;
        writeln!(out.writer, "caller      {}", exchange.caller())?;
        write!(out.writer, "{}", explanation.text())?;
        if erased > 0 {
            let what = format!("{erased} erased facts are taken to be unknown here");
            writeln!(out.writer, "{}", out.paint.yellow(&what))?;
        }
    }
    if let Some(what) = differs {
        if erased > 0 {
            return Ok(WRONG);
        }
        return Err(Failure::Wrong(format!("{} does not follow: {what}", exchange.id)));
    }
    let routed = exchange.decision.verdict == record::Verdict::Route;
    Ok(if routed { FINE } else { WRONG })
}

/// What was refused beside the question has no candidates to tell of.
fn refused(exchange: &Exchange, options: &Options, out: &mut Output<'_>) -> Outcome {
    let row = exchange.reason().map(|reason| reason.row());
    let (code, title) = row.map_or(("unknown", "no reason on record"), |row| (row.code, row.title));
    if options.json {
        let id = exchange.id.to_string();
        let told = json!({ "id": id, "refused": { "code": code, "title": title } });
        writeln!(out.writer, "{told:#}")?;
    } else {
        writeln!(out.writer, "decision    {}", exchange.id)?;
        writeln!(out.writer, "refused     {code}: {title}; no service was asked for")?;
    }
    Ok(WRONG)
}

/// The decision told by the reference, and how many facts nobody knows any more.
fn explained(
    trail: &Trail,
    names: &Names<'_>,
    snapshot: &Snapshot,
) -> Result<(Explanation, usize), String> {
    let exchange = names.exchange;
    let decision = &exchange.decision;
    let facts = facts(trail, names, &mut Openings::default())?;
    let needs = names.needs();
    if names.stated().is_none() {
        return Err(format!("what the request of {} stated is not on record", exchange.id));
    }
    let (known, tried) = (values(&facts), tried(decision));
    let caller = String::from_utf8_lossy(&decision.caller);
    let asked = Asked {
        capability: CapabilityId(decision.capability),
        route: RouteId(decision.route),
        caller: &caller,
        needs: needs.iter().collect(),
        facts: &known,
        seed: decision.seed,
        tried: &tried,
        flights: &exchange.flights,
    };
    let landscape = exchange.landscape.as_ref().ok_or("its landscape is not on record")?;
    let route = names.route().unwrap_or_default();
    let mut explanation = Explanation::new(snapshot, &epoch(landscape), &route, &asked);
    // As they are on record: of a text all that the contracts could tell.
    explanation.facts = facts.iter().map(|fact| shown(fact.text.as_bytes())).collect();
    let erased = facts.iter().filter(|fact| fact.number.is_none()).count();
    Ok((explanation, erased))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_text_from_bytes_is_text_and_the_first() {
        assert_eq!(first_text(b"abc").as_deref(), Some("abc"));
        assert_eq!(first_text(&[b'a', 0x80]).as_deref(), Some("a\u{80}"));
        assert_eq!(first_text(&[0xc2, 0xc0]).as_deref(), Some("\u{c0}"));
        assert_eq!(first_text(&[0xed, 0xa0]).as_deref(), Some("\u{e000}"));
        assert_eq!(first_text(&[0xf5]), None);
    }
}
