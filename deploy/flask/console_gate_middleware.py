"""WSGI middleware for Console: allows only requests that console-gate signed.

The gate sends each request that it allows with a short-lived JWT (RFC 7519) in `X-Console-Gate-Assertion`.
This middleware verifies it before Flask sees the request and answers 403 to every other request, so that nobody
can bypass the gate through Console's own port.

HS256 needs nothing but the standard library. EdDSA is used only where a JWKS is configured, and needs
`console_gate_jwks.py` beside this file and `cryptography`. The algorithm is configuration, never the token's
choice (RFC 8725 section 3.1: a token that picks its algorithm picks how it is checked).

What it does not stop: an attacker who reads the wire between the gate and Console can repeat a request for the
same method and path until the assertion expires (60 seconds at most), and query and body are not signed.
`replay_cache` limits the first; only a private wire (Unix socket, loopback, TLS) prevents both.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import json
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, Protocol
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("console_gate")
ASSERTION = "HTTP_X_CONSOLE_GATE_ASSERTION"
# Names from which applications and proxies read a user. None may reach Flask as a client sent it.
SPOOFABLE = ("HTTP_REMOTE_", "HTTP_X_REMOTE_", "HTTP_X_FORWARDED_USER", "HTTP_X_AUTH_REQUEST_",
             "HTTP_X_CONSOLE_GATE_", "REMOTE_USER", "AUTH_TYPE", "gate.")


class ConfigurationError(ValueError):
    """The settings cannot be used. Raised at start, so that Console does not come up unguarded."""


class Refuse(ValueError):
    """Why a request is not let in. The words are for the log; the client is told nothing."""


class Keys(Protocol):
    """The keys of one algorithm (its name as in a token's `alg`), by key id."""

    algorithm: str

    def verify(self, key_id: str, signed: bytes, signature: bytes) -> None:
        """Return if `signature` over `signed` is by the key `key_id`; raise `ValueError` otherwise."""


class SharedKeys:
    """HS256 (RFC 7518 section 3.2): key id -> 32 bytes or more of secret; two while one is rotated."""

    algorithm = "HS256"

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        short = [key_id for key_id, secret in secrets.items() if len(secret) < 32]
        if not secrets or short:
            raise ConfigurationError(f"gate keys of 32 bytes or more are needed; too short: {short}")
        self._secrets = dict(secrets)

    @classmethod
    def parse(cls, text: str) -> SharedKeys:
        """Read `kid:base64` entries, parted by commas or lines; `#` begins a comment line."""
        secrets: dict[str, bytes] = {}
        lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
        for number, entry in enumerate((entry for line in lines for entry in line.split(",")), 1):
            key_id, _, encoded = (part.strip() for part in entry.partition(":"))
            try:
                secret = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
            except ValueError:
                secret = b""
            if not key_id or not secret or key_id in secrets:
                # The entry stays out of the text: it may be a secret whose key id was forgotten.
                raise ConfigurationError(f"gate key number {number} is not a new `kid:base64`")
            secrets[key_id] = secret
        return cls(secrets)

    def verify(self, key_id: str, signed: bytes, signature: bytes) -> None:
        if key_id not in self._secrets:
            raise Refuse("unknown key id")
        if not hmac.compare_digest(hmac.digest(self._secrets[key_id], signed, "sha256"), signature):
            raise Refuse("bad signature")


def decode(part: str) -> bytes:
    """Base64url without padding (RFC 7515 section 2), in its one canonical spelling."""
    encoded = part.encode("ascii")
    raw = base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != encoded:
        raise Refuse("not base64url")
    return raw


def read_object(part: str) -> dict[str, Any]:
    """One JSON object of a token."""
    value = json.loads(decode(part))
    if not isinstance(value, dict):
        raise Refuse("not a JSON object")
    return value


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
        if not audience:
            raise ConfigurationError("no audience for the gate's assertions")
        self.app, self.keys, self.audience, self.script_name = app, keys, audience, script_name
        self.exempt_paths, self.replay_cache, self.clock = frozenset(exempt_paths), replay_cache, clock
        self.leeway_seconds, self.max_lifetime_seconds = leeway_seconds, max_lifetime_seconds
        self._spent: dict[bytes, int] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_environment(cls, app: WSGIApplication,
                         environment: Mapping[str, str] = os.environ) -> ConsoleGateMiddleware:
        """Settings from CONSOLE_GATE_KEYS, _KEYS_FILE or _JWKS (one of them), _AUDIENCE, and, where wanted,
        _SCRIPT_NAME, _EXEMPT_PATHS (parted by commas) and _REPLAY_CACHE."""
        setting = {name: environment.get("CONSOLE_GATE_" + name, "") for name in (
            "KEYS", "KEYS_FILE", "JWKS", "AUDIENCE", "SCRIPT_NAME", "EXEMPT_PATHS", "REPLAY_CACHE")}
        if sum(bool(setting[name]) for name in ("KEYS", "KEYS_FILE", "JWKS")) != 1:
            raise ConfigurationError("set one of CONSOLE_GATE_KEYS, CONSOLE_GATE_KEYS_FILE, _JWKS")
        if setting["JWKS"]:
            module = f"{__package__}.console_gate_jwks" if __package__ else "console_gate_jwks"
            keys: Keys = importlib.import_module(module).JwksKeys(setting["JWKS"])
        elif setting["KEYS"]:
            keys = SharedKeys.parse(setting["KEYS"])
        else:
            with open(setting["KEYS_FILE"], encoding="utf-8") as file:
                keys = SharedKeys.parse(file.read())
        return cls(app, keys=keys, audience=setting["AUDIENCE"], script_name=setting["SCRIPT_NAME"],
                   exempt_paths=filter(None, setting["EXEMPT_PATHS"].split(",")),
                   replay_cache=int(setting["REPLAY_CACHE"] or 0))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        token = environ.get(ASSERTION, "")
        for name in [name for name in environ if name.startswith(SPOOFABLE)]:
            del environ[name]
        try:
            environ.update(self._admit(token, environ))
        except (ValueError, RecursionError) as reason:  # `Refuse`, and what is not JSON, base64 or ASCII
            log.warning("refused %r %.200r: %s", environ["REQUEST_METHOD"], environ.get("PATH_INFO"), reason)
            body = b'{"type":"about:blank","title":"Forbidden","status":403}'
            start_response("403 Forbidden", [("Content-Type", "application/problem+json"),
                                             ("Content-Length", str(len(body))), ("Cache-Control", "no-store")])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
        return self.app(environ, start_response)

    def _admit(self, token: str, environ: WSGIEnvironment) -> dict[str, Any]:
        """What Console is told about an honest request; `ValueError` for any other."""
        wire, routed = self._paths(environ)
        claims: dict[str, Any] = {"kind": "anonymous", "rid": environ.get("HTTP_X_REQUEST_ID", "")}
        if routed not in self.exempt_paths or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            claims = self._verify(token)
            self._bind(claims, wire, routed, environ)
            if self.replay_cache:
                self._spend(token.rpartition(".")[0], claims["exp"])
        subject = claims.get("sub", "")
        return {"REMOTE_USER": subject if claims["kind"] == "admin" else "", "gate.subject": subject,
                "gate.kind": claims["kind"], "gate.session": claims.get("sid", ""),
                "gate.roles": tuple(claims.get("roles", ())), "gate.route": claims.get("route", ""),
                "gate.request_id": claims["rid"]}

    def _paths(self, environ: WSGIEnvironment) -> tuple[str | None, str]:
        """The path on the wire, without the query (None if the server keeps it to itself), and as routed.

        Flask routes on PATH_INFO, so the two must be the same path: a `SCRIPT_NAME: /login` header on
        `GET /login/secrets` makes gunicorn route `/secrets` while the wire still says `/login/secrets`.
        """
        routed = self.script_name + environ.get("PATH_INFO", "")
        if environ.get("SCRIPT_NAME", "") != self.script_name:
            raise Refuse("a mount point that was not configured")
        raw = environ.get("RAW_URI", environ.get("REQUEST_URI"))  # gunicorn; uWSGI and mod_wsgi
        if raw is None:
            return None, routed
        path = raw.partition("?")[0]
        if not path.startswith("/") or unquote_to_bytes(path) != routed.encode("latin-1"):
            raise Refuse("the path on the wire is not the path that is routed")
        return path, routed

    def _verify(self, token: str) -> dict[str, Any]:
        """Signature, issuer, audience and time. Nothing of the payload is read before the signature holds."""
        parts = token.split(".")
        if len(parts) != 3:
            raise Refuse("not a compact JWS" if token else "no assertion")
        header, signed = read_object(parts[0]), token.rpartition(".")[0].encode("ascii")
        if header.get("alg") != self.keys.algorithm or header.get("typ", "JWT") != "JWT" or "crit" in header:
            raise Refuse("wrong algorithm or type, or a critical extension")
        self.keys.verify(str(header.get("kid", "")), signed, decode(parts[2]))
        claims = read_object(parts[1])
        if claims.get("iss") != "console-gate" or claims.get("aud") != self.audience:
            raise Refuse("wrong issuer or audience")
        issued, expires, now = claims.get("iat"), claims.get("exp"), self.clock()
        if type(issued) is not int or type(expires) is not int or not (  # `isinstance` takes `true` for 1
                0 < expires - issued <= self.max_lifetime_seconds):
            raise Refuse("a lifetime that the gate does not give")
        if not issued - self.leeway_seconds <= now < expires + self.leeway_seconds:
            raise Refuse("expired, or not valid yet")
        return claims

    def _bind(self, claims: dict[str, Any], wire: str | None, routed: str, environ: WSGIEnvironment) -> None:
        """Hold the claims against this request: an assertion for one route must not open another."""
        texts, roles = ("method", "path", "sub", "sid", "route", "rid", "kind"), claims.get("roles")
        values = [claims.get(name) for name in texts] + (roles if isinstance(roles, list) else [None])
        if not all(isinstance(value, str) for value in values):
            raise Refuse("a claim is missing or of another type")
        # Without the wire's spelling, what counts is what Flask routes on: to quote it again would guess,
        # since `%28` and `(` are one path in two spellings.
        same_path = claims["path"] == wire if wire is not None else (
            unquote_to_bytes(claims["path"]) == routed.encode("latin-1"))
        if claims["method"] != environ["REQUEST_METHOD"] or not same_path:
            raise Refuse("another method or path")
        if not claims["rid"] or claims["rid"] != environ.get("HTTP_X_REQUEST_ID"):
            raise Refuse("another request id")
        subject_fits = {"admin": bool(claims["sub"]), "machine": True, "anonymous": not claims["sub"]}
        if not subject_fits.get(claims["kind"], False):
            raise Refuse("subject and kind of caller do not agree")

    def _spend(self, signed: str, expires: int) -> None:
        """Take each assertion once. Keyed on the signed text, which has one spelling only."""
        now, key = self.clock(), hashlib.sha256(signed.encode("ascii")).digest()
        with self._lock:
            if len(self._spent) >= self.replay_cache:
                self._spent = {spent: until for spent, until in self._spent.items() if until > now}
            if key in self._spent:
                raise Refuse("replayed")
            if len(self._spent) >= self.replay_cache:
                raise Refuse("the replay cache is full")  # to forget a live one would let it in again
            self._spent[key] = expires + self.leeway_seconds
