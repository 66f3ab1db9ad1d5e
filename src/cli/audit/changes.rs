//! `changes`: what was asked of the control plane and who looked for services, oldest first; and
//! what became of promises.

use super::exchange::hex;
use super::options::Options;
use super::table::{Cell, Table, Tone};
use super::time::rfc3339;
use super::trail::Span;
use super::{Failure, Outcome};
use crate::audit::breach::Breach;
use crate::audit::control::{Came, Changed, Queried};
use crate::audit::record::Record;
use crate::audit::scan::Context;
use crate::cli::check::FINE;
use crate::cli::style::Output;
use serde_json::{Value as Json, json};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// What `caio audit changes --help` prints.
pub const HELP: &str = "\
Show what was asked of the control plane: changes, made or refused, and questions for services.

Usage: caio audit changes --trail DIRECTORY [OPTIONS]

Options:
      --since TIME       asked then or later: 2026-11-26T10:15:00Z, 2026-11-26, or 10m (ago)
      --until TIME       asked before then
  -n, --limit N          the newest of them, so many; 1000 without it
";

const HEADS: &[&str] = &["time", "asked", "of", "by", "from", "registry", "landscape", "came"];

/// Of what became of promises.
const BREACH_HEADS: &[&str] =
    &["time", "service", "promise", "became", "declared", "observed", "window", "since"];

/// Which of them are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Changes, made or not.
    Changes,
    /// Questions for services.
    Queries,
    /// Both.
    Both,
    /// What became of promises.
    Breaches,
}

/// What of one is asked for besides.
#[derive(Default)]
struct Wanted<'a> {
    caller: Option<&'a str>,
    /// What it is of.
    subject: Option<String>,
}

impl<'a> Wanted<'a> {
    fn read(options: &'a Options, which: Which) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, text) in &options.filters {
            match (*name, which) {
                ("--caller", Which::Changes | Which::Queries | Which::Both) => {
                    wanted.caller = Some(text);
                }
                ("--service", Which::Changes | Which::Breaches) => {
                    wanted.subject = Some(format!("service {text}"))
                }
                (other, _) => return Err(format!("{other} is of exchanges")),
            }
        }
        Ok(wanted)
    }

    fn is(&self, who: &[u8], subject: &[u8]) -> bool {
        self.caller.is_none_or(|caller| caller.as_bytes() == who)
            && self.subject.as_ref().is_none_or(|wanted| wanted.as_bytes() == subject)
    }
}

/// Runs `caio audit changes`.
///
/// # Errors
/// What is wrong with the command line or the trail.
pub fn run(options: &Options, out: &mut Output<'_>) -> Outcome {
    some(options, Which::Both, out)
}

/// Tells some of them.
///
/// # Errors
/// What is wrong with the command line or the trail.
pub fn some(options: &Options, which: Which, out: &mut Output<'_>) -> Outcome {
    options.no_words().map_err(Failure::Usage)?;
    let wanted = Wanted::read(options, which).map_err(Failure::Usage)?;
    let trail = options.open()?;
    let limit = options.limit.unwrap_or(1000);
    let mut found: VecDeque<(Json, Vec<Cell>)> = VecDeque::new();
    let mut keep = |wall_ms: u64, told: (Json, Vec<Cell>)| {
        let within = options.since_ms.is_none_or(|since| wall_ms >= since)
            && options.until_ms.is_none_or(|until| wall_ms < until);
        if within {
            found.push_back(told);
            if found.len() > limit {
                found.pop_front();
            }
        }
    };
    if let Some(from) = trail.beginning() {
        trail.records(from, Span::Rest, &mut Context::default(), |seen| {
            let kinds: &[u8] = match which {
                Which::Changes => b"M",
                Which::Queries => b"Q",
                Which::Both => b"MQ",
                Which::Breaches => b"F",
            };
            let read = if kinds.contains(&seen.raw.kind) { seen.raw.read() } else { None };
            match read {
                Some(Record::Changed(changed)) if wanted.is(&changed.who, &changed.subject) => {
                    keep(changed.wall_ms, change(&changed));
                }
                Some(Record::Queried(queried)) if wanted.is(&queried.who, b"") => {
                    keep(queried.wall_ms, query(&queried));
                }
                Some(Record::Breach(found))
                    if wanted.is(b"", &[b"service ", &*found.id].concat()) =>
                {
                    let [_, to_ms] = found.window_ms;
                    keep(to_ms, breach(&found));
                }
                _ => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    if options.json {
        for (object, _) in &found {
            writeln!(out.writer, "{object}")?;
        }
    } else {
        let rows: Vec<Vec<Cell>> = found.into_iter().map(|(_, row)| row).collect();
        let heads = if which == Which::Breaches { BREACH_HEADS } else { HEADS };
        Table::new(heads).write(&rows, out)?;
    }
    Ok(FINE)
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn plain(text: impl Into<String>) -> Cell {
    // It is shown on terminals, and comes from whoever asked.
    (text.into().escape_debug().collect(), Tone::Plain)
}

fn change(changed: &Changed<'_>) -> (Json, Vec<Cell>) {
    let Changed { wall_ms, registry, landscape, came, document, .. } = changed;
    let time = rfc3339(*wall_ms, 0);
    let object = json!({
        "kind": "change",
        "time": time,
        "asked": text(&changed.action),
        "of": text(&changed.subject),
        "by": text(&changed.who),
        "from": text(&changed.from),
        "registry": registry,
        "landscape": landscape,
        "came": came.word(),
        "why": text(&changed.why),
        "document": format!("sha256:{}", hex(document)),
    });
    let tone = match came {
        Came::Made => Tone::Good,
        Came::Already => Tone::Dim,
        Came::Refused => Tone::Odd,
    };
    let said = match came {
        Came::Refused => format!("refused: {}", text(&changed.why)),
        Came::Made | Came::Already => came.word().to_owned(),
    };
    let arrow = |from: u64, to: u64| {
        if from == to { to.to_string() } else { format!("{from} → {to}") }
    };
    let row = vec![
        plain(time),
        plain(text(&changed.action)),
        plain(text(&changed.subject)),
        plain(text(&changed.who)),
        plain(text(&changed.from)),
        plain(arrow(registry[0], registry[1])),
        plain(arrow(landscape[0].into(), landscape[1].into())),
        (plain(said).0, tone),
    ];
    (object, row)
}

fn query(queried: &Queried<'_>) -> (Json, Vec<Cell>) {
    let time = rfc3339(queried.wall_ms, 0);
    let meets = queried.rows.iter().filter(|(_, need)| *need == 0).count();
    let object = json!({
        "kind": "query",
        "time": time,
        "by": text(&queried.who),
        "from": text(&queried.from),
        "landscape": queried.landscape,
        "capability": queried.capability,
        "offers": queried.offers,
        "needs": text(&queried.needs),
        "services": queried.rows.iter().map(|(service, need)| json!([service, need]))
            .collect::<Vec<_>>(),
    });
    let row = vec![
        plain(time),
        plain("discover"),
        plain(format!("capability {}", queried.capability)),
        plain(text(&queried.who)),
        plain(text(&queried.from)),
        plain("-"),
        plain(queried.landscape.to_string()),
        plain(format!("{meets} of {} satisfy", queried.offers)),
    ];
    (object, row)
}

pub(super) fn breach(found: &Breach<'_>) -> (Json, Vec<Cell>) {
    let [from, to, since] =
        [found.window_ms[0], found.window_ms[1], found.since_ms].map(|ms| rfc3339(ms, 0));
    let [calls, otherwise] = found.seen;
    let share = otherwise.saturating_mul(1_000_000).checked_div(calls).unwrap_or(0);
    let percent = |ppm: u64| format!("{}.{:04}%", ppm / 10_000, ppm % 10_000);
    let declared = percent(found.except_ppm.into());
    let object = json!({
        "kind": "breach",
        "time": to,
        "service": text(&found.id),
        "promise": found.promise(),
        "became": found.became.word(),
        "declared_ppm": found.except_ppm,
        // By nobody: there is no third word on promises yet.
        "attested_ppm": null,
        "observed_ppm": (calls > 0).then_some(share),
        "calls": calls,
        "otherwise": otherwise,
        "window": [from, to],
        "since": since,
        "landscape": found.landscape,
    });
    let observed = match calls {
        0 => "-".to_owned(),
        _ => format!("{otherwise} of {calls}, {}", percent(share)),
    };
    let row = vec![
        plain(to),
        plain(text(&found.id)),
        plain(found.promise()),
        plain(found.became.word()),
        plain(declared),
        plain(observed),
        plain(from),
        plain(since),
    ];
    (object, row)
}
