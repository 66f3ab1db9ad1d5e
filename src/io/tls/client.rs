//! What a service has to show, and what it is shown.

use super::keys::{Authorities, Identity, provider, uri_names};
use super::{ALPN_HTTP1, ALPN_HTTP2, MinVersion, Wall};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use std::sync::Arc;

/// A service's configuration; `uri` takes the place of its name, and `identity` is shown to who
/// asks for one.
///
/// # Errors
/// What is wrong with what was given.
pub fn configure(
    authorities: &Authorities,
    uri: Option<&str>,
    identity: Option<&Identity>,
    min_version: MinVersion,
    http2: bool,
) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(min_version.versions())
        .map_err(|error| error.to_string())?;
    let builder = match uri {
        None => builder.with_root_certificates(Arc::clone(&authorities.roots)),
        Some(uri) => builder.dangerous().with_custom_certificate_verifier(Arc::new(ByUri {
            roots: Arc::clone(&authorities.roots),
            uri: uri.to_owned(),
        })),
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(&identity.key)));
            builder.with_client_cert_resolver(key)
        }
    };
    config.alpn_protocols = vec![if http2 { ALPN_HTTP2 } else { ALPN_HTTP1 }.to_vec()];
    config.enable_early_data = false;
    config.time_provider = Arc::new(Wall);
    Ok(Arc::new(config))
}

/// Accepts a certificate of these authorities whose one URI is this: an X.509-SVID, whose name is
/// its workload's and not its address's.
#[derive(Debug)]
struct ByUri {
    roots: Arc<RootCertStore>,
    uri: String,
}

impl ServerCertVerifier for ByUri {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        match uri_names(end_entity).as_slice() {
            [only] if *only == self.uri => Ok(ServerCertVerified::assertion()),
            // Two names would leave open which of them it is (X.509-SVID 2).
            _ => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
