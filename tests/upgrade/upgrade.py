#!/usr/bin/env python3
"""An upgrade and its way back, with the binaries of two releases on one database, under traffic (docs/upgrades.md).

    .venv/bin/python tests/upgrade/upgrade.py [sqlite|postgres ...]

The previous release is the last tag `v*`, else the commit in tests/upgrade/previous. It is built in target/upgrade, once; the
first build takes some minutes. PREVIOUS=... names a binary of it instead, GATE=... another binary of this release.

On each database: two gates of the previous release serve; this release migrates; one gate is handed over to it and a further
one is started; both releases decide the same and hear of each other's changes; the previous one starts again on the new
schema; all gates are replaced; then everything goes back. Meanwhile callers ask all the time, and every answer has to be
the one that the previous release gave at the beginning.

Where both releases have the same migrations, one is invented: a column more in each of the gate's tables, and its row in the
ledger.
"""

from __future__ import annotations

import hashlib
import http.client
import http.server
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "consoles"))

from itsdangerous import URLSafeTimedSerializer  # noqa: E402
from ports import free_port  # noqa: E402
from postgres import Postgres  # noqa: E402

NEW = Path(os.environ.get("GATE", ROOT / "target" / "debug" / "console-gate")).resolve()
BUILD = ROOT / "target" / "upgrade"
PATIENCE = 60
SECRET = "a secret of the tests"
KEYS = {
    "CONSOLE_GATE_KEYS": "tests:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "CONSOLE_GATE_AUDIT_KEYS": "audit:OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=",
    "CONSOLE_SECRET_KEY": SECRET,
    "FLAG_RBAC_V2": "1",
    "RUST_MIN_STACK": "8388608",
}
ROUTES = """
version = 1
clusters = { V = "v2", L = "legacy", S = "shadow" }
[blueprints.open.routes]
"GET /public" = { public = true }
"GET /home" = { session = true }
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /v/user" = { legacy = ["ops"], role = "console-user" }
"GET,POST /v/manager" = { legacy = ["ops"], role = "console-manager" }
"GET /v/<int:number>/push" = { legacy = ["ops"], role = "console-user", freshness = "push" }
[blueprints.l]
cluster = "L"
[blueprints.l.routes]
"GET /l" = { legacy = ["ops"], role = "console-user" }
[blueprints.s]
cluster = "S"
[blueprints.s.routes]
"GET /s" = { legacy = ["ops"], role = "console-user" }
"""
REQUESTS = [("GET", "/public"), ("GET", "/home"), ("GET", "/v/user"), ("GET", "/v/manager"), ("POST", "/v/manager"),
            ("GET", "/v/7/push"), ("GET", "/v/x/push"), ("GET", "/l"), ("GET", "/s"), ("GET", "/nowhere")]
# Nobody, a member of a group, one with a legacy role, one with neither, and one who does not exist.
PEOPLE = ["", "anna", "olaf", "nina", "ghost"]
# Whose membership changes meanwhile.
CHANGING = "carl"
GROUP = "raxx-support-team"


class Console(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "6")
        self.end_headers()
        self.wfile.write(b"let in")

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        pass


def fail(why: str) -> None:
    raise SystemExit(f"upgrade: {why}")


def previous() -> Path:
    """A binary of the previous release."""
    if given := os.environ.get("PREVIOUS"):
        return Path(given).resolve()
    tag = subprocess.run(["git", "describe", "--tags", "--match", "v*", "--abbrev=0", "HEAD^"], cwd=ROOT, capture_output=True,
                         text=True, check=False).stdout.strip()
    wanted = tag or (ROOT / "tests" / "upgrade" / "previous").read_text(encoding="utf-8").strip()
    commit_id = subprocess.run(["git", "rev-parse", "--verify", f"{wanted}^{{commit}}"], cwd=ROOT, capture_output=True, text=True,
                               check=False).stdout.strip()
    if not commit_id:
        fail(f"{wanted} is not in this clone: fetch it (`git fetch --unshallow`), or name a binary in PREVIOUS")
    binary = BUILD / f"console-gate-{commit_id[:12]}"
    if not binary.is_file():
        print(f"upgrade: building the previous release, {wanted}", flush=True)
        source = BUILD / "source"
        BUILD.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "worktree", "remove", "--force", source], cwd=ROOT, capture_output=True, check=False)
        subprocess.run(["git", "worktree", "add", "--force", "--detach", source, commit_id], cwd=ROOT, check=True,
                       capture_output=True)
        try:
            subprocess.run(["cargo", "build", "--locked", "--bin", "console-gate"], cwd=source, check=True,
                           env={**os.environ, "CARGO_TARGET_DIR": str(BUILD / "target")})
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", source], cwd=ROOT, check=False)
        shutil.copy2(BUILD / "target" / "debug" / "console-gate", binary)
    return binary


def until(what: str, done: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (value := done()):
        if time.monotonic() > deadline:
            fail(f"{what}: not within {PATIENCE} s")
        time.sleep(0.02)
    return value


class Gate:
    """An address, and the process that serves at it now."""

    def __init__(self, upgrade: Upgrade, name: str) -> None:
        self.upgrade, self.name, self.port = upgrade, name, free_port()
        self.folder = upgrade.work / name
        self.folder.mkdir()
        self.write("")
        self.process: subprocess.Popen[bytes] | None = None
        self.number = 0

    def write(self, database: str) -> None:
        upgrade = self.upgrade
        (self.folder / "gate.toml").write_text(f"""
environment = "staging"
[listen]
proxy = "127.0.0.1:{self.port}"
admin = "unix:{self.folder}/admin.sock"
upgrade_socket = "{self.folder}/upgrade.sock"
[upstream]
servers = ["127.0.0.1:{upgrade.console}"]
[database]
url = "{upgrade.url}"
timeout_ms = 20000
{database}
[audit]
timeout_ms = 20000
spool_folder = "{self.folder}/spool"
[mapping]
file = "{upgrade.work}/routes.toml"
""", encoding="utf-8")

    def spawn(self, program: Path, *arguments: str) -> subprocess.Popen[bytes]:
        self.number += 1
        self.log = self.folder / f"log-{self.number}"
        with self.log.open("wb") as log:
            return subprocess.Popen([program, "serve", "--config", "gate.toml", *arguments], cwd=self.folder,
                                    env={**os.environ, **KEYS}, stdout=log, stderr=log)

    def start(self, program: Path) -> None:
        self.process = self.spawn(program)
        self.listens()

    def listens(self) -> None:
        def is_there() -> bool:
            if self.process is not None and self.process.poll() is not None:
                fail(f"{self.name} ended:\n{self.said()}")
            return "the gate listens" in self.said()

        until(f"{self.name} listens", is_there)
        self.upgrade.live.add(self)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def hand_over(self, program: Path) -> None:
        """To a process of another release, while callers ask."""
        old = self.process
        assert old is not None
        self.process = self.spawn(program, "--upgrade")
        until("the next gate waits", lambda: "waiting for the running gate's sockets" in self.said())
        old.send_signal(signal.SIGQUIT)
        self.listens()
        if old.wait(PATIENCE) != 0:
            fail(f"{self.name}: the one that handed over ended with {old.returncode}")

    def stop(self) -> None:
        """Nobody asks it any more by then."""
        assert self.process is not None
        self.upgrade.live.discard(self)
        self.upgrade.settle()
        self.process.terminate()
        if self.process.wait(PATIENCE) != 0:
            fail(f"{self.name} ended with {self.process.returncode}:\n{self.said()}")
        self.process = None


class Upgrade:
    def __init__(self, kind: str, url: str, work: Path, old: Path) -> None:
        self.kind, self.url, self.work, self.old = kind, url, work, old
        self.live: set[Gate] = set()
        self.expected: dict[tuple[str, str, str], int] = {}
        self.wrong: list[str] = []
        self.asked = 0
        self.busy = 0
        self.lock = threading.Lock()
        self.ends = threading.Event()
        console = Quiet(("127.0.0.1", 0), Console)
        threading.Thread(target=console.serve_forever, daemon=True).start()
        self.server, self.console = console, console.server_address[1]
        self.signer = URLSafeTimedSerializer(SECRET, salt="cookie-session",
                                             signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1})
        (work / "routes.toml").write_text(ROUTES, encoding="utf-8")

    # Asking.

    def ask(self, gate: Gate, method: str, path: str, who: str) -> int:
        headers = {"Host": "console.test", "Connection": "close"}
        if who:
            headers["Cookie"] = f"session={self.signer.dumps({'admin_id': who})}"
        connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=PATIENCE)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def matrix(self, gate: Gate) -> dict[tuple[str, str, str], int]:
        return {(method, path, who): self.ask(gate, method, path, who) for method, path in REQUESTS for who in PEOPLE}

    def callers(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=self.call, args=(number,), daemon=True) for number in range(4)]
        for thread in threads:
            thread.start()
        return threads

    def call(self, number: int) -> None:
        questions = sorted(self.expected)
        while not self.ends.is_set():
            with self.lock:
                gates = sorted(self.live, key=lambda gate: gate.name)
                self.busy += 1
            try:
                number += 1
                gate, question = gates[number % len(gates)], questions[(number * 7) % len(questions)]
                try:
                    found: Any = self.ask(gate, *question)
                except OSError as error:
                    found = repr(error)
                with self.lock:
                    self.asked += 1
                    if found != self.expected[question]:
                        self.wrong.append(f"{gate.name}: {question}: {found} instead of {self.expected[question]}")
            finally:
                with self.lock:
                    self.busy -= 1

    def settle(self) -> None:
        """Until every request has ended that was under way."""
        before = self.asked
        until("the callers go on", lambda: self.asked > before + 8)

    # Steps.

    def run(self, program: Path, *arguments: str) -> str:
        folder = next(iter(sorted(self.work.glob("gate-*"))))
        ran = subprocess.run([program, *arguments, "--config", "gate.toml"], cwd=folder, env={**os.environ, **KEYS},
                             capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            fail(f"{program.name} {' '.join(arguments)} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def step(self, what: str) -> None:
        if self.wrong:
            fail(f"{self.kind}: before `{what}`: {len(self.wrong)} wrong answers, such as {self.wrong[:5]}")
        print(f"upgrade: {self.kind}: {what} ({self.asked} requests so far)", flush=True)

    def same(self, *gates: Gate) -> None:
        for gate in gates:
            found = self.matrix(gate)
            differs = {question: (found[question], self.expected[question]) for question in found
                       if found[question] != self.expected[question]}
            if differs:
                fail(f"{self.kind}: {gate.name} decides otherwise than before: {differs}")

    def hears(self, program: Path, *gates: Gate) -> None:
        """A change by a command of one release is in force at every gate when the command returns."""
        for verb, status in (("remove", 403), ("add", 200)):
            self.run(program, "group", verb, GROUP, CHANGING)
            for gate in gates:
                for path in ("/v/user", "/v/7/push"):
                    if (found := self.ask(gate, "GET", path, CHANGING)) != status:
                        fail(f"{self.kind}: after `group {verb}` by {program.name}, {gate.name} answers {found} on {path}")

    def sql(self, *statements: str) -> list[Any]:
        if self.kind == "sqlite":
            with sqlite3.connect(self.url.removeprefix("sqlite:"), timeout=PATIENCE, isolation_level=None) as database:
                return [database.execute(statement).fetchall() for statement in statements]
        import psycopg

        with psycopg.connect(self.url, autocommit=True, options="-c search_path=console_gate,public") as database:
            cursors = [database.execute(statement) for statement in statements]
            return [cursor.fetchall() if cursor.description else [] for cursor in cursors[-1:]]

    def migrations(self) -> list[tuple[int, str]]:
        return [tuple(row) for row in self.sql("SELECT version, description FROM _sqlx_migrations ORDER BY version")[-1]]

    def invent(self, newest: int) -> None:
        """A migration as it may be: a column more everywhere, for releases that know `newest`."""
        if self.kind == "sqlite":
            tables = self.sql("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'gate\\_%' ESCAPE '\\'")[-1]
        else:
            tables = self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'console_gate' AND tablename LIKE 'gate\\_%'")[-1]
        for (table,) in tables:
            self.sql(f"ALTER TABLE {table} ADD COLUMN of_the_future TEXT")
        self.sql("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)"
                 f" SELECT 9000, 'columns of the future serves {newest:04}', success, checksum, 1 FROM _sqlx_migrations"
                 f" WHERE version = {newest}")

    def play(self) -> None:
        first, second = Gate(self, "gate-1"), Gate(self, "gate-2")
        third = Gate(self, "gate-3")
        self.run(self.old, "migrate", "--seed", "rbac-v2")
        for who in ("anna", "olaf", "nina", CHANGING):
            self.sql(f"INSERT INTO admins (id, email, display_name) VALUES ('{who}', '{who}@example.org', '{who}')")
        self.run(self.old, "group", "add", GROUP, "anna", CHANGING)
        self.sql("INSERT INTO admin_roles (admin_id, role, granted_by) VALUES ('olaf', 'ops', 'tests')")
        known = self.migrations()
        for gate in (first, second):
            gate.start(self.old)
        self.expected = self.matrix(first)
        if len(set(self.expected.values())) < 3:
            fail(f"the requests show nothing: {self.expected}")
        threads = self.callers()
        try:
            self.same(second)
            self.step("this release migrates")
            self.run(NEW, "migrate")
            unknown = [row for row in self.migrations() if row not in known]
            if not unknown:
                self.step("both have the same migrations; one is invented")
                self.invent(max(version for version, _ in known))
            self.settle()
            self.same(first, second)
            self.step("one gate is handed over to this release, and one is started")
            first.hand_over(NEW)
            third.start(NEW)
            self.same(first, second, third)
            self.step("changes by either release")
            self.hears(NEW, first, second, third)
            self.hears(self.old, first, second, third)
            self.step("the previous release starts on the new schema")
            second.stop()
            second.process = second.spawn(self.old)
            until("it listens or ends", lambda: "the gate listens" in second.said() or second.process.poll() is not None)
            if second.process.poll() is not None:
                print(f"upgrade: {self.kind}: it refuses: {second.said().strip().splitlines()[-1]}")
                print(f"upgrade: {self.kind}: with `newer_schema = \"serve\"`:")
                for gate in (first, second, third):
                    gate.write('newer_schema = "serve"')
                second.start(self.old)
            else:
                second.listens()
            self.same(second)
            self.hears(NEW, first, second, third)
            self.step("every gate is of this release")
            second.hand_over(NEW)
            self.same(first, second, third)
            self.step("the way back: every gate is of the previous release again")
            for gate in (first, second, third):
                gate.hand_over(self.old)
            self.same(first, second, third)
            self.hears(self.old, first, second, third)
            self.step("the audit of both")
            for program in (NEW, self.old):
                print("   ", self.run(program, "audit", "verify").strip().splitlines()[0])
        finally:
            self.ends.set()
            for thread in threads:
                thread.join(PATIENCE)
            for gate in (first, second, third):
                if gate.process is not None:
                    gate.process.kill()
                    gate.process.wait()
            self.server.shutdown()
            self.server.server_close()
        self.step("done")


def main() -> None:
    if not NEW.is_file():
        fail(f"{NEW} is not built")
    old = previous()
    kinds = sys.argv[1:] or ["sqlite", "postgres"]
    for kind in kinds:
        work = Path(tempfile.mkdtemp(prefix="gate-upgrade-", dir="/tmp"))
        try:
            if kind == "sqlite":
                Upgrade(kind, f"sqlite:{work}/gate.sqlite", work, old).play()
            else:
                with Postgres() as server:
                    Upgrade(kind, server.database(), work, old).play()
        finally:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
