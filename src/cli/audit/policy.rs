//! `caio policy report`: what each rule did, from the trail.

use super::exchange::{Exchange, Names, Snapshots, shown};
use super::filter::Filter;
use super::gather::{Gather, each};
use super::options::Options;
use super::table::{Cell, Table, Tone};
use super::trail::Trail;
use super::{Failure, Outcome, said};
use crate::audit::record::{Hash, NONE, Verdict};
use crate::audit::scan::Context;
use crate::cli::check::{FINE, USAGE};
use crate::cli::progress::while_it_takes;
use crate::cli::style::Output;
use crate::config::policy::Stance;
use crate::snapshot::policy::RuleKind;
use crate::wire::fault::quoted;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// What `caio policy --help` prints.
pub const HELP: &str = "\
Tell from the trail what each policy rule did: calls that it let through, that it refused, and that
it would have refused were all rules enforced; and how many callers these were of. `default` stands
for what no rule permits. Rules that are listed with zeros are in the newest landscape and decided
nothing.

Usage: caio policy report --trail DIRECTORY [OPTIONS]

Options:
  -t, --trail DIRECTORY  what `[audit] directory` names
  -c, --config FILE      the process file that names it
      --since TIME       decided then or later: 2026-11-26T10:15:00Z, or 10m (ago)
      --until TIME       decided before then
      --caller ID        who called, and the other filters of `caio audit query`
      --json             for machines
  -h, --help             print this
";

/// Callers that are told apart for one rule; more are not counted.
const CALLERS_MAX: usize = 100_000;

const HEADS: &[&str] =
    &["RULE", "KIND", "MODE", "PERMITTED", "FORBIDDEN", "WOULD REFUSE", "CALLERS"];

/// What one rule did.
#[derive(Default)]
struct Deeds {
    kind: &'static str,
    shadow: bool,
    permitted: u64,
    forbidden: u64,
    would_refuse: u64,
    callers: BTreeSet<Vec<u8>>,
}

/// Runs the verb with the arguments behind `policy`; the result is the exit code.
pub fn run(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    let (verb, rest) = match args.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("--help", args),
    };
    let outcome = match verb {
        "-h" | "--help" | "help" => write!(out.writer, "{HELP}").map(|()| FINE).map_err(Into::into),
        "report" => match Options::read(rest, &[], true) {
            Ok(None) => write!(out.writer, "{HELP}").map(|()| FINE).map_err(Into::into),
            Ok(Some(options)) => report(&options, out),
            Err(what) => Err(Failure::Usage(what)),
        },
        other => {
            let what = format!("{} is not a verb; see `caio policy --help`", quoted(other));
            let _ = writeln!(err.writer, "caio policy: {what}");
            return USAGE;
        }
    };
    outcome.unwrap_or_else(|failure| said("caio policy", failure, err))
}

fn report(options: &Options, out: &mut Output<'_>) -> Outcome {
    options.no_words().map_err(Failure::Usage)?;
    options.names_trail().map_err(Failure::Usage)?;
    let filter = Filter::read(options).map_err(Failure::Usage)?;
    let trail = options.open()?;
    let deeds = while_it_takes("reading the trail", || deeds(&trail, filter))?;
    if options.json {
        let rules: Vec<Json> = deeds.iter().map(|(rule, deeds)| object(rule, deeds)).collect();
        writeln!(out.writer, "{:#}", json!({ "rules": rules }))?;
        return Ok(FINE);
    }
    let rows: Vec<Vec<Cell>> = deeds.iter().map(|(rule, deeds)| row(rule, deeds)).collect();
    Table::new(HEADS).write(&rows, out)?;
    if rows.is_empty() {
        writeln!(out.writer, "no rule is on record: everyone could call everything")?;
    }
    Ok(FINE)
}

fn deeds(trail: &Trail, filter: Filter) -> Result<BTreeMap<String, Deeds>, String> {
    let mut all: BTreeMap<String, Deeds> = BTreeMap::new();
    let mut gather = Gather::new(filter);
    let mut context = Context::default();
    let mut newest = None;
    if let Some(from) = trail.beginning() {
        each(trail, &mut gather, &mut context, from, |exchange, snapshots| {
            count(&mut all, &mut newest, trail, &exchange, snapshots);
            Ok(())
        })?;
        for exchange in gather.open()? {
            count(&mut all, &mut newest, trail, &exchange, &mut gather.snapshots);
        }
    }
    if let Some(digest) = newest
        && let Ok(snapshot) = gather.snapshots.take(trail, &digest)
    {
        for rule in snapshot.policies().rules() {
            let deeds = all.entry(shown(rule.id.as_bytes())).or_default();
            (deeds.kind, deeds.shadow) = (kind(rule.kind), rule.stance == Stance::Shadow);
        }
    }
    Ok(all)
}

fn kind(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Permit => "permit",
        RuleKind::Forbid => "forbid",
        RuleKind::Override => "override",
    }
}

fn count(
    all: &mut BTreeMap<String, Deeds>,
    newest: &mut Option<Hash>,
    trail: &Trail,
    exchange: &Exchange,
    snapshots: &mut Snapshots,
) {
    *newest = exchange.landscape.as_ref().map(|it| it.snapshot).or(*newest);
    let decision = &exchange.decision;
    if decision.rule == NONE && decision.shadow == NONE {
        return;
    }
    let snapshot = snapshots.of(trail, exchange).ok();
    let names = Names { exchange, snapshot: snapshot.as_deref() };
    let permitted = decision.verdict == Verdict::Route;
    for (number, would) in [(decision.rule, false), (decision.shadow, true)] {
        let Some(rule) = names.rule(number) else { continue };
        let deeds = all.entry(rule).or_default();
        match (would, permitted) {
            (true, _) => deeds.would_refuse += 1,
            (false, true) => deeds.permitted += 1,
            (false, false) => deeds.forbidden += 1,
        }
        if deeds.callers.len() < CALLERS_MAX {
            deeds.callers.insert(decision.caller.to_vec());
        }
    }
}

fn row(rule: &str, deeds: &Deeds) -> Vec<Cell> {
    let plain = |text: String| (text, Tone::Plain);
    let told = |count: u64| (count.to_string(), if count > 0 { Tone::Odd } else { Tone::Dim });
    vec![
        plain(rule.to_owned()),
        plain(deeds.kind.to_owned()),
        plain(mode(deeds).to_owned()),
        plain(deeds.permitted.to_string()),
        told(deeds.forbidden),
        told(deeds.would_refuse),
        plain(callers(deeds)),
    ]
}

/// Empty for what is not in the newest landscape.
fn mode(deeds: &Deeds) -> &'static str {
    match (deeds.kind, deeds.shadow) {
        ("", _) => "",
        (_, true) => "shadow",
        (_, false) => "enforce",
    }
}

fn callers(deeds: &Deeds) -> String {
    let count = deeds.callers.len();
    if count < CALLERS_MAX { count.to_string() } else { format!("{count} or more") }
}

fn object(rule: &str, deeds: &Deeds) -> Json {
    let known = |text: &'static str| Some(text).filter(|text| !text.is_empty());
    json!({
        "rule": rule,
        "kind": known(deeds.kind),
        "mode": known(mode(deeds)),
        "permitted": deeds.permitted,
        "forbidden": deeds.forbidden,
        "would_refuse": deeds.would_refuse,
        "callers": deeds.callers.len(),
    })
}
