"""Tables that a person can read."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TABLES = ROOT / "target" / "tmp" / "clients"
SKIPPED = ROOT / "target" / "tmp" / "skipped.txt"
COLUMN = 56


@dataclass
class Row:
    name: str
    expected: str
    # `equal`, `refused:word`, `changed:rule`, `unmapped`, `reset`, `cannot send`, `differs`, `passed`
    outcome: str
    wrong: dict[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass
class Table:
    """What came of one client's requests."""

    client: str
    rows: list[Row] = field(default_factory=list)

    @property
    def wrong(self) -> list[Row]:
        return [row for row in self.rows if row.wrong]

    def summary(self) -> str:
        counted = Counter("WRONG" if row.wrong else row.outcome.partition(":")[0] for row in self.rows)
        words = Counter(row.outcome.partition(":")[2] for row in self.rows if row.outcome.startswith("refused:") and not row.wrong)
        told = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
        kinds = KINDS
        return f"{self.client:18}" + "".join(f"{counted[kind]:>12}" for kind in kinds) + (f"   {told}" if told else "")

    def text(self) -> str:
        width = max((len(row.name) for row in self.rows), default=0)
        lines = [self.client, HEADING, self.summary(), ""]
        for row in self.rows:
            mark = "WRONG " if row.wrong else "      "
            lines.append(f"{mark}{row.name:{width}}  {row.outcome}")
            lines += [f"          {line}" for line in side_by_side(row)]
        return "\n".join(lines) + "\n"

    def write(self) -> None:
        TABLES.mkdir(parents=True, exist_ok=True)
        (TABLES / f"{self.client}.txt").write_text(self.text(), encoding="utf-8")


KINDS = ("equal", "changed", "refused", "unmapped", "reset", "cannot send", "WRONG")
HEADING = f"{'client':18}" + "".join(f"{kind:>12}" for kind in KINDS)


def side_by_side(row: Row) -> list[str]:
    """Both answers, where they are not what is expected."""
    if not row.wrong:
        return []
    lines = [f"expected {row.expected}", f"{'':14}{'Console itself':{COLUMN}}  through the gate"]
    for name, (direct, through) in row.wrong.items():
        columns = [textwrap.wrap(repr(value)[:400], COLUMN) or [""] for value in (direct, through)]
        for index in range(max(map(len, columns))):
            left, right = (column[index] if index < len(column) else "" for column in columns)
            lines.append(f"{name[:40] if index == 0 else '':14}{left:{COLUMN}}  {right}")
    return lines


def skipped(what: str, why: str) -> None:
    """For the end of `make test`."""
    SKIPPED.parent.mkdir(parents=True, exist_ok=True)
    with open(SKIPPED, "a", encoding="utf-8") as file:
        file.write(f"tests/clients: {what}: {why}\n")
