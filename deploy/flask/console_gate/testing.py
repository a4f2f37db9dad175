"""Signs assertions as the gate does, for the tests of an application. Never use it outside of tests.

    signer = Signer()
    app = create_app(environment=signer.environment())
    app.test_client().get("/orders/7", headers=signer.headers("GET", "/orders/7", route="GET /orders/<int:number>",
                                                              subject="5b1f..."))

For pytest there is the fixture `console_gate`, a `Signer` whose keys are in the environment of the test.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from typing import Any, Callable, Iterable

from console_gate.assertion import HEADER, SharedKeys

SECRET = b"console-gate's key of the tests!"
KEY_ID = "tests"


class Signer:
    """Signs with a key that only tests know."""

    def __init__(self, secret: bytes = SECRET, key_id: str = KEY_ID, audience: str = "console",
                 clock: Callable[[], float] = time.time) -> None:
        self.secret, self.key_id, self.audience, self.clock = secret, key_id, audience, clock
        self.keys = SharedKeys({key_id: secret})
        self._count = itertools.count(1)

    def environment(self) -> dict[str, str]:
        """The settings with which an application accepts what this signs."""
        return {"CONSOLE_GATE_KEYS": f"{self.key_id}:{base64.b64encode(self.secret).decode()}",
                "CONSOLE_GATE_AUDIENCE": self.audience}

    def claims(self, method: str, path: str, *, route: str | None = None, subject: str = "admin-1",
               kind: str | None = None, gate: str = "v2", roles: Iterable[str] = (), groups: Iterable[str] = (),
               cluster: str = "", session: str = "", mapping: str = "", notify: str = "", request_id: str | None = None,
               lifetime_seconds: int = 30) -> dict[str, Any]:
        """The claims of one request. `path`: as on the wire; its query is left out. `route`: the gate's row; without
        one, `METHOD path`. `subject`: empty for nobody."""
        path = path.partition("?")[0]
        now = int(self.clock())
        return {"iss": "console-gate", "aud": self.audience, "sub": subject, "sid": session,
                "kind": kind or ("admin" if subject else "anonymous"), "iat": now, "exp": now + lifetime_seconds,
                "method": method, "path": path, "route": f"{method} {path}" if route is None else route,
                "roles": list(roles), "rid": request_id or f"test-{next(self._count)}", "gate": gate,
                "cluster": cluster, "mapping": mapping, "groups": list(groups), "notify": notify}

    def sign(self, claims: dict[str, Any]) -> str:
        """The assertion with these claims."""
        header = {"alg": "HS256", "typ": "JWT", "kid": self.key_id}
        signed = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{encode(self.keys.sign(self.key_id, signed.encode()))}"

    def headers(self, method: str, path: str, **claims: Any) -> dict[str, str]:
        """The fields that the gate adds to a request; `claims` are those of `Signer.claims`."""
        made = self.claims(method, path, **claims)
        return {HEADER: self.sign(made), "X-Request-Id": made["rid"]}


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
