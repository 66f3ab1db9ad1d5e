//! The process: how it starts and refuses to, how it drains, and what it holds meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use hyper::Response;
use hyper::body::{Bytes, Frame};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use support::h2::{self, Connection, frame, head};
use support::origin::Origin;
use support::peers::{BOTH, Caller, Served, channel, empty, full, request, whole, within};
use support::{
    End, Gateway, PATIENCE, Protocol, Scratch, VOCABULARY, Wire, assert_serves, eventually, reply,
};
use tokio::sync::watch;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// SIGTERM: no new connections, idle ones end, what is in flight is finished and told that it was
/// the last, and the process ends well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_finishes_what_is_in_flight_and_ends_well() {
    for up in BOTH {
        let (go, went) = watch::channel(false);
        let (begun, mut count) = watch::channel(0);
        let begun = std::sync::Arc::new(begun);
        let origin = Served::start(up, move |request| {
            let (mut went, begun) = (went.clone(), begun.clone());
            async move {
                let early = request.uri().path() == "/early";
                begun.send_modify(|count| *count += 1);
                if !early {
                    went.wait_for(|go| *go).await.unwrap();
                    return Response::new(full("finished"));
                }
                // The head and a part of the body are out before the drain begins.
                let (sender, body) = channel();
                tokio::spawn(async move {
                    sender.send(Ok(Frame::data(Bytes::from("fini")))).await.unwrap();
                    went.wait_for(|go| *go).await.unwrap();
                    sender.send(Ok(Frame::data(Bytes::from("shed")))).await.unwrap();
                });
                Response::new(body)
            }
        })
        .await;
        let mut gateway = Gateway::start(origin.address, up);
        let address = gateway.address;
        let mut idle = Wire::connect(address);
        let mut answers = tokio::task::JoinSet::new();
        for down in BOTH {
            for path in ["/late", "/early"] {
                answers.spawn(async move {
                    let mut caller = Caller::connect(address, down).await;
                    let asked = request(down, "POST", path).body(full("content")).unwrap();
                    let answer = caller.send(asked).await.unwrap();
                    let last = answer.headers().get("connection").is_some_and(|it| it == "close");
                    let (body, _) = within(whole(answer.into_body())).await.unwrap();
                    (down, path, last, body)
                });
            }
        }
        within(count.wait_for(|count| *count == 4)).await.unwrap();
        gateway.terminate();
        let (bytes, end) = idle.read_until(PATIENCE, |_| false);
        assert!(bytes.is_empty() && end != End::Open, "an idle connection ends: {end:?}");
        eventually("new connections are refused", || TcpStream::connect(address).is_err());
        go.send(true).unwrap();
        while let Some(ended) = within(answers.join_next()).await {
            let (down, path, last, body) = ended.unwrap();
            assert_eq!(body, "finished", "{down:?} to {up:?}: {path}");
            if down == Protocol::Http1 && path == "/late" {
                assert!(last, "{up:?}: told that it is the last");
            }
        }
        assert_eq!(gateway.wait(), Some(0), "{}", gateway.said());
        assert!(gateway.said().contains("draining"), "{}", gateway.said());
    }
}

#[test]
fn a_drain_says_goodbye_on_idle_http2_connections() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let mut connection = Connection::open(gateway.address);
    assert!(connection.call(1, &head("GET", "/", &[])));
    gateway.terminate();
    let end = connection.read_until(PATIENCE, |frame| frame.kind == h2::GOAWAY);
    assert_eq!(end, End::Open);
    let asks = |frame: &h2::Frame| frame.kind == h2::PING && frame.flags & h2::ACK == 0;
    assert_eq!(connection.read_until(PATIENCE, asks), End::Open, "whether it was read");
    let payload = connection.ping_payload();
    connection.send(&frame(h2::PING, h2::ACK, 0, &payload));
    let ended = connection.until_end();
    assert_eq!(ended.goaway(), Some(0), "NO_ERROR: {ended:?}");
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.said());
}

#[test]
fn a_drain_cuts_off_what_outlives_its_time() {
    let (held, origin) = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    };
    let more = "[timeouts]\ndrain = \"300ms\"\n";
    let mut gateway = Gateway::start_with(origin, Protocol::Http1, more);
    let mut wire = Wire::connect(gateway.address);
    wire.send(GET);
    let (_stream, _) = held.accept().unwrap();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.said());
    let (_, end) = wire.read_until(PATIENCE, |_| false);
    assert_ne!(end, End::Open);
}

/// One request each, then idle: what a connection costs while nobody uses it.
#[test]
fn an_idle_connection_holds_at_most_eight_kib() {
    // So many that the megabytes by which a process grows at once do not show.
    const CONNECTIONS: usize = 6_000;
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let open = || {
        let mut wire = Wire::connect(gateway.address);
        wire.send(GET);
        let (_, end) = wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"ok"));
        assert_eq!(end, End::Open);
        wire
    };
    // What the first ones bring up once is not counted.
    let mut held: Vec<Wire> = (0..100).map(|_| open()).collect();
    let before = gateway.resident_kib();
    held.extend((0..CONNECTIONS).map(|_| open()));
    let grown = gateway.resident_kib().saturating_sub(before) as usize;
    assert!(grown <= 8 * CONNECTIONS, "{CONNECTIONS} connections hold {grown} KiB");
    drop(held);
    gateway.assert_sound();
}

/// The same over HTTP/2, whose state is larger: the library keeps its tables and buffers.
#[test]
fn an_idle_http2_connection_is_bounded() {
    const CONNECTIONS: usize = 500;
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let open = || {
        let mut connection = Connection::open(gateway.address);
        assert!(connection.call(1, &head("GET", "/", &[])));
        connection
    };
    let mut held: Vec<Connection> = (0..50).map(|_| open()).collect();
    let before = gateway.resident_kib();
    held.extend((0..CONNECTIONS).map(|_| open()));
    let grown = gateway.resident_kib().saturating_sub(before) as usize;
    assert!(grown <= IDLE_HTTP2_KIB * CONNECTIONS, "{CONNECTIONS} connections hold {grown} KiB");
    drop(held);
    gateway.assert_sound();
}

/// Receive buffer, send buffers of h2, its compression tables, and ours.
const IDLE_HTTP2_KIB: usize = 96;

/// Flags of the process's sockets, by descriptor.
fn socket_flags(gateway: &Gateway) -> BTreeMap<String, u32> {
    let mut flags = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{}/fd", gateway.id())).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        if !target.to_string_lossy().starts_with("socket:") {
            continue;
        }
        let info = format!("/proc/{}/fdinfo/{name}", gateway.id());
        let Ok(info) = std::fs::read_to_string(info) else { continue };
        let line = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        flags.insert(name, u32::from_str_radix(line.trim(), 8).unwrap());
    }
    flags
}

#[test]
fn no_socket_survives_an_exec() {
    const CLOEXEC: u32 = 0o2_000_000;
    let origin = Origin::echo();
    let gateway = Gateway::start(origin.address, Protocol::Http1);
    let mut wire = Wire::connect(gateway.address);
    wire.send(GET);
    let (_, end) = wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"ok"));
    assert_eq!(end, End::Open);
    let flags = socket_flags(&gateway);
    assert!(flags.len() >= 3, "a listener, a caller's and a service's: {flags:?}");
    for (name, flags) in flags {
        assert_ne!(flags & CLOEXEC, 0, "descriptor {name} has flags {flags:o}");
    }
}

#[test]
fn connections_that_came_and_went_leave_no_descriptor() {
    let origin = Origin::echo();
    // Connections to the service are kept for a while by design: not for long here.
    let more = "[timeouts]\nidle_upstream = \"100ms\"\n";
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
    assert_serves(gateway.address);
    let before = gateway.descriptors();
    for count in 0..200 {
        let mut wire = Wire::connect(gateway.address);
        match count % 4 {
            0 => drop(wire.send(GET)),
            1 => drop(wire.send(&GET[..10])),
            2 => wire.finish_sending(),
            _ => {}
        }
    }
    eventually("all of them are closed", || gateway.descriptors() <= before);
    gateway.assert_sound();
    assert_serves(gateway.address);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_services_are_not_kept_for_ever() {
    for up in BOTH {
        let origin = Served::start(up, |_| async { Response::new(full("ok")) }).await;
        let more = "[timeouts]\nidle_upstream = \"100ms\"\n";
        let gateway = Gateway::start_with(origin.address, up, more);
        let mut caller = Caller::connect(gateway.address, Protocol::H2c).await;
        let asked = request(Protocol::H2c, "GET", "/").body(empty()).unwrap();
        within(whole(caller.send(asked).await.unwrap().into_body())).await.unwrap();
        let held = gateway.descriptors();
        eventually("the service's is closed", || gateway.descriptors() == held - 1);
    }
}

/// Runs `caio run` on `files` to its end: exit code, standard output, standard error.
fn run_to_end(files: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let scratch = Scratch::new();
    for (name, text) in files {
        scratch.write(name, text);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_caio"))
        .args(["run", "-c", "caio.toml"])
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const CONTRACT: &str = "contract = \"caio/1\"\nservice = \"test.echo\"\nversion = \"1.0.0\"\n\
                        [[offers]]\ncapability = \"test.echo/1\"\n\
                        interface = { http = [\"* /*\"] }\n";

fn config(listener: &str) -> String {
    format!(
        "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 1\n\
         [[listeners]]\naddress = \"{listener}\"\n\
         [[services]]\ncontract = \"echo.toml\"\nendpoints = [\"127.0.0.1:9\"]\n"
    )
}

#[test]
fn without_io_uring_it_says_so_in_one_line_and_ends() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
    const EPERM: u32 = 1;
    const IO_URING_SETUP: i64 = 425;
    let arch: TargetArch = std::env::consts::ARCH.try_into().unwrap();
    let rules = BTreeMap::from([(IO_URING_SETUP, Vec::new())]);
    let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(EPERM));
    let filter = SeccompFilter::new(rules, allow, refuse, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    // A filter is inherited by children and never lifted: a thread of its own takes it along.
    let ended = std::thread::spawn(move || {
        seccompiler::apply_filter(&program).unwrap();
        let config = config("127.0.0.1:0");
        run_to_end(&[
            ("vocabulary.toml", VOCABULARY),
            ("echo.toml", CONTRACT),
            ("caio.toml", &config),
        ])
    });
    let (code, out, err) = ended.join().unwrap();
    assert_eq!(code, Some(1), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("io_uring is forbidden here"), "{err}");
    assert!(!out.contains("listening"), "{out}");
}

#[test]
fn an_address_that_is_taken_is_said_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, err) = run_to_end(&[
        ("vocabulary.toml", VOCABULARY),
        ("echo.toml", CONTRACT),
        ("caio.toml", &config(&address)),
    ]);
    assert_eq!(code, Some(1), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains(&address), "{err}");
}

#[test]
fn a_configuration_with_a_fault_is_refused_before_anything_listens() {
    let config = config("127.0.0.1:0") + "surplus = 1\n";
    let (code, out, err) = run_to_end(&[
        ("vocabulary.toml", VOCABULARY),
        ("echo.toml", CONTRACT),
        ("caio.toml", &config),
    ]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("surplus") && err.contains("caio.toml:"), "{err}");
    assert!(!out.contains("listening"), "{out}");
}

/// A keep-alive caller that asks again while the process drains is answered or cleanly closed.
#[test]
fn a_request_that_meets_the_drain_is_answered_or_closed_but_never_cut() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let mut wire = Wire::connect(gateway.address);
    wire.send(GET);
    let (_, end) = wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"ok"));
    assert_eq!(end, End::Open);
    gateway.terminate();
    wire.send(GET);
    let last = reply(&mut wire, PATIENCE);
    assert!(last.responses.len() <= 1, "{last:?}");
    assert!(last.responses.iter().all(|answer| answer.whole && answer.body == b"ok"));
    assert_ne!(last.end, End::Open);
    assert_eq!(gateway.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_callers_are_closed_after_their_time() {
    let origin = Origin::echo();
    let more = "[timeouts]\nidle_client = \"300ms\"\n";
    let gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
    for down in BOTH {
        let mut caller = Caller::connect(gateway.address, down).await;
        let asked = request(down, "GET", "/").body(empty()).unwrap();
        let answer = caller.send(asked).await.unwrap();
        within(whole(answer.into_body())).await.unwrap();
        within(async {
            while caller.is_kept().await {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}
