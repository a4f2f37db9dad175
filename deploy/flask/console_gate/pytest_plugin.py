"""The fixture `console_gate` for pytest; it is there as soon as the package is installed."""

from __future__ import annotations

import pytest

from console_gate.testing import Signer


@pytest.fixture
def console_gate(monkeypatch: pytest.MonkeyPatch) -> Signer:
    """Signs assertions; an application that is made within the test accepts them."""
    signer = Signer()
    for name in ("CONSOLE_GATE_KEYS_FILE", "CONSOLE_GATE_JWKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in signer.environment().items():
        monkeypatch.setenv(name, value)
    return signer
