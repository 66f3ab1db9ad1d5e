//! `[discovery]`: callers may look for services, where routes and policies let them.
//!
//! It is a service as any other: with a contract, an operation, an endpoint, and decisions and
//! outcomes on record. The gateway itself answers at that endpoint, for calls that it has forwarded
//! itself and for nobody else.

use super::address::socket;
use super::files::{MemoryFiles, Reader};
use super::meaning::Meaning;
use super::model::{Origin, Service};
use super::relations::{self, Seen};
use super::remote;
use super::settings::Settings;
use crate::wire::document::{Document, Place, Source, Table};
use crate::wire::fault::{Faults, quoted};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// The service's id.
pub const SERVICE: &str = "caio.discovery";
/// Where callers ask with requirements.
pub const FIND: &str = "/.well-known/caio/discover";
/// Where callers are listed who is there.
pub const CATALOG: &str = "/.well-known/ai-catalog.json";

/// Reads `[discovery]`: where the gateway answers, an address of this machine alone.
pub(super) fn read(
    mut table: Table<'_>,
    settings: &Settings,
    faults: &mut Faults,
) -> Option<SocketAddr> {
    let listen = table.required_string("listen", faults);
    table.finish(faults);
    let text = listen?;
    let address = socket(text, faults)?;
    if !address.ip().to_canonical().is_loopback() || address.port() == 0 {
        let what = format!("{} is no port of this machine alone", quoted(text.value));
        faults.push(text.fault(what, "write `127.0.0.1:9903`: the gateway calls itself there"));
    }
    remote::refuse_port_of_callers(text, address, &settings.listeners, faults);
    let admin = settings.admin.remote.as_ref().map(|remote| remote.address);
    if settings.admin.listen.into_iter().chain(admin).any(|it| it.port() == address.port()) {
        faults.push(text.fault("the port is that of `[admin]`", "take another"));
    }
    Some(address)
}

/// The service that callers ask at this address, which stands in the process file at this place.
pub(super) fn service(
    (address, place): (SocketAddr, Place<'_>),
    meaning: &Meaning<'_>,
    seen: &mut Seen,
    faults: &mut Faults,
) -> Option<(Service, Origin)> {
    let text = format!(
        "endpoints = [\"{address}\"]\n[contract]\nservice = \"{SERVICE}\"\nversion = \"1.0.0\"\n\
         [[contract.offers]]\ncapability = \"{SERVICE}/1\"\n\
         interface = {{ http = [\"POST {FIND}\", \"GET {CATALOG}\"] }}\n"
    );
    let source = Source::new("`[discovery]`", text);
    let document = Document::parse(&source, faults)?;
    let none = MemoryFiles::default();
    let (root, mut reader) = (document.root(), Reader::new(&none));
    // It is not watched as others are: whoever asks without being the gateway is refused.
    let around = (Path::new(""), &Arc::default());
    let read = relations::read_service(root, around, &mut reader, meaning, seen, faults);
    let (line, column) = place.position();
    let origin = Origin { file: place.source().file().to_owned(), line, column };
    read.map(|(service, _)| (service, origin))
}
