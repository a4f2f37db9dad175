"""Both Consoles, decorators on, behind the real gate: from `legacy` to `v2` and back.

    python -m unittest test_through_gate       in this folder; GATE=... names another binary than target/debug/console-gate

Each Console starts under gunicorn with the two lines, the gate in front of it, both on Unix sockets. The matrix through
the gate must be Console's own, in `legacy` and in `v2`; what V2 gives more is given, and is gone when the flag is off.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import test_two_lines  # noqa: E402
from drive import Browser, differences, matrix, read_folder  # noqa: E402

GATE = Path(os.environ.get("GATE", ROOT / "target" / "debug" / "console-gate")).resolve()
START_SECONDS = 60
KEYS = {
    "CONSOLE_GATE_KEYS": "tests:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "CONSOLE_GATE_AUDIT_KEYS": "audit:OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=",
    "CONSOLE_GATE_AUDIENCE": "console",
    "SECRET_KEY": "a secret of the tests",
    "CONSOLE_SECRET_KEY": "a secret of the tests",
}


class ThroughGate:
    """What is the same for both; the classes of `test_two_lines` say who gains what."""

    database_url: str

    def setUp(self: Any) -> None:
        self.work = Path(tempfile.mkdtemp(prefix="gate-through-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        for name in ("gate.toml", "routes.toml", "groups.sh", "people.json", "requests.json"):
            shutil.copy(HERE / self.folder / name, self.work)
        self.direct, self.through, self.admin = (f"unix:{self.work}/{name}.sock" for name in ("console", "gate", "admin"))
        self.everything = {
            **os.environ, **KEYS, **self.environment, "USE_GATE": "1", "PYTHONPATH": str(ROOT / "deploy" / "flask"),
            "CONSOLE_GATE_DATABASE_URL": self.database_url, "CONSOLE_GATE_LISTEN": self.through,
            "CONSOLE_GATE_ADMIN": self.admin, "CONSOLE_GATE_UPSTREAM": self.direct, "ATLAS_BIND": self.direct,
            "BROOK_BIND": self.direct}
        self.run_console(*self.seed_command)
        self.gate("migrate")
        script = subprocess.run(["sh", "groups.sh"], cwd=self.work, capture_output=True, text=True, check=False,
                                env={**self.everything, "GATE": f"{GATE} --config gate.toml"})
        self.assertEqual(script.returncode, 0, script.stdout + script.stderr)

    def run_console(self: Any, *command: str) -> None:
        subprocess.run([sys.executable, *command], check=True, cwd=HERE / self.folder, env=self.everything)

    def gate(self: Any, *command: str) -> str:
        """A command of the gate, and what it printed."""
        ran = subprocess.run([GATE, *command, "--config", "gate.toml"], cwd=self.work, env=self.everything, capture_output=True,
                             text=True, check=False)
        self.assertEqual(ran.returncode, 0, f"{command}\n{ran.stdout}{ran.stderr}")
        return ran.stdout + ran.stderr

    @contextlib.contextmanager
    def running(self: Any, *command: Any, cwd: Path, answers: str, path: str) -> Iterator[None]:
        """A server, from when `path` is answered with 200 until the block ends."""
        log = self.work / f"{Path(str(command[0])).name}.log"
        with open(log, "ab") as output:
            server = subprocess.Popen([*map(str, command)], cwd=cwd, env=self.everything, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not is_answered(answers, path):
                self.assertTrue(server.poll() is None and time.monotonic() < deadline,
                                f"{command[0]} did not start:\n{log.read_text(errors='replace')}")
                time.sleep(0.05)
            yield
        except Exception:
            print(f"{command[0]}, its last lines:", *log.read_text(errors="replace").splitlines()[-40:], sep="\n")
            raise
        finally:
            server.terminate()
            server.wait()

    def console_running(self: Any) -> Any:
        gunicorn = Path(sys.executable).parent / "gunicorn"
        return self.running(gunicorn, f"{self.folder}:create_app()", cwd=HERE / self.folder, answers=self.direct, path="/healthz")

    def gate_running(self: Any) -> Any:
        return self.running(GATE, "serve", "--config", "gate.toml", cwd=self.work, answers=self.admin, path="/readyz")

    def ask(self: Any, base: str, *people: str) -> dict[str, dict[str, str]]:
        self.run_console(*self.seed_command)
        return matrix(base, self.work, list(people) or None)

    def set_clusters(self: Any, mode: str) -> None:
        """Writes another mapping; `rename`, because the gate may look at any moment."""
        routes = self.work / "routes.toml"
        head, clusters, rest = re.split(r"(?m)(?<=^\[clusters\]\n)((?:.+\n)+)", routes.read_text(encoding="utf-8"), maxsplit=1)
        new = self.work / "routes.new"
        new.write_text(head + re.sub(r'"\w+"', f'"{mode}"', clusters) + rest, encoding="utf-8")
        new.rename(routes)

    def test_from_legacy_to_v2_and_back(self: Any) -> None:
        person = next(person for person in read_folder(self.work)[0] if person["name"] == self.person)
        with self.console_running():
            direct = self.ask(self.direct)
            with self.gate_running():
                self.assertEqual(differences(direct, self.ask(self.through)), [], "legacy")
            self.set_clusters("v2")
            with self.gate_running():
                self.assertEqual(differences(direct, self.ask(self.through)), [], "v2, and the flag is off")
                self.gate("flag", "rbac-v2", "on")
                self.assertEqual(differences(direct, self.ask(self.through)), [], "v2")

                self.gate("group", "add", self.group, str(person["id"]), "--reason", "covers for somebody")
                mine = self.ask(self.through, self.person)[self.person]
                self.assertEqual({request: mine[request] for request in self.gained}, self.gained)
                self.assertEqual({request: mine[request] for request in self.never_gained}, self.never_gained)

                # Console's own table of people is not the gate's to write: the gate keeps the person out by itself.
                self.gate("admin", "disable", str(person["id"]))
                out = self.ask(self.through, self.person)[self.person]
                for request in self.gained:
                    self.assertRegex(out[request], r"^(302 /|401)", request)
                self.gate("admin", "enable", str(person["id"]))

                self.gate("flag", "rbac-v2", "off")
                self.assertEqual(differences(direct, self.ask(self.through)), [], "the kill-switch")
                self.gate("flag", "rbac-v2", "on")
                self.gate("group", "remove", self.group, str(person["id"]), "--reason", "is back")
                self.assertEqual(differences(direct, self.ask(self.through)), [], "after the group was left")


def is_answered(base: str, path: str) -> bool:
    browser = Browser(base)
    try:
        return browser.ask("GET", path).status == 200
    except OSError:
        return False
    finally:
        browser.close()


class AtlasThroughGate(ThroughGate, unittest.TestCase):
    folder, seed_command = test_two_lines.Atlas.folder, test_two_lines.Atlas.seed_command
    person, group = test_two_lines.Atlas.person, test_two_lines.Atlas.group
    gained, never_gained = test_two_lines.Atlas.gained, test_two_lines.Atlas.never_gained
    environment: dict[str, str] = {}

    def setUp(self) -> None:
        server = test_two_lines.Postgres().__enter__()
        self.addCleanup(server.__exit__)
        self.database_url = server.database()
        self.environment = {"DATABASE_URL": self.database_url}
        subprocess.run([sys.executable, "-m", "atlas.manage", "migrate"], check=True, cwd=HERE / "atlas",
                       env={**os.environ, **self.environment})
        super().setUp()


class BrookThroughGate(ThroughGate, unittest.TestCase):
    folder, seed_command = test_two_lines.Brook.folder, test_two_lines.Brook.seed_command
    person, group = test_two_lines.Brook.person, test_two_lines.Brook.group
    gained, never_gained = test_two_lines.Brook.gained, test_two_lines.Brook.never_gained
    environment: dict[str, str] = {}

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = f"{folder.name}/brook.db"
        self.database_url, self.environment = f"sqlite:{file}", {"BROOK_DATABASE": file}
        subprocess.run([sys.executable, "brook.py", "init"], check=True, cwd=HERE / "brook", env={**os.environ, **self.environment})
        super().setUp()


if __name__ == "__main__":
    unittest.main()
