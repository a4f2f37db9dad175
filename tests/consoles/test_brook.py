"""Brook as its team knows it, without the gate."""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BROOK = HERE / "brook"
sys.path[:0] = [str(HERE), str(BROOK)]

from brook import create_app, init, seed  # noqa: E402
from drive import hidden_fields, read_folder  # noqa: E402

PEOPLE = {person["name"]: person for person in read_folder(BROOK)[0]}


class Brook(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = f"{folder.name}/brook.db"
        init(self.file)
        seed(self.file)
        self.app = create_app(self.file, "a secret of the tests")

    def sql(self, statement: str) -> list[Any]:
        connection = sqlite3.connect(self.file)
        with connection:
            rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    def login(self, name: str) -> Any:
        client, person = self.app.test_client(), PEOPLE[name]
        fields = hidden_fields(client.get("/login").data)
        answer = client.post("/login", data={**fields, "name": person["login"], "password": person["password"]})
        self.assertEqual(answer.status_code, 302)
        client.csrf = {"X-CSRF-Token": client.get_cookie("brook_csrf").value}
        return client

    def test_who_gets_where(self) -> None:
        table = [
            # method, path, anonymous, boss, clerk, guest, a role that no route names
            ("GET", "/", 302, 200, 200, 200, 403),
            ("GET", "/shifts/1", 302, 200, 200, 200, 403),
            ("PUT", "/shifts/1", 302, 200, 200, 403, 403),
            ("DELETE", "/shifts/1", 302, 204, 403, 403, 403),
            ("GET", "/plants/roses/red", 302, 200, 200, 200, 403),
            ("GET", "/wages", 302, 200, 403, 403, 403),
            ("GET", "/api/week.csv", 401, 200, 200, 403, 403),
        ]
        clients = [self.login(name) for name in ("boss", "clerk", "guest", "odd-role")]
        for method, path, nobody, *wanted in table:
            with self.subTest(f"{method} {path}"):
                self.assertEqual(self.app.test_client().open(path, method=method).status_code, nobody)
                got = [client.open(path, method=method, headers=client.csrf).status_code for client in clients]
                self.assertEqual(got, wanted)

    def test_a_wrong_password_and_somebody_who_left(self) -> None:
        self.sql("UPDATE staff SET left_on = '2026-01-01' WHERE name = 'gus'")
        for name, password in (("carl", "wrong"), ("gus", PEOPLE["guest"]["password"]), ("nobody", "")):
            answer = self.app.test_client().post("/login", data={"name": name, "password": password})
            self.assertEqual(answer.status_code, 401)

    def test_who_leaves_is_out_at_once(self) -> None:
        clerk, boss = self.login("clerk"), self.login("boss")
        self.assertEqual(clerk.get("/").status_code, 200)
        boss.post("/staff/2/leave", headers=boss.csrf)
        self.assertEqual(clerk.get("/").headers["Location"], "/login?next=/")

    def test_a_new_role_works_at_once(self) -> None:
        guest, boss = self.login("guest"), self.login("boss")
        self.assertEqual(guest.get("/api/week.csv").status_code, 403)
        self.assertEqual(boss.post("/staff/4/role", data={"role": "clerk"}, headers=boss.csrf).status_code, 200)
        self.assertEqual(guest.get("/api/week.csv").status_code, 200)
        self.assertEqual(boss.post("/staff/4/role", data={"role": "king"}, headers=boss.csrf).status_code, 422)

    def test_csrf(self) -> None:
        clerk = self.login("clerk")
        for sent in ({}, {"X-CSRF-Token": "x"}, self.login("boss").csrf):
            self.assertEqual(clerk.put("/shifts/1", json={"note": "x"}, headers=sent).status_code, 400)
        self.assertEqual(clerk.post("/shifts", data={"day": "2026-12-01", "csrf": clerk.csrf["X-CSRF-Token"]}).status_code, 303)
        self.assertEqual(self.sql("SELECT staff_id FROM shifts WHERE day = '2026-12-01'"), [(2,)])

    def test_logging_out_and_next(self) -> None:
        boss, person = self.login("boss"), PEOPLE["boss"]
        boss.post("/logout", headers=boss.csrf)
        self.assertEqual(boss.get("/").status_code, 302)
        for target, wanted in (("/wages", "/wages"), ("//evil.example", "/"), ("/\\evil.example", "/"), ("https://x/", "/")):
            form = {"name": person["login"], "password": person["password"], "next": target}
            self.assertEqual(self.app.test_client().post("/login", data=form).headers["Location"], wanted)

    def test_every_rule_is_asked(self) -> None:
        urls, asked = self.app.url_map.bind("brook.internal"), set()
        for request in json.loads((BROOK / "requests.json").read_text())["requests"]:
            rule, _values = urls.match(request["path"], request["method"], return_rule=True)
            asked.add((rule.rule, request["method"]))
        there = {(rule.rule, method) for rule in self.app.url_map.iter_rules() for method in rule.methods or ()
                 if method not in ("HEAD", "OPTIONS")}
        self.assertEqual(there - asked, {("/login", "POST"), ("/logout", "POST"), ("/static/<path:filename>", "GET")})


if __name__ == "__main__":
    unittest.main()
