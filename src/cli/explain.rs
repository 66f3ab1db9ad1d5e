//! `caio explain`: why a request, given as to curl, is routed as it is.

use super::audit::options::Options;
use super::audit::{self, Failure, recorded};
use super::check::{FINE, USAGE, WRONG, report};
use super::disk::Disk;
use super::loading::load;
use super::progress::while_it_takes;
use super::style::Output;
use crate::balance::epoch::Epoch;
use crate::balance::flight;
use crate::contract::vocabulary::Side;
use crate::decide::explain::{Explanation, asked};
use crate::decide::requirement::{HeaderNeeds, read};
use crate::decide::{Question, Stage, Verdict};
use crate::snapshot::request::RequestView;
use crate::snapshot::vector::FactVector;
use crate::snapshot::{NoRoute, Snapshot};
use crate::wire::fault::quoted;
use crate::wire::target::Canonical;
use crate::wire::{authority, target};
use serde_json::{Value as Json, json};
use std::io;
use std::path::PathBuf;

/// What `caio explain --help` prints.
pub const HELP: &str = "\
Say where a request would go and why: every candidate, the first clause it fails, and its key.
Everyone is taken to be healthy and idle; nothing is sent.

Usage: caio explain -c FILE [OPTIONS] URL
       caio explain --trail DIRECTORY [--json] ID

Options:
  -c, --config FILE     the process file, such as caio.toml
  -X, --request METHOD  the method; GET, or POST with a body
  -H, --header LINE     a header, 'Name: value'; may be given again
  -d, --data TEXT       a body; only its length matters
      --body-bytes N    a body of this many bytes
      --caller ID       who calls, configured or not; anonymous without it
      --fact NAME=VALUE a fact that came with the caller, as a token brings it; may be given again
      --json            the same as JSON
  -h, --help            print this

URL is http://host/path or just /path. With --trail a decision on record is explained, from the
trail and the landscape stored in it alone; ID is w3-18842, w3-18842@7, or the value of a
CAIO-Decision field.
Exit codes: 0 it is routed, 1 it is refused or the files are wrong, 2 the command line is wrong.
";

/// Runs the verb with the arguments behind its name; the result is the exit code.
pub fn run(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    let recorded =
        |word: &String| matches!(word.as_str(), "-t" | "--trail") || word.starts_with("--trail=");
    if args.iter().any(recorded) {
        return match Options::read(args, &[], false) {
            Ok(Some(options)) => recorded::run(&options, out),
            Ok(None) => write!(out.writer, "{HELP}").map(|()| FINE).map_err(Failure::Output),
            Err(what) => Err(Failure::Usage(what)),
        }
        .unwrap_or_else(|failure| audit::said("caio explain", failure, err));
    }
    explain(args, out, err).unwrap_or(WRONG)
}

/// The request as it was described.
#[derive(Debug, Default)]
struct Described {
    config: PathBuf,
    method: String,
    host: String,
    path: String,
    headers: Vec<(String, String)>,
    body_bytes: u64,
    caller: Option<String>,
    facts: Vec<(String, String)>,
    json: bool,
}

impl RequestView for Described {
    fn method(&self) -> &str {
        &self.method
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let first = values.next()?;
        values.next().is_none().then_some(first.1.as_str())
    }

    fn body_bytes(&self) -> Option<u64> {
        Some(self.body_bytes)
    }
}

fn explain(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> io::Result<u8> {
    if args.iter().any(|argument| argument == "-h" || argument == "--help") {
        write!(out.writer, "{HELP}")?;
        return Ok(FINE);
    }
    let request = match parse(args) {
        Ok(request) => request,
        Err(what) => {
            writeln!(err.writer, "caio explain: {what}; see `caio explain --help`")?;
            return Ok(USAGE);
        }
    };
    let snapshot = match while_it_takes("reading and compiling", || load(&Disk, &request.config)) {
        Ok(loaded) => loaded.snapshot,
        Err(faults) => {
            report(&faults, err)?;
            return Ok(WRONG);
        }
    };
    match decide(&snapshot, &request) {
        Ok(explanation) => {
            if request.json {
                writeln!(out.writer, "{:#}", json(&explanation))?;
            } else {
                if let Some(caller) = stranger(&snapshot, &request) {
                    writeln!(out.writer, "caller      {}, not configured", quoted(caller))?;
                }
                write!(out.writer, "{}", explanation.text())?;
            }
            let routed = matches!(explanation.verdict(), Verdict::Route(_));
            Ok(if routed { FINE } else { WRONG })
        }
        Err(refusal) => {
            if request.json {
                writeln!(out.writer, "{:#}", json!({ "refused": refusal }))?;
            } else {
                writeln!(out.writer, "refused     {refusal}")?;
            }
            Ok(WRONG)
        }
    }
}

/// A caller whom no entry names: a token may bring it, or it is mistyped.
fn stranger<'a>(snapshot: &Snapshot, request: &'a Described) -> Option<&'a str> {
    request.caller.as_deref().filter(|caller| snapshot.principal_named(caller).is_none())
}

/// Follows the request as the gateway does, up to the decision; or says what refuses it before.
fn decide(snapshot: &Snapshot, request: &Described) -> Result<Explanation, String> {
    let named = request.caller.as_deref().unwrap_or("anonymous");
    let facts = known_facts(snapshot, &request.facts)?;
    let principal = &snapshot.principal_of(named, facts);
    let found = match request.header("caio-capability") {
        Some(capability) => snapshot.route_to(capability, request),
        None => snapshot.route(request),
    };
    let matched = found.map_err(|why| match why {
        NoRoute::Unknown => format!("no route matches {}", quoted(&request.path)),
        NoRoute::Method { allowed } => {
            format!("{} is there only for {}", quoted(&request.path), allowed.join(", "))
        }
        NoRoute::Capability => "nobody offers the capability that CAIO-Capability names".to_owned(),
    })?;
    let needs = snapshot.needs(&matched, principal.class).ok_or("the route has no needs")?;
    let lines = request.headers.iter().filter(|(name, _)| name == "caio-require");
    let lines: Vec<&[u8]> = lines.map(|(_, value)| value.as_bytes()).collect();
    let header = match lines.is_empty() {
        true => None,
        false => Some(HeaderNeeds::new(
            read(snapshot, lines).map_err(|why| format!("CAIO-Require: {}", why.what))?,
        )),
    };
    let columns = snapshot.capability_entry(matched.capability).map(|entry| &entry.columns);
    let facts = columns
        .map(|columns| columns.values(request, principal))
        .transpose()
        .map_err(|bad| format!("{} is no {}: {}", bad.origin, bad.attribute, bad.what))?
        .unwrap_or_default();
    let vector = columns.map_or_else(FactVector::default, |columns| columns.vector(&facts));
    let question = Question {
        capability: matched.capability,
        route: matched.route,
        caller: principal.class,
        needs,
        header: header.as_ref(),
        facts: &vector,
        seed: snapshot.seed(request, principal, b""),
        tried: &[],
        // No worker is asked: all are as if idle.
        flights: &flight::NONE,
    };
    let asked = asked(snapshot, &question, &principal.id, &facts);
    let route = snapshot.route_entry(matched.route).map_or("", |entry| &entry.id);
    Ok(Explanation::new(snapshot, &Epoch::default(), route, &asked))
}

/// Facts as a caller can have them: attributes of its side that no request gives.
fn known_facts(
    snapshot: &Snapshot,
    facts: &[(String, String)],
) -> Result<Vec<(String, String)>, String> {
    for (name, value) in facts {
        let declared = snapshot.vocabulary().find(name);
        let declared = declared.filter(|it| it.side == Side::Caller && it.source.is_none());
        let what = || format!("{} is no fact that comes with a caller", quoted(name));
        declared.ok_or_else(what)?.facts(value)?;
    }
    Ok(facts.to_vec())
}

fn parse(args: &[String]) -> Result<Described, String> {
    let mut request = Described::default();
    let (mut config, mut url) = (None, None);
    let mut body = None;
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{} needs a value", quoted(argument)));
        match argument.as_str() {
            "-c" | "--config" => config = Some(PathBuf::from(value()?)),
            "-X" | "--request" => request.method.clone_from(value()?),
            "-H" | "--header" => request.headers.push(header(value()?)?),
            "-d" | "--data" => body = u64::try_from(value()?.len()).ok(),
            "--body-bytes" => {
                let text = value()?;
                let bytes = text.parse();
                body = Some(bytes.map_err(|_| format!("{} is not a number", quoted(text)))?);
            }
            "--caller" => request.caller = Some(value()?.clone()),
            "--fact" => {
                let text = value()?;
                let (name, fact) = text
                    .split_once('=')
                    .ok_or_else(|| format!("{} is no fact; write 'name=value'", quoted(text)))?;
                request.facts.push((name.trim().to_owned(), fact.trim().to_owned()));
            }
            "--json" => request.json = true,
            other if other.starts_with('-') => {
                return Err(format!("{} is not an option", quoted(other)));
            }
            other if url.is_none() => url = Some(other),
            other => return Err(format!("one URL at a time; {} is a second", quoted(other))),
        }
    }
    request.config = config.ok_or("no file is named; add `-c caio.toml`")?;
    locate(&mut request, url.ok_or("no URL is given; add `http://host/path`")?)?;
    if request.method.is_empty() {
        request.method = if body.is_some() { "POST" } else { "GET" }.to_owned();
    }
    request.body_bytes = body.unwrap_or(0);
    Ok(request)
}

fn header(line: &str) -> Result<(String, String), String> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| format!("{} is not a header; write 'Name: value'", quoted(line)))?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// Host and path of a URL, in the same canonical form that the gateway matches.
fn locate(request: &mut Described, url: &str) -> Result<(), String> {
    let bad = || format!("{} is not a URL that can be routed", quoted(url));
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let (host, path) = match rest {
        None => ("", url),
        Some(rest) => match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        },
    };
    let host = match request.header("host") {
        Some(host) => host,
        None => host,
    };
    if !host.is_empty() {
        let mut scratch = Vec::new();
        let found = authority::canonical(host.as_bytes(), &mut scratch).map_err(|_| bad())?;
        let bytes = if found.in_scratch { &scratch } else { host.as_bytes() };
        let host = bytes.get(found.start..found.host_end).ok_or_else(bad)?;
        request.host = String::from_utf8(host.to_vec()).map_err(|_| bad())?;
    }
    let mut scratch = Vec::new();
    let found = target::canonical(path.as_bytes(), &mut scratch).map_err(|_| bad())?;
    let path = match found.path {
        Canonical::Input(from, to) => path.as_bytes().get(from..to),
        Canonical::Scratch(from, to) => scratch.get(from..to),
    };
    request.path = String::from_utf8(path.ok_or_else(bad)?.to_vec()).map_err(|_| bad())?;
    Ok(())
}

/// The same as JSON. Hashes are hexadecimal text: JSON numbers lose their low bits.
pub(super) fn json(explanation: &Explanation) -> Json {
    let candidates: Vec<Json> = explanation
        .candidates
        .iter()
        .map(|told| {
            let key = &told.appraisal.key;
            let failure = told.appraisal.failure.as_ref();
            json!({
                "service": told.service,
                "eligible": failure.is_none(),
                "key": {
                    "tier": key.tier,
                    "load": key.bucket,
                    "rendezvous": format!("{:016x}", key.rendezvous),
                },
                "rule": told.ruled.rule,
                "override": told.ruled.overridden,
                "shadow": told.ruled.shadow,
                "obliging": told.ruled.obliging,
                "failure": failure.map(|failure| json!({
                    "stage": failure.stage.name(),
                    "condition": failure.condition,
                    "clause": failure.clause,
                })),
            })
        })
        .collect();
    let denial = match explanation.verdict() {
        Verdict::Route(_) => Json::Null,
        Verdict::Deny(denial) => json!({
            "stage": denial.stage.name(),
            "survivors": Stage::ALL
                .iter()
                .zip(denial.survivors)
                .map(|(stage, count)| (stage.name().to_owned(), json!(count)))
                .collect::<serde_json::Map<_, _>>(),
        }),
    };
    let needs: Vec<Json> =
        explanation.needs.iter().map(|it| json!({ "name": it.name, "text": it.text })).collect();
    json!({
        "snapshot": format!("sha256:{}", explanation.snapshot),
        "epoch": explanation.epoch,
        "route": explanation.route,
        "capability": explanation.capability,
        "seed": format!("{:016x}", explanation.seed),
        "needs": needs,
        "facts": explanation.facts,
        "candidates": candidates,
        "chosen": explanation.chosen(),
        "why": explanation.chosen().map(|_| explanation.why()),
        "refused": denial,
    })
}
