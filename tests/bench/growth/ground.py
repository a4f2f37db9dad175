"""Gates, databases and load for the curves: what `compare/scene.py` starts, and gates that differ in one thing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "compare"))

from peers import GATE, KEYS, upstreams  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402
from scene import LOAD_CORE, PEER_CORE, SECRET, Peer, Scene, headers  # noqa: E402

from ports import free_port  # noqa: E402

import psycopg  # noqa: E402
from itsdangerous import TimestampSigner, URLSafeTimedSerializer  # noqa: E402
from postgres import Postgres  # noqa: E402

REPORT = HERE.parent / "compare" / "report.lua"
PEOPLE = HERE / "people.lua"
ALLOW = next(one for one in SCENARIOS if one.name == "allow")
# A row in the middle of Console's, which everybody of these is granted, and one that nobody is.
ALLOWED, DENIED = "/console/customers/7/tickets", "/console/secrets"
SETTINGS = """environment = "development"
[listen]
proxy = "127.0.0.1:{port}"
admin = "unix:{folder}/admin.sock"
upgrade_socket = "{folder}/upgrade.sock"
threads = {threads}
[upstream]
servers = ["{upstream}"]
[database]
url = "{database}"
[mapping]
watch = false
[access]
freshness = "{freshness}"
cache_capacity = {capacity}
max_staleness_ms = {staleness}
{more}
"""
ROUTES = """version = 1
unmapped = "deny"
[clusters]
S1 = "v2"
[blueprints.customers]
cluster = "S1"
[blueprints.customers.routes]
"GET /console/customers/<id>/tickets" = {{ legacy = ["ops"], role = "console-user" }}
"GET /console/secrets" = {{ legacy = ["superadmin"], role = "console-secrets-admin" }}
{more}
[blueprints.health.routes]
"GET /healthz" = {{ public = true }}
"""
GROUP = "raxx-support-team"


class Spoiled(Exception):
    """A round that says nothing."""


def cookies(people: list[str], **more: str) -> list[str]:
    """Sessions as Flask signs them."""
    sha1 = __import__("hashlib").sha1
    serializer = URLSafeTimedSerializer(SECRET, salt="cookie-session", signer=TimestampSigner,
                                        signer_kwargs={"key_derivation": "hmac", "digest_method": sha1})
    return [str(serializer.dumps({"admin_id": one, "_fresh": True, **more})) for one in people]


class Ground(Scene):
    """An upstream and a Postgres that counts statements; gates as they are asked for."""

    def __init__(self) -> None:
        super().__init__({}, [])
        self.numbers = iter(range(1_000_000))

    def postgres(self) -> str:
        if self.server is None:
            self.server = self.closing.enter_context(Postgres("shared_preload_libraries=pg_stat_statements", "max_connections=300"))
            os.sched_setaffinity(self.server._server.pid, {LOAD_CORE})
        return self.server.database()

    def database(self, people: int = 1) -> str:
        """The URL of a migrated database in which so many admins are in one group: anna, and p1 and so on."""
        url = self.postgres()
        folder = self.folder / f"migrate{next(self.numbers)}"
        folder.mkdir()
        (folder / "gate.toml").write_text(self.settings(folder, 1, url))
        (folder / "routes.toml").write_text(ROUTES.format(more=""))
        self.command(folder, "migrate", "--seed", "rbac-v2")
        with psycopg.connect(url, autocommit=True) as database:
            database.execute("CREATE EXTENSION pg_stat_statements")
            database.execute("SET search_path = console_gate, public")
            # No trigger writes a row about each: no gate runs yet that would have to hear of it.
            database.execute("SET session_replication_role = replica")
            database.execute("INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.com')")
            database.execute("INSERT INTO admins (id, email) SELECT 'p' || n, 'p' || n || '@example.com' FROM generate_series(1, %s) n",
                             [people - 1])
            database.execute("INSERT INTO rbac_user_groups (user_id, group_id)"
                             " SELECT a.id, g.id FROM admins a, rbac_groups g WHERE g.name = %s", [GROUP])
            database.execute("ANALYZE")
        self.command(folder, "flag", "rbac-v2", "on")
        return url

    def command(self, folder: Path, *words: str) -> None:
        ran = subprocess.run([GATE, *words, "--config", "gate.toml"], cwd=folder, env={**os.environ, **KEYS},
                             capture_output=True, text=True, check=False)
        if ran.returncode:
            raise RuntimeError(f"{words}\n{ran.stdout}{ran.stderr}")

    def settings(self, folder: Path, port: int, url: str, freshness: str = "strict", threads: int = 1, capacity: int = 10_000,
                 staleness: int = 2_000, more: str = "") -> str:
        return SETTINGS.format(folder=folder, port=port, database=url, upstream=upstreams(self)[0], freshness=freshness, threads=threads,
                               capacity=capacity, staleness=staleness, more=more)

    def serve(self, url: str, freshness: str, *, rows: int = 100, cores: str = str(PEER_CORE), **settings: Any) -> Peer:
        """A gate that answers."""
        number = next(self.numbers)
        name, port = f"gate{number}", free_port()
        folder = self.folder / name
        folder.mkdir()
        more = "\n".join(f'"GET /console/area{row}/<id>" = {{ legacy = ["ops"], role = "console-user" }}' for row in range(rows))
        (folder / "routes.toml").write_text(ROUTES.format(more=more))
        (folder / "gate.toml").write_text(self.settings(folder, port, url, freshness, **settings))
        # `taskset` takes a list of cores as well as one.
        process = self.start(name, cores, [GATE, "serve", "--config", "gate.toml"], folder, **KEYS)  # type: ignore[arg-type]
        peer = Peer(name, port, [process])
        self.scenarios.append(replace(ALLOW, peers=(name,)))
        self.await_answers(peer)
        return peer

    def stop(self, peer: Peer) -> None:
        for process in peer.processes:
            process.terminate()
            process.wait(30)
            self.started.remove(process)

    def load(self, peer: Peer, connections: int, seconds: float, path: str = ALLOWED, people: list[str] | None = None,
             most: int = 0) -> dict[str, Any]:
        """Requests of anna for so long; or of many people, until so many are answered."""
        with self.loading(peer, connections, seconds, path, people, most) as loading:
            pass
        return loading

    @contextlib.contextmanager
    def loading(self, peer: Peer, connections: int, seconds: float, path: str = ALLOWED, people: list[str] | None = None,
                most: int = 0, session: str | None = None) -> Iterator[dict[str, Any]]:
        """The same beside what the block does; the figures are there after it."""
        command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s",
                   "-s", str(PEOPLE if people else REPORT)]
        for name, value in headers(session or self.session).items():
            command += ["-H", f"{name}: {value}"]
        command.append(f"http://127.0.0.1:{peer.port}{path}")
        if people:
            file = self.folder / f"cookies{next(self.numbers)}"
            file.write_text("\n".join(people) + "\n")
            command += ["--", str(file), path, str(most)]
        got: dict[str, Any] = {}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            yield got
            out, error = process.communicate()
        if process.returncode:
            raise RuntimeError(f"wrk: {error}{out}")
        got |= json.loads(out.splitlines()[-1])
        if got["broken"] or got["at_least_400"] or not got["requests"]:
            raise Spoiled(f"{peer.name}: {got}")

    def postgres_cpu(self) -> float:
        """Seconds of CPU of the server and all its processes, those that have ended too."""
        root = self.server._server.pid
        ticks = sum(map(int, stat(root)[13:15]))
        for pid in Peer("postgres", 0, [self.server._server]).pids():
            with contextlib.suppress(OSError):
                ticks += sum(map(int, stat(pid)[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def metric(self, peer: Peer, name: str) -> float:
        """The sum of a metric's series."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / peer.name / "admin.sock"))
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return sum(float(value) for value in re.findall(rf"(?m)^{name}(?:\{{[^}}]*\}})? (\S+)", text))


def stat(pid: int) -> list[str]:
    """The fields of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def resident(peer: Peer) -> int:
    """Bytes that are resident now."""
    text = Path(f"/proc/{peer.processes[0].pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) * 1024  # type: ignore[union-attr]


def rounds(number: int, *measures: Callable[[], dict[str, float]]) -> list[dict[str, float]]:
    """Medians of what each measures, in turns."""
    kept: list[list[dict[str, float]]] = [[] for _ in measures]
    spoiled = 0
    while any(len(one) < number for one in kept):
        for one, measure in zip(kept, measures):
            try:
                one.append(measure())
            except Spoiled as error:
                spoiled += 1
                print(f"spoiled: {error}", file=sys.stderr)
                if spoiled > max(3, number * len(measures) // 2):
                    raise SystemExit("bench: too many rounds were spoiled; nothing is reported") from error
    return [{key: statistics.median(figures[key] for figures in one) for key in one[0]} for one in kept]
