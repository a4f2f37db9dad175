"""The two lines for a Flask application behind console-gate.

    ConsoleGate(app, load_admin=load_user)     # where the app is made
    require_role = defer(require_role)         # below the decorators

The first line verifies the gate's assertion of each request: `g.gate` says who the gate let in and by what, and where
the gate has decided by V2, `g.admin` is there before the first `before_request`. The second makes a decorator of
Console's own step back, for exactly the requests that the gate has decided by V2. For every other request (a cluster in
`legacy` or `shadow`, no gate, the kill-switch, an assertion that is forged or expired) Console's own check runs as it
always did. So nothing changes until a cluster is set to V2, and everything returns when it is set back.
"""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, Sequence

from flask import Flask, Request, current_app, g, has_request_context, request
from werkzeug.exceptions import HTTPException

from console_gate.assertion import (
    ENVIRON_KEY,
    NOBODY,
    Assertion,
    ConfigurationError,
    Keys,
    Verifier,
    environment_setting,
    keys_from,
    wsgi_request,
)
from console_gate.deferral import Mode, Ruling, View, defer_with, innermost, is_on_view, is_same_route, role_check
from console_gate.drift import Disagreement, Reporter
from console_gate.wsgi import VERIFIED, naming_request

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("console_gate")
__all__ = ["ConsoleGate", "add_request_loader", "current_assertion", "decided_by_gate", "defer", "request_loader", "role_check"]
EXTENSION = "console_gate"
STATE = "console_gate.flask"
SETTINGS = ("KEYS", "KEYS_FILE", "JWKS", "AUDIENCE", "SCRIPT_NAME", "MODE", "DRIFT_URL", "DRIFT_TOKEN")
WARNED = 1000


@dataclass
class State:
    """What is known of one request. It lives in the WSGI environment, which no client can write to."""

    assertion: Assertion
    method: str
    path_info: str
    """Method and path as they were when the assertion was verified."""
    principal_is_known: bool = True
    """`load_admin` or `load_machine` found whom the gate let in."""


class ConsoleGate:
    """The gate's assertions for one Flask app, or for several by `init_app`.

    `load_admin(subject)` returns Console's own object for an admin's id, or None; it becomes `g.admin`. `load_machine`
    does the same for a machine token's id at the gate and `g.machine`. Where they return None, Console's own check
    runs. Both are called for requests that the gate decided by V2 only, so that a page of a cluster in `legacy` is as
    it was. They may set more of `g`; they may be async.

    Settings come from `keys`, `audience`, `mode` and so on, else from `app.config["CONSOLE_GATE_..."]`, else from the
    environment. Without a key or an audience, `ConfigurationError` is raised and the app does not start.
    """

    def __init__(self, app: Flask | None = None, *, load_admin: Callable[[str], Any] | None = None,
                 load_machine: Callable[[str], Any] | None = None, keys: Keys | None = None,
                 audience: str | None = None, mode: str | None = None, script_name: str | None = None,
                 login_manager: Any = None, environment: Mapping[str, str] = os.environ,
                 **verifier_options: Any) -> None:
        self._load_admin, self._load_machine, self._login_manager = load_admin, load_machine, login_manager
        self._keys, self._audience, self._mode, self._script_name = keys, audience, mode, script_name
        self._environment, self._verifier_options = environment, verifier_options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Verifies the assertions of the app's requests from here on. Call it once for each app."""
        if EXTENSION in app.extensions:
            raise ConfigurationError("this app has a ConsoleGate already")
        gate = self._configured(app)
        app.extensions[EXTENSION] = gate
        app.wsgi_app = _Verified(app.wsgi_app, gate)  # type: ignore[method-assign]
        # Before every other function, also before those that were registered earlier.
        app.before_request_funcs.setdefault(None, []).insert(0, gate.open_request)
        if self._login_manager is not None:
            add_request_loader(self._login_manager)

    def _configured(self, app: Flask) -> AppGate:
        from_environment = environment_setting(self._environment)
        known: dict[str, str] = {}
        for name in SETTINGS:
            value = app.config.get("CONSOLE_GATE_" + name)
            known[name] = from_environment(name) if value is None else str(value)
        word = self._mode or known["MODE"] or "enforce"
        if word not in {mode.value for mode in Mode}:
            raise ConfigurationError(f"CONSOLE_GATE_MODE is `enforce`, `shadow` or `trust`, not `{word}`")
        keys = self._keys if self._keys is not None else keys_from(known.__getitem__)
        audience = self._audience if self._audience is not None else known["AUDIENCE"]
        script_name = self._script_name if self._script_name is not None else known["SCRIPT_NAME"]
        return AppGate(Verifier(keys, audience, **self._verifier_options), Mode(word), script_name,
                       Reporter(known["DRIFT_URL"], known["DRIFT_TOKEN"]), self._load_admin, self._load_machine)

    def defer(self, decorator: View | None = None, *, keep: Sequence[View] | None = None, own_code: bool = False) -> View:
        """The same as the module's `defer`: it needs no app until a request comes."""
        return defer(decorator, keep=keep, own_code=own_code)

    def request_loader(self, request: Any) -> Any:
        """A Flask-Login `request_loader`: the admin whom the gate let in by V2, or None."""
        return request_loader(request)


class AppGate:
    """The gate of one app: verifies, loads whom it let in, and judges deferred decorators."""

    def __init__(self, verifier: Verifier, mode: Mode, script_name: str, reporter: Reporter,
                 load_admin: Callable[[str], Any] | None, load_machine: Callable[[str], Any] | None) -> None:
        self.verifier, self.mode, self.script_name, self.reporter = verifier, mode, script_name, reporter
        self._loaders = {"admin": load_admin, "machine": load_machine}
        self._gates = mode.gates()
        self._warned: set[tuple[str, str]] = set()

    def verify(self, environ: WSGIEnvironment) -> State:
        """What the assertion of a request says; `NOBODY` where there is none that holds. Never raises."""
        assertion = environ.get(VERIFIED, NOBODY)  # by `ConsoleGateMiddleware`, which took the header away
        token = environ.get(ENVIRON_KEY, "")
        if not isinstance(assertion, Assertion):
            assertion = NOBODY
        if not assertion and token:
            try:
                assertion = self.verifier.verify(token, wsgi_request(environ, self.script_name))
            except Exception as reason:
                log.warning("no gate's assertion for %r %.200r: %s", environ.get("REQUEST_METHOD"),
                            environ.get("PATH_INFO"), reason)
        return State(assertion, environ.get("REQUEST_METHOD", ""), environ.get("PATH_INFO", ""))

    def state(self) -> State:
        """The state of the request at hand."""
        environ = request_at_hand().environ
        state = environ.get(STATE)
        if not isinstance(state, State):
            # `app.test_request_context()` goes past `app.wsgi_app`.
            state = environ[STATE] = self.verify(environ)
        return state

    def open_request(self) -> None:
        """Sets `g.gate`, and `g.admin` or `g.machine` where the gate's decision counts."""
        state = self.state()
        g.gate = state.assertion
        if self.mode is Mode.SHADOW or not self.counts(state):
            return
        assertion = state.assertion
        load = self._loaders.get(assertion.kind)
        if load is None:
            return
        principal = current_app.ensure_sync(load)(assertion.subject)
        if principal is None:
            state.principal_is_known = False
            log.warning("Console does not know the %s %r that the gate let in: its own checks decide",
                        assertion.kind, assertion.subject)
            return
        setattr(g, assertion.kind, principal)

    def ruling(self, deferred: View) -> Ruling:
        state = self.state()
        if not state.principal_is_known or not self.counts(state):
            return Ruling.OWN
        at_hand = request_at_hand()
        view = current_app.view_functions.get(at_hand.endpoint or "")
        if view is None or not is_on_view(deferred, view, at_hand.method):
            self._warn_once("a deferred check on `%s` is not on the view that Flask chose for `%s`, or a decorator in between "
                            "lacks `functools.wraps`: Console's own check decides",
                            getattr(innermost(deferred), "__qualname__", "?"), str(at_hand.url_rule))
            return Ruling.OWN
        return Ruling.COMPARE if self.mode is Mode.SHADOW else Ruling.GATE

    def decides(self, state: State) -> bool:
        """Whether Console's own checks step back."""
        return self.mode is not Mode.SHADOW and state.principal_is_known and self.counts(state)

    def counts(self, state: State) -> bool:
        """Whether the gate has decided this very method, path and rule."""
        assertion = state.assertion
        if assertion.gate not in self._gates or assertion.kind not in ("admin", "machine"):
            return False
        at_hand = request_at_hand()
        # A middleware within may have made another request of it: `X-HTTP-Method-Override`, a rewritten path.
        if at_hand.method != state.method or at_hand.environ.get("PATH_INFO", "") != state.path_info:
            return False
        rule = at_hand.url_rule
        if rule is None or rule.host or rule.subdomain:
            return False  # the gate's rows name no host
        full_rule = self.script_name + rule.rule
        if not is_same_route(assertion.route, at_hand.method, full_rule):
            self._warn_once("the gate decided by its row `%s`, and Flask chose the rule `%s`: Console's own checks decide. "
                            "Write the row as Console has the rule", assertion.route, full_rule)
            return False
        return True

    def _warn_once(self, message: str, one: str, other: str) -> None:
        if (one, other) not in self._warned and len(self._warned) < WARNED:
            self._warned.add((one, other))
            log.warning(message, one, other)

    def report(self, deferred: View) -> None:
        assertion = self.state().assertion
        self.reporter.report(Disagreement(
            method=assertion.method, route=assertion.route, subject=assertion.subject, kind=assertion.kind,
            gate=assertion.gate, cluster=assertion.cluster, mapping=assertion.mapping,
            check=getattr(innermost(deferred), "__qualname__", "?"), request_id=assertion.request_id))


class _Verified:
    """Outermost when the app is ready: it sees method and path as the server read them, before `ProxyFix`."""

    def __init__(self, app: WSGIApplication, gate: AppGate) -> None:
        self._app, self._gate = app, gate

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[STATE] = self._gate.verify(environ)
        return self._app(environ, naming_request(environ, start_response))


def request_at_hand() -> Request:
    """The request itself: `flask.request` looks it up for every attribute."""
    at_hand: Request = request._get_current_object()  # type: ignore[attr-defined]
    return at_hand


def gate_of_request() -> AppGate | None:
    """The gate of the app that serves the request at hand; None outside of requests and without a gate."""
    if not has_request_context():
        return None
    gate = current_app.extensions.get(EXTENSION)
    return gate if isinstance(gate, AppGate) else None


class _FlaskJudge:
    refusals: tuple[type[BaseException], ...] = (HTTPException,)

    def ruling(self, deferred: View, _args: tuple[Any, ...]) -> Ruling:
        gate = gate_of_request()
        return Ruling.OWN if gate is None else gate.ruling(deferred)

    def disagreed(self, deferred: View, _args: tuple[Any, ...]) -> None:
        gate = gate_of_request()
        if gate is not None:
            gate.report(deferred)

    def call(self, view: View, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return current_app.ensure_sync(view)(*args, **kwargs)


_JUDGE = _FlaskJudge()


def defer(decorator: View | None = None, *, keep: Sequence[View] | None = None, own_code: bool = False) -> View:
    """A decorator of Console's own, bare or with arguments, that steps back where the gate has decided by V2.

    One that does no more than refuse is left out there. One that does more (it calls `csrf.protect()`, sets `g.api_token`,
    hands the view an argument) runs its own code, in which only what is marked with `role_check` is answered;
    `own_code=True` says so where its source does not show it. `keep`: functions that run instead of it; what one of them
    returns is the answer, unless it is None.
    """
    if decorator is None:
        return functools.partial(defer, keep=keep, own_code=own_code)
    return defer_with(_JUDGE, decorator, keep, own_code)


def decided_by_gate() -> bool:
    """Whether the gate has decided the request at hand by V2, for checks that are no decorators:

        @blueprint.before_request
        def only_staff():
            if not decided_by_gate() and not is_staff():
                abort(403)
    """
    gate = gate_of_request()
    return gate is not None and gate.decides(gate.state())


def current_assertion() -> Assertion:
    """Who the gate let in to the request at hand; `NOBODY` outside of requests."""
    gate = gate_of_request()
    return NOBODY if gate is None else gate.state().assertion


def request_loader(_request: Any) -> Any:
    """A Flask-Login `request_loader`: the admin whom the gate let in by V2, or None."""
    gate = gate_of_request()
    if gate is None or gate.state().assertion.kind != "admin" or not gate.decides(gate.state()):
        return None
    return g.get("admin")


def add_request_loader(login_manager: Any) -> None:
    """Asks the gate first, then the `request_loader` that the app has already."""
    before = login_manager._request_callback

    def load(current_request: Any) -> Any:
        user = request_loader(current_request)
        return before(current_request) if user is None and before is not None else user
    login_manager.request_loader(load)
