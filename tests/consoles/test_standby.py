"""What a gate does when its connections lead to a standby: it decides nothing by what the standby has.

A primary with a streaming standby, and a gate whose `database.url` names a folder that is moved from the one to the other, as a
name does that is repointed too early, or a proxy that balances reads.
"""

from __future__ import annotations

import hashlib
import http.client
import http.server
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import psycopg  # noqa: E402
from itsdangerous import TimestampSigner, URLSafeTimedSerializer  # noqa: E402

from ports import free_port  # noqa: E402
from postgres import Postgres, programs  # noqa: E402
from real_gate import GATE, KEYS, until  # noqa: E402
from tier import in_tier  # noqa: E402

STALENESS_MS = in_tier(quick=300, full=1_000)
# For how long it asks after both limits.
LONGER_SECONDS = in_tier(quick=0.5, full=2.0)
SETTINGS = """environment = "development"
[listen]
proxy = "127.0.0.1:{port}"
admin = "unix:{folder}/admin.sock"
upgrade_socket = "{folder}/upgrade.sock"
[upstream]
servers = ["127.0.0.1:{console}"]
[database]
url = "{url}"
[mapping]
watch = false
[access]
max_staleness_ms = {staleness}
"""
ROUTES = """version = 1
unmapped = "deny"
[clusters]
S1 = "v2"
[blueprints.strict]
cluster = "S1"
[blueprints.strict.routes]
"GET /console/strict" = { legacy = ["ops"], role = "console-user" }
[blueprints.push]
cluster = "S1"
freshness = "push"
[blueprints.push.routes]
"GET /console/push" = { legacy = ["ops"], role = "console-user" }
"""


class Page(http.server.BaseHTTPRequestHandler):
    """Console, as far as it matters here."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_what: Any) -> None:
        """Nobody reads it."""


def program(name: str) -> Path:
    """Beside the server, or where Debian keeps it."""
    found = [folder / name for folder in (programs(), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    return next(path for path in found if path.exists())


class Standby:
    """A streaming standby of a server, with its socket in a folder of its own."""

    def __init__(self, primary: Postgres) -> None:
        self.primary = primary

    def __enter__(self) -> Standby:
        self.folder = Path(tempfile.mkdtemp(prefix="gate-pg-", dir="/tmp"))
        who: dict[str, Any] = {"cwd": self.folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if os.geteuid() == 0:  # Postgres refuses to run as root.
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            who |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        subprocess.run([program("pg_basebackup"), "-h", self.primary._folder, "-U", "postgres", "-D", self.folder / "data", "-R",
                        "--checkpoint=fast"], check=True, **who)
        self.server = subprocess.Popen([program("postgres"), "-D", self.folder / "data", "-c", "listen_addresses=", "-c", "fsync=off",
                                        "-c", f"unix_socket_directories={self.folder}"], **who)
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.send_signal(signal.SIGQUIT)
        self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def has_server() -> bool:
    try:
        return bool(programs())
    except FileNotFoundError:
        return False


# Also where the other tests share a server: a standby is made of one's own.
@unittest.skipUnless(has_server(), "no Postgres server is installed")
class AtAStandby(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gate-standby-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.primary = self.enterContext(Postgres(own=True, tcp=False))  # the gate is led to another by a link
        console = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=console.serve_forever, daemon=True).start()
        self.addCleanup(console.server_close)
        self.addCleanup(console.shutdown)
        self.port = free_port()
        direct = self.primary.database()
        self.link = self.folder / "database"
        self.lead_to(self.primary._folder)
        (self.folder / "routes.toml").write_text(ROUTES)
        url = direct.replace(str(self.primary._folder), str(self.link))
        settings = SETTINGS.format(port=self.port, folder=self.folder, console=console.server_port, url=url, staleness=STALENESS_MS)
        (self.folder / "gate.toml").write_text(settings)
        self.run_gate("migrate", "--seed", "rbac-v2")
        self.at_primary = self.connect(direct)
        self.at_primary.execute("INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.com')")
        self.run_gate("group", "add", "raxx-support-team", "anna")
        self.run_gate("flag", "rbac-v2", "on")
        self.standby = self.enterContext(Standby(self.primary))
        self.at_standby = self.connect(direct.replace(str(self.primary._folder), str(self.standby.folder)))
        serializer = URLSafeTimedSerializer(KEYS["CONSOLE_SECRET_KEY"], salt="cookie-session", signer=TimestampSigner,
                                            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1})
        self.session = str(serializer.dumps({"admin_id": "anna"}))

    def connect(self, url: str) -> psycopg.Connection[Any]:
        def connected() -> psycopg.Connection[Any] | None:
            try:
                return psycopg.connect(url, autocommit=True)
            except psycopg.OperationalError:
                return None

        connection = until("Postgres answers", connected)
        self.addCleanup(connection.close)
        return connection

    def lead_to(self, folder: Path) -> None:
        moved = self.folder / "moved"
        moved.symlink_to(folder)
        moved.rename(self.link)

    def end_connections(self) -> None:
        for connection in (self.at_primary, self.at_standby):
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                               " WHERE pid <> pg_backend_pid() AND application_name LIKE 'console-gate%'")

    def run_gate(self, *command: str, code: int = 0) -> str:
        ran = subprocess.run([GATE, *command, "--config", "gate.toml"], cwd=self.folder, env={**os.environ, **KEYS},
                             capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(ran.returncode, code, f"{command}\n{ran.stdout}{ran.stderr}")
        return ran.stdout + ran.stderr

    def start(self) -> None:
        log = open(self.folder / "log", "wb")  # noqa: SIM115
        self.addCleanup(log.close)
        gate = subprocess.Popen([GATE, "serve", "--config", "gate.toml"], cwd=self.folder, env={**os.environ, **KEYS}, stdout=log,
                                stderr=log)
        self.addCleanup(gate.wait, 30)
        self.addCleanup(gate.terminate)

    def ask(self, row: str) -> int | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", f"/console/{row}", headers={"Cookie": f"session={self.session}"})
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def test_nothing_is_decided_by_what_a_standby_has(self) -> None:
        self.start()
        for row in ("strict", "push"):
            until(f"{row} is allowed", lambda row=row: self.ask(row) == 200)
        self.at_standby.execute("SELECT pg_wal_replay_pause()")
        self.lead_to(self.standby.folder)
        self.end_connections()
        self.at_primary.execute("DELETE FROM console_gate.rbac_user_groups WHERE user_id = 'anna'")
        revoked = time.monotonic()
        # What is there to be lagged behind: the standby still has the membership.
        [(there,)] = self.at_standby.execute("SELECT count(*) FROM console_gate.rbac_user_groups WHERE user_id = 'anna'").fetchall()
        self.assertEqual(there, 1)
        answers = set()
        while time.monotonic() < revoked + 2 * STALENESS_MS / 1000 + LONGER_SECONDS:
            asked = time.monotonic()
            answers.add(("strict", self.ask("strict")))
            if asked > revoked + STALENESS_MS / 1000:
                answers.add(("push", self.ask("push")))
        self.assertEqual(answers, {("strict", 503), ("push", 503)})
        said = self.run_gate("doctor", code=1)
        self.assertRegex(said, r"(?s)FAIL\s+database.*standby.*primary")
        self.lead_to(self.primary._folder)
        self.end_connections()
        for row in ("strict", "push"):
            until(f"{row} is denied", lambda row=row: self.ask(row) == 403)


if __name__ == "__main__":
    unittest.main()
