"""The rig's own arithmetic, and that it leaves nothing behind: python3 -m unittest -v, in perf/."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest

import attacks
import ladder
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
                if scenario.tls:
                    peers.certificate(folder)
                peers.nginx(folder, scenario, 1, 2)
                peers.haproxy(folder, scenario, 1, 2)
                peers.envoy(folder, scenario, 1, 2)
                peers.caio(folder, scenario, 1, 2, routes=3, services=4)
                self.check_documents(folder)

    def test_each_step_of_the_ladder_is_written(self):
        for name in ladder.STEPS:
            with tempfile.TemporaryDirectory() as folder, self.subTest(name):
                scenario = rig.SCENARIOS["ladder"]
                peers.caio(folder, scenario, 1, 2, routes=3, services=4,
                           callers=ladder.step(folder, name, 2))
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


class Scripts(unittest.TestCase):
    def test_a_frame_says_its_length_kind_flags_and_stream(self):
        self.assertEqual(attacks.frame(attacks.PING, 1, 5, b"12345678"),
                         b"\0\0\x08\x06\x01\0\0\0\x05" + b"12345678")

    def test_the_code_of_a_goaway_is_read_in_any_split(self):
        said = (attacks.frame(attacks.SETTINGS, 0, 0, b"\0" * 6)
                + attacks.frame(attacks.RST_STREAM, 0, 1, b"\0\0\0\x08")
                + attacks.frame(attacks.DATA, 0, 1, b"\x07" * 20)
                + attacks.frame(attacks.GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x0bcalm down"))
        for size in range(1, len(said) + 1):
            reader = attacks.FrameReader()
            for start in range(0, len(said), size):
                reader.feed(said[start:start + size])
            self.assertEqual(reader.told(), "GOAWAY ENHANCE_YOUR_CALM", size)
            self.assertEqual(reader.resets, 1, size)

    def test_silence_is_no_word(self):
        self.assertEqual(attacks.FrameReader().told(), "no word")
        self.assertEqual(attacks.StatusReader().told(), "no word")

    def test_a_status_in_a_body_is_no_status(self):
        reader = attacks.StatusReader()
        reader.feed(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        reader.feed(b"body HTTP/1.1 200 OK")
        self.assertEqual(reader.told(), "408")

    def test_no_attack_sends_more_than_its_share_of_the_core(self):
        for name, attack in attacks.ATTACKS.items():
            for number in range(len(attacks.PROVOCATIONS)):
                with self.subTest(name, number=number):
                    seconds = sent = 0
                    for data, pause in itertools.islice(attack.script(number), 20):
                        sent, seconds = sent + len(data), seconds + pause
                    opened = min(attack.rate * attacks.LIFE_SECONDS, attack.most)
                    self.assertLess(opened * sent / max(seconds, 1), 40e6)

    def test_every_stream_of_a_reset_flood_is_new(self):
        seen = []
        for data, _ in itertools.islice(attacks.rapid_reset(0), 3):
            data = data.removeprefix(attacks.opening())
            while data:
                length, kind = int.from_bytes(data[:3], "big"), data[3]
                if kind == attacks.HEADERS:
                    seen.append(int.from_bytes(data[5:9], "big"))
                data = data[9 + length:]
        self.assertEqual(seen, list(range(1, 1500, 2)))

    def test_every_attack_belongs_to_an_attacked_scenario(self):
        fronts = {one.front for one in rig.SCENARIOS.values() if one.kind == "attack"}
        self.assertEqual({name.split("-")[0] for name in attacks.ATTACKS}, fronts)

    def test_a_connection_that_is_answered_and_closed_is_counted_so(self):
        async def answer(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        attack = attacks.Attack("", attacks.cycled(b"", [b"a\r\n\r\n"]), rate=50, most=1)
        tally = self.attacked(attack, answer, 0.5)
        self.assertGreater(tally.begun, 1)
        self.assertEqual(set(tally.endings), {"400, closed"})
        self.assertEqual(tally.endings["400, closed"] + tally.unjudged, tally.begun)

    def test_a_connection_that_is_kept_is_too_young_to_judge(self):
        async def keep(reader, _):
            await reader.read()

        tally = self.attacked(attacks.Attack("", attacks.silence, rate=50, most=3), keep, 0.3)
        self.assertEqual((tally.begun, tally.unjudged, tally.figures()["ended"]), (3, 3, 0))

    def attacked(self, attack, serve, seconds):
        async def both():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            tally = await attacks.run(attack, False, port, seconds)
            server.close()
            return tally

        return asyncio.run(both())


class Latencies(unittest.TestCase):
    def test_only_what_was_answered_counts(self):
        lines = ["10 200 90\n", "11 503 1\n", "12 -1 2\n", "13 304 80\n"]
        self.assertEqual(measure.answered_times(lines), [80, 90])


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

    def test_an_attack_is_told_against_quiet_and_against_its_generator_alone(self):
        def window(p99, ended=0):
            return dict(p50_us=1, p99_us=p99, p999_us=3, errors=ended, cpu_share=0.5,
                        waited_share=0.01, resident_before_mib=1.0, resident_peak_mib=2.0,
                        resident_after_mib=1.5, attack=dict(
                            begun=9, refused=1, unjudged=1, lasted_p50_s=0.25,
                            endings={"400, closed": ended, "no word, kept": 3}))

        phases = {"quiet": [window(100), window(100)], "control": [window(200)],
                  "attacked": [window(300, 4), window(300, 4), window(999, 4)]}
        page = report.attack_table({"a": {"caio": {"title": "t", "phases": phases}}})
        row = page.splitlines()[-1]
        self.assertIn("| 3.00 | 1.50 | 3.00 | 0/0/12 |", row)
        self.assertIn("12 400, closed; 9 no word, kept; 6 too short to tell", row)

    def test_without_a_peer_there_is_no_ratio(self):
        self.assertEqual(report.ratio(1.0, None), "–")


if __name__ == "__main__":
    unittest.main()
