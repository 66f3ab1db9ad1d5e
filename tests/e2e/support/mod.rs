//! Starts the real binary on loopback and speaks raw bytes to it, with an origin that records
//! every byte it is sent. Standard library only: nothing here can mend what a test broke.
//!
//! No sleeps and no fixed ports: whoever waits, waits for a line, for bytes or for an end, each
//! with a deadline that fails the test.

#![allow(dead_code, reason = "each test target uses its own part")]
#![allow(unreachable_pub, missing_docs, reason = "a module of a test, with no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

pub mod h2;
pub mod load;
pub mod origin;
pub mod peers;
pub mod strict;

use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take on a slow machine before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A directory of this test's own, removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("caio-e2e-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How a peer is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    H2c,
}

pub const VOCABULARY: &str = r#"vocabulary = "caio-vocabulary/1"
version = "1.0.0"

[[attributes]]
name = "request.bytes"
side = "request"
type = "int"
unit = "bytes"
source = "body-bytes"
"#;

/// Of a service that takes everything.
pub const CONTRACT: &str = r#"contract = "caio/1"
service = "test.echo"
version = "1.0.0"

[[offers]]
capability = "test.echo/1"
interface = { http = ["* /*"] }
"#;

impl Protocol {
    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::H2c => "h2c",
        }
    }
}

fn config(origin: SocketAddr, protocol: Protocol, more: &str) -> String {
    let protocol = protocol.word();
    format!(
        r#"config = "caio/1"
vocabulary = "vocabulary.toml"

[process]
workers = 1

[[listeners]]
address = "127.0.0.1:0"

[[services]]
contract = "echo.toml"
endpoints = ["{origin}"]
protocol = "{protocol}"
{more}"#
    )
}

/// A directory with a whole configuration, and its process file.
pub fn configuration(origin: SocketAddr, protocol: Protocol, more: &str) -> (Scratch, PathBuf) {
    let scratch = Scratch::new();
    scratch.write("vocabulary.toml", VOCABULARY);
    scratch.write("echo.toml", CONTRACT);
    let file = scratch.write("caio.toml", &config(origin, protocol, more));
    (scratch, file)
}

/// The binary under test, running.
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    output: Arc<Mutex<String>>,
    scratch: Scratch,
}

impl Gateway {
    /// Starts `caio run` in front of `origin`.
    pub fn start(origin: SocketAddr, protocol: Protocol) -> Self {
        Self::start_with(origin, protocol, "")
    }

    /// The same with `more` at the end of the process file.
    pub fn start_with(origin: SocketAddr, protocol: Protocol, more: &str) -> Self {
        let (scratch, file) = configuration(origin, protocol, more);
        Self::launch(scratch, &file, &[])
    }

    /// The same over HTTP/1.1, with variables of the environment.
    pub fn start_among(origin: SocketAddr, more: &str, surroundings: &[(&str, &Path)]) -> Self {
        let (scratch, file) = configuration(origin, Protocol::Http1, more);
        Self::launch(scratch, &file, surroundings)
    }

    /// Starts `caio run` on files of a test's own; `caio.toml` is the process file.
    pub fn start_on(files: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new();
        for (name, text) in files {
            scratch.write(name, text);
        }
        let file = scratch.path().join("caio.toml");
        Self::launch(scratch, &file, &[])
    }

    /// Starts `caio run` in a directory that has the contract `echo.toml` and whatever else the
    /// process file names.
    pub fn start_in(scratch: Scratch, process_file: &str) -> Self {
        scratch.write("vocabulary.toml", VOCABULARY);
        scratch.write("echo.toml", CONTRACT);
        let file = scratch.write("caio.toml", process_file);
        Self::launch(scratch, &file, &[])
    }

    /// Starts it again on the files of one that has ended.
    pub fn start_again(mut ended: Self) -> Self {
        let scratch = std::mem::replace(&mut ended.scratch, Scratch::new());
        let file = scratch.path().join("caio.toml");
        Self::launch(scratch, &file, &[])
    }

    fn launch(scratch: Scratch, file: &Path, surroundings: &[(&str, &Path)]) -> Self {
        Self::attempt(scratch, file, surroundings).unwrap_or_else(|(_, why)| panic!("{why}"))
    }

    /// Starts `caio run` on files that may be wrong; else its exit code, if it ended, and what it
    /// said.
    pub fn attempt(
        scratch: Scratch,
        file: &Path,
        surroundings: &[(&str, &Path)],
    ) -> Result<Self, (Option<i32>, String)> {
        Self::attempt_program(Path::new(env!("CARGO_BIN_EXE_caio")), scratch, file, surroundings)
    }

    /// The same with a program of a test's own.
    pub fn attempt_program(
        program: &Path,
        scratch: Scratch,
        file: &Path,
        surroundings: &[(&str, &Path)],
    ) -> Result<Self, (Option<i32>, String)> {
        let mut command = Command::new(program);
        command
            .arg("run")
            .arg("-c")
            .arg(file)
            .current_dir(scratch.path())
            .envs(surroundings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A program that was written just now is busy while a process that another test starts in
        // that very moment has not let go of the file yet.
        let mut started = None;
        eventually("the program is let go of", || {
            let spawned = command.spawn();
            let busy =
                spawned.as_ref().is_err_and(|error| error.kind() == ErrorKind::ExecutableFileBusy);
            started = Some(spawned);
            !busy
        });
        let mut child = started.unwrap().expect("the binary under test starts");
        let output = Arc::new(Mutex::new(String::new()));
        let (found, addresses) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        watch(stdout, Arc::clone(&output), found.clone());
        watch(stderr, Arc::clone(&output), found);
        // Both watchers hang up when the process ends, so a start that fails is not waited for.
        let address = match addresses.recv_timeout(PATIENCE) {
            Ok(address) => address,
            Err(why) => {
                let why = match why {
                    RecvTimeoutError::Timeout => {
                        let _ = child.kill();
                        "it did not say where it listens"
                    }
                    RecvTimeoutError::Disconnected => "it ended",
                };
                let code = child.wait().ok().and_then(|status| status.code());
                let said = output.lock().unwrap();
                let what = format!("`caio run` did not start: {why}; it said:\n{said}");
                return Err((code, what));
            }
        };
        Ok(Self { child, address, output, scratch })
    }

    /// Fails the test if the process has ended or reported a panic.
    pub fn assert_sound(&mut self) {
        let ended = self.child.try_wait().unwrap();
        let said = self.output.lock().unwrap();
        assert!(ended.is_none(), "the gateway ended with {ended:?}; it said:\n{said}");
        assert!(!said.contains("panicked at"), "the gateway panicked:\n{said}");
    }

    /// What the process has written so far.
    pub fn said(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until the process has written this: what it does may be seen before what it says.
    pub fn tells(&self, what: &str) {
        eventually(what, || self.said().contains(what));
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let sent = Command::new("kill").arg("-TERM").arg(self.id().to_string()).status();
        assert!(sent.expect("`kill` runs").success());
    }

    /// Sends SIGHUP: the files are read again.
    pub fn reload(&self) {
        let sent = Command::new("kill").arg("-HUP").arg(self.id().to_string()).status();
        assert!(sent.expect("`kill` runs").success());
    }

    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Ends the process at once, as a power failure would as far as it can tell.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the process to end by itself; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let mut ended = None;
        eventually("the gateway ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.and_then(|status| status.code())
    }

    /// Open descriptors of the process.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }

    /// The process id, for tests that send signals or read `/proc`.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its probes are answered.
    pub fn probes(&self) -> SocketAddr {
        let told = || {
            let said = self.said();
            let line = said.lines().find_map(|line| line.split("probes on ").nth(1))?;
            line.parse().ok()
        };
        eventually("it says where its probes are", || told().is_some());
        told().unwrap()
    }

    /// The value of a series on its metrics page, if it stands there.
    pub fn sample(&self, series: &str) -> Option<u64> {
        let asked = b"GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n";
        let page = exchange(self.probes(), asked, usize::MAX);
        let page = String::from_utf8(page.responses[0].body.clone()).unwrap();
        let mut lines = page.lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(value.parse().unwrap())
    }

    /// The same of one that stands there.
    pub fn counted(&self, series: &str) -> u64 {
        self.sample(series).unwrap_or_else(|| panic!("the page has no {series}"))
    }

    /// No file grows beyond this from now on: writes end with EFBIG, as on a disk that fails.
    pub fn limit_files(&self, bytes: &str) {
        let (process, limit) = (self.id().to_string(), format!("--fsize={bytes}"));
        let mut set = Command::new("prlimit");
        let set = set.args(["--pid", &process, &limit]).stdin(Stdio::null()).status();
        assert!(set.expect("`prlimit` (util-linux) runs").success());
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn watch(
    from: impl Read + Send + 'static,
    output: Arc<Mutex<String>>,
    found: mpsc::Sender<SocketAddr>,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { break };
            if let Some(address) = listening_on(&line) {
                let _ = found.send(address);
            }
            let mut output = output.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    });
}

/// The address in a line such as `listening on 127.0.0.1:40123` or `listening on http://…:40123`.
fn listening_on(line: &str) -> Option<SocketAddr> {
    let (_, after) = line.split_once("listening on ")?;
    let words = after.split(|c: char| c.is_whitespace() || "\"',;()".contains(c));
    words.map(|word| word.trim_start_matches("http://")).find_map(|word| word.parse().ok())
}

/// Looks again until `holds`, or fails the test when patience is at its end.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    // Waiting on a channel nobody sends on is how a thread pauses between two looks.
    let (_keep, nothing) = mpsc::channel::<()>();
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        let _ = nothing.recv_timeout(Duration::from_millis(5));
    }
}

/// An address that refuses connections: nobody listens there any more.
pub fn nowhere() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A connection whose reads and writes all have a deadline.
pub struct Wire {
    stream: TcpStream,
}

/// How a peer ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// An orderly end.
    Closed,
    /// A reset: also an end, with bytes unread.
    Reset,
    /// None within the deadline.
    Open,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the gateway accepts")
    }

    /// The same where nobody may listen.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Ok(Self { stream })
    }

    /// The same from this address of the machine's own.
    pub fn connect_from(address: SocketAddr, source: IpAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).expect("the gateway accepts");
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    /// Sends all bytes; a peer that has already ended the connection is no failure here.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads some bytes before `deadline`; `Ok(0)` is an orderly end.
    pub fn read(&mut self, into: &mut [u8], deadline: Instant) -> Result<usize, End> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(End::Open);
        }
        self.stream.set_read_timeout(Some(left)).unwrap();
        match self.stream.read(into) {
            Ok(0) => Err(End::Closed),
            Ok(count) => Ok(count),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(End::Open)
            }
            Err(_) => Err(End::Reset),
        }
    }

    /// Reads until the end, or until `enough` says so.
    pub fn read_until(
        &mut self,
        patience: Duration,
        mut enough: impl FnMut(&[u8]) -> bool,
    ) -> (Vec<u8>, End) {
        let deadline = Instant::now() + patience;
        let (mut bytes, mut chunk) = (Vec::new(), vec![0; 16_384]);
        loop {
            if enough(&bytes) {
                return (bytes, End::Open);
            }
            match self.read(&mut chunk, deadline) {
                Ok(count) => bytes.extend(&chunk[..count]),
                Err(end) => return (bytes, end),
            }
        }
    }
}

/// What came back on an HTTP/1.1 connection.
#[derive(Debug)]
pub struct Reply {
    /// Final responses, in order; interim ones are in `interim`.
    pub responses: Vec<strict::Response>,
    pub interim: Vec<u16>,
    pub end: End,
}

impl Reply {
    pub fn status(&self) -> Option<u16> {
        self.responses.first().map(|response| response.status)
    }

    pub fn ended(&self) -> bool {
        self.end != End::Open
    }
}

/// Sends `bytes` in pieces of at most `piece` and reads until the gateway ends the connection or
/// `count` final responses are there and it has had the chance to end it.
pub fn exchange(address: SocketAddr, bytes: &[u8], piece: usize) -> Reply {
    let mut wire = Wire::connect(address);
    for part in bytes.chunks(piece) {
        if !wire.send(part) {
            break;
        }
    }
    reply(&mut wire, PATIENCE)
}

/// Reads until the end of the connection and takes what came apart, strictly.
pub fn reply(wire: &mut Wire, patience: Duration) -> Reply {
    let (bytes, end) = wire.read_until(patience, |_| false);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let all = strict::responses(&bytes).unwrap_or_else(|why| panic!("{why} in a reply:\n{text}"));
    let (interim, responses): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|response| response.status < 200);
    let interim = interim.into_iter().map(|response| response.status).collect();
    Reply { responses, interim, end }
}

/// A legitimate request is served, through to the origin and back.
pub fn assert_serves(address: SocketAddr) {
    let request = b"POST /healthy HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\
                    Connection: close\r\n\r\nhello";
    let reply = exchange(address, request, usize::MAX);
    assert_eq!(reply.status(), Some(200), "legitimate traffic is served: {reply:?}");
    assert!(reply.ended(), "`Connection: close` is honoured");
}

#[test]
fn the_configuration_of_these_tests_is_accepted() {
    let (_scratch, file) = configuration(([127, 0, 0, 1], 9).into(), Protocol::H2c, "");
    let faults = caio::config::load(&caio::cli::disk::Disk, &file).err().unwrap_or_default();
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
