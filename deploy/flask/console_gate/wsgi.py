"""WSGI middleware for Console: allows only requests that console-gate signed.

It verifies the assertion before the application sees the request and answers 403 to every other request, so that
nobody can bypass the gate through Console's own port. The answer names the kind of refusal and this side's time, so that
the gate can say what is wrong between the two.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping

from console_gate.assertion import (
    ENVIRON_KEY,
    REFUSED_HEADER,
    REQUEST_HEADER,
    Assertion,
    Keys,
    Refuse,
    Verifier,
    WireRequest,
    environment_setting,
    keys_from,
    wsgi_request,
)

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("console_gate")
# Names from which applications and proxies read a user. None may reach Flask as a client sent it.
SPOOFABLE = ("HTTP_REMOTE_", "HTTP_X_REMOTE_", "HTTP_X_FORWARDED_USER", "HTTP_X_AUTH_REQUEST_",
             "HTTP_X_CONSOLE_GATE_", "REMOTE_USER", "AUTH_TYPE", "gate.")
# So many names that are none of these are kept, so that requests of known fields are seen to be harmless at once. Clients
# invent names, hence the limit.
HARMLESS = 500
# Where the verified `Assertion` is kept for what runs inside.
VERIFIED = "console_gate.assertion"


def naming_request(environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
    """`start_response`, with the request's id among the fields of the answer."""
    request_id = environ.get("HTTP_X_REQUEST_ID", "")

    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        return start_response(status, [*headers, (REQUEST_HEADER, request_id)], *exc_info)

    return start if request_id else start_response


class ConsoleGateMiddleware:
    """Goes around everything else: `app.wsgi_app = ConsoleGateMiddleware(app.wsgi_app, ...)`.

    `audience`: what the gate's `aud` must be. `script_name`: where Console is mounted, empty at the root.
    `exempt_paths`: exact paths that a load balancer asks with GET or HEAD, let in as nobody.
    `leeway_seconds`: how far the two clocks may be apart. `replay_cache`: how many assertions each process
    remembers so as to take each once (0: none); while it is full of live ones, requests are refused.

    A request that is let in has `REMOTE_USER` (an admin's id, else empty), `gate.subject`, `gate.kind`
    (`admin`, `machine`, `anonymous`), `gate.session`, `gate.roles` (a tuple), `gate.route`, `gate.request_id`.
    """

    def __init__(self, app: WSGIApplication, *, keys: Keys, audience: str, script_name: str = "",
                 exempt_paths: Iterable[str] = (), leeway_seconds: int = 5, max_lifetime_seconds: int = 60,
                 replay_cache: int = 0, clock: Callable[[], float] = time.time) -> None:
        self.verifier = Verifier(keys, audience, leeway_seconds=leeway_seconds,
                                 max_lifetime_seconds=max_lifetime_seconds, clock=clock)
        self.app, self.script_name = app, script_name
        self.exempt_paths, self.replay_cache = frozenset(exempt_paths), replay_cache
        self._harmless: set[str] = set()
        self._spent: dict[bytes, int] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_environment(cls, app: WSGIApplication,
                         environment: Mapping[str, str] = os.environ) -> ConsoleGateMiddleware:
        """Settings from CONSOLE_GATE_KEYS, _KEYS_FILE or _JWKS (one of them), _AUDIENCE, and, where wanted,
        _SCRIPT_NAME, _EXEMPT_PATHS (separated by commas) and _REPLAY_CACHE."""
        setting = environment_setting(environment)
        return cls(app, keys=keys_from(setting), audience=setting("AUDIENCE"), script_name=setting("SCRIPT_NAME"),
                   exempt_paths=filter(None, setting("EXEMPT_PATHS").split(",")),
                   replay_cache=int(setting("REPLAY_CACHE") or 0))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response = naming_request(environ, start_response)
        token = environ.pop(ENVIRON_KEY, "")
        if not self._harmless.issuperset(environ):
            self._strip(environ)
        try:
            environ.update(self._admit(token, environ))
        except ValueError as reason:  # `Refuse`, and what is not JSON, base64 or ASCII
            log.warning("refused %r %.200r: %s", environ["REQUEST_METHOD"], environ.get("PATH_INFO"), reason)
            # For the gate, which has no other way to learn that its requests do not get in. It keeps this from its client.
            kind = reason.kind if isinstance(reason, Refuse) else "malformed"
            refused = f"{kind}; time={int(self.verifier.clock())}"
            body = b'{"type":"about:blank","title":"Forbidden","status":403}'
            start_response("403 Forbidden", [("Content-Type", "application/problem+json"),
                                             ("Content-Length", str(len(body))), ("Cache-Control", "no-store"),
                                             (REFUSED_HEADER, refused)])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
        return self.app(environ, start_response)

    def _strip(self, environ: WSGIEnvironment) -> None:
        """Takes what can be spoofed out of an environment, and learns the names of the rest."""
        for name in [name for name in environ if name.startswith(SPOOFABLE)]:
            del environ[name]
        if len(self._harmless) < HARMLESS:
            self._harmless.update(environ)

    def _admit(self, token: str, environ: WSGIEnvironment) -> dict[str, Any]:
        """What Console learns about an honest request; `ValueError` for any other."""
        request = wsgi_request(environ, self.script_name)
        if self.exempt_paths and self._is_exempt(request):
            assertion = Assertion(request_id=request.request_id)
        else:
            assertion = self.verifier.verify(token, request)
            if self.replay_cache:
                self._spend(token.rpartition(".")[0], assertion.expires)
        return {"REMOTE_USER": assertion.subject if assertion.kind == "admin" else "", VERIFIED: assertion,
                "gate.subject": assertion.subject, "gate.kind": assertion.kind, "gate.session": assertion.session,
                "gate.roles": assertion.roles, "gate.route": assertion.route,
                "gate.request_id": assertion.request_id}

    def _is_exempt(self, request: WireRequest) -> bool:
        return request.method in ("GET", "HEAD") and request.routed.decode("latin-1") in self.exempt_paths

    def _spend(self, signed: str, expires: int) -> None:
        """Take each assertion once. Keyed on the signed text, which has one spelling only."""
        now, key = self.verifier.clock(), hashlib.sha256(signed.encode("ascii")).digest()
        with self._lock:
            if len(self._spent) >= self.replay_cache:
                self._spent = {spent: until for spent, until in self._spent.items() if until > now}
            if key in self._spent:
                raise Refuse("replayed", "replay")
            if len(self._spent) >= self.replay_cache:
                raise Refuse("the replay cache is full", "replay-cache")  # to forget a live one would let it in again
            self._spent[key] = expires + self.verifier.leeway_seconds
