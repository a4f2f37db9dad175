"""Raptor's audit reader (`/api/customer-audit/*`), as the RBAC V2 design describes it: a second upstream of the tests.

A Flask app of its own behind the same gate, with keys and an audience of its own. It takes from the gate who may read, and
does itself what section 11 of the design leaves to the API: it queues the notification of the customer where the assertion
asks for one. Product users are Raptor's own: for them the gate decides nothing, and Raptor looks at its own token.

    CONSOLE_GATE_KEYS=... CONSOLE_GATE_AUDIENCE=raptor gunicorn app:application
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy" / "flask"))

from console_gate.flask import ConsoleGate  # noqa: E402
from flask import Flask, Response, abort, g, jsonify, make_response, request  # noqa: E402

# What a product user presents to Raptor, and who that is.
PRODUCT_USERS = {"Bearer raptor-user-7": ("user", 7), "Bearer raptor-admin-1": ("admin", 1)}


def create_app() -> Flask:
    app = Flask(__name__)
    ConsoleGate(app)
    # The queue of notifications is a file: gunicorn has several workers.
    queue = Path(os.environ.get("RAPTOR_NOTIFICATIONS", "/dev/null"))

    @app.get("/healthz")
    def healthz() -> str:
        return "ok"

    @app.get("/api/customer-audit/<int:customer>")
    def read(customer: int) -> Response:
        if not g.gate or g.gate.gate != "v2":
            abort(403)
        if g.gate.notify == "customer":
            with queue.open("a", encoding="utf-8") as notifications:
                notifications.write(f"{customer} {g.gate.subject}\n")
        return answer(customer=customer)

    @app.get("/api/customer-audit/me")
    def own() -> Response:
        if not g.gate:
            abort(403)
        who = PRODUCT_USERS.get(request.headers.get("Authorization", ""))
        if who is None:
            abort(401)
        response = answer(role=who[0], customer=who[1])
        response.headers.add("Set-Cookie", "raptor=1; Path=/")
        response.headers.add("Set-Cookie", "session=stolen; Path=/")
        return response

    def answer(**values: Any) -> Response:
        gate = g.gate
        return make_response(jsonify(
            server="raptor", subject=gate.subject, kind=gate.kind, roles=gate.roles, gate=gate.gate, notify=gate.notify,
            cookie=request.headers.get("Cookie", ""), authorization=request.headers.get("Authorization", ""),
            host=request.host, **values))

    return app


application = create_app()
