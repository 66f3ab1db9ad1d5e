//! Contract documents: `contract = "caio/1"`.

use super::beside;
use super::meaning::Meaning;
use super::model::{Condition, Contract, Interface, Offer, Operation};
use super::pattern;
use super::settings::unique;
use crate::contract::logic::Mode;
use crate::wire::document::{Item, Table, Text};
use crate::wire::fault::{Faults, quoted};
use crate::wire::limits::{CONDITIONS_MAX, MODES_MAX, OFFERS_MAX, OPERATIONS_MAX, PROMISES_MAX};
use std::collections::BTreeMap;

/// The format of contract documents this program reads.
pub const CONTRACT_FORMAT: &str = "caio/1";

/// Whether the table is a document of its own, which names its format, or part of another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    File,
    Inline,
}

/// Reads one contract; also the text its service stands at. What is wrong is pushed and left out,
/// so the result is good for nothing but looking for more faults unless there are none.
pub(super) fn read<'d>(
    mut table: Table<'d>,
    form: Form,
    meaning: &Meaning<'_>,
    faults: &mut Faults,
) -> Option<(Text<'d>, Contract)> {
    if form == Form::File {
        table.require("contract", faults);
    }
    check_format(&mut table, "contract", CONTRACT_FORMAT, faults);
    let service = table.required_string("service", faults);
    if let Some(service) = service {
        pattern::name(service, "service", faults);
    }
    let version = table.required_string("version", faults);
    if let Some(version) = version {
        meaning.version(version, faults);
    }
    let text = match form {
        Form::File => table.place().source().text().to_owned(),
        Form::Inline => canonical(&Item::Table(table.clone())).to_string(),
    };
    let offers = read_offers(&mut table, meaning, faults);
    table.finish(faults);
    let (service, version) = (service?, version?);
    let contract = Contract {
        service: service.value.to_owned(),
        version: version.value.to_owned(),
        offers,
        text,
    };
    Some((service, contract))
}

/// Checks a document's format key, if it is there.
pub(super) fn check_format(
    table: &mut Table<'_>,
    key: &'static str,
    format: &str,
    faults: &mut Faults,
) {
    if let Some(given) = table.string(key, faults)
        && given.value != format
    {
        let what = format!("the format {} is not known", quoted(given.value));
        faults.push(given.fault(what, format!("this program reads `{format}`")));
    }
}

/// What an inline contract is addressed by: its content with sorted keys, so that layout and
/// neighbours do not change it.
fn canonical(item: &Item<'_>) -> serde_json::Value {
    match item {
        Item::Text(text) => text.value.into(),
        Item::Integer(at) => at.value.into(),
        Item::Boolean(at) => at.value.into(),
        Item::Array(at) => at.value.iter().map(canonical).collect(),
        Item::Table(table) => {
            let entries = table.entries();
            let pairs = entries.iter().map(|(key, item)| (key.value.to_owned(), canonical(item)));
            serde_json::Value::Object(pairs.collect())
        }
        // Refused by whoever reads it: no key takes one.
        Item::Other(_) => serde_json::Value::Null,
    }
}

fn read_offers(table: &mut Table<'_>, meaning: &Meaning<'_>, faults: &mut Faults) -> Vec<Offer> {
    if table.require("offers", faults).is_none() {
        return Vec::new();
    }
    let tables = table.tables("offers", faults);
    if tables.len() > OFFERS_MAX {
        let what = format!("{} offers are more than {OFFERS_MAX}", tables.len());
        faults.push(table.place().fault(what, "split the service"));
    }
    let (mut capabilities, mut operations) = (BTreeMap::new(), BTreeMap::new());
    let mut offers = Vec::new();
    for table in tables.into_iter().take(OFFERS_MAX) {
        offers.extend(read_offer(table, &mut capabilities, &mut operations, meaning, faults));
    }
    offers
}

fn read_offer(
    mut table: Table<'_>,
    capabilities: &mut BTreeMap<String, String>,
    operations: &mut BTreeMap<String, String>,
    meaning: &Meaning<'_>,
    faults: &mut Faults,
) -> Option<Offer> {
    let capability = table.required_string("capability", faults);
    if let Some(text) = capability
        && pattern::capability(text, faults).is_some()
    {
        unique(capabilities, text.value.to_owned(), text, "offer of", faults);
    }
    table.require("interface", faults);
    let interface = table
        .table("interface", faults)
        .and_then(|interface| read_interface(interface, operations, faults));
    let demands = match table.table("demands", faults) {
        Some(demands) => read_demands(&demands, meaning, faults),
        None => Vec::new(),
    };
    let promises = read_promises(&mut table, meaning, faults);
    table.finish(faults);
    Some(Offer {
        capability: capability?.value.to_owned(),
        interface: interface?,
        demands,
        promises,
    })
}

fn read_interface(
    mut table: Table<'_>,
    seen: &mut BTreeMap<String, String>,
    faults: &mut Faults,
) -> Option<Interface> {
    let place = table.place();
    let has_http = table.item("http").is_some();
    let grpc = table.string("grpc", faults);
    let interface = match grpc {
        Some(grpc) if !has_http => {
            unique(seen, grpc.value.to_owned(), grpc, "interface", faults);
            pattern::grpc_service(grpc, faults).map(|name| Interface::Grpc(name.to_owned()))
        }
        None if has_http => read_operations(&mut table, seen, faults).map(Interface::Http),
        _ => {
            let mend = "write `{ http = [\"POST /v1/embed\"] }` or `{ grpc = \"nme.v2.Embed\" }`";
            if table.place_of("grpc").is_none() || has_http {
                faults.push(place.fault("an interface is either `http` or `grpc`", mend));
            }
            None
        }
    };
    read_described(&mut table, matches!(interface, Some(Interface::Http(_))), faults);
    table.finish(faults);
    interface
}

fn read_operations(
    table: &mut Table<'_>,
    seen: &mut BTreeMap<String, String>,
    faults: &mut Faults,
) -> Option<Vec<Operation>> {
    let place = table.place_of("http")?;
    let before = faults.count();
    let texts = table.strings("http", faults);
    if texts.is_empty() && faults.count() == before {
        faults.push(place.fault("an interface without operations", "add `\"POST /v1/embed\"`"));
    }
    if texts.len() > OPERATIONS_MAX {
        let what = format!("{} operations are more than {OPERATIONS_MAX}", texts.len());
        faults.push(place.fault(what, "use templates, or split the offer"));
        return None;
    }
    let mut operations = Vec::with_capacity(texts.len());
    for text in texts {
        if let Some(operation) = pattern::operation(text, faults) {
            unique(seen, text.value.to_owned(), text, "operation", faults);
            operations.push(operation);
        }
    }
    Some(operations)
}

/// The fingerprint of what describes it, and what change of that callers survive. Both are part of
/// the text that is content-addressed; what is given beside the contract is compared with it.
fn read_described(table: &mut Table<'_>, http: bool, faults: &mut Faults) {
    let descriptor = table.string("descriptor", faults);
    let openapi = table.string("openapi", faults);
    let levels = [("wire", ()), ("wire_json", ()), ("package", ()), ("file", ())];
    let compatible = super::settings::choice(table, "compatible", &levels, faults);
    for text in [descriptor, openapi].into_iter().flatten() {
        beside::fingerprint(text, faults);
    }
    if let Some(text) = descriptor.filter(|_| http) {
        let what = "only a gRPC interface has a descriptor";
        faults.push(text.fault(what, "drop `descriptor`, or write `openapi`"));
    }
    if let Some(text) = openapi.filter(|_| !http) {
        let what = "only an HTTP interface has an OpenAPI document";
        faults.push(text.fault(what, "drop `openapi`, or write `descriptor`"));
    }
    if let Some((text, ())) = compatible.filter(|_| descriptor.is_none()) {
        let what = "`compatible` speaks of a descriptor, and there is none";
        faults.push(text.fault(what, "add `descriptor = \"sha256:…\"` or drop `compatible`"));
    }
}

fn read_demands(table: &Table<'_>, meaning: &Meaning<'_>, faults: &mut Faults) -> Vec<Condition> {
    let entries = table.entries();
    if entries.len() > CONDITIONS_MAX {
        let what = format!("{} demands are more than {CONDITIONS_MAX}", entries.len());
        faults.push(table.place().fault(what, "join some with `&&`"));
        return Vec::new();
    }
    let mut demands = Vec::with_capacity(entries.len());
    for (key, item) in entries {
        pattern::name(key, "demand", faults);
        match item {
            Item::Text(text) => demands.extend(meaning.demand(key.value, text, faults)),
            other => faults.push(other.wrong(key.value, "an expression in quotes")),
        }
    }
    demands
}

fn read_promises(table: &mut Table<'_>, meaning: &Meaning<'_>, faults: &mut Faults) -> Vec<Mode> {
    let tables = table.tables("promises", faults);
    if tables.len() > PROMISES_MAX {
        let what = format!("{} promises are more than {PROMISES_MAX}", tables.len());
        faults.push(table.place().fault(what, "join those with the same `when`"));
        return Vec::new();
    }
    let mut modes = Vec::with_capacity(tables.len());
    let mut conditional = 0;
    for mut promise in tables {
        let when = promise.string("when", faults);
        conditional += usize::from(when.is_some());
        if when.is_some() && conditional == MODES_MAX + 1 {
            let what = format!("more than {MODES_MAX} promises with `when` in one offer");
            faults.push(promise.place().fault(what, "join some, or split the offer"));
        }
        if let Some(mode) = meaning.promise(when, &promise, faults) {
            modes.push((mode, promise.place()));
        }
    }
    meaning.keepable(&modes, faults);
    modes.into_iter().map(|(mode, _)| mode).collect()
}
