//! Wrong documents, each with the place and the words that are due; `wrong.txt` holds the cases.

use caio::cli::loading::load;
use std::path::Path;

use crate::world::{self, CAIO, EMBED, EXTRA, VOCABULARY, spoilt};

#[derive(Default)]
struct Case {
    file: &'static str,
    from: Vec<&'static str>,
    to: Vec<&'static str>,
    faults: Vec<&'static str>,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in include_str!("wrong.txt").lines().filter(|line| !line.is_empty()) {
        let (mark, text) = line.split_at(1);
        let text = text.strip_prefix(' ').unwrap_or(text);
        if mark == "@" {
            cases.push(Case { file: text, ..Case::default() });
        }
        let Some(case) = cases.last_mut() else { continue };
        match mark {
            "-" => case.from.push(text),
            "+" => case.to.push(text),
            "!" => case.faults.push(text),
            _ => assert!(mark == "#" || mark == "@", "{line:?}"),
        }
    }
    cases
}

fn original(file: &str) -> &'static str {
    match file {
        "caio.toml" => CAIO,
        "embed.toml" => EMBED,
        "conf.d/extra.toml" => EXTRA,
        "vocabulary.toml" => VOCABULARY,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_wrong_document_is_refused_at_its_place_with_its_words() {
    let cases = cases();
    assert!(cases.len() >= 120, "{}", cases.len());
    let mut wrong = String::new();
    for case in cases {
        let mut from = case.from.join("\n");
        if case.to.is_empty() {
            from.push('\n');
        }
        let text = spoilt(original(case.file), &from, &case.to.join("\n"));
        let faults = match world::outcome(&world::files(case.file, &text)) {
            Ok(_) => vec!["(accepted)".to_owned()],
            Err(faults) => faults,
        };
        if faults != case.faults {
            wrong += &format!("{} {from:?} -> {:?}\n", case.file, case.to);
            for fault in faults {
                wrong += &format!("! {fault}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn all_faults_of_a_file_set_are_reported_at_once() {
    let mut texts = [
        ("caio.toml", CAIO.to_owned()),
        ("embed.toml", EMBED.to_owned()),
        ("conf.d/extra.toml", EXTRA.to_owned()),
    ];
    let spoil = [
        (0, "workers = 2", "wrokers = 2"),
        (0, "\"127.0.0.1:8080\"", "\"localhost:8080\""),
        (0, "connect = \"1s\"", "connect = 1"),
        (0, "\"10.0.0.0/8\"", "\"10.0.0.1/8\""),
        (0, "\"127.0.0.1:9001\"", "\"127.0.0.1:0\""),
        (1, "\"2.3.1\"", "\"2.3\""),
        (1, "\"POST /v1/embed\"", "\"POST /v1/../embed\""),
        (1, "'request.bytes <= 1MiB'", "'request.byte <= 1MiB && request.bytes <= 1s'"),
        (1, "availability = \">= 99.9%\"", "avialability = \">= 99.9%\""),
        (1, "when = 'request.bytes <= 64KiB'", "when = 'deterministic'"),
        (2, "\"POST /embed\"", "\"POST\""),
        (2, "'deterministic'", "'latency(30ms) <= 1%'"),
        (2, "'residency.within(\"eu\")'", "'residency.within(\"mars\")'"),
        (2, "caller.clearance = 3", "caller.clearance = -3"),
    ];
    for (file, from, to) in spoil {
        texts[file].1 = spoilt(&texts[file].1, from, to);
    }
    let mut files = world::files("caio.toml", CAIO);
    for (name, text) in texts {
        files.0.insert(name.into(), text.into_bytes());
    }
    let faults = world::outcome(&files).unwrap_err();
    let places: Vec<&str> =
        faults.iter().map(|fault| fault.split(": ").next().expect("a place")).collect();
    assert_eq!(
        places,
        [
            "caio.toml:6:1",
            "caio.toml:9:11",
            "caio.toml:12:11",
            "caio.toml:18:20",
            "caio.toml:22:14",
            "conf.d/extra.toml:5:14",
            "conf.d/extra.toml:7:11",
            "conf.d/extra.toml:13:11",
            "conf.d/extra.toml:18:30",
            "embed.toml:3:11",
            "embed.toml:7:33",
            "embed.toml:10:9",
            "embed.toml:10:33",
            "embed.toml:13:1",
            "embed.toml:16:9",
        ],
        "{faults:#?}"
    );
}

#[test]
fn a_seventeenth_conditional_promise_is_refused() {
    let promise = "\n[[offers.promises]]\nwhen = 'request.bytes <= 1KiB'\ndeterministic = true\n";
    // The sound contract has one already.
    let fine = format!("{EMBED}{}", promise.repeat(15));
    assert!(world::outcome(&world::files("embed.toml", &fine)).is_ok());
    let over = format!("{EMBED}{}", promise.repeat(16));
    let faults = world::outcome(&world::files("embed.toml", &over)).unwrap_err();
    let due = "embed.toml:79:1: more than 16 promises with `when` in one offer; \
               join some, or split the offer";
    assert_eq!(faults, [due]);
}

#[test]
fn what_does_not_compile_is_reported_where_it_was_written() {
    let text = spoilt(EXTRA, "capability = \"embed.text/1\"", "capability = \"other/1\"");
    let files = world::files("conf.d/extra.toml", &text);
    assert!(world::outcome(&files).is_ok(), "the documents by themselves are sound");
    let faults = load(&files, Path::new("caio.toml")).unwrap_err();
    let places: Vec<_> =
        faults.iter().map(|fault| (fault.file.as_str(), fault.line, fault.column)).collect();
    assert_eq!(places, [("conf.d/extra.toml", 4, 6)], "{faults:#?}");
    assert!(faults[0].what.starts_with("route `r` "), "{}", faults[0]);
}

/// What one record hides must not stand in clear in the next.
#[test]
fn a_field_that_gives_a_sensitive_attribute_is_recorded_nowhere() {
    let sensitive = "source  = \"header:x-data-class\"\nsensitive = true";
    let vocabulary = spoilt(VOCABULARY, "source  = \"header:x-data-class\"", sensitive);
    let files = world::files("vocabulary.toml", &vocabulary);
    let configuration = world::outcome(&files).unwrap_or_else(|faults| panic!("{faults:?}"));
    let id = configuration.vocabulary.find("data.class").map(|declared| declared.id().0);
    assert_eq!(configuration.vocabulary.sensitive(), [id.unwrap()]);
    let telling = "[audit]\nfields = [\"x-data-class\"]\n[routing]\naffinity_header = \
                   \"x-data-class\"\n[process]";
    let mut files = files;
    files.0.insert("caio.toml".into(), spoilt(CAIO, "[process]", telling).into());
    let told = "needs = ['deterministic']\naudit = { fields = [\"accept\", \"x-data-class\"] }";
    let extra = spoilt(EXTRA, "needs = ['deterministic']", told);
    files.0.insert("conf.d/extra.toml".into(), extra.into());
    let faults = world::outcome(&files).unwrap_err();
    let why = "`x-data-class` gives `data.class`, which is sensitive, and would be recorded; take \
               another field, or drop `sensitive` there";
    let places = ["caio.toml:6:11", "caio.toml:8:19", "conf.d/extra.toml:8:31"];
    assert_eq!(faults, places.map(|place| format!("{place}: {why}")));
}
