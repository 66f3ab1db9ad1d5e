//! `caio explain` as a function: what it says of the example configuration, and its exit codes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use caio::cli::check::{FINE, USAGE, WRONG};
use caio::cli::explain::{HELP, run};
use caio::cli::style::Output;
use serde_json::Value as Json;
use std::path::Path;

fn explain(args: &[&str]) -> (u8, String, String) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&args, &mut Output::plain(&mut out), &mut Output::plain(&mut err));
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// With the example configuration, whose requests go to `/v1/embed`.
fn example(args: &[&str]) -> (u8, String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/example/caio.toml");
    let path = path.display().to_string();
    explain(&[&["-c", &path], args].concat())
}

fn json(args: &[&str]) -> (u8, Json) {
    let (code, out, err) = example(&[&["--json"], args].concat());
    assert_eq!(err, "");
    (code, serde_json::from_str(&out).unwrap())
}

const EMBED: &str = "http://any.example/v1/embed";

/// The line of a service, and its line alone.
fn line<'a>(out: &'a str, service: &str) -> &'a str {
    let mut lines = out.lines().filter(|line| line.split_whitespace().next() == Some(service));
    let found = lines.next().unwrap_or_else(|| panic!("no `{service}` in\n{out}"));
    assert_eq!(lines.next(), None);
    found
}

#[test]
fn a_request_that_all_may_serve_says_who_is_chosen_and_why() {
    let args = ["-H", "X-Data-Class: public", "--body-bytes", "1024", EMBED];
    let (code, out, err) = example(&args);
    assert_eq!((code, err.as_str()), (FINE, ""));
    for service in ["nme.embed-eu", "nme.embed-us", "nme.embed-small"] {
        assert!(line(&out, service).contains("yes  tier 0, load 0, rendezvous "), "{out}");
    }
    let chosen = line(&out, "chosen");
    assert!(chosen.contains("the request's seed ranks it before the next best"), "{out}");
    assert!(out.contains("capability  embed.text/1"), "{out}");
    assert!(out.contains("fact        request.bytes == 1KiB"), "{out}");

    let (code, told) = json(&args);
    assert_eq!(code, FINE);
    assert!(chosen.contains(told["chosen"].as_str().unwrap()), "{told}");
    assert_eq!(told["refused"], Json::Null);
    let mut candidates: Vec<(&str, &str)> = told["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            assert_eq!(one["eligible"], true);
            (one["key"]["rendezvous"].as_str().unwrap(), one["service"].as_str().unwrap())
        })
        .collect();
    // Nobody is preferred and nobody is loaded: the lowest hash wins.
    candidates.sort_unstable();
    assert_eq!(told["chosen"], candidates[0].1);
    assert!(out.contains(told["snapshot"].as_str().unwrap()), "{out}");
    assert!(out.contains(told["seed"].as_str().unwrap()), "{out}");
}

#[test]
fn what_a_request_asks_reroutes_it_and_the_failing_clause_is_named() {
    let args = [
        "-H",
        "X-Data-Class: public",
        "-H",
        "CAIO-Require: \"residency.within(\\\"eu\\\")\"",
        "-d",
        "text",
        EMBED,
    ];
    let (code, out, _) = example(&args);
    assert_eq!(code, FINE, "{out}");
    assert!(line(&out, "nme.embed-us").contains("no   guarantee: residency"), "{out}");
    assert!(line(&out, "nme.embed-small").contains("no   guarantee: residency"), "{out}");
    assert!(line(&out, "chosen").contains("nme.embed-eu: nobody else is eligible"), "{out}");

    let (_, told) = json(&args);
    assert_eq!(told["chosen"], "nme.embed-eu");
    assert_eq!(told["needs"][0]["name"], "caio-require");
    let refused: Vec<&Json> = told["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["eligible"] == false)
        .collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|one| one["failure"]["stage"] == "guarantee"), "{told}");
}

#[test]
fn whoever_calls_brings_facts_and_requirements_along() {
    let (code, told) = json(&["--caller", "spiffe://clinic/records", "-d", "x", EMBED]);
    assert_eq!(code, FINE);
    assert_eq!(told["chosen"], "nme.embed-eu");
    let names: Vec<&str> =
        told["needs"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 2, "{told}");
    let facts = told["facts"].to_string();
    assert!(facts.contains("caller.clearance == 3"), "{facts}");

    // A caller that comes with a token is in no entry, and what it brings comes with it.
    let stranger = ["--caller", "nobody", "--fact", "caller.clearance=2", "-d", "x", EMBED];
    let (code, out, _) = example(&stranger);
    assert_eq!(code, FINE, "{out}");
    assert!(out.starts_with("caller      `nobody`, not configured\n"), "{out}");
    for (fact, what) in [
        ("caller.clearance=much", "refused     "),
        ("caller.id=me", "`caller.id` is no fact that comes with a caller"),
        ("nothing=1", "`nothing` is no fact that comes with a caller"),
    ] {
        let (code, out, _) = example(&["--caller", "nobody", "--fact", fact, "-d", "x", EMBED]);
        assert_eq!(code, WRONG);
        assert!(out.starts_with("refused     ") && out.contains(what), "{fact}: {out}");
    }
}

#[test]
fn a_request_that_nobody_may_serve_is_refused_at_a_stage_with_counts() {
    let args = ["--body-bytes", "9000000", EMBED, "-X", "POST"];
    let (code, out, _) = example(&args);
    assert_eq!(code, WRONG);
    assert!(out.contains("refused     nobody is left after the stage demand"), "{out}");
    assert!(out.contains("left        offer 3, demand 0"), "{out}");
    assert!(line(&out, "nme.embed-eu").contains("demand: request.bytes <= 1MiB (size)"), "{out}");

    let (code, told) = json(&args);
    assert_eq!(code, WRONG);
    assert_eq!(told["chosen"], Json::Null);
    assert_eq!(told["refused"]["stage"], "demand");
    assert_eq!(told["refused"]["survivors"]["offer"], 3);
    assert_eq!(told["refused"]["survivors"]["demand"], 0);
}

#[test]
fn what_is_refused_before_a_decision_says_why() {
    let cases: [(&[&str], &str); 6] = [
        (&["http://any.example/v2"], "no route matches `/v2`"),
        (&["-X", "GET", EMBED], "`/v1/embed` is there only for POST"),
        (&["-H", "X-Data-Class: secret", "-d", "", EMBED], "header `x-data-class`"),
        (&["-H", "CAIO-Require: \"nothing\"", "-d", "", EMBED], "CAIO-Require: "),
        (&["-H", "CAIO-Require: \"latency(\"", "-d", "", EMBED], "CAIO-Require: "),
        (&["-H", "CAIO-Capability: no/1", "-d", "", EMBED], "nobody offers the capability"),
    ];
    for (args, what) in cases {
        let (code, out, err) = example(args);
        assert_eq!((code, err.as_str()), (WRONG, ""), "{args:?}");
        assert!(out.starts_with("refused     ") && out.contains(what), "{args:?}: {out}");
        let (code, told) = json(args);
        assert_eq!(code, WRONG);
        assert!(told["refused"].as_str().unwrap().contains(what), "{args:?}: {told}");
    }
}

#[test]
fn a_route_of_its_own_host_is_found_by_host_header_and_by_url() {
    let by_url = json(&["-d", "x", "http://search.example.org/embed"]).1;
    let by_header = json(&["-d", "x", "-H", "Host: Search.Example.org", "/embed"]).1;
    assert_eq!(by_url["route"], "search");
    assert_eq!(by_url, by_header);
    assert_eq!(by_url["needs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_wrong_command_line_has_exit_code_two() {
    let config = "config/example/caio.toml";
    let cases: [&[&str]; 9] = [
        &[],
        &["-c"],
        &[EMBED],
        &["-c", config],
        &["-c", config, "--verbose", EMBED],
        &["-c", config, EMBED, EMBED],
        &["-c", config, "-H", "no colon", EMBED],
        &["-c", config, "--body-bytes", "many", EMBED],
        &["-c", config, "http://a b/"],
    ];
    for args in cases {
        let (code, out, err) = explain(args);
        assert_eq!((code, out.as_str()), (USAGE, ""), "{args:?}");
        assert!(err.starts_with("caio explain: "), "{err}");
        assert!(err.ends_with("see `caio explain --help`\n"), "{err}");
    }
    let (_, _, err) = explain(&["-c", config, "--ver\u{1b}bose", EMBED]);
    assert!(!err.contains('\u{1b}'), "{err:?}");
}

#[test]
fn help_is_help_and_a_missing_file_is_reported() {
    for help in ["-h", "--help"] {
        let (code, out, err) = explain(&["-c", help]);
        assert_eq!((code, out.as_str(), err.as_str()), (FINE, HELP, ""));
    }
    for option in
        ["--config", "--request", "--header", "--data", "--body-bytes", "--caller", "--fact"]
    {
        assert!(HELP.contains(option), "{option}");
    }
    let (code, out, err) = explain(&["-c", "/nonexistent/caio.toml", EMBED]);
    assert_eq!((code, out.as_str()), (WRONG, ""));
    assert!(err.contains("there is no `/nonexistent/caio.toml`"), "{err}");
}
