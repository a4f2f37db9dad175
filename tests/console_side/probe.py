"""Asks a Flask app for each of its rules, and a little beside them: who runs, and whom it lets pass.

    probe.py APP [HOST ...]

Writes JSON: for each request its method, host, path and kind, the endpoint of the view that ran (or null), and which
of the four roles get to it.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import re
import sys

from flask import Flask
from werkzeug.test import Client

ROLES = ["superadmin", "ops", "support", "readonly"]
SAMPLES = {"int": "7", "float": "1.5", "path": "a/b", "uuid": "0b1c2d3e-4f50-4172-8394-a5b6c7d8e9f0", "slug": "some-name"}
VARIABLE = re.compile(r"<(?:(\w+)(?:\((.*?)\))?:)?(\w+)>")
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
SOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x"}


def dump_routes():
    path = pathlib.Path(__file__).resolve().parents[2] / "deploy/flask/dump_routes.py"
    spec = importlib.util.spec_from_file_location("dump_routes", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mark(app: Flask) -> None:
    """Makes each view say that it ran."""

    def marked(endpoint, view):
        def run(*args, **kwargs):
            response = app.make_response(view(*args, **kwargs))
            response.headers["X-View"] = endpoint
            return response

        return run

    for endpoint, view in list(app.view_functions.items()):
        app.view_functions[endpoint] = marked(endpoint, view)


def sample(rule: str) -> str:
    def value(variable):
        if variable[1] == "any":
            return variable[2].split(",")[0].strip("'\" ")
        return SAMPLES.get(variable[1] or "", "value")

    return re.sub("/{2,}", "/", VARIABLE.sub(value, rule))


def paths_of(rules: list[str]) -> list[str]:
    paths = {sample(rule) for rule in rules}
    paths |= {path.rstrip("/") or "/" for path in paths} | {path.rstrip("/") + "/" for path in paths}
    # What no static rule is, and what another `int` would take.
    return sorted(paths | {"/other", "/other/", "/hex/ff", "/metrics/below"})


def ask(client: Client, method: str, host: str, path: str, websocket: bool, roles: list[str]):
    headers = {"X-Roles": ",".join(roles), **(SOCKET if websocket else {})}
    response = client.open(path, method=method, base_url=f"http://{host}", headers=headers)
    return response.headers.get("X-View")


def main() -> None:
    tool = dump_routes()
    found = tool.load(sys.argv[1])
    document = tool.Dump(found)
    for app in document.apps:
        mark(app)
    client = Client(found)
    answers = []
    for host in sys.argv[2:] or ["localhost"]:
        for path in paths_of([rule["rule"] for rule in document.rules]):
            for websocket in (False, True):
                for method in METHODS if not websocket else ["GET"]:
                    request = (client, method, host, path, websocket)
                    view = ask(*request, ROLES)
                    roles = [role for role in ROLES if ask(*request, [role]) == view] if view else []
                    answers.append({"method": method, "host": host, "path": path, "websocket": websocket, "view": view, "roles": roles})
    json.dump(answers, sys.stdout, indent=1)


main()
