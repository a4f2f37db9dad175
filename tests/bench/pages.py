"""What the pages cost where there are many people: `make scale`.

    python3 tests/bench/pages.py GATE

Fills a new SQLite database with the seed, 10,000 admins, 1,000 routes and 100,000 rows of the audit, and times each page over one
connection: p50 and p99 (the slowest) of 60 requests, the first of each left out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import people

ROOT = Path(__file__).parents[2]
PEOPLE, ROUTES, EVENTS, TIMES = 10_000, 1_000, 100_000, 60
PAGES = ["", "/me", "/people", "/people/p000042", "/groups", "/groups/raxx-support-team", "/roles", "/roles/console-user",
         "/grants", "/requests", "/people/compare?a=p000042&b=p000043", "/matrix", "/timeline", "/audit", "/search?q=p0004",
         "/cutover", "/mapping"]


def session(secret: bytes, admin: str) -> str:
    """A session as Flask signs it."""
    encode = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=")
    value = encode(json.dumps({"admin_id": admin}).encode()) + b"." + encode(int(time.time()).to_bytes(4, "big"))
    key = hmac.new(secret, b"cookie-session", hashlib.sha1).digest()
    return (value + b"." + encode(hmac.new(key, value, hashlib.sha1).digest())).decode()


def events(count: int) -> list[tuple]:
    """Rows of the audit that the timeline reads; they are in no chain, which no page of the timeline reads."""
    pick = random.Random(2)
    kinds = ["rbac_changed", "access_request", "flag_flipped", "mapping_activated"]
    return [(f"{number:032x}", pick.choice(kinds), f"2026-{1 + number % 10:02}-{1 + number % 28:02}T{number % 24:02}:{number % 60:02}:00+00:00",
             f"p{number % PEOPLE:06}") for number in range(count)]


def fill_events(path: Path) -> None:
    database = sqlite3.connect(path)
    database.executemany(
        "INSERT INTO gate_audit_events (id, event_type, occurred_at_utc, actor_kind, actor_id, detail, chain_id, sequence, key_id,"
        " personal_salt, personal_digest, content_hash, mac) VALUES (?, ?, ?, 'operator', ?, '{\"changes\": []}', 'bench', ?, 'k', '', '', '', '')",
        [(*row, number) for number, row in enumerate(events(EVENTS), 1)])
    database.commit()
    database.close()


def main() -> None:
    gate, secret = str(Path(sys.argv[1]).resolve()), b"0" * 40
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        more = "".join(f"\"GET /bench/{number}/<int:id>\" = {{ legacy = [\"ops\"], role = \"console-user\" }}\n" for number in range(ROUTES))
        (work / "routes.toml").write_text((ROOT / "routes.toml").read_text().replace("rows = 106", "rows = 1106") + "\n[blueprints.bench.routes]\n" + more)
        (work / "gate.toml").write_text(f'environment = "development"\n[listen]\nproxy = "unix:{work}/proxy.sock"\nadmin = "unix:{work}/admin.sock"\n'
                                        f'upgrade_socket = "{work}/upgrade.sock"\n[upstream]\nservers = ["127.0.0.1:9"]\n[mapping]\nfile = "routes.toml"\n'
                                        '[firewall]\nallowed_hosts = ["bench"]\n[rbac_api]\ncheck_others = "rbac:read"\n')
        variables = {**os.environ, "CONSOLE_GATE_DATABASE_URL": "sqlite:bench.db", "CONSOLE_SECRET_KEY": secret.decode(), "FLAG_RBAC_V2": "1"}
        key = lambda: subprocess.run([gate, "keygen"], check=True, capture_output=True, text=True).stdout.strip()
        variables |= {"CONSOLE_GATE_KEYS": key(), "CONSOLE_GATE_AUDIT_KEYS": key()}
        run = lambda *words: subprocess.run([gate, "--config", "gate.toml", *words], cwd=work, env=variables, check=True, stdout=subprocess.DEVNULL)
        run("migrate", "--seed", "rbac-v2")
        people.fill(work / "bench.db", PEOPLE)
        fill_events(work / "bench.db")
        run("pages", "enable", "--write")
        run("admin", "add", "boss", "--email", "boss@example.com")
        for group in ("raxx-platform-admins", "raxx-compliance-auditors"):
            run("group", "add", group, "boss")
        server = subprocess.Popen([gate, "--config", "gate.toml", "serve"], cwd=work, env=variables, stdout=subprocess.DEVNULL, stderr=(work / "log").open("wb"))
        try:
            measure(work, session(secret, "boss"), server)
        finally:
            server.terminate()
            server.wait()


def measure(work: Path, cookie: str, server: subprocess.Popen) -> None:
    class Unix(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(str(work / "proxy.sock"))

    fields = {"Host": "bench", "Cookie": f"session={cookie}", "Accept": "text/html"}
    deadline = time.monotonic() + 120
    while True:
        try:
            connection = Unix("bench")
            connection.request("GET", "/console/rbac", headers=fields)
            connection.getresponse().read()
            break
        except OSError:
            assert time.monotonic() < deadline and server.poll() is None, (work / "log").read_text()[-2000:]
            time.sleep(0.2)
    for page in PAGES:
        times, status = [], 0
        for _ in range(TIMES + 1):
            began = time.perf_counter()
            connection.request("GET", "/console/rbac" + page, headers=fields)
            answer = connection.getresponse()
            answer.read()
            times.append(1000 * (time.perf_counter() - began))
            status = answer.status
        times = sorted(times[1:])
        print(f"{status}  p50 {times[len(times) // 2]:7.1f} ms  p99 {times[-1]:7.1f} ms  {page or '/'}", flush=True)
    memory = Path(f"/proc/{server.pid}/status").read_text().split("VmHWM:")[1].split()[0]
    print(f"{int(memory) // 1024} MiB at most")


if __name__ == "__main__":
    main()
