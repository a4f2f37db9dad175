"""The former name of `console_gate.jwks`, for Consoles that import it."""

from console_gate.jwks import JwksKeys, read_keys

__all__ = ["JwksKeys", "read_keys"]
