//! From files to a snapshot, with the compiler's problems moved to where their subjects stand.

use crate::compiler::{Governed, Parts, Problem, compile, compile_after};
use crate::config::model::{Configuration, Origins};
use crate::config::{self, FileSource};
use crate::snapshot::{Governance, SeedRule, Snapshot};
use crate::wire::fault::{Fault, Faults};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A sound configuration and what it compiles to.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the operator wrote.
    pub configuration: Configuration,
    /// What calls are decided by.
    pub snapshot: Snapshot,
}

/// Loads and compiles a file set for now.
///
/// # Errors
/// As [`load_at`].
pub fn load(files: &dyn FileSource, path: &Path) -> Result<Loaded, Vec<Fault>> {
    // A clock before 1970 is none: then each override ends too far ahead.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    load_at(files, path, now.map_or(0, |since| since.as_secs()))
}

/// Loads and compiles a file set for a moment, in seconds since 1970.
///
/// # Errors
/// Every fault of the documents, sorted; only when they have none, every reason why they do not
/// compile.
pub fn load_at(files: &dyn FileSource, path: &Path, now_s: u64) -> Result<Loaded, Vec<Fault>> {
    compile_at(config::load(files, path)?, path, now_s)
}

/// Compiles again, for another moment, what was read from this file before: overrides end whether
/// or not the files can be read just then.
///
/// # Errors
/// Every reason why it does not compile.
pub fn compile_at(
    configuration: Configuration,
    path: &Path,
    now_s: u64,
) -> Result<Loaded, Vec<Fault>> {
    let snapshot = compile_for(&configuration, path, now_s)?;
    Ok(Loaded { configuration, snapshot })
}

/// Compiles a configuration for a moment.
///
/// # Errors
/// As [`compile_at`].
pub fn compile_for(
    configuration: &Configuration,
    path: &Path,
    now_s: u64,
) -> Result<Snapshot, Vec<Fault>> {
    compile(&parts(configuration, now_s))
        .map_err(|problems| all_placed(problems, &configuration.origins, path))
}

/// The same for a landscape that comes after another.
///
/// # Errors
/// As [`compile_at`].
pub fn compile_behind(
    before: &Snapshot,
    configuration: &Configuration,
    path: &Path,
    now_s: u64,
) -> Result<Snapshot, Vec<Fault>> {
    compile_after(before, &parts(configuration, now_s))
        .map_err(|problems| all_placed(problems, &configuration.origins, path))
}

fn parts(configuration: &Configuration, now_s: u64) -> Parts<'_> {
    Parts {
        services: &configuration.services,
        routes: &configuration.routes,
        requirements: &configuration.requirements,
        callers: &configuration.callers,
        vocabulary: Arc::new(configuration.vocabulary.clone()),
        policy: Governed {
            policies: &configuration.policies,
            now_s: Some(now_s),
            identified: !configuration.settings.identities.is_empty(),
        },
        seed: SeedRule {
            affinity_header: configuration.settings.routing.affinity_header.clone(),
            probed: configuration.settings.routing.probed.clone(),
            counted: configuration.settings.routing.counted.clone(),
        },
        governance: Governance::new(&configuration.settings.hooks),
        quotas: &configuration.settings.quotas,
    }
}

/// Problems at the places where their subjects were written, sorted.
pub fn all_placed(problems: Vec<Problem>, origins: &Origins, path: &Path) -> Vec<Fault> {
    let shown = path.display().to_string();
    let mut faults = Faults::new();
    faults.extend(problems.into_iter().map(|problem| placed(problem, origins, &shown)));
    faults.into_sorted()
}

/// A problem at the place where its subject was written, or of the process file.
fn placed(problem: Problem, origins: &Origins, file: &str) -> Fault {
    let what = format!("{} {}", problem.subject, problem.what);
    let kinds = [
        ("service", &origins.services),
        ("route", &origins.routes),
        ("requirement", &origins.requirements),
        ("caller", &origins.callers),
        ("rule", &origins.rules),
    ];
    let origin = kinds.into_iter().find_map(|(kind, origins)| {
        let id = problem.subject.strip_prefix(kind)?.strip_prefix(" `")?.strip_suffix('`')?;
        origins.get(id)
    });
    match origin {
        Some(at) => Fault {
            file: at.file.clone(),
            line: at.line,
            column: at.column,
            what,
            mend: problem.mend,
        },
        None => Fault::of_file(file, what, problem.mend),
    }
}
