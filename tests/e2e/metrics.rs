//! `/metrics`: what a scraper reads, held against a strict reader of both formats that shares
//! nothing with what writes them, and against what was really done.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use caio::exchange::refusal::Reason;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use support::origin::Origin;
use support::{Gateway, PATIENCE, Protocol, Wire, assert_serves, eventually, exchange, strict};

/// What a page says, by sample as it is written: `name{labels}`.
type Samples = BTreeMap<String, String>;

/// Reads a page of Prometheus's text format 0.0.4 or of OpenMetrics 1.0, and refuses what the
/// descriptions of the formats do not allow.
fn read(text: &str, open: bool) -> Result<Samples, String> {
    let body = match text.strip_suffix("# EOF\n") {
        Some(body) if open => body,
        None if !open => text,
        _ => return Err("`# EOF` is the last line of OpenMetrics, and of nothing else".into()),
    };
    if !body.ends_with('\n') || body.contains("\n\n") || body.contains('\r') {
        return Err("lines end in one LF each".into());
    }
    let (mut samples, mut families) = (Samples::new(), BTreeSet::new());
    let (mut helped, mut family) = (None, None);
    for line in body.lines() {
        let wrong = |what: &str| Err(format!("{what}: {line}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else { return wrong("no help") };
            unescape(help, open)?;
            helped = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { return wrong("no type") };
            if helped.as_deref() != Some(name) || !families.insert(name.to_owned()) {
                return wrong("its help stands elsewhere, or it is opened twice");
            }
            let (suffix, known) = match kind {
                "counter" if open => ("_total", true),
                "info" => ("_info", open),
                "counter" | "gauge" => ("", true),
                _ => ("", false),
            };
            if !known || (open && !suffix.is_empty() && name.ends_with(suffix)) {
                return wrong("no such type, or a name with its suffix");
            }
            family = Some((format!("{name}{suffix}"), kind.to_owned()));
        } else if line.starts_with('#') {
            return wrong("a comment");
        } else {
            let Some((name, kind)) = &family else { return wrong("no family is open") };
            let (sample, value) = line.rsplit_once(' ').ok_or("no value")?;
            let labels = sample.strip_prefix(name.as_str()).ok_or(format!("whose is {line}"))?;
            read_labels(labels)?;
            let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if !digits(whole) || !digits(fraction) || (kind == "info" && value != "1") {
                return wrong("no number");
            }
            if samples.insert(sample.to_owned(), value.to_owned()).is_some() {
                return wrong("twice");
            }
        }
    }
    Ok(samples)
}

/// `{a="b",c="d"}`, or nothing.
fn read_labels(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let wrong = || format!("no labels: {text}");
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let mut rest = inner.ok_or_else(wrong)?;
    let mut names = BTreeSet::new();
    loop {
        let (name, after) = rest.split_once("=\"").ok_or_else(wrong)?;
        let legal = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !legal || !names.insert(name) {
            return Err(wrong());
        }
        let mut end = None;
        let mut escaped = false;
        for (at, c) in after.char_indices() {
            match (escaped, c) {
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                (false, '\\') => escaped = true,
                (true, 'n' | '"' | '\\') => escaped = false,
                (true, _) => return Err(wrong()),
                _ => {}
            }
        }
        rest = &after[end.ok_or_else(wrong)? + 1..];
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None if rest.is_empty() => return Ok(()),
            None => return Err(wrong()),
        }
    }
}

fn unescape(text: &str, quotes: bool) -> Result<(), String> {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let fine = match c {
            '\\' => chars.next().is_some_and(|next| matches!(next, 'n' | '\\' | '"')),
            '"' => !quotes,
            _ => true,
        };
        if !fine {
            return Err(format!("badly escaped: {text}"));
        }
    }
    Ok(())
}

#[test]
fn the_reader_refuses_what_the_formats_do_not_allow() {
    let fine = "# HELP a_total x\n# TYPE a_total counter\na_total{k=\"v\"} 1\n";
    assert!(read(fine, false).is_ok());
    let open = "# HELP a x\n# TYPE a counter\na_total{k=\"v\"} 1.5\n# EOF\n";
    assert!(read(open, true).is_ok());
    assert!(read(fine, true).is_err() && read(open, false).is_err());
    let bad = [
        "a_total 1\n",
        "# TYPE a counter\na 1\n",
        "# HELP a x\n# TYPE a counter\nb 1\n",
        "# HELP a x\n# TYPE a counter\na 1\na 1\n",
        "# HELP a x\n# TYPE a counter\na{k=\"v} 1\n",
        "# HELP a x\n# TYPE a counter\na{k=\"v\" 1\n",
        "# HELP a x\n# TYPE a counter\na{k=\"v\",k=\"w\"} 1\n",
        "# HELP a x\n# TYPE a counter\na{k=\"\\v\"} 1\n",
        "# HELP a x\n# TYPE a counter\na -1\n",
        "# HELP a x\n# TYPE a counter\na 1\n# HELP a x\n# TYPE a counter\n",
        "# HELP a x\n# TYPE a counter\na 1",
        "# HELP a x\n\n# TYPE a counter\na 1\n",
    ];
    for text in bad {
        assert!(read(text, false).is_err(), "{text:?}");
    }
}

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

fn scrape(admin: SocketAddr, accept: &str) -> strict::Response {
    let asked = format!("GET /metrics HTTP/1.1\r\nHost: admin\r\nAccept: {accept}\r\n\r\n");
    let reply = exchange(admin, asked.as_bytes(), usize::MAX);
    assert_eq!(reply.status(), Some(200), "{reply:?}");
    reply.responses.into_iter().next().unwrap()
}

fn samples(admin: SocketAddr) -> Samples {
    let page = scrape(admin, "*/*");
    assert_eq!(page.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    read(&String::from_utf8(page.body).unwrap(), false).unwrap()
}

fn number(samples: &Samples, name: &str) -> u64 {
    samples.get(name).unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

#[test]
fn both_formats_are_sound_and_say_the_same() {
    let origin = Origin::echo();
    let gateway = Gateway::start_with(origin.address, Protocol::Http1, ADMIN);
    let admin = gateway.probes();
    assert_serves(gateway.address);
    let plain = samples(admin);
    let page = scrape(admin, "application/openmetrics-text; version=1.0.0, */*;q=0.1");
    let kind = page.field("content-type");
    assert_eq!(kind, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let open = read(&String::from_utf8(page.body).unwrap(), true).unwrap();
    assert_eq!(plain.keys().collect::<Vec<_>>(), open.keys().collect::<Vec<_>>());
    for name in [
        "caio_requests_total",
        "caio_connections",
        "caio_connections_shed_total",
        "caio_upstream_connects_total",
        "caio_retries_total{reason=\"stale\"}",
        "caio_certificate_disagreements_total",
        "caio_audit_lost_total",
        "caio_config_epoch",
        "caio_draining",
        "caio_resident_memory_bytes",
        "caio_uptime_seconds",
    ] {
        assert!(plain.contains_key(name), "{name} is missing");
    }
    assert!(plain.keys().any(|name| name.starts_with("caio_build_info{version=\"")));
    assert!(number(&plain, "caio_resident_memory_bytes") > 1 << 20);
    let reasons = plain.keys().filter(|key| key.starts_with("caio_refusals_total{reason="));
    assert_eq!(reasons.count(), Reason::ALL.len());
    assert!(plain.len() < 200, "the series are bounded: {}", plain.len());
}

#[test]
fn what_was_done_is_what_is_counted() {
    let origin = Origin::echo();
    let more = format!("{ADMIN}[limits]\nconnections_per_worker_max = 2\n");
    let gateway = Gateway::start_with(origin.address, Protocol::Http1, &more);
    let admin = gateway.probes();
    let before = samples(admin);
    assert_eq!(number(&before, "caio_requests_total"), 0);
    assert_eq!(number(&before, "caio_config_epoch"), 1);
    assert_eq!(number(&before, "caio_draining"), 0);
    for _ in 0..3 {
        assert_serves(gateway.address);
    }
    let wrong = exchange(gateway.address, b"GET /%2F HTTP/1.1\r\nHost: a.example\r\n\r\n", 99);
    assert_eq!(wrong.status(), Some(400));
    let mut held = [Wire::connect(gateway.address), Wire::connect(gateway.address)];
    eventually("two connections are open", || number(&samples(admin), "caio_connections") == 2);
    let shed = exchange(gateway.address, b"", 1);
    assert!(shed.ended() && shed.status().is_none());
    let after = samples(admin);
    assert_eq!(number(&after, "caio_requests_total"), 4);
    assert_eq!(number(&after, "caio_refusals_total{reason=\"target.invalid\"}"), 1);
    assert_eq!(number(&after, "caio_refusals_total{reason=\"route.unknown\"}"), 0);
    assert_eq!(number(&after, "caio_connections_accepted_total"), 7);
    assert_eq!(number(&after, "caio_connections_shed_total"), 1);
    assert!((1..=3).contains(&number(&after, "caio_upstream_connects_total")));
    // What the lane counts is told at each tick.
    eventually("three decisions", || number(&samples(admin), "caio_decisions_total") == 3);
    held[0].send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let (_, _) = held[0].read_until(PATIENCE, |bytes| bytes.ends_with(b"ok"));
    gateway.terminate();
    eventually("it drains", || std::net::TcpStream::connect(gateway.address).is_err());
}

#[test]
fn curl_reads_it_and_other_methods_are_refused() {
    let origin = Origin::echo();
    let gateway = Gateway::start_with(origin.address, Protocol::Http1, ADMIN);
    let admin = gateway.probes();
    let curl = |more: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "-w", "%{http_code}"]).args(more);
        let out = command.arg(format!("http://{admin}/metrics")).output().expect("curl is there");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let page = curl(&[]);
    let page = page.strip_suffix("200").expect("200");
    assert!(read(page, false).unwrap().contains_key("caio_requests_total"));
    assert!(curl(&["-X", "POST"]).ends_with("405"));
    assert!(curl(&["-I"]).ends_with("200"), "HEAD has no body");
}
