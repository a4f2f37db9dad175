"""How the table of variants gets to a client's program and the answers come back: a line each, split by tabs.

    in    number  method  URL in base64  fields in base64 ("Name: value" lines)  body (-, size:N, b:BASE64)  options (a,b or -)
    out   number  status  fields in base64  body in base64, or sha256:HEX:LENGTH where it is longer than 1 MiB
    out   number  -       why this client cannot send it, in base64
    out   number  !       what went wrong, in base64
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Iterable

from variants import Variant

PIECE = b"0123456789abcdef"
LONG = 1 << 20


@dataclass
class Answer:
    """What a client got. `status` 0: nothing, for the reason in `trouble`."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    trouble: str = ""
    # The client's library refuses to send such a request.
    is_unsendable: bool = False

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def value(self, name: str) -> str | None:
        return next(iter(self.values(name)), None)


def unsendable(why: object) -> Answer:
    return Answer(0, trouble=str(why), is_unsendable=True)


def trouble(why: object) -> Answer:
    return Answer(0, trouble=str(why))


def bytes_of(body: bytes | int | None) -> bytes | None:
    return (PIECE * (body // 16 + 1))[:body] if isinstance(body, int) else body


def _encode(value: str | bytes) -> str:
    data = value.encode() if isinstance(value, str) else value
    return base64.b64encode(data).decode() or "="


def _decode(value: str) -> bytes:
    return b"" if value == "=" else base64.b64decode(value)


def shorten(body: bytes) -> bytes:
    return body if len(body) <= LONG else f"sha256:{hashlib.sha256(body).hexdigest()}:{len(body)}".encode()


def questions(variants: Iterable[Variant]) -> str:
    lines = []
    for number, variant in enumerate(variants):
        body = variant.body
        told = "-" if body is None else f"size:{body}" if isinstance(body, int) else "b:" + _encode(body)
        fields = "".join(f"{name}: {value}\n" for name, value in variant.headers)
        lines.append("\t".join([str(number), variant.method, _encode(variant.url), _encode(fields), told,
                                ",".join(sorted(variant.options)) or "-"]))
    return "\n".join(lines) + "\n"


def answers(text: str) -> dict[int, Answer]:
    found = {}
    for line in text.splitlines():
        number, status, *rest = line.split("\t")
        if status in "-!":
            why = _decode(rest[0]).decode(errors="replace")
            found[int(number)] = unsendable(why) if status == "-" else trouble(why)
        else:
            fields = [(name.strip(), value.strip()) for name, _, value in
                      (field.partition(":") for field in _decode(rest[0]).decode("utf-8", "replace").splitlines() if field)]
            body = rest[1].encode() if rest[1].startswith("sha256:") else _decode(rest[1])
            found[int(number)] = Answer(int(status), fields, body)
    return found
