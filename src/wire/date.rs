//! Dates as HTTP writes them (RFC 9110 5.6.7).

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

#[cfg(test)]
mod tests {
    use super::*;

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
