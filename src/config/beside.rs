//! What describes a service's interfaces, given beside its contract: descriptor sets and OpenAPI
//! documents, held against the fingerprints that the contract names.
//!
//! A contract is addressed by its text, and names by their fingerprints what its operations mean.
//! Whoever brings other bytes beside it describes another service than the one that is promised.

use super::files::{Reader, resolve};
use crate::wire::document::{Table, Text};
use crate::wire::fault::{Fault, Faults, quoted};
use crate::wire::limits::OFFERS_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// How the bytes themselves begin, where they stand in the place of a file's name.
const INLINE: &str = "base64:";

/// What is given beside a contract.
#[derive(Debug, Default)]
pub(super) struct Beside<'d> {
    given: Vec<Given<'d>>,
    /// Some of it could not be read: what is missing says nothing.
    is_partial: bool,
}

#[derive(Debug)]
struct Given<'d> {
    text: Text<'d>,
    /// As faults name it.
    shown: String,
    fingerprint: String,
}

/// The fingerprint of bytes as contracts write it.
pub(super) fn fingerprint_of(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        // A text takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Checks the form of a fingerprint.
pub(super) fn fingerprint(text: Text<'_>, faults: &mut Faults) {
    let digest = text.value.strip_prefix("sha256:").unwrap_or_default();
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digest.len() != 64 || !digest.bytes().all(hex) {
        let what = format!("{} is no fingerprint", quoted(text.value));
        faults.push(text.fault(what, "write `sha256:` and 64 lower-case hex digits"));
    }
}

/// Refuses files where whoever writes the document has none here: its bytes come with it.
pub(super) fn refuse_files(table: &Table<'_>, faults: &mut Faults) {
    for text in table.clone().strings("documents", &mut Faults::new()) {
        if !text.value.starts_with(INLINE) {
            let what = "a registered service brings what describes it with it";
            faults.push(text.fault(what, "write `base64:` and the bytes of the document"));
        }
    }
}

impl<'d> Beside<'d> {
    /// Reads what a service names.
    pub(super) fn read(
        table: &mut Table<'d>,
        base: &Path,
        reader: &mut Reader<'_>,
        faults: &mut Faults,
    ) -> Self {
        let mut all = Self::default();
        let texts = table.strings("documents", faults);
        if texts.len() > OFFERS_MAX {
            let what = format!("{} documents are more than {OFFERS_MAX} offers have", texts.len());
            faults.push(table.place().fault(what, "put several into one descriptor set"));
            return Self { is_partial: true, ..all };
        }
        for (number, text) in (1..).zip(texts) {
            let (shown, bytes) = match text.value.strip_prefix(INLINE) {
                Some(encoded) => {
                    let bytes = STANDARD.decode(encoded).map_err(|_| {
                        let what = format!("document {number} is no base64");
                        let mend = "write what `base64 -w0` makes of its bytes";
                        faults.push(text.fault(what, mend));
                    });
                    (format!("document {number}"), bytes.ok())
                }
                None => {
                    let bytes = reader.bytes(&resolve(base, text.value), text, faults);
                    (quoted(text.value), bytes)
                }
            };
            match bytes {
                Some(bytes) => {
                    let fingerprint = fingerprint_of(&bytes);
                    all.given.push(Given { text, shown, fingerprint });
                }
                None => all.is_partial = true,
            }
        }
        all
    }

    /// Holds a contract's fingerprints against what is given, where something is.
    pub(super) fn compare(&self, contract: &Table<'_>, faults: &mut Faults) {
        if self.given.is_empty() || self.is_partial {
            return;
        }
        let named = named(contract);
        let digests: BTreeSet<&str> = named.iter().map(|(_, text)| text.value).collect();
        let given: BTreeSet<&str> = self.given.iter().map(|it| it.fingerprint.as_str()).collect();
        let unnamed = || self.given.iter().filter(|it| !digests.contains(&*it.fingerprint));
        let mut is_told = false;
        for (key, text) in named.iter().filter(|(_, text)| !given.contains(text.value)) {
            let mut what = format!("no document beside the contract is the `{key}` it names");
            let others: Vec<_> =
                unnamed().map(|it| format!("{} is {}", it.shown, it.fingerprint)).collect();
            if !others.is_empty() {
                what = format!("{what}: {}", others.join(", "));
                is_told = true;
            }
            let mend = "give the document that the contract was written for, or write a contract \
                        for this one";
            faults.push(text.fault(what, mend));
        }
        for it in unnamed().filter(|_| !is_told) {
            let what =
                format!("{} is {}, which the contract names nowhere", it.shown, it.fingerprint);
            let mend = "name it as `descriptor` or `openapi` of an interface, or drop it";
            faults.push(it.text.fault(what, mend));
        }
    }
}

/// Which document of a contract is meant by a key of its interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Described {
    /// `descriptor`: a descriptor set of a gRPC service.
    Descriptor,
    /// `openapi`: an OpenAPI document of HTTP operations.
    OpenApi,
}

impl Described {
    fn key(self) -> &'static str {
        match self {
            Self::Descriptor => "descriptor",
            Self::OpenApi => "openapi",
        }
    }
}

/// Holds what is given by itself, under a name for people, against the fingerprints of its kind,
/// one of which it has to have where there are some.
pub(super) fn compare_one(
    contract: &Table<'_>,
    (described, shown, bytes): (Described, &str, &[u8]),
) -> Vec<Fault> {
    let is = fingerprint_of(bytes);
    let named = named(contract).into_iter();
    let named: Vec<_> = named.filter(|(key, _)| *key == described.key()).collect();
    if named.iter().any(|(_, text)| text.value == is) {
        return Vec::new();
    }
    let fault = |(key, text): (&str, Text<'_>)| {
        let what =
            format!("{} is not the `{key}` that the contract names: it is {is}", quoted(shown));
        text.fault(what, "compare with the document that the contract was written for")
    };
    named.into_iter().map(fault).collect()
}

/// The fingerprints that a contract names, each with its key. Faults of its form are told by
/// whoever reads it.
fn named<'d>(contract: &Table<'d>) -> Vec<(&'static str, Text<'d>)> {
    let mut unheard = Faults::new();
    let mut named = Vec::new();
    for mut offer in contract.clone().tables("offers", &mut unheard) {
        let Some(mut interface) = offer.table("interface", &mut unheard) else { continue };
        for key in ["descriptor", "openapi"] {
            named.extend(interface.string(key, &mut unheard).map(|text| (key, text)));
        }
    }
    named
}
