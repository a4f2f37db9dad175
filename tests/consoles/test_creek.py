"""Creek, which is written as strangers write Flask: by itself, and behind the gate from `legacy` to `v2`."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import shutil
import sqlite3
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CREEK = HERE / "creek"
sys.path[:0] = [str(HERE), str(CREEK)]

from creek import create_app, init, seed  # noqa: E402
from drive import Browser, arrive, differences, read_folder  # noqa: E402
from real_gate import RealGate, adopt  # noqa: E402

PEOPLE = {person["name"]: person for person in read_folder(CREEK)[0]}
SCRIPT = read_folder(CREEK)[1]


class Creek(unittest.TestCase):
    """As its team knows it, without the gate."""

    def test_who_gets_where(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = f"{folder.name}/creek.db"
        init(file)
        seed(file)
        app = create_app(file, "a secret of the tests")
        table = [
            # method, path, anonymous, admin, librarian, reader, kiosk, desk, a token that nobody knows
            ("GET", "/", 302, 200, 200, 200, 302, 302, 302),
            ("GET", "/reports", 403, 200, 403, 403, 403, 403, 403),
            ("PATCH", "/books/1", 302, 200, 200, 302, 302, 302, 302),
            ("DELETE", "/books/9", 302, 204, 302, 302, 302, 302, 302),
            ("GET", "/api/books", 401, 200, 200, 200, 200, 200, 401),
            ("PATCH", "/api/books/1", 401, 200, 200, 403, 403, 200, 401),
            ("POST", "/api/books/1/lend", 401, 200, 200, 403, 403, 200, 401),
        ]
        clients = {}
        for name, person in PEOPLE.items():
            client, headers = app.test_client(), {}
            if "bearer" in person:
                headers = {"Authorization": f"Bearer {person['bearer']}"}
            elif "password" in person:
                client.post("/login", data={"name": person["login"], "password": person["password"]})
                headers = {"X-CSRF-Token": client.get_cookie("creek_csrf").value}
            clients[name] = client, headers
        for method, path, *wanted in table:
            with self.subTest(f"{method} {path}"):
                got = [client.open(path, method=method, headers=headers).status_code for client, headers in clients.values()]
                self.assertEqual(got, wanted)


class CreekServed(RealGate):
    folder = "creek"

    def make_database(self: Any) -> None:
        file = self.work / "creek.db"
        shutil.copy(creek_database(), file)
        self.file, self.database_url = str(file), f"sqlite:{file}"
        self.serving_url = self.database_url
        self.environment = {"CREEK_DATABASE": str(file)}

    def seed(self: Any) -> None:
        seed(self.file)


@functools.cache
def creek_database() -> Path:
    """The file with Creek's tables and people and the gate's, of which each test has a copy."""
    folder = Path(tempfile.mkdtemp(prefix="gate-creek-", dir="/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "creek.db"
    init(str(file))
    seed(str(file))
    adopt("creek", f"sqlite:{file}")
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file


class BehindTheGate(CreekServed, unittest.TestCase):
    # What the gate asks before Creek asks for the CSRF token: who may not have the route is told so first. The same list is
    # in docs/requests.md.
    WITHOUT_CSRF = {
        "reader: PATCH /books/1: 400 / 302 /login",
        "reader: DELETE /books/9: 400 / 302 /login",
        "librarian: DELETE /books/9: 400 / 302 /login",
        "reader: PATCH /api/books/1: 400 / 403",
        "reader: POST /api/books/1/lend: 400 / 403",
    }

    def test_from_legacy_to_v2_and_back(self) -> None:
        with self.console_running():
            direct = self.ask(self.direct)
            with self.gate_running():
                self.assertEqual(differences(direct, self.ask(self.through)), [], "legacy")
                self.gate("flag", "rbac-v2", "on")
                self.activate("v2")
                self.assertEqual(differences(direct, self.ask(self.through)), [], "v2")
                self.csrf_and_side_effects_stay()
                self.gate("flag", "rbac-v2", "off")
                self.assertEqual(differences(direct, self.ask(self.through)), [], "the kill-switch")

    def csrf_and_side_effects_stay(self) -> None:
        """What Creek's decorators do besides asking for a permission is done in V2, for whom V2 alone lets in as well."""
        self.gate("group", "add", "editors", "3", "--reason", "V2 gives more than Creek's roles")
        self.seed()
        reader, desk, librarian = (self.arrived(name) for name in ("reader", "desk", "librarian"))
        token = {"X-CSRF-Token": reader.cookies["creek_csrf"], "Content-Type": "application/json"}
        asked = [("PATCH", "/api/books/1"), ("PATCH", "/books/1")]
        self.assertEqual([reader.ask(*each, b"{}").status for each in asked], [400, 400], "without a CSRF token")
        answers = [reader.ask(*each, b'{"title": "Emma"}', token) for each in asked]
        self.assertEqual([(answer.status, json.loads(answer.body)["by"]) for answer in answers], [(200, "rea")] * 2)
        # Of the two permissions V2 gives one; and the view's own question is Creek's.
        self.assertEqual(reader.ask("POST", "/api/books/1/lend", b"{}", token).status, 403)
        self.assertFalse(json.loads(reader.ask("GET", "/books/1").body)["edit"])
        self.gate("group", "remove", "editors", "3", "--reason", "is back")
        self.assertEqual(json.loads(desk.ask("PATCH", "/api/books/1", b"{}").body), {"id": 1, "by": "desk"})
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            used = connection.execute("SELECT name FROM api_tokens WHERE last_used_at IS NOT NULL").fetchall()
        self.assertEqual(used, [("desk",)], "the use of a token is noted")
        self.assertEqual(librarian.ask("GET", "/").status, 200)
        with contextlib.closing(sqlite3.connect(self.file)) as connection, connection:
            connection.execute("DELETE FROM login_sessions")
        self.assertEqual(librarian.ask("GET", "/").status, 302, "a session ends by its hash")

    def arrived(self, name: str) -> Browser:
        browser = arrive(self.through, PEOPLE[name], SCRIPT)
        self.addCleanup(browser.close)
        return browser

    def test_what_differs_without_a_csrf_token_is_what_the_documents_list(self) -> None:
        def changes(base: str) -> dict[str, dict[str, str]]:
            answers: dict[str, dict[str, str]] = {}
            for name, person in PEOPLE.items():
                self.seed()
                browser: Browser = arrive(base, person, SCRIPT)
                answers[name] = {f"{each['method']} {each['path']}": browser.ask(each["method"], each["path"], b"{}").summary()
                                 for each in SCRIPT["requests"] if each["method"] != "GET"}
                browser.close()
            return answers
        with self.console_running(), self.gate_running():
            self.gate("flag", "rbac-v2", "on")
            self.activate("v2")
            self.assertEqual(set(differences(changes(self.direct), changes(self.through))), self.WITHOUT_CSRF)

    def test_what_the_commands_read_of_it(self) -> None:
        guards = ("--guard", "api_or_session=machine-or-session", "--guard", "login_required=session")
        source = ("--console-src", str(CREEK))
        proposed = tomllib.loads(self.gate_process("adopt", "--inspect", *source).stdout)
        settings = tomllib.loads((CREEK / "gate.toml").read_text(encoding="utf-8"))
        for section in ("session", "console"):
            self.assertEqual(proposed[section], settings[section], section)
        # The permissions are not the roles that `legacy` means; what asks for a login or for a token is read.
        imported = self.gate_process("import", *source, *guards).stdout
        self.assertIn('"GET /" ', imported)
        self.assertRegex(imported, r'"GET /" += \{ session = true \}')
        self.assertRegex(imported, r'"GET /reports" += \{ legacy = \["admin"\]')
        linted = self.gate_process("lint", *source, *guards)
        self.assertNotIn("deferred-effects", linted.stdout)
        without = self.work / "source"
        shutil.copytree(CREEK, without, ignore=shutil.ignore_patterns("__pycache__"))
        file = without / "creek.py"
        file.write_text(file.read_text(encoding="utf-8").replace(", own_code=True", ""), encoding="utf-8")
        linted = self.gate_process("lint", "--console-src", str(without), *guards)
        self.assertRegex(linted.stdout, r"deferred-effects[\s\S]*`api_or_session`[\s\S]*calls `protect\(\)`")


if __name__ == "__main__":
    unittest.main()
