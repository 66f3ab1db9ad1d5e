//! `tail` and `query`: exchanges as a table, or one JSON object a line.

use super::changes::{self, Which};
use super::exchange::{Exchange, Names, Snapshots};
use super::filter::Filter;
use super::gather::{Gather, each, newest};
use super::options::Options;
use super::table::Table;
use super::told;
use super::trail::{Span, Trail};
use super::{Failure, Outcome, patience};
use crate::audit::scan::Context;
use crate::cli::check::FINE;
use crate::cli::progress::while_it_takes;
use crate::cli::style::Output;
use serde_json::Value as Json;
use std::io;
use std::ops::ControlFlow;

/// What `caio audit tail --help` prints.
pub const TAIL_HELP: &str = "\
Show the newest exchanges of a trail, oldest first.

Usage: caio audit tail --trail DIRECTORY [OPTIONS]

Options:
  -n, --limit N     so many; 20 without it
  -f, --follow      go on as the trail grows, each exchange once it has ended
";

/// What `caio audit query --help` prints.
pub const QUERY_HELP: &str = "\
Show the exchanges of a trail that all given filters mean, oldest first; of more than the limit, the
newest.

Usage: caio audit query --trail DIRECTORY [OPTIONS]

Options:
      --kind KIND        exchange, as without it; change, what was asked of the control plane;
                         query, who looked for services; breach, what became of promises. Of the
                         latter three --since, --until, of the first two --caller, and of changes
                         and breaches --service are asked
      --since TIME       decided then or later: 2026-11-26T10:15:00Z, 2026-11-26, or 10m (ago)
      --until TIME       decided before then
      --caller ID        who called
      --service ID       who was chosen
      --capability NAME  what was called, such as embed.text/1
      --verdict WORD     route, deny, or refuse
      --rule ID          the policy rule that decided, or would have refused; `default` for none
      --method WORD      how the caller was identified: network, peer-certificate, jwt, api-key
      --reason CODE      why it was refused, such as contract.unsatisfied
      --status CODE      the status sent, such as 503, or 5xx
      --trace ID         the trace, 32 hex digits
      --request-id ID    the request's id
  -n, --limit N          at most so many; 1000 without it
";

/// Writes exchanges as they come.
struct Teller<'a, 'w> {
    table: Table,
    json: bool,
    out: &'a mut Output<'w>,
    unsigned: usize,
}

impl Teller<'_, '_> {
    fn tell(
        &mut self,
        trail: &Trail,
        exchanges: &[Exchange],
        snapshots: &mut Snapshots,
    ) -> io::Result<()> {
        let mut rows = Vec::new();
        for exchange in exchanges {
            let snapshot = snapshots.of(trail, exchange).ok();
            let names = Names { exchange, snapshot: snapshot.as_deref() };
            self.unsigned += usize::from(!trail.is_signed(exchange.lies.frame));
            if self.json {
                let object = Json::Object(told::json(trail, &names));
                writeln!(self.out.writer, "{object}")?;
            } else {
                rows.push(told::row(&names));
            }
        }
        self.table.write(&rows, self.out)?;
        self.out.writer.flush()
    }
}

/// Runs `caio audit query`.
///
/// # Errors
/// What is wrong with the command line or the trail.
pub fn query(options: &Options, out: &mut Output<'_>, err: &mut Output<'_>) -> Outcome {
    options.no_words().map_err(Failure::Usage)?;
    match options.kind.as_deref() {
        None | Some("exchange") => {}
        Some("change") => return changes::some(options, Which::Changes, out),
        Some("query") => return changes::some(options, Which::Queries, out),
        Some("breach") => return changes::some(options, Which::Breaches, out),
        Some(_) => {
            let what = "--kind: it is exchange, change, query or breach";
            return Err(Failure::Usage(what.to_owned()));
        }
    }
    let mut gather = Gather::new(Filter::read(options).map_err(Failure::Usage)?);
    let trail = options.open()?;
    let limit = options.limit.unwrap_or(1000);
    let asked = || newest(&trail, &mut gather, limit.saturating_add(1));
    let (found, _) = while_it_takes("reading the trail", asked)?;
    let more = found.len() > limit;
    let found = found.get(found.len().saturating_sub(limit)..).unwrap_or_default();
    let mut teller =
        Teller { table: Table::new(told::HEADS), json: options.json, out, unsigned: 0 };
    teller.tell(&trail, found, &mut gather.snapshots)?;
    let unsigned = teller.unsigned;
    if !options.json {
        let paint = err.paint;
        let mut notes = vec![format!("{} found", super::counted(found.len(), "exchange"))];
        if more {
            notes
                .push(format!("more were, older than these; see them with --limit {}", limit * 10));
        }
        if unsigned > 0 {
            notes.push(format!("{unsigned} not signed yet"));
        }
        writeln!(err.writer, "{}", paint.dim(&notes.join(", ")))?;
    }
    for what in gather.snapshots.missing() {
        writeln!(err.writer, "caio audit: names are not known there: {what}")?;
    }
    Ok(FINE)
}

/// Runs `caio audit tail`.
///
/// # Errors
/// What is wrong with the command line or the trail.
pub fn tail(options: &Options, out: &mut Output<'_>) -> Outcome {
    options.no_words().map_err(Failure::Usage)?;
    let mut trail = options.open()?;
    let mut gather = Gather::default();
    let limit = options.limit.unwrap_or(20);
    let (found, end) = while_it_takes("reading the trail", || newest(&trail, &mut gather, limit))?;
    let mut teller =
        Teller { table: Table::new(told::HEADS), json: options.json, out, unsigned: 0 };
    // Whoever follows sees each exchange once: when it has ended.
    let ended = |exchange: &Exchange| !options.follow || exchange.outcome.is_some();
    let (found, open): (Vec<_>, Vec<_>) = found.into_iter().partition(ended);
    teller.tell(&trail, &found, &mut gather.snapshots)?;
    if !options.follow {
        return Ok(FINE);
    }
    let snapshots = std::mem::take(&mut gather.snapshots);
    let mut gather = Gather::default();
    gather.snapshots = snapshots;
    open.into_iter().for_each(|exchange| gather.resume(exchange));
    let mut context = Context::default();
    let mut position = super::trail::at(0);
    let mut whole = Vec::new();
    if let (Some(end), Some(last)) = (end, trail.firsts.last()) {
        // Once more over the last segment: what its numbers mean, and what is open in it.
        let from = super::trail::at(*last);
        position = trail.records(from, Span::Segment, &mut context, |seen| {
            let ended = gather.see(seen, &trail)?;
            whole.extend(ended.filter(|_| seen.met.frame.number >= end.number));
            Ok(ControlFlow::Continue(()))
        })?;
    }
    let mut patience = patience();
    loop {
        position = each(&trail, &mut gather, &mut context, position, |exchange, _| {
            whole.push(exchange);
            Ok(())
        })?;
        teller.tell(&trail, &whole, &mut gather.snapshots)?;
        whole.clear();
        patience();
        trail.refresh()?;
    }
}
