"""README's first hour, with a stop-watch: see play.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "deploy")]

from machine import GATE, apart, why_not  # noqa: E402
from shell import commands  # noqa: E402
from test_compose import note  # noqa: E402


class FirstHour(unittest.TestCase):
    def test_readme_on_a_clean_folder(self) -> None:
        # The commands use the ports that they name, so they run where nobody else does.
        if reason := why_not():
            note(f"tests/first_hour: {reason}")
            self.skipTest(reason)
        work = Path(tempfile.mkdtemp(prefix="gate-first-hour-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, work, ignore_errors=True)
        ran = subprocess.run(apart(HERE / "play.py", str(work)), check=False, capture_output=True, text=True,
                             env={**os.environ, "GATE": str(GATE)})
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        print(ran.stdout)

    def test_blocks_are_read_as_written(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "page.md"
            page.write_text("<!-- run: a -->\n```bash\none \\\n  two\n\n# no\nthree &  # yes\n```\n", encoding="utf-8")
            self.assertEqual(commands(page, "a"), ["one   two", "three &  # yes"])
            with self.assertRaises(AssertionError):
                commands(page, "b")


if __name__ == "__main__":
    unittest.main()
