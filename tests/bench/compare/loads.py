"""What asks the peers: wrk, h2load, and WebSockets of our own. All report the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scenarios import TLS_CIPHER, TLS_VERSION, Scenario
from sockets import percentile

HERE = Path(__file__).resolve().parent


class Failed(Exception):
    """A program that measures did not."""


@dataclass(frozen=True)
class Got:
    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    # Of all answers, heads included; less for HTTP/2, which packs heads.
    bytes: int
    at_least_400: int
    # Connections that were refused or broke, and answers that did not come.
    broken: int
    # How often each status was answered, where it was counted.
    statuses: dict[str, int] = field(default_factory=dict)


def load(scenario: Scenario, core: int, port: int, headers: dict[str, str], connections: int, seconds: int, warming: bool = False) -> Got:
    """Asks one peer for `seconds`. While `warming` each status is counted, at the cost of speed."""
    address = f"{'https' if scenario.scene == 'tls' else 'http'}://127.0.0.1:{port}{scenario.path}"
    pinned = ["taskset", "-c", str(core)]
    if scenario.tool == "websocket":
        return from_json(run([*pinned, sys.executable, str(HERE / "sockets.py"), "load", str(port), str(connections), str(seconds),
                              scenario.path, *(f"{name}:{value}" for name, value in headers.items())]))
    fields = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    if scenario.tool == "h2load":
        with tempfile.NamedTemporaryFile("r") as log:
            told = run([*pinned, "h2load", "-t1", f"-c{connections}", f"-m{scenario.streams}", f"-D{seconds}", f"--log-file={log.name}",
                        f"--tls13-ciphers={TLS_CIPHER}", *fields, address])
            return from_h2load(told, log.read(), seconds)
    return from_json(run([*pinned, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(HERE / "report.lua"),
                          *fields, address, "--", scenario.method, str(scenario.sent), "statuses" if warming else "no"]))


def run(command: list[str]) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[3]} did not end") from error
    if ran.returncode:
        raise Failed(f"{command[3]} ended with {ran.returncode}: {(ran.stderr or ran.stdout)[-500:]}")
    return ran.stdout


def from_json(printed: str) -> Got:
    """The last line of what wrk, with our script, or `sockets.py` printed."""
    try:
        told: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return Got(**told)
    except (IndexError, TypeError, ValueError) as error:
        raise Failed(f"no figures in what was printed: {printed[-500:]!r}") from error


def from_h2load(printed: str, log: str, seconds: float) -> Got:
    """What h2load printed, and its log: a line a request with its start, status and microseconds."""
    counts = re.search(r"^requests: \d+ total, \d+ started, (\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored, (\d+) timeout",
                       printed, re.MULTILINE)
    traffic = re.search(r"^traffic: \S+ \((\d+)\) total", printed, re.MULTILINE)
    if counts is None or traffic is None:
        raise Failed(f"h2load printed no figures: {printed[-500:]!r}")
    spoken = dict(re.findall(r"^(TLS Protocol|Cipher|Application protocol): (\S+)", printed, re.MULTILINE))
    if spoken != {"TLS Protocol": TLS_VERSION, "Cipher": TLS_CIPHER, "Application protocol": "h2"}:
        raise Failed(f"h2load was not to speak {spoken}")
    statuses: dict[str, int] = {}
    took = []
    for line in log.splitlines():
        _began, status, micros = line.split("\t")[:3]
        statuses[status] = statuses.get(status, 0) + 1
        took.append(float(micros))
    took.sort()
    # What h2load calls failed includes answers of 400 and above.
    failed, errored, timeouts = (int(counts[each]) for each in (2, 3, 4))
    refused = sum(times for status, times in statuses.items() if int(status) >= 400)
    return Got(int(counts[1]), seconds, percentile(took, 50), percentile(took, 99), int(traffic[1]), refused,
               max(failed - refused, 0) + errored + timeouts, statuses)
