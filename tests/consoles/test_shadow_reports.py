"""The package's `shadow` mode, from Atlas's decorators to `console-gate drift`: both check, and where Atlas refuses whom the
gate let in, the gate keeps it as a disagreement."""

from __future__ import annotations

import json
import socket
import sys
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from drive import name_of, read_folder  # noqa: E402
from real_gate import AtlasServed, ask_once, until  # noqa: E402

ENDPOINT = "/api/gate/drift"


class ShadowReports(AtlasServed, unittest.TestCase):
    def prepare(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # The package posts over TCP.
        self.admin = f"http://127.0.0.1:{port}"
        self.everything |= {"CONSOLE_GATE_ADMIN": f"127.0.0.1:{port}", "CONSOLE_GATE_MODE": "shadow",
                            "CONSOLE_GATE_DRIFT_URL": self.admin + ENDPOINT}
        with open(self.work / "gate.toml", "a", encoding="utf-8") as settings:
            settings.write('\n[api]\ndrift_reporters = ["atlas-reports"]\nper_minute = 500\n')
        self.set_clusters("v2")
        super().prepare()
        self.token = self.new_token("atlas-reports")
        self.everything["CONSOLE_GATE_DRIFT_TOKEN"] = self.token
        self.gate("group", "add", "managers", self.id_of("agent"), "--reason", "a test")
        self.gate("flag", "rbac-v2", "on")

    def new_token(self, name: str) -> str:
        return self.gate_process("token", "create", name, "--group", "warehouse").stdout.split()[0]

    def post(self, body: Any, token: str | None = None) -> tuple[int, Any]:
        answer = ask_once(self.admin, ENDPOINT, "POST", body if isinstance(body, bytes) else json.dumps(body).encode(),
                          Authorization=f"Bearer {self.token if token is None else token}")
        return answer.status, json.loads(answer.body or b"null")

    def drifted(self) -> dict[str, dict[str, Any]]:
        ran = self.gate_process("drift", "--format", "json")
        return {one["route"]: one for one in json.loads(ran.stdout)["disagreements"]}

    def test_what_atlas_refuses_is_drift(self) -> None:
        with self.console_running(), self.gate_running():
            mine = self.ask(self.through, "agent")["agent"]
            script = read_folder(self.work)[1]
            refused = {self.route_of(request) for request in script["requests"] if mine[name_of(request)] == "403"}
            # What V2 refuses never reaches Atlas.
            rows = {line.split('"')[1] for line in (self.work / "routes.toml").read_text(encoding="utf-8").splitlines()
                    if 'role = "atlas-owner"' in line}
            wanted = refused - rows
            self.assertGreater(len(wanted), 5)
            asked = {route: sum(self.route_of(request) == route and mine[name_of(request)] == "403"
                                for request in script["requests"]) for route in wanted}
            until("all that Atlas refused is reported",
                  lambda: asked == {route: one["count"] for route, one in self.drifted().items()})
            for one in self.drifted().values():
                self.assertEqual((one["actor_id"], one["actor_kind"], one["direction"], one["reason"]),
                                 (self.id_of("agent"), "admin", "would_newly_allow", "console_refused"))

    def test_who_may_report_what(self) -> None:
        with self.console_running(), self.gate_running():
            running = next(line.split('"')[1] for line in ask_once(self.admin, "/metrics").body.decode().splitlines()
                           if line.startswith("gate_mapping_info{") and line.endswith(" 1"))
            seen = {"method": "GET", "route": "GET /audit", "subject": self.id_of("agent"), "kind": "admin", "gate": "v2",
                    "cluster": "audit", "mapping": running, "check": "page", "request_id": "no id"}
            self.assertEqual(self.post({"disagreements": [seen, seen]}), (202, {"accepted": 2, "left_out": 0}))
            # What the running mapping knows nothing of is left out, and so is what no gate decided.
            for change in ({"mapping": "0" * 64}, {"route": "GET /no/such"}, {"route": "GET /healthz"}, {"gate": "public"},
                           {"kind": "operator"}, {"subject": ""}, {"subject": "x" * 257}, {"subject": "a\nb"},
                           {"method": "POST"}, {"method": "BREW"}):
                self.assertEqual(self.post({"disagreements": [{**seen, **change}]}),
                                 (202, {"accepted": 0, "left_out": 1}), change)
            until("it is written", self.drifted)
            self.assertEqual({route: one["count"] for route, one in self.drifted().items()}, {"GET /audit": 2})

            self.assertEqual(self.post({"disagreements": [seen]}, token="")[0], 401)
            self.assertEqual(self.post({"disagreements": [seen]}, token="invented")[0], 401)
            other = self.new_token("not-named")
            self.assertEqual(self.post({"disagreements": [seen]}, token=other)[0], 403)
            for body in (b"", b"{", b"[]", b'{"disagreements": [1]}', b'{"disagreements": [{"method": 1}]}'):
                self.assertEqual(self.post(body)[0], 400, body)
            self.assertEqual(self.post(b" " * 300_000)[0], 413)
            self.assertEqual(self.post({"disagreements": [{**seen, "check": ""}] * 1001})[0], 413)
            # The token opens nothing else, and nothing else of the API is there.
            for path in (ENDPOINT, "/api/gate/mapping"):
                self.assertIn(ask_once(self.admin, path, Authorization=f"Bearer {self.token}").status, (404, 405), path)
            # No more than its rate.
            statuses = [self.post({"disagreements": [{**seen, "gate": "public"}] * 100})[0] for _ in range(6)]
            self.assertIn(429, statuses)
            self.assertEqual({route: one["count"] for route, one in self.drifted().items()}, {"GET /audit": 2})


if __name__ == "__main__":
    unittest.main()
