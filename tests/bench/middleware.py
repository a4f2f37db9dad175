"""What the Python side costs: CPU time of a request over the same application without it.

    .venv/bin/python tests/bench/middleware.py [--against main] [--rounds 40] [--requests 2000] [--profile ROW]

One process calls each application as a WSGI server does, with the environment of a browser's request and with assertions
of the gate's form, each for another request id, so that nothing which is kept from one request helps the next. The
applications take turns, round by round; a row is the median of its rounds. `--against` measures the package of another
revision in the same rounds. `--profile` prints where one row's time goes, by function.
"""

from __future__ import annotations

import argparse
import base64
import cProfile
import functools
import importlib
import io
import json
import logging
import pstats
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "deploy/flask"
SECRET, SEED, KEY_ID = b"a secret of the bench, 32 bytes.", b"a seed of the bench, of 32 bytes", "2026-10"
PATH, ROUTE = "/customers/7f3c2a10-5b1e-4c7a-9d70-2f6f1f0c9b11/orders", "GET /customers/<uuid:customer>/orders"
NOW = 1_790_000_000
BARE, FLASK = "WSGI alone", "Flask alone"

# What a browser sends, and gunicorn and the gate add.
ENVIRON = {
    "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr,
    "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False, "wsgi.file_wrapper": object,
    "wsgi.input_terminated": True, "gunicorn.socket": None, "SERVER_SOFTWARE": "gunicorn/27.0.0",
    "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_PORT": "51234", "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": PATH,
    "QUERY_STRING": "page=2&sort=name", "RAW_URI": PATH + "?page=2&sort=name", "HTTP_HOST": "console.example.com",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "HTTP_ACCEPT_LANGUAGE": "en-GB,en;q=0.5", "HTTP_ACCEPT_ENCODING": "gzip, deflate, br, zstd",
    "HTTP_REFERER": "https://console.example.com/customers", "HTTP_COOKIE": "session=" + "x" * 160,
    "HTTP_CONNECTION": "keep-alive", "HTTP_UPGRADE_INSECURE_REQUESTS": "1", "HTTP_SEC_FETCH_DEST": "document",
    "HTTP_SEC_FETCH_MODE": "navigate", "HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_SEC_FETCH_USER": "?1",
    "HTTP_X_FORWARDED_FOR": "203.0.113.7", "HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "console.example.com",
    "HTTP_TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def as_the_gate_writes(value: Any) -> str:
    """A part of a token as `serde_json` writes it: no spaces."""
    return encode(json.dumps(value, separators=(",", ":")).encode())


def environs(algorithm: str, sign: Callable[[bytes], bytes], count: int) -> list[dict[str, Any]]:
    """The environments of so many requests, each with its assertion."""
    # serde_json keeps the keys of a value in order of the alphabet, and those of a struct as they are written.
    header = as_the_gate_writes({"alg": algorithm, "kid": KEY_ID, "typ": "JWT"})
    made = []
    for _ in range(count):
        claims = {
            "iss": "console-gate", "aud": "console", "sub": "5b1f2c30-88aa-4f6e-b2a5-6d1c0e9f7a42",
            "sid": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "kind": "admin", "iat": NOW,
            "exp": NOW + 30, "method": "GET", "path": PATH, "route": ROUTE, "roles": ["customer-support"],
            "rid": str(uuid.uuid4()), "gate": "v2", "cluster": "customers", "mapping": "e3b0c44298fc1c149afbf4c8996fb924" * 2,
            "groups": ["support", "staff", "billing-readers", "orders-emea"]}
        signed = f"{header}.{as_the_gate_writes(claims)}"
        made.append({**ENVIRON, "HTTP_X_REQUEST_ID": claims["rid"],
                     "HTTP_X_CONSOLE_GATE_ASSERTION": f"{signed}.{encode(sign(signed.encode()))}"})
    return made


def modules(folder: Path) -> dict[str, Any]:
    """The modules of the package in a folder, without a trace in `sys.modules`: two revisions live side by side."""
    sys.path.insert(0, str(folder))
    try:
        return {name: importlib.import_module(f"console_gate.{name}") for name in ("assertion", "wsgi", "flask", "jwks")}
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "console_gate"]:
            del sys.modules[name]


def console(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The bare application."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"console"]


def flask_app(decorators: Iterable[Callable[[Any], Any]] = ()) -> Flask:
    def orders(customer: Any) -> str:
        return "console"
    app, view = Flask("bench"), orders
    for decorator in decorators:
        view = decorator(view)
    app.add_url_rule("/customers/<uuid:customer>/orders", view_func=view)
    return app


def require_role(_role: str) -> Callable[[Any], Any]:
    """Console's own check, which never lets anybody in: a request that succeeds was deferred to the gate."""
    def decorate(view: Any) -> Any:
        @functools.wraps(view)
        def refuse(*_args: Any, **_kwargs: Any) -> Any:
            return "refused", 403
        return refuse
    return decorate


def rows(package: dict[str, Any], jwks: str) -> dict[str, tuple[str, str, Any]]:
    """What is measured of one revision: name -> the row that it is compared with, algorithm, application."""
    clock = {"audience": "console", "clock": lambda: float(NOW)}
    shared, public = package["assertion"].SharedKeys({KEY_ID: SECRET}), package["jwks"].JwksKeys(jwks)

    def around(app: Any, keys: Any = shared, **settings: Any) -> Any:
        return package["wsgi"].ConsoleGateMiddleware(app, keys=keys, **clock, **settings)

    def flask(keys: Any) -> Flask:
        app = flask_app([package["flask"].defer(require_role)("support")])
        package["flask"].ConsoleGate(app, load_admin=str, keys=keys, environment={}, **clock)
        return app
    behind, both = flask_app(), flask(shared)
    behind.wsgi_app, both.wsgi_app = around(behind.wsgi_app), around(both.wsgi_app)
    return {
        "WSGI middleware, HS256": (BARE, "HS256", around(console)),
        "WSGI middleware, HS256, replay cache": (BARE, "HS256", around(console, replay_cache=1_000_000)),
        "WSGI middleware, EdDSA": (BARE, "EdDSA", around(console, public)),
        "Flask, WSGI middleware, HS256": (FLASK, "HS256", behind),
        "Flask, ConsoleGate and defer, HS256": (FLASK, "HS256", flask(shared)),
        "Flask, ConsoleGate and defer, EdDSA": (FLASK, "EdDSA", flask(public)),
        "Flask, both, HS256": (FLASK, "HS256", both),
    }


def serve(app: Any, requests: list[dict[str, Any]]) -> float:
    """Microseconds of CPU a request. Takes each request out of the list, so that what was made for it is freed as in a server."""
    count, statuses = len(requests), []

    def start_response(status: str, _headers: Any, _info: Any = None) -> None:
        statuses.append(status)
    began = time.process_time()
    while requests:
        answer = app(requests.pop(), start_response)
        for _ in answer:
            pass
        if hasattr(answer, "close"):
            answer.close()
    took = time.process_time() - began
    if statuses != ["200 OK"] * count:
        raise SystemExit(f"not every request was let in: {sorted(set(statuses))}")
    return took / count * 1e6


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--against", metavar="REVISION", help="measure this revision's package too")
    arguments.add_argument("--rounds", type=int, default=40)
    arguments.add_argument("--requests", type=int, default=1000, help="in each round, by each application")
    arguments.add_argument("--profile", metavar="ROW", help="print where the time of this row goes, instead")
    chosen = arguments.parse_args()
    logging.disable(logging.CRITICAL)

    with tempfile.TemporaryDirectory() as temporary:
        folders = {"now": ROOT / PACKAGE}
        if chosen.against:
            packed = subprocess.run(["git", "archive", chosen.against, PACKAGE], cwd=ROOT, check=True, capture_output=True)
            with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
                archive.extractall(temporary, filter="data")
            folders = {chosen.against: Path(temporary) / PACKAGE, **folders}
        private = Ed25519PrivateKey.from_private_bytes(SEED)
        jwks = Path(temporary) / "jwks.json"
        jwks.write_text(json.dumps({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "kid": KEY_ID, "x": encode(private.public_key().public_bytes_raw())}]}))
        packages = {revision: modules(folder) for revision, folder in folders.items()}
        measured: dict[tuple[str, str], tuple[str, str, Any]] = {
            (revision, name): row for revision, package in packages.items() for name, row in rows(package, str(jwks)).items()}

    signers = {"HS256": packages["now"]["assertion"].SharedKeys({KEY_ID: SECRET}), "EdDSA": private}
    sign = {"HS256": functools.partial(signers["HS256"].sign, KEY_ID), "EdDSA": private.sign}
    if chosen.profile:
        _, algorithm, app = measured["now", chosen.profile]
        profile = cProfile.Profile()
        made = environs(algorithm, sign[algorithm], 10_000)
        profile.runcall(serve, app, made)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return

    alone = {("", BARE): (BARE, "HS256", console), ("", FLASK): (FLASK, "HS256", flask_app())}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in (*alone, *measured)}
    for _ in range(chosen.rounds):
        made = {algorithm: environs(algorithm, sign[algorithm], chosen.requests) for algorithm in sign}
        for key, (_, algorithm, app) in {**alone, **measured}.items():
            # The server makes a new environment for each request, names included; its cost is in no row.
            fresh = [{(name + " ")[:-1]: value for name, value in environ.items()} for environ in made[algorithm]]
            times[key].append(serve(app, fresh))
    token = made["HS256"][0]["HTTP_X_CONSOLE_GATE_ASSERTION"]
    print(f"CPU a request in us, median of {chosen.rounds} rounds of {chosen.requests} requests; assertions of {len(token)} bytes\n")
    print(f"{'':42}{'revision':12}{'all':>8}{'over none':>11}{'  middle half'}")
    for (revision, name), (base, _, _) in {**alone, **measured}.items():
        own = times[revision, name]
        over = [mine - none for mine, none in zip(own, times["", base])]
        low, middle, high = statistics.quantiles(over, n=4)
        print(f"{name:42}{revision:12}{statistics.median(own):8.1f}" + (
            "" if name == base else f"{middle:11.1f}  {low:.1f} to {high:.1f}"))


if __name__ == "__main__":
    main()
