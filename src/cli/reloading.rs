//! What a running process does when its files change, and when an override ends.

use super::check::{notices, report};
use super::disk::Disk;
use super::keeping::Keeping;
use super::loading::{Loaded, compile_at, load};
use super::style::Output;
use crate::balance::epoch::Epoch;
use crate::config::model::Configuration;
use crate::config::settings::Settings;
use crate::io::clock::wall_ms;
use crate::io::process;
use crate::proxy::gateway::Gateway;
use crate::proxy::identify::Identities;
use crate::proxy::landscape::Published;
use crate::proxy::limits::SharedQuotas;
use crate::proxy::secure::Upstreams;
use crate::snapshot::Snapshot;
use crate::wire::fault::quoted;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The landscape that a process starts with: its services are all well, and nothing of its quotas
/// is used up.
pub(super) fn first(
    snapshot: Snapshot,
    upstreams: Upstreams,
    identities: Arc<Identities>,
) -> Published {
    let quotas = SharedQuotas::new(snapshot.quotas());
    published(snapshot, upstreams, quotas, identities)
}

fn published(
    snapshot: Snapshot,
    upstreams: Upstreams,
    quotas: SharedQuotas,
    identities: Arc<Identities>,
) -> Published {
    let epoch = Arc::new(Epoch::default().leveled(&snapshot));
    let (upstreams, quotas) = (Arc::new(upstreams), Arc::new(quotas));
    Published { snapshot: Arc::new(snapshot), epoch, upstreams, quotas, identities }
}

/// What of the settings holds as long as the process runs, whatever the files say since.
fn fixed(settings: &Settings) -> Settings {
    let (quotas, identities) = (Vec::new(), Vec::new());
    let mut fixed = Settings { quotas, identities, care: Arc::default(), ..settings.clone() };
    fixed.listeners.iter_mut().for_each(|listener| listener.identify.clear());
    fixed
}

/// Whether callers are known by the same, on listeners that are the same.
fn identifies_alike(one: &Configuration, other: &Configuration) -> bool {
    let orders = |of: &Configuration| {
        let listeners = of.settings.listeners.iter();
        listeners.map(|it| (it.address, it.identify.clone())).collect::<Vec<_>>()
    };
    one.settings.identities == other.settings.identities
        && one.vocabulary == other.vocabulary
        && orders(one) == orders(other)
}

/// Tells why services cannot be reached over TLS.
pub(super) fn tell_insecure(faults: &[String], err: &mut Output<'_>) -> io::Result<()> {
    faults.iter().try_for_each(|fault| writeln!(err.writer, "caio: {fault}"))
}

/// What other files make of how callers are known.
enum Known {
    /// Nothing new.
    AsBefore,
    /// These from now on, and what keeps their keys fresh.
    Anew(Arc<Identities>, Keeping),
    /// It cannot be.
    Impossible,
}

/// Certificates are looked at once in so many looks, which is about once a second.
const CERTIFICATE_LOOKS: u32 = 10;

/// The files the process runs by, and what they said when they were sound last.
pub(super) struct Files {
    path: PathBuf,
    /// What the process was started with, and runs with whatever the files say since.
    settings: Settings,
    configuration: Configuration,
    /// What its identities are kept fresh by.
    keeping: Keeping,
    looks: u32,
}

impl Files {
    /// Those that were read from this process file.
    pub(super) fn new(path: PathBuf, configuration: Configuration, keeping: Keeping) -> Self {
        let settings = configuration.settings.clone();
        Self { path, settings, configuration, keeping, looks: 0 }
    }

    /// The settings that the process runs with.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads them again where that is asked for, and ends overrides whose time is over.
    pub(super) fn look(&mut self, gateway: &Gateway, err: &mut Output<'_>) -> io::Result<()> {
        self.looks = self.looks.wrapping_add(1);
        self.keeping.tell(err)?;
        // One landscape after the other: the one before must be recorded first.
        if gateway.is_publishing() {
            return Ok(());
        }
        let asked = process::reload_asked();
        if asked || self.looks.is_multiple_of(CERTIFICATE_LOOKS) {
            let told = gateway.refresh_certificates(asked);
            if !told.is_empty() {
                for line in told.into_iter().chain(gateway.certificate_warnings()) {
                    writeln!(err.writer, "caio: {line}")?;
                }
            }
        }
        if asked {
            return self.read(gateway, err);
        }
        let now_s = wall_ms() / 1000;
        if gateway.published().snapshot.next_expiry().is_some_and(|end_s| end_s <= now_s) {
            // From what is known: an override ends whether or not the files can be read just then.
            return match compile_at(self.configuration.clone(), &self.path, now_s) {
                Ok(loaded) => self.adopt(loaded, gateway, err),
                Err(faults) => report(&faults, err),
            };
        }
        Ok(())
    }

    fn read(&mut self, gateway: &Gateway, err: &mut Output<'_>) -> io::Result<()> {
        let loaded = match load(&Disk, &self.path) {
            Ok(loaded) => loaded,
            Err(faults) => {
                report(&faults, err)?;
                return writeln!(err.writer, "caio: nothing was changed");
            }
        };
        if fixed(&self.settings) != fixed(&loaded.configuration.settings) {
            let what = "the settings of the process have changed, and hold from its next start";
            writeln!(err.writer, "caio: {what}")?;
        }
        self.adopt(loaded, gateway, err)
    }

    fn adopt(&mut self, loaded: Loaded, gateway: &Gateway, err: &mut Output<'_>) -> io::Result<()> {
        let named = loaded.snapshot.digest_text();
        let before = gateway.published();
        let services = &loaded.configuration.services;
        let upstreams = match Upstreams::read(services, Some(&before.upstreams)) {
            Ok(upstreams) => upstreams,
            Err(faults) => {
                tell_insecure(&faults, err)?;
                return writeln!(err.writer, "caio: nothing was changed");
            }
        };
        let identities = match self.identities(&loaded.configuration, &before, err)? {
            Known::Anew(identities, keeping) => {
                self.keeping = keeping;
                identities
            }
            Known::AsBefore => Arc::clone(&before.identities),
            Known::Impossible => return writeln!(err.writer, "caio: nothing was changed"),
        };
        self.configuration = loaded.configuration;
        let same =
            upstreams.is_same(&before.upstreams) && Arc::ptr_eq(&identities, &before.identities);
        if same && *before.snapshot.digest() == *loaded.snapshot.digest() {
            return writeln!(err.writer, "caio: read again, snapshot {named} as before");
        }
        let services = loaded.snapshot.services().len();
        for notice in notices(&loaded.snapshot) {
            writeln!(err.writer, "caio: {notice}")?;
        }
        let quotas = before.quotas.followed_by(loaded.snapshot.quotas());
        gateway.publish(published(loaded.snapshot, upstreams, quotas, identities));
        writeln!(err.writer, "caio: {services} services, snapshot {named} from now on")
    }

    /// What the files make of how callers are known; told why, where that cannot be.
    fn identities(
        &self,
        next: &Configuration,
        before: &Published,
        err: &mut Output<'_>,
    ) -> io::Result<Known> {
        if identifies_alike(&self.configuration, next) {
            return Ok(Known::AsBefore);
        }
        let addresses = |settings: &Settings| {
            settings.listeners.iter().map(|listener| listener.address).collect::<Vec<_>>()
        };
        if addresses(&self.settings) != addresses(&next.settings) {
            // Which of the listeners that there are would accept what, nobody can tell.
            let what = "listeners and whom they identify have changed at once: restart for both";
            writeln!(err.writer, "caio: {what}")?;
            return Ok(Known::Impossible);
        }
        let identities = before.identities.followed_by(&next.settings, &next.vocabulary);
        let identities = Arc::new(identities);
        let keeping = Keeping::start(&identities)?;
        keeping.tell(err)?;
        if let Some(name) = identities.unread() {
            writeln!(err.writer, "caio: the keys of identity {} cannot be read", quoted(name))?;
            return Ok(Known::Impossible);
        }
        Ok(Known::Anew(identities, keeping))
    }
}
