//! The landscape that changes while calls flow: what holds from when, and what a trail says of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

#[path = "tls/peers.rs"]
#[allow(dead_code, reason = "certificates and curl are used here, and no more")]
mod authorities;
#[path = "reload/bounds.rs"]
mod bounds;
#[path = "reload/certificates.rs"]
mod certificates;
#[path = "reload/listeners.rs"]
mod listeners;
mod support;

use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use support::origin::{Answer, Origin};
use support::{
    Gateway, PATIENCE, Protocol, Scratch, VOCABULARY, Wire, eventually, exchange, strict,
};

fn saying(word: &'static str) -> Origin {
    Origin::scripted(move |_| {
        Answer::kept(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len()))
    })
}

/// A call on a connection that is kept: status and body.
fn call(wire: &mut Wire) -> (u16, Vec<u8>) {
    assert!(wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    let whole = |bytes: &[u8]| strict::responses(bytes).is_ok_and(|all| !all.is_empty());
    let (bytes, _) = wire.read_until(PATIENCE, whole);
    let answer = strict::responses(&bytes).unwrap().remove(0);
    (answer.status, answer.body)
}

fn verified(trail: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_caio-check"))
        .arg(trail)
        .args(["--json", "--key"])
        .arg(trail.join("log-key.pub"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_landscape_changes_under_load_without_a_failed_call_and_the_trail_proves_it() {
    let trail = Scratch::new();
    let (one, two) = (saying("one"), saying("two"));
    let audit = format!("[audit]\ndirectory = \"{}\"", trail.path().display());
    let mut gateway = Gateway::start_with(one.address, Protocol::Http1, &audit);
    let file = gateway.folder().join("caio.toml");
    let first = std::fs::read_to_string(&file).unwrap();
    let second = first.replace(&one.address.to_string(), &two.address.to_string());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut wire = Wire::connect(gateway.address);
                while !over.load(Ordering::Relaxed) {
                    let (status, body) = call(&mut wire);
                    assert_eq!(status, 200);
                    assert!(body == b"one" || body == b"two");
                }
            });
        }
        for round in 0..10 {
            let (text, word) = match round % 2 {
                0 => (&second, b"two"),
                _ => (&first, b"one"),
            };
            std::fs::write(&file, text).unwrap();
            gateway.reload();
            let mut wire = Wire::connect(gateway.address);
            eventually("the change holds", || call(&mut wire).1 == word);
            // From then on for good, on every connection.
            (0..20).for_each(|_| assert_eq!(call(&mut wire).1, word));
        }
        over.store(true, Ordering::Relaxed);
    });
    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let (code, said) = verified(trail.path());
    assert_eq!(code, Some(0), "{said}");
    let texts = std::fs::read_dir(trail.path().join("snapshots")).unwrap().count();
    assert_eq!(texts, 1, "the others follow from the one that it began with");
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_is_told_by_its_place() {
    let one = saying("one");
    let mut gateway = Gateway::start(one.address, Protocol::Http1);
    let file = gateway.folder().join("caio.toml");
    let sound = std::fs::read_to_string(&file).unwrap();
    let mut wire = Wire::connect(gateway.address);
    for wrong in ["config = \"caio/1\"\nvocabulary = 3", "", "\u{0}"] {
        let told = gateway.said().matches("nothing was changed").count();
        std::fs::write(&file, wrong).unwrap();
        gateway.reload();
        eventually("the fault is told", || {
            gateway.said().matches("nothing was changed").count() > told
        });
        gateway.tells("caio.toml");
        assert_eq!(call(&mut wire), (200, b"one".to_vec()));
    }
    std::fs::write(&file, &sound).unwrap();
    gateway.reload();
    eventually("the same again is nothing new", || gateway.said().contains("as before"));
    std::fs::write(&file, sound.replace("workers = 1", "workers = 2")).unwrap();
    gateway.reload();
    let told = "caio.toml:5:1: `process.workers` is not what the process was started with; SIGUSR2";
    eventually("what a reload cannot change is told", || gateway.said().contains(told));
    assert_eq!(call(&mut wire), (200, b"one".to_vec()));
    gateway.assert_sound();
}

/// A gateway of two workers with the operations `/counted`, on which quotas are, and `/free`.
struct Changing {
    gateway: Gateway,
    base: String,
    kept: Scratch,
    origin: Origin,
}

const TWO_OFFERS: &str = r#"contract = "caio/1"
service = "test.echo"
version = "1.0.0"
[[offers]]
capability = "test.counted/1"
interface = { http = ["GET /counted"] }
[[offers]]
capability = "test.free/1"
interface = { http = ["GET /free"] }
"#;

impl Changing {
    fn start(listener: &str, more: &str) -> Self {
        let (kept, origin) = (Scratch::new(), Origin::echo());
        let base = format!(
            "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 2\n\
             [audit]\ndirectory = \"{}\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
             [[services]]\ncontract = \"echo.toml\"\nendpoints = [\"{}\"]\n",
            kept.path().display(),
            origin.address
        );
        let config = with(&base, listener, more);
        let files =
            [("caio.toml", &*config), ("vocabulary.toml", VOCABULARY), ("echo.toml", TWO_OFFERS)];
        Self { gateway: Gateway::start_on(&files), base, kept, origin }
    }

    /// Status and the landscape that decided, of a call with these fields on a fresh connection.
    fn ask(&self, path: &str, fields: &str) -> (u16, Option<String>) {
        let bytes =
            format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{fields}\r\n");
        let reply = exchange(self.gateway.address, bytes.as_bytes(), usize::MAX);
        let decision = reply.responses[0].field("caio-decision").unwrap_or_default().to_owned();
        let snapshot = decision.split("; ").find_map(|part| part.strip_prefix("snapshot="));
        (reply.status().unwrap(), snapshot.map(str::to_owned))
    }

    fn statuses(&self, calls: usize) -> Vec<u16> {
        (0..calls).map(|_| self.ask("/counted", "").0).collect()
    }

    /// Changes the file and waits until what it says holds; `fields` are those of a caller who may
    /// call `/free` before and after.
    fn change(&self, listener: &str, more: &str, fields: &str) {
        let before = self.ask("/free", fields).1.unwrap();
        let file = self.gateway.folder().join("caio.toml");
        std::fs::write(file, with(&self.base, listener, more)).unwrap();
        self.gateway.reload();
        eventually("the change holds", || {
            self.ask("/free", fields).1.is_some_and(|now| now != before)
        });
    }

    fn end(mut self) {
        self.gateway.assert_sound();
        self.gateway.terminate();
        assert_eq!(self.gateway.wait(), Some(0));
        let (code, said) = verified(self.kept.path());
        assert_eq!(code, Some(0), "{said}");
        assert!(!self.origin.requests().is_empty());
    }
}

/// A process file with more keys for its listener, and more behind it all.
fn with(base: &str, listener: &str, more: &str) -> String {
    let address = "address = \"127.0.0.1:0\"\n";
    base.replace(address, &format!("{address}{listener}")) + more
}

fn quota(id: &str, more: &str) -> String {
    let counts = "capabilities = [\"test.counted/1\"]\nrate = \"1/h\"\n";
    format!("[[quotas]]\nid = \"{id}\"\n{counts}{more}\n")
}

#[test]
fn a_quota_that_is_unchanged_keeps_what_is_used_up_and_a_changed_one_begins_anew() {
    let kept = quota("kept", "burst = 3");
    let changing = Changing::start("", &kept);
    assert_eq!(changing.statuses(2), [200, 200]);
    // Another stands before it now, and its number is another.
    changing.change("", &format!("{kept}{}", quota("a", "burst = 100")), "");
    assert_eq!(changing.statuses(3), [200, 429, 429], "it remembers both calls");
    changing.change("", &quota("kept", "burst = 2"), "");
    assert_eq!(changing.statuses(3), [200, 200, 429], "it is another one");
    changing.change("", "", "");
    assert_eq!(changing.statuses(3), [200; 3], "there is none");
    changing.change("", &quota("kept", "burst = 2"), "");
    assert_eq!(changing.statuses(3), [200, 200, 429], "and none was remembered");
    let said = changing.gateway.said();
    assert!(!said.contains("restart"), "{said}");
    changing.end();
}

#[test]
fn a_quota_of_workers_is_kept_by_each_of_them() {
    let quota = |more: &str| quota("parts", &format!("burst = 4\nscope = \"worker\"\n{more}"));
    let changing = Changing::start("", &quota(""));
    // Whichever of the two workers took how many, two of each is all there is.
    while changing.statuses(8) != [429; 8] {}
    let other = "[[quotas]]\nid = \"z\"\nrate = \"1000/s\"\n";
    changing.change("", &(quota("") + other), "");
    assert_eq!(changing.statuses(16), [429; 16], "each has used up its part");
    changing.end();
}

#[test]
fn a_quota_that_is_wrong_changes_nothing() {
    let kept = quota("kept", "burst = 2");
    let changing = Changing::start("", &kept);
    assert_eq!(changing.statuses(1), [200]);
    let file = changing.gateway.folder().join("caio.toml");
    let wrong = with(&changing.base, "", &kept.replace("1/h", "1/week"));
    std::fs::write(file, wrong).unwrap();
    changing.gateway.reload();
    eventually("the fault is told", || changing.gateway.said().contains("nothing was changed"));
    assert_eq!(changing.statuses(2), [200, 429]);
    changing.end();
}

/// An identity of API keys with one key, in this header.
fn keys(folder: &Scratch, name: &str, header: &str, key: &str) -> String {
    let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    let text =
        format!("[[keys]]\nprincipal = \"{name}\"\nhash = \"sha256:{hash}\"\nowner = \"us\"\n");
    let file = folder.write(&format!("{name}.toml"), &text);
    format!(
        "[[identities]]\nname = \"{name}\"\nkind = \"api_key\"\nfile = \"{}\"\n\
         header = \"{header}\"\n",
        file.display()
    )
}

const ONE: &str = "caio_0123456789abcdef0123456789abcdef";
const TWO: &str = "caio_ffffffffffffffffffffffffffffffff";
const OPEN: &str = "[policy]\ndefault = \"open\"\n";

/// Calls `/free` on a connection that is kept.
fn kept_call(wire: &mut Wire, fields: &str) -> u16 {
    answered(wire, fields).status
}

fn answered(wire: &mut Wire, fields: &str) -> strict::Response {
    let asked = format!("GET /free HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
    assert!(wire.send(asked.as_bytes()));
    let whole = |bytes: &[u8]| strict::responses(bytes).is_ok_and(|all| !all.is_empty());
    let (bytes, _) = wire.read_until(PATIENCE, whole);
    strict::responses(&bytes).unwrap().remove(0)
}

#[test]
fn what_callers_are_known_by_changes_with_the_landscape_or_not_at_all() {
    let folder = Scratch::new();
    let (one, two) = (keys(&folder, "a", "x-one", ONE), keys(&folder, "b", "x-two", TWO));
    let both = format!("{one}{two}{OPEN}");
    let changing = Changing::start("identify = [\"a\"]\n", &format!("{one}{OPEN}"));
    let (one, two) = (format!("X-One: {ONE}\r\n"), format!("X-Two: {TWO}\r\n"));
    let status = |fields: &str| changing.ask("/free", fields).0;
    let file = changing.gateway.folder().join("caio.toml");
    let reload = |listener: &str, more: &str| {
        std::fs::write(&file, with(&changing.base, listener, more)).unwrap();
        changing.gateway.reload();
    };
    assert_eq!([status(&one), status(&two), status("")], [200, 401, 401]);
    let mut wire = Wire::connect(changing.gateway.address);
    assert_eq!(kept_call(&mut wire, &one), 200);

    reload("identify = [\"b\", \"a\", \"anonymous\"]\n", &both);
    // What is not known is no credential, so whoever shows it alone is anonymous now.
    eventually("it is known by another key too", || status("") == 200);
    assert_eq!([status(&one), status(&two)], [200, 200]);
    assert_eq!([status("X-Two: wrong\r\n"), status("X-One: wrong\r\n")], [401, 401]);
    assert_eq!(kept_call(&mut wire, "X-Two: wrong\r\n"), 401, "on connections that are open too");
    assert_eq!(kept_call(&mut wire, &two), 200);

    // A file of keys that is not there changes nothing.
    let told = || changing.gateway.said().matches("nothing was changed").count();
    let gone = both.replace("b.toml", "gone.toml");
    reload("identify = [\"b\"]\n", &gone);
    eventually("the missing file is told", || told() == 1);
    assert_eq!([status(&one), status(&two), status("")], [200, 200, 200]);

    // Another listener beside it, which identifies others.
    let beside = support::nowhere();
    let other = format!("[[listeners]]\nname = \"beside\"\naddress = \"{beside}\"\n");
    reload("identify = [\"b\"]\n", &format!("{both}{other}identify = [\"a\"]\n"));
    eventually("anonymous callers are refused", || status("") == 401);
    assert_eq!([status(&one), status(&two)], [401, 200]);
    assert_eq!(kept_call(&mut wire, &one), 401);
    let mut elsewhere = Wire::connect(beside);
    assert_eq!([&*one, &*two, ""].map(|it| kept_call(&mut elsewhere, it)), [200, 401, 401]);
    // On a connection whose listener is gone callers are known as they were there.
    reload("identify = [\"b\"]\n", &both);
    eventually("its connection ends", || {
        let answer = answered(&mut elsewhere, &one);
        assert_eq!(answer.status, 200);
        answer.field("connection") == Some("close")
    });
    changing.end();
}
