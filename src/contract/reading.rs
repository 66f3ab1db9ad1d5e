//! A vocabulary from its TOML file, its canonical form, and the digest of that.

use super::complaint::{Objection, quoted, suggest};
use super::declaration::name as check_name;
use super::predicate::show_grid;
use super::quantity::Number;
use super::region::{Region, Regions};
use super::vocabulary::{Declaration, Declared, Kind, Side, Source, Unit, Vocabulary};
use crate::wire::document::{self, Document, Item, Place, Table, Text};
use crate::wire::fault::{Fault, Faults};
use crate::wire::limits::REGION_DEPTH_MAX;
use sha2::{Digest, Sha256};

/// The format this reader reads.
const FORMAT: &str = "caio-vocabulary/1";
const TYPES: [&str; 12] = [
    "bool",
    "enum",
    "int",
    "decimal",
    "duration",
    "ratio",
    "version",
    "region",
    "set",
    "text",
    "fingerprint",
    "tail",
];

impl Vocabulary {
    /// Reads a vocabulary file; `file` is its name for faults. Every fault is reported at once.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::new();
        let source = document::Source::new(file, text);
        let built = Document::parse(&source, &mut faults)
            .and_then(|document| Self::read(document.root(), &mut faults));
        match built {
            Some(vocabulary) if faults.is_empty() => Ok(vocabulary),
            _ => Err(faults.into_sorted()),
        }
    }

    /// Reads the root table of a vocabulary file, and pushes what is wrong with it.
    pub fn read(mut root: Table<'_>, faults: &mut Faults) -> Option<Self> {
        let before = faults.count();
        if let Some(format) = root.required_string("vocabulary", faults)
            && format.value != FORMAT
        {
            let what = format!("{} is not a format known here", quoted(format.value));
            faults.push(format.fault(what, format!("write `vocabulary = \"{FORMAT}\"`")));
        }
        let version = root.required_string("version", faults).map_or("", |text| text.value);
        let mut places = Vec::new();
        let mut declarations = Vec::new();
        for table in root.tables("attributes", faults) {
            let place = table.place();
            if let Some(declaration) = declaration(table, faults) {
                places.push(place);
                declarations.push(declaration);
            }
        }
        root.finish(faults);
        match Self::build(version, declarations) {
            Ok(built) => (faults.count() == before).then_some(built),
            Err(wrong) => {
                faults.extend(wrong.into_iter().filter_map(|wrong| {
                    let place: &Place<'_> = places.get(wrong.index)?;
                    Some(place.fault(wrong.what, wrong.mend))
                }));
                None
            }
        }
    }

    /// The vocabulary in one fixed form: comments, key order and spelling of units are gone, the
    /// order of attributes stays, because ranks and places depend on it.
    pub fn canonical(&self) -> String {
        let mut lines = vec![FORMAT.to_owned(), format!("version {:?}", self.version())];
        for declared in self.declared() {
            let source = declared.source.as_ref().map_or_else(|| "-".to_owned(), Source::show);
            let Declared { name, side, kind, .. } = declared;
            lines.push(format!("attribute {name} {side} {source} {}", canonical_kind(kind)));
        }
        lines.join("\n") + "\n"
    }

    /// SHA-256 of [`Vocabulary::canonical`].
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.canonical().as_bytes()).into()
    }
}

fn canonical_kind(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "bool".into(),
        Kind::Enum { symbols, ordered } => {
            format!("enum {} {}", if *ordered { "ordered" } else { "unordered" }, symbols.join(" "))
        }
        Kind::Int(unit) => format!(
            "int {}",
            match unit {
                Unit::Plain => "plain",
                Unit::Count => "count",
                Unit::Bytes => "bytes",
            }
        ),
        Kind::Decimal(scale) => format!("decimal {scale}"),
        Kind::Duration => "duration".into(),
        Kind::Ratio => "ratio".into(),
        Kind::Version => "version".into(),
        Kind::Region(regions) => {
            let nodes: Vec<_> = regions
                .nodes()
                .iter()
                .map(|(name, (low, high))| format!("{name}:{low}-{high}"))
                .collect();
            format!("region {}", nodes.join(" "))
        }
        Kind::Set(symbols) => format!("set {}", symbols.join(" ")),
        Kind::Text => "text".into(),
        Kind::Fingerprint => "fingerprint".into(),
        Kind::Tail(grid) => {
            let points: Vec<_> = grid.iter().map(i64::to_string).collect();
            format!("tail {}", points.join(" "))
        }
    }
}

impl Source {
    /// As a vocabulary file writes it: `header:x-data-class`.
    pub fn show(&self) -> String {
        match self {
            Self::BodyBytes => "body-bytes".into(),
            Self::Method => "method".into(),
            Self::Path => "path".into(),
            Self::Host => "host".into(),
            Self::Header(name) => format!("header:{name}"),
            Self::CallerId => "caller-id".into(),
        }
    }

    fn read(text: &str) -> Result<Self, Objection> {
        const WORDS: [&str; 5] = ["body-bytes", "method", "path", "host", "caller-id"];
        Ok(match text {
            "body-bytes" => Self::BodyBytes,
            "method" => Self::Method,
            "path" => Self::Path,
            "host" => Self::Host,
            "caller-id" => Self::CallerId,
            _ => match text.strip_prefix("header:") {
                Some(name) => Self::Header(name.to_owned()),
                None => {
                    return Err((
                        format!("{} is not a source", quoted(text)),
                        suggest(text, WORDS, || {
                            format!("use one of {}, header:<name>", WORDS.join(", "))
                        }),
                    ));
                }
            },
        })
    }
}

/// Reads one `[[attributes]]`; `None` when something is wrong, which is then in `faults`.
fn declaration(mut table: Table<'_>, faults: &mut Faults) -> Option<Declaration> {
    let before = faults.count();
    let name = table.required_string("name", faults);
    let side = table.required_string("side", faults).and_then(|text| side(text, faults));
    let source = table.string("source", faults).and_then(|text| {
        Source::read(text.value).map_err(|(what, mend)| faults.push(text.fault(what, mend))).ok()
    });
    let kind =
        table.required_string("type", faults).and_then(|text| kind(text, &mut table, faults));
    let sensitive = table.boolean("sensitive", faults).is_some_and(|at| at.value);
    // After a wrong type nobody asked for its keys, and calling them unknown would mislead.
    if kind.is_some() {
        table.finish(faults);
    }
    if let Some(name) = name
        && faults.count() > before
    {
        // The rest will not be placed, so nobody else would look at its name.
        let mut wrong = Vec::new();
        check_name(name.value, &mut wrong);
        faults.extend(wrong.into_iter().map(|(what, mend)| name.fault(what, mend)));
    }
    let declaration =
        Declaration { name: name?.value.to_owned(), side: side?, kind: kind?, source, sensitive };
    (faults.count() == before).then_some(declaration)
}

fn side(text: Text<'_>, faults: &mut Faults) -> Option<Side> {
    match text.value {
        "request" => Some(Side::Request),
        "caller" => Some(Side::Caller),
        "promise" => Some(Side::Promise),
        other => {
            let what = format!("{} is not a side", quoted(other));
            faults.push(text.fault(what, "use `request`, `caller` or `promise`"));
            None
        }
    }
}

fn kind(text: Text<'_>, table: &mut Table<'_>, faults: &mut Faults) -> Option<Kind> {
    Some(match text.value {
        "bool" => Kind::Bool,
        "enum" => Kind::Enum {
            symbols: strings(table, "symbols", faults)?,
            ordered: table.boolean("ordered", faults).is_some_and(|ordered| ordered.value),
        },
        "int" => Kind::Int(unit(table, faults)?),
        "decimal" => {
            table.require("scale", faults)?;
            let most = i64::from(super::vocabulary::SCALE_MAX);
            let scale = table.integer("scale", 1..=most, faults)?;
            Kind::Decimal(u8::try_from(scale.value).ok()?)
        }
        "duration" => Kind::Duration,
        "ratio" => Kind::Ratio,
        "version" => Kind::Version,
        "region" => {
            table.require("tree", faults)?;
            let tree = table.table("tree", faults)?;
            Kind::Region(Regions::new(&regions(&tree, REGION_DEPTH_MAX, faults)))
        }
        "set" => Kind::Set(strings(table, "symbols", faults)?),
        "text" => Kind::Text,
        "fingerprint" => Kind::Fingerprint,
        "tail" => Kind::Tail(grid(table, faults)?),
        other => {
            let what = format!("{} is not a type", quoted(other));
            let mend = suggest(other, TYPES, || format!("use one of {}", TYPES.join(", ")));
            faults.push(text.fault(what, mend));
            return None;
        }
    })
}

fn strings(table: &mut Table<'_>, key: &'static str, faults: &mut Faults) -> Option<Vec<String>> {
    table.require(key, faults)?;
    let before = faults.count();
    let texts = table.strings(key, faults);
    let texts = texts.into_iter().map(|text| text.value.to_owned()).collect();
    (faults.count() == before).then_some(texts)
}

fn unit(table: &mut Table<'_>, faults: &mut Faults) -> Option<Unit> {
    let Some(unit) = table.item("unit") else { return Some(Unit::Plain) };
    let Item::Text(unit) = unit else {
        faults.push(unit.wrong("unit", "a string"));
        return None;
    };
    match unit.value {
        "plain" => Some(Unit::Plain),
        "count" => Some(Unit::Count),
        "bytes" => Some(Unit::Bytes),
        other => {
            let what = format!("{} is not a unit", quoted(other));
            faults.push(unit.fault(what, "use `plain`, `count` or `bytes`"));
            None
        }
    }
}

fn grid(table: &mut Table<'_>, faults: &mut Faults) -> Option<Vec<i64>> {
    table.require("grid", faults)?;
    let before = faults.count();
    let mut points = Vec::new();
    for text in table.strings("grid", faults) {
        let no = || (format!("{} is not a duration", quoted(text.value)), "write `50ms`".into());
        let point = Number::parse(text.value).ok_or_else(no);
        match point.and_then(|number| number.duration()) {
            Ok(point) => points.push(point),
            Err((what, mend)) => faults.push(text.fault(what, mend)),
        }
    }
    if points.windows(2).any(|pair| matches!(pair, [low, high] if low >= high)) {
        let what = format!("the grid {} does not rise", show_grid(&points));
        faults.push(table.place().fault(what, "order the durations from short to long"));
    }
    (faults.count() == before).then_some(points)
}

/// `tree = { eu = ["eu-west", "eu-central"], us = {} }`: a table or list is what lies below.
fn regions(table: &Table<'_>, depth: usize, faults: &mut Faults) -> Vec<Region> {
    let entries = table.entries();
    let read = entries.into_iter().map(|(key, item)| {
        let below = match item {
            Item::Table(table) if depth > 1 => regions(&table, depth - 1, faults),
            Item::Table(table) => {
                let what = format!("the tree is deeper than {REGION_DEPTH_MAX}");
                faults.push(table.place().fault(what, "make it flatter"));
                Vec::new()
            }
            Item::Array(items) => {
                items.value.iter().filter_map(|item| leaf(item, faults)).collect()
            }
            other => {
                faults.push(other.wrong(key.value, "a table or a list of regions"));
                Vec::new()
            }
        };
        Region { name: key.value.to_owned(), below }
    });
    read.collect()
}

fn leaf(item: &Item<'_>, faults: &mut Faults) -> Option<Region> {
    match item {
        Item::Text(text) => Some(Region { name: text.value.to_owned(), below: Vec::new() }),
        other => {
            faults.push(other.wrong("tree", "a list of region names"));
            None
        }
    }
}
