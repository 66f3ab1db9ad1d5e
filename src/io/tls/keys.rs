//! What certificates, keys, authorities and revocation lists say, read from files.
//!
//! Reading blocks, so that only the thread that starts and reloads the gateway does it.

use crate::wire::limits::{TLS_CERTIFICATES_MAX, TLS_FILE_BYTES_MAX};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;
use zeroize::Zeroizing;

/// The one provider of algorithms, with the post-quantum hybrid key exchange first.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(provider)
}

/// Where a certificate with its key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The chain, the own certificate first, in PEM.
    pub certificate: PathBuf,
    /// The private key, in PEM.
    pub key: PathBuf,
    /// An OCSP response for the own certificate, in DER.
    pub ocsp: Option<PathBuf>,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What is shown and signed with.
    pub key: Arc<CertifiedKey>,
    /// The DNS names of the own certificate, in lower case; wildcards as `*.example.org`.
    pub names: Vec<String>,
    /// When the first certificate of the chain expires.
    pub expiry: Expiry,
}

/// When something that a file holds expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The file.
    pub file: String,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// Whom certificates are accepted from.
#[derive(Clone, Debug)]
pub struct Authorities {
    /// Their own certificates.
    pub roots: Arc<RootCertStore>,
    /// What they have revoked; none where nobody asks.
    pub revoked: Vec<CertificateRevocationListDer<'static>>,
    /// When the first certificate of each file expires.
    pub expiries: Vec<Expiry>,
}

/// Where system-wide authorities are, by distribution: Debian, Fedora, Alpine, SUSE.
pub const SYSTEM_AUTHORITIES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

impl Identity {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub fn read(files: &IdentityFiles) -> Result<Self, String> {
        let chain = certificates(&files.certificate)?;
        let shown = files.certificate.display();
        let leaf = chain.first().ok_or_else(|| format!("{shown}: it holds no certificate"))?;
        let parsed = parse(leaf).ok_or_else(|| format!("{shown}: its certificate is malformed"))?;
        let names = dns_names(&parsed);
        let expiries = chain.iter().filter_map(|each| parse(each)).map(|each| expiry(&each));
        let not_after = expiries.min().unwrap_or(0);
        let pem = Zeroizing::new(read(&files.key)?);
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
            format!("{}: it holds no private key: {error}", files.key.display())
        })?;
        let mut certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            let key = files.key.display();
            match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!("{key}: it is not the key of {shown}")
                }
                error => format!("{key}: the key cannot be used: {error}"),
            }
        })?;
        certified.ocsp = files.ocsp.as_deref().map(read).transpose()?;
        let expiry = Expiry { file: shown.to_string(), not_after };
        Ok(Self { key: Arc::new(certified), names, expiry })
    }
}

impl Authorities {
    /// Reads bundles of authorities' certificates, and revocation lists.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub fn read(bundles: &[PathBuf], lists: &[PathBuf]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let mut expiries = Vec::new();
        for path in bundles {
            let shown = path.display();
            let bundle = certificates(path)?;
            if bundle.is_empty() {
                return Err(format!("{shown}: it holds no certificate"));
            }
            let first = bundle.iter().filter_map(|each| parse(each)).map(|each| expiry(&each));
            let not_after = first.min().unwrap_or(0);
            expiries.push(Expiry { file: shown.to_string(), not_after });
            for certificate in bundle {
                let added = roots.add(certificate);
                added.map_err(|error| format!("{shown}: a certificate cannot be used: {error}"))?;
            }
        }
        let mut revoked = Vec::new();
        for path in lists {
            revoked.extend(revocation_lists(path)?);
        }
        Ok(Self { roots: Arc::new(roots), revoked, expiries })
    }

    /// The authorities that the machine trusts.
    ///
    /// # Errors
    /// When there are none.
    pub fn system() -> Result<Self, String> {
        let found = SYSTEM_AUTHORITIES.iter().map(Path::new).find(|path| path.is_file());
        let path = found.ok_or_else(|| {
            let places = SYSTEM_AUTHORITIES.join(", ");
            format!("this machine has no authorities of its own: none of {places} is there")
        })?;
        let mut roots = RootCertStore::empty();
        // Bundles of the system hold what some program cannot read; the rest still counts.
        let (added, _) = roots.add_parsable_certificates(certificates(path)?);
        if added == 0 {
            return Err(format!("{}: it holds no certificate", path.display()));
        }
        Ok(Self { roots: Arc::new(roots), revoked: Vec::new(), expiries: Vec::new() })
    }
}

/// The URIs that a certificate names its subject by.
pub fn uri_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Some(parsed) = parse(certificate) else { return Vec::new() };
    let names = alternative_names(&parsed);
    let uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    uris.collect()
}

/// The last second in which a certificate is good, since 1970.
pub fn expires_s(certificate: &CertificateDer<'_>) -> Option<u64> {
    parse(certificate).map(|parsed| u64::try_from(expiry(&parsed)).unwrap_or(0))
}

/// When a revocation list becomes overdue, in seconds since 1970; `None` where it does not say.
pub fn overdue_s(list: &CertificateRevocationListDer<'_>) -> Option<u64> {
    let (_, parsed) = CertificateRevocationList::from_der(list.as_ref()).ok()?;
    parsed.next_update().map(|due| u64::try_from(due.timestamp()).unwrap_or(0))
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(certificate.as_ref()).ok().map(|(_, parsed)| parsed)
}

fn expiry(certificate: &X509Certificate<'_>) -> i64 {
    certificate.validity().not_after.timestamp()
}

fn alternative_names<'a>(certificate: &X509Certificate<'a>) -> Vec<GeneralName<'a>> {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.map(|names| names.value.general_names.clone()).unwrap_or_default()
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = alternative_names(certificate);
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        found.push(certificate.map_err(|error| format!("{}: {error}", path.display()))?);
        if found.len() > TLS_CERTIFICATES_MAX {
            let shown = path.display();
            return Err(format!("{shown}: more than {TLS_CERTIFICATES_MAX} certificates"));
        }
    }
    Ok(found)
}

fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let bytes = read(path)?;
    let shown = path.display();
    let mut found = Vec::new();
    for list in CertificateRevocationListDer::pem_slice_iter(&bytes) {
        found.push(list.map_err(|error| format!("{shown}: {error}"))?);
    }
    match found.is_empty() {
        true => Err(format!("{shown}: it holds no revocation list in PEM")),
        false => Ok(found),
    }
}

/// A whole file, unless it is larger than any of these is.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let blame = |error: std::io::Error| format!("{}: {error}", path.display());
    // Opening a pipe would wait for a writer, so the kind is asked first.
    if !std::fs::metadata(path).map_err(blame)?.is_file() {
        return Err(format!("{}: it is not a regular file", path.display()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(blame)?;
    let bound = TLS_FILE_BYTES_MAX.saturating_add(1);
    file.take(bound).read_to_end(&mut bytes).map_err(blame)?;
    if bytes.len() as u64 > TLS_FILE_BYTES_MAX {
        return Err(format!("{}: it is larger than {TLS_FILE_BYTES_MAX} bytes", path.display()));
    }
    Ok(bytes)
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    modified: Option<std::time::SystemTime>,
    bytes: u64,
    /// A file that is put in another's place has its own.
    node: u64,
}

impl Stamp {
    /// Of the file as it is now; one that is not there has a stamp of its own.
    pub fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        let Ok(found) = std::fs::metadata(path) else { return Self::default() };
        Self { modified: found.modified().ok(), bytes: found.len(), node: found.ino() }
    }
}
