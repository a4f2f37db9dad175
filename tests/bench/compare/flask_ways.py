"""The ways to check roles of a Flask application, each with gunicorn and what belongs to it on one core.

The application reads Console's tables out of a SQLite file, the gate its own out of another: to open the gate's, with all its
triggers, for each request would make the decorators dearer than they are.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from pathlib import Path

from peers import GATE, KEYS, PUSH, SQLITE, STRICT, add_admin, prepare_gate
from scene import PEER_CORE, ROOT, Peer, Scene

from ports import free_port  # Where `scene` looks too.  # isort: skip

GUNICORN = Path(sys.executable).parent / "gunicorn"
HERE = Path(__file__).resolve().parent


def write_console(file: Path) -> None:
    """Console's tables, with anna."""
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript("""
            PRAGMA journal_mode = WAL;
            CREATE TABLE admins (id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, disabled_at_utc TEXT);
            CREATE TABLE admin_roles (admin_id TEXT NOT NULL REFERENCES admins(id), role TEXT NOT NULL, PRIMARY KEY (admin_id, role));
        """)
    add_admin(str(file))


def make(scene: Scene, name: str, check: str, freshness: str | None) -> Peer:
    folder, port = scene.folder / name, free_port()
    socket = f"unix:{scene.folder}/{name}.sock"
    if freshness is None:
        folder.mkdir()
    else:
        prepare_gate(folder, port, socket, SQLITE, freshness)
    write_console(folder / "console.sqlite")
    gunicorn = scene.start(
        f"{name}-gunicorn", PEER_CORE,
        [GUNICORN, "--workers=1", "--worker-class=gthread", "--threads=4", "--keep-alive=600", "--no-control-socket",
         f"--bind={f'127.0.0.1:{port}' if freshness is None else socket}", "console_app:create_app()"],
        HERE, **KEYS, CONSOLE_GATE_EXEMPT_PATHS="/healthz", BENCH_CHECK=check, BENCH_DATABASE=str(folder / "console.sqlite"),
        PYTHONPATH=str(ROOT / "deploy" / "flask"))
    if freshness is None:
        return Peer(name, port, [gunicorn], denies=200 if check == "none" else 403)
    gate = scene.start(name, PEER_CORE, [GATE, "serve", "--config", "gate.toml"], folder, **KEYS)
    return Peer(name, port, [gunicorn, gate])


# What of the application checks, and the freshness of the gate before it.
WAYS: dict[str, tuple[str, str | None]] = {
    "flask": ("none", None),
    "flask-sqlite": ("sqlite", None),
    "flask-sqlalchemy": ("sqlalchemy", None),
    "flask-gate-push": ("none", PUSH),
    "flask-gate-strict": ("none", STRICT),
    "flask-gate-push-middleware": ("middleware", PUSH),
    "flask-gate-strict-middleware": ("middleware", STRICT),
    "flask-gate-push-lines": ("lines", PUSH),
}
MAKERS = {name: lambda scene, name, way=way: make(scene, name, *way) for name, way in WAYS.items()}
