"""Idioms that the project's English does without, counted in 1,000 lines: `make lint`.

    python3 tests/lint/words.py                  exits 1 and lists the places of each idiom that is over its limit
    python3 tests/lint/words.py --list PATH...   lists every place in these files and folders, whatever the limits

Counted are the product's Rust (src and crates, without tests: comments, messages and names) and the book (docs, README.md,
ARCHITECTURE.md). A sentence is reworded rather than a word replaced: subject, verb, the field's term.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The aim is 0.3 in 1,000 lines for each idiom, in Rust and in the book alike. The limits are what there was on 2026-11-25,
# rounded up: they are only ever lowered, until each is 0.3.
# idiom: (limit in Rust, limit in the book, what to write instead)
IDIOMS = {
    "nobody": (0.8, 1.7, "`no principal`, `unauthenticated`, or the passive: `a session did not identify a principal`"),
    "somebody": (0.3, 0.3, "`an admin`, `a caller`, `a person`, `another writer`"),
    "what is": (0.4, 1.1, "the noun: `ambiguous input is refused`, `the rest of the request`, `what was sent` -> `the request`"),
    "says": (0.5, 0.5, "`states`, `returns`, `reports`, `specifies`, `shows`"),
    "whom": (0.5, 0.5, "`the admin that ...`, or the active voice"),
    "whoever": (0.3, 0.3, "`a caller that ...`, `an admin that ...`: `grants of deleted admins can still be revoked`"),
    "what became of": (0.3, 0.3, "`the outcome of`, `how it ended`"),
}

Place = tuple[str, int, str]


def rust(folder: Path) -> Iterator[Path]:
    """The files of a folder that are product: neither a test's module nor a crate's `tests`."""
    for path in sorted(folder.rglob("*.rs")):
        of_tests = path.stem == "tests" or path.stem.endswith("_tests")
        if not of_tests and "tests" not in path.relative_to(ROOT).parts:
            yield path


def book() -> Iterator[Path]:
    yield from (ROOT / "README.md", ROOT / "ARCHITECTURE.md")
    yield from sorted((ROOT / "docs").rglob("*.md"))


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file by number, without a module's own tests: from `#[cfg(test)]` to the brace that closes the item."""
    skipped = ""
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line == "#[cfg(test)]":
            skipped = "item"
        elif skipped == "item":
            skipped = "block" if line.endswith("{") else "item" if line.startswith("#[") else ""
        elif skipped == "block":
            skipped = "" if line == "}" else "block"
        else:
            yield number, line


def count(paths: Iterator[Path]) -> tuple[int, dict[str, list[Place]]]:
    """How many lines there are, and the places of each idiom: whole words, in any case."""
    total, found = 0, {idiom: [] for idiom in IDIOMS}
    patterns = {idiom: re.compile(rf"\b{idiom}\b", re.IGNORECASE) for idiom in IDIOMS}
    for path in paths:
        for number, line in lines(path):
            total += 1
            for idiom, pattern in patterns.items():
                place = (str(path.relative_to(ROOT)), number, line.strip())
                found[idiom] += [place] * len(pattern.findall(line))
    return total, found


def show(places: list[Place]) -> None:
    for path, number, line in places:
        print(f"  {path}:{number}: {line[:120]}")


def listed(paths: list[str]) -> int:
    """Every place in some files and folders."""
    files: list[Path] = []
    for path in (Path(path).resolve() for path in paths):
        files += [path] if path.is_file() else [*rust(path), *sorted(path.rglob("*.md"))]
    total, found = count(iter(files))
    for idiom, places in found.items():
        print(f"`{idiom}`: {len(places)} in {total} lines. Better: {IDIOMS[idiom][2]}")
        show(places)
    return 0


def main() -> int:
    if sys.argv[1:2] == ["--list"]:
        return listed(sys.argv[2:])
    exceeded = False
    areas = (("Rust", (file for folder in ("src", "crates") for file in rust(ROOT / folder))), ("the book", book()))
    for column, (area, paths) in enumerate(areas):
        total, found = count(paths)
        for idiom, places in found.items():
            rate, limit = len(places) * 1_000 / total, IDIOMS[idiom][column]
            if rate > limit:
                exceeded = True
                print(f"`{idiom}` in {area}: {rate:.2f} in 1,000 lines, at most {limit}. Better: {IDIOMS[idiom][2]}")
                show(places)
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
