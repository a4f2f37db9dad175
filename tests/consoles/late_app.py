"""A WSGI application that sends a body where HTTP has none: with the answer to a HEAD, a moment after its head.

The body is the beginning of another answer, which whoever is next on the connection would get. DispatcherMiddleware and
prometheus_client's application do the same with their own bodies: what is beside Flask does not leave out bodies.
"""

from __future__ import annotations

import time
from typing import Any, Iterable, Iterator

SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\nsmuggled"


def late() -> Iterator[bytes]:
    time.sleep(0.002)
    yield SMUGGLED


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = b"ok" if environ["PATH_INFO"] == "/healthz" else b"an answer to " + environ["PATH_INFO"].encode()
    if environ["REQUEST_METHOD"] == "HEAD":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(SMUGGLED)))])
        return late()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
