//! Governance hooks through the real binary: what they may do, and that whatever else they do
//! refuses, each with its status and its record; and the gateway as such a hook itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

#[path = "hooks/after.rs"]
mod after;
#[path = "tls/peers.rs"]
#[allow(dead_code, reason = "certificates and Python's server are used here, and no more")]
mod authorities;
#[path = "hooks/bodies.rs"]
mod bodies;
#[path = "hooks/changing.rs"]
mod changing;
#[path = "hooks/hook.rs"]
mod hook;
#[path = "hooks/secure.rs"]
mod secure;
#[path = "hooks/slow.rs"]
mod slow;
mod support;
#[path = "hooks/wire.rs"]
mod wire;
#[path = "hooks/withheld.rs"]
mod withheld;

use caio::audit::asked::{Asked, Came};
use caio::audit::record::{self, Ending, Record};
use hook::{FAILURES, Hook};
use hyper::body::Bytes;
use hyper::header::HeaderMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::origin::{Answer, Origin};
use support::peers::{BOTH, call, empty, full, parts, request};
use support::{Gateway, Protocol, Scratch, eventually, nowhere};

const VOCABULARY: &str = r#"vocabulary = "caio-vocabulary/1"
version = "1.0.0"

[[attributes]]
name = "caller.clearance"
side = "caller"
type = "int"
"#;

const ECHO: &str = r#"contract = "caio/1"
service = "test.echo"
version = "1.0.0"

[[offers]]
capability = "test.echo/1"
interface = { http = ["* /*"] }
"#;

/// Only for callers of whom a hook says enough.
const VAULT: &str = r#"contract = "caio/1"
service = "test.vault"
version = "1.0.0"

[[offers]]
capability = "test.vault/1"
interface = { http = ["GET /change/vault", "GET /low/vault"] }
[offers.demands]
clear = 'caller.clearance >= 3'
"#;

/// A gateway with a trail, a service and these hooks, asked on every route.
struct World {
    gateway: Gateway,
    origin: Origin,
    kept: Scratch,
}

impl World {
    fn start(hooks: &str) -> Self {
        Self::with_origin(hooks, Origin::echo())
    }

    fn with_origin(hooks: &str, origin: Origin) -> Self {
        let kept = Scratch::new();
        let trail = kept.path().join("trail");
        let caio = format!(
            r#"config = "caio/1"
vocabulary = "vocabulary.toml"

[process]
workers = 1

[[listeners]]
address = "127.0.0.1:0"

[audit]
directory = "{}"

[[services]]
contract = "echo.toml"
endpoints = ["{}"]

[[services]]
contract = "vault.toml"
endpoints = ["{}"]

{hooks}"#,
            trail.display(),
            origin.address,
            origin.address,
        );
        let gateway = Gateway::start_on(&[
            ("caio.toml", &caio),
            ("vocabulary.toml", VOCABULARY),
            ("echo.toml", ECHO),
            ("vault.toml", VAULT),
        ]);
        Self { gateway, origin, kept }
    }

    /// Ends the gateway, has its trail verified, and returns what it says.
    fn told(mut self) -> Told {
        self.gateway.assert_sound();
        self.gateway.terminate();
        assert_eq!(self.gateway.wait(), Some(0));
        let directory = self.kept.path().join("trail");
        let check =
            Command::new(env!("CARGO_BIN_EXE_caio-check")).arg(&directory).output().unwrap();
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        let said = said + &String::from_utf8_lossy(&check.stderr);
        assert_eq!(check.status.code(), Some(0), "{said}");
        after::verified(&directory);
        Told::read(&directory)
    }
}

/// One decision as a trail tells it.
#[derive(Debug)]
struct Decided {
    reason: u16,
    asked: Vec<Asked>,
    status: u16,
    ending: Ending,
}

#[derive(Debug)]
struct Told(Vec<Decided>);

impl Told {
    fn read(directory: &Path) -> Self {
        let mut names: Vec<_> = std::fs::read_dir(directory.join("segments"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        let (mut all, mut asked) = (Vec::new(), Vec::new());
        for name in names {
            let bytes = std::fs::read(name).unwrap();
            let mut rest = &bytes[..];
            while let Some(frame) = caio::audit::frame::take(&mut rest) {
                let mut body = frame.body;
                while let Some((place, record)) = record::take(&mut body) {
                    match record {
                        Record::Asked(one) => asked.push(one),
                        Record::Decision(decision) => all.push(Decided {
                            reason: decision.reason,
                            asked: std::mem::take(&mut asked),
                            status: 0,
                            ending: Ending::Unknown,
                        }),
                        Record::Outcome(outcome) => {
                            let decided = &mut all[place.sequence as usize];
                            (decided.status, decided.ending) = (outcome.status, outcome.ending);
                        }
                        _ => {}
                    }
                }
            }
        }
        Self(all)
    }

    fn came(&self) -> Vec<Vec<Came>> {
        self.0.iter().map(|it| it.asked.iter().map(|asked| asked.came).collect()).collect()
    }
}

fn hooks(hook: SocketAddr, more: &str) -> String {
    format!(
        r#"[governance]
hooks = ["opa"]

[[hooks]]
id = "opa"
kind = "grpc"
endpoints = ["{hook}"]
{more}"#
    )
}

const FACTS: &str = "facts = { caller.clearance = \"metadata:clearance\" }\n";

fn values(request: &support::strict::Request, name: &str) -> Vec<String> {
    let same = request.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    same.map(|(_, value)| value.clone()).collect()
}

async fn get(
    world: &World,
    protocol: Protocol,
    path: &str,
    fields: &[(&str, &str)],
) -> (u16, HeaderMap, Bytes) {
    let mut builder = request(protocol, "GET", path);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    let (head, body, _) =
        call(world.gateway.address, protocol, builder.body(empty()).unwrap()).await.unwrap();
    (head.status.as_u16(), head.headers, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_hook_does_but_answer_sensibly_refuses_and_is_on_record() {
    let hook = Hook::start().await;
    let world = World::start(&hooks(hook.address, FACTS));
    let mut expected = Vec::new();
    for protocol in BOTH {
        for word in FAILURES {
            let began = Instant::now();
            let (status, fields, body) = get(&world, protocol, &format!("/{word}"), &[]).await;
            assert_eq!(status, 503, "{word} over {protocol:?}");
            assert_eq!(fields["caio-refusal"], "governance.unavailable", "{word}");
            assert!(fields.contains_key("retry-after"));
            let body = String::from_utf8_lossy(&body).into_owned();
            assert!(body.contains("hook `opa`"), "{body}");
            assert!(began.elapsed() < Duration::from_secs(5), "{word} does not hold its caller up");
            expected.push(vec![Came::Unavailable]);
            // One that is sensible in between, and is believed.
            let (status, ..) = get(&world, protocol, "/allow", &[]).await;
            assert_eq!(status, 200, "after {word} over {protocol:?}");
            expected.push(vec![Came::Allow]);
        }
    }
    let served = world.origin.requests().len();
    assert_eq!(served, 2 * FAILURES.len(), "only what was allowed arrived");
    let told = world.told();
    assert_eq!(told.came(), expected);
    let refused = caio::exchange::refusal::Reason::GovernanceUnavailable.number();
    for (decided, came) in told.0.iter().zip(expected) {
        let (reason, status, ending) = match came[0] {
            Came::Allow => (0, 200, Ending::Whole),
            _ => (refused, 503, Ending::Refused),
        };
        assert_eq!((decided.reason, decided.status, decided.ending), (reason, status, ending));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowing_hook_changes_fields_and_states_facts_that_decide() {
    let hook = Hook::start().await;
    let world = World::start(&hooks(hook.address, FACTS));
    for protocol in BOTH {
        let sent = [("x-secret", "s"), ("x-user", "eve"), ("x-kept", "k")];
        let (status, fields, _) = get(&world, protocol, "/change/vault", &sent).await;
        assert_eq!(status, 200);
        assert_eq!(fields["x-seen"], "yes");
        let arrived = world.origin.requests().pop().unwrap();
        assert_eq!(values(&arrived, "x-user"), ["ann"], "the caller's own word is gone");
        assert_eq!(values(&arrived, "x-secret"), [""; 0]);
        assert_eq!(values(&arrived, "x-kept"), ["k"]);
        let (status, fields, _) = get(&world, protocol, "/low/vault", &[]).await;
        assert_eq!((status, &fields["caio-refusal"]), (422, &"contract.demand".parse().unwrap()));
    }
    let question = hook.asked().remove(0);
    assert_eq!(wire::described(&question, 2), [b"GET"]);
    assert_eq!(wire::described(&question, 4), [b"/change/vault"]);
    assert_eq!(wire::described(&question, 5), [b"a.example"]);
    assert_eq!(wire::described(&question, 10), [b"HTTP/1.1"]);
    assert_eq!(wire::described_header(&question, "x-user").as_deref(), Some("eve"));
    assert_eq!(wire::described_header(&question, ":path").as_deref(), Some("/change/vault"));
    assert_eq!(wire::text(&question, &[1, 1, 4]), "anonymous", "source.principal");
    assert_eq!(wire::text(&question, &[1, 1, 1, 1, 2]), "127.0.0.1", "source.address");
    assert_eq!(wire::text(&question, &[1, 2, 1, 1, 2]), "127.0.0.1", "destination.address");
    let port = world.gateway.address.port().to_string();
    assert_eq!(wire::text(&question, &[1, 2, 1, 1, 3]), port, "of the listener");
    let told = world.told();
    assert!(told.came().iter().all(|came| came == &[Came::Allow]), "{told:?}");
    assert!(told.0.iter().all(|decided| decided.asked[0].digest != [0; 16]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denying_hook_says_how_its_caller_is_refused() {
    let hook = Hook::start().await;
    let world = World::start(&hooks(hook.address, ""));
    for protocol in BOTH {
        let (status, fields, body) = get(&world, protocol, "/deny", &[]).await;
        assert_eq!((status, &body[..]), (401, &b"go away"[..]));
        assert_eq!(fields["www-authenticate"], "Basic");
        assert_eq!(fields["caio-refusal"], "governance.denied");
        let (status, fields, _) = get(&world, protocol, "/plaindeny", &[]).await;
        assert_eq!(
            (status, &fields["content-type"]),
            (403, &"application/problem+json".parse().unwrap())
        );
    }
    // A gRPC caller reads it in gRPC's words, without a body.
    let asked = request(Protocol::H2c, "POST", "/deny")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let asked = asked.body(full(wire::framed(b""))).unwrap();
    let (head, body, _) = call(world.gateway.address, Protocol::H2c, asked).await.unwrap();
    assert_eq!((head.status.as_u16(), head.headers["grpc-status"].to_str().unwrap()), (200, "16"));
    assert_eq!(head.headers.get_all("content-type").iter().count(), 1);
    assert!(body.is_empty());
    assert!(world.origin.requests().is_empty());
    let told = world.told();
    assert!(told.came().iter().all(|came| came == &[Came::Deny]), "{told:?}");
    let statuses: Vec<u16> = told.0.iter().map(|decided| decided.status).collect();
    assert_eq!(statuses, [401, 403, 401, 403, 401]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_holds_is_not_asked_for_again_and_the_record_says_so() {
    let hook = Hook::start().await;
    let cache = "cache = { key = [\"path\", \"header:x-tenant\"], ttl = \"1h\" }\n";
    let world = World::start(&hooks(hook.address, cache));
    let calls = [
        ("/allow", "a", 200, false),
        ("/allow", "a", 200, true),
        ("/allow", "b", 200, false),
        ("/allow?x", "a", 200, false),
        ("/deny", "a", 401, false),
        ("/deny", "a", 401, true),
        ("/garbage", "a", 503, false),
        ("/garbage", "a", 503, false),
        ("/allow", "a", 200, true),
    ];
    for (path, tenant, expected, _) in calls {
        let (status, ..) = get(&world, Protocol::Http1, path, &[("x-tenant", tenant)]).await;
        assert_eq!(status, expected, "{path}");
    }
    let fresh = calls.iter().filter(|(.., cached)| !cached).count();
    assert_eq!(hook.asked().len(), fresh, "a failure is asked for again");
    let users: Vec<_> = world.origin.requests().iter().map(|it| values(it, "x-user")).collect();
    assert!(users.iter().all(|user| user == &["ann"]), "an answer that holds changes as much");
    let cached: Vec<bool> = world.told().0.iter().map(|it| it.asked[0].cached).collect();
    assert_eq!(cached, calls.map(|(.., cached)| cached));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_on_failure_is_a_choice_that_every_record_tells() {
    let hook = Hook::start().await;
    let world = World::start(&hooks(hook.address, "on_failure = \"open\"\n"));
    for (path, expected) in [("/garbage", 200), ("/slow", 200), ("/deny", 401), ("/allow", 200)] {
        let (status, ..) = get(&world, Protocol::Http1, path, &[]).await;
        assert_eq!(status, expected, "{path}");
    }
    let trail = world.kept.path().join("trail");
    let show = |number: usize, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caio"));
        let id = format!("w0-{number}");
        command.args(["audit", "show", "--trail"]).arg(&trail).arg(id).args(more);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    eventually("the last is on record", || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caio"));
        let looked = command.args(["audit", "show", "--trail"]).arg(&trail).arg("w0-3");
        looked.output().unwrap().status.success()
    });
    assert!(
        show(0, &[]).contains("opa: gave no answer that can be taken, and is configured to open")
    );
    assert!(show(2, &[]).contains("opa: denies it, after "));
    assert!(show(3, &[]).contains("opa: allows it, after "));
    for (number, came) in ["open", "open", "deny", "allow"].into_iter().enumerate() {
        let told: serde_json::Value = serde_json::from_str(&show(number, &["--json"])).unwrap();
        let hook = &told["hooks"][0];
        assert_eq!((&hook["hook"], &hook["came"]), (&"opa".into(), &came.into()));
        assert_eq!(hook["digest"].is_string(), !came.starts_with("open"), "{hook}");
        assert_eq!(told["hooks"].as_array().unwrap().len(), 1);
    }
    let came = [[Came::Open], [Came::Open], [Came::Deny], [Came::Allow]];
    assert_eq!(world.told().came(), came);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_hooks_of_a_route_must_allow_in_its_order() {
    let (first, second) = (Hook::start().await, Hook::start().await);
    let two = format!(
        r#"{}
[[hooks]]
id = "b"
kind = "grpc"
endpoints = ["{}"]

[[routes]]
id = "both"
operation = "* /*"
host = "a.example"
capability = "test.echo/1"
hooks = ["opa", "b"]

[[routes]]
id = "none"
host = "a.example"
operation = "GET /free"
capability = "test.echo/1"
hooks = []
"#,
        hooks(first.address, ""),
        second.address
    );
    let world = World::start(&two);
    let (status, ..) = get(&world, Protocol::Http1, "/allow", &[]).await;
    assert_eq!((status, first.asked().len(), second.asked().len()), (200, 1, 1));
    let (status, ..) = get(&world, Protocol::Http1, "/plaindeny", &[]).await;
    assert_eq!((status, first.asked().len(), second.asked().len()), (403, 2, 1));
    let free = request(Protocol::Http1, "GET", "/free").body(empty()).unwrap();
    let (head, ..) = call(world.gateway.address, Protocol::Http1, free).await.unwrap();
    assert_eq!((head.status.as_u16(), first.asked().len()), (200, 2), "a route may ask nobody");
    let numbers: Vec<Vec<u16>> =
        world.told().0.iter().map(|it| it.asked.iter().map(|asked| asked.hook).collect()).collect();
    // By the order of ids: `b` is 0 and `opa` 1.
    assert_eq!(numbers, [vec![1, 0], vec![1], vec![]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_is_gone_refuses_at_once_and_is_asked_again_when_it_comes_back() {
    let address = nowhere();
    let world = World::start(&hooks(address, ""));
    for _ in 0..20 {
        let (status, fields, _) = get(&world, Protocol::Http1, "/allow", &[]).await;
        assert_eq!(
            (status, fields["caio-refusal"].as_bytes()),
            (503, &b"governance.unavailable"[..])
        );
    }
    assert!(world.origin.requests().is_empty());
    // Something that accepts and says nothing, then something that speaks another language.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = World::start(&hooks(silent.local_addr().unwrap(), ""));
    let began = Instant::now();
    for _ in 0..30 {
        assert_eq!(get(&mute, Protocol::Http1, "/allow", &[]).await.0, 503);
    }
    // Five wait for their timeout; who comes then does not.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let foreign = Origin::scripted(|_| Answer::ok());
    let other = World::start(&hooks(foreign.address, ""));
    assert_eq!(get(&other, Protocol::H2c, "/allow", &[]).await.0, 503);
    for world in [world, mute, other] {
        assert!(world.told().came().iter().all(|came| came == &[Came::Unavailable]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_flaps_refuses_while_it_is_away_and_no_longer() {
    let relay = Flapping::start(Hook::start().await.address);
    let hook = Hook::start().await;
    relay.towards(hook.address);
    let world = World::start(&hooks(relay.address, ""));
    for _ in 0..3 {
        eventually_ok(&world).await;
        relay.cut();
        let (status, ..) = get(&world, Protocol::Http1, "/allow", &[]).await;
        assert_eq!(status, 503, "its connections were cut, and no new ones are taken");
        relay.mend();
    }
    eventually_ok(&world).await;
    let came = world.told().came();
    assert!(came.iter().all(|came| matches!(came[..], [Came::Allow | Came::Unavailable])));
}

async fn eventually_ok(world: &World) {
    let deadline = Instant::now() + support::PATIENCE;
    while get(world, Protocol::Http1, "/allow", &[]).await.0 != 200 {
        assert!(Instant::now() < deadline, "in vain: the hook is asked again");
        let pause = Duration::from_millis(50);
        let _ = tokio::time::timeout(pause, std::future::pending::<()>()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_sees_the_beginning_of_a_body_and_the_service_all_of_it() {
    let hook = Hook::start().await;
    let world = World::start(&hooks(hook.address, "body_bytes = \"8B\"\n"));
    let cases: [(&[&str], &str, &str); 4] = [
        (&["short"], "short", "false"),
        (&["exactly8"], "exactly8", "false"),
        (&["much longer than eight"], "much lon", "true"),
        (&["in", " two ", "pieces"], "in two p", "true"),
    ];
    for protocol in BOTH {
        for (pieces, seen, partial) in cases {
            let whole = pieces.concat();
            for sized in [true, false] {
                let body = if sized {
                    full(whole.clone())
                } else {
                    parts(pieces.iter().map(|piece| Bytes::from(piece.to_string())).collect(), &[])
                };
                let asked = request(protocol, "POST", "/allow").body(body).unwrap();
                let (head, ..) = call(world.gateway.address, protocol, asked).await.unwrap();
                assert_eq!(head.status.as_u16(), 200);
                let question = hook.asked().pop().unwrap();
                assert_eq!(wire::described(&question, 11), [seen.as_bytes()], "{protocol:?}");
                let header = wire::described_header(&question, "x-envoy-auth-partial-body");
                assert_eq!(header.as_deref(), Some(partial), "{whole} {protocol:?} {sized}");
                let arrived = world.origin.requests().pop().unwrap();
                assert_eq!(arrived.body, whole.as_bytes(), "{protocol:?} {sized}");
            }
        }
    }
    world.told();
    let world =
        World::start(&hooks(hook.address, "body_bytes = \"8B\"\nlonger_body = \"refuse\"\n"));
    for protocol in BOTH {
        for (body, expected) in [("exactly8", 200), ("nine byte", 413)] {
            let asked = request(protocol, "POST", "/allow").body(full(body)).unwrap();
            let (head, ..) = call(world.gateway.address, protocol, asked).await.unwrap();
            assert_eq!(head.status.as_u16(), expected, "{body} {protocol:?}");
        }
    }
    world.told();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_do_not_go_past_a_hook_even_where_it_changes_nothing() {
    let hook = Hook::start().await;
    for (more, passed) in [("hooks = []", true), ("hooks = [\"opa\"]", false)] {
        let config = hooks(hook.address, "").replace("hooks = [\"opa\"]", more);
        let world = World::start(&config);
        let body = parts(vec![Bytes::from("body")], &[("x-sum", "mine")]);
        let asked = request(Protocol::H2c, "POST", "/plain").body(body).unwrap();
        let (head, ..) = call(world.gateway.address, Protocol::H2c, asked).await.unwrap();
        assert_eq!(head.status.as_u16(), 200);
        assert_eq!(world.origin.has_seen(b"mine"), passed, "{more}");
        world.told();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_waits_to_be_asked_for_its_body_is_asked_before_the_hook_is() {
    let hook = Hook::start().await;
    let world = World::start(&hooks(hook.address, "body_bytes = \"8B\"\n"));
    let mut wire = support::Wire::connect(world.gateway.address);
    wire.send(
        b"POST /allow HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\
          Connection: close\r\n\r\n",
    );
    let (first, _) = wire.read_until(support::PATIENCE, |bytes| bytes.ends_with(b"\r\n\r\n"));
    assert!(first.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&first));
    wire.send(b"body");
    let reply = support::reply(&mut wire, support::PATIENCE);
    assert_eq!(reply.status(), Some(200));
    assert_eq!(wire::described(&hook.asked()[0], 11), [b"body"]);
    world.told();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_over_http_allows_with_200_denies_with_others_and_fails_with_5xx() {
    let server = Origin::scripted(|asked| {
        let target = asked.target.strip_prefix("/check").expect("its prefix").to_owned();
        let head = |status: &str, more: &str| {
            format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n{more}\r\nno")
        };
        match target.trim_start_matches('/') {
            "allow" => Answer::kept(head("200", "X-User: ann\r\nX-Other: 1\r\nX-Seen: yes\r\n")),
            "deny" => Answer::kept(head("302", "Location: /login\r\nX-Other: 1\r\n")),
            "created" => Answer::kept(head("201", "")),
            "close" => Answer::raw(head("200", "")),
            "chunked" => Answer::kept(
                "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            ),
            "broken" => Answer::kept(head("500", "")),
            "garbage" => Answer::raw("what?\r\n\r\n"),
            "half" => Answer::kept("HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nno"),
            "huge" => Answer::large(200_000),
            other => panic!("`{other}` is nothing to do"),
        }
    });
    let config = format!(
        r#"[governance]
hooks = ["check"]

[[hooks]]
id = "check"
kind = "http"
endpoints = ["{}"]
path_prefix = "/check"
headers = ["x-tenant"]
service_headers = ["x-user"]
caller_headers = ["x-seen"]
context = {{ x-env = "test" }}
"#,
        server.address
    );
    let world = World::start(&config);
    for protocol in BOTH {
        for (path, expected) in [
            ("/allow", 200),
            ("/deny", 302),
            ("/created", 403),
            ("/close", 200),
            ("/chunked", 200),
            ("/broken", 503),
            ("/allow", 200),
            ("/garbage", 503),
            ("/half", 503),
            ("/huge", 503),
            ("/allow", 200),
        ] {
            let sent = [("x-tenant", "t"), ("x-user", "eve"), ("x-env", "spoofed")];
            let (status, fields, _) = get(&world, protocol, path, &sent).await;
            assert_eq!(status, expected, "{path} over {protocol:?}");
            assert!(!fields.contains_key("x-other"), "{path}");
            if path == "/allow" {
                assert_eq!(fields["x-seen"], "yes");
                let arrived = world.origin.requests().pop().unwrap();
                assert_eq!(values(&arrived, "x-user"), ["ann"]);
            }
            if path == "/deny" {
                assert_eq!(fields["location"], "/login");
            }
        }
    }
    let asked = server.requests().remove(0);
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/check/allow"));
    assert_eq!(values(&asked, "x-tenant"), ["t"]);
    assert_eq!(values(&asked, "x-user"), [""; 0], "only what is listed is sent");
    assert_eq!(values(&asked, "x-env"), ["test"], "what the operator says no caller says");
    world.told();
}

/// A relay of connections that can be cut and mended.
struct Flapping {
    address: SocketAddr,
    state: std::sync::Arc<std::sync::Mutex<State>>,
}

struct State {
    to: SocketAddr,
    up: bool,
    open: Vec<std::net::TcpStream>,
}

impl Flapping {
    fn start(to: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { to, up: true, open: Vec::new() };
        let state = std::sync::Arc::new(std::sync::Mutex::new(state));
        let shared = std::sync::Arc::clone(&state);
        std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let mut state = shared.lock().unwrap();
                if !state.up {
                    continue;
                }
                let Ok(to) = std::net::TcpStream::connect(state.to) else { continue };
                let copy = |one: &std::net::TcpStream| one.try_clone().unwrap();
                state.open.extend([copy(&from), copy(&to)]);
                for (mut one, mut other) in [(copy(&from), copy(&to)), (to, from)] {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut one, &mut other);
                        let _ = other.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { address, state }
    }

    fn towards(&self, to: SocketAddr) {
        self.state.lock().unwrap().to = to;
    }

    fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.up = false;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.state.lock().unwrap().up = true;
    }
}

/// What `eventually` of the support looks at is not awaited here.
#[test]
fn a_hook_that_nobody_names_is_asked_by_nobody() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hooks = hooks(silent.local_addr().unwrap(), "").replace("hooks = [\"opa\"]", "hooks = []");
    let world = World::start(&hooks);
    eventually("it is served", || {
        let asked = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        support::exchange(world.gateway.address, asked, usize::MAX).status() == Some(200)
    });
    assert!(world.told().0.iter().all(|decided| decided.asked.is_empty()));
}
