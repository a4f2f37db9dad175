"""The compose files are played (machine.py says how), and somebody logs in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from machine import DOCKER, GATE, ROOT, apart, why_not  # noqa: E402
from tier import only_in_all  # noqa: E402

HERE = Path(__file__).resolve().parent
SKIPPED = ROOT / "target" / "tmp" / "skipped.txt"


def note(what: str) -> None:
    """In the list that `make test` prints at its end."""
    SKIPPED.parent.mkdir(parents=True, exist_ok=True)
    with open(SKIPPED, "a", encoding="utf-8") as file:
        file.write(what + "\n")


class Compose(unittest.TestCase):
    def setUp(self) -> None:
        # Below /tmp: the path of Postgres's socket is limited to 107 bytes.
        self.work = Path(tempfile.mkdtemp(prefix="gate-compose-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        os.chmod(self.work, 0o755)
        for name in ("work", "secrets"):
            (self.work / name).mkdir()
        shutil.copy(DOCKER / "secrets.sh", self.work / "secrets")
        self.secrets = subprocess.run(["sh", self.work / "secrets" / "secrets.sh"], check=False, capture_output=True, text=True)

    def play(self, script: str, **more: str) -> None:
        if reason := why_not():
            note(f"tests/deploy/{script}: {reason}")
            self.skipTest(reason)
        ran = subprocess.run(apart(HERE / script, str(self.work / "work"), str(self.work / "secrets")), check=False,
                             capture_output=True, text=True, env={**os.environ, "GATE": str(GATE), **more})
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    @only_in_all("test_own plays a compose file in the quick tier")
    def test_brook(self) -> None:
        self.play("play_brook.py")

    def test_own(self) -> None:
        secrets = self.work / "secrets"
        said = dict(line.split("=", 1) for line in (secrets / "gate.env").read_text(encoding="utf-8").splitlines())
        for file, names in (("secrets.env", ("CONSOLE_SECRET_KEY", "CONSOLE_GATE_KEYS")), ("gate.env", ("CONSOLE_GATE_AUDIT_KEYS",))):
            (secrets / file).write_text("".join(f"{name}={said[name]}\n" for name in names), encoding="utf-8")
        self.play("play_own.py", CONSOLE_IMAGE="console")

    def test_secrets_are_written_once_for_one_reader(self) -> None:
        self.assertEqual(self.secrets.returncode, 0, self.secrets.stderr)
        files = [self.work / "secrets" / name for name in ("postgres.env", "brook.env", "gate.env")]
        self.assertEqual([file.stat().st_mode & 0o777 for file in files], [0o600] * 3)
        before = [file.read_text(encoding="utf-8") for file in files]
        self.assertTrue(all(re.fullmatch(r"\w+=\S{5,}", line) for text in before for line in text.splitlines()), before)
        again = subprocess.run(["sh", self.work / "secrets" / "secrets.sh"], check=False, capture_output=True, text=True)
        self.assertEqual(again.returncode, 1)
        self.assertEqual([file.read_text(encoding="utf-8") for file in files], before)


if __name__ == "__main__":
    unittest.main()
