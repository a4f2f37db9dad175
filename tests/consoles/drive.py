"""Asks a Console every request of its folder as every person, and writes down what each was answered.

    python drive.py http://127.0.0.1:8100 atlas > direct.json       Console itself, or the gate in front of it
    python drive.py unix:/tmp/gate.sock atlas > through.json
    python drive.py compare direct.json through.json                 exits 1 and lists what differs

`people.json` of the folder says who there is, `requests.json` how to log in and what to ask. The matrix is
`{person: {request: answer}}`; an answer is the status, with the path of `Location` behind it where there is one:
`200`, `403`, `302 /auth/login`. Only the standard library is needed; `matrix()` does the same from Python.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import html
import http.client
import json
import re
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

HERE = Path(__file__).resolve().parent
INPUT = re.compile(r"<input\b[^>]*>")
ATTRIBUTE = re.compile(r'\b(name|value)="([^"]*)"')
TIMEOUT_SECONDS = 30


class NotLoggedIn(Exception):
    """A person of `people.json` could not log in."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def summary(self) -> str:
        location = self.header("location")
        return f"{self.status} {urlsplit(location).path}" if location is not None else str(self.status)


@dataclass
class Browser:
    """One person at one address: keeps cookies, follows no redirect."""

    base: str
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    _connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        sent = {"Accept": "text/html", **self.headers, **(headers or {})}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        for attempt in (1, 2):
            if self._connection is None:
                self._connection = connection(self.base)
            try:
                self._connection.request(method, path, body, sent)
                response = self._connection.getresponse()
                answer = Answer(response.status, response.getheaders(), response.read())
                break
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # The server closed a connection that was kept open; a new one gets the answer.
                self._connection.close()
                self._connection = None
                if attempt == 2:
                    raise
        self._keep_cookies(answer)
        return answer

    def post_form(self, path: str, fields: dict[str, str], headers: dict[str, str] | None = None) -> Answer:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, urlencode(fields).encode(), {**form, **(headers or {})})

    def _keep_cookies(self, answer: Answer) -> None:
        for name, value in answer.headers:
            if name.lower() == "set-cookie":
                cookie, _, attributes = value.partition(";")
                key, _, text = cookie.partition("=")
                if re.search(r"max-age=0\b", attributes, re.IGNORECASE):
                    self.cookies.pop(key.strip(), None)
                else:
                    self.cookies[key.strip()] = text.strip()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def connection(base: str) -> http.client.HTTPConnection:
    if base.startswith("unix:"):
        return UnixConnection(base.removeprefix("unix:"))
    parts = urlsplit(base)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "localhost", parts.port, timeout=TIMEOUT_SECONDS)


def hidden_fields(page: bytes) -> dict[str, str]:
    """The hidden inputs of a page's first form, with their values."""
    fields = {}
    form = page.decode().partition("<form")[2].partition("</form>")[0]
    for tag in INPUT.findall(form):
        attributes = dict(ATTRIBUTE.findall(tag))
        if 'type="hidden"' in tag and "name" in attributes:
            fields[attributes["name"]] = html.unescape(attributes.get("value", ""))
    return fields


def totp(secret: str) -> str:
    """The code that an authenticator shows now (RFC 6238)."""
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", int(time.time()) // 30), "sha1")
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset:offset + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def log_in(browser: Browser, person: dict[str, Any], script: dict[str, Any]) -> None:
    """Fills in the login form, and the form for the TOTP code where the person is to be elevated."""
    login = script["login"]
    page = browser.ask("GET", login["path"])
    fields = {**hidden_fields(page.body), **{name: person[key] for name, key in login["fields"].items()}}
    answer = browser.post_form(login["path"], fields)
    if answer.status not in (302, 303) or login["cookie"] not in browser.cookies:
        raise NotLoggedIn(f"{person['name']}: the login form answered {answer.summary()}")
    if person.get("elevate"):
        elevation = script["elevation"]
        fields = {**hidden_fields(browser.ask("GET", elevation["path"]).body), elevation["field"]: totp(person["totp_secret"])}
        answer = browser.post_form(elevation["path"], fields)
        if answer.status not in (302, 303):
            raise NotLoggedIn(f"{person['name']}: the TOTP form answered {answer.summary()}")


def arrive(base: str, person: dict[str, Any], script: dict[str, Any]) -> Browser:
    """The person's browser or program, ready to ask."""
    browser = Browser(base)
    if "bearer" in person:
        browser.headers["Authorization"] = f"Bearer {person['bearer']}"
    elif "session_token" in person:
        browser.cookies[script["login"]["cookie"]] = person["session_token"]
    elif "password" in person:
        log_in(browser, person, script)
    return browser


def send(browser: Browser, request: dict[str, Any], script: dict[str, Any]) -> Answer:
    """One request of `requests.json`, with the CSRF token that the pages' own scripts would send."""
    headers = dict(request.get("headers", {}))
    csrf = script.get("csrf")
    if csrf and csrf["cookie"] in browser.cookies:
        headers[csrf["header"]] = browser.cookies[csrf["cookie"]]
    if "json" in request:
        headers["Content-Type"] = "application/json"
        body = json.dumps(request["json"]).encode()
    elif "form" in request:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(request["form"]).encode()
    else:
        body = request["body"].encode() if "body" in request else None
    return browser.ask(request["method"], request["path"], body, headers)


def read_folder(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The people, each with what `login_as` lends them, and the script of requests."""
    people = json.loads((folder / "people.json").read_text(encoding="utf-8"))["people"]
    by_name = {person["name"]: person for person in people}
    whole = [{**by_name[person["login_as"]], **person} if "login_as" in person else person for person in people]
    return whole, json.loads((folder / "requests.json").read_text(encoding="utf-8"))


def name_of(request: dict[str, Any]) -> str:
    return request.get("name") or f"{request['method']} {request['path']}"


def matrix(base: str, folder: Path | str, people: list[str] | None = None,
           methods: list[str] | None = None) -> dict[str, dict[str, str]]:
    """`{person: {request: answer}}` for everybody, or for `people`, and every request, or those of `methods`.

    Each person has one connection and asks in the order of the file. Raises `NotLoggedIn`, and `OSError` where
    nobody answers at `base`.
    """
    everybody, script = read_folder(HERE / folder)
    answers: dict[str, dict[str, str]] = {}
    for person in everybody:
        if people is not None and person["name"] not in people:
            continue
        browser = arrive(base, person, script)
        try:
            answers[person["name"]] = {
                name_of(request): send(browser, request, script).summary()
                for request in script["requests"] if methods is None or request["method"] in methods}
        finally:
            browser.close()
    return answers


def differences(left: dict[str, dict[str, str]], right: dict[str, dict[str, str]]) -> list[str]:
    """A line for each cell that differs, or that only one side has."""
    lines = []
    for person in sorted(left.keys() | right.keys()):
        one, other = left.get(person, {}), right.get(person, {})
        for request in sorted(one.keys() | other.keys()):
            if one.get(request) != other.get(request):
                lines.append(f"{person}: {request}: {one.get(request, 'absent')} / {other.get(request, 'absent')}")
    return lines


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["compare"] and len(arguments) == 3:
        left, right = (json.loads(Path(name).read_text(encoding="utf-8")) for name in arguments[1:])
        found = differences(left, right)
        print("\n".join(found) or "no difference")
        return 1 if found else 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="http://host:port, or unix:/path")
    parser.add_argument("folder", help="atlas or brook, or the path of such a folder")
    parser.add_argument("--people", help="only these, separated by commas")
    parser.add_argument("--methods", help="only these, separated by commas")
    options = parser.parse_args(arguments)
    try:
        answers = matrix(options.base, options.folder, options.people and options.people.split(","),
                         options.methods and options.methods.split(","))
    except (NotLoggedIn, OSError) as error:
        print(f"drive: {options.base}: {error}", file=sys.stderr)
        return 2
    json.dump(answers, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
