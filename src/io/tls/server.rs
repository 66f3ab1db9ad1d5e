//! What a listener shows its callers, and what it wants to see of them.

use super::keys::{Authorities, Identity, expires_s, overdue_s, provider};
use super::{ALPN_HTTP1, ALPN_HTTP2, MinVersion, Wall};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::server::{WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::sign::CertifiedKey;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Whether callers show a certificate, and whose.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// Nobody is asked.
    None,
    /// Who shows one must show a good one.
    Optional(Authorities),
    /// Who shows none is refused.
    Required(Authorities),
}

/// Keys that all listeners and workers seal their tickets with: one that was given out by one is
/// taken by any. They change by themselves every few hours, and die with the process.
#[derive(Clone, Debug)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// New keys.
    ///
    /// # Errors
    /// When there is no randomness to be had.
    pub fn new() -> Result<Self, String> {
        let made = rustls::crypto::aws_lc_rs::Ticketer::new();
        made.map(Self).map_err(|error| format!("no keys for tickets: {error}"))
    }
}

/// By what callers' certificates are found good: in the handshake, and again while the connection
/// lives.
#[derive(Clone, Debug)]
pub struct Judge {
    verifier: Arc<dyn ClientCertVerifier>,
    /// When each revocation list becomes overdue, in seconds since 1970.
    overdue_s: Vec<u64>,
}

impl Judge {
    /// One for callers who are asked for a certificate; `None` where nobody is.
    ///
    /// # Errors
    /// What is wrong with the authorities or their lists.
    pub fn new(client: &ClientAuth) -> Result<Option<Self>, String> {
        let (authorities, required) = match client {
            ClientAuth::None => return Ok(None),
            ClientAuth::Optional(authorities) => (authorities, false),
            ClientAuth::Required(authorities) => (authorities, true),
        };
        let verifier = verifier(authorities, required)?;
        let overdue_s = authorities.revoked.iter().filter_map(overdue_s).collect();
        Ok(Some(Self { verifier, overdue_s }))
    }

    /// Whether this chain, the own certificate first, is good at this time.
    pub fn accepts(&self, chain: &[CertificateDer<'_>], now_s: u64) -> bool {
        let Some((own, others)) = chain.split_first() else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s));
        self.verifier.verify_client_cert(own, others, now).is_ok()
    }

    /// The first second after this one at which time alone may change that.
    pub fn holds_until_s(&self, chain: &[CertificateDer<'_>], now_s: u64) -> u64 {
        let ends = chain.iter().filter_map(expires_s).chain(self.overdue_s.iter().copied());
        // A certificate is good in its last second, a list is not.
        let ends = ends.map(|end_s| end_s.saturating_add(1));
        ends.filter(|end_s| *end_s > now_s).min().unwrap_or(u64::MAX)
    }
}

/// A listener's configuration.
///
/// # Errors
/// What is wrong with what was given.
pub fn configure(
    identities: &[Identity],
    known_names_only: bool,
    judge: Option<&Judge>,
    min_version: MinVersion,
    tickets: &Tickets,
) -> Result<Arc<ServerConfig>, String> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(min_version.versions())
        .map_err(|error| error.to_string())?;
    let builder = match judge {
        None => builder.with_no_client_auth(),
        Some(judge) => builder.with_client_cert_verifier(Arc::clone(&judge.verifier)),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Names::new(identities, known_names_only)));
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    config.time_provider = Arc::new(Wall);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // A replayed first flight would be a request that is made twice (RFC 8446 8).
    config.max_early_data_size = 0;
    if judge.is_none() {
        config.ticketer = Arc::clone(&tickets.0);
        config.send_tls13_tickets = TICKETS;
    } else {
        // A ticket would let a certificate in that has been revoked, or has expired, since.
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// Tickets given out with a handshake: who opens a second connection may use the same again.
const TICKETS: usize = 1;

fn verifier(
    authorities: &Authorities,
    required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let roots = Arc::clone(&authorities.roots);
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    if !authorities.revoked.is_empty() {
        // A list that is overdue says nothing about who was revoked since.
        let lists = authorities.revoked.iter().cloned();
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    if !required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| format!("callers' certificates cannot be checked: {error}"))
}

thread_local! {
    /// rustls tells the name that was asked for to nobody but who looks for the certificate.
    static ASKED: Cell<Option<String>> = const { Cell::new(None) };
}

/// The name that a hello asked for which this thread has just read.
pub(super) fn asked_name() -> Option<String> {
    ASKED.take()
}

/// Which certificate is shown to whoever asks for a name.
#[derive(Debug)]
struct Names {
    exact: BTreeMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows the star, `.example.org`.
    wildcard: BTreeMap<String, Vec<Arc<CertifiedKey>>>,
    /// For names that no certificate holds, and for who asks for none.
    others: Vec<Arc<CertifiedKey>>,
}

impl Names {
    fn new(identities: &[Identity], known_names_only: bool) -> Self {
        let (mut exact, mut wildcard) = (BTreeMap::new(), BTreeMap::new());
        for identity in identities {
            for name in &identity.names {
                let (map, name) = match name.strip_prefix('*') {
                    Some(suffix) => (&mut wildcard, suffix),
                    None => (&mut exact, name.as_str()),
                };
                let keys: &mut Vec<_> = map.entry(name.to_owned()).or_default();
                keys.push(Arc::clone(&identity.key));
            }
        }
        // Those of the first: it may be there twice, with keys of two kinds.
        let first = identities.first().map(|first| &first.names);
        let same = identities.iter().filter(|each| Some(&each.names) == first);
        let others = match known_names_only {
            true => Vec::new(),
            false => same.map(|identity| Arc::clone(&identity.key)).collect(),
        };
        Self { exact, wildcard, others }
    }

    fn keys(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else { return &self.others };
        let name = name.to_ascii_lowercase();
        let name = name.as_str();
        if let Some(keys) = self.exact.get(name) {
            return keys;
        }
        // A star is one label (RFC 6125 6.4.3).
        let suffix = name.find('.').and_then(|dot| name.get(dot..));
        suffix.and_then(|suffix| self.wildcard.get(suffix)).unwrap_or(&self.others)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        ASKED.set(name.map(str::to_ascii_lowercase));
        let keys = self.keys(name);
        let schemes = hello.signature_schemes();
        let usable = keys.iter().find(|key| key.key.choose_scheme(schemes).is_some());
        // Where none fits, the handshake says so with the first.
        usable.or_else(|| keys.first()).cloned()
    }
}
