"""What is measured, and how: processor time and memory from /proc, load from wrk and h2load."""

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PR_SET_PDEATHSIG = 1


class RigError(Exception):
    """Something that ends the run, in words for a person."""


class Process:
    """A child on given cores, with everything it started; ended by its id on every way out."""

    def __init__(self, name, command, cores, log):
        def prepare():
            os.sched_setaffinity(0, cores)
            # Also when the rig itself is killed with no chance to clean up.
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

        self.name = name
        self.log = log
        with open(log, "wb") as out:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, preexec_fn=prepare,
            )
        self.pid = self.child.pid

    def check(self):
        """Fails with the last lines of its log when the process has ended."""
        if self.child.poll() is not None:
            with open(self.log, errors="replace") as log:
                tail = "".join(log.readlines()[-8:])
            raise RigError(f"{self.name} ended with {self.child.returncode}:\n{tail}")

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(3)
            except subprocess.TimeoutExpired:
                pass
        try:
            # The group is this child's own: its workers, where it left any behind.
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()

    def tree(self):
        """Its id and those of all its descendants: nginx works in a child of its master."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                fields = stat_fields(int(entry))
                if fields:
                    parents.setdefault(int(fields[1]), []).append(int(entry))
        found, open_ids = [], [self.pid]
        while open_ids:
            pid = open_ids.pop()
            found.append(pid)
            open_ids += parents.get(pid, [])
        return found

    def cpu_seconds(self):
        """User and system seconds so far, of all its processes and threads, ended ones too."""
        user = system = 0
        for pid in self.tree():
            fields = stat_fields(pid)
            if fields:
                user += int(fields[11])
                system += int(fields[12])
        return user / TICKS_PER_SECOND, system / TICKS_PER_SECOND

    def waited_seconds(self):
        """How long its threads could have run and had no core: another's doing, not its own."""
        total = 0
        for pid in self.tree():
            try:
                for thread in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{thread}/schedstat") as stat:
                        total += int(stat.read().split()[1])
            except (OSError, IndexError):
                pass
        return total / 1e9

    def resident_bytes(self):
        total = 0
        for pid in self.tree():
            try:
                with open(f"/proc/{pid}/statm") as statm:
                    total += int(statm.read().split()[1]) * PAGE_BYTES
            except (FileNotFoundError, ProcessLookupError):
                pass
        return total


class Peak:
    """The most memory a process has while this is entered, looked at ten times a second."""

    def __init__(self, process):
        self.process = process
        self.bytes = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while True:
            self.bytes = max(self.bytes, self.process.resident_bytes())
            if self.over.wait(0.1):
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def stat_fields(pid):
    """The fields of /proc/PID/stat from the state on; a name may hold blanks and brackets."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


# One line that begins with RIG, since wrk's own output rounds and has no p99.9.
WRK_SCRIPT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'RIG {"requests": %d, "seconds": %f, "bytes": %d, "p50_us": %d, "p99_us": %d, ' ..
    '"p999_us": %d, "max_us": %d, "errors": %d}\\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50),
    latency:percentile(99), latency:percentile(99.9), latency.max,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def run_wrk(url, cores, seconds, connections, folder, fields=(), turns=""):
    script = os.path.join(folder, "report.lua")
    with open(script, "w") as out:
        out.write(turns + WRK_SCRIPT)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script]
    for field in fields:
        command += ["-H", field]
    command.append(url)
    output = run_load(command, cores, seconds)
    for line in output.splitlines():
        if line.startswith("RIG "):
            return json.loads(line[4:]), output
    raise RigError(f"wrk printed no result:\n{output}")


def run_h2load(url, cores, seconds, connections, streams, folder, rps=None, http1=False):
    log = os.path.join(folder, "h2load.log")
    command = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}",
               f"--log-file={log}"]
    if rps:
        command.append(f"--rps={rps}")
    if http1:
        command.append("--h1")
    if os.path.exists(log):
        os.remove(log)
    output = run_load(command + [url], cores, seconds)
    done = re.search(r"requests: .* (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, "
                     r"(\d+) timeout", output)
    if not done or int(done[1]) == 0:
        raise RigError(f"h2load finished no request:\n{output}")
    with open(log) as lines:
        times = answered_times(lines)
    os.remove(log)
    part = lambda share: times[min(len(times) - 1, int(len(times) * share))] if times else None
    return {
        "requests": int(done[2]), "seconds": float(seconds),
        "p50_us": part(0.5), "p99_us": part(0.99), "p999_us": part(0.999),
        # h2load counts what broke off, and what was too late, among the failed.
        "max_us": part(1), "errors": int(done[3]),
    }, output


def answered_times(lines):
    """Each line: when it began, the status, how long it took in microseconds. A refusal is quick,
    and would make a proxy that refuses look fast."""
    fields = (line.split() for line in lines)
    return sorted(int(took) for _, status, took in fields if 200 <= int(status) < 400)


def answer_bytes(port, path):
    """How many bytes the origin answers with, head and body, on a connection that stays open."""
    with socket.create_connection(("127.0.0.1", port), 10) as caller:
        caller.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            part = caller.recv(65536)
            if not part:
                raise RigError(f"the origin ended within its answer to {path}")
            received += part
        head = received.split(b"\r\n\r\n", 1)[0]
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    if not length:
        raise RigError(f"the origin states no length of {path}")
    return len(head) + 4 + int(length[1])


def run_load(command, cores, seconds):
    """Runs a load generator to its end; a hung one is ended, not waited for."""
    prepare = lambda: os.sched_setaffinity(0, cores)
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds + 20, text=True,
                              preexec_fn=prepare, check=False)
    except subprocess.TimeoutExpired as late:
        raise RigError(f"{command[0]} did not end in time") from late
    if done.returncode != 0:
        raise RigError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def machine():
    """What a reader needs to know of the machine before believing a figure."""
    def first(path, default="unknown"):
        try:
            with open(path) as file:
                return file.read().strip()
        except OSError:
            return default

    model = re.search(r"model name\s*: (.*)", first("/proc/cpuinfo"))
    cpu = "/sys/devices/system/cpu"
    return {
        "processor": model[1] if model else os.uname().machine,
        "cores": os.cpu_count(),
        "kernel": os.uname().release,
        "smt": {"0": "off", "1": "on"}.get(first(f"{cpu}/smt/active"), "unknown"),
        "governor": first(f"{cpu}/cpu0/cpufreq/scaling_governor"),
        "network": "loopback",
        "load_average_at_start": os.getloadavg()[0],
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def version(command):
    """The first line that a program prints of itself, or None when it is not there."""
    if not shutil.which(command[0]):
        return None
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, timeout=20, check=False)
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return lines[0] if lines else "unknown"
