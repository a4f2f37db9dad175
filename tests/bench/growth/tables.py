"""Tables in Markdown, and the places of a page where they stand: between `<!-- growth:NAME -->` and `<!-- /growth -->`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


def markdown(head: list[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table; a cell is whatever `str` makes of it."""
    lines = [head, ["---"] * len(head), *[[str(cell) for cell in row] for row in rows]]
    wrong = [line for line in lines if len(line) != len(head)]
    if wrong:
        raise ValueError(f"{wrong[0]} has not {len(head)} cells")
    return "\n".join(f"| {' | '.join(line)} |" if line[0] != "---" else f"|{'|'.join(line)}|" for line in lines)


def rewrite(page: str, made: dict[str, str]) -> str:
    """The page with what was made in its places; what was not made stays as it is. A name without a place is an error."""
    for name, text in made.items():
        place = re.compile(rf"(<!-- growth:{re.escape(name)} -->\n).*?(<!-- /growth -->)", re.DOTALL)
        page, found = place.subn(lambda match, text=text: f"{match.group(1)}\n{text}\n\n{match.group(2)}", page)
        if found != 1:
            raise ValueError(f"the page has {found} places for `growth:{name}`")
    return page
