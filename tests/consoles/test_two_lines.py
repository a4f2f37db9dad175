"""Both Consoles with their decorators on and the two lines in them, behind a stand-in for the gate."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, ClassVar

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from drive import differences, matrix, read_folder  # noqa: E402
from postgres import shared  # noqa: E402
from real_gate import atlas_template  # noqa: E402
from tier import only_in_all  # noqa: E402


class Consoles:
    """The promises; each Console says how it is prepared."""

    folder: ClassVar[str]
    environment: ClassVar[dict[str, str]]
    # Somebody without the legacy roles for a route, and a V2 group that has the role for it.
    person: ClassVar[str]
    group: ClassVar[str]
    member: ClassVar[str]
    gained: ClassVar[dict[str, str]]
    never_gained: ClassVar[dict[str, str]]

    def ask(self: Any, mode: str, *changes: str, use_gate: bool = True, people: list[str] | None = None,
            **environment: str) -> dict[str, dict[str, str]]:
        """The matrix of a Console with fresh tables, for everybody or for `people`."""
        everything = {**os.environ, "SECRET_KEY": "a secret of the tests", **self.environment, "USE_GATE": "1" if use_gate else "0",
                      **environment}
        self.seed()
        with tempfile.TemporaryFile() as log, subprocess.Popen(
                [sys.executable, HERE / "signing_gate.py", self.folder, mode, *changes], env=everything,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as server:
            # Leaving the block closes its input, which ends it.
            address = server.stdout.readline().decode().strip() if server.stdout else ""
            if not address:
                log.seek(0)
                self.fail(log.read().decode())
            return matrix(address, self.folder, people)

    def id_of(self: Any, name: str) -> str:
        return next(str(person["id"]) for person in read_folder(HERE / self.folder)[0] if person["name"] == name)

    @only_in_all("nothing changes behind the real gate in the quick tier: test_through_gate")
    def test_nothing_changes_in_any_mode_where_both_give_the_same(self: Any) -> None:
        direct = self.ask("none", use_gate=False)
        self.assertGreater(len({answer for row in direct.values() for answer in row.values()}), 5)
        for mode in ("none", "legacy", "v2"):
            with self.subTest(mode):
                self.assertEqual(differences(direct, self.ask(mode)), [])

    def test_what_v2_gives_more_is_given_with_the_two_lines_alone(self: Any) -> None:
        def answers(mode: str, **options: Any) -> dict[str, str]:
            member = f"{self.group}+{self.id_of(self.person)}"
            return self.ask(mode, member, people=[self.person], **options)[self.person]
        before, after = answers("legacy"), answers("v2")
        without, shadow = answers("v2", use_gate=False), answers("v2", CONSOLE_GATE_MODE="shadow")
        for request, wanted in self.gained.items():
            with self.subTest(request):
                self.assertEqual((before[request], after[request]), ("403", wanted))
                self.assertEqual((without[request], shadow[request]), ("403", "403"))
        for request, wanted in self.never_gained.items():
            with self.subTest(request):
                self.assertEqual(after[request], wanted)

    def test_what_v2_takes_away_is_taken_away(self: Any) -> None:
        change = f"{self.group}-{self.id_of(self.member)}"
        before, after = (self.ask(mode, change, people=[self.member])[self.member]["GET /"] for mode in ("legacy", "v2"))
        self.assertEqual((before, after), ("200", "403"))


@only_in_all("Atlas's two lines are behind the real gate in the quick tier: test_through_gate")
class Atlas(Consoles, unittest.TestCase):
    folder = "atlas"
    person, group, member = "agent", "managers", "manager"
    gained = {"GET /orders/export.csv": "200", "POST /orders/1001/cancel": "200", "GET /audit": "200", "GET /reports/": "200",
              "GET /reports/revenue/schedule": "200", "PATCH /api/v1/orders/1004": "200"}
    # TOTP elevation reads `g.admin` and is as it was; what the group does not have stays closed.
    never_gained = {"POST /orders/1002/refund": "401", "GET /staff/sessions": "403", "POST /api/v1/orders/1005/sent": "401"}

    @classmethod
    def setUpClass(cls) -> None:
        cls.environment = {"DATABASE_URL": shared().copy(atlas_template())}

    def seed(self) -> None:
        from atlas.seed import seed

        seed(self.environment["DATABASE_URL"])


class Brook(Consoles, unittest.TestCase):
    folder = "brook"
    person, group, member = "guest", "workers", "clerk"
    gained = {"POST /shifts": "422", "PUT /shifts/1": "200", "GET /api/week.csv": "200"}
    never_gained = {"GET /wages": "403", "DELETE /shifts/999": "403"}

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.environment = {"BROOK_DATABASE": f"{folder.name}/brook.db"}
        from brook import init

        init(cls.environment["BROOK_DATABASE"])

    def seed(self) -> None:
        from brook import seed

        seed(self.environment["BROOK_DATABASE"])


if __name__ == "__main__":
    unittest.main()
