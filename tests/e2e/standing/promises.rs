//! What becomes of promises, on record.

use super::support::{Gateway, Scratch, VOCABULARY, Wire, eventually};
use super::{PATIENT, Service, audit, call, process, verified};
use serde_json::Value as Json;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What is on record of promises.
fn breaches(trail: &Path, more: &[&str]) -> Vec<Json> {
    let mut caio = Command::new(env!("CARGO_BIN_EXE_caio"));
    caio.args(["audit", "query", "--kind", "breach", "--json", "-t"]).arg(trail).args(more);
    let output = caio.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a verb of `caio audit` tells in JSON.
fn told(trail: &Path, verb: &str, more: &[&str]) -> String {
    let mut caio = Command::new(env!("CARGO_BIN_EXE_caio"));
    caio.args(["audit", verb, "--json", "-t"]).arg(trail).args(more);
    let output = caio.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The longest tick of a kernel: HZ = 100.
const TICK: Duration = Duration::from_millis(10);

#[test]
fn each_breach_of_a_promise_is_on_record_with_its_windows_until_it_is_over() {
    let (one, trail) = (Service::new(), Scratch::new());
    let vocabulary = format!(
        "{VOCABULARY}\n[[attributes]]\nname = \"availability\"\nside = \"promise\"\n\
         type = \"ratio\"\n"
    );
    let own = format!("{PATIENT}\npromises = {{ window = \"100ms\", min_calls = 10 }}");
    let endpoints = [one.address()];
    let admin = format!("{}\n[admin]\nlisten = \"127.0.0.1:0\"", audit(&trail));
    let plain = process(&[("a", 0, &endpoints[..], own.as_str())], &admin);
    let promising = "interface = { http = [\"* /*\"] }, \
                     promises = [{ availability = \">= 99%\" }] }]";
    let caio = plain.replacen("interface = { http = [\"* /*\"] } }]", promising, 1);
    assert_ne!(caio, plain);
    let files = [("caio.toml", caio.as_str()), ("vocabulary.toml", &vocabulary)];
    let gateway = Gateway::start_on(&files);
    let mut wire = Wire::connect(gateway.address);
    let mut on_record = |count: usize, what: &str| {
        eventually(what, || {
            (0..20).for_each(|_| assert!(matches!(call(&mut wire).0, 200 | 503)));
            breaches(trail.path(), &[]).len() == count
        });
    };
    for round in 0..2 {
        one.sound.store(false, Ordering::SeqCst);
        on_record(2 * round + 1, "it is broken");
        assert_eq!(gateway.counted("caio_promise_breaches_total"), round as u64 + 1);
        if round == 0 {
            one.sound.store(true, Ordering::SeqCst);
            on_record(2, "it is kept again");
        }
    }
    // Calls while it is broken. Breaches are told by a clock as coarse as the kernel's tick.
    let began = Instant::now();
    while began.elapsed() < 4 * TICK {
        on_record(3, "it stays so");
    }
    // It promises nothing any more.
    std::fs::write(gateway.folder().join("caio.toml"), &plain).unwrap();
    gateway.reload();
    on_record(4, "it is over");
    let began = Instant::now();
    while began.elapsed() < 4 * TICK {
        on_record(4, "and stays so");
    }
    verified(gateway, trail.path());

    let all = breaches(trail.path(), &["--service", "a"]);
    let words: Vec<&str> = all.iter().map(|it| it["became"].as_str().unwrap()).collect();
    assert_eq!(words, ["broken", "kept", "broken", "over"]);
    for (place, it) in all.iter().enumerate() {
        assert_eq!((&it["service"], &it["promise"]), (&"a".into(), &"availability".into()));
        assert_eq!(it["declared_ppm"], 10_000);
        let number = |name: &str| it[name].as_u64().unwrap();
        let (calls, otherwise) = (number("calls"), number("otherwise"));
        match words[place] {
            "broken" => assert!(calls >= 10 && otherwise * 50 > calls, "{it}"),
            "kept" => assert!(calls >= 10 && otherwise * 5 < calls, "{it}"),
            _ => assert_eq!((calls, otherwise), (0, 0)),
        }
        // Since the window that broke it first.
        let begun = &all[place / 2 * 2];
        assert_eq!((&it["since"], &begun["since"]), (&begun["window"][0], &begun["window"][0]));
    }
    assert_eq!(breaches(trail.path(), &["--service", "b"]), Vec::<Json>::new());

    // A decision for it shows what was observed of the service that it chose.
    let of = |from: &Json, until: &Json| {
        let times = ["--since", from.as_str().unwrap(), "--until", until.as_str().unwrap()];
        let said = told(trail.path(), "query", &[&times[..], &["--limit", "1"]].concat());
        let id = said.lines().next().map(|line| {
            let line: Json = serde_json::from_str(line).unwrap();
            line["id"].as_str().unwrap().to_owned()
        });
        let shown = told(trail.path(), "show", &[&id.unwrap()]);
        serde_json::from_str::<Json>(&shown).unwrap()["breaches"].clone()
    };
    let found = of(&all[2]["time"], &all[3]["time"]);
    let [breach] = found.as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!((&breach["became"], &breach["time"]), (&"broken".into(), &all[2]["time"]));
    assert_eq!(
        (breach["declared_ppm"].as_u64(), &breach["attested_ppm"]),
        (Some(10_000), &Json::Null)
    );
    assert!(breach["observed_ppm"].as_u64().unwrap() > 20_000, "{breach}");
    let none = of(&all[3]["time"], &"2999-01-01".into());
    assert_eq!(none.as_array().unwrap().len(), 0, "{none}");
}
