"""The rig's own arithmetic, and that it leaves nothing behind: python3 -m unittest -v, in perf/."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest

import measure
import peers
import report
import rig

CORES = os.sched_getaffinity(0)
# A child that starts a child which burns processor time, says so, and waits for its end.
BUSY = """
import os, signal, sys, time
if os.fork() == 0:
    while time.process_time() < 0.3:
        pass
    print("burnt", flush=True)
signal.pause()
"""


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError("did not happen in time")
        os.sched_yield()


def gone(pid):
    fields = measure.stat_fields(pid)
    return fields is None or fields[0] == "Z"


class Processes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = os.path.join(folder.name, "log")

    def start(self, code):
        process = measure.Process("child", [sys.executable, "-c", code], CORES, self.log)
        self.addCleanup(process.stop)
        return process

    def test_time_of_a_child_of_the_child_is_counted(self):
        process = self.start(BUSY)
        wait_until(lambda: os.path.getsize(self.log) > 0)
        user, system = process.cpu_seconds()
        self.assertGreaterEqual(user + system, 0.25)
        self.assertEqual(len(process.tree()), 2)

    def test_stopping_ends_what_the_child_started(self):
        process = self.start(BUSY)
        wait_until(lambda: len(process.tree()) == 2)
        pids = process.tree()
        process.stop()
        wait_until(lambda: all(gone(pid) for pid in pids))

    def test_a_child_does_not_outlive_a_rig_that_is_killed(self):
        code = (f"import measure, time; p = measure.Process('c', ['sleep', '60'], {CORES!r}, "
                f"{self.log!r}); print(p.pid, flush=True); time.sleep(60)")
        parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                                  cwd=rig.HERE)
        with parent.stdout:
            child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_until(lambda: gone(child))

    def test_a_child_that_ends_is_reported_with_its_words(self):
        process = self.start("raise SystemExit('no such port')")
        process.child.wait()
        with self.assertRaisesRegex(measure.RigError, "no such port"):
            process.check()

    def test_a_name_with_blanks_and_brackets_is_no_field(self):
        code = ("open('/proc/self/comm', 'w').write('a) R 1 (b'); import signal; "
                "print('named', flush=True); signal.pause()")
        process = self.start(code)
        wait_until(lambda: os.path.getsize(self.log) > 0)
        self.assertEqual(int(measure.stat_fields(process.pid)[1]), os.getpid())


class Rig(unittest.TestCase):
    def test_free_ports_differ(self):
        ports = rig.free_ports(20)
        self.assertEqual(len(set(ports)), 20)

    def test_each_scenario_is_written_for_each_peer(self):
        for key, scenario in rig.SCENARIOS.items():
            with tempfile.TemporaryDirectory() as folder, self.subTest(key):
                peers.nginx(folder, scenario, 1, 2)
                peers.haproxy(folder, scenario, 1, 2)
                peers.envoy(folder, scenario, 1, 2)
                peers.caio(folder, scenario, 1, 2, routes=3, services=4)
                self.check_documents(folder)

    def check_documents(self, folder):
        with open(os.path.join(folder, "caio.toml"), "rb") as file:
            process = tomllib.load(file)
        included = {"services": [], "routes": []}
        for name in process["include"]:
            with open(os.path.join(folder, name), "rb") as file:
                part = tomllib.load(file)
            for key, entries in included.items():
                entries += part.get(key, [])
        self.assertEqual([len(entries) for entries in included.values()], [4, 3])
        for name in [service["contract"] for service in included["services"]]:
            with open(os.path.join(folder, name), "rb") as file:
                self.assertEqual(tomllib.load(file)["contract"], "caio/1")

    def test_what_is_missing_is_named_with_its_installation(self):
        script = os.path.join(rig.HERE, "rig.py")
        done = subprocess.run([sys.executable, script, "--scenario", "h1-1k"], text=True,
                              env={"PATH": "/nowhere"}, capture_output=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("apt-get install wrk", done.stderr)

    def test_a_port_that_nobody_opens_is_an_error(self):
        with contextlib.closing(socket.socket()) as closed:
            closed.bind(("127.0.0.1", 0))
            with tempfile.TemporaryDirectory() as folder:
                log = os.path.join(folder, "log")
                process = measure.Process("mute", [sys.executable, "-c", "pass"], CORES, log)
                self.addCleanup(process.stop)
                with self.assertRaises(measure.RigError):
                    rig.wait_for_port(process, closed.getsockname()[1])


class Report(unittest.TestCase):
    def test_ratios_are_of_medians_of_the_same_run(self):
        def rounds(*costs):
            return [dict(cpu_us=cost, user_us=1.0, system_us=1.0, requests_per_second=9.0,
                         p50_us=1, p99_us=2, p999_us=3, resident_mib=1.0, errors=0)
                    for cost in costs]

        page = report.load_table({"caio": rounds(8, 16, 9), "nginx": rounds(20, 1, 18),
                                  "haproxy": rounds(36)})
        row = next(line for line in page.splitlines() if line.startswith("| caio"))
        self.assertIn("9.0 (8.0–16.0)", row)
        self.assertIn("| 0.50 | 0.25 |", row)

    def test_without_a_peer_there_is_no_ratio(self):
        self.assertEqual(report.ratio(1.0, None), "–")


if __name__ == "__main__":
    unittest.main()
