"""The real gate in front of a Console of this folder, for tests.

A Console starts under gunicorn with the two lines, its decorators on, and the gate in front of it, both on Unix sockets.
Each test has a database of its own: a copy of one that is made once, with the Console's people and, where the gate is
`adopted`, the gate's tables and the roles and groups of `groups.sh`.
GATE=... names another binary than target/debug/console-gate.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any, Callable, ClassVar, Iterator, TypeVar
from unittest import mock

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Beside HERE, the folders of both Consoles, whose own functions fill the tables.
sys.path[:0] = [str(HERE), str(HERE / "atlas"), str(HERE / "brook")]

import psycopg  # noqa: E402

from drive import Answer, Browser, matrix, read_folder  # noqa: E402
from postgres import shared  # noqa: E402
from tier import in_tier  # noqa: E402
from werkzeug.routing import Map, Rule  # noqa: E402

GATE = Path(os.environ.get("GATE", ROOT / "target" / "debug" / "console-gate")).resolve()
START_SECONDS = 60
KEYS = {
    "CONSOLE_GATE_KEYS": "tests:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "CONSOLE_GATE_AUDIT_KEYS": "audit:OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=",
    "CONSOLE_GATE_PROBE_KEYS": "probe:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=",
    "CONSOLE_GATE_AUDIENCE": "console",
    "SECRET_KEY": "a secret of the tests",
    "CONSOLE_SECRET_KEY": "a secret of the tests",
}
SETTINGS = ("gate.toml", "routes.toml", "groups.sh", "people.json", "requests.json")
# Instead of half a second: for how long a gate looks at a changed mapping, and at one at its start.
SETTLE_MS = 50
T = TypeVar("T")
# `{person: {request: answer}}`, as `drive.matrix` returns it.
Matrix = dict[str, dict[str, str]]


class RealGate:
    """What is the same for both; `AtlasServed` and `BrookServed` make the database. Mixed into a `TestCase`."""

    folder: ClassVar[str]
    # Whether the gate has its tables, and its roles and groups, before the test begins.
    adopted: ClassVar[bool] = True
    database_url: str
    # The same for the gate that serves, which may be another role; and how `migrate` grants that one what it needs.
    serving_url: str
    grants: ClassVar[tuple[str, ...]] = ()
    # What the Console's own process needs.
    environment: dict[str, str]

    def setUp(self: Any) -> None:
        self.work = Path(tempfile.mkdtemp(prefix="gate-through-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        self.make_database()
        copy_settings(self.folder, self.work)
        self.direct, self.through, self.admin = (f"unix:{self.work}/{name}.sock" for name in ("console", "gate", "admin"))
        self.everything = {
            **os.environ, **KEYS, **self.environment, "USE_GATE": "1", "PYTHONPATH": str(ROOT / "deploy" / "flask"),
            "CONSOLE_GATE_DATABASE_URL": self.database_url, "CONSOLE_GATE_LISTEN": self.through,
            "CONSOLE_GATE_ADMIN": self.admin, "CONSOLE_GATE_UPSTREAM": self.direct, "ATLAS_BIND": self.direct,
            "BROOK_BIND": self.direct, "CREEK_BIND": self.direct, "ATLAS_WORKERS": in_tier(quick="1", full="2")}
        self.prepare()

    def prepare(self: Any) -> None:
        """The gate's tables, as the settings of this test have them, and the V2 roles and groups."""
        self.gate("migrate")
        if not self.adopted:
            run_groups(self.work, self.everything)

    def run_console(self: Any, *command: str) -> None:
        subprocess.run([sys.executable, *command], check=True, cwd=HERE / self.folder, env=self.everything)

    def gate(self: Any, *command: str, code: int = 0) -> str:
        """A command of the gate, and what it printed."""
        ran = self.gate_process(*command)
        self.assertEqual(ran.returncode, code, f"{command}\n{ran.stdout}{ran.stderr}")
        return ran.stdout + ran.stderr

    def gate_json(self: Any, *command: str, code: int = 0) -> Any:
        """The JSON that a command of the gate printed."""
        ran = self.gate_process(*command, "--format", "json")
        self.assertEqual(ran.returncode, code, f"{command}\n{ran.stdout}{ran.stderr}")
        return json.loads(ran.stdout)

    def gate_process(self: Any, *command: str) -> subprocess.CompletedProcess[str]:
        if command == ("migrate",):
            command += self.grants
        return subprocess.run([GATE, *command, "--config", "gate.toml"], cwd=self.work, env=self.everything,
                              capture_output=True, text=True, check=False)

    @contextlib.contextmanager
    def running(self: Any, *command: Any, cwd: Path, answers: str, path: str, **more: str) -> Iterator[None]:
        """A server, from when `path` is answered with 200 until the block ends."""
        log = self.log_of(command[0])
        with open(log, "ab") as output:
            server = subprocess.Popen([*map(str, command)], cwd=cwd, env={**self.everything, **more}, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not is_answered(answers, path):
                self.assertTrue(server.poll() is None and time.monotonic() < deadline,
                                f"{command[0]} did not start:\n{log.read_text(errors='replace')}")
                time.sleep(0.05)
            yield
        except Exception:
            # What failed may be no fault of this server's.
            print(f"{command[0]}, its last lines:", *log.read_text(errors="replace").splitlines()[-40:], sep="\n")
            raise
        finally:
            # At once: nobody is left whose requests it would have to finish.
            server.send_signal(signal.SIGINT)
            server.wait()

    def log_of(self: Any, program: Any) -> Path:
        return self.work / f"{Path(str(program)).name}.log"

    def console_running(self: Any) -> Any:
        gunicorn = Path(sys.executable).parent / "gunicorn"
        return self.running(gunicorn, f"{self.folder}:create_app()", cwd=HERE / self.folder, answers=self.direct, path="/healthz")

    def gate_running(self: Any) -> Any:
        return self.running(GATE, "serve", "--config", "gate.toml", cwd=self.work, answers=self.admin, path="/readyz",
                            CONSOLE_GATE_DATABASE_URL=self.serving_url)

    def ask(self: Any, base: str, *people: str) -> Matrix:
        """What everybody is answered, or `people`, by tables as they were seeded."""
        self.seed()
        return matrix(base, self.work, list(people) or None)

    def ask_each(self: Any, base: str, *people: str) -> Matrix:
        """The same with tables that were seeded for each person anew: nobody meets what another has changed."""
        answers: Matrix = {}
        for person in people or [person["name"] for person in read_folder(self.work)[0]]:
            answers.update(self.ask(base, person))
        return answers

    def route_of(self: Any, request: dict[str, Any]) -> str:
        """The row of a request, found by Werkzeug."""
        if not hasattr(self, "_urls"):
            table = tomllib.loads((self.work / "routes.toml").read_text(encoding="utf-8"))
            rows = [name for blueprint in table["blueprints"].values() for name in blueprint["routes"]]
            rules = [Rule(name.partition(" ")[2], endpoint=name, methods=[name.partition(" ")[0]]) for name in rows]
            self._urls = Map(rules).bind("console.internal")
        endpoint, _values = self._urls.match(request["path"].partition("?")[0], request["method"])
        return str(endpoint)

    def id_of(self: Any, name: str) -> str:
        return next(str(person["id"]) for person in read_folder(self.work)[0] if person["name"] == name)

    def set_clusters(self: Any, mode: str, *clusters: str, file: str = "routes.toml") -> None:
        """Writes another mapping with this mode for `clusters`, or for all; `rename`, because the gate may look at any moment."""
        head, rollout, rest = re.split(r"(?m)(?<=^\[clusters\]\n)((?:.+\n)+)", (self.work / "routes.toml").read_text(encoding="utf-8"),
                                       maxsplit=1)
        names = "|".join(clusters) or r"\w+"
        rollout, count = re.subn(rf'(?m)^({names}) = (?:"\w+"|\{{.*\}})$', rf'\1 = "{mode}"', rollout)
        self.assertGreaterEqual(count, max(1, len(clusters)), f"no such cluster among {clusters}")
        new = self.work / "routes.new"
        new.write_text(head + rollout + rest, encoding="utf-8")
        new.rename(self.work / file)

    def change_routes(self: Any, old: str, new: str) -> None:
        """Replaces a text of the mapping, in one step, and waits until the gate runs it."""
        routes, changed = self.work / "routes.toml", self.work / "routes.new"
        text = routes.read_text(encoding="utf-8")
        self.assertIn(old, text)
        changed.write_text(text.replace(old, new), encoding="utf-8")
        changed.rename(routes)
        until("the mapping is taken up", self.runs_the_file)

    def activate(self: Any, mode: str, *clusters: str) -> None:
        """The same, and waits until the gate runs it."""
        self.set_clusters(mode, *clusters)
        until("the mapping is taken up", self.runs_the_file)

    def runs_the_file(self: Any) -> bool:
        running = hashlib.sha256((self.work / "routes.toml").read_bytes()).hexdigest()
        lines = ask_once(self.admin, "/metrics").body.decode().splitlines()
        return any(line.startswith("gate_mapping_info{") and running in line and line.endswith(" 1") for line in lines)


def is_answered(base: str, path: str) -> bool:
    try:
        return ask_once(base, path).status == 200
    except OSError:
        return False


def ask_once(base: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    """One request of nobody's, over a connection of its own."""
    browser = Browser(base)
    try:
        return browser.ask(method, path, body, headers)
    finally:
        browser.close()


def until(what: str, look: Callable[[], T | None], seconds: float = 30) -> T:
    """What `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)
    return found


def copy_settings(folder: str, work: Path) -> None:
    for name in SETTINGS:
        shutil.copy(HERE / folder / name, work)
    settings = (work / "gate.toml").read_text(encoding="utf-8")
    assert "[mapping]\n" in settings
    (work / "gate.toml").write_text(settings.replace("[mapping]\n", f"[mapping]\nsettle_ms = {SETTLE_MS}\n"), encoding="utf-8")


def run_groups(work: Path, environment: dict[str, str]) -> None:
    run_quietly(["sh", "groups.sh"], work, {**environment, "GATE": f"{GATE} --config gate.toml"})


def run_quietly(command: list[Any], folder: Path, environment: dict[str, str]) -> None:
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"


def adopt(folder: str, url: str, *grants: str) -> None:
    """What an operator does once: the gate's tables in Console's database, and the roles and groups of `groups.sh`."""
    with tempfile.TemporaryDirectory(prefix="gate-adopt-", dir="/tmp") as work:
        copy_settings(folder, Path(work))
        environment = {**os.environ, **KEYS, "CONSOLE_GATE_DATABASE_URL": url}
        run_quietly([GATE, "migrate", *grants, "--config", "gate.toml"], Path(work), environment)
        run_groups(Path(work), environment)


def atlas_template() -> str:
    """The database with Atlas's tables and people that others are copies of."""
    return shared().template(f"atlas_{made_from('atlas')}", migrate_atlas)


@functools.cache
def made_from(folder: str, *programs: Path) -> str:
    """A word for what a database is made from: another Console or another gate makes another."""
    versions = [(program.stat().st_mtime_ns, program.stat().st_size) for program in programs]
    digest = hashlib.sha256(repr((KEYS, versions)).encode())
    for file in sorted((HERE / folder).rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


class AtlasServed(RealGate):
    folder = "atlas"
    # The gate serves with the rights that `migrate --grant-to` gives, and no other.
    grants = ("--grant-to", "gate_serving")

    def make_database(self: Any) -> None:
        template = atlas_template()
        if self.adopted:
            name = f"atlas_adopted_{made_from('atlas', GATE)}"
            template = shared().template(name, lambda url: adopt("atlas", url, *self.grants), template)
        self.database_url = shared().copy(template)
        self.serving_url = re.sub(r"(?<=//)[^@/]+(?=@)", "gate_serving", self.database_url)
        self.assertNotEqual(self.serving_url, self.database_url, "a role of the gate's own")
        self.environment = {"DATABASE_URL": self.database_url}

    def seed(self: Any) -> None:
        from atlas.seed import seed

        seed(self.database_url)


def migrate_atlas(url: str) -> None:
    """Atlas's tables with its people, and the role that the gate serves as."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DO $$ BEGIN CREATE ROLE gate_serving LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation"
                           " THEN NULL; END $$")
    # Here and not in a process of its own, which would load SQLAlchemy once more.
    from atlas import manage

    with mock.patch.dict(os.environ, DATABASE_URL=url):
        for command in ("migrate", "seed"):
            manage.main([command])


class BrookServed(RealGate):
    folder = "brook"

    def make_database(self: Any) -> None:
        file = self.work / "brook.db"
        shutil.copy(brook_database(self.adopted), file)
        self.database_url = self.serving_url = f"sqlite:{file}"
        self.environment = {"BROOK_DATABASE": str(file)}

    def seed(self: Any) -> None:
        from brook import seed

        seed(self.environment["BROOK_DATABASE"])


@functools.cache
def brook_database(adopted: bool) -> Path:
    """The file with Brook's tables and people that others are copies of."""
    from brook import init, seed

    folder = Path(tempfile.mkdtemp(prefix="gate-brook-", dir="/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "brook.db"
    init(str(file))
    seed(str(file))
    if adopted:
        adopt("brook", f"sqlite:{file}")
    # The gate's commands leave a write-ahead log; whoever closes the file last writes it back.
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert [one.name for one in folder.iterdir()] == ["brook.db"], "somebody has the file open"
    return file
