"""The bench itself: what it reads, what it refuses, and what it writes. No speed is asserted."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "compare"))

import accounts  # noqa: E402
import chart  # noqa: E402
import counts  # noqa: E402
import flask_ways  # noqa: E402
import loads  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402
import rounds  # noqa: E402
import scene  # noqa: E402
from loads import Failed, Got  # noqa: E402
from scenarios import COUNTS, KIB, MIB, PROXIES, SCENARIOS, quick  # noqa: E402
from scene import Peer, Refused, Scene  # noqa: E402

from ports import free_port  # Where `scene` looks too.  # isort: skip  # noqa: E402

ALLOW, DENY, DOWNLOAD, SOCKETS = (next(one for one in SCENARIOS if one.name == name)
                                  for name in ("allow", "deny", "download-1m", "websocket"))
SPEC = importlib.util.spec_from_file_location("bench", HERE / "compare" / "__main__.py")
assert SPEC is not None and SPEC.loader is not None
bench = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(bench)


def got(requests: int = 1000, seconds: float = 2.0, size: int = 1300, **others: Any) -> Got:
    return Got(**{"requests": requests, "seconds": seconds, "p50_us": 500.0, "p99_us": 900.0, "bytes": requests * size,
                  "at_least_400": 0, "broken": 0, **others})


class Reading(unittest.TestCase):
    def test_wrk(self) -> None:
        printed = ('Running 2s test\n{"requests": 10, "seconds": 2.0, "p50_us": 5.0, "p99_us": 9.0, "bytes": 13000, '
                   '"at_least_400": 1, "broken": 2, "statuses": {"200": 9, "503": 1}}\n')
        self.assertEqual(loads.from_json(printed), Got(10, 2.0, 5.0, 9.0, 13000, 1, 2, {"200": 9, "503": 1}))

    def test_a_load_that_measured_nothing(self) -> None:
        for printed in ("", "unable to connect\n", "{}\n", '{"requests": 1}\n', "[1]\n"):
            with self.subTest(printed), self.assertRaises(Failed):
                loads.from_json(printed)

    def test_a_program_that_fails(self) -> None:
        with self.assertRaisesRegex(Failed, "sh ended with 3: no such host"):
            loads.run(["env", "-u", "X", "sh", "-c", "echo no such host >&2; exit 3"])

    H2LOAD = ("TLS Protocol: TLSv1.3\nCipher: TLS_AES_256_GCM_SHA384\nServer Temp Key: X25519 253 bits\nApplication protocol: h2\n"
              "finished in 2.00s, 2.00 req/s, 2.30KB/s\n"
              "requests: 4 total, 5 started, 4 done, 3 succeeded, 1 failed, 0 errored, 0 timeout\n"
              "status codes: 3 2xx, 0 3xx, 1 4xx, 0 5xx\n"
              "traffic: 4.60KB (4710) total, 400B (400) headers (space savings 80.00%), 4.00KB (4096) data\n")

    def test_h2load(self) -> None:
        log = "1\t200\t30\n2\t200\t10\n3\t403\t20\n4\t200\t40\n"
        self.assertEqual(loads.from_h2load(self.H2LOAD, log, 2), Got(4, 2, 30.0, 40.0, 4710, 1, 0, {"200": 3, "403": 1}))
        broken = loads.from_h2load(self.H2LOAD.replace("1 failed, 0 errored, 0 timeout", "3 failed, 2 errored, 1 timeout"), log, 2)
        self.assertGreater(broken.broken, 0)
        for other in ("could not connect\n", self.H2LOAD.replace(": h2", ": http/1.1"), self.H2LOAD.replace("TLSv1.3", "TLSv1.2")):
            with self.subTest(other), self.assertRaises(Failed):
                loads.from_h2load(other, log, 2)

    def test_strace(self) -> None:
        summary = ("% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ---------\n"
                   " 60.00    0.000600           6       100           read\n 40.00    0.000400           8        50         7 epoll_wait\n"
                   "------ ----------- ----------- --------- --------- ---------\n100.00    0.001000           6       150         7 total\n")
        self.assertEqual(counts.calls(summary), 150)

    def test_callgrind(self) -> None:
        self.assertEqual(counts.total("summary: 10\nfn=(1)\n1 10\ntotals: 12\n"), 12)
        with self.assertRaises(Failed):
            counts.total("desc: Trigger: Client Request\n")

    def test_cores(self) -> None:
        ticks = accounts.TICKS

        def stat(user: int, idle: int, stolen: int) -> str:
            line = f"{user * ticks} 0 {1 * ticks} {idle * ticks} 0 0 0 {stolen * ticks} 0 0"
            return f"cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 {line}\ncpu1 {line}\ncpu7 {9 * ticks} 0 0 0 0 0 0 0 0 0\nintr 5\n"
        earlier = accounts.core_time(stat(1, 4, 1), (0, 1), 100.0)
        later = accounts.core_time(stat(3, 6, 2), (0, 1), 105.0)
        passed = later - earlier
        self.assertEqual((passed.worked, passed.idle, passed.stolen, passed.at), (4, 4, 2, 10))
        # Ten seconds of two cores, four of them idle and two stolen.
        self.assertEqual(passed.busy(), 4)
        self.assertEqual(replace(passed, worked=9).busy(), 4)

    def test_processes(self) -> None:
        with subprocess.Popen(["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE) as shell:
            assert shell.stdout is not None
            shell.stdout.readline()
            found = accounts.tree([shell.pid])
            self.assertEqual(len(found), 2)
            self.assertGreater(accounts.memory(found, "VmRSS"), 0)
            accounts.forget_peak(found)
            self.assertGreater(accounts.memory(found, "VmHWM"), 0)
            for pid in found:
                os.kill(pid, 9)
        before = accounts.cpu_seconds([os.getpid()], ended_children=True)
        # Far more than a tick, whatever the machine.
        subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
        self.assertGreaterEqual(accounts.cpu_seconds([os.getpid()], ended_children=True) - before, 0.2)


class Refusing(unittest.TestCase):
    def test_answers(self) -> None:
        refused = {
            "broken": (ALLOW, got(broken=1)), "nothing": (ALLOW, got(requests=0)), "an error": (ALLOW, got(at_least_400=1)),
            "another status": (ALLOW, got(statuses={"200": 999, "302": 1})), "too short": (ALLOW, got(size=300)),
            "too long": (ALLOW, got(size=8 * KIB)), "let in": (DENY, got(at_least_400=999)), "503 for 403":
            (DENY, got(at_least_400=1000, statuses={"403": 999, "503": 1})), "cut short": (DOWNLOAD, got(size=MIB // 2))}
        for name, (scenario, answers) in refused.items():
            with self.subTest(name), self.assertRaises(Refused):
                rounds.check_answers("a peer", scenario, 16, answers)
        rounds.check_answers("a peer", ALLOW, 16, got(statuses={"200": 1000}))
        rounds.check_answers("a peer", DENY, 16, got(at_least_400=1000, size=600))
        rounds.check_answers("a peer", DOWNLOAD, 16, got(requests=100, size=MIB + 400))

    @staticmethod
    def round(worked: float = 3.0, used: float = 3.0, stolen: float = 0.0, seconds: float = 2.0) -> rounds.Round:
        return rounds.Round(1.0, used, accounts.CoreTime(worked, 4 - worked - stolen, stolen, 4.0), got(seconds=seconds))

    def test_rounds(self) -> None:
        rounds.check_quiet(2, self.round())
        # What is sampled may be a little less than what processes used.
        rounds.check_quiet(2, self.round(worked=2.9))
        for name, spoiled in {"others": self.round(worked=3.5), "the host": self.round(stolen=0.5), "short": self.round(seconds=1.2),
                              "long": self.round(seconds=3.0)}.items():
            with self.subTest(name), self.assertRaises(rounds.Spoiled):
                rounds.check_quiet(2, spoiled)


class FakeScene(contextlib.AbstractContextManager["FakeScene"]):
    """Two peers without processes, whose load is a list of answers, and cores that others use in some rounds."""

    def __init__(self, spoiled: Iterator[bool], answers: dict[str, Got]) -> None:
        self.peers = {name: Peer(name, number) for number, name in enumerate(("nginx", "gate-push"))}
        self.asked: list[tuple[str, bool]] = []
        self.spoiled, self.answers, self.now = spoiled, answers, accounts.CoreTime(0, 0, 0, 0)
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> FakeScene:
        self.stack.enter_context(mock.patch.object(rounds, "load", self.load))
        self.stack.enter_context(mock.patch.object(accounts, "core_time_now", lambda _cores: self.now))
        self.stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        return self

    def __exit__(self, *_error: object) -> None:
        self.stack.close()

    def headers_of(self, _scenario: Any) -> dict[str, str]:
        return {}

    def cpu_seconds(self) -> float:
        return 0.0

    def load(self, scenario: Any, _core: int, port: int, _headers: Any, _connections: int, seconds: int, warming: bool) -> Got:
        name = list(self.peers)[port]
        self.asked.append((name, warming))
        if not warming:
            work = 3.0 if next(self.spoiled) else 0.0
            self.now = replace(self.now, worked=self.now.worked + work, idle=self.now.idle + 4 - work, at=self.now.at + 4)
        return replace(self.answers.get(name, got()), seconds=seconds)


def forever(value: bool) -> Iterator[bool]:
    while True:
        yield value


class Taking(unittest.TestCase):
    scenario = replace(ALLOW, peers=("nginx", "gate-push"), rounds=2)

    def test_peers_take_turns(self) -> None:
        with FakeScene(forever(False), {}) as fake:
            figure = rounds.compare(fake, self.scenario, 16)  # type: ignore[arg-type]
        self.assertEqual(fake.asked, [("nginx", True), ("gate-push", True), *[("nginx", False), ("gate-push", False)] * 2])
        self.assertEqual((figure["spoiled"], figure["others"], list(figure["peers"])), (0, 0, ["nginx", "gate-push"]))
        self.assertEqual(figure["peers"]["nginx"]["requests_per_second"], 500)

    def test_a_spoiled_round_is_taken_again(self) -> None:
        with FakeScene(iter([True, False, False, False, False]), {}) as fake:
            figure = rounds.compare(fake, self.scenario, 16)  # type: ignore[arg-type]
        self.assertEqual(figure["spoiled"], 1)
        self.assertEqual(fake.asked.count(("nginx", False)), 3)

    def test_too_many_spoiled_rounds(self) -> None:
        with FakeScene(forever(True), {}) as fake, self.assertRaisesRegex(Refused, "allow, 16: too many rounds were spoiled"):
            rounds.compare(fake, self.scenario, 16)  # type: ignore[arg-type]
        # As many as it was to have, and one too many.
        self.assertEqual(len(fake.asked), 2 + 2 * self.scenario.rounds + 1)
        with FakeScene(forever(True), {}) as fake:
            rounds.compare(fake, self.scenario, 16, whatever_else_runs=True)  # type: ignore[arg-type]

    def test_a_wrong_answer(self) -> None:
        with FakeScene(forever(False), {"gate-push": got(at_least_400=3)}) as fake, \
                self.assertRaisesRegex(Refused, "gate-push, allow, 16: 3 answers were others than 200"):
            rounds.compare(fake, self.scenario, 16)  # type: ignore[arg-type]

    def test_a_load_that_fails(self) -> None:
        with FakeScene(forever(False), {}) as fake, mock.patch.object(rounds, "load", side_effect=Failed("wrk ended with 1")), \
                self.assertRaisesRegex(Refused, "allow, 16: wrk ended with 1"):
            rounds.compare(fake, self.scenario, 16)  # type: ignore[arg-type]

    def test_a_peer_that_ends(self) -> None:
        with FakeScene(forever(False), {}) as fake, self.assertRaisesRegex(Refused, "allow, 16: .*No such file"), \
                mock.patch.object(Peer, "pids", lambda _peer: [2**22 + 1]):
            rounds.compare(fake, self.scenario, 16)  # type: ignore[arg-type]

    def test_medians_and_ratios(self) -> None:
        measured = [{"cpu_us": cpu, "requests_per_second": 1000 / cpu, "p50_us": 1.0, "p99_us": 2.0} for cpu in (30.0, 10.0, 20.0)]
        figures = rounds.summary(measured)
        self.assertEqual((figures["cpu_us"], figures["cpu_us_least"], figures["cpu_us_most"]), (20, 10, 30))
        both = rounds.with_ratios({"nginx": dict(figures), "gate": {**figures, "cpu_us": 30.0}}, "nginx")
        self.assertEqual((both["nginx"]["cpu_ratio"], both["gate"]["cpu_ratio"]), (1, 1.5))
        self.assertNotIn("cpu_ratio", rounds.with_ratios({"gate": dict(figures)}, "nginx")["gate"])


ANSWERS = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[2 if self.path == '/console/secrets' else 3]))
        self.end_headers()
        self.wfile.write(b'x' * 1024)
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Answer).serve_forever()
"""


def python_peer(denied: int, allowed: int) -> Any:
    def make(where: Scene, name: str) -> Peer:
        port = free_port()
        return Peer(name, port, [where.start(name, scene.PEER_CORE, [sys.executable, "-c", ANSWERS, port, denied, allowed], where.folder)])
    return make


def dead_peer(where: Scene, name: str) -> Peer:
    return Peer(name, free_port(), [where.start(name, scene.PEER_CORE, ["sh", "-c", "echo cannot bind; exit 3"], where.folder)])


class Starting(unittest.TestCase):
    scenario = replace(ALLOW, peers=("nginx",))

    def started(self, make: Any) -> list[int]:
        with mock.patch.object(scene, "READY_SECONDS", 0), Scene({"nginx": make}, [self.scenario]) as where:
            return where.peers["nginx"].pids()

    def test_a_peer_that_is_one(self) -> None:
        pids = self.started(python_peer(403, 200))
        self.assertEqual(len(pids), 1)
        self.assertFalse(Path(f"/proc/{pids[0]}").exists())

    def test_a_peer_that_does_not_run(self) -> None:
        with self.assertRaisesRegex(Refused, "(?s)nginx does not run: no answer.*cannot bind"):
            self.started(dead_peer)

    def test_a_peer_that_lets_everybody_in(self) -> None:
        with self.assertRaisesRegex(Refused, "nginx does not answer as it must: allow: 200, not 403, where it denies"):
            self.started(python_peer(200, 200))

    def test_a_peer_that_serves_something_else(self) -> None:
        with self.assertRaisesRegex(Refused, "allow: 404, not 200"):
            self.started(python_peer(403, 404))

    def test_a_peer_that_encrypts_otherwise(self) -> None:
        scenario = replace(self.scenario, scene="tls")
        with Scene(peers.MAKERS, [scenario]):
            pass
        older = mock.patch.object(peers, "CERTIFICATE", peers.CERTIFICATE.replace("TLSv1.3", "TLSv1.2"))
        with older, self.assertRaisesRegex(Refused, "nginx speaks TLSv1.2"), Scene(peers.MAKERS, [scenario]):
            pass

    def test_a_run_reports_nothing_of_them_and_goes_on(self) -> None:
        options = argparse.Namespace(whatever_else_runs=True, peers=None)
        with mock.patch.object(peers, "GATE", Path("/bin/true")), contextlib.redirect_stderr(io.StringIO()) as said, \
                mock.patch.object(bench, "MAKERS", {"nginx": dead_peer}):
            run = bench.Run(options)
            run.scene("clear", [self.scenario], count_syscalls=False)
        self.assertEqual(list(run.results["refused"]), ["allow, 16", "allow, 64", "allow, 256"])
        self.assertEqual(run.results["figures"], {})
        self.assertIn("nginx does not run", said.getvalue())


class Sockets(unittest.TestCase):
    """The whole way of one scenario, whose load is in Python: echoes through a real nginx."""

    def test_echoes(self) -> None:
        scenario = replace(SOCKETS, peers=("nginx",), connections=(3,), rounds=1, seconds=1)
        with Scene(peers.MAKERS, [scenario]) as where:
            figure = rounds.compare(where, scenario, 3, whatever_else_runs=True)
            headers, port = where.headers_of(scenario), where.peers["nginx"].port
            refused = loads.load(replace(scenario, path="/console/nowhere"), scene.LOAD_CORE, port, headers, 1, 1)
        self.assertGreater(figure["peers"]["nginx"]["requests_per_second"], 0)
        self.assertGreater(figure["peers"]["nginx"]["peak_memory"], MIB)
        # nginx passes a plain request on, and a page is no socket.
        with self.assertRaisesRegex(Refused, "answers other than 101: {'200': 1}"):
            rounds.check_answers("nginx", scenario, 1, refused)


def results(**others: Any) -> report.Results:
    figures = {}
    for connections, base in ((16, 10.0), (64, 12.0), (256, 14.0)):
        measured = {name: {"requests_per_second": 50_000.4 / times, "cpu_us": base * times, "p50_us": 200.0, "p99_us": 900.6,
                           "cpu_us_least": base * times * 0.9, "cpu_us_most": base * times * 1.25, "peak_memory": 20.04 * MIB}
                    for name, times in zip(PROXIES, (1, 1.25, 2, 1.5, 2.5, 3))}
        figures[f"allow, {connections}"] = report.rounded({"rounds": 5, "seconds": 2, "spoiled": 0, "base": "nginx",
                                                           "peers": rounds.with_ratios(measured, "nginx")})
    return {"command": "tests/bench/compare", "taken": "2026-01-01 00:00 UTC", "commit": "abc", "gate": "def", "machine": "a <machine>",
            "versions": "nginx 1", "figures": figures, "syscalls": {"allow, 64": {"nginx": 5.2, "gate-push": 6.1}},
            "instructions": {"allow": {"nginx": 30000}}, "idle_memory_mib": {"nginx": 12.0}, "refused": {}, **others}


class Writing(unittest.TestCase):
    def test_rounded(self) -> None:
        self.assertEqual(results()["figures"]["allow, 16"]["peers"]["haproxy"], {
            "requests_per_second": 40000, "cpu_us": 12.5, "p50_us": 200, "p99_us": 901, "cpu_us_least": 11.2, "cpu_us_most": 15.6,
            "peak_memory_mib": 20.0, "cpu_ratio": 1.25, "requests_ratio": 0.8})

    def test_json(self) -> None:
        text = report.laid_out(results())
        self.assertEqual(json.loads(text), results())
        self.assertLess(max(map(len, text.splitlines())), 300)

    def test_tables(self) -> None:
        self.assertEqual(report.matrix(results(), ["allow"]).splitlines()[:4], [
            "|  | 16 connections | 64 connections | 256 connections |", "|---|---|---|---|",
            "| nginx, no check | 10.0 (1.00), 50,000 | 12.0 (1.00), 50,000 | 14.0 (1.00), 50,000 |",
            "| haproxy with maps | 12.5 (1.25), 40,000 | 15.0 (1.25), 40,000 | 17.5 (1.25), 40,000 |"])
        page = report.page(results(refused={"deny, 16": "gate-push: 3 answers\nand its log"}))
        self.assertIn("- deny, 16: gate-push: 3 answers\n", page)
        self.assertNotIn("its log", page)
        self.assertIn("| nginx, no check | 5.2 | 30,000 |", page)
        self.assertIn("| nginx, no check | 12.0 | 20.0 |", page)
        encrypted = results(idle_memory_mib={"nginx, TLS": 14.0, "flask": 70.0})
        encrypted["figures"]["tls, 64"] = {**encrypted["figures"]["allow, 64"], "peers": {
            "nginx": {**encrypted["figures"]["allow, 64"]["peers"]["nginx"], "peak_memory_mib": 30.0}}}
        self.assertIn("| nginx, no check, TLS | 14.0 | 30.0 |\n", report.page(encrypted))
        self.assertIn("| Flask: no check | 70.0 |  |\n", report.page(encrypted))

    def test_a_part_of_a_run(self) -> None:
        before, figure = results(refused={"allow, 16": "it was", "instructions, haproxy": "it does not run"}), {"x": 1}
        now = results(figures={"allow, 16": figure}, command="tests/bench/compare --only allow", syscalls={}, refused={"allow, 64": "why"})
        both = report.merged(before, now)
        self.assertEqual(both["figures"], {"allow, 16": figure, "allow, 256": before["figures"]["allow, 256"]})
        self.assertEqual(both["syscalls"], before["syscalls"])
        self.assertEqual(both["refused"], {"allow, 64": "why"})
        self.assertEqual(both["command"], "tests/bench/compare; tests/bench/compare --only allow")
        for other in ("commit", "gate", "machine"):
            self.assertEqual(report.merged({**before, other: "another"}, now), now)
        self.assertEqual(report.merged(before, results(syscalls={}, refused={"syscalls": "why"}))["syscalls"], {})

    def test_chart(self) -> None:
        drawing = ElementTree.fromstring(chart.draw(results()))
        bars = [one for one in drawing.iter() if one.get("class") in ("gate", "peer")]
        self.assertEqual(len(bars), 3 * len(PROXIES))
        self.assertEqual(sum(one.get("class") == "gate" for one in bars), 9)
        wide = [float(one.get("width", "")) for one in bars]
        for times, width in zip((1, 1.25, 2, 1.5, 2.5, 3) * 3, wide):
            self.assertAlmostEqual(width / wide[0], times, places=2)
        self.assertEqual(sum(one.get("class") == "spread" for one in drawing.iter()), len(bars))
        words = "".join(drawing.itertext())
        for wanted in ("256 connections", "gate, strict, Postgres", "1.25, 12.5 µs", "a <machine>", "prefers-color-scheme: dark"):
            self.assertIn(wanted, words)
        # Nothing is drawn outside the picture: the longest bar and its whisker.
        self.assertLess(max(wide) * 1.25 + chart.EDGE + chart.NAMES + chart.VALUES, chart.WIDTH)

    def test_no_chart_without_what_it_compares_with(self) -> None:
        without = results()
        for figure in without["figures"].values():
            del figure["peers"]["nginx"]
        for nothing in (without, results(figures={})):
            with self.assertRaises(ValueError):
                chart.draw(nothing)

    def test_where_a_run_writes(self) -> None:
        for words, folder in (([], "bench"), (["--only", "deny"], "bench"), (["--quick"], "target/bench"),
                              (["--rounds", "1"], "target/bench"), (["--peers", "nginx"], "target/bench"),
                              (["--connections", "1"], "target/bench"), (["--whatever-else-runs"], "target/bench")):
            with self.subTest(words), mock.patch.object(sys, "argv", ["bench", *words]):
                self.assertEqual(bench.folder_of(bench.arguments()), scene.ROOT / folder)
        with mock.patch.object(sys, "argv", ["bench", "--whatever-else-runs", "--output", str(scene.ROOT / "bench")]), \
                self.assertRaises(SystemExit):
            bench.folder_of(bench.arguments())

    def test_parts(self) -> None:
        self.assertLess(sum(one.duration() for one in SCENARIOS) + sum(COUNTS.values()), 14.5 * 60)
        self.assertLess(sum(one.duration() for one in quick()), 5 * 60)
        for scenario in SCENARIOS:
            self.assertLessEqual({*scenario.peers, scenario.base}, bench.MAKERS.keys(), scenario.name)
            self.assertIn(scenario.base, scenario.peers)
        with mock.patch.object(sys, "argv", ["bench", "--only", "alow"]), self.assertRaisesRegex(SystemExit, "no such part: alow"):
            bench.chosen(bench.arguments())


class Checks(unittest.TestCase):
    """The decorators that the gate is compared with do check."""

    def statuses(self, check: str) -> list[int]:
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {
                "BENCH_CHECK": check, "BENCH_DATABASE": f"{folder}/console.sqlite", "CONSOLE_SECRET_KEY": scene.SECRET}):
            flask_ways.write_console(Path(folder) / "console.sqlite")
            # It reads its environment when it is imported.
            sys.modules.pop("console_app", None)
            module = importlib.import_module("console_app")
            client = module.create_app().test_client(use_cookies=False)
            cookie = {"Cookie": f"session={scene.cookie()}"}
            answers = [client.get("/console/customers/7/tickets", headers=cookie), client.get("/console/secrets", headers=cookie),
                       client.get("/console/customers/7/tickets")]
            with contextlib.closing(sqlite3.connect(f"{folder}/console.sqlite")) as file, file:
                file.execute("UPDATE admins SET disabled_at_utc = '2026-01-01'")
            answers.append(client.get("/console/customers/7/tickets", headers=cookie))
            module.engine.dispose()
            return [answer.status_code for answer in answers]

    def test_all(self) -> None:
        self.assertEqual(self.statuses("none"), [200, 200, 200, 200])
        self.assertEqual(self.statuses("sqlite"), [200, 403, 302, 403])
        self.assertEqual(self.statuses("sqlalchemy"), [200, 403, 302, 403])


if __name__ == "__main__":
    unittest.main()
