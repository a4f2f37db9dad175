"""The middleware's promises, each failure by name: `python -m unittest test_middleware` in this folder.

The EdDSA part is skipped where `cryptography` is not installed, as Console may run without it.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import http.server
import importlib.util
import json
import logging
import random
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy" / "flask"))

from console_gate import assertion as assertions  # noqa: E402
from console_gate.assertion import REASONS, Assertion, ConfigurationError, SharedKeys  # noqa: E402
from console_gate.wsgi import HARMLESS, SPOOFABLE, VERIFIED, ConsoleGateMiddleware  # noqa: E402

NOW = 1_790_000_000
SECRET, OLD_SECRET = b"s" * 32, b"o" * 32
KEYS = SharedKeys({"k2": SECRET, "k1": OLD_SECRET})
HEADER = {"alg": "HS256", "typ": "JWT", "kid": "k2"}
PATH = "/console/customers/a%20b"
CLAIMS = {
    "iss": "console-gate", "aud": "console", "iat": NOW, "exp": NOW + 30, "method": "GET", "path": PATH,
    "sub": "admin-7", "sid": "session-9", "roles": ["console-user"], "route": "GET /console/customers/<id>",
    "rid": "request-1", "kind": "admin",
}
ABSENT = object()


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**base, **changes}.items() if value is not ABSENT}


def token(header: dict[str, Any] | None = None, secret: bytes = SECRET, digest: str = "sha256", **claims: Any) -> str:
    payload = json.dumps(changed(CLAIMS, claims)).encode()
    signed = f"{encode(json.dumps(changed(HEADER, header or {})).encode())}.{encode(payload)}"
    return f"{signed}.{encode(hmac.digest(secret, signed.encode(), digest))}"


def environment(assertion: str | None, **changes: Any) -> dict[str, Any]:
    environ = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/console/customers/a b",
        "RAW_URI": PATH + "?tab=notes", "HTTP_X_REQUEST_ID": "request-1", "REMOTE_ADDR": "10.0.0.9",
    }
    if assertion is not None:
        environ["HTTP_X_CONSOLE_GATE_ASSERTION"] = assertion
    return changed(environ, changes)


class Gated:
    """A middleware around an app that keeps the environ with which it was called."""

    def __init__(self, **settings: Any) -> None:
        self.now = float(NOW)
        self.reached: dict[str, Any] | None = None
        self.middleware = ConsoleGateMiddleware(
            self.app, **{"keys": KEYS, "audience": "console", "clock": lambda: self.now, **settings})

    def app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.reached = environ
        start_response("200 OK", [])
        return [b"console"]

    def ask(self, environ: dict[str, Any]) -> tuple[str, dict[str, str], bytes]:
        self.reached, said = None, list[Any]()
        start_response: Any = lambda status, headers: said.extend((status, dict(headers)))  # noqa: E731
        body = b"".join(self.middleware(environ, start_response))
        return said[0], said[1], body


class Cases(unittest.TestCase):
    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def assert_let_in(self, environ: dict[str, Any], gated: Gated | None = None) -> dict[str, Any]:
        gated = gated or Gated()
        status, headers, _ = gated.ask(environ)
        self.assertEqual(status, "200 OK")
        self.assertEqual(headers["X-Console-Gate-Request"], environ["HTTP_X_REQUEST_ID"])
        return gated.reached or {}

    def assert_refused(self, environ: dict[str, Any], gated: Gated | None = None, kind: str | None = None) -> None:
        gated = gated or Gated()
        status, headers, body = gated.ask(environ)
        self.assertEqual(status, "403 Forbidden")
        self.assertIsNone(gated.reached, "Console ran")
        self.assertEqual(headers["Content-Type"], "application/problem+json")
        self.assertEqual(headers.get("X-Console-Gate-Request", ""), environ.get("HTTP_X_REQUEST_ID", ""))
        # Only words that the gate knows.
        said, time = headers["X-Console-Gate-Refused"].split("; time=")
        self.assertIn(said, REASONS)
        self.assertEqual(said, kind or said)
        self.assertEqual(int(time), int(gated.middleware.verifier.clock()))
        self.assertEqual(json.loads(body), {"type": "about:blank", "title": "Forbidden", "status": 403})


class LetIn(Cases):
    def test_an_admin(self) -> None:
        environ = self.assert_let_in(environment(token()))
        self.assertEqual(environ["REMOTE_USER"], "admin-7")
        self.assertEqual({name: value for name, value in environ.items() if name.startswith("gate.")}, {
            "gate.subject": "admin-7", "gate.kind": "admin", "gate.session": "session-9",
            "gate.roles": ("console-user",), "gate.route": "GET /console/customers/<id>",
            "gate.request_id": "request-1"})

    def test_only_an_admin_becomes_the_remote_user(self) -> None:
        for kind, subject in (("anonymous", ""), ("machine", ""), ("machine", "deploy-bot")):
            with self.subTest(kind=kind, subject=subject):
                environ = self.assert_let_in(environment(token(kind=kind, sub=subject, sid="", roles=[])))
                self.assertEqual((environ["REMOTE_USER"], environ["gate.subject"], environ["gate.kind"]),
                                 ("", subject, kind))

    def test_the_older_key_while_keys_are_rotated(self) -> None:
        self.assert_let_in(environment(token({"kid": "k1"}, OLD_SECRET)))

    def test_what_a_client_claims_to_be_is_gone(self) -> None:
        claimed = {"HTTP_REMOTE_USER": "root", "HTTP_X_REMOTE_USER": "root", "HTTP_X_FORWARDED_USER": "root",
                   "HTTP_X_AUTH_REQUEST_EMAIL": "root@x", "REMOTE_USER": "root", "AUTH_TYPE": "Basic",
                   "gate.invented": "root", "HTTP_X_CONSOLE_GATE_SUBJECT": "root"}
        for exempt_paths, path in (((), PATH), (("/healthz",), "/healthz")):
            gated = Gated(exempt_paths=exempt_paths)
            environ = self.assert_let_in(environment(token(), PATH_INFO=path.replace("%20", " "), RAW_URI=path, **claimed), gated)
            self.assertNotIn("root", str(environ))
            self.assertNotIn("HTTP_X_CONSOLE_GATE_ASSERTION", environ)
            self.assertEqual(environ["REMOTE_ADDR"], "10.0.0.9")

    def test_times_at_the_edge_of_the_leeway(self) -> None:
        for seconds, let_in in ((-6, False), (-5, True), (34.9, True), (35, False), (3600, False)):
            with self.subTest(seconds=seconds):
                gated = Gated()
                gated.now = NOW + seconds
                (self.assert_let_in if let_in else self.assert_refused)(environment(token()), gated)

    def test_a_server_that_does_not_pass_on_the_wire_path(self) -> None:
        self.assert_let_in(environment(token(), RAW_URI=ABSENT))
        self.assert_let_in(environment(token(), RAW_URI=ABSENT, REQUEST_URI=PATH + "?x"))
        self.assert_let_in(environment(token(path="/%C3%A9(%28)"), RAW_URI=ABSENT, PATH_INFO="/\xc3\xa9(()"))
        self.assert_refused(environment(token(), RAW_URI=ABSENT, PATH_INFO="/console/customers/a"))
        self.assert_refused(environment(token(), RAW_URI=ABSENT, REQUEST_URI="/console"))
        self.assert_refused(environment(token(), RAW_URI=ABSENT, SCRIPT_NAME="/elsewhere"))

    def test_a_mount_point(self) -> None:
        mounted = environment(token(), SCRIPT_NAME="/console", PATH_INFO="/customers/a b")
        self.assert_let_in(mounted, Gated(script_name="/console"))
        self.assert_refused(environment(token()), Gated(script_name="/console"))

    def test_exempt_paths(self) -> None:
        gated = Gated(exempt_paths=("/healthz",))
        health = {"PATH_INFO": "/healthz", "RAW_URI": "/healthz"}
        for method, changes, let_in in (
            ("GET", {}, True), ("HEAD", {}, True), ("POST", {}, False),
            ("GET", {"PATH_INFO": "/healthz/x", "RAW_URI": "/healthz/x"}, False),
            ("GET", {"SCRIPT_NAME": "/secrets", "RAW_URI": "/secrets/healthz"}, False),
            ("GET", {"RAW_URI": "/secrets"}, False),
        ):
            with self.subTest(method=method, changes=changes):
                environ = environment(None, REQUEST_METHOD=method, **{**health, **changes})
                if let_in:
                    self.assertEqual(self.assert_let_in(environ, gated)["gate.kind"], "anonymous")
                else:
                    self.assertEqual(gated.ask(environ)[0], "403 Forbidden")


class Refused(Cases):
    def test_tokens(self) -> None:
        good = token()
        header, payload, signature = good.split(".")
        unsigned = encode(json.dumps({**HEADER, "alg": "none"}).encode())
        last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        respelt = signature[:-1] + last[last.index(signature[-1]) ^ 1]  # the same bytes in another spelling
        cases = {
            "missing": None, "empty": "", "one part": header, "two parts": f"{header}.{payload}",
            "four parts": good + ".", "no signature": f"{header}.{payload}.", "joined twice": f"{good},{good}",
            "alg none": f"{unsigned}.{payload}.", "alg none, signed": token({"alg": "none"}),
            "alg HS512": token({"alg": "HS512"}, digest="sha512"), "alg HS512, HS256 signed": token({"alg": "HS512"}),
            "alg RS256": token({"alg": "RS256"}), "alg EdDSA": token({"alg": "EdDSA"}), "no alg": token({"alg": ABSENT}),
            "alg in small letters": token({"alg": "hs256"}), "another type": token({"typ": "at+jwt"}),
            "critical extension": token({"crit": ["b64"], "b64": False}),
            "unknown kid": token({"kid": "k3"}), "no kid": token({"kid": ABSENT}), "kid a list": token({"kid": ["k2"]}),
            "kid of another key": token({"kid": "k1"}), "another secret": token(secret=b"x" * 32),
            "signature cut": good[:-2], "signature respelt": f"{header}.{payload}.{respelt}", "padded": good + "=",
            "payload changed": f"{header}.{encode(json.dumps({**CLAIMS, 'sub': 'root'}).encode())}.{signature}",
            "header not base64": f"!{good}", "header not JSON": f"{encode(b'{')}.{payload}.{signature}",
            "header a list": f"{encode(b'[]')}.{payload}.{signature}", "header not UTF-8": f"{encode(bytes([255]))}.{payload}.x",
            "header nested deep": f"{encode(b'[' * 5000)}.{payload}.{signature}",
            "outside ASCII": good + "\xe9", "payload outside ASCII": f"{header}.\xe9.{signature}",
            "spaces": f" {good} ",
        }
        for name, assertion in cases.items():
            with self.subTest(name):
                self.assert_refused(environment(assertion))

    def test_claims(self) -> None:
        cases: dict[str, dict[str, Any]] = {
            "issuer": {"iss": "someone"}, "audience": {"aud": "billing"}, "audiences": {"aud": ["console"]},
            "expired": {"iat": NOW - 60, "exp": NOW - 10}, "not yet": {"iat": NOW + 10, "exp": NOW + 40},
            "lives too long": {"exp": NOW + 61}, "lives for ever": {"exp": 10**30}, "no time": {"exp": NOW},
            "ends before it begins": {"exp": NOW - 1}, "exp a text": {"exp": str(NOW + 30)}, "iat true": {"iat": True},
            "exp a fraction": {"exp": NOW + 0.5}, "exp infinite": {"exp": float("inf")}, "iat not a number": {"iat": float("nan")},
            "another method": {"method": "POST"}, "method in small letters": {"method": "get"},
            "another path": {"path": "/console/customers/b"}, "path decoded": {"path": "/console/customers/a b"},
            "path respelt": {"path": "/console/customers/%61%20b"}, "path with query": {"path": PATH + "?tab=notes"},
            "another request id": {"rid": "request-2"}, "empty request id": {"rid": ""},
            "unknown kind": {"kind": "root"}, "admin without a subject": {"sub": ""},
            "anonymous with a subject": {"kind": "anonymous"}, "roles a text": {"roles": "console-user"},
            "roles of numbers": {"roles": [1]}, "subject a number": {"sub": 7},
            **{f"no {name}": {name: ABSENT} for name in CLAIMS},
        }
        for name, claims in cases.items():
            with self.subTest(name):
                self.assert_refused(environment(token(**claims)))

    def test_a_payload_that_is_not_an_object(self) -> None:
        signed = f"{encode(json.dumps(HEADER).encode())}.{encode(b'[1]')}"
        self.assert_refused(environment(f"{signed}.{encode(hmac.digest(SECRET, signed.encode(), 'sha256'))}"))

    def test_claims_that_the_gate_never_makes(self) -> None:
        self.assert_refused(environment(token(path="*"), PATH_INFO="*", RAW_URI="*"))
        self.assert_refused(environment(token(rid=""), HTTP_X_REQUEST_ID=""))

    def test_requests_that_the_assertion_was_not_made_for(self) -> None:
        cases: dict[str, dict[str, Any]] = {
            "method": {"REQUEST_METHOD": "DELETE"}, "HEAD for GET": {"REQUEST_METHOD": "HEAD"},
            "path": {"PATH_INFO": "/secrets", "RAW_URI": "/secrets"},
            "respelt on the wire": {"RAW_URI": "/console/customers/%61%20b"},
            "routed elsewhere": {"PATH_INFO": "/secrets"},
            "SCRIPT_NAME header": {"SCRIPT_NAME": "/console", "PATH_INFO": "/customers/a b"},
            "absolute form": {"RAW_URI": "http://console" + PATH}, "asterisk": {"RAW_URI": "*", "PATH_INFO": "*"},
            "not ASCII": {"RAW_URI": PATH + "\xe9"}, "request id": {"HTTP_X_REQUEST_ID": "request-2"},
            "no request id": {"HTTP_X_REQUEST_ID": ABSENT}, "two request ids": {"HTTP_X_REQUEST_ID": "request-1,request-1"},
        }
        for name, changes in cases.items():
            with self.subTest(name):
                gated = Gated()
                self.assertEqual(gated.ask(environment(token(), **changes))[0], "403 Forbidden")
                self.assertIsNone(gated.reached)

    def test_the_reason_is_in_the_log_and_not_in_the_response(self) -> None:
        logging.disable(logging.NOTSET)
        with self.assertLogs("console_gate", "WARNING") as caught:
            self.assert_refused(environment(token(exp=NOW - 100, iat=NOW - 130)))
        self.assertIn("expired", caught.output[0])
        self.assertNotIn(token().split(".")[0], caught.output[0])

    def test_the_gate_learns_the_kind_of_refusal_and_this_time(self) -> None:
        cases: dict[str, str | None] = {
            "missing": None, "malformed": "a.b", "algorithm": token({"alg": "EdDSA"}), "key": token({"kid": "k3"}),
            "signature": token(secret=b"x" * 32), "audience": token(aud="billing"), "lifetime": token(exp=NOW + 61),
            "clock": token(iat=NOW - 60, exp=NOW - 10), "request": token(path="/other"),
        }
        for kind, assertion in cases.items():
            with self.subTest(kind):
                self.assert_refused(environment(assertion), kind=kind)
        gated = Gated(replay_cache=1)
        self.assert_let_in(environment(token()), gated)
        self.assert_refused(environment(token()), gated, "replay")
        self.assert_refused(environment(token(rid="r2"), HTTP_X_REQUEST_ID="r2"), gated, "replay-cache")

    def test_head_gets_no_body(self) -> None:
        status, _headers, body = Gated().ask(environment(None, REQUEST_METHOD="HEAD"))
        self.assertEqual((status, body), ("403 Forbidden", b""))


def compact(value: Any) -> bytes:
    """JSON as the gate writes it."""
    return json.dumps(value, separators=(",", ":")).encode()


def spelt(header: bytes, payload: bytes, secret: bytes = SECRET) -> str:
    """A token with a good signature over a header and a payload as they are."""
    signed = f"{encode(header)}.{encode(payload)}"
    return f"{signed}.{encode(hmac.digest(secret, signed.encode(), 'sha256'))}"


def outcome(function: Any, *arguments: Any) -> tuple[str, str]:
    """What a call returns or raises, with numbers that are none."""
    try:
        return "", repr(function(*arguments))
    except Exception as error:
        return type(error).__name__, str(error)


def plain_decode(part: str) -> bytes:
    """What `decode` promises, without its short cuts."""
    encoded = part.encode("ascii")
    raw = base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != encoded:
        raise assertions.Refuse("not base64url")
    return raw


class ShortCuts(Cases):
    """What the gate writes is read by a shorter way; what is written otherwise must be read as without it."""

    HEADERS = (
        (compact(HEADER), None), (b'{"kid":"k2","typ":"JWT","alg":"HS256"}', None),
        (b' {"alg":"HS256","typ":"JWT","kid":"k2"}', None), (b'{"alg":"HS256","typ":"JWT","kid":"k2"}\n', None),
        (b'{ "alg" : "HS256", "kid" : "k2" }', None), (b'{"\\u0061lg":"HS256","kid":"k2"}', None),
        (b'\xef\xbb\xbf{"alg":"HS256","kid":"k2"}', None), ('{"alg":"HS256","kid":"k2"}'.encode("utf-16-le"), None),
        ('{"alg":"HS256","kid":"k2"}'.encode("utf-32"), None),
        (b'{"alg":"none","alg":"HS256","kid":"k2"}', None), (b'{"alg":"HS256","kid":"k2","alg":"none"}', "algorithm"),
        (b'{"alg":"HS256","kid":"k2","kid":"k3"}', "key"), (b'{"alg":"HS256","kid":"k3","kid":"k2"}', None),
        (b'{"alg":"HS256","kid":"k2","kid":"k1"}', "signature"), (b'{"alg":"HS256","kid":" k2"}', "key"),
        (b'{"alg":"HS256","kid":"k\xc2\xb2"}', "key"), (b'{"alg":"HS256 ","kid":"k2"}', "algorithm"),
        (b'{"alg":"HS256","kid":"k2","crit":[]}', "algorithm"), (b'{"alg":"HS256","kid":"k2","typ":null}', "algorithm"),
        (b'{"alg":"HS256","kid":"k2"}{}', "malformed"), (b'{"alg":"HS256","kid":"k2"', "malformed"),
        (b'{"alg":"HS256","kid":"k2"}\xff', "malformed"), (b'{"alg":"HS256","kid":"k2"}\0', "malformed"),
    )

    def test_a_header_that_is_spelt_otherwise(self) -> None:
        gated = Gated()
        for _ in range(2):  # the second time out of the cache, if there
            for header, kind in self.HEADERS:
                with self.subTest(header):
                    sent = environment(spelt(header, compact(CLAIMS)))
                    self.assert_let_in(sent, gated) if kind is None else self.assert_refused(sent, gated, kind)

    def test_a_payload_that_is_spelt_otherwise(self) -> None:
        good = compact(CLAIMS)
        twice = good[:-1] + b',"sub":"admin-8"}'
        for payload, subject in (
            (good, "admin-7"), (b" " + good, "admin-7"), (good + b" \n", "admin-7"), (b"{ " + good[1:], "admin-7"),
            (twice, "admin-8"), (good.replace(b"admin-7", b"admin-\\u0037"), "admin-7"),
            (good.replace(b"admin-7", "Zoë".encode()), "Zoë"), (good.decode().encode("utf-16"), "admin-7"),
            (good.decode().encode("utf-32-be"), "admin-7"), (b"\xef\xbb\xbf" + good, "admin-7"),
            (good.replace(b"admin-7", b"\xed\xa0\x80"), "\ud800"),
            (good + good, None), (good + b",", None), (good + b"\0", None), (good[:-1], None), (b'{"', None), (b"{", None),
            (good.replace(b"admin-7", b"admin-\xff"), None), (good.replace(b"admin-7", b"admin-\n"), None),
            (b'{"a":' + b"[" * 5000, None), (b'{"a":' * 5000, None), (good[:-1] + b',"x":' + b"[" * 5000, None),
            (good[:-1] + b',"sub":7}', None),
        ):
            with self.subTest(payload):
                sent = environment(spelt(compact(HEADER), payload))
                if subject is None:
                    self.assert_refused(sent, kind="malformed")
                else:
                    self.assertEqual(self.assert_let_in(sent)["gate.subject"], subject)

    def test_signed_text_that_is_not_canonical_base64url(self) -> None:
        header, claims = encode(compact(HEADER)), compact({**CLAIMS, "route": "?>~~" * 3})
        payload = encode(claims + b" " * (-len(claims) % 3 + 2))
        self.assertTrue("_" in payload and "-" in payload and len(payload) % 4 == 3, payload)
        respelt = payload[:-1] + chr(ord(payload[-1]) + 1)
        self.assertEqual(base64.urlsafe_b64decode(payload + "="), base64.urlsafe_b64decode(respelt + "="))
        for name, part, kind in (
            ("as it is", payload, None), ("the other alphabet", payload.replace("_", "/").replace("-", "+"), "malformed"),
            ("unused bits", respelt, "malformed"), ("padded", payload + "=", "malformed"), ("a space", payload + " ", "malformed"),
            ("a line", f"{payload[:8]}\n{payload[8:]}", "malformed"), ("a comma", f"{payload[:8]},{payload[8:]}", "malformed"),
            ("one character more", payload + "AA", "malformed"), ("cut", payload[:-1], "malformed"),
        ):
            with self.subTest(name):
                signed = f"{header}.{part}"
                sent = environment(f"{signed}.{encode(hmac.digest(SECRET, signed.encode(), 'sha256'))}")
                self.assert_let_in(sent) if kind is None else self.assert_refused(sent, kind=kind)

    def test_keys_take_turns(self) -> None:
        gated = Gated()
        for _ in range(3):
            self.assert_let_in(environment(token({"kid": "k1"}, OLD_SECRET)), gated)
            self.assert_refused(environment(token({"kid": "k1"}, SECRET)), gated, "signature")
            self.assert_refused(environment(token({"kid": "k3"}, SECRET)), gated, "key")
            self.assert_let_in(environment(token()), gated)

    def test_parts_of_a_token(self) -> None:
        good = token()
        for length in range(len(good)):
            with self.subTest(length=length):
                self.assert_refused(environment(good[:length]), kind=None if length else "missing")
        for assertion in (".", "..", "...", "a", "a.", ".a", "a.b", f".{good}", f"{good}.", good.replace(".", ".."),
                          good.replace(".", "", 1), good.replace(".", "")):
            with self.subTest(assertion):
                self.assert_refused(environment(assertion), kind="malformed")

    def test_reading_differs_nowhere_from_the_plain_way(self) -> None:
        chance = random.Random(7)
        known = [header for header, _ in self.HEADERS] + [compact(CLAIMS), b'{"a":NaN,"b":[1e400,-0,"\\ud800"],"a":null}', b'"x"', b""]
        for _ in range(20_000):
            raw = bytearray(chance.choice(known))
            for _ in range(chance.randrange(3)):
                at = chance.randrange(len(raw) + 1)
                raw[at:at + chance.randrange(3)] = chance.choice((b"", b" ", b'"', b"{", b"}", b"\0", b"\\", b"[", b"\xff", b"0", b","))
            self.assertEqual(outcome(assertions.read_json, bytes(raw)), outcome(json.loads, bytes(raw)), bytes(raw))
        for _ in range(20_000):
            part = "".join(chance.choices("ABQgwz059-_" if chance.random() < 0.7 else "AQg-_+/=. \n\xe9\u20ac", k=chance.randrange(14)))
            self.assertEqual(outcome(assertions.decode, part), outcome(plain_decode, part), part)

    def test_each_claim_of_each_type(self) -> None:
        claims = {**CLAIMS, "gate": "v2", "cluster": "c", "mapping": "m", "notify": "", "groups": ["g"]}
        later, lists = ("gate", "cluster", "mapping", "notify"), ("roles", "groups")
        for name in claims:
            for value in (ABSENT, None, True, 0, 7, 1.5, "", "x", [], ["x"], [""], [7], ["x", None], [["x"]], {}, {"x": "x"}):
                with self.subTest(name=name, value=value):
                    is_text, is_texts = isinstance(value, str), isinstance(value, list) and all(isinstance(each, str) for each in value)
                    let_in = (is_texts or (value is ABSENT and name == "groups") if name in lists else
                              is_text or value is ABSENT if name in later else
                              is_text if name in ("route", "sid") else value == "x" if name == "sub" else False)
                    sent = environment(token(**{**claims, name: value}))
                    self.assert_let_in(sent) if let_in else self.assert_refused(sent)

    def test_subject_and_kind(self) -> None:
        for kind, subject, let_in in (
            ("admin", "a", True), ("admin", "", False), ("machine", "a", True), ("machine", "", True), ("anonymous", "a", False),
            ("anonymous", "", True), ("", "", False), ("", "a", False), ("Admin", "a", False), ("admi", "a", False), ("root", "", False),
        ):
            with self.subTest(kind=kind, subject=subject):
                sent = environment(token(kind=kind, sub=subject))
                self.assert_let_in(sent) if let_in else self.assert_refused(sent, kind="malformed")

    def test_the_assertion_is_whole_and_cannot_be_changed(self) -> None:
        later = {"gate": "v2", "cluster": "shop", "mapping": "5e", "notify": "customer", "groups": ["staff"]}
        made = self.assert_let_in(environment(token(**later)))[VERIFIED]
        self.assertEqual(made, Assertion(
            subject="admin-7", kind="admin", session="session-9", roles=("console-user",), groups=("staff",),
            route="GET /console/customers/<id>", cluster="shop", gate="v2", mapping="5e", notify="customer",
            request_id="request-1", method="GET", path=PATH, expires=NOW + 30, verified=True))
        self.assertEqual(vars(made).keys(), {field.name for field in dataclasses.fields(Assertion)})
        with self.assertRaises(dataclasses.FrozenInstanceError):
            made.subject = "root"

    def test_names_that_were_harmless_do_not_let_others_by(self) -> None:
        chance, gated = random.Random(7), Gated()
        spoofed = [f"{name}{end}" for name in SPOOFABLE for end in ("", "X", "_X")]
        harmless = ["HTTP_REMOTE", "HTTP_X_REMOTE", "X_HTTP_REMOTE_USER", "remote_user", "REMOTE_ADDR", "HTTP_X_CONSOLE_GATE", "Gate.x"]
        for number in range(400):
            sent = dict.fromkeys(chance.sample(spoofed + harmless, 5) + [f"HTTP_X_{number}_{each}" for each in range(3)], "root")
            if number % 3 == 0:
                self.assert_refused(environment(token(sub=""), **sent), gated)
            given = self.assert_let_in(environment(token(), **sent), gated)
            self.assertEqual({name for name, value in given.items() if value == "root"},
                             {name for name in sent if name not in spoofed})
        self.assertLess(len(gated.middleware._harmless), HARMLESS + 20, "clients fill the memory")

    def test_an_environment_that_comes_twice(self) -> None:
        gated, sent = Gated(), environment(token())
        self.assert_let_in(sent, gated)
        self.assert_refused(sent, gated, "missing")
        self.assertEqual([name for name in sent if name.startswith(SPOOFABLE)], [])

    def test_an_exempt_path_of_another_middleware(self) -> None:
        for exempt_paths in ((), ("/healthz",), ("",)):
            self.assert_refused(environment(None, PATH_INFO="/\u20ac", RAW_URI=ABSENT), Gated(exempt_paths=exempt_paths), "malformed")
        self.assert_refused(environment(None, PATH_INFO="/healthz", RAW_URI="/healthz"), Gated(), "missing")
        mounted = environment(None, SCRIPT_NAME="/c", PATH_INFO="/healthz", RAW_URI="/c/healthz")
        self.assert_let_in(dict(mounted), Gated(exempt_paths=("/c/healthz",), script_name="/c"))
        self.assert_refused(dict(mounted), Gated(exempt_paths=("/healthz",), script_name="/c"), "missing")


class Replay(Cases):
    def test_without_a_cache_a_request_may_be_repeated(self) -> None:
        gated = Gated()
        for _ in range(2):
            self.assert_let_in(environment(token()), gated)

    def test_with_a_cache_each_assertion_is_taken_once(self) -> None:
        gated = Gated(replay_cache=2)
        self.assert_let_in(environment(token()), gated)
        self.assert_refused(environment(token()), gated)
        self.assert_let_in(environment(token(rid="r2"), HTTP_X_REQUEST_ID="r2"), gated)
        self.assert_refused(environment(token()), gated)

    def test_a_full_cache_refuses_until_something_expires(self) -> None:
        gated = Gated(replay_cache=1)
        self.assert_let_in(environment(token()), gated)
        later = environment(token(rid="r2", iat=NOW + 20, exp=NOW + 50), HTTP_X_REQUEST_ID="r2")
        gated.now = NOW + 34
        self.assert_refused(dict(later), gated)
        gated.now = NOW + 35
        self.assert_let_in(dict(later), gated)

    def test_a_refused_request_spends_nothing(self) -> None:
        gated = Gated(replay_cache=1)
        self.assert_refused(environment(token(), REQUEST_METHOD="POST"), gated)
        self.assert_let_in(environment(token()), gated)


class Settings(Cases):
    def test_keys(self) -> None:
        one = base64.b64encode(SECRET).decode()
        two = base64.urlsafe_b64encode(hashlib.sha512(b"two").digest()).decode()
        SharedKeys.parse(f"k1:{one}, k2:{two}").verify("k1", b"x", hmac.digest(SECRET, b"x", "sha256"))
        SharedKeys.parse(f"# rotated, in autumn\n\nk1:{one}\n  k2:{two}\n")
        short = base64.b64encode(b"short").decode()
        for text in ("", "# none", one, f":{one}", "k1:", "k1:not base64", f"k1:{short}", f"k1:{one},k1:{two}", f"k1:{one},"):
            with self.subTest(text), self.assertRaises(ConfigurationError) as raised:
                SharedKeys.parse(text)
            self.assertNotIn(one, str(raised.exception))

    def test_environment(self) -> None:
        key = "k2:" + base64.b64encode(SECRET).decode()
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as file:
            file.write(key + "\n")
            file.flush()
            for settings in ({"CONSOLE_GATE_KEYS": key}, {"CONSOLE_GATE_KEYS_FILE": file.name}):
                settings |= {"CONSOLE_GATE_AUDIENCE": "console", "CONSOLE_GATE_EXEMPT_PATHS": "/healthz,/live",
                             "CONSOLE_GATE_REPLAY_CACHE": "9", "CONSOLE_GATE_SCRIPT_NAME": "/c"}
                middleware = ConsoleGateMiddleware.from_environment(lambda *_: [], settings)
                self.assertEqual((middleware.exempt_paths, middleware.replay_cache, middleware.script_name),
                                 ({"/healthz", "/live"}, 9, "/c"))
        for settings in ({}, {"CONSOLE_GATE_AUDIENCE": "console"}, {"CONSOLE_GATE_KEYS": key},
                         {"CONSOLE_GATE_KEYS": key, "CONSOLE_GATE_JWKS": "x", "CONSOLE_GATE_AUDIENCE": "console"}):
            with self.subTest(settings), self.assertRaises(ConfigurationError):
                ConsoleGateMiddleware.from_environment(lambda *_: [], settings)


@unittest.skipUnless(importlib.util.find_spec("cryptography"), "needs `cryptography`")
class Jwks(Cases):
    def setUp(self) -> None:
        super().setUp()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        self.key = Ed25519PrivateKey.generate()
        self.public = {"kty": "OKP", "crv": "Ed25519", "kid": "e1", "x": encode(self.key.public_key().public_bytes_raw())}

    def token(self, **header: Any) -> str:
        head = {"alg": "EdDSA", "kid": "e1", **header}
        signed = f"{encode(json.dumps(head).encode())}.{encode(json.dumps(CLAIMS).encode())}"
        return f"{signed}.{encode(self.key.sign(signed.encode()))}"

    def keys(self, source: str) -> Any:
        from console_gate.jwks import JwksKeys
        return JwksKeys(source)

    def keys_of(self, *keys: dict[str, Any]) -> Any:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"keys": keys}, file)
            file.flush()
            return self.keys(file.name)

    def test_a_file(self) -> None:
        keys = self.keys_of({"kty": "RSA", "kid": "r1", "n": "AQAB", "e": "AQAB"}, self.public)
        self.assert_let_in(environment(self.token()), Gated(keys=keys))
        forged = self.token()[:-8] + "AAAAAAAA"
        public = base64.urlsafe_b64decode(self.public["x"] + "=")
        confused = token({"kid": "e1"}, public)  # the public key used as a shared secret
        for assertion in (forged, self.token(kid="e2"), self.token(alg="HS256"), confused, token()):
            self.assert_refused(environment(assertion), Gated(keys=keys))

    def test_files_that_cannot_be_used(self) -> None:
        for keys in ([], [{**self.public, "use": "enc"}], [{**self.public, "alg": "RS256"}], [{**self.public, "x": "AAAA"}]):
            with self.subTest(keys), self.assertRaises(ValueError):
                self.keys_of(*keys)
        for address in ("http://gate.example/jwks.json", "ftp://localhost/jwks.json", "file:///etc/jwks.json"):
            with self.subTest(address), self.assertRaises(ValueError):
                self.keys(address)
        with self.assertRaises(OSError):
            self.keys("/nonexistent/jwks.json")

    def test_an_address_is_asked_for_an_unknown_key_and_not_too_often(self) -> None:
        served = Served(b"not JSON")
        self.addCleanup(served.stop)
        keys = self.keys(served.address)
        gated = Gated(keys=keys)
        self.assert_refused(environment(self.token()), gated)
        served.answer = json.dumps({"keys": [self.public]}).encode()
        self.assert_refused(environment(self.token()), gated)
        self.assertEqual(served.count, 1)
        keys._next_fetch = 0.0
        self.assert_let_in(environment(self.token()), gated)
        self.assert_let_in(environment(self.token()), gated)
        self.assertEqual(served.count, 2)
        served.answer, keys._next_fetch = b"{}", 0.0
        self.assert_refused(environment(self.token(kid="e2")), gated)
        self.assert_let_in(environment(self.token()), gated)  # a bad answer takes no key away

    def test_a_redirect_is_not_followed(self) -> None:
        served = Served(json.dumps({"keys": [self.public]}).encode())
        redirecting = Served(b"", redirect_to=served.address)
        self.addCleanup(served.stop)
        self.addCleanup(redirecting.stop)
        self.assert_refused(environment(self.token()), Gated(keys=self.keys(redirecting.address)))
        self.assertEqual((redirecting.count, served.count), (1, 0))


class Served:
    """One answer on a port of this host."""

    def __init__(self, answer: bytes, redirect_to: str | None = None) -> None:
        self.answer, self.count = answer, 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.count += 1
                self.send_response(302 if redirect_to else 200)
                if redirect_to:
                    self.send_header("Location", redirect_to)
                self.end_headers()
                self.wfile.write(outer.answer)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/jwks.json"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
