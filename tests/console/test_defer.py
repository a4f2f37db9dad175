"""`defer` and `ConsoleGate` for Flask: when Console's own check steps back, and that it does in no other case."""

from __future__ import annotations

import asyncio
import base64
import enum
import functools
import hmac
import json
import linecache
import logging
import sys
import threading
import types
import unittest
from pathlib import Path
from typing import Any, Callable
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy" / "flask"))

from flask import Blueprint, Flask, abort, current_app, g, request  # noqa: E402
from flask.views import MethodView, View  # noqa: E402
from werkzeug.middleware.dispatcher import DispatcherMiddleware  # noqa: E402
from werkzeug.middleware.proxy_fix import ProxyFix  # noqa: E402
from werkzeug.test import Client  # noqa: E402

from console_gate import deferral, drift  # noqa: E402
from console_gate.assertion import NOBODY, ConfigurationError, SharedKeys  # noqa: E402
from console_gate.effects import effects  # noqa: E402
from console_gate.flask import (  # noqa: E402
    ConsoleGate,
    add_request_loader,
    current_assertion,
    decided_by_gate,
    defer,
    role_check,
)
from console_gate.testing import Signer, encode  # noqa: E402
from console_gate.wsgi import ConsoleGateMiddleware  # noqa: E402

SIGNER = Signer()
ROUTE = "GET /orders/<int:number>"
PEOPLE = {"admin-1": "Ada", "admin-2": "Bob"}


# --- a Console's own checks: everybody is refused, so a view that runs was let in by the gate ---

def require_role(*roles: str) -> Callable[[Any], Any]:
    def decorate(view: Any) -> Any:
        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            g.asked = [*g.get("asked", []), *roles]
            if "X-Own-Role" not in request.headers:
                return {"own": "refused"}, 403
            g.admin = "own"
            return view(*args, **kwargs)
        return guarded
    return decorate


def machine_auth(view: Any) -> Any:
    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if "X-Own-Role" not in request.headers:
            abort(401)
        return view(*args, **kwargs)
    return guarded


plain_require_role, plain_machine_auth = require_role, machine_auth
# It notes what it was asked, for the tests: nothing has to run of it where it steps back.
require_role, machine_auth = defer(require_role, keep=()), defer(machine_auth)


def load_admin(subject: str) -> Any:
    return PEOPLE.get(subject)


def said() -> dict[str, Any]:
    return {"view": request.endpoint, "admin": g.get("admin"), "gate": g.gate.gate if "gate" in g else None}


def make_app(gate: bool = True, **options: Any) -> Flask:
    app = Flask(__name__)

    @app.get("/orders/<int:number>")
    @require_role("clerk")
    def order(number: int) -> Any:
        return said()

    @app.get("/orders/new")
    @require_role("boss")
    def new_order() -> Any:
        return said()

    @app.route("/machine", methods=["GET", "POST"])
    @machine_auth
    def machine() -> Any:
        return said()

    @app.get("/open")
    def public() -> Any:
        return said()

    if gate:
        options = {"load_admin": load_admin, "environment": SIGNER.environment(), **options}
        ConsoleGate(app, **options)
    return app


class Cases(unittest.TestCase):
    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def assert_view_ran(self, answer: Any) -> dict[str, Any]:
        self.assertEqual(answer.status_code, 200, answer.text)
        return answer.json

    def assert_own_check(self, answer: Any) -> None:
        self.assertIn(answer.status_code, (401, 403), answer.text)
        if answer.status_code == 403:
            self.assertEqual(answer.json, {"own": "refused"})


def headers(method: str = "GET", path: str = "/orders/7", route: str = ROUTE, **claims: Any) -> dict[str, str]:
    return SIGNER.headers(method, path, route=route, **claims)


class StepsBack(Cases):
    def test_where_the_gate_has_decided_by_v2(self) -> None:
        answer = self.assert_view_ran(make_app().test_client().get("/orders/7?tab=2", headers=headers()))
        self.assertEqual(answer, {"view": "order", "admin": "Ada", "gate": "v2"})

    def test_head_goes_with_the_row_of_get(self) -> None:
        for route in (ROUTE, "* /orders/<int:number>", "GET,POST /orders/<int:number>", "HEAD /orders/<int:n>"):
            with self.subTest(route):
                answer = make_app().test_client().head("/orders/7", headers=headers("HEAD", route=route))
                self.assertEqual(answer.status_code, 200)

    def test_a_bare_decorator(self) -> None:
        client = make_app().test_client()
        for method in ("GET", "POST"):
            sent = headers(method, "/machine", f"{method} /machine", kind="machine", subject="token-1")
            self.assertEqual(self.assert_view_ran(client.open("/machine", method=method, headers=sent))["admin"], None)

    def test_stacked_decorators_all_step_back(self) -> None:
        app = make_app()

        @app.get("/both")
        @require_role("a")
        @machine_auth
        @require_role("b")
        def both() -> Any:
            return {"asked": g.get("asked")}
        answer = app.test_client().get("/both", headers=headers(path="/both", route="GET /both"))
        self.assertEqual(self.assert_view_ran(answer), {"asked": None})

    def test_stacked_decorators_of_a_team_that_does_not_know_functools_wraps(self) -> None:
        def refuse(_view: Any) -> Any:
            return lambda: ({"own": "refused"}, 403)
        app = make_app()
        app.add_url_rule("/both", "both", defer(refuse)(defer(refuse)(said)))
        client = app.test_client()
        self.assert_view_ran(client.get("/both", headers=headers(path="/both", route="GET /both")))
        self.assert_own_check(client.get("/both"))

    def test_decorators_that_are_not_deferred_run_and_find_the_admin(self) -> None:
        app = make_app()
        app.view_functions.clear()

        def require_elevation(view: Any) -> Any:
            @functools.wraps(view)
            def guarded() -> Any:
                return view() if g.admin == "Ada" else ({"elevation": "refused"}, 401)
            return guarded

        @app.get("/refund")
        @require_role("boss")
        @require_elevation
        def refund() -> Any:
            return said()
        client = app.test_client()
        for subject, status in (("admin-1", 200), ("admin-2", 401)):
            sent = headers(path="/refund", route="GET /refund", subject=subject)
            self.assertEqual(client.get("/refund", headers=sent).status_code, status)

    def test_blueprints_and_class_based_views(self) -> None:
        app = make_app()
        blueprint = Blueprint("shop", __name__, url_prefix="/shop")

        @blueprint.get("/<uuid:order_id>/<path:rest>")
        @require_role("a")
        def nested(**_values: Any) -> Any:
            return said()

        class ByList(View):
            decorators = [require_role("a")]

            def dispatch_request(self) -> Any:
                return said()

        class ByMethod(MethodView):
            @require_role("a")
            def get(self) -> Any:
                return said()

            @require_role("a")
            def post(self) -> Any:
                return said()

        class BySingleton(ByMethod):
            init_every_request = False

        def plain(view: Any) -> Any:
            @functools.wraps(view)
            def around(*args: Any, **kwargs: Any) -> Any:
                return view(*args, **kwargs)
            return around

        class Decorated(ByMethod):
            decorators = [plain, require_role("a"), plain]
        blueprint.add_url_rule("/list", view_func=ByList.as_view("by_list"))
        blueprint.add_url_rule("/method", view_func=ByMethod.as_view("by_method"))
        blueprint.add_url_rule("/decorated", view_func=Decorated.as_view("decorated"))
        blueprint.add_url_rule("/singleton", view_func=BySingleton.as_view("by_singleton"))
        app.register_blueprint(blueprint)
        client = app.test_client()
        path = "/shop/5b1f0a52-5d6e-4a0b-9a1c-000000000001/a/b"
        for method, path, route in (("GET", path, "GET /shop/<uuid:id>/<path:rest>"), ("GET", "/shop/list", "GET /shop/list"),
                                    ("GET", "/shop/method", "* /shop/method"), ("HEAD", "/shop/method", "* /shop/method"),
                                    ("POST", "/shop/method", "* /shop/method"), ("GET", "/shop/singleton", "* /shop/singleton"),
                                    ("GET", "/shop/decorated", "* /shop/decorated"), ("POST", "/shop/decorated", "* /shop/decorated")):
            with self.subTest(f"{method} {path}"):
                sent = headers(method, path, route)
                self.assertEqual(client.open(path, method=method, headers=sent).status_code, 200)
                self.assertEqual(client.open(path, method=method).status_code, 403)

    def test_async_views_and_async_decorators(self) -> None:
        app = make_app()

        def async_role(_role: str) -> Any:
            def decorate(view: Any) -> Any:
                @functools.wraps(view)
                async def guarded() -> Any:
                    await asyncio.sleep(0)
                    if "X-Own-Role" not in request.headers:
                        return {"own": "refused"}, 403
                    answer = view()
                    return await answer if asyncio.iscoroutine(answer) else answer
                return guarded
            return decorate

        def aware_role(view: Any) -> Any:
            @functools.wraps(view)
            def guarded() -> Any:
                if "X-Own-Role" not in request.headers:
                    return {"own": "refused"}, 403
                return current_app.ensure_sync(view)()
            return guarded

        async def view() -> Any:
            await asyncio.sleep(0)
            return said()

        def sync_view() -> Any:
            return said()
        stepping_back = defer(async_role, keep=())
        guarded = {"/a": stepping_back("x")(view), "/b": defer(aware_role)(view), "/c": stepping_back("x")(sync_view)}
        for path, function in guarded.items():
            app.add_url_rule(path, path, function)
        client = app.test_client()
        for path in guarded:
            with self.subTest(path):
                self.assert_view_ran(client.get(path, headers=headers(path=path, route=f"GET {path}")))
                self.assert_own_check(client.get(path))
                self.assert_view_ran(client.get(path, headers={"X-Own-Role": "1"}))

    def test_an_async_loader(self) -> None:
        async def load(subject: str) -> Any:
            await asyncio.sleep(0)
            return PEOPLE.get(subject)
        client = make_app(load_admin=load).test_client()
        self.assertEqual(self.assert_view_ran(client.get("/orders/7", headers=headers()))["admin"], "Ada")

    def test_mounted_below_a_path(self) -> None:
        app = make_app(script_name="/console")
        client = Client(DispatcherMiddleware(Flask("root"), {"/console": app}))
        path, route = "/console/orders/7", "GET /console/orders/<int:number>"
        self.assertEqual(client.get(path, headers=headers(path=path, route=route)).status_code, 200)
        self.assertEqual(client.get(path, headers=headers(path=path)).status_code, 403)
        elsewhere = Client(DispatcherMiddleware(Flask("root"), {"/other": app}))
        other = headers(path="/other/orders/7", route="GET /other/orders/<int:number>")
        self.assertEqual(elsewhere.get("/other/orders/7", headers=other).status_code, 403)

    def test_inside_proxy_fix_and_around_it(self) -> None:
        """`ProxyFix` changes what `request.root_url` is; the assertion is about the path as it arrived."""
        forwarded = {"X-Forwarded-Prefix": "/elsewhere", "X-Forwarded-For": "10.1.1.1", "X-Forwarded-Host": "x.example"}
        for fix_first in (True, False):
            with self.subTest(fix_first=fix_first):
                app = make_app(gate=False)
                if fix_first:
                    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1, x_prefix=1)  # type: ignore[method-assign]
                ConsoleGate(app, load_admin=load_admin, environment=SIGNER.environment())
                if not fix_first:
                    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1)  # type: ignore[method-assign]
                answer = app.test_client().get("/orders/7", headers={**headers(), **forwarded})
                self.assert_view_ran(answer)

    def test_behind_the_middleware_that_refuses(self) -> None:
        app = make_app()
        keys = SharedKeys.parse(SIGNER.environment()["CONSOLE_GATE_KEYS"])
        app.wsgi_app = ConsoleGateMiddleware(app.wsgi_app, keys=keys, audience="console")  # type: ignore[method-assign]
        self.assert_view_ran(app.test_client().get("/orders/7", headers=headers()))
        self.assertEqual(app.test_client().get("/orders/7").json["title"], "Forbidden")

    def test_many_requests_at_once_do_not_mix(self) -> None:
        app, wrong = make_app(), list[Any]()

        def ask(number: int) -> None:
            for turn in range(30):
                by_gate = (number + turn) % 2 == 0
                subject = f"admin-{1 + turn % 2}"
                answer = app.test_client().get("/orders/7", headers=headers(subject=subject) if by_gate else {})
                if by_gate != (answer.status_code == 200) or by_gate and answer.json["admin"] != PEOPLE[subject]:
                    wrong.append((number, turn, answer.text))
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


# --- a decorator that does more than refuse ---

def may(*roles: str) -> bool:
    return request.headers.get("X-Own-Role") in roles


def protect() -> None:
    if request.headers.get("X-CSRF-Token") != "right":
        abort(400)


def api_or_session(*roles: str) -> Any:
    def decorate(view: Any) -> Any:
        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if not may(*roles):
                g.denied = roles
                return {"own": "refused"}, 403
            protect()
            g.api_token = "t"
            return view(*args, **kwargs)
        return guarded
    return decorate


class DoesMoreThanRefuse(Cases):
    def client(self, decorator: Any, view: Any = None) -> Any:
        app = make_app()
        view = view or (lambda: {"token": g.get("api_token"), "denied": g.get("denied"), "boss": may("boss")})
        app.add_url_rule("/api", "api", decorator("clerk")(view), methods=["PATCH"])
        return app.test_client()

    def ask(self, client: Any, csrf: str = "", **claims: Any) -> Any:
        return client.patch("/api", headers={**headers("PATCH", "/api", "PATCH /api", **claims), "X-CSRF-Token": csrf})

    def with_marked_check(self) -> Any:
        marked = mock.patch.object(sys.modules[__name__], "may", role_check(may))
        marked.start()
        self.addCleanup(marked.stop)

    def test_its_own_check_decides_until_it_is_said_what_runs_on(self) -> None:
        client = self.client(defer(api_or_session))
        self.assert_own_check(self.ask(client, "right"))
        self.assert_own_check(self.ask(client))

    def test_its_own_code_runs_with_the_marked_check_answered(self) -> None:
        self.with_marked_check()
        client = self.client(defer(api_or_session))
        self.assertEqual(self.ask(client).status_code, 400)
        # The view's own question is not answered, and nothing of a refusal happened.
        self.assertEqual(self.assert_view_ran(self.ask(client, "right")), {"token": "t", "denied": None, "boss": False})

    def test_the_marked_check_is_answered_for_no_other_request(self) -> None:
        self.with_marked_check()
        client = self.client(defer(api_or_session))
        for claims in ({"gate": "legacy"}, {"subject": "admin-3"}, {"route": "PATCH /*"}):
            with self.subTest(claims):
                sent = headers("PATCH", "/api", **{"route": "PATCH /api", **claims})
                self.assert_own_check(client.patch("/api", headers={**sent, "X-CSRF-Token": "right"}))
        self.assert_own_check(client.patch("/api", headers={"X-CSRF-Token": "right"}))

    def test_a_check_that_returns_the_refusal(self) -> None:
        @role_check(allowed=None)
        def refusal() -> Any:
            return {"own": "refused"}, 403

        def guard(_role: str) -> Any:
            def decorate(view: Any) -> Any:
                @functools.wraps(view)
                def guarded() -> Any:
                    return refusal() or view()
                return guarded
            return decorate
        self.assert_view_ran(self.ask(self.client(defer(guard, own_code=True))))

    def test_async_code_of_its_own(self) -> None:
        @role_check
        async def may_async() -> bool:
            return False

        def guard(_role: str) -> Any:
            def decorate(view: Any) -> Any:
                @functools.wraps(view)
                async def guarded() -> Any:
                    if not await may_async():
                        return {"own": "refused"}, 403
                    g.api_token = "t"
                    return await view()
                return guarded
            return decorate

        async def view() -> Any:
            return {"token": g.api_token, "boss": await may_async()}
        self.assertEqual(self.assert_view_ran(self.ask(self.client(defer(guard), view))), {"token": "t", "boss": False})

    def test_what_is_kept_runs_instead(self) -> None:
        def note() -> None:
            g.api_token = "kept"
        client = self.client(defer(api_or_session, keep=(protect, note)))
        self.assertEqual(self.ask(client).status_code, 400)
        self.assertEqual(self.assert_view_ran(self.ask(client, "right"))["token"], "kept")
        answering = self.client(defer(api_or_session, keep=(lambda: ({"kept": 1}, 418), protect)))
        self.assertEqual(self.ask(answering).status_code, 418)
        nothing = self.client(defer(keep=())(api_or_session))
        self.assert_view_ran(self.ask(nothing))
        with self.assertRaises(TypeError):
            defer(api_or_session, keep=(), own_code=True)

    def test_it_is_said_at_the_start_and_where_no_check_is_marked(self) -> None:
        logging.disable(logging.NOTSET)
        with self.assertLogs("console_gate", "WARNING") as caught:
            client = self.client(defer(api_or_session))
            self.ask(client, "right")
            self.ask(client, "right")
        self.assertEqual(len(caught.output), 2, caught.output)
        for part in ("api_or_session", "calls `protect()`", "assigns `g.api_token`", "role_check", "keep="):
            self.assertIn(part, caught.output[0])
        self.assertNotIn("g.denied", caught.output[0])
        self.assertIn("before it asked a check", caught.output[1])

    def test_what_is_more_than_refusing(self) -> None:
        for body, wanted in EFFECTS.items():
            with self.subTest(body):
                self.assertEqual(effects(decorator_of(body)), wanted)

    def test_what_cannot_be_read_is_more_than_refusing(self) -> None:
        for unread in (len, functools.partial(len), Cases, eval("lambda view: lambda: view()"), lambda view: require_role("a")(view)):
            self.assertTrue(effects(unread))
        self.assertEqual(effects(functools.partial(plain_machine_auth)), ())


def save(thing: Any) -> Any:
    thing.commit()
    return thing


def through(thing: Any) -> Any:
    return save(thing)


# What a wrapper does at a request, and what of it is more than refusing.
EFFECTS: dict[str, tuple[str, ...]] = {
    "return view(*a, **k)": (),
    "if not may():\n  return no()\nreturn view(*a, **k)": (),
    "if not may():\n  audit.record('x')\n  g.x = 1\n  abort(403)\nreturn view(*a, **k)": (),
    "if may():\n  return view(*a, **k)\naudit.record('x')\nreturn no()": (),
    "if may():\n  g.x = 1\n  return view(*a, **k)\nreturn no()": ("assigns `g.x`",),
    "if not g.x:\n  raise Forbidden()\nelse:\n  return view(*a, **k)": (),
    "abort(403)": (),
    "user = current()\nreturn view(*a, **k) if user else no()": (),
    "return no() or view(*a, **k)": (),
    "g.admin = current()\nlog.info('in')\nreturn ensure_sync(view)(*a, **k)": (),
    "answer = view(*a, **k)\nreturn answer": (),
    "g.token = 1\nreturn view(*a, **k)": ("assigns `g.token`",),
    "g['token'] = 1\nreturn view(*a, **k)": ("assigns `g['token']`",),
    "del g.token\nreturn view(*a, **k)": ("assigns `g.token`",),
    "user.count += 1\nreturn view(*a, **k)": ("assigns `user.count`",),
    "csrf.protect()\nreturn view(*a, **k)": ("calls `csrf.protect()`",),
    "try:\n  csrf.protect()\nexcept Bad:\n  return no()\nreturn view(*a, **k)": ("calls `csrf.protect()`",),
    "for each in user.roles:\n  touch(each)\nreturn view(*a, **k)": ("calls `touch(each)`",),
    "with transaction():\n  return view(*a, **k)": ("runs within `transaction()`",),
    "return jsonify(view(*a, **k))": ("changes the answer: `jsonify(view(*a, **k))`",),
    "answer = view(*a, **k)\nanswer.headers['X'] = '1'\nreturn answer": ("assigns `answer.headers['X']`",),
    "return view(current(), *a, **k)": ("hands the view `current()`",),
    "return view(*a, user=current(), **k)": ("hands the view `current()`",),
    "if not db.execute('UPDATE t SET seen = 1').rowcount:\n  return no()\nreturn view(*a, **k)": (
        "calls `db.execute('UPDATE t SET seen = 1')`",),
    "g.machine = save(token)\nreturn view(*a, **k)": ("calls `save(token)`, which writes",),
    "g.machine = through(token)\nreturn view(*a, **k)": ("calls `through(token)`, which writes",),
}


def decorator_of(body: str) -> Any:
    """A decorator whose wrapper is this, with a source that can be read."""
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    source = f"def made(view):\n    @functools.wraps(view)\n    def guarded(*a, **k):\n{lines}    return guarded\n"
    name = f"<made {len(linecache.cache)}>"
    linecache.cache[name] = len(source), None, source.splitlines(True), name
    there: dict[str, Any] = {"functools": functools}
    # The functions that it calls are those of its module.
    for function in (save, through):
        there[function.__name__] = types.FunctionType(function.__code__, there)
    exec(compile(source, name, "exec"), there)
    return there["made"]


class DoesNotStepBack(Cases):
    def refuse(self, sent: dict[str, str], path: str = "/orders/7", method: str = "GET", **options: Any) -> None:
        """Console's own check decides, both ways, and finds nothing of the gate's admin."""
        client = make_app(**options).test_client()
        self.assert_own_check(client.open(path, method=method, headers=sent))
        answer = self.assert_view_ran(client.open(path, method=method, headers={**sent, "X-Own-Role": "1"}))
        self.assertIn(answer["admin"], ("own", None))

    def test_without_any_gate(self) -> None:
        self.refuse({}, gate=False)
        self.refuse(headers(), gate=False)
        self.refuse({})

    def test_for_what_else_the_gate_let_in(self) -> None:
        for gate in ("legacy", "shadow", "public", "session", "machine", "upstream", "unmapped", "V2", "v2 ", ""):
            with self.subTest(gate):
                self.refuse(headers(gate=gate))

    def test_for_a_gate_that_does_not_say_what_decided(self) -> None:
        claims = SIGNER.claims("GET", "/orders/7", route=ROUTE)
        for name in ("gate", "cluster", "mapping", "groups", "notify"):
            del claims[name]
        self.refuse({"X-Console-Gate-Assertion": SIGNER.sign(claims), "X-Request-Id": claims["rid"]})

    def test_for_nobody(self) -> None:
        self.refuse(headers(subject=""))

    def test_for_somebody_whom_console_does_not_know(self) -> None:
        self.refuse(headers(subject="admin-3"))
        self.refuse(headers(subject="token-3", kind="machine"), load_machine=lambda _subject: None)

    def test_for_another_route_than_the_one_that_flask_chose(self) -> None:
        for route in ("GET /orders/<number>", "GET /orders/<path:number>", "GET /orders/*", "GET /orders/<int:number>/", "",
                      "GET /orders/7", "GET /orders/<int(min=1):number>", "POST /orders/<int:number>", "GET", "* /*",
                      "POST,PUT /orders/<int:number>", "get /orders/<int:number>", "HEAD /orders/<int:number>"):
            with self.subTest(route):
                self.refuse(headers(route=route))
        # The gate's row was `<word>`, and Flask has a rule of its own for the word `new`.
        self.refuse(headers(path="/orders/new", route="GET /orders/<number>"), "/orders/new")

    def test_each_claim_wrong_in_turn(self) -> None:
        cases: dict[str, dict[str, Any]] = {
            "issuer": {"iss": "x"}, "audience": {"aud": "other"}, "audiences": {"aud": ["console"]}, "method": {"method": "POST"},
            "path": {"path": "/orders/8"}, "path respelt": {"path": "/orders/%37"}, "request id": {"rid": "other"},
            "kind": {"kind": "root"}, "no subject": {"sub": ""}, "subject a number": {"sub": 1}, "roles a text": {"roles": "x"},
            "groups a text": {"groups": "x"}, "groups of numbers": {"groups": [1]}, "gate a list": {"gate": ["v2"]},
            "cluster null": {"cluster": None}, "mapping a number": {"mapping": 1}, "notify true": {"notify": True}, "exp a text": {"exp": "9999999999"},
            "lives too long": {"exp": 2**40}, "iat true": {"iat": True},
        }
        now = int(SIGNER.clock())
        cases["expired"] = {"iat": now - 90, "exp": now - 40}
        cases["not yet"] = {"iat": now + 40, "exp": now + 70}
        for name, changes in cases.items():
            with self.subTest(name):
                claims = SIGNER.claims("GET", "/orders/7", route=ROUTE, request_id="r")
                self.refuse({"X-Console-Gate-Assertion": SIGNER.sign({**claims, **changes}), "X-Request-Id": "r"})

    def test_what_was_signed_by_somebody_else_or_not_at_all(self) -> None:
        good = headers()
        token = good["X-Console-Gate-Assertion"]
        head, payload, signature = token.split(".")
        none = encode(json.dumps({"alg": "none", "typ": "JWT", "kid": "tests"}).encode())
        none_in_name = f"{none}.{payload}"
        signed_none = f"{none_in_name}.{encode(hmac.digest(SIGNER.secret, none_in_name.encode(), 'sha256'))}"
        claims = SIGNER.claims("GET", "/orders/7", route=ROUTE, request_id=good["X-Request-Id"])
        other_id, other_key = Signer(key_id="other").sign(claims), Signer(secret=b"x" * 32).sign(claims)
        for name, forged in {
            "alg none": f"{none}.{payload}.", "alg none with a signature": signed_none, "another key": other_key,
            "unknown key id": other_id, "empty": "", "cut": token[:-2], "twice, joined": f"{token},{token}",
            "joined with a space": f"{token}, {token}", "joined with nothing": f"{token},", "in quotes": f'"{token}"',
        }.items():
            with self.subTest(name):
                self.refuse({**good, "X-Console-Gate-Assertion": forged})
        self.assert_view_ran(make_app().test_client().get("/orders/7", headers=good))

    def test_two_fields_of_one_name(self) -> None:
        client, good = make_app().test_client(), headers()
        twice = [*good.items(), ("X-Console-Gate-Assertion", good["X-Console-Gate-Assertion"])]
        self.assert_own_check(client.get("/orders/7", headers=twice))
        self.assert_own_check(client.get("/orders/7", headers=[*good.items(), ("X-Request-Id", good["X-Request-Id"])]))

    def test_an_assertion_for_another_request(self) -> None:
        self.refuse(headers(path="/orders/8"))
        self.refuse(headers("HEAD"))
        self.refuse(headers(), "/orders/8")
        self.refuse(headers("GET", "/machine", "* /machine"), "/machine", "POST")

    def test_where_a_middleware_within_makes_another_request_of_it(self) -> None:
        for change in ({"REQUEST_METHOD": "POST"}, {"PATH_INFO": "/orders/new"}):
            with self.subTest(change):
                app = make_app(gate=False)

                @app.post("/orders/<int:number>")
                @require_role("boss")
                def change_order(number: int) -> Any:
                    return said()
                inner = app.wsgi_app
                app.wsgi_app = lambda environ, start: inner({**environ, **change}, start)  # type: ignore[method-assign]
                ConsoleGate(app, load_admin=load_admin, environment=SIGNER.environment())
                route = "* /orders/<int:number>" if "REQUEST_METHOD" in change else "GET /orders/new"
                self.assert_own_check(app.test_client().get("/orders/7", headers=headers(route=route)))

    def test_an_inner_guard_that_the_view_calls(self) -> None:
        app = make_app()

        @require_role("boss")
        def deploy() -> Any:
            return said()

        @app.get("/deploy")
        @require_role("clerk")
        def start() -> Any:
            return deploy()
        answer = app.test_client().get("/deploy", headers=headers(path="/deploy", route="GET /deploy"))
        self.assert_own_check(answer)

    def test_a_view_that_another_one_calls(self) -> None:
        app = make_app()

        @app.get("/forward")
        @require_role("clerk")
        def forward() -> Any:
            return app.view_functions["new_order"]()
        self.assert_own_check(app.test_client().get("/forward", headers=headers(path="/forward", route="GET /forward")))

    def test_a_decorator_that_hides_what_it_wraps(self) -> None:
        app = make_app()

        def opaque(view: Any) -> Any:
            return lambda: view()
        guarded = require_role("clerk")(said)
        app.add_url_rule("/opaque", "opaque", opaque(guarded))
        self.assert_own_check(app.test_client().get("/opaque", headers=headers(path="/opaque", route="GET /opaque")))

    def test_the_log_says_once_why(self) -> None:
        logging.disable(logging.NOTSET)
        app = make_app()
        app.add_url_rule("/opaque", "opaque", (lambda view: lambda: view())(require_role("clerk")(said)))
        with self.assertLogs("console_gate", "WARNING") as caught:
            for _ in range(2):
                app.test_client().get("/opaque", headers=headers(path="/opaque", route="GET /opaque"))
                app.test_client().get("/orders/7", headers=headers(route="GET /orders/<number>"))
                app.test_client().get("/orders/7", headers=headers(subject="admin-3"))
                app.test_client().get("/orders/7", headers={**headers(), "X-Request-Id": "other"})
        said_so = [record.getMessage() for record in caught.records]
        for part, times in (("a deferred check on `said`", 1), ("its row `GET /orders/<number>`", 1), ("'admin-3'", 2),
                            ("another request id", 2)):
            self.assertEqual(sum(part in line for line in said_so), times, part)
        self.assertNotIn(headers()["X-Console-Gate-Assertion"].split(".")[0], str(said_so))

    def test_rules_of_a_host_or_a_subdomain(self) -> None:
        app = Flask(__name__, host_matching=True, static_host="x")
        app.add_url_rule("/orders/<int:number>", "order", require_role("clerk")(lambda number: said()), host="a.example")
        ConsoleGate(app, load_admin=load_admin, environment=SIGNER.environment())
        self.assert_own_check(app.test_client().get("/orders/7", base_url="http://a.example/", headers=headers()))

    def test_outside_of_requests_and_of_apps(self) -> None:
        calls = list[str]()

        def logged(view: Any) -> Any:
            @functools.wraps(view)
            def guarded() -> Any:
                calls.append("own")
                return view()
            return guarded
        guarded = defer(logged)(lambda: "ran")
        self.assertEqual(guarded(), "ran")
        with make_app().app_context():
            self.assertEqual(guarded(), "ran")
            self.assertIs(current_assertion(), NOBODY)
        self.assertEqual(calls, ["own", "own"])
        self.assertFalse(decided_by_gate())

    def test_a_request_context_without_the_wsgi_stack(self) -> None:
        app = make_app()
        with app.test_request_context("/orders/7", headers=headers()):
            self.assertEqual(current_assertion().subject, "admin-1")
            self.assertEqual(app.full_dispatch_request().status_code, 200)
        with app.test_request_context("/orders/7"):
            self.assertIs(current_assertion(), NOBODY)
            self.assertEqual(app.full_dispatch_request().status_code, 403)

    def test_a_verifier_that_fails(self) -> None:
        class Broken:
            algorithm = "HS256"

            def verify(self, *_arguments: Any) -> None:
                raise OSError("no such key")
        for propagate in (None, True):
            app = make_app(keys=Broken())
            app.config["PROPAGATE_EXCEPTIONS"] = propagate
            self.assert_own_check(app.test_client().get("/orders/7", headers=headers()))

    def test_a_loader_that_fails_is_an_error_and_no_way_in(self) -> None:
        def load(_subject: str) -> Any:
            raise OSError("database")
        app = make_app(load_admin=load)
        self.assertEqual(app.test_client().get("/orders/7", headers=headers()).status_code, 500)
        app.config["PROPAGATE_EXCEPTIONS"] = True
        with self.assertRaises(OSError):
            app.test_client().get("/orders/7", headers=headers())


class Modes(Cases):
    def test_shadow_never_steps_back_and_reports(self) -> None:
        app = make_app(mode="shadow")
        reported = list[drift.Disagreement]()
        app.extensions["console_gate"].reporter.report = reported.append
        client = app.test_client()
        for gate in ("v2", "legacy"):
            self.assert_own_check(client.get("/orders/7", headers=headers(gate=gate, cluster="orders", mapping="ab")))
        self.assertEqual(reported[0], drift.Disagreement("GET", ROUTE, "admin-1", "admin", "v2", "orders", "ab",
                                                         "make_app.<locals>.order"))
        self.assertEqual([each.gate for each in reported], ["v2", "legacy"])
        reported.clear()
        answer = self.assert_view_ran(client.get("/orders/7", headers={**headers(), "X-Own-Role": "1"}))
        self.assertEqual(answer["admin"], "own")
        self.assert_own_check(client.get("/orders/7"))
        self.assert_own_check(client.get("/orders/7", headers=headers(gate="upstream")))
        self.assert_own_check(client.get("/orders/7", headers=headers(route="GET /orders/*")))
        self.assertEqual(reported, [])

    def test_shadow_sees_a_check_that_aborts_and_not_an_error(self) -> None:
        app = make_app(mode="shadow", load_admin=None)
        reported = list[drift.Disagreement]()
        app.extensions["console_gate"].reporter.report = reported.append

        def broken(view: Any) -> Any:
            @functools.wraps(view)
            def guarded() -> Any:
                raise OSError("database")
            return guarded

        def aborting_view() -> Any:
            abort(403)
        app.add_url_rule("/broken", "broken", defer(broken)(said))
        app.add_url_rule("/inside", "inside", machine_auth(aborting_view))
        client = app.test_client()
        self.assertEqual(client.get("/broken", headers=headers(path="/broken", route="GET /broken")).status_code, 500)
        sent = {**headers(path="/inside", route="GET /inside"), "X-Own-Role": "1"}
        self.assertEqual(client.get("/inside", headers=sent).status_code, 403)
        self.assertEqual(reported, [])
        sent = headers(path="/machine", route="* /machine", kind="machine", subject="t")
        self.assertEqual(client.get("/machine", headers=sent).status_code, 401)
        self.assertEqual(len(reported), 1)

    def test_shadow_with_stacked_and_async_decorators(self) -> None:
        app = make_app(mode="shadow")
        reported = list[drift.Disagreement]()
        app.extensions["console_gate"].reporter.report = reported.append

        def async_role(view: Any) -> Any:
            @functools.wraps(view)
            async def guarded() -> Any:
                return await view() if "X-Inner-Role" in request.headers else ({"own": "refused"}, 403)
            return guarded

        async def view() -> Any:
            return said()

        def aware(view: Any) -> Any:
            @functools.wraps(view)
            def guarded() -> Any:
                return current_app.ensure_sync(view)()
            return guarded
        app.add_url_rule("/stack", "stack", defer(aware)(defer(async_role)(view)))
        sent = headers(path="/stack", route="GET /stack")
        self.assert_own_check(app.test_client().get("/stack", headers=sent))
        self.assertEqual(len(reported), 1)
        self.assertEqual(deferral._under_way.get(), ())
        self.assert_view_ran(app.test_client().get("/stack", headers={**sent, "X-Inner-Role": "1"}))
        self.assertEqual(len(reported), 1)

    def test_shadow_with_a_decorator_that_uses_another(self) -> None:
        app = make_app(mode="shadow")
        reported = list[drift.Disagreement]()
        app.extensions["console_gate"].reporter.report = reported.append

        def machine_or_clerk(view: Any) -> Any:
            as_a_person = require_role("clerk")(view)

            @functools.wraps(view)
            def guarded() -> Any:
                return as_a_person()
            return guarded
        app.add_url_rule("/both", "both", defer(machine_or_clerk)(said))
        sent = headers(path="/both", route="GET /both")
        self.assert_own_check(app.test_client().get("/both", headers=sent))
        self.assertEqual(len(reported), 1)
        # The view runs, and both have let it.
        self.assert_view_ran(app.test_client().get("/both", headers={**sent, "X-Own-Role": "1"}))
        self.assertEqual(len(reported), 1)
        self.assertEqual(deferral._under_way.get(), ())

    def test_trust_steps_back_for_the_legacy_gate_too(self) -> None:
        client = make_app(mode="trust").test_client()
        for gate in ("v2", "legacy"):
            self.assertEqual(self.assert_view_ran(client.get("/orders/7", headers=headers(gate=gate)))["admin"], "Ada")
        for gate in ("upstream", "machine", "public", "session", "unmapped", ""):
            self.assert_own_check(client.get("/orders/7", headers=headers(gate=gate)))
        # The gate does not know the credential and passes it on for Console to judge.
        self.assert_own_check(client.get("/orders/7", headers=headers(gate="legacy", subject="")))
        self.assert_own_check(client.get("/orders/7"))

    def test_the_setting(self) -> None:
        app = make_app(environment={**SIGNER.environment(), "CONSOLE_GATE_MODE": "trust"})
        self.assert_view_ran(app.test_client().get("/orders/7", headers=headers(gate="legacy")))
        with self.assertRaisesRegex(ConfigurationError, "not `on`"):
            make_app(mode="on")


class Sets(Cases):
    def test_g_gate(self) -> None:
        app = make_app()
        seen = list[Any]()

        @app.before_request
        def look() -> None:
            seen.append(g.gate)
        sent = headers(roles=["console-user"], groups=["managers"], cluster="orders", session="s-9", mapping="0f", notify="customer",
                       request_id="r-1")
        app.test_client().get("/orders/7", headers=sent)
        gate = seen[0]
        self.assertEqual((gate.subject, gate.kind, gate.session, gate.roles, gate.groups, gate.route, gate.cluster, gate.gate,
                          gate.mapping, gate.notify, gate.request_id, gate.method, gate.path, bool(gate)),
                         ("admin-1", "admin", "s-9", ("console-user",), ("managers",), ROUTE, "orders", "v2", "0f", "customer", "r-1",
                          "GET", "/orders/7", True))
        for sent in ({}, {**headers(), "X-Request-Id": "other"}):
            app.test_client().get("/orders/7", headers=sent)
            self.assertIs(seen[-1], NOBODY)
            self.assertFalse(seen[-1])

    def test_g_admin_before_every_before_request_function(self) -> None:
        app = make_app(gate=False)
        seen = list[Any]()
        app.before_request(lambda: seen.append(g.get("admin")))
        app.before_request(lambda: seen.append(g.get("admin")))
        ConsoleGate(app, load_admin=load_admin, environment=SIGNER.environment())
        app.test_client().get("/orders/7", headers=headers())
        self.assertEqual(seen, ["Ada", "Ada"])

    def test_g_admin_only_where_the_gates_decision_counts(self) -> None:
        loaded = list[str]()

        def load(subject: str) -> Any:
            loaded.append(subject)
            return PEOPLE.get(subject)
        for mode, sent in (("enforce", headers(gate="legacy")), ("shadow", headers()), ("enforce", {}),
                           ("enforce", headers(route="GET /*")), ("trust", headers(gate="upstream"))):
            with self.subTest(f"{mode} {sent}"):
                app = make_app(mode=mode, load_admin=load)
                app.test_client().get("/orders/7", headers=sent)
                self.assertEqual(loaded, [])

    def test_g_machine(self) -> None:
        app = make_app(load_machine=lambda subject: f"machine {subject}")

        @app.get("/who")
        @machine_auth
        def who() -> Any:
            return {"machine": g.machine, "admin": g.get("admin")}
        sent = headers(path="/who", route="GET /who", kind="machine", subject="t-1")
        self.assertEqual(app.test_client().get("/who", headers=sent).json, {"machine": "machine t-1", "admin": None})

    def test_flask_login(self) -> None:
        from flask_login import LoginManager, UserMixin, current_user

        class User(UserMixin):
            def __init__(self, name: str) -> None:
                self.id = name

        app = make_app(gate=False)
        manager = LoginManager(app)
        manager.request_loader(lambda _request: User("own") if "X-Own-User" in request.headers else None)
        ConsoleGate(app, load_admin=User, login_manager=manager, environment=SIGNER.environment())

        @app.get("/who")
        @require_role("x")
        def who() -> Any:
            return {"user": current_user.id if current_user.is_authenticated else None}
        client = app.test_client()
        sent = headers(path="/who", route="GET /who")
        own = {"X-Own-Role": "1"}
        self.assertEqual(client.get("/who", headers=sent).json, {"user": "admin-1"})
        self.assertEqual(client.get("/who", headers={**sent, "X-Own-User": "1"}).json, {"user": "admin-1"})
        self.assertEqual(client.get("/who", headers={**own, "X-Own-User": "1"}).json, {"user": "own"})
        legacy = headers(path="/who", route="GET /who", gate="legacy")
        self.assertEqual(client.get("/who", headers={**legacy, **own}).json, {"user": None})
        bare = LoginManager()
        add_request_loader(bare)
        with app.test_request_context("/who", headers=legacy):
            self.assertIsNone(bare._request_callback(request))

    def test_decided_by_gate(self) -> None:
        app = make_app(gate=False)
        blueprint = Blueprint("all", __name__)

        @blueprint.before_request
        def only_staff() -> Any:
            return None if decided_by_gate() else ({"own": "refused"}, 403)
        blueprint.add_url_rule("/page", "page", said)
        app.register_blueprint(blueprint)
        sent = headers(path="/page", route="GET /page")
        self.assert_own_check(app.test_client().get("/page", headers=sent))
        for mode, ok in (("enforce", True), ("shadow", False)):
            app.extensions.pop("console_gate", None)
            ConsoleGate(app, load_admin=load_admin, mode=mode, environment=SIGNER.environment())
            self.assertEqual(app.test_client().get("/page", headers=sent).status_code == 200, ok)
            self.assert_own_check(app.test_client().get("/page", headers={**sent, "X-Request-Id": "x"}))
            unknown = headers(path="/page", route="GET /page", subject="admin-3")
            self.assert_own_check(app.test_client().get("/page", headers=unknown))


class Settings(Cases):
    def test_without_key_or_audience_the_app_does_not_start(self) -> None:
        good = SIGNER.environment()
        for environment in ({}, {"CONSOLE_GATE_AUDIENCE": "console"}, {"CONSOLE_GATE_KEYS": good["CONSOLE_GATE_KEYS"]},
                            {**good, "CONSOLE_GATE_AUDIENCE": ""}, {**good, "CONSOLE_GATE_KEYS": "tests:c2hvcnQ="},
                            {**good, "CONSOLE_GATE_JWKS": "x"}):
            with self.subTest(environment), self.assertRaises(ConfigurationError):
                make_app(environment=environment)
            with self.subTest(environment), self.assertRaises(ConfigurationError):
                ConsoleGate(environment=environment).init_app(Flask("x"))

    def test_the_apps_own_configuration_comes_first(self) -> None:
        app = make_app(gate=False)
        app.config.update(CONSOLE_GATE_KEYS=SIGNER.environment()["CONSOLE_GATE_KEYS"], CONSOLE_GATE_AUDIENCE="console")
        ConsoleGate(app, environment={"CONSOLE_GATE_AUDIENCE": "other"})
        self.assertEqual(app.test_client().get("/orders/7", headers=headers()).status_code, 200)

    def test_one_gate_for_several_apps_and_not_twice_for_one(self) -> None:
        gate = ConsoleGate(load_admin=load_admin, environment=SIGNER.environment())
        apps = [make_app(gate=False), make_app(gate=False)]
        for app in apps:
            gate.init_app(app)
            self.assert_view_ran(app.test_client().get("/orders/7", headers=headers()))
        with self.assertRaisesRegex(ConfigurationError, "already"):
            gate.init_app(apps[0])

    def test_eddsa(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        class Keys:
            algorithm = "EdDSA"

            def __init__(self) -> None:
                self.private = Ed25519PrivateKey.generate()

            def verify(self, _key_id: str, signed: bytes, signature: bytes) -> None:
                from cryptography.exceptions import InvalidSignature
                try:
                    self.private.public_key().verify(signature, signed)
                except InvalidSignature:
                    raise ValueError("bad signature") from None
        keys = Keys()
        claims = SIGNER.claims("GET", "/orders/7", route=ROUTE)
        signed = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": "EdDSA", "kid": "e"}, claims))
        token = f"{signed}.{encode(keys.private.sign(signed.encode()))}"
        client = make_app(keys=keys).test_client()
        sent = {"X-Console-Gate-Assertion": token, "X-Request-Id": claims["rid"]}
        self.assert_view_ran(client.get("/orders/7", headers=sent))
        self.assert_own_check(client.get("/orders/7", headers=headers()))


class Decorators(Cases):
    def test_names_and_attributes_stay(self) -> None:
        def tag(*roles: str) -> Any:
            """Tags."""
            def decorate(view: Any) -> Any:
                view.roles = roles
                return view
            return decorate

        def view(number: int) -> str:
            """A view."""
            return str(number)
        view.cached = True  # type: ignore[attr-defined]
        deferred = defer(tag)
        self.assertEqual((deferred.__name__, deferred.__doc__), ("tag", "Tags."))
        decorated = deferred("a", "b")(view)
        self.assertEqual((decorated.__name__, decorated.__doc__, decorated.__module__, decorated.roles, decorated.cached),
                         ("view", "A view.", __name__, ("a", "b"), True))
        self.assertEqual(list(__import__("inspect").signature(decorated).parameters), ["number"])
        self.assertEqual(decorated(7), "7")

    def test_arguments_that_are_no_views(self) -> None:
        class Role(enum.Enum):
            BOSS = "boss"

        seen = list[Any]()

        def require(*args: Any, **kwargs: Any) -> Any:
            seen.append((args, kwargs))
            return lambda view: view
        for args, kwargs in (((Role.BOSS,), {}), ((int,), {}), (("a",), {}), ((), {"any": ["a"]}), ((), {}), ((len, "a"), {})):
            defer(require)(*args, **kwargs)(said)
            self.assertEqual(seen.pop(), (args, kwargs))

    def test_a_decorator_of_classes_stays_as_it_is(self) -> None:
        class Page(MethodView):
            pass
        self.assertIs(defer(lambda kind: kind)(Page), Page)

    def test_shapes_of_rules(self) -> None:
        same = [("/a/<id>", "/a/<string:other>"), ("/a/<default:id>", "/a/<str:x>"), ("/<any(a, b):x>", "/<any(a,b):y>")]
        for one, other in same:
            self.assertEqual(deferral.shape(one), deferral.shape(other))
        other = ["/a/<id>", "/a/<int:id>", "/a/<int(min=1):id>", "/a/<path:id>", "/a/<id>/", "/a/<uuid:id>", "/a/<any(a,b):id>",
                 "/a/<any(a):id>", "/a/<string(length=2):id>", "/a/id", "/b/<id>", "/a/<id>/<id2>", "/a/x<id>"]
        self.assertEqual(len({deferral.shape(rule) for rule in other}), len(other))


class Drift(Cases):
    DISAGREEMENT = drift.Disagreement("GET", ROUTE, "admin-1", "admin", "v2", "orders", "ab", "order")

    def test_a_batch_is_posted_with_the_token(self) -> None:
        posted, done = list[Any](), threading.Event()

        class Answer:
            def __enter__(self) -> None:
                done.set()

            def __exit__(self, *_error: object) -> None:
                pass
        with mock.patch("urllib.request.urlopen", lambda asked, timeout: posted.append(asked) or Answer()):
            drift.Reporter("http://gate.internal/drift", "secret").report(self.DISAGREEMENT)
            self.assertTrue(done.wait(10))
        self.assertEqual(posted[0].get_header("Authorization"), "Bearer secret")
        [sent] = json.loads(posted[0].data)["disagreements"]
        self.assertEqual((sent["subject"], sent["route"], sent["check"]), ("admin-1", ROUTE, "order"))

    def test_a_gate_that_does_not_answer_costs_no_request_its_answer(self) -> None:
        blocked, release = threading.Event(), threading.Event()

        def hang(_batch: Any) -> Any:
            blocked.set()
            release.wait(10)
        self.addCleanup(release.set)
        with mock.patch.object(drift, "QUEUE", 3):
            reporter = drift.Reporter("http://gate.internal/drift")
            reporter.send = hang  # type: ignore[method-assign]
            reporter.report(self.DISAGREEMENT)
            self.assertTrue(blocked.wait(10))
            for _ in range(10):
                reporter.report(self.DISAGREEMENT)
            self.assertEqual(reporter.dropped, 7)

    def test_a_batch_that_is_lost_is_counted_and_the_next_one_sent(self) -> None:
        reporter, sent, asked = drift.Reporter("http://gate.internal/drift"), list[Any](), threading.Event()

        def send(batch: Any) -> None:
            sent.append(batch)
            if len(sent) == 1:
                raise OSError("no route to host")
            asked.set()
        reporter.send = send  # type: ignore[method-assign]
        reporter.report(self.DISAGREEMENT)
        while not sent:
            threading.Event().wait(0.001)
        reporter.report(self.DISAGREEMENT)
        self.assertTrue(asked.wait(10))
        self.assertEqual(reporter.dropped, 1)

    def test_each_is_logged_once(self) -> None:
        logging.disable(logging.NOTSET)
        reporter = drift.Reporter()
        with self.assertLogs("console_gate", "WARNING") as caught:
            for _ in range(3):
                reporter.report(self.DISAGREEMENT)
            reporter.report(drift.Disagreement("GET", ROUTE, "admin-2", "admin", "v2", "", "", "order"))
        self.assertEqual(len(caught.output), 2)
        self.assertIn(ROUTE, caught.output[0])

    def test_nothing_that_goes_wrong_reaches_the_request(self) -> None:
        reporter = drift.Reporter("http://gate.internal/drift")
        with mock.patch("threading.Thread.start", side_effect=RuntimeError("no more threads")):
            reporter.report(self.DISAGREEMENT)


class Testing(Cases):
    def test_the_key_is_long_enough_and_known_to_nobody_else(self) -> None:
        key = SIGNER.environment()["CONSOLE_GATE_KEYS"]
        self.assertEqual(base64.b64decode(key.partition(":")[2]), SIGNER.secret)
        self.assertEqual(len(SIGNER.secret), 32)
        one, other = headers(), headers()
        self.assertNotEqual(one["X-Request-Id"], other["X-Request-Id"])


if __name__ == "__main__":
    unittest.main()
