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
    case(C, "config = \"caio/1\"\n", "", &["caio.toml:1:1: `config` is missing; add `config = …`"]),
    case(
        C,
        "config = \"caio/1\"",
        "config = \"caio/2\"",
        &["caio.toml:1:10: the format `caio/2` is not known; this program reads `caio/1`"],
    ),
    case(
        C,
        "config = \"caio/1\"",
        "config = 1",
        &["caio.toml:1:10: `config` must be a string, not an integer"],
    ),
    case(
        C,
        "vocabulary = \"vocabulary.toml\"\n",
        "",
        &["caio.toml:1:1: `vocabulary` is missing; add `vocabulary = …`"],
    ),
    case(
        C,
        "\"vocabulary.toml\"",
        "\"words.toml\"",
        &["caio.toml:2:14: there is no `words.toml`; paths are relative to the naming file"],
    ),
    case(
        C,
        "\"conf.d/*.toml\"",
        "\"conf.d/none.toml\"",
        &["caio.toml:3:12: there is no `conf.d/none.toml`; paths are relative to the naming \
             file"],
    ),
    case(
        C,
        "\"conf.d/*.toml\"",
        "\"none.d/*.toml\"",
        &["caio.toml:3:12: there is no `none.d`; paths are relative to the naming file"],
    ),
    case(
        C,
        "\"conf.d/*.toml\"",
        "\"*/extra.toml\"",
        &["caio.toml:3:12: a star in a directory of `*/extra.toml`; stars stand only in the \
             last part"],
    ),
    case(
        C,
        "\"conf.d/*.toml\"",
        "\"\"",
        &["caio.toml:3:12: `` names no file; write a file or `conf.d/*.toml`"],
    ),
    case(
        C,
        "\"conf.d/*.toml\"",
        "\"embed.toml\"",
        &["embed.toml:1:12: a contract cannot be included; name it in `[[services]] contract \
             = …`, next to its endpoints"],
    ),
    case(
        C,
        "[\"conf.d/*.toml\"]",
        "\"conf.d/*.toml\"",
        &["caio.toml:3:11: `include` must be an array of strings, not a string"],
    ),
    case(
        C,
        "workers = 2",
        "wrokers = 2",
        &["caio.toml:6:1: unknown key `wrokers` in `process`; did you mean `workers`? known \
             here: pin, workers"],
    ),
    case(C, "workers = 2", "workers = -1", &["caio.toml:6:11: `workers` is -1; take 0 to 1024"]),
    case(
        C,
        "workers = 2",
        "workers = \"all\"",
        &["caio.toml:6:11: `workers` must be an integer, not a string"],
    ),
    case(
        C,
        "workers = 2",
        "workers = 2\npin = \"yes\"",
        &["caio.toml:7:7: `pin` must be `true` or `false`, not a string"],
    ),
    case(
        C,
        "[process]",
        "[proces]",
        &["caio.toml:5:2: unknown key `proces`; did you mean `process`? known here: callers, \
             config, forwarding, include, limits, listeners, process, requirements, routes, \
             services, timeouts, vocabulary"],
    ),
    case(
        C,
        "[process]",
        "[[process]]",
        &["caio.toml:5:1: `process` must be a table, not an array"],
    ),
    case(
        C,
        "[[listeners]]",
        "[listeners]",
        &["caio.toml:8:1: `listeners` must be an array of tables, `[[listeners]]`, not a \
             table; double the brackets"],
    ),
    case(
        C,
        "\"127.0.0.1:8080\"",
        "\"localhost:8080\"",
        &["caio.toml:9:11: `localhost:8080` is no address with a port; write \
             `127.0.0.1:8080` or `[::1]:8080`"],
    ),
    case(
        C,
        "\"127.0.0.1:8080\"",
        "\"127.0.0.1\"",
        &["caio.toml:9:11: `127.0.0.1` is no address with a port; write `127.0.0.1:8080` or \
             `[::1]:8080`"],
    ),
    case(
        C,
        "[timeouts]",
        "[[listeners]]\naddress = \"127.0.0.1:8080\"\nname = \"again\"\n\n[timeouts]",
        &["caio.toml:12:11: a second address `127.0.0.1:8080`; the first is at caio.toml:9"],
    ),
    case(
        C,
        "connect = \"1s\"",
        "connect = 1",
        &["caio.toml:12:11: `connect` must be a duration such as `\"5s\"`, not an integer"],
    ),
    case(
        C,
        "connect = \"1s\"",
        "connect = \"1\"",
        &["caio.toml:12:11: `1` is not a duration such as `\"5s\"`; add a unit: one of ns, \
             us, ms, s, m, h, d"],
    ),
    case(
        C,
        "connect = \"1s\"",
        "connect = \"0s\"",
        &["caio.toml:12:11: `connect` is \"0s\"; take whole milliseconds from `\"1ms\"` to \
             `\"1d\"`"],
    ),
    case(
        C,
        "connect = \"1s\"",
        "connect = \"1500us\"",
        &["caio.toml:12:11: `connect` is \"1500us\"; take whole milliseconds from `\"1ms\"` \
             to `\"1d\"`"],
    ),
    case(
        C,
        "connect = \"1s\"",
        "connect = \"off\"",
        &["caio.toml:12:11: `off` is not a duration such as `\"5s\"`; write a whole number \
             and one unit of ns, us, ms, s, m, h, d"],
    ),
    case(
        C,
        "connect = \"1s\"",
        "request = \"never\"",
        &["caio.toml:12:11: `never` is no timeout; write a duration such as `\"60s\"`, or \
             `\"off\"`"],
    ),
    case(
        C,
        "connect = \"1s\"",
        "conect = \"1s\"",
        &["caio.toml:12:1: unknown key `conect` in `timeouts`; did you mean `connect`? known \
             here: client_body_bytes_per_second_min, client_body_idle, client_header, connect, \
             drain, idle_client, idle_upstream, request, stream_idle, upstream_response"],
    ),
    case(
        C,
        "fields_max = 50",
        "fields_max = 5000",
        &["caio.toml:15:14: `fields_max` is 5000; take 8 to 1000"],
    ),
    case(
        C,
        "fields_max = 50",
        "head_bytes_max = 4096",
        &["caio.toml:15:18: `head_bytes_max` must be a size such as `\"64KiB\"`, not an \
             integer"],
    ),
    case(
        C,
        "fields_max = 50",
        "head_bytes_max = \"1GiB\"",
        &["caio.toml:15:18: `head_bytes_max` is \"1GiB\"; take `\"1024B\"` to `\"1048576B\"`"],
    ),
    case(
        C,
        "fields_max = 50",
        "head_bytes_max = \"8KiB\"",
        &["caio.toml:15:18: `line_bytes_max` (16384) is above `head_bytes_max` (8192); lower \
             `line_bytes_max` or raise `head_bytes_max`"],
    ),
    case(
        C,
        "fields_max = 50",
        "h2_connection_window_bytes = \"1KiB\"",
        &["caio.toml:15:30: `h2_connection_window_bytes` is \"1KiB\"; take `\"65535B\"` to \
             `\"2147483647B\"`"],
    ),
    case(
        C,
        "\"10.0.0.0/8\"",
        "\"10.0.0.1/8\"",
        &["caio.toml:18:20: `10.0.0.1/8` has bits set after the first 8; write `10.0.0.0/8`"],
    ),
    case(
        C,
        "\"10.0.0.0/8\"",
        "\"10.0.0.0/33\"",
        &["caio.toml:18:20: `10.0.0.0/33` is no network; write `10.0.0.0/8`, `2001:db8::/32` \
             or one address"],
    ),
    case(
        C,
        "\"10.0.0.0/8\"",
        "\"proxies\", 7",
        &[
            "caio.toml:18:20: `proxies` is no network; write `10.0.0.0/8`, `2001:db8::/32` or \
             one address",
            "caio.toml:18:31: `trusted_proxies` must be an array of strings, not an integer",
        ],
    ),
    case(
        C,
        "[forwarding]",
        "[forwarding]\nserver = \"hide\"",
        &["caio.toml:18:10: `server` cannot be `hide`; take one of `\"pass\"`, \
             `\"replace\"`, `\"remove\"`"],
    ),
    case(
        C,
        "[forwarding]",
        "[forwarding]\nvia = 1.5",
        &["caio.toml:18:7: `via` must be `true` or `false`, not a float"],
    ),
    // Services.
    case(
        C,
        "contract = \"embed.toml\"\n",
        "",
        &["caio.toml:20:1: `contract` is missing in `services`; add `contract = …`"],
    ),
    case(
        C,
        "\"embed.toml\"",
        "\"embd.toml\"",
        &["caio.toml:21:12: there is no `embd.toml`; paths are relative to the naming file"],
    ),
    case(
        C,
        "\"embed.toml\"",
        "7",
        &["caio.toml:21:12: `contract` must be a file or a table, not an integer"],
    ),
    case(
        C,
        "\"embed.toml\"",
        "\"${CONTRACT}.toml\"",
        &[
            "caio.toml:21:12: there is no `${CONTRACT}.toml`; paths are relative to the naming \
             file",
            "caio.toml:21:13: environment variables are not read; write the value itself; `${` \
             has no meaning here",
        ],
    ),
    case(
        C,
        "endpoints = [\"127.0.0.1:9001\"]",
        "",
        &["caio.toml:20:1: `endpoints` is missing in `services`; add `endpoints = …`"],
    ),
    case(
        C,
        "\"127.0.0.1:9001\"",
        "",
        &["caio.toml:22:13: a service without endpoints; add `\"127.0.0.1:9000\"`"],
    ),
    case(
        C,
        "\"127.0.0.1:9001\"",
        "\"embed.internal:9001\"",
        &["caio.toml:22:14: `embed.internal:9001` is no endpoint; write an address and a \
             port, `10.0.0.7:9000` or `[2001:db8::7]:9000`; names are not looked up"],
    ),
    case(
        C,
        "\"127.0.0.1:9001\"",
        "\"127.0.0.1:0\"",
        &["caio.toml:22:14: nobody can be called at `127.0.0.1:0`; write the address and \
             port the service listens on"],
    ),
    case(
        C,
        "\"127.0.0.1:9001\"",
        "\"127.0.0.1:9001\", \"127.0.0.1:9001\"",
        &["caio.toml:22:32: a second endpoint `127.0.0.1:9001`; the first is at caio.toml:22"],
    ),
    case(
        C,
        "endpoints",
        "tier = 256\nendpoints",
        &["caio.toml:22:8: `tier` is 256; take 0 to 255"],
    ),
    case(
        C,
        "endpoints",
        "protocol = \"http2\"\nendpoints",
        &["caio.toml:22:12: `protocol` cannot be `http2`; take one of `\"http1\"`, `\"h2c\"`"],
    ),
    case(
        C,
        "[[services]]",
        "[[services]]\ncontract = \"embed.toml\"\nendpoints = [\"127.0.0.1:9\"]\n[[services]]",
        &["caio.toml:24:12: a second service `nme.embed`; the first is at caio.toml:21"],
    ),
    // Contracts.
    case(
        E,
        "contract = \"caio/1\"\n",
        "",
        &["embed.toml:1:1: `contract` is missing; add `contract = …`"],
    ),
    case(
        E,
        "contract = \"caio/1\"",
        "contract = \"caio/9\"",
        &["embed.toml:1:12: the format `caio/9` is not known; this program reads `caio/1`"],
    ),
    case(
        E,
        "service = \"nme.embed\"\n",
        "",
        &["embed.toml:1:1: `service` is missing; add `service = …`"],
    ),
    case(
        E,
        "\"nme.embed\"",
        "\"NME Embed\"",
        &["embed.toml:2:12: `NME Embed` is no name of a service; write lower-case letters, \
             digits, `.`, `-`, `_`, starting with a letter or digit"],
    ),
    case(E, "\"2.3.1\"", "\"2.3\"", &["embed.toml:3:11: `2.3` is not a version such as `1.4.2`"]),
    case(
        E,
        "version",
        "verison",
        &[
            "embed.toml:1:1: `version` is missing; add `version = …`",
            "embed.toml:3:1: unknown key `verison`; did you mean `version`? known here: \
             contract, offers, service, version",
        ],
    ),
    case(
        E,
        "capability = \"embed.text/1\"\n",
        "",
        &["embed.toml:5:1: `capability` is missing in `offers`; add `capability = …`"],
    ),
    case(
        E,
        "\"embed.text/1\"",
        "\"embed.text\"",
        &["embed.toml:6:25: the capability `embed.text` has no version; write a name, a \
             slash and the major version: `embed.text/1`"],
    ),
    case(
        E,
        "\"embed.text/1\"",
        "\"embed.text/v1\"",
        &["embed.toml:6:26: `v1` is no major version; write a name, a slash and the major \
             version: `embed.text/1`"],
    ),
    case(
        E,
        "interface = { http = [\"POST /v1/embed\"] }\n",
        "",
        &["embed.toml:5:1: `interface` is missing in `offers`; add `interface = …`"],
    ),
    case(
        E,
        "{ http = [\"POST /v1/embed\"] }",
        "{}",
        &["embed.toml:7:13: an interface is either `http` or `grpc`; write `{ http = [\"POST \
             /v1/embed\"] }` or `{ grpc = \"nme.v2.Embed\" }`"],
    ),
    case(
        E,
        "{ http = [\"POST /v1/embed\"] }",
        "{ http = [] }",
        &["embed.toml:7:22: an interface without operations; add `\"POST /v1/embed\"`"],
    ),
    case(
        E,
        "{ http = [\"POST /v1/embed\"] }",
        "{ http = [\"GET /\"], grpc = \"a.B\" }",
        &["embed.toml:7:13: an interface is either `http` or `grpc`; write `{ http = [\"POST \
             /v1/embed\"] }` or `{ grpc = \"nme.v2.Embed\" }`"],
    ),
    case(
        E,
        "{ http = [\"POST /v1/embed\"] }",
        "{ grpc = \"nme/Embed\" }",
        &["embed.toml:7:23: `nme/Embed` is no part of a gRPC service's name; write the \
             service with its package: `nme.v2.Embed`"],
    ),
    case(
        E,
        "{ http = [\"POST /v1/embed\"] }",
        "{ htpp = [\"POST /v1/embed\"] }",
        &[
            "embed.toml:7:13: an interface is either `http` or `grpc`; write `{ http = [\"POST \
             /v1/embed\"] }` or `{ grpc = \"nme.v2.Embed\" }`",
            "embed.toml:7:15: unknown key `htpp` in `offers.interface`; did you mean `http`? \
             known here: compatible, descriptor, grpc, http",
        ],
    ),
    case(
        E,
        "{ http = [\"POST /v1/embed\"] }",
        "{ grpc = \"a.B\", descriptor = \"sha256:12\", compatible = \"json\" }",
        &[
            "embed.toml:7:42: `sha256:12` is no fingerprint; write `sha256:` and 64 lower-case \
             hex digits",
            "embed.toml:7:68: `compatible` cannot be `json`; take one of `\"wire\"`, \
             `\"wire_json\"`, `\"package\"`, `\"file\"`",
        ],
    ),
    case(
        E,
        "\"POST /v1/embed\"",
        "\"post /v1/embed\"",
        &["embed.toml:7:24: methods are upper case, not `post`; write `POST`"],
    ),
    case(
        E,
        "\"POST /v1/embed\"",
        "\"POST /v1/{}\"",
        &["embed.toml:7:33: `{}` is no parameter; a parameter is a whole segment, `{name}`"],
    ),
    case(
        E,
        "\"POST /v1/embed\"",
        "\"POST /v1/../embed\"",
        &["embed.toml:7:33: a dot segment never reaches a service; write the path that \
             remains after resolving it"],
    ),
    case(
        E,
        "\"POST /v1/embed\"",
        "\"POST /a%2Fb\", \"/v1\"",
        &[
            "embed.toml:7:31: `%2F` is refused in every request; drop it",
            "embed.toml:7:39: `/v1` is no operation; write a method and a path, `POST \
             /v1/embed`, or `* /v1/embed` for every method",
        ],
    ),
    case(
        E,
        "\"POST /v1/embed\"",
        "\"GET /a\", \"GET /a\"",
        &["embed.toml:7:33: a second operation `GET /a`; the first is at embed.toml:7"],
    ),
    case(
        E,
        "'request.bytes <= 1MiB'",
        "'request.byte <= 1MiB'",
        &["embed.toml:10:9: there is no attribute `request.byte`; did you mean \
             `request.bytes`?"],
    ),
    case(
        E,
        "'request.bytes <= 1MiB'",
        "'request.bytes <= 1s'",
        &["embed.toml:10:9: `1s` is not a size; write it with `B`, `KiB`, `MiB`, `GiB`"],
    ),
    case(
        E,
        "'request.bytes <= 1MiB'",
        "'request.bytes + 1 <= 1MiB'",
        &["embed.toml:10:9: `+` computes, and conditions only compare an attribute to \
             constants; write the result as a constant"],
    ),
    case(
        E,
        "'request.bytes <= 1MiB'",
        "'request.bytes <= caller.clearance'",
        &["embed.toml:10:26: `caller.clearance` is an attribute, and attributes compare only \
             to constants; write the constant; a contract knows its own"],
    ),
    case(
        E,
        "'request.bytes <= 1MiB'",
        "'request.path.matches(\"a.*\")'",
        &["embed.toml:10:9: regular expressions are not part of the language; use \
             `.startsWith`, `.endsWith` or `in [...]`; versions have `.matches_version`"],
    ),
    case(
        E,
        "'request.bytes <= 1MiB'",
        "'request.bytes <= 1.5'",
        &["embed.toml:10:9: `1.5` has no unit, and a size needs one; write it with `B`, \
             `KiB`, `MiB`, `GiB`"],
    ),
    case(
        E,
        "'request.bytes <= 1MiB'",
        "'deterministic'",
        &["embed.toml:10:9: `deterministic` is promised by services; a demand speaks of \
             request and caller; put this into a requirement"],
    ),
    case(
        E,
        "'request.bytes <= 1MiB'",
        "'''\n  request.host == \"a\" &&\n  foo'''",
        &["embed.toml:12:3: there is no attribute `foo`; declare it in the vocabulary"],
    ),
    case(
        E,
        "'request.bytes <= 1MiB'",
        "\"request.host == \\\"\\u00e9\\\" && foo\"",
        &["embed.toml:10:39: there is no attribute `foo`; declare it in the vocabulary"],
    ),
    case(
        E,
        "'request.bytes <= 1MiB'",
        "''",
        &["embed.toml:10:9: a condition is missing here; name an attribute"],
    ),
    case(
        E,
        "'request.bytes <= 1MiB'",
        "5",
        &["embed.toml:10:8: `size` must be an expression in quotes, not an integer"],
    ),
    case(
        E,
        "size =",
        "\"Size \" =",
        &["embed.toml:10:2: `Size ` is no name of a demand; write lower-case letters, \
             digits, `.`, `-`, `_`, starting with a letter or digit"],
    ),
    case(
        E,
        "availability = \">= 99.9%\"\n",
        "",
        &["embed.toml:12:1: an empty promise; add what it promises, `availability = \">= \
             99.9%\"`, or drop it"],
    ),
    case(
        E,
        "latency = { within = \"50ms\", except = \"1%\" }\n",
        "",
        &["embed.toml:15:1: an empty promise; add what it promises, `availability = \">= \
             99.9%\"`, or drop it"],
    ),
    case(
        E,
        "availability = \">= 99.9%\"",
        "avialability = \">= 99.9%\"",
        &["embed.toml:13:1: there is no attribute `avialability`; did you mean \
             `availability`?"],
    ),
    case(
        E,
        "availability = \">= 99.9%\"",
        "availability = \">= 99.9\"",
        &["embed.toml:13:17: `99.9` has no unit, and a ratio needs one; write it with `%` or \
             `ppm`"],
    ),
    case(
        E,
        "availability = \">= 99.9%\"",
        "availability = 0.999",
        &["embed.toml:13:16: `availability` must be a value, an expression in quotes, or `{ \
             within = \"50ms\", except = \"1%\" }`, not a float"],
    ),
    case(
        E,
        "availability = \">= 99.9%\"",
        "request.bytes = \"<= 1MiB\"",
        &["embed.toml:13:9: `request.bytes` is a fact of request or caller; a service \
             promises attributes of side `promise`; put this into `demands`"],
    ),
    case(
        E,
        "within = \"50ms\", except",
        "within = \"50ms\", expect",
        &[
            "embed.toml:17:11: `except` is missing in `offers.promises.latency`; add `except = \
             …`",
            "embed.toml:17:30: unknown key `expect` in `offers.promises.latency`; did you mean \
             `except`? known here: except, within",
        ],
    ),
    case(
        E,
        "within = \"50ms\"",
        "within = \"6s\"",
        &["embed.toml:17:11: `6s` lies above every declared bound; no requirement could ask \
             for it; the bounds are `10ms`, `20ms`, `50ms`, `100ms`, `200ms`, `400ms`, `1s`, \
             `5s`"],
    ),
    case(
        E,
        "except = \"1%\"",
        "except = \"101%\"",
        &["embed.toml:17:11: `101%` is no ratio from 0% to 100%; write for example `99.9%`"],
    ),
    case(
        E,
        "when = 'request.bytes <= 64KiB'",
        "when = 'deterministic'",
        &["embed.toml:16:9: `deterministic` is promised by services; a demand speaks of \
             request and caller; put this into a requirement"],
    ),
    case(
        E,
        "when = 'request.bytes <= 64KiB'",
        "when = true",
        &["embed.toml:16:8: `when` must be a string, not a boolean"],
    ),
    case(
        E,
        "[[offers.promises]]\nwhen",
        "[[offers.promise]]\nwhen",
        &["embed.toml:15:10: unknown key `promise` in `offers`; did you mean `promises`? \
             known here: capability, demands, interface, promises"],
    ),
    case(
        E,
        "[offers.demands]",
        "[[offers]]\ncapability = \"embed.text/1\"\ninterface = { http = [\"POST /v1/embed\"] }\n\n[offers.demands]",
        &[
            "embed.toml:10:14: a second offer of `embed.text/1`; the first is at embed.toml:6",
            "embed.toml:11:23: a second operation `POST /v1/embed`; the first is at \
             embed.toml:7",
        ],
    ),
    case(
        E,
        "[offers.demands]",
        "[offers.demands",
        &["embed.toml:9:16: this is not TOML: unclosed table, expected `]`"],
    ),
    // Routes, requirements, callers.
    case(
        X,
        "config = \"caio/1\"",
        "config = \"caio/1\"\ninclude = [\"x.toml\"]",
        &["conf.d/extra.toml:2:1: unknown key `include`; known here: callers, config, \
             requirements, routes, services"],
    ),
    case(
        X,
        "config = \"caio/1\"",
        "",
        &["conf.d/extra.toml:1:1: `config` is missing; add `config = …`"],
    ),
    case(
        X,
        "id = \"r\"\n",
        "",
        &["conf.d/extra.toml:3:1: `id` is missing in `routes`; add `id = …`"],
    ),
    case(
        X,
        "id = \"r\"",
        "id = \"R\"",
        &["conf.d/extra.toml:4:7: `R` is no name of a route; write lower-case letters, \
             digits, `.`, `-`, `_`, starting with a letter or digit"],
    ),
    case(
        X,
        "id = \"r\"",
        "id = \"r\"\nhost = \"API.example.org\"",
        &["conf.d/extra.toml:5:9: `API` is no label of a host; write lower-case labels \
             without a port: `api.example.org`, `*.example.org`"],
    ),
    case(
        X,
        "id = \"r\"",
        "id = \"r\"\nheaders = { X-Tenant = \"a\", host = \"b\", x = 1 }",
        &[
            "conf.d/extra.toml:5:13: `X-Tenant` is no header name; write it in lower case: \
             `x-tenant`",
            "conf.d/extra.toml:5:29: a route cannot depend on `host`; take a header that \
             speaks of the request",
            "conf.d/extra.toml:5:45: `x` must be a string, not an integer",
        ],
    ),
    case(
        X,
        "id = \"r\"",
        "id = \"r\"\nheaders = { x = \" a\" }",
        &["conf.d/extra.toml:5:17: ` a` is no value a header can have; write visible ASCII \
             without spaces around it"],
    ),
    case(
        X,
        "id = \"r\"",
        "id = \"r\"\ntimeout = \"2d\"\nbody_bytes_max = \"1K\"",
        &[
            "conf.d/extra.toml:5:11: `timeout` is \"2d\"; take whole milliseconds from \
             `\"1ms\"` to `\"1d\"`",
            "conf.d/extra.toml:6:18: `1K` is not a size such as `\"64KiB\"`; write a whole \
             number and one unit of B, KB, MB, GB, KiB, MiB, GiB, no space between",
        ],
    ),
    case(
        X,
        "\"POST /embed\"",
        "\"POST\"",
        &["conf.d/extra.toml:5:14: `POST` is no operation; write a method and a path, `POST \
             /v1/embed`, or `* /v1/embed` for every method"],
    ),
    case(
        X,
        "'deterministic'",
        "'request.bytes <= 1MiB'",
        &["conf.d/extra.toml:7:11: `request.bytes` is a fact of request or caller; a \
             requirement speaks of what services promise; put this into a demand"],
    ),
    case(
        X,
        "'deterministic'",
        "'deterministic', 'cost <= 1', 'latency(30ms) <= 1%'",
        &["conf.d/extra.toml:7:41: `30ms` is not a declared bound of `latency`; use one of \
             `10ms`, `20ms`, `50ms`, `100ms`, `200ms`, `400ms`, `1s`, `5s`"],
    ),
    case(
        X,
        "['residency.within(\"eu\")']",
        "[]",
        &["conf.d/extra.toml:13:9: a requirement that requires nothing; add \
             `'residency.within(\"eu\")'`, or drop it"],
    ),
    case(
        X,
        "needs = ['residency.within(\"eu\")']\n",
        "",
        &["conf.d/extra.toml:9:1: `needs` is missing in `requirements`; add `needs = …`"],
    ),
    case(
        X,
        "'residency.within(\"eu\")'",
        "'residency.within(\"mars\")'",
        &["conf.d/extra.toml:13:11: there is no region `mars`; use one of `eu`, \
             `eu-central`, `eu-north`, `eu-west`, `us`, `us-east`, `us-west`, `ap`, …"],
    ),
    case(
        X,
        "\"spiffe://tai/\"",
        "\"spiffe://tai/ x\"",
        &["conf.d/extra.toml:11:10: `spiffe://tai/ x` is no caller's id; write 1 to 253 \
             visible ASCII characters without spaces"],
    ),
    case(
        X,
        "route = \"POST /v1/embed\"",
        "route = \"POST /v1/embed?x=1\"",
        &["conf.d/extra.toml:12:24: `?` ends a path; routes do not see the query; drop it"],
    ),
    case(
        X,
        "id = \"q\"",
        "id = \"q\"\nprefer = [\"cost\"]",
        &["conf.d/extra.toml:11:1: unknown key `prefer` in `requirements`; known here: \
             caller, id, needs, route"],
    ),
    case(
        X,
        "id = \"c\"",
        "id = \"anonymous\"",
        &["conf.d/extra.toml:16:6: `anonymous` is whoever no caller's networks hold; take \
             another id; it has no networks and no facts"],
    ),
    case(
        X,
        "[\"10.0.0.0/8\"]",
        "[]",
        &["conf.d/extra.toml:17:12: a caller without networks; add `\"10.0.0.0/8\"`"],
    ),
    case(
        X,
        "\"10.0.0.0/8\"",
        "\"10.0.0.0/8\", \"10.0.0.0/8\"",
        &["conf.d/extra.toml:17:27: a second use of the network `10.0.0.0/8`; the first is \
             at conf.d/extra.toml:17"],
    ),
    case(
        X,
        "caller.clearance = 3",
        "caller.clearence = 3",
        &["conf.d/extra.toml:18:18: there is no attribute `caller.clearence`; did you mean \
             `caller.clearance`?"],
    ),
    case(
        X,
        "caller.clearance = 3",
        "caller.clearance = -3",
        &["conf.d/extra.toml:18:30: `-3` is negative"],
    ),
    case(
        X,
        "caller.clearance = 3",
        "caller.id = \"me\"",
        &["conf.d/extra.toml:18:18: `caller.id` is not configured per caller; take an \
             attribute of side `caller` without a source"],
    ),
    case(
        X,
        "caller.clearance = 3",
        "deterministic = true",
        &["conf.d/extra.toml:18:11: `deterministic` is not configured per caller; take an \
             attribute of side `caller` without a source"],
    ),
    case(
        X,
        "[[callers]]",
        "[[requirements]]\nid = \"q\"\nneeds = ['deterministic']\n\n[[callers]]",
        &["conf.d/extra.toml:16:6: a second requirement `q`; the first is at \
             conf.d/extra.toml:10"],
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
