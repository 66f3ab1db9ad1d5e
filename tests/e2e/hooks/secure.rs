//! Hooks and companions over TLS: behind another gateway that ends it, and Python's server. Whoever
//! is not certainly the one that is meant is not asked.

use crate::authorities::{Authority, Leaf, Python};
use crate::hook::Hook;
use crate::support::origin::Origin;
use crate::support::peers::{Served, parts};
use crate::support::{Gateway, Protocol, Reply, Scratch, eventually, exchange};
use crate::wire::{framed, status};
use hyper::body::Incoming;
use hyper::{Request, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const NAME: &str = "hook.internal";

/// The authority of a test, and a directory that has `ca.pem`, and `me.pem` that it signed.
fn signed(authority: &Authority) -> Scratch {
    let scratch = Scratch::new();
    authority.write(&scratch, "ca");
    authority.sign(&scratch, "hook", &Leaf::server(&[NAME]));
    authority.sign(&scratch, "me", &Leaf::client(9));
    scratch
}

/// A gateway with this listener, a trail, and more.
fn gateway(scratch: Scratch, listener: &str, origin: SocketAddr, more: &str) -> Gateway {
    let config = format!(
        "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 1\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n{listener}\n[audit]\ndirectory = \"trail\"\n\
         [[services]]\ncontract = \"echo.toml\"\nendpoints = [\"{origin}\"]\n{more}"
    );
    Gateway::start_in(scratch, &config)
}

fn asking(kind: &str, at: SocketAddr, tls: &str) -> String {
    format!(
        "[governance]\nhooks = [\"opa\"]\n[[hooks]]\nid = \"opa\"\nkind = \"{kind}\"\n\
         endpoints = [\"{at}\"]\ntimeout = \"5s\"\n{tls}\n"
    )
}

/// A gateway that ends TLS before a server of gRPC, and asks callers for a certificate.
fn before(authority: &Authority, server: SocketAddr) -> Gateway {
    let listener = "tls = { certificates = [{ certificate = \"hook.pem\", key = \"hook.key\" }], \
        client = { mode = \"required\", ca = [\"ca.pem\"] } }";
    gateway(signed(authority), listener, server, "protocol = \"h2c\"\n")
}

fn get(gateway: &Gateway) -> Reply {
    let asked = b"GET /allow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    exchange(gateway.address, asked, usize::MAX)
}

fn refused(gateway: &Gateway, what: &str) {
    let reply = get(gateway);
    assert_eq!(reply.status(), Some(503), "{what}");
    let code = reply.responses[0].field("caio-refusal");
    assert_eq!(code, Some("governance.unavailable"), "{what}");
}

fn ends(mut gateway: Gateway) {
    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    crate::after::verified(&gateway.folder().join("trail"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_over_grpc_is_asked_over_tls_and_only_if_it_is_certainly_the_one_meant() {
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    let (origin, hook) = (Origin::echo(), Hook::start().await);
    let hooks = before(&authority, hook.address);
    let shown = "certificate = \"me.pem\", key = \"me.key\"";
    let good = format!("tls = {{ ca = [\"ca.pem\"], name = \"{NAME}\", {shown} }}");
    let asked = |tls: &str| {
        let scratch = signed(&authority);
        stranger.write(&scratch, "stranger");
        gateway(scratch, "", origin.address, &asking("grpc", hooks.address, tls))
    };
    let outer = asked(&good);
    for _ in 0..3 {
        assert_eq!(get(&outer).status(), Some(200), "{}", outer.said());
    }
    ends(outer);
    assert_eq!(hook.asked().len(), 3);
    for (what, tls) in [
        ("another authority's", good.replace("ca.pem", "stranger.pem")),
        ("another name", good.replace(NAME, "other.internal")),
        ("the address it is at", good.replace(&format!(", name = \"{NAME}\""), "")),
        ("another id", good.replace(&format!("name = \"{NAME}\""), "spiffe = \"spiffe://a/b\"")),
        ("nothing is shown to it", good.replace(&format!(", {shown}"), "")),
        ("in the clear", String::new()),
    ] {
        let before = origin.requests().len();
        let outer = asked(&tls);
        refused(&outer, what);
        assert_eq!(origin.requests().len(), before, "{what}: nothing is forwarded");
        ends(outer);
    }
    assert_eq!(hook.asked().len(), 3, "nobody else's question came to it");
    ends(hooks);
}

#[test]
fn a_hook_over_http_is_asked_over_tls_and_its_authorities_are_read_again() {
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    let origin = Origin::echo();
    let served = signed(&authority);
    let python = Python::start(served.path(), "hook", "ca.pem");
    let scratch = signed(&authority);
    stranger.write(&scratch, "trusted");
    let tls = format!(
        "tls = {{ ca = [\"trusted.pem\"], name = \"{NAME}\", certificate = \"me.pem\", \
         key = \"me.key\" }}\npath_prefix = \"/check\""
    );
    let folder = scratch.path().to_owned();
    let outer = gateway(scratch, "", origin.address, &asking("http", python.address, &tls));
    refused(&outer, "another authority's");
    let trusted = std::fs::read(folder.join("ca.pem")).unwrap();
    std::fs::write(folder.join("trusted.pem"), trusted).unwrap();
    eventually("the authority is read again", || get(&outer).status() == Some(200));
    outer.tells("hook `opa`: its certificates were read again");
    assert_eq!(get(&outer).status(), Some(200), "on a connection that is kept");
    ends(outer);
    let heard = python.end();
    assert!(heard.lines().all(|line| line == "GET /check/allow HTTP/1.1"), "{heard}");
}

#[test]
fn a_process_whose_hook_cannot_be_told_from_others_does_not_start() {
    let (authority, origin) = (Authority::new("authority"), Origin::echo());
    let scratch = signed(&authority);
    let tls = "tls = { ca = [\"absent.pem\"] }";
    scratch.write("vocabulary.toml", crate::VOCABULARY);
    scratch.write("echo.toml", crate::ECHO);
    let config = format!(
        "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n\
         [[services]]\ncontract = \"echo.toml\"\nendpoints = [\"{}\"]\n{}",
        origin.address,
        asking("grpc", origin.address, tls)
    );
    let file = scratch.write("caio.toml", &config);
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_caio"))
        .args(["run", "-c"])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains("hook `opa`: ") && said.contains("absent.pem"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn companions_are_told_over_tls_and_only_if_they_are_certainly_the_ones_meant() {
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    let (origin, calls) = (Origin::echo(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&calls);
    let server = Served::start(Protocol::H2c, move |request: Request<Incoming>| {
        assert_eq!(request.uri().authority().map(|it| it.as_str()), Some(NAME));
        counted.fetch_add(1, Ordering::SeqCst);
        let body = parts(vec![framed(&status(0)).into()], &[("grpc-status", "0")]);
        let answer = Response::builder().header("content-type", "application/grpc").body(body);
        std::future::ready(answer.unwrap())
    });
    let server = server.await;
    let (grpc, served) = (before(&authority, server.address), signed(&authority));
    let http = Python::start(served.path(), "hook", "-");
    let scratch = signed(&authority);
    stranger.write(&scratch, "stranger");
    let shown = "certificate = \"me.pem\", key = \"me.key\"";
    let tls = format!("tls = {{ ca = [\"ca.pem\"], name = \"{NAME}\", {shown} }}");
    let companion = |id: &str, kind: &str, at: SocketAddr, tls: &str| {
        format!("[[companions]]\nid = \"{id}\"\nkind = \"{kind}\"\nendpoint = \"{at}\"\n{tls}\n")
    };
    let strange = tls.replace("ca.pem", "stranger.pem");
    let more = [
        companion("watch", "grpc", grpc.address, &tls),
        companion("lines", "http", http.address, &tls),
        companion("no-watch", "grpc", grpc.address, &strange),
        companion(
            "no-lines",
            "http",
            http.address,
            &strange.replace("tls =", "path = \"/no\"\ntls ="),
        ),
    ];
    let outer = gateway(scratch, "", origin.address, &more.concat());
    assert_eq!(get(&outer).status(), Some(200));
    for id in ["no-watch", "no-lines"] {
        let why = format!("companion {id}: it cannot be told from anybody else");
        eventually("the operator is told", || outer.said().contains(&why));
    }
    let cursor = outer.folder().join("trail/companions");
    // The frame that a companion is told next.
    let next = |id: &str| {
        let text = std::fs::read_to_string(cursor.join(format!("{id}.cursor"))).unwrap_or_default();
        text.split(' ').nth(3).map_or(0, |number| number.parse::<u64>().unwrap())
    };
    for (right, wrong) in [("watch", "no-watch"), ("lines", "no-lines")] {
        eventually("one was told, and one was not", || next(right) > next(wrong));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    ends(outer);
    let heard = http.end();
    assert!(heard.starts_with("POST / HTTP/1.1") && !heard.contains("/no"), "{heard}");
}
