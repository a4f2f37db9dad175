"""Both Consoles, decorators on, behind the real gate: from `legacy` to `v2` and back.

    python -m unittest test_through_gate       in this folder; GATE=... names another binary than target/debug/console-gate

The matrix through the gate must be Console's own, in `legacy` and in `v2`; what V2 gives more is given, and is gone when
the flag is off. In the quick tier a few people ask, of each kind one; with GATE_TIER=all everybody.
"""

from __future__ import annotations

import sys
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import test_two_lines  # noqa: E402
from drive import differences, read_folder  # noqa: E402
from real_gate import AtlasServed, BrookServed  # noqa: E402
from tier import in_tier  # noqa: E402


class FromLegacyToV2:
    """What is the same for both; the classes of `test_two_lines` say who gains what."""

    # Who asks; nobody named: everybody.
    people: tuple[str, ...] = ()

    def test_from_legacy_to_v2_and_back(self: Any) -> None:
        person = next(person for person in read_folder(self.work)[0] if person["name"] == self.person)
        with self.console_running():
            direct = self.ask(self.direct, *self.people)
            with self.gate_running():
                self.assertEqual(differences(direct, self.ask(self.through, *self.people)), [], "legacy")
            self.set_clusters("v2")
            with self.gate_running():
                self.assertEqual(differences(direct, self.ask(self.through, *self.people)), [], "v2, and the flag is off")
                self.gate("flag", "rbac-v2", "on")
                self.assertEqual(differences(direct, self.ask(self.through, *self.people)), [], "v2")

                self.gate("group", "add", self.group, str(person["id"]), "--reason", "covers for somebody")
                mine = self.ask(self.through, self.person)[self.person]
                self.assertEqual({request: mine[request] for request in self.gained}, self.gained)
                self.assertEqual({request: mine[request] for request in self.never_gained}, self.never_gained)

                # Console's own table of people is not the gate's to write: the gate keeps the person out by itself.
                self.gate("admin", "disable", str(person["id"]))
                out = self.ask(self.through, self.person)[self.person]
                for request in self.gained:
                    self.assertRegex(out[request], r"^(302 /|401)", request)
                self.gate("admin", "enable", str(person["id"]))

                self.gate("flag", "rbac-v2", "off")
                self.assertEqual(differences(direct, self.ask(self.through, *self.people)), [], "the kill-switch")
                self.gate("flag", "rbac-v2", "on")
                self.gate("group", "remove", self.group, str(person["id"]), "--reason", "is back")
                self.assertEqual(differences(direct, self.ask(self.through, *self.people)), [], "after the group was left")


class AtlasThroughGate(FromLegacyToV2, AtlasServed, unittest.TestCase):
    people = in_tier(quick=("agent", "manager-elevated", "machine"), full=())
    person, group = test_two_lines.Atlas.person, test_two_lines.Atlas.group
    gained, never_gained = test_two_lines.Atlas.gained, test_two_lines.Atlas.never_gained


class BrookThroughGate(FromLegacyToV2, BrookServed, unittest.TestCase):
    person, group = test_two_lines.Brook.person, test_two_lines.Brook.group
    gained, never_gained = test_two_lines.Brook.gained, test_two_lines.Brook.never_gained


if __name__ == "__main__":
    unittest.main()
