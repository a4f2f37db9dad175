"""Which edition of the tests runs: the quick one of `make test`, or everything, with GATE_TIER=all.

    @only_in_all("a representative of it is in the quick tier")
    EXAMPLES = in_tier(quick=2, full=12)
"""

from __future__ import annotations

import os
import unittest
from typing import Any, Callable, TypeVar

ALL = os.environ.get("GATE_TIER") == "all"
T = TypeVar("T")


def only_in_all(why: str) -> Callable[[Any], Any]:
    """Leaves a test or a class to GATE_TIER=all."""
    return unittest.skipUnless(ALL, f"only with GATE_TIER=all: {why}")


def in_tier(quick: T, full: T) -> T:
    return full if ALL else quick
