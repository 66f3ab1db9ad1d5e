#!/usr/bin/env python3
"""Measures CAIO beside nginx, HAProxy and Envoy: the same origin, the same load, in turn.

    python3 perf/rig.py                                   everything that is installed
    python3 perf/rig.py --scenario h1-1k --duration 10 --rounds 5
    python3 perf/rig.py --scenario h2-attacked --duration 4 --rounds 3 --proxy caio

Needs Python's standard library alone and installs nothing; what is missing is named with the
command that installs it. Everything runs on loopback, from a temporary folder, on free ports.

Writes TIME.json with every raw figure and TIME.md for people, into perf/out, which git ignores. A run
that figures elsewhere rest on is committed: both files, moved to perf/results. Measure on a machine
that does nothing else; the report says how loaded it was.
"""

import argparse
import contextlib
import dataclasses
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import attacks
import ladder
import measure
import peers
import report
from measure import Process, RigError

HERE = os.path.dirname(os.path.abspath(__file__))
CONNECTIONS = 64
H2_CONNECTIONS, H2_STREAMS = 16, 32
IDLE_CONNECTIONS = 10_000
START_SECONDS_MAX = 30
# What part of the slowest proxy's full rate is offered beside attacks: enough to feel a slow-down,
# and not so much that a queue grows without one.
ATTACKED_SHARE = 0.4
ATTACK_LEAD_SECONDS = 1
# HAProxy reserves two for each connection that it may ever have.
DESCRIPTORS = 65_536


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One question: how the caller speaks, how the origin does, what is asked, who answers."""
    title: str
    front: str = "h1"
    origin: str = "h1"
    path: str = "/1k"
    size: int = peers.BODIES["1k"]
    kind: str = "load"
    proxies: tuple = ("caio", "nginx", "haproxy", "envoy")
    # The caller's side is TLS 1.3, with the same cipher and the same key everywhere.
    tls: bool = False
    # Each request has a connection, and so a handshake, of its own.
    once: bool = False
    # Each request shows a key and a token.
    known: bool = False
    # How many routes and services the larger CAIO is given.
    routes: int = 0
    services: int = 2


SCENARIOS = {
    "h1-1k": Scenario(
        f"HTTP/1.1 to HTTP/1.1, {CONNECTIONS} keep-alive connections, answers of 1 KiB; `relay` is no "
        "proxy: it parses nothing, and shows what kernel and runtime take.",
        proxies=("caio", "nginx", "haproxy", "envoy", "relay")),
    "h1-64k": Scenario(
        f"HTTP/1.1 to HTTP/1.1, {CONNECTIONS} keep-alive connections, answers of 64 KiB; nginx as "
        "shipped, and with buffers that hold a whole answer.",
        path="/64k", size=peers.BODIES["64k"],
        proxies=("caio", "nginx", "nginx-buffers", "haproxy", "envoy")),
    "h2-h2": Scenario(
        f"HTTP/2 to HTTP/2, prior knowledge, {H2_CONNECTIONS} connections × {H2_STREAMS} streams, "
        "answers of 1 KiB; nginx forwards with grpc_pass.", front="h2", origin="h2"),
    "https-1k": Scenario(
        "As h1-1k, over TLS 1.3 with a P-256 certificate.", tls=True,
        proxies=("caio", "nginx", "haproxy")),
    "https-handshake": Scenario(
        "Full handshakes of TLS 1.3 with a P-256 certificate, one request of 1 KiB each.",
        tls=True, once=True, proxies=("caio", "nginx", "haproxy")),
    "h2-tls": Scenario(
        "As h2-h2, over TLS 1.3 with a P-256 certificate.", front="h2", origin="h2", tls=True,
        proxies=("caio", "nginx", "haproxy")),
    "ladder": Scenario(
        "As h1-1k, every request with an API key and a token (EdDSA): nobody reads them, the key "
        "is read, the token is (it is known from before), 1000 rules of policy besides, a trail "
        "besides, a hook besides whose answer is kept, one that is asked each time (the origin, over "
        "HTTP); last, tokens that nobody remembers and no rules.", known=True,
        proxies=("caio", *ladder.STEPS, "nginx")),
    "h1-idle": Scenario(
        f"Memory of {IDLE_CONNECTIONS} keep-alive connections that asked once and then wait.",
        kind="idle"),
    "routes-100k": Scenario(
        "As h1-1k, with the last of 100 000 routes.", proxies=("caio", "caio-routes"),
        path="/r/99999", routes=100_000),
    "services-10k": Scenario(
        "As h1-1k, with 10 000 services.", proxies=("caio", "caio-services"), services=10_000),
    "trail": Scenario(
        "As h1-1k, with and without a trail of every decision, kept in the rig's own folder: as "
        "shipped, with sizes instead of digests of the bodies, and forwarding only what is durable; "
        "nginx without and with its access log.",
        proxies=("caio", "caio-trail", "caio-sizes", "caio-sync", "nginx", "nginx-log")),
    "h1-attacked": Scenario(
        "Paced HTTP/1.1 beside one attack after another.", kind="attack",
        proxies=("caio", "nginx", "haproxy")),
    "h2-attacked": Scenario(
        "Paced HTTP/2, forwarded as HTTP/1.1, beside one attack after another.", front="h2",
        kind="attack", proxies=("caio", "nginx", "haproxy")),
}


def raise_descriptors():
    """Room for the idle connections on both of their ends; every child inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (DESCRIPTORS, hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
            return
    say(f"only {soft} descriptors: fewer idle connections than {IDLE_CONNECTIONS}")


def free_ports(count):
    """Ports that nobody listens on now; all are held at once, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for_port(process, port, seconds=START_SECONDS_MAX):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        process.check()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RigError(f"{process.name} did not listen on {port} within {seconds} s")


def check_answer(name, scenario, port, options, folder):
    """A proxy that answers something else would win every comparison."""
    if scenario.front == "h2":
        # Succeeded means a status of 2xx or 3xx; the size shows that it is the file.
        command = ["h2load", "-n1", "-c1", url_of(scenario, port, scenario.path)]
        output = measure.run_load(command, options.load_cores, 5)
        fine = "1 succeeded" in output and f"({scenario.size}) data" in output
        if not fine:
            raise RigError(f"{name} does not answer {scenario.path}:\n{output}")
        return
    if scenario.tls:
        trust = ssl.create_default_context(cafile=os.path.join(folder, peers.CERTIFICATE))
        caller = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trust)
    else:
        caller = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    shown = ladder.fields() if scenario.known else []
    caller.request("GET", scenario.path, headers=dict(field.split(": ", 1) for field in shown))
    answer = caller.getresponse()
    body = answer.read()
    caller.close()
    if answer.status != 200 or len(body) != scenario.size:
        start = body[:300].decode(errors="replace")
        raise RigError(f"{name} answers {answer.status} and {len(body)} bytes: {start}")


def command_for(name, scenario, folder, port, origin_port, options):
    os.makedirs(folder, exist_ok=True)
    if scenario.tls:
        peers.certificate(folder)
    if name in ("nginx", "nginx-buffers", "nginx-log"):
        return peers.nginx(folder, scenario, port, origin_port, name == "nginx-buffers",
                           name == "nginx-log")
    if name == "haproxy":
        return peers.haproxy(folder, scenario, port, origin_port)
    if name == "envoy":
        return peers.envoy(folder, scenario, port, origin_port, options.envoy)
    if name == "relay":
        answer = measure.answer_bytes(origin_port, scenario.path)
        return peers.relay(port, origin_port, answer, options.relay)
    routes = scenario.routes if name == "caio-routes" else min(scenario.routes, 1)
    services = scenario.services if name == "caio-services" else 2
    trail = ladder.STEPS[name][2] if name in ladder.STEPS else peers.TRAILS.get(name)
    return peers.caio(folder, scenario, port, origin_port, options.caio, routes, services, trail,
                      ladder.step(folder, name, origin_port))


def path_for(name, scenario):
    """The small CAIO of the route scenario has one route, and is asked for that one."""
    return "/r/0" if name == "caio" and scenario.routes else scenario.path


def url_of(scenario, port, path):
    return f"{'https' if scenario.tls else 'http'}://127.0.0.1:{port}{path}"


def load(scenario, port, path, seconds, options, folder, name=None):
    url = url_of(scenario, port, path)
    if scenario.front == "h2":
        return measure.run_h2load(url, options.load_cores, seconds, H2_CONNECTIONS, H2_STREAMS,
                                  folder)
    fields = ladder.fields() if scenario.known else []
    fields += ["Connection: close"] if scenario.once else []
    return measure.run_wrk(url, options.load_cores, seconds, CONNECTIONS, folder, fields,
                           ladder.turns(folder, name))


def measure_load(process, scenario, port, options, folder):
    """One round of one proxy: its processor time over exactly the window of the load."""
    path = path_for(process.name, scenario)
    user, system = process.cpu_seconds()
    figures, output = load(scenario, port, path, options.duration, options, folder, process.name)
    user_after, system_after = process.cpu_seconds()
    process.check()
    requests = figures["requests"]
    if not requests:
        raise RigError(f"{process.name} answered no request:\n{output}")
    figures["user_us"] = (user_after - user) * 1e6 / requests
    figures["system_us"] = (system_after - system) * 1e6 / requests
    figures["cpu_us"] = figures["user_us"] + figures["system_us"]
    figures["requests_per_second"] = requests / figures["seconds"]
    figures["resident_mib"] = process.resident_bytes() / 2**20
    figures["output"] = output
    return figures


def measure_paced(process, scenario, port, rate, options, folder):
    """An open loop: requests leave on time whether or not earlier ones came back."""
    connections = H2_CONNECTIONS if scenario.front == "h2" else CONNECTIONS
    per_connection = max(1, round(rate / connections))
    figures, output = measure.run_h2load(
        url_of(scenario, port, path_for(process.name, scenario)), options.load_cores,
        options.duration, connections, H2_STREAMS if scenario.front == "h2" else 1, folder,
        rps=per_connection, http1=scenario.front == "h1")
    figures.update(rate=per_connection * connections, output=output)
    return figures


def measure_idle(process, scenario, port):
    """Opens connections that each ask once, and sees what they cost while they wait."""
    count = min(IDLE_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    request = f"GET {scenario.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    empty = process.resident_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            one.sendall(request)
            received = 0
            while received < scenario.size:
                part = one.recv(65536)
                if not part:
                    raise RigError(f"{process.name} closed a connection that should wait")
                received += len(part)
        # What is freed late is not part of what an idle connection keeps.
        time.sleep(1)
        full = process.resident_bytes()
        process.check()
    return {"connections": count, "bytes_per_connection": (full - empty) / count,
            "empty_mib": empty / 2**20, "full_mib": full / 2**20}


def measure_beside(process, scenario, port, rate, options, folder):
    """One window of paced load, and what the proxy spent in it on everything it did."""
    spent, waited = sum(process.cpu_seconds()), process.waited_seconds()
    start = time.monotonic()
    figures = measure_paced(process, scenario, port, rate, options, folder)
    seconds = time.monotonic() - start
    figures["cpu_share"] = (sum(process.cpu_seconds()) - spent) / seconds
    figures["waited_share"] = (process.waited_seconds() - waited) / seconds
    return figures


def python_process(stack, folder, name, options, *arguments):
    command = [sys.executable, os.path.join(HERE, "attacks.py"), *map(str, arguments)]
    process = Process(name, command, options.load_cores, os.path.join(folder, f"{name}.log"))
    stack.callback(process.stop)
    return process


def tally_of(process, seconds):
    """What an attack printed of itself once its time was over."""
    try:
        code = process.child.wait(seconds)
    except subprocess.TimeoutExpired as late:
        raise RigError(f"{process.name} did not end in time") from late
    with open(process.log) as log:
        lines = log.read().splitlines()
    if code != 0 or not lines:
        raise RigError(f"{process.name} ended with {code}:\n" + "\n".join(lines[-8:]))
    return json.loads(lines[-1])


def measure_attacked(process, scenario, port, target, name, rate, options, folder):
    """Paced load at the proxy, while the attack is aimed at the target port."""
    # At least long enough that the attacker sees each of its first connections to an end.
    life = attacks.ATTACKS[name].life
    seconds = max(options.duration + ATTACK_LEAD_SECONDS, life + 2)
    before = process.resident_bytes()
    with contextlib.ExitStack() as stack:
        attacker = python_process(stack, folder, f"attack {name}", options, name, target, seconds)
        peak = stack.enter_context(measure.Peak(process))
        time.sleep(ATTACK_LEAD_SECONDS)
        figures = measure_beside(process, scenario, port, rate, options, folder)
        if target == port:
            figures["attack"] = tally_of(attacker, seconds + 10)
    process.check()
    # Ended connections are freed by now; what stays is a leak, or an allocator's reserve.
    time.sleep(ATTACK_LEAD_SECONDS)
    figures.update(resident_before_mib=before / 2**20, resident_peak_mib=peak.bytes / 2**20,
                   resident_after_mib=process.resident_bytes() / 2**20)
    return figures


def run_attacks(result, scenario, running, options, folder):
    """Quiet, then the same attack at a sink (its generator alone), then at the proxy, and again;
    at last once more quiet."""
    result["attacks"] = {}
    slowest = min(one["requests"] / one["seconds"] for one in (
        load(scenario, port, path_for(name, scenario), options.warmup, options, folder)[0]
        for name, (_, port) in running.items()))
    rate = slowest * ATTACKED_SHARE
    say(f"  paced at {rate:.0f} requests/s")
    for key, attack in attacks.ATTACKS.items():
        if not key.startswith(scenario.front) or options.attack and key not in options.attack:
            continue
        result["attacks"][key] = {}
        for name, (process, port) in running.items():
            phases = {"quiet": [], "control": [], "attacked": []}
            result["attacks"][key][name] = {"title": attack.title, "phases": phases}
            with contextlib.ExitStack() as stack:
                (sink_port,) = free_ports(1)
                sink = python_process(
                    stack, folder, "sink", options, "sink", sink_port, attack.sink_ms)
                wait_for_port(sink, sink_port)
                shared = (scenario, port)
                for _ in range(options.rounds):
                    phases["quiet"].append(
                        measure_beside(process, *shared, rate, options, folder))
                    for phase, target in (("control", sink_port), ("attacked", port)):
                        phases[phase].append(measure_attacked(
                            process, *shared, target, key, rate, options, folder))
                phases["quiet"].append(measure_beside(process, *shared, rate, options, folder))
            check_answer(name, scenario, port, options, folder)
            p99 = {phase: report.median_of(list_, "p99_us") for phase, list_ in phases.items()}
            say(f"  {key} {name}: p99 " + ", ".join(
                f"{phase} {report.number(value, 0)} µs" for phase, value in p99.items())
                + f", {sum(one['errors'] for one in phases['attacked'])} errors"
                + f"; {report.endings(phases['attacked'])}")


def available(options):
    """Each proxy that can run, and why each other one cannot."""
    programs = {"caio": options.caio, "nginx": "nginx", "haproxy": "haproxy",
                "envoy": options.envoy, "relay": options.relay}
    found, missing = {}, {}
    for name, program in programs.items():
        where = shutil.which(program)
        if where:
            found[name] = where
        else:
            missing[name] = f"not found; {peers.INSTALL[name]}"
    return found, missing


def start(stack, name, scenario, folder, origin_port, options):
    (port,) = free_ports(1)
    own = os.path.join(folder, name)
    command = command_for(name, scenario, own, port, origin_port, options)
    process = Process(name, command, {options.proxy_core}, os.path.join(own, "log"))
    stack.callback(process.stop)
    wait_for_port(process, port)
    own_scenario = dataclasses.replace(scenario, path=path_for(name, scenario))
    check_answer(name, own_scenario, port, options, own)
    return process, port


def run_scenario(key, scenario, options, found, missing):
    say(f"{key}: {scenario.title}")
    result = {"title": scenario.title, "kind": scenario.kind, "proxies": {}, "missing": {}}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="caio-perf-"))
        ports = free_ports(2)
        origin = Process("origin", peers.origin(folder, *ports), options.load_cores,
                         os.path.join(folder, "origin.log"))
        stack.callback(origin.stop)
        wait_for_port(origin, ports[0])
        origin_port = ports[1] if scenario.origin == "h2" else ports[0]
        running = {}
        for name in scenario.proxies:
            base = name.split("-")[0]
            if options.proxy and base not in options.proxy:
                continue
            if base not in found:
                result["missing"][name] = missing[base]
                continue
            try:
                running[name] = start(stack, name, scenario, folder, origin_port, options)
            except RigError as error:
                if not options.keep_going:
                    raise
                result["missing"][name] = str(error).splitlines()[0]
                say(f"  {name}: {error}")
        if scenario.kind == "idle":
            # Once a process: a second time the allocator would already hold the memory.
            for name, (process, port) in running.items():
                figures = measure_idle(process, scenario, port)
                result["proxies"][name] = [figures]
                say(f"  {name}: {figures['bytes_per_connection']:.0f} bytes a connection")
            return result
        if scenario.kind == "attack":
            if running:
                run_attacks(result, scenario, running, options, folder)
            return result
        # The origin speaks no TLS: what it could answer is asked of it in the clear.
        figures, output = load(dataclasses.replace(scenario, tls=False), origin_port,
                               path_for("direct", scenario), options.warmup, options, folder)
        figures.update(requests_per_second=figures["requests"] / figures["seconds"], output=output)
        result["direct"] = figures
        for name, (process, port) in running.items():
            load(scenario, port, path_for(name, scenario), options.warmup, options, folder, name)
        names = list(running)
        for number in range(options.rounds):
            # Each round begins with another one: who comes after whom must not matter.
            shift = number % max(1, len(names))
            for name in names[shift:] + names[:shift]:
                process, port = running[name]
                figures = measure_load(process, scenario, port, options, folder)
                result["proxies"].setdefault(name, []).append(figures)
                say(f"  round {number + 1}/{options.rounds} {name}: {figures['cpu_us']:.1f} µs, "
                    f"{figures['requests_per_second']:.0f} requests/s, "
                    f"{figures['errors']} errors")
        result["proxies"] = {name: result["proxies"][name] for name in names}
        # h2load resumes nothing and would only repeat what wrk has measured.
        if options.paced and names and not scenario.once and shutil.which("h2load"):
            slowest = min(report.median_of(rounds, "requests_per_second")
                          for rounds in result["proxies"].values())
            result["paced"] = {}
            for number in range(options.rounds):
                for name in names:
                    process, port = running[name]
                    figures = measure_paced(process, scenario, port, slowest / 2, options, folder)
                    result["paced"].setdefault(name, []).append(figures)
            say(f"  paced at {slowest / 2:.0f} requests/s")
    return result


def say(text):
    print(text, file=sys.stderr, flush=True)


def options_of(arguments):
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", action="append", choices=sorted(SCENARIOS),
                        help="may be repeated; all but the attacked ones when absent")
    parser.add_argument("--attack", action="append", choices=sorted(attacks.ATTACKS),
                        help="of an attacked scenario; may be repeated; all when absent")
    parser.add_argument("--proxy", action="append",
                        choices=["caio", "nginx", "haproxy", "envoy", "relay"],
                        help="may be repeated; all that are found when absent")
    parser.add_argument("--duration", type=int, default=10, help="seconds of one measurement")
    parser.add_argument("--warmup", type=int, default=3, help="seconds of load before the first")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--caio", default=os.path.join(HERE, "../target/release/caio"))
    parser.add_argument("--relay", default=os.path.join(HERE, "../target/release/examples/relay"))
    parser.add_argument("--envoy", default="envoy", help="its binary, where it is not on PATH")
    parser.add_argument("--out", default=os.path.join(HERE, "out"))
    parser.add_argument("--proxy-core", type=int, default=cores[0])
    parser.add_argument("--load-cores", help="such as 1,2; all but the proxy's when absent")
    parser.add_argument("--no-paced", dest="paced", action="store_false",
                        help="leave out the open-loop latencies")
    parser.add_argument("--keep-going", action="store_true",
                        help="report a proxy that does not start, rather than stop")
    options = parser.parse_args(arguments)
    if len(cores) < 2:
        parser.error("needs two cores: one for the proxy, one for load and origin")
    listed = options.load_cores.split(",") if options.load_cores else cores
    options.load_cores = {int(core) for core in listed} - {options.proxy_core}
    if not options.load_cores or not options.load_cores <= set(cores):
        parser.error("--load-cores names no core that is free for it")
    if min(options.duration, options.warmup, options.rounds) < 1:
        parser.error("--duration, --warmup and --rounds are at least 1")
    return options


def versions(found, options):
    asked = {
        "nginx": ["nginx", "-v"], "haproxy": ["haproxy", "-v"],
        "envoy": [options.envoy, "--version"], "caio": [options.caio, "--version"],
    }
    told = {name: measure.version(command) for name, command in asked.items() if name in found}
    told.update(wrk=measure.version(["wrk", "--version"]),
                h2load=measure.version(["h2load", "--version"]), python=sys.version.split()[0])
    # A report tells versions, not where this machine keeps its programs.
    return {name: text and re.sub(r"\S*/(?=\w)", "", text, count=1) if name == "envoy" else text
            for name, text in told.items()}


def commit():
    done = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty", "--abbrev=12"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main(arguments):
    options = options_of(arguments)
    # Ends through the same way out as an error, so that no process is left behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    raise_descriptors()
    keys = options.scenario or [key for key, one in SCENARIOS.items() if one.kind != "attack"]
    tools = {"nginx"} | {"h2load" if SCENARIOS[key].front == "h2" else "wrk" for key in keys
                         if SCENARIOS[key].kind != "idle"}
    if any(SCENARIOS[key].kind == "attack" for key in keys):
        tools.add("h2load")
    absent = sorted(tool for tool in tools if not shutil.which(tool))
    if absent:
        for tool in absent:
            say(f"missing: {tool}; {peers.INSTALL[tool]}")
        return 2
    found, missing = available(options)
    for name, why in missing.items():
        say(f"left out: {name}: {why}")
    result = {
        "machine": measure.machine(), "commit": commit(), "versions": versions(found, options),
        "settings": {
            "duration": options.duration, "warmup": options.warmup, "rounds": options.rounds,
            "proxy_core": options.proxy_core, "load_cores": sorted(options.load_cores),
        },
        "scenarios": {},
    }
    os.makedirs(options.out, exist_ok=True)
    stem = os.path.join(options.out, result["machine"]["time"].replace(":", ""))
    for key in keys:
        result["scenarios"][key] = run_scenario(key, SCENARIOS[key], options, found, missing)
        # After each scenario: a later one that fails must not cost what is measured.
        with open(f"{stem}.json", "w") as out:
            json.dump(result, out, indent=1, ensure_ascii=False)
            out.write("\n")
        with open(f"{stem}.md", "w") as out:
            out.write(report.page(result, os.path.basename(stem) + ".json"))
    say(f"written: {stem}.json and {stem}.md")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RigError as error:
        say(f"error: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
