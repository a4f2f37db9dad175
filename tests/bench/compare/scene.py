"""The servers of a comparison: one upstream, one Postgres, and the peers, each behind its own port of 127.0.0.1.

Load, upstream and Postgres have one core, the peer that is measured has the other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "consoles"))

import psycopg  # noqa: E402
from itsdangerous import TimestampSigner, URLSafeTimedSerializer  # noqa: E402
from ports import free_port  # noqa: E402
from postgres import Postgres  # noqa: E402

GATE = Path(os.environ.get("GATE", ROOT / "target" / "release" / "console-gate")).resolve()
LOAD_CORE, PEER_CORE = 0, 1
SECRET = "a secret of the benchmark"
KEYS = {
    "CONSOLE_GATE_KEYS": "bench:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "CONSOLE_GATE_AUDIT_KEYS": "audit:OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=",
    "CONSOLE_SECRET_KEY": SECRET,
}

# What everybody asks for, and what nobody of these is granted.
ALLOWED, DENIED = "/console/customers/7/tickets", "/console/secrets"
ROUTES = """version = 1
unmapped = "deny"
[clusters]
S1 = "v2"
[blueprints.customers]
cluster = "S1"
{freshness}
[blueprints.customers.routes]
"GET /console/customers/<id>/tickets" = {{ legacy = ["ops"], role = "console-user" }}
"GET /console/customers/" = {{ legacy = ["ops"], role = "console-user" }}
"GET /console/secrets" = {{ legacy = ["superadmin"], role = "console-secrets-admin" }}
{more}
[blueprints.health.routes]
"GET /healthz" = {{ public = true }}
"""
# As long as Console's own table.
MORE = "\n".join(f'"GET /console/area{number}/<id>" = {{ legacy = ["ops"], role = "console-user" }}' for number in range(100))

SETTINGS = """environment = "development"
[listen]
proxy = "127.0.0.1:{port}"
admin = "unix:{folder}/admin.sock"
upgrade_socket = "{folder}/upgrade.sock"
threads = 1
[upstream]
servers = ["{upstream}"]
[database]
url = "{database}"
[mapping]
watch = false
"""

NGINX = """daemon off; error_log {folder}/error.log; pid {folder}/pid; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4;
  scgi_temp_path {folder}/t5;
  upstream console {{ server {upstream}; keepalive 2048; keepalive_requests 1000000000; }}
  {more}
  server {{ listen 127.0.0.1:{port} backlog=4096; {server} }}
}}
"""
PASS = "proxy_pass http://console; proxy_http_version 1.1; proxy_set_header Connection \"\";"

HAPROXY = """global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  http-reuse always
frontend gate
  bind 127.0.0.1:{port}
  # The session is looked up by its cookie, the route by the start of its path: what a map can do.
  http-request set-var(txn.who) req.cook(session),map({folder}/sessions.map,nobody)
  http-request set-var(txn.needs) path,map_beg({folder}/routes.map,none)
  http-request deny if {{ var(txn.who) -m str nobody }}
  http-request deny unless {{ var(txn.needs) -m str console-user }}
  default_backend console
backend console
  server console {upstream} maxconn 8192
"""


def cookie() -> str:
    """A session of anna, as Flask signs it."""
    serializer = URLSafeTimedSerializer(SECRET, salt="cookie-session", signer=TimestampSigner,
                                        signer_kwargs={"key_derivation": "hmac", "digest_method": __import__("hashlib").sha1})
    return str(serializer.dumps({"admin_id": "anna", "_fresh": True}))


def add_admin(database: str) -> None:
    """Puts anna into Console's table."""
    insert = "INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.com')"
    if database.startswith("postgres"):
        with psycopg.connect(database) as connection:
            connection.execute(insert)
    else:
        with contextlib.closing(sqlite3.connect(database)) as file, file:
            file.execute(insert)


def headers(session: str) -> dict[str, str]:
    """What a browser sends."""
    return {
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language": "en-GB,en;q=0.5", "Accept-Encoding": "gzip, deflate, br",
        "Referer": "https://console.example.com/console/customers/", "Cookie": f"theme=dark; session={session}",
        "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin",
    }


@dataclass
class Peer:
    name: str
    port: int
    # Those whose CPU time counts; an authorization service beside a proxy is part of it.
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    # The statuses of ALLOWED and DENIED that show that it does what it is here for.
    answers: tuple[int, int] = (200, 403)

    def pids(self) -> list[int]:
        """Its processes and their children."""
        found: list[int] = []
        queue = [process.pid for process in self.processes]
        while queue:
            pid = queue.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    queue += [int(child) for child in (task / "children").read_text().split()]
        return found

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        ticks = 0
        for pid in self.pids():
            parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(parts[11]) + int(parts[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def peak_memory(self) -> int:
        """Bytes of the highest resident size so far."""
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    total += int(line.split()[1]) * 1024
        return total


class Scene:
    """Everything that a comparison needs, from when each peer answers as expected until the block ends."""

    def __init__(self, wanted: list[str], prefix: list[str] | None = None) -> None:
        self.wanted, self.prefix = wanted, prefix or []
        self.folder = Path(tempfile.mkdtemp(prefix="gate-bench-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.session = cookie()
        self.started: list[subprocess.Popen[bytes]] = []
        self.peers: dict[str, Peer] = {}
        self.closing = contextlib.ExitStack()

    def __enter__(self) -> Scene:
        try:
            page = "x" * 1024
            port = free_port()
            self.upstream = f"127.0.0.1:{port}"
            self.nginx("upstream", port, f"location / {{ default_type text/html; return 200 '{page}'; }}", LOAD_CORE)
            for name in self.wanted:
                self.peers[name] = getattr(self, "make_" + name.replace("-", "_"))(name)
            for peer in self.peers.values():
                self.await_answers(peer)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: Any) -> None:
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.closing.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name: str, core: int, command: list[Any], cwd: Path, **environment: str) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(["taskset", "-c", str(core), *map(str, command)], cwd=cwd, stdout=log, stderr=log,
                                       env={**os.environ, **environment})
        self.started.append(process)
        return process

    def nginx(self, name: str, port: int, server: str, core: int, more: str = "") -> subprocess.Popen[bytes]:
        folder = self.folder / name
        folder.mkdir()
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, server=server, more=more,
                                                        upstream=self.upstream))
        return self.start(name, core, ["/usr/sbin/nginx", "-c", folder / "nginx.conf", "-p", folder], folder)

    def make_nginx(self, name: str) -> Peer:
        """A proxy that checks nothing: what every ratio is to."""
        port = free_port()
        return Peer(name, port, [self.nginx(name, port, f"location / {{ {PASS} }}", PEER_CORE)], (200, 200))

    def make_nginx_auth(self, name: str) -> Peer:
        """nginx with auth_request to a service that only compares the path: what users of login proxies run, at its fastest."""
        service, port = free_port(), free_port()
        checks = (f'location / {{ if ($http_x_original_uri = "{DENIED}") {{ return 403; }} return 204; }}')
        asks = (f"location / {{ auth_request /_ask; {PASS} }}\n"
                f"location = /_ask {{ internal; proxy_pass http://check; proxy_http_version 1.1; proxy_set_header Connection \"\";"
                " proxy_pass_request_body off; proxy_set_header Content-Length \"\"; proxy_set_header X-Original-URI $request_uri; }")
        return Peer(name, port, [
            self.nginx(f"{name}-service", service, checks, PEER_CORE),
            self.nginx(name, port, asks, PEER_CORE,
                       f"upstream check {{ server 127.0.0.1:{service}; keepalive 2048; keepalive_requests 1000000000; }}")])

    def make_haproxy(self, name: str) -> Peer:
        folder, port = self.folder / name, free_port()
        folder.mkdir()
        (folder / "sessions.map").write_text(f"{self.session} anna\n")
        (folder / "routes.map").write_text("/console/customers/ console-user\n/console/secrets console-secrets-admin\n")
        (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, folder=folder, upstream=self.upstream))
        return Peer(name, port, [self.start(name, PEER_CORE, ["/usr/sbin/haproxy", "-f", folder / "haproxy.cfg"], folder)])

    def gate(self, name: str, database: str, freshness: str) -> Peer:
        folder, port = self.folder / name, free_port()
        folder.mkdir()
        (folder / "routes.toml").write_text(ROUTES.format(freshness=freshness, more=MORE))
        (folder / "gate.toml").write_text(SETTINGS.format(port=port, folder=folder, upstream=self.upstream, database=database))

        def run(*command: str) -> None:
            ran = subprocess.run([GATE, *command, "--config", "gate.toml"], cwd=folder, env={**os.environ, **KEYS},
                                 capture_output=True, text=True, check=False)
            if ran.returncode:
                raise RuntimeError(f"{command}\n{ran.stdout}{ran.stderr}")

        run("migrate", "--seed", "rbac-v2")
        add_admin(database if database.startswith("postgres") else str(folder / "gate.sqlite"))
        run("group", "add", "raxx-support-team", "anna")
        run("flag", "rbac-v2", "on")
        gate = self.start(name, PEER_CORE, [*self.prefix, GATE, "serve", "--config", "gate.toml"], folder, **KEYS)
        return Peer(name, port, [gate])

    def postgres(self) -> str:
        if not hasattr(self, "server"):
            self.server = self.closing.enter_context(Postgres())
            process = self.server._server
            if process is not None:
                os.sched_setaffinity(process.pid, {LOAD_CORE})
        return self.server.database()

    def make_gate_push(self, name: str) -> Peer:
        return self.gate(name, self.postgres(), 'freshness = "push"')

    def make_gate_strict(self, name: str) -> Peer:
        return self.gate(name, self.postgres(), "")

    def make_gate_strict_sqlite(self, name: str) -> Peer:
        return self.gate(name, "sqlite:gate.sqlite", "")

    def make_gate_push_sqlite(self, name: str) -> Peer:
        return self.gate(name, "sqlite:gate.sqlite", 'freshness = "push"')

    def ask(self, peer: Peer, path: str) -> int | None:
        request = Request(f"http://127.0.0.1:{peer.port}{path}", headers=headers(self.session))
        try:
            with urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except OSError as error:
            return getattr(error, "code", None)

    def await_answers(self, peer: Peer) -> None:
        """Until a peer answers as it must. One that never does is no peer: the comparison ends."""
        deadline = time.monotonic() + 120
        while (answers := (self.ask(peer, ALLOWED), self.ask(peer, DENIED))) != peer.answers:
            gone = [process.returncode for process in peer.processes if process.poll() is not None]
            if gone or time.monotonic() > deadline:
                log = (self.folder / f"{peer.name}.log").read_text(errors="replace")[-4000:]
                raise RuntimeError(f"{peer.name} answers {answers}, not {peer.answers}:\n{log}")
            time.sleep(0.1)
