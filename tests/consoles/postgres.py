"""A Postgres server of the caller's own, without a port, or databases on the server of TEST_DATABASE_URL.

    with Postgres() as server:
        url = server.database()

The server lives in a folder below /tmp (the path of a socket is limited to 107 bytes) and ends with the block.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg

START_SECONDS = 60


def programs() -> Path:
    """The folder with `initdb` and `postgres`; Debian keeps them out of PATH."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: -int(folder.parent.name))
    for folder in [*map(Path, os.environ.get("PATH", "").split(os.pathsep)), *packaged]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise FileNotFoundError("no Postgres server: install `postgresql`, or name a running one in TEST_DATABASE_URL")


class Postgres:
    def __init__(self, *settings: str) -> None:
        """`settings` are `name=value`, of a server of the caller's own."""
        self._settings = settings

    def __enter__(self) -> Postgres:
        self._server: subprocess.Popen[bytes] | None = None
        self._maintenance = os.environ.get("TEST_DATABASE_URL", "")
        if not self._maintenance:
            self._start()
        return self

    def _start(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="gate-pg-", dir="/tmp"))
        self._folder = folder
        who: dict[str, Any] = {}
        if os.geteuid() == 0:  # Postgres refuses to run as root.
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        quiet: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL, **who}
        with open(folder / "log", "wb") as log:
            initdb = [programs() / "initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8",
                      "--locale=C", "-D", folder / "data"]
            subprocess.run(initdb, check=True, stdout=log, stderr=log, **quiet)
            server = [programs() / "postgres", "-D", folder / "data", "-c", "listen_addresses=", "-c", "fsync=off",
                      "-c", f"unix_socket_directories={folder}", *(word for one in self._settings for word in ("-c", one))]
            self._server = subprocess.Popen(server, stdout=log, stderr=log, **quiet)
        self._maintenance = f"postgres://postgres@localhost:5432/postgres?host={folder}"
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self._maintenance).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._server.poll() is not None:
                    log_text = (folder / "log").read_text(errors="replace")
                    self.__exit__()
                    raise RuntimeError(f"Postgres did not start:\n{log_text}") from None
                time.sleep(0.02)

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"console_{uuid.uuid4().hex}"
        with psycopg.connect(self._maintenance, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        base, _, query = self._maintenance.partition("?")
        return base.rpartition("/")[0] + "/" + name + ("?" + query if query else "")

    def __exit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait()
            shutil.rmtree(self._folder, ignore_errors=True)
