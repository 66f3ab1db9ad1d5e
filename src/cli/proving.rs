//! Proving what was loaded, before anything is decided by it.

use super::loading::Loaded;
use super::second::{Compared, Heard};
use super::style::Output;
use crate::config::model::{Configuration, Origin, Origins};
use crate::config::settings::{Listener, Serves, Settings};
use crate::prover::{Failure, Question, Report, Row, prove, prove_aloud};
use crate::snapshot::{CapabilityId, Snapshot};
#[cfg(feature = "serve")]
use crate::wire::fault::Fault;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// What was found, and how long it took.
pub(super) struct Proof {
    pub(super) report: Report,
    took: Duration,
}

impl Proof {
    /// Proves what was loaded.
    pub(super) fn of(configuration: &Configuration, snapshot: &Snapshot) -> Self {
        Self::of_some(configuration, snapshot, None)
    }

    /// Proves what has to hold of these capabilities, where the rest is proved already.
    pub(super) fn of_some(
        configuration: &Configuration,
        snapshot: &Snapshot,
        only: Option<&BTreeSet<CapabilityId>>,
    ) -> Self {
        let began = Instant::now();
        let report = prove(&Question { only, ..question(configuration, snapshot) });
        Self { report, took: began.elapsed() }
    }

    /// Proves what was loaded, and asks a command the same.
    pub(super) fn beside(loaded: &Loaded, command: &str) -> io::Result<(Self, Compared)> {
        let began = Instant::now();
        let heard = Heard::default();
        let report =
            prove_aloud(&question(&loaded.configuration, &loaded.snapshot), &|problem, settled| {
                heard.hear(problem, settled);
            });
        let proof = Self { report, took: began.elapsed() };
        Ok((proof, heard.ask(command)?))
    }

    /// Whether the landscape must not be adopted.
    pub(super) fn is_refused(&self) -> bool {
        self.report.is_refused()
    }

    /// What refuses the landscape, each with a request that shows it.
    #[cfg(feature = "serve")]
    pub(super) fn faults(&self, place: &Place<'_>) -> Vec<Fault> {
        let binding = self.report.rows.iter().filter(|row| row.binding);
        let failures = binding.flat_map(|row| row.failures.iter().map(move |it| (row, it)));
        failures.map(|(row, failure)| place.fault(row, failure)).collect()
    }

    /// `proved in 3 ms: 2 invariants, 7 problems`
    pub(super) fn cost(&self) -> String {
        let invariants = self.report.rows.iter().filter(|row| row.stated).count();
        format!(
            "proved in {} ms: {invariants} invariants, {} problems solved",
            self.took.as_millis(),
            self.report.problems
        )
    }
}

/// What is asked of a configuration.
fn question<'a>(configuration: &'a Configuration, snapshot: &'a Snapshot) -> Question<'a> {
    Question {
        snapshot,
        invariants: &configuration.invariants,
        strangers: strangers(&configuration.settings),
        only: None,
    }
}

/// Whether callers come under ids that nobody configured.
pub(super) fn strangers(settings: &Settings) -> bool {
    let described = |listener: &Listener| listener.serves == Serves::ExtAuthz;
    !settings.identities.is_empty() || settings.listeners.iter().any(described)
}

/// Where callers reach a gateway, for commands that are printed: the first listener of theirs, at
/// the address it is bound to where that is known.
pub(super) fn base(settings: &Settings, bound: &[SocketAddr]) -> String {
    let listeners = settings.listeners.iter().enumerate();
    let mut callers = listeners.filter(|(_, listener)| listener.serves == Serves::Callers);
    let Some((number, listener)) = callers.next() else { return "http://127.0.0.1".to_owned() };
    let scheme = if listener.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", bound.get(number).unwrap_or(&listener.address))
}

/// What makes findings readable: where things are written, and where requests are sent.
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    pub(super) origins: &'a Origins,
    pub(super) base: String,
}

impl<'a> Place<'a> {
    pub(super) fn of(
        path: &'a Path,
        configuration: &'a Configuration,
        bound: &[SocketAddr],
    ) -> Self {
        let base = base(&configuration.settings, bound);
        Self { path, origins: &configuration.origins, base }
    }

    /// Where the subject of a finding is written.
    fn origin(&self, subject: &str) -> Option<&Origin> {
        let kinds = [
            ("service", &self.origins.services),
            ("route", &self.origins.routes),
            ("invariant", &self.origins.invariants),
        ];
        kinds.into_iter().find_map(|(kind, origins)| {
            let id = subject.strip_prefix(kind)?.strip_prefix(" `")?.strip_suffix('`')?;
            origins.get(id)
        })
    }

    /// One finding that refuses a landscape, and on a line of its own the request that shows it.
    #[cfg(feature = "serve")]
    fn fault(&self, row: &Row, failure: &Failure) -> Fault {
        let mut what = format!("{}{}: {}", failure.subject, verdict(row, failure), failure.what);
        if let Some(request) = &failure.request {
            what += &format!("\n  {}", request.curl(&self.base));
        }
        match self.origin(&failure.subject) {
            None => Fault::of_file(&self.path.display().to_string(), what, ""),
            Some(Origin { file, line, column }) => {
                let (file, line, column) = (file.clone(), *line, *column);
                Fault { file, line, column, what, mend: String::new() }
            }
        }
    }

    /// `caio.toml:12:6:`
    fn shown(&self, subject: &str) -> String {
        match self.origin(subject) {
            Some(at) => format!("{}:{}:{}:", at.file, at.line, at.column),
            None => format!("{}:", self.path.display()),
        }
    }

    /// One finding as a line, and the request that shows it on another.
    pub(super) fn lines(&self, row: &Row, failure: &Failure, out: &Output<'_>) -> String {
        let Failure { subject, what, .. } = failure;
        let paint = out.paint;
        let verdict = verdict(row, failure);
        let weight = if row.binding { "" } else { "warning: " };
        let place = paint.bold(&self.shown(subject));
        let mut text = format!("{place} {}{subject}{verdict}: {what}\n", paint.yellow(weight));
        if let Some(request) = &failure.request {
            let line = request.curl(&self.base);
            text += &format!("  {}\n", if row.binding { line } else { paint.dim(&line) });
        }
        text
    }
}

fn verdict(row: &Row, failure: &Failure) -> &'static str {
    match (row.stated, failure.unknown) {
        (true, false) => " does not hold",
        (true, true) => " is not known to hold",
        (false, _) => "",
    }
}

/// Tells what is wrong; of what only warns, the first of each kind.
pub(super) fn tell(
    proof: &Proof,
    place: &Place<'_>,
    weight: Weight,
    out: &mut Output<'_>,
) -> io::Result<()> {
    for row in &proof.report.rows {
        let wanted = match weight {
            Weight::Binding => row.binding,
            Weight::Advisory => !row.binding,
        };
        for failure in row.failures.iter().filter(|_| wanted) {
            let lines = place.lines(row, failure, out);
            write!(out.writer, "{lines}")?;
        }
    }
    Ok(())
}

/// Which findings are told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// What refuses a landscape.
    Binding,
    /// What only warns.
    Advisory,
}
