//! From files to a landscape, for every verb that needs one.

use crate::compiler::{Parts, Problem, compile};
use crate::config::model::Configuration;
use crate::config::{self, FileSource};
use crate::snapshot::{SeedRule, Snapshot};
use crate::wire::fault::Fault;
use std::path::Path;
use std::sync::Arc;

/// A configuration and what was compiled from it.
pub struct Loaded {
    /// As written.
    pub configuration: Configuration,
    /// As compiled.
    pub snapshot: Snapshot,
}

/// Reads and compiles.
///
/// # Errors
/// Every fault of the files; or, when each file is sound, every reason why together they are not.
pub fn load(files: &dyn FileSource, path: &Path) -> Result<Loaded, Vec<Fault>> {
    let configuration = config::load(files, path)?;
    let parts = Parts {
        services: &configuration.services,
        routes: &configuration.routes,
        requirements: &configuration.requirements,
        callers: &configuration.callers,
        vocabulary: Arc::new(configuration.vocabulary.clone()),
        seed: SeedRule::default(),
    };
    match compile(&parts) {
        Ok(snapshot) => Ok(Loaded { configuration, snapshot }),
        Err(problems) => Err(problems.iter().map(|problem| fault(path, problem)).collect()),
    }
}

/// What is wrong between files has no one place; the process file stands for all of them.
fn fault(path: &Path, problem: &Problem) -> Fault {
    Fault {
        file: path.display().to_string(),
        line: 0,
        column: 0,
        what: format!("{}: {}", problem.subject, problem.what),
        mend: problem.mend.clone(),
    }
}
