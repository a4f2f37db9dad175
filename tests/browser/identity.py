#!/usr/bin/env python3
"""The gate's own login in Chromium with a virtual authenticator: an invited person registers a passkey and logs in, a row asks
for a fresh one, a session that is ended elsewhere is over while its page is open, and a person logs out. Each page is looked
at by axe.

    [SHOTS=folder] .venv/bin/python tests/browser/identity.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import break_glass as browser
import pages

ROUTES = """
version = 1
quiet = ["/favicon.ico"]
[blueprints.identity.routes]
"GET,POST /auth/*" = { identity = true }
"GET,POST,PATCH,DELETE /api/v1/auth/*" = { identity = true }
[blueprints.home.routes]
"GET /home" = { session = true }
"GET /danger" = { session = true, step_up = "1m" }
"""


class Identity(pages.Pages):
    """With what looks at a page; the pages' own tests are not repeated."""

    test_the_pages_of_the_gate = test_the_pages_of_the_demo = test_the_pages_for_people = None  # type: ignore[assignment]
    test_an_operator_turns_a_cluster_and_goes_back = None  # type: ignore[assignment]

    def setUp(self) -> None:
        self.work = Path(tempfile.mkdtemp(prefix="gate-identity-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        upstream, port = browser.serve(b"<!doctype html><html lang='en'><title>Console</title><main><h1>let in</h1></main></html>")
        self.addCleanup(upstream.server_close)
        self.addCleanup(upstream.shutdown)
        self.port = browser.free_port()
        self.origin = f"http://localhost:{self.port}"
        self.looked = 0
        (self.work / "routes.toml").write_text(ROUTES, encoding="utf-8")
        (self.work / "gate.toml").write_text(f"""
environment = "development"
[listen]
proxy = "127.0.0.1:{self.port}"
admin = "unix:{self.work}/admin.sock"
upgrade_socket = "{self.work}/upgrade.sock"
[upstream]
servers = ["127.0.0.1:{port}"]
[database]
url = "sqlite:gate.sqlite"
[firewall]
allowed_hosts = ["localhost:{self.port}"]
[session]
kind = "gate"
[break_glass]
origin = "{self.origin}"
[identity]
[pages]
home_path = "/home"
""", encoding="utf-8")
        self.environment = {**os.environ, **browser.KEYS, "FLAG_RBAC_V2": "1"}
        self.gate("migrate", "--seed", "rbac-v2")
        self.gate("admin", "add", "anna", "--email", "anna@example.org")
        log = (self.work / "log").open("wb")
        self.addCleanup(log.close)
        server = subprocess.Popen([browser.GATE, "serve", "--config", "gate.toml"], cwd=self.work, env=self.environment, stdout=log,
                                  stderr=log)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        self.browser = browser.Chromium(self.work / "profile")
        self.addCleanup(self.browser.close)
        self.browser.call("Page.enable")
        self.browser.call("Network.enable")
        self.until(f"{self.origin}/auth/login")
        self.browser.call("WebAuthn.enable")
        self.browser.call("WebAuthn.addVirtualAuthenticator", options={
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True})

    def gate(self, *command: str) -> str:
        ran = subprocess.run([browser.GATE, *command, "--config", "gate.toml"], cwd=self.work, env=self.environment,
                             capture_output=True, text=True, check=False)
        self.assertEqual(ran.returncode, 0, f"{command}\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def press(self, form: str, leads_to: str) -> None:
        """Sends a form off by its button, and waits until the page that it leads to is there."""
        self.evaluate(f"window.isOld = true; document.querySelector('{form} button').click()")
        browser.BreakGlass.wait(self, f"a page after {form}", lambda: not self.evaluate("window.isOld"))
        self.loaded(leads_to)

    def redirects(self, path: str, leads_to: str) -> None:
        self.browser.call("Page.navigate", url=self.origin + path)
        self.loaded(leads_to)

    def test_a_person_logs_in_steps_up_and_out(self) -> None:
        self.redirects("/home?x=1", "/auth/login?next=/home%3Fx%3D1")
        self.look("login")
        self.goes(f"{self.origin}/auth/enrol")
        self.look("enrol")
        self.evaluate("document.getElementById('code').value = 'AAAA-BBBB'")
        self.press("form", "/auth/enrol")
        self.assertIn("That did not work", self.words())
        self.look("enrol-refused")
        code = self.gate("passkey", "invite", "anna").strip()
        self.evaluate(f"document.getElementById('code').value = '{code}'")
        self.press("form", "/auth/enrol")
        self.assertIn("anna", self.words())
        self.look("enrol-passkey")
        self.evaluate("document.getElementById('label').value = 'laptop'")
        self.press("#register", "/auth/login")
        self.goes(f"{self.origin}/auth/login?next=/home%3Fx%3D1")
        self.press("#login", "/home?x=1")
        self.assertIn("let in", self.words())
        self.goes(f"{self.origin}/danger")
        self.assertIn("let in", self.words(), "the login was a moment ago")
        # As if the passkey had signed an hour ago.
        self.change("UPDATE gate_sessions SET stepped_up_at_utc = '2026-01-01T00:00:00+00:00'")
        self.redirects("/danger", "/auth/step-up?next=/danger")
        self.look("step-up")
        self.press("#step-up", "/danger")
        self.goes(f"{self.origin}/auth/account")
        self.look("account")
        self.assertIn("laptop", self.words())
        # Ended elsewhere, while the page is open.
        self.assertIn("1 session ended", self.gate("session", "end", "anna"))
        self.press("form", "/auth/login")
        self.press("#login", "/home")
        self.goes(f"{self.origin}/auth/account")
        self.press("form", "/auth/login")
        self.redirects("/home", "/auth/login?next=/home")
        self.assertEqual(self.looked, 6 * len(pages.SIZES) * len(pages.SCHEMES))

    def change(self, statement: str) -> None:
        import sqlite3

        with sqlite3.connect(self.work / "gate.sqlite") as database:
            database.execute(statement)


if __name__ == "__main__":
    if browser.CHROMIUM is None or not pages.AXE.is_file():
        browser.skip("chromium or axe-core is not installed (tests/setup.sh suites)")
    if not browser.GATE.is_file():
        sys.exit(f"browser: {browser.GATE} is not built")
    unittest.main()
