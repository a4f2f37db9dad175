"""Console-gate's public keys, for Console on another machine than the gate: `pip install console-gate[jwks]`.

Used where CONSOLE_GATE_JWKS is set; not needed with a shared secret.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

log = logging.getLogger("console_gate")
REFETCH_SECONDS = 10
MAX_JWKS_BYTES = 65536


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Keys come from the configured address or not at all: a redirect could lead from https to http."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


class JwksKeys:
    """EdDSA with Ed25519 (RFC 8037) from a JWKS (RFC 7517): a file that is read once, or an address.

    An address is asked when a key id is unknown, at most once in ten seconds. So Console may start before the
    gate, and a new key needs no restart; the gate must publish a key ten seconds before it signs with it.
    A key that the gate withdraws is forgotten at the next such question or restart.
    """

    algorithm = "EdDSA"

    def __init__(self, source: str) -> None:
        """`source`: a file's path, or an https address (http on this host only). Raises `OSError` or
        `ValueError` for a file that cannot be used, so that Console does not come up unguarded."""
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._lock = threading.Lock()
        self._next_fetch = 0.0
        self._address = source if "://" in source else None
        if self._address is None:
            with open(source, "rb") as file:
                self._keys = read_keys(file.read())
            return
        parts = urlsplit(self._address)
        on_this_host = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not on_this_host:
            # Somebody who can change the response on the way could put a key of their own into it.
            raise ValueError(f"a JWKS comes over https, or over http from this host only: `{source}`")

    def verify(self, key_id: str, signed: bytes, signature: bytes) -> None:
        """Return if `signature` over `signed` is by the key `key_id`; raise `ValueError` otherwise."""
        if key_id not in self._keys:
            self._fetch()
        key = self._keys.get(key_id)
        if key is None:
            raise ValueError("unknown key id")
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            raise ValueError("bad signature") from None

    def _fetch(self) -> None:
        with self._lock:
            if self._address is None or time.monotonic() < self._next_fetch:
                return
            try:
                with urllib.request.build_opener(NoRedirects).open(self._address, timeout=2) as answer:
                    self._keys = read_keys(answer.read(MAX_JWKS_BYTES))
            except Exception as error:  # whatever went wrong, the keys at hand stay
                log.error("the gate's JWKS cannot be read: %r", error)
            finally:
                self._next_fetch = time.monotonic() + REFETCH_SECONDS


def read_keys(body: bytes) -> dict[str, Ed25519PublicKey]:
    """The Ed25519 signature keys of a JWKS by key id; keys of other kinds are passed over."""
    wanted = {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA"}
    keys = {}
    for key in json.loads(body)["keys"]:
        if {"use": "sig", "alg": "EdDSA", **key}.items() >= wanted.items() and isinstance(key.get("kid"), str):
            point = base64.urlsafe_b64decode(key["x"] + "=" * (-len(key["x"]) % 4))
            keys[key["kid"]] = Ed25519PublicKey.from_public_bytes(point)
    if not keys:
        raise ValueError("the JWKS holds no Ed25519 key")
    return keys
