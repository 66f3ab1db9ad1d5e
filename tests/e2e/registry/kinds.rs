//! Quotas and invariants that come and go while calls flow, as services do.

use crate::client::{Control, process_file, service};
use crate::support::origin::{Answer, Origin};
use crate::support::{Gateway, Scratch, VOCABULARY, eventually};
use crate::{called, saying, word};
use std::process::Command;

#[test]
fn a_quota_holds_from_its_registration_on_and_no_policy_loses_one_that_it_names() {
    let one = saying("one");
    let mut gateway = Gateway::start_in(Scratch::new(), &process_file(""));
    let control = Control::of(&gateway);
    assert_eq!(control.register("a", one.address, "").status, 201);
    let quota = "id = \"few\"\nrate = \"1/h\"\nowner = \"ops\"\n";
    assert_eq!(control.put("/v1/quotas/few", quota, &[]).status, 201);
    assert_eq!(called(&gateway), word("one"));
    assert_eq!(called(&gateway).0, 429, "the second in an hour");
    let shown = control.get("/v1/quotas/few").json();
    assert_eq!((shown["kind"].as_str(), shown["owner"].as_str()), (Some("quota"), Some("ops")));
    let wrong = control.put("/v1/quotas/none", "id = \"none\"\n", &[]);
    assert_eq!(wrong.status, 422, "{wrong:?}");
    assert!(wrong.text.contains("quotas/none:1:1"), "{wrong:?}");
    // A policy may name it from then on, and then it stays.
    let named = "id = \"held\"\nrate = \"100/s\"\napply = \"named\"\n";
    let policy = "id = \"p\"\neffect = \"permit\"\nlimits = [\"held\"]\n";
    assert_eq!(control.put("/v1/policies/p", policy, &[]).status, 422);
    assert_eq!(control.put("/v1/quotas/held", named, &[]).status, 201);
    assert_eq!(control.put("/v1/policies/p", policy, &[]).status, 201);
    let kept = control.ask("DELETE", "/v1/quotas/held", &[]);
    assert_eq!((kept.status, kept.json()["code"].as_str()), (422, Some("registry.landscape")));
    assert_eq!(control.ask("DELETE", "/v1/quotas/few", &[]).status, 200);
    assert_eq!(called(&gateway), word("one"));
    // All of it is there again after an end, quotas before the policies that name them.
    gateway.kill();
    let gateway = Gateway::start_again(gateway);
    let control = Control::of(&gateway);
    assert_eq!(control.get("/v1/policies/p").status, 200);
    assert_eq!(control.get("/v1/quotas/held").status, 200);
    assert_eq!(called(&gateway), word("one"));
    assert_eq!(control.ask("DELETE", "/v1/policies/p", &[]).status, 200);
    assert_eq!(control.ask("DELETE", "/v1/quotas/held", &[]).status, 200);
}

#[test]
fn an_invariant_refuses_what_would_break_it_until_it_is_gone() {
    let (one, two) = (saying("one"), saying("two"));
    let more =
        "[[prove]]\nid = \"filed\"\ncovered = true\noperation = \"GET /none\"\nadvisory = true\n";
    let mut gateway = Gateway::start_in(Scratch::new(), &process_file(more));
    let control = Control::of(&gateway);
    assert_eq!(control.register("a", one.address, "").status, 201);
    let twice = "id = \"twice\"\nservices = 2\nof = true\noperation = \"GET /x\"\n";
    let broken = control.put("/v1/invariants/twice", twice, &[]);
    assert_eq!(broken.status, 422, "one service is not two: {broken:?}");
    assert_eq!(control.get("/v1/invariants/twice").status, 404);
    assert_eq!(control.register("b", two.address, "").status, 201);
    assert_eq!(control.put("/v1/invariants/twice", twice, &[]).status, 201);
    let broken = control.ask("DELETE", "/v1/services/b", &[]);
    assert_eq!(broken.status, 422, "{broken:?}");
    assert!(broken.text.contains("twice"), "{broken:?}");
    let taken = control.put("/v1/invariants/filed", "id = \"filed\"\ncovered = true\n", &[]);
    assert_eq!((taken.status, taken.json()["code"].as_str()), (409, Some("registry.in-files")));
    gateway.kill();
    let gateway = Gateway::start_again(gateway);
    let control = Control::of(&gateway);
    assert_eq!(control.ask("DELETE", "/v1/services/b", &[]).status, 422, "it still holds");
    assert_eq!(control.ask("DELETE", "/v1/invariants/twice", &[]).status, 200);
    assert_eq!(control.ask("DELETE", "/v1/services/b", &[]).status, 200);
    assert_eq!(called(&gateway), word("one"));
}

#[test]
fn what_is_observed_of_a_promise_is_shown_beside_what_is_declared() {
    let failing = Origin::scripted(|_| {
        Answer::kept("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned())
    });
    let ratio = "[[attributes]]\nname = \"availability\"\nside = \"promise\"\ntype = \"ratio\"\n";
    let vocabulary = format!("{VOCABULARY}\n{ratio}");
    let caio = process_file("");
    let gateway = Gateway::start_on(&[("caio.toml", &caio), ("vocabulary.toml", &vocabulary)]);
    let control = Control::of(&gateway);
    let own = "promises = { window = \"100ms\", min_calls = 10 }\n\
               outlier = { consecutive_5xx = 0, consecutive_gateway_failure = 0 }";
    let promises = "[[contract.offers.promises]]\navailability = \">= 99%\"\n";
    let document = service("a", failing.address, own) + promises;
    let put = control.put("/v1/services/a", &document, &[]);
    assert_eq!(put.status, 201, "{put:?}");
    let shown = || control.get("/v1/services/a").json()["promises"].clone();
    eventually("what is to be watched is shown", || shown()[0]["promise"] == "availability");
    assert_eq!(shown()[0]["declared"]["ppm_max"], 10_000);
    assert_eq!(
        (shown()[0]["stands"].as_str(), shown()[0]["attested"].is_null()),
        (Some("unknown"), true)
    );
    eventually("it is broken", || {
        (0..20).for_each(|_| assert!(called(&gateway).0 >= 500));
        shown()[0]["stands"] == "broken"
    });
    let found = shown()[0].clone();
    assert_eq!(found["observed"]["ppm"], 1_000_000, "{found}");
    assert!(found["broken_since_ms"].as_u64().is_some(), "{found}");
    assert!(found["last_breach"]["calls"].as_u64().unwrap() >= 10, "{found}");
    let mut caio = Command::new(env!("CARGO_BIN_EXE_caio"));
    let output = caio.args(["registry", "show", "a", "-s"]).arg(&control.0).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let comments = said.strip_prefix(document.as_str()).unwrap();
    assert!(
        comments.starts_with("# promise availability broken: declared at most 1.0000%"),
        "{said}"
    );
    assert!(
        comments.contains("attested by nobody, observed ")
            && comments.contains("\n#   last breach: "),
        "{said}"
    );
}
