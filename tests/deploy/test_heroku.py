"""The Procfile's lines, as a platform runs them: a shell, `$PORT`, SIGTERM; Brook is the app."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from machine import GATE, ROOT  # noqa: E402
from drive import Browser, log_in, read_folder  # noqa: E402
from ports import free_port  # noqa: E402
from postgres import shared  # noqa: E402
from real_gate import is_answered  # noqa: E402
from test_compose import note  # noqa: E402

HEROKU = ROOT / "deploy" / "heroku"
BROOK = ROOT / "tests" / "consoles" / "brook"
SETTINGS = """
environment = "staging"
[listen]
admin = "unix:{folder}/admin.sock"
drain_ms = 25000
[audit]
spool_bytes = 0
[session]
cookie_name = "brook"
admin_id_key = "staff_id"
login_path = "/login"
[forwarded]
trusted_hops = 1
[console]
admins           = "SELECT u.id, u.left_on IS NOT NULL AS disabled, u.name AS label FROM public.staff u WHERE u.id = $1::integer"
all_admins       = "SELECT u.id, u.left_on IS NOT NULL AS disabled, u.name AS label FROM public.staff u"
legacy_roles     = "SELECT u.role AS role FROM public.staff u WHERE u.id = $1::integer"
all_legacy_roles = "SELECT u.id AS admin_id, u.role AS role FROM public.staff u"
admins_key       = "public.staff.id"
"""


class Heroku(unittest.TestCase):
    def test_app_json(self) -> None:
        said = json.loads((HEROKU / "app.json").read_text(encoding="utf-8"))
        self.assertIn("heroku-postgresql", said["addons"])
        # What the Procfile takes from the environment is promised here, or by the add-on.
        procfile = (HEROKU / "Procfile").read_text(encoding="utf-8")
        self.assertIn("$DATABASE_URL", procfile)
        self.assertIn("$SECRET_KEY", procfile)
        self.assertLessEqual({"SECRET_KEY", "CONSOLE_GATE_AUDIT_KEYS", "CONSOLE_GATE_CONFIG"}, set(said["env"]))

    def test_release_and_web(self) -> None:
        if subprocess.run([GATE, "exec", "--help"], check=False, capture_output=True).returncode != 0:
            note("tests/deploy/test_heroku.py: this gate has no `exec`")
            self.skipTest("no `exec`")
        lines = dict(line.split(": ", 1) for line in (HEROKU / "Procfile").read_text(encoding="utf-8").splitlines())
        work = Path(tempfile.mkdtemp(prefix="gate-heroku-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, work, ignore_errors=True)
        url, port = shared().database(), free_port()
        app, programs = work / "app", work / "bin"
        shutil.copytree(BROOK, app, ignore=shutil.ignore_patterns("gate.toml", "*.sh", "gunicorn.conf.py", "__pycache__"))
        (app / "app.py").write_text("from brook import create_app\napp = create_app()\n", encoding="utf-8")
        (app / "gate.toml").write_text(SETTINGS.format(folder=work), encoding="utf-8")
        programs.mkdir()
        (programs / "console-gate").symlink_to(GATE)
        key = subprocess.run([GATE, "keygen"], check=True, capture_output=True, text=True).stdout.strip()
        environment = {"PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]), "HOME": str(work),
                       "PORT": str(port), "DATABASE_URL": url, "SECRET_KEY": "a secret of the tests", "CONSOLE_GATE_AUDIT_KEYS": key,
                       "CONSOLE_GATE_CONFIG": "gate.toml", "BROOK_DATABASE": url, "USE_GATE": "1", "CONSOLE_GATE_AUDIENCE": "console",
                       "PYTHONPATH": str(ROOT / "deploy" / "flask")}
        run = lambda line: subprocess.run(["bash", "-c", line], check=True, cwd=app, env=environment, capture_output=True)  # noqa: E731
        run("python brook.py init && python brook.py seed")
        run(lines["release"])
        run(f'export CONSOLE_GATE_DATABASE_URL="{url}"; GATE=console-gate sh {BROOK}/groups.sh')
        log = work / "web.log"
        with open(log, "wb") as output:
            web = subprocess.Popen(["bash", "-c", lines["web"]], cwd=app, env=environment, stdout=output, stderr=output,
                                   start_new_session=True)
        try:
            base, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
            people, script = read_folder(BROOK)
            while True:
                if is_answered(base, "/healthz"):
                    break
                self.assertTrue(web.poll() is None and time.monotonic() < deadline, log.read_text())
                time.sleep(0.1)
            for name, status in (("boss", 200), ("guest", 403)):
                browser = Browser(base)
                self.addCleanup(browser.close)
                log_in(browser, next(person for person in people if person["name"] == name), script)
                self.assertEqual(browser.ask("GET", "/wages").status, status, log.read_text())
            # A platform sends SIGTERM to every process of the group.
            os.killpg(web.pid, signal.SIGTERM)
            self.assertIn(web.wait(timeout=40), (0, -signal.SIGTERM, 143), log.read_text())
            self.assertFalse(is_answered(base, "/healthz"))
        finally:
            try:
                os.killpg(web.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


if __name__ == "__main__":
    unittest.main()
