//! Changes over TCP: curl with tokens and certificates, some of which may do something.

use crate::client::{Answer, Control, answered, process_file, service, verified};
use crate::peers::{Authority, Leaf, s_client};
use crate::support::{Gateway, PATIENCE, Scratch, Wire, configuration, eventually, nowhere};
use crate::{changes, naive_agrees, saying};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::process::Command;

/// Where changes are taken over TCP.
fn remote(gateway: &Gateway) -> SocketAddr {
    let mut found = None;
    eventually("it says where changes are taken", || {
        let said = gateway.said();
        let lines = said.lines().filter_map(|line| line.strip_prefix("caio: changes on "));
        found = lines.filter_map(|address| address.parse().ok()).next();
        found.is_some()
    });
    found.unwrap()
}

fn hashed(token: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// A token's entry.
fn client(name: &str, token: &str, role: &str) -> String {
    format!(
        "[[admin.remote.clients]]\nname = \"{name}\"\ntoken = \"{}\"\nowner = \"team {name}\"\n\
         {role}\n",
        hashed(token)
    )
}

const OPERATOR: &str = "operators-have-a-secret-of-32-bytes-and-more";
const OBSERVER: &str = "observers-have-a-secret-of-32-bytes-and-more";
const REGISTRAR: &str = "registrars-have-a-secret-of-32-bytes-and-more";
const EXPIRED: &str = "once-there-was-a-secret-of-32-bytes-and-more";

fn tokens(listen: &str) -> String {
    let expired = "role = \"operator\"\nexpires = \"2020-01-01T00:00:00Z\"";
    let own = "role = \"registrar\"\nservices = [\"eu.billing.*\"]";
    [
        format!("[admin.remote]\nlisten = \"{listen}\"\n"),
        client("ops", OPERATOR, "role = \"operator\""),
        client("dashboard", OBSERVER, "role = \"observer\""),
        client("billing", REGISTRAR, own),
        client("once", EXPIRED, expired),
    ]
    .concat()
}

/// One request without TLS.
fn asked(at: SocketAddr, token: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "20", "-D", "-", "-X", method]);
    if let Some(token) = token {
        curl.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    if !body.is_empty() {
        curl.args(["--data-binary", body]);
    }
    curl.arg(format!("http://{at}{path}"));
    answered(curl).expect("curl is answered")
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_token_s_role_says_what_it_may_do_and_whoever_has_none_may_do_nothing() {
    let trail = Scratch::new();
    let one = saying("one");
    let audit = format!("[audit]\ndirectory = \"{}\"\n", trail.path().display());
    let more = tokens("127.0.0.1:0") + &audit;
    let mut gateway = Gateway::start_in(Scratch::new(), &process_file(&more));
    let at = remote(&gateway);
    let text = |id: &str| service(id, one.address, "");
    let put = |token: Option<&str>, id: &str| {
        asked(at, token, "PUT", &format!("/v1/services/{id}"), &text(id))
    };

    let nobody = put(None, "eu.billing.a");
    assert_eq!(code(&nobody), (401, "credential.missing".to_owned()));
    assert!(nobody.head.contains("WWW-Authenticate: Bearer"), "{nobody:?}");
    let wrong = ["x", EXPIRED, &OPERATOR[1..]].map(str::to_owned);
    for token in wrong.iter().chain(&[format!("{OPERATOR}x"), hashed(OPERATOR)]) {
        let refused = (401, "credential.invalid".to_owned());
        assert_eq!(code(&put(Some(token), "eu.billing.a")), refused, "{token}");
        assert_eq!(code(&asked(at, Some(token), "GET", "/openapi.json", "")), refused);
    }
    assert_eq!(asked(at, None, "GET", "/openapi.json", "").status, 401, "not even that");

    // An observer looks.
    for path in ["/v1/services", "/v1/landscape", "/openapi.json", "/.well-known/ai-catalog.json"] {
        assert_eq!(asked(at, Some(OBSERVER), "GET", path, "").status, 200, "{path}");
    }
    assert_eq!(code(&put(Some(OBSERVER), "eu.billing.a")), (403, "forbidden".to_owned()));
    assert_eq!(asked(at, Some(OBSERVER), "POST", "/v1/reload", "").status, 403);

    // A registrar has its own services, from the beginning to the end, and nothing else.
    let created = put(Some(REGISTRAR), "eu.billing.a");
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(put(Some(REGISTRAR), "eu.billingx").status, 403);
    assert_eq!(put(Some(REGISTRAR), "eu.search").status, 403);
    // Nor by a name that says one thing and a document that says another.
    let other = asked(at, Some(REGISTRAR), "PUT", "/v1/services/eu.billing.b", &text("eu.search"));
    assert_eq!(code(&other), (422, "registry.id".to_owned()));
    let lease = service("eu.billing.a", one.address, "lease = \"1h\"");
    for (method, path, body, status) in [
        ("GET", "/v1/services/eu.billing.a", "", 200),
        ("PUT", "/v1/services/eu.billing.a", lease.as_str(), 200),
        ("POST", "/v1/services/eu.billing.a/renew", "", 200),
        ("POST", "/v1/services/eu.billing.a/drain", "", 200),
        ("POST", "/v1/services/eu.billing.a/undrain", "", 200),
        ("DELETE", "/v1/services/eu.billing.a?dry-run=true", "", 200),
        ("GET", "/v1/services", "", 403),
        ("GET", "/v1/watch", "", 403),
        ("GET", "/v1/landscape", "", 403),
        ("POST", "/v1/discover", "{}", 403),
        ("POST", "/v1/reload", "", 403),
        ("GET", "/v1/services/eu.search", "", 403),
        ("GET", "/v1/policies/eu.billing.a", "", 403),
        ("DELETE", "/v1/services/eu.search?dry-run=true", "", 403),
    ] {
        let answer = asked(at, Some(REGISTRAR), method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    for kind in ["routes", "requirements", "policies"] {
        let path = format!("/v1/{kind}/eu.billing.a");
        let answer = asked(at, Some(REGISTRAR), "PUT", &path, "id = \"eu.billing.a\"\n");
        assert_eq!(code(&answer), (403, "forbidden".to_owned()), "{kind}");
    }

    // An operator does what the socket lets do.
    assert_eq!(put(Some(OPERATOR), "eu.search").status, 201);
    assert_eq!(asked(at, Some(OPERATOR), "POST", "/v1/reload", "").status, 200);
    let shown = asked(at, Some(OPERATOR), "GET", "/v1/services/eu.billing.a", "").json();
    assert_eq!(shown["by"], "token billing");
    assert_eq!(asked(at, Some(REGISTRAR), "DELETE", "/v1/services/eu.billing.a", "").status, 200);

    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let lines = changes(trail.path());
    let of = |by: &str, asked: &str, came: &str| {
        let fits = |line: &&serde_json::Value| {
            line["by"] == by && line["asked"] == asked && line["came"] == came
        };
        lines.iter().filter(fits).count()
    };
    assert_eq!(of("token billing", "put", "made"), 2);
    assert_eq!(of("token billing", "remove", "made"), 1);
    assert_eq!(of("token billing", "renew", "already"), 1, "what was renewed last as well");
    // Of services, and of routes, requirements and policies; and the document of another.
    assert_eq!(of("token billing", "put", "refused"), 2 + 3 + 1, "{lines:#?}");
    for word in ["list", "watch", "landscape", "discover", "reload", "remove"] {
        assert_eq!(of("token billing", word, "refused"), 1, "{word}");
    }
    assert_eq!((of("token dashboard", "put", "refused"), of("token ops", "put", "made")), (1, 1));
    let refused = lines.iter().find(|line| line["came"] == "refused").unwrap();
    assert!(refused["from"].as_str().unwrap().starts_with("tcp 127.0.0.1:"), "{refused}");
    assert!(refused["why"].as_str().unwrap().starts_with("forbidden: "), "{refused}");
    let queried = |more: &[&str]| {
        let mut caio = Command::new(env!("CARGO_BIN_EXE_caio"));
        let query = ["audit", "query", "--json", "-t"];
        let output = caio.args(query).arg(trail.path()).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap().lines().count())
    };
    let own = ["--kind", "change", "--caller", "token billing", "--service", "eu.search"];
    assert_eq!(queried(&own), (Some(0), 3), "a registration, a look and a removal, none let");
    assert_eq!(queried(&["--kind", "query"]), (Some(0), 0));
    assert_eq!(queried(&["--kind", "change", "--status", "503"]).0, Some(2));
    assert_eq!(queried(&["--kind", "record"]).0, Some(2));
    let strangers = lines.iter().filter(|line| line["by"] == "").count();
    assert_eq!(strangers, 0, "whoever is not known fills no trail");
    let (end, said) = verified(trail.path());
    assert_eq!(end, Some(0), "{said}");
    naive_agrees(trail.path());
}

#[test]
fn who_is_taken_out_of_the_list_is_let_no_more() {
    let own = client("ops", OPERATOR, "role = \"operator\"");
    let more = tokens("127.0.0.1:0");
    let gateway = Gateway::start_in(Scratch::new(), &process_file(&more));
    let at = remote(&gateway);
    let control = Control::of(&gateway);
    assert_eq!(asked(at, Some(OPERATOR), "GET", "/v1/services", "").status, 200);
    let without = process_file(&more.replace(&own, ""));
    std::fs::write(gateway.folder().join("caio.toml"), without).unwrap();
    let read = control.ask("POST", "/v1/reload", &[]);
    assert_eq!(read.status, 200, "{read:?}");
    assert_eq!(asked(at, Some(OPERATOR), "GET", "/v1/services", "").status, 401);
    assert_eq!(asked(at, Some(OBSERVER), "GET", "/v1/services", "").status, 200);
    assert!(!gateway.said().contains("hold from its next start"), "{}", gateway.said());
}

const BILLING: &str = "spiffe://example.org/billing";

/// curl over TLS with this client's certificate, if any.
fn secured(gateway: &Gateway, name: Option<&str>, more: &[&str], path: &str) -> Option<Answer> {
    let at = remote(gateway);
    let mut curl = Command::new("curl");
    curl.current_dir(gateway.folder());
    curl.args(["-sS", "--max-time", "20", "-D", "-", "--cacert", "ca.pem"]).args(more);
    if let Some(name) = name {
        curl.args(["--cert", &format!("{name}.pem"), "--key", &format!("{name}.key")]);
    }
    curl.arg(format!("https://{at}{path}"));
    answered(curl)
}

fn secure_files(scratch: &Scratch) -> (Authority, Authority) {
    let (authority, others) = (Authority::new("gateway's"), Authority::new("clients'"));
    authority.write(scratch, "ca");
    others.write(scratch, "clients");
    authority.sign(scratch, "server", &Leaf::server(&["127.0.0.1"]));
    others.sign(scratch, "billing", &Leaf::client(1).uri(BILLING));
    others.sign(scratch, "stranger", &Leaf::client(2).uri("spiffe://example.org/search"));
    authority.sign(scratch, "forged", &Leaf::client(3).uri(BILLING));
    others.revoke(scratch, "clients", 4000, &[99]);
    (authority, others)
}

fn secure(mode: &str) -> String {
    format!(
        "[admin.remote]\nlisten = \"127.0.0.1:0\"\n[admin.remote.tls]\n\
         certificates = [{{ certificate = \"server.pem\", key = \"server.key\" }}]\n\
         client = {{ mode = \"{mode}\", ca = [\"clients.pem\"], crl = [\"clients.crl\"] }}\n\
         [[admin.remote.clients]]\nidentity = \"{BILLING}\"\nrole = \"registrar\"\n\
         services = [\"eu.billing.*\"]\n"
    )
}

#[test]
fn a_certificate_s_identity_registers_its_own_services_and_no_other() {
    let trail = Scratch::new();
    let one = saying("one");
    let audit = format!("[audit]\ndirectory = \"{}\"\n", trail.path().display());
    let scratch = Scratch::new();
    let (_, others) = secure_files(&scratch);
    let more = secure("required") + &audit;
    let mut gateway = Gateway::start_in(scratch, &process_file(&more));
    let text = service("eu.billing.a", one.address, "lease = \"1h\"");
    let body = ["-X", "PUT", "--data-binary", &text];
    let path = "/v1/services/eu.billing.a";

    // Without a certificate, or with one of somebody else, nothing is even heard.
    assert!(secured(&gateway, None, &body, path).is_none());
    assert!(secured(&gateway, Some("forged"), &body, path).is_none());
    let mut plain = Wire::connect(remote(&gateway));
    plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (said, _) = plain.read_until(PATIENCE, |_| false);
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    // Whoever is known and not in the list may do nothing.
    let stranger = secured(&gateway, Some("stranger"), &body, path).unwrap();
    assert_eq!(code(&stranger), (403, "forbidden".to_owned()));
    let stranger = secured(&gateway, Some("stranger"), &[], "/openapi.json").unwrap();
    assert_eq!(code(&stranger), (403, "forbidden".to_owned()));

    let created = secured(&gateway, Some("billing"), &body, path).unwrap();
    assert_eq!(created.status, 201, "{created:?}");
    let shown = secured(&gateway, Some("billing"), &[], path).unwrap().json();
    assert_eq!(shown["by"], BILLING);
    let other = service("eu.search", one.address, "");
    let other = ["-X", "PUT", "--data-binary", &other];
    let other = secured(&gateway, Some("billing"), &other, "/v1/services/eu.search").unwrap();
    assert_eq!(code(&other), (403, "forbidden".to_owned()));
    for (method, end) in [("POST", "/renew"), ("POST", "/drain"), ("DELETE", "")] {
        let path = format!("{path}{end}");
        let answer = secured(&gateway, Some("billing"), &["-X", method], &path).unwrap();
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
    }
    // A token beside it that nobody knows is not looked past.
    let token = ["-H", "Authorization: Bearer nobody-knows-this-one-of-32-bytes-and-more"];
    assert_eq!(secured(&gateway, Some("billing"), &token, path).unwrap().status, 401);

    // Revoked meanwhile: what is open ends before its next request.
    let at = remote(&gateway);
    let folder = gateway.folder().to_owned();
    let certified = ["-cert", "billing.pem", "-key", "billing.key", "-quiet"];
    let ask = "GET /openapi.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let said = s_client(&folder, at, &certified, ask);
    assert!(said.contains("HTTP/1.1 200"), "{said}");
    let list = Scratch::new();
    others.revoke(&list, "clients", 4000, &[1]);
    std::fs::copy(list.path().join("clients.crl"), folder.join("clients.crl")).unwrap();
    gateway.reload();
    eventually("it is let no more", || {
        secured(&gateway, Some("billing"), &[], "/openapi.json").is_none()
    });

    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let lines = changes(trail.path());
    let by = |by: &str, came: &str| {
        lines.iter().filter(|line| line["by"] == by && line["came"] == came).count()
    };
    assert_eq!(by(BILLING, "made"), 3, "registered, drained, gone: {lines:#?}");
    assert_eq!(by(BILLING, "refused"), 1);
    assert_eq!(by("spiffe://example.org/search", "refused"), 2);
    let refused = lines.iter().find(|line| line["by"] == BILLING && line["came"] == "refused");
    let refused = refused.unwrap();
    assert!(refused["from"].as_str().unwrap().starts_with("tls 127.0.0.1:"), "{refused}");
    assert_eq!(refused["of"], "service eu.search");
    let (end, said) = verified(trail.path());
    assert_eq!(end, Some(0), "{said}");
}

#[test]
fn under_tls_a_token_does_where_certificates_are_not_required() {
    let one = saying("one");
    let scratch = Scratch::new();
    secure_files(&scratch);
    let more = secure("optional") + &client("ops", OPERATOR, "role = \"operator\"");
    let gateway = Gateway::start_in(scratch, &process_file(&more));
    let bearer = format!("Authorization: Bearer {OPERATOR}");
    let token = ["-H", bearer.as_str()];
    assert_eq!(secured(&gateway, None, &[], "/v1/services").unwrap().status, 401);
    assert_eq!(secured(&gateway, None, &token, "/v1/services").unwrap().status, 200);
    // What is sent counts, not what could have been: the certificate alone could not list.
    assert_eq!(secured(&gateway, Some("billing"), &[], "/v1/services").unwrap().status, 403);
    assert_eq!(secured(&gateway, Some("billing"), &token, "/v1/services").unwrap().status, 200);
    let text = service("eu.billing.a", one.address, "");
    let put = ["-X", "PUT", "--data-binary", text.as_str()];
    let path = "/v1/services/eu.billing.a";
    assert_eq!(secured(&gateway, Some("billing"), &put, path).unwrap().status, 201);
}

#[test]
fn no_address_that_others_reach_is_taken_without_certificates_of_all() {
    let start = |more: &str| {
        let (scratch, file) = configuration(nowhere(), crate::support::Protocol::Http1, more);
        secure_files(&scratch);
        Gateway::attempt(scratch, &file, &[]).map(drop)
    };
    let (code, said) = start(&tokens("0.0.0.0:0")).unwrap_err();
    assert!(code == Some(1) && said.contains("is not of this machine alone"), "{said}");
    let optional = secure("optional").replace("127.0.0.1:0", "0.0.0.0:0");
    let (code, said) = start(&optional).unwrap_err();
    assert!(code == Some(1) && said.contains("is not of this machine alone"), "{said}");
    let required = secure("required").replace("127.0.0.1:0", "0.0.0.0:0");
    assert!(start(&required).is_ok());
}

#[test]
fn slow_strangers_keep_nobody_else_out() {
    let more = tokens("127.0.0.1:0");
    let gateway = Gateway::start_in(Scratch::new(), &process_file(&more));
    let at = remote(&gateway);
    // As many as one address may have, and more: none of them ever says anything whole.
    let idle: Vec<Wire> = (0..40).map(|_| Wire::connect(at)).collect();
    let control = Control::of(&gateway);
    assert_eq!(control.get("/v1/services").status, 200, "the socket is another matter");
    drop(idle);
    eventually("there is room again", || {
        let mut wire = Wire::connect(at);
        let token = format!("Authorization: Bearer {OBSERVER}");
        let ask = format!("GET /v1/services HTTP/1.1\r\nHost: a\r\n{token}\r\n\r\n");
        wire.send(ask.as_bytes())
            && wire.read_until(PATIENCE, |bytes| bytes.starts_with(b"HTTP/1.1 200")).0.len() > 12
    });
}

#[test]
fn a_registrar_registers_what_lies_within_its_bounds_and_nothing_else() {
    let (one, trail) = (saying("one"), Scratch::new());
    let audit = format!("[audit]\ndirectory = \"{}\"\n", trail.path().display());
    let own = "role = \"registrar\"\nservices = [\"eu.*\"]\nendpoints = [\"127.0.0.1\"]\n\
               capabilities = [\"test.*\"]";
    let listen = "[admin.remote]\nlisten = \"127.0.0.1:0\"\n";
    let more = [listen.to_owned(), client("billing", REGISTRAR, own), audit].concat();
    let mut gateway = Gateway::start_in(Scratch::new(), &process_file(&more));
    let at = remote(&gateway);
    let put = |text: &str| asked(at, Some(REGISTRAR), "PUT", "/v1/services/eu.a", text);
    let good = service("eu.a", one.address, "");
    assert!(good.contains("capability = \"test.x/1\""), "{good}");
    let elsewhere = good.replace(&one.address.to_string(), "127.0.0.2:9");
    let other = good.replace("test.x/1", "other.x/1");
    for (text, what) in [(&elsewhere, "`127.0.0.2:9`"), (&other, "`other.x/1`")] {
        let refused = put(text);
        assert_eq!(code(&refused), (403, "forbidden".to_owned()), "{refused:?}");
        let fault = &refused.json()["faults"][0];
        assert!(fault["what"].as_str().unwrap().contains(what), "{refused:?}");
        assert!(fault["place"].as_str().unwrap().starts_with("services/eu.a:"), "{refused:?}");
    }
    assert_eq!(put(&good).status, 201);
    let endpoint = |address: &str| {
        let path = format!("/v1/services/eu.a/endpoints/{address}");
        asked(at, Some(REGISTRAR), "PUT", &path, "")
    };
    assert_eq!(code(&endpoint("127.0.0.2:9")), (403, "forbidden".to_owned()));
    assert_eq!(endpoint("127.0.0.1:9").status, 200);
    // The operator of the machine is bound by nothing.
    let operator = Control::of(&gateway);
    assert_eq!(operator.register("eu.b", nowhere(), "").status, 201);
    let foreign = service("eu.c", nowhere(), "").replace("test.x/1", "other.x/1");
    let foreign = foreign.replace("GET /x", "GET /other");
    assert_eq!(operator.put("/v1/services/eu.c", &foreign, &[]).status, 201);
    // Nor does a registrar lead to itself who calls what it may not offer.
    let led = asked(at, Some(REGISTRAR), "PUT", "/v1/services/eu.c/endpoints/127.0.0.1:9", "");
    assert_eq!(code(&led), (403, "forbidden".to_owned()));
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let refused = |asked: &str| {
        let lines = changes(trail.path()).into_iter();
        let of = lines.filter(|it| it["came"] == "refused" && it["asked"] == asked);
        of.map(|it| it["why"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(refused("put").len(), 2);
    assert!(refused("put")[0].contains("`127.0.0.2:9` is none that whoever asks may register"));
    assert_eq!(refused("endpoint-add").len(), 2);
    let (end, said) = verified(trail.path());
    assert_eq!(end, Some(0), "{said}");
}
