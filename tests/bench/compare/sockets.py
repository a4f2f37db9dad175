"""WebSockets, as fast as Python goes: what echoes them, and what measures how a proxy carries them.

    python sockets.py echo PORT
    python sockets.py load PORT CONNECTIONS SECONDS PATH [NAME:VALUE ...]

Messages are of 64 bytes, and each connection has one under way. Both sides know that, so they do not parse frames: they
count bytes. The last line that `load` prints is JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import select
import socket
import sys
import time
from typing import Any

MESSAGE = 64
TEXT = bytes(range(48, 48 + MESSAGE))
MASK = bytes([0x37, 0xfa, 0x21, 0x3d])
SENT = bytes([0x82, 0x80 | MESSAGE]) + MASK + bytes(byte ^ MASK[place % 4] for place, byte in enumerate(TEXT))
ECHOED = bytes([0x82, MESSAGE]) + TEXT
KEY = base64.b64encode(b"a key of a bench").decode()
MOST_HEAD = 65536


def accepted(key: str) -> str:
    """RFC 6455, section 4.2.2."""
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def read_head(connection: socket.socket) -> list[str]:
    """The lines of a head. What sends it waits before it sends more."""
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        more = connection.recv(4096)
        if not more or len(got) > MOST_HEAD:
            raise ConnectionError(f"no whole head: {got[:200]!r}")
        got += more
    return got.decode("latin-1").split("\r\n")


def value_of(head: list[str], wanted: str) -> str:
    return next((value.strip() for name, _, value in (line.partition(":") for line in head[1:]) if name.lower() == wanted), "")


def greet(connection: socket.socket) -> bool:
    """Answers what a new connection asks: a handshake, or a health check."""
    head = read_head(connection)
    key = value_of(head, "sec-websocket-key")
    if not key:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return False
    connection.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        f"Sec-WebSocket-Accept: {accepted(key)}\r\n\r\n").encode())
    return True


def echo(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    open_now: dict[int, tuple[socket.socket, bytearray]] = {}
    while True:
        for number, _event in poll.poll():
            if number == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.settimeout(10)
                try:
                    stays = greet(connection)
                except OSError:
                    stays = False
                if stays:
                    open_now[connection.fileno()] = connection, bytearray()
                    poll.register(connection, select.EPOLLIN)
                else:
                    connection.close()
                continue
            connection, waiting = open_now[number]
            try:
                got = connection.recv(65536)
            except OSError:
                got = b""
            waiting += got
            if got and len(waiting) % len(SENT) == 0 and waiting.startswith(SENT):
                connection.sendall(ECHOED * (len(waiting) // len(SENT)))
                waiting.clear()
            elif not got or len(waiting) > MOST_HEAD:
                poll.unregister(connection)
                connection.close()
                del open_now[number]


def shake_hands(port: int, path: str, headers: dict[str, str], timeout: float = 10) -> tuple[int, socket.socket]:
    """The status that a handshake got, and its connection."""
    connection = socket.create_connection(("127.0.0.1", port), timeout)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fields = {"Host": f"127.0.0.1:{port}", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                  "Sec-WebSocket-Key": KEY, **headers}
        connection.sendall((f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
                            + "\r\n").encode())
        got = b""
        while b"\r\n\r\n" not in got:
            more = connection.recv(4096)
            if not more:
                raise ConnectionError("closed within the handshake")
            got += more
        status = int(got.split(b" ", 2)[1])
        if status == 101 and value_of(got.decode("latin-1").split("\r\n"), "sec-websocket-accept") != accepted(KEY):
            raise ConnectionError("a handshake with another Sec-WebSocket-Accept")
        return status, connection
    except BaseException:
        connection.close()
        raise


def load(port: int, connections: int, seconds: float, path: str, headers: dict[str, str]) -> dict[str, Any]:
    poll, under_way = select.epoll(), {}
    for _ in range(connections):
        status, connection = shake_hands(port, path, headers)
        if status != 101:
            return {"requests": 0, "seconds": 0, "p50_us": 0, "p99_us": 0, "bytes": 0, "at_least_400": 1, "broken": 0,
                    "statuses": {str(status): 1}}
        poll.register(connection, select.EPOLLIN)
        under_way[connection.fileno()] = [connection, b"", 0.0]
    began = time.perf_counter()
    for one in under_way.values():
        one[2] = time.perf_counter()
        one[0].sendall(SENT)
    took: list[float] = []
    broken = 0
    while (now := time.perf_counter()) < began + seconds and under_way:
        for number, _event in poll.poll(began + seconds - now):
            one = under_way[number]
            try:
                got = one[0].recv(4096)
                one[1] += got
                if one[1] == ECHOED:
                    ended = time.perf_counter()
                    took.append(ended - one[2])
                    one[1], one[2] = b"", ended
                    one[0].sendall(SENT)
                    continue
            except OSError:
                got = b""
            if not got or len(one[1]) >= len(ECHOED):
                broken += 1
                poll.unregister(one[0])
                del under_way[number]
    lasted = time.perf_counter() - began
    took.sort()
    return {"requests": len(took), "seconds": lasted, "p50_us": percentile(took, 50) * 1e6, "p99_us": percentile(took, 99) * 1e6,
            "bytes": len(took) * len(ECHOED), "at_least_400": 0, "broken": broken, "statuses": {"101": connections}}


def percentile(ordered: list[float], percent: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo(int(sys.argv[2]))
    else:
        fields = dict(field.split(":", 1) for field in sys.argv[6:])
        print(json.dumps(load(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5], fields)))
