//! Fetches a key set from its issuer, blocking, on a thread that has nothing else to do.
//!
//! Whoever can answer for the URL can sign for every caller, so only the server that it names is
//! asked, only with a certificate for that name, and it is not followed to another place. No proxy
//! of the environment is used: what the environment says, no configuration shows.

use crate::io::tls::keys::system_authorities;
use crate::wire::limits::{JWKS_BYTES_MAX, JWKS_FETCH_MS};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Bytes of a file of authorities: the largest public one has a quarter.
const AUTHORITIES_BYTES_MAX: usize = 2 << 20;

/// The bytes at an `https` URL, or at an `http` URL of this machine; the configuration allows no
/// others.
pub(super) fn url(url: &str, authorities: Option<&Path>) -> Result<Vec<u8>, String> {
    let secured = url.starts_with("https://");
    let mut config = ureq::Agent::config_builder()
        .https_only(secured)
        .max_redirects(0)
        .max_redirects_will_error(true)
        .http_status_as_error(true)
        .proxy(None)
        .user_agent("caio")
        .accept("application/jwk-set+json, application/json")
        .timeout_global(Some(Duration::from_millis(JWKS_FETCH_MS)));
    if secured {
        config = config.tls_config(tls(authorities)?);
    }
    let agent = ureq::Agent::new_with_config(config.build());
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    let status = answer.status();
    if status != 200 {
        return Err(format!("the answer's status is {}", status.as_u16()));
    }
    let limit = u64::try_from(JWKS_BYTES_MAX).unwrap_or(u64::MAX);
    answer.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| error.to_string())
}

/// Every authority is read again for each fetch: they change too.
fn tls(authorities: Option<&Path>) -> Result<TlsConfig, String> {
    let pem = match authorities {
        Some(path) => file(path, AUTHORITIES_BYTES_MAX)?,
        None => {
            let path = system_authorities().ok_or("this system has no file of authorities")?;
            file(&path, AUTHORITIES_BYTES_MAX)?
        }
    };
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err("the file of authorities has no certificate".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(provider)
        .build())
}

/// A whole file, unless it is too long.
pub(super) fn file(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let shown = path.display();
    // Opening a pipe would wait for a writer, so the kind is asked first.
    let found = std::fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
    if !found.is_file() {
        return Err(format!("{shown}: it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| format!("{shown}: {error}"))?;
    if bytes.len() > bytes_max {
        return Err(format!("{shown}: more than {bytes_max} bytes"));
    }
    Ok(bytes)
}
