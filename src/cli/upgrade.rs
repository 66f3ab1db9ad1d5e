//! `caio upgrade`: may a new contract take the place of an old one without anyone losing by it?

use super::check::{FINE, WRONG, report};
use super::diff::side;
use super::disk::Disk;
use super::loading::{Loaded, compile_at, load};
use super::progress::while_it_takes;
use super::style::Output;
use super::wanted;
use crate::config::model::{Contract, Interface};
use crate::config::{Described, load_contract, load_vocabulary};
use crate::contract::vocabulary::Vocabulary;
use crate::prover::difference::{Direction, difference};
use crate::prover::protobuf::{Descriptors, Level};
use crate::prover::refinement::{Breach, refine, show_facts};
use crate::prover::{openapi, protobuf};
use crate::wire::fault::{Fault, quoted};
use crate::wire::limits::DOCUMENT_BYTES_MAX;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What `caio upgrade --help` prints.
pub const HELP: &str = "\
Say whether a new contract refines an old one: it asks no more of any call that the old one takes,
promises such calls at least as much, and still serves every operation. Each point in which it does
not is named, with the facts of a request that shows it where it depends on requests.

Usage: caio upgrade (-c FILE | --vocabulary FILE) OLD NEW

Arguments:
  OLD, NEW           two contracts, such as embed.toml

Options:
  -c, --config FILE      the process file whose vocabulary they speak, and whose callers and routes
                         are asked who loses the service by the change
      --vocabulary FILE  the vocabulary they speak, without asking who loses by it
      --descriptors OLD NEW  descriptor sets of its gRPC services, as `protoc --descriptor_set_out
                             --include_imports` writes them: what was encoded is still understood
      --compatible LEVEL     by them: `wire` for the binary encoding, or `wire_json` for JSON too
                             [default: wire_json]
      --openapi OLD NEW      OpenAPI 3 documents in JSON: by their structure, nothing that was asked
                             is refused
                             Either must be what the contracts name as `descriptor` or `openapi`.
  -h, --help             print this

Exit codes: 0 it refines, 1 it does not or is not known to, or the files are wrong, 2 the command
line is wrong.
";

/// Runs the verb with the arguments behind its name; the result is the exit code.
pub fn run(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> u8 {
    upgrade(args, out, err).unwrap_or(WRONG)
}

#[derive(Default)]
struct Wanted {
    config: Option<PathBuf>,
    vocabulary: Option<PathBuf>,
    files: Vec<PathBuf>,
    descriptors: Option<[PathBuf; 2]>,
    openapi: Option<[PathBuf; 2]>,
    level: Option<Level>,
}

fn upgrade(args: &[String], out: &mut Output<'_>, err: &mut Output<'_>) -> io::Result<u8> {
    let wanted = match wanted("upgrade", HELP, parse(args), out, err)? {
        Ok(wanted) => wanted,
        Err(code) => return Ok(code),
    };
    match read(&wanted).and_then(|read| interfaces(&wanted, &read).map(|found| (read, found))) {
        Ok((read, found)) => judge(&read, &found, out, err),
        Err(faults) => {
            report(&faults, err)?;
            Ok(WRONG)
        }
    }
}

/// What the documents of its interfaces say, beside the contracts.
fn interfaces(wanted: &Wanted, read: &Read) -> Result<Vec<String>, Vec<Fault>> {
    let mut found = Vec::new();
    if let Some([old, new]) = &wanted.descriptors {
        let descriptors = |path: &PathBuf| {
            let fault = |what| vec![Fault::of_file(&path.display().to_string(), what, "")];
            Descriptors::read(&bytes(path)?).map_err(fault)
        };
        let (old, new) = (descriptors(old)?, descriptors(new)?);
        let level = wanted.level.unwrap_or(Level::WireJson);
        for offer in &read.old.offers {
            if let Interface::Grpc(service) = &offer.interface {
                let breaking = protobuf::breaking(level, service, &old, &new);
                found.extend(breaking.into_iter().map(|what| format!("`{service}`: {what}")));
            }
        }
    }
    if let Some([old, new]) = &wanted.openapi {
        let text = |path: &PathBuf| {
            let fault = |_| vec![Fault::of_file(&path.display().to_string(), "it is no UTF-8", "")];
            String::from_utf8(bytes(path)?).map_err(fault)
        };
        let fault = |what| vec![Fault::of_file(&new.display().to_string(), what, "")];
        found.extend(openapi::breaking(&text(old)?, &text(new)?).map_err(fault)?);
    }
    Ok(found)
}

fn bytes(path: &Path) -> Result<Vec<u8>, Vec<Fault>> {
    let fault = |what: String| vec![Fault::of_file(&path.display().to_string(), what, "")];
    let bytes = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
    match bytes.len() > DOCUMENT_BYTES_MAX {
        true => Err(fault(format!("it has more than {DOCUMENT_BYTES_MAX} bytes"))),
        false => Ok(bytes),
    }
}

/// Documents beside a contract, each with its name for people.
type Beside = Vec<(Described, String, Vec<u8>)>;

/// The documents that are given beside the old contract, or the new one.
fn beside(wanted: &Wanted, side: usize) -> Result<Beside, Vec<Fault>> {
    let given =
        [(Described::Descriptor, &wanted.descriptors), (Described::OpenApi, &wanted.openapi)];
    let of_side =
        given.into_iter().filter_map(|(kind, pair)| Some((kind, pair.as_ref()?.get(side)?)));
    of_side.map(|(kind, path)| Ok((kind, path.display().to_string(), bytes(path)?))).collect()
}

/// Everything that was read.
struct Read {
    loaded: Option<(Loaded, PathBuf)>,
    vocabulary: Vocabulary,
    old: Contract,
    new: Contract,
}

fn read(wanted: &Wanted) -> Result<Read, Vec<Fault>> {
    let (mut loaded, mut vocabulary) = (None, None);
    if let Some(path) = &wanted.config {
        let read = while_it_takes("reading and compiling", || load(&Disk, path))?;
        vocabulary = Some(read.configuration.vocabulary.clone());
        loaded = Some((read, path.clone()));
    }
    if let Some(path) = &wanted.vocabulary {
        vocabulary = Some(load_vocabulary(&Disk, path)?);
    }
    let missing = || vec![Fault::of_file("", "no vocabulary is named", "")];
    let vocabulary = vocabulary.ok_or_else(missing)?;
    let mut contracts = Vec::new();
    for (side, path) in wanted.files.iter().enumerate() {
        let beside = beside(wanted, side)?;
        contracts.push(load_contract(&Disk, path, &vocabulary, &beside)?);
    }
    let mut contracts = contracts.into_iter();
    let pair = contracts.next().zip(contracts.next());
    let (old, new) = pair.ok_or_else(missing)?;
    Ok(Read { loaded, vocabulary, old, new })
}

fn judge(
    read: &Read,
    interfaces: &[String],
    out: &mut Output<'_>,
    err: &mut Output<'_>,
) -> io::Result<u8> {
    let Read { loaded, vocabulary, old, new } = read;
    let paint = out.paint;
    if old.service != new.service {
        let (old, new) = (quoted(&old.service), quoted(&new.service));
        writeln!(err.writer, "caio upgrade: {old} and {new} are two services, not two versions")?;
        return Ok(WRONG);
    }
    let breaches = while_it_takes("comparing", || refine(vocabulary, old, new));
    let versions = format!("{} {} to {}", quoted(&old.service), old.version, new.version);
    if breaches.is_empty() && interfaces.is_empty() {
        let fine = paint.green("refines");
        writeln!(out.writer, "{versions}: {fine}; whoever was served is served as well as before")?;
        return Ok(FINE);
    }
    writeln!(out.writer, "{versions}: {}", paint.red("does not refine"))?;
    for Breach { capability, what, facts, unknown } in &breaches {
        let open = if *unknown { "it is not known whether: " } else { "" };
        writeln!(out.writer, "  `{capability}` {open}{what}")?;
        if let Some(facts) = facts {
            writeln!(out.writer, "    a request with {}", show_facts(vocabulary, facts))?;
        }
    }
    for what in interfaces {
        writeln!(out.writer, "  interface: {what}")?;
    }
    if let Some((loaded, path)) = loaded {
        losers(loaded, path, (old, new), out, err)?;
    }
    writeln!(out.writer, "  offer it as another capability beside the old one, or loosen it")?;
    Ok(WRONG)
}

/// Who loses the service, among the callers and routes of a configuration.
fn losers(
    loaded: &Loaded,
    path: &Path,
    (old, new): (&Contract, &Contract),
    out: &mut Output<'_>,
    err: &mut Output<'_>,
) -> io::Result<()> {
    let Some(before) = with(loaded, old, path, err)? else { return Ok(()) };
    let Some(after) = with(loaded, new, path, err)? else { return Ok(()) };
    let found = difference(side(&before), side(&after), Some(&old.service));
    let found = match found {
        Ok(found) => found,
        Err(what) => return writeln!(err.writer, "caio upgrade: {what}"),
    };
    let lost: Vec<_> = found.changes.iter().filter(|it| it.direction == Direction::Lost).collect();
    if lost.is_empty() && !found.more {
        let known = loaded.configuration.services.iter();
        let known = known.filter(|it| it.contract.service == old.service).count();
        let what = match known {
            0 => "has no such service",
            _ => "loses it for no call",
        };
        return writeln!(out.writer, "  {} {what}", path.display());
    }
    writeln!(out.writer, "  who loses it in {}:", path.display())?;
    for change in lost {
        let [route, _] = &change.routes;
        let route = route.as_ref().map_or("", |id| id);
        let callers = change.callers.join(", ");
        writeln!(
            out.writer,
            "    route `{route}`, callers {callers}: {}",
            change.boxes.join(" || ")
        )?;
    }
    if found.more {
        writeln!(out.writer, "    and more that are not listed")?;
    }
    Ok(())
}

/// The configuration with a contract in the place of its namesake's.
fn with(
    loaded: &Loaded,
    contract: &Contract,
    path: &Path,
    err: &mut Output<'_>,
) -> io::Result<Option<Loaded>> {
    let mut configuration = loaded.configuration.clone();
    for service in &mut configuration.services {
        if service.contract.service == contract.service {
            service.contract = contract.clone();
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    match compile_at(configuration, path, now.map_or(0, |since| since.as_secs())) {
        Ok(loaded) => Ok(Some(loaded)),
        Err(faults) => report(&faults, err).map(|()| None),
    }
}

fn parse(args: &[String]) -> Result<Option<Wanted>, String> {
    let mut wanted = Wanted::default();
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        let mut value = || {
            let value = rest.next().filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("{} needs a file", quoted(argument)))
        };
        match argument.as_str() {
            "-h" | "--help" => return Ok(None),
            "-c" | "--config" => wanted.config = Some(PathBuf::from(value()?)),
            "--vocabulary" => wanted.vocabulary = Some(PathBuf::from(value()?)),
            "--descriptors" => wanted.descriptors = Some([value()?.into(), value()?.into()]),
            "--openapi" => wanted.openapi = Some([value()?.into(), value()?.into()]),
            "--compatible" => {
                wanted.level = Some(match value()?.as_str() {
                    "wire" => Level::Wire,
                    "wire_json" => Level::WireJson,
                    other => return Err(format!("{} is no level", quoted(other))),
                });
            }
            other if other.starts_with('-') => {
                return Err(format!("{} is not an option", quoted(other)));
            }
            file => wanted.files.push(PathBuf::from(file)),
        }
    }
    if wanted.config.is_some() == wanted.vocabulary.is_some() {
        return Err("name one of `-c caio.toml` and `--vocabulary vocabulary.toml`".to_owned());
    }
    if wanted.files.len() != 2 {
        return Err("two contracts are compared, the old one first".to_owned());
    }
    Ok(Some(wanted))
}
