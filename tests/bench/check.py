"""The instructions of each step of a request, compared with those that the repository has: `make bench-check`.

    python3 tests/bench/check.py PROGRAM            fails if a step takes over 2 % more than tests/bench/instructions.tsv says
    python3 tests/bench/check.py PROGRAM --write    writes that file

PROGRAM is `tests/bench/steps.rs`, optimised. valgrind counts, so the figures hardly depend on what else the machine does. They
are not those of the processor itself: valgrind's has no instructions for SHA, and libc chooses other functions on a processor
without AVX2.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

KEPT = Path(__file__).with_name("instructions.tsv")
TIMES = 1_000
TOLERANCE = 0.02
# The same step is not counted the same each time: an id of a request costs more as the first one of its millisecond.
SLACK = 20


def count(program: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/callgrind"
        subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", program], check=True, capture_output=True)
        annotated = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", out], check=True,
                                   capture_output=True, text=True).stdout
    counts = {}
    for line in annotated.splitlines():
        # A function that others are inlined into has a line for each file; the largest is all of it.
        if found := re.match(r"\s*([\d,]+) .*steps::step_(\w+)", line):
            each = int(found[1].replace(",", "")) / TIMES
            counts[found[2]] = max(each, counts.get(found[2], 0))
    return counts


def main() -> int:
    counts = count(sys.argv[1])
    if "--write" in sys.argv:
        KEPT.write_text("".join(f"{step}\t{each:.0f}\n" for step, each in sorted(counts.items())))
    kept = {step: int(each) for step, each in (line.split("\t") for line in KEPT.read_text().splitlines())}
    dearer = []
    for step in sorted(kept | counts):
        before, now = kept.get(step, 0), counts.get(step, 0.0)
        change = now / before - 1 if before else float("inf")
        print(f"{step:12} {before:8,} -> {now:8,.0f}  {change:+.1%}")
        if now > before * (1 + TOLERANCE) + SLACK or step not in counts:
            dearer.append(step)
    print(f"{'all':12} {sum(kept.values()):8,} -> {sum(counts.values()):8,.0f}")
    if dearer:
        print(f"bench-check: dearer by more than {TOLERANCE:.0%}, or gone: {', '.join(dearer)}. If that is meant: --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
