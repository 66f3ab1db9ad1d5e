//! The file of API keys: who has one, known by its hash, until when, and with which facts.
//!
//! ```toml
//! [[keys]]
//! principal = "billing-batch"
//! hash = "sha256:…"
//! owner = "payments team"
//! expires = "2027-01-31T00:00:00Z"
//! facts = { "caller.clearance" = 3 }
//! ```

use super::meaning::Meaning;
use super::relations::{ANONYMOUS, check_caller_id, parse};
use super::settings::unique;
use crate::contract::vocabulary::Vocabulary;
use crate::wire::document::{Source, Table, Text};
use crate::wire::fault::{Fault, Faults, quoted};
use crate::wire::limits::{API_KEYS_MAX, NAME_BYTES_MAX};
use std::collections::BTreeMap;

/// One API key, as far as anybody but its holder knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyEntry {
    /// The principal whose key it is; several keys may be one principal's, as when one replaces
    /// another.
    pub principal: String,
    /// The SHA-256 of the key's bytes.
    pub hash: [u8; 32],
    /// Who answers for it, for people.
    pub owner: String,
    /// The first second of Unix time at which it is not valid any more; `None` is never.
    pub expires_s: Option<u64>,
    /// Whether it is refused for now.
    pub disabled: bool,
    /// Facts of the caller's side: declared attribute, value as written.
    pub facts: Vec<(String, String)>,
}

/// Reads a file of API keys; every fault is reported at once.
pub fn read(
    file: &str,
    bytes: Vec<u8>,
    vocabulary: &Vocabulary,
) -> Result<Vec<ApiKeyEntry>, Vec<Fault>> {
    let source = Source::from_bytes(file, bytes).map_err(|fault| vec![fault])?;
    let mut faults = Faults::new();
    let entries = parse(&source, &mut faults).map(|document| {
        let mut root = document.root();
        let entries = read_entries(&mut root, &Meaning(Some(vocabulary)), &mut faults);
        root.finish(&mut faults);
        entries
    });
    match entries {
        Some(entries) if faults.is_empty() => Ok(entries),
        _ => Err(faults.into_sorted()),
    }
}

fn read_entries(
    root: &mut Table<'_>,
    meaning: &Meaning<'_>,
    faults: &mut Faults,
) -> Vec<ApiKeyEntry> {
    let mut entries = Vec::new();
    let mut seen = BTreeMap::new();
    let tables = root.tables("keys", faults);
    if tables.len() > API_KEYS_MAX {
        let what = format!("{} keys are more than {API_KEYS_MAX}", tables.len());
        faults.push(root.place().fault(what, "split them over several identities"));
        return entries;
    }
    for table in tables {
        entries.extend(read_entry(table, meaning, &mut seen, faults));
    }
    entries
}

fn read_entry(
    mut table: Table<'_>,
    meaning: &Meaning<'_>,
    seen: &mut BTreeMap<String, String>,
    faults: &mut Faults,
) -> Option<ApiKeyEntry> {
    let principal = table.required_string("principal", faults);
    if let Some(text) = principal {
        check_caller_id(text, faults);
        if text.value == ANONYMOUS {
            let what = format!("`{ANONYMOUS}` is whoever shows no credential");
            faults.push(text.fault(what, "take another id"));
        }
    }
    let hash = table.required_string("hash", faults);
    let parsed = hash.and_then(|text| hash_of(text, faults).map(|hash| (text, hash)));
    if let Some((text, _)) = parsed {
        unique(seen, text.value.to_ascii_lowercase(), text, "use of the hash", faults);
    }
    let owner = table.required_string("owner", faults);
    if let Some(text) = owner
        && text.value.len() > NAME_BYTES_MAX
    {
        let what = format!("an owner of more than {NAME_BYTES_MAX} bytes");
        faults.push(text.fault(what, "name a person or a team"));
    }
    let expires = table.string("expires", faults).map(|text| instant(text, faults));
    let disabled = table.boolean("disabled", faults).is_some_and(|at| at.value);
    let facts = match table.table("facts", faults) {
        Some(facts) => meaning.facts(&facts, faults),
        None => Vec::new(),
    };
    table.finish(faults);
    Some(ApiKeyEntry {
        principal: principal?.value.to_owned(),
        hash: parsed?.1,
        owner: owner?.value.to_owned(),
        expires_s: match expires {
            Some(read) => Some(read?),
            None => None,
        },
        disabled,
        facts,
    })
}

/// `sha256:` and 64 hex digits.
pub(super) fn hash_of(text: Text<'_>, faults: &mut Faults) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let digits = text.value.strip_prefix("sha256:").filter(|digits| digits.len() == 64);
    let pairs = digits.unwrap_or_default().as_bytes().chunks_exact(2);
    let mut read = 0;
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        let nibble = |digit: Option<&u8>| digit.and_then(|digit| char::from(*digit).to_digit(16));
        if let (Some(high), Some(low)) = (nibble(pair.first()), nibble(pair.last())) {
            *byte = u8::try_from(high * 16 + low).unwrap_or(0);
            read += 1;
        }
    }
    if read == hash.len() {
        return Some(hash);
    }
    // Not repeated: someone may have put the key itself here.
    let mend = "write `\"sha256:\"` and the 64 hex digits that `sha256sum` prints";
    faults.push(text.fault("this is no hash of a key", mend));
    None
}

/// `2027-01-31T00:00:00Z` as Unix time (RFC 3339, UTC only: an hour's doubt is no expiry).
pub(super) fn instant(text: Text<'_>, faults: &mut Faults) -> Option<u64> {
    let parsed = unix_seconds(text.value);
    if parsed.is_none() {
        let what = format!("{} is no time", quoted(text.value));
        faults.push(text.fault(what, "write `\"2027-01-31T00:00:00Z\"`"));
    }
    parsed
}

/// The Unix time of a date and time in UTC, from 1970 to 9999; leap seconds are not written.
fn unix_seconds(text: &str) -> Option<u64> {
    const FORM: &str = "dddd-dd-ddTdd:dd:ddZ";
    let fits = |(form, byte): (u8, u8)| {
        if form == b'd' { byte.is_ascii_digit() } else { form == byte }
    };
    if text.len() != FORM.len() || !FORM.bytes().zip(text.bytes()).all(fits) {
        return None;
    }
    let number = |start: usize, end: usize| text.get(start..end)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let days_in = |month: u64| match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap(year) => 29,
        2 => 28,
        _ => 0,
    };
    if year < 1970 || day == 0 || day > days_in(month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    let days = years + (1..month).map(days_in).sum::<u64>() + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_and_exist() {
        assert_eq!(unix_seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_seconds("2000-02-29T23:59:59Z"), Some(951_868_799));
        assert_eq!(unix_seconds("2011-03-22T18:43:00Z"), Some(1_300_819_380));
        assert_eq!(unix_seconds("9999-12-31T23:59:59Z"), Some(253_402_300_799));
        for text in [
            "1969-12-31T23:59:59Z",
            "2100-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00+01:00",
            "",
            "2026-01-01T00:00:00z",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }
}
