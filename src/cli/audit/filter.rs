//! Which exchanges are asked for: as much as can be is told from single fields of a decision.

use super::exchange::{DEFAULT, Exchange, Snapshots};
use super::options::Options;
use super::trail::{Seen, Trail};
use crate::audit::record::{DEFAULT_RULE, HEADER_BYTES, Hash, Method, NONE, Verdict, foreign_id};
use crate::audit::scan::{Landscape, Sketch};
use crate::exchange::refusal::Reason;
use crate::wire::fault::quoted;
use crate::wire::request_id::uuid_bits;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A question, as far as it was asked.
#[derive(Debug, Default)]
pub struct Filter {
    since_ms: Option<u64>,
    until_ms: Option<u64>,
    caller: Option<String>,
    service: Option<String>,
    capability: Option<String>,
    verdict: Option<Verdict>,
    rule: Option<String>,
    method: Option<Method>,
    reason: Option<u16>,
    status: Option<(u16, u16)>,
    trace: Option<u128>,
    request_id: Option<u128>,
    /// What the names are in each snapshot.
    numbers: BTreeMap<Hash, Numbers>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    service: Option<u32>,
    capability: Option<u32>,
    rule: Option<u32>,
}

impl Filter {
    /// That of a command line.
    ///
    /// # Errors
    /// What is no such value.
    pub fn read(options: &Options) -> Result<Self, String> {
        let (since_ms, until_ms) = (options.since_ms, options.until_ms);
        let mut filter = Self { since_ms, until_ms, ..Self::default() };
        for (name, text) in &options.filters {
            let wrong = |what: &str| format!("{name} {}: {what}", quoted(text));
            match *name {
                "--caller" => filter.caller = Some(text.clone()),
                "--service" => filter.service = Some(text.clone()),
                "--capability" => filter.capability = Some(text.clone()),
                "--verdict" => {
                    filter.verdict = Some(match text.as_str() {
                        "route" => Verdict::Route,
                        "deny" => Verdict::Deny,
                        "refuse" => Verdict::Refuse,
                        _ => return Err(wrong("it is route, deny or refuse")),
                    });
                }
                "--rule" => filter.rule = Some(text.clone()),
                "--method" => {
                    let found = Method::ALL.into_iter().find(|method| method.name() == text);
                    let words = || Method::ALL.map(Method::name).join(", ");
                    filter.method =
                        Some(found.ok_or_else(|| wrong(&format!("it is one of {}", words())))?);
                }
                "--reason" => {
                    let all = Reason::ALL.iter();
                    let known = all.map(|reason| (reason.row().code, reason.number()));
                    let found = known.clone().find(|(code, _)| code == text);
                    let like = || known.map(|(code, _)| code).collect::<Vec<_>>().join(", ");
                    let found = found.ok_or_else(|| wrong(&format!("it is one of {}", like())))?;
                    filter.reason = Some(found.1);
                }
                "--status" => {
                    let class = text.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok());
                    let range = match class {
                        Some(class @ 1..=5) => Some((class * 100, class * 100 + 99)),
                        _ => text.parse().ok().map(|status| (status, status)),
                    };
                    filter.status = Some(range.ok_or_else(|| wrong("it is 503, or 5xx"))?);
                }
                "--trace" => {
                    let trace = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
                    filter.trace = Some(trace.ok_or_else(|| wrong("it is 32 hex digits"))?);
                }
                _ => {
                    let uuid = uuid_bits(text.as_bytes());
                    filter.request_id = Some(uuid.unwrap_or_else(|| foreign_id(text.as_bytes())));
                }
            }
        }
        Ok(filter)
    }

    /// Whether a time span may hold what is asked for.
    pub fn overlaps(&self, from_ms: u64, until_ms: Option<u64>) -> bool {
        self.until_ms.is_none_or(|until| from_ms < until)
            && self.since_ms.is_none_or(|since| until_ms.is_none_or(|last| last >= since))
    }

    /// Whether a decision may be meant, as far as its own fields tell.
    #[inline]
    pub fn begins(&mut self, seen: &Seen<'_>, trail: &Trail, snapshots: &mut Snapshots) -> bool {
        let sketch = Sketch(seen.raw.bytes);
        if self.since_ms.is_some() || self.until_ms.is_some() {
            let at_ms = seen.context.wall_ms.saturating_add(sketch.ns() / 1_000_000);
            if self.since_ms.is_some_and(|since| at_ms < since)
                || self.until_ms.is_some_and(|until| at_ms >= until)
            {
                return false;
            }
        }
        if self.verdict.is_some() && self.verdict != sketch.verdict()
            || self.trace.is_some_and(|trace| trace != sketch.trace())
            || self.request_id.is_some_and(|id| id != sketch.request_id())
            || self.method.is_some_and(|method| method.code() != sketch.method())
        {
            return false;
        }
        // A routed call may still be refused at its end.
        let refused = sketch.reason();
        if self.reason.is_some_and(|reason| refused != 0 && refused != reason) {
            return false;
        }
        if self.caller.as_ref().is_some_and(|caller| sketch.caller() != Some(caller.as_bytes())) {
            return false;
        }
        let rules = sketch.rules();
        let default = self.rule.as_deref() == Some(DEFAULT);
        if default && !rules.contains(&DEFAULT_RULE) || self.rule.is_some() && rules == [NONE; 2] {
            return false;
        }
        if self.service.is_none() && self.capability.is_none() && (self.rule.is_none() || default) {
            return true;
        }
        let Some(landscape) = seen.context.landscape(sketch.landscape()) else { return false };
        let numbers = self.numbers(landscape, trail, snapshots);
        (self.service.is_none() || numbers.service == Some(sketch.service()))
            && (self.capability.is_none() || numbers.capability == Some(sketch.capability()))
            && (self.rule.is_none()
                || default
                || numbers.rule.is_some_and(|rule| rules.contains(&rule)))
    }

    /// Whether an outcome may be that of an exchange that is meant, as far as its status tells.
    #[inline]
    pub fn may_end(&self, outcome: &[u8]) -> bool {
        let Some((least, most)) = self.status else { return true };
        let status = outcome.get(HEADER_BYTES..).and_then(|status| status.first_chunk());
        // What is shorter is refused where it is decoded.
        status.is_none_or(|status| (least..=most).contains(&u16::from_le_bytes(*status)))
    }

    /// Whether an exchange is meant, now that it ended or will not.
    pub fn ends(&self, exchange: &Exchange) -> bool {
        let status = self.status.is_none_or(|(least, most)| {
            exchange.status().is_some_and(|status| (least..=most).contains(&status))
        });
        let number = exchange.reason().map(Reason::number);
        status && self.reason.is_none_or(|reason| number == Some(reason))
    }

    fn numbers(
        &mut self,
        landscape: &Rc<Landscape>,
        trail: &Trail,
        snapshots: &mut Snapshots,
    ) -> Numbers {
        if let Some(numbers) = self.numbers.get(&landscape.snapshot) {
            return *numbers;
        }
        let numbers = match snapshots.take(trail, &landscape.snapshot) {
            Ok(snapshot) => Numbers {
                service: self
                    .service
                    .as_deref()
                    .and_then(|id| snapshot.service_named(id))
                    .map(|id| id.0),
                capability: self
                    .capability
                    .as_deref()
                    .and_then(|name| snapshot.capability(name))
                    .map(|id| id.0),
                rule: self.rule.as_deref().and_then(|id| {
                    let mut rules = snapshot.policies().rules().iter();
                    u32::try_from(rules.position(|rule| *rule.id == *id)?).ok()
                }),
            },
            Err(_) => Numbers::default(),
        };
        self.numbers.insert(landscape.snapshot, numbers);
        numbers
    }
}
