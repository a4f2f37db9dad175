"""What the gate costs a request, beside its peers: `make bench-peers`.

    .venv/bin/python tests/bench/compare [--rounds 5] [--seconds 3] [--connections 1,16,64,256] [--peers NAME,...]

Every peer serves the same page of 1 KiB from the same upstream, on one core of its own, with connections that are kept; load,
upstream and Postgres have the other core. Peers take turns, round by round, so that what else the machine does hits all. A
figure is the median of the rounds; beside it stands the spread. A round in which the load was not busy for as long as it should
have been, or in which an answer was another than expected, is thrown away, and too many of these end the run with an error.

`--instructions` counts user instructions a request with valgrind instead; these hardly vary with what else the machine does.
`--syscalls` counts system calls a request with strace.

GATE=... names another binary than target/release/console-gate. bench/results.json gets what was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from scene import ALLOWED, DENIED, GATE, LOAD_CORE, ROOT, Peer, Scene, headers  # noqa: E402

PEERS = ["nginx", "nginx-auth", "haproxy", "gate-push", "gate-strict", "gate-strict-sqlite"]
# Of all rounds of one figure, how many may be thrown away.
MOST_SPOILED = 0.5
NEEDS = {"wrk": "wrk", "taskset": "util-linux", "/usr/sbin/haproxy": "haproxy", "/usr/sbin/nginx": "nginx-light"}


class Spoiled(Exception):
    """A round that says nothing."""


def load(scene: Scene, peer: Peer, path: str, connections: int, seconds: int) -> dict[str, Any]:
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s",
               "-s", str(Path(__file__).with_name("report.lua"))]
    for name, value in headers(scene.session).items():
        command += ["-H", f"{name}: {value}"]
    ran = subprocess.run([*command, f"http://127.0.0.1:{peer.port}{path}"], capture_output=True, text=True, check=True)
    return dict(json.loads(ran.stdout.splitlines()[-1]))


def stolen() -> float:
    """Seconds that the host took from this machine's cores so far."""
    return int(Path("/proc/stat").read_text().split("\n")[0].split()[8]) / os.sysconf("SC_CLK_TCK")


def measure(scene: Scene, peer: Peer, path: str, connections: int, seconds: int) -> dict[str, float]:
    cpu, stolen_before = peer.cpu_seconds(), stolen()
    got = load(scene, peer, path, connections, seconds)
    cpu, took = peer.cpu_seconds() - cpu, stolen() - stolen_before
    expected = peer.answers[0 if path == ALLOWED else 1]
    wrong = got["not_2xx"] if expected == 200 else got["requests"] - got["not_2xx"]
    if got["broken"] or wrong:
        raise Spoiled(f"{peer.name}: {wrong} unexpected answers, {got['broken']} broken connections")
    if took > seconds * 0.1:
        raise Spoiled(f"the host took {took:.1f} s")
    return {"requests_per_second": got["requests"] / got["seconds"], "cpu_us": cpu * 1e6 / got["requests"],
            "p50_us": got["p50_us"], "p99_us": got["p99_us"]}


def compare(scene: Scene, path: str, connections: int, rounds: int, seconds: int) -> dict[str, Any]:
    kept: dict[str, list[dict[str, float]]] = {name: [] for name in scene.peers}
    spoiled = 0
    for peer in scene.peers.values():
        load(scene, peer, path, connections, min(seconds, 1))
    while any(len(measured) < rounds for measured in kept.values()):
        for name, peer in scene.peers.items():
            try:
                kept[name].append(measure(scene, peer, path, connections, seconds))
            except Spoiled as error:
                spoiled += 1
                print(f"spoiled: {error}", file=sys.stderr)
                if spoiled > rounds * len(kept) * MOST_SPOILED:
                    raise SystemExit("bench: too many rounds were spoiled; nothing is reported") from error
    result: dict[str, Any] = {}
    for name, measured in kept.items():
        figures = {key: statistics.median(one[key] for one in measured) for key in measured[0]}
        cpu = sorted(one["cpu_us"] for one in measured)
        result[name] = {**figures, "cpu_us_least": cpu[0], "cpu_us_most": cpu[-1]}
    plain = result.get("nginx")
    for figures in result.values():
        if plain:
            figures["cpu_to_nginx"] = figures["cpu_us"] / plain["cpu_us"]
            figures["requests_to_nginx"] = figures["requests_per_second"] / plain["requests_per_second"]
    return result


def count_instructions(wanted: list[str], path: str, requests: int) -> dict[str, float]:
    """User instructions a request. What starting takes is left out: the count begins after a warm-up."""
    counted = {}
    for name in wanted:
        out = ROOT / "target" / f"callgrind.{name}.{'allow' if path == ALLOWED else 'deny'}"
        prefix = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--collect-systime=no", f"--callgrind-out-file={out}"]
        with Scene([name], prefix) as scene:
            peer = scene.peers[name]
            if not name.startswith("gate"):
                raise SystemExit("bench: instructions are counted of the gate only")
            def ask(times: int) -> None:
                command = ["curl", "-s", "-o", "/dev/null"]
                for key, value in headers(scene.session).items():
                    command += ["-H", f"{key}: {value}"]
                subprocess.run([*command, f"http://127.0.0.1:{peer.port}{path}?n=[1-{times}]"], check=True)

            ask(300)
            pid = peer.pids()[0]
            subprocess.run(["callgrind_control", "-i", "on", str(pid)], check=True, capture_output=True)
            ask(requests)
            subprocess.run(["callgrind_control", "-i", "off", str(pid)], check=True, capture_output=True)
            peer.processes[0].terminate()
            peer.processes[0].wait(60)
        total = sum(int(match) for file in out.parent.glob(out.name + "*")
                    for match in re.findall(r"^(?:totals|summary): (\d+)", file.read_text(errors="replace"), re.MULTILINE)[-1:])
        counted[name] = total / requests
    return counted


def count_syscalls(scene: Scene, path: str, connections: int, seconds: int) -> dict[str, float]:
    counted = {}
    for name, peer in scene.peers.items():
        out = scene.folder / f"{name}.strace"
        command = ["strace", "-f", "-c", "-o", str(out), *[f"-p{pid}" for pid in peer.pids()]]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as tracer:
            time.sleep(1)
            got = load(scene, peer, path, connections, seconds)
            tracer.send_signal(2)
        calls = sum(int(line.split()[3]) for line in out.read_text().splitlines()
                    if len(line.split()) >= 5 and line.split()[3].isdigit() and line.split()[-1] != "total")
        counted[name] = calls / got["requests"]
    return counted


def table(result: dict[str, Any]) -> str:
    lines = ["| | CPU a request (us) | spread | to nginx | requests/s | to nginx | p50 us | p99 us |", "|---|---|---|---|---|---|---|---|"]
    for name, one in result.items():
        lines.append(f"| {name} | {one['cpu_us']:.1f} | {one['cpu_us_least']:.1f} to {one['cpu_us_most']:.1f} |"
                     f" {one.get('cpu_to_nginx', 0):.2f} | {one['requests_per_second']:,.0f} | {one.get('requests_to_nginx', 0):.2f} |"
                     f" {one['p50_us']:,.0f} | {one['p99_us']:,.0f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/compare")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", default="1,16,64,256")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--denials", action="store_true", help="measure denials too, each with its audit row")
    parser.add_argument("--instructions", type=int, metavar="REQUESTS", help="count instructions with so many requests instead")
    parser.add_argument("--syscalls", action="store_true", help="count system calls instead")
    options = parser.parse_args()
    wanted = options.peers.split(",")
    if missing := [package for program, package in NEEDS.items() if shutil.which(program) is None]:
        print(f"bench: missing here: {' '.join(missing)} (sudo apt-get install {' '.join(missing)})", file=sys.stderr)
        return 2
    if not GATE.exists():
        print(f"bench: {GATE} is not built: make release", file=sys.stderr)
        return 2
    paths = {"allow": ALLOWED, **({"deny": DENIED} if options.denials else {})}
    results: dict[str, Any] = {"cpu": processor(), "gate": version(), "figures": {}}
    if options.instructions:
        for word, path in paths.items():
            for name, count in count_instructions([name for name in wanted if name.startswith("gate")], path, options.instructions).items():
                print(f"{word} {name}: {count:,.0f} user instructions a request", flush=True)
        return 0
    with Scene(wanted) as scene:
        for word, path in paths.items():
            for connections in map(int, options.connections.split(",")):
                if options.syscalls:
                    for name, count in count_syscalls(scene, path, connections, options.seconds).items():
                        print(f"{word} {name}, {connections} connections: {count:.1f} system calls a request", flush=True)
                    continue
                result = compare(scene, path, connections, options.rounds, options.seconds)
                results["figures"][f"{word}, {connections}"] = result
                print(f"\n{word}, {connections} connections, {options.rounds} rounds of {options.seconds:g} s\n\n{table(result)}", flush=True)
        results["peak_memory_bytes"] = {name: peer.peak_memory() for name, peer in scene.peers.items()}
    if not options.syscalls:
        (ROOT / "target" / "bench-peers.json").write_text(json.dumps(results, indent=1) + "\n")
    return 0


def processor() -> str:
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"


def version() -> str:
    return subprocess.run([GATE, "--version"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
