#!/usr/bin/env python3
"""Break-glass in a real browser: Chromium with a virtual authenticator registers a passkey on the gate's page, starts a session
with it, and is let in; without user verification it is not.

Chromium is driven over its debugging pipe (CDP), so nothing but Debian's package and Python's standard library is needed, and
`itsdangerous` for the session cookie. Where one of them is missing, that is noted in target/tmp/skipped.txt.

    [SHOW_LOG=1] .venv/bin/python tests/browser/break_glass.py
"""

from __future__ import annotations

import fcntl
import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parents[2]
GATE = Path(os.environ.get("GATE", ROOT / "target" / "debug" / "console-gate")).resolve()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 60
SECRET = "a secret of the tests"
KEYS = {
    "CONSOLE_GATE_KEYS": "tests:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "CONSOLE_GATE_AUDIT_KEYS": "audit:OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=",
    "CONSOLE_SECRET_KEY": SECRET,
}
REASON = "the database is down, and nobody on call answers"
ROUTES = """
version = 1
clusters.V = "v2"
[blueprints.break_glass.routes]
"GET,POST /api/rbac/break-glass" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST,DELETE /api/rbac/break-glass/*" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST /api/rbac/passkeys" = { session = true, gate = true, unauthenticated = "401" }
"POST /api/rbac/passkeys/challenge" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/me" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/requests" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST /console/rbac/*" = { session = true, gate = true }
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /emergency" = { legacy = ["nobody"], role = "only-in-emergencies" }
"""


def skip(why: str) -> None:
    note = ROOT / "target" / "tmp" / "skipped.txt"
    note.parent.mkdir(parents=True, exist_ok=True)
    with note.open("a", encoding="utf-8") as file:
        file.write(f"browser: {why}\n")
    print(f"browser: left out: {why}", file=sys.stderr)
    raise SystemExit(0)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def serve(answer: bytes) -> tuple[http.server.ThreadingHTTPServer, int]:
    """A server that says the same to everybody."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.server_address[1]


class Chromium:
    """A browser, driven over its debugging pipe: messages of JSON, each ended by a NUL."""

    def __init__(self, folder: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]
        # It reads at 3 and writes at 4: neither may be one of these two, and only bash takes numbers of two digits.
        low, (to_browser, from_browser) = (to_browser, from_browser), (
            fcntl.fcntl(to_browser, fcntl.F_DUPFD, 20), fcntl.fcntl(from_browser, fcntl.F_DUPFD, 20))
        for one in low:
            os.close(one)
        script = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"'
        self.process = subprocess.Popen(["bash", "-c", script, "bash", *command], pass_fds=(to_browser, from_browser),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HOME": str(folder)})
        os.close(to_browser)
        os.close(from_browser)
        self._number, self._rest = 0, b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if hasattr(self, "session"):
            message["sessionId"] = self.session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                more = os.read(self._read, 65536)
                if not more:
                    raise RuntimeError("the browser has ended")
                self._rest += more
            one, self._rest = self._rest.split(b"\0", 1)
            answer = json.loads(one)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def evaluate(self, script: str) -> Any:
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def close(self) -> None:
        os.close(self._write)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._read)


class BreakGlass(unittest.TestCase):
    def setUp(self) -> None:
        from itsdangerous import URLSafeTimedSerializer

        self.work = Path(tempfile.mkdtemp(prefix="gate-browser-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        self.addCleanup(self.explain)
        upstream, upstream_port = serve(b"let in")
        slack, slack_port = serve(b"ok")
        for server in (upstream, slack):
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)
        self.port = free_port()
        self.origin = f"http://localhost:{self.port}"
        (self.work / "routes.toml").write_text(ROUTES, encoding="utf-8")
        (self.work / "gate.toml").write_text(f"""
environment = "development"
[listen]
proxy = "127.0.0.1:{self.port}"
admin = "unix:{self.work}/admin.sock"
upgrade_socket = "{self.work}/upgrade.sock"
[upstream]
servers = ["127.0.0.1:{upstream_port}"]
[database]
url = "sqlite:gate.sqlite"
[firewall]
allowed_hosts = ["localhost:{self.port}"]
[break_glass]
origin = "{self.origin}"
[alerts]
canary_minutes = 0
[alerts.slack]
""", encoding="utf-8")
        self.environment = {**os.environ, **KEYS, "FLAG_RBAC_V2": "1",
                            "CONSOLE_GATE_SLACK_WEBHOOK": f"http://127.0.0.1:{slack_port}/services/x"}
        self.gate("migrate", "--seed", "rbac-v2")
        for command in (("role", "create", "only-in-emergencies"), ("group", "grant-role", "break-glass", "only-in-emergencies"),
                        ("admin", "add", "anna", "--email", "anna@example.org"), ("group", "add", "raxx-platform-admins", "anna")):
            self.gate(*command)
        log = (self.work / "log").open("wb")
        self.addCleanup(log.close)
        server = subprocess.Popen([GATE, "serve", "--config", "gate.toml"], cwd=self.work, env=self.environment, stdout=log, stderr=log)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        self.wait("the gate", lambda: self.status("/emergency") in (302, 401))
        signer = URLSafeTimedSerializer(SECRET, salt="cookie-session",
                                        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1})
        self.cookie = signer.dumps({"admin_id": "anna"})
        self.browser = Chromium(self.work / "profile")
        self.addCleanup(self.browser.close)
        self.browser.call("Network.setCookie", name="session", value=self.cookie, url=self.origin)
        self.browser.call("WebAuthn.enable")
        self.authenticator = self.browser.call("WebAuthn.addVirtualAuthenticator", options={
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True})["authenticatorId"]

    def explain(self) -> None:
        """Prints what the gate has logged, where SHOW_LOG asks for that."""
        if os.environ.get("SHOW_LOG"):
            print((self.work / "log").read_text(errors="replace"), file=sys.stderr)

    def gate(self, *command: str) -> str:
        ran = subprocess.run([GATE, *command, "--config", "gate.toml"], cwd=self.work, env=self.environment, capture_output=True,
                             text=True, check=False)
        self.assertEqual(ran.returncode, 0, f"{command}\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def status(self, path: str, cookie: str = "") -> int:
        class NoRedirect(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_: Any) -> None:
                return None

        request = urllib.request.Request(self.origin.replace("localhost", "127.0.0.1") + path,
                                         headers={"Host": self.origin.removeprefix("http://"), "Cookie": f"session={cookie}"})
        try:
            with urllib.request.build_opener(NoRedirect).open(request, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as refused:
            return refused.code
        except OSError:
            return 0

    def wait(self, what: str, done: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while True:
            if value := done():
                return value
            if time.monotonic() > deadline:
                log = (self.work / "log").read_text(errors="replace")
                self.fail(f"{what}: not within {PATIENCE} s\n{log[-4000:]}")
            time.sleep(0.05)

    def open_page(self) -> None:
        self.browser.call("Page.navigate", url=f"{self.origin}/console/rbac/break-glass")
        self.wait("the page", lambda: self.browser.evaluate("document.readyState === 'complete' && document.getElementById('start')?.hidden === false"))

    def submit(self, form: str, status: str, values: dict[str, str]) -> tuple[str, str]:
        """Fills a form in and sends it off. Returns what it says at the end, and whether that is good."""
        for name, value in values.items():
            self.browser.evaluate(f"document.getElementById({json.dumps(name)}).value = {json.dumps(value)}")
        self.browser.evaluate(f"document.querySelector('#{form} button').click()")
        self.wait("an answer", lambda: self.browser.evaluate(f"document.getElementById('{status}').className"))
        element = f"document.getElementById('{status}')"
        return self.browser.evaluate(f"{element}.textContent"), self.browser.evaluate(f"{element}.className")

    def test_a_person_registers_a_passkey_and_starts_a_session(self) -> None:
        self.open_page()
        wanted = {"reason": REASON, "minutes": "30", "ticket": "RAXX-7"}
        said, kind = self.submit("start", "started", wanted)
        self.assertTrue(kind == "bad" and "passkey invite" in said, said)
        self.open_page()
        said, kind = self.submit("register", "registered", {"label": "laptop", "code": "ABCD-EFGH"})
        self.assertTrue(kind == "bad" and "code is not valid" in said, said)
        self.open_page()
        code = self.gate("passkey", "invite", "anna").strip()
        said, kind = self.submit("register", "registered", {"label": "laptop", "code": code})
        self.assertEqual((said, kind), ("The passkey laptop is registered.", "ok"))
        self.assertEqual(self.status("/emergency", self.cookie), 403)
        # Whoever has the device, and cannot unlock it.
        self.browser.call("WebAuthn.setUserVerified", authenticatorId=self.authenticator, isUserVerified=False)
        self.open_page()
        said, kind = self.submit("start", "started", wanted)
        self.assertEqual(kind, "bad", said)
        self.assertEqual(self.status("/emergency", self.cookie), 403)
        self.browser.call("WebAuthn.setUserVerified", authenticatorId=self.authenticator, isUserVerified=True)
        self.open_page()
        said, kind = self.submit("start", "started", wanted)
        self.assertTrue(kind == "ok" and said.startswith("The session "), said)
        self.assertEqual(self.status("/emergency", self.cookie), 200)
        session = said.split()[2]
        # Each page has the end of the session on top, and what is left of it.
        self.browser.call("Page.navigate", url=f"{self.origin}/console/rbac/me")
        self.wait("the strip", lambda: "min left" in (self.browser.evaluate("document.querySelector('.strip')?.textContent") or ""))
        self.assertIn(f"{session}  anna  live until", self.gate("break-glass", "list"))
        self.gate("break-glass", "end", session)
        self.assertEqual(self.status("/emergency", self.cookie), 403)
        self.assertIn("GET /emergency", self.gate("break-glass", "requests", session))
        # The same authenticator is no further passkey, though it signs for one. Nothing else runs on the page.
        self.open_page()
        said, kind = self.submit("register", "registered", {"label": "key", "code": ""})
        self.assertEqual(kind, "bad", said)
        self.assertEqual(len(json.loads(self.gate("passkey", "list", "--format", "json"))), 1)
        ran = self.browser.evaluate(
            "(() => { const one = document.createElement('script'); one.textContent = 'window.ran = true';"
            " document.body.append(one); return window.ran === true; })()")
        self.assertFalse(ran, "the policy of the page lets a script run that it does not name")


if __name__ == "__main__":
    if CHROMIUM is None:
        skip("chromium is not installed (tests/setup.sh suites)")
    try:
        import itsdangerous  # noqa: F401
    except ModuleNotFoundError:
        skip("itsdangerous is not installed (tests/setup.sh test)")
    if not GATE.is_file():
        sys.exit(f"browser: {GATE} is not built")
    unittest.main()
