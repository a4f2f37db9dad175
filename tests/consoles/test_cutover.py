"""The cutover of Atlas, played through with its decorators on: from a stranger's database to V2, and back.

Each person of `people.json` asks everything, Console directly and through the gate; what `diff` promised is compared
with what they were answered.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, ClassVar

HERE = Path(__file__).resolve().parent
ATLAS = HERE / "atlas"
sys.path[:0] = [str(HERE), str(ATLAS)]

import psycopg  # noqa: E402
from drive import differences, matrix  # noqa: E402
from gate import Console, Gate, until  # noqa: E402
from postgres import Postgres  # noqa: E402

ALL = ["pages", "customers", "orders", "files", "reports", "staff", "audit", "api"]
# What the plan of this cutover changes: agents and viewers may export orders, agents lose the form for new customers.
GAIN = '"GET /orders/export.csv"'
LOSS = '"GET /customers/new"'


def setUpModule() -> None:
    AtlasBehindTheGate.server = Postgres().__enter__()
    unittest.addModuleCleanup(AtlasBehindTheGate.server.__exit__)


class AtlasBehindTheGate(unittest.TestCase):
    """A database, Atlas with the gate's two lines, and a gate that has not migrated yet."""

    server: ClassVar[Postgres]
    deferred = True

    def setUp(self) -> None:
        self.work = Path(tempfile.mkdtemp(prefix="gate-atlas-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        self.url = self.server.database()
        self.manage("migrate", "0003")
        self.manage("seed")
        environment = {"DATABASE_URL": self.url, "CONSOLE_GATE_DATABASE_URL": self.url}
        self.console = self.enterContext(Console("atlas", environment, self.work, deferred=self.deferred))
        self.gate = self.enterContext(Gate("atlas", self.console, environment, self.work))

    def manage(self, *arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "atlas.manage", *arguments], check=True, cwd=ATLAS,
                       env={**os.environ, "DATABASE_URL": self.url, "SECRET_KEY": "x"})

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def asked(self, base: str) -> dict[str, dict[str, str]]:
        """Everybody asks everything, on a fresh seed."""
        self.manage("seed")
        return matrix(base, ATLAS)

    def same(self, one: dict[str, dict[str, str]], other: dict[str, dict[str, str]]) -> None:
        self.assertEqual(differences(one, other), [])

    def migrated(self) -> None:
        self.gate.run("migrate")
        self.gate.script(ATLAS / "groups.sh")
        self.gate.serve()
