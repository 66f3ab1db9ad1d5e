//! Layer 2: what an operator writes, first as raw shape, then typed ([`model`]).
//!
//! [`load`] reads a whole file set and reports everything that is wrong with it at once:
//! ```text
//! caio.toml ── vocabulary ──► vocabulary.toml
//!     │                            │ attributes that all conditions speak of
//!     ├── include ──► conf.d/*.toml┤
//!     └── services ── contract ──► embed.toml
//! ```
//! Reading is passed in as a [`FileSource`], because nothing at this layer does IO.

mod address;
pub mod api_keys;
mod beside;
pub mod care;
pub mod companion;
mod contracts;
pub mod control;
pub mod depth;
pub mod discovery;
mod files;
pub mod fixed;
pub mod hook;
pub mod identity;
mod meaning;
pub mod model;
mod pattern;
pub mod policy;
pub mod prove;
pub mod quota;
pub mod registered;
mod relations;
pub mod remote;
pub mod settings;
pub mod tls;

pub use address::Network;
pub use beside::Described;
pub use contracts::CONTRACT_FORMAT;
pub use files::{FileSource, MemoryFiles};
pub use relations::ANONYMOUS;

use crate::contract::vocabulary::Vocabulary;
use crate::wire::document::{Place, Source, Table, Text};
use crate::wire::fault::{Fault, Faults};
use files::{Reader, resolve};
use meaning::Meaning;
use model::{Configuration, Contract};
use relations::{Relations, Seen};
use settings::Settings;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The format of process files and what they include that this program reads.
pub const CONFIG_FORMAT: &str = "caio/1";

/// Reads the process file at `path` and everything it names; either all of it is sound, or every
/// fault comes back, by file, line and column.
pub fn load(files: &dyn FileSource, path: &Path) -> Result<Configuration, Vec<Fault>> {
    let mut faults = Faults::new();
    let loaded = load_into(files, path, &mut faults);
    match loaded {
        Some(configuration) if faults.is_empty() => Ok(configuration),
        _ => Err(faults.into_sorted()),
    }
}

/// Reads one contract by itself, in the terms of a vocabulary, and holds what describes its
/// interfaces against the fingerprints it names; that is given with a name for people.
///
/// # Errors
/// Every fault of it.
pub fn load_contract(
    files: &dyn FileSource,
    path: &Path,
    vocabulary: &Vocabulary,
    beside: &[(Described, String, Vec<u8>)],
) -> Result<Contract, Vec<Fault>> {
    let mut faults = Faults::new();
    let source = Reader::new(files).read_first(path, &mut faults);
    let document = source.as_ref().and_then(|source| relations::parse(source, &mut faults));
    let meaning = Meaning(Some(vocabulary));
    for (described, shown, bytes) in beside {
        let Some(document) = &document else { continue };
        let found = beside::compare_one(&document.root(), (*described, shown, bytes));
        found.into_iter().for_each(|fault| faults.push(fault));
    }
    let read = document.as_ref().and_then(|document| {
        contracts::read(document.root(), contracts::Form::File, &meaning, &mut faults)
    });
    match read {
        Some((_, contract)) if faults.is_empty() => Ok(contract),
        _ => Err(faults.into_sorted()),
    }
}

/// Reads one vocabulary by itself.
///
/// # Errors
/// Every fault of it.
pub fn load_vocabulary(files: &dyn FileSource, path: &Path) -> Result<Vocabulary, Vec<Fault>> {
    let mut faults = Faults::new();
    let source = Reader::new(files).read_first(path, &mut faults);
    let document = source.as_ref().and_then(|source| relations::parse(source, &mut faults));
    let read = document.as_ref().and_then(|it| Vocabulary::read(it.root(), &mut faults));
    match read {
        Some(vocabulary) if faults.is_empty() => Ok(vocabulary),
        _ => Err(faults.into_sorted()),
    }
}

fn load_into(files: &dyn FileSource, path: &Path, faults: &mut Faults) -> Option<Configuration> {
    let mut reader = Reader::new(files);
    let source = reader.read_first(path, faults)?;
    let document = relations::parse(&source, faults)?;
    let mut root = document.root();
    let base = directory(path);
    check_format(&mut root, faults);
    let vocabulary = root
        .require("vocabulary", faults)
        .and_then(|()| root.required_string("vocabulary", faults))
        .and_then(|named| read_vocabulary(&base, named, &mut reader, faults));
    let mut settings = settings::read(&mut root, vocabulary.as_ref(), faults);
    settings.audit.directory = settings.audit.directory.map(|written| base.join(written));
    control::rebase(&mut settings, &base);
    identity::rebase(&mut settings, &base);
    let fallback = policy::read_fallback(&mut root, faults);
    settings
        .listeners
        .iter_mut()
        .filter_map(|it| it.tls.as_mut())
        .for_each(|tls| tls.resolve(&base));
    let hooks = settings.hooks.all.iter_mut().map(|hook| &mut hook.tls);
    let companions = settings.companions.iter_mut().map(|companion| &mut companion.tls);
    hooks.chain(companions).flatten().for_each(|tls| tls.resolve(&base));
    let includes = root.strings("include", faults);
    let mut set = FileSet {
        reader,
        meaning: Meaning(vocabulary.as_ref()),
        seen: Seen::default(),
        relations: Relations {
            hooks: settings.hooks.clone(),
            care: Arc::clone(&settings.care),
            ..Relations::default()
        },
    };
    set.read(&mut root, &base, faults);
    let quotas = quota::origins(&mut root);
    if let (Some(address), Some(place)) = (settings.discovery, root.place_of("discovery")) {
        set.offer((address, place), faults);
    }
    root.finish(faults);
    let mut included = BTreeSet::from([path.to_owned()]);
    for entry in includes {
        for file in set.reader.expand(&base, entry, &mut included, faults) {
            set.include(&file, entry, faults);
        }
    }
    let mut relations = set.relations;
    relations.origins.quotas = quotas;
    relations.policies.fallback = fallback;
    quota::relate(&settings.quotas, &relations.policies, &relations.origins.rules, faults);
    identity::relate_rules(&settings, &relations.policies, &relations.origins.rules, faults);
    let digest = Sha256::digest(source.text()).into();
    assemble((digest, settings), vocabulary?, relations)
}

fn assemble(
    (digest, mut settings): ([u8; 32], Settings),
    vocabulary: Vocabulary,
    relations: Relations,
) -> Option<Configuration> {
    let Relations {
        services, routes, requirements, callers, policies, invariants, origins, ..
    } = relations;
    settings.hooks.deciding = hook::deciding_fields(&vocabulary, &routes, &settings.routing);
    Some(Configuration {
        digest,
        settings,
        vocabulary,
        services,
        routes,
        requirements,
        callers,
        policies,
        invariants,
        origins,
    })
}

fn directory(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

fn check_format(root: &mut Table<'_>, faults: &mut Faults) {
    root.require("config", faults);
    contracts::check_format(root, "config", CONFIG_FORMAT, faults);
}

fn read_vocabulary(
    base: &Path,
    named: Text<'_>,
    reader: &mut Reader<'_>,
    faults: &mut Faults,
) -> Option<Vocabulary> {
    let source = reader.read(&resolve(base, named.value), named, faults)?;
    let document = relations::parse(&source, faults)?;
    Vocabulary::read(document.root(), faults)
}

/// What grows while one file after the other is read.
struct FileSet<'a> {
    reader: Reader<'a>,
    meaning: Meaning<'a>,
    seen: Seen,
    relations: Relations,
}

impl FileSet<'_> {
    fn read(&mut self, root: &mut Table<'_>, base: &Path, faults: &mut Faults) {
        let Self { reader, meaning, seen, relations } = self;
        relations.read(root, base, reader, meaning, seen, faults);
    }

    /// The gateway's own service.
    fn offer(&mut self, own: (SocketAddr, Place<'_>), faults: &mut Faults) {
        let Self { meaning, seen, relations, .. } = self;
        if let Some((service, at)) = discovery::service(own, meaning, seen, faults) {
            relations.origins.services.insert(service.contract.service.clone(), at);
            relations.services.push(service);
        }
    }

    /// An included file: the lists only, because settings in two places are found in neither.
    fn include(&mut self, path: &Path, named: Text<'_>, faults: &mut Faults) {
        let source: Option<Source> = self.reader.read(path, named, faults);
        let Some(source) = source else { return };
        let Some(document) = relations::parse(&source, faults) else { return };
        let mut root = document.root();
        if let Some(place) = root.place_of("contract")
            && root.place_of("config").is_none()
        {
            let mend = "name it in `[[services]] contract = …`, next to its endpoints";
            faults.push(place.fault("a contract cannot be included", mend));
            return;
        }
        check_format(&mut root, faults);
        self.read(&mut root, &directory(path), faults);
        root.finish(faults);
    }
}
