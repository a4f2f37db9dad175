"""System calls and instructions a request: they hardly vary with what else the machine does."""

from __future__ import annotations

import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

from loads import Failed, load
from peers import MAKERS
from rounds import check_answers
from scenarios import Scenario
from scene import LOAD_CORE, Peer, Refused, Scene

# One process each, which valgrind can follow.
COUNTABLE = ("nginx", "haproxy", "gate-push", "gate-strict", "gate-strict-sqlite")
WARM_UP, REQUESTS = 200, 500


def syscalls(scene: Scene, scenario: Scenario, connections: int) -> dict[str, float]:
    """By strace, of each peer of the scene."""
    counted = {}
    for name, peer in scene.peers.items():
        if name not in scenario.peers:
            continue
        pids, out = peer.pids(), scene.folder / f"{name}.strace"
        command = ["strace", "-f", "-c", "-o", str(out), *[f"-p{pid}" for pid in pids]]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            for _ in pids:
                if "attached" not in (line := tracer.stderr.readline()):
                    tracer.kill()
                    raise Refused(f"strace does not follow {name}: {line}")
            try:
                got = load(scenario, LOAD_CORE, peer.port, scene.headers_of(scenario), connections, scenario.seconds)
            finally:
                tracer.send_signal(signal.SIGINT)
        check_answers(name, scenario, connections, got)
        counted[name] = calls(out.read_text()) / got.requests
    return counted


def calls(summary: str) -> int:
    """The sum of what `strace -c` lists: `% time, seconds, usecs/call, calls, [errors], syscall`."""
    total = 0
    for line in summary.splitlines():
        columns = line.split()
        if len(columns) >= 5 and columns[3].isdigit() and columns[-1] != "total":
            total += int(columns[3])
    return total


def instructions(name: str, scenarios: list[Scenario]) -> dict[str, float]:
    """User instructions a request of one peer, by scenario. What starting takes is not counted."""
    counted = {}
    # A gate that valgrind runs is slow to start, and valgrind counts nothing until it is told to.
    prefix = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=callgrind.out"]
    with Scene(MAKERS, [replace(scenario, peers=(name,)) for scenario in scenarios], prefix=prefix) as scene:
        peer = scene.peers[name]
        for place, scenario in enumerate(scenarios, start=1):
            ask(scene, peer, scenario, WARM_UP)
            control(peer, "-i", "on")
            ask(scene, peer, scenario, REQUESTS)
            control(peer, "-i", "off")
            control(peer, "-d")
            counted[scenario.name] = total((Path(scene.folder) / name / f"callgrind.out.{place}").read_text(errors="replace")) / REQUESTS
    return counted


def ask(scene: Scene, peer: Peer, scenario: Scenario, times: int) -> None:
    """So many requests, one after the other on one connection."""
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}\n"]
    for key, value in scene.headers_of(scenario).items():
        command += ["-H", f"{key}: {value}"]
    ran = subprocess.run([*command, f"http://127.0.0.1:{peer.port}{scenario.path}?n=[1-{times}]"], capture_output=True, text=True,
                         check=False)
    if ran.stdout.split() != [str(scenario.status)] * times:
        raise Refused(f"{peer.name} under valgrind, {scenario.name}: answers {sorted(set(ran.stdout.split()))}")


def control(peer: Peer, *words: str) -> None:
    ran = subprocess.run(["callgrind_control", *words, str(peer.processes[0].pid)], capture_output=True, text=True, check=False)
    if ran.returncode or "ERROR" in ran.stdout + ran.stderr:
        raise Failed(f"callgrind_control {' '.join(words)}: {ran.stdout}{ran.stderr}")


def total(profile: str) -> int:
    """What a profile of callgrind counts in all."""
    found = re.findall(r"^(?:totals|summary): (\d+)", profile, re.MULTILINE)
    if not found:
        raise Failed("callgrind wrote no total")
    return int(found[-1])
