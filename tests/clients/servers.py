"""Console itself and the gate in front of it, on free ports of 127.0.0.1.

    with Scene() as scene:
        scene.direct, scene.through            http://127.0.0.1:PORT
        scene.direct_tls, scene.through_tls    https://127.0.0.1:PORT, for scene.authority

GATE=... names another binary than target/debug/console-gate.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import ipaddress
import json
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GATE = Path(os.environ.get("GATE", ROOT / "target" / "debug" / "console-gate")).resolve()
GUNICORN = Path(sys.executable).parent / "gunicorn"
START_SECONDS = 60

KEYS = {
    "CONSOLE_GATE_KEYS": "tests:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "CONSOLE_GATE_AUDIT_KEYS": "audit:OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=",
    "CONSOLE_SECRET_KEY": "a secret of the tests",
}

SETTINGS = """environment = "development"
[listen]
proxy = "{address}"
admin = "unix:{folder}/admin.sock"
upgrade_socket = "{folder}/upgrade.sock"
drain_ms = 1000
{listen}
[upstream]
servers = ["{console}"]
{upstream}
[database]
url = "sqlite:gate.sqlite"
[console]
admins           = "SELECT p.id, 0 AS disabled, p.name AS label FROM people p WHERE p.id = CAST($1 AS INTEGER)"
legacy_roles     = "SELECT p.role FROM people p WHERE p.id = CAST($1 AS INTEGER)"
all_admins       = "SELECT p.id, 0 AS disabled, p.name AS label FROM people p"
all_legacy_roles = "SELECT p.id AS admin_id, p.role FROM people p"
admins_key       = "people.id"
[firewall]
{firewall}
{more}
"""

# Each row of the Console of these tests; `/free` is what nobody has mapped, and left to Console.
ROUTES = """version = 1
unmapped = "deny"
quiet = ["/favicon.ico"]
[blueprints.clients.routes]
"GET /" = { public = true }
"* /echo" = { public = true }
"* /echo/<path:rest>" = { public = true }
"* /segment/<name>" = { public = true }
"GET /segment/<name>/more" = { public = true }
"GET /number/<int:number>" = { public = true }
"GET /only-get" = { public = true }
"POST /only-post" = { public = true }
"* /fixed/*" = { public = true }
"* /free/*" = { upstream = true }
"* /answer/*" = { public = true }
"GET /answer/slash/" = { public = true }
"GET,POST /form" = { public = true }
"GET /page" = { public = true }
"GET /socket" = { public = true, websocket = true }
"GET /healthz" = { public = true }
"GET /me" = { session = true }
"GET /auth/login" = { public = true }
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A process, from when it answers until it is stopped."""

    def __init__(self, name: str, command: list[Any], environment: dict[str, str], folder: Path, url: str) -> None:
        self.name, self.url, self.log = name, url, folder / f"{name}.log"
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen([*map(str, command)], cwd=HERE,
                                            env={**os.environ, **environment}, stdout=output, stderr=output)

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        # A gate that names its hosts refuses this one, and so is there.
        while status_of(self.url, "/healthz") not in (200, 400):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not answer:\n{self.log.read_text(errors='replace')[-8000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def status_of(base: str, path: str) -> int | None:
    parts = urlsplit(base)
    assert parts.hostname is not None
    if parts.scheme == "https":
        context = ssl._create_unverified_context()  # noqa: S323  # whether it answers at all
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None


class Scene:
    """Console directly, over plain TCP and over TLS, and the same behind gates."""

    def __init__(self, tls: bool = True, hosts: list[str] | None = None, **gate: str) -> None:
        self._tls, self._hosts, self._gate = tls, hosts, gate
        self.folder = Path(tempfile.mkdtemp(prefix="gate-clients-", dir="/tmp"))
        self.servers: list[Server] = []

    def __enter__(self) -> Scene:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: Any) -> None:
        for server in reversed(self.servers):
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        self.file = self.folder / "file.bin"
        self.file.write_bytes(bytes(index * 7 % 256 for index in range(300_000)))
        os.utime(self.file, (1_700_000_000, 1_700_000_000))
        self.authority, certificate, key = make_certificates(self.folder)
        behind = self.console("console", trusted="127.0.0.1")
        self.direct = self.console("direct").url
        self.through = self.gate("gate", behind, listen="h2c = true", **self._gate).url
        if self._tls:
            options = ["--certfile", certificate, "--keyfile", key, "--http-protocols", "h1"]
            self.direct_tls = self.console("direct-tls", "https", *options).url
            self.through_tls = self.gate(
                "gate-tls", behind, scheme="https",
                more=f'[tls]\ncertificate_file = "{certificate}"\nkey_file = "{key}"\nhttp2 = true').url
        if self._hosts:
            self.gate("gate-hosts", behind, firewall=f"allowed_hosts = {json.dumps(self._hosts)}")
        for server in self.servers:
            server.wait_until_it_answers()

    def url_of(self, name: str) -> str:
        """Of `gate`, or of another gate by the end of its name."""
        return next(server.url for server in self.servers if server.name in (name, f"gate-{name}"))

    def console(self, name: str, scheme: str = "http", *options: Any, trusted: str = "192.0.2.1", threads: int = 16,
                worker: str = "gthread") -> Server:
        address = f"127.0.0.1:{free_port()}"
        command = [GUNICORN, "--bind", address, "--worker-class", worker, "--threads", threads, "--workers", 1,
                   "--keep-alive", 10, "--forwarded-allow-ips", trusted, "--limit-request-line", 8190, "--log-level", "warning",
                   "--no-control-socket", *options, "console:create_app()"]
        server = Server(name, command, {"CLIENTS_FILE": str(self.file), "PYTHONHASHSEED": "0"}, self.folder, f"{scheme}://{address}")
        self.servers.append(server)
        return server

    def gate(self, name: str, console: Server, scheme: str = "http", **parts: str) -> Server:
        folder = self.folder / name
        folder.mkdir()
        address = f"127.0.0.1:{free_port()}"
        names = ("listen", "upstream", "firewall", "more")
        (folder / "gate.toml").write_text(SETTINGS.format(
            address=address, folder=folder, console=urlsplit(console.url).netloc, **{part: parts.get(part, "") for part in names}))
        (folder / "routes.toml").write_text(ROUTES)
        with contextlib.closing(sqlite3.connect(folder / "gate.sqlite")) as database:
            database.executescript("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, role TEXT);"
                                   "INSERT INTO people VALUES (1, 'ada', 'ops'), (2, 'ben', 'ops');")
        command = [GATE, "serve", "--config", folder / "gate.toml"]
        environment = {**KEYS, "CONSOLE_GATE_LOG_FORMAT": "json"}
        server = Server(name, command, environment, self.folder, f"{scheme}://{address}")
        self.servers.append(server)
        return server

    def refusals(self) -> dict[str, str]:
        """The word of each refusal so far, by the request's id, as the gates' logs have it."""
        words = {}
        for log in self.folder.glob("gate*.log"):
            for line in log.read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    fields = json.loads(line).get("fields", {})
                    if "reason" in fields and "request_id" in fields:
                        words[fields["request_id"]] = fields["reason"]
        return words


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """An authority, and a certificate for 127.0.0.1 and localhost with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.timezone.utc)

    def issue(name: str, of: Any, by: str, signer: Any, *extensions: Any) -> Any:
        builder = (x509.CertificateBuilder()
                   .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
                   .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)]))
                   .public_key(of.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(of.public_key()), False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    root = issue("clients' authority", root_key, "clients' authority", root_key,
                 (x509.BasicConstraints(True, None), True), (usage, True))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("console.test"),
                                         x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = issue("localhost", key, "clients' authority", root_key, (x509.BasicConstraints(False, None), True), (names, False),
                 (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False))
    paths = folder / "authority.pem", folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(root.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    paths[2].chmod(0o600)
    return paths
