"""The Console of these tests: a Flask application that says what WSGI saw, and one of each kind of answer.

    gunicorn --worker-class gthread --threads 16 'console:create_app()'

CLIENTS_FILE names the file that `/answer/file` sends. What is under `/fixed` is the same application behind Werkzeug's
ProxyFix.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import time
from typing import Any, Callable, Iterator

from flask import Flask, Response, abort, jsonify, make_response, redirect, request, send_file, session, url_for
from flask_wtf import CSRFProtect, FlaskForm
from simple_websocket import ConnectionClosed, Server
from werkzeug.middleware.proxy_fix import ProxyFix
from wtforms import StringField

SECRET = "a secret of the tests"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
PIECE = b"0123456789abcdef"

PAGE = """<!doctype html><meta charset="utf-8"><title>clients</title>
<form id="get" action="/echo/form"><input name="q"><input name="a[]"></form>
<form id="post" action="/echo/form" method="post"><input name="q"><textarea name="text"></textarea></form>
<form id="plain" action="/echo/form" method="post" enctype="text/plain"><input name="q"></form>
<form id="files" action="/echo/form" method="post" enctype="multipart/form-data">
<input name="q"><input type="file" name="file" multiple></form>
"""


class NameForm(FlaskForm):
    """A form that Flask-WTF guards: its token, and over TLS its Referer."""

    name = StringField("name")


def text(value: str) -> str:
    """WSGI's strings are bytes as Latin-1; JSON shows them so that each byte is seen."""
    return value.encode("latin-1").decode("utf-8", "backslashreplace")


def seen() -> dict[str, Any]:
    """The request as WSGI and Flask saw it."""
    environ = request.environ
    body = request.get_data(cache=True, parse_form_data=False)
    uploads = {
        name: [[file.filename, file.content_type, len(data := file.read()), digest(data)] for file in files]
        for name, files in request.files.lists()}
    return {
        "method": environ["REQUEST_METHOD"],
        "raw": environ["RAW_URI"],
        "script": text(environ["SCRIPT_NAME"]),
        "path": text(environ["PATH_INFO"]),
        "query": text(environ["QUERY_STRING"]),
        "headers": {key[5:].replace("_", "-").lower(): text(value)
                    for key, value in sorted(environ.items()) if key.startswith("HTTP_")},
        "type": text(environ.get("CONTENT_TYPE", "")),
        "length": environ.get("CONTENT_LENGTH"),
        "body": {"length": len(body), "sha256": digest(body), "start": base64.b64encode(body[:96]).decode()},
        "client": environ.get("REMOTE_ADDR"),
        "view": request.url_rule.rule if request.url_rule else None,
        "values": request.view_args,
        "args": [[key, value] for key, value in request.args.items(multi=True)],
        "form": [[key, value] for key, value in request.form.items(multi=True)],
        "files": uploads,
        "cookies": [[key, value] for key, value in request.cookies.items(multi=True)],
        "session": dict(session),
        "scheme": request.scheme,
        "host": request.host,
        "url": request.url,
    }


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pieces(number: int, pause: float = 0, size: int = 16) -> Iterator[bytes]:
    for index in range(number):
        if pause:
            time.sleep(pause)
        yield (PIECE * (size // 16 + 1))[:size - 1] + b"\n" if size > 1 else b"x"


def create_app() -> Callable[..., Any]:
    app = Flask(__name__)
    app.config.update(SECRET_KEY=SECRET, MAX_FORM_MEMORY_SIZE=None, WTF_CSRF_CHECK_DEFAULT=False, WTF_CSRF_TIME_LIMIT=None)
    csrf = CSRFProtect(app)
    routes_of_requests(app)
    routes_of_answers(app)
    routes_of_forms(app, csrf)
    routes_of_streams(app)

    plain = app.wsgi_app
    fixed = ProxyFix(plain, x_for=1, x_proto=1, x_host=1)

    def by_prefix(environ: dict[str, Any], start_response: Any) -> Any:
        return (fixed if environ["PATH_INFO"].startswith("/fixed/") else plain)(environ, start_response)

    app.wsgi_app = by_prefix  # type: ignore[method-assign]
    return app


def routes_of_requests(app: Flask) -> None:
    def echo(**_values: Any) -> Response:
        return jsonify(seen())

    app.add_url_rule("/", "root", echo)
    app.add_url_rule("/echo", "echo", echo, methods=METHODS)
    app.add_url_rule("/echo/<path:rest>", "echo_path", echo, methods=METHODS)
    app.add_url_rule("/segment/<name>", "segment", echo, methods=METHODS)
    app.add_url_rule("/segment/<name>/more", "segment_more", echo)
    app.add_url_rule("/number/<int:number>", "number", echo)
    app.add_url_rule("/only-get", "only_get", echo)
    app.add_url_rule("/only-post", "only_post", echo, methods=["POST"])
    app.add_url_rule("/fixed/echo", "fixed_echo", echo, methods=METHODS)
    app.add_url_rule("/free/echo", "free_echo", echo, methods=["GET", "POST"])

    @app.route("/me")
    def me() -> Any:
        """A page for those who are logged in."""
        if "admin_id" not in session:
            return redirect("/auth/login")
        return jsonify({"admin_id": session["admin_id"], "cookies": [[k, v] for k, v in request.cookies.items(multi=True)]})

    @app.route("/auth/login")
    def login() -> Any:
        """Where the gate sends a stranger; a browser that follows knows it by the field."""
        return Response("log in\n", headers={"X-Login": "here"})

    @app.route("/healthz")
    def healthz() -> str:
        return "ok"


def routes_of_answers(app: Flask) -> None:
    @app.route("/answer/status/<int:code>", methods=METHODS)
    def status(code: int) -> Any:
        return Response("" if code in (204, 304) else f"status {code}\n", status=code)

    @app.route("/answer/reason")
    def reason() -> Any:
        return Response("odd reason\n", status="299 Quite Something")

    @app.route("/answer/stream")
    def stream() -> Any:
        """An answer without a length."""
        return Response(pieces(int(request.args.get("n", 20)), float(request.args.get("pause", 0)), int(request.args.get("size", 16))),
                        mimetype="text/plain")

    @app.route("/answer/large")
    def large() -> Any:
        """An answer with a length."""
        size = int(request.args.get("size", 1 << 20))
        return Response((PIECE * (size // 16 + 1))[:size], mimetype="application/octet-stream")

    @app.route("/answer/length-and-stream")
    def length_and_stream() -> Any:
        return Response(pieces(20), headers={"Content-Length": "320"}, mimetype="text/plain")

    @app.route("/answer/file")
    def file() -> Any:
        """Range, If-Range, If-None-Match and If-Modified-Since are Werkzeug's."""
        return send_file(os.environ["CLIENTS_FILE"], mimetype="application/octet-stream", conditional=True,
                         as_attachment="save" in request.args, download_name="räport 2.bin")

    @app.route("/answer/gzip")
    def gzipped() -> Any:
        data = PIECE * 4096
        answer = Response(data, mimetype="text/plain", headers={"Vary": "Accept-Encoding"})
        if "gzip" in request.accept_encodings:
            answer.set_data(gzip.compress(data, mtime=0))
            answer.headers["Content-Encoding"] = "gzip"
        return answer

    @app.route("/answer/events")
    def events() -> Any:
        def generate() -> Iterator[str]:
            for index in range(int(request.args.get("n", 5))):
                yield f"id: {index}\nevent: tick\ndata: {index}\ndata: more\n\n"
                time.sleep(float(request.args.get("pause", 0.02)))
        return Response(generate(), mimetype="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    @app.route("/answer/redirect", methods=METHODS)
    def redirected() -> Any:
        return redirect(request.args.get("to", "/echo"), int(request.args.get("code", 302)))

    @app.route("/answer/external")
    @app.route("/fixed/external", endpoint="fixed_external")
    def external() -> Any:
        return jsonify({"external": url_for("echo", _external=True), "https": url_for("echo", _external=True, _scheme="https"),
                        "host": request.host, "scheme": request.scheme, "root": request.url_root})

    @app.route("/answer/redirect-external")
    @app.route("/fixed/redirect-external", endpoint="fixed_redirect_external")
    def redirect_external() -> Any:
        return redirect(url_for("echo", _external=True, a="b"))

    @app.route("/answer/slash/")
    def slash() -> Any:
        return jsonify(seen())

    @app.route("/fixed/slash/", endpoint="fixed_slash")
    def fixed_slash() -> Any:
        return jsonify(seen())

    @app.route("/answer/cookies")
    def cookies() -> Any:
        answer = make_response("cookies\n")
        host = request.host.partition(":")[0]
        answer.set_cookie("plain", "1")
        answer.set_cookie("full", "a b", path="/answer", httponly=True, samesite="Lax", max_age=60)
        answer.set_cookie("domain", "2", domain=host)
        answer.set_cookie("other", "3", domain="sibling.test")
        answer.headers.add("Set-Cookie", "bare=x; Domain=.sibling.test; Secure; Partitioned")
        answer.headers.add("Set-Cookie", 'quoted="a, b"; Path=/')
        answer.delete_cookie("gone")
        return answer

    @app.route("/answer/headers")
    def headers() -> Any:
        answer = make_response("headers\n")
        for index in range(40):
            answer.headers.add(f"X-Many-{index}", "v" * index)
        answer.headers["X-Long"] = "l" * 7000
        answer.headers["X-Latin"] = "caf\u00e9"
        answer.headers["X-Empty"] = ""
        answer.headers["X-Odd_Name.1"] = "odd"
        answer.headers["X_Under"] = "under"
        answer.headers.add("X-Twice", "1")
        answer.headers.add("X-Twice", "2, 3")
        answer.headers.add("Link", "</a>; rel=preload")
        answer.headers.add("Link", "</b>; rel=preload")
        answer.headers["Content-Security-Policy"] = "default-src 'self'"
        answer.headers["WWW-Authenticate"] = 'Basic realm="x", Bearer'
        answer.headers["Refresh"] = "5; url=/echo"
        answer.headers["Content-Disposition"] = "attachment; filename=a.txt; filename*=UTF-8''%E2%82%AC.txt"
        return answer

    @app.route("/answer/cors", methods=["GET", "POST", "OPTIONS"])
    def cors() -> Any:
        """What Flask-CORS does, for the one origin."""
        answer = make_response("" if request.method == "OPTIONS" else "cors\n")
        answer.headers["Vary"] = "Origin"
        if request.headers.get("Origin") == "https://other.test":
            answer.headers["Access-Control-Allow-Origin"] = "https://other.test"
            answer.headers["Access-Control-Allow-Headers"] = request.headers.get("Access-Control-Request-Headers", "")
            answer.headers["Access-Control-Allow-Methods"] = "GET, POST"
        return answer

    @app.route("/answer/small", methods=["POST", "PUT"])
    def small() -> Any:
        """413 by Flask, for more than 1 KiB; the body is not read before."""
        request.max_content_length = 1024
        return jsonify({"length": len(request.get_data())})

    @app.route("/answer/early", methods=["POST", "PUT"])
    def early() -> Any:
        """An answer that does not wait for the body."""
        return Response("early\n", status=int(request.args.get("code", 200)))

    @app.route("/answer/close")
    def close() -> Any:
        return Response("closing\n", headers={"Connection": "close"})

    @app.route("/answer/basic")
    def basic() -> Any:
        if request.authorization is None:
            return Response("who are you\n", 401, {"WWW-Authenticate": 'Basic realm="clients"'})
        return jsonify({"user": request.authorization.username, "password": request.authorization.password,
                        "type": request.authorization.type})

    @app.route("/answer/not-here")
    def not_here() -> Any:
        abort(404)

    @app.route("/answer/broken")
    def broken() -> Any:
        abort(500)


def routes_of_forms(app: Flask, csrf: CSRFProtect) -> None:
    def form() -> Any:
        """Flask-WTF: without a token, or over TLS without a Referer of this host, it answers 400."""
        if request.method == "POST":
            csrf.protect()
            return jsonify({"form": request.form.get("name"), "scheme": request.scheme})
        page = NameForm()
        return f'<!doctype html><title>form</title><form id="form" method="post">{page.csrf_token}{page.name}</form>'

    app.add_url_rule("/form", "form", form, methods=["GET", "POST"])
    app.add_url_rule("/fixed/form", "fixed_form", form, methods=["GET", "POST"])

    @app.route("/page")
    def page() -> str:
        return PAGE


def routes_of_streams(app: Flask) -> None:
    class Taken(Response):
        """The socket speaks HTTP no more: there is nothing for gunicorn to write, and this is how it is made to know."""

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            raise StopIteration

    @app.route("/socket", websocket=True)
    def socket() -> Any:
        """Sends back what it gets, text and bytes; `close` ends it."""
        socket = Server(request.environ, subprotocols=["echo.v1"], max_message_size=1 << 22)
        try:
            while (message := socket.receive()) != "close":
                socket.send(message)
            socket.close(1000, "asked to")
        except ConnectionClosed:
            pass
        return Taken()
