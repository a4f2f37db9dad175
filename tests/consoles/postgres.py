"""A Postgres server of the caller's own, over TCP, or databases on a server that runs already.

    with Postgres() as server:      its own, or that of TEST_DATABASE_URL; with `own=True` always its own
        url = server.database()

The server lives in a folder below /tmp (the path of a socket is limited to 107 bytes) and ends with the block.

    url = shared().copy(shared().template("shop", fill))

`shared()` is one server for all tests that do not ask what a crash or a standby makes of one: that of TEST_DATABASE_URL,
which the test runner sets; else one that ends with this process, in memory where /dev/shm has room. `fill(url)` fills a template once; each copy is a database of its own.
"""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Callable

import psycopg

from ports import free_port

START_SECONDS = 60
DISK, MEMORY = Path("/tmp"), Path("/dev/shm")
# So much of it must be free before a server goes there.
MEMORY_BYTES = 6 << 30
# Settings of a server that no test crashes: a commit need not outlive it.
UNCRASHED = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def programs() -> Path:
    """The folder with `initdb` and `postgres`; Debian keeps them out of PATH."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: -int(folder.parent.name))
    for folder in [*map(Path, os.environ.get("PATH", "").split(os.pathsep)), *packaged]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise FileNotFoundError("no Postgres server: install `postgresql`, or name a running one in TEST_DATABASE_URL")


class Postgres:
    def __init__(self, *settings: str, own: bool = False, place: Path = DISK, tcp: bool = True) -> None:
        """`settings` are `name=value`, of a server of the caller's own below `place`; without `tcp` on a Unix socket alone."""
        self._settings, self._place, self._tcp = settings, place, tcp
        self._running = "" if own else os.environ.get("TEST_DATABASE_URL", "")

    def __enter__(self) -> Postgres:
        self._server: subprocess.Popen[bytes] | None = None
        self.maintenance = self._running
        if not self.maintenance:
            self._start()
        return self

    def _start(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="gate-pg-", dir=self._place))
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
            port, address = (free_port(), "127.0.0.1") if self._tcp else (5432, "")
            server = [programs() / "postgres", "-D", folder / "data", "-c", f"listen_addresses={address}", "-c", f"port={port}",
                      "-c", f"unix_socket_directories={folder}",
                      *(word for one in self._settings for word in ("-c", one))]
            self._server = subprocess.Popen(server, stdout=log, stderr=log, **quiet)
        self.maintenance = f"postgres://postgres@127.0.0.1:{port}/postgres" if self._tcp else \
            f"postgres://postgres@localhost:5432/postgres?host={folder}"
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.maintenance).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._server.poll() is not None:
                    log_text = (folder / "log").read_text(errors="replace")
                    self.__exit__()
                    raise RuntimeError(f"Postgres did not start:\n{log_text}") from None
                time.sleep(0.02)

    def database(self) -> str:
        """The URL of a new, empty database."""
        return self._create("TEMPLATE template0")

    def template(self, name: str, fill: Callable[[str], None], base: str = "template0") -> str:
        """`name`, of a database that `fill(url)` has filled, by whichever process asked for it first."""
        filling = f"{name}_filling"
        with psycopg.connect(self.maintenance, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                connection.execute(f"DROP DATABASE IF EXISTS {filling}")
                connection.execute(f"CREATE DATABASE {filling} TEMPLATE {base}")
                fill(self._url(filling))
                connection.execute(f"ALTER DATABASE {filling} RENAME TO {name}")
        return name

    def copy(self, template: str) -> str:
        """The URL of a new database that has what a template has."""
        with psycopg.connect(self.maintenance) as connection:
            # Older ones copy files without being asked to.
            strategy = " STRATEGY FILE_COPY" if connection.info.server_version >= 150_000 else ""
        return self._create(f"TEMPLATE {template}{strategy}")

    def _create(self, how: str) -> str:
        name = f"console_{uuid.uuid4().hex}"
        with psycopg.connect(self.maintenance, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {how}")
        return self._url(name)

    def _url(self, database: str) -> str:
        base, _, query = self.maintenance.partition("?")
        return base.rpartition("/")[0] + "/" + database + ("?" + query if query else "")

    def __exit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait()
            shutil.rmtree(self._folder, ignore_errors=True)


def roomy_place() -> Path:
    """Memory, where there is enough of it."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES else DISK


@functools.cache
def shared() -> Postgres:
    """The server of all tests of this process."""
    server = Postgres(*UNCRASHED, place=roomy_place()).__enter__()
    atexit.register(server.__exit__)
    return server
