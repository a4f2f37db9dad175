"""Console, as the design documents list it: the upstream of the tests.

A Flask app made from the route table (`console_routes.csv`): one view a row, blueprints by name, the legacy
decorators that the cutover replaces. Each view answers, as JSON, who it is and exactly what reached it.

    gunicorn -k gthread -b 127.0.0.1:8000 app:application

Environment, read once at start:

    CONSOLE_ROUTES                the table; default ../data/console_routes.csv beside this folder
    CONSOLE_LEGACY_ROLES          JSON file, admin id -> legacy roles; read again when it changes
    CONSOLE_DECORATORS=off        legacy decorators let everyone pass: Console behind the gate, after the cutover
    CONSOLE_TOTP=enforce          TOTP checks answer 401 unless the session was made with `totp=1`
    CONSOLE_SECRET_KEY            Flask's SECRET_KEY
    CONSOLE_SECRET_KEY_FALLBACKS  older keys, newest first, parted by commas
    CONSOLE_REQUEST_LOG           a line for each request: `method path endpoint request_id`
    CONSOLE_GATE_KEYS, ...        the gate's assertion is demanded (deploy/flask/console_gate/wsgi.py)

In the request log, `endpoint` is alone when the view ran, is `!endpoint` when a decorator stopped the
request before the view, and `-` when no view was found; what the middleware refused leaves no line.

A WSGI app sees headers in capitals and repeated ones joined, so tests of exact header bytes need a raw socket.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Iterator

from flask import Blueprint, Flask, Response, abort, g, jsonify, redirect, render_template_string, request, session
from werkzeug.wrappers import Response as BaseResponse

HERE = Path(__file__).resolve().parent
View = Callable[..., Any]

# The table gives these blueprints no path. The paths are made up, under the prefixes that routes.toml covers,
# in the numbers that the documents state.
MADE_UP_ROUTES = {
    "api_billing": ["GET /api/billing/summary", "GET /api/billing/invoices/<id>", "POST /api/billing/refunds"],
    "api_billing_dashboard": [f"GET /api/billing-dashboard/{name}" for name in (
        "revenue", "churn", "plans", "invoices", "failed-payments", "refunds", "forecast")],
    "api_rbac_grants": ["GET /api/rbac/grants", "POST /api/rbac/grants", "POST /api/rbac/grants/ticket-scoped",
                        "DELETE /api/rbac/grants/<grant_id>"],
    "billing": ["GET /console/billing/overview", "GET /console/billing/accounts/<id>",
                "POST /console/billing/accounts/<id>/credit"],
    "audit_ingest": ["POST /api/audit/ingest/events"],
    "beta": ["GET /console/beta/invites", "POST /console/beta/invites", "GET /console/beta/invites/<id>",
             "DELETE /console/beta/invites/<id>", "POST /console/beta/invites/<id>/resend",
             "GET /console/beta/testers", "GET /console/beta/testers/<id>", "POST /console/beta/testers/<id>/delete",
             "GET /console/beta/export", "GET /console/beta/cohorts", "POST /console/beta/cohorts",
             "POST /console/beta/cohorts/<int:number>/close"],
}

LOGIN_PAGE = """<!doctype html><title>Console login</title><h1>Log in</h1>
<form method="post"><input type="hidden" name="next" value="{{ next }}">
{% for admin_id, roles in admins.items() %}
<p><button name="admin_id" value="{{ admin_id }}">{{ admin_id }}</button> {{ roles | join(", ") }}</p>
{% endfor %}</form>"""


class LegacyRoles:
    """The `admin_roles` table as a JSON file. No file: nobody holds anything."""

    def __init__(self, path: str | None) -> None:
        self._path, self._roles = path, dict[str, list[str]]()
        self._version: tuple[int, int, int] | None = None

    def all(self) -> dict[str, list[str]]:
        if not self._path or not os.path.exists(self._path):
            return {}
        status = os.stat(self._path)
        version = (status.st_mtime_ns, status.st_ino, status.st_size)
        if version != self._version:
            with open(self._path, encoding="utf-8") as file:
                self._roles, self._version = json.load(file), version
        return self._roles

    def of(self, admin_id: str) -> set[str]:
        return set(self.all().get(admin_id, ()))


app = Flask(__name__, static_folder=None)  # /static/ is a view below, so that it is logged like the others
app.config.update(
    SECRET_KEY=os.environ.get("CONSOLE_SECRET_KEY", "console-test-secret"),
    SECRET_KEY_FALLBACKS=[key for key in os.environ.get("CONSOLE_SECRET_KEY_FALLBACKS", "").split(",") if key],
    SESSION_COOKIE_SAMESITE="Lax",
)
legacy_roles = LegacyRoles(os.environ.get("CONSOLE_LEGACY_ROLES"))
decorators_enforce = os.environ.get("CONSOLE_DECORATORS", "on") != "off"
totp_enforced = os.environ.get("CONSOLE_TOTP") == "enforce"
request_log = os.environ.get("CONSOLE_REQUEST_LOG")


# --- what reached Console, for the tests ---

def wire_path() -> str:
    return request.environ.get("RAW_URI", request.path).partition("?")[0]


def write_line(endpoint: str) -> None:
    """One `write` in append mode: the lines of several gunicorn workers do not mix."""
    if request_log and not request.path.startswith("/__test/counters"):
        line = f"{request.method} {wire_path()} {endpoint} {request.headers.get('X-Request-Id', '-')}\n"
        descriptor = os.open(request_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode("utf-8", "backslashreplace"))
        finally:
            os.close(descriptor)


def recorded(view: View) -> View:
    """The innermost layer of each view: a request that gets here was let in."""
    @functools.wraps(view)
    def run(**arguments: Any) -> Any:
        g.view_ran = True
        write_line(request.endpoint or "-")
        return view(**arguments)
    return run


@app.after_request
def name_the_view_that_ran(response: Response) -> Response:
    if g.get("view_ran"):
        response.headers["X-View"] = request.endpoint
    else:
        write_line(f"!{request.endpoint}" if request.endpoint else "-")
    return response


def describe(**arguments: Any) -> Response:
    """Everything that a test may want to hold against what the client sent."""
    body, length = hashlib.sha256(), 0
    while chunk := request.stream.read(65536):
        body.update(chunk)
        length += len(chunk)
    environ = request.environ
    return jsonify(
        endpoint=request.endpoint, rule=str(request.url_rule), blueprint=request.blueprint,
        arguments={name: str(value) for name, value in arguments.items()},
        method=request.method, path=request.path, raw_uri=environ.get("RAW_URI"),
        query=request.query_string.decode("latin-1"), headers=environ["console.headers_as_received"],
        body_sha256=body.hexdigest(), body_length=length, admin_id=current_admin(),
        remote_user=environ.get("REMOTE_USER"),
        gate={name.removeprefix("gate."): value for name, value in environ.items() if name.startswith("gate.")},
    )


# --- the legacy decorators ---

def current_admin() -> str | None:
    admin_id = session.get("admin_id")
    return None if admin_id in (None, "") else str(admin_id)


def bearer_present() -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(token.strip())


def require_role(*roles: str, machine_or_session: bool = False) -> Callable[[View], View]:
    """Console's `@require_role`: nobody is sent to the login page, an admin without the role gets 403. Without
    roles, any admin passes: the stand-in for the rows whose own gates the documents leave in Console."""
    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(**arguments: Any) -> Any:
            g.admin = current_admin()
            if not decorators_enforce or (machine_or_session and bearer_present()):
                return view(**arguments)
            if g.admin is None:
                return redirect("/auth/login?next=" + wire_path())
            if roles and not legacy_roles.of(g.admin) & set(roles):
                return {"error": "forbidden"}, 403
            return view(**arguments)
        return guarded
    return decorate


def require_bearer(view: View) -> View:
    """The machine endpoints of invariant I-7. Not a legacy decorator: CONSOLE_DECORATORS does not touch it."""
    @functools.wraps(view)
    def guarded(**arguments: Any) -> Any:
        return view(**arguments) if bearer_present() else ({"error": "bearer_required"}, 401)
    return guarded


def require_totp_elevation(view: View, when: Callable[[], bool] = lambda: True) -> View:
    """Runs after the session gate and reads `g.admin` (invariant I-8)."""
    @functools.wraps(view)
    def guarded(**arguments: Any) -> Any:
        if totp_enforced and when() and not (g.admin and session.get("totp")):
            return {"error": "totp_required"}, 401
        return view(**arguments)
    return guarded


def aims_at_production() -> bool:
    """The inline check of `POST /api/internal/deploys` looks at the body, the others do not."""
    return request.path != "/api/internal/deploys" or (request.get_json(silent=True) or {}).get("target") == "prod"


# --- the table ---

def guard(row: dict[str, str]) -> View:
    """The view of a row inside its decorators, the session gate outermost."""
    view = recorded(describe)
    if row["status"] == "machine":
        return require_bearer(view)
    if row["totp"]:
        view = require_totp_elevation(view, aims_at_production if row["totp"] == "inline" else lambda: True)
    roles = [role for role in row["legacy_roles"].split("|") if role]
    return require_role(*roles, machine_or_session="machine_auth_or_session" in row["note"])(view)


def add_routes(table: Path) -> None:
    """`*` (methods not stated) becomes GET and POST. Deleted rows get no view."""
    blueprints: dict[str, Blueprint] = {}
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] != "deleted"]
    for row in rows:
        name = row["blueprint"]
        blueprint = blueprints.setdefault(name, Blueprint(name, __name__))
        for route in [f"{row['methods']} {row['path']}"] if row["path"] else MADE_UP_ROUTES[name]:
            method, _, rule = route.partition(" ")
            methods = ["GET", "POST"] if method == "*" else [method]
            words = re.sub(r"\W+", "_", rule).strip("_")
            blueprint.add_url_rule(rule, f"{'_'.join(methods).lower()}_{words}", guard(row), methods=methods)
    for blueprint in blueprints.values():
        app.register_blueprint(blueprint)


# --- public pages ---

@app.get("/healthz")
@recorded
def healthz() -> Any:
    return {"ok": True}


@app.get("/static/<path:name>")
@recorded
def static(name: str) -> Response:
    return Response(f"/* {name} */\n", mimetype="text/css")


def relative(target: str) -> str:
    """Where to go after login. `//host` and `/\\host` lead to another site, as do control characters within."""
    safe = target.startswith("/") and not target.startswith("//") and re.fullmatch(r"[!-\[\]-~]+", target)
    return target if safe else "/dashboard"


@app.route("/auth/login", methods=["GET", "POST"])
@recorded
def login() -> Any:
    if request.method == "GET":
        return render_template_string(LOGIN_PAGE, admins=legacy_roles.all(), next=request.args.get("next", ""))
    admin_id = request.form.get("admin_id", "")
    if not admin_id:
        abort(400)
    session.clear()
    session.update(admin_id=admin_id, session_id=os.urandom(8).hex(), totp=request.form.get("totp") == "1")
    return redirect(relative(request.form.get("next", "")))


@app.route("/auth/logout", methods=["GET", "POST"])
@recorded
def logout() -> BaseResponse:
    session.clear()
    return redirect("/auth/login")


# --- what a proxy is tried with ---

ANY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@app.route("/__test/echo", methods=ANY_METHOD)
@recorded
def echo() -> Response:
    """The body comes back once it is all here, as an ordinary view would read it."""
    return Response(request.get_data(), mimetype=request.mimetype or "application/octet-stream")


@app.get("/__test/sse")
@recorded
def server_sent_events() -> Response:
    count, delay_ms = request.args.get("n", 5, int), request.args.get("delay_ms", 50, int)

    def events() -> Iterator[str]:
        for number in range(count):
            yield f"id: {number}\ndata: event {number}\n\n"
            time.sleep(delay_ms / 1000)
    return Response(events(), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})


@app.route("/__test/slow", methods=["GET", "POST"])
@recorded
def slow() -> Response:
    time.sleep(request.args.get("ms", 1000, int) / 1000)
    return describe()


@app.get("/__test/big")
@recorded
def big() -> Response:
    """`bytes` of `x` with their length, chunked with `chunked=1`, broken off in the middle with `cut=1`."""
    size, block = request.args.get("bytes", 1_000_000, int), b"x" * 65536
    stop = size // 2 if "cut" in request.args else size
    blocks = (block[:min(len(block), stop - sent)] for sent in range(0, stop, len(block)))
    response = Response(blocks, mimetype="application/octet-stream")
    if "chunked" not in request.args:
        response.content_length = size
    return response


@app.route("/__test/status/<int:code>", methods=ANY_METHOD)
@recorded
def status(code: int) -> Response:
    return Response("" if code in (204, 304) else f"{code}\n", status=code, mimetype="text/plain")


@app.route("/__test/counters", methods=["GET", "DELETE"])
def counters() -> Any:
    """Requests by endpoint since the start or the last DELETE. Never behind the middleware, never logged."""
    if not request_log:
        return {"error": "CONSOLE_REQUEST_LOG is not set"}, 404
    log = Path(request_log)
    if request.method == "DELETE":
        log.write_bytes(b"")
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return jsonify(Counter(line.split(" ")[2] for line in lines))


add_routes(Path(os.environ.get("CONSOLE_ROUTES") or HERE.parent / "data" / "console_routes.csv"))

gated: Callable[..., Any] = app.wsgi_app
if any(os.environ.get(name) for name in ("CONSOLE_GATE_KEYS", "CONSOLE_GATE_KEYS_FILE", "CONSOLE_GATE_JWKS")):
    sys.path.insert(0, str(HERE.parent.parent / "deploy" / "flask"))
    from console_gate.wsgi import ConsoleGateMiddleware

    gated = ConsoleGateMiddleware.from_environment(app.wsgi_app)


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Keeps the headers as they came, before the middleware takes some away."""
    names = (name for name in environ if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH"))
    environ["console.headers_as_received"] = {
        name.removeprefix("HTTP_").replace("_", "-").title(): environ[name] for name in names}
    if environ.get("PATH_INFO") == "/__test/counters":
        return app(environ, start_response)
    return gated(environ, start_response)
