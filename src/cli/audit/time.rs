//! Times as people and other programs write them: RFC 3339 in UTC, or how long ago.

use crate::wire::fault::quoted;

/// A day, in ms.
const DAY_MS: u64 = 86_400_000;

/// `2026-11-26T10:15:30.123Z` of ms since 1970; `digits` of the second's fraction from `nanos`.
pub fn rfc3339(ms: u64, nanos: u32) -> String {
    let (year, month, day) = date(ms / DAY_MS);
    let second = ms % DAY_MS / 1000;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = match nanos {
        0 => format!("{:03}", ms % 1000),
        nanos => format!("{:03}{:06}", ms % 1000, nanos % 1_000_000),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction}Z")
}

/// The date of a day since 1970, after Hinnant's "chrono-compatible low-level date algorithms".
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// The day since 1970 of a date; the same source.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Reads an RFC 3339 time, a date, or a time ago such as `10m`; ms since 1970.
///
/// # Errors
/// What is wrong, and how times are written.
pub fn read(text: &str, now_ms: u64) -> Result<u64, String> {
    let ago = ago_ms(text).map(|ago| now_ms.saturating_sub(ago));
    ago.or_else(|| absolute(text)).ok_or_else(|| {
        let what = quoted(text);
        format!("{what} is no time; write `2026-11-26T10:15:00Z`, or `10m` for ten minutes ago")
    })
}

fn ago_ms(text: &str) -> Option<u64> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", DAY_MS)];
    let (digits, unit) = units.iter().find_map(|(word, unit)| {
        let digits = text.strip_suffix(word)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then_some((digits, *unit))
    })?;
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// RFC 3339 5.6, with a date alone for its first moment.
fn absolute(text: &str) -> Option<u64> {
    let (date, time) = text.split_at_checked(10)?;
    let number = |text: &str| -> Option<i64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    let mut parts = date.splitn(3, '-');
    let (year, month, day) =
        (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    let exists = (1..=12).contains(&month) && (1..=31).contains(&day);
    let day_ms = days(year, month, day).checked_mul(i64::try_from(DAY_MS).ok()?)?;
    if !exists || u64::try_from(day_ms).ok().map(|ms| self::date(ms / DAY_MS).2) != Some(day as u64)
    {
        return None;
    }
    let ms = if time.is_empty() { day_ms } else { day_ms.checked_add(of_day(time, number)?)? };
    u64::try_from(ms).ok()
}

/// `T10:15:30.5+01:00`
fn of_day(time: &str, number: impl Fn(&str) -> Option<i64>) -> Option<i64> {
    let time = time.strip_prefix(['T', 't', ' '])?;
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(zone)?;
    let offset = match zone.strip_prefix(['+', '-']) {
        None => (zone.len() == 1).then_some(0)?,
        Some(hours) => {
            let (hours, minutes) = hours.split_once(':')?;
            let minutes = number(hours)? * 60 + number(minutes)?;
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
    let (second, fraction) = match parts.next() {
        None => (0, ""),
        Some(second) => second.split_once('.').map_or_else(
            || number(second).map(|second| (second, "")),
            |(second, fraction)| Some((number(second)?, fraction)),
        )?,
    };
    let ms = if fraction.is_empty() { 0 } else { number(format!("{fraction:0<3}").get(..3)?)? };
    // A leap second is the first moment of the next one.
    let exists = hour < 24 && minute < 60 && second <= 60;
    exists.then_some(((hour * 60 + minute - offset) * 60 + second) * 1000 + ms)
}

/// How long something took, with three digits of what matters.
pub fn took(ns: u64) -> String {
    let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000)];
    let Some((word, unit)) = units.into_iter().find(|(_, unit)| ns >= *unit) else {
        return format!("{ns} ns");
    };
    let (whole, rest) = (ns / unit, ns % unit);
    match whole {
        0..=9 => format!("{whole}.{:02} {word}", rest * 100 / unit),
        10..=99 => format!("{whole}.{} {word}", rest * 10 / unit),
        _ => format!("{whole} {word}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_back() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_582_979_696_789, 0), "2020-02-29T12:34:56.789Z");
        assert_eq!(rfc3339(1_582_979_696_789, 12_345), "2020-02-29T12:34:56.789012345Z");
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let ms = rng.u64(..4_102_444_800_000);
            assert_eq!(read(&rfc3339(ms, 0), 0), Ok(ms));
        }
    }

    #[test]
    fn every_form_of_a_time_is_read() {
        let noon = 1_582_977_600_000;
        for text in [
            "2020-02-29T12:00:00Z",
            "2020-02-29t12:00:00z",
            "2020-02-29 12:00Z",
            "2020-02-29T13:30:00+01:30",
            "2020-02-29T07:00:00.000-05:00",
        ] {
            assert_eq!(read(text, 0), Ok(noon), "{text}");
        }
        assert_eq!(read("2020-02-29", 0), Ok(noon - DAY_MS / 2));
        assert_eq!(read("10m", 1_000_000), Ok(400_000));
        assert_eq!(read("2d", 1), Ok(0));
        for text in [
            "",
            "m",
            "10",
            "10x",
            "2020-02-30",
            "2020-13-01",
            "2020-02-29T25:00Z",
            "1969-01-01",
            "2020-02-29T12:00",
            "2020-02-29T12:00:00.xZ",
            "99999999999999999999d",
            "20200229T12Z",
        ] {
            assert!(read(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_three_digits() {
        let told = [999, 1_234, 12_345, 123_456, 1_234_567, 61_000_000_000].map(took);
        assert_eq!(told, ["999 ns", "1.23 us", "12.3 us", "123 us", "1.23 ms", "61.0 s"]);
    }
}
