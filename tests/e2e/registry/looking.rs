//! Callers who look for services before they call, on an address of callers.

use crate::client::{Answer, Control, answered, process_file, service, verified};
use crate::support::{Gateway, Scratch, VOCABULARY, eventually, exchange, nowhere};
use crate::{PROMISING, changes, naive_agrees, saying};
use serde_json::{Value as Json, json};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

const PROMISE: &str =
    "\n[[attributes]]\nname = \"deterministic\"\nside = \"promise\"\ntype = \"bool\"\n";

/// A gateway that offers it, with rules and a trail.
fn offering(rules: &str, trail: &Scratch) -> Gateway {
    let more = format!(
        "[discovery]\nlisten = \"{}\"\n[audit]\ndirectory = \"{}\"\n{rules}",
        nowhere(),
        trail.path().display()
    );
    let scratch = Scratch::new();
    scratch.write("words.toml", &format!("{VOCABULARY}{PROMISE}"));
    let file = process_file(&more).replace("vocabulary.toml", "words.toml");
    Gateway::start_in(scratch, &file)
}

fn asked(gateway: &Gateway, path: &str, body: Option<&str>, more: &[&str]) -> Answer {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "20", "-D", "-"]).args(more);
    if let Some(body) = body {
        curl.args(["--data-binary", body]);
    }
    curl.arg(format!("http://{}{path}", gateway.address));
    answered(curl).expect("curl is answered")
}

const FIND: &str = "/.well-known/caio/discover";
const CATALOG: &str = "/.well-known/ai-catalog.json";

fn services(answer: &Json) -> Vec<(String, bool)> {
    let found = answer["found"].as_array().unwrap().iter();
    let all = found.flat_map(|found| found["services"].as_array().unwrap());
    let told = |it: &Json| {
        (it["service"].as_str().unwrap().to_owned(), it["satisfies"].as_bool().unwrap())
    };
    all.map(told).collect()
}

#[test]
fn callers_find_what_satisfies_and_each_question_is_on_record() {
    let trail = Scratch::new();
    let one = saying("one");
    let mut gateway = offering("", &trail);
    let control = Control::of(&gateway);
    let good = service("good", one.address, "") + PROMISING;
    assert_eq!(control.put("/v1/services/good", &good, &[]).status, 201);
    assert_eq!(control.register("bad", one.address, "").status, 201);
    let question = json!({ "capability": "test.x/1", "needs": ["deterministic"] }).to_string();
    for http in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = asked(&gateway, FIND, Some(&question), &[http]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let said = answer.json();
        assert_eq!(services(&said), [("good".to_owned(), true), ("bad".to_owned(), false)]);
        assert_eq!(said["found"][0]["services"][1]["fails"]["stage"], "guarantee");
        let landscape = control.get("/v1/landscape").json();
        assert_eq!(said["landscape"]["digest"], landscape["digest"]);
        assert!(answer.head.to_lowercase().contains("caio-decision"), "a call as any other");
    }
    let catalog = asked(&gateway, &format!("{CATALOG}?capability=test.x/1&id=good"), None, &[]);
    assert_eq!(catalog.json()["entries"].as_array().unwrap().len(), 1, "{catalog:?}");
    let all = asked(&gateway, CATALOG, None, &[]).json();
    assert_eq!(all["entries"].as_array().unwrap().len(), 3, "itself too: {all}");
    for (path, body, status, code) in [
        (FIND, "{", 400, "discovery.invalid"),
        (FIND, "{\"needs\": [\"determinstic\"]}", 422, "discovery.needs"),
        (FIND, "{\"wants\": []}", 400, "discovery.invalid"),
        (&format!("{FIND}?x=1"), "{}", 400, "parameter"),
    ] {
        let answer = asked(&gateway, path, Some(body), &[]);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)));
    }
    let large = format!("{{\"needs\": [\"{}\"]}}", "x".repeat(70_000));
    assert_eq!(asked(&gateway, FIND, Some(&large), &[]).status, 413);
    // The other operations of the control surface are not there.
    let other = asked(&gateway, "/v1/services", None, &[]);
    assert_eq!(other.status, 404);
    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let lines = changes(trail.path());
    let questions: Vec<&Json> = lines.iter().filter(|line| line["kind"] == "query").collect();
    // Both questions, and of each catalogue both capabilities of those it listed, or the one.
    assert_eq!(questions.len(), 2 + 1 + 2, "{lines:#?}");
    assert!(questions.iter().all(|it| it["by"] == "anonymous"), "{questions:#?}");
    let from = |it: &&&Json| it["from"].as_str().unwrap().starts_with("decision ");
    assert_eq!(questions.iter().filter(from).count(), 5, "{questions:#?}");
    let (end, said) = verified(trail.path());
    assert_eq!(end, Some(0), "{said}");
    naive_agrees(trail.path());
}

const RULES: &str = "[policy]\ndefault = \"deny\"\n\
     [[callers]]\nid = \"here\"\nnetworks = [\"127.0.0.0/8\"]\n\
     [[policies]]\nid = \"look\"\neffect = \"permit\"\ncapabilities = [\"caio.discovery/1\"]\n\
     callers = [\"here\"]\n\
     [[policies]]\nid = \"call\"\neffect = \"permit\"\nservices = [\"shown*\", \"both*\"]\n\
     [[policies]]\nid = \"not\"\neffect = \"forbid\"\nservices = [\"both*\"]\n\
     callers = [\"here\"]\n\
     [[policies]]\nid = \"small\"\neffect = \"permit\"\nservices = [\"sized*\"]\n\
     when = 'request.bytes <= 1KiB'\n";

#[test]
fn a_caller_is_told_of_what_it_may_call_and_of_nothing_else() {
    let trail = Scratch::new();
    let one = saying("one");
    let mut gateway = offering(RULES, &trail);
    let control = Control::of(&gateway);
    for id in ["shown", "hidden", "both", "sized"] {
        assert_eq!(control.register(id, one.address, "").status, 201);
    }
    let secret = service("secret", one.address, "").replace("test.x/1", "test.secret/1");
    let secret = secret.replace("GET /x", "GET /secret");
    assert_eq!(control.put("/v1/services/secret", &secret, &[]).status, 201);
    let found = asked(&gateway, FIND, Some("{}"), &[]);
    assert_eq!(found.status, 200, "{found:?}");
    let seen = ["caio.discovery", "shown"].map(|id| (id.to_owned(), true));
    assert_eq!(services(&found.json()), seen, "what it may call, and that it asks");
    assert!(!found.text.contains("secret"), "not even that it is offered: {found:?}");
    let named = asked(&gateway, FIND, Some("{\"capability\": \"test.secret/1\"}"), &[]);
    let unknown = asked(&gateway, FIND, Some("{\"capability\": \"test.nothing/1\"}"), &[]);
    assert_eq!(named.text, unknown.text, "one that may not be seen is as one that is not there");
    let catalog = asked(&gateway, CATALOG, None, &[]);
    assert!(catalog.text.contains("shown") && !catalog.text.contains("hidden"), "{catalog:?}");
    assert!(!catalog.text.contains("secret") && !catalog.text.contains("sized"), "{catalog:?}");
    // An operator sees them all.
    assert!(control.get(CATALOG).text.contains("hidden"));
    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let (end, said) = verified(trail.path());
    assert_eq!(end, Some(0), "{said}");
    naive_agrees(trail.path());
}

#[test]
fn whom_no_rule_lets_look_is_refused_and_where_nothing_is_offered_nobody_looks() {
    let trail = Scratch::new();
    let rules = "[policy]\ndefault = \"deny\"\n";
    let gateway = offering(rules, &trail);
    assert_eq!(asked(&gateway, FIND, Some("{}"), &[]).status, 403);
    assert_eq!(asked(&gateway, CATALOG, None, &[]).status, 403);
    let plain = Gateway::start_in(Scratch::new(), &process_file(""));
    assert_eq!(asked(&plain, FIND, Some("{}"), &[]).status, 404);
    assert_eq!(asked(&plain, CATALOG, None, &[]).status, 404);
}

#[test]
fn what_the_gateway_did_not_forward_itself_is_not_answered() {
    let trail = Scratch::new();
    let gateway = offering("", &trail);
    let file = std::fs::read_to_string(gateway.folder().join("caio.toml")).unwrap();
    let (_, rest) = file.split_once("[discovery]\nlisten = \"").unwrap();
    let at: SocketAddr = rest.split('"').next().unwrap().parse().unwrap();
    eventually("it answers itself", || TcpStream::connect(at).is_ok());
    let forged = format!("{} anonymous", "0".repeat(64));
    for field in ["", "CAIO-Principal: ops\r\n", &format!("CAIO-Caller: {forged}\r\n")] {
        let ask = format!("GET {CATALOG} HTTP/1.1\r\nHost: a\r\n{field}\r\n");
        assert_eq!(exchange(at, ask.as_bytes(), 1000).status(), Some(403), "{field}");
    }
    // Nor is a caller's word passed on for the gateway's.
    let header = format!("CAIO-Caller: {forged}");
    assert_eq!(asked(&gateway, CATALOG, None, &["-H", &header]).status, 200);
}
