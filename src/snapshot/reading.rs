//! From a fact's text to its number without allocating, for the spellings that requests have.
//!
//! The vocabulary says what a text means and words what is wrong with it, and allocates for that.
//! Here is only what is plainly right; `None` is not a refusal but a question to the vocabulary.

use crate::contract::version::Version;
use crate::contract::vocabulary::{Kind, RATIO_MAX, Unit};

/// Digits that are read here: with any factor below, they fit an `i128` by far.
const DIGITS_MAX: usize = 18;

/// How a column reads its text.
#[derive(Clone, Debug)]
pub(super) enum Reader {
    /// The text itself is compared.
    Text,
    /// The text from its last character to its first is compared.
    Reversed,
    /// A digest, compared as text.
    Fingerprint,
    /// The place among these.
    Symbols(Vec<String>),
    /// Whether the symbol of this place is among those that are listed.
    Member(Vec<String>, usize),
    /// `true` or `false`.
    Bool,
    /// A number, in the units of its kind.
    Number(Kind),
    /// Of a version, its core.
    Core,
    /// Of a version, whether it is a pre-release.
    Pre,
    /// What is only promised is never read.
    Never,
}

impl Reader {
    /// How the monadic attribute of this place is read.
    pub(super) fn new(kind: &Kind, place: usize) -> Self {
        match kind {
            Kind::Text if place == 0 => Self::Text,
            Kind::Text => Self::Reversed,
            Kind::Fingerprint => Self::Fingerprint,
            Kind::Enum { symbols, .. } => Self::Symbols(symbols.clone()),
            Kind::Region(regions) => Self::Symbols(regions.leaves().to_vec()),
            Kind::Set(symbols) => Self::Member(symbols.clone(), place),
            Kind::Bool => Self::Bool,
            Kind::Version if place == 0 => Self::Core,
            Kind::Version => Self::Pre,
            Kind::Int(_) | Kind::Decimal(_) | Kind::Duration | Kind::Ratio => {
                Self::Number(kind.clone())
            }
            Kind::Tail(_) => Self::Never,
        }
    }

    /// The number of a text that is not compared as text.
    #[inline]
    pub(super) fn number(&self, text: &str) -> Option<i64> {
        let text = text.trim_matches([' ', '\t']);
        match self {
            Self::Text | Self::Reversed | Self::Fingerprint | Self::Never => None,
            Self::Symbols(symbols) => {
                i64::try_from(symbols.iter().position(|symbol| symbol == text)?).ok()
            }
            Self::Member(symbols, place) => member(symbols, *place, text),
            Self::Bool => match text {
                "true" => Some(1),
                "false" => Some(0),
                _ => None,
            },
            Self::Number(kind) => number(kind, text),
            Self::Core => Version::parse(text).ok().map(|version| version.core),
            Self::Pre => Version::parse(text).ok().map(|version| i64::from(version.pre)),
        }
    }
}

/// A digest as the vocabulary writes it.
pub(super) fn fingerprint(text: &str) -> Option<&str> {
    let text = text.trim_matches([' ', '\t']);
    let hex = text.strip_prefix("sha256:")?;
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (hex.len() == 64 && hex.bytes().all(lower)).then_some(text)
}

fn member(symbols: &[String], place: usize, text: &str) -> Option<i64> {
    let mut held = 0;
    if !text.is_empty() {
        for item in text.split(',') {
            let item = item.trim_matches([' ', '\t']);
            let found = symbols.iter().position(|symbol| symbol == item)?;
            held |= i64::from(found == place);
        }
    }
    Some(held)
}

/// Digits, perhaps with a fraction, perhaps a unit; none negative.
fn number(kind: &Kind, text: &str) -> Option<i64> {
    let (mut product, mut digits, mut places) = (0i128, 0, None);
    let mut unit = text;
    while let Some(byte) = unit.bytes().next().filter(|byte| matches!(byte, b'0'..=b'9' | b'.')) {
        unit = unit.get(1..)?;
        if byte == b'.' {
            if digits == 0 || places.is_some() {
                return None;
            }
            places = Some(0);
            continue;
        }
        product = product * 10 + i128::from(byte - b'0');
        digits += 1;
        places = places.map(|places| places + 1);
    }
    if digits == 0 || digits > DIGITS_MAX || places == Some(0) {
        return None;
    }
    let product = product.checked_mul(factor(kind, unit)?)?;
    let divisor = 10i128.checked_pow(places.unwrap_or(0))?;
    let whole = product.checked_div(divisor).filter(|whole| whole * divisor == product)?;
    let most = if matches!(kind, Kind::Ratio) { RATIO_MAX } else { i64::MAX };
    i64::try_from(whole).ok().filter(|whole| *whole <= most)
}

/// What one of a unit is in the least unit of a kind.
fn factor(kind: &Kind, unit: &str) -> Option<i128> {
    Some(match (kind, unit) {
        (Kind::Int(_), "") => 1,
        (Kind::Int(Unit::Bytes), "B") => 1,
        (Kind::Int(Unit::Bytes), "KiB") => 1 << 10,
        (Kind::Int(Unit::Bytes), "MiB") => 1 << 20,
        (Kind::Int(Unit::Bytes), "GiB") => 1 << 30,
        (Kind::Int(Unit::Bytes), "KB") => 1_000,
        (Kind::Int(Unit::Bytes), "MB") => 1_000_000,
        (Kind::Int(Unit::Bytes), "GB") => 1_000_000_000,
        (Kind::Decimal(scale), "") => 10i128.checked_pow(u32::from(*scale))?,
        (Kind::Duration, "ns") => 1,
        (Kind::Duration, "us") => 1_000,
        (Kind::Duration, "ms") => 1_000_000,
        (Kind::Duration, "s") => 1_000_000_000,
        (Kind::Duration, "m") => 60_000_000_000,
        (Kind::Duration, "h") => 3_600_000_000_000,
        (Kind::Duration, "d") => 86_400_000_000_000,
        (Kind::Ratio, "%") => i128::from(RATIO_MAX / 100),
        (Kind::Ratio, "ppm") => 1,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Reader, fingerprint};
    use crate::contract::logic::AttributeId;
    use crate::contract::region::{Region, Regions};
    use crate::contract::set::Value;
    use crate::contract::vocabulary::{Declaration, Kind, Side, Source, Unit, Vocabulary};

    fn symbols(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn kinds() -> Vec<Kind> {
        let leaf = |name: &str| Region { name: name.to_owned(), below: Vec::new() };
        vec![
            Kind::Bool,
            Kind::Enum { symbols: symbols(&["low", "high"]), ordered: true },
            Kind::Int(Unit::Plain),
            Kind::Int(Unit::Count),
            Kind::Int(Unit::Bytes),
            Kind::Decimal(3),
            Kind::Duration,
            Kind::Ratio,
            Kind::Version,
            Kind::Region(Regions::new(&[leaf("eu"), leaf("us")])),
            Kind::Set(symbols(&["de", "en", "fr"])),
            Kind::Fingerprint,
        ]
    }

    fn texts(rng: &mut fastrand::Rng) -> String {
        let numbers = ["0", "1", "12", "1.5", "0.25", "1.", ".5", "-3", "007", "1e3", "1.2.3"];
        let large = ["9223372036854775807", "9223372036854775808", "999999999999999999", "100"];
        let units = ["", "", "B", "KiB", "MB", "kB", "ms", "s", "d", "ns", "%", "ppm", " B", "x"];
        let words = [
            "true",
            "false",
            "True",
            "low",
            "high",
            "eu",
            "us",
            "de",
            "de,en",
            " fr , de",
            "de,",
            "",
            "1.2.3",
            "1.2.3-a",
            "1.2",
            "1.2.3+b",
            "01.2.3",
            "é",
            "2097152.0.0",
        ];
        let spaces = ["", "", "", " ", "\t"];
        let mut pick = |from: &[&str]| from[rng.usize(..from.len())].to_owned();
        let body = match pick(&["n", "l", "w", "f"]).as_str() {
            "n" => pick(&numbers) + &pick(&units),
            "l" => pick(&large) + &pick(&units),
            "w" => pick(&words),
            _ => format!("sha256:{}", pick(&["a", "A", "0", "g"]).repeat(64)),
        };
        pick(&spaces) + &body + &pick(&spaces)
    }

    #[test]
    fn what_is_read_here_is_what_the_vocabulary_reads() {
        let mut rng = fastrand::Rng::with_seed(3);
        let (mut read, mut left, mut refused) = (0, 0, 0);
        for kind in kinds() {
            let declaration = Declaration {
                name: "a.b".to_owned(),
                side: Side::Request,
                kind: kind.clone(),
                source: Some(Source::Header("x-a".to_owned())),
                sensitive: false,
            };
            let vocabulary = Vocabulary::build("1", vec![declaration]).unwrap();
            let declared = &vocabulary.declared()[0];
            for _ in 0..4000 {
                let text = texts(&mut rng);
                let meant = declared.facts(&text);
                for place in 0..vocabulary.attributes().len() {
                    let id = AttributeId(place.try_into().unwrap());
                    let meant = meant
                        .as_ref()
                        .ok()
                        .map(|values| values.iter().find(|(it, _)| *it == id).unwrap().1.clone());
                    let reader = Reader::new(&kind, place);
                    let answer = match &reader {
                        Reader::Fingerprint => fingerprint(&text).map(|it| Value::Text(it.into())),
                        reader => reader.number(&text).map(Value::Number),
                    };
                    match (answer, meant) {
                        (Some(answer), meant) => {
                            assert_eq!(Some(answer), meant, "`{text}` as {kind:?}");
                            read += 1;
                        }
                        (None, Some(_)) => left += 1,
                        (None, None) => refused += 1,
                    }
                }
            }
        }
        // What is right and not read here is rare: it costs the vocabulary's allocations.
        assert!(read > 2000 && refused > 5000 && left < read / 4, "{read} {left} {refused}");
    }
}
