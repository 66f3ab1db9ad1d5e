//! Nothing unproved takes effect: at the start, at a reload, and what is printed really happens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use std::net::SocketAddr;
use std::process::{Command, Output};
use support::origin::{Answer, Origin};
use support::{Gateway, Scratch, eventually};

fn saying(word: &'static str) -> Origin {
    Origin::scripted(move |_| {
        Answer::kept(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len()))
    })
}

const VOCABULARY: &str = include_str!("../../config/vocabulary.toml");

fn service(id: &str, residency: &str, tier: u8, address: SocketAddr) -> String {
    format!(
        "[[services]]\nendpoints = [\"{address}\"]\ntier = {tier}\n[services.contract]\n\
         service = \"{id}\"\nversion = \"1.0.0\"\n[[services.contract.offers]]\n\
         capability = \"embed.text/1\"\ninterface = {{ http = [\"POST /v1/embed\"] }}\n\
         [[services.contract.offers.promises]]\nresidency = 'within \"{residency}\"'\n"
    )
}

const STATEMENT: &str = "[[prove]]\nid = \"phi-stays\"\n\
                         never = 'data.class == \"phi\" && !service.residency.within(\"eu\")'\n";

fn process_file(services: &[String], statement: &str) -> String {
    format!(
        "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 1\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n{}{statement}",
        services.concat()
    )
}

/// Runs a printed line as it stands.
fn run(line: &str) -> String {
    let Output { status, stdout, stderr } =
        Command::new("bash").args(["-c", line]).output().expect("bash and curl run");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert!(status.success(), "`{line}`: {said}");
    String::from_utf8(stdout).unwrap()
}

/// The last line that begins so, without what stands before it.
fn line(said: &str, begin: &str) -> String {
    let found = said.lines().map(str::trim_start).rfind(|line| line.starts_with(begin));
    found.unwrap_or_else(|| panic!("no line `{begin}…` in:\n{said}")).to_owned()
}

#[test]
fn a_reload_that_breaks_a_statement_changes_nothing_and_prints_a_request_that_shows_it() {
    let (eu, us) = (saying("eu"), saying("us"));
    let in_eu = service("in-eu", "eu", 1, eu.address);
    // Preferred, so that whoever may go there does.
    let in_us = service("in-us", "us", 0, us.address);
    let sound = process_file(std::slice::from_ref(&in_eu), STATEMENT);
    let mut gateway = Gateway::start_on(&[("caio.toml", &sound), ("vocabulary.toml", VOCABULARY)]);
    gateway.tells("proved in ");
    let file = gateway.folder().join("caio.toml");
    let call = |gateway: &Gateway| {
        run(&format!("curl -sS -X POST -H 'x-data-class: phi' http://{}/v1/embed", gateway.address))
    };
    assert_eq!(call(&gateway), "eu");
    std::fs::write(&file, process_file(&[in_eu.clone(), in_us.clone()], STATEMENT)).unwrap();
    gateway.reload();
    eventually("the change is refused", || gateway.said().contains("nothing was changed"));
    gateway.tells("invariant `phi-stays` does not hold");
    gateway.tells("service `in-us` may take a call");
    gateway.tells("curl ");
    let shown = line(&gateway.said(), "curl ");
    // Against what runs on, the request goes where it went.
    assert_eq!(run(&shown), "eu");
    assert_eq!(call(&gateway), "eu");
    // Against the same landscape without the statement it really comes to that service.
    std::fs::write(&file, process_file(&[in_eu, in_us], "")).unwrap();
    gateway.reload();
    eventually("the change holds", || gateway.said().contains("from now on, proved in "));
    eventually("the request comes to the other service", || run(&shown) == "us");
    gateway.assert_sound();
}

#[test]
fn a_landscape_that_breaks_a_statement_does_not_start_and_is_not_well() {
    let us = saying("us");
    let scratch = Scratch::new();
    scratch.write("vocabulary.toml", VOCABULARY);
    let text = process_file(&[service("in-us", "us", 0, us.address)], STATEMENT);
    let file = scratch.write("caio.toml", &text);
    for verb in ["run", "check", "prove"] {
        let output = Command::new(env!("CARGO_BIN_EXE_caio"))
            .args([verb, "-c"])
            .arg(&file)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(1), "{verb}: {said}");
        let due = format!("{}:19:6: invariant `phi-stays` does not hold", file.display());
        assert!(said.contains(&due), "{verb}: {said}");
        assert!(said.contains("-H 'x-data-class: phi'"), "{verb}: {said}");
    }
    // Told and not refused, where that is asked for.
    let advised = text.replace("id = \"phi-stays\"", "id = \"phi-stays\"\nadvisory = true");
    std::fs::write(&file, advised).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_caio")).args(["check", "-c"]).arg(&file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("warning: invariant `phi-stays` does not hold"), "{said}");
}
