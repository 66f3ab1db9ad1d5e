//! Statements as operators write them, over the vocabulary that ships with the program.

use caio::cli::loading::{Loaded, load_at};
use caio::config::MemoryFiles;
use caio::prover::{Failure, Question, Report, prove};
use std::path::Path;

const VOCABULARY: &str = include_str!("../../../config/vocabulary.toml");

/// Two services of one capability, in Europe and in the United States.
const TWO: &str = r#"config = "caio/1"
vocabulary = "vocabulary.toml"

[[services]]
endpoints = ["127.0.0.1:9001"]
[services.contract]
service = "eu"
version = "1.0.0"
[[services.contract.offers]]
capability = "embed.text/1"
interface = { http = ["POST /v1/embed"] }
demands = { size = 'request.bytes <= 1MiB' }
[[services.contract.offers.promises]]
residency = 'within "eu"'

[[services]]
endpoints = ["127.0.0.1:9002"]
[services.contract]
service = "us"
version = "1.0.0"
[[services.contract.offers]]
capability = "embed.text/1"
interface = { http = ["POST /v1/embed"] }
demands = { size = 'request.bytes <= 8MiB' }
[[services.contract.offers.promises]]
residency = 'within "us"'
"#;

fn loaded(more: &str) -> Loaded {
    let text = format!("{TWO}{more}");
    let files = [("caio.toml", text.as_bytes()), ("vocabulary.toml", VOCABULARY.as_bytes())];
    let files: MemoryFiles = files.into_iter().collect();
    let loaded = load_at(&files, Path::new("caio.toml"), 1_795_000_000);
    loaded.unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn report(more: &str) -> Report {
    let loaded = loaded(more);
    prove(&Question {
        snapshot: &loaded.snapshot,
        invariants: &loaded.configuration.invariants,
        strangers: false,
        only: None,
    })
}

/// The failures of the first statement.
fn stated(more: &str) -> Vec<Failure> {
    let report = report(more);
    let row = report.rows.iter().find(|row| row.stated).unwrap();
    assert_eq!(report.is_refused(), !row.failures.is_empty(), "{report:#?}");
    row.failures.clone()
}

const PHI: &str = r#"
[[prove]]
id = "phi"
never = 'data.class == "phi" && !service.residency.within("eu")'
"#;

#[test]
fn a_statement_that_does_not_hold_is_shown_by_a_request() {
    let failures = stated(PHI);
    let [failure] = failures.as_slice() else { panic!("{failures:#?}") };
    assert_eq!(failure.service.as_deref(), Some("us"));
    assert!(failure.what.contains("promises `residency.within(\"us\")`"), "{}", failure.what);
    let line = failure.request.as_ref().unwrap().curl("http://127.0.0.1:8080");
    assert_eq!(
        line,
        "curl -sS -X POST --path-as-is --connect-to ::127.0.0.1:8080 -H 'x-data-class: phi' \
         http://x.example/v1/embed"
    );
}

#[test]
fn contracts_requirements_rules_and_routes_each_can_make_a_statement_hold() {
    let demand = TWO.replace(
        "size = 'request.bytes <= 8MiB'",
        "size = 'request.bytes <= 8MiB', class = 'data.class in [\"public\", \"internal\"]'",
    );
    assert_ne!(demand, TWO);
    let held = |more: &str| stated(&format!("{PHI}{more}")).is_empty();
    assert!(!held(""));
    // What is bound to the operation, for everyone.
    let bound = "[[requirements]]\nid = \"stay\"\nroute = \"POST /v1/embed\"\n\
                 needs = ['residency.within(\"eu\")']\n";
    assert!(held(bound));
    // For other callers only, it does not help; nor on another operation.
    assert!(!held(&bound.replace("route = \"POST /v1/embed\"", "caller = \"team/\"")));
    assert!(!held(&bound.replace("POST", "GET")));
    // An operator's route in the place of the contract's own.
    let route = "[[routes]]\nid = \"r\"\noperation = \"POST /v1/embed\"\n\
                 capability = \"embed.text/1\"\nneeds = ['residency.within(\"eu\")']\n";
    assert!(held(route));
    // At one host only, the contract's own is left at all others.
    assert!(!held(&route.replace("\"r\"\n", "\"r\"\nhost = \"a.example\"\n")));
    // A rule.
    let forbid = "[[policies]]\nid = \"all\"\neffect = \"permit\"\n[[policies]]\nid = \"no\"\n\
                  effect = \"forbid\"\nservices = [\"us\"]\nwhen = 'data.class == \"phi\"'\n";
    assert!(held(forbid));
    assert!(!held(&forbid.replace("forbid\"\n", "forbid\"\nmode = \"shadow\"\n")));
    assert!(!held(&forbid.replace("\"us\"", "\"eu\"")));
    // Callers that are meant.
    let whose =
        "callers = [\"team/*\"]\n[[callers]]\nid = \"team/a\"\nnetworks = [\"10.0.0.0/8\"]\n";
    let bound = bound.replace("route = \"POST /v1/embed\"", "caller = \"team/\"");
    assert!(held(&format!("{whose}{bound}")));
    let failures = stated(&format!("{PHI}{whose}"));
    let request = failures[0].request.as_ref().unwrap();
    assert_eq!(request.caller, "team/a");
    assert!(request.curl("x").ends_with("# as team/a, from 10.0.0.0/8"), "{}", request.curl("x"));
    // Of another operation nothing is said.
    assert!(held("operation = \"GET /v1/embed\"\n"));
    assert!(!held("operation = \"POST /v1/*\"\n"));
}

#[test]
fn a_class_is_covered_as_far_as_services_take_its_requests() {
    let class = |statement: &str| {
        format!("\n[[prove]]\nid = \"c\"\noperation = \"POST /v1/embed\"\n{statement}\n")
    };
    assert!(stated(&class("covered = 'request.bytes <= 8MiB'")).is_empty());
    assert!(stated(&class("services = 2\nof = 'request.bytes <= 1MiB'")).is_empty());
    // One byte more, and only one of them takes it.
    let failures = stated(&class("services = 2\nof = 'request.bytes <= 1048577B'"));
    assert!(failures[0].what.contains("only 1 of 2 services"), "{failures:#?}");
    assert_eq!(failures[0].request.as_ref().unwrap().body_bytes, Some(1_048_577));
    let failures = stated(&class("covered = 'request.bytes <= 9MiB'"));
    assert_eq!(failures[0].request.as_ref().unwrap().body_bytes, Some((8 << 20) + 1));
    // A request whose length nobody knows is one of all requests.
    let failures = stated(&class("covered = true"));
    assert!(failures[0].what.contains("no service"), "{failures:#?}");
    assert!(failures[0].request.as_ref().unwrap().body_bytes.is_none_or(|it| it > 8 << 20));
    // Of nobody nothing is known.
    let failures = stated(&class("covered = true\ncallers = [\"nobody\"]"));
    assert!(failures[0].unknown && failures[0].what.contains("no caller"), "{failures:#?}");
    // Other ways in.
    let failures = stated("\n[[prove]]\nid = \"c\"\ncovered = 'request.bytes <= 1MiB'\n");
    assert!(failures[0].what.contains("no route"), "{failures:#?}");
    let paths = |path: &str| {
        format!(
            "\n[[prove]]\nid = \"c\"\ncovered = 'request.method == \"POST\" && {path} && \
             request.bytes <= 1MiB'\n"
        )
    };
    assert!(stated(&paths("request.path == \"/v1/embed\"")).is_empty());
    let failures = stated(&paths("request.path in [\"/v1/embed\", \"/v1/chat\"]"));
    assert_eq!(failures[0].request.as_ref().unwrap().path, "/v1/chat", "{failures:#?}");
}

#[test]
fn what_cannot_be_kept_asked_for_or_reached_is_found() {
    let offer = |demands: &str, promises: &str| {
        format!(
            "\n[[services]]\nendpoints = [\"127.0.0.1:9003\"]\n[services.contract]\n\
             service = \"odd\"\nversion = \"1.0.0\"\n[[services.contract.offers]]\n\
             capability = \"odd/1\"\ninterface = {{ http = [\"GET /odd\"] }}\n{demands}\n{promises}"
        )
    };
    let row = |report: &Report, name: &str| {
        report.rows.iter().find(|row| row.name == name).unwrap().clone()
    };
    let mode = |when: &str, residency: &str| {
        format!(
            "[[services.contract.offers.promises]]\nwhen = '{when}'\n\
             residency = 'within \"{residency}\"'\n"
        )
    };
    let both = mode("request.bytes <= 2KiB", "eu") + &mode("request.bytes >= 1KiB", "us");
    let found = report(&offer("", &both));
    assert!(found.is_refused());
    let failures = row(&found, "promises").failures;
    assert_eq!(failures[0].subject, "service `odd`");
    assert!(failures[0].what.contains("contradict each other where request.bytes"), "{failures:?}");
    // The same, where no request has both.
    let apart = mode("request.bytes < 1KiB", "eu") + &mode("request.bytes >= 1KiB", "us");
    assert!(!report(&offer("", &apart)).is_refused());
    let asked = "demands = { a = 'request.bytes > 4KiB', b = 'request.bytes < 1KiB' }";
    let found = report(&offer(asked, ""));
    assert!(found.is_refused());
    assert_eq!(row(&found, "demands").failures.len(), 1);
    // Nobody has this clearance.
    let found = report(&offer("demands = { who = 'caller.clearance >= 3' }", ""));
    assert!(!found.is_refused());
    let failures = row(&found, "offers").failures;
    assert_eq!((failures.len(), failures[0].subject.as_str()), (1, "service `odd`"));
    // An operator's route takes what another contract's operation would.
    let route = "[[routes]]\nid = \"other\"\noperation = \"GET /odd\"\n\
                 capability = \"embed.text/1\"\n";
    let found = report(&format!("{}{route}", offer("", "")));
    let failures = row(&found, "routes").failures;
    assert_eq!(failures.len(), 1, "{failures:#?}");
    assert_eq!(failures[0].subject, "route `GET /odd`");
    assert!(failures[0].what.contains("are taken by route `other`"), "{failures:#?}");
    assert!(row(&report(""), "routes").failures.is_empty());
}

/// A service in the United States, by its own operations.
fn us(id: &str, capability: &str, operations: &[&str]) -> String {
    let operations: Vec<String> = operations.iter().map(|it| format!("{it:?}")).collect();
    let operations = operations.join(", ");
    format!(
        "\n[[services]]\nendpoints = [\"127.0.0.1:9003\"]\n[services.contract]\n\
         service = {id:?}\nversion = \"1.0.0\"\n[[services.contract.offers]]\n\
         capability = {capability:?}\ninterface = {{ http = [{operations}] }}\n\
         [[services.contract.offers.promises]]\nresidency = 'within \"us\"'\n"
    )
}

const ALL_IN_EUROPE: &str = r#"
[[prove]]
id = "eu"
operation = "POST /f/*"
never = '!service.residency.within("eu")'
"#;

#[test]
fn a_way_that_more_specific_ways_take_only_a_part_of_is_a_way() {
    let shown = |more: &str| {
        let failures = stated(&format!("{ALL_IN_EUROPE}{more}"));
        let [failure] = failures.as_slice() else { panic!("it is said to hold: {more}") };
        assert!(!failure.unknown, "{failure:?}");
        failure.request.clone().unwrap().path
    };
    let files = us("files", "files/1", &["POST /f/*"]);
    let eu = |id: &str, operations: &[&str]| {
        us(id, &format!("{id}/1"), operations).replace("within \"us\"", "within \"eu\"")
    };
    assert_eq!(shown(&files), "/f/x");
    // A template takes one segment, and not what is below it.
    let path = shown(&format!("{files}{}", eu("one", &["POST /f/{id}"])));
    assert!(path.split('/').count() > 3, "{path}");
    // Names that are guessed.
    let guessed = eu("one", &["POST /f/x", "POST /f/caio-proves-0f3a", "POST /f/{id}"]);
    shown(&format!("{files}{guessed}"));
    // A requirement that holds for a part of it.
    let bound = "[[requirements]]\nid = \"stay\"\nroute = \"POST /f/{id}\"\n\
                 needs = ['residency.within(\"eu\")']\n";
    shown(&format!("{files}{bound}"));
    // A host of which the name for people is.
    let host = "[[routes]]\nid = \"r\"\nhost = \"*.example\"\noperation = \"POST /f/*\"\n\
                capability = \"one/1\"\n";
    shown(&format!("{files}{}{host}", eu("one", &["POST /one"])));
    // All of it is taken.
    let held = format!("{ALL_IN_EUROPE}{files}{}", eu("one", &["POST /one"]));
    let whole = "[[routes]]\nid = \"r\"\noperation = \"POST /f/*\"\ncapability = \"one/1\"\n";
    let failures = stated(&format!("{held}{whole}"));
    assert!(failures.iter().all(|it| it.request.is_some()), "{failures:?}");
}

#[test]
fn a_class_is_not_covered_by_routes_that_take_its_first_level_or_some_hosts() {
    let class = |more: &str| {
        let covered = "\n[[prove]]\nid = \"c\"\noperation = \"GET /f/*\"\ncovered = true\n";
        stated(&format!("{covered}{more}"))
    };
    assert_eq!(class(&us("files", "files/1", &["GET /f/*"])), []);
    assert_ne!(class(&us("files", "files/1", &["GET /f/{id}"])), []);
    let host = "[[routes]]\nid = \"r\"\nhost = \"*.example\"\noperation = \"GET /f/*\"\n\
                capability = \"files/1\"\n";
    assert_ne!(class(&format!("{}{host}", us("files", "files/1", &["GET /files"]))), []);
}

#[test]
fn what_a_hook_states_of_a_caller_is_not_what_is_configured_of_it() {
    let never = "\n[[prove]]\nid = \"n\"\nnever = 'caller.clearance >= 3 && \
                 !service.residency.within(\"eu\")'\n";
    let callers = "[[callers]]\nid = \"team/a\"\nnetworks = [\"10.0.0.0/8\"]\n\
                   facts = { caller.clearance = 1 }\n";
    let never = format!("{never}{callers}");
    assert_eq!(stated(&never), []);
    let hook = "[[hooks]]\nid = \"h\"\nkind = \"grpc\"\nendpoints = [\"127.0.0.1:9191\"]\n";
    assert_eq!(stated(&format!("{never}{hook}")), []);
    let states = format!("{hook}facts = {{ caller.clearance = \"metadata:clearance\" }}\n");
    assert_ne!(stated(&format!("{never}{states}")), []);
}
