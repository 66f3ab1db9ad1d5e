//! Policy through the real binary: who is let through, what is told of it, what it makes of a call.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use serde_json::Value as Json;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use support::origin::{Answer, Origin};
use support::{Gateway, PATIENCE, Protocol, Scratch, Wire, strict};

/// Two callers by the loopback addresses that they call from; whoever calls from another is
/// anonymous.
const CALLERS: &str = r#"
[[callers]]
id = "team/nurse"
networks = ["127.0.0.2/32"]
facts = { "caller.clearance" = 3 }

[[callers]]
id = "team/clerk"
networks = ["127.0.0.3/32"]
"#;

const NURSE: &str = "127.0.0.2";
const CLERK: &str = "127.0.0.3";
const STRANGER: &str = "127.0.0.9";
