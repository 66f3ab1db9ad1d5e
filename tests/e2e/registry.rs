//! Services that come, change and go while calls flow, with curl on the control socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

#[path = "registry/client.rs"]
mod client;
#[path = "registry/kinds.rs"]
mod kinds;
#[path = "registry/looking.rs"]
mod looking;
#[path = "tls/peers.rs"]
#[allow(dead_code, reason = "certificates are made here, and no more")]
mod peers;
#[path = "registry/remote.rs"]
mod remote;
mod support;

use client::{Control, process_file, service, verified};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use support::origin::{Answer, Origin};
use support::{Gateway, PATIENCE, Scratch, Wire, eventually, strict};

fn saying(word: &'static str) -> Origin {
    Origin::scripted(move |_| {
        Answer::kept(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len()))
    })
}

fn call(wire: &mut Wire) -> (u16, Vec<u8>) {
    assert!(wire.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"));
    let whole = |bytes: &[u8]| strict::responses(bytes).is_ok_and(|all| !all.is_empty());
    let (bytes, _) = wire.read_until(PATIENCE, whole);
    let answer = strict::responses(&bytes).unwrap().remove(0);
    (answer.status, answer.body)
}

fn called(gateway: &Gateway) -> (u16, String) {
    let (status, body) = call(&mut Wire::connect(gateway.address));
    (status, if status == 200 { String::from_utf8(body).unwrap() } else { String::new() })
}

fn none() -> (u16, String) {
    (404, String::new())
}

fn word(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

#[test]
fn a_service_registers_is_called_is_replaced_and_goes() {
    let (one, two) = (saying("one"), saying("two"));
    let mut gateway = Gateway::start_in(Scratch::new(), &process_file(""));
    let control = Control::of(&gateway);
    assert_eq!(called(&gateway), none());

    let created = control.register("a", one.address, "");
    assert_eq!((created.status, created.etag().as_str()), (201, "\"1\""), "{created:?}");
    // Acknowledged is in force: the very next call finds it.
    assert_eq!(called(&gateway), word("one"));
    let landscape = control.get("/v1/landscape").json();
    assert_eq!(created.json()["landscape"]["digest"], landscape["digest"]);
    assert_eq!(created.json()["landscape"]["version"], landscape["version"]);

    let again = control.register("a", one.address, "");
    assert_eq!((again.status, again.json()["outcome"].as_str()), (200, Some("unchanged")));
    assert_eq!(again.etag(), "\"1\"");

    let replaced = control.register("a", two.address, "");
    assert_eq!((replaced.status, replaced.etag().as_str()), (200, "\"2\""), "{replaced:?}");
    assert_eq!(called(&gateway), word("two"));

    let shown = control.get("/v1/services/a");
    assert_eq!(shown.etag(), "\"2\"");
    assert_eq!(shown.json()["document"], service("a", two.address, ""));
    assert!(shown.json()["by"].as_str().unwrap().starts_with("uid "), "{shown:?}");
    let list = control.get("/v1/services").json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);

    let gone = control.ask("DELETE", "/v1/services/a", &[]);
    assert_eq!(gone.status, 200, "{gone:?}");
    assert_eq!(called(&gateway), none());
    assert_eq!(control.ask("DELETE", "/v1/services/a", &[]).status, 404);
    assert_eq!(control.get("/v1/services/a").status, 404);
    gateway.assert_sound();
}

#[test]
fn what_is_registered_is_there_again_after_an_end_of_any_kind() {
    let one = saying("one");
    let mut gateway = Gateway::start_in(Scratch::new(), &process_file(""));
    let control = Control::of(&gateway);
    assert_eq!(control.register("a", one.address, "").status, 201);
    let before = control.get("/v1/services/a").text;
    let gateway = {
        gateway.kill();
        Gateway::start_again(gateway)
    };
    let control = Control::of(&gateway);
    assert_eq!(control.get("/v1/services/a").text, before);
    assert_eq!(called(&gateway), word("one"));
    eventually("a second change is taken", || control.register("b", one.address, "").status == 201);
}

/// Calls without a pause on several connections while something is done; each must succeed.
fn under_load(gateway: &Gateway, done: impl FnOnce()) -> u32 {
    let (over, calls) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut wire = Wire::connect(gateway.address);
                while !over.load(Ordering::Relaxed) {
                    let (status, _) = call(&mut wire);
                    assert_eq!(status, 200, "a call failed");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        done();
        over.store(true, Ordering::Relaxed);
    });
    calls.into_inner()
}

#[test]
fn services_are_replaced_drained_and_taken_away_under_load_without_a_failed_call() {
    let trail = Scratch::new();
    let (one, two) = (saying("one"), saying("two"));
    let audit = format!("[audit]\ndirectory = \"{}\"\n", trail.path().display());
    let mut gateway = Gateway::start_in(Scratch::new(), &process_file(&audit));
    let control = Control::of(&gateway);
    assert_eq!(control.register("a", one.address, "").status, 201);
    assert_eq!(control.register("b", two.address, "").status, 201);
    let calls = under_load(&gateway, || {
        for round in 0..5 {
            // Replaced by another version at another place.
            let target = if round % 2 == 0 { two.address } else { one.address };
            assert_eq!(control.register("a", target, "").status, 200);
            let drained = control.ask("POST", "/v1/services/b/drain", &[]);
            assert_eq!(drained.status, 200, "{drained:?}");
            let shown = control.get("/v1/services/b").json();
            assert_eq!(shown["draining"], true);
            // Nobody new goes there from the moment it is acknowledged.
            let expected = if round % 2 == 0 { "two" } else { "one" };
            (0..10).for_each(|_| assert_eq!(called(&gateway), word(expected)));
            assert_eq!(control.ask("DELETE", "/v1/services/b", &[]).status, 200);
            assert_eq!(control.register("b", two.address, "").status, 201);
            let path = format!("/v1/services/b/endpoints/{}", one.address);
            assert_eq!(control.ask("PUT", &path, &[]).status, 200);
            assert_eq!(control.ask("POST", &format!("{path}/drain"), &[]).status, 200);
            assert_eq!(control.ask("DELETE", &path, &[]).status, 200);
        }
    });
    assert!(calls > 20, "{calls}");
    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(changes(trail.path()).len(), 3 + 5 * 7, "each is on record, and the beginning");
}

/// What the trail says was asked of the control plane.
fn changes(trail: &Path) -> Vec<serde_json::Value> {
    let mut caio = Command::new(env!("CARGO_BIN_EXE_caio"));
    let output = caio.args(["audit", "changes", "--json", "-t"]).arg(trail).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_trail_with_changes_and_questions_is_verified_by_both_who_check_it() {
    let trail = Scratch::new();
    let one = saying("one");
    let audit = format!("[audit]\ndirectory = \"{}\"\n", trail.path().display());
    let mut gateway = Gateway::start_in(Scratch::new(), &process_file(&audit));
    let control = Control::of(&gateway);
    assert_eq!(control.register("a", one.address, "").status, 201);
    assert_eq!(control.register("a", one.address, "").status, 200);
    assert_eq!(control.register("b", one.address, "wrong = 1").status, 422);
    assert_eq!(control.ask("POST", "/v1/services/a/drain", &[]).status, 200);
    assert_eq!(control.ask("POST", "/v1/services/a/undrain", &[]).status, 200);
    let question = ["--data-binary", "{\"capability\": \"test.x/1\"}"];
    assert_eq!(control.ask("POST", "/v1/discover", &question).status, 200);
    assert_eq!(called(&gateway), word("one"));
    assert_eq!(control.ask("DELETE", "/v1/services/a", &[]).status, 200);
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let (code, said) = verified(trail.path());
    assert_eq!(code, Some(0), "{said}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((said["changes"].as_u64(), said["queries"].as_u64()), (Some(7), Some(1)));
    naive_agrees(trail.path());
}

fn naive_agrees(trail: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tamper/naive_check.py");
    let output = Command::new("python3").arg(script).arg(trail).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_lease_that_is_renewed_holds_and_one_that_is_not_ends() {
    let trail = Scratch::new();
    let one = saying("one");
    let audit = format!("[audit]\ndirectory = \"{}\"\n", trail.path().display());
    let mut gateway = Gateway::start_in(Scratch::new(), &process_file(&audit));
    let control = Control::of(&gateway);
    assert_eq!(control.register("a", one.address, "lease = \"1s\"").status, 201);
    let mut renewed = 0;
    // Longer than the lease by far: twenty answers of ten milliseconds and more, a look at each.
    eventually("the lease outlives itself", || {
        let answer = control.ask("POST", "/v1/services/a/renew", &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(called(&gateway), word("one"));
        renewed += 1;
        renewed > 150
    });
    eventually("the lease ends", || called(&gateway) == none());
    assert_eq!(control.get("/v1/services/a").status, 404);
    let renewed = control.ask("POST", "/v1/services/a/renew", &[]);
    assert_eq!((renewed.status, renewed.json()["code"].as_str()), (404, Some("registry.missing")));
    assert_eq!(control.register("b", one.address, "").status, 201);
    let without = control.ask("POST", "/v1/services/b/renew", &[]);
    assert_eq!((without.status, without.json()["code"].as_str()), (409, Some("registry.no-lease")));
    eventually("who renewed is on record, once for many times", || {
        changes(trail.path()).iter().any(|line| {
            let of = line["of"].as_str().unwrap();
            line["asked"] == "renew" && line["came"] == "already" && of.starts_with("1 leases: a ×")
        })
    });
    gateway.assert_sound();
}

#[test]
fn preconditions_hold_and_a_dry_run_changes_nothing() {
    let (one, two) = (saying("one"), saying("two"));
    let gateway = Gateway::start_in(Scratch::new(), &process_file(""));
    let control = Control::of(&gateway);
    let put = |endpoint, header: &str| {
        control.put("/v1/services/a", &service("a", endpoint, ""), &["-H", header])
    };
    assert_eq!(put(one.address, "If-Match: \"1\"").status, 412, "nothing is there");
    assert_eq!(put(one.address, "If-None-Match: *").status, 201);
    let taken = put(two.address, "If-None-Match: *");
    assert_eq!((taken.status, taken.etag().as_str()), (412, "\"1\""), "{taken:?}");
    assert_eq!(put(two.address, "If-Match: \"7\"").status, 412);
    assert_eq!(called(&gateway), word("one"));
    let before = control.get("/v1/landscape").text;
    let trial = "/v1/services/a?dry-run=true";
    let tried = control.put(trial, &service("a", two.address, ""), &[]).json();
    assert_eq!(
        (tried["dry_run"].as_bool(), tried["outcome"].as_str()),
        (Some(true), Some("changed"))
    );
    assert_ne!(tried["landscape"]["digest"], control.get("/v1/landscape").json()["digest"]);
    assert_eq!(control.ask("DELETE", trial, &[]).status, 200);
    assert_eq!(
        control.put("/v1/services/n?dry-run=true", &service("n", two.address, ""), &[]).status,
        200
    );
    assert_eq!(control.get("/v1/services/n").status, 404);
    let spoilt = service("a", two.address, "").replace("GET /x", "GET x");
    assert_eq!(control.put(trial, &spoilt, &[]).status, 422);
    assert_eq!(control.get("/v1/landscape").text, before);
    assert_eq!(called(&gateway), word("one"));
    let changed = put(two.address, "If-Match: \"1\"");
    assert_eq!((changed.status, changed.etag().as_str()), (200, "\"2\""));
    assert_eq!(changed.json()["landscape"]["digest"], tried["landscape"]["digest"], "as was said");
}

#[test]
fn whoever_watches_is_told_everything_in_order_and_goes_on_where_it_was() {
    let one = saying("one");
    let gateway = Gateway::start_in(Scratch::new(), &process_file(""));
    let control = Control::of(&gateway);
    let watch = |path: &str, more: &[&str], enough: usize| {
        let mut curl = control.curl(path);
        let mut child = curl.arg("-N").args(more).stdout(Stdio::piped()).spawn().unwrap();
        let (mut said, mut lines) = (
            Vec::new(),
            std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap())),
        );
        while said.len() < enough {
            let line = lines.next().unwrap().unwrap();
            if let Some(rest) = line.strip_prefix("id: ") {
                let event = lines.next().unwrap().unwrap();
                said.push((rest.parse::<u64>().unwrap(), event.replace("event: ", "")));
            }
        }
        let _ = child.kill();
        child.wait().unwrap();
        said
    };
    std::thread::scope(|scope| {
        // From the beginning of everything: what comes before and after is one sequence.
        let live = scope.spawn(|| watch("/v1/watch?after=0", &[], 6));
        assert_eq!(control.register("a", one.address, "").status, 201);
        assert_eq!(control.ask("POST", "/v1/services/a/drain", &[]).status, 200);
        assert_eq!(control.ask("POST", "/v1/services/a/undrain", &[]).status, 200);
        assert_eq!(control.register("a", one.address, "tier = 1").status, 200);
        assert_eq!(control.register("a", one.address, "tier = 2").status, 200);
        assert_eq!(control.ask("DELETE", "/v1/services/a", &[]).status, 200);
        let told = live.join().unwrap();
        let names = ["put", "drain", "undrain", "put", "put", "removed"];
        let expected: Vec<_> = (1..).zip(names.map(str::to_owned)).collect();
        assert_eq!(told, expected);
        let resumed = watch("/v1/watch", &["-H", "Last-Event-ID: 3"], 3);
        assert_eq!(resumed, expected[3..]);
        let strange = watch("/v1/watch", &["-H", "Last-Event-ID: 77"], 1);
        assert_eq!(strange, [(6, "missed".to_owned())]);
    });
}

#[test]
fn wrong_documents_are_refused_by_their_place_and_leave_the_others_alone() {
    let one = saying("one");
    let mut gateway = Gateway::start_in(Scratch::new(), &process_file(""));
    let control = Control::of(&gateway);
    assert_eq!(control.register("a", one.address, "").status, 201);
    let sound = service("b", one.address, "");
    let endpoint = one.address.to_string();
    let cases: &[(&str, &str, u16, &str, &str)] = &[
        ("endpoints", "endpoint", 422, "registry.invalid", "services/b:1:1"),
        (&endpoint, "localhost", 422, "registry.invalid", "services/b:1:14"),
        ("[contract]", "leese = \"1s\"\n[contract]", 422, "registry.invalid", "services/b:3:1"),
        ("\n[contract]", "lease = \"1ms\"\n[contract]", 422, "registry.invalid", "services/b:2:9"),
        ("service = \"b\"", "service = \"c\"", 422, "registry.id", "services/b:4:11"),
        ("GET /x", "GET x", 422, "registry.invalid", "services/b:8:2"),
        ("[contract]", "[contract", 422, "registry.invalid", "services/b:"),
        ("endpoints", "\u{0}", 422, "registry.invalid", "services/b:1:1"),
    ];
    for (from, to, status, code, place) in cases {
        assert!(sound.contains(from), "{from}");
        let spoilt = sound.replacen(from, to, 1);
        let file = gateway.folder().join("document.toml");
        std::fs::write(&file, &spoilt).unwrap();
        let answer = control.put("/v1/services/b", &format!("@{}", file.display()), &[]);
        let said = answer.json();
        assert_eq!((answer.status, said["code"].as_str()), (*status, Some(*code)), "{answer:?}");
        let first = said["faults"][0]["place"].as_str().unwrap();
        assert!(first.starts_with(place), "{to}: {answer:?}");
        assert!(answer.head.contains("application/problem+json"));
    }
    let json = ["-H", "Content-Type: application/json"];
    let said = control.put("/v1/services/b", "{\"endpoints\": [], \"endpoints\": []}", &json);
    assert!(said.text.contains("stands twice"), "{said:?}");
    let kind = ["-H", "Content-Type: image/png"];
    assert_eq!(control.put("/v1/services/b", "x", &kind).status, 415);
    let file = gateway.folder().join("large.toml");
    std::fs::write(&file, "x".repeat(2 << 20)).unwrap();
    assert_eq!(control.put("/v1/services/b", &format!("@{}", file.display()), &[]).status, 413);
    // A route to what nobody offers is sound by itself, and no landscape comes of it.
    let route = "id = \"r\"\noperation = \"GET /y\"\ncapability = \"test.none/1\"\n";
    let answer = control.put("/v1/routes/r", route, &[]);
    assert_eq!((answer.status, answer.json()["code"].as_str()), (422, Some("registry.landscape")));
    assert!(answer.text.contains("routes/r:1:6"), "{answer:?}");
    let route = route.replace("none", "x");
    assert_eq!(control.put("/v1/routes/r", &route, &[]).status, 201);
    for (method, path, status) in [
        ("GET", "/v1/things", 404),
        ("GET", "/", 404),
        ("POST", "/v1/services/a", 405),
        ("GET", "/v1/services?x=1", 400),
        ("DELETE", "/v1/services/a?dry-run=yes", 400),
        ("PUT", "/v1/services/a/endpoints/nowhere", 400),
        ("DELETE", "/v1/services/a/endpoints/127.0.0.1:1", 404),
    ] {
        assert_eq!(control.ask(method, path, &[]).status, status, "{method} {path}");
    }
    assert_eq!(called(&gateway), word("one"));
    assert_eq!(control.get("/v1/services/b").status, 404);
    gateway.assert_sound();
}

#[test]
fn what_is_in_the_files_stays_theirs_and_both_are_read_again_together() {
    let (one, two) = (saying("one"), saying("two"));
    let more =
        format!("[[services]]\ncontract = \"echo.toml\"\nendpoints = [\"{}\"]\n", one.address);
    let mut gateway = Gateway::start_in(Scratch::new(), &process_file(&more));
    let control = Control::of(&gateway);
    let taken = control.register("test.echo", two.address, "");
    assert_eq!((taken.status, taken.json()["code"].as_str()), (409, Some("registry.in-files")));
    assert!(taken.text.contains("echo.toml:2"), "{taken:?}");
    assert_eq!(control.register("a", two.address, "").status, 201);
    let version = control.get("/v1/landscape").json()["version"].clone();
    assert_eq!(control.ask("POST", "/v1/reload", &[]).status, 200);
    assert_eq!(control.get("/v1/landscape").json()["version"], version, "nothing is new");
    // A file that takes the id of what is registered is refused by its line.
    let file = gateway.folder().join("echo.toml");
    let contract = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, contract.replace("test.echo\"\nver", "a\"\nver")).unwrap();
    let refused = control.ask("POST", "/v1/reload", &[]);
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("echo.toml:2") && refused.text.contains("registered as well"));
    assert_eq!(control.get("/v1/landscape").json()["version"], version);
    std::fs::write(&file, contract.replace("1.0.0", "1.0.1")).unwrap();
    assert_eq!(control.ask("POST", "/v1/reload", &[]).status, 200);
    assert_ne!(control.get("/v1/landscape").json()["version"], version);
    assert_eq!(control.get("/v1/landscape").json()["services"], 2);
    gateway.assert_sound();
}

#[test]
fn files_that_change_are_read_again_where_that_is_wanted() {
    let one = saying("one");
    let more = format!(
        "watch_files = true\n[[services]]\ncontract = \"echo.toml\"\nendpoints = [\"{}\"]\n",
        one.address
    );
    let gateway = Gateway::start_in(Scratch::new(), &process_file(&more));
    let control = Control::of(&gateway);
    let before = control.get("/v1/landscape").json()["digest"].clone();
    let file = gateway.folder().join("echo.toml");
    let contract = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, contract.replace("1.0.0", "2.0.0-changed")).unwrap();
    let now = || control.get("/v1/landscape").json()["digest"].clone();
    eventually("the change holds", || now() != before);
}

#[test]
fn no_acknowledged_change_is_lost_to_any_end_at_any_moment() {
    let one = saying("one");
    let mut gateway = Gateway::start_in(Scratch::new(), &process_file(""));
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..4 {
        let control = Control::of(&gateway);
        let (stop, count) = (AtomicBool::new(false), AtomicU32::new(0));
        let done = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let (control, stop, count) = (control.clone(), &stop, &count);
                    scope.spawn(move || {
                        let mut done = Vec::new();
                        for number in 0.. {
                            let id = format!("s-{round}-{writer}-{number}");
                            let text = service(&id, one.address, "");
                            let path = format!("/v1/services/{id}");
                            match control.tried("PUT", &path, &["--data-binary", &text]) {
                                Some(answer) if answer.status == 201 => done.push(id),
                                Some(answer) => panic!("{answer:?}"),
                                None => assert!(stop.load(Ordering::Relaxed)),
                            }
                            if stop.load(Ordering::Relaxed) {
                                break;
                            }
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        done
                    })
                })
                .collect();
            // In the middle of a stream of changes, wherever it is just then.
            eventually("changes are made", || count.load(Ordering::Relaxed) > 12 + 5 * round);
            stop.store(true, Ordering::Relaxed);
            gateway.kill();
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
        });
        acknowledged.extend(done);
        gateway = Gateway::start_again(gateway);
        let list = Control::of(&gateway).get("/v1/services").json();
        let items = list["items"].as_array().unwrap();
        let there: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
        for id in &acknowledged {
            assert!(there.contains(&id.as_str()), "{id} was acknowledged and is gone");
        }
        assert_eq!(called(&gateway), word("one"));
    }
    assert!(acknowledged.len() > 40, "{}", acknowledged.len());
}

#[test]
fn the_published_document_and_what_answers_are_the_same() {
    let gateway = Gateway::start_in(Scratch::new(), &process_file(""));
    let control = Control::of(&gateway);
    let document = control.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let mut operations = 0;
    for (path, methods) in paths {
        let real = path
            .replace("{kind}", "services")
            .replace("{id}", "nobody")
            .replace("{address}", "127.0.0.1:9");
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            if path == "/v1/watch" && method == "GET" {
                operations += 1;
                continue;
            }
            let answer = control.ask(method, &real, &[]);
            let code = answer.json()["code"].as_str().map(str::to_owned);
            let described = methods.get(method.to_lowercase()).is_some();
            // `/v1/services/{id}/…` beside `/v1/{kind}/{id}`: each path has its own length.
            assert_eq!(code.as_deref() != Some("method"), described, "{method} {path}: {answer:?}");
            assert_ne!(code.as_deref(), Some("missing"), "{method} {path}");
            operations += u32::from(described);
        }
    }
    assert_eq!(operations as usize, caio::admin::control::OPERATIONS.len());
}

const PROMISING: &str = "[[contract.offers.promises]]\ndeterministic = true\n";

#[test]
fn who_looks_for_services_is_told_of_each_and_it_is_on_record() {
    let trail = Scratch::new();
    let one = saying("one");
    let audit = format!("[audit]\ndirectory = \"{}\"\n", trail.path().display());
    let scratch = Scratch::new();
    let mut gateway = Gateway::start_in(scratch, &process_file(&audit));
    let vocabulary = gateway.folder().join("vocabulary.toml");
    let text = std::fs::read_to_string(&vocabulary).unwrap();
    let more = "\n[[attributes]]\nname = \"deterministic\"\nside = \"promise\"\ntype = \"bool\"\n";
    std::fs::write(&vocabulary, text + more).unwrap();
    let control = Control::of(&gateway);
    let read = control.ask("POST", "/v1/reload", &[]);
    assert_eq!(read.status, 200, "{read:?}");
    let promising = service("good", one.address, "") + PROMISING;
    assert_eq!(control.put("/v1/services/good", &promising, &[]).status, 201);
    assert_eq!(control.register("bad", one.address, "").status, 201);
    let socket = control.0.to_str().unwrap();
    let caio = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_caio")).args(args).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = caio(&["discover", "-s", socket, "deterministic"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("good 1.0.0  satisfies") && said.contains("bad 1.0.0  fails: "),
        "{said}"
    );
    let (code, said) =
        caio(&["discover", "-s", socket, "--capability", "test.x/1", "!deterministic"]);
    assert_eq!(code, Some(1), "{said}");
    let (code, said) = caio(&["discover", "-s", socket, "determinstic"]);
    assert!(code == Some(1) && said.contains("need 1, character 1"), "{said}");
    let catalog = control.get("/.well-known/ai-catalog.json?capability=test.x/1&id=good").json();
    assert_eq!(catalog["entries"].as_array().unwrap().len(), 1);
    assert_eq!(catalog["entries"][0]["displayName"], "good");
    let catalog = control.get("/.well-known/ai-catalog.json?capability=test.x").json();
    assert_eq!(catalog["entries"].as_array().unwrap().len(), 0, "exactly");

    // The verbs of `caio registry`, on the same gateway.
    let (code, said) = caio(&["registry", "list", "-s", socket]);
    assert!(
        code == Some(0) && said.contains("good  revision 1") && said.contains("bad  revision 2")
    );
    let file = gateway.folder().join("c.toml");
    std::fs::write(&file, service("c", one.address, "lease = \"1h\"")).unwrap();
    let file = file.to_str().unwrap();
    let (code, said) = caio(&["registry", "register", "--dry-run", "-s", socket, file]);
    assert!(code == Some(0) && said.starts_with("would be created"), "{said}");
    let (code, said) = caio(&["registry", "register", "-s", socket, file]);
    assert!(code == Some(0) && said.starts_with("created, revision 3, landscape "), "{said}");
    for verb in ["renew", "drain", "undrain", "show"] {
        let (code, said) = caio(&["registry", verb, "-s", socket, "c"]);
        assert_eq!(code, Some(0), "{verb}: {said}");
    }
    let process_file = gateway.folder().join("caio.toml");
    let process_file = process_file.to_str().unwrap();
    let (code, said) =
        caio(&["registry", "deregister", "--if-match", "\"1\"", "-c", process_file, "c"]);
    assert!(code == Some(1) && said.contains("registry.precondition"), "{said}");
    let (code, _) = caio(&["registry", "deregister", "-c", process_file, "c"]);
    assert_eq!(code, Some(0));
    assert_eq!(caio(&["registry", "frobnicate"]).0, Some(2));
    assert_eq!(caio(&["registry", "list", "-s", "/nowhere"]).0, Some(1));

    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let lines = changes(trail.path());
    let questions = lines.iter().filter(|line| line["kind"] == "query").count();
    assert_eq!(questions, 2, "what is no question is not one");
    let of = |asked: &str, came: &str| {
        lines.iter().filter(|line| line["asked"] == asked && line["came"] == came).count()
    };
    assert_eq!((of("begin", "already"), of("reload", "made"), of("put", "made")), (1, 1, 3));
    assert_eq!((of("drain", "made"), of("remove", "refused"), of("remove", "made")), (1, 1, 1));
    let refused = lines.iter().find(|line| line["came"] == "refused").unwrap();
    assert!(refused["why"].as_str().unwrap().starts_with("registry.precondition"));
    assert!(refused["by"].as_str().unwrap().starts_with("uid "));
}
