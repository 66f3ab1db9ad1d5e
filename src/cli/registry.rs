//! `caio registry` and `caio discover`: words for the control socket of a running gateway.

mod client;

use super::audit::time::rfc3339;
use super::check::{FINE, USAGE, WRONG};
use super::disk::Disk;
use super::style::Output;
use crate::config::registered::Kind;
use crate::config::{self, FileSource};
use crate::wire::document::{Document, Source, Syntax};
use crate::wire::fault::{Faults, quoted};
use client::{Client, Said};
use serde_json::{Value as Json, json};
use std::io;
use std::path::{Path, PathBuf};

/// What `caio registry --help` prints.
pub const HELP: &str = "\
Change and see what is registered with a running gateway.

Usage: caio registry list [KIND] | show [KIND/]ID | register FILE | renew ID | drain ID |
                     undrain ID | deregister [KIND/]ID | reload | watch   [OPTIONS]

Options:
  -s, --socket PATH    the gateway's control socket; /run/caio/admin.sock without it
  -c, --config FILE    the process file that says where the socket is
      --if-match TAG   only if the entry is at this revision, such as '\"7\"'
      --dry-run        say what would come of it, and change nothing
      --after NUMBER   of watch: everything behind this event
      --json           what the gateway answers, as it is
  -h, --help           print this

KIND is services, routes, requirements or policies; services without it. FILE holds one document in
TOML or JSON: a service with its [contract], or with an `id` a route, requirement or policy, which
`--kind KIND` says.
Exit codes: 0 it is so, 1 it is refused or nobody answers, 2 the command line is wrong.
";

/// What `caio discover --help` prints.
pub const DISCOVER_HELP: &str = "\
Find who offers what is needed, and which clause the others fail first.

Usage: caio discover [OPTIONS] [NEED]…

Options:
      --capability NAME  only who offers this, such as embed.text/1
  -s, --socket PATH      the gateway's control socket; /run/caio/admin.sock without it
  -c, --config FILE      the process file that says where the socket is
      --json             the same as JSON
  -h, --help             print this

NEED is an expression over promises, such as 'residency.within(\"eu\")'. The question and what was
said of each service go on record.
Exit codes: 0 somebody satisfies it, 1 nobody does or nobody answers, 2 the command line is wrong.
";

/// Where a gateway's control socket is where nobody says.
const SOCKET: &str = "/run/caio/admin.sock";

/// The command line, read.
#[derive(Debug, Default)]
struct Words {
    words: Vec<String>,
    socket: Option<PathBuf>,
    config: Option<PathBuf>,
    kind: Option<String>,
    capability: Option<String>,
    if_match: Option<String>,
    after: Option<String>,
    dry_run: bool,
    json: bool,
    help: bool,
}

impl Words {
    fn read(args: &[String]) -> Result<Self, String> {
        let mut read = Self::default();
        let mut rest = args.iter();
        while let Some(argument) = rest.next() {
            let mut value = || {
                let value = rest.next();
                value.cloned().ok_or_else(|| format!("{} needs a value", quoted(argument)))
            };
            match argument.as_str() {
                "-s" | "--socket" => read.socket = Some(value()?.into()),
                "-c" | "--config" => read.config = Some(value()?.into()),
                "--kind" => read.kind = Some(value()?),
                "--capability" => read.capability = Some(value()?),
                "--if-match" => read.if_match = Some(value()?),
                "--after" => read.after = Some(value()?),
                "--dry-run" => read.dry_run = true,
                "--json" => read.json = true,
                "-h" | "--help" => read.help = true,
                option if option.starts_with('-') => {
                    return Err(format!("{} is not an option", quoted(option)));
                }
                word => read.words.push(word.to_owned()),
            }
        }
        Ok(read)
    }

    /// The gateway's control socket.
    fn client(&self) -> Result<Client, String> {
        if let Some(socket) = &self.socket {
            return Ok(Client(socket.clone()));
        }
        let Some(file) = &self.config else { return Ok(Client(SOCKET.into())) };
        let loaded = config::load(&Disk, file).map_err(|faults| {
            let first = faults.first().map(ToString::to_string);
            first.unwrap_or_else(|| "it cannot be read".to_owned())
        })?;
        let control = loaded.settings.admin.control;
        control
            .map(|control| Client(control.socket))
            .ok_or_else(|| format!("{} names no `[admin] socket`", file.display()))
    }
}

/// Why nothing came of it.
enum Failure {
    Usage(String),
    Gone(String),
    Output,
}

impl From<io::Error> for Failure {
    /// Whoever closed the pipe does not read why.
    fn from(_: io::Error) -> Self {
        Self::Output
    }
}

type Outcome = Result<u8, Failure>;

/// Runs `caio registry`.
pub fn run(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    let done = Words::read(args).map_err(Failure::Usage).and_then(|words| registry(&words, out));
    ended("registry", done, err)
}

/// Runs `caio discover`.
pub fn discover(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    let done = Words::read(args).map_err(Failure::Usage).and_then(|words| find(&words, out));
    ended("discover", done, err)
}

fn ended(verb: &str, done: Outcome, err: &mut Output<'_>) -> u8 {
    let (text, code) = match done {
        Ok(code) => return code,
        Err(Failure::Usage(what)) => (format!("{what}; see `caio {verb} --help`"), USAGE),
        Err(Failure::Gone(what)) => (what, WRONG),
        Err(Failure::Output) => return WRONG,
    };
    match writeln!(err.writer, "caio {verb}: {text}") {
        Ok(()) => code,
        Err(_) => WRONG,
    }
}

fn registry(words: &Words, out: &mut Output<'_>) -> Outcome {
    let (verb, rest) = match words.words.split_first() {
        _ if words.help => {
            write!(out.writer, "{HELP}")?;
            return Ok(FINE);
        }
        Some((verb, rest)) => (verb.as_str(), rest),
        None => return Err(Failure::Usage("a verb is missing".to_owned())),
    };
    let one = || match rest {
        [one] => Ok(one.as_str()),
        _ => Err(Failure::Usage(format!("{verb} takes one argument"))),
    };
    let none = |sent: (&'static str, String)| match rest {
        [] => Ok(sent),
        _ => Err(Failure::Usage(format!("{verb} takes no argument"))),
    };
    let client = || words.client().map_err(Failure::Gone);
    let (method, mut path) = match verb {
        "list" => {
            let kind = rest.first().map_or("services", String::as_str);
            if rest.len() > 1 || !Kind::ALL.iter().any(|known| known.plural() == kind) {
                return Err(Failure::Usage(format!("{} is no kind", quoted(kind))));
            }
            return list(kind, words, &client()?, out);
        }
        "watch" => {
            none(("GET", String::new()))?;
            let after = words.after.as_ref().map(|after| format!("?after={}", encoded(after)));
            let path = format!("/v1/watch{}", after.unwrap_or_default());
            return client()?.stream(&path, out).map(|()| FINE).map_err(Failure::Gone);
        }
        "show" => ("GET", entry(one()?)?),
        "deregister" => ("DELETE", entry(one()?)?),
        "renew" | "drain" | "undrain" => {
            ("POST", format!("/v1/services/{}/{verb}", encoded(one()?)))
        }
        "reload" => none(("POST", "/v1/reload".to_owned()))?,
        "register" => {
            let (path, text) = document(Path::new(one()?), words.kind.as_deref())?;
            return answered(words, &client()?, ("PUT", &tried(path, words)), Some(&text), out);
        }
        other => return Err(Failure::Usage(format!("{} is not a verb", quoted(other)))),
    };
    if matches!(verb, "deregister" | "drain" | "undrain") {
        path = tried(path, words);
    }
    answered(words, &client()?, (method, &path), None, out)
}

fn tried(path: String, words: &Words) -> String {
    if words.dry_run { format!("{path}?dry-run=true") } else { path }
}

/// Sends one request, and tells what came of it.
fn answered(
    words: &Words,
    client: &Client,
    (method, path): (&str, &str),
    body: Option<&str>,
    out: &mut Output<'_>,
) -> Outcome {
    let fields = words.if_match.as_ref().map(|tag| ("If-Match", tag.as_str()));
    let said = client.ask(method, path, fields, body).map_err(Failure::Gone)?;
    let fine = said.status < 300;
    if words.json {
        write!(out.writer, "{}", said.text)?;
    } else if fine {
        tell(&said, out)?;
    } else {
        write!(out.writer, "{}", refused(&said))?;
    }
    Ok(if fine { FINE } else { WRONG })
}

fn tell(said: &Said, out: &mut Output<'_>) -> io::Result<()> {
    let json = said.json();
    let text = |name: &str| json.get(name).and_then(Json::as_str);
    if let Some(document) = text("document") {
        write!(out.writer, "{document}")?;
        // JSON has no place for more; `--json` shows it.
        return match text("syntax") {
            Some("toml") => promises(&json, out),
            _ => Ok(()),
        };
    }
    let mut line = text("outcome").unwrap_or("done").to_owned();
    if json.get("dry_run") == Some(&Json::Bool(true)) {
        line.insert_str(0, "would be ");
    }
    if let Some(revision) = json.get("revision") {
        line.push_str(&format!(", revision {revision}"));
    }
    if let Some(landscape) = json.get("landscape") {
        let version = landscape.get("version").cloned().unwrap_or_default();
        let digest = landscape.get("digest").and_then(Json::as_str).unwrap_or_default();
        line.push_str(&format!(", landscape {version} {digest}"));
    }
    writeln!(out.writer, "{line}")
}

/// What a service promises and what was seen of it, as comments behind its document: what is shown
/// can be registered as it is.
fn promises(json: &Json, out: &mut Output<'_>) -> io::Result<()> {
    let percent = |ppm: u64| format!("{}.{:04}%", ppm / 10_000, ppm % 10_000);
    for held in json.get("promises").and_then(Json::as_array).into_iter().flatten() {
        let text = |name: &str| held.get(name).and_then(Json::as_str).unwrap_or_default();
        let observed = |name: &str| {
            let seen = held.get(name).filter(|seen| seen.is_object())?;
            let number = |name: &str| seen.get(name).and_then(Json::as_u64);
            let until_ms = seen.get("window_ms").and_then(|window| window.get(1)?.as_u64())?;
            let (calls, otherwise) = (number("calls")?, number("otherwise")?);
            let share = percent(number("ppm")?);
            Some(format!("{otherwise} of {calls} calls, {share}, until {}", rfc3339(until_ms, 0)))
        };
        let declared = held.get("declared").and_then(|it| it.get("ppm_max")?.as_u64());
        let declared = declared.map_or_else(String::new, percent);
        write!(out.writer, "# promise {} {}", text("promise"), text("stands"))?;
        write!(out.writer, ": declared at most {declared}, attested by nobody")?;
        let unseen = || "nothing yet".to_owned();
        writeln!(out.writer, ", observed {}", observed("observed").unwrap_or_else(unseen))?;
        if let Some(last) = observed("last_breach") {
            writeln!(out.writer, "#   last breach: {last}")?;
        }
    }
    Ok(())
}

/// Why something was refused: the title, then each fault by its place.
fn refused(said: &Said) -> String {
    let json = said.json();
    let text = |value: &Json, name: &str| {
        value.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
    };
    let mut lines = format!("refused: {} ({})\n", text(&json, "title"), text(&json, "code"));
    for fault in json.get("faults").and_then(Json::as_array).into_iter().flatten() {
        let mend = text(fault, "mend");
        let mend = if mend.is_empty() { mend } else { format!("; {mend}") };
        let (place, what) = (text(fault, "place"), text(fault, "what"));
        lines.push_str(&format!("{place}: {what}{mend}\n"));
    }
    lines
}

fn list(kind: &str, words: &Words, client: &Client, out: &mut Output<'_>) -> Outcome {
    let mut after = String::new();
    loop {
        let path = format!("/v1/{kind}?after={}", encoded(&after));
        let said = client.ask("GET", &path, None, None).map_err(Failure::Gone)?;
        if said.status >= 300 {
            write!(out.writer, "{}", refused(&said))?;
            return Ok(WRONG);
        }
        let json = said.json();
        for item in json.get("items").and_then(Json::as_array).into_iter().flatten() {
            if words.json {
                writeln!(out.writer, "{item}")?;
                continue;
            }
            let id = item.get("id").and_then(Json::as_str).unwrap_or_default();
            let mut line =
                format!("{id}  revision {}", item.get("revision").unwrap_or(&Json::Null));
            if item.get("draining") == Some(&Json::Bool(true)) {
                line.push_str("  draining");
            }
            for endpoint in item.get("endpoints").and_then(Json::as_array).into_iter().flatten() {
                let address = endpoint.get("address").and_then(Json::as_str).unwrap_or_default();
                line.push_str(&format!("  {address}"));
            }
            if let Some(left_ms) = item.get("lease").and_then(|lease| lease.get("left_ms")) {
                line.push_str(&format!("  lease {left_ms} ms"));
            }
            writeln!(out.writer, "{line}")?;
        }
        match json.get("next").and_then(Json::as_str) {
            Some(next) => next.clone_into(&mut after),
            None => return Ok(FINE),
        }
    }
}

fn find(words: &Words, out: &mut Output<'_>) -> Outcome {
    if words.help {
        write!(out.writer, "{DISCOVER_HELP}")?;
        return Ok(FINE);
    }
    let client = words.client().map_err(Failure::Gone)?;
    let mut question = json!({ "needs": words.words });
    if let (Some(members), Some(name)) = (question.as_object_mut(), &words.capability) {
        members.insert("capability".into(), name.clone().into());
    }
    let body = question.to_string();
    let said = client.ask("POST", "/v1/discover", None, Some(&body)).map_err(Failure::Gone)?;
    if said.status >= 300 {
        let text = if words.json { said.text.clone() } else { refused(&said) };
        write!(out.writer, "{text}")?;
        return Ok(WRONG);
    }
    let json = said.json();
    if words.json {
        write!(out.writer, "{}", said.text)?;
    }
    let mut somebody = false;
    for found in json.get("found").and_then(Json::as_array).into_iter().flatten() {
        let capability = found.get("capability").and_then(Json::as_str).unwrap_or_default();
        for service in found.get("services").and_then(Json::as_array).into_iter().flatten() {
            let text = |name: &str| service.get(name).and_then(Json::as_str).unwrap_or_default();
            let satisfies = service.get("satisfies") == Some(&Json::Bool(true));
            somebody |= satisfies;
            if words.json {
                continue;
            }
            let (id, version) = (text("service"), text("version"));
            let fails = service.get("fails");
            let clause = fails.and_then(|fails| fails.get("clause")).and_then(Json::as_str);
            let said = match clause {
                Some(clause) => format!("fails: {clause}"),
                None => "satisfies".to_owned(),
            };
            writeln!(out.writer, "{capability}  {id} {version}  {said}")?;
        }
    }
    Ok(if somebody { FINE } else { WRONG })
}

/// `ID` or `KIND/ID`, as a path.
fn entry(text: &str) -> Result<String, Failure> {
    let (kind, id) = text.split_once('/').unwrap_or(("services", text));
    if !Kind::ALL.iter().any(|known| known.plural() == kind) || id.is_empty() {
        return Err(Failure::Usage(format!("{} is not KIND/ID", quoted(text))));
    }
    Ok(format!("/v1/{kind}/{}", encoded(id)))
}

/// Where a document belongs, and its text.
fn document(file: &Path, kind: Option<&str>) -> Result<(String, String), Failure> {
    let shown = file.display().to_string();
    let gone = |what: String| Failure::Gone(format!("{shown}: {what}"));
    let bytes = Disk.read(file).map_err(|error| gone(error.to_string()))?;
    let source =
        Source::from_bytes(&shown, bytes).map_err(|fault| Failure::Gone(fault.to_string()))?;
    let json = source.text().trim_start().starts_with('{');
    let syntax = if json { Syntax::Json } else { Syntax::Toml };
    let mut faults = Faults::new();
    let named = Document::parse_as(syntax, &source, &mut faults).map(|document| {
        let mut root = document.root();
        let service = root.table("contract", &mut faults);
        let service = service.and_then(|mut table| table.string("service", &mut faults));
        let id = root.string("id", &mut faults).map(|id| id.value.to_owned());
        (service.map(|id| id.value.to_owned()), id)
    });
    let (service, id) = match (named, faults.into_sorted().first()) {
        (Some(named), None) => named,
        (_, Some(fault)) => return Err(Failure::Gone(fault.to_string())),
        (None, None) => return Err(gone("it is no document".to_owned())),
    };
    let (kind, id) = match (service, id, kind) {
        (Some(id), _, None | Some("services")) => ("services", id),
        (_, Some(id), Some(kind)) if Kind::ALL.iter().any(|known| known.plural() == kind) => {
            (kind, id)
        }
        _ => return Err(gone("it has no `[contract] service`, nor `id` and a --kind".to_owned())),
    };
    Ok((format!("/v1/{kind}/{}", encoded(&id)), source.text().to_owned()))
}

/// Text as a part of a path.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
