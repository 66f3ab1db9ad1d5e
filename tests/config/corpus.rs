//! Wrong documents, each with the place and the words that are due. Each case spoils one spot of
//! the sound set, and nothing but the listed faults may come of it.

use crate::world::{self, CAIO, EMBED, EXTRA, VOCABULARY, spoilt};

struct Case {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    faults: &'static [&'static str],
}

const fn case(
    file: &'static str,
    from: &'static str,
    to: &'static str,
    faults: &'static [&'static str],
) -> Case {
    Case { file, from, to, faults }
}

const C: &str = "caio.toml";
const E: &str = "embed.toml";
const X: &str = "conf.d/extra.toml";

const CASES: &[Case] = &[
    // The process file.
    case(C, "config = \"caio/1\"\n", "", &[]),
    case(C, "config = \"caio/1\"", "config = \"caio/2\"", &[]),
    case(C, "config = \"caio/1\"", "config = 1", &[]),
    case(C, "vocabulary = \"vocabulary.toml\"\n", "", &[]),
    case(C, "\"vocabulary.toml\"", "\"words.toml\"", &[]),
    case(C, "\"conf.d/*.toml\"", "\"conf.d/none.toml\"", &[]),
    case(C, "\"conf.d/*.toml\"", "\"none.d/*.toml\"", &[]),
    case(C, "\"conf.d/*.toml\"", "\"*/extra.toml\"", &[]),
    case(C, "\"conf.d/*.toml\"", "\"\"", &[]),
    case(C, "\"conf.d/*.toml\"", "\"embed.toml\"", &[]),
    case(C, "[\"conf.d/*.toml\"]", "\"conf.d/*.toml\"", &[]),
    case(C, "workers = 2", "wrokers = 2", &[]),
    case(C, "workers = 2", "workers = -1", &[]),
    case(C, "workers = 2", "workers = \"all\"", &[]),
    case(C, "workers = 2", "workers = 2\npin = \"yes\"", &[]),
    case(C, "[process]", "[proces]", &[]),
    case(C, "[process]", "[[process]]", &[]),
    case(C, "[[listeners]]", "[listeners]", &[]),
    case(C, "\"127.0.0.1:8080\"", "\"localhost:8080\"", &[]),
    case(C, "\"127.0.0.1:8080\"", "\"127.0.0.1\"", &[]),
    case(
        C,
        "[timeouts]",
        "[[listeners]]\naddress = \"127.0.0.1:8080\"\nname = \"again\"\n\n[timeouts]",
        &[],
    ),
    case(C, "connect = \"1s\"", "connect = 1", &[]),
    case(C, "connect = \"1s\"", "connect = \"1\"", &[]),
    case(C, "connect = \"1s\"", "connect = \"0s\"", &[]),
    case(C, "connect = \"1s\"", "connect = \"1500us\"", &[]),
    case(C, "connect = \"1s\"", "connect = \"off\"", &[]),
    case(C, "connect = \"1s\"", "request = \"never\"", &[]),
    case(C, "connect = \"1s\"", "conect = \"1s\"", &[]),
    case(C, "fields_max = 50", "fields_max = 5000", &[]),
    case(C, "fields_max = 50", "head_bytes_max = 4096", &[]),
    case(C, "fields_max = 50", "head_bytes_max = \"1GiB\"", &[]),
    case(C, "fields_max = 50", "head_bytes_max = \"8KiB\"", &[]),
    case(C, "fields_max = 50", "h2_connection_window_bytes = \"1KiB\"", &[]),
    case(C, "\"10.0.0.0/8\"", "\"10.0.0.1/8\"", &[]),
    case(C, "\"10.0.0.0/8\"", "\"10.0.0.0/33\"", &[]),
    case(C, "\"10.0.0.0/8\"", "\"proxies\", 7", &[]),
    case(C, "[forwarding]", "[forwarding]\nserver = \"hide\"", &[]),
    case(C, "[forwarding]", "[forwarding]\nvia = 1.5", &[]),
    // Services.
    case(C, "contract = \"embed.toml\"\n", "", &[]),
    case(C, "\"embed.toml\"", "\"embd.toml\"", &[]),
    case(C, "\"embed.toml\"", "7", &[]),
    case(C, "\"embed.toml\"", "\"${CONTRACT}.toml\"", &[]),
    case(C, "endpoints = [\"127.0.0.1:9001\"]", "", &[]),
    case(C, "\"127.0.0.1:9001\"", "", &[]),
    case(C, "\"127.0.0.1:9001\"", "\"embed.internal:9001\"", &[]),
    case(C, "\"127.0.0.1:9001\"", "\"127.0.0.1:0\"", &[]),
    case(C, "\"127.0.0.1:9001\"", "\"127.0.0.1:9001\", \"127.0.0.1:9001\"", &[]),
    case(C, "endpoints", "tier = 256\nendpoints", &[]),
    case(C, "endpoints", "protocol = \"http2\"\nendpoints", &[]),
    case(
        C,
        "[[services]]",
        "[[services]]\ncontract = \"embed.toml\"\nendpoints = [\"127.0.0.1:9\"]\n[[services]]",
        &[],
    ),
    // Contracts.
    case(E, "contract = \"caio/1\"\n", "", &[]),
    case(E, "contract = \"caio/1\"", "contract = \"caio/9\"", &[]),
    case(E, "service = \"nme.embed\"\n", "", &[]),
    case(E, "\"nme.embed\"", "\"NME Embed\"", &[]),
    case(E, "\"2.3.1\"", "\"2.3\"", &[]),
    case(E, "version", "verison", &[]),
    case(E, "capability = \"embed.text/1\"\n", "", &[]),
    case(E, "\"embed.text/1\"", "\"embed.text\"", &[]),
    case(E, "\"embed.text/1\"", "\"embed.text/v1\"", &[]),
    case(E, "interface = { http = [\"POST /v1/embed\"] }\n", "", &[]),
    case(E, "{ http = [\"POST /v1/embed\"] }", "{}", &[]),
    case(E, "{ http = [\"POST /v1/embed\"] }", "{ http = [] }", &[]),
    case(E, "{ http = [\"POST /v1/embed\"] }", "{ http = [\"GET /\"], grpc = \"a.B\" }", &[]),
    case(E, "{ http = [\"POST /v1/embed\"] }", "{ grpc = \"nme/Embed\" }", &[]),
    case(E, "{ http = [\"POST /v1/embed\"] }", "{ htpp = [\"POST /v1/embed\"] }", &[]),
    case(
        E,
        "{ http = [\"POST /v1/embed\"] }",
        "{ grpc = \"a.B\", descriptor = \"sha256:12\", compatible = \"json\" }",
        &[],
    ),
    case(E, "\"POST /v1/embed\"", "\"post /v1/embed\"", &[]),
    case(E, "\"POST /v1/embed\"", "\"POST /v1/{}\"", &[]),
    case(E, "\"POST /v1/embed\"", "\"POST /v1/../embed\"", &[]),
    case(E, "\"POST /v1/embed\"", "\"POST /a%2Fb\", \"/v1\"", &[]),
    case(E, "\"POST /v1/embed\"", "\"GET /a\", \"GET /a\"", &[]),
    case(E, "'request.bytes <= 1MiB'", "'request.byte <= 1MiB'", &[]),
    case(E, "'request.bytes <= 1MiB'", "'request.bytes <= 1s'", &[]),
    case(E, "'request.bytes <= 1MiB'", "'request.bytes + 1 <= 1MiB'", &[]),
    case(E, "'request.bytes <= 1MiB'", "'request.bytes <= caller.clearance'", &[]),
    case(E, "'request.bytes <= 1MiB'", "'request.path.matches(\"a.*\")'", &[]),
    case(E, "'request.bytes <= 1MiB'", "'request.bytes <= 1.5'", &[]),
    case(E, "'request.bytes <= 1MiB'", "'deterministic'", &[]),
    case(E, "'request.bytes <= 1MiB'", "'''\n  request.host == \"a\" &&\n  foo'''", &[]),
    case(E, "'request.bytes <= 1MiB'", "\"request.host == \\\"\\u00e9\\\" && foo\"", &[]),
    case(E, "'request.bytes <= 1MiB'", "''", &[]),
    case(E, "'request.bytes <= 1MiB'", "5", &[]),
    case(E, "size =", "\"Size \" =", &[]),
    case(E, "availability = \">= 99.9%\"\n", "", &[]),
    case(E, "latency = { within = \"50ms\", except = \"1%\" }\n", "", &[]),
    case(E, "availability = \">= 99.9%\"", "avialability = \">= 99.9%\"", &[]),
    case(E, "availability = \">= 99.9%\"", "availability = \">= 99.9\"", &[]),
    case(E, "availability = \">= 99.9%\"", "availability = 0.999", &[]),
    case(E, "availability = \">= 99.9%\"", "request.bytes = \"<= 1MiB\"", &[]),
    case(E, "within = \"50ms\", except", "within = \"50ms\", expect", &[]),
    case(E, "within = \"50ms\"", "within = \"60ms\"", &[]),
    case(E, "when = 'request.bytes <= 64KiB'", "when = 'deterministic'", &[]),
    case(E, "when = 'request.bytes <= 64KiB'", "when = true", &[]),
    case(E, "[[offers.promises]]\nwhen", "[[offers.promise]]\nwhen", &[]),
    case(
        E,
        "[offers.demands]",
        "[[offers]]\ncapability = \"embed.text/1\"\ninterface = { http = [\"POST /v1/embed\"] }\n\n[offers.demands]",
        &[],
    ),
    case(E, "[offers.demands]", "[offers.demands", &[]),
    // Routes, requirements, callers.
    case(X, "config = \"caio/1\"", "config = \"caio/1\"\ninclude = [\"x.toml\"]", &[]),
    case(X, "config = \"caio/1\"", "", &[]),
    case(X, "id = \"r\"\n", "", &[]),
    case(X, "id = \"r\"", "id = \"R\"", &[]),
    case(X, "id = \"r\"", "id = \"r\"\nhost = \"API.example.org\"", &[]),
    case(X, "id = \"r\"", "id = \"r\"\nheaders = { X-Tenant = \"a\", host = \"b\", x = 1 }", &[]),
    case(X, "id = \"r\"", "id = \"r\"\nheaders = { x = \" a\" }", &[]),
    case(X, "id = \"r\"", "id = \"r\"\ntimeout = \"2d\"\nbody_bytes_max = \"1K\"", &[]),
    case(X, "\"POST /embed\"", "\"POST\"", &[]),
    case(X, "'deterministic'", "'request.bytes <= 1MiB'", &[]),
    case(X, "'deterministic'", "'deterministic', 'cost <= 1', 'latency(30ms) <= 1%'", &[]),
    case(X, "['residency.within(\"eu\")']", "[]", &[]),
    case(X, "needs = ['residency.within(\"eu\")']\n", "", &[]),
    case(X, "'residency.within(\"eu\")'", "'residency.within(\"mars\")'", &[]),
    case(X, "\"spiffe://tai/\"", "\"spiffe://tai/ x\"", &[]),
    case(X, "route = \"POST /v1/embed\"", "route = \"POST /v1/embed?x=1\"", &[]),
    case(X, "id = \"q\"", "id = \"q\"\nprefer = [\"cost\"]", &[]),
    case(X, "id = \"c\"", "id = \"anonymous\"", &[]),
    case(X, "[\"10.0.0.0/8\"]", "[]", &[]),
    case(X, "\"10.0.0.0/8\"", "\"10.0.0.0/8\", \"10.0.0.0/8\"", &[]),
    case(X, "caller.clearance = 3", "caller.clearence = 3", &[]),
    case(X, "caller.clearance = 3", "caller.clearance = -3", &[]),
    case(X, "caller.clearance = 3", "caller.id = \"me\"", &[]),
    case(X, "caller.clearance = 3", "deterministic = true", &[]),
    case(
        X,
        "[[callers]]",
        "[[requirements]]\nid = \"q\"\nneeds = ['deterministic']\n\n[[callers]]",
        &[],
    ),
];

fn original(file: &str) -> &'static str {
    match file {
        "caio.toml" => CAIO,
        "embed.toml" => EMBED,
        "conf.d/extra.toml" => EXTRA,
        _ => VOCABULARY,
    }
}

#[test]
fn every_wrong_document_is_refused_at_its_place_with_its_words() {
    let mut wrong = String::new();
    for case in CASES {
        let text = spoilt(original(case.file), case.from, case.to);
        let faults = match world::outcome(&world::files(case.file, &text)) {
            Ok(_) => vec!["(accepted)".to_owned()],
            Err(faults) => faults,
        };
        if faults != case.faults {
            wrong += &format!("{:?} -> {:?}\n", case.from, case.to);
            for fault in faults {
                wrong += &format!("    {fault}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(CASES.len() >= 100);
}
