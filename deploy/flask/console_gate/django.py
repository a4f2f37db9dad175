"""The two lines for a Django project behind console-gate.

    MIDDLEWARE = ["console_gate.django.ConsoleGateMiddleware", ...]     # first
    require_role = defer(require_role)                                  # from console_gate.django import defer

`request.gate` says who the gate let in and by what. `defer` is as `console_gate.flask.defer`: a view decorator of the
project's own steps back for exactly the requests that the gate has decided by V2. Works under WSGI and ASGI, with sync
and async views.

Settings: `CONSOLE_GATE = {"KEYS": ..., "AUDIENCE": ..., "LOAD_ADMIN": "shop.auth.load_user"}` in Django's settings; what
is not there comes from the environment as `CONSOLE_GATE_...`. `LOAD_ADMIN(subject)` and `LOAD_MACHINE(subject)` return
the project's own objects or None; they become `request.admin` and `request.machine`.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Awaitable, Callable, Sequence

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from console_gate.assertion import (
    ENVIRON_KEY,
    NOBODY,
    REQUEST_HEADER,
    Assertion,
    ConfigurationError,
    Verifier,
    WireRequest,
    environment_setting,
    keys_from,
    wsgi_request,
)
from console_gate.deferral import Mode, Ruling, View, defer_with, innermost, is_on_view, is_same_route, role_check
from console_gate.drift import Disagreement, Reporter

log = logging.getLogger("console_gate")
__all__ = ["ConsoleGateMiddleware", "defer", "role_check"]
STATE = "_console_gate"
SETTINGS = ("KEYS", "KEYS_FILE", "JWKS", "AUDIENCE", "SCRIPT_NAME", "MODE", "DRIFT_URL", "DRIFT_TOKEN")


class Project:
    """The gate of the project: its settings, read once when the middleware is made."""

    def __init__(self) -> None:
        configured: dict[str, Any] = getattr(settings, "CONSOLE_GATE", {})
        from_environment = environment_setting()
        known = {name: str(configured.get(name) or from_environment(name)) for name in SETTINGS}
        word = known["MODE"] or "enforce"
        if word not in {mode.value for mode in Mode}:
            raise ConfigurationError(f"CONSOLE_GATE_MODE is `enforce`, `shadow` or `trust`, not `{word}`")
        self.verifier = Verifier(keys_from(known.__getitem__), known["AUDIENCE"])
        self.script_name, self.mode = known["SCRIPT_NAME"], Mode(word)
        self.gates = self.mode.gates()
        self.reporter = Reporter(known["DRIFT_URL"], known["DRIFT_TOKEN"])
        self.loaders = {kind: resolved(configured.get(f"LOAD_{kind.upper()}")) for kind in ("admin", "machine")}

    def verify(self, request: HttpRequest) -> Assertion:
        """What the assertion of a request says; `NOBODY` where there is none that holds. Never raises."""
        token = request.META.get(ENVIRON_KEY, "")
        if not token:
            return NOBODY
        try:
            return self.verifier.verify(token, wire_request(request, self.script_name))
        except Exception as reason:
            log.warning("no gate's assertion for %r %.200r: %s", request.method, request.path, reason)
            return NOBODY


def resolved(loader: Any) -> Callable[[str], Any] | None:
    return import_string(loader) if isinstance(loader, str) and loader else loader or None


def wire_request(request: HttpRequest, script_name: str) -> WireRequest:
    """The request as it came over the wire, from WSGI or ASGI."""
    scope = getattr(request, "scope", None)
    if scope is None:
        return wsgi_request(request.META, script_name)
    raw = scope.get("raw_path")
    root = scope.get("root_path", "")
    # With a mount point, servers disagree on whether `path` begins with it.
    path = scope["path"] if not root or scope["path"].startswith(root + "/") else root + scope["path"]
    if root != script_name:
        raise ValueError("a mount point that was not configured")
    return WireRequest(method=scope["method"], request_id=request.META.get("HTTP_X_REQUEST_ID", ""),
                       routed=path.encode(), wire=None if raw is None else raw.partition(b"?")[0].decode("ascii"))


class State:
    """What is known of one request."""

    def __init__(self, project: Project, request: HttpRequest) -> None:
        self.project, self.assertion = project, project.verify(request)
        self.method, self.path_info = request.method, request.path_info
        self.principal_is_known = True

    def counts(self, request: HttpRequest) -> bool:
        """Whether the gate has decided this very method, path and route."""
        if self.assertion.gate not in self.project.gates or self.assertion.kind not in ("admin", "machine"):
            return False
        match = getattr(request, "resolver_match", None)
        if match is None or request.method != self.method or request.path_info != self.path_info:
            return False
        # Other URL configurations by host or by middleware are other routes.
        if getattr(request, "urlconf", None) not in (None, settings.ROOT_URLCONF):
            return False
        rule = self.project.script_name + "/" + match.route
        same = is_same_route(self.assertion.route, request.method or "", rule)
        if not same:
            log.info("the gate decided by its row `%s`, and Django chose the route `%s`: the project's own checks decide",
                     self.assertion.route, rule)
        return same


class ConsoleGateMiddleware:
    """Sets `request.gate`; put it first in `MIDDLEWARE`. Raises `ConfigurationError` without key or audience."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response, self.project = get_response, Project()
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        state = State(self.project, request)
        setattr(request, STATE, state)
        request.gate = state.assertion
        return self._later(request) if iscoroutinefunction(self) else naming_request(request, self.get_response(request))

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        return naming_request(request, await self.get_response(request))

    def process_view(self, request: HttpRequest, _view: View, _args: Any, _kwargs: Any) -> None:
        """Loads whom the gate let in, before the view's first decorator. Django calls it in a thread under ASGI."""
        state: State | None = getattr(request, STATE, None)
        if state is None or self.project.mode is Mode.SHADOW or not state.counts(request):
            return
        kind = state.assertion.kind
        load = self.project.loaders[kind]
        if load is None:
            return
        principal = async_to_sync(load)(state.assertion.subject) if iscoroutinefunction(load) else (
            load(state.assertion.subject))
        if principal is None:
            state.principal_is_known = False
            log.warning("the project does not know the %s %r that the gate let in: its own checks decide",
                        kind, state.assertion.subject)
            return
        setattr(request, kind, principal)


def naming_request(request: HttpRequest, answer: HttpResponseBase) -> HttpResponseBase:
    """The answer, with the request's id among its fields."""
    if request_id := request.META.get("HTTP_X_REQUEST_ID", ""):
        answer[REQUEST_HEADER] = request_id
    return answer


class _DjangoJudge:
    """Judges by the request that the view is called with."""

    refusals: tuple[type[BaseException], ...] = (PermissionDenied, Http404)

    def ruling(self, deferred: View, args: tuple[Any, ...]) -> Ruling:
        request = request_of(args)
        state: State | None = getattr(request, STATE, None)
        if request is None or state is None or not state.principal_is_known or not state.counts(request):
            return Ruling.OWN
        if not is_on_view(deferred, request.resolver_match.func, request.method or ""):
            return Ruling.OWN
        return Ruling.COMPARE if state.project.mode is Mode.SHADOW else Ruling.GATE

    def disagreed(self, deferred: View, args: tuple[Any, ...]) -> None:
        state: State | None = getattr(request_of(args), STATE, None)
        if state is None:
            return
        assertion = state.assertion
        state.project.reporter.report(Disagreement(
            method=assertion.method, route=assertion.route, subject=assertion.subject, kind=assertion.kind,
            gate=assertion.gate, cluster=assertion.cluster, mapping=assertion.mapping,
            check=getattr(innermost(deferred), "__qualname__", "?"), request_id=assertion.request_id))

    def call(self, view: View, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Django awaits what a synchronous decorator returns of an async view."""
        return view(*args, **kwargs)


def request_of(args: tuple[Any, ...]) -> HttpRequest | None:
    """The request among the arguments of a view (the first), or of a method of a class-based view (the second)."""
    return next((argument for argument in args[:2] if isinstance(argument, HttpRequest)), None)


_JUDGE = _DjangoJudge()


def defer(decorator: View | None = None, *, keep: Sequence[View] | None = None, own_code: bool = False) -> View:
    """A view decorator of the project's own, bare or with arguments, that steps back where the gate decided by V2. As
    `console_gate.flask.defer`, also for `keep` and `own_code`."""
    if decorator is None:
        return functools.partial(defer, keep=keep, own_code=own_code)
    return defer_with(_JUDGE, decorator, keep, own_code)
