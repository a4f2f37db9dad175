"""The gate's assertion: a short-lived JWT (RFC 7519) that says who was let in, for which request, and by what.

Nothing here knows a web framework. `Verifier.verify` takes a token and the request that it came with, and returns an
`Assertion` or raises `Refuse`. HS256 needs nothing but the standard library. EdDSA is used only where a JWKS is
configured, and needs `cryptography`. The algorithm is configuration, never the token's choice (RFC 8725 section 3.1: a
token that picks its algorithm picks how it is checked).

What a verified assertion does not stop: an attacker who reads the wire between the gate and Console can repeat a
request for the same method and path until the assertion expires (60 seconds at most), and query and body are not
signed. Only a private wire (Unix socket, loopback, TLS) prevents that.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import importlib
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Mapping, Protocol
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

ENVIRON_KEY = "HTTP_X_CONSOLE_GATE_ASSERTION"
HEADER = "X-Console-Gate-Assertion"
# Of the answer to the gate when its assertion is refused: `clock; time=1790000000`.
REFUSED_HEADER = "X-Console-Gate-Refused"
# Of every answer: the `X-Request-Id` of the request that it answers. The gate compares it, so that what an application sends behind
# an answer is never taken for the answer to somebody else's request, and keeps it from its clients.
REQUEST_HEADER = "X-Console-Gate-Request"
REASONS = ("clock", "key", "signature", "algorithm", "audience", "lifetime", "replay", "replay-cache", "request",
           "missing", "malformed", "other")
REQUIRED_TEXTS = ("method", "path", "sub", "sid", "route", "rid", "kind")
# Gates before the package did not make these.
LATER_TEXTS = ("gate", "cluster", "mapping", "notify")
read_json_value = json.JSONDecoder().raw_decode
# Base64url in the alphabet of base64, and back.
TO_BASE64, FROM_BASE64 = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")


class ConfigurationError(ValueError):
    """The settings cannot be used. Raised at start, so that Console does not come up unguarded."""


class Refuse(ValueError):
    """Why an assertion is not accepted. The words are for the log; the client gets no reason.

    `kind` is the gate's word for it (`REASONS`), which the gate logs, counts and keeps from its clients.
    """

    def __init__(self, words: str, kind: str = "malformed") -> None:
        super().__init__(words)
        self.kind = kind


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
        # The state of each key is made once; a request copies it.
        self._states = {key_id: hmac.new(secret, digestmod="sha256") for key_id, secret in secrets.items()}

    @classmethod
    def parse(cls, text: str) -> SharedKeys:
        """Read `kid:base64` entries, separated by commas or lines; `#` begins a comment line."""
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

    def sign(self, key_id: str, signed: bytes) -> bytes:
        """The signature by one key, for tests."""
        state = self._states[key_id].copy()
        state.update(signed)
        return state.digest()

    def verify(self, key_id: str, signed: bytes, signature: bytes) -> None:
        if key_id not in self._states:
            raise Refuse("unknown key id", "key")
        if not hmac.compare_digest(self.sign(key_id, signed), signature):
            raise Refuse("bad signature", "signature")


@dataclass(frozen=True)
class Assertion:
    """Who the gate let in, and why. `NOBODY`, where there was no assertion, is false."""

    subject: str = ""
    """The admin's id, the token's id, or empty."""
    kind: str = "anonymous"
    """`admin`, `machine` or `anonymous`."""
    session: str = ""
    roles: tuple[str, ...] = ()
    """The roles or permissions by which the gate let the request in."""
    groups: tuple[str, ...] = ()
    route: str = ""
    """The gate's row, such as `GET /customers/<uuid:id>`."""
    cluster: str = ""
    gate: str = ""
    """What decided: `v2`, `legacy`, `public`, `session`, `machine`, `upstream`, `unmapped`."""
    mapping: str = ""
    """The SHA-256 of the mapping that was in force."""
    notify: str = ""
    """`customer`, where the customer has to be notified of this request; else empty."""
    request_id: str = ""
    method: str = ""
    path: str = ""
    """The path on the wire, without the query."""
    expires: int = 0
    verified: bool = field(default=False, repr=False)

    def __bool__(self) -> bool:
        return self.verified


NOBODY = Assertion()


@dataclass
class WireRequest:
    """What of a request an assertion is bound to. Not frozen: that doubles what it costs to make one."""

    method: str
    request_id: str
    routed: bytes
    """The path that the application routes on, decoded, with the mount point."""
    wire: str | None
    """The path as on the wire, without the query; None where the server keeps it to itself."""

    def __post_init__(self) -> None:
        # Applications route on the decoded path, so the two must be the same path: a `SCRIPT_NAME: /login` header on
        # `GET /login/secrets` makes gunicorn route `/secrets` while the wire still says `/login/secrets`.
        if self.wire is not None and (not self.wire.startswith("/") or unquote_to_bytes(self.wire) != self.routed):
            raise Refuse("the path on the wire is not the path that is routed", "request")


def wsgi_request(environ: WSGIEnvironment, script_name: str = "") -> WireRequest:
    """The request of a WSGI environment; `Refuse` if it is mounted elsewhere than at `script_name`."""
    if environ.get("SCRIPT_NAME", "") != script_name:
        raise Refuse("a mount point that was not configured", "request")
    raw = environ.get("RAW_URI", environ.get("REQUEST_URI"))  # gunicorn; uWSGI and mod_wsgi
    return WireRequest(
        method=environ["REQUEST_METHOD"], request_id=environ.get("HTTP_X_REQUEST_ID", ""),
        routed=(script_name + environ.get("PATH_INFO", "")).encode("latin-1"),
        wire=None if raw is None else raw.partition("?")[0])


class Verifier:
    """Verifies assertions for one audience.

    `leeway_seconds`: how far the two clocks may be apart. `max_lifetime_seconds`: the gate gives no longer ones.
    """

    def __init__(self, keys: Keys, audience: str, *, leeway_seconds: int = 5, max_lifetime_seconds: int = 60,
                 clock: Callable[[], float] = time.time) -> None:
        if not audience:
            raise ConfigurationError("no audience for the gate's assertions: set CONSOLE_GATE_AUDIENCE")
        self.keys, self.audience, self.clock = keys, audience, clock
        self.leeway_seconds, self.max_lifetime_seconds = leeway_seconds, max_lifetime_seconds

    def verify(self, token: str, request: WireRequest) -> Assertion:
        """The assertion, if it holds for this request; `Refuse` or another `ValueError` otherwise."""
        claims = self._read(token)
        bind(claims, request)
        assertion = Assertion.__new__(Assertion)
        # The constructor of a frozen class sets each field by a call of its own, which takes as long as the signature.
        vars(assertion).update(
            subject=claims["sub"], kind=claims["kind"], session=claims["sid"], roles=tuple(claims["roles"]),
            groups=tuple(claims.get("groups", ())), route=claims["route"], cluster=claims.get("cluster", ""),
            gate=claims.get("gate", ""), mapping=claims.get("mapping", ""),
            notify=claims.get("notify", ""), request_id=claims["rid"],
            method=claims["method"], path=claims["path"], expires=claims["exp"], verified=True)
        return assertion

    def _read(self, token: str) -> dict[str, Any]:
        """Signature, issuer, audience and time. Nothing of the payload is read before the signature holds."""
        signed, _, signature = token.rpartition(".")
        header, dot, payload = signed.partition(".")
        if not dot or "." in payload:
            raise Refuse("not a compact JWS") if token else Refuse("no assertion", "missing")
        algorithm, key_id = read_header(header)
        if algorithm != self.keys.algorithm:
            raise Refuse("wrong algorithm or type, or a critical extension", "algorithm")
        self.keys.verify(key_id, signed.encode("ascii"), decode(signature))
        claims = read_object(payload)
        if claims.get("iss") != "console-gate" or claims.get("aud") != self.audience:
            raise Refuse("wrong issuer or audience", "audience")
        issued, expires, now = claims.get("iat"), claims.get("exp"), self.clock()
        if type(issued) is not int or type(expires) is not int or not (  # `isinstance` takes `true` for 1
                0 < expires - issued <= self.max_lifetime_seconds):
            raise Refuse("a lifetime that the gate does not give", "lifetime")
        if not issued - self.leeway_seconds <= now < expires + self.leeway_seconds:
            raise Refuse("expired, or not valid yet", "clock")
        return claims


def bind(claims: dict[str, Any], request: WireRequest) -> None:
    """Compare the claims with this request: an assertion for one route must not open another."""
    roles, groups = claims.get("roles"), claims.get("groups", [])
    if not isinstance(roles, list) or not isinstance(groups, list):
        raise Refuse("a claim is missing or of another type")
    texts = [*map(claims.get, REQUIRED_TEXTS), *[claims.get(name, "") for name in LATER_TEXTS], *roles, *groups]
    if set(map(type, texts)) != {str}:
        raise Refuse("a claim is missing or of another type")
    # Without the wire's spelling, what counts is what the application routes on: to quote it again would guess,
    # since `%28` and `(` are one path in two spellings.
    same_path = claims["path"] == request.wire if request.wire is not None else (
        unquote_to_bytes(claims["path"]) == request.routed)
    if claims["method"] != request.method or not same_path:
        raise Refuse("another method or path", "request")
    if not claims["rid"] or claims["rid"] != request.request_id:
        raise Refuse("another request id", "request")
    if claims["kind"] not in ("machine", "admin" if claims["sub"] else "anonymous"):
        raise Refuse("subject and kind of caller do not agree")


def decode(part: str) -> bytes:
    """Base64url without padding (RFC 7515 section 2), in its one canonical spelling."""
    encoded = part.encode("ascii")
    raw = binascii.a2b_base64(encoded.translate(TO_BASE64) + b"=" * (-len(encoded) % 4))
    # What is outside of the alphabet was passed over, so only a comparison finds it.
    if binascii.b2a_base64(raw, newline=False).rstrip(b"=").translate(FROM_BASE64) != encoded:
        raise Refuse("not base64url")
    return raw


def read_object(part: str) -> dict[str, Any]:
    """One JSON object of a token."""
    try:
        value = read_json(decode(part))
    except RecursionError:
        raise Refuse("nested too deep") from None
    if not isinstance(value, dict):
        raise Refuse("not a JSON object")
    return value


def read_json(raw: bytes) -> Any:
    """`json.loads`, without its search for an encoding and for white space where there is neither."""
    if raw.startswith(b'{"'):  # so it is UTF-8: the others have a zero among their first two bytes
        text = raw.decode("utf-8", "surrogatepass")
        value, end = read_json_value(text)
        if end == len(text):
            return value
    return json.loads(raw)


@functools.lru_cache(maxsize=16)
def read_header(part: str) -> tuple[str, str]:
    """Algorithm and key id of a JOSE header. The gate writes the same header for every request."""
    header = read_object(part)
    if header.get("typ", "JWT") != "JWT" or "crit" in header:
        raise Refuse("wrong algorithm or type, or a critical extension", "algorithm")
    return str(header.get("alg", "")), str(header.get("kid", ""))


def keys_from(setting: Callable[[str], str]) -> Keys:
    """The keys of the one setting of CONSOLE_GATE_KEYS, _KEYS_FILE and _JWKS that is set."""
    text, file_name, jwks = (setting(name) for name in ("KEYS", "KEYS_FILE", "JWKS"))
    if sum(map(bool, (text, file_name, jwks))) != 1:
        raise ConfigurationError("set one of CONSOLE_GATE_KEYS, CONSOLE_GATE_KEYS_FILE, CONSOLE_GATE_JWKS")
    if jwks:
        try:
            module = importlib.import_module("console_gate.jwks")
        except ImportError as error:
            raise ConfigurationError(f"CONSOLE_GATE_JWKS needs the extra `jwks`: `pip install console-gate[jwks]`: {error}") from error
        keys: Keys = module.JwksKeys(jwks)
        return keys
    if text:
        return SharedKeys.parse(text)
    with open(file_name, encoding="utf-8") as file:
        return SharedKeys.parse(file.read())


def environment_setting(environment: Mapping[str, str] = os.environ) -> Callable[[str], str]:
    """Looks settings up as CONSOLE_GATE_... in an environment; empty where there is none."""
    return lambda name: environment.get("CONSOLE_GATE_" + name, "")
