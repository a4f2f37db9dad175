"""Draws docs/images/workbench.svg: what `diff` says of one cluster, out of the golden file that the tests keep true.

    python docs/picture.py          # after a change of the report
"""

from __future__ import annotations

import html
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "workbench" / "golden" / "diff" / "one-cluster.txt"
PICTURE = ROOT / "docs" / "images" / "workbench.svg"
COMMAND = "console-gate diff routes.toml --cluster S3=v2"
MOST_LINES = 36
# Spaces at the beginning of a text, and several of them, are not drawn.
NO_BREAK = "&#160;"
WIDTH, LINE, LETTER, EDGE = 860, 19, 8.4, 18
INK, DIM, GREEN, RED, BLUE = "#d8dee9", "#8a93a5", "#a3d08c", "#f0868f", "#8ab8f0"


def colour(line: str) -> str:
    text = line.lstrip()
    if text.startswith("+ "):
        return GREEN
    if text.startswith("- "):
        return RED
    if " -> " in line:
        return BLUE
    return DIM if line.startswith(("FLAG_", "  ", "Clusters")) else INK


def draw() -> str:
    report = GOLDEN.read_text(encoding="utf-8").partition("\n\n")[2].rstrip().splitlines()
    # Whole groups: up to the last empty line that fits.
    fits = report[:MOST_LINES]
    shown = fits if len(report) <= MOST_LINES else fits[:len(fits) - 1 - fits[::-1].index("")]
    longest = int((WIDTH - 2 * EDGE) / LETTER)
    lines = [(f"$ {COMMAND}", INK), ("", INK), *((line[:longest], colour(line)) for line in shown)]
    height = 2 * EDGE + LINE * len(lines)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
             f'aria-label="{html.escape(COMMAND)}: who gains and who loses which route">',
             f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#1d222c"/>',
             '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="14">']
    for number, (line, ink) in enumerate(lines):
        if line:
            parts.append(f'<text x="{EDGE}" y="{EDGE + LINE * number + 14}" fill="{ink}" textLength="{len(line) * LETTER:.1f}">'
                         f"{html.escape(line).replace(' ', NO_BREAK)}</text>")
    return "\n".join([*parts, "</g>", "</svg>", ""])


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(), encoding="utf-8")
