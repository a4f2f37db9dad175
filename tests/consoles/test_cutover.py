"""Atlas, from `adopt` to `v2` and back, cluster after cluster, its decorators on, as five people.

The agent gets a V2 group that gives more than the legacy role. So at each step it can be seen which clusters V2 decides:
there, and nowhere else, the agent is answered what the manager is.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from drive import arrive, differences, name_of, read_folder  # noqa: E402
from real_gate import HERE, AtlasServed, Matrix, ask_once, until  # noqa: E402
from tier import only_in_all  # noqa: E402

PEOPLE = ("superuser", "manager", "agent", "viewer", "newcomer")
# The order of the cutover: each one after all before it.
CLUSTERS = ("pages", "customers", "orders", "files", "reports", "staff", "audit", "api")
MIRROR = """
[audit.mirror]
table = "app.audit_log"
[audit.mirror.columns]
actor = { field = "actor" }
action = { field = "event" }
method = { field = "method" }
path = { field = "path" }
outcome = { constant = "denied" }
detail = { json = ["route", "required", "request"] }
"""


@only_in_all("test_through_gate has a shorter cutover of each Console")
class Cutover(AtlasServed, unittest.TestCase):
    adopted = False

    def prepare(self) -> None:
        """As an operator does it: nothing but the head of the settings is given."""
        own = (self.work / "gate.toml").read_text(encoding="utf-8")
        head = own.partition("[console]")[0]
        (self.work / "gate.toml").write_text(head, encoding="utf-8")
        proposed = self.gate("adopt", "--inspect", "--console-src", str(HERE / "atlas"))
        # What no table says: the cookie has the token, the table its SHA-256.
        corrected = re.sub(r"WHERE s\.id = \$1::uuid\"", "WHERE s.token_sha256 = $1\"", proposed)
        self.assertNotEqual(corrected, proposed)
        self.assertEqual(tomllib.loads(corrected)["console"], tomllib.loads(own)["console"])
        for person in read_folder(HERE / "atlas")[0]:
            if "email" in person and "login_as" not in person:
                roles = ", ".join(person["roles"]) or "no role"
                self.assertRegex(proposed, rf"# +{person['id']} \({person['email']}\): (disabled; )?{roles}\n")
        (self.work / "gate.toml").write_text(head + corrected + MIRROR, encoding="utf-8")
        self.gate("migrate", "--plan")
        super().prepare()

    def rollout(self, modes: dict[str, str]) -> None:
        """Writes `[clusters]`: each in its mode, with its place in the order."""
        lines = [f'{cluster} = {{ mode = "{modes[cluster]}", after = {json.dumps(CLUSTERS[:number])} }}\n'
                 for number, cluster in enumerate(CLUSTERS)]
        routes, changed = self.work / "routes.toml", self.work / "routes.new"
        text = routes.read_text(encoding="utf-8")
        changed.write_text(re.sub(r"(?m)(?<=^\[clusters\]\n)(?:.+\n)+", "".join(lines), text), encoding="utf-8")
        changed.rename(routes)

    def expected(self, direct: Matrix, v2: tuple[str, ...]) -> Matrix:
        """Console's own answers, and for the agent the manager's where V2 decides."""
        people, script = read_folder(self.work)
        table = tomllib.loads((self.work / "routes.toml").read_text(encoding="utf-8"))
        clusters = {route: blueprint.get("cluster") for blueprint in table["blueprints"].values() for route in blueprint["routes"]}
        wanted = {person: dict(answers) for person, answers in direct.items()}
        for request in script["requests"]:
            if clusters[self.route_of(request)] in v2:
                wanted["agent"][name_of(request)] = direct["manager"][name_of(request)]
        return wanted

    def refused_files(self) -> float:
        lines = ask_once(self.admin, "/metrics").body.decode().splitlines()
        return next(float(line.split()[-1]) for line in lines
                    if line.startswith('gate_mapping_reloads_total{outcome="refused"}'))

    def refusing_views(self) -> set[tuple[str, str]]:
        """Each route on which Console refused what V2 had allowed, with the status."""
        metrics = ask_once(self.admin, "/metrics").body.decode()
        return set(re.findall(
            r'(?m)^gate_upstream_refusals_total\{route="([^"]+)",status="(\d+)",gate="v2"\} [1-9]', metrics))

    def test_from_adopt_to_v2_and_back(self) -> None:
        draft = self.gate_process("import", "--console-src", str(HERE / "atlas" / "atlas"), "--output", "draft.toml")
        self.assertEqual(draft.returncode, 1, "an import leaves rows to review")
        imported = rows_of(self.work / "draft.toml")
        reviewed = rows_of(self.work / "routes.toml")
        self.assertEqual(imported.keys(), reviewed.keys())
        legacy = {route: set(row["legacy"]) for route, row in imported.items() if "legacy" in row}
        self.assertEqual({route: set(reviewed[route]["legacy"]) for route in legacy}, legacy)
        self.assertEqual(len(legacy), 41)
        self.assertEqual({route for route, row in imported.items() if row.get("machine_or_session")},
                         {route for route, row in reviewed.items() if row.get("machine_or_session")})
        self.gate("check", "--deny", "error")
        sites = self.gate_process("lint", "--console-src", str(HERE / "atlas" / "atlas"))
        self.assertNotIn("error[", sites.stdout)
        # The package's lines under the decorators are no sites, and what cannot be read is the CSRF check and one comparison in a view.
        self.assertEqual(set(re.findall(r"warning\[([\w-]+)\]", sites.stdout)), {"may-gate", "inline-role-check"})

        legacy_file = hashlib.sha256((self.work / "routes.toml").read_bytes()).hexdigest()
        self.gate("flag", "rbac-v2", "on")
        with self.console_running(), self.gate_running():
            direct = self.ask(self.direct, *PEOPLE)
            self.assertNotEqual(direct["agent"], direct["manager"])
            self.assertEqual(differences(direct, self.ask(self.through, *PEOPLE)), [], "legacy")

            self.gate("group", "add", "managers", self.id_of("agent"), "--reason", "covers for the manager")
            modes = dict.fromkeys(CLUSTERS, "shadow")
            self.rollout(modes)
            until("shadow", self.runs_the_file)
            self.assertEqual(differences(direct, self.ask(self.through, *PEOPLE)), [], "shadow")
            drift = self.gate_json("drift", code=1)["disagreements"]
            self.assertEqual({(one["actor_id"], one["direction"]) for one in drift},
                             {(self.id_of("agent"), "would_newly_allow")})

            # Out of order: the file is refused, and what runs goes on.
            refused = self.refused_files()
            running = (self.work / "routes.toml").read_bytes()
            self.rollout({**modes, "api": "v2"})
            until("the file is refused", lambda: self.refused_files() > refused)
            self.assertIn("cannot go to v2 yet", self.gate_process("history").stdout)
            self.assertEqual(differences(direct, self.ask(self.through, *PEOPLE)), [], "refused")
            (self.work / "routes.new").write_bytes(running)
            (self.work / "routes.new").rename(self.work / "routes.toml")
            until("the file before", self.runs_the_file)

            for number, cluster in enumerate(CLUSTERS, 1):
                modes[cluster] = "v2"
                self.rollout(modes)
                until(cluster, self.runs_the_file)
                wanted = self.expected(direct, CLUSTERS[:number])
                self.assertEqual(differences(wanted, self.ask(self.through, *PEOPLE)), [], f"{cluster} in v2")

            # What refuses by itself is the views that ask for a TOTP code, each of them named; so nothing else is a refusal.
            named = set(tomllib.loads((self.work / "gate.toml").read_text(encoding="utf-8"))["upstream"]["own_refusals"])
            refusing = self.refusing_views()
            self.assertTrue(refusing, "somebody without a code asked for one of those views")
            self.assertEqual({status for _, status in refusing}, {"401"})
            self.assertLessEqual({route for route, _ in refusing}, named)
            soak = self.gate_process("soak").stdout
            self.assertNotIn("its own decorators still decide", soak)

            self.gate("rollback", "--yes")
            wanted = self.expected(direct, CLUSTERS[:-1])
            self.assertEqual(differences(wanted, self.ask(self.through, *PEOPLE)), [], "the last step taken back")
            self.gate("flag", "rbac-v2", "off")
            self.assertEqual(differences(direct, self.ask(self.through, *PEOPLE)), [], "the kill-switch")
            self.gate("flag", "rbac-v2", "on")
            self.gate("rollback", "--to", legacy_file[:12], "--yes")
            self.assertEqual(differences(direct, self.ask(self.through, *PEOPLE)), [], "everything taken back")
            self.gate("audit", "verify")


class AuditPage(AtlasServed, unittest.TestCase):
    def prepare(self) -> None:
        with open(self.work / "gate.toml", "a", encoding="utf-8") as settings:
            settings.write(MIRROR)
        super().prepare()

    def test_the_gates_denials_are_on_the_audit_page_beside_atlas_own(self) -> None:
        self.gate("flag", "rbac-v2", "on")
        self.set_clusters("v2")
        people, script = read_folder(self.work)
        person = {person["name"]: person for person in people}
        with self.console_running(), self.gate_running():
            newcomer = arrive(self.through, person["newcomer"], script)
            own = arrive(self.direct, person["newcomer"], script)
            manager = arrive(self.through, person["manager"], script)
            self.addCleanup(newcomer.close)
            self.addCleanup(own.close)
            self.addCleanup(manager.close)
            self.assertEqual(own.ask("GET", "/orders/").status, 403)
            for path in ("/orders/1001", "/files/notes/%3Cb%3E"):
                self.assertEqual(newcomer.ask("GET", path).status, 403)
            page = manager.ask("GET", "/audit?outcome=denied")
            self.assertEqual(page.status, 200)
            rows = re.findall(r'<tr class="denied"><td>[^<]+</td><td>([^<]*)</td><td>([^<]*)</td><td>([^<]*)</td><td>denied</td></tr>',
                              page.body.decode())
            by_gate = self.id_of("newcomer")
            self.assertEqual(rows, [
                (by_gate, "access_denied", "GET /files/notes/%3Cb%3E"), (by_gate, "access_denied", "GET /orders/1001"),
                (person["newcomer"]["email"], "access_denied", "GET /orders/")])


def rows_of(file: Path) -> dict[str, dict[str, Any]]:
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    return {route: row for blueprint in table["blueprints"].values() for route, row in blueprint["routes"].items()}


if __name__ == "__main__":
    unittest.main()
