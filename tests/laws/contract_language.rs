//! What the language accepts, how it shows it, and what it refuses with which words.

use super::example;
use caio::contract::expression::{Scope, parse};
use caio::contract::promise::{self, Written};

/// Text, and how its normal form is shown.
const ACCEPTED: &[(Scope, &str, &str)] = &[
    (Scope::Facts, "request.bytes <= 64KiB", "request.bytes <= 64KiB"),
    (Scope::Facts, "request.bytes <= 1.5KB", "request.bytes <= 1500B"),
    (Scope::Facts, "!(request.bytes > 64KiB)", "request.bytes <= 64KiB"),
    (
        Scope::Facts,
        "request.bytes >= 1KiB && request.bytes < 2KiB",
        "request.bytes >= 1KiB && request.bytes <= 2047B",
    ),
    (
        Scope::Facts,
        r#"data.class in ["public","internal"] || caller.clearance >= 3"#,
        r#"data.class <= "internal" || caller.clearance >= 3"#,
    ),
    (
        Scope::Facts,
        r#"request.host.endsWith(".example.org")"#,
        r#"request.host.endsWith(".example.org")"#,
    ),
    (Scope::Facts, r#"!request.path.startsWith('/v1/')"#, r#"!request.path.startsWith("/v1/")"#),
    (
        Scope::Facts,
        r#"client.version.matches_version("^1.4")"#,
        r#"client.version.matches_version(">=1.4.0, <2.0.0") && !client.version.pre"#,
    ),
    (
        Scope::Facts,
        r#"request.languages.subsetOf(["de", "en"])"#,
        r#"request.languages.disjoint(["fr"]) && request.languages.disjoint(["ja"])"#,
    ),
    (Scope::Promises, r#"residency.within("eu")"#, r#"residency.within("eu")"#),
    (Scope::Promises, r#"!residency.within("us")"#, r#"!residency.within("us")"#),
    (
        Scope::Promises,
        "latency(100ms) <= 1% || deterministic",
        "latency(100ms) <= 1% || deterministic",
    ),
    (Scope::Promises, "retention == 0d", "retention == 0ns"),
    (Scope::Promises, "retention >= 0d", "always"),
    (Scope::Promises, "availability >= 99.9%", "availability >= 99.9%"),
    (Scope::Promises, "cost <= 0.25", "cost <= 0.25"),
    (
        Scope::Promises,
        r#"model == "a" || model.startsWith("b")"#,
        r#"model == "a" || model.startsWith("b")"#,
    ),
    (
        Scope::Promises,
        "(deterministic || cost <= 1) && (deterministic || cost <= 2)",
        "deterministic || cost <= 1",
    ),
];

#[test]
fn accepted_expressions_are_shown_in_normal_form() {
    let vocabulary = example();
    for (scope, text, shown) in ACCEPTED {
        let cnf = parse(&vocabulary, *scope, text).unwrap_or_else(|c| panic!("{text}: {c:?}"));
        assert_eq!(vocabulary.show_cnf(&cnf), *shown, "{text}");
    }
}

/// Text, and all complaints: where, and a piece of what is wrong and how to mend it.
const REFUSED: &[(Scope, &str, &[(usize, &str, &str)])] = &[
    (
        Scope::Facts,
        "request.bytes <= caller.clearance",
        &[(17, "attributes compare only to constants", "constant")],
    ),
    (Scope::Facts, "request.bytes + 1B <= 2B", &[(0, "`+` computes", "result")]),
    (Scope::Facts, "request.bytes <= 2B * 3", &[(20, "`*` computes", "result")]),
    (Scope::Facts, r#"request.path.matches("^/v1")"#, &[(0, "regular expressions", "startsWith")]),
    (Scope::Facts, "request.languages.exists(x, x == 1)", &[(0, "comprehension", "containsAll")]),
    (Scope::Facts, "caller.clearance <= 1e3", &[(0, "float", "write the number out")]),
    (Scope::Facts, "caller.clearance <= 1.5", &[(0, "finer than", "smallest step is 1")]),
    (
        Scope::Facts,
        "request.byte <= 1KiB",
        &[(0, "there is no attribute `request.byte`", "`request.bytes`")],
    ),
    (Scope::Facts, "deterministic", &[(0, "promised by services", "requirement")]),
    (Scope::Promises, "request.bytes <= 1B", &[(0, "fact of request or caller", "demand")]),
    (Scope::Facts, "request.bytes <= 50ms", &[(0, "`50ms` is not a size", "`KiB`")]),
    (Scope::Facts, "request.bytes <= 50", &[(0, "`50` has no unit", "`KiB`")]),
    (Scope::Promises, "retention <= 5", &[(0, "has no unit", "`ms`")]),
    (Scope::Promises, "latency(75ms) <= 1%", &[(0, "not a declared bound", "`50ms`, `100ms`")]),
    (Scope::Promises, "latency <= 1%", &[(0, "does not compare", "(10ms) <= 1%")]),
    (Scope::Promises, "availability >= 101%", &[(0, "no ratio from 0% to 100%", "99.9%")]),
    (Scope::Facts, r#"data.class == "pubic""#, &[(0, "there is no symbol `pubic`", "`public`")]),
    (Scope::Promises, r#"residency.within("europe")"#, &[(0, "there is no region", "`eu`")]),
    (Scope::Promises, r#"residency == "eu""#, &[(0, "nothing is exactly there", ".within")]),
    (Scope::Promises, "retention < 0d", &[(0, "can never hold", "no value is left")]),
    (Scope::Promises, r#"model == "a" && model == "b""#, &[(0, "can never hold", "contradict")]),
    (Scope::Promises, r#"tier == 3"#, &[(0, "not a value of an enum", "bronze")]),
    (Scope::Promises, "deterministic deterministic", &[(14, "side by side", "&&")]),
    (Scope::Promises, "(deterministic", &[(0, "not closed", ")")]),
    (Scope::Promises, "deterministic)", &[(13, "closes nothing", "remove")]),
    (Scope::Promises, "", &[(0, "condition is missing", "attribute")]),
    (Scope::Promises, "true", &[(0, "alone is not a condition", "attribute")]),
    (Scope::Promises, "1% >= latency(100ms)", &[(0, "not with a constant", "left")]),
    (Scope::Facts, r#"request.path == "a"#, &[(16, "not closed", "\"")]),
    (Scope::Facts, r#"request.languages.containsAll([])"#, &[(30, "empty list", "at least one")]),
    (Scope::Facts, r#"request.languages.containsAll("de")"#, &[(30, "takes a list", "[")]),
    (
        Scope::Facts,
        r#"request.byts <= 1B && data.class == "phy" || request.bytes <= 3ms"#,
        &[
            (0, "no attribute", "request.bytes"),
            (22, "no symbol", "phi"),
            (45, "not a size", "KiB"),
        ],
    ),
    (
        Scope::Facts,
        r#"client.version.matches_version("^1.4-rc.1")"#,
        &[(0, "names a pre-release", ">=1.2, <2")],
    ),
];

#[test]
fn every_refusal_names_place_fault_and_mend() {
    let vocabulary = example();
    for (scope, text, expected) in REFUSED {
        let Err(complaints) = parse(&vocabulary, *scope, text) else {
            panic!("{text} is accepted");
        };
        let same = complaints.len() == expected.len()
            && complaints.iter().zip(*expected).all(|(complaint, (offset, what, mend))| {
                complaint.offset == *offset
                    && complaint.what.contains(what)
                    && complaint.mend.contains(mend)
            });
        assert!(same, "{text}: {complaints:#?}");
    }
}

#[test]
fn promises_are_written_as_values_or_as_predicates() {
    let vocabulary = example();
    let text = |text: &str| Written::Text(text.into());
    let list = |items: &[&str]| Written::List(items.iter().map(ToString::to_string).collect());
    let tail =
        |within: &str, except: &str| Written::Tail { within: within.into(), except: except.into() };
    for (name, written, shown) in [
        ("availability", text(">= 99.9%"), "availability >= 99.9%"),
        ("residency", text(r#"within "eu""#), r#"residency.within("eu")"#),
        ("residency", text(r#" within("eu") "#), r#"residency.within("eu")"#),
        ("residency", text("eu-west"), r#"residency.within("eu-west")"#),
        ("retention", text("<= 0d"), "retention == 0ns"),
        ("retention", text("30d"), "retention == 30d"),
        ("deterministic", Written::Bool(true), "deterministic"),
        (
            "latency",
            tail("400ms", "1%"),
            "latency(400ms) <= 1%, latency(1s) <= 1%, latency(5s) <= 1%",
        ),
        (
            "latency",
            tail("300ms", "0.1%"),
            "latency(400ms) <= 0.1%, latency(1s) <= 0.1%, latency(5s) <= 0.1%",
        ),
        ("cost", text("<= 0.25"), "cost <= 0.25"),
        ("cost", Written::Integer(2), "cost == 2"),
        ("tier", text("gold"), r#"tier == "gold""#),
        ("tier", text(r#">= "silver""#), r#"tier >= "silver""#),
        ("model", text("embed-3"), r#"model == "embed-3", model == "embed-3""#),
        ("model", text(r#"in ["a", "b"]"#), r#"model in ["a", "b"], model in ["a", "b"]"#),
        ("model", text(r#"startsWith "a""#), r#"model.startsWith("a")"#),
        (
            "model.version",
            text("1.4.2"),
            r#"model.version.matches_version("=1.4.2"), !model.version.pre"#,
        ),
        (
            "model.version",
            text("matches_version '^1.4'"),
            r#"model.version.matches_version(">=1.4.0, <2.0.0"), !model.version.pre"#,
        ),
        (
            "languages",
            list(&["de", "en"]),
            r#"languages.containsAll(["de"]), languages.containsAll(["en"]), languages.disjoint(["fr"]), languages.disjoint(["ja"])"#,
        ),
        ("purpose", text(r#"disjoint ["training"]"#), r#"purpose.disjoint(["training"])"#),
    ] {
        let promised = promise::parse(&vocabulary, name, &written)
            .unwrap_or_else(|complaints| panic!("{written:?}: {complaints:?}"));
        let parts: Vec<_> =
            promised.iter().map(|(id, set)| vocabulary.show_set(*id, set)).collect();
        assert_eq!(parts.join(", "), shown, "{written:?}");
    }
}

#[test]
fn empty_or_meaningless_promises_are_refused() {
    let vocabulary = example();
    let text = |text: &str| Written::Text(text.into());
    let tail =
        |within: &str, except: &str| Written::Tail { within: within.into(), except: except.into() };
    for (name, written, what) in [
        ("retention", text("< 0d"), "no value"),
        ("retention", text("<= 5"), "no unit"),
        ("availability", text(">= 99.9% && availability <= 1%"), "no value"),
        ("availability", text(">= 99.9% || availability <= 1%"), "one condition"),
        ("retention", text("<= 0d && deterministic"), "speaks of another attribute"),
        ("residency", text(r#"within "eu") && (deterministic"#), "speaks of another attribute"),
        ("latency", tail("10s", "1%"), "above every declared bound"),
        ("latency", tail("50ms", "100%"), "promises nothing"),
        ("latency", text("<= 50ms"), "does not compare"),
        ("latency", Written::Bool(true), "not a latency tail"),
        ("retention", tail("50ms", "1%"), "not a tail"),
        ("request.bytes", text("<= 1B"), "fact of request"),
        ("residancy", text("eu"), "no attribute"),
        ("residency", text("eu"), "nothing is exactly there"),
        ("languages", Written::List(vec!["xx".into()]), "no symbol"),
        ("model", Written::List(vec![]), "no value"),
        ("deterministic", text("yes"), "not a value of a bool"),
        ("model.version", text("1.4.2-rc1"), "pre-release"),
    ] {
        let complaints = promise::parse(&vocabulary, name, &written).unwrap_err();
        assert!(complaints.iter().any(|c| c.what.contains(what)), "{written:?}: {complaints:?}");
    }
}

#[test]
fn a_complaint_about_a_promise_points_into_its_own_text() {
    let vocabulary = example();
    for (name, text, offset) in [
        ("residency", r#"within "eu" && nothing"#, 0),
        ("retention", "  <= 0d && retentoin <= 1d", 11),
        ("retention", "<= 0d && retentoin <= 1d", 9),
    ] {
        let complaints =
            promise::parse(&vocabulary, name, &Written::Text(text.into())).unwrap_err();
        assert!(complaints.iter().all(|c| c.offset + c.length <= text.len()), "{complaints:?}");
        if offset > 0 {
            assert_eq!(complaints[0].offset, offset, "{complaints:?}");
        }
    }
}
