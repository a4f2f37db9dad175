"""README's "Put it in front of your own app", word by word, on Brook: nothing but Brook's own folder and database.

The lines are read out of README.md and run in one shell. What README tells a reader to add to gate.toml is added between
the first line and the second.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from drive import differences, matrix  # noqa: E402
from real_gate import GATE, HERE, ROOT, BrookServed, is_answered, until  # noqa: E402

SECTION = "## Put it in front of your own app"
# Brook's settings as an operator would add them: what no table can tell.
REST = """
[listen]
proxy = "{proxy}"
admin = "{admin}"
[upstream]
servers = ["{console}"]
host = "brook.internal"
[session]
cookie_name = "brook"
admin_id_key = "staff_id"
login_path = "/login"
"""


def lines_of_readme() -> list[str]:
    """The lines of the first fenced block of the section."""
    _, _, after = (ROOT / "README.md").read_text(encoding="utf-8").partition(SECTION)
    block = re.search(r"^```\w*\n(.*?)^```$", after, re.MULTILINE | re.DOTALL)
    if block is None:
        raise AssertionError(f"README.md has no lines to run under `{SECTION}`")
    return block.group(1).splitlines()


class ReadmeOnBrook(BrookServed, unittest.TestCase):
    def prepare(self) -> None:
        pass

    def test_the_lines_put_the_gate_in_front(self) -> None:
        lines = lines_of_readme()
        self.assertLessEqual(len(lines), 11)
        app = self.work / "app"
        shutil.copytree(HERE / "brook", app, ignore=shutil.ignore_patterns("*.toml", "*.sh", "__pycache__"))
        programs = self.work / "bin"
        programs.mkdir()
        (programs / "console-gate").symlink_to(GATE)
        rest = self.work / "rest.toml"
        rest.write_text(REST.format(proxy=self.through, admin=self.admin, console=self.direct), encoding="utf-8")
        # README's prose: the keys, and the app's own database. Nothing else of the harness's settings.
        given = {name: value for name, value in self.everything.items() if not name.startswith("CONSOLE_GATE_")}
        given |= {name: self.everything[name] for name in (
            "CONSOLE_GATE_KEYS", "CONSOLE_GATE_AUDIT_KEYS", "CONSOLE_SECRET_KEY", "CONSOLE_GATE_DATABASE_URL")}
        given["PATH"] = f"{programs}{os.pathsep}{given['PATH']}"
        first = next(number for number, line in enumerate(lines) if "gate.toml" in line)
        # Lines that go on as a comment belong to the first.
        while lines[first + 1].lstrip().startswith("#"):
            first += 1
        script = "\n".join([
            "trap 'echo \"failed ($?): $BASH_COMMAND\" >&2' ERR", *lines[:first + 1], f"cat {rest} >> gate.toml",
            *lines[first + 1:]])
        log = self.work / "script.log"
        with self.console_running():
            direct = self.ask(self.direct)
            with open(log, "wb") as output:
                shell = subprocess.Popen(["bash", "-c", script], cwd=app, env=given, stdout=output, stderr=output,
                                         start_new_session=True)
            try:
                until(f"the last line serves:\n{log.read_text()}",
                      lambda: shell.poll() is not None or is_answered(self.admin, "/readyz"), seconds=90)
                said = log.read_text(encoding="utf-8")
                self.assertIsNone(shell.poll(), said)
                # An import says by its exit code what is left to review: Brook's own `before_request`.
                failed = re.findall(r"(?m)^failed \((\d+)\): (\S+ \S+)", said)
                self.assertEqual(set(failed), {("1", "console-gate import")}, said)
                answered = matrix(self.through, self.work)
                # Which paths answer 401 in place of a redirect is in no decorator: `unauthenticated` is for a person to add.
                self.assertEqual(differences(direct, answered), ["anonymous: GET /api/week.csv: 401 / 302 /login"])
                self.assertIn("sales", (app / "plan.json").read_text(encoding="utf-8"))
            finally:
                os.killpg(shell.pid, signal.SIGTERM)
                shell.wait()
        proposed = tomllib.loads((app / "gate.toml").read_text(encoding="utf-8"))["console"]
        self.assertIn("left_on IS NOT NULL AS disabled", proposed["admins"].replace('"', ""))
        # Each decorator has become a row on its legacy gate, and nobody was left out.
        table = tomllib.loads((app / "routes.toml").read_text(encoding="utf-8"))
        rows = {route: row for blueprint in table["blueprints"].values() for route, row in blueprint["routes"].items()}
        reviewed = tomllib.loads((HERE / "brook" / "routes.toml").read_text(encoding="utf-8"))
        for blueprint in reviewed["blueprints"].values():
            for route, row in blueprint["routes"].items():
                self.assertEqual(set(rows[route].get("legacy", [])), set(row.get("legacy", [])), route)


if __name__ == "__main__":
    unittest.main()
