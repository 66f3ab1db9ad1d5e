//! Companions, and the gateway as an authorization service itself.

use crate::support::origin::{Answer, Origin};
use crate::support::peers::{Caller, Content, full, parts, whole, within};
use crate::support::{Gateway, PATIENCE, Protocol, Scratch, eventually, exchange};
use crate::wire::{self, HTTP, field, framed, number};
use crate::{ECHO, VAULT, VOCABULARY};
use caio::audit::record::{self, Ending, Record};
use hyper::Request;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) fn config(origin: SocketAddr, trail: &Path, more: &str) -> String {
    format!(
        r#"config = "caio/1"
vocabulary = "vocabulary.toml"

[process]
workers = 1

[audit]
directory = "{}"

[[services]]
contract = "echo.toml"
endpoints = ["{origin}"]

[[services]]
contract = "vault.toml"
endpoints = ["{origin}"]

{more}"#,
        trail.display()
    )
}

pub(crate) fn start(config: &str) -> Gateway {
    Gateway::start_on(&[
        ("caio.toml", config),
        ("vocabulary.toml", VOCABULARY),
        ("echo.toml", ECHO),
        ("vault.toml", VAULT),
    ])
}

const LISTENER: &str = "[[listeners]]\naddress = \"127.0.0.1:0\"\n\n";

pub(crate) fn verified(trail: &Path) {
    let check = Command::new(env!("CARGO_BIN_EXE_caio-check")).arg(trail).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&check.stderr));
    // And by the other verifier, which shares nothing with it.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tamper/naive_check.py");
    let check = Command::new("python3").arg("-B").arg(script).arg(trail).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&check.stderr));
}

pub(crate) fn get(gateway: &Gateway, path: &str) -> Option<u16> {
    let asked = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    exchange(gateway.address, asked.as_bytes(), usize::MAX).status()
}

#[test]
fn a_companion_is_told_of_every_decision_through_kills_of_the_gateway_and_its_own_absence() {
    let kept = Scratch::new();
    let trail = kept.path().join("trail");
    let origin = Origin::echo();
    // By decision, how often it was taken.
    let taken: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let well = Arc::new(AtomicBool::new(true));
    let (noted, is_well) = (Arc::clone(&taken), Arc::clone(&well));
    let companion = Origin::scripted(move |asked| {
        if !is_well.load(Ordering::SeqCst) {
            return Answer::raw("HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n");
        }
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/decisions"));
        for line in String::from_utf8(asked.body.clone()).unwrap().lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["caller"], "anonymous");
            let id = line["facts"]["caio.decision"].as_str().unwrap().to_owned();
            *noted.lock().unwrap().entry(id).or_default() += 1;
        }
        Answer::raw("HTTP/1.1 204 No Content\r\n\r\n")
    });
    let more = format!(
        "{LISTENER}[[companions]]\nid = \"watch\"\nkind = \"http\"\nendpoint = \"{}\"\n\
         path = \"/decisions\"\ntimeout = \"2s\"\n",
        companion.address
    );
    let config = config(origin.address, &trail, &more);
    let mut made = 0;
    for round in 0..3 {
        well.store(round != 1, Ordering::SeqCst);
        let mut gateway = start(&config);
        for _ in 0..300 {
            assert_eq!(get(&gateway, "/x"), Some(200), "a companion that is down delays nobody");
            made += 1;
        }
        gateway.kill();
    }
    // Whatever a kill cut off is recovered by the next start, which tells it too.
    let mut gateway = start(&config);
    eventually("every decision was told", || taken.lock().unwrap().len() >= durable(&trail));
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let taken = taken.lock().unwrap();
    assert_eq!(taken.len(), durable(&trail), "what is told stands in the trail");
    // A kill may take what was not durable yet, which is a few milliseconds of calls.
    assert!(taken.len() > made / 2, "{} of {made}", taken.len());
    let again: u32 = taken.values().map(|times| times - 1).sum();
    assert!(again < made as u32 / 2, "{again} were told again: the cursor is kept");
    verified(&trail);
}

#[test]
fn a_companion_comes_moves_and_goes_by_a_reload() {
    let kept = Scratch::new();
    let trail = kept.path().join("trail");
    let origin = Origin::echo();
    let noting = || {
        let told: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
        let noted = Arc::clone(&told);
        let companion = Origin::scripted(move |asked| {
            for line in String::from_utf8(asked.body.clone()).unwrap().lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                let id = line["facts"]["caio.decision"].as_str().unwrap().to_owned();
                *noted.lock().unwrap().entry(id).or_default() += 1;
            }
            Answer::raw("HTTP/1.1 204 No Content\r\n\r\n")
        });
        (companion, told)
    };
    let ((one, first), (two, second)) = (noting(), noting());
    let config = |companion: Option<SocketAddr>| {
        let entry = companion.map(|endpoint| {
            format!("[[companions]]\nid = \"watch\"\nkind = \"http\"\nendpoint = \"{endpoint}\"\n")
        });
        config(origin.address, &trail, &format!("{LISTENER}{}", entry.unwrap_or_default()))
    };
    let mut gateway = start(&config(None));
    let calls = |gateway: &Gateway| (0..20).for_each(|_| assert_eq!(get(gateway, "/x"), Some(200)));
    let reload = |gateway: &Gateway, companion| {
        std::fs::write(gateway.folder().join("caio.toml"), config(companion)).unwrap();
        let count = || gateway.said().matches("from now on").count();
        let before = count();
        gateway.reload();
        eventually("it holds", || count() > before);
    };
    let heard = |told: &Mutex<BTreeMap<String, u32>>| told.lock().unwrap().len();
    calls(&gateway);
    reload(&gateway, Some(one.address));
    eventually("it is told of what was before, too", || heard(&first) == 20);
    calls(&gateway);
    eventually("it is told", || heard(&first) == 40);
    reload(&gateway, Some(two.address));
    calls(&gateway);
    eventually("it goes on elsewhere", || heard(&second) >= 20);
    reload(&gateway, None);
    let tasks = format!("/proc/{}/task", gateway.id());
    eventually("nobody tells it any more", || {
        let names =
            std::fs::read_dir(&tasks).unwrap().map(|task| task.unwrap().path().join("comm"));
        let names = names.map(|name| std::fs::read_to_string(name).unwrap_or_default());
        names.filter(|name| name == "caio-companion\n").count() == 0
    });
    let known = heard(&second);
    calls(&gateway);
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!((heard(&first), heard(&second)), (40, known));
    verified(&trail);
}

/// The decisions that a trail has.
fn durable(trail: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(trail.join("segments")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let mut rest = &bytes[..];
        while let Some(frame) = caio::audit::frame::take(&mut rest) {
            let mut body = frame.body;
            while let Some((_, record)) = record::take(&mut body) {
                count += usize::from(matches!(record, Record::Decision(_)));
            }
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_companion_over_grpc_gets_the_message_in_which_hooks_are_asked() {
    let kept = Scratch::new();
    let trail = kept.path().join("trail");
    let origin = Origin::echo();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let companion = crate::support::peers::Served::start(
        Protocol::H2c,
        move |request: Request<hyper::body::Incoming>| {
            let noted = Arc::clone(&noted);
            async move {
                let (body, _) = whole(request.into_body()).await.unwrap();
                noted.lock().unwrap().push(body.slice(5..));
                let answer = framed(&wire::status(0));
                let body = parts(vec![answer.into()], &[("grpc-status", "0")]);
                hyper::Response::builder()
                    .header("content-type", "application/grpc")
                    .body(body)
                    .unwrap()
            }
        },
    );
    let companion = companion.await;
    let more = format!(
        "{LISTENER}[[companions]]\nid = \"watch\"\nkind = \"grpc\"\nendpoint = \"{}\"\n",
        companion.address
    );
    let mut gateway = start(&config(origin.address, &trail, &more));
    for path in ["/x", "/change/vault"] {
        get(&gateway, path);
    }
    eventually("both were told", || asked.lock().unwrap().len() == 2);
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let asked = asked.lock().unwrap();
    let fact = |message: &[u8], name: &str| {
        wire::find(message, &[1, 10])
            .iter()
            .find_map(|entry| (wire::text(entry, &[1]) == name).then(|| wire::text(entry, &[2])))
    };
    let verdicts: Vec<_> = asked.iter().map(|it| fact(it, "caio.verdict").unwrap()).collect();
    assert_eq!(verdicts, ["route", "deny"]);
    assert_eq!(fact(&asked[0], "caio.service").as_deref(), Some("test.echo"));
    assert_eq!(fact(&asked[1], "caio.reason").as_deref(), Some("contract.demand"));
    assert_eq!(wire::text(&asked[0], &[1, 1, 4]), "anonymous");
}

/// A `CheckRequest` of a request with these headers.
fn question(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    question_with(method, path, headers, "")
}

/// The same with this body.
fn question_with(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut http = Vec::new();
    http.extend(field(2, method.as_bytes()));
    for (name, value) in headers {
        let entry = [field(1, name.as_bytes()), field(2, value.as_bytes())].concat();
        http.extend(field(3, &entry));
    }
    http.extend(field(4, path.as_bytes()));
    http.extend(field(5, b"a.example"));
    http.extend(field(10, b"HTTP/1.1"));
    if !body.is_empty() {
        http.extend(field(11, body.as_bytes()));
    }
    let socket = [field(2, b"192.0.2.9"), number(3, 80)].concat();
    let source = field(1, &field(1, &field(1, &socket)));
    let [attributes, request, http_tag] = HTTP.map(|tag| tag as u8);
    field(attributes, &[source, field(request, &field(http_tag, &http))].concat())
}

async fn check(caller: &mut Caller, path: &str, body: Content) -> (Option<String>, Vec<u8>) {
    let request = crate::support::peers::request(Protocol::H2c, "POST", path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let (head, body) = caller.send(request).await.unwrap().into_parts();
    let (bytes, trailers) = within(whole(body)).await.unwrap();
    let status = head.headers.get("grpc-status").or(trailers.get("grpc-status"));
    (status.map(|status| status.to_str().unwrap().to_owned()), bytes.to_vec())
}

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_answers_another_proxy_by_its_own_decision_and_records_it() {
    let kept = Scratch::new();
    let trail = kept.path().join("trail");
    let origin = Origin::echo();
    let more = "[[listeners]]\naddress = \"127.0.0.1:0\"\nserves = \"ext_authz\"\n\n\
                [[callers]]\nid = \"tester\"\nnetworks = [\"192.0.2.0/24\"]\n\n";
    let mut gateway = start(&config(origin.address, &trail, more));
    let mut caller = Caller::connect(gateway.address, Protocol::H2c).await;
    let asked = framed(&question("GET", "/x?y=z", &[(":path", "/x?y=z"), ("x-a", "b")]));
    let (status, body) = check(&mut caller, CHECK, full(asked)).await;
    assert_eq!(status.as_deref(), Some("0"));
    let message = &body[5..];
    assert_eq!(wire::find(message, &[1, 1]), [b""; 0], "google.rpc.Status OK");
    let set: BTreeMap<String, String> = wire::find(message, &[3, 2, 1])
        .iter()
        .map(|header| (wire::text(header, &[1]), wire::text(header, &[2])))
        .collect();
    assert_eq!(set["caio-service"], "test.echo");
    assert!(set["caio-decision"].starts_with("w0-000000000000; "), "{set:?}");
    // What the contract of the one service that offers it demands is not met.
    let asked = framed(&question("GET", "/change/vault", &[]));
    let (status, body) = check(&mut caller, CHECK, full(asked)).await;
    assert_eq!(status.as_deref(), Some("0"), "the call itself went well");
    let message = &body[5..];
    assert_eq!(wire::find(message, &[1, 1]), [b"9"], "FAILED_PRECONDITION");
    assert_eq!(wire::find(message, &[2, 1, 1]), [b"422"]);
    assert!(wire::text(message, &[2, 3]).contains("contract.demand"));
    // A path that the other proxy may read otherwise than this one.
    let asked = framed(&question("GET", "/a/../change/vault", &[]));
    let (_, body) = check(&mut caller, CHECK, full(asked)).await;
    assert_eq!(wire::find(&body[5..], &[2, 1, 1]), [b"400"]);
    for (path, body, expected) in [
        (CHECK, framed(&[0xff; 30]), "3"),
        (CHECK, framed(b"")[..3].to_vec(), "3"),
        (CHECK, [framed(b""), framed(b"")].concat(), "3"),
        ("/x", framed(b""), "12"),
        ("/envoy.service.auth.v3.Authorization/Other", framed(b""), "12"),
    ] {
        let (status, _) = check(&mut caller, path, full(body)).await;
        assert_eq!(status.as_deref(), Some(expected), "{path}");
    }
    let (_, body) = check(&mut caller, CHECK, full(framed(b""))).await;
    assert_eq!(wire::find(&body[5..], &[2, 1, 1]), [b"400"], "nothing is described");
    // HTTP/1.1 is nothing that such a listener speaks, and is told so in HTTP/2.
    let mut plain = crate::support::Wire::connect(gateway.address);
    plain.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let (bytes, end) = plain.read_until(PATIENCE, |_| false);
    assert!(!bytes.starts_with(b"HTTP/") && end != crate::support::End::Open);
    assert!(origin.requests().is_empty(), "nothing is forwarded");
    drop(caller);
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    verified(&trail);
    let told = crate::Told::read(&trail);
    let ends: Vec<_> = told.0.iter().map(|it| (it.status, it.ending)).collect();
    assert_eq!(ends, [(200, Ending::Told), (422, Ending::Refused)]);
}

const SERVICE: &str = "[[listeners]]\naddress = \"127.0.0.1:0\"\nserves = \"ext_authz\"\n\n\
    [[callers]]\nid = \"tester\"\nnetworks = [\"192.0.2.0/24\"]\n\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_proxy_takes_out_what_only_the_gateway_says_and_says_it_instead() {
    let origin = Origin::echo();
    for told in [false, true] {
        let kept = Scratch::new();
        let trail = kept.path().join("trail");
        let more = format!("{SERVICE}[forwarding]\nprincipal = {told}\n");
        let mut gateway = start(&config(origin.address, &trail, &more));
        let mut caller = Caller::connect(gateway.address, Protocol::H2c).await;
        let names = [
            "CAIO-Decision",
            "caio-capability",
            "caio-other",
            "caio-principal",
            "caio_principal",
            "x-a",
            "x-client-cert-subject",
            "x_a",
        ];
        let value = |name| if name == "caio-capability" { "test.echo/1" } else { "eve" };
        let headers = names.map(|name| (name, value(name)));
        let (_, body) =
            check(&mut caller, CHECK, full(framed(&question("GET", "/x", &headers)))).await;
        let removed: Vec<String> = wire::find(&body[5..], &[3, 5])
            .into_iter()
            .map(|name| String::from_utf8(name).unwrap())
            .collect();
        let all = [
            "caio-capability",
            "caio-other",
            "caio-principal",
            "caio_principal",
            "x-client-cert-subject",
            "x_a",
        ];
        let expected: Vec<_> =
            all.into_iter().filter(|name| !told || *name != "caio-principal").collect();
        assert_eq!(removed, expected);
        let set: BTreeMap<String, String> = wire::find(&body[5..], &[3, 2, 1])
            .iter()
            .map(|header| (wire::text(header, &[1]), wire::text(header, &[2])))
            .collect();
        assert_ne!(set["caio-decision"], "eve");
        assert_eq!(set.get("caio-principal").map(String::as_str), told.then_some("tester"));
        drop(caller);
        gateway.terminate();
        assert_eq!(gateway.wait(), Some(0));
        verified(&trail);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_without_the_body_that_hooks_are_to_see_is_refused() {
    let origin = Origin::echo();
    let hook = crate::hook::Hook::start().await;
    for (strict, more) in [(false, ""), (true, "longer_body = \"refuse\"\n")] {
        let kept = Scratch::new();
        let trail = kept.path().join("trail");
        let more = format!("body_bytes = \"8B\"\n{more}");
        let more = format!("{SERVICE}{}", crate::hooks(hook.address, &more));
        let mut gateway = start(&config(origin.address, &trail, &more));
        let mut caller = Caller::connect(gateway.address, Protocol::H2c).await;
        for (length, partial, body, fits) in [
            ("5", "false", "short", true),
            ("0", "false", "", true),
            ("8", "false", "exactly8", true),
            ("20", "true", "the firs", !strict),
            ("20", "true", "the first and more", !strict),
            ("20", "false", "", false),
            ("20", "false", "short", false),
            ("20", "true", "short", false),
        ] {
            let headers = [("content-length", length), ("x-envoy-auth-partial-body", partial)];
            let before = hook.asked().len();
            let asked = question_with("POST", "/allow", &headers, body);
            let (_, answer) = check(&mut caller, CHECK, full(framed(&asked))).await;
            let refused = wire::find(&answer[5..], &[2, 1, 1]);
            let expected = if fits { vec![] } else { vec![b"503".to_vec()] };
            assert_eq!(refused, expected, "{length} {partial} `{body}`");
            assert_eq!(hook.asked().len(), before + usize::from(fits), "{length} `{body}`");
        }
        drop(caller);
        gateway.terminate();
        assert_eq!(gateway.wait(), Some(0));
        verified(&trail);
    }
}
