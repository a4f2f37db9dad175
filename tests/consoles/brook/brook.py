"""Brook: who works when, in a small garden centre. Flask, sqlite3 and nothing else.

Environment: BROOK_DATABASE (a file, or `postgresql://...` where psycopg is installed), SECRET_KEY, BROOK_SECURE_COOKIES
(`1` over https), USE_GATE (`1` behind console-gate). `python brook.py init` makes the tables, `python brook.py seed`
fills them with the people of people.json.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import sqlite3
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

from flask import Blueprint, Flask, Response, abort, current_app, g, redirect, render_template, request, session, url_for
from werkzeug.security import check_password_hash, generate_password_hash

HERE = Path(__file__).resolve().parent
USE_GATE = os.environ.get("USE_GATE") == "1"
View = Callable[..., Any]


# --- the database ---

class Database:
    """A connection to a file, or to Postgres, for statements that both can read."""

    def __init__(self, name: str) -> None:
        self.is_postgres = name.startswith(("postgres://", "postgresql://"))
        if self.is_postgres:
            import psycopg
            from psycopg.rows import dict_row

            self._connection: Any = psycopg.connect(name, autocommit=True, row_factory=dict_row)
        else:
            self._connection = sqlite3.connect(name, timeout=10)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA foreign_keys = ON")

    def execute(self, statement: str, values: Any = ()) -> Any:
        if self.is_postgres:
            return self._connection.execute(statement.replace("?", "%s"), values)
        return self._connection.execute(statement, values)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with self._connection.transaction() if self.is_postgres else self._connection:
            yield

    def close(self) -> None:
        self._connection.close()


def database() -> Database:
    if "database" not in g:
        g.database = Database(current_app.config["DATABASE"])
    return g.database


def close_database(_error: BaseException | None) -> None:
    connection = g.pop("database", None)
    if connection is not None:
        connection.close()


def one(statement: str, *values: Any) -> Any:
    return database().execute(statement, values).fetchone()


def every(statement: str, *values: Any) -> list[Any]:
    return database().execute(statement, values).fetchall()


def write(statement: str, *values: Any) -> Any:
    with database().transaction():
        return database().execute(statement, values)


# --- who may do what ---

def find_staff(staff_id: int | str) -> Any:
    """A person who still works here."""
    return one("SELECT id, name, role FROM staff WHERE id = CAST(? AS INTEGER) AND left_on IS NULL", staff_id)


def current_staff() -> Any:
    return find_staff(session["staff_id"]) if "staff_id" in session else None


def require_role(*roles: str) -> Callable[[View], View]:
    """`@require_role("boss", "clerk")`: one of these, in the column `role`. `g.admin` is the person."""
    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(**values: Any) -> Any:
            g.admin = current_staff()
            if g.admin is None:
                if request.path.startswith("/api/"):
                    return {"error": "log in"}, 401
                return redirect(url_for("door.login", next=request.path))
            if g.admin["role"] not in roles:
                return {"error": "not for you"}, 403
            return view(**values)
        return guarded
    return decorate


if USE_GATE:
    # console-gate is in front: where it has decided by its V2 roles, `require_role` does not decide a second time.
    from console_gate.flask import ConsoleGate, defer

    require_role = defer(require_role)


# --- logging in ---

door = Blueprint("door", __name__)


def check_csrf() -> Any:
    if request.method in ("GET", "HEAD", "OPTIONS") or "staff_id" not in session:
        return None
    sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf", "")
    if not secrets.compare_digest(sent.encode(), str(session.get("csrf", "")).encode()):
        return {"error": "csrf"}, 400
    return None


@door.get("/login")
def login() -> Any:
    return render_template("login.html", next=request.args.get("next", ""))


@door.post("/login")
def log_in() -> Any:
    person = one("SELECT id, password_hash FROM staff WHERE name = ? AND left_on IS NULL", request.form.get("name", ""))
    if person is None or not check_password_hash(person["password_hash"], request.form.get("password", "")):
        return render_template("login.html", next=request.form.get("next", ""), message="No."), 401
    session.clear()
    session.permanent = True
    session["staff_id"], session["csrf"] = person["id"], secrets.token_hex(16)
    target = request.form.get("next", "")
    response = redirect(target if target.startswith("/") and target[1:2] not in ("/", "\\") else "/")
    response.set_cookie("brook_csrf", session["csrf"], samesite="Lax")
    return response


@door.post("/logout")
def log_out() -> Any:
    session.clear()
    return redirect("/login")


@door.get("/healthz")
def healthz() -> Any:
    return {"ok": True}


# --- the pages ---

pages = Blueprint("pages", __name__)


@pages.get("/")
@require_role("boss", "clerk", "guest")
def week() -> Any:
    return render_template("week.html", person=g.admin, shifts=every("SELECT * FROM shifts ORDER BY day, id"))


@pages.get("/shifts/<int:shift_id>")
@require_role("boss", "clerk", "guest")
def shift(shift_id: int) -> Any:
    found = one("SELECT * FROM shifts WHERE id = ?", shift_id)
    return dict(found) if found is not None else abort(404)


@pages.post("/shifts")
@require_role("boss", "clerk")
def add_shift() -> Any:
    day = request.form.get("day", "")
    if len(day) != 10:
        return {"error": "day"}, 422
    write("INSERT INTO shifts (day, staff_id, note) VALUES (?, ?, ?)", day, g.admin["id"], request.form.get("note", ""))
    return redirect("/", 303)


@pages.route("/shifts/<int:shift_id>", methods=["PUT"])
@require_role("boss", "clerk")
def change_shift(shift_id: int) -> Any:
    changes = request.get_json(silent=True) or {}
    write("UPDATE shifts SET note = ? WHERE id = ?", str(changes.get("note", "")), shift_id)
    return {"id": shift_id}


@pages.route("/shifts/<int:shift_id>", methods=["DELETE"])
@require_role("boss")
def delete_shift(shift_id: int) -> Any:
    write("DELETE FROM shifts WHERE id = ?", shift_id)
    return "", 204


@pages.get("/plants/<path:name>")
@require_role("boss", "clerk", "guest")
def plant(name: str) -> Any:
    found = one("SELECT * FROM plants WHERE name = ?", name)
    return dict(found) if found is not None else abort(404)


@pages.route("/plants/<path:name>", methods=["PATCH"])
@require_role("boss", "clerk")
def count_plant(name: str) -> Any:
    changes = request.get_json(silent=True) or {}
    write("UPDATE plants SET stock = ? WHERE name = ?", int(changes.get("stock", 0)), name)
    return {"name": name}


@pages.get("/wages")
@require_role("boss")
def wages() -> Any:
    return {"wages": [dict(row) for row in every("SELECT name, wage_cents FROM staff ORDER BY name")]}


@pages.get("/staff")
@require_role("boss")
def staff() -> Any:
    return {"staff": [dict(row) for row in every("SELECT id, name, role, left_on FROM staff ORDER BY id")]}


@pages.post("/staff/<int:staff_id>/role")
@require_role("boss")
def change_role(staff_id: int) -> Any:
    role = request.form.get("role", "")
    if role not in ("boss", "clerk", "guest"):
        return {"error": "role"}, 422
    write("UPDATE staff SET role = ? WHERE id = ?", role, staff_id)
    return {"id": staff_id, "role": role}


@pages.post("/staff/<int:staff_id>/leave")
@require_role("boss")
def leave(staff_id: int) -> Any:
    write("UPDATE staff SET left_on = coalesce(left_on, CAST(date('now') AS TEXT)) WHERE id = ?", staff_id)
    return {"id": staff_id}


@pages.get("/api/week.csv")
@require_role("boss", "clerk")
def export() -> Any:
    rows = "".join(f"{row['day']},{row['note']}\n" for row in every("SELECT day, note FROM shifts ORDER BY day, id"))
    return Response("day,note\n" + rows, mimetype="text/csv")


# --- the application ---

def create_app(database_file: str | None = None, secret_key: str | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        DATABASE=database_file or os.environ["BROOK_DATABASE"],
        SECRET_KEY=secret_key or os.environ["SECRET_KEY"],
        SESSION_COOKIE_NAME="brook", SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=os.environ.get("BROOK_SECURE_COOKIES") == "1")
    app.before_request(check_csrf)
    app.teardown_appcontext(close_database)
    app.register_blueprint(door)
    app.register_blueprint(pages)
    if USE_GATE:
        ConsoleGate(app, load_admin=find_staff)
    return app


TABLES = """
CREATE TABLE IF NOT EXISTS staff (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    wage_cents INTEGER NOT NULL,
    left_on TEXT
);
CREATE TABLE IF NOT EXISTS shifts (
    id INTEGER PRIMARY KEY,
    day TEXT NOT NULL,
    staff_id INTEGER REFERENCES staff (id),
    note TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS plants (
    name TEXT PRIMARY KEY,
    stock INTEGER NOT NULL
);
"""


def init(database_name: str) -> None:
    """Makes the tables of an empty database."""
    connection = Database(database_name)
    tables = TABLES
    if connection.is_postgres:
        tables = tables.replace("id INTEGER PRIMARY KEY", "id INTEGER GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY")
    else:
        connection.execute("PRAGMA journal_mode = WAL")
    with connection.transaction():
        for table in filter(str.strip, tables.split(";")):
            connection.execute(table)
    connection.close()


def seed(database_name: str) -> None:
    """Puts the tables back to the people of people.json. They keep their rows."""
    people = json.loads((HERE / "people.json").read_text(encoding="utf-8"))["people"]
    connection = Database(database_name)
    with connection.transaction():
        connection.execute("DELETE FROM shifts")
        connection.execute("DELETE FROM plants")
        for person in people:
            if "id" in person:
                connection.execute(
                    "INSERT INTO staff (id, name, role, password_hash, wage_cents, left_on) VALUES (?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role,"
                    " password_hash = excluded.password_hash, wage_cents = excluded.wage_cents, left_on = excluded.left_on",
                    (person["id"], person["login"], person["role"],
                     generate_password_hash(person["password"], "pbkdf2:sha256:1000"), 2000, person.get("left_on")))
        for number in range(1, 6):
            connection.execute("INSERT INTO shifts (id, day, staff_id, note) VALUES (?, ?, ?, ?)",
                               (number, f"2026-11-{20 + number}", 2, "till"))
        for plant in (("fern", 12), ("roses/red", 40)):
            connection.execute("INSERT INTO plants VALUES (?, ?)", plant)
        if connection.is_postgres:
            connection.execute("ALTER TABLE shifts ALTER COLUMN id RESTART WITH 6")
    connection.close()


if __name__ == "__main__":
    commands = {"init": init, "seed": seed}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](os.environ["BROOK_DATABASE"])
