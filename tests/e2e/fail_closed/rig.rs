//! One gateway with all that it depends on, one part of which can be made to fail.

use crate::caller::{Caller, Outcome};
use crate::certificates::Authority;
use crate::matrix::{Dependency, Failure, Point};
use crate::outside::{Gated, Server};
use crate::support::{Gateway, Scratch, eventually};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::ClientConfig;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const KEY: &str = "caio_0123456789abcdef0123456789abcdef";
const ECHO: &str = r#"contract = "caio/1"
service = "test.echo"
version = "1.0.0"

[[offers]]
capability = "test.echo/1"
interface = { http = ["* /*"] }
"#;
/// Seconds for which keys are believed, where that end is to be seen.
const KEEP_S: u64 = 4;
/// Seconds after which a list is overdue, where that end is to be seen.
const DUE_S: u64 = 8;

pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What a caller was told of one request.
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) outcome: Outcome,
}

/// Changes something by turns until it is dropped.
struct Flapper(Option<(Sender<()>, JoinHandle<()>)>);

impl Flapper {
    fn start(pause: Duration, mut turn: impl FnMut(usize) + Send + 'static) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            for number in 0.. {
                turn(number);
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Self(Some((stop, thread)))
    }
}

impl Drop for Flapper {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

pub(crate) struct Rig {
    pub(crate) dependency: Dependency,
    pub(crate) failure: Failure,
    pub(crate) origin: Gated,
    pub(crate) folder: PathBuf,
    scratch: Option<Scratch>,
    gateway: Option<Gateway>,
    server: Option<Server>,
    flapper: Option<Flapper>,
    /// The file that fails, and what it says when it is well.
    file: Option<(PathBuf, String)>,
    /// Header lines that say who calls.
    credential: String,
    shows: Option<Arc<ClientConfig>>,
    bare: Option<Arc<ClientConfig>>,
    pub(crate) seen: Vec<Seen>,
    /// Since when it fails.
    pub(crate) failing: Option<Instant>,
    made: u32,
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key set, and a token of its key that holds for half an hour.
fn issued() -> (String, String) {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = key.public_key().as_ref();
    let (x, y) = (encoded(&point[1..33]), encoded(&point[33..65]));
    let kind = r#""kty":"EC","crv":"P-256","alg":"ES256""#;
    let set = format!(r#"{{"keys":[{{{kind},"kid":"one","x":"{x}","y":"{y}"}}]}}"#);
    let (from, to) = (now_s() - 60, now_s() + 1800);
    let claims =
        format!(r#"{{"iss":"https://id.test","aud":"caio","sub":"ann","nbf":{from},"exp":{to}}}"#);
    let signed =
        format!("{}.{}", encoded(br#"{"alg":"ES256","kid":"one"}"#), encoded(claims.as_bytes()));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    (set, format!("{signed}.{}", encoded(signature.as_ref())))
}

fn corp(keys: &str, keep: &str) -> String {
    format!(
        "[[identities]]\nname = \"corp\"\nkind = \"jwt\"\nissuer = \"https://id.test\"\n\
         audience = [\"caio\"]\nalgorithms = [\"ES256\"]\nkeys = \"{keys}\"\n\
         leeway = \"0s\"\n{keep}"
    )
}

impl Rig {
    pub(crate) fn new(dependency: Dependency, failure: Failure) -> Self {
        let (scratch, origin) = (Scratch::new(), Gated::start());
        let folder = scratch.path().to_owned();
        let mut rig = Self {
            dependency,
            failure,
            origin,
            folder,
            scratch: Some(scratch),
            gateway: None,
            server: None,
            flapper: None,
            file: None,
            credential: String::new(),
            shows: None,
            bare: None,
            seen: Vec::new(),
            failing: None,
            made: 0,
        };
        let config = rig.configure();
        rig.write("caio.toml", &config);
        rig.write("echo.toml", ECHO);
        rig.write("rules", "");
        rig.write("vocabulary.toml", crate::support::VOCABULARY);
        if dependency == Dependency::Snapshot {
            rig.file = Some((rig.folder.join("caio.toml"), config));
        }
        rig
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    /// What is particular about the configuration; makes what stands outside.
    fn configure(&mut self) -> String {
        let flaps = self.failure == Failure::Flapping;
        let keep = if flaps { "1h".to_owned() } else { format!("{KEEP_S}s") };
        let keep = format!("refresh = \"1s\"\nmin_refresh = \"1s\"\nkeep = \"{keep}\"\n");
        let hook = |kind: &str, server: &Server, more: &str| {
            format!(
                "[governance]\nhooks = [\"opa\"]\n[[hooks]]\nid = \"opa\"\nkind = \"{kind}\"\n\
                 endpoints = [\"{}\"]\nbody_bytes = \"8B\"\n{more}",
                server.address
            )
        };
        let nonsense = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"keys\":7";
        let (mut identify, mut tls, mut audit) = ("\"anonymous\"", String::new(), "");
        let more = match self.dependency {
            Dependency::KeySet => {
                let (set, token) = issued();
                self.credential = format!("Authorization: Bearer {token}\r\n");
                identify = "\"corp\"";
                let server = self.server.insert(Server::http(set, nonsense));
                corp(&format!("http://{}/keys", server.address), &keep)
            }
            Dependency::KeyFile => {
                let (set, token) = issued();
                self.credential = format!("Authorization: Bearer {token}\r\n");
                identify = "\"corp\"";
                self.keep("jwks.json", set);
                corp("jwks.json", &keep)
            }
            Dependency::KeyTable => {
                let hash = Sha256::digest(KEY.as_bytes());
                let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                self.credential = format!("X-Api-Key: {KEY}\r\n");
                identify = "\"keys\"";
                let table = "[[keys]]\nprincipal = \"billing\"\nowner = \"payments\"\n";
                self.keep("keys.toml", format!("{table}hash = \"sha256:{hash}\"\n"));
                "[[identities]]\nname = \"keys\"\nkind = \"api_key\"\nfile = \"keys.toml\"\n"
                    .to_owned()
            }
            Dependency::Crl => {
                identify = "\"mesh\"";
                let authority = self.secure();
                let due_s = now_s() + if flaps { 3600 } else { DUE_S };
                self.write("ca.crl", &authority.list(due_s));
                self.file = Some((self.folder.join("ca.crl"), authority.list(now_s() + 3600)));
                tls = shown("required", ", crl = [\"ca.crl\"]");
                MESH.to_owned()
            }
            Dependency::Clock => {
                let (set, token) = issued();
                self.credential = format!("Authorization: Bearer {token}\r\n");
                self.write("jwks.json", &set);
                identify = "\"corp\", \"mesh\"";
                drop(self.secure());
                tls = shown("optional", "");
                format!("{}{MESH}", corp("jwks.json", "min_refresh = \"1s\"\n"))
            }
            Dependency::HookGrpc => hook("grpc", self.server.insert(Server::grpc()), ""),
            Dependency::HookHttp => {
                // Half of an answer, then the end.
                let server = self.server.insert(Server::http(String::new(), &nonsense[..40]));
                hook("http", server, "")
            }
            Dependency::HookOpen => {
                let server = self.server.insert(Server::grpc());
                hook("grpc", server, "on_failure = \"open\"\n")
            }
            Dependency::Audit => {
                audit = "body_bytes = \"16KiB\"\n";
                String::new()
            }
            Dependency::AuditSync => {
                audit = "commit = \"sync\"\n";
                String::new()
            }
            Dependency::AuditBestEffort => {
                audit = "mode = \"best-effort\"\n";
                String::new()
            }
            Dependency::Snapshot => String::new(),
        };
        let Self { origin, .. } = self;
        format!(
            "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 1\n\
             [[listeners]]\naddress = \"127.0.0.1:0\"\nidentify = [{identify}]\n{tls}\
             [[services]]\ncontract = \"echo.toml\"\nendpoints = [\"{}\"]\n\
             [timeouts]\nclient_body_bytes_per_second_min = \"0B\"\n\
             [policy]\ndefault = \"open\"\n[audit]\ndirectory = \"trail\"\n{audit}{more}",
            origin.address,
        )
    }

    /// A file that is well now and is to fail.
    fn keep(&mut self, name: &str, text: String) {
        self.write(name, &text);
        self.file = Some((self.folder.join(name), text));
    }

    /// Certificates for the gateway and its callers; a caller's holds for half an hour.
    fn secure(&mut self) -> Authority {
        let authority = Authority::new();
        let server = authority.sign("a.example", (0, now_s() + 86_400), true);
        let caller = authority.sign("caller.example", (now_s() - 60, now_s() + 1800), false);
        self.write("ca.pem", &authority.pem);
        self.write("a.pem", &server.pem);
        self.write("a.key", &server.key);
        self.shows = Some(authority.caller(Some(&caller)));
        self.bare = Some(authority.caller(None));
        authority
    }

    /// Starts it; else how it ended, and what it said.
    pub(crate) fn start(&mut self) -> Result<(), (Option<i32>, String)> {
        let scratch = self.scratch.take().expect("it is started once");
        let rules = self.folder.join("rules");
        let around: [(&str, &Path); 1] = [("CAIO_INJECT", &rules)];
        self.gateway = Some(Gateway::attempt(scratch, &self.folder.join("caio.toml"), &around)?);
        Ok(())
    }

    pub(crate) fn gateway(&mut self) -> &mut Gateway {
        self.gateway.as_mut().expect("it runs")
    }

    /// How often it has said this.
    pub(crate) fn told(&self, what: &str) -> usize {
        self.gateway.as_ref().map_or(0, |gateway| gateway.said().matches(what).count())
    }

    /// From now on the dependency fails, or is well again.
    pub(crate) fn fail(&mut self, failure: Option<Failure>) {
        self.flapper = None;
        self.failing = failure.map(|_| Instant::now());
        let running = self.gateway.is_some();
        let rules = self.folder.join("rules");
        if let Some(server) = &self.server {
            server.fail(failure);
            return;
        }
        match self.dependency {
            Dependency::Clock => {
                let rule = |by: i64| format!("clock {by}");
                match failure {
                    None => put(&rules, ""),
                    Some(Failure::Absent) => put(&rules, &rule(-99_999_999_999)),
                    Some(Failure::Slow) => put(&rules, &rule(-7200)),
                    Some(Failure::Wrong) => put(&rules, &rule(7200)),
                    Some(Failure::Flapping) => {
                        self.flapper =
                            Some(Flapper::start(Duration::from_millis(300), move |turn| {
                                put(&rules, &rule([7200, 0, -7200, 0][turn % 4]));
                            }));
                    }
                }
            }
            Dependency::Audit | Dependency::AuditSync | Dependency::AuditBestEffort => {
                let trail = self.folder.join("trail");
                match failure {
                    Some(Failure::Absent) if running => std::fs::remove_dir_all(trail).unwrap(),
                    Some(Failure::Absent) => std::fs::write(trail, "in the way").unwrap(),
                    // In sync mode longer than calls wait; else so long that the ring fills up.
                    Some(Failure::Slow) => {
                        let sync = self.dependency == Dependency::AuditSync;
                        let ms = if !running {
                            200
                        } else if sync {
                            7000
                        } else {
                            3000
                        };
                        put(&rules, &format!("write delay {ms}"));
                    }
                    Some(Failure::Wrong) => put(&rules, "write EIO"),
                    Some(Failure::Flapping) => put(&rules, "write EIO 50%"),
                    None => {
                        put(&rules, "");
                        if trail.is_file() {
                            std::fs::remove_file(trail).unwrap();
                        }
                    }
                }
            }
            _ => self.fail_file(failure),
        }
    }

    fn fail_file(&mut self, failure: Option<Failure>) {
        let (path, text) = self.file.clone().expect("it depends on a file");
        if failure == Some(Failure::Flapping) {
            // In the place of a landscape another one comes as well, each time with a signal.
            let pid = self.gateway.as_ref().map(Gateway::id);
            let storms = pid.filter(|_| self.dependency == Dependency::Snapshot);
            let pause = Duration::from_millis(if storms.is_some() { 20 } else { 150 });
            self.flapper = Some(Flapper::start(pause, move |turn| {
                match turn % 4 {
                    0 => damage(&path, Failure::Wrong),
                    2 => damage(&path, Failure::Absent),
                    _ if storms.is_some() && turn % 4 == 1 => put(&path, &other(&text)),
                    _ => put(&path, &text),
                }
                if let Some(pid) = storms {
                    let sent = Command::new("kill").arg("-HUP").arg(pid.to_string()).status();
                    assert!(sent.unwrap().success());
                }
            }));
            return;
        }
        match failure {
            Some(failure) => damage(&path, failure),
            None => put(&path, &text),
        }
    }

    /// Has the files read again, and waits until that was done.
    pub(crate) fn reload(&mut self) {
        const SAID: [&str; 3] = ["nothing was changed", "as before", "from now on"];
        let told = |rig: &Self| SAID.iter().map(|what| rig.told(what)).sum::<usize>();
        let before = told(self);
        self.gateway().reload();
        eventually("the files were read again", || told(self) > before);
    }

    /// Another landscape for the next reload, by its process file.
    pub(crate) fn change(&self) {
        let path = self.folder.join("caio.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        put(&path, &other(&text));
    }

    /// A target that nobody asked for before.
    pub(crate) fn target(&mut self, what: &str) -> String {
        self.made += 1;
        format!("/{what}-{}", self.made)
    }

    /// A connection as callers of this gateway make it; with a certificate where that is asked for.
    pub(crate) fn open(&self, point: Point) -> Caller {
        let address = self.gateway.as_ref().expect("it runs").address;
        let shown = self.dependency == Dependency::Crl || point == Point::Handshake;
        Caller::open(address, if shown { self.shows.as_ref() } else { self.bare.as_ref() })
    }

    /// The bytes of a request.
    pub(crate) fn request(&self, target: &str, point: Point) -> String {
        let by_certificate = self.dependency == Dependency::Clock && point == Point::Handshake;
        let credential = if by_certificate { "" } else { &self.credential };
        let body = match self.dependency {
            // So that a ring is full soon.
            Dependency::Audit if point != Point::Answer => "b".repeat(16 << 10),
            _ => String::new(),
        };
        let method = if body.is_empty() { "GET" } else { "POST" };
        let length = body.len();
        format!(
            "{method} {target} HTTP/1.1\r\nHost: a.example\r\n{credential}\
             Content-Length: {length}\r\n\r\n{body}"
        )
    }

    /// The head of a request with eight bytes of content, of which half is sent with it.
    pub(crate) fn half_request(&self, target: &str) -> String {
        format!(
            "POST {target} HTTP/1.1\r\nHost: a.example\r\n{}Content-Length: 8\r\n\r\nhalf",
            self.credential
        )
    }

    /// Remembers what became of a request.
    pub(crate) fn note(&mut self, target: String, outcome: &Outcome) {
        self.seen.push(Seen { target, outcome: outcome.clone() });
    }
}

const MESH: &str = "[[identities]]\nname = \"mesh\"\nkind = \"peer_certificate\"\n";

fn shown(mode: &str, list: &str) -> String {
    format!(
        "tls = {{ certificates = [{{ certificate = \"a.pem\", key = \"a.key\" }}], \
         client = {{ mode = \"{mode}\", ca = [\"ca.pem\"]{list} }} }}\n"
    )
}

/// The same landscape with a caller more, or without it.
fn other(text: &str) -> String {
    const MORE: &str = "[[callers]]\nid = \"more\"\nnetworks = [\"10.0.0.0/8\"]\n";
    match text.strip_suffix(MORE) {
        Some(before) => before.to_owned(),
        None => format!("{text}{MORE}"),
    }
}

/// Puts a file there in one step.
fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Takes a file away, or puts something else in its place.
fn damage(path: &Path, failure: Failure) {
    match failure {
        Failure::Absent => {
            let _ = std::fs::remove_file(path);
        }
        // Nobody ever writes to it.
        Failure::Slow => {
            let new = path.with_extension("new");
            assert!(Command::new("mkfifo").arg(&new).status().unwrap().success());
            std::fs::rename(new, path).unwrap();
        }
        Failure::Wrong | Failure::Flapping => put(path, "\u{1}garbage ="),
    }
}
