"""`console_gate.django`: the middleware and `defer`, under WSGI and ASGI, with sync and async views."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy" / "flask"))

import django  # noqa: E402
from asgiref.sync import iscoroutinefunction  # noqa: E402
from django.conf import settings  # noqa: E402

if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", USE_TZ=True,
                       MIDDLEWARE=["console_gate.django.ConsoleGateMiddleware"])
    django.setup()

from django.core.exceptions import PermissionDenied  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.urls import include, path, re_path  # noqa: E402
from django.utils.decorators import method_decorator  # noqa: E402
from django.views import View  # noqa: E402
from werkzeug.test import Client as WsgiClient  # noqa: E402

from console_gate.assertion import NOBODY, ConfigurationError  # noqa: E402
from console_gate.django import ConsoleGateMiddleware, defer  # noqa: E402
from console_gate.testing import Signer  # noqa: E402

SIGNER = Signer()
PEOPLE = {"admin-1": "Ada"}
SEEN: list[Any] = []


def load_admin(subject: str) -> Any:
    return PEOPLE.get(subject)


async def load_admin_async(subject: str) -> Any:
    await asyncio.sleep(0)
    return PEOPLE.get(subject)


def require_role(*_roles: str) -> Any:
    def decorate(view: Any) -> Any:
        if asyncio.iscoroutinefunction(view):
            @functools.wraps(view)
            async def guarded_async(request: Any, *args: Any, **kwargs: Any) -> Any:
                if "X-Own-Role" not in request.headers:
                    raise PermissionDenied
                return await view(request, *args, **kwargs)
            return guarded_async

        @functools.wraps(view)
        def guarded(request: Any, *args: Any, **kwargs: Any) -> Any:
            if "X-Own-Role" not in request.headers:
                raise PermissionDenied
            return view(request, *args, **kwargs)
        return guarded
    return decorate


require_role = defer(require_role)


def said(request: Any) -> JsonResponse:
    SEEN.append(request.gate)
    return JsonResponse({"admin": getattr(request, "admin", None), "machine": getattr(request, "machine", None)})


@require_role("clerk")
def order(request: Any, **_values: Any) -> Any:
    return said(request)


@require_role("clerk")
async def order_async(request: Any) -> Any:
    await asyncio.sleep(0)
    return said(request)


@require_role("boss")
def inner(request: Any) -> Any:
    return said(request)


@require_role("clerk")
def outer(request: Any) -> Any:
    return inner(request)


@method_decorator(require_role("clerk"), name="dispatch")
class OnDispatch(View):
    def get(self, request: Any) -> Any:
        return said(request)


class OnMethod(View):
    @method_decorator(require_role("clerk"))
    def get(self, request: Any) -> Any:
        return said(request)


class InAsyncClass(View):
    async def get(self, request: Any) -> Any:
        await asyncio.sleep(0)
        return said(request)


def passing_on(view: Any) -> Any:
    """A check that is not `async def` itself and returns what is to be awaited; `functools.wraps` marks it."""
    @functools.wraps(view)
    def guarded(request: Any) -> Any:
        async def check() -> Any:
            return await view(request)
        return check()
    return guarded


urlpatterns = [
    path("async-class", require_role("clerk")(InAsyncClass.as_view())),
    path("passed-on", defer(passing_on)(InAsyncClass.as_view())),
    path("orders/<int:number>/", order),
    path("shop/", include([path("orders/<slug:word>", order), path("by/<str:word>", order)])),
    re_path(r"^regex/(?P<word>\w+)$", order),
    path("async", order_async),
    path("outer", outer),
    path("dispatch", OnDispatch.as_view()),
    path("method", OnMethod.as_view()),
    path("called", require_role("clerk")(OnMethod.as_view())),
]

CONFIGURED = {"KEYS": SIGNER.environment()["CONSOLE_GATE_KEYS"], "AUDIENCE": "console", "LOAD_ADMIN": f"{__name__}.load_admin"}


def headers(path: str = "/orders/7/", route: str = "GET /orders/<int:number>/", method: str = "GET", **claims: Any) -> dict[str, str]:
    return SIGNER.headers(method, path, route=route, **claims)


class Cases(unittest.TestCase):
    configured: dict[str, Any] = CONFIGURED

    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        SEEN.clear()
        changed = override_settings(CONSOLE_GATE=self.configured)
        changed.enable()
        self.addCleanup(changed.disable)

    def ask(self, target: str = "/orders/7/", sent: dict[str, str] | None = None, method: str = "GET") -> tuple[int, bytes]:
        answer = WsgiClient(WSGIHandler()).open(target, method=method, headers=sent or {})
        return answer.status_code, answer.data

    def ask_async(self, target: str = "/orders/7/", sent: dict[str, str] | None = None,
                  raw_path: bytes | None = b"", twice: bool = False, root_path: str = "") -> tuple[int, bytes]:
        pairs = [(name.lower().encode(), value.encode()) for name, value in (sent or {}).items()] * (2 if twice else 1)
        scope = {"type": "http", "method": "GET", "path": target, "query_string": b"a=1", "root_path": root_path,
                 "headers": [(b"host", b"x.example"), *pairs]}
        if raw_path is not None:
            scope["raw_path"] = raw_path or target.encode()
        messages, received = list[Any](), list[bool]()

        async def run() -> None:
            async def receive() -> Any:
                if received:
                    await asyncio.Event().wait()  # the client stays
                received.append(True)
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message: Any) -> None:
                messages.append(message)
            await ASGIHandler()(scope, receive, send)
        asyncio.run(run())
        return messages[0]["status"], b"".join(message.get("body", b"") for message in messages[1:])


class NamesItsRequest(Cases):
    def test_in_every_answer(self) -> None:
        for sent, named in (({"X-Request-Id": "request-7"}, "request-7"), ({}, None)):
            for target in ("/orders/7/", "/nowhere"):
                answer = WsgiClient(WSGIHandler()).open(target, headers=sent)
                self.assertEqual(answer.headers.get("X-Console-Gate-Request"), named, target)


class StepsBack(Cases):
    ROUTES = {"/orders/7/": "GET /orders/<int:number>/", "/async": "GET /async", "/dispatch": "* /dispatch",
              "/method": "* /method", "/called": "GET /called", "/async-class": "GET /async-class", "/shop/by/x": "GET /shop/by/<word>"}

    def test_under_wsgi_and_asgi(self) -> None:
        for target, route in self.ROUTES.items():
            for ask in (self.ask, self.ask_async):
                with self.subTest(f"{target} {ask.__name__}"):
                    self.assertEqual(ask(target, headers(target, route)), (200, b'{"admin": "Ada", "machine": null}'))
                    self.assertTrue(SEEN[-1])
                    self.assertEqual(ask(target)[0], 403)
                    self.assertEqual(ask(target, headers(target, route, gate="legacy"))[0], 403)
                    self.assertEqual(ask(target, {"X-Own-Role": "1"})[0], 200)
                    self.assertIs(SEEN[-1], NOBODY)

    def test_under_a_server_that_does_not_pass_on_the_raw_path(self) -> None:
        self.assertEqual(self.ask_async(sent=headers(), raw_path=None)[0], 200)

    def test_an_async_loader(self) -> None:
        with override_settings(CONSOLE_GATE={**CONFIGURED, "LOAD_ADMIN": load_admin_async}):
            for ask in (self.ask, self.ask_async):
                self.assertEqual(ask(sent=headers())[1], b'{"admin": "Ada", "machine": null}')

    def test_below_a_mount_point(self) -> None:
        sent = headers("/console/orders/7/", "GET /console/orders/<int:number>/")
        with override_settings(CONSOLE_GATE={**CONFIGURED, "SCRIPT_NAME": "/console"}):
            self.assertEqual(self.ask_async("/console/orders/7/", sent, root_path="/console")[0], 200)
            self.assertEqual(self.ask_async("/orders/7/", headers())[0], 403)
        for wrong in (sent, headers("/console/orders/7/")):
            self.assertEqual(self.ask_async("/console/orders/7/", wrong, root_path="/console")[0], 403)

    def test_a_machine(self) -> None:
        with override_settings(CONSOLE_GATE={**CONFIGURED, "LOAD_MACHINE": lambda subject: f"machine {subject}"}):
            answer = self.ask(sent=headers(kind="machine", subject="t-1"))
        self.assertEqual(answer, (200, b'{"admin": null, "machine": "machine t-1"}'))


class DoesNotStepBack(Cases):
    def test_for_what_is_not_this_very_request(self) -> None:
        wrong: dict[str, dict[str, str]] = {
            "none": {}, "legacy": headers(gate="legacy"), "nobody": headers(subject=""), "unknown": headers(subject="admin-2"),
            "path": headers("/orders/8/"), "method": headers(method="POST", route="* /orders/<int:number>/"),
            "route": headers(route="GET /orders/<number>/"), "prefix": headers(route="GET /orders/*"),
            "slash": headers(route="GET /orders/<int:number>"), "request id": {**headers(), "X-Request-Id": "x"},
            "audience": Signer(audience="other").headers("GET", "/orders/7/", route="GET /orders/<int:number>/"),
            "key": Signer(secret=b"x" * 32).headers("GET", "/orders/7/", route="GET /orders/<int:number>/"),
            "expired": Signer(clock=lambda: SIGNER.clock() - 99).headers("GET", "/orders/7/", route="GET /orders/<int:number>/"),
        }
        for name, sent in wrong.items():
            for ask in (self.ask, self.ask_async):
                with self.subTest(f"{name} {ask.__name__}"):
                    self.assertEqual(ask(sent=sent)[0], 403)
                    self.assertEqual(ask(sent={**sent, "X-Own-Role": "1"}), (200, b'{"admin": null, "machine": null}'))

    def test_for_two_fields_of_one_name(self) -> None:
        self.assertEqual(self.ask_async(sent=headers(), twice=True)[0], 403)

    def test_for_another_spelling_on_the_wire(self) -> None:
        for raw, status in ((b"/orders/%37/", 403), (b"/orders/7/?a=1", 200), (b"/orders/7/", 200), (b"/other/", 403)):
            self.assertEqual(self.ask_async(sent=headers(), raw_path=raw)[0], status)

    def test_for_converters_and_expressions_that_the_gate_does_not_have(self) -> None:
        self.assertEqual(self.ask("/shop/orders/x", headers("/shop/orders/x", "GET /shop/orders/<word>"))[0], 403)
        self.assertEqual(self.ask("/regex/x", headers("/regex/x", "GET /regex/<word>"))[0], 403)

    def test_for_an_inner_guard(self) -> None:
        self.assertEqual(self.ask("/outer", headers("/outer", "GET /outer"))[0], 403)

    def test_where_a_middleware_makes_another_request_of_it(self) -> None:
        for name, value in (("method", "POST"), ("path_info", "/method")):
            def change(get_response: Any) -> Any:
                def run(request: Any) -> Any:
                    setattr(request, name, value)
                    return get_response(request)
                return run
            with self.subTest(name), mock.patch(f"{__name__}.CHANGE", change, create=True), override_settings(
                    MIDDLEWARE=["console_gate.django.ConsoleGateMiddleware", f"{__name__}.CHANGE"]):
                self.assertEqual(self.ask(sent=headers(route="* /orders/<int:number>/"))[0], 403)
                self.assertEqual(self.ask(sent=headers(route="* /method"))[0], 403)

    def test_where_a_middleware_chooses_other_urls(self) -> None:
        def choose(get_response: Any) -> Any:
            def run(request: Any) -> Any:
                request.urlconf = (path("orders/<int:number>/", order),)
                return get_response(request)
            return run
        with mock.patch(f"{__name__}.CHOOSE", choose, create=True), override_settings(
                MIDDLEWARE=["console_gate.django.ConsoleGateMiddleware", f"{__name__}.CHOOSE"]):
            self.assertEqual(self.ask(sent=headers())[0], 403)
            self.assertEqual(self.ask(sent={"X-Own-Role": "1"})[0], 200)

    def test_without_the_middleware_and_outside_of_requests(self) -> None:
        with override_settings(MIDDLEWARE=[]):
            self.assertEqual(self.ask(sent=headers())[0], 403)
        self.assertEqual(defer(lambda view: view)(lambda: "ran")(), "ran")


class Modes(Cases):
    def test_shadow(self) -> None:
        with override_settings(CONSOLE_GATE={**CONFIGURED, "MODE": "shadow"}), mock.patch(
                "console_gate.drift.Reporter.report") as report:
            for ask in (self.ask, self.ask_async):
                report.reset_mock()
                self.assertEqual(ask(sent=headers(gate="legacy"))[0], 403)
                self.assertEqual(report.call_args.args[0].check, "order")
                self.assertEqual(ask(sent={**headers(), "X-Own-Role": "1"}), (200, b'{"admin": null, "machine": null}'))
                self.assertEqual(report.call_count, 1)
                self.assertEqual(ask("/passed-on", headers("/passed-on", "GET /passed-on"))[0], 200)
                self.assertEqual(ask("/async-class", {**headers("/async-class", "GET /async-class"), "X-Own-Role": "1"})[0], 200)
                self.assertEqual(report.call_count, 1)

    def test_trust(self) -> None:
        with override_settings(CONSOLE_GATE={**CONFIGURED, "MODE": "trust"}):
            self.assertEqual(self.ask(sent=headers(gate="legacy"))[0], 200)
            self.assertEqual(self.ask(sent=headers(gate="upstream"))[0], 403)
            self.assertEqual(self.ask()[0], 403)


class Settings(Cases):
    def test_without_key_or_audience_the_project_does_not_start(self) -> None:
        for configured in ({}, {"KEYS": CONFIGURED["KEYS"]}, {"AUDIENCE": "console"}, {**CONFIGURED, "MODE": "on"}):
            with self.subTest(configured), override_settings(CONSOLE_GATE=configured), self.assertRaises(ConfigurationError):
                ConsoleGateMiddleware(lambda _request: None)

    def test_it_is_async_where_the_handler_is(self) -> None:
        async def get_response(_request: Any) -> Any:
            return None
        self.assertTrue(iscoroutinefunction(ConsoleGateMiddleware(get_response)))
        self.assertFalse(iscoroutinefunction(ConsoleGateMiddleware(lambda _request: None)))

    def test_the_environment(self) -> None:
        with override_settings(CONSOLE_GATE={"LOAD_ADMIN": load_admin}), mock.patch.dict("os.environ", SIGNER.environment()):
            self.assertEqual(self.ask(sent=headers())[0], 200)


if __name__ == "__main__":
    unittest.main()
