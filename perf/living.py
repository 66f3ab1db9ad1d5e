#!/usr/bin/env python3
"""A landscape that lives while calls flow: changes without end, endpoints that fail, load that spreads.

    python3 perf/living.py                        all of them, some six minutes
    python3 perf/living.py churn --changes 2000
    python3 perf/living.py faults spread

churn    Services are registered, upgraded, drained and taken away, so many a second, through the control
         socket, while paced HTTP/1.1 and HTTP/2 run beside; every tenth change is asked for at the
         listener at once after its acknowledgement; `caio-check --follow` reads the trail throughout.
faults   One of a service's endpoints is killed, silent, slow or flapping, and the whole service is
         while another satisfies; what callers see of it.
spread   Four endpoints that are alike, then with one twice as slow: who is called how often.
vast     Among 100 000 services, ten of each capability, one is registered, upgraded and taken away, one
         after the other: how long each takes until it is durable and in force.

Everything runs on loopback, from a temporary folder, on free ports. Writes TIME-living.json and .md
into perf/out; a run that figures elsewhere rest on is committed to perf/results.
"""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import measure
import peers
import report
import rig
from measure import Process, RigError

HERE = os.path.dirname(os.path.abspath(__file__))
CONNECTIONS, STREAMS = 16, 8
# Enough that nobody waits for a connection while some answers are late.
SPREAD_CONNECTIONS = 100
VOCABULARY = """vocabulary = "caio-vocabulary/1"
version = "1.0.0"

[[attributes]]
name = "residency"
side = "promise"
type = "region"
tree = { eu = ["eu-west", "eu-north"], us = ["us-east"] }
"""
# How much whoever verifies gives way on the core that it shares with the load. Those who change
# do not: a clock that waits for its turn would count that as well.
NICE = 15
# What every tenth change is shown by, at the listener.
SHOWN_EVERY = 10


def contract(name, capability, operation, version="1.0.0", region="eu-west"):
    """A contract as a table of its service."""
    return f"""
[{{table}}contract]
service = "{name}"
version = "{version}"

[[{{table}}contract.offers]]
capability = "{capability}"
interface = {{{{ http = ["{operation}"] }}}}

[[{{table}}contract.offers.promises]]
residency = 'within "{region}"'
"""


def service(name, ports, capability="rig.file/1", operation="GET /1k", more="", **of):
    """An entry of a file."""
    listed = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    return (f'\n[[services]]\nendpoints = [{listed}]\nprotocol = "http1"\n{more}'
            + contract(name, capability, operation, **of).format(table="services."))


def document(name, port, capability, operation, version):
    """The same as it is registered."""
    return (f'endpoints = ["127.0.0.1:{port}"]\nprotocol = "http1"\n'
            + contract(name, capability, operation, version=version).format(table=""))


def caio(folder, port, services, more, options):
    """The process file, and the command that runs it."""
    peers.write(folder, "vocabulary.toml", VOCABULARY)
    text = f"""{peers.CONFIG}vocabulary = "vocabulary.toml"

[process]
workers = 1

[limits]
requests_per_connection_max = {peers.FOREVER_REQUESTS}

[audit]
directory = "trail"
{more}
[[listeners]]
address = "127.0.0.1:{port}"
""" + "".join(services)
    return [options.caio, "run", "-c", peers.write(folder, "caio.toml", text)]


class Control:
    """One connection to the control socket."""

    def __init__(self, path):
        self.path = path
        self.wire = None

    def ask(self, method, target, body=None):
        """The status and the answer's body."""
        if self.wire is None:
            self.wire = http.client.HTTPConnection("caio", timeout=30)
            self.wire.sock = socket.socket(socket.AF_UNIX)
            self.wire.sock.settimeout(30)
            self.wire.sock.connect(self.path)
        self.wire.request(method, target, body, {"Content-Type": "application/toml"} if body else {})
        answer = self.wire.getresponse()
        text = answer.read()
        if answer.will_close:
            self.wire.close()
            self.wire = None
        return answer.status, text


def status_at(port, path):
    """What the listener answers, over a connection of its own."""
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    wire.request("GET", path)
    answer = wire.getresponse()
    answer.read()
    wire.close()
    return answer.status


def life(number):
    """What happens to one service, in order: what is asked, and what its path answers afterwards. Half of
    them offer what the load calls, so that the very decisions of the load change."""
    name = f"churn.s{number}"
    shared = number % 2 == 0
    capability, path = ("rig.file/1", "/1k") if shared else (f"churn.c{number}/1", f"/r/{number}")
    at = f"/v1/services/{name}"
    put = lambda version: lambda port: document(name, port, capability, f"GET {path}", version)
    told = [200, 200, 503, 404]
    return [(verb, at + end, body, None if shared else (path, status))
            for (verb, end, body), status in zip(
                [("PUT", "", put("1.0.0")), ("PUT", "", put("1.0.1")), ("POST", "/drain", None),
                 ("DELETE", "", None)], told)]


class Churner(threading.Thread):
    """Makes its share of all changes, each when it is due."""

    def __init__(self, control, share, rate, ports, began):
        super().__init__(daemon=True)
        self.control, self.share, self.rate, self.ports = control, share, rate, ports
        self.began, self.took_ms, self.wrong, self.late_ms = began, [], [], []

    def run(self):
        try:
            for place, (verb, target, body, shown) in self.share:
                due = self.began + place / self.rate
                wait = due - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                start = time.monotonic()
                self.late_ms.append((start - due) * 1000)
                status, text = self.control.ask(verb, target, body and body(self.ports[1]))
                self.took_ms.append((time.monotonic() - start) * 1000)
                if status not in (200, 201):
                    self.wrong.append(f"{verb} {target}: {status} {text[:200]!r}")
                elif shown and place % SHOWN_EVERY < 4:
                    path, wanted = shown
                    seen = status_at(self.ports[0], path)
                    if seen != wanted:
                        self.wrong.append(f"{verb} {target}, then {path}: {seen}, not {wanted}")
        except (OSError, http.client.HTTPException) as error:
            self.wrong.append(f"{error!r} after {len(self.took_ms)} changes")


def part(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


def paced(port, path, seconds, rate, options, folder, front, connections=CONNECTIONS):
    """An open loop at a rate; figures of h2load."""
    os.makedirs(folder, exist_ok=True)
    figures, output = measure.run_h2load(
        f"http://127.0.0.1:{port}{path}", options.load_cores, seconds, connections,
        STREAMS if front == "h2" else 1, folder, rps=max(1, round(rate / connections)),
        http1=front == "h1")
    figures["output"] = output
    return figures


def both(port, path, seconds, rate, options, folder):
    """HTTP/1.1 and HTTP/2 at once, each at half of the rate."""
    found = {}

    def one(front):
        try:
            found[front] = paced(port, path, seconds, rate / 2, options,
                                 os.path.join(folder, front), front)
        except RigError as error:
            found[front] = error

    threads = [threading.Thread(target=one, args=(front,)) for front in ("h1", "h2")]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for figures in found.values():
        if isinstance(figures, RigError):
            raise figures
    return found


def churn(stack, folder, options):
    ports = rig.free_ports(3)
    origin = Process("origin", peers.origin(folder, *ports[:2]), options.load_cores,
                     os.path.join(folder, "origin.log"))
    stack.callback(origin.stop)
    rig.wait_for_port(origin, ports[0])
    port, control = ports[2], os.path.join(folder, "admin.sock")
    others = [service(f"rig.other{at}", [ports[0]], f"rig.other{at}/1", f"GET /other/{at}")
              for at in range(options.services)]
    mains = [service(name, [ports[0]]) for name in ("rig.east", "rig.west")]
    more = '\n[admin]\nsocket = "admin.sock"\n\n[registry]\ndirectory = "registry"\n'
    command = caio(folder, port, mains + others, more, options)
    gateway = Process("caio", command, {options.proxy_core}, os.path.join(folder, "caio.log"))
    stack.callback(gateway.stop)
    rig.wait_for_port(gateway, port)
    full, _ = measure.run_wrk(f"http://127.0.0.1:{port}/1k", options.load_cores, 3, 64, folder)
    rate = full["requests"] / full["seconds"] * options.share
    rig.say(f"  {options.share} of the full rate: {rate:.0f} requests/s")
    seconds = -(-options.changes // options.rate) + 2

    def measured(seconds):
        before, began = sum(gateway.cpu_seconds()), time.monotonic()
        found = both(port, "/1k", seconds, rate, options, folder)
        return found, (sum(gateway.cpu_seconds()) - before) / (time.monotonic() - began)

    phases = [measured(max(5, seconds // 3))]
    checker = subprocess.Popen(
        [os.path.join(os.path.dirname(options.caio), "caio-check"), os.path.join(folder, "trail"),
         "--follow", "--until-closed", "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: (os.sched_setaffinity(0, options.load_cores), os.nice(NICE)))
    stack.callback(lambda: checker.poll() is None and checker.kill())
    steps = interleaved(options.changes)
    shares = [[] for _ in range(options.churners)]
    for place, (number, step) in enumerate(steps):
        # All that happens to one service is asked by one, so that it happens in order.
        shares[number % options.churners].append((place, step))
    began = time.monotonic() + 1
    churners = [Churner(Control(control), share, options.rate, (port, ports[0]), began)
                for share in shares]
    [one.start() for one in churners]
    phases.append(measured(seconds))
    [one.join(60) for one in churners]
    took = sorted(ms for one in churners for ms in one.took_ms)
    wrong = [text for one in churners for text in one.wrong]
    lasted = time.monotonic() - began
    phases.append(measured(max(5, seconds // 3)))
    (before, *_), (during, *_), (after, *_) = phases
    gateway.check()
    cpu = gateway.cpu_seconds()
    gateway.child.send_signal(signal.SIGTERM)
    gateway.child.wait(60)
    told, _ = checker.communicate(timeout=120)
    lines = [line for line in told.splitlines() if line.startswith("{")]
    verdict = json.loads(lines[-1]) if lines else {"verdict": told[-500:]}
    return {
        "services": options.services + 2, "changes": len(took), "seconds": lasted,
        "rate": rate, "share": options.share, "wrong": wrong, "quiet": [before, after],
        "during": during, "cores": [cores for _, cores in phases], "cpu_seconds": sum(cpu),
        "effective_ms": {"p50": part(took, 0.5), "p99": part(took, 0.99), "max": took[-1]},
        "checked": {key: verdict.get(key) for key in
                    ("verdict", "fault", "changes", "snapshots", "epochs", "outcomes", "lost")},
        "checker_code": checker.returncode,
    }


def interleaved(count):
    """The steps of many lives, forty at a time, as (number of the service, step)."""
    lives, steps, number = [], [], 0
    while len(steps) < count:
        while len(lives) < 40 and (len(steps) + sum(len(rest) for _, rest in lives)) < count:
            lives.append((number, life(number)))
            number += 1
        at = len(steps) * 7 % len(lives)
        own, rest = lives[at]
        steps.append((own, rest.pop(0)))
        if not rest:
            lives.pop(at)
    return steps


def backend(stack, folder, port, delay_ms, options):
    command = [sys.executable, os.path.join(HERE, "backend.py"), str(port), str(delay_ms)]
    one = Process(f"backend {port}", command, options.load_cores,
                  os.path.join(folder, f"backend-{port}.log"))
    stack.callback(one.stop)
    rig.wait_for_port(one, port)
    return one


def counts(ports):
    found = []
    for port in ports:
        wire = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        wire.request("GET", "/count")
        found.append(int(wire.getresponse().read()))
        wire.close()
    return found


WATCHED = ('health = { check = "http", interval = "500ms", timeout = "400ms" }\n'
           'retry = { per_try = "500ms" }\n')


def fault_kinds(stack, folder, options):
    """What is done to an endpoint, and what ends it."""
    def killed(one, port, _):
        one.stop()
        return lambda: backend(stack, folder, port, 1, options)

    def silent(one, *_):
        # The kernel still takes connections and bytes, and nobody answers: as a lost host looks to
        # who is connected already.
        os.kill(one.pid, signal.SIGSTOP)
        return lambda: os.kill(one.pid, signal.SIGCONT)

    def slow(one, port, _):
        one.stop()
        slower = backend(stack, folder, port, 50, options)
        return lambda: (slower.stop(), backend(stack, folder, port, 1, options))

    def flapping(one, port, over):
        def flap():
            here = one
            while True:
                here.stop()
                if over.wait(2.5):
                    break
                here = backend(stack, folder, port, 1, options)
                if over.wait(2.5):
                    here.stop()
                    break
        thread = threading.Thread(target=flap, daemon=True)
        thread.start()

        def end():
            over.set()
            thread.join()
            backend(stack, folder, port, 1, options)
        return end

    return {"killed": killed, "silent": silent, "slow by 50 ms": slow, "flapping every 5 s": flapping}


def faults(stack, folder, options):
    """A service with two endpoints, and another with one. First one endpoint of the first fails; then the
    other service's only one."""
    result = {}
    for kind in ("killed", "silent", "slow by 50 ms", "flapping every 5 s"):
        for whole in (False, True):
            with contextlib.ExitStack() as own:
                place = tempfile.mkdtemp(dir=folder)
                ports = rig.free_ports(4)
                backends = [backend(own, place, port, 1, options) for port in ports[:3]]
                services = [service("rig.east", ports[:2], more=WATCHED),
                            service("rig.west", ports[2:3], more=WATCHED)]
                command = caio(place, ports[3], services, "", options)
                gateway = Process("caio", command, {options.proxy_core},
                                  os.path.join(place, "caio.log"))
                own.callback(gateway.stop)
                rig.wait_for_port(gateway, ports[3])
                asked = (ports[3], "/1k")
                quiet = paced(*asked, 5, options.calls, options, place, "h1")
                hurt = 2 if whole else 0
                over = threading.Event()
                timer = threading.Timer(1, lambda: ended.append(
                    fault_kinds(own, place, options)[kind](backends[hurt], ports[hurt], over)))
                ended = []
                timer.start()
                during = paced(*asked, options.fault_seconds, options.calls, options, place, "h1")
                timer.join()
                ended[0]()
                after = paced(*asked, 5, options.calls, options, place, "h1")
                name = f"{kind}, {'the only endpoint of a service' if whole else 'one endpoint of two'}"
                result[name] = {"quiet": quiet, "during": during, "after": after}
                rig.say(f"  {name}: {during['errors']} of {during['requests']} failed, "
                        f"p99 {during['p99_us']} µs, quiet {quiet['p99_us']} µs")
    return result


def spread(stack, folder, options):
    """Who of four is called how often; a whole run, and each second of it, for herds."""
    result = {}
    for name, delays in (("alike", [20, 20, 20, 20]), ("one twice as slow", [20, 20, 20, 40])):
        with contextlib.ExitStack() as own:
            place = tempfile.mkdtemp(dir=folder)
            ports = rig.free_ports(5)
            for port, delay in zip(ports, delays):
                backend(own, place, port, delay, options)
            command = caio(place, ports[4], [service("rig.east", ports[:4])], "", options)
            gateway = Process("caio", command, {options.proxy_core},
                              os.path.join(place, "caio.log"))
            own.callback(gateway.stop)
            rig.wait_for_port(gateway, ports[4])
            seen, over = [counts(ports[:4])], threading.Event()

            def look():
                while not over.wait(1):
                    seen.append(counts(ports[:4]))

            thread = threading.Thread(target=look)
            thread.start()
            load = paced(ports[4], "/1k", options.fault_seconds, options.calls, options, place, "h1",
                         SPREAD_CONNECTIONS)
            over.set()
            thread.join()
            whole = [last - first for first, last in zip(seen[0], counts(ports[:4]))]
            shares = [[100 * part / max(1, sum(step)) for part in step] for step in
                      ([b - a for a, b in zip(*pair)] for pair in zip(seen, seen[1:]))
                      if sum(step) > options.calls / 4]
            result[name] = {
                "load": load, "calls": whole,
                "shares": [100 * part / sum(whole) for part in whole],
                "most_in_a_second": max(max(step) for step in shares),
                "least_in_a_second": min(min(step) for step in shares),
            }
            rig.say(f"  {name}: " + ", ".join(f"{part:.1f} %" for part in result[name]["shares"]))
    return result


def vast(stack, folder, options):
    port, count, own = rig.free_ports(1)[0], options.vast, os.path.join(folder, "contracts")
    os.mkdir(own)
    entries = []
    for number in range(count):
        of = number // 10
        text = 'contract = "caio/1"' + contract(f"vast.s{number}", f"vast.c{of}/1", f"GET /c{of}/x")
        text = text.replace("[{table}contract]\n", "").replace("{table}contract.", "")
        peers.write(own, f"{number}.toml", text.replace("{{", "{").replace("}}", "}"))
        entries.append(f'\n[[services]]\nendpoints = ["127.0.0.1:{9000 + number % 100}"]\n'
                       f'contract = "contracts/{number}.toml"\n')
    # No document may be longer than 4 MiB.
    parts = [entries[at:at + 20_000] for at in range(0, count, 20_000)]
    names = [f"part{at}.toml" for at in range(len(parts))]
    for name, part_of in zip(names, parts):
        peers.write(folder, name, 'config = "caio/1"\n' + "".join(part_of))
    more = '\n[admin]\nsocket = "admin.sock"\n\n[registry]\ndirectory = "registry"\n'
    command = caio(folder, port, [], more, options)
    file = os.path.join(folder, "caio.toml")
    with open(file) as known:
        text = known.read()
    text = text.replace("vocabulary =", f"include = {json.dumps(names)}\nvocabulary =", 1)
    peers.write(folder, "caio.toml", text)
    began = time.monotonic()
    gateway = Process("caio", command, {options.proxy_core}, os.path.join(folder, "caio.log"))
    stack.callback(gateway.stop)
    rig.wait_for_port(gateway, port, 120)
    # Changes are taken once calls are.
    while not os.path.exists(os.path.join(folder, "admin.sock")):
        gateway.check()
        time.sleep(0.01)
    started = time.monotonic() - began
    control = Control(os.path.join(folder, "admin.sock"))
    took, wrong = {"register": [], "upgrade": [], "deregister": []}, []
    for number in range(100):
        name, of = f"vast.new{number}", number * 97 % (count // 10)
        for verb, what, version in (("PUT", "register", "1.0.0"), ("PUT", "upgrade", "1.0.1"),
                                    ("DELETE", "deregister", None)):
            body = version and document(name, 9000, f"vast.c{of}/1", f"GET /c{of}/x", version)
            start = time.monotonic()
            status, text = control.ask(verb, f"/v1/services/{name}", body)
            took[what].append((time.monotonic() - start) * 1000)
            if status not in (200, 201):
                wrong.append(f"{verb} {name}: {status} {text[:200]!r}")
    gateway.check()
    figures = {what: {"p50": part(sorted(all_ms), 0.5), "p99": part(sorted(all_ms), 0.99)}
               for what, all_ms in took.items()}
    return {"services": count, "start_s": started, "effective_ms": figures, "wrong": wrong}


SCENARIOS = {"churn": churn, "faults": faults, "spread": spread, "vast": vast}


def us(value):
    return report.number(value, 0)


def page(result, raw_name):
    # Where it lies once it is committed: each section says what its figures come from.
    raw = f"Raw: `perf/results/{raw_name}`. "
    told = [f"# A landscape that lives ({result['machine']['time']})\n",
            f"Made by `perf/living.py`; raw figures in `{raw_name}`. CAIO {result['commit']}, one worker "
            f"on one core; load, services and the verifier share the other "
            f"{len(result['settings']['load_cores'])} of {result['machine']['cores']} "
            f"({result['machine']['processor']}, load at the start "
            f"{result['machine']['load_average_at_start']:.2f}).\n"]
    if "churn" in result:
        it = result["churn"]
        told.append(f"## Changes\n\n{raw}{it['changes']} changes in {it['seconds']:.1f} s over "
                    f"{it['services']} services beside {it['rate']:.0f} requests/s, {it['share']} of the "
                    f"full rate. Durable and in force after {it['effective_ms']['p50']:.1f} ms (median), "
                    f"{it['effective_ms']['p99']:.1f} ms (p99), {it['effective_ms']['max']:.1f} ms at "
                    f"most. Changes that failed, or were not seen at the listener: "
                    f"{len(it['wrong'])}. `caio-check --follow`: {it['checked']}.\n")
        rows = [[front, when, str(one[front]["requests"]), str(one[front]["errors"]),
                 us(one[front]["p50_us"]), us(one[front]["p99_us"]), us(one[front]["p999_us"]),
                 f"{100 * busy:.0f} %"]
                for front in ("h1", "h2")
                for (when, one), busy in zip((("quiet before", it["quiet"][0]),
                                              ("changes", it["during"]),
                                              ("quiet after", it["quiet"][1])), it["cores"])]
        told.append(report.table(["", "while", "requests", "failed", "p50 µs", "p99 µs", "p99.9 µs",
                                  "of its core"], rows))
    if "faults" in result:
        told.append(f"\n## Endpoints that fail\n\n{raw.strip()}\n")
        rows = [[name, str(one["during"]["requests"]), str(one["during"]["errors"]),
                 us(one["quiet"]["p99_us"]), us(one["during"]["p99_us"]),
                 us(one["during"]["p999_us"]), us(one["after"]["p99_us"])]
                for name, one in result["faults"].items()]
        told.append(report.table(["what", "requests", "failed", "p99 quiet µs", "p99 µs", "p99.9 µs",
                                  "p99 after µs"], rows))
    if "spread" in result:
        told.append(f"\n## Load\n\n{raw.strip()}\n")
        rows = [[name, ", ".join(f"{part:.1f} %" for part in one["shares"]),
                 f"{one['least_in_a_second']:.1f} to {one['most_in_a_second']:.1f} %"]
                for name, one in result["spread"].items()]
        told.append(report.table(["four endpoints", "shares", "of any in any second"], rows))
    if "vast" in result:
        it = result["vast"]
        told.append(f"\n## One service among {it['services']}\n\n{raw}Started in {it['start_s']:.1f} s. "
                    f"Changes that failed: {len(it['wrong'])}.\n")
        rows = [[what, f"{one['p50']:.1f}", f"{one['p99']:.1f}"]
                for what, one in it["effective_ms"].items()]
        told.append(report.table(["what", "in force after ms (median)", "p99"], rows))
    return "\n".join(told) + "\n"


def options_of(arguments):
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="churn, faults, spread, vast; all when absent")
    parser.add_argument("--changes", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=200, help="changes a second")
    parser.add_argument("--share", type=float, default=0.5, help="of the full rate, beside changes")
    parser.add_argument("--churners", type=int, default=4, help="who ask at once")
    parser.add_argument("--services", type=int, default=1000, help="that stay as they are")
    parser.add_argument("--vast", type=int, default=100_000, help="services of that scenario")
    parser.add_argument("--calls", type=int, default=1000, help="a second, beside faults")
    parser.add_argument("--fault-seconds", type=int, default=20)
    parser.add_argument("--caio", default=os.path.join(HERE, "../target/release/caio"))
    parser.add_argument("--out", default=os.path.join(HERE, "out"))
    parser.add_argument("--proxy-core", type=int, default=cores[0])
    options = parser.parse_args(arguments)
    options.what = options.what or list(SCENARIOS)
    if set(options.what) - set(SCENARIOS):
        parser.error("knows " + ", ".join(SCENARIOS))
    options.load_cores = set(cores) - {options.proxy_core}
    if not options.load_cores:
        parser.error("needs two cores: one for the proxy, one for everything else")
    return options


def main(arguments):
    options = options_of(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    rig.raise_descriptors()
    for tool in ("wrk", "h2load", "nginx"):
        if not shutil.which(tool):
            rig.say(f"missing: {tool}; {peers.INSTALL.get(tool, '')}")
            return 2
    result = {"machine": measure.machine(), "commit": rig.commit(), "settings": {
        "changes": options.changes, "rate": options.rate, "share": options.share,
        "calls": options.calls,
        "fault_seconds": options.fault_seconds, "proxy_core": options.proxy_core,
        "load_cores": sorted(options.load_cores)}}
    os.makedirs(options.out, exist_ok=True)
    stem = os.path.join(options.out, result["machine"]["time"].replace(":", "") + "-living")
    for what in options.what:
        rig.say(what)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="caio-living-"))
            result[what] = SCENARIOS[what](stack, folder, options)
        with open(f"{stem}.json", "w") as out:
            json.dump(result, out, indent=1, ensure_ascii=False)
            out.write("\n")
        with open(f"{stem}.md", "w") as out:
            out.write(page(result, os.path.basename(stem) + ".json"))
    rig.say(f"written: {stem}.json and {stem}.md")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RigError as error:
        rig.say(f"error: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
