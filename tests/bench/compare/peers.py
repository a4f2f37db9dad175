"""How each peer is set up, and what all of them lead to."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from scenarios import DENIED, DOWNLOAD, MIB, SOCKET, UPLOAD
from scene import LOAD_CORE, PEER_CORE, ROOT, SECRET, Peer, Refused, Scene

from ports import free_port  # Where `scene` looks too.  # isort: skip

GATE = Path(os.environ.get("GATE", ROOT / "target" / "release" / "console-gate")).resolve()
# Debian puts them where only root's path leads.
NGINX_PROGRAM, HAPROXY_PROGRAM = (shutil.which(name) or f"/usr/sbin/{name}" for name in ("nginx", "haproxy"))
KEYS = {
    "CONSOLE_GATE_KEYS": "bench:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "CONSOLE_GATE_ECHO_KEYS": "echo:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=",
    "CONSOLE_GATE_AUDIT_KEYS": "audit:OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=",
    "CONSOLE_GATE_AUDIENCE": "console",
    "CONSOLE_SECRET_KEY": SECRET,
}

ROUTES = """version = 1
unmapped = "deny"
[clusters]
S1 = "v2"
[blueprints.customers]
cluster = "S1"
{freshness}
[blueprints.customers.routes]
"GET /console/customers/<id>/tickets" = {{ legacy = ["ops"], role = "console-user" }}
"GET /console/customers/<id>/file" = {{ legacy = ["ops"], role = "console-user" }}
"POST /console/customers/<id>/files" = {{ legacy = ["ops"], role = "console-user" }}
"GET /console/customers/" = {{ legacy = ["ops"], role = "console-user" }}
"GET /console/secrets" = {{ legacy = ["superadmin"], role = "console-secrets-admin" }}
{more}
[blueprints.health.routes]
"GET /healthz" = {{ public = true }}
"""
WITH_SOCKET = '"GET /console/socket" = { legacy = ["ops"], role = "console-user", websocket = true, upstream = "echo" }'
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
pool_size = 2048
[database]
url = "{database}"
timeout_ms = {timeout}
[audit]
timeout_ms = {timeout}
[mapping]
watch = false
{more}"""

NGINX = """daemon off; error_log {folder}/error.log; pid {folder}/pid; worker_processes 1; {main}
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 4m;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4;
  scgi_temp_path {folder}/t5;
  {more}
  server {{ listen 127.0.0.1:{port} {tls} backlog=4096; {server} }}
}}
"""
# nginx offers no TLS 1.3 unless it is told to, here.
CERTIFICATE = "ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem; ssl_protocols TLSv1.3; http2_max_concurrent_streams 128;"
CONSOLE = """upstream console {{ server {upstream}; keepalive 2048; keepalive_requests 1000000000; }}
  {echo}"""
PASS = "proxy_pass http://console; proxy_http_version 1.1; proxy_set_header Connection \"\";"
UPGRADE = ("proxy_pass http://echo; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;"
           " proxy_set_header Connection upgrade;")

# The whole body arrives before the answer: nginx reads it to pass the request on, to itself and without the body.
UPSTREAM = """default_type text/html;
  location / {{ return 200 '{page}'; }}
  location = {download} {{ alias {folder}/megabyte; }}
  location = {upload} {{ client_body_buffer_size 2m; proxy_pass http://swallowed; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_method GET; }}"""
SWALLOWED = """upstream swallowed {{ server unix:{folder}/swallowed.sock; keepalive 64; keepalive_requests 1000000000; }}
  server {{ listen unix:{folder}/swallowed.sock; location / {{ return 200 'ok'; }} }}"""

HAPROXY = """global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  timeout tunnel 60s
  http-reuse always
frontend gate
  bind 127.0.0.1:{port} {tls}
  # The session is looked up by its cookie, the route by the start of its path: what a map can do.
  http-request set-var(txn.who) req.cook(session),map({folder}/sessions.map,nobody)
  http-request set-var(txn.needs) path,map_beg({folder}/routes.map,none)
  http-request redirect location /auth/login?next=%[path,url_enc] code 302 if !{{ var(txn.who) -m found }} or {{ var(txn.who) -m str nobody }}
  http-request deny unless {{ var(txn.needs) -m str console-user }}
  use_backend echo if {{ path {socket} }}
  default_backend console
backend console
  server console {upstream} maxconn 8192
backend echo
  server echo {echo} maxconn 8192
"""


def upstreams(scene: Scene) -> tuple[str, str]:
    """The addresses of what serves pages and of what echoes; started once."""
    if scene.upstreams is None:
        port, echo = free_port(), free_port()
        folder = scene.folder / "upstream"
        nginx(scene, "upstream", port, UPSTREAM.format(page="x" * 1024, folder=folder, download=DOWNLOAD, upload=UPLOAD), LOAD_CORE,
              SWALLOWED.format(folder=folder))
        (folder / "megabyte").write_bytes(b"x" * MIB)
        scene.start("echo", LOAD_CORE, [sys.executable, Path(__file__).with_name("sockets.py"), "echo", echo], scene.folder)
        scene.upstreams = f"127.0.0.1:{port}", f"127.0.0.1:{echo}"
    return scene.upstreams


def write_certificate(folder: Path) -> None:
    """A certificate that signs itself, and its key."""
    if (folder / "key.pem").exists():
        return
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256()))
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "certificate.pem").write_bytes(pem)
    # haproxy wants both in one file.
    (folder / "both.pem").write_bytes(pem + private)
    (folder / "key.pem").write_bytes(private)


def nginx(scene: Scene, name: str, port: int, server: str, core: int, more: str = "", tls: bool = False,
          prefix: tuple[str, ...] = ()) -> "subprocess.Popen[bytes]":
    folder = scene.folder / name
    folder.mkdir()
    if tls:
        write_certificate(scene.folder)
        server = CERTIFICATE.format(folder=scene.folder) + server
    (folder / "nginx.conf").write_text(NGINX.format(
        folder=folder, port=port, server=server, more=more, tls="ssl http2" if tls else "", main="master_process off;" if prefix else ""))
    return scene.start(name, core, [*prefix, NGINX_PROGRAM, "-c", folder / "nginx.conf", "-p", folder], folder)


def console_of(scene: Scene) -> str:
    upstream, echo = upstreams(scene)
    return CONSOLE.format(upstream=upstream, echo=f"upstream echo {{ server {echo}; }}")


def make_nginx(scene: Scene, name: str) -> Peer:
    """A proxy that checks nothing: what ratios are to."""
    port = free_port()
    serves = f"location / {{ {PASS} }} location = {SOCKET} {{ {UPGRADE} }}"
    process = nginx(scene, name, port, serves, PEER_CORE, console_of(scene), scene.tls, tuple(scene.prefix))
    return Peer(name, port, [process], denies=200)


def make_nginx_auth(scene: Scene, name: str) -> Peer:
    """nginx with auth_request to a service that only compares the path: what users of login proxies run, at its fastest."""
    service, port = free_port(), free_port()
    # Without a body, because nginx does not keep a connection on which auth_request leaves one unread.
    checks = (f'location / {{ set $nothing ""; if ($cookie_session = "") {{ return 401 $nothing; }}'
              f' if ($http_x_original_uri = "{DENIED}") {{ return 403 $nothing; }} return 204; }}')
    asks = (f"location / {{ auth_request /_ask; error_page 401 = @login; {PASS} }}\n"
            f"location = {SOCKET} {{ auth_request /_ask; {UPGRADE} }}\n"
            "location @login { return 302 /auth/login?next=$request_uri; }\n"
            f"location = /_ask {{ internal; proxy_pass http://check; proxy_http_version 1.1; proxy_set_header Connection \"\";"
            " proxy_pass_request_body off; proxy_set_header Content-Length \"\"; proxy_set_header X-Original-URI $request_uri; }")
    check = f"upstream check {{ server 127.0.0.1:{service}; keepalive 2048; keepalive_requests 1000000000; }}"
    return Peer(name, port, [
        nginx(scene, f"{name}-service", service, checks, PEER_CORE),
        nginx(scene, name, port, asks, PEER_CORE, f"{console_of(scene)}\n  {check}", scene.tls)])


def make_haproxy(scene: Scene, name: str) -> Peer:
    folder, port = scene.folder / name, free_port()
    folder.mkdir()
    upstream, echo = upstreams(scene)
    if scene.tls:
        write_certificate(scene.folder)
    (folder / "sessions.map").write_text(f"{scene.session} anna\n")
    (folder / "routes.map").write_text("/console/customers/ console-user\n/console/socket console-user\n"
                                       "/console/secrets console-secrets-admin\n")
    (folder / "haproxy.cfg").write_text(HAPROXY.format(
        port=port, folder=folder, upstream=upstream, echo=echo, socket=SOCKET,
        tls=f"ssl crt {scene.folder}/both.pem alpn h2,http/1.1" if scene.tls else ""))
    return Peer(name, port, [scene.start(name, PEER_CORE, [*scene.prefix, HAPROXY_PROGRAM, "-f", folder / "haproxy.cfg"], folder)])


def run_gate(folder: Path, *command: str) -> None:
    ran = subprocess.run([GATE, *command, "--config", "gate.toml"], cwd=folder, env={**os.environ, **KEYS},
                         capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Refused(f"console-gate {' '.join(command)} ends with {ran.returncode}:\n{ran.stdout}{ran.stderr}")


def add_admin(database: str) -> None:
    """Puts anna into Console's tables."""
    inserts = ("INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.com')",
               "INSERT INTO admin_roles (admin_id, role) VALUES ('anna', 'ops')")
    if database.startswith("postgres"):
        with psycopg.connect(database) as connection:
            for insert in inserts:
                connection.execute(insert)
    else:
        with contextlib.closing(sqlite3.connect(database)) as file, file:
            for insert in inserts:
                file.execute(insert)


def prepare_gate(folder: Path, port: int, upstream: str, database: str, freshness: str, routes: str = "", settings: str = "",
                 timeout: int = 2_000) -> None:
    """A gate's folder: settings, mapping, and a database in which anna is of the support team."""
    folder.mkdir()
    (folder / "routes.toml").write_text(ROUTES.format(freshness=freshness, more=f"{routes}\n{MORE}"))
    (folder / "gate.toml").write_text(SETTINGS.format(port=port, folder=folder, upstream=upstream, database=database, more=settings,
                                                    timeout=timeout))
    run_gate(folder, "migrate", "--seed", "rbac-v2")
    add_admin(database if database.startswith("postgres") else str(folder / "gate.sqlite"))
    run_gate(folder, "group", "add", "raxx-support-team", "anna")
    run_gate(folder, "flag", "rbac-v2", "on")


def gate(scene: Scene, name: str, database: str, freshness: str) -> Peer:
    folder, port = scene.folder / name, free_port()
    upstream, echo = upstreams(scene)
    settings = f'[upstreams.echo]\nservers = ["{echo}"]\n'
    if scene.tls:
        write_certificate(scene.folder)
        settings += (f'[tls]\ncertificate_file = "{scene.folder}/certificate.pem"\nkey_file = "{scene.folder}/key.pem"\n'
                     "http2 = true\n")
    # The default; under valgrind everything takes longer.
    prepare_gate(folder, port, upstream, database, freshness, WITH_SOCKET, settings, 60_000 if scene.prefix else 2_000)
    return Peer(name, port, [scene.start(name, PEER_CORE, [*scene.prefix, GATE, "serve", "--config", "gate.toml"], folder, **KEYS)])


PUSH, STRICT, SQLITE = 'freshness = "push"', "", "sqlite:gate.sqlite"
MAKERS = {
    "nginx": make_nginx,
    "nginx-auth": make_nginx_auth,
    "haproxy": make_haproxy,
    "gate-push": lambda scene, name: gate(scene, name, scene.new_database(), PUSH),
    "gate-push-unsynced": lambda scene, name: gate(scene, name, scene.new_database(fsync="off"), PUSH),
    "gate-strict": lambda scene, name: gate(scene, name, scene.new_database(), STRICT),
    "gate-strict-sqlite": lambda scene, name: gate(scene, name, SQLITE, STRICT),
    "gate-push-sqlite": lambda scene, name: gate(scene, name, SQLITE, PUSH),
}
