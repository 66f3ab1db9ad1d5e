//! Policy through the real binary: who is let through, what is told of it, what it makes of a call.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use serde_json::Value as Json;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use support::origin::Origin;
use support::strict::{self, Response};
use support::{Gateway, PATIENCE, Scratch, Wire, eventually, h2};

/// Callers are told apart by the loopback address that they call from; from any other they are
/// anonymous.
const CALLERS: &str = r#"
[[callers]]
id = "team/nurse"
networks = ["127.0.0.2/32"]
facts = { "caller.clearance" = 3 }

[[callers]]
id = "team/clerk"
networks = ["127.0.0.3/32"]
"#;

const NURSE: &str = "127.0.0.2";
const CLERK: &str = "127.0.0.3";
const STRANGER: &str = "127.0.0.9";

const ATTRIBUTES: &str = r#"
[[attributes]]
name = "data.class"
side = "request"
type = "enum"
symbols = ["public", "internal", "phi"]
ordered = true
source = "header:x-data-class"

[[attributes]]
name = "caller.clearance"
side = "caller"
type = "int"

[[attributes]]
name = "region"
side = "promise"
type = "region"
tree = { eu = { de = {}, fr = {} }, us = {} }
"#;

/// Two services of one capability, one promising to stay in the EU; a route whose policy is only
/// told of.
fn world(origin: SocketAddr, trail: &Path, more: &str) -> String {
    let service = |id: &str, tier: u8, promise: &str| {
        format!(
            r#"
[[services]]
endpoints = ["{origin}"]
tier = {tier}
[services.contract]
contract = "caio/1"
service = "{id}"
version = "1.0.0"
[[services.contract.offers]]
capability = "records.read/1"
interface = {{ http = ["* /*"] }}
[[services.contract.offers.promises]]
{promise}
"#
        )
    };
    let (eu, us) = (r#"region = 'within "eu"'"#, r#"region = 'within "us"'"#);
    format!(
        r#"config = "caio/1"
vocabulary = "vocabulary.toml"

[process]
workers = 1

[[listeners]]
address = "127.0.0.1:0"

[audit]
directory = "{}"
{}{}
[[routes]]
id = "trial"
host = "trial.example"
operation = "* /*"
capability = "records.read/1"
policy = "shadow"
{CALLERS}{more}"#,
        trail.display(),
        service("store.eu", 1, eu),
        service("store.us", 0, us),
    )
}

fn vocabulary() -> String {
    format!("{}{ATTRIBUTES}", support::VOCABULARY)
}

fn start(origin: &Origin, trail: &Path, policies: &str) -> Gateway {
    let caio = world(origin.address, trail, policies);
    Gateway::start_on(&[("caio.toml", &caio), ("vocabulary.toml", &vocabulary())])
}

fn get(gateway: &Gateway, from: &str, fields: &str) -> Response {
    get_of(gateway, from, "a", fields)
}

fn get_of(gateway: &Gateway, from: &str, host: &str, fields: &str) -> Response {
    let source: IpAddr = from.parse().unwrap();
    let mut wire = Wire::connect_from(gateway.address, source);
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
    assert!(wire.send(request.as_bytes()));
    let whole = |bytes: &[u8]| strict::responses(bytes).is_ok_and(|all| !all.is_empty());
    let (bytes, _) = wire.read_until(PATIENCE, whole);
    strict::responses(&bytes).unwrap().remove(0)
}

fn problem(response: &Response) -> Json {
    serde_json::from_slice(&response.body).unwrap()
}

/// Refused by policy, with this detail.
fn assert_forbidden(response: &Response, detail: &str) {
    assert_eq!(response.status, 403, "{}", String::from_utf8_lossy(&response.body));
    let problem = problem(response);
    assert_eq!(problem["detail"], detail, "{problem}");
    assert!(problem.to_string().contains("policy.forbidden"), "{problem}");
    assert!(!problem.to_string().contains("store."), "no service is told of: {problem}");
}

fn caio(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_caio")).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Ends the gateway; the trail is then whole, right, and decided again alike.
fn verified(mut gateway: Gateway, trail: &Path) {
    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let check = Command::new(env!("CARGO_BIN_EXE_caio-check")).arg(trail).output().unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    assert_eq!(check.status.code(), Some(0), "{said}");
    let trail = trail.to_str().unwrap();
    let (code, out, err) = caio(&["audit", "replay", "-t", trail]);
    assert_eq!(code, 0, "{out}{err}");
}

/// What was recorded, oldest first.
fn recorded(trail: &Path, filters: &[&str]) -> Vec<Json> {
    let trail = trail.to_str().unwrap();
    let (code, out, err) = caio(&[&["audit", "query", "--json", "-t", trail], filters].concat());
    assert_eq!(code, 0, "{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const RULES: &str = r#"
[[policies]]
id = "clerks-read-what-is-not-phi"
effect = "permit"
callers = ["team/clerk"]
when = 'data.class != "phi"'

[[policies]]
id = "nurses-read"
effect = "permit"
callers = ["team/nurse"]
capabilities = ["records.*"]
when = 'caller.clearance >= 2'

[[policies]]
id = "phi-stays-in-the-eu"
effect = "forbid"
reason = "what the law asks"
when = 'data.class == "phi"'
service = '!region.within("eu")'
"#;

#[test]
fn who_is_permitted_gets_through_and_everyone_else_is_refused_by_the_rule_on_record() {
    let (origin, trail) = (Origin::echo(), Scratch::new());
    let gateway = start(&origin, trail.path(), RULES);
    let chosen = |response: &Response| {
        assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
        let decision = response.field("caio-decision").unwrap().to_owned();
        assert!(!decision.contains("override"), "{decision}");
        decision.split("service=").nth(1).unwrap().to_owned()
    };
    let public = "X-Data-Class: public\r\n";
    let phi = "X-Data-Class: phi\r\n";
    assert_eq!(chosen(&get(&gateway, NURSE, public)), "store.us", "the lower tier");
    assert_eq!(chosen(&get(&gateway, NURSE, phi)), "store.eu", "the other is forbidden");
    assert_eq!(chosen(&get(&gateway, CLERK, public)), "store.us");
    assert_forbidden(&get(&gateway, CLERK, phi), "rule `phi-stays-in-the-eu` forbids it");
    assert_forbidden(&get(&gateway, STRANGER, public), "no rule permits it");
    // What is unknown permits nothing and is forbidden like the worst: absent, or given twice.
    for unknown in ["", "X-Data-Class: public\r\nX-Data-Class: public\r\n"] {
        assert_eq!(chosen(&get(&gateway, NURSE, unknown)), "store.eu");
        let clerk = get(&gateway, CLERK, unknown);
        assert_forbidden(&clerk, "rule `phi-stays-in-the-eu` forbids it");
    }
    // What is no value of the vocabulary is refused, and never taken for unknown.
    let malformed = get(&gateway, NURSE, "X-Data-Class: PHI\r\n");
    assert_eq!(malformed.status, 400);
    // A header of ours from a caller says nothing of who calls.
    let claims = "X-Data-Class: public\r\nCAIO-Caller: team/nurse\r\nX-Caller: team/nurse\r\n";
    assert_forbidden(&get(&gateway, STRANGER, claims), "no rule permits it");
    let told = gateway.folder().join("caio.toml");
    let explain = |args: &[&str]| {
        let base = ["explain", "--json", "-c", told.to_str().unwrap()];
        let (_, out, err) = caio(&[&base[..], args, &["http://a/"]].concat());
        serde_json::from_str::<Json>(&out).unwrap_or_else(|_| panic!("{out}{err}"))
    };
    let nurse = explain(&["--caller", "team/nurse", "-H", "X-Data-Class: phi"]);
    let of = |told: &Json, service: &str| {
        let all = told["candidates"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["service"] == service).unwrap()
    };
    assert_eq!(of(&nurse, "store.eu")["rule"], "nurses-read");
    assert_eq!(of(&nurse, "store.us")["rule"], "phi-stays-in-the-eu");
    assert_eq!(of(&nurse, "store.us")["failure"]["stage"], "permit");
    let stranger = explain(&["--caller", "team/nurse-2", "--fact", "caller.clearance=9"]);
    assert_eq!(stranger["refused"]["stage"], "permit");
    verified(gateway, trail.path());
    let count = |filters: &[&str]| recorded(trail.path(), filters).len();
    assert_eq!(count(&["--rule", "nurses-read", "--method", "network"]), 4);
    assert_eq!(count(&["--rule", "phi-stays-in-the-eu"]), 3);
    assert_eq!(count(&["--rule", "default", "--verdict", "deny"]), 2);
    assert_eq!((count(&["--rule", "nobodys"]), count(&["--method", "jwt"])), (0, 0));
    let denied = recorded(trail.path(), &["--rule", "default"]);
    assert_eq!(
        (&denied[0]["stage"], &denied[0]["reason"]),
        (&"permit".into(), &"policy.forbidden".into())
    );
    let id = denied[0]["id"].as_str().unwrap();
    let directory = trail.path().to_str().unwrap();
    let (_, out, _) = caio(&["explain", "-t", directory, id]);
    assert!(out.contains("no   permit: no rule permits it"), "{out}");
    let (_, out, _) = caio(&["audit", "show", "-t", directory, id]);
    assert!(out.contains("none permits it"), "{out}");
}

#[test]
fn obligations_replace_what_a_caller_sends_in_both_versions_of_http() {
    let policies = r#"
[[policies]]
id = "all"
effect = "permit"
set = { "x-tenant" = "clinic", "x-purpose" = "care" }
remove = ["x-debug", "authorization"]
audit = { payload = "digests", fields = ["x-note"] }
"#;
    let (origin, trail) = (Origin::echo(), Scratch::new());
    let gateway = start(&origin, trail.path(), policies);
    let sent = "X-Tenant: mine\r\nx_tenant: mine\r\nX-Debug: 1\r\nAuthorization: Basic eDp5\r\n\
                X-Note: kept\r\nX-Other: stays\r\n";
    assert_eq!(get(&gateway, CLERK, sent).status, 200);
    // Trailers must not say what fields may not.
    let mut wire = Wire::connect(gateway.address);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
                   Trailer: X-Tenant\r\n\r\n2\r\nok\r\n0\r\nX-Tenant: mine\r\nX-Sum: 1\r\n\r\n";
    assert!(wire.send(chunked.as_bytes()));
    let whole = |bytes: &[u8]| strict::responses(bytes).is_ok_and(|all| !all.is_empty());
    wire.read_until(PATIENCE, whole);
    let mut connection = h2::Connection::open(gateway.address);
    let fields = [("x-tenant", "mine"), ("x-debug", "1"), ("x-note", "kept"), ("x-other", "stays")];
    assert!(connection.call(1, &h2::head("GET", "/", &fields)));
    drop((wire, connection));
    let requests = origin.requests();
    assert_eq!(requests.len(), 3);
    for (at, request) in requests.iter().enumerate() {
        let named = |name: &str| -> Vec<&str> {
            let same = |other: &str| other.eq_ignore_ascii_case(name);
            let all = request.fields.iter().filter(|(other, _)| same(other));
            all.map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!((named("x-tenant"), named("x-purpose")), (vec!["clinic"], vec!["care"]), "{at}");
        for gone in ["x_tenant", "x-debug", "authorization"] {
            assert!(named(gone).is_empty(), "{at}: {gone}");
        }
        assert_eq!(named("x-other").len(), usize::from(at != 1), "{at}");
    }
    assert!(!origin.has_seen(b"X-Sum") && !origin.has_seen(b"mine"), "trailers are not passed on");
    verified(gateway, trail.path());
    let told = recorded(trail.path(), &["--caller", "team/clerk"]);
    let directory = trail.path().to_str().unwrap();
    let (_, out, _) = caio(&["audit", "show", "-t", directory, told[0]["id"].as_str().unwrap()]);
    assert!(out.contains("x-note: kept"), "the rule's depth is the deepest: {out}");
}

#[test]
fn what_is_only_told_of_refuses_nobody_and_the_report_counts_it_by_rule() {
    let policies = r#"
[[policies]]
id = "all"
effect = "permit"

[[policies]]
id = "no-clerks"
effect = "forbid"
mode = "shadow"
callers = ["team/clerk"]

[[policies]]
id = "no-strangers"
effect = "forbid"
callers = ["anonymous"]
"#;
    let (origin, trail) = (Origin::echo(), Scratch::new());
    let gateway = start(&origin, trail.path(), policies);
    assert_eq!(get(&gateway, CLERK, "").status, 200);
    assert_eq!(get(&gateway, NURSE, "").status, 200);
    assert_forbidden(&get(&gateway, STRANGER, ""), "rule `no-strangers` forbids it");
    // On a route whose policy is only told of, what is enforced elsewhere is told of too.
    let trial = |from: &str| get_of(&gateway, from, "trial.example", "").status;
    assert_eq!((trial(STRANGER), trial(CLERK), trial(NURSE)), (200, 200, 200));
    verified(gateway, trail.path());
    let shadows: Vec<Json> =
        recorded(trail.path(), &[]).iter().map(|it| it["shadow"].clone()).collect();
    let forbids = ["no-clerks".into(), Json::Null, Json::Null, "no-strangers".into()];
    assert_eq!(shadows[..4], forbids);
    assert_eq!(shadows[4..], ["no-clerks".into(), Json::Null]);
    let directory = trail.path().to_str().unwrap();
    let (code, out, err) = caio(&["policy", "report", "--json", "--trail", directory]);
    assert_eq!(code, 0, "{err}");
    let told: Json = serde_json::from_str(&out).unwrap();
    let counts: Vec<(String, [u64; 4])> = told["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            let count = |name: &str| rule[name].as_u64().unwrap();
            let counts = ["permitted", "forbidden", "would_refuse", "callers"].map(count);
            (rule["rule"].as_str().unwrap().to_owned(), counts)
        })
        .collect();
    let expected =
        [("all", [2, 0, 0, 2]), ("no-clerks", [0, 0, 2, 1]), ("no-strangers", [0, 1, 1, 1])];
    assert_eq!(counts, expected.map(|(rule, counts)| (rule.to_owned(), counts)));
    let (_, out, _) = caio(&["policy", "report", "-t", directory]);
    let line = out.lines().find(|line| line.starts_with("no-clerks")).unwrap();
    assert!(line.contains("shadow"), "{out}");
}

fn utc(from_now: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    caio::wire::date::utc(now.saturating_add_signed(from_now))
}

#[test]
fn an_override_beats_a_forbid_until_it_ends_and_is_never_silent() {
    let over = |expires: &str| {
        format!(
            r#"
[[policies]]
id = "nobody"
effect = "forbid"

[[overrides]]
id = "fire"
callers = ["team/nurse"]
reason = "the ward is on fire"
owner = "head of the ward"
expires = "{expires}"
"#
        )
    };
    let (origin, trail) = (Origin::echo(), Scratch::new());
    let mut gateway = start(&origin, trail.path(), &over(&utc(3600)));
    let through = get(&gateway, NURSE, "");
    let decision = through.field("caio-decision").unwrap().to_owned();
    assert!(through.status == 200 && decision.ends_with("; override=fire"), "{decision}");
    assert_forbidden(&get(&gateway, CLERK, ""), "rule `nobody` forbids it");
    // The same file once the override has ended: it is left out, and that is told.
    let file = gateway.folder().join("caio.toml");
    let ended = world(origin.address, trail.path(), &over(&utc(-60)));
    std::fs::write(&file, ended).unwrap();
    gateway.reload();
    eventually("the override is gone", || get(&gateway, NURSE, "").status == 403);
    gateway.tells("override `fire` ended at ");
    let (code, out, _) = caio(&["check", "-c", file.to_str().unwrap()]);
    assert!(code == 0 && out.contains("override `fire` ended at "), "{out}");
    let far = world(origin.address, trail.path(), &over(&utc(31 * 86_400)));
    std::fs::write(&file, far).unwrap();
    let (code, _, err) = caio(&["check", "-c", file.to_str().unwrap()]);
    assert!(code == 1 && err.contains("ends more than 30 days from now"), "{err}");
    gateway.assert_sound();
    verified(gateway, trail.path());
    // As often as it was asked before the change held.
    let told = recorded(trail.path(), &["--rule", "fire"]);
    assert_eq!((&told[0]["override"], &told[0]["caller"]), (&true.into(), &"team/nurse".into()));
    let directory = trail.path().to_str().unwrap();
    let id = told[0]["id"].as_str().unwrap();
    let (_, out, _) = caio(&["explain", "-t", directory, id]);
    assert!(out.contains("override `fire` lets it through"), "{out}");
    // The whole header's value names the decision.
    let (code, out, err) = caio(&["audit", "show", "-t", directory, &decision]);
    assert!(code == 0 && out.contains("override fire lets it through"), "{out}{err}");
}

#[test]
fn without_policy_everyone_may_and_the_start_says_so() {
    let (origin, trail) = (Origin::echo(), Scratch::new());
    let gateway = start(&origin, trail.path(), "");
    let open = "no policy: everyone may call everything";
    assert_eq!(gateway.said().matches(open).count(), 1, "{}", gateway.said());
    assert_eq!(get(&gateway, STRANGER, "").status, 200);
    let file = gateway.folder().join("caio.toml");
    let (_, out, _) = caio(&["check", "-c", file.to_str().unwrap()]);
    assert_eq!(out.matches(open).count(), 1, "{out}");
    let denied = world(origin.address, trail.path(), "[policy]\ndefault = \"deny\"\n");
    std::fs::write(&file, denied).unwrap();
    gateway.reload();
    eventually("nobody may", || get(&gateway, STRANGER, "").status == 403);
    let (_, out, _) = caio(&["check", "-c", file.to_str().unwrap()]);
    assert!(!out.contains("everyone may"), "{out}");
    verified(gateway, trail.path());
}

#[test]
fn a_caller_whose_word_decides_nothing_cannot_borrow_anothers_name() {
    let (origin, trail) = (Origin::echo(), Scratch::new());
    let gateway = start(&origin, trail.path(), RULES);
    for fields in [
        "X-Forwarded-For: 127.0.0.2\r\n",
        "Forwarded: for=127.0.0.2\r\n",
        "X-Real-IP: 127.0.0.2\r\n",
        "X-Client-Cert: team/nurse\r\n",
        "CAIO-Decision: w0-1; override=fire\r\n",
        "X-Forwarded-Client-Cert: By=team/nurse\r\n",
    ] {
        let public = format!("X-Data-Class: public\r\n{fields}");
        assert_forbidden(&get(&gateway, STRANGER, &public), "no rule permits it");
    }
    assert!(origin.requests().is_empty());
    verified(gateway, trail.path());
}

/// Bad input, row 11: no policy that is missing, wrong or unreadable ever opens anything.
#[test]
fn a_policy_that_is_missing_or_wrong_opens_nothing() {
    let (origin, trail) = (Origin::echo(), Scratch::new());
    let rules = format!("include = [\"rules.toml\"]\n{RULES}");
    let (include, rules) = rules.split_once('\n').unwrap();
    let rules = format!("config = \"caio/1\"\n{rules}");
    let caio = world(origin.address, trail.path(), "");
    let caio = caio.replacen("vocabulary = ", &format!("{include}\nvocabulary = "), 1);
    let files = [("caio.toml", &*caio), ("vocabulary.toml", &vocabulary()), ("rules.toml", &rules)];
    let gateway = Gateway::start_on(&files);
    let public = "X-Data-Class: public\r\n";
    let refused = || assert_forbidden(&get(&gateway, STRANGER, public), "no rule permits it");
    refused();
    let file = gateway.folder().join("rules.toml");
    let process_file = gateway.folder().join("caio.toml");
    let half = &rules[..rules.len() / 2];
    let negated = rules.replace("data.class == \"phi\"", "data.class ==");
    let permitted = rules.replace("effect = \"forbid\"", "effect = \"allow\"");
    for wrong in [None, Some(half), Some("\0"), Some(&negated), Some(&permitted)] {
        match wrong {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let told = gateway.said().matches("nothing was changed").count();
        gateway.reload();
        eventually("the fault is told", || {
            gateway.said().matches("nothing was changed").count() > told
        });
        refused();
        assert_eq!(get(&gateway, NURSE, public).status, 200, "what was sound goes on");
        // What runs may go on; what starts does not start.
        assert_eq!(caio_code(&["check", "-c", process_file.to_str().unwrap()]), 1);
    }
    verified(gateway, trail.path());
}

fn caio_code(args: &[&str]) -> i32 {
    caio(args).0
}

/// Bad input, row 37: conditions have no patterns that could take long, and a text is read once.
#[test]
fn hostile_texts_are_weighed_in_a_bounded_time_and_permit_nothing() {
    let (origin, trail) = (Origin::echo(), Scratch::new());
    let gateway = start(&origin, trail.path(), RULES);
    for text in ["a".repeat(8000), "*".repeat(4000), "(a+)+$".repeat(500), "\u{e9}".repeat(2000)] {
        let clerk = get(&gateway, CLERK, &format!("X-Data-Class: {text}\r\n"));
        assert_eq!(clerk.status, 400, "{}", String::from_utf8_lossy(&clerk.body));
    }
    assert!(origin.requests().is_empty());
    verified(gateway, trail.path());
}

#[test]
fn the_example_that_is_shipped_starts_and_does_what_its_text_says() {
    let origin = Origin::echo();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let address = origin.address.to_string();
    let caio = read("example/governed.toml")
        .replace("../vocabulary.toml", "vocabulary.toml")
        .replace("contracts/", "")
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:9101", &address)
        .replace("127.0.0.1:9201", &address);
    let files = [
        ("caio.toml", caio.as_str()),
        ("vocabulary.toml", &read("vocabulary.toml")),
        ("embed-eu.toml", &read("example/contracts/embed-eu.toml")),
        ("embed-us.toml", &read("example/contracts/embed-us.toml")),
    ];
    let mut gateway = Gateway::start_on(&files);
    let post = |from: &str, class: &str| {
        let mut wire = Wire::connect_from(gateway.address, from.parse().unwrap());
        let request = format!(
            "POST /v1/embed HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nX-Data-Class: {class}\r\n\
             X-Debug: 1\r\n\r\nx"
        );
        assert!(wire.send(request.as_bytes()));
        let whole = |bytes: &[u8]| strict::responses(bytes).is_ok_and(|all| !all.is_empty());
        let (bytes, _) = wire.read_until(PATIENCE, whole);
        strict::responses(&bytes).unwrap().remove(0)
    };
    let chosen = |response: Response| {
        assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
        response.field("caio-decision").unwrap().split("service=").nth(1).unwrap().to_owned()
    };
    assert_eq!(chosen(post(NURSE, "phi")), "nme.embed-eu");
    assert_eq!(chosen(post(CLERK, "public")), "nme.embed-us");
    assert_eq!(post(CLERK, "phi").status, 403);
    assert_eq!(post(STRANGER, "public").status, 403);
    let requests = origin.requests();
    assert!(requests.iter().all(|it| it.field("x-tenant") == Some("teams")));
    assert!(requests.iter().all(|it| it.field("x-debug").is_none()));
    gateway.assert_sound();
}
