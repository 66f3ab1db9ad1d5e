//! curl on the control socket, and documents to send with it.

#![allow(unreachable_pub, missing_docs, reason = "a module of a test, with no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

use crate::support::Gateway;
use serde_json::Value as Json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A process file without services, with a control socket and a place for what is registered.
pub fn process_file(more: &str) -> String {
    format!(
        "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 1\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n[admin]\nsocket = \"admin.sock\"\n\
         [registry]\ndirectory = \"registry\"\n{more}"
    )
}

/// A service of one capability; `GET /x` reaches it.
pub fn service(id: &str, endpoint: SocketAddr, more: &str) -> String {
    format!(
        "endpoints = [\"{endpoint}\"]\n{more}\n[contract]\n\
         service = \"{id}\"\nversion = \"1.0.0\"\n[[contract.offers]]\n\
         capability = \"test.x/1\"\ninterface = {{ http = [\"GET /x\"] }}\n"
    )
}

/// What curl was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub fn etag(&self) -> String {
        let line = self.head.lines().find_map(|line| line.strip_prefix("ETag: "));
        line.unwrap_or_else(|| panic!("{self:?}")).trim().to_owned()
    }
}

/// The control socket of a gateway.
#[derive(Clone)]
pub struct Control(pub PathBuf);

impl Control {
    pub fn of(gateway: &Gateway) -> Self {
        Self(gateway.folder().join("admin.sock"))
    }

    /// A curl on the socket, for a test that adds to it.
    pub fn curl(&self, path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "-D", "-", "--unix-socket"]).arg(&self.0);
        curl.arg(format!("http://admin{path}"));
        curl
    }

    /// One request; `None` where nobody answered.
    pub fn tried(&self, method: &str, path: &str, more: &[&str]) -> Option<Answer> {
        let mut curl = self.curl(path);
        curl.args(["-X", method]).args(more);
        answered(curl)
    }

    pub fn ask(&self, method: &str, path: &str, more: &[&str]) -> Answer {
        self.tried(method, path, more).expect("curl is answered")
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    pub fn put(&self, path: &str, document: &str, more: &[&str]) -> Answer {
        self.ask("PUT", path, &[&["--data-binary", document], more].concat())
    }

    pub fn register(&self, id: &str, endpoint: SocketAddr, more: &str) -> Answer {
        self.put(&format!("/v1/services/{id}"), &service(id, endpoint, more), &[])
    }
}

/// What a curl that shows heads was answered; `None` where nobody answered.
pub fn answered(mut curl: Command) -> Option<Answer> {
    let output = curl.output().unwrap();
    if !output.status.success() {
        return None;
    }
    let said = String::from_utf8(output.stdout).unwrap();
    let mut rest = said.as_str();
    loop {
        let (head, body) = rest.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status != 100 {
            let (head, text) = (head.to_owned(), body.to_owned());
            return Some(Answer { status, head, text });
        }
        rest = body;
    }
}

/// What `caio-check` says of a trail: its exit code and its words.
pub fn verified(trail: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_caio-check"))
        .arg(trail)
        .args(["--json", "--key"])
        .arg(trail.join("log-key.pub"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}
