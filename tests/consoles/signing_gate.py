"""A stand-in for the gate, for tests of Console's side: it decides by a `routes.toml`, and signs what it lets in.

    python signing_gate.py atlas v2        Atlas (DATABASE_URL, SECRET_KEY) behind it, every cluster in `v2`
    python signing_gate.py brook none      Brook (BROOK_DATABASE, SECRET_KEY) itself, without it

It prints the address and serves until its input ends. With USE_GATE=1 the Console verifies what it signs. It knows as
much of `routes.toml` as the two Consoles use, and reads the V2 roles out of `groups.sh`. It is no gate: it looks at
nothing but roles.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sqlite3
import sys
import threading
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterable

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "deploy" / "flask"))

from werkzeug.exceptions import HTTPException  # noqa: E402
from werkzeug.http import parse_cookie  # noqa: E402
from werkzeug.routing import Map, Rule  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

from console_gate.testing import Signer  # noqa: E402

MODES = ("none", "legacy", "v2")


@dataclass
class Caller:
    """Somebody with a credential. `kind`: `admin`, `machine`, or `presented` for a token that nobody knows."""

    kind: str
    subject: str = ""
    legacy: set[str] = field(default_factory=set)


class Groups:
    """The V2 roles of `groups.sh`, with what they inherit."""

    def __init__(self, script: Path) -> None:
        inherits: dict[str, set[str]] = {}
        self._roles: dict[str, set[str]] = {}
        self._members: dict[str, set[str]] = {}
        text = script.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in (line for line in text.splitlines() if line.startswith("$GATE ")):
            words = shlex.split(line)[1:]
            match words:
                case ["role", "create", role]:
                    inherits[role] = set()
                case ["role", "inherit", role, parent]:
                    inherits[role].add(parent)
                case ["group", "create", group, *options]:
                    self._roles[group] = {option for option in options if option != "--role"}
                case ["group", "add", group, *members]:
                    self._roles[group]  # a group that was not created is an error
                    self._members.setdefault(group, set()).update(members)
                case ["token", "enroll", *options]:
                    named = dict(zip(options[::2], options[1::2]))
                    self._members.setdefault(named["--group"], set()).add(named["--name"])
                case _:
                    raise ValueError(f"{script}: `{line}` is not understood")
        self._inherits = inherits

    def change(self, words: str) -> None:
        """`group+id` or `group-id`."""
        group, sign, member = re.fullmatch(r"(\w+)([+-])(.+)", words).groups()  # type: ignore[union-attr]
        (self._members[group].add if sign == "+" else self._members[group].remove)(member)

    def of(self, member: str) -> set[str]:
        return {group for group, members in self._members.items() if member in members}

    def roles(self, member: str) -> set[str]:
        found, waiting = set[str](), [role for group in self.of(member) for role in self._roles[group]]
        while waiting:
            role = waiting.pop()
            if role not in found:
                found.add(role)
                waiting.extend(self._inherits[role])
        return found


class SigningGate:
    """WSGI, around a Console."""

    def __init__(self, console: Callable[..., Iterable[bytes]], folder: Path, mode: str,
                 who: Callable[[dict[str, Any]], Caller | None], signer: Signer) -> None:
        self._console, self._mode, self._who, self._signer = console, mode, who, signer
        self.groups = Groups(folder / "groups.sh")
        table = tomllib.loads((folder / "routes.toml").read_text(encoding="utf-8"))
        settings = tomllib.loads((folder / "gate.toml").read_text(encoding="utf-8"))
        self._login_path = settings["session"]["login_path"]
        rules, self._rows = list[Rule](), dict[str, tuple[dict[str, Any], str]]()
        for blueprint in table["blueprints"].values():
            for name, row in blueprint["routes"].items():
                methods, _, path = name.partition(" ")
                self._rows[name] = row, blueprint.get("cluster", "")
                rules.append(Rule(path, endpoint=name, methods=methods.split(",")))
        assert len(rules) == table["rows"], "routes.toml says another number of rows"
        self._urls = Map(rules).bind("console.internal")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        for name in ("HTTP_X_CONSOLE_GATE_ASSERTION", "HTTP_X_REQUEST_ID"):
            environ.pop(name, None)
        method = environ["REQUEST_METHOD"]
        try:
            route, _values = self._urls.match(environ["PATH_INFO"], method)
        except HTTPException:
            return answer(start_response, "403 Forbidden")
        row, cluster = self._rows[route]
        caller = self._who(environ)
        gate = self._decide(row, caller)
        if gate is None:
            return self._refuse(row, caller, environ, start_response)
        known = caller if caller is not None and caller.kind != "presented" else Caller("anonymous")
        raw = environ["RAW_URI"].partition("?")[0]
        sent = self._signer.headers(
            method, raw, route=route, gate=gate, cluster=cluster, subject=known.subject, kind=known.kind,
            groups=sorted(self.groups.of(known.subject)), roles=[row["role"]] if gate == "v2" else [])
        environ["HTTP_X_CONSOLE_GATE_ASSERTION"] = sent["X-Console-Gate-Assertion"]
        environ["HTTP_X_REQUEST_ID"] = sent["X-Request-Id"]
        return self._console(environ, start_response)

    def _decide(self, row: dict[str, Any], caller: Caller | None) -> str | None:
        """What lets the caller in, or None."""
        if row.get("public"):
            return "public"
        if row.get("machine"):
            return "machine" if caller is not None and caller.kind in ("machine", "presented") else None
        if caller is None or caller.kind != "admin" and not row.get("machine_or_session"):
            return None
        if row.get("session"):
            return "session"
        if self._mode == "v2":
            return "v2" if row["role"] in self.groups.roles(caller.subject) else None
        # A token that the gate does not know is Console's to judge, and so is one that has no legacy roles.
        return "legacy" if caller.kind != "admin" or caller.legacy & set(row["legacy"]) else None

    def _refuse(self, row: dict[str, Any], caller: Caller | None, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        machines = bool(row.get("machine_or_session"))
        if caller is not None and (caller.kind == "admin" or caller.kind == "machine" and machines) and not row.get("machine"):
            return answer(start_response, "403 Forbidden")
        if row.get("machine") or row.get("unauthenticated") == "401" or environ.get("HTTP_HX_REQUEST") == "true":
            return answer(start_response, "401 Unauthorized")
        return answer(start_response, "302 Found", [("Location", self._login_path)])


def answer(start_response: Any, status: str, headers: list[tuple[str, str]] | None = None) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", "0"), *(headers or [])])
    return [b""]


def bearer(environ: dict[str, Any]) -> str | None:
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token if scheme.lower() == "bearer" and token else None


def serve_atlas() -> tuple[Any, Callable[[dict[str, Any]], Caller | None]]:
    import psycopg

    sys.path.insert(0, str(HERE / "atlas"))
    from atlas import create_app

    # The SELECTs that the gate would read.
    console = tomllib.loads((HERE / "atlas" / "gate.toml").read_text(encoding="utf-8"))["console"]
    select = {name: text.replace("%", "%%").replace("$1", "%s") for name, text in console.items() if text.startswith("SELECT")}

    # One connection for all threads; psycopg lets them take turns.
    connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)

    def who(environ: dict[str, Any]) -> Caller | None:
        token = bearer(environ)
        if token is not None:
            digest = hashlib.sha256(token.encode()).hexdigest()
            row = connection.execute("SELECT name FROM app.api_tokens WHERE token_sha256 = %s AND revoked_at IS NULL",
                                     [digest]).fetchone()
            return Caller("presented") if row is None else Caller("machine", row[0])
        cookie = parse_cookie(environ).get("atlas_session", "")
        found = connection.execute(select["sessions"], [hashlib.sha256(cookie.encode()).hexdigest()]).fetchone()
        if found is None or found[2] <= connection.execute("SELECT now()").fetchone()[0]:
            return None
        subject = str(found[1])
        admin = connection.execute(select["admins"], [subject]).fetchone()
        if admin is None or admin[1]:
            return None
        return Caller("admin", subject, {row[0] for row in connection.execute(select["legacy_roles"], [subject])})
    return create_app(), who


def serve_brook() -> tuple[Any, Callable[[dict[str, Any]], Caller | None]]:
    from flask.sessions import SecureCookieSessionInterface

    sys.path.insert(0, str(HERE / "brook"))
    from brook import create_app

    app = create_app()
    console = tomllib.loads((HERE / "brook" / "gate.toml").read_text(encoding="utf-8"))["console"]

    def who(environ: dict[str, Any]) -> Caller | None:
        cookie = parse_cookie(environ).get("brook", "")
        serializer = SecureCookieSessionInterface().get_signing_serializer(app)
        try:
            subject = str(serializer.loads(cookie)["staff_id"])
        except Exception:
            return None
        connection = sqlite3.connect(os.environ["BROOK_DATABASE"], timeout=10)
        try:
            admin = connection.execute(console["admins"], [subject]).fetchone()
            if admin is None or admin[1]:
                return None
            return Caller("admin", subject, {row[0] for row in connection.execute(console["legacy_roles"], [subject])})
        finally:
            connection.close()
    return app, who


def main(folder: str, mode: str, *changes: str) -> None:
    """`changes` of the groups, `group+id` or `group-id`, after `groups.sh`."""
    assert mode in MODES, f"the mode is one of {', '.join(MODES)}"
    signer = Signer()
    os.environ.update(signer.environment())
    app, who = {"atlas": serve_atlas, "brook": serve_brook}[folder]()
    served: Any = app
    if mode != "none":
        served = SigningGate(app, HERE / folder, mode, who, signer)
        for change in changes:
            served.groups.change(change)
    server = make_server("127.0.0.1", 0, served, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
