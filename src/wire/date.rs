//! Dates as HTTP writes them (RFC 9110 5.6.7), and as people write moments (RFC 3339).

/// Bytes of an IMF-fixdate.
pub const DATE_BYTES: usize = 29;

/// `Sun, 06 Nov 1994 08:49:37 GMT` of so many seconds since 1970. Years beyond 9999, which the form
/// has no room for, are written as 9999.
pub fn imf_fixdate(seconds: u64) -> [u8; DATE_BYTES] {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let mut put = |at: usize, text: &[u8]| {
        if let Some(place) = out.get_mut(at..at + text.len()) {
            place.copy_from_slice(text);
        }
    };
    put(0, DAYS.get((days % 7) as usize).copied().unwrap_or(b"Thu"));
    put(5, &two(day));
    put(8, MONTHS.get((month - 1) as usize).copied().unwrap_or(b"Jan"));
    put(12, &two(year / 100));
    put(14, &two(year % 100));
    put(17, &two(time / 3600));
    put(20, &two(time / 60 % 60));
    put(23, &two(time % 60));
    out
}

fn two(number: u64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar: years are counted
/// from March, so that the leap day is their last.
fn civil(days: u64) -> (u64, u64, u64) {
    // Days before 1970-01-01 since 0000-03-01, and of 400 years.
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    if year > 9999 { (9999, 12, 31) } else { (year, month, day) }
}

/// Seconds since 1970 of a moment in UTC, `2026-12-01T00:00:00Z` and no other form (RFC 3339 5.6).
pub fn parse_utc(text: &str) -> Option<u64> {
    let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
    let shape = bytes.iter().zip(b"0000-00-00T00:00:00Z");
    let shaped = |(byte, form): (&u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        sign => byte == sign,
    };
    if !shape.into_iter().all(shaped) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    // From a day that is early enough, the calendar itself says when the date comes.
    let early = year.checked_sub(1970)? * 365 + (month - 1) * 28 + (day - 1);
    let days = (early..early + 2500).find(|days| civil(*days) == (year, month, day))?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The moment of so many seconds since 1970, as [`parse_utc`] reads it.
pub fn utc(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written_and_in_no_other_form() {
        let mut rng = fastrand::Rng::with_seed(4);
        for _ in 0..5000 {
            // To the end of the year 9999.
            let seconds = rng.u64(..253_402_300_800);
            assert_eq!(parse_utc(&utc(seconds)), Some(seconds), "{}", utc(seconds));
        }
        assert_eq!(parse_utc("2026-12-01T00:00:00Z"), Some(1_796_083_200));
        for text in [
            "",
            "2026-12-01",
            "2026-12-01T00:00:00",
            "2026-12-01t00:00:00z",
            "2026-12-01T00:00:00+01:00",
            "2026-12-01 00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-12-01T24:00:00Z",
            "2026-12-01T00:60:00Z",
            "2026-12-01T00:00:60Z",
            "1969-12-31T23:59:59Z",
            "+026-12-01T00:00:00Z",
            "2026-12-01T00:00:00é",
        ] {
            assert_eq!(parse_utc(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(String::from_utf8_lossy(&imf_fixdate(seconds)), text);
        }
        imf_fixdate(u64::MAX);
    }
}
