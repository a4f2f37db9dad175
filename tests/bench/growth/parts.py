"""The curves: what each measures, and its table."""

from __future__ import annotations

import contextlib
import http.client
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))

import psycopg  # noqa: E402
from ground import ALLOWED, GATE, Ground, Spoiled, cookies, headers, resident, rounds  # noqa: E402
from simulate import BEATS, share  # noqa: E402
from tables import markdown  # noqa: E402
from scene import Peer  # noqa: E402

Figures = dict[str, Any]


@dataclass(frozen=True)
class Part:
    measure: Callable[[float, int], Figures]
    table: Callable[[Figures], str]


def loaded(ground: Ground, peer: Peer, connections: int, seconds: float, **more: Any) -> dict[str, float]:
    """One round: what the load saw, and what the gate and Postgres used."""
    cpu, postgres = peer.cpu_seconds(), ground.postgres_cpu()
    got = ground.load(peer, connections, seconds, **more)
    cpu, postgres = peer.cpu_seconds() - cpu, ground.postgres_cpu() - postgres
    return {"requests_per_second": got["requests"] / got["seconds"], "cpu_us": cpu * 1e6 / got["requests"],
            "postgres_us": postgres * 1e6 / got["requests"], "p50_us": got["p50_us"], "p99_us": got["p99_us"],
            "requests": got["requests"]}


# --- connections ---

def connections(seconds: float, number: int) -> Figures:
    rows = []
    with Ground() as ground:
        gates = {mode: ground.serve(ground.database(), mode) for mode in ("push", "strict")}
        for count in (1, 4, 16, 64, 256, 1024):
            def one(gate: Peer, count: int = count) -> dict[str, float]:
                return loaded(ground, gate, count, seconds)

            for gate in gates.values():
                ground.load(gate, count, 1)
            found = rounds(number, *[lambda gate=gate: one(gate) for gate in gates.values()])
            rows.append({"connections": count, **dict(zip(gates, found))})
        memory = {mode: gate.peak_memory() for mode, gate in gates.items()}
    return {"rows": rows, "peak_memory_bytes": memory}


def connections_table(figures: Figures) -> str:
    def cells(one: dict[str, float]) -> list[str]:
        return [f"{one['requests_per_second']:,.0f}", f"{one['cpu_us']:.1f}", f"{one['p50_us']:,.0f}, {one['p99_us']:,.0f}"]

    head = ["connections", *[f"{mode}: {what}" for mode in ("push", "strict") for what in ("requests/s", "CPU µs", "p50, p99 µs")]]
    table = markdown(head, [[f"{row['connections']:,}", *cells(row["push"]), *cells(row["strict"])] for row in figures["rows"]])
    memory = ", ".join(f"{mode} {size / 2**20:.0f} MiB" for mode, size in figures["peak_memory_bytes"].items())
    return f"{table}\n\nPeak memory of the gate: {memory}."


# --- rows of the mapping ---

def mapping_rows(seconds: float, number: int) -> Figures:
    counts = (100, 1_000, 10_000)
    with Ground() as ground:
        url = ground.database()
        gates, rows = [], []
        for count in counts:
            began = time.monotonic()
            gates.append(ground.serve(url, "push", rows=count))
            rows.append({"rows": count, "start_seconds": time.monotonic() - began})
        for gate, row in zip(gates, rows):
            row["memory_bytes"] = resident(gate)
            ground.load(gate, 64, 1)
        # The last row, so that nothing is found by being first.
        def one(gate: Peer, count: int) -> dict[str, float]:
            return loaded(ground, gate, 64, seconds, path=f"/console/area{count - 1}/7")

        found = rounds(number, *[lambda gate=gate, count=count: one(gate, count) for gate, count in zip(gates, counts)])
    return {"rows": [{**row, **figures} for row, figures in zip(rows, found)]}


def mapping_rows_table(figures: Figures) -> str:
    return markdown(
        ["rows", "from start to first answer", "memory before load", "CPU a request, µs", "requests/s", "p50, p99 µs"],
        [[f"{row['rows']:,}", f"{row['start_seconds']:.2f} s", f"{row['memory_bytes'] / 2**20:.0f} MiB", f"{row['cpu_us']:.1f}",
          f"{row['requests_per_second']:,.0f}", f"{row['p50_us']:,.0f}, {row['p99_us']:,.0f}"] for row in figures["rows"]])


# --- principals ---

# How many of them ask alone, and together.
ALONE, TOGETHER = 300, 8_000


def principals(seconds: float, _number: int) -> Figures:
    rows = []
    with Ground() as ground:
        for people in (10, 1_000, 100_000):
            url = ground.database(people)
            # Without the log of decisions: it would keep something of each principal as well.
            gate = ground.serve(url, "push", capacity=200_000, more="[decisions]\nlog = false")
            ground.load(gate, 16, 1)
            # Those who ask are spread over the table.
            step = max(1, people // (ALONE + TOGETHER))
            sessions = cookies([f"p{number}" for number in range(1, people, step)][:ALONE + TOGETHER])
            alone = sessions[:min(ALONE, len(sessions) // 2)]
            together = sessions[len(alone):]
            row: dict[str, Any] = {"principals": people}
            row["cold_alone"] = loaded(ground, gate, 1, 60, people=alone, most=len(alone))
            row["warm_alone"] = loaded(ground, gate, 1, seconds, people=alone)
            ground.load(gate, 16, 1, people=alone)
            memory, loads = resident(gate), ground.metric(gate, "gate_access_loads_total")
            row["cold_together"] = loaded(ground, gate, 16, 60, people=together, most=len(together))
            row["loads"] = ground.metric(gate, "gate_access_loads_total") - loads
            row["bytes_an_entry"] = (resident(gate) - memory) / max(1, row["loads"])
            row["warm_together"] = loaded(ground, gate, 16, seconds, people=together)
            cold, warm = row["cold_together"], row["warm_together"]
            row["postgres_us_a_load"] = (cold["postgres_us"] - warm["postgres_us"]) * cold["requests"] / max(1, row["loads"])
            rows.append(row)
            ground.stop(gate)
    return {"rows": rows}


def principals_table(figures: Figures) -> str:
    rows = []
    for row in figures["rows"]:
        many = row["principals"] > 100
        cold, warm = row["cold_together"], row["warm_together"]
        alone = [f"{row[kind]['p50_us']:,.0f}, {row[kind]['p99_us']:,.0f}" for kind in ("cold_alone", "warm_alone")]
        rows.append([f"{row['principals']:,}", *alone,
                     f"{cold['requests_per_second']:,.0f}" if many else "too few", f"{warm['requests_per_second']:,.0f}",
                     f"{row['postgres_us_a_load']:,.0f}" if many else "too few",
                     f"{row['bytes_an_entry']:,.0f}" if row["principals"] > 10_000 else "too few"])
    return markdown(["principals", "first request alone: p50, p99 µs", "later ones", "first requests/s, 16 connections", "later ones/s",
                     "Postgres CPU a load, µs", "bytes of the gate an entry"], rows)


# --- logins ---

class Logins:
    """So many logins a second: a row in Console's table of sessions, and the first request with it."""

    def __init__(self, ground: Ground, gate: Peer, url: str, rate: float, label: str) -> None:
        self.ground, self.gate, self.url, self.rate, self.label = ground, gate, url, rate, label
        self.seconds: list[float] = []
        self.wrong = 0
        self.ends = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(4)] if rate else []

    def __enter__(self) -> Logins:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.ends.set()
        for thread in self.threads:
            thread.join()

    def run(self, number: int) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self.gate.port, timeout=10)
        with psycopg.connect(self.url, autocommit=True) as database:
            database.execute("SET search_path = console_gate, public")
            each = len(self.threads) / self.rate
            due = time.monotonic() + each * number / len(self.threads)
            for login in range(1_000_000):
                if self.ends.wait(max(0.0, due - time.monotonic())):
                    return
                due += each
                person, session = f"p{(login * 4 + number) % 900 + 1}", f"s-{self.label}-{number}-{login}"
                database.execute("INSERT INTO admin_sessions (id, admin_id) VALUES (%s, %s)", [session, person])
                cookie = cookies([person], sid=session)[0]
                began = time.monotonic()
                client.request("GET", ALLOWED, headers=headers(cookie))
                response = client.getresponse()
                response.read()
                self.seconds.append(time.monotonic() - began)
                self.wrong += response.status != 200


def logins(seconds: float, number: int) -> Figures:
    rates = (0, 10, 50, 200)
    with Ground() as ground:
        url = ground.database(1_000)
        with psycopg.connect(url, autocommit=True) as database:
            database.execute("SET search_path = console_gate, public")
            database.execute("INSERT INTO admin_sessions (id, admin_id) VALUES ('steady', 'anna')")
        ground.session = cookies(["anna"], sid="steady")[0]
        gates = {mode: ground.serve(url, mode, more='[session]\nsession_id_key = "sid"') for mode in ("push", "strict")}
        turn = iter(range(1_000_000))

        def one(gate: Peer, rate: int) -> dict[str, float]:
            cpu, postgres, loads = gate.cpu_seconds(), ground.postgres_cpu(), ground.metric(gate, "gate_access_loads_total")
            with Logins(ground, gate, url, rate, str(next(turn))) as people, ground.loading(gate, 16, seconds) as got:
                time.sleep(seconds)
            if people.wrong:
                raise Spoiled(f"{people.wrong} logins were refused")
            made = len(people.seconds)
            return {"requests_per_second": got["requests"] / got["seconds"], "p50_us": got["p50_us"], "p99_us": got["p99_us"],
                    "cpu_us": (gate.cpu_seconds() - cpu) * 1e6 / (got["requests"] + made),
                    "postgres_cores": (ground.postgres_cpu() - postgres) / got["seconds"],
                    "loads_a_login": (ground.metric(gate, "gate_access_loads_total") - loads) / max(1, made),
                    "logins_per_second": made / got["seconds"],
                    "first_p50_us": share(people.seconds, 0.5) * 1e6 if made else 0,
                    "first_p99_us": share(people.seconds, 0.99) * 1e6 if made else 0}

        # All rates in turns too: what else the machine does must not look like a cost of logins.
        each = [(mode, rate) for rate in rates for mode in gates]
        found = rounds(number, *[lambda mode=mode, rate=rate: one(gates[mode], rate) for mode, rate in each])
    measured = dict(zip(each, found))
    return {"rows": [{"rate": rate, **{mode: measured[mode, rate] for mode in gates}} for rate in rates]}


def logins_table(figures: Figures) -> str:
    rows = []
    for mode in ("push", "strict"):
        without = figures["rows"][0][mode]["requests_per_second"]
        for row in figures["rows"]:
            one = row[mode]
            rows.append([mode, f"{one['logins_per_second']:,.0f}", f"{one['requests_per_second']:,.0f}",
                         f"{one['requests_per_second'] / without:.2f}", f"{one['p50_us']:,.0f}, {one['p99_us']:,.0f}",
                         f"{one['cpu_us']:.1f}",
                         f"{one['first_p50_us']:,.0f}, {one['first_p99_us']:,.0f}" if row["rate"] else "",
                         f"{one['loads_a_login']:.2f}" if row["rate"] else "", f"{one['postgres_cores']:.2f}"])
    return markdown(["", "logins/s", "other requests/s", "to none", "p50, p99 µs", "CPU of the gate a request, µs",
                     "first request: p50, p99 µs", "loads a login", "Postgres, cores"], rows)


# --- gates on one database ---

# Of each gate while all are loaded.
CLIENTS = 16
STATEMENTS = """SELECT coalesce(sum(calls) FILTER (WHERE query LIKE '%FROM gate_epoch e%'), 0) AS reads,
                       coalesce(sum(calls) FILTER (WHERE query LIKE '%INTO gate_instances%'), 0) AS renewals,
                       coalesce(sum(calls), 0) AS statements FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'"""


def counted(ground: Ground, database: psycopg.Connection[Any], during: Callable[[], None]) -> dict[str, float]:
    """What the database did meanwhile."""
    database.execute("SELECT pg_stat_statements_reset()")
    cpu, began = ground.postgres_cpu(), time.monotonic()
    during()
    took, cpu = time.monotonic() - began, ground.postgres_cpu() - cpu
    row = database.execute(STATEMENTS).fetchone()
    assert row is not None
    reads, renewals, statements = map(float, row)
    return {"reads": reads / took, "renewals": renewals / took, "statements": statements / took, "cores": cpu / took}


def raising(database: psycopg.Connection[Any], rate: float, seconds: float) -> int:
    """Raises the epoch so often, as any change of access does; returns how often."""
    began, times = time.monotonic(), 0
    while (due := began + times / rate) < began + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        database.execute("SELECT console_gate.gate_raise_epoch()")
        times += 1
    return times


def gates(seconds: float, number: int) -> Figures:
    rows: list[dict[str, Any]] = []
    quick, rate = 200, 100.0
    with Ground() as ground:
        for mode in ("strict", "push"):
            url = ground.database()
            with psycopg.connect(url, autocommit=True) as database:
                alone = counted(ground, database, lambda: raising(database, rate, seconds) and None)
                running: list[Peer] = []
                for count in (1, 2, 4):
                    while len(running) < count:
                        running.append(ground.serve(url, mode, staleness=quick))
                    row: dict[str, Any] = {"mode": mode, "gates": count}

                    def load_all() -> None:
                        with contextlib.ExitStack() as stack:
                            all_got = [stack.enter_context(ground.loading(gate, CLIENTS, seconds)) for gate in running]
                        row["requests_per_second"] = sum(got["requests"] / got["seconds"] for got in all_got)

                    load_all()
                    found = []
                    for _ in range(number):
                        loaded_now = counted(ground, database, load_all)
                        found.append({**loaded_now, "requests_per_second": row["requests_per_second"]})
                    middle = sorted(found, key=lambda one: one["requests_per_second"])[len(found) // 2]
                    row["loaded"] = middle
                    time.sleep(1)
                    row["idle"] = counted(ground, database, lambda: time.sleep(max(seconds, 3)))
                    row["changing"] = counted(ground, database, lambda: raising(database, rate, max(seconds, 3)) and None)
                    row["alone"] = alone
                    row["connections"] = len(database.execute(
                        "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'console-gate%'").fetchall())
                    rows.append(row)
                for gate in running:
                    ground.stop(gate)
    return {"rows": rows, "rate": rate, "staleness_ms": quick, "costs": gate_costs(rows, rate, quick)}


def a_change(row: Figures, rate: float) -> float:
    """Seconds of CPU of Postgres that a change takes because gates listen."""
    return max(0.0, row["changing"]["cores"] - row["idle"]["cores"] - row["alone"]["cores"]) / rate


def gate_costs(rows: list[dict[str, Any]], rate: float, staleness_ms: float) -> dict[str, float]:
    """Seconds of CPU of Postgres: of a read from strict gates under load; of a beat and of a change from most gates with push."""
    strict = [row for row in rows if row["mode"] == "strict"]
    read = sum(row["loaded"]["cores"] for row in strict) / sum(row["loaded"]["reads"] for row in strict)
    push = max((row for row in rows if row["mode"] == "push"), key=lambda row: row["gates"])
    without = next(row for row in strict if row["gates"] == push["gates"])
    beats = push["gates"] * BEATS * 1_000 / staleness_ms
    return {"read": read, "beat": max(0.0, push["idle"]["cores"] - without["idle"]["cores"]) / beats,
            "heard": a_change(push, rate) / push["gates"]}


def gates_table(figures: Figures) -> str:
    rows = []
    for row in figures["rows"]:
        load, idle, changing = row["loaded"], row["idle"], row["changing"]
        rows.append([row["mode"], row["gates"], f"{load['requests_per_second']:,.0f}", f"{load['reads']:,.0f}",
                     f"{load['requests_per_second'] / load['reads']:,.1f}" if load["reads"] else "",
                     f"{load['cores']:.2f}", f"{idle['statements']:.1f}, {idle['cores'] * 100:.1f}%",
                     f"{changing['statements']:,.0f}, {changing['cores'] * 100:.0f}%",
                     f"{a_change(row, figures['rate']) * 1e6:,.0f}", row["connections"]])
    beats = BEATS * 1_000 / figures["staleness_ms"]
    table = markdown(["", "gates", "requests/s of all", "reads of the epoch/s", "requests a read", "Postgres, cores",
                      "idle: statements/s, CPU of Postgres", f"{figures['rate']:.0f} changes/s: the same",
                      "CPU a change for all gates, µs", "connections"], rows)
    return (f"{table}\n\nThe leases are renewed {beats:.0f} times a second here (`max_staleness_ms = {figures['staleness_ms']}`), so that "
            "they can be seen; by default it is twice a second for each gate.")


# --- cores ---

def cores(seconds: float, number: int) -> Figures:
    rows = []
    with Ground() as ground:
        for mode in ("push", "strict"):
            url = ground.database()
            one, two = ground.serve(url, mode), ground.serve(url, mode, threads=2, cores="0,1")
            for gate in (one, two):
                ground.load(gate, 64, 1)
            found = rounds(number, *[lambda gate=gate: loaded(ground, gate, 64, seconds) for gate in (one, two)])
            rows.append({"mode": mode, "one": found[0], "two": found[1]})
    return {"rows": rows}


def cores_table(figures: Figures) -> str:
    rows = []
    for row in figures["rows"]:
        for word, what in (("one", "1, a core of its own"), ("two", "2, both cores, with load, upstream and Postgres on one of them")):
            one = row[word]
            rows.append([row["mode"], what, f"{one['requests_per_second']:,.0f}", f"{one['cpu_us']:.1f}",
                         f"{one['requests_per_second'] * one['cpu_us'] / 1e6:.2f}", f"{one['p50_us']:,.0f}, {one['p99_us']:,.0f}"])
    return markdown(["", "threads", "requests/s", "CPU a request, µs", "cores used", "p50, p99 µs"], rows)


PARTS: dict[str, Part] = {
    "connections": Part(connections, connections_table),
    "rows": Part(mapping_rows, mapping_rows_table),
    "principals": Part(principals, principals_table),
    "logins": Part(logins, logins_table),
    "gates": Part(gates, gates_table),
    "cores": Part(cores, cores_table),
}


# The load average that the bench has alone.
QUIET = 4.0


def made(known: Figures) -> str:
    """By what, and beside what else, the figures were measured."""
    loads = [figures["load_average"] for figures in known["figures"].values()]
    busy = "" if max(loads) < QUIET else " **Other programs kept the machine busy: the figures are too high, and vary.**"
    return (f"Measured with {known['gate']} on {known['cpu']}.{busy} Processes that ran or waited for a core at the end of each part (the load "
            f"average; the bench itself is 2 to 3): {', '.join(f'{one:.1f}' for one in loads)}.")


def processor() -> str:
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"


def version() -> str:
    return subprocess.run([GATE, "--version"], capture_output=True, text=True, check=True).stdout.strip()
