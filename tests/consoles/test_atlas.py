"""Atlas as its team knows it, without the gate: who sees what, and everything around it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

HERE = Path(__file__).resolve().parent
ATLAS = HERE / "atlas"
sys.path[:0] = [str(HERE), str(ATLAS)]

import psycopg  # noqa: E402
from atlas import create_app, manage, totp  # noqa: E402
from atlas.seed import CUSTOMERS, seed  # noqa: E402
from drive import hidden_fields, read_folder  # noqa: E402
from postgres import shared  # noqa: E402
from real_gate import atlas_template  # noqa: E402

PEOPLE = {person["name"]: person for person in read_folder(ATLAS)[0]}
TEMP = "5b1f0a52-5d6e-4a0b-9a1c-000000000101"


class Atlas(unittest.TestCase):
    url: ClassVar[str]
    app: ClassVar[Any]

    @classmethod
    def setUpClass(cls) -> None:
        cls.url = shared().copy(atlas_template())
        cls.app = create_app({"DATABASE_URL": cls.url, "SECRET_KEY": "a secret of the tests"})

    @classmethod
    def manage(cls, *arguments: str) -> None:
        with mock.patch.dict(os.environ, DATABASE_URL=cls.url):
            assert manage.main(list(arguments)) == 0

    def setUp(self) -> None:
        seed(self.url)

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def login(self, name: str) -> Any:
        client = self.app.test_client()
        person = PEOPLE[name]
        fields = hidden_fields(client.get("/auth/login").data)
        client.post("/auth/login", data={**fields, "email": person["email"], "password": person["password"]})
        cookie = client.get_cookie("atlas_csrf")
        client.csrf = {"X-CSRF-Token": cookie.value} if cookie else {}
        if person.get("elevate"):
            answer = client.post("/auth/elevate", data={"code": totp.code(person["totp_secret"])}, headers=client.csrf)
            self.assertEqual(answer.status_code, 302)
        return client


class LoggingIn(Atlas):
    def test_the_table_has_the_hash_and_the_cookie_the_token(self) -> None:
        client = self.login("agent")
        token = client.get_cookie("atlas_session").value
        ours = "SELECT token_sha256, expires_at - created_at FROM app.sessions WHERE user_id = %s"
        [(hashed, lifetime)] = self.sql(ours, PEOPLE["agent"]["id"])
        self.assertRegex(hashed, r"^[0-9a-f]{64}$")
        self.assertNotEqual(hashed, token)
        self.assertAlmostEqual(lifetime.total_seconds(), 12 * 3600, delta=60)

    def test_a_wrong_password_and_a_disabled_user_get_no_session(self) -> None:
        client = self.app.test_client()
        fields = hidden_fields(client.get("/auth/login").data)
        for person, password in (("agent", "wrong"), ("disabled", PEOPLE["disabled"]["password"])):
            with self.subTest(person):
                form = {**fields, "email": PEOPLE[person]["email"], "password": password}
                self.assertEqual(client.post("/auth/login", data=form).status_code, 401)
                self.assertIsNone(client.get_cookie("atlas_session"))
        self.assertEqual(self.sql("SELECT count(*) FROM app.audit_log WHERE action = 'login_failed'"), [(2,)])

    def test_without_the_forms_own_token_there_is_no_login(self) -> None:
        form = {"email": PEOPLE["agent"]["email"], "password": PEOPLE["agent"]["password"]}
        self.assertEqual(self.app.test_client().post("/auth/login", data=form).status_code, 400)

    def test_next_leads_nowhere_else(self) -> None:
        person = PEOPLE["agent"]
        for target, wanted in (("/orders/", "/orders/"), ("//evil.example", "/"), ("https://evil.example/", "/"),
                               ("/\\evil.example", "/")):
            with self.subTest(target):
                client = self.app.test_client()
                fields = hidden_fields(client.get("/auth/login", query_string={"next": target}).data)
                form = {**fields, "email": person["email"], "password": person["password"]}
                self.assertEqual(client.post("/auth/login", data=form).headers["Location"], wanted)

    def test_a_request_moves_last_seen_and_nothing_else(self) -> None:
        client = self.login("agent")
        self.sql("UPDATE app.sessions SET last_seen = now() - interval '1 hour'")
        before = self.sql("SELECT id, expires_at, elevated_until FROM app.sessions ORDER BY id")
        client.get("/orders/")
        self.assertEqual(self.sql("SELECT id, expires_at, elevated_until FROM app.sessions ORDER BY id"), before)
        recent = "SELECT count(*) FROM app.sessions WHERE last_seen > now() - interval '1 minute'"
        self.assertEqual(self.sql(recent), [(1,)])

    def test_ways_a_session_ends(self) -> None:
        ways = {"logout": None, "expiry": "UPDATE app.sessions SET expires_at = now()",
                "deletion": "DELETE FROM app.sessions", "disabled": "UPDATE app.users SET is_active = false"}
        for way, statement in ways.items():
            with self.subTest(way):
                seed(self.url)
                client = self.login("manager")
                self.assertEqual(client.get("/").status_code, 200)
                if statement:
                    self.sql(statement)
                else:
                    token = client.get_cookie("atlas_session").value
                    client.post("/auth/logout", headers=client.csrf)
                    self.assertIsNone(client.get_cookie("atlas_session"))
                    client.set_cookie("atlas_session", token)  # a copy that somebody kept
                answer = client.get("/")
                self.assertEqual((answer.status_code, answer.headers["Location"]), (302, "/auth/login?next=/"))
                # Not 400: nobody's session has no CSRF token to miss.
                self.assertEqual(client.post("/customers/", data={}).headers.get("Location"), "/auth/login")


class Roles(Atlas):
    def test_who_gets_where(self) -> None:
        customer = f"/customers/{CUSTOMERS[0]}"
        table = [
            # method, path, anonymous, superuser, manager, agent, viewer, newcomer
            ("GET", "/", 302, 200, 200, 200, 200, 403),
            ("GET", "/customers/new", 302, 200, 200, 200, 403, 403),
            ("PUT", customer, 302, 200, 200, 200, 403, 403),
            ("DELETE", customer, 302, 401, 401, 403, 403, 403),
            ("GET", "/orders/export.csv", 302, 200, 200, 403, 403, 403),
            ("GET", "/reports/revenue", 302, 200, 200, 403, 200, 403),
            ("POST", "/reports/revenue/schedule", 302, 200, 200, 403, 403, 403),
            ("GET", "/staff/sessions", 302, 200, 403, 403, 403, 403),
            ("GET", "/audit", 302, 200, 200, 403, 403, 403),
            ("GET", "/api/v1/orders", 401, 200, 200, 200, 200, 403),
            ("PATCH", "/api/v1/orders/1001", 401, 200, 200, 403, 403, 403),
            ("GET", "/api/v1/me", 401, 200, 200, 200, 200, 200),
            ("POST", "/api/v1/orders/1001/sent", 401, 401, 401, 401, 401, 401),
        ]
        clients = {name: self.login(name) for name in ("superuser", "manager", "agent", "viewer", "newcomer")}
        for method, path, nobody, *wanted in table:
            with self.subTest(f"{method} {path}"):
                self.assertEqual(self.app.test_client().open(path, method=method).status_code, nobody)
                got = [client.open(path, method=method, headers=client.csrf).status_code for client in clients.values()]
                self.assertEqual(got, wanted)

    def test_htmx_is_sent_to_the_login_page_as_a_whole(self) -> None:
        answer = self.app.test_client().get("/audit/rows", headers={"HX-Request": "true"})
        self.assertEqual((answer.status_code, answer.headers["HX-Redirect"]), (401, "/auth/login?next=/audit/rows"))

    def test_a_denial_is_on_the_audit_page(self) -> None:
        self.login("viewer").get("/staff/sessions")
        page = self.login("manager").get("/audit?outcome=denied").text
        row = re.search(r'<tr class="denied">.*', page)
        self.assertIsNotNone(row)
        for part in ("vera@atlas.example", "access_denied", "GET /staff/sessions"):
            self.assertIn(part, row[0] if row else "")

    def test_a_grant_works_at_once(self) -> None:
        temp = self.app.test_client()
        fields = hidden_fields(temp.get("/auth/login").data)
        temp.post("/auth/login", data={**fields, "email": "temp@atlas.example", "password": "correct horse 101"})
        self.assertEqual(temp.get("/customers/new").status_code, 403)
        boss = self.login("superuser-elevated")
        answer = boss.post(f"/staff/{TEMP}/roles", data={"role": "agent"}, headers=boss.csrf)
        self.assertEqual(answer.json, {"roles": ["agent", "viewer"]})
        self.assertEqual(temp.get("/customers/new").status_code, 200)
        self.assertEqual(boss.delete(f"/staff/{TEMP}/roles/agent", headers=boss.csrf).status_code, 204)
        self.assertEqual(temp.get("/customers/new").status_code, 403)


class Elevation(Atlas):
    def test_a_refund_needs_a_code_within_ten_minutes(self) -> None:
        client = self.login("manager")
        refund = {"path": "/orders/1001/refund", "headers": client.csrf}
        self.assertEqual(client.post(**refund).json, {"error": "totp_required", "elevate": "/auth/elevate"})
        wrong = client.post("/auth/elevate", data={"code": "000000x"}, headers=client.csrf)
        self.assertEqual(wrong.status_code, 422)
        self.assertEqual(client.post(**refund).status_code, 401)
        client.post("/auth/elevate", data={"code": totp.code(PEOPLE["manager"]["totp_secret"])}, headers=client.csrf)
        self.assertEqual(client.post(**refund).json["refunded_cents"], 24800)
        self.sql("UPDATE app.sessions SET elevated_until = now()")
        self.assertEqual(client.post(**refund).status_code, 401)

    def test_the_codes_are_those_of_rfc_6238(self) -> None:
        secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        for moment, code in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
            self.assertEqual(totp.code(secret, moment), code)
        self.assertTrue(totp.is_good(secret, "287082", 59 + 30))
        self.assertFalse(totp.is_good(secret, "287082", 59 + 90))


class Csrf(Atlas):
    def test_a_change_without_the_sessions_token_is_refused(self) -> None:
        client, other = self.login("agent"), self.login("viewer")
        for headers in ({}, {"X-CSRF-Token": "x"}, other.csrf):
            with self.subTest(headers):
                answer = client.post("/customers/", data={"name": "Eve"}, headers=headers)
                self.assertEqual((answer.status_code, answer.json), (400, {"error": "csrf"}))
        field = {"name": "Eve", "csrf_token": client.csrf["X-CSRF-Token"]}
        self.assertEqual(client.post("/customers/", data=field).status_code, 303)


class Machines(Atlas):
    def ask(self, name: str, method: str, path: str) -> int:
        headers = {"Authorization": f"Bearer {PEOPLE[name]['bearer']}"}
        return self.app.test_client().open(path, method=method, headers=headers).status_code

    def test_a_token_opens_the_api_alone(self) -> None:
        table = [("GET", "/api/v1/orders", 200), ("PATCH", "/api/v1/orders/1001", 200),
                 ("POST", "/api/v1/orders/1001/sent", 200), ("GET", "/api/v1/me", 401), ("GET", "/orders/", 302)]
        for method, path, wanted in table:
            with self.subTest(path):
                self.assertEqual(self.ask("machine", method, path), wanted)
        [(used,)] = self.sql("SELECT last_used_at IS NOT NULL FROM app.api_tokens WHERE name = 'warehouse'")
        self.assertTrue(used)
        [(actor,)] = self.sql("SELECT actor FROM app.audit_log WHERE action = 'order_sent'")
        self.assertEqual(actor, "machine:warehouse")

    def test_a_revoked_or_unknown_token_opens_nothing(self) -> None:
        for name in ("machine-revoked", "machine-unknown"):
            for path in ("/api/v1/orders", "/api/v1/orders/1001"):
                self.assertEqual(self.ask(name, "GET", path), 401)


class Migrations(Atlas):
    def test_the_next_releases_migrations_go_up_and_down(self) -> None:
        self.addCleanup(self.manage, "downgrade", "0003")
        columns = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'app' AND table_name = 'users'"
        self.manage("migrate", "0004")
        self.assertIn(("locale",), self.sql(columns))
        self.assertEqual(self.login("viewer").get("/").status_code, 200)
        self.manage("migrate", "0005")
        self.assertIn(("active",), self.sql(columns))
        self.assertNotIn(("is_active",), self.sql(columns))

    def test_the_next_release_runs_on_its_own_schema(self) -> None:
        self.addCleanup(self.manage, "downgrade", "0003")
        self.manage("migrate", "0005")
        program = ("import os, atlas\nfrom sqlalchemy import select\nfrom atlas import db, models\n"
                   "with atlas.create_app().app_context():\n"
                   "    print(sorted(u.email for u in db.session().scalars(select(models.User)) if not u.is_active))")
        environment = {**os.environ, "DATABASE_URL": self.url, "SECRET_KEY": "x", "ATLAS_RELEASE": "next"}
        ran = subprocess.run([sys.executable, "-c", program], check=True, cwd=ATLAS, env=environment, capture_output=True)
        self.assertEqual(ran.stdout.decode().strip(), "['dan@atlas.example']")


class Script(unittest.TestCase):
    def test_every_rule_is_asked(self) -> None:
        """What `requests.json` leaves out, no comparison through the gate would see."""
        app = create_app({"DATABASE_URL": "postgres://nowhere/", "SECRET_KEY": "x"})
        urls = app.url_map.bind("atlas.internal")
        asked = set()
        for request in json.loads((ATLAS / "requests.json").read_text())["requests"]:
            rule, _values = urls.match(request["path"].partition("?")[0], request["method"], return_rule=True)
            asked.add((rule.rule, request["method"]))
        there = {(rule.rule, method) for rule in app.url_map.iter_rules() for method in rule.methods or ()
                 if method not in ("HEAD", "OPTIONS")}
        # The driver logs in by itself; to log out would end the session for the requests behind it.
        self.assertEqual(there - asked, {("/auth/login", "POST"), ("/auth/logout", "POST")})


if __name__ == "__main__":
    unittest.main()
