"""Flask apps with rules at random, run: their dumps, and which view answers each request.

    random_apps.py SEED COUNT            writes a dump and answers for each app
    random_apps.py SEED COUNT --ask FILE   writes which views answer other requests: [[app, method, path], ...]

The same seed makes the same apps.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import random
import sys

from flask import Flask
from werkzeug.test import create_environ

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEGMENTS = ["a", "b", "a", "b", "<>", "<>", "<int:>", "<int(max=5):>", "<any(a,b):>", "x<>", "<path:>"]
METHODS = ["GET", "HEAD", "POST", "DELETE", "OPTIONS"]
WORDS = ["a", "b", "xa", "7", "3", "zz"]
HOSTS = ["console.test", "api.console.test", "other.console.test"]
SOCKET = {"HTTP_CONNECTION": "Upgrade", "HTTP_UPGRADE": "websocket"}
ENVIRON = create_environ()


def dump_routes():
    spec = importlib.util.spec_from_file_location("dump_routes", ROOT / "deploy/flask/dump_routes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rule_at_random(pick: random.Random) -> str:
    rule = ""
    for number in range(pick.choice([1, 1, 2, 2, 3])):
        rule += "/" + pick.choice(SEGMENTS).replace(">", f"v{number}>")
        if "<path:" in rule and pick.random() < 0.7:
            break
    return rule + pick.choice(["", "", "/"])


def options_at_random(pick: random.Random, with_hosts: bool) -> dict:
    options: dict = {"methods": pick.choice([["GET"], ["GET"], ["POST"], ["GET", "POST"], ["HEAD", "DELETE"]])}
    if pick.random() < 0.4:
        options["strict_slashes"] = False
    if with_hosts and pick.random() < 0.4:
        options["subdomain"] = pick.choice(["api", "<sub>"])
    if options["methods"] == ["GET"] and pick.random() < 0.1:
        options["websocket"] = True
    elif pick.random() < 0.1:
        options.update(methods=[*options["methods"], "OPTIONS"], provide_automatic_options=False)
    if pick.random() < 0.05:
        options["build_only"] = True
    return options


def app_at_random(pick: random.Random) -> Flask:
    with_hosts = pick.random() < 0.3
    app = Flask(__name__, static_folder=None, subdomain_matching=with_hosts)
    app.config["SERVER_NAME"] = HOSTS[0]
    for number in range(pick.randint(1, 6)):
        name = f"view{number}"

        def view(endpoint=name, **values):
            response = app.make_response("")
            response.headers["X-View"] = endpoint
            return response

        app.add_url_rule(rule_at_random(pick), name, view, **options_at_random(pick, with_hosts))
    return app


def views(app: Flask, method: str, path: str) -> set[str]:
    """The views that answer: asked on each host if rules have hosts, and as a WebSocket if one of them is one."""
    rules = list(app.url_map.iter_rules())
    hosts = HOSTS if any(rule.subdomain for rule in rules) else HOSTS[:1]
    kinds = [{}, SOCKET] if any(rule.websocket for rule in rules) else [{}]
    found = set()

    def start_response(_status, headers, _info=None):
        found.update(value for name, value in headers if name == "X-View")

    for host in hosts:
        for kind in kinds:
            environ = {**ENVIRON, "HTTP_HOST": host, "REQUEST_METHOD": method, "PATH_INFO": path, **kind}
            app(environ, start_response).close()
    return found


def paths(pick: random.Random) -> list[str]:
    found = {"/"}
    for _ in range(40):
        path = "".join("/" + pick.choice(WORDS) for _ in range(pick.randint(1, 3)))
        found |= {path, path + "/"}
    return sorted(found)


def main() -> None:
    pick = random.Random(int(sys.argv[1]))
    apps = [app_at_random(pick) for _ in range(int(sys.argv[2]))]
    if "--ask" in sys.argv:
        with open(sys.argv[-1], encoding="utf-8") as file:
            asked = json.load(file)
        answers = [sorted(views(apps[app], method, path)) for app, method, path in asked]
        return json.dump(answers, sys.stdout)
    tool, known = dump_routes(), []
    for app in apps:
        requests = [(method, path) for path in paths(pick) for method in METHODS]
        answers = [[method, path, sorted(views(app, method, path))] for method, path in requests]
        known.append({"dump": tool.Dump(app).document(), "answers": [answer for answer in answers if answer[2]]})
    return json.dump(known, sys.stdout)


main()
