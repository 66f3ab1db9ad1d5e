//! How much of an exchange the trail keeps beside the decision.

use super::pattern;
use super::settings::{bytes, choice, unique};
use crate::contract::vocabulary::{Source, Vocabulary};
use crate::wire::document::{Table, Text};
use crate::wire::fault::{Faults, quoted};
use crate::wire::limits::{PAYLOAD_BODY_BYTES_MAX, PAYLOAD_FIELDS_MAX};
use std::collections::BTreeMap;

/// What an outcome tells of the bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyDepth {
    /// Nothing.
    Nothing,
    /// How many bytes.
    Sizes,
    /// And their SHA-256.
    #[default]
    Digests,
}

/// How much of a route's exchanges is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// What the outcome tells.
    pub bodies: BodyDepth,
    /// Fields of request and answer that are kept, in lower case.
    pub fields: Vec<String>,
    /// The first bytes of each body that are kept.
    pub body_bytes: u16,
}

impl Depth {
    /// Whether anything but sizes and digests is kept.
    pub fn keeps_payload(&self) -> bool {
        !self.fields.is_empty() || self.body_bytes > 0
    }
}

/// Reads `payload`, `fields` and `body_bytes`; what is not said is as [`Depth::default`] has it.
pub(super) fn read(
    table: &mut Table<'_>,
    vocabulary: Option<&Vocabulary>,
    faults: &mut Faults,
) -> Depth {
    let mut depth = Depth::default();
    let choices = [
        ("none", BodyDepth::Nothing),
        ("sizes", BodyDepth::Sizes),
        ("digests", BodyDepth::Digests),
    ];
    let payload = choice(table, "payload", &choices, faults);
    if let Some((_, bodies)) = payload {
        depth.bodies = bodies;
    }
    depth.fields = read_fields(table, vocabulary, faults);
    let most = u64::from(PAYLOAD_BODY_BYTES_MAX);
    bytes(table, "body_bytes", 0..=most, &mut depth.body_bytes, faults);
    if let Some((text, BodyDepth::Nothing)) = payload
        && depth.keeps_payload()
    {
        let what = "`payload` is `none`, and `fields` or `body_bytes` say what is to be kept";
        faults.push(text.fault(what, "take `\"sizes\"`, or drop them"));
    }
    depth
}

fn read_fields(
    table: &mut Table<'_>,
    vocabulary: Option<&Vocabulary>,
    faults: &mut Faults,
) -> Vec<String> {
    let texts = table.strings("fields", faults);
    if texts.len() > PAYLOAD_FIELDS_MAX {
        let what = format!("{} fields are more than {PAYLOAD_FIELDS_MAX}", texts.len());
        let place = table.place_of("fields").unwrap_or_else(|| table.place());
        faults.push(place.fault(what, "keep those that people look at"));
        return Vec::new();
    }
    let mut seen = BTreeMap::new();
    let mut fields = Vec::with_capacity(texts.len());
    for text in texts {
        let Some(name) = pattern::kept_field(text, faults) else { continue };
        refuse_sensitive(text, vocabulary, faults);
        if unique(&mut seen, name.to_owned(), text, "field", faults) {
            fields.push(name.to_owned());
        }
    }
    fields
}

/// Refuses a field that gives a sensitive attribute its fact: what one record hides no other may
/// tell.
pub(super) fn refuse_sensitive(
    field: Text<'_>,
    vocabulary: Option<&Vocabulary>,
    faults: &mut Faults,
) {
    let declared = vocabulary.map_or(&[][..], Vocabulary::declared);
    let gives = |source: &Option<Source>| match source {
        Some(Source::Header(name)) => name == field.value,
        Some(Source::Host) => field.value == "host",
        _ => false,
    };
    if let Some(hidden) = declared.iter().find(|it| it.sensitive && gives(&it.source)) {
        let (shown, name) = (quoted(field.value), &hidden.name);
        let what = format!("{shown} gives `{name}`, which is sensitive, and would be recorded");
        faults.push(field.fault(what, "take another field, or drop `sensitive` there"));
    }
}
