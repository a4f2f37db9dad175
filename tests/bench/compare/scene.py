"""The servers of a comparison: what the peers lead to, one Postgres, and the peers, each behind its own port of 127.0.0.1.

Load, upstream and Postgres have one core, the peer that is measured has the other.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterable

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "consoles"))

from itsdangerous import TimestampSigner, URLSafeTimedSerializer  # noqa: E402
from postgres import Postgres  # noqa: E402

from accounts import cpu_seconds, tree  # noqa: E402
from scenarios import DENIED, TLS_CIPHER, TLS_VERSION, Scenario  # noqa: E402
from sockets import shake_hands  # noqa: E402

# Of the cores that this process may have.
CORES = sorted(os.sched_getaffinity(0))
LOAD_CORE, PEER_CORE = CORES[0], CORES[min(1, len(CORES) - 1)]
SECRET = "a secret of the benchmark"
# How long a peer may take until it answers at all, and from then on until it answers as it must.
START_SECONDS, READY_SECONDS = 120, 20
NO_ANSWER = "no answer"


class Refused(Exception):
    """What is measured is not what it is to be; so nothing is reported of it."""


def cookie() -> str:
    """A session of anna, as Flask signs it."""
    serializer = URLSafeTimedSerializer(SECRET, salt="cookie-session", signer=TimestampSigner,
                                        signer_kwargs={"key_derivation": "hmac", "digest_method": __import__("hashlib").sha1})
    return str(serializer.dumps({"admin_id": "anna", "_fresh": True}))


def headers(session: str | None) -> dict[str, str]:
    """What a browser sends."""
    return {
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language": "en-GB,en;q=0.5", "Accept-Encoding": "gzip, deflate, br",
        "Referer": "https://console.example.com/console/customers/",
        "Cookie": "theme=dark" + (f"; session={session}" if session else ""),
        "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin",
    }


def check_tls(name: str, socket: ssl.SSLSocket) -> None:
    """Refuses a peer that encrypts otherwise than the others."""
    cipher = socket.cipher()
    if (socket.version(), cipher and cipher[0]) != (TLS_VERSION, TLS_CIPHER):
        raise Refused(f"{name} speaks {socket.version()} with {cipher and cipher[0]}, not {TLS_VERSION} with {TLS_CIPHER}")


@dataclass
class Peer:
    name: str
    port: int
    # Those whose CPU time counts; an authorization service beside a proxy is part of it.
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    # What DENIED is answered: 200 by one that checks nothing.
    denies: int = 403
    # Bytes of resident memory before it was asked anything but whether it is there.
    idle_memory: int = 0

    def pids(self) -> list[int]:
        """Its processes and their children."""
        return tree(process.pid for process in self.processes)

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        return cpu_seconds(self.pids())


class Scene:
    """Everything that the scenarios of a run need, from when each peer answers as expected until the block ends."""

    def __init__(self, makers: dict[str, Callable[[Scene, str], Peer]], scenarios: Iterable[Scenario], wanted: Iterable[str] = (),
                 prefix: Iterable[str] = ()) -> None:
        self.scenarios = list(scenarios)
        self.tls = any(scenario.scene == "tls" for scenario in self.scenarios)
        asked = dict.fromkeys(name for scenario in self.scenarios for name in scenario.peers)
        self.wanted = [name for name in asked if name in wanted or not wanted]
        # What the peer's own program is started by, such as valgrind.
        self.prefix = list(prefix)
        self.makers = makers
        self.session = cookie()
        self.started: list[subprocess.Popen[bytes]] = []
        self.peers: dict[str, Peer] = {}
        self.closing = contextlib.ExitStack()
        # By whether they wait for the disk.
        self.servers: dict[str, Postgres] = {}
        # What peers lead to: the address of what serves pages, and of what echoes.
        self.upstreams: tuple[str, str] | None = None

    def __enter__(self) -> Scene:
        self.folder = Path(tempfile.mkdtemp(prefix="gate-bench-", dir="/tmp"))
        self.folder.chmod(0o755)
        try:
            for name in self.wanted:
                self.peers[name] = self.makers[name](self, name)
            for peer in self.peers.values():
                self.await_answers(peer)
            return self
        except BaseException:
            self.__exit__()
            raise

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

    def new_database(self, fsync: str = "on") -> str:
        """The URL of an empty database on the Postgres of this scene, or on its other one, which does not wait for the disk."""
        if fsync not in self.servers:
            self.servers[fsync] = server = self.closing.enter_context(Postgres(f"fsync={fsync}"))
            if server._server is not None:
                for pid in tree([server._server.pid]):
                    os.sched_setaffinity(pid, {LOAD_CORE})
        return self.servers[fsync].database()

    def cpu_seconds(self) -> float:
        """The time so far of everything that belongs to the scene, with what measures it and has ended."""
        # Children of this process are what was started, and Postgres.
        return cpu_seconds(tree([os.getpid()]), ended_children=True)

    def headers_of(self, scenario: Scenario) -> dict[str, str]:
        return headers(self.session if scenario.session else None)

    def answer(self, peer: Peer, scenario: Scenario, path: str | None = None) -> tuple[int, int] | None:
        """The status of one request and the bytes of its body; nothing while nobody answers."""
        path, fields = path or scenario.path, self.headers_of(scenario)
        try:
            if scenario.tool == "websocket":
                status, connection = shake_hands(peer.port, path, fields)
                connection.close()
                return status, 0
            if scenario.scene == "tls":
                trusting = ssl.create_default_context()
                trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
                asking: http.client.HTTPConnection = http.client.HTTPSConnection("127.0.0.1", peer.port, timeout=30, context=trusting)
            else:
                asking = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=30)
            with contextlib.closing(asking):
                if scenario.scene == "tls":
                    asking.connect()
                    check_tls(peer.name, asking.sock)
                asking.request(scenario.method, path, b"x" * scenario.sent if scenario.sent else None, fields)
                got = asking.getresponse()
                return got.status, len(got.read())
        except (OSError, http.client.HTTPException):
            return None

    def wrong_answers(self, peer: Peer) -> list[str]:
        """What a peer does not answer as it must, in all scenarios in which it takes part."""
        wrong = []
        for scenario in self.scenarios:
            if peer.name not in scenario.peers:
                continue
            got = self.answer(peer, scenario)
            if got is None:
                return [NO_ANSWER]
            status, size = got
            if status != scenario.status:
                wrong.append(f"{scenario.name}: {status}, not {scenario.status}")
            elif scenario.tool != "websocket" and size > scenario.received[1]:
                wrong.append(f"{scenario.name}: a body of {size} bytes")
            if scenario.path != DENIED and scenario.tool != "websocket" and scenario.session:
                denied = self.answer(peer, scenario, DENIED)
                if scenario.method == "GET" and denied is not None and denied[0] != peer.denies:
                    wrong.append(f"{scenario.name}: {denied[0]}, not {peer.denies}, where it denies")
        return wrong

    def await_answers(self, peer: Peer) -> None:
        """Until a peer answers as it must. One that never does is no peer."""
        deadline, answered = time.monotonic() + START_SECONDS, False
        while wrong := self.wrong_answers(peer):
            if not answered and NO_ANSWER not in wrong:
                deadline, answered = time.monotonic() + READY_SECONDS, True
            gone = [process.returncode for process in peer.processes if process.poll() is not None]
            if gone or time.monotonic() > deadline:
                log = (self.folder / f"{peer.name}.log").read_text(errors="replace")[-4000:]
                raise Refused(f"{peer.name} does not {'run' if gone else 'answer as it must'}: {'; '.join(wrong)}\n{log}")
            time.sleep(0.1)
