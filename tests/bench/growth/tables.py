"""Tables in Markdown, and a page of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def markdown(head: list[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table; a cell is whatever `str` makes of it."""
    lines = [head, ["---"] * len(head), *[[str(cell) for cell in row] for row in rows]]
    wrong = [line for line in lines if len(line) != len(head)]
    if wrong:
        raise ValueError(f"{wrong[0]} has not {len(head)} cells")
    return "\n".join(f"| {' | '.join(line)} |" if line[0] != "---" else f"|{'|'.join(line)}|" for line in lines)


def report(made: dict[str, str]) -> str:
    """A page with a heading for each table."""
    return "# How it grows: one run\n" + "".join(f"\n## {name}\n\n{text}\n" for name, text in made.items())
