//! TLS of a process: one configuration for each listener and each service, replaced when files
//! change.
//!
//! Files are read at the start, at a reload and by [`Security::refresh`], never by a worker.
//! Whatever replaces a configuration is whole and sound; what is not, leaves the one before in its
//! place.

use super::landscape::Published;
use crate::config::care::Care;
use crate::config::model::{Protocol, Service};
use crate::config::settings::Settings;
use crate::config::tls::{
    CertificateFiles, ClientMode, Expected, ListenerTls, ServiceCa, ServiceTls, TlsVersion,
};
use crate::io::clock::wall_ms;
use crate::io::tls::keys::{Authorities, Expiry, Identity, IdentityFiles, Stamp};
use crate::io::tls::server::{ClientAuth, Judge, Tickets};
use crate::io::tls::{Agreed, MinVersion, Secured, client, server};
use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A configuration and what its files say of their end.
struct Configured<C> {
    config: Arc<C>,
    expiries: Vec<Expiry>,
}

/// A listener that speaks TLS.
pub struct Guard {
    tickets: Tickets,
    current: ArcSwap<Listening>,
    /// The number of what is current.
    newest: AtomicU64,
    /// Whether nobody is served without a certificate.
    requires: AtomicBool,
}

/// What a listener is secured with since its files were read last, or its settings changed.
pub struct Listening {
    /// What it is, for the operator.
    what: String,
    tls: ListenerTls,
    configured: Configured<ServerConfig>,
    /// By what callers' certificates are found good, where they are asked for.
    judge: Option<Judge>,
    number: u64,
}

impl Listening {
    fn read(what: &str, tls: &ListenerTls, tickets: &Tickets) -> Result<Self, String> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let read = read_listener(tls, tickets).map_err(|why| format!("{what}: {why}"))?;
        let (configured, judge) = read;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Ok(Self { what: what.to_owned(), tls: tls.clone(), configured, judge, number })
    }

    fn requires(&self) -> bool {
        self.tls.client.mode == ClientMode::Required
    }

    /// For handshakes.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.configured.config)
    }

    /// Tells it from what there was before and will be.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// By what callers' certificates are found good, where they are asked for.
    pub fn judge(&self) -> Option<&Judge> {
        self.judge.as_ref()
    }
}

impl Guard {
    /// For the next handshake, and for what was found good by another before.
    pub fn current(&self) -> Arc<Listening> {
        self.current.load_full()
    }

    /// The number of what is current.
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Whether callers' certificates are looked at.
    pub fn asks_for_certificates(&self) -> bool {
        self.current.load().tls.client.mode != ClientMode::None
    }

    /// Whether nobody is served who has shown no certificate.
    pub fn requires_certificates(&self) -> bool {
        self.requires.load(Ordering::Acquire)
    }

    /// Reads what a listener needs. All share the tickets that the first makes.
    ///
    /// # Errors
    /// Why it cannot be secured.
    pub fn read(
        what: String,
        tls: &ListenerTls,
        shared: &mut Option<Tickets>,
    ) -> Result<Arc<Self>, String> {
        let tickets = match shared {
            Some(tickets) => tickets.clone(),
            None => shared.insert(Tickets::new()?).clone(),
        };
        let listening = Listening::read(&what, tls, &tickets)?;
        let newest = AtomicU64::new(listening.number);
        let requires = AtomicBool::new(listening.requires());
        let current = ArcSwap::from_pointee(listening);
        Ok(Arc::new(Self { tickets, current, newest, requires }))
    }

    /// What the same listener goes over to with other settings; `None` where they are the same.
    ///
    /// # Errors
    /// As [`Guard::read`].
    pub fn followed_by(
        &self,
        what: &str,
        tls: &ListenerTls,
    ) -> Result<Option<Arc<Listening>>, String> {
        let before = self.current.load();
        if before.what == what && before.tls == *tls {
            return Ok(None);
        }
        Listening::read(what, tls, &self.tickets).map(|next| Some(Arc::new(next)))
    }

    /// Goes over to that: it judges from now on also who came before.
    pub fn go_over(&self, next: Arc<Listening>) {
        let (number, requires) = (next.number, next.requires());
        self.current.store(next);
        self.newest.store(number, Ordering::Release);
        self.requires.store(requires, Ordering::Release);
    }

    /// What it goes over to, as its files are by now, where they are sound.
    pub fn read_anew(&self, next: Arc<Listening>) -> Arc<Listening> {
        Listening::read(&next.what, &next.tls, &self.tickets).map_or(next, Arc::new)
    }

    /// What its sessions go on with, for a listener beside it.
    pub fn tickets(&self) -> Tickets {
        self.tickets.clone()
    }

    /// Reads the files again; a line about how that went. One thread alone does this.
    fn refresh(&self) -> String {
        let before = self.current();
        match Listening::read(&before.what, &before.tls, &self.tickets) {
            Ok(next) => {
                self.go_over(Arc::new(next));
                read_again(&before.what)
            }
            Err(why) => format!("{why}; the certificates before stay in use"),
        }
    }
}

/// A service, a hook or a companion that is reached over TLS.
pub struct Towards {
    /// Tells it from every other, also from one of the same name before.
    pub number: u64,
    /// What it is, for the operator.
    what: String,
    tls: ServiceTls,
    http2: bool,
    current: ArcSwap<Configured<ClientConfig>>,
}

impl Towards {
    /// Reads what is needed to reach it.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub fn read(what: String, tls: &ServiceTls, http2: bool) -> Result<Arc<Self>, String> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let configured = read_service(tls, http2).map_err(|why| format!("{what}: {why}"))?;
        let current = ArcSwap::from_pointee(configured);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Self { number, what, tls: tls.clone(), http2, current }))
    }

    /// For the next handshake.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Whether what was agreed on will do: HTTP/2 is not spoken to who did not agree to it.
    pub fn accepts(&self, secured: &Secured) -> bool {
        match secured.protocol {
            Some(Agreed::Http2) => self.http2,
            Some(Agreed::Http1) | None => !self.http2,
        }
    }

    /// The name it is asked for; `None` where it cannot be one.
    pub fn name(&self, address: IpAddr) -> Option<ServerName<'static>> {
        match &self.tls.expected {
            Expected::Name(name) => ServerName::try_from(name.clone()).ok(),
            Expected::Address | Expected::Spiffe(_) => Some(ServerName::from(address)),
        }
    }
}

/// How the services of one landscape are reached and treated, by id.
#[derive(Default)]
pub struct Upstreams {
    /// Those that are reached over TLS.
    secure: BTreeMap<String, Arc<Towards>>,
    /// Those that are treated other than by default.
    care: BTreeMap<String, Arc<Care>>,
    default: Arc<Care>,
}

impl Upstreams {
    /// Reads what these services need; one that is as it was before is kept.
    ///
    /// # Errors
    /// Each service that cannot be reached, and why.
    pub fn read(services: &[Service], before: Option<&Self>) -> Result<Self, Vec<String>> {
        let (mut found, mut faults) = (BTreeMap::new(), Vec::new());
        let (mut care, default) = (BTreeMap::new(), Arc::<Care>::default());
        for service in services {
            let id = &service.contract.service;
            if service.care != default {
                care.insert(id.clone(), Arc::clone(&service.care));
            }
            let Some(tls) = &service.tls else { continue };
            let http2 = service.protocol == Protocol::Http2;
            let same = before.and_then(|before| before.secure.get(id));
            if let Some(same) = same.filter(|same| same.tls == *tls && same.http2 == http2) {
                found.insert(id.clone(), Arc::clone(same));
                continue;
            }
            match Towards::read(format!("service `{id}`"), tls, http2) {
                Ok(towards) => {
                    found.insert(id.clone(), towards);
                }
                Err(why) => faults.push(why),
            }
        }
        if faults.is_empty() { Ok(Self { secure: found, care, default }) } else { Err(faults) }
    }

    /// The same, but for these services: what became of each.
    ///
    /// # Errors
    /// As [`Upstreams::read`].
    pub fn changed<'s>(
        &self,
        changed: impl IntoIterator<Item = (&'s str, Option<&'s Service>)>,
    ) -> Result<Self, Vec<String>> {
        let (mut gone, mut there) = (Vec::new(), Vec::new());
        for (id, service) in changed {
            gone.push(id);
            there.extend(service.cloned());
        }
        let read = Self::read(&there, Some(self))?;
        let (mut secure, mut care) = (self.secure.clone(), self.care.clone());
        for id in gone {
            secure.remove(id);
            care.remove(id);
        }
        secure.extend(read.secure);
        care.extend(read.care);
        Ok(Self { secure, care, default: read.default })
    }

    /// How the service of this id is treated.
    pub fn care(&self, service: &str) -> &Arc<Care> {
        self.care.get(service).unwrap_or(&self.default)
    }

    /// The service of this id, where it is reached over TLS.
    pub fn get(&self, service: &str) -> Option<&Arc<Towards>> {
        self.secure.get(service)
    }

    /// Whether these are the very same.
    pub fn is_same(&self, other: &Self) -> bool {
        let numbers =
            |it: &Self| it.secure.values().map(|towards| towards.number).collect::<Vec<_>>();
        numbers(self) == numbers(other) && self.care == other.care
    }
}

/// What the address is secured with where changes are taken; all else belongs to a landscape.
pub struct Security {
    /// Where it is over TLS.
    control: Option<Arc<Guard>>,
}

impl Security {
    /// Reads what it needs.
    ///
    /// # Errors
    /// Why it cannot be secured.
    pub fn read(settings: &Settings) -> Result<Self, String> {
        // Tickets of its own: no session of a caller goes on there.
        let remote = settings.admin.remote.as_ref().and_then(|remote| remote.tls.as_ref());
        let control = remote.map(|tls| Guard::read("`[admin.remote]`".to_owned(), tls, &mut None));
        Ok(Self { control: control.transpose()? })
    }

    /// The guard of the address where changes are taken.
    pub fn control(&self) -> Option<Arc<Guard>> {
        self.control.clone()
    }

    fn all_guards<'s>(&'s self, of: &'s Published) -> impl Iterator<Item = &'s Guard> {
        of.gates.guards().chain(self.control.as_deref())
    }

    /// Everything that is reached over TLS.
    fn reached(of: &Published) -> impl Iterator<Item = &Arc<Towards>> {
        of.upstreams.secure.values().chain(of.hooks.towards()).chain(of.companions.towards())
    }

    /// When what is in use expires, by file.
    pub fn expiries(&self, of: &Published) -> Vec<Expiry> {
        let mut all = Vec::new();
        for guard in self.all_guards(of) {
            all.extend(guard.current.load().configured.expiries.iter().cloned());
        }
        for towards in Self::reached(of) {
            all.extend(towards.current.load().expiries.iter().cloned());
        }
        all.sort_by(|a, b| a.file.cmp(&b.file));
        all.dedup();
        all
    }

    /// Reads the files again of whatever is reached in this landscape, and was not in the one
    /// before.
    pub(super) fn read_anew(of: &Published, before: &Published) {
        let known: BTreeSet<u64> = Self::reached(before).map(|towards| towards.number).collect();
        for towards in Self::reached(of).filter(|towards| !known.contains(&towards.number)) {
            if let Ok(read) = read_service(&towards.tls, towards.http2) {
                towards.current.store(Arc::new(read));
            }
        }
    }

    /// Reads files again that changed since `known` was filled, or all of them; one line for each
    /// listener, service, hook and companion whose files changed, and whether they are in use now.
    pub fn refresh(&self, of: &Published, known: &mut Stamps, all: bool) -> Vec<String> {
        let mut told = Vec::new();
        let guards: Vec<_> = self.all_guards(of).map(|it| (it, it.current())).collect();
        let files = guards.iter().flat_map(|(_, listening)| listener_files(&listening.tls));
        let services = Self::reached(of);
        let files = files.chain(services.flat_map(|towards| service_files(&towards.tls)));
        // Once for all of them: what changed for one has changed for whoever else names it.
        let changed = known.changed(files);
        let is_changed = |files: Vec<&Path>| files.iter().any(|file| changed.contains(*file));
        for (guard, listening) in &guards {
            if is_changed(listener_files(&listening.tls)) || all {
                told.push(guard.refresh());
            }
        }
        for towards in Self::reached(of) {
            if is_changed(service_files(&towards.tls)) || all {
                let read = read_service(&towards.tls, towards.http2);
                told.push(replace(&towards.current, read, &towards.what));
            }
        }
        told
    }
}

fn replace<T>(current: &ArcSwap<T>, read: Result<T, String>, what: &str) -> String {
    match read {
        Ok(next) => {
            current.store(Arc::new(next));
            read_again(what)
        }
        Err(why) => format!("{what}: {why}; the certificates before stay in use"),
    }
}

fn read_again(what: &str) -> String {
    format!("{what}: its certificates were read again")
}

/// Lines about what expires soon, or has.
pub fn warnings(expiries: &[Expiry]) -> Vec<String> {
    let now = i64::try_from(wall_ms() / 1000).unwrap_or(i64::MAX);
    let lines = expiries.iter().filter_map(|Expiry { file, not_after }| {
        let left = not_after.saturating_sub(now);
        if left <= 0 {
            Some(format!("{file}: a certificate in it has expired"))
        } else if left < WARNING_DAYS * DAY_SECONDS {
            let days = left / DAY_SECONDS;
            Some(format!("{file}: a certificate in it expires in {days} days"))
        } else {
            None
        }
    });
    lines.collect()
}

/// Time enough to have one made by hand, after what renews them by itself has failed for a while.
const WARNING_DAYS: i64 = 14;
const DAY_SECONDS: i64 = 86_400;

/// The state of files when they were looked at last.
#[derive(Default)]
pub struct Stamps(BTreeMap<PathBuf, Stamp>);

impl Stamps {
    /// Notes how the files of a listener are before they are read: what changes later, has changed.
    pub fn know_listener(&mut self, tls: &ListenerTls) {
        self.know(listener_files(tls));
    }

    /// The same of somebody who is reached.
    pub fn know_reached(&mut self, tls: &ServiceTls) {
        self.know(service_files(tls));
    }

    fn know(&mut self, files: Vec<&Path>) {
        for file in files {
            self.0.entry(file.to_owned()).or_insert_with(|| Stamp::of(file));
        }
    }

    /// Those that changed; from then on they are known as they are now.
    fn changed<'f>(&mut self, files: impl Iterator<Item = &'f Path>) -> BTreeSet<&'f Path> {
        let files: BTreeSet<&Path> = files.collect();
        let is_changed = |file: &&Path| {
            let now = Stamp::of(file);
            let before = self.0.insert((*file).to_owned(), now);
            before.is_some_and(|before| before != now)
        };
        files.into_iter().filter(is_changed).collect()
    }
}

/// What a listener is configured with, and what judges those who show certificates.
type Read = (Configured<ServerConfig>, Option<Judge>);

fn read_listener(tls: &ListenerTls, tickets: &Tickets) -> Result<Read, String> {
    let read = tls.certificates.iter().map(|files| Identity::read(&identity_files(files)));
    let identities = read.collect::<Result<Vec<_>, _>>()?;
    let mut expiries: Vec<_> = identities.iter().map(|identity| identity.expiry.clone()).collect();
    let auth = match tls.client.mode {
        ClientMode::None => ClientAuth::None,
        mode => {
            let authorities = Authorities::read(&tls.client.ca, &tls.client.crl)?;
            expiries.extend(authorities.expiries.iter().cloned());
            match mode {
                ClientMode::Required => ClientAuth::Required(authorities),
                ClientMode::None | ClientMode::Optional => ClientAuth::Optional(authorities),
            }
        }
    };
    let (only, version) = (tls.known_names_only, min_version(tls.min_version));
    let judge = Judge::new(&auth)?;
    let config = server::configure(&identities, only, judge.as_ref(), version, tickets)?;
    Ok((Configured { config, expiries }, judge))
}

fn read_service(tls: &ServiceTls, http2: bool) -> Result<Configured<ClientConfig>, String> {
    let authorities = match &tls.ca {
        ServiceCa::Files(files) => Authorities::read(files, &[])?,
        ServiceCa::System => Authorities::system()?,
    };
    let identity = tls.identity.as_ref().map(|files| Identity::read(&identity_files(files)));
    let identity = identity.transpose()?;
    let uri = match &tls.expected {
        Expected::Spiffe(uri) => Some(uri.as_str()),
        Expected::Address | Expected::Name(_) => None,
    };
    let version = min_version(tls.min_version);
    let config = client::configure(&authorities, uri, identity.as_ref(), version, http2)?;
    let own = identity.map(|identity| identity.expiry);
    let expiries = authorities.expiries.iter().cloned().chain(own).collect();
    Ok(Configured { config, expiries })
}

/// Where a certificate with its key is.
pub fn identity_files(files: &CertificateFiles) -> IdentityFiles {
    IdentityFiles {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        ocsp: files.ocsp.clone(),
    }
}

fn min_version(version: TlsVersion) -> MinVersion {
    match version {
        TlsVersion::Tls12 => MinVersion::Tls12,
        TlsVersion::Tls13 => MinVersion::Tls13,
    }
}

fn listener_files(tls: &ListenerTls) -> Vec<&Path> {
    let certificates = tls.certificates.iter().flat_map(certificate_files);
    let client = tls.client.ca.iter().chain(&tls.client.crl).map(PathBuf::as_path);
    certificates.chain(client).collect()
}

fn service_files(tls: &ServiceTls) -> Vec<&Path> {
    let ca: &[PathBuf] = match &tls.ca {
        ServiceCa::Files(files) => files,
        ServiceCa::System => &[],
    };
    let own = tls.identity.iter().flat_map(certificate_files);
    ca.iter().map(PathBuf::as_path).chain(own).collect()
}

fn certificate_files(files: &CertificateFiles) -> impl Iterator<Item = &Path> {
    let named = [Some(&files.certificate), Some(&files.key), files.ocsp.as_ref()];
    named.into_iter().flatten().map(PathBuf::as_path)
}
