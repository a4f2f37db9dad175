"""What a gate does when it meets a standby: nothing is timed, what happens is printed.

    .venv/bin/python tests/bench/growth/standby.py [--freshness push]

A primary with a streaming standby, and a gate that reaches its database through a link to a folder of sockets. `serve`, `doctor` and
`check` at the standby; then the link moves, as a name does, and a membership ends at the primary while the standby does not apply.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from ground import ALLOWED, DENIED, GATE, KEYS, ROUTES, Ground, Postgres  # noqa: E402

import psycopg  # noqa: E402
from scene import Peer  # noqa: E402


def programs() -> Path:
    """Those of Debian: `pg_basebackup` may be nowhere else."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))


class Standby:
    """A streaming standby of a server, with its socket in a folder of its own."""

    def __init__(self, primary: Postgres) -> None:
        self.primary = primary

    def __enter__(self) -> Standby:
        self.folder = Path(tempfile.mkdtemp(prefix="gate-pg-", dir="/tmp"))
        owner = self.primary._folder.stat()
        os.chown(self.folder, owner.st_uid, owner.st_gid)
        who: dict[str, Any] = {"cwd": self.folder}
        if os.geteuid() == 0:
            who |= {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        subprocess.run([programs() / "pg_basebackup", "-h", self.primary._folder, "-U", "postgres", "-D", self.folder / "data", "-R",
                        "--checkpoint=fast"],
                       check=True, **who)
        self.server = subprocess.Popen([programs() / "postgres", "-D", self.folder / "data", "-c", "listen_addresses=", "-c", "fsync=off",
                                        "-c", f"unix_socket_directories={self.folder}", "-c", "max_connections=300"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who)
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.send_signal(signal.SIGQUIT)
        self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, url: str) -> str:
        return url.replace(str(self.primary._folder), str(self.folder))


def patiently(url: str) -> psycopg.Connection[Any]:
    deadline = time.monotonic() + 60
    while True:
        try:
            return psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def at_the_standby(ground: Ground, url: str) -> None:
    """What each command says there."""
    folder = ground.folder / "standby"
    folder.mkdir()
    (folder / "routes.toml").write_text(ROUTES.format(more=""))
    (folder / "gate.toml").write_text(ground.settings(folder, 1, url))
    for command in ("doctor", "check", "serve"):
        ran = subprocess.run([GATE, command, "--config", "gate.toml"], cwd=folder, env={**os.environ, **KEYS}, capture_output=True,
                             text=True, check=False, timeout=60)
        # Of the commands' findings those about the database alone.
        said = [line.strip() for line in (ran.stdout + ran.stderr).splitlines()
                if any(word in line for word in ("standby", "read-only", "ok  database", "nothing is wrong"))]
        print(f"{command} at a standby exits {ran.returncode}: {said[-1] if said else 'nothing about the database'}", flush=True)


def answers(ground: Ground, gate: Peer) -> str:
    return ", ".join(f"{ground.ask(gate, ALLOWED)} {ground.ask(gate, DENIED)}" for _ in range(3))


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/growth/standby.py")
    parser.add_argument("--freshness", choices=("strict", "push"), default="strict")
    options = parser.parse_args()
    os.environ.pop("TEST_DATABASE_URL", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Ground() as ground:
        direct = ground.database()
        with Standby(ground.server) as standby, patiently(standby.url(direct)) as at_standby, patiently(direct) as at_primary:
            at_the_standby(ground, standby.url(direct))
            link, moved = ground.folder / "database", ground.folder / "moved"
            link.symlink_to(ground.server._folder)
            gate = ground.serve(direct.replace(str(ground.server._folder), str(link)), options.freshness)
            print(f"at the primary (allowed, denied): {answers(ground, gate)}", flush=True)
            moved.symlink_to(standby.folder)
            moved.rename(link)
            at_primary.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'console-gate%'")
            ground.ask(gate, ALLOWED)
            time.sleep(3)
            print(f"its connections lead to the standby: {answers(ground, gate)}", flush=True)
            at_standby.execute("SELECT pg_wal_replay_pause()")
            at_primary.execute("DELETE FROM console_gate.rbac_user_groups WHERE user_id = 'anna'")
            print(f"the membership has ended at the primary, the standby lags: {answers(ground, gate)}", flush=True)
            at_standby.execute("SELECT pg_wal_replay_resume()")
            time.sleep(3)
            print(f"the standby has applied it: {answers(ground, gate)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
