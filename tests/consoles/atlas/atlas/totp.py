"""RFC 6238, as the authenticator apps have it: SHA-1, 30 seconds, six digits."""

from __future__ import annotations

import base64
import hmac
import struct
import time


def code(secret: str, at: float | None = None) -> str:
    counter = int((time.time() if at is None else at) // 30)
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", counter), "sha1")
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset:offset + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def is_good(secret: str, sent: str, at: float | None = None) -> bool:
    moment = time.time() if at is None else at
    return any(hmac.compare_digest(code(secret, moment + drift), sent) for drift in (-30, 0, 30))
