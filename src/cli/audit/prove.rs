//! `prove` and `verify-proof`: that a decision is on record, shown to somebody who has nothing but
//! the log's public key.

use super::exchange::{Lies, hex, reason, shown, verdict};
use super::gather::find;
use super::id::Id;
use super::options::Options;
use super::told::ending;
use super::trail::{Position, Span, Trail, read_bounded};
use super::{Failure, Outcome};
use crate::audit::note::LogVerifier;
use crate::audit::proof::{Proof, path};
use crate::audit::record::Record;
use crate::audit::scan::{self, Next, Raw};
use crate::cli::check::FINE;
use crate::cli::progress::while_it_takes;
use crate::cli::style::Output;
use crate::wire::fault::quoted;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::Path;

/// What `caio audit prove --help` prints.
pub const HELP: &str = "\
Write a proof that a decision is on record: a C2SP tlog-proof (c2sp.org/tlog-proof) of the frame
that holds it. Its extra data are the frame's bytes, so that the one text is all that is needed:
the entry is the frame's last 32 bytes, the SHA-256 of those before. A frame holds what was
recorded within the same milliseconds, of other callers too: whoever gets the proof can read that.

Usage: caio audit prove --trail DIRECTORY [--out FILE.tlog-proof] ID

Options:
  -o, --out FILE         write it there; to standard output without it
      --outcome          of the frame that holds the decision's outcome
";

/// What `caio audit verify-proof --help` prints.
pub const VERIFY_HELP: &str = "\
Verify a proof that `caio audit prove` wrote, without a trail and without a network: the
checkpoint's signature, the path from the frame to its root, the frame's digest, and that the
decision is in it.

Usage: caio audit verify-proof --key VKEY FILE [ID]
";

/// How often the newest checkpoint and its tiles are looked for while a writer replaces them.
const ATTEMPTS: u32 = 8;
/// A proof holds at most the longest frame, in base64.
const PROOF_BYTES_MAX: u64 = 64 << 20;

/// Runs `caio audit prove`.
///
/// # Errors
/// What is wrong with the command line or the trail.
pub fn run(options: &Options, out: &mut Output<'_>, err: &mut Output<'_>) -> Outcome {
    let id = Id::read(options.word("decision").map_err(Failure::Usage)?).map_err(Failure::Usage)?;
    let mut trail = options.open()?;
    let exchange = while_it_takes("reading the trail", || find(&trail, id))?;
    let lies = match (options.outcome, &exchange.outcome) {
        (false, _) => exchange.lies,
        (true, Some((_, lies))) => *lies,
        (true, None) => return Err(format!("{} has no outcome yet", exchange.id).into()),
    };
    let proof = proof(&mut trail, lies)?;
    let text = proof.text();
    match &options.out {
        None => write!(out.writer, "{text}")?,
        Some(file) => {
            let shown = file.display();
            std::fs::write(file, &text).map_err(|error| format!("{shown}: {error}"))?;
            let key = trail.key.as_ref().map_or_else(String::new, LogVerifier::text);
            let key = key.trim_end();
            writeln!(out.writer, "{shown}: frame {} with {}", lies.frame, exchange.id)?;
            let hint = format!("caio audit verify-proof --key {key} {shown} {}", exchange.id);
            writeln!(err.writer, "{}", err.paint.dim(&format!("verify it anywhere: {hint}")))?;
        }
    }
    Ok(FINE)
}

fn proof(trail: &mut Trail, lies: Lies) -> Result<Proof, String> {
    let mut extra = Vec::new();
    let from = Position { segment: lies.segment, offset: lies.offset, number: lies.frame };
    trail.frames(from, Span::Segment, |met| {
        extra = met.bytes.to_vec();
        Ok(ControlFlow::Break(()))
    })?;
    for _ in 0..ATTEMPTS {
        trail.refresh()?;
        let size = trail.checkpoint.map_or(0, |checkpoint| checkpoint.size);
        if lies.frame >= size {
            let frame = lies.frame;
            return Err(format!("frame {frame} is not signed yet; ask again in a second"));
        }
        let read = |path: &str| trail.file(path).ok().flatten();
        if let Some(hashes) = path(lies.frame, size, read) {
            let checkpoint = trail.note.clone();
            let proof = Proof { extra, index: lies.frame, hashes, checkpoint };
            let entry = proof.extra.last_chunk::<32>().copied().unwrap_or_default();
            let key = trail.key.as_ref().ok_or("log-key.pub is missing")?;
            let proves = proof.verify(&entry, key).is_some();
            let what = "the tiles do not lead from the frame to the signed root; see verify";
            return if proves { Ok(proof) } else { Err(what.to_owned()) };
        }
    }
    Err("a tile is missing; see `caio audit verify`".to_owned())
}

/// Runs `caio audit verify-proof`.
///
/// # Errors
/// What is wrong with the command line or the proof.
pub fn verify(options: &Options, out: &mut Output<'_>) -> Outcome {
    let (file, id) = match options.words.as_slice() {
        [file] => (file, None),
        [file, id] => (file, Some(Id::read(id).map_err(Failure::Usage)?)),
        [] => return Err(Failure::Usage("no proof is given".to_owned())),
        _ => return Err(Failure::Usage("one proof and one decision at a time".to_owned())),
    };
    let key = options.key.as_deref();
    let key = key.ok_or_else(|| Failure::Usage("no key is given; add --key VKEY".to_owned()))?;
    let line = match key.contains('+') {
        true => key.to_owned(),
        false => text(key)?,
    };
    let key = line.lines().next().and_then(LogVerifier::read);
    let key = key.ok_or_else(|| format!("{} is no log's key", quoted(&line)))?;
    let proof = Proof::read(&text(file)?).ok_or("it is no tlog-proof".to_owned())?;
    let mut extra = proof.extra.as_slice();
    let Next::Frame(frame, _) = scan::next(&mut extra, proof.index) else {
        return Err("its extra data are not the frame of its index".to_owned().into());
    };
    let checkpoint = proof.verify(&frame.digest, &key);
    let checkpoint =
        checkpoint.ok_or("the frame is not under a checkpoint of this key".to_owned())?;
    let told = id.map(|id| records(frame.body, id)).transpose()?;
    if options.json {
        let told = json!({
            "proven": true,
            "frame": frame.number,
            "digest": hex(&frame.digest),
            "checkpoint_size": checkpoint.size,
            "records": told,
        });
        writeln!(out.writer, "{told:#}")?;
        return Ok(FINE);
    }
    let (number, size) = (frame.number, checkpoint.size);
    let proven = format!("frame {number} is one of the {size} that this key has signed");
    writeln!(out.writer, "{}", out.paint.green(&proven))?;
    for line in told.into_iter().flatten() {
        writeln!(out.writer, "{line}")?;
    }
    Ok(FINE)
}

/// What a frame says of a decision, without the landscape: numbers stay numbers.
fn records(mut body: &[u8], id: Id) -> Result<Vec<String>, String> {
    let mut told = Vec::new();
    while !body.is_empty() {
        let raw = Raw::take(&mut body).ok_or("the frame holds a malformed record")?;
        if (raw.place.lane, raw.place.sequence) != (id.lane, id.sequence) {
            continue;
        }
        match raw.read() {
            Some(Record::Decision(decision)) => told.push(format!(
                "{id} decided {} for {}: landscape {}, capability {}, service {}{}",
                verdict(decision.verdict),
                shown(&decision.caller),
                decision.landscape,
                decision.capability,
                decision.service,
                reason(decision.reason).map_or("".into(), |it| format!(", {}", it.row().code))
            )),
            Some(Record::Outcome(outcome)) => {
                let (status, ending) = (outcome.status, ending(outcome.ending));
                told.push(format!("{id} ended with {status}, {ending}"));
            }
            _ => {}
        }
    }
    if told.is_empty() { Err(format!("the frame says nothing of {id}")) } else { Ok(told) }
}

fn text(file: &str) -> Result<String, String> {
    let bytes = read_bounded(Path::new(file), PROOF_BYTES_MAX)?;
    let bytes = bytes.ok_or_else(|| format!("there is no {}", quoted(file)))?;
    String::from_utf8(bytes).map_err(|_| format!("{} is no text", quoted(file)))
}
