"""What the gate costs a request, beside its peers: `make bench-peers`, or `make bench-quick` in four minutes.

    .venv/bin/python tests/bench/compare [--quick] [--only allow,deny,...] [--peers NAME,...] [--connections 16,64]
                                         [--rounds N] [--seconds N] [--output FOLDER] [--whatever-else-runs]
    .venv/bin/python tests/bench/compare --list          the parts, and how long each takes
    .venv/bin/python tests/bench/compare --draw          the table and the chart of bench/results.json again

Every proxy leads to the same upstream, on one core of its own, with connections that are kept; load, upstream and Postgres
have the other core. Flask has its core together with the gate before it. Peers take turns, round by round, so that what else
the machine does hits all. A figure is the median of the rounds; beside it stands the spread.

Nothing is reported of a part where a peer did not start or answered otherwise than expected. A round is thrown away when
others used the two cores, the host took them, or the load did not last as long as it should have; too many of these, and
nothing is reported of that figure. The run then ends with 1, and says so in what it wrote.

A full run writes results.json, results.md and chart.svg to `bench`; a run of some parts replaces those there, if it is of the
same commit, gate and machine. Runs with `--quick` or other rounds, peers or connections write to target/bench.
GATE=... names another binary than target/release/console-gate.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import accounts  # noqa: E402
import chart  # noqa: E402
import counts  # noqa: E402
import flask_ways  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402
import rounds  # noqa: E402
from loads import Failed  # noqa: E402
from scenarios import COUNTS, INSTRUCTIONS, SCENARIOS, SYSCALLS, Scenario, quick  # noqa: E402
from scene import CORES, LOAD_CORE, ROOT, Refused, Scene  # noqa: E402

MAKERS = {**peers.MAKERS, **flask_ways.MAKERS}
NEEDS = {"wrk": "wrk", "h2load": "nghttp2-client", "taskset": "util-linux", "strace": "strace", "valgrind": "valgrind", "curl": "curl",
         peers.HAPROXY_PROGRAM: "haproxy", peers.NGINX_PROGRAM: "nginx-light"}
# haproxy wants more than two for each connection that it might have, and valgrind keeps some for itself.
FEWEST_FILES = 10_000
SCENES = ("clear", "tls", "flask")
SYSCALLS_AT = 64


class Run:
    """One run, with what it has found so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.whatever_else_runs: bool = options.whatever_else_runs
        self.wanted: list[str] = options.peers.split(",") if options.peers else []
        self.results: report.Results = {
            "command": "tests/bench/compare" + "".join(f" {word}" for word in sys.argv[1:]),
            "taken": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC", "commit": report.commit(ROOT),
            "gate": hashlib.sha256(peers.GATE.read_bytes()).hexdigest()[:12], "machine": report.machine(), "versions": versions(),
            "figures": {}, "syscalls": {}, "instructions": {}, "idle_memory_mib": {}, "refused": {}}
        self.took: dict[str, float] = {}

    def timed(self, part: str, what: Callable[[], None]) -> None:
        """Runs a part. What it refuses is said at once, and in what is written."""
        began = time.monotonic()
        try:
            what()
        except (Refused, Failed) as error:
            self.results["refused"][part] = str(error)
            print(f"\nbench: refused: {error}", file=sys.stderr, flush=True)
        self.took[part] = self.took.get(part, 0) + time.monotonic() - began

    def scene(self, kind: str, scenarios: list[Scenario], count_syscalls: bool) -> None:
        chosen = [scenario for scenario in scenarios if scenario.scene == kind]
        # System calls are counted of what is asked in the clear.
        asked = [*chosen, *(scenario for scenario in SCENARIOS if count_syscalls and scenario.name == "allow" and scenario not in chosen)]
        if not asked:
            return
        began = time.monotonic()
        try:
            with Scene(MAKERS, asked, self.wanted) as scene:
                for name, peer in scene.peers.items():
                    self.results["idle_memory_mib"][report.peer_of(name, kind == "tls")] = round(accounts.memory(peer.pids(), "VmRSS") / report.MIB, 1)
                self.took[f"starting, {kind}"] = time.monotonic() - began
                for scenario in chosen:
                    for key, connections in scenario.figures():
                        self.timed(key, lambda: self.figure(scene, scenario, connections))
                if count_syscalls:
                    self.timed(SYSCALLS, lambda: self.syscalls(scene, asked))
        except (Refused, OSError) as error:
            for scenario in chosen:
                for key, _ in scenario.figures():
                    self.results["refused"].setdefault(key, str(error))
            print(f"\nbench: refused, all of the scene `{kind}`: {error}", file=sys.stderr, flush=True)

    def figure(self, scene: Scene, scenario: Scenario, connections: int) -> None:
        figure = report.rounded(rounds.compare(scene, scenario, connections, self.whatever_else_runs))
        self.results["figures"][scenario.key(connections)] = figure
        print(f"\n{scenario.title}: {connections:,} connections, {scenario.rounds} rounds of {scenario.seconds} s\n\n"
              f"{report.detail(figure)}", flush=True)

    def syscalls(self, scene: Scene, scenarios: list[Scenario]) -> None:
        scenario = next(scenario for scenario in scenarios if scenario.name == "allow")
        counted = {name: round(one, 1) for name, one in counts.syscalls(scene, scenario, SYSCALLS_AT).items()}
        self.results["syscalls"][scenario.key(SYSCALLS_AT)] = counted
        for name, one in counted.items():
            print(f"{name}, {scenario.key(SYSCALLS_AT)}: {one} system calls a request", flush=True)

    def instructions(self, name: str) -> None:
        of = [scenario for scenario in SCENARIOS if scenario.name in ("allow", "deny") and name in scenario.peers]
        for scenario, one in counts.instructions(name, of).items():
            self.results["instructions"].setdefault(scenario, {})[name] = round(one)
            print(f"{name}, {scenario}: {one:,.0f} user instructions a request", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/bench/compare", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="some figures in about four minutes, to target/bench")
    parser.add_argument("--only", metavar="PARTS", help="these of --list, such as allow,deny,flask")
    parser.add_argument("--peers", help="these only, by their names in the program")
    parser.add_argument("--connections", help="other numbers of them, such as 1,16")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of one round")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="for results.json, results.md and chart.svg")
    parser.add_argument("--whatever-else-runs", action="store_true",
                        help="keep rounds that other load spoiled: to try the bench itself, never into bench/")
    parser.add_argument("--list", action="store_true", help="the parts and how long each takes")
    parser.add_argument("--draw", action="store_true", help="write table and chart of the results that there are")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> tuple[list[Scenario], list[str]]:
    """The scenarios and counts of a run."""
    scenarios = list(quick() if options.quick else SCENARIOS)
    counted = [] if options.quick else list(COUNTS)
    if options.only:
        names = options.only.split(",")
        if unknown := set(names) - {scenario.name for scenario in SCENARIOS} - set(COUNTS):
            raise SystemExit(f"bench: no such part: {', '.join(sorted(unknown))} (--list)")
        scenarios = [scenario for scenario in (scenarios if options.quick else SCENARIOS) if scenario.name in names]
        counted = [name for name in COUNTS if name in names]
    changes: dict[str, Any] = {}
    if options.connections:
        changes["connections"] = tuple(map(int, options.connections.split(",")))
    changes |= {key: getattr(options, key) for key in ("rounds", "seconds") if getattr(options, key)}
    scenarios = [replace(scenario, **changes) for scenario in scenarios]
    if options.peers and (unknown := set(options.peers.split(",")) - set(MAKERS)):
        raise SystemExit(f"bench: no such peer: {', '.join(sorted(unknown))} (there are: {', '.join(MAKERS)})")
    return scenarios, counted


def folder_of(options: argparse.Namespace) -> Path:
    """Where a run writes: only a run of whole parts as they are defined goes into the repository."""
    if options.output:
        folder = Path(options.output).resolve()
        if options.whatever_else_runs and folder == ROOT / "bench":
            raise SystemExit("bench: what was measured beside other load does not go into bench/")
        return folder
    partial = options.quick or options.peers or options.connections or options.rounds or options.seconds
    return ROOT / ("target/bench" if partial or options.whatever_else_runs else "bench")


def write(folder: Path, results: report.Results) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(report.laid_out(results) + "\n", encoding="utf-8")
    draw(folder, results)


def draw(folder: Path, results: report.Results) -> None:
    (folder / "results.md").write_text(report.page(results), encoding="utf-8")
    try:
        (folder / "chart.svg").write_text(chart.draw(results), encoding="utf-8")
    except ValueError as error:
        print(f"bench: no chart: {error}", file=sys.stderr)


def versions() -> str:
    def ask(*command: str) -> str:
        try:
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return ""
        return next(iter((ran.stdout or ran.stderr).splitlines()), "")
    return ", ".join(filter(None, (
        ask(str(peers.GATE), "--version"),
        "nginx " + "".join(re.findall(r"nginx/([\d.]+)", ask(peers.NGINX_PROGRAM, "-v"))),
        "haproxy " + "".join(re.findall(r"version (\d[\d.]*\d)", ask(peers.HAPROXY_PROGRAM, "-v"))),
        "wrk " + "".join(re.findall(r"wrk (?:debian/)?(\S+)", ask("wrk", "-v"))))))


def prepare() -> None:
    """This process counts as load: it and what it starts has the core of load, and may open many files."""
    os.sched_setaffinity(0, {LOAD_CORE})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FEWEST_FILES:
        raise SystemExit(f"bench: {hard} open files are too few for 1,024 connections (ulimit -n {FEWEST_FILES})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else FEWEST_FILES * 2, hard))


def warn_of_others() -> None:
    """Says before the first round what would spoil it. One second is enough: nothing of the bench runs yet."""
    earlier = accounts.core_time_now(rounds.BOTH)
    time.sleep(1)
    used = (accounts.core_time_now(rounds.BOTH) - earlier).busy()
    if used > rounds.MOST_OTHERS * len(rounds.BOTH):
        print(f"bench: others use {used:.1f} of the two cores now; rounds are thrown away while they do", file=sys.stderr, flush=True)


def main() -> int:
    options = arguments()
    scenarios, counted = chosen(options)
    if options.list:
        for scenario in scenarios:
            print(f"{scenario.name:14}{scenario.duration():5} s  {scenario.title}: {', '.join(map(str, scenario.connections))} connections")
        for name in counted:
            print(f"{name:14}{COUNTS[name]:5} s  of a request")
        seconds = sum(one.duration() for one in scenarios) + sum(COUNTS[name] for name in counted)
        print(f"{'all':14}{seconds:5} s  and half a minute to start")
        return 0
    folder = folder_of(options)
    before = report.read(folder / "results.json")
    if options.draw:
        if before is None:
            print(f"bench: there is no {folder / 'results.json'}", file=sys.stderr)
            return 2
        draw(folder, before)
        return 0
    if missing := [package for program, package in NEEDS.items() if shutil.which(program) is None]:
        print(f"bench: missing here: {' '.join(missing)} (sudo apt-get install {' '.join(missing)})", file=sys.stderr)
        return 2
    if not peers.GATE.exists():
        print(f"bench: {peers.GATE} is not built: make release", file=sys.stderr)
        return 2
    if len(CORES) < 2:
        print("bench: needs two cores, one for the load and one for the peer", file=sys.stderr)
        return 2
    prepare()
    warn_of_others()
    run = Run(options)
    for kind in SCENES:
        run.scene(kind, scenarios, SYSCALLS in counted and kind == "clear")
    if INSTRUCTIONS in counted:
        for name in counts.COUNTABLE:
            if not run.wanted or name in run.wanted:
                run.timed(f"{INSTRUCTIONS}, {name}", lambda: run.instructions(name))
    results = report.merged(before if options.only else None, run.results)
    write(folder, results)
    print(f"\nResident memory, MiB\n\n{report.memory(results)}")
    print(f"\nTook {sum(run.took.values()):.0f} s: " + ", ".join(f"{part} {took:.0f}" for part, took in run.took.items()))
    print(f"Wrote {folder}/results.json, results.md, chart.svg")
    if run.results["refused"]:
        print(f"bench: nothing is reported of: {'; '.join(run.results['refused'])}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
