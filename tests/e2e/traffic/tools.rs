//! The tools that people reach for first: curl and nghttp.

use super::support::peers::{Served, full, whole};
use super::support::{Gateway, Protocol};
use hyper::Response;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs `tool`; what it wrote. A tool that is not installed fails the test, which says so.
fn run(tool: &str, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("`{tool}` is needed by this test: {why}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

async fn origin(protocol: Protocol) -> Served {
    Served::start(protocol, |request| async move {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let (got, _) = whole(request.into_body()).await.unwrap();
        Response::new(full(format!("{method} {path} {}\n", got.len())))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_is_served_over_both_versions() {
    for up in super::support::peers::BOTH {
        let origin = origin(up).await;
        let gateway = Gateway::start(origin.address, up);
        let url = |path: &str| format!("http://{}{path}", gateway.address);
        let large = vec![b'x'; 300_000];
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let base = ["-sS", "--fail", "--max-time", "20", version];
            let with = |more: &[&str], input: &[u8]| run("curl", &[&base, more].concat(), input);
            assert_eq!(with(&[&url("/a")], b""), "GET /a 0\n");
            if version == "--http1.1" {
                // Two on one connection; curl 7.88 fails at that itself with prior knowledge.
                assert_eq!(with(&[&url("/a"), &url("/b")], b""), "GET /a 0\nGET /b 0\n");
            }
            // curl asks for permission to send a large body, and waits a second at most.
            let upload = ["--data-binary", "@-", &url("/c")];
            assert_eq!(with(&upload, &large), "POST /c 300000\n");
            let chunked = ["-T", "-", &url("/d")];
            assert_eq!(with(&chunked, &large), "PUT /d 300000\n");
            let head = with(&["-I", &url("/e")], b"");
            assert!(head.starts_with("HTTP/"), "{head}");
            assert!(head.to_lowercase().contains("caio-decision: "), "{head}");
        }
        let old = run("curl", &["-sS", "--fail", "--http1.0", &url("/old")], b"");
        assert_eq!(old, "GET /old 0\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nghttp_is_served_and_ends_well() {
    for up in super::support::peers::BOTH {
        let origin = origin(up).await;
        let gateway = Gateway::start(origin.address, up);
        let url = |path: &str| format!("http://{}{path}", gateway.address);
        let got = run("nghttp", &["--timeout=20s", &url("/a"), &url("/b")], b"");
        let mut lines: Vec<&str> = got.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["GET /a 0", "GET /b 0"]);
        let file = tempfile(&vec![b'x'; 200_000]);
        let data = format!("--data={}", file.path().display());
        let got = run("nghttp", &["--timeout=20s", &data, &url("/c")], b"");
        assert_eq!(got, "POST /c 200000\n");
        let trailers = ["--timeout=20s", &data, "--trailer=x-sum: 1", &url("/d")];
        assert_eq!(run("nghttp", &trailers, b""), "POST /d 200000\n");
    }
}

struct File(super::support::Scratch, std::path::PathBuf);

impl File {
    fn path(&self) -> &std::path::Path {
        let Self(_directory, path) = self;
        path
    }
}

fn tempfile(bytes: &[u8]) -> File {
    let directory = super::support::Scratch::new();
    let path = directory.path().join("data");
    std::fs::write(&path, bytes).unwrap();
    File(directory, path)
}
