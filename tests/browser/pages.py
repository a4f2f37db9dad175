#!/usr/bin/env python3
"""The gate's own pages in Chromium, looked at by axe: each at 360 and at 1,280 pixels, light and dark, without a violation,
without a horizontal scroll bar, and with a margin. Then what a person does on them: asks for access, goes back.

    [SHOTS=folder] .venv/bin/python tests/browser/pages.py

With SHOTS a picture of each is left in that folder. axe-core comes from npm (tests/setup.sh suites); where it or Chromium is
missing, that is noted in target/tmp/skipped.txt.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any

import break_glass as browser

ROOT = browser.ROOT
AXE = ROOT / "target" / "node" / "node_modules" / "axe-core" / "axe.min.js"
SHOTS = os.environ.get("SHOTS")
SIZES = (360, 1_280)
SCHEMES = ("light", "dark")
# What is left and right of what the page says.
MARGINS = """(() => {
  const main = document.querySelector("main"), { left, right } = main.getBoundingClientRect(), style = getComputedStyle(main);
  return [left + parseFloat(style.paddingLeft), document.documentElement.clientWidth - right + parseFloat(style.paddingRight)];
})()"""
# What a page of Console is that puts a fragment of the gate's into itself.
HOST_PAGE = b"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Console</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><main><h1>Console</h1><p><a id="denied" href="/denied">Secrets</a></p><div id="corner"></div></main></body></html>"""
ROUTES = """
version = 1
quiet = ["/favicon.ico"]
clusters.V = "v2"
[blueprints.api.routes]
"GET,POST /api/rbac/break-glass" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST,DELETE /api/rbac/break-glass/*" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST /api/rbac/requests" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST /console/rbac/*" = { session = true, gate = true }
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /board" = { public = true }
"GET /old" = { gone = true }
"GET /denied" = { legacy = ["nobody"], role = "console-user" }
"GET /never" = { legacy = ["nobody"], role = "console-manager" }
[approval]
raxx-support-team = { by = ["raxx-platform-admins"] }
"""


class Console(http.server.BaseHTTPRequestHandler):
    """Says the same to everybody, until it is switched off."""

    protocol_version = "HTTP/1.1"
    is_there = True

    def do_GET(self) -> None:
        if not Console.is_there:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(HOST_PAGE)))
        self.end_headers()
        self.wfile.write(HOST_PAGE)

    def log_message(self, *_: Any) -> None:
        pass


class Pages(unittest.TestCase):
    def setUp(self) -> None:
        self.work = Path(tempfile.mkdtemp(prefix="gate-pages-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        self.browser = browser.Chromium(self.work / "profile")
        self.addCleanup(self.browser.close)
        self.browser.call("Emulation.setScrollbarsHidden", hidden=True)
        self.looked = 0

    # The gate and the demo.

    def start_gate(self) -> str:
        from itsdangerous import URLSafeTimedSerializer

        console = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Console)
        threading.Thread(target=console.serve_forever, daemon=True).start()
        self.addCleanup(console.server_close)
        self.addCleanup(console.shutdown)
        Console.is_there = True
        port = browser.free_port()
        origin = f"http://localhost:{port}"
        (self.work / "routes.toml").write_text(ROUTES, encoding="utf-8")
        (self.work / "gate.toml").write_text(f"""
environment = "development"
[listen]
proxy = "127.0.0.1:{port}"
admin = "unix:{self.work}/admin.sock"
upgrade_socket = "{self.work}/upgrade.sock"
[upstream]
servers = ["127.0.0.1:{console.server_address[1]}"]
[database]
url = "sqlite:gate.sqlite"
[firewall]
allowed_hosts = ["localhost:{port}"]
[pages]
home_path = "/board"
logout_path = "/auth/logout"
[break_glass]
origin = "{origin}"
[alerts]
canary_minutes = 0
[alerts.slack]
""", encoding="utf-8")
        environment = {**os.environ, **browser.KEYS, "FLAG_RBAC_V2": "1",
                       "CONSOLE_GATE_SLACK_WEBHOOK": "http://127.0.0.1:9/services/x"}
        for command in (("migrate", "--seed", "rbac-v2"),
                        ("admin", "add", "anna", "--email", "anna@example.org")):
            ran = subprocess.run([browser.GATE, *command, "--config", "gate.toml"], cwd=self.work, env=environment,
                                 capture_output=True, text=True, check=False)
            self.assertEqual(ran.returncode, 0, f"{command}\n{ran.stdout}{ran.stderr}")
        self.run_gate(["serve", "--config", "gate.toml"], environment)
        self.until(origin + "/board")
        signer = URLSafeTimedSerializer(browser.SECRET, salt="cookie-session",
                                        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1})
        self.cookie = signer.dumps({"admin_id": "anna"})
        return origin

    def run_gate(self, arguments: list[str], environment: dict[str, str]) -> None:
        log = (self.work / "log").open("wb")
        self.addCleanup(log.close)
        process = subprocess.Popen([browser.GATE, *arguments], cwd=self.work, env=environment, stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

    def until(self, address: str) -> None:
        browser.BreakGlass.wait(self, f"an answer of {address}", lambda: self.goes(address) not in (0, 502, 503))

    # The browser.

    def goes(self, address: str) -> int:
        """The status of a page, once it is there; 0 where nobody answers."""
        if "errorText" in self.browser.call("Page.navigate", url=address):
            return 0
        self.loaded(address)
        return self.evaluate("performance.getEntriesByType('navigation')[0].responseStatus")

    def loaded(self, address: str = "") -> None:
        path = re.sub(r"^https?://[^/]*", "", address)
        arrived = f"document.readyState === 'complete' && (location.pathname + location.search).endsWith({json.dumps(path)})"
        browser.BreakGlass.wait(self, f"the page {address}", lambda: self.evaluate(arrived))

    def evaluate(self, script: str) -> Any:
        return self.browser.evaluate(script)

    def look(self, name: str) -> None:
        """At the page that is open, in every size and colour."""
        self.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        self.evaluate(AXE.read_text(encoding="utf-8") + "; 0")
        for width in SIZES:
            self.browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
            for scheme in SCHEMES:
                self.browser.call("Emulation.setEmulatedMedia",
                                  features=[{"name": "prefers-color-scheme", "value": scheme}])
                where = f"{name}, {width} px, {scheme}"
                if SHOTS:
                    shot = self.browser.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
                    Path(SHOTS).mkdir(parents=True, exist_ok=True)
                    (Path(SHOTS) / f"{name}-{width}-{scheme}.png").write_bytes(base64.b64decode(shot["data"]))
                self.assertEqual(self.violations(), [], where)
                self.assertTrue(self.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{where}: it scrolls sideways")
                if name != "fragment":
                    self.assertGreaterEqual(min(self.evaluate(MARGINS)), 16, f"{where}: no margin")
                self.looked += 1

    def violations(self) -> list[str]:
        found = self.evaluate("axe.run(document, { resultTypes: ['violations'] }).then((all) => all.violations.map((one) =>"
                              " one.id + ': ' + one.nodes.map((node) => node.html + ' ' + node.failureSummary).join('; ')))")
        return list(found)

    def words(self) -> str:
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def links(self) -> dict[str, str]:
        return dict(self.evaluate("[...document.querySelectorAll('nav a')].map((one) => [one.textContent, one.getAttribute('href')])"))

    # The tests.

    def test_the_pages_of_the_gate(self) -> None:
        origin = self.start_gate()
        # What nobody is logged in for.
        for path, status, name in (("/api/rbac/requests", 401, "401"), ("/favicon.ico", 404, "404"), ("/old", 410, "410"),
                                   ("//x", 400, "400")):
            self.assertEqual(self.goes(origin + path), status, path)
            self.look(name)
        self.browser.call("Network.setCookie", name="session", value=self.cookie, url=origin)
        self.assertEqual(self.goes(f"{origin}/never"), 403)
        self.assertEqual(self.links(), {"Home page": "/board", "Log in with another account": "/auth/logout"})
        self.look("403")
        # By a link of Console's: a form to ask with, and the way back.
        self.assertEqual(self.goes(f"{origin}/board"), 200)
        self.evaluate("document.getElementById('denied').click()")
        self.loaded("/denied")
        self.assertEqual(self.links().get("Back to the page you came from"), "/board")
        self.look("403-form")
        self.evaluate("document.querySelector('[name=reason]').value = 'an incident of a customer'")
        self.evaluate("document.querySelector('form button').click()")
        self.loaded("/api/rbac/requests")
        self.assertIn("waits for approval", self.words())
        self.assertEqual(self.links().get("Back to the page you came from"), "/denied")
        self.look("asked")
        self.evaluate("document.querySelector('nav a').click()")
        self.loaded("/denied")
        # A fragment, in a page of Console's.
        self.goes(f"{origin}/board")
        self.evaluate("fetch('/denied', { headers: { 'HX-Request': 'true' } }).then((one) => one.text())"
                      ".then((text) => { document.getElementById('corner').innerHTML = text; })")
        self.assertIn("Access denied", self.words())
        self.look("fragment")
        self.assertEqual(self.goes(f"{origin}/console/rbac/break-glass"), 200)
        self.look("break-glass")
        Console.is_there = False
        self.assertEqual(self.goes(f"{origin}/board"), 502)
        self.look("502")
        Console.is_there = True
        self.evaluate("document.querySelector('nav a').click()")
        browser.BreakGlass.wait(self, "Console again", lambda: self.evaluate("!!document.getElementById('denied')"))
        # What axe finds in a page that is not sound, it would have found in these.
        self.evaluate(AXE.read_text(encoding="utf-8") + "; document.documentElement.removeAttribute('lang')")
        self.assertIn("html-has-lang", " ".join(self.violations()))
        self.assertEqual(self.looked, 10 * len(SIZES) * len(SCHEMES))

    def test_the_pages_of_the_demo(self) -> None:
        port, admin = browser.free_port(), browser.free_port()
        origin = f"http://127.0.0.1:{port}"
        self.run_gate(["demo", "--port", str(port), "--admin-port", str(admin)], dict(os.environ))
        self.until(f"{origin}/auth/login")
        self.look("demo-login")
        self.goes(f"{origin}/auth/home")
        # It is a screen or two, until somebody opens more of it.
        self.browser.call("Emulation.setDeviceMetricsOverride", width=1_280, height=800, deviceScaleFactor=1, mobile=False)
        self.assertLess(self.evaluate("document.documentElement.scrollHeight"), 2_000)
        self.look("demo-home")
        self.evaluate("document.querySelector('[value=in-raxx-support-team]').click()")
        self.loaded("/auth/home")
        browser.BreakGlass.wait(self, "the login", lambda: "Logged in as" in self.words())
        self.browser.call("Emulation.setDeviceMetricsOverride", width=1_280, height=800, deviceScaleFactor=1, mobile=False)
        self.assertLess(self.evaluate("document.documentElement.scrollHeight"), 1_000)
        self.look("demo-home-in")
        self.assertEqual(self.goes(f"{origin}/console/status"), 200)
        self.look("demo-view")
        self.assertEqual(self.goes(f"{origin}/console/waitlist"), 403)
        self.assertEqual(self.links(), {"Home page": "/auth/home", "Log in with another account": "/auth/logout"})
        self.look("demo-403")
        self.evaluate("[...document.querySelectorAll('nav a')].pop().click()")
        browser.BreakGlass.wait(self, "the log-out", lambda: "You are not logged in" in self.words())

    def log_in(self, origin: str, who: str) -> None:
        self.goes(f"{origin}/auth/home")
        body = f"new URLSearchParams({{ as: {json.dumps(who)} }})"
        self.evaluate(f"fetch('/auth/login', {{ method: 'POST', body: {body} }}).then((one) => one.status)")

    def create_and_give(self, pages: str) -> None:
        """A role and a group are created, approved by somebody else, and the group is given by a grantor."""
        origin = pages.removesuffix("/console/rbac")
        for kind, fields, boxes in (
            ("role", {"role": "night-reader"}, ("parents=console-user",)),
            ("group", {"group": "night-desk", "description": "at night", "with_approval": "false"},
             ("roles=console-user", "grantors=raxx-support-team")),
        ):
            self.log_in(origin, "in-raxx-platform-admins")
            self.assertEqual(self.goes(f"{pages}/{kind}s/new"), 200)
            for name, value in {**fields, "reason": "RAXX-7"}.items():
                self.evaluate(f"document.querySelector('main [name={name}]').value = {json.dumps(value)}")
            for box in boxes:
                name, value = box.split("=")
                self.evaluate(f"document.querySelector('[name={name}][value={value}]').click()")
            self.evaluate("document.querySelector('main form button.main').click()")
            browser.BreakGlass.wait(self, "the review", lambda: "Check your answers" in self.words())
            self.look(f"new-{kind}-review")
            self.evaluate("document.querySelector('main form button.main').click()")
            browser.BreakGlass.wait(self, "the request", lambda: "What an approval opens" in self.words())
            request = str(self.evaluate("location.pathname"))
            self.log_in(origin, "in-raxx-devops-team")
            self.assertEqual(self.goes(origin + request), 200)
            self.look(f"new-{kind}-request")
            self.evaluate("document.querySelector('[value=approve]').click()")
            browser.BreakGlass.wait(self, "the approval", lambda: "approved" in self.words())
        self.log_in(origin, "support-lead")
        self.goes(f"{pages}/grants/new?group=night-desk")
        self.evaluate("document.querySelector('[name=user]').value = 'in-antlers-user'")
        self.evaluate("document.querySelector('main [name=reason]').value = 'the night'")
        self.evaluate("document.querySelector('main form button.main').click()")
        browser.BreakGlass.wait(self, "the review", lambda: "Check your answers" in self.words())
        self.evaluate("document.querySelector('main form button.main').click()")
        browser.BreakGlass.wait(self, "the person", lambda: "Holds now, and why" in self.words())
        self.assertIn("night-desk", self.words())
        for name, place in (("new-group-page", "/groups/night-desk"), ("new-role-page", "/roles/night-reader")):
            self.assertEqual(self.goes(pages + place), 200)
            self.look(name)

    def test_the_pages_for_people(self) -> None:
        port, admin = browser.free_port(), browser.free_port()
        origin = f"http://127.0.0.1:{port}"
        self.run_gate(["demo", "--port", str(port), "--admin-port", str(admin)], dict(os.environ))
        self.until(f"{origin}/auth/login")
        pages = f"{origin}/console/rbac"
        # Somebody asks for access, by the form.
        self.log_in(origin, "in-raxx-support-team")
        self.assertEqual(self.goes(f"{pages}/requests/new"), 200)
        self.look("ask")
        self.evaluate("document.querySelector('[name=group]').value = 'raxx-devops-team'")
        self.evaluate("document.querySelector('[name=reason]').value = 'a flag is wrong'")
        self.evaluate("document.querySelector('main form button').click()")
        browser.BreakGlass.wait(self, "the request", lambda: "pending" in self.words() and "asks for" in self.words())
        request = str(self.evaluate("location.pathname"))
        self.look("request-own")
        self.assertEqual(self.goes(f"{pages}/me"), 200)
        self.look("me")
        # Somebody else finds it on the first page, and approves what is shown.
        self.log_in(origin, "in-raxx-platform-admins")
        places = {
            "home": "", "people": "/people", "person": "/people/in-raxx-support-team", "groups": "/groups",
            "group": "/groups/raxx-support-team", "new-group": "/groups/new", "new-role": "/roles/new",
            "new-permission": "/permissions/new", "roles": "/roles", "role": "/roles/console-manager", "grants": "/grants",
            "grant-form": "/grants/new", "timeline": "/timeline", "audit": "/audit", "reviews": "/reviews", "requests": "/requests",
            "tickets": "/customers/7/tickets",
            "matrix": "/matrix?cluster=S6", "try": "/try?method=GET&path=/console/flags&as=in-raxx-support-team",
            "search": "/search?q=a", "break-glass": "/break-glass",
            "compare": "/people/compare?a=in-raxx-support-team&b=in-raxx-devops-team", "view-as": "/as/in-raxx-support-team",
        }
        for name, place in places.items():
            self.assertEqual(self.goes(pages + place), 200, place)
            self.look(name)
        self.goes(pages)
        self.assertIn("1 request waits for your decision", self.words())
        self.assertEqual(self.goes(origin + request), 200)
        self.look("request")
        self.evaluate("document.querySelector('[value=approve]').click()")
        browser.BreakGlass.wait(self, "the approval", lambda: "approved" in self.words())
        self.look("request-approved")
        self.create_and_give(pages)
        # An auditor looks for what was done to one group in the last week, and takes it along as a file.
        self.assertEqual(self.goes(f"{pages}/timeline"), 200)
        self.evaluate("document.querySelector('[name=group]').value = 'raxx-devops-team'")
        self.evaluate("document.querySelector('[name=from]').value ="
                      " new Date(Date.now() - 7 * 86400000).toISOString().slice(0, 10)")
        self.evaluate("document.querySelector('main form button').click()")
        browser.BreakGlass.wait(self, "the filter", lambda: "group=raxx-devops-team" in str(self.evaluate("location.search")))
        self.loaded()
        self.look("timeline-group")
        shown = int(self.evaluate("document.querySelectorAll('main tbody tr').length"))
        self.assertGreaterEqual(shown, 2)
        lines = self.evaluate("fetch(document.querySelector('a[href$=jsonl]').href).then((one) => one.text())")
        head, *events = [json.loads(line) for line in str(lines).splitlines()]
        self.assertEqual((head["export"]["filter"]["group"], len(events)), ("raxx-devops-team", shown))
        self.evaluate("document.querySelector('main tbody a').click()")
        browser.BreakGlass.wait(self, "the event", lambda: "The record" in self.words())
        self.look("timeline-event")
        # Who may not read is told who could let them.
        self.log_in(origin, "in-antlers-user")
        self.assertEqual(self.goes(f"{pages}/people"), 403)
        self.assertIn("Who could", self.words())
        self.look("people-403")

    def test_an_operator_turns_a_cluster_and_goes_back(self) -> None:
        port, admin = browser.free_port(), browser.free_port()
        origin = f"http://127.0.0.1:{port}"
        self.run_gate(["demo", "--port", str(port), "--admin-port", str(admin)], dict(os.environ))
        self.until(f"{origin}/auth/login")
        pages = f"{origin}/console/rbac"
        self.log_in(origin, "operator")
        for name, place in {"cutover": "/cutover", "cluster": "/cutover/S1", "mapping": "/mapping"}.items():
            self.assertEqual(self.goes(pages + place), 200, place)
            self.look(name)
        for mode in ("legacy", "shadow", "v2"):
            self.goes(f"{pages}/cutover/S1")
            self.evaluate(f"document.querySelector('#turn [name=mode]').value = '{mode}'")
            self.evaluate("document.querySelector('#turn [name=reason]').value = 'CUT-7'")
            self.evaluate("document.querySelector('#turn button').click()")
            browser.BreakGlass.wait(self, "the effect", lambda: "Check before you confirm" in self.words())
            self.look(f"turn-{mode}")
            self.evaluate("document.querySelector('form[action$=confirm] button').click()")
            said = f"S1 is on {mode} in the only gate"
            browser.BreakGlass.wait(self, said, lambda said=said: said in self.words())
        self.look("cluster-turned")
        self.evaluate("document.querySelector('form[action$=back] button').click()")
        browser.BreakGlass.wait(self, "the way back", lambda: "S1 is on shadow in the only gate" in self.words())
        self.goes(f"{pages}/mapping")
        self.assertIn("turn by operator", self.words())
        self.assertIn("S1 to v2: CUT-7", self.words())
        self.evaluate("[...document.querySelectorAll('main a')].find((one) => one.textContent.startsWith('Changes')).click()")
        self.loaded()
        browser.BreakGlass.wait(self, "the difference", lambda: "What it opens and closes" in self.words())
        self.look("mapping-diff")


if __name__ == "__main__":
    if browser.CHROMIUM is None:
        browser.skip("chromium is not installed (tests/setup.sh suites)")
    if not AXE.is_file():
        browser.skip("axe-core is not installed (tests/setup.sh suites)")
    if not browser.GATE.is_file():
        sys.exit(f"browser: {browser.GATE} is not built")
    unittest.main()
