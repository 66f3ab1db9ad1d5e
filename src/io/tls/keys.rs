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
use x509_parser::asn1_rs::Sequence;
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

/// A file that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blamed {
    /// Which one.
    pub file: PathBuf,
    /// What is wrong, with the file's name.
    pub what: String,
}

/// The first of them, for who needs no more.
fn first(blamed: Vec<Blamed>) -> String {
    blamed.into_iter().next().map(|blamed| blamed.what).unwrap_or_default()
}

/// Notes who is to blame where there is an error, and goes on.
fn noted<T>(read: Result<T, String>, file: &Path, blamed: &mut Vec<Blamed>) -> Option<T> {
    read.map_err(|what| blamed.push(Blamed { file: file.to_owned(), what })).ok()
}

impl Identity {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// What is wrong first, with the file's name.
    pub fn read(files: &IdentityFiles) -> Result<Self, String> {
        Self::read_all(files).map_err(first)
    }

    /// The same, and goes on where something is wrong.
    ///
    /// # Errors
    /// Everything that is wrong; nothing is never an error.
    pub fn read_all(files: &IdentityFiles) -> Result<Self, Vec<Blamed>> {
        let mut blamed = Vec::new();
        let chain = noted(own_chain(&files.certificate), &files.certificate, &mut blamed);
        let key = noted(private_key(&files.key), &files.key, &mut blamed);
        let ocsp = files.ocsp.as_deref();
        let ocsp = ocsp.map(|path| noted(ocsp_response(path), path, &mut blamed));
        let (Some((chain, names, not_after)), Some(key)) = (chain, key) else { return Err(blamed) };
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            let (key, shown) = (files.key.display(), files.certificate.display());
            match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!("{key}: it is not the key of {shown}")
                }
                error => format!("{key}: the key cannot be used: {error}"),
            }
        });
        let certified = noted(certified, &files.key, &mut blamed);
        match (certified, ocsp) {
            (None, _) | (_, Some(None)) => Err(blamed),
            (Some(mut certified), ocsp) => {
                certified.ocsp = ocsp.flatten();
                let expiry = Expiry { file: files.certificate.display().to_string(), not_after };
                Ok(Self { key: Arc::new(certified), names, expiry })
            }
        }
    }
}

impl Authorities {
    /// Reads bundles of authorities' certificates, and revocation lists.
    ///
    /// # Errors
    /// What is wrong first, with the file's name.
    pub fn read(bundles: &[PathBuf], lists: &[PathBuf]) -> Result<Self, String> {
        Self::read_all(bundles, lists).map_err(first)
    }

    /// The same, and goes on where something is wrong.
    ///
    /// # Errors
    /// Everything that is wrong; nothing is never an error.
    pub fn read_all(bundles: &[PathBuf], lists: &[PathBuf]) -> Result<Self, Vec<Blamed>> {
        let (mut roots, mut expiries) = (RootCertStore::empty(), Vec::new());
        let (mut revoked, mut blamed) = (Vec::new(), Vec::new());
        for path in bundles {
            let added = add_bundle(path, &mut roots);
            expiries.extend(noted(added, path, &mut blamed));
        }
        for path in lists {
            revoked.extend(noted(revocation_lists(path), path, &mut blamed).unwrap_or_default());
        }
        match blamed.is_empty() {
            true => Ok(Self { roots: Arc::new(roots), revoked, expiries }),
            false => Err(blamed),
        }
    }

    /// The authorities that the machine trusts.
    ///
    /// # Errors
    /// When there are none.
    pub fn system() -> Result<Self, String> {
        let path = system_authorities().ok_or_else(|| {
            let places = SYSTEM_AUTHORITIES.join(", ");
            format!("this machine has no authorities of its own: none of {places} is there")
        })?;
        let mut roots = RootCertStore::empty();
        // Bundles of the system hold what some program cannot read; the rest still counts.
        let (added, _) = roots.add_parsable_certificates(certificates(&path)?);
        if added == 0 {
            return Err(format!("{}: it holds no certificate", path.display()));
        }
        Ok(Self { roots: Arc::new(roots), revoked: Vec::new(), expiries: Vec::new() })
    }
}

/// Where this machine has the authorities that it trusts: where the environment says, as OpenSSL
/// and Go take it, else at the place of its distribution. What is said and is not there is not
/// replaced.
pub fn system_authorities() -> Option<PathBuf> {
    let said = std::env::var_os("SSL_CERT_FILE").filter(|said| !said.is_empty());
    said.map(PathBuf::from).or_else(|| {
        let mut places = SYSTEM_AUTHORITIES.iter().map(PathBuf::from);
        places.find(|path| path.is_file())
    })
}

/// A chain, the DNS names of its own certificate, and when the first of it expires.
type Chain = (Vec<CertificateDer<'static>>, Vec<String>, i64);

fn own_chain(path: &Path) -> Result<Chain, String> {
    let chain = certificates(path)?;
    let shown = path.display();
    let leaf = chain.first().ok_or_else(|| format!("{shown}: it holds no certificate"))?;
    let parsed = parse(leaf).ok_or_else(|| format!("{shown}: its certificate is malformed"))?;
    let names = dns_names(&parsed);
    let expiries = chain.iter().filter_map(|each| parse(each)).map(|each| expiry(&each));
    let not_after = expiries.min().unwrap_or(0);
    Ok((chain, names, not_after))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = Zeroizing::new(read(path)?);
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| format!("{}: it holds no private key: {error}", path.display()))
}

/// A response that says something (RFC 6960 4.2.1): what it says is the callers' matter, but bytes
/// that are none would end their handshakes.
fn ocsp_response(path: &Path) -> Result<Vec<u8>, String> {
    /// `responseStatus successful`
    const SUCCESSFUL: &[u8] = &[10, 1, 0];
    let bytes = read(path)?;
    let said = Sequence::from_der(&bytes).ok();
    match said.filter(|(rest, said)| rest.is_empty() && said.content.starts_with(SUCCESSFUL)) {
        Some(_) => Ok(bytes),
        None => Err(format!("{}: it holds no successful OCSP response in DER", path.display())),
    }
}

/// Adds the authorities of a bundle; when the first of them expires.
fn add_bundle(path: &Path, roots: &mut RootCertStore) -> Result<Expiry, String> {
    let shown = path.display();
    let bundle = certificates(path)?;
    if bundle.is_empty() {
        return Err(format!("{shown}: it holds no certificate"));
    }
    let first = bundle.iter().filter_map(|each| parse(each)).map(|each| expiry(&each));
    let not_after = first.min().unwrap_or(0);
    for certificate in bundle {
        let added = roots.add(certificate);
        added.map_err(|error| format!("{shown}: a certificate cannot be used: {error}"))?;
    }
    Ok(Expiry { file: shown.to_string(), not_after })
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
        let list = list.map_err(|error| format!("{shown}: {error}"))?;
        if CertificateRevocationList::from_der(list.as_ref()).is_err() {
            return Err(format!("{shown}: a revocation list in it is malformed"));
        }
        found.push(list);
    }
    match found.is_empty() {
        true => Err(format!("{shown}: it holds no revocation list in PEM")),
        false => Ok(found),
    }
}

/// A whole file, unless it is larger than any of these is.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_at_most(path, usize::try_from(TLS_FILE_BYTES_MAX).unwrap_or(usize::MAX))
}

/// A whole regular file of at most so many bytes.
///
/// # Errors
/// What is wrong, with the file's name.
pub fn read_at_most(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let blame = |error: std::io::Error| format!("{}: {error}", path.display());
    // Opening a pipe would wait for a writer, so the kind is asked first.
    if !std::fs::metadata(path).map_err(blame)?.is_file() {
        return Err(format!("{}: it is not a regular file", path.display()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(blame)?;
    let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut bytes).map_err(blame)?;
    if bytes.len() > bytes_max {
        return Err(format!("{}: it is larger than {bytes_max} bytes", path.display()));
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
