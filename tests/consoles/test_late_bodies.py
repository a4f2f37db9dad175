"""Servers that send the body of a HEAD, a moment after its head: nobody else gets it.

Of real servers, waitress, gunicorn with threads or gevent, uWSGI and hypercorn pass on what the application sends.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from drive import Browser  # noqa: E402
from ports import free_port  # noqa: E402
from real_gate import GATE, KEYS, START_SECONDS, is_answered  # noqa: E402
from tier import in_tier  # noqa: E402

BIN = Path(sys.executable).parent
SERVERS = {
    "waitress": [BIN / "waitress-serve", "--listen=127.0.0.1:{port}", "late_app:app"],
    "gunicorn sync": [BIN / "gunicorn", "--bind=127.0.0.1:{port}", "late_app:app"],
    "gunicorn gthread": [BIN / "gunicorn", "--bind=127.0.0.1:{port}", "--worker-class=gthread", "--threads=8", "late_app:app"],
    "gunicorn gevent": [BIN / "gunicorn", "--bind=127.0.0.1:{port}", "--worker-class=gevent", "late_app:app"],
    "uWSGI": [BIN / "uwsgi", "--http-socket=127.0.0.1:{port}", "--http-keepalive", "--threads=8", "--master", "--die-on-term",
              "--disable-logging", "--wsgi-file=late_app.py", "--callable=app"],
    "hypercorn": [BIN / "hypercorn", "--bind=127.0.0.1:{port}", "wsgi:late_app:app"],
}
ROUNDS = in_tier(quick=60, full=1_000)
ASKERS = 8
SETTINGS = """
environment = "staging"
[listen]
proxy = "unix:{folder}/gate.sock"
admin = "unix:{folder}/admin.sock"
[upstream]
servers = ["127.0.0.1:{port}"]
health_interval_ms = 600000
[database]
url = "sqlite:{folder}/gate.sqlite"
"""
ROUTES = """version = 1
[blueprints.all.routes]
"* /*" = {{ public = true }}
""".format()


class LateBodies(unittest.TestCase):
    def start(self, command: list[str], address: str, path: str) -> None:
        log = (self.folder / "log").open("ab")
        self.addCleanup(log.close)
        process = subprocess.Popen(command, cwd=HERE, env=self.environment, stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        deadline = time.monotonic() + START_SECONDS
        while not is_answered(address, path):
            said = (self.folder / "log").read_text(errors="replace")
            self.assertTrue(process.poll() is None and time.monotonic() < deadline, f"{command} does not answer:\n{said}")
            time.sleep(0.02)

    def serve(self, server: str) -> str:
        """The gate's address, with `server` behind it."""
        self.folder = Path(tempfile.mkdtemp(prefix="gate-late-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.environment = {**KEYS, "PATH": f"{BIN}:/usr/bin:/bin", "PYTHONPATH": str(HERE)}
        port = free_port()
        (self.folder / "gate.toml").write_text(SETTINGS.format(folder=self.folder, port=port))
        (self.folder / "routes.toml").write_text(ROUTES)
        config = f"--config={self.folder}/gate.toml"
        subprocess.run([GATE, "migrate", "--seed", "rbac-v2", config], env=self.environment, check=True, capture_output=True)
        self.start([str(word).format(port=port) for word in SERVERS[server]], f"http://127.0.0.1:{port}", "/healthz")
        gate = f"unix:{self.folder}/gate.sock"
        self.start([str(GATE), "serve", config], gate, "/healthz")
        return gate

    def test_everybody_gets_the_answer_to_their_own_request(self) -> None:
        for server in SERVERS:
            with self.subTest(server):
                if not Path(SERVERS[server][0]).exists():
                    self.skipTest(f"{server} is not installed")
                gate, wrong = self.serve(server), []

                def ask(asker: int, gate: str = gate, wrong: list[str] = wrong) -> None:
                    browser = Browser(gate)
                    for number in range(ROUNDS):
                        path = f"/{asker}/{number}"
                        if browser.ask("HEAD", f"/head{path}").status != 200:
                            wrong.append(f"HEAD {path}")
                        answer = browser.ask("GET", path)
                        if answer.body != f"an answer to {path}".encode():
                            wrong.append(f"{path}: {answer.status} {answer.body!r}")
                    browser.close()

                askers = [threading.Thread(target=ask, args=(asker,)) for asker in range(ASKERS)]
                for asker in askers:
                    asker.start()
                for asker in askers:
                    asker.join()
                self.assertEqual(wrong, [])
                self.doCleanups()


if __name__ == "__main__":
    unittest.main()
