//! Exact numbers with units: `64KiB`, `50ms`, `99.9%`, `0.25`. No floats: a quantity that is not a
//! whole number of the attribute's own unit is refused.

use super::complaint::{Objection, quoted};
use super::vocabulary::{Kind, RATIO_MAX, Unit};

/// A number as written: digits, perhaps a fraction, perhaps a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// Without its unit, `-1.50`.
    pub digits: String,
    /// `ms`, `KiB`, `%`; empty when bare.
    pub unit: String,
}

/// Units of time in nanoseconds, largest first.
const TIME: [(&str, i64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];
/// Units of size in bytes; the binary ones, largest first, are those that sizes are shown in.
const SIZE: [(&str, i64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];
/// Units of ratio in parts per million.
const PART: [(&str, i64); 2] = [("%", RATIO_MAX / 100), ("ppm", 1)];

impl Number {
    /// Splits text such as `1.5KiB` into digits and unit; `None` when it starts as no number.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix('-').unwrap_or(text);
        if !body.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let end = body.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(body.len());
        let (_, unit) = body.split_at_checked(end)?;
        let digits = text.strip_suffix(unit)?;
        Some(Self { digits: digits.to_owned(), unit: unit.to_owned() })
    }

    fn shown(&self) -> String {
        quoted(&format!("{}{}", self.digits, self.unit))
    }

    /// The number in the last place of an attribute of this kind.
    pub fn value(&self, kind: &Kind) -> Result<i64, Objection> {
        match kind {
            Kind::Int(Unit::Bytes) => self.united(&SIZE, "a size", "`B`, `KiB`, `MiB`, `GiB`"),
            Kind::Duration => self.duration(),
            Kind::Ratio | Kind::Tail(_) => {
                let ppm = self.united(&PART, "a ratio", "`%` or `ppm`")?;
                if (0..=RATIO_MAX).contains(&ppm) {
                    Ok(ppm)
                } else {
                    Err((
                        format!("{} is no ratio from 0% to 100%", self.shown()),
                        "write for example `99.9%`".into(),
                    ))
                }
            }
            Kind::Decimal(scale) => {
                self.bare()?;
                self.scaled(10_i64.pow(u32::from(*scale)), &format!("10^-{scale}"))
            }
            Kind::Int(_) => {
                self.bare()?;
                self.scaled(1, "1")
            }
            _ => Err((
                format!("the number {} is not a value of {}", self.shown(), kind.describe()),
                kind.sample(),
            )),
        }
    }

    /// The number as a duration in nanoseconds.
    pub fn duration(&self) -> Result<i64, Objection> {
        self.united(&TIME, "a duration", "`ns`, `us`, `ms`, `s`, `m`, `h`, `d`")
    }

    fn bare(&self) -> Result<(), Objection> {
        if self.unit.is_empty() {
            return Ok(());
        }
        if self.unit.starts_with(['e', 'E']) {
            return Err((
                format!("{} is a float, and there are none here", self.shown()),
                "write the number out, with digits and at most one point".into(),
            ));
        }
        Err((
            format!("{} has a unit, and the attribute has none", self.shown()),
            format!("write {} if that is meant", quoted(&self.digits)),
        ))
    }

    fn united(&self, units: &[(&str, i64)], a: &str, which: &str) -> Result<i64, Objection> {
        // `kB` is how the SI writes it; both spellings mean 1000.
        let unit = if self.unit == "kB" { "KB" } else { self.unit.as_str() };
        let Some((name, factor)) = units.iter().find(|(name, _)| *name == unit) else {
            let what = if unit.is_empty() {
                format!("{} has no unit, and {a} needs one", self.shown())
            } else {
                format!("{} is not {a}", self.shown())
            };
            return Err((what, format!("write it with {which}")));
        };
        let whole = units.last().map_or("", |(last, _)| *last);
        self.scaled(*factor, if *name == "%" { "ppm" } else { whole })
    }

    /// `digits × factor`, exactly.
    fn scaled(&self, factor: i64, least: &str) -> Result<i64, Objection> {
        let negative = self.digits.starts_with('-');
        let body = self.digits.trim_start_matches('-');
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        let legal = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || !legal(whole)
            || !legal(fraction)
            || (body.contains('.') && fraction.is_empty())
        {
            return Err((
                format!("{} is not a number", self.shown()),
                "write digits and at most one point between them".into(),
            ));
        }
        let overflow = || {
            (format!("{} is too large", self.shown()), "at most 2^63-1 of the smallest unit".into())
        };
        let fraction = fraction.trim_end_matches('0');
        let mut product: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            product = product
                .checked_mul(10)
                .and_then(|product| product.checked_add(i128::from(digit - b'0')))
                .ok_or_else(overflow)?;
        }
        let product = product.checked_mul(i128::from(factor)).ok_or_else(overflow)?;
        let places = u32::try_from(fraction.len()).map_err(|_| overflow())?;
        let divisor = 10_i128.checked_pow(places).ok_or_else(overflow)?;
        if product % divisor != 0 {
            return Err((
                format!("{} is finer than the attribute counts", self.shown()),
                format!("the smallest step is {least}"),
            ));
        }
        let value = if negative { -(product / divisor) } else { product / divisor };
        i64::try_from(value).map_err(|_| overflow())
    }
}

/// Shows nanoseconds in the largest unit that divides them: `50ms`.
pub fn show_duration(nanoseconds: i64) -> String {
    show(nanoseconds, &TIME)
}

/// Shows bytes in the largest binary unit that divides them: `64KiB`.
pub fn show_bytes(bytes: i64) -> String {
    show(bytes, SIZE.get(..4).unwrap_or(&SIZE))
}

/// Shows parts per million as an exact percentage: `99.9%`.
pub fn show_ratio(ppm: i64) -> String {
    format!("{}%", show_decimal(ppm, 4))
}

/// Shows `value × 10^-scale` without needless zeros: `0.25`.
pub fn show_decimal(value: i64, scale: u8) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let width = usize::from(scale) + 1;
    let digits = format!("{:0width$}", value.unsigned_abs());
    let (whole, fraction) = digits
        .split_at_checked(digits.len().saturating_sub(usize::from(scale)))
        .unwrap_or((&digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

fn show(value: i64, units: &[(&str, i64)]) -> String {
    // Zero divides by everything; the smallest unit says it without drama.
    let fits = |factor: i64| if value == 0 { factor == 1 } else { value % factor == 0 };
    units
        .iter()
        .find(|(_, factor)| fits(*factor))
        .map_or_else(|| value.to_string(), |(unit, factor)| format!("{}{unit}", value / factor))
}
