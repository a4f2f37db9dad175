"""The book: what it is built of, its links, and what is said in it of the program."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "docs"), str(HERE.parent / "deploy")]

import build  # noqa: E402
import picture  # noqa: E402
from machine import GATE, ROOT, apart, why_not  # noqa: E402
from tier import only_in_all  # noqa: E402
from test_compose import note  # noqa: E402

TOOLS = ROOT / "target" / "tools" / "bin"


def sources() -> str:
    """The program's texts, each in one piece and without what is filled in."""
    text = "\n".join(file.read_text(encoding="utf-8") for folder in ("src", "crates") for file in sorted((ROOT / folder).rglob("*.rs")))
    return re.sub(r"\\\n\s*", "", text).replace("`", "")


class Book(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = Path(tempfile.mkdtemp(prefix="gate-book-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        build.build(cls.folder / "source")

    def page(self, path: str) -> str:
        return (self.folder / "source" / path).read_text(encoding="utf-8")

    def test_every_page_is_in_the_summary(self) -> None:
        pages = {str(file.relative_to(self.folder / "source")) for file in (self.folder / "source").rglob("*.md")}
        named = re.findall(r"\]\(([^)]+\.md)\)", self.page("SUMMARY.md"))
        self.assertEqual(set(named), pages - {"SUMMARY.md"})
        self.assertEqual(len(named), len(set(named)), "twice")
        self.assertNotIn("<!--", self.page("SUMMARY.md"))

    def test_reference(self) -> None:
        commands = self.page("reference/commands.md")
        for command in ("# console-gate serve\n", "# console-gate audit tail\n", "# console-gate group add\n"):
            self.assertIn(command, commands)
        metrics = self.page("reference/metrics.md")
        self.assertRegex(metrics, r"(?m)^\| `gate_requests_total` \| counter by `outcome`.*: \w+")
        self.assertRegex(metrics, r"(?m)^\| `gate_request_seconds` \| histogram.*: time ")
        # What alerts ask for exists.
        alerts = (ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text(encoding="utf-8")
        asked = {re.sub(r"_(bucket|sum|count)$", "", name) for expression in re.findall(r"(?s)expr:(.+?)(?=\n +(?:for|labels):)", alerts)
                 for name in re.findall(r"\bgate_\w+", expression)}
        self.assertEqual({name for name in asked if f"| `{name}` |" not in metrics}, set())
        settings = self.page("reference/settings.md")
        self.assertIn("## [firewall]\n", settings)
        self.assertIn("did you mean `legacy`?", self.page("reference/messages-mapping.md"))
        self.assertIn("unknown-key", self.page("reference/findings.md"))

    def test_troubleshooting_quotes_the_program(self) -> None:
        said = sources()
        text = self.page("docs/troubleshooting.md")
        headings = re.findall(r"(?m)^### (.+)$", text)
        self.assertGreater(len(headings), 10)
        for heading in headings:
            self.assertIn(heading.replace("`", ""), said, "this text is not the program's any more")
        reasons = re.findall(r"(?m)^\| (`[\w-]+`(?:, `[\w-]+`)*) \|", text)
        words = [word for cell in reasons for word in re.findall(r"`([\w-]+)`", cell)]
        self.assertGreater(len(words), 25)
        for word in words:
            self.assertIn(f'"{word}"', said, "no such reason")
        # And none is left out.
        cookie = (ROOT / "crates/policy/src/identity/itsdangerous.rs").read_text(encoding="utf-8")
        for word in re.findall(r'CookieError::\w+(?: \{ \.\. \}|\(_\))? => "([\w-]+)"', cookie):
            self.assertIn(f"`{word}`", text)

    @only_in_all("mdBook is not everywhere")
    def test_links(self) -> None:
        mdbook = shutil.which("mdbook", path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}")
        if mdbook is None:
            note("tests/docs: the book was not built (no mdbook; `make docs` installs it)")
            self.skipTest("no mdbook")
        subprocess.run([mdbook, "build", self.folder / "source", "--dest-dir", self.folder / "book"], check=True, capture_output=True)
        self.assertEqual(build.broken(self.folder / "book"), [])
        page = self.folder / "book" / "docs" / "concepts.html"
        page.write_text(page.read_text("utf-8").replace("</main>", '<a href="nothing.html">x</a><a href="#nothing">y</a></main>'), "utf-8")
        self.assertEqual(len(build.broken(self.folder / "book")), 2)


class Picture(unittest.TestCase):
    def test_it_shows_what_the_report_says(self) -> None:
        self.assertEqual(picture.PICTURE.read_text(encoding="utf-8"), picture.draw(), "run `python docs/picture.py`")


class Guide(unittest.TestCase):
    def test_the_cutover_guide(self) -> None:
        if reason := why_not():
            note(f"tests/docs/play_cutover.py: {reason}")
            self.skipTest(reason)
        work = Path(tempfile.mkdtemp(prefix="gate-cutover-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, work, ignore_errors=True)
        ran = subprocess.run(apart(HERE / "play_cutover.py", str(work)), check=False, capture_output=True, text=True,
                             env={**os.environ, "GATE": str(GATE)})
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)


if __name__ == "__main__":
    unittest.main()
