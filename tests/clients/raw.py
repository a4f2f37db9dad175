"""Requests as bytes: what no library sends, or what it takes a socket to see.

Each case is what goes out, in pieces, and how the client behaves; what comes back is read as strictly as RFC 9112 has
it. `{host}` is the server's address. The answers to all requests of one connection are compared.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from variants import ADA, EQUAL, UNMAPPED, Outcome, changed, either, refused
from wire import Answer

SECONDS = 15
# For what is only shown: Console itself waits for more, where the gate refuses.
SHOWN_SECONDS = 1


@dataclass(frozen=True)
class Case:
    name: str
    # What is sent; a number between two pieces is a pause in seconds.
    pieces: tuple[bytes | float, ...]
    expects: Outcome = EQUAL
    # How many answers there are, and the methods that they answer.
    methods: tuple[str, ...] = ("GET",)
    # The client says after its last byte that no more will come.
    half_close: bool = False
    # Whether the server closes the connection behind the last answer; None: that is its own affair.
    closes: bool | None = None
    # A byte at a time.
    slowly: bool = False
    # The gate with which it is asked: `gate`, or `hosts`, whose allowed_hosts are listed.
    gate: str = "gate"


CASES: list[Case] = []


def case(name: str, *pieces: bytes | float | str, expects: Outcome = EQUAL, **options: Any) -> None:
    CASES.append(Case(name, tuple(piece.encode() if isinstance(piece, str) else piece for piece in pieces), expects, **options))


def get(target: str = "/echo", *fields: str, version: str = "1.1", method: str = "GET") -> str:
    return f"{method} {target} HTTP/{version}\r\nHost: {{host}}\r\n" + "".join(f"{one}\r\n" for one in fields) + "\r\n"


class Malformed(Exception):
    """The server's bytes are no HTTP/1.1."""


@dataclass
class Exchange:
    """What came back over one connection."""

    answers: list[Answer] = field(default_factory=list)
    # `closed`, `open` or `reset`, after the last answer.
    end: str = ""
    # What the answers' framing was: "length", "chunked", "close" or "none" each.
    framings: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    interim: int = 0
    trouble: str = ""


class Reader:
    """Answers off a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._held = connection, b""

    def more(self) -> bool:
        data = self._connection.recv(65536)
        self._held += data
        return bool(data)

    def line(self) -> bytes:
        while b"\n" not in self._held:
            if not self.more():
                raise EOFError("the connection ended in a line" if self._held else "")
        line, self._held = self._held.split(b"\n", 1)
        if not line.endswith(b"\r"):
            raise Malformed(f"a bare line feed after {line[:80]!r}")
        return line[:-1]

    def exactly(self, length: int) -> bytes:
        while len(self._held) < length:
            if not self.more():
                raise EOFError(f"{length - len(self._held)} bytes of the body are missing")
        data, self._held = self._held[:length], self._held[length:]
        return data

    def rest(self) -> bytes:
        while self.more():
            pass
        data, self._held = self._held, b""
        return data

    def answer(self, method: str, exchange: Exchange) -> Answer:
        while True:
            start = self.line().decode("latin-1")
            parts = re.fullmatch(r"HTTP/(1\.[01]) (\d{3})(?: (.*))?", start)
            if parts is None:
                raise Malformed(f"no status line: {start[:80]!r}")
            headers = []
            while line := self.line():
                name, colon, value = line.decode("utf-8", "replace").partition(":")
                if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                    raise Malformed(f"no field: {line[:80]!r}")
                headers.append((name, value.strip(" \t")))
            status = int(parts[2])
            if status == 101 or status >= 200:
                break
            exchange.interim += 1
        answer = Answer(status, headers)
        exchange.versions.append(parts[1])
        lengths, codings = answer.values("content-length"), answer.values("transfer-encoding")
        if len(lengths) > 1 or lengths and codings:
            raise Malformed(f"framed twice: {lengths} {codings}")
        if method == "HEAD" or status in (101, 204, 304):
            exchange.framings.append("none")
        elif codings:
            if codings != ["chunked"]:
                raise Malformed(f"Transfer-Encoding: {codings}")
            exchange.framings.append("chunked")
            while size := int(self.line().partition(b";")[0], 16):
                answer.body += self.exactly(size)
                if self.line():
                    raise Malformed("a chunk is longer than it says")
            while self.line():
                pass
        elif lengths:
            exchange.framings.append("length")
            answer.body = self.exactly(int(lengths[0]))
        else:
            exchange.framings.append("close")
            answer.body = self.rest()
        return answer


def ask(base: str, case: Case, seconds: float = SECONDS) -> Exchange:
    parts = urlsplit(base)
    exchange = Exchange()
    with socket.create_connection((parts.hostname, parts.port), timeout=seconds) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in case.pieces:
                if isinstance(piece, (int, float)):
                    time.sleep(piece)
                else:
                    whole = piece.replace(b"{host}", parts.netloc.encode())
                    size = 1 if case.slowly else len(whole)
                    for start in range(0, len(whole), size):
                        connection.sendall(whole[start:start + size])
            if case.half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            # A server may refuse a request before it is whole; its answer is there all the same.
            pass
        reader = Reader(connection)
        try:
            for method in case.methods:
                exchange.answers.append(reader.answer(method, exchange))
            # Whether it stays open is seen only while nothing is sent: a moment is enough for a close that follows.
            connection.settimeout(0.3)
            exchange.end = "more" if reader.more() else "closed"
        except EOFError as error:
            exchange.end, exchange.trouble = "closed", str(error)
        except ConnectionResetError:
            exchange.end = "reset"
        except TimeoutError:
            exchange.end = "open" if len(exchange.answers) == len(case.methods) else "silent"
        except (Malformed, ValueError) as error:
            exchange.trouble = f"malformed: {error}"
    return exchange


# --- Targets

for _code in list(range(0x00, 0x21)) + [0x7f]:
    if _code in (0x0a, 0x0d):
        continue
    for _part in ("/echo/a", "/echo?a="):
        case(f"raw %{_code:02X} in {_part}", f"GET {_part}".encode() + bytes([_code]) + b"b HTTP/1.1\r\nHost: {host}\r\n\r\n",
             expects=refused("target_character"))
for _character in "[]{}|^`\\;\"<>%":
    case(f"raw {_character} in a query", get(f"/echo?a={_character}b"))
for _character in "[]{}|^`;\"<>":
    case(f"raw {_character} in a path", get(f"/echo/a{_character}b"))
case("raw backslash in a path", get("/echo/a\\b"), expects=either("target_character"))
case("raw % in a path", get("/echo/a%b"), expects=refused("malformed_escape"))
case("raw # in a path", get("/echo/a#b"), expects=refused("target_character"))
case("raw # in a query", get("/echo?a#b"), expects=refused("target_character"))
case("raw UTF-8 in a path", get("/echo/caf\u00e9"), expects=either("target_character"))
case("raw UTF-8 in a query", get("/echo?caf\u00e9"), expects=either("target_character"))
case("absolute form", get("http://{host}/echo?a=b"), expects=either("target_form"))
case("absolute form of another host", get("http://other.test/echo"), expects=either("target_form"))
case("authority form", get("{host}:443", method="CONNECT"), methods=("CONNECT",), expects=refused("unknown_method"))
case("asterisk", get("*", method="OPTIONS"), methods=("OPTIONS",), expects=either("target_form"))
case("no slash", get("echo"), expects=refused("target_form"))
case("empty path", get("?a=b"), expects=refused("target_form"))
case("two slashes first", get("//echo"), expects=refused("empty_segment"))
case("dot segments", get("/echo/../echo"), expects=refused("dot_segment"))
case("dot segment at the end", get("/echo/.."), expects=refused("dot_segment"))
case("slash within a path value", get("/echo/a//b"), expects=either("empty_segment"))

# --- Heads

case("HTTP/1.0", get(version="1.0"), closes=True)
case("HTTP/1.0 without Host", "GET /echo HTTP/1.0\r\n\r\n", expects=either("host_missing"), closes=True)
case("HTTP/1.0 with keep-alive", get("/echo", "Connection: keep-alive", version="1.0"), closes=False)
case("HTTP/1.0 with keep-alive, twice", get("/echo?1", "Connection: keep-alive", version="1.0"), 0.2, get("/echo?2", version="1.0"),
     methods=("GET", "GET"), closes=True)
case("HTTP/1.0 of a stream", get("/answer/stream", version="1.0"), closes=True)
case("HTTP/1.0 with keep-alive of a stream", get("/answer/stream", "Connection: keep-alive", version="1.0"), closes=True)
case("HTTP/1.0 of events", get("/answer/events", version="1.0"), closes=True)
case("HTTP/1.0 POST", get("/echo", "Content-Length: 3", version="1.0", method="POST") + "abc", methods=("POST",), closes=True)
case("HTTP/1.0 HEAD", get("/answer/large", version="1.0", method="HEAD"), methods=("HEAD",), closes=True)
case("HTTP/1.0 with Expect", get("/echo", "Content-Length: 3", "Expect: 100-continue", version="1.0", method="POST") + "abc", methods=("POST",))
case("HTTP/1.0 with chunks", get("/echo", "Transfer-Encoding: chunked", version="1.0", method="POST") + "3\r\nabc\r\n0\r\n\r\n",
     methods=("POST",), expects=refused("transfer_encoding"))
case("HTTP/1.2", get(version="1.2"), expects=refused("unsupported_version"))
case("HTTP/0.9", "GET /echo\r\n\r\n", expects=refused("malformed_head"))
case("HTTP/3.0", get(version="3.0"), expects=refused("unsupported_version"))
case("TLS on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32, expects=refused("tls_handshake"))
case("empty lines before a request", "\r\n\r\n" + get(), expects=either("malformed_head"))
case("bare line feeds", "GET /echo HTTP/1.1\nHost: {host}\n\n", expects=refused("bare_line_feed"))
case("bare carriage return", "GET /echo HTTP/1.1\r\nHost: {host}\rX: y\r\n\r\n", expects=refused("bare_carriage_return"))
case("two spaces in the request line", "GET  /echo HTTP/1.1\r\nHost: {host}\r\n\r\n", expects=refused("target_form"))
case("tab in the request line", "GET\t/echo HTTP/1.1\r\nHost: {host}\r\n\r\n", expects=refused("malformed_head"))
case("space before a colon", get("/echo", "X-A : b"), expects=refused("field_name"))
case("no name", get("/echo", ": b"), expects=refused("field_name"))
case("no colon", get("/echo", "X-A"), expects=refused("field_name"))
case("space in a name", get("/echo", "X A: b"), expects=refused("field_name"))
case("folded field", get("/echo", "X-A: b", " c"), expects=refused("folded_field"))
case("control in a value", get("/echo", "X-A: b\x01c"), expects=refused("field_value"))
case("NUL in a value", get("/echo", "X-A: b\x00c"), expects=refused("field_value"))
case("spaces around a value", get("/echo", "X-A:  b\t ", "X-B:c"))
case("a field in many letter cases", get("/echo", "x-a: 1", "X-A: 2", "X-a: 3"))
case("a byte at a time", get("/echo?slowly"), slowly=True)
case("in two pieces", get("/echo")[:20], 0.1, get("/echo")[20:])
case("name with _ and the same with -", get("/echo", "X_A: 1", "X-A: 2"), expects=changed("field-name", headers={"x-a": "2"}))
case("name with _ that frames a body", get("/echo", "Content_Length: 3"), expects=refused("field_name"))
case("name with . that frames a body", get("/echo", "Transfer.Encoding: chunked"), expects=refused("field_name"))
case("connection names a field", get("/echo", "Connection: X-A", "X-A: b"), expects=either("connection_option"))
case("connection names the cookie", get("/me", "Connection: Cookie", f"Cookie: session={ADA}"), expects=either("connection_option"))
case("connection: close", get("/echo", "Connection: close"), closes=True)
case("connection: Close, in another case", get("/echo", "Connection: CLOSE"), closes=True)
case("connection: keep-alive", get("/echo", "Connection: keep-alive", "Keep-Alive: timeout=5"), closes=False)
case("connection: upgrade alone", get("/echo", "Connection: upgrade"), closes=False)
case("connection: TE, close", get("/echo", "TE: deflate,gzip;q=0.3", "Connection: TE, close"), closes=True)
case("TE: trailers", get("/echo", "TE: trailers", "Connection: TE"))
case("an offer of h2c", get("/echo", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA"))
case("an offer of h2c with a body", get("/echo", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA",
     "Content-Length: 3", method="POST") + "abc", methods=("POST",))
case("an offer of TLS", get("/echo", "Connection: Upgrade", "Upgrade: TLS/1.0"))
case("an offer of something else", get("/echo", "Connection: Upgrade", "Upgrade: foo/2, bar"))
case("a WebSocket where there is none", get("/echo", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), expects=either("upgrade"))
case("a WebSocket without a key", get("/socket", "Connection: Upgrade", "Upgrade: websocket"), expects=either("upgrade"))
case("proxy-connection", get("/echo", "Proxy-Connection: keep-alive"))
case("two cookies fields", get("/echo", "Cookie: a=1", "Cookie: b=2"), expects=changed("cookie-fields", cookies=[["a", "1"], ["b", "2"]]))
case("two content types", get("/echo", "Content-Type: a/b", "Content-Type: c/d"), expects=refused("repeated_field"))
case("two authorizations", get("/echo", "Authorization: Basic a", "Authorization: Basic b"), expects=refused("repeated_field"))
case("expectation of something else", get("/echo", "Expect: tea"), expects=refused("expectation"))

# --- Hosts

case("Host CONSOLE.Test", "GET /echo HTTP/1.1\r\nHost: CONSOLE.Test\r\n\r\n",
     expects=changed("host", headers={"host": "console.test"}, host="console.test", url="http://console.test/echo"), gate="hosts")
for _host in ("console.test", "console.test:8443", "console.test.", "console_2.test", "xn--bcher-kva.test", "[::1]", "[::1]:8080",
              "10.0.0.1", "localhost"):
    case(f"Host {_host}", f"GET /echo HTTP/1.1\r\nHost: {_host}\r\n\r\n", gate="hosts")
    case(f"Host {_host}, redirected to the slash", f"GET /answer/slash HTTP/1.1\r\nHost: {_host}\r\n\r\n", gate="hosts")
for _host in ("console.test:80", "evil.test", "console.test..", ".console.test", "xconsole.test"):
    case(f"Host {_host}, which is nobody's", f"GET /echo HTTP/1.1\r\nHost: {_host}\r\n\r\n", expects=refused("host_not_allowed"), gate="hosts")
for _host in ("a b", "a@b", "evil.test/login", "h#", "h?", "a,b", "u:p@h", "h:0", "h:80:80", "[::1", "h\\"):
    case(f"Host {_host}", f"GET /echo HTTP/1.1\r\nHost: {_host}\r\n\r\n", expects=refused("host_malformed"))
case("no Host", "GET /echo HTTP/1.1\r\n\r\n", expects=refused("host_missing"))
case("empty Host", "GET /echo HTTP/1.1\r\nHost:\r\n\r\n", expects=refused("host_missing"))
case("two Hosts", get("/echo", "Host: other.test"), expects=refused("repeated_field"))

# --- Bodies

CHUNKED = "Transfer-Encoding: chunked"


def post(*fields: str, target: str = "/echo") -> str:
    return get(target, *fields, method="POST")


for _name, _body in {
    "one chunk": "3\r\nabc\r\n0\r\n\r\n", "many": "1\r\na\r\n" * 300 + "0\r\n\r\n", "none": "0\r\n\r\n", "zeros before": "0003\r\nabc\r\n000\r\n\r\n",
    "capitals": "A\r\n0123456789\r\n0\r\n\r\n", "an extension": "3;a=b\r\nabc\r\n0\r\n\r\n", "a quoted extension": '3;a="b;c"\r\nabc\r\n0;last\r\n\r\n',
    "an extension of the last": "3\r\nabc\r\n0;a\r\n\r\n", "a trailer": "3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n",
    "two trailers": "3\r\nabc\r\n0\r\nX-Trailer: 1\r\nETag: x\r\n\r\n",
}.items():
    case(f"chunks: {_name}", post(CHUNKED, "Trailer: X-Trailer") + _body, methods=("POST",), closes=False)
    case(f"chunks: {_name}, then another request", post(CHUNKED) + _body + get("/echo?2"), methods=("POST", "GET"), closes=False)
case("chunks: trailers that mean something", post(CHUNKED) + "3\r\nabc\r\n0\r\nContent-Length: 9\r\nHost: evil.test\r\nCookie: session=x\r\n\r\n",
     methods=("POST",), expects=either("chunk_malformed"))
for _name, _body in {
    "no size": "\r\nabc\r\n0\r\n\r\n", "no number": "x\r\nabc\r\n0\r\n\r\n", "sign": "+3\r\nabc\r\n0\r\n\r\n", "0x": "0x3\r\nabc\r\n0\r\n\r\n",
    "bare line feeds": "3\nabc\n0\n\n", "longer than it says": "3\r\nabcd\r\n0\r\n\r\n", "line feed in an extension": "3;a\nb\r\nabc\r\n0\r\n\r\n",
    "huge": "ffffffffffffffffff\r\nabc\r\n0\r\n\r\n", "space before a size": " 3\r\nabc\r\n0\r\n\r\n",
}.items():
    case(f"chunks: {_name}", post(CHUNKED) + _body, methods=("POST",), expects=refused("chunk_malformed"))
case("length and chunks", post("Content-Length: 3", CHUNKED) + "3\r\nabc\r\n0\r\n\r\n", methods=("POST",), expects=refused("length_and_coding"))
case("two lengths", post("Content-Length: 3", "Content-Length: 3") + "abc", methods=("POST",), expects=refused("repeated_field"))
for _length in ("+3", "03", "3,3", "0x3", "-1", "3.0", "", "99999999999999999999"):
    case(f"length {_length or 'empty'}", post(f"Content-Length: {_length}") + "abc", methods=("POST",), expects=refused("content_length"))
for _coding in ("gzip, chunked", "chunked, chunked", "identity", "xchunked"):
    case(f"coding {_coding}", post(f"Transfer-Encoding: {_coding}") + "3\r\nabc\r\n0\r\n\r\n", methods=("POST",), expects=refused("transfer_encoding"))
case("coding Chunked", post("Transfer-Encoding: Chunked") + "3\r\nabc\r\n0\r\n\r\n", methods=("POST",), expects=either("transfer_encoding"))
case("two codings", post(CHUNKED, CHUNKED) + "3\r\nabc\r\n0\r\n\r\n", methods=("POST",), expects=refused("repeated_field"))
case("length over the limit", post("Content-Length: 99999999") + "abc", methods=("POST",), expects=refused("body_too_large"))
case("length 0", post("Content-Length: 0"), methods=("POST",), closes=False)
case("no length", post(), methods=("POST",), closes=False)
case("body in pieces", post("Content-Length: 6"), 0.1, "abc", 0.1, "def", methods=("POST",), closes=False)
case("chunks in pieces", post(CHUNKED), 0.1, "3\r", 0.05, "\nab", 0.05, "c\r\n0\r\n", 0.05, "\r\n", methods=("POST",), closes=False)
case("expects and waits", post("Content-Length: 3", "Expect: 100-continue"), 0.5, "abc", methods=("POST",), closes=False)
case("expects and does not wait", post("Content-Length: 3", "Expect: 100-continue") + "abc", methods=("POST",), closes=False)
case("expects with chunks", post(CHUNKED, "Expect: 100-Continue"), 0.5, "3\r\nabc\r\n0\r\n\r\n", methods=("POST",), closes=False)
case("expects without a body", get("/echo", "Expect: 100-continue"), closes=False)
case("expects, and Flask does not want it", post("Content-Length: 5000", "Expect: 100-continue", target="/answer/small"), 0.5, "x" * 5000,
     methods=("POST",))
case("too large for Flask, and sent", post("Content-Length: 5000", target="/answer/small") + "x" * 5000, methods=("POST",))
case("answered early", post("Content-Length: 5000", target="/answer/early") + "x" * 5000, methods=("POST",))
case("answered before the body came", post("Content-Length: 5000", target="/answer/early"), 0.5, "x" * 5000, methods=("POST",))
case("GET with a body", get("/echo", "Content-Length: 3") + "abc" + get("/echo?2"), methods=("GET", "GET"), closes=False)
case("a body that ends early", post("Content-Length: 10") + "abc", methods=("POST",), half_close=True, expects=either("content_length"))

# --- Connections

case("pipelined", get("/echo?1") + get("/echo?2") + get("/echo?3"), methods=("GET",) * 3, closes=False)
case("pipelined with bodies", post("Content-Length: 3") + "abc" + post(CHUNKED) + "3\r\ndef\r\n0\r\n\r\n" + get("/echo?3"),
     methods=("POST", "POST", "GET"), closes=False)
case("pipelined HEAD", get("/answer/large?size=100", method="HEAD") + get("/echo?2"), methods=("HEAD", "GET"), closes=False)
case("pipelined answers of all kinds", get("/answer/status/204") + get("/answer/stream") + get("/answer/status/304") + get("/echo"),
     methods=("GET",) * 4, closes=False)
case("pipelined, the last closes", get("/echo?1") + get("/echo?2", "Connection: close"), methods=("GET", "GET"), closes=True)
case("one after the other", get("/echo?1"), 0.2, get("/echo?2"), 0.2, get("/echo?3"), methods=("GET",) * 3, closes=False)
case("empty lines between requests", get("/echo?1") + "\r\n" + get("/echo?2"), methods=("GET", "GET"), expects=either("malformed_head"))
case("half-closed", get("/echo"), half_close=True)
case("half-closed, with a body", post("Content-Length: 3") + "abc", methods=("POST",), half_close=True)
case("half-closed, of a slow answer", get("/answer/stream?n=5&pause=0.1"), half_close=True)
case("half-closed, over HTTP/1.0", get("/echo", version="1.0"), half_close=True, closes=True)
case("half-closed, pipelined", get("/echo?1") + get("/echo?2"), methods=("GET", "GET"), half_close=True)
case("an answer that closes", get("/answer/close"), methods=("GET",))
case("nobody's method, then another request", get("/free/echo", method="FOO") + get("/echo"), methods=("FOO", "GET"),
     expects=refused("unknown_method"))
case("not there, then another request", get("/free/nowhere") + get("/echo"), methods=("GET", "GET"), closes=False)
case("unmapped, then another request", get("/nowhere") + get("/echo"), methods=("GET", "GET"), expects=UNMAPPED)
