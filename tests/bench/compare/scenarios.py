"""What is asked of which peers: the parts of a run, in their order."""

from __future__ import annotations

from dataclasses import dataclass, replace

# What all peers speak with all clients: the same version and cipher, so that they encrypt alike.
TLS_VERSION, TLS_CIPHER = "TLSv1.3", "TLS_AES_256_GCM_SHA384"
KIB, MIB = 1024, 1024 * 1024
# Bytes that the head of an answer may have.
HEAD = 2 * KIB

# What everybody asks for, and what nobody of these is granted.
ALLOWED, DENIED = "/console/customers/7/tickets", "/console/secrets"
UPLOAD, DOWNLOAD, SOCKET = "/console/customers/7/files", "/console/customers/7/file", "/console/socket"

GATES = ("gate-push", "gate-strict", "gate-strict-sqlite")
CHECKING = ("haproxy", "nginx-auth", *GATES)
PROXIES = ("nginx", *CHECKING)
TLS = ("nginx", "haproxy", "nginx-auth", "gate-push", "gate-strict")
FLASKS = ("flask", "flask-sqlite", "flask-sqlalchemy", "flask-gate-push", "flask-gate-strict", "flask-gate-push-middleware",
          "flask-gate-strict-middleware", "flask-gate-push-lines")


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    peers: tuple[str, ...]
    connections: tuple[int, ...]
    # The servers that it needs: `clear` and `tls` are proxies before the same upstream, `flask` has the application itself.
    scene: str = "clear"
    tool: str = "wrk"
    path: str = ALLOWED
    method: str = "GET"
    # Bytes of a request's body, and the least and the most of an answer with its head.
    sent: int = 0
    received: tuple[int, int] = (KIB, KIB + HEAD)
    status: int = 200
    session: bool = True
    # HTTP/2: requests that each connection has open at once.
    streams: int = 1
    # What ratios are to.
    base: str = "nginx"
    rounds: int = 3
    seconds: int = 2

    def figures(self) -> list[tuple[str, int]]:
        return [(self.key(connections), connections) for connections in self.connections]

    def key(self, connections: int) -> str:
        return f"{self.name}, {connections}"

    def duration(self) -> int:
        """Seconds that it takes if nothing is spoiled, a warm-up of each peer included."""
        return len(self.connections) * len(self.peers) * (self.rounds * self.seconds + 1)


# In this order because of memory: what a peer has once needed it keeps for a while.
SCENARIOS = (
    Scenario("allow-1", "allowed, one connection", PROXIES, (1,)),
    Scenario("allow", "allowed, a page of 1 KiB", PROXIES, (16, 64, 256), rounds=5),
    Scenario("deny", "denied, each with what the peer records of it", (*CHECKING, "gate-push-unsynced"), (16, 64, 256), path=DENIED, status=403,
             received=(0, 16 * KIB), base="nginx-auth"),
    Scenario("login", "nobody, sent to the login", CHECKING, (64,), session=False, status=302,
             received=(0, 16 * KIB), base="nginx-auth"),
    Scenario("upload-1k", "POST of 1 KiB", PROXIES, (64,), path=UPLOAD, method="POST", sent=KIB, received=(0, KIB)),
    Scenario("upload-1m", "POST of 1 MiB", PROXIES, (16,), path=UPLOAD, method="POST", sent=MIB, received=(0, KIB)),
    Scenario("download-1m", "GET of 1 MiB", PROXIES, (16,), path=DOWNLOAD, received=(MIB, MIB + HEAD)),
    Scenario("websocket", "WebSocket, echoes of 64 bytes", PROXIES, (64,), tool="websocket", path=SOCKET, status=101,
             received=(64, 80)),
    Scenario("allow-1024", "allowed, 1,024 connections", PROXIES, (1024,)),
    Scenario("tls", "allowed, TLS at the proxy, HTTP/1.1", TLS, (64,), scene="tls"),
    Scenario("http2", "allowed, TLS at the proxy, HTTP/2, four streams on each connection", TLS, (16,), scene="tls", tool="h2load",
             streams=4, received=(KIB, KIB + HEAD)),
    Scenario("flask", "Flask under gunicorn, one core for all", FLASKS, (16,), scene="flask", base="flask-sqlalchemy"),
)
# The parts that are no scenarios, with about how many seconds they take.
SYSCALLS, INSTRUCTIONS = "syscalls", "instructions"
COUNTS = {SYSCALLS: 20, INSTRUCTIONS: 90}

QUICK = {"allow": (16, 64), "deny": (64,), "login": (64,), "tls": (64,), "flask": (16,)}


def quick() -> tuple[Scenario, ...]:
    """For those with ten minutes, the build included."""
    return tuple(replace(scenario, connections=QUICK[scenario.name], rounds=3) for scenario in SCENARIOS if scenario.name in QUICK)
