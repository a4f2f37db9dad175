"""What a run found, as a file that programs read and as tables."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any, Iterable

from scenarios import FLASKS, PROXIES, SCENARIOS

TITLES = {
    "nginx": "nginx, no check", "haproxy": "haproxy with maps", "nginx-auth": "nginx with auth_request",
    "gate-push": "**gate, push**", "gate-push-unsynced": "**gate, push**, Postgres with `fsync = off`",
    "gate-strict": "**gate, strict, Postgres**", "gate-strict-sqlite": "**gate, strict, SQLite**",
    "gate-push-sqlite": "**gate, push, SQLite**",
    "flask": "no check", "flask-sqlite": "a decorator with a statement on SQLite", "flask-sqlalchemy": "a decorator with SQLAlchemy",
    "flask-gate-push": "**gate, push**, the app alone behind it", "flask-gate-strict": "**gate, strict**, the app alone behind it",
    "flask-gate-push-middleware": "**gate, push**, with the WSGI middleware",
    "flask-gate-strict-middleware": "**gate, strict**, with the WSGI middleware",
    "flask-gate-push-lines": "**gate, push**, with the two lines",
}
MIB = 1024 * 1024
DIGITS = {"cpu_us": 1, "cpu_us_least": 1, "cpu_us_most": 1, "cpu_ratio": 3, "requests_ratio": 3, "requests_per_second": 0, "p50_us": 0,
          "p99_us": 0}
# Figures of one file are of one run of each part, of these.
SAME = ("commit", "gate", "machine")
Results = dict[str, Any]


def rounded(figure: dict[str, Any]) -> dict[str, Any]:
    """A figure as `rounds.compare` returns it, with no more digits than it is worth, and memory in MiB."""
    peers = {}
    for name, measured in figure["peers"].items():
        one: dict[str, Any] = {}
        for key, value in measured.items():
            if key == "peak_memory":
                one["peak_memory_mib"] = round(value / MIB, 1)
            else:
                one[key] = int(round(value)) if DIGITS[key] == 0 else round(value, DIGITS[key])
        peers[name] = one
    return {**figure, "peers": peers}


def machine() -> str:
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    kernel = platform.release().partition("-")[0]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, Linux {kernel}"


def commit(root: Path) -> str:
    """The revision that was measured; `+` where files of it were changed."""
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+" if changed else "")


def merged(before: Results | None, now: Results) -> Results:
    """A run of some parts, with the other parts of a run before of the same commit on the same machine."""
    if before is None or any(before.get(key) != now[key] for key in SAME):
        return now
    result = {**now}
    for kind in ("figures", "syscalls", "instructions", "idle_memory_mib"):
        # What is refused now was no better before.
        kept = {key: value for key, value in before[kind].items() if kind not in now["refused"]
                and not (kind == "figures" and key in now["refused"])}
        result[kind] = {**kept, **now[kind]}
    measured = {*now["figures"], *(kind for kind in ("syscalls", "instructions") if now[kind])}
    still = {key: why for key, why in before["refused"].items() if key not in measured and key.partition(", ")[0] not in measured}
    result["refused"] = still | now["refused"]
    result["command"] = "; ".join(dict.fromkeys([*before["command"].split("; "), now["command"]]))
    return result


def read(file: Path) -> Results | None:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def laid_out(value: Any, indent: str = "") -> str:
    """JSON with one line for each object that holds no other."""
    if not isinstance(value, dict) or not any(isinstance(one, dict) for one in value.values()):
        return json.dumps(value, ensure_ascii=False)
    inner = indent + " "
    lines = [f"{inner}{json.dumps(key)}: {laid_out(one, inner)}" for key, one in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + indent + "}"


def row(cells: Iterable[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def table(head: list[str], rows: Iterable[Iterable[Any]]) -> str:
    return "\n".join([row(head), "|" + "---|" * len(head), *map(row, rows)])


def by_name(peers: Iterable[str]) -> list[str]:
    """In the order of the tables."""
    order = [*PROXIES, "gate-push-unsynced", "gate-push-sqlite", *FLASKS]
    return sorted(peers, key=lambda name: order.index(name) if name in order else len(order))


def detail(figure: dict[str, Any]) -> str:
    """One figure, with everything that was measured."""
    return table(
        ["", "CPU a request (µs)", "spread", f"to {figure['base']}", "requests/s", f"to {figure['base']}", "p50 µs", "p99 µs", "peak MiB"],
        ([TITLES.get(name, name), f"{one['cpu_us']:,.1f}", f"{one['cpu_us_least']:,.1f} to {one['cpu_us_most']:,.1f}", ratio(one, "cpu_ratio"),
          f"{one['requests_per_second']:,}", ratio(one, "requests_ratio"), f"{one['p50_us']:,}", f"{one['p99_us']:,}",
          one["peak_memory_mib"]]
         for name, one in ((name, figure["peers"][name]) for name in by_name(figure["peers"]))))


def ratio(figures: dict[str, Any], key: str) -> str:
    return f"{figures[key]:.2f}" if key in figures else ""


def matrix(results: Results, scenarios: list[str]) -> str:
    """Peers by numbers of connections: CPU a request in µs, its ratio, requests a second."""
    figures = sorted(((int(key.rpartition(", ")[2]), figure) for key, figure in results["figures"].items()
                      if key.rpartition(", ")[0] in scenarios), key=lambda one: one[0])
    head = ["", *(f"{connections:,} connection{'s' * (connections != 1)}" for connections, _ in figures)]
    names = by_name(dict.fromkeys(name for _, figure in figures for name in figure["peers"]))
    rows = []
    for name in names:
        cells = []
        for _, figure in figures:
            one = figure["peers"].get(name)
            beside = f" ({ratio(one, 'cpu_ratio')})" if one and "cpu_ratio" in one else ""
            cells.append(f"{one['cpu_us']:,.1f}{beside}, {one['requests_per_second']:,}" if one else "")
        rows.append([TITLES.get(name, name), *cells])
    return table(head, rows)


def memory(results: Results) -> str:
    """What each peer has before the first request, and the most that it had in a figure."""
    encrypted = {scenario.name for scenario in SCENARIOS if scenario.scene == "tls"}
    most: dict[str, float] = {}
    for key, figure in results["figures"].items():
        for name, one in figure["peers"].items():
            kept = peer_of(name, key.rpartition(", ")[0] in encrypted)
            most[kept] = max(one["peak_memory_mib"], most.get(kept, 0))
    rows = []
    for kept in by_name(results["idle_memory_mib"]):
        name, _, tls = kept.partition(", ")
        title = ("Flask: " if name in FLASKS else "") + TITLES.get(name, name) + (f", {tls}" if tls else "")
        rows.append([title, results["idle_memory_mib"][kept], most.get(kept, "")])
    return table(["", "idle", "most under load"], rows)


def peer_of(name: str, tls: bool) -> str:
    """A peer, by the name under which its memory is kept: with TLS it is another process."""
    return f"{name}, TLS" if tls else name


def page(results: Results) -> str:
    """The Markdown page of a run."""
    figures = results["figures"]
    parts = ["# The bench", "",
             f"Made by `{results['command']}` of commit {results['commit']} on {results['machine']}, {results['taken']}. "
             f"{results['versions']}.", "",
             "Proxies: each cell is CPU a request in µs (ratio to the peer that is named), requests a second; medians."]
    if results["refused"]:
        parts += ["", "Not reported:", "", *(f"- {key}: {why.splitlines()[0]}" for key, why in results["refused"].items())]
    if any(key.startswith("allow") for key in figures):
        parts += ["", "## Allowed: a page of 1 KiB (to nginx without a check)", "", matrix(results, ["allow-1", "allow", "allow-1024"])]
    if any(key.startswith("deny") for key in figures):
        parts += ["", "## Denied: 403 with what the peer records of it (to nginx with auth_request)", "",
                  "The gate's denials have their committed audit row; haproxy and nginx record nothing. Postgres is reached over TCP and runs with"
                  " `fsync = on`, but where the row says otherwise.", "", matrix(results, ["deny"])]
    for scenario in SCENARIOS:
        if scenario.name in ("allow-1", "allow", "allow-1024", "deny"):
            continue
        for key, connections in scenario.figures():
            if key in figures:
                parts += ["", f"## {scenario.title}: {connections:,} connections", "", detail(figures[key])]
    if results["syscalls"] or results["instructions"]:
        columns = {**{f"system calls: {key}": one for key, one in results["syscalls"].items()},
                   **{f"user instructions: {key}": one for key, one in results["instructions"].items()}}
        names = by_name(dict.fromkeys(name for one in columns.values() for name in one))
        parts += ["", "## Counted, a request", "", table(
            ["", *columns], ([TITLES.get(name, name), *(f"{one[name]:,}" if name in one else "" for one in columns.values())]
                             for name in names))]
    if results["idle_memory_mib"]:
        parts += ["", "## Resident memory (MiB, of all processes of a peer)", "", memory(results)]
    return "\n".join(parts) + "\n"
