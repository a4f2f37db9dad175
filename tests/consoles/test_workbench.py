"""What the reports say, against what both Consoles really answer, their decorators on.

Some people are regrouped, so that V2 gives them more or less than their legacy roles do. `diff` says beforehand who gains
and who loses what; `drift` and `soak` say it of what was asked in shadow; `verify` tests the flip. Everybody then really
asks, before and after: every gain is an answer that only Console's own view gives, every loss a 403, and nothing else changes.
"""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parent))

from drive import arrive, name_of, read_folder  # noqa: E402
from real_gate import AtlasServed, BrookServed, until  # noqa: E402
from tier import only_in_all  # noqa: E402

# Under which name programs drift whose token Console verifies and the gate does not know.
NOT_ENROLLED = "not enrolled"
SOAK = "\n[soak]\nshadow_days = 0\nquiet_hours = 1\nrequests = 1\nadmins = 1\n"


class Reports:
    """What is the same for both."""

    # `(group, "add" or "remove", person)`.
    regroups: ClassVar[list[tuple[str, str, str]]]
    # People with a session at the end whom `verify --through` may ask as.
    through_people: ClassVar[list[str]]
    # Whom Console lets in everywhere, so that their answer is the view's: as they are, and elevated.
    allowed: ClassVar[tuple[str, str]]
    # Somebody who gains.
    gains: ClassVar[str]

    def prepare(self: Any) -> None:
        super().prepare()  # type: ignore[misc]
        for group, change, person in self.regroups:
            self.gate("group", change, group, self.id_of(person), "--reason", "a test")
        routes = self.work / "routes.toml"
        routes.write_text(routes.read_text(encoding="utf-8") + SOAK, encoding="utf-8")
        self.set_clusters("shadow")
        self.set_clusters("v2", file="v2.toml")

    def id_in_reports(self: Any, person: dict[str, Any]) -> str | None:
        if "bearer" in person:
            # The token of `groups.sh`: it neither gains nor loses, so its id at the gate is not needed.
            return "enrolled" if person.get("token_name") == "warehouse" else NOT_ENROLLED
        return str(person["id"]) if "id" in person else None

    def changes(self: Any) -> dict[str, set[tuple[str, str]]]:
        """What `diff` says: `(id, route)` of the real people who gain and who lose."""
        report = self.gate_json("diff", "routes.toml", "v2.toml", code=1)
        self.assertTrue(report["complete"])
        people = {number: profile["members"] for number, profile in enumerate(report["profiles"])
                  if profile["kind"] in ("admin", "machine")}
        said = {direction: {(member, change["route"]) for change in report["changes"] for who in change[direction]
                            for member in people.get(who["profile"], ())} for direction in ("gains", "losses")}
        said["losses"] |= {(NOT_ENROLLED, change["route"]) for change in report["changes"]
                           if change["machines_of_console"] == "loss"}
        return said

    def test_diff_drift_soak_and_verify_say_what_happens(self: Any) -> None:
        people, script = read_folder(self.work)
        route = {name_of(request): self.route_of(request) for request in script["requests"]}
        said = self.changes()
        with self.console_running(), self.gate_running():
            self.gate("flag", "rbac-v2", "on")
            views = self.ask_each(self.direct, *self.allowed)
            before = self.ask_each(self.through)
            self.drift_is(said, people, set(route.values()))

            drifted = {one["cluster"] for one in self.drifted()}
            states = self.gate_json("soak", code=1)
            self.assertEqual({state["cluster"] for state in states if state["shadow"]["unexplained"]}, drifted)
            self.assertEqual({state["verdict"] for state in states}, {"not_ready"}, states)
            for one in self.drifted():
                self.gate("drift", "--sign-off", one["id"], "--reason", "is meant")
            self.gate("drift")
            # Explained; that nothing has happened for an hour is not asked of a test.
            self.change_routes("quiet_hours = 1", "quiet_hours = 0")
            states = self.gate_json("soak")
            self.assertEqual({state["verdict"] for state in states}, {"ready"}, states)
            self.assertEqual({state["shadow"]["unexplained"] for state in states}, {0}, states)

            self.activate("v2")
            after = self.ask_each(self.through)
            asked: set[tuple[str, str]] = set()
            for person in people:
                name, who = person["name"], self.id_in_reports(person)
                view = views[self.allowed["elevate" in person]]
                for request, was in before[name].items():
                    key, now = (who, route[request]), after[name][request]
                    with self.subTest(f"{name}: {request}"):
                        # Whoever is not logged in, and a token that Console refuses too, is nobody whom `diff` is about.
                        if was.startswith(("302 /", "401")) and now == was:
                            continue
                        asked.add(key)
                        if key in said["gains"]:
                            self.assertEqual((was, now), ("403", view[request]))
                            self.assertNotEqual(now, "403")
                        elif key in said["losses"]:
                            self.assertEqual((was, now), (view[request], "403"))
                            self.assertNotEqual(was, "403")
                        else:
                            self.assertEqual(now, was)
            unasked = {(who, route) for who, route in (said["gains"] | said["losses"]) - asked if who != NOT_ENROLLED}
            self.assertEqual(unasked, set(), "nobody asked for these")

            states = self.gate_json("soak")
            self.assertEqual({state["verdict"] for state in states}, {"enforced"}, states)
            report = self.gate_json("verify", "--gate", self.through, *self.asking_through())
            self.assertEqual(report["failed"], 0)
            self.assertGreater(report["cases"], 3 * len(set(route.values())))
            self.assertGreater(len(report["through"]["passages"]), 5)

    def asking_through(self: Any) -> list[str]:
        """The options of `verify` for real requests as some people, logged in at this moment."""
        people, script = read_folder(self.work)
        options = ["--through", self.through]
        for person in people:
            if person["name"] in self.through_people:
                browser = arrive(self.through, person, script)
                browser.close()
                cookie = script["login"]["cookie"]
                options += ["--cookie", f"{cookie}={browser.cookies[cookie]}"]
        return options

    def drifted(self: Any) -> list[dict[str, Any]]:
        return self.gate_json("drift", code=1)["disagreements"]  # type: ignore[no-any-return]

    def drift_is(self: Any, said: dict[str, set[tuple[str, str]]], people: list[dict[str, Any]], routes: set[str]) -> None:
        """Everybody whom `diff` names was seen to drift, on every route that was asked for, and nobody else."""
        present = {self.id_in_reports(person) for person in people if not person.get("session_expired")}
        wanted = {(who, route, direction) for direction in ("gains", "losses") for who, route in said[direction]
                  if who in present and route in routes}
        words = {"would_newly_allow": "gains", "would_newly_deny": "losses"}

        def seen() -> set[tuple[str, str, str]]:
            return {(one["actor_id"], one["route"], words[one["direction"]]) for one in self.drifted()}
        until("all that drifted is written", lambda: wanted <= seen())
        self.assertEqual(seen() - wanted, set())

    def test_without_the_two_lines_the_reports_say_so(self: Any) -> None:
        self.everything["USE_GATE"] = "0"
        said = self.changes()
        self.set_clusters("v2")
        with self.console_running(), self.gate_running():
            self.gate("flag", "rbac-v2", "on")
            refused = {request: answer for request, answer in self.ask(self.through, self.gains)[self.gains].items()
                       if answer == "403"}
            _people, script = read_folder(self.work)
            me = self.id_of(self.gains)
            gained = [name_of(request) for request in script["requests"] if (me, self.route_of(request)) in said["gains"]]
            self.assertGreater(len(gained), 2)
            self.assertLessEqual(set(gained), refused.keys())

            def soaked() -> str | None:
                ran = self.gate_process("soak")
                return ran.stdout if ran.returncode == 1 else None
            told = " ".join(until("Console's refusals are written", soaked).split())
            self.assertRegex(told, r"Console answered 403 to \d+ requests? that V2 allowed: its own decorators still decide")
            report = self.gate_json("verify", "--gate", self.through, *self.asking_through(), code=1)
            self.assertEqual(report["failed"], 0)
            self.assertIn("its own decorators still decide", " ".join(report["through_findings"]))


@only_in_all("Brook's reports are in the quick tier")
class Atlas(Reports, AtlasServed, unittest.TestCase):
    regroups = [("managers", "add", "viewer"), ("managers", "remove", "manager"), ("agents", "add", "manager"),
                ("viewers", "add", "newcomer"), ("agents", "remove", "agent")]
    through_people = ["superuser", "viewer", "newcomer"]
    allowed, gains = ("superuser", "superuser-elevated"), "viewer"

    def prepare(self) -> None:
        # Somebody in no group at all, whom the others manage, asks too.
        file = self.work / "people.json"
        people = json.loads(file.read_text(encoding="utf-8"))
        people["people"] += [{"name": "temp", **person} for person in people["targets"]]
        file.write_text(json.dumps(people), encoding="utf-8")
        super().prepare()


class Brook(Reports, BrookServed, unittest.TestCase):
    regroups = [("workers", "add", "guest"), ("workers", "remove", "clerk"), ("lookers", "add", "clerk"),
                ("leads", "add", "odd-role"), ("lookers", "remove", "target")]
    through_people = ["boss", "guest", "odd-role"]
    allowed, gains = ("boss", "boss"), "guest"


if __name__ == "__main__":
    unittest.main()
