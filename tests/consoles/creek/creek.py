"""Creek: a lending library, written as strangers write Flask. sqlite3 and nothing else.

Decorators do more than refuse (CSRF, `g.api_token`, `last_used_at`), permissions come from roles, a class-based view has
decorators on the class and on its methods, the table of sessions has only hashes, and who lacks a permission is sent to the
login, as Django does it.

Environment: CREEK_DATABASE (a file), SECRET_KEY, USE_GATE (`1` behind console-gate). `python creek.py init` makes the tables,
`python creek.py seed` fills them with the people of people.json.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import secrets
import sqlite3
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

from flask import Flask, abort, current_app, g, redirect, request, session, url_for
from flask.views import MethodView
from werkzeug.security import check_password_hash, generate_password_hash

HERE = Path(__file__).resolve().parent
USE_GATE = os.environ.get("USE_GATE") == "1"
View = Callable[..., Any]


def database() -> sqlite3.Connection:
    if "database" not in g:
        g.database = sqlite3.connect(current_app.config["DATABASE"], timeout=10)
        g.database.row_factory = sqlite3.Row
        g.database.execute("PRAGMA foreign_keys = ON")
    return g.database


def close_database(_error: BaseException | None) -> None:
    connection = g.pop("database", None)
    if connection is not None:
        connection.close()


def one(statement: str, *values: Any) -> Any:
    return database().execute(statement, values).fetchone()


def write(statement: str, *values: Any) -> int:
    with database():
        return database().execute(statement, values).rowcount


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def now() -> str:
    return datetime.now(timezone.utc).isoformat()


# --- who may do what ---

def find_user(user_id: int | str) -> Any:
    return one("SELECT id, name FROM users WHERE id = CAST(? AS INTEGER) AND is_active = 1", user_id)


def current_user() -> Any:
    """Whose session it is, while the table has its hash."""
    if "user_id" not in session:
        return None
    known = one("SELECT user_id FROM login_sessions WHERE token_hash = ? AND expires_at > ?", sha256(session["sid"]), now())
    return find_user(known["user_id"]) if known is not None and known["user_id"] == session["user_id"] else None


def token_of_request() -> Any:
    _, _, token = request.headers.get("Authorization", "").partition(" ")
    return one("SELECT name, role FROM api_tokens WHERE token_hash = ?", sha256(token))


def roles_of_request() -> set[str]:
    if g.get("api_token") is not None:
        return {g.api_token["role"]}
    rows = database().execute("SELECT r.name FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = ?",
                              [g.admin["id"]])
    return {row["name"] for row in rows}


def has_permission(*permissions: str) -> bool:
    held = database().execute("SELECT r.name, p.permission FROM role_permissions p JOIN roles r ON r.id = p.role_id").fetchall()
    roles = roles_of_request()
    return set(permissions) <= {row["permission"] for row in held if row["name"] in roles}


def touch(token: Any) -> None:
    write("UPDATE api_tokens SET last_used_at = ? WHERE name = ?", now(), token["name"])


def protect() -> None:
    """CSRF, for whoever comes with a session."""
    sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf", "")
    is_safe = request.method in ("GET", "HEAD", "OPTIONS")
    if not is_safe and not secrets.compare_digest(sent.encode(), str(session.get("csrf", "")).encode()):
        abort(400)


def require_role(*roles: str) -> Callable[[View], View]:
    """One of the roles; 403 for everybody else, strangers too."""
    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(*args: Any, **values: Any) -> Any:
            g.admin = current_user()
            if g.admin is None or not roles_of_request() & set(roles):
                return {"error": "forbidden"}, 403
            return view(*args, **values)
        return guarded
    return decorate


def login_required(view: View) -> View:
    @functools.wraps(view)
    def guarded(*args: Any, **values: Any) -> Any:
        g.admin = current_user()
        if g.admin is None:
            return redirect(url_for("login", next=request.path))
        return view(*args, **values)
    return guarded


def permission_required(*permissions: str) -> Callable[[View], View]:
    """All of the permissions; who lacks one is sent to the login, signed in or not."""
    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(*args: Any, **values: Any) -> Any:
            g.admin = current_user()
            if g.admin is None or not has_permission(*permissions):
                return redirect(url_for("login", next=request.path))
            return view(*args, **values)
        return guarded
    return decorate


def api_or_session(*permissions: str) -> Callable[[View], View]:
    """A program's token, or a session with its CSRF token; and all of the permissions."""
    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(*args: Any, **values: Any) -> Any:
            if "Authorization" in request.headers:
                g.api_token = token_of_request()
                if g.api_token is None:
                    return {"error": "token"}, 401
                touch(g.api_token)
            else:
                g.admin = current_user()
                if g.admin is None:
                    return {"error": "login"}, 401
                protect()
            if not has_permission(*permissions):
                return {"error": "forbidden"}, 403
            return view(*args, **values)
        return guarded
    return decorate


if USE_GATE:
    # console-gate is in front. The first two only refuse; the third does more, so its own code runs, and the gate's decision
    # answers what `has_permission` asks there.
    from console_gate.flask import ConsoleGate, defer, role_check

    has_permission = role_check(has_permission)
    require_role = defer(require_role)
    permission_required = defer(permission_required)
    api_or_session = defer(api_or_session, own_code=True)


# --- the pages ---

class Book(MethodView):
    """One book, for who is logged in; to change it takes a permission."""

    decorators = [login_required]

    def get(self, book_id: int) -> Any:
        # A question of the view's own, which no decision of the gate answers.
        return {"book": dict(found(book_id)), "edit": has_permission("books:write")}

    @permission_required("books:write")
    def patch(self, book_id: int) -> Any:
        write("UPDATE books SET title = ? WHERE id = ?", str((request.get_json(silent=True) or {}).get("title", "")), book_id)
        return {"id": book_id, "by": g.admin["name"]}

    @permission_required("books:write", "books:delete")
    def delete(self, book_id: int) -> Any:
        write("DELETE FROM books WHERE id = ?", book_id)
        return "", 204


def found(book_id: int) -> Any:
    return one("SELECT id, title, stock FROM books WHERE id = ?", book_id) or abort(404)


def add_pages(app: Flask) -> None:
    @app.get("/healthz")
    def healthz() -> Any:
        return {"ok": True}

    @app.get("/login")
    def login() -> Any:
        return '<form method="post"><input name="name"><input name="password" type="password"></form>'

    @app.post("/login")
    def log_in() -> Any:
        user = one("SELECT id, password_hash FROM users WHERE name = ? AND is_active = 1", request.form.get("name", ""))
        if user is None or not check_password_hash(user["password_hash"], request.form.get("password", "")):
            return {"error": "no"}, 401
        token = secrets.token_urlsafe(32)
        ends = (datetime.now(timezone.utc) + timedelta(hours=12)).isoformat()
        write("INSERT INTO login_sessions (token_hash, user_id, expires_at) VALUES (?, ?, ?)", sha256(token), user["id"], ends)
        session["user_id"], session["sid"], session["csrf"] = user["id"], token, secrets.token_hex(16)
        response = redirect("/")
        response.set_cookie("creek_csrf", session["csrf"], samesite="Lax")
        return response

    @app.post("/logout")
    def log_out() -> Any:
        write("DELETE FROM login_sessions WHERE token_hash = ?", sha256(session.get("sid", "")))
        session.clear()
        return redirect("/login")

    @app.get("/")
    @login_required
    def home() -> Any:
        return {"name": g.admin["name"]}

    @app.get("/reports")
    @require_role("admin")
    def reports() -> Any:
        return {"loans": one("SELECT count(*) AS n FROM books WHERE stock = 0")["n"]}

    app.add_url_rule("/books/<int:book_id>", view_func=Book.as_view("book"))

    @app.get("/api/books")
    @api_or_session("books:read")
    def books() -> Any:
        return {"titles": [row["title"] for row in database().execute("SELECT title FROM books ORDER BY id")]}

    @app.patch("/api/books/<int:book_id>")
    @api_or_session("books:write")
    def change(book_id: int) -> Any:
        return {"id": book_id, "by": g.api_token["name"] if "api_token" in g else g.admin["name"]}

    @app.post("/api/books/<int:book_id>/lend")
    @api_or_session("books:write", "loans:write")
    def lend(book_id: int) -> Any:
        return {"lent": found(book_id)["id"]}


def check_csrf() -> None:
    """The API's decorators do it for themselves."""
    if "user_id" in session and not request.path.startswith("/api/"):
        protect()


def create_app(database_file: str | None = None, secret_key: str | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(DATABASE=database_file or os.environ["CREEK_DATABASE"], SECRET_KEY=secret_key or os.environ["SECRET_KEY"])
    app.config["SESSION_COOKIE_NAME"] = "creek"
    app.before_request(check_csrf)
    app.teardown_appcontext(close_database)
    add_pages(app)
    if USE_GATE:
        ConsoleGate(app, load_admin=find_user)
    return app


TABLES = """
CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, password_hash TEXT, is_active INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS roles (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS role_permissions (role_id INTEGER REFERENCES roles (id), permission TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS user_roles (
    granted_by INTEGER REFERENCES users (id),
    role_id INTEGER REFERENCES roles (id),
    user_id INTEGER REFERENCES users (id),
    PRIMARY KEY (user_id, role_id)
);
CREATE TABLE IF NOT EXISTS login_sessions (token_hash TEXT PRIMARY KEY, user_id INTEGER REFERENCES users (id), expires_at TEXT);
CREATE TABLE IF NOT EXISTS api_tokens (name TEXT PRIMARY KEY, token_hash TEXT UNIQUE, role TEXT, last_used_at TEXT);
CREATE TABLE IF NOT EXISTS books (id INTEGER PRIMARY KEY, title TEXT NOT NULL, stock INTEGER NOT NULL);
"""
PERMISSIONS = {"admin": ("books:read", "books:write", "books:delete", "loans:write"),
               "librarian": ("books:read", "books:write", "loans:write"), "reader": ("books:read",)}


def init(database_name: str) -> None:
    """Makes the tables of an empty database."""
    connection = sqlite3.connect(database_name)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(TABLES)
    connection.close()


def seed(database_name: str) -> None:
    """Puts the tables back to the people of people.json. They keep their rows."""
    people = json.loads((HERE / "people.json").read_text(encoding="utf-8"))["people"]
    connection = sqlite3.connect(database_name, timeout=10)
    with connection:
        for table in ("books", "user_roles", "role_permissions"):
            connection.execute(f"DELETE FROM {table}")
        for number, (role, permissions) in enumerate(PERMISSIONS.items(), 1):
            connection.execute("INSERT INTO roles VALUES (?, ?) ON CONFLICT DO NOTHING", (number, role))
            connection.executemany("INSERT INTO role_permissions VALUES (?, ?)", [(number, each) for each in permissions])
        for person in people:
            if "bearer" in person and "role" in person:
                connection.execute("INSERT INTO api_tokens VALUES (?, ?, ?, NULL) ON CONFLICT (name) DO UPDATE SET last_used_at = NULL",
                                   (person["name"], sha256(person["bearer"]), person["role"]))
            elif "id" in person:
                connection.execute("INSERT INTO users VALUES (?, ?, ?, 1) ON CONFLICT (id) DO UPDATE SET is_active = 1", (
                    person["id"], person["login"], generate_password_hash(person["password"], "pbkdf2:sha256:1000")))
                connection.execute("INSERT INTO user_roles SELECT 1, id, ? FROM roles WHERE name = ?", (person["id"], person["role"]))
        connection.executemany("INSERT INTO books VALUES (?, ?, ?)", [(1, "Emma", 2), (2, "Ulysses", 0)])
    connection.close()


if __name__ == "__main__":
    commands = {"init": init, "seed": seed}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](os.environ["CREEK_DATABASE"])
