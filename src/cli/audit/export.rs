//! `export`: exchanges for whoever collects logs, one JSON object a line, named as OpenTelemetry
//! names things: the log data model's fields, and its semantic conventions for the attributes.

use super::exchange::{Endpoint, Exchange, Names, Snapshots, hex, verdict};
use super::filter::Filter;
use super::gather::{Gather, each};
use super::options::Options;
use super::patience;
use super::time::rfc3339;
use super::told::{ending, span_id, stage, trace_id};
use super::trail::Trail;
use super::{Failure, Outcome};
use crate::audit::record::{Bodies, Verdict};
use crate::audit::scan::Context;
use crate::cli::check::FINE;
use crate::cli::style::Output;
use crate::wire::request_id::RequestId;
use serde_json::{Map, Value as Json, json};
use std::io::{BufWriter, Write};

/// What `caio audit export --help` prints.
pub const HELP: &str = "\
Write a JSON object a line for each exchange, in the order of their ends: fields of
OpenTelemetry's log data model (timestamp, trace_id, span_id, severity_text, severity_number, body,
attributes, resource), attributes by its semantic conventions, and under `caio.` what is ours:

  http.response.status_code, http.route, http.request.body.size, http.response.body.size,
  server.address, server.port   where the request went
  error.type                    the refusal's code, such as contract.unsatisfied
  caio.decision.id, .verdict, .stage, .attempt, .rule, .shadow, .override, .quota;
  caio.method, caio.service, caio.capability, caio.caller,
  caio.request.id, caio.duration_ns, caio.ending, caio.snapshot, caio.epoch, caio.frame, caio.signed

A shipper reads it from a pipe; Vector, for one:

  [sources.caio]
  type = \"exec\"
  mode = \"streaming\"
  command = [\"caio\", \"audit\", \"export\", \"-t\", \"DIRECTORY\", \"--follow\"]
  decoding.codec = \"json\"

Usage: caio audit export --trail DIRECTORY [OPTIONS]

Options:
  -f, --follow      go on as the trail grows, each exchange once it has ended
  and those of `caio audit query` that filter, such as --since 10m
";

/// What is written at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Runs the verb.
///
/// # Errors
/// What is wrong with the command line or the trail.
pub fn run(options: &Options, out: &mut Output<'_>) -> Outcome {
    options.no_words().map_err(Failure::Usage)?;
    let mut gather = Gather::new(Filter::read(options).map_err(Failure::Usage)?);
    let mut trail = options.open()?;
    let mut context = Context::default();
    let mut position = match trail.beginning() {
        Some(from) => from,
        None => super::trail::at(0),
    };
    let mut patience = patience();
    // Standard output would be written line by line.
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, &mut *out.writer);
    loop {
        // Of a pipe that nobody reads any more the walk is told as an error, and ends.
        let mut broken = None;
        let walked = each(&trail, &mut gather, &mut context, position, |exchange, snapshots| {
            let line = line(&trail, &exchange, snapshots);
            writeln!(writer, "{line}").map_err(|error| {
                broken = Some(error);
                String::new()
            })
        });
        if let Some(error) = broken {
            return Err(Failure::Output(error));
        }
        position = walked?;
        writer.flush()?;
        if !options.follow {
            break;
        }
        patience();
        trail.refresh()?;
    }
    for exchange in gather.open()? {
        writeln!(writer, "{}", line(&trail, &exchange, &mut gather.snapshots))?;
    }
    writer.flush()?;
    Ok(FINE)
}

/// One exchange as a line.
fn line(trail: &Trail, exchange: &Exchange, snapshots: &mut Snapshots) -> Json {
    let snapshot = snapshots.of(trail, exchange).ok();
    let names = Names { exchange, snapshot: snapshot.as_deref() };
    let decision = &exchange.decision;
    let status = exchange.status();
    let (severity, number) = match (decision.verdict, status) {
        (Verdict::Refuse, _) | (_, Some(0 | 500..)) => ("ERROR", 17),
        (Verdict::Deny, _) | (_, Some(400..)) | (_, None) => ("WARN", 13),
        (Verdict::Route, _) => ("INFO", 9),
    };
    let chosen = names.chosen();
    let body = match (&chosen, exchange.reason()) {
        (_, Some(reason)) => format!("refused: {}", reason.row().code),
        (Some(service), None) => format!("routed to {service}"),
        (None, None) => verdict(decision.verdict).to_owned(),
    };
    let nanos = u32::try_from(decision.monotonic_ns % 1_000_000).unwrap_or(0);
    json!({
        "timestamp": rfc3339(exchange.at_ms(), nanos),
        "trace_id": trace_id(decision.trace),
        "span_id": span_id(decision.span),
        "severity_text": severity,
        "severity_number": number,
        "body": body,
        "resource": {
            "service.name": "caio",
            "service.instance.id": exchange.id.boot.map(|boot| format!("boot-{boot}")),
        },
        "attributes": attributes(trail, &names),
    })
}

fn attributes(trail: &Trail, names: &Names<'_>) -> Map<String, Json> {
    let exchange = names.exchange;
    let decision = &exchange.decision;
    let mut attributes = Map::new();
    // What is not known is left out: the conventions have no null.
    let mut put = |name: &str, value: Json| {
        if !value.is_null() {
            attributes.insert(name.to_owned(), value);
        }
    };
    put("event.name", "caio.exchange".into());
    put("http.response.status_code", exchange.status().filter(|status| *status > 0).into());
    put("http.route", names.route().into());
    put("error.type", exchange.reason().map(|reason| reason.row().code).into());
    if let Some(Endpoint::Address(address)) = names.endpoint() {
        put("server.address", address.ip().to_string().into());
        put("server.port", address.port().into());
    }
    put("caio.decision.id", exchange.id.to_string().into());
    put("caio.decision.verdict", verdict(decision.verdict).into());
    let denied = decision.verdict == Verdict::Deny;
    put("caio.decision.stage", denied.then(|| stage(decision.stage)).into());
    put("caio.decision.attempt", decision.attempt.into());
    put("caio.decision.rule", names.rule(decision.rule).into());
    put("caio.decision.shadow", names.rule(decision.shadow).into());
    put("caio.decision.quota", names.quota().into());
    put("caio.decision.override", names.is_overridden().then_some(true).into());
    put("caio.method", decision.method.name().into());
    put("caio.service", names.chosen().into());
    put("caio.capability", names.capability().into());
    put("caio.caller", exchange.caller().into());
    put("caio.request.id", RequestId::from_bits(decision.request_id).as_str().into());
    put("caio.parent_span_id", span_id(decision.parent_span).into());
    if let Some((outcome, _)) = &exchange.outcome {
        if let Bodies::Sizes([request, response]) | Bodies::Digests([request, response], _) =
            outcome.bodies
        {
            put("http.request.body.size", request.into());
            put("http.response.body.size", response.into());
        }
        put("caio.ending", ending(outcome.ending).into());
    }
    put("caio.duration_ns", exchange.took_ns().into());
    if let Some(landscape) = &exchange.landscape {
        put("caio.snapshot", format!("sha256:{}", hex(&landscape.snapshot)).into());
        put("caio.epoch", landscape.epoch.into());
    }
    put("caio.frame", exchange.lies.frame.into());
    put("caio.signed", trail.is_signed(exchange.lies.frame).into());
    attributes
}
