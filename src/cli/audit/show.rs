//! `show`: everything about one decision and what came of it.

use super::exchange::{
    Endpoint, Exchange, Fact, Names, Openings, Snapshots, facts, hex, shown, verdict,
};
use super::gather::{attempts, find};
use super::id::Id;
use super::options::Options;
use super::promises;
use super::table::{Tone, painted};
use super::time::{rfc3339, took};
use super::told::{self, ending, span_id, stage, trace_id};
use super::trail::Trail;
use super::{Failure, Outcome as Result_};
use crate::audit::asked::{Asked, Came};
use crate::audit::names::segment_name;
use crate::audit::record::{Bodies, DEFAULT_RULE, NO_PARENT, Outcome, Verdict};
use crate::cli::check::FINE;
use crate::cli::progress::while_it_takes;
use crate::cli::style::Output;
use crate::decide::Stage;
use crate::snapshot::ServiceId;
use crate::wire::request_id::RequestId;
use serde_json::{Map, Value as Json, json};
use std::io;

/// What `caio audit show --help` prints.
pub const HELP: &str = "\
Show everything about one decision and what came of it, with names for numbers.

Usage: caio audit show --trail DIRECTORY ID

ID is w3-18842, of the newest process that has it; w3-18842@7, of process 7; or the whole value of a
CAIO-Decision field.
";

/// Runs the verb.
///
/// # Errors
/// What is wrong with the command line or the trail.
pub fn run(options: &Options, out: &mut Output<'_>) -> Result_ {
    let id = Id::read(options.word("decision").map_err(Failure::Usage)?).map_err(Failure::Usage)?;
    let trail = options.open()?;
    let exchange = while_it_takes("reading the trail", || find(&trail, id))?;
    let attempts = attempts(&trail, &exchange)?;
    let mut snapshots = Snapshots::default();
    let snapshot = snapshots.of(&trail, &exchange);
    let names = Names { exchange: &exchange, snapshot: snapshot.as_deref().ok() };
    let facts = facts(&trail, &names, &mut Openings::default())?;
    let promises = match service_id(&names) {
        Some(service) => promises::near(&trail, &exchange, service)?,
        None => Vec::new(),
    };
    let told = Told { trail: &trail, names: &names, facts, attempts, promises };
    if options.json {
        writeln!(out.writer, "{:#}", Json::Object(told.json()))?;
    } else {
        told.text(out)?;
        if id.boot.is_none() {
            let boot = exchange.id.boot.unwrap_or_default();
            let note = format!("process {boot} is the newest that has a decision of this name");
            writeln!(out.writer, "{}", out.paint.dim(&note))?;
        }
    }
    if let Err(what) = snapshot {
        let what = format!("names are not known: {what}");
        return Err(Failure::Wrong(what));
    }
    Ok(FINE)
}

/// Whether an answer came that could be read.
fn answered(asked: &Asked) -> bool {
    matches!(asked.came, Came::Allow | Came::Deny)
}

/// What came of asking a hook.
fn came(asked: &Asked) -> String {
    let mut text = match asked.came {
        Came::Allow => "allows it",
        Came::Deny => "denies it",
        Came::Unavailable => "gave no answer that can be taken",
        Came::Open => "gave no answer that can be taken, and is configured to open then",
    }
    .to_owned();
    match asked.cached {
        true => text.push_str(", as it said before"),
        false => text.push_str(&format!(", after {}", took(asked.took_ns))),
    }
    if answered(asked) {
        text.push_str(&format!(", answer {}…", hex(&asked.digest)));
    }
    text
}

struct Told<'a> {
    trail: &'a Trail,
    names: &'a Names<'a>,
    facts: Vec<Fact>,
    attempts: Vec<Exchange>,
    /// Of the service that was chosen those that were not kept.
    promises: Vec<promises::Observed>,
}

/// The id of the service that was chosen, where it is known.
fn service_id<'a>(names: &Names<'a>) -> Option<&'a str> {
    let decision = &names.exchange.decision;
    let snapshot = names.snapshot.filter(|_| decision.verdict == Verdict::Route)?;
    snapshot.service(ServiceId(decision.service)).map(|entry| &*entry.id)
}

impl Told<'_> {
    fn exchange(&self) -> &Exchange {
        self.names.exchange
    }

    fn json(&self) -> Map<String, Json> {
        let exchange = self.exchange();
        let decision = &exchange.decision;
        let mut told = told::json(self.trail, self.names);
        let mut put = |name: &str, value: Json| told.insert(name.to_owned(), value);
        let needs = self.names.needs();
        let needs: Vec<Json> =
            needs.iter().map(|it| json!({ "name": it.name, "text": it.text })).collect();
        put("needs", needs.into());
        let facts: Vec<Json> = self
            .facts
            .iter()
            .map(|fact| json!({ "text": fact.text, "hidden": fact.hidden, "value": fact.number }))
            .collect();
        put("facts", facts.into());
        let hooks = exchange.asked.iter().map(|it| {
            json!({
                "hook": self.names.hook(it.hook),
                "came": it.came.word(),
                "cached": it.cached,
                "digest": answered(it).then(|| hex(&it.digest)),
                "took_ns": it.took_ns,
            })
        });
        put("hooks", hooks.collect::<Vec<Json>>().into());
        put("seed", format!("{:016x}", decision.seed).into());
        put("evidence", hex(&decision.evidence).into());
        put("refused_before", decision.refused.into());
        let tried = decision.tried.iter().map(|service| self.names.service(*service).into());
        put("tried", tried.collect::<Vec<Json>>().into());
        if decision.verdict == Verdict::Deny {
            let stages = Stage::ALL.iter().map(|stage| stage.name().to_owned());
            let left: Map<String, Json> = stages.zip(decision.survivors.map(Json::from)).collect();
            put("survivors", left.into());
        }
        if decision.verdict == Verdict::Route {
            let rendezvous = format!("{:016x}", decision.rendezvous);
            let (tier, load) = (decision.tier, decision.bucket);
            put("key", json!({ "tier": tier, "load": load, "rendezvous": rendezvous }));
        }
        let promises = self.promises.iter().map(|it| it.json.clone());
        put("breaches", promises.collect::<Vec<Json>>().into());
        put("epoch", exchange.landscape.as_ref().map(|it| it.epoch).into());
        let payload = exchange.payload.as_ref().map(|texts| {
            let [request_fields, response_fields, request_body, response_body] =
                texts.each_ref().map(|text| String::from_utf8_lossy(text).into_owned());
            json!({
                "request_fields": request_fields,
                "response_fields": response_fields,
                "request_body": request_body,
                "response_body": response_body,
            })
        });
        put("payload", payload.into());
        let attempts = self.attempts.iter().map(|it| it.id.to_string().into());
        put("attempts", attempts.collect::<Vec<Json>>().into());
        told
    }

    fn text(&self, out: &mut Output<'_>) -> io::Result<()> {
        for (label, value, tone) in self.lines() {
            let label = if label.is_empty() { "" } else { label };
            let padded = format!("{label:<12}");
            let paint = out.paint;
            for (place, part) in value.split('\n').enumerate() {
                let label = if place == 0 { paint.dim(&padded) } else { " ".repeat(12) };
                writeln!(out.writer, "{label}{}", painted(paint, part, tone))?;
            }
        }
        Ok(())
    }

    fn lines(&self) -> Vec<(&'static str, String, Tone)> {
        let exchange = self.exchange();
        let decision = &exchange.decision;
        let mut lines = Vec::new();
        let mut line = |label: &'static str, value: String, tone| lines.push((label, value, tone));
        let dash = || "none".to_owned();
        line("decision", exchange.id.to_string(), Tone::Plain);
        let nanos = u32::try_from(decision.monotonic_ns % 1_000_000).unwrap_or(0);
        let began = rfc3339(exchange.wall_ms, 0);
        let since = took(decision.monotonic_ns);
        let time = rfc3339(exchange.at_ms(), nanos);
        line("time", format!("{time}, {since} after the process began at {began}"), Tone::Plain);
        let known = decision.evidence != [0; 16];
        let evidence =
            if known { format!(", by {}…", hex(&decision.evidence)) } else { "".into() };
        let method = format!(", known by its {}", decision.method.name());
        line("caller", exchange.caller() + &method + &evidence, Tone::Plain);
        let request = RequestId::from_bits(decision.request_id);
        line("request", request.as_str().to_owned(), Tone::Plain);
        if let (Some(trace), Some(span)) = (trace_id(decision.trace), span_id(decision.span)) {
            let parent = span_id(decision.parent_span);
            let parent = parent.map_or(String::new(), |parent| format!(", under span {parent}"));
            line("trace", format!("{trace}, span {span}{parent}"), Tone::Plain);
        }
        line("route", self.names.route().unwrap_or_else(dash), Tone::Plain);
        line("capability", self.names.capability().unwrap_or_else(dash), Tone::Plain);
        for need in self.names.needs() {
            let text = shown(format!("{}  ({})", need.text, need.name).as_bytes());
            line("needs", text, Tone::Plain);
        }
        for fact in &self.facts {
            let hidden = if fact.hidden { "  (hidden in the trail)" } else { "" };
            line("fact", format!("{}{hidden}", fact.text), Tone::Plain);
        }
        for asked in &exchange.asked {
            let tone = if asked.came == Came::Allow { Tone::Plain } else { Tone::Odd };
            line("hook", format!("{}: {}", self.names.hook(asked.hook), came(asked)), tone);
        }
        self.verdict_lines(&mut line);
        for observed in &self.promises {
            line("promise", shown(observed.text.as_bytes()), Tone::Odd);
        }
        match &exchange.outcome {
            Some((outcome, _)) => line("outcome", self.outcome(outcome), Tone::Plain),
            None => line("outcome", "none on record yet, or lost in a crash".into(), Tone::Odd),
        }
        self.payload_lines(&mut line);
        if self.attempts.len() > 1 {
            let told = self.attempts.iter().map(|attempt| {
                let status = match attempt.status() {
                    None => "is open".to_owned(),
                    Some(0) => "ended without a status".to_owned(),
                    Some(status) => format!("ended with {status}"),
                };
                format!("{} {status}", attempt.id)
            });
            line("attempts", told.collect::<Vec<_>>().join("\n"), Tone::Plain);
        }
        let (signed, tone) = match self.trail.is_signed(exchange.lies.frame) {
            true => ("signed", Tone::Good),
            false => ("not signed yet", Tone::Odd),
        };
        let name = segment_name(exchange.lies.segment);
        let (frame, offset) = (exchange.lies.frame, exchange.lies.offset);
        line("lies in", format!("{name}, frame {frame} at byte {offset}, {signed}"), tone);
        let snapshot = exchange
            .landscape
            .as_ref()
            .map(|it| format!("sha256:{}, epoch {}", hex(&it.snapshot), it.epoch));
        line("snapshot", snapshot.unwrap_or_else(dash), Tone::Plain);
        lines
    }

    fn verdict_lines(&self, line: &mut dyn FnMut(&'static str, String, Tone)) {
        let decision = &self.exchange().decision;
        let word = verdict(decision.verdict);
        let chosen = self.names.chosen().unwrap_or_default();
        match decision.verdict {
            Verdict::Route => {
                let (tier, load) = (decision.tier, decision.bucket);
                let key =
                    format!("tier {tier}, load {load}, rendezvous {:016x}", decision.rendezvous);
                line("verdict", format!("{word} to {chosen}: {key}"), Tone::Good);
            }
            Verdict::Deny => {
                let emptied = stage(decision.stage);
                line("verdict", format!("{word}: nobody is left after {emptied}"), Tone::Odd);
                let left = Stage::ALL.iter().zip(decision.survivors);
                let left = left.map(|(stage, count)| format!("{} {count}", stage.name()));
                line("left", left.collect::<Vec<_>>().join(", "), Tone::Plain);
            }
            Verdict::Refuse => line("verdict", word.to_owned(), Tone::Bad),
        }
        if let Some(rule) = self.names.rule(decision.rule) {
            let (told, tone) = match decision.verdict {
                Verdict::Route if self.names.is_overridden() => {
                    (format!("override {rule} lets it through"), Tone::Odd)
                }
                Verdict::Route => (format!("{rule} permits it"), Tone::Plain),
                _ if decision.rule == DEFAULT_RULE => ("none permits it".into(), Tone::Odd),
                _ => (format!("{rule} forbids it"), Tone::Odd),
            };
            line("rule", told, tone);
        }
        if let Some(rule) = self.names.rule(decision.shadow) {
            let told = match decision.shadow {
                DEFAULT_RULE => "were all rules enforced, none would permit it".to_owned(),
                _ => format!("were all rules enforced, {rule} would forbid it"),
            };
            line("shadow", told, Tone::Odd);
        }
        if let Some(quota) = self.names.quota() {
            line("quota", format!("{quota} lets no more through"), Tone::Odd);
        }
        if let Some(reason) = self.exchange().reason() {
            let row = reason.row();
            line("reason", format!("{}: {}", row.code, row.title), Tone::Odd);
        }
        if decision.attempt > 0 || decision.parent != NO_PARENT {
            let tried = decision.tried.iter().filter_map(|service| self.names.service(*service));
            let tried = tried.collect::<Vec<_>>().join(", ");
            line("attempt", format!("{}, after {tried}", decision.attempt), Tone::Plain);
        }
    }

    fn outcome(&self, outcome: &Outcome) -> String {
        let decision = &self.exchange().decision;
        let status =
            if outcome.status == 0 { "no status".into() } else { outcome.status.to_string() };
        let mut parts = vec![status, ending(outcome.ending).to_owned()];
        let whole = self.exchange().took_ns().map(took).unwrap_or_default();
        parts.push(format!("after {whole}"));
        if outcome.head_ns > 0 {
            let began = outcome.head_ns.saturating_sub(decision.monotonic_ns);
            parts.push(format!("the answer began after {}", took(began)));
        }
        match self.names.endpoint() {
            Some(Endpoint::Address(address)) => parts.push(format!("from {address}")),
            Some(Endpoint::Place(place)) => {
                parts.push(format!("from endpoint {} of the configuration's list", place + 1));
            }
            None => {}
        }
        let mut text = parts.join(", ");
        match &outcome.bodies {
            Bodies::Untold => {}
            Bodies::Sizes([request, response]) => {
                text.push_str(&format!("\nbodies of {request} and {response} bytes"));
            }
            Bodies::Digests([request, response], [of_request, of_response]) => {
                let (of_request, of_response) = (hex(of_request), hex(of_response));
                text.push_str(&format!("\nrequest's body  {request} bytes, sha256:{of_request}"));
                text.push_str(&format!("\nanswer's body   {response} bytes, sha256:{of_response}"));
            }
        }
        text
    }

    fn payload_lines(&self, line: &mut dyn FnMut(&'static str, String, Tone)) {
        let Some(texts) = &self.exchange().payload else { return };
        let labels = ["asked with", "answered", "asked", "answer"];
        for (label, text) in labels.into_iter().zip(texts).filter(|(_, text)| !text.is_empty()) {
            let lines: Vec<String> = text.split(|byte| *byte == b'\n').map(shown).collect();
            line(label, lines.join("\n").trim_end().to_owned(), Tone::Plain);
        }
    }
}
