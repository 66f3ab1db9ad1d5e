//! Durations and sizes as people write them: `250ms`, `64KiB`. Whole numbers only, and always with
//! a unit: a bare `60` has been read as seconds, milliseconds and minutes by different programs.

const DURATIONS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A duration in nanoseconds; the error says how to write one.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    parse(text, &DURATIONS)
}

/// A size in bytes; the error says how to write one.
pub fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, &SIZES)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let list = || units.iter().map(|(unit, _)| *unit).collect::<Vec<_>>().join(", ");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("write a whole number and one unit of {}", list()));
    }
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(match unit {
            "" => format!("add a unit: one of {}", list()),
            _ => format!("write a whole number and one unit of {}, no space between", list()),
        });
    };
    let number: Option<u64> = number.parse().ok();
    // Signed 64 bits are what the logic counts in, so that is the largest value anywhere.
    number
        .and_then(|number| number.checked_mul(*scale))
        .filter(|value| i64::try_from(*value).is_ok())
        .ok_or_else(|| "it does not fit 64 bits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_scale_exactly() {
        assert_eq!(parse_duration("250ms"), Ok(250_000_000));
        assert_eq!(parse_duration("0d"), Ok(0));
        assert_eq!(parse_duration("5s"), Ok(5_000_000_000));
        assert_eq!(parse_duration("1h"), Ok(3_600_000_000_000));
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("64KB"), Ok(64_000));
        assert_eq!(parse_size("9223372036854775807B"), Ok(i64::MAX as u64));
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        for text in ["", "s", "5", "5 s", "1.5s", "-1s", "5sec", "5S", "+5s", "5s ", "٥s", "1e3s"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in
            ["64kib", "64K", "9223372036854775808B", "99999999999999999999B", "9999999999GiB"]
        {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_duration("60").unwrap_err().starts_with("add a unit"));
    }
}
