//! Settings that hold as long as a process runs, and where a file says another than it was started
//! with: that cannot be adopted, and whoever wrote it is told which key it is.

use super::hook::Hooks;
use super::settings::{Bounds, Settings};
use crate::wire::document::{Document, Item, Source, Table};
use crate::wire::fault::{Fault, Faults};
use std::path::Path;
use std::sync::Arc;

const MEND: &str = "SIGUSR2 has a process take over with it, no call fails; or write what it was";

/// What of the settings holds as long as the process runs; all else belongs to the landscape, which
/// a reload replaces. The reasons, by section:
///
/// - `process`: threads are started once, and each has its lane of the trail and its sockets.
/// - `audit`: the trail is opened once, and says at its beginning under which mode it is kept.
/// - `admin`, `discovery`, `registry`: sockets and a store of threads that hold them for good.
/// - `assertion`: the rules of policy are read against its header, and services know its key.
/// - `balance`: whoever folds load counts by its steps, from the first.
pub fn fixed(settings: &Settings) -> Settings {
    let (quotas, identities, listeners) = (Vec::new(), Vec::new(), Vec::new());
    let (companions, hooks) = (Vec::new(), Hooks::default());
    let (care, routing) = (Arc::default(), Settings::default().routing);
    let Bounds { timeouts, limits, forwarding } = Bounds::default();
    let landscape = Settings {
        listeners,
        hooks,
        companions,
        quotas,
        identities,
        care,
        routing,
        timeouts,
        limits,
        forwarding,
        ..settings.clone()
    };
    let mut fixed = landscape;
    fixed.admin.remote.iter_mut().for_each(|remote| remote.clients.clear());
    fixed
}

/// Each key of the process file that says another than the process was started with and that only a
/// process which takes over can change; `texts` are the file as it was and as it is.
pub fn changes(path: &Path, before: &Settings, now: &Settings, texts: [&str; 2]) -> Vec<Fault> {
    let (one, other) = (fixed(before), fixed(now));
    let sections = [
        ("process", one.process != other.process),
        ("audit", one.audit != other.audit),
        ("admin", one.admin != other.admin),
        ("discovery", one.discovery != other.discovery),
        ("registry", one.registry != other.registry),
        ("assertion", one.assertion != other.assertion),
        ("balance", one.balance != other.balance),
    ];
    let shown = path.display().to_string();
    let [old, new] = texts.map(|text| Source::new(shown.as_str(), text));
    let mut unread = Faults::new();
    let documents = (Document::parse(&old, &mut unread), Document::parse(&new, &mut unread));
    let (Some(old), Some(new)) = documents else { return unread.into_sorted() };
    let mut faults = Faults::new();
    for (section, _) in sections.into_iter().filter(|(_, changed)| *changed) {
        let mut found = Vec::new();
        let place = new.root().place_of(section);
        match (old.root().item(section), new.root().item(section)) {
            (Some(Item::Table(old)), Some(Item::Table(new))) => differ(&old, &new, &mut found),
            (None, Some(Item::Table(new))) => {
                found.extend(new.entries().iter().map(|(key, _)| {
                    let what = says(&format!("{section}.{}", key.value));
                    key.fault(what, MEND)
                }));
            }
            (Some(_) | None, _) => {}
        }
        if found.is_empty() {
            found.push(match place {
                Some(place) => place.fault(says(section), MEND),
                None => Fault::of_file(&shown, says(section), MEND),
            });
        }
        faults.extend(found);
    }
    faults.into_sorted()
}

/// What is wrong with one of a section of the process file, at this place among them: told where
/// its key stands, or where it begins.
pub fn of_entry(
    path: &Path,
    text: &str,
    (section, place, key): (&str, usize, &str),
    what: String,
    mend: &str,
) -> Fault {
    let shown = path.display().to_string();
    let source = Source::new(shown.as_str(), text);
    let document = Document::parse(&source, &mut Faults::new());
    let entries = document.as_ref().map(|it| it.root().entries()).unwrap_or_default();
    let entries = entries.into_iter().find(|(name, _)| name.value == section);
    if let Some((_, Item::Array(entries))) = entries
        && let Some(Item::Table(entry)) = entries.value.get(place)
    {
        let place = entry.place_of(key).unwrap_or_else(|| entry.place());
        return place.fault(what, mend);
    }
    Fault::of_file(&shown, what, mend)
}

fn says(key: &str) -> String {
    format!("`{key}` is not what the process was started with")
}

/// The keys under which two tables say something else.
fn differ(old: &Table<'_>, new: &Table<'_>, found: &mut Vec<Fault>) {
    let raw = |table: &Table<'_>, key: &str| table.place_of(key).map(|it| it.raw().to_owned());
    for (key, _) in new.entries() {
        if raw(old, key.value) != raw(new, key.value) {
            found.push(key.fault(says(&format!("{}.{}", new.path(), key.value)), MEND));
        }
    }
    for (key, _) in old.entries() {
        if new.place_of(key.value).is_none() {
            let what = says(&format!("{}.{}", new.path(), key.value));
            found.push(new.place().fault(what, MEND));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_only_a_process_that_takes_over_changes_is_told_at_its_place() {
        let texts = [
            "[process]\nworkers = 2\npin = false\n[[companions]]\nid = \"a\"\n",
            "[[companions]]\nid = \"b\"\n[process]\nworkers = 3\n\
             [[listeners]]\naddress = \"b\"\n[audit]\ncommit_bytes = 9\n",
        ];
        let before = Settings::default();
        let mut now = before.clone();
        now.process.workers = std::num::NonZeroU16::new(3);
        now.audit.commit_bytes = 9;
        // What a reload changes is no fault.
        now.listeners = Vec::new();
        now.timeouts.connect_ms = 3_000;
        now.limits.fields_max = 9;
        now.forwarding.via = !now.forwarding.via;
        let told: Vec<String> = changes(Path::new("caio.toml"), &before, &now, texts)
            .iter()
            .map(Fault::to_string)
            .collect();
        let line = |place: &str, key: &str| {
            let what = "is not what the process was started with";
            format!("caio.toml:{place}: `{key}` {what}; {MEND}")
        };
        let expected = [
            line("3:1", "process.pin"),
            line("4:1", "process.workers"),
            line("8:1", "audit.commit_bytes"),
        ];
        assert_eq!(told, expected);
        assert_eq!(changes(Path::new("caio.toml"), &before, &before, texts), []);
    }

    #[test]
    fn an_entry_is_blamed_where_it_is_written() {
        let text = "[[listeners]]\naddress = \"a\"\n[[listeners]]\nname = \"b\"\naddress = \"c\"\n";
        let told = |place: usize, key: &str| {
            let path = Path::new("caio.toml");
            of_entry(path, text, ("listeners", place, key), "it is taken".to_owned(), "end it")
                .to_string()
        };
        assert_eq!(told(1, "address"), "caio.toml:5:11: it is taken; end it");
        assert_eq!(told(1, "tls"), "caio.toml:3:1: it is taken; end it");
        assert_eq!(told(2, "address"), "caio.toml: it is taken; end it");
    }
}
