use super::*;
use crate::config::hook::{HookKind, LongerBody, OnFailure};
use crate::contract::vocabulary::{Declaration, Kind as Type, Side, Unit, Vocabulary};
use crate::governance::proto::{HeaderValue, HttpStatus, List, QueryParameter, Status, Value};
use std::collections::BTreeMap;

/// A hook that may do whatever any hook may, and states a clearance and groups.
pub(crate) fn hook() -> Hook {
    let fact = |name: &str, kind: Type, from: FactPlace| {
        let declaration = Declaration {
            name: name.to_owned(),
            side: Side::Caller,
            kind,
            source: None,
            sensitive: false,
        };
        let vocabulary = Vocabulary::build("1", vec![declaration]).unwrap();
        HookFact { attribute: vocabulary.declared()[0].clone(), from }
    };
    let groups = ["staff", "guest"].map(str::to_owned).to_vec();
    Hook {
        id: "opa".to_owned(),
        kind: HookKind::Grpc,
        endpoints: vec![([127, 0, 0, 1], 1).into()],
        tls: None,
        timeout_ms: 200,
        authority: None,
        path_prefix: String::new(),
        body_bytes: 0,
        longer_body: LongerBody::Partial,
        headers: None,
        context: BTreeMap::new(),
        facts: vec![
            fact(
                "caller.clearance",
                Type::Int(Unit::Count),
                FactPlace::Metadata(vec!["user".to_owned(), "clearance".to_owned()]),
            ),
            fact("caller.groups", Type::Set(groups), FactPlace::Header("x-groups".to_owned())),
        ],
        service_headers: None,
        caller_headers: None,
        on_failure: OnFailure::Refuse,
        cache: None,
    }
}

fn option(name: &str, value: &str) -> HeaderValueOption {
    let header = HeaderValue { key: name.into(), value: value.into(), raw_value: Vec::new() };
    HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }
}

fn response(code: i32) -> CheckResponse {
    let status = Some(Status { code, message: "because".to_owned() });
    CheckResponse { status, ..CheckResponse::default() }
}

fn read(response: &CheckResponse, hook: &Hook) -> Result<Answer, Nonsense> {
    let deciding = ["x-data-class".to_owned()];
    interpret(&response.encode_to_vec(), &Terms { hook, deciding: &deciding })
}

fn allow(ok: OkHttpResponse) -> CheckResponse {
    CheckResponse { ok_response: Some(ok), ..response(0) }
}

fn deny(denied: DeniedHttpResponse) -> CheckResponse {
    CheckResponse { denied_response: Some(denied), ..response(7) }
}

fn sets(options: Vec<HeaderValueOption>) -> CheckResponse {
    allow(OkHttpResponse { headers: options, ..OkHttpResponse::default() })
}

#[track_caller]
fn refuses(response: &CheckResponse, why: &str) {
    let found = read(response, &hook());
    match found {
        Err(Nonsense(text)) => assert!(text.contains(why), "{text}"),
        Ok(answer) => panic!("{answer:?} was read where {why} should refuse"),
    }
}

#[test]
fn a_plain_ok_allows_and_a_plain_other_status_denies_as_the_table_says() {
    let hook = hook();
    let plain = read(&response(0), &hook).unwrap();
    assert_eq!(plain.verdict, Verdict::Allow(Changes::default()));
    for code in 1..=16 {
        let denied = read(&response(code), &hook).unwrap();
        assert_eq!(denied.verdict, Verdict::Deny(Denial::default()), "{code}");
    }
}

#[test]
fn nothing_allows_that_does_not_say_so_itself() {
    assert!(interpret(&[], &Terms { hook: &hook(), deciding: &[] }).is_err(), "an empty message");
    refuses(&CheckResponse::default(), "no status");
    let silent = OkHttpResponse::default();
    refuses(&CheckResponse { ok_response: Some(silent), ..CheckResponse::default() }, "no status");
    refuses(&response(-1), "no status of gRPC");
    refuses(&response(17), "no status of gRPC");
    let ok = || Some(OkHttpResponse::default());
    let denied = || Some(DeniedHttpResponse::default());
    refuses(&CheckResponse { denied_response: denied(), ..response(0) }, "response denies");
    refuses(&CheckResponse { ok_response: ok(), ..response(7) }, "response allows");
    let both = CheckResponse { ok_response: ok(), denied_response: denied(), ..response(0) };
    refuses(&both, "response denies");
    let both = CheckResponse { ok_response: ok(), denied_response: denied(), ..response(7) };
    refuses(&both, "response allows");
    for code in [0, 7] {
        refuses(&CheckResponse { error_response: denied(), ..response(code) }, "it failed");
    }
}

#[test]
fn bytes_that_are_no_message_are_nonsense_and_never_a_panic() {
    let hook = hook();
    let terms = Terms { hook: &hook, deciding: &[] };
    let whole = deny(DeniedHttpResponse { body: "no".to_owned(), ..Default::default() });
    let whole = whole.encode_to_vec();
    let mut random = fastrand::Rng::with_seed(9);
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(0..=bytes.len()));
        let read = interpret(&bytes, &terms);
        refused += usize::from(read.is_err());
        if let Ok(Answer { verdict: Verdict::Allow(_), .. }) = read {
            // Only a message that says OK in its own status can come out as one.
            let status = CheckResponse::decode(&bytes[..]).unwrap().status.unwrap();
            assert_eq!(status.code, 0);
        }
    }
    assert!(refused > 5_000, "{refused}");
    assert!(interpret(&vec![0; HOOK_ANSWER_BYTES_MAX + 1], &terms).is_err());
}

#[test]
fn fields_are_set_as_each_of_the_two_ways_to_say_it_says() {
    let with = |append: Option<bool>, action: i32| HeaderValueOption {
        append: append.map(|value| BoolValue { value }),
        append_action: action,
        ..option("X-User", "ann")
    };
    for (append, action, meant) in [
        (None, 0, Action::Overwrite),
        (Some(false), 0, Action::Overwrite),
        (Some(true), 0, Action::Append),
        (None, 1, Action::AddIfAbsent),
        (None, 2, Action::Overwrite),
        (None, 3, Action::OverwriteIfPresent),
    ] {
        let answer = read(&sets(vec![with(append, action)]), &hook()).unwrap();
        let Verdict::Allow(changes) = answer.verdict else { panic!("it allows") };
        let change = Change { name: "x-user".into(), value: "ann".into(), action: meant };
        assert_eq!(changes.service, [change], "{append:?} {action}");
    }
    refuses(&sets(vec![with(Some(true), 1)]), "two ways");
    refuses(&sets(vec![with(None, 9)]), "nobody knows");
}

#[test]
fn no_hook_changes_what_frames_routes_identifies_or_decides() {
    for name in [
        "host",
        ":path",
        ":authority",
        "connection",
        "transfer-encoding",
        "content-length",
        "te",
        "upgrade",
        "keep-alive",
        "proxy-authorization",
        "expect",
        "trailer",
        "content-type",
        "x-forwarded-for",
        "x-forwarded-client-cert",
        "forwarded",
        "via",
        "x-request-id",
        "traceparent",
        "tracestate",
        "caio-require",
        "caio-capability",
        "caio-decision",
        "x-client-cert",
        "x_user",
        "grpc-timeout",
        "x-data-class",
        "",
        "a b",
        "é",
        "x:y",
    ] {
        refuses(&sets(vec![option(name, "1")]), "");
        let removed = vec![name.to_owned()];
        let ok = OkHttpResponse { headers_to_remove: removed, ..OkHttpResponse::default() };
        refuses(&allow(ok), "");
    }
    for name in [
        "content-length",
        "connection",
        "date",
        "server",
        "caio-refusal",
        "x-request-id",
        "grpc-status",
        "content-type",
        "trailer",
        "transfer-encoding",
    ] {
        let added = vec![option(name, "1")];
        let ok = OkHttpResponse { response_headers_to_add: added, ..OkHttpResponse::default() };
        refuses(&allow(ok), "");
    }
    let query = vec![QueryParameter { key: "a".into(), value: "b".into() }];
    let ok = OkHttpResponse { query_parameters_to_set: query, ..OkHttpResponse::default() };
    refuses(&allow(ok), "query");
    let query = vec!["a".to_owned()];
    let ok = OkHttpResponse { query_parameters_to_remove: query, ..OkHttpResponse::default() };
    refuses(&allow(ok), "query");
}

#[test]
fn values_that_could_end_a_line_are_nonsense() {
    for value in ["a\r\nx: y", "a\n", "\0", "é", " a", "a "] {
        refuses(&sets(vec![option("x-user", value)]), "value");
        refuses(
            &deny(DeniedHttpResponse {
                headers: vec![option("x-why", value)],
                ..DeniedHttpResponse::default()
            }),
            "value",
        );
    }
    let mut both = option("x-user", "a");
    both.header.as_mut().unwrap().raw_value = b"b".to_vec();
    refuses(&sets(vec![both]), "two values");
    refuses(&sets(vec![HeaderValueOption::default()]), "without a header");
}

#[test]
fn a_hook_changes_no_more_than_its_list_and_no_more_than_fits() {
    let only =
        Hook { service_headers: Some(vec!["x-user-*".to_owned(), "x-a".to_owned()]), ..hook() };
    for (name, fine) in [("x-user-id", true), ("x-a", true), ("x-ab", false), ("x-b", false)] {
        assert_eq!(read(&sets(vec![option(name, "1")]), &only).is_ok(), fine, "{name}");
    }
    let many = (0..=HOOK_CHANGES_MAX).map(|at| option(&format!("x-{at}"), "1")).collect();
    refuses(&sets(many), "more fields");
    let long = "v".repeat(HOOK_CHANGES_BYTES_MAX);
    refuses(&sets(vec![option("x-a", &long)]), "more fields");
    let body = "b".repeat(HOOK_DENIAL_BYTES_MAX + 1);
    refuses(&deny(DeniedHttpResponse { body, ..DeniedHttpResponse::default() }), "too large");
}

#[test]
fn a_denial_says_how_to_refuse_and_cannot_look_like_a_success() {
    let with = |code: i32| DeniedHttpResponse {
        status: Some(HttpStatus { code }),
        headers: vec![option("WWW-Authenticate", "Basic")],
        body: "why".to_owned(),
    };
    for code in [302, 401, 403, 429, 503] {
        let Verdict::Deny(denial) = read(&deny(with(code)), &hook()).unwrap().verdict else {
            panic!("it denies")
        };
        assert_eq!(denial.status, Some(code as u16));
        let text = ("content-type".to_owned(), "text/plain; charset=utf-8".to_owned());
        assert_eq!(denial.fields, [("www-authenticate".to_owned(), "Basic".to_owned()), text]);
        assert_eq!(denial.body, b"why");
    }
    for code in [100, 200, 204, 299, 600, -1, 65_939] {
        refuses(&deny(with(code)), "no status to refuse with");
    }
}

#[test]
fn facts_are_read_where_the_operator_says_and_only_if_they_are_facts() {
    let value = |kind: Member| Value { kind: Some(kind) };
    let metadata = |clearance: Member| {
        let user = Struct { fields: [("clearance".to_owned(), value(clearance))].into() };
        Struct { fields: [("user".to_owned(), value(Member::Struct(user)))].into() }
    };
    let facts = |response: &CheckResponse| read(response, &hook()).map(|answer| answer.facts);
    let stated = |name: &str, text: &str| vec![(name.to_owned(), text.to_owned())];
    let three = 0x4008_0000_0000_0000;
    let with =
        |kind: Member| CheckResponse { dynamic_metadata: Some(metadata(kind)), ..response(0) };
    assert_eq!(facts(&with(Member::Number(three))), Ok(stated("caller.clearance", "3")));
    assert_eq!(facts(&with(Member::Text("4".into()))), Ok(stated("caller.clearance", "4")));
    assert_eq!(facts(&with(Member::Null(0))), Ok(Vec::new()));
    assert_eq!(facts(&response(0)), Ok(Vec::new()), "what is not stated is not known");
    // The older place goes before the newer.
    let ok = OkHttpResponse {
        dynamic_metadata: Some(metadata(Member::Text("7".into()))),
        ..OkHttpResponse::default()
    };
    let both = CheckResponse { ok_response: Some(ok), ..with(Member::Number(three)) };
    assert_eq!(facts(&both), Ok(stated("caller.clearance", "7")));
    for bad in [
        Member::Number(0x3fe0_0000_0000_0000),
        Member::Text("high".into()),
        Member::Text("-1".into()),
        Member::Bool(true),
        Member::List(List::default()),
        Member::Struct(Struct::default()),
    ] {
        assert!(facts(&with(bad.clone())).is_err(), "{bad:?}");
    }
    let groups = sets(vec![option("x-groups", "staff")]);
    assert_eq!(facts(&groups), Ok(stated("caller.groups", "staff")));
    assert!(facts(&sets(vec![option("x-groups", "root")])).is_err());
    assert!(facts(&sets(vec![option("x-groups", "staff"), option("X-Groups", "guest")])).is_err());
    let denied =
        CheckResponse { dynamic_metadata: Some(metadata(Member::Bool(true))), ..response(7) };
    assert_eq!(facts(&denied), Ok(Vec::new()), "a refusal states nothing");
}
