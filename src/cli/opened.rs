//! The files that a configuration names beside its documents, opened as a start would open them:
//! certificates and their keys, authorities, revocation lists, OCSP responses, key sets, API keys.
//!
//! A start ends at the first that is wrong; here every one is told. What is sound but will not
//! serve, such as an expired certificate, is told as a warning.

use super::run::asserter;
use crate::config::api_keys;
use crate::config::identity::{KeyPlace, Kind};
use crate::config::model::Configuration;
use crate::config::tls::{ClientMode, ServiceCa, ServiceTls};
use crate::identity::JwkSet;
use crate::io::clock::wall_ms;
use crate::io::tls::keys::{self, Authorities, Blamed, Expiry, Identity};
use crate::proxy::secure::{identity_files, warnings};
use crate::wire::fault::{Fault, Faults};
use crate::wire::limits::{DOCUMENT_BYTES_MAX, JWKS_BYTES_MAX};
use std::path::{Path, PathBuf};

/// What became of opening them.
#[derive(Default)]
pub(super) struct Opened {
    faults: Faults,
    expiries: Vec<Expiry>,
    warnings: Vec<String>,
}

/// Opens every file that the configuration names and no compiler reads.
///
/// # Errors
/// Every fault, sorted; otherwise what an operator is to be warned of.
pub(super) fn open(path: &Path, configuration: &Configuration) -> Result<Vec<String>, Vec<Fault>> {
    let mut opened = Opened::default();
    let settings = &configuration.settings;
    let listeners = settings.listeners.iter();
    let listeners = listeners.map(|it| (format!("listener `{}`", it.name), it.tls.as_ref()));
    let remote = settings.admin.remote.iter();
    let remote = remote.map(|it| ("`[admin.remote]`".to_owned(), it.tls.as_ref()));
    for (whom, tls) in listeners.chain(remote) {
        let Some(tls) = tls else { continue };
        for files in &tls.certificates {
            opened.identity(files, &whom);
        }
        if tls.client.mode != ClientMode::None {
            opened.authorities(&tls.client.ca, &tls.client.crl, &whom);
        }
    }
    let services = configuration.services.iter();
    let services = services.map(|it| (format!("service `{}`", it.contract.service), &it.tls));
    let hooks = settings.hooks.all.iter().map(|it| (format!("hook `{}`", it.id), &it.tls));
    let companions = settings.companions.iter();
    let companions = companions.map(|it| (format!("companion `{}`", it.id), &it.tls));
    for (whom, tls) in services.chain(hooks).chain(companions) {
        if let Some(tls) = tls {
            opened.towards(path, tls, &whom);
        }
    }
    for identity in &settings.identities {
        opened.credentials(configuration, &identity.kind, &format!("identity `{}`", identity.name));
    }
    if let Some(assertion) = &settings.assertion
        && let Err(why) = asserter(settings)
    {
        let mend = "write an Ed25519 key in PEM: `openssl genpkey -algorithm ed25519`";
        opened.fault(&assertion.key, &why, "`[assertion]`", mend);
    }
    let faults = opened.faults.into_sorted();
    if !faults.is_empty() {
        return Err(faults);
    }
    opened.expiries.sort_by(|a, b| a.file.cmp(&b.file));
    opened.expiries.dedup();
    opened.warnings.extend(warnings(&opened.expiries));
    Ok(opened.warnings)
}

impl Opened {
    /// Notes a fault of this file, whose name may stand at the beginning of what is wrong.
    fn fault(&mut self, file: &Path, why: &str, whom: &str, mend: &str) {
        let file = file.display().to_string();
        let why = why.strip_prefix(&format!("{file}: ")).unwrap_or(why);
        self.faults.push(Fault::of_file(&file, format!("{why} ({whom})"), mend));
    }

    fn blame(&mut self, blamed: Vec<Blamed>, whom: &str, mend: impl Fn(&Path) -> &'static str) {
        for Blamed { file, what } in blamed {
            self.fault(&file, &what, whom, mend(&file));
        }
    }

    fn identity(&mut self, files: &crate::config::tls::CertificateFiles, whom: &str) {
        match Identity::read_all(&identity_files(files)) {
            Ok(identity) => self.expiries.push(identity.expiry),
            Err(blamed) => self.blame(blamed, whom, |file| {
                if file == files.certificate {
                    "write the chain in PEM, the own certificate first"
                } else if file == files.key {
                    "write the private key of that certificate in PEM, and let the gateway read it"
                } else {
                    "fetch the response again in DER, or take `ocsp` out"
                }
            }),
        }
    }

    /// What is needed to reach somebody over TLS.
    fn towards(&mut self, path: &Path, tls: &ServiceTls, whom: &str) {
        match &tls.ca {
            ServiceCa::Files(files) => self.authorities(files, &[], whom),
            ServiceCa::System => {
                if let Err(why) = Authorities::system() {
                    let mend = "install the authorities, or write `ca = [\"ca.pem\"]`";
                    self.fault(path, &why, whom, mend);
                }
            }
        }
        if let Some(files) = &tls.identity {
            self.identity(files, whom);
        }
    }

    fn authorities(&mut self, bundles: &[PathBuf], lists: &[PathBuf], whom: &str) {
        match Authorities::read_all(bundles, lists) {
            Ok(authorities) => {
                self.expiries.extend(authorities.expiries);
                let now_s = wall_ms() / 1000;
                for list in &authorities.revoked {
                    if keys::overdue_s(list).is_some_and(|due_s| due_s <= now_s) {
                        let what = "a revocation list is overdue: whoever it speaks for is refused";
                        self.warnings.push(format!("{whom}: {what}"));
                    }
                }
            }
            Err(blamed) => {
                self.blame(blamed, whom, |file| match lists.iter().any(|it| it == file) {
                    true => "write revocation lists in PEM",
                    false => "write the authorities' certificates in PEM",
                })
            }
        }
    }

    fn credentials(&mut self, configuration: &Configuration, kind: &Kind, whom: &str) {
        match kind {
            Kind::PeerCertificate => {}
            Kind::ApiKey(api_key) => {
                let file = &api_key.file;
                match keys::read_at_most(file, DOCUMENT_BYTES_MAX) {
                    Err(why) => {
                        self.fault(
                            file,
                            &why,
                            whom,
                            "write `[[keys]]`, and let the gateway read it",
                        );
                    }
                    Ok(bytes) => {
                        let shown = file.display().to_string();
                        let read = api_keys::read(&shown, bytes, &configuration.vocabulary);
                        self.faults.extend(read.err().unwrap_or_default());
                    }
                }
            }
            Kind::Jwt(jwt) => match &jwt.keys.place {
                KeyPlace::File(file) => {
                    let read = keys::read_at_most(file, JWKS_BYTES_MAX);
                    if let Err(why) = read.and_then(|bytes| JwkSet::parse(&bytes).map(drop)) {
                        let mend = "write the issuer's public keys as a JWK set (RFC 7517 5)";
                        self.fault(file, &why, whom, mend);
                    }
                }
                KeyPlace::Url(_) => {
                    let own: Vec<PathBuf> = jwt.keys.ca.iter().cloned().collect();
                    if !own.is_empty() {
                        self.authorities(&own, &[], whom);
                    }
                }
            },
        }
    }
}
