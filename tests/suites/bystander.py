"""Somebody who only wants to be served while a suite attacks the gate.

bystander.py open PORT SECONDS          until the gate takes connections
bystander.py wait PORT SECONDS          until it serves a page
bystander.py watch PORT SECONDS LAST    a request every quarter of a second; prints how many were served, how fast, and how
                                        many connections others had. LAST: the second after which they may have none; 0: any.
"""

import socket
import sys
import time

REQUEST = b"GET /public/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PATIENCE = 5
EVERY = 0.25
# A single page that comes late is a busy machine's; one in twenty is not.
TOLERATED = 20


def is_served(port, own):
    """Asks for the page over a connection of its own, whose port is noted while it is open."""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.settimeout(PATIENCE)
            own.add(connection.getsockname()[1])
            connection.sendall(REQUEST)
            answer = b""
            while part := connection.recv(4096):
                answer += part
            return answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"ok\n")
    except OSError:
        return False


def others(port, own):
    """How many connections to the gate are established by anybody else, as the kernel has it."""
    count = 0
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            _, local, remote, state = line.split()[:4]
            ours = int(local.rsplit(":", 1)[1], 16) == port
            if ours and state == "01" and int(remote.rsplit(":", 1)[1], 16) not in own:
                count += 1
    return count


def is_open(port):
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE):
            return True
    except OSError:
        return False


def wait(holds, seconds):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            sys.exit("the gate does not serve")
        time.sleep(0.05)


def watch(port, seconds, last):
    begin = time.monotonic()
    own, times, failures, most, seen_last = set(), [], 0, 0, 0.0
    late = 0
    while (now := time.monotonic()) < begin + seconds:
        if is_served(port, own):
            times.append(time.monotonic() - now)
        else:
            failures += 1
        open_now = others(port, own)
        most = max(most, open_now)
        if open_now:
            seen_last = time.monotonic() - begin
            late = open_now if last and seen_last > last else late
        time.sleep(max(0.0, EVERY - (time.monotonic() - now)))
    times.sort()
    middle = times[len(times) // 2] if times else float("nan")
    slowest = times[-1] if times else float("nan")
    print(
        f"   others: {len(times)} pages served, {failures} not; median {middle * 1000:.0f} ms, "
        f"slowest {slowest * 1000:.0f} ms"
    )
    print(f"   attacker: {most} connections at once, the last one seen after {seen_last:.0f} s", end="")
    print(f" (allowed: {last} s)" if last else "")
    if failures * TOLERATED > len(times) or late:
        sys.exit(1)


command, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
if command == "open":
    wait(lambda: is_open(port), seconds)
elif command == "wait":
    wait(lambda: is_served(port, set()), seconds)
else:
    watch(port, seconds, float(sys.argv[4]))
