//! What a declaration must obey before it may enter a vocabulary.

use super::complaint::{Objection, quoted};
use super::expression::METHODS;
use super::vocabulary::{Declaration, Kind, SCALE_MAX, Side, Source};
use crate::wire::limits::ATTRIBUTE_NAME_BYTES_MAX;
use std::collections::BTreeSet;

/// Everything that is wrong with one declaration by itself.
pub(super) fn check(declaration: &Declaration) -> Vec<Objection> {
    let mut wrong = Vec::new();
    name(&declaration.name, &mut wrong);
    kind(&declaration.kind, &mut wrong);
    source(declaration, &mut wrong);
    sensitive(declaration, &mut wrong);
    wrong
}

/// Dotted lower-case words that no expression could read otherwise.
pub(super) fn name(name: &str, wrong: &mut Vec<Objection>) {
    let legal = name.len() <= ATTRIBUTE_NAME_BYTES_MAX
        && name.split('.').all(|word| {
            word.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        });
    if !legal {
        wrong.push((
            format!("{} is not an attribute name", quoted(name)),
            "write dotted lower-case words such as `request.bytes`, at most 64 bytes".into(),
        ));
    }
    if matches!(name, "in" | "true" | "false") {
        wrong.push((format!("{} is a word of the language", quoted(name)), "rename it".into()));
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if METHODS.contains(&last) || last == "pre" {
        wrong.push((
            format!("{} ends in {}, which the language uses itself", quoted(name), quoted(last)),
            "rename it".into(),
        ));
    }
}

fn kind(kind: &Kind, wrong: &mut Vec<Objection>) {
    match kind {
        Kind::Enum { symbols, .. } | Kind::Set(symbols) => check_symbols(symbols, wrong),
        Kind::Region(regions) => {
            let names: Vec<String> = regions.names().map(ToOwned::to_owned).collect();
            check_symbols(&names, wrong);
        }
        Kind::Decimal(scale) if *scale == 0 || *scale > SCALE_MAX => wrong.push((
            format!("a decimal has 1 to {SCALE_MAX} digits after the point, not {scale}"),
            "use `int` for whole numbers".into(),
        )),
        Kind::Tail(grid) => {
            let rising = grid.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
            if grid.is_empty() || !rising || grid.first().is_some_and(|first| *first <= 0) {
                wrong.push((
                    "a grid holds at least one duration above zero, each larger than the last"
                        .into(),
                    "write for example `grid = [\"50ms\", \"100ms\"]`".into(),
                ));
            }
        }
        Kind::Bool
        | Kind::Int(_)
        | Kind::Decimal(_)
        | Kind::Duration
        | Kind::Ratio
        | Kind::Version
        | Kind::Text
        | Kind::Fingerprint => {}
    }
}

fn check_symbols(symbols: &[String], wrong: &mut Vec<Objection>) {
    if symbols.is_empty() {
        wrong.push(("there is no symbol to choose".into(), "name at least one".into()));
    }
    let mut seen = BTreeSet::new();
    for symbol in symbols {
        let legal = !symbol.is_empty()
            && symbol.len() <= ATTRIBUTE_NAME_BYTES_MAX
            && symbol.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte));
        if !legal {
            wrong.push((
                format!("{} is not a symbol", quoted(symbol)),
                "use letters, digits and `-_./:`, at most 64 bytes".into(),
            ));
        }
        if !seen.insert(symbol) {
            wrong.push((format!("{} is named twice", quoted(symbol)), "remove one".into()));
        }
    }
}

/// Promises have no source and requests always one; only promises have tails.
fn source(declaration: &Declaration, wrong: &mut Vec<Objection>) {
    let Declaration { name, side, kind, source, .. } = declaration;
    match (side, source) {
        (Side::Promise, Some(_)) => wrong.push((
            format!("{} is promised, not read from a request", quoted(name)),
            "remove `source`".into(),
        )),
        (Side::Request, None) => wrong.push((
            format!("{} has no source, so its fact would never be known", quoted(name)),
            "add `source`, for example `source = \"header:x-data-class\"`".into(),
        )),
        (Side::Request, Some(Source::CallerId)) => wrong.push((
            format!("{} is of the request, and `caller-id` is of the caller", quoted(name)),
            "write `side = \"caller\"`".into(),
        )),
        _ => {}
    }
    if *side != Side::Promise && matches!(kind, Kind::Tail(_)) {
        wrong.push((
            format!("{} is a tail, and only a service promises one", quoted(name)),
            "write `side = \"promise\"`, or use a duration".into(),
        ));
    }
    if let Some(Source::BodyBytes) = source
        && !matches!(kind, Kind::Int(_))
    {
        wrong.push((
            format!("the source of {} is a number of bytes", quoted(name)),
            "write `type = \"int\", unit = \"bytes\"`".into(),
        ));
    }
    if let Some(Source::Header(header)) = source
        && (header.is_empty() || !header.bytes().all(token_byte))
    {
        wrong.push((
            format!("{} is not a lower-case header name", quoted(header)),
            "write for example `header:x-data-class`".into(),
        ));
    }
}

/// A commitment hides nothing of what the trail says elsewhere in clear.
fn sensitive(declaration: &Declaration, wrong: &mut Vec<Objection>) {
    let Declaration { name, side, source, sensitive, .. } = declaration;
    let said = match (side, source) {
        _ if !sensitive => return,
        (Side::Promise, _) => "is promised in contracts, which the trail keeps",
        (_, None) => "is configured per caller, in what the trail keeps of the configuration",
        (_, Some(Source::CallerId)) => "is in every record of a decision",
        (_, Some(Source::BodyBytes)) => "is in every outcome that tells sizes",
        // Whoever guesses it finds the guess confirmed.
        (_, Some(Source::Method | Source::Path)) => "is in the seed of every decision",
        (_, Some(Source::Host | Source::Header(_))) => return,
    };
    wrong.push((
        format!("{} cannot be sensitive: it {said}", quoted(name)),
        "remove `sensitive`, or take the fact from a header".into(),
    ));
}

/// A field name's characters (RFC 9110 5.6.2), lower case only: facts are looked up that way.
fn token_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
