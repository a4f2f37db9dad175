"""The files of deploy/caddy, in a real Caddy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from machine import GATE, ROOT, apart, why_not  # noqa: E402
from tier import only_in_all  # noqa: E402
from test_compose import note  # noqa: E402


@only_in_all("Caddy is not everywhere")
class Caddy(unittest.TestCase):
    def play(self, name: str) -> None:
        reason = why_not() or (None if shutil.which("caddy") else "no `caddy`")
        if reason:
            note(f"tests/deploy/play_caddy.py: {reason}")
            self.skipTest(reason)
        work = Path(tempfile.mkdtemp(prefix="gate-caddy-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, work, ignore_errors=True)
        script = Path(__file__).resolve().parent / "play_caddy.py"
        ran = subprocess.run(apart(script, str(ROOT / "deploy" / "caddy" / name), str(work)), check=False, capture_output=True,
                             text=True, env={**os.environ, "GATE": str(GATE)})
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_before_the_gate(self) -> None:
        self.play("Caddyfile")

    def test_forward_auth(self) -> None:
        self.play("forward-auth.Caddyfile")


if __name__ == "__main__":
    unittest.main()
