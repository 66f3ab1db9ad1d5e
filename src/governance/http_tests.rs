use super::*;
use crate::config::hook::{Hook, HookKind};
use crate::governance::answer::tests::hook as any_hook;

fn hook(service: &[&str], caller: &[&str]) -> Hook {
    let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let facts =
        any_hook().facts.into_iter().filter(|fact| matches!(fact.from, FactPlace::Header(_)));
    Hook {
        kind: HookKind::Http,
        service_headers: list(service),
        caller_headers: list(caller),
        facts: facts.collect(),
        ..any_hook()
    }
}

const FIELDS: &[(&[u8], &[u8])] = &[
    (b"Date", b"today"),
    (b"Server", b"hook"),
    (b"Content-Type", b"text/html"),
    (b"X-User", b"ann"),
    (b"X-User", b"bob"),
    (b"X-Other", b"1"),
    (b"Set-Cookie", b"a=b"),
    (b"Location", b"/login"),
    (b"Connection", b"close"),
];

fn read(status: u16, fields: &[(&[u8], &[u8])], hook: &Hook) -> Result<Answer, Nonsense> {
    interpret(&Received { status, fields, body: b"body" }, &Terms { hook, deciding: &[] })
}

#[test]
fn two_hundred_allows_and_only_listed_fields_go_on() {
    let Ok(Answer { verdict: Verdict::Allow(changes), .. }) =
        read(200, FIELDS, &hook(&["x-user"], &["set-*", "content-type"]))
    else {
        panic!("it allows")
    };
    let set = |name: &str, value: &str, action| Change {
        name: name.to_owned(),
        value: value.to_owned(),
        action,
    };
    let (first, again) = (Action::Overwrite, Action::Append);
    assert_eq!(changes.service, [set("x-user", "ann", first), set("x-user", "bob", again)]);
    assert_eq!(
        changes.caller,
        [set("set-cookie", "a=b", first)],
        "what a body is the service says"
    );
    let none = read(200, FIELDS, &hook(&[], &[])).unwrap();
    assert_eq!(none.verdict, Verdict::Allow(Changes::default()));
}

#[test]
fn a_five_hundred_is_no_answer_and_everything_else_denies() {
    let hook = hook(&[], &["x-other"]);
    for status in [500, 503, 599, 100, 103] {
        assert!(read(status, FIELDS, &hook).is_err(), "{status}");
    }
    for (status, shown) in
        [(401, Some(401)), (302, Some(302)), (403, Some(403)), (204, None), (201, None)]
    {
        let Ok(Answer { verdict: Verdict::Deny(denial), .. }) = read(status, FIELDS, &hook) else {
            panic!("{status} denies")
        };
        assert_eq!(denial.status, shown, "a refusal that looks like a success is a plain refusal");
        let names: Vec<&str> = denial.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["content-type", "x-other", "location"]);
        assert_eq!(denial.body, b"body");
    }
}

#[test]
fn fields_to_take_out_are_named_as_for_envoy_and_bounded_as_all_are() {
    let named = |list: &'static [u8]| {
        let hook = hook(&["authorization", "x-s*", "host", "caio-require"], &["x-other"]);
        read(200, &[(b"X-Envoy-Auth-Headers-To-Remove", list)], &hook)
    };
    let Ok(Answer { verdict: Verdict::Allow(changes), .. }) = named(b"Authorization, x-secret")
    else {
        panic!("it allows")
    };
    assert_eq!(changes.removed, ["authorization", "x-secret"]);
    for bad in [&b"host"[..], b"caio-require", b"a b", b"", b"x-s,,x-s", b"x-secret, x-other"] {
        assert!(named(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_listed_field_that_cannot_be_passed_on_is_nonsense() {
    for value in [&b"\xff"[..], b"a\x01"] {
        let fields: &[(&[u8], &[u8])] = &[(b"x-user", value)];
        assert!(read(200, fields, &hook(&["x-user"], &[])).is_err());
        assert!(read(200, fields, &hook(&[], &[])).is_ok(), "nobody asked for it");
    }
}

#[test]
fn facts_come_from_fields() {
    let facts = |value: &'static [u8]| {
        let fields: &[(&[u8], &[u8])] = &[(b"X-Groups", value)];
        read(200, fields, &hook(&[], &[])).map(|answer| answer.facts)
    };
    assert_eq!(facts(b"staff"), Ok(vec![("caller.groups".to_owned(), "staff".to_owned())]));
    assert!(facts(b"root").is_err());
    let twice: &[(&[u8], &[u8])] = &[(b"x-groups", b"staff"), (b"x-groups", b"guest")];
    assert!(read(200, twice, &hook(&[], &[])).is_err());
}
