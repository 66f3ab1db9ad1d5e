//! Which files a listener or a service is secured with, and what is asked of the other side.
//!
//! The files are named here and read elsewhere: nothing at this layer does IO.

use super::pattern;
use super::settings::choice;
use crate::wire::document::{Item, Table, Text};
use crate::wire::fault::{Faults, quoted};
use crate::wire::limits::{NAME_BYTES_MAX, TLS_FILES_MAX};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// How a listener is secured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerTls {
    /// What callers are shown, by the name they ask for; never empty.
    pub certificates: Vec<CertificateFiles>,
    /// Whether callers that ask for a name which no certificate holds are refused.
    pub known_names_only: bool,
    /// What is asked of callers.
    pub client: ClientTls,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// A certificate with its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM, the own certificate first.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
    /// An OCSP response in DER.
    pub ocsp: Option<PathBuf>,
}

/// What a listener asks of callers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Whether they show a certificate.
    pub mode: ClientMode,
    /// Whose certificates are good.
    pub ca: Vec<PathBuf>,
    /// Which of them were revoked.
    pub crl: Vec<PathBuf>,
}

/// Whether callers show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientMode {
    /// They are not asked.
    #[default]
    None,
    /// Who shows one must show a good one.
    Optional,
    /// Who shows none is refused.
    Required,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2
    #[default]
    Tls12,
    /// TLS 1.3
    Tls13,
}

/// How a service, a hook or a companion is reached over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTls {
    /// What it has to show.
    pub expected: Expected,
    /// Who must have signed that.
    pub ca: ServiceCa,
    /// What it is shown when it asks.
    pub identity: Option<CertificateFiles>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// What a service's certificate has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// The address that was connected to.
    #[default]
    Address,
    /// This DNS name.
    Name(String),
    /// This URI, and no other: an X.509-SVID.
    Spiffe(String),
}

/// Whose certificates a service may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceCa {
    /// Those that these bundles hold.
    Files(Vec<PathBuf>),
    /// Those that the machine trusts.
    System,
}

impl Default for ServiceCa {
    fn default() -> Self {
        Self::Files(Vec::new())
    }
}

impl ListenerTls {
    /// Takes every path as relative to `base`.
    pub(super) fn resolve(&mut self, base: &Path) {
        self.certificates.iter_mut().for_each(|files| files.resolve(base));
        resolve_all(&mut self.client.ca, base);
        resolve_all(&mut self.client.crl, base);
    }
}

impl ServiceTls {
    /// The DNS name that its certificate has to hold.
    pub(super) fn name(&self) -> Option<String> {
        match &self.expected {
            Expected::Name(name) => Some(name.clone()),
            Expected::Address | Expected::Spiffe(_) => None,
        }
    }

    /// The same.
    pub(super) fn resolve(&mut self, base: &Path) {
        if let ServiceCa::Files(files) = &mut self.ca {
            resolve_all(files, base);
        }
        self.identity.iter_mut().for_each(|files| files.resolve(base));
    }
}

impl CertificateFiles {
    fn resolve(&mut self, base: &Path) {
        self.certificate = base.join(&self.certificate);
        self.key = base.join(&self.key);
        self.ocsp = self.ocsp.take().map(|path| base.join(path));
    }
}

fn resolve_all(paths: &mut [PathBuf], base: &Path) {
    paths.iter_mut().for_each(|path| *path = base.join(&path));
}

/// Reads `tls = { … }` of a listener.
pub(super) fn read_listener(mut table: Table<'_>, faults: &mut Faults) -> ListenerTls {
    let mut tls = ListenerTls::default();
    let before = faults.count();
    for entry in table.tables("certificates", faults) {
        tls.certificates.extend(read_certificate(entry, faults));
    }
    if tls.certificates.is_empty() && faults.count() == before {
        let what = "a listener with TLS and without certificates";
        let mend = "add `certificates = [{ certificate = \"a.pem\", key = \"a.key\" }]`";
        faults.push(table.place().fault(what, mend));
    }
    if tls.certificates.len() > TLS_FILES_MAX {
        let what = format!("more than {TLS_FILES_MAX} certificates");
        faults.push(table.place().fault(what, "put several names into one"));
    }
    let choices = [("first", false), ("refuse", true)];
    if let Some((_, only)) = choice(&mut table, "unknown_names", &choices, faults) {
        tls.known_names_only = only;
    }
    if let Some(client) = table.table("client", faults) {
        tls.client = read_client(client, faults);
    }
    tls.min_version = read_version(&mut table, faults);
    table.finish(faults);
    tls
}

fn read_certificate(mut table: Table<'_>, faults: &mut Faults) -> Option<CertificateFiles> {
    let certificate = table.required_string("certificate", faults);
    let key = table.required_string("key", faults);
    let ocsp = table.string("ocsp", faults);
    table.finish(faults);
    Some(CertificateFiles {
        certificate: certificate?.value.into(),
        key: key?.value.into(),
        ocsp: ocsp.map(|text| text.value.into()),
    })
}

fn read_client(mut table: Table<'_>, faults: &mut Faults) -> ClientTls {
    let choices = [
        ("none", ClientMode::None),
        ("optional", ClientMode::Optional),
        ("required", ClientMode::Required),
    ];
    let mode = choice(&mut table, "mode", &choices, faults).map(|(_, mode)| mode);
    let ca = read_paths(&mut table, "ca", faults);
    let crl = read_paths(&mut table, "crl", faults);
    let mode = mode.unwrap_or_default();
    let asks = mode != ClientMode::None;
    if asks && ca.is_empty() {
        let what = "certificates of callers are asked for, and none could be good";
        faults.push(table.place().fault(what, "add `ca = [\"ca.pem\"]`"));
    }
    if !(asks || ca.is_empty() && crl.is_empty()) {
        let what = "certificates of callers are not asked for, and `ca` or `crl` is there";
        faults.push(table.place().fault(what, "add `mode = \"required\"`, or take them out"));
    }
    table.finish(faults);
    ClientTls { mode, ca, crl }
}

fn read_paths(table: &mut Table<'_>, key: &'static str, faults: &mut Faults) -> Vec<PathBuf> {
    let texts = table.strings(key, faults);
    if texts.len() > TLS_FILES_MAX {
        let what = format!("`{key}` names more than {TLS_FILES_MAX} files");
        faults.push(table.place().fault(what, "put several into one file"));
    }
    for text in texts.iter().filter(|text| text.value.is_empty()) {
        faults.push(text.fault(format!("`{key}` names no file"), ""));
    }
    texts.into_iter().map(|text| text.value.into()).collect()
}

fn read_version(table: &mut Table<'_>, faults: &mut Faults) -> TlsVersion {
    let choices = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    choice(table, "min_version", &choices, faults).map(|(_, version)| version).unwrap_or_default()
}

/// Reads `tls = { … }` of a service, a hook or a companion.
pub(super) fn read_service(mut table: Table<'_>, base: &Path, faults: &mut Faults) -> ServiceTls {
    let name = table.string("name", faults);
    let spiffe = table.string("spiffe", faults);
    if let (Some(_), Some(spiffe)) = (name, spiffe) {
        let what = "`name` and `spiffe` both say what the certificate has to hold";
        faults.push(spiffe.fault(what, "take one of them"));
    }
    let expected = match (name, spiffe) {
        (_, Some(spiffe)) => read_spiffe(spiffe, faults),
        (Some(name), None) => read_name(name, faults),
        (None, None) => Expected::Address,
    };
    let ca = read_service_ca(&mut table, faults);
    let certificate = table.string("certificate", faults);
    let key = table.string("key", faults);
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let (certificate, key) = (certificate.value.into(), key.value.into());
            Some(CertificateFiles { certificate, key, ocsp: None })
        }
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            let what = "`certificate` and `key` are of use only together";
            faults.push(one.fault(what, "add the other, or take this out"));
            None
        }
    };
    let min_version = read_version(&mut table, faults);
    table.finish(faults);
    let mut tls = ServiceTls { expected, ca, identity, min_version };
    tls.resolve(base);
    tls
}

fn read_name(text: Text<'_>, faults: &mut Faults) -> Expected {
    if text.value.parse::<IpAddr>().is_ok() {
        let what = format!("{} is an address", quoted(text.value));
        let mend = "leave `name` out: then the certificate has to hold the endpoint's address";
        faults.push(text.fault(what, mend));
    } else if text.value.starts_with('*') {
        let what = format!("{} is no name of one service", quoted(text.value));
        faults.push(text.fault(what, "write the whole name"));
    } else {
        pattern::host(text, faults);
    }
    Expected::Name(text.value.to_owned())
}

/// SPIFFE ID 2: a trust domain of a few letters, and a path of visible segments.
fn read_spiffe(text: Text<'_>, faults: &mut Faults) -> Expected {
    let domain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    let segment = |byte: u8| domain(byte) || byte.is_ascii_uppercase();
    let sound = text.value.strip_prefix("spiffe://").is_some_and(|rest| {
        let (trust, path) = rest.split_once('/').unwrap_or((rest, "_"));
        let segments = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(segment);
        !trust.is_empty() && trust.bytes().all(domain) && path.split('/').all(segments)
    });
    if !sound || text.value.len() > NAME_BYTES_MAX {
        let what = format!("{} is no SPIFFE id", quoted(text.value));
        faults.push(text.fault(what, "write `spiffe://example.org/billing`"));
    }
    Expected::Spiffe(text.value.to_owned())
}

fn read_service_ca(table: &mut Table<'_>, faults: &mut Faults) -> ServiceCa {
    let mend = "write `ca = [\"ca.pem\"]`, or `ca = \"system\"`";
    match table.item("ca") {
        Some(Item::Text(text)) if text.value == "system" => ServiceCa::System,
        Some(Item::Text(text)) => {
            let what = format!("`ca` cannot be {}", quoted(text.value));
            faults.push(text.fault(what, mend));
            ServiceCa::default()
        }
        Some(_) => {
            let before = faults.count();
            let files = read_paths(table, "ca", faults);
            if files.is_empty() && faults.count() == before {
                let place = table.place_of("ca").unwrap_or_else(|| table.place());
                faults.push(place.fault("a service that nobody could vouch for", mend));
            }
            ServiceCa::Files(files)
        }
        None => {
            // No authority is trusted in silence.
            faults.push(table.place().fault("`tls` does not say whom to trust", mend));
            ServiceCa::default()
        }
    }
}
