"""The middleware's promises, each failure by name: `python -m unittest test_middleware` in this folder.

The EdDSA part is skipped where `cryptography` is not installed, as Console may run without it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import importlib.util
import json
import logging
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy" / "flask"))

from console_gate.assertion import REASONS, ConfigurationError, SharedKeys  # noqa: E402
from console_gate.wsgi import ConsoleGateMiddleware  # noqa: E402

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
        self.assertEqual(gated.ask(environ)[0], "200 OK")
        return gated.reached or {}

    def assert_refused(self, environ: dict[str, Any], gated: Gated | None = None, kind: str | None = None) -> None:
        gated = gated or Gated()
        status, headers, body = gated.ask(environ)
        self.assertEqual(status, "403 Forbidden")
        self.assertIsNone(gated.reached, "Console ran")
        self.assertEqual(headers["Content-Type"], "application/problem+json")
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
