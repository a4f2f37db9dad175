"""The chart of a run: CPU a request beside nginx, as an SVG that is readable on light and dark pages."""

from __future__ import annotations

import html
import re
from typing import Any

from report import TITLES, Results, by_name

CONNECTIONS = (16, 64, 256)
WIDTH, EDGE, NAMES, VALUES = 860, 24, 190, 100
BAR, GAP, PANEL_HEAD, PANEL_GAP = 17, 7, 30, 14
STYLE = """
  .page { fill: #ffffff; stroke: #d0d7de; }
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; fill: #1f2328; }
  .title { font-size: 16px; font-weight: 600; }
  .panel { font-weight: 600; }
  .dim, .tick { fill: #59636e; font-size: 12px; }
  .value { fill: #1f2328; font-size: 12px; stroke: #ffffff; stroke-width: 4px; paint-order: stroke; }
  .gate { fill: #1a7f5a; }
  .peer { fill: #8c959f; }
  .grid { stroke: #d8dee4; stroke-width: 1; }
  .one { stroke: #59636e; stroke-width: 1; stroke-dasharray: 3 3; }
  .spread { stroke: #1f2328; stroke-width: 1.3; fill: none; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; stroke: #30363d; }
    text { fill: #e6edf3; }
    .dim, .tick { fill: #9198a1; }
    .value { fill: #e6edf3; stroke: #0d1117; }
    .gate { fill: #3fb27f; }
    .peer { fill: #656d76; }
    .grid { stroke: #262c34; }
    .one { stroke: #9198a1; }
    .spread { stroke: #e6edf3; }
  }
"""


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{html.escape(words)}</text>'


def step_of(most: float) -> float:
    """A distance of the ticks that gives at most eight of them."""
    return next(step for step in (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0) if most / step <= 8 or step == 100.0)


def panel(figure: dict[str, Any], top: float, connections: int, scale: float) -> tuple[list[str], float]:
    """The bars of one number of connections, and where they end."""
    lines = [text(EDGE, top + 14, f"{connections:,} connections", "panel")]
    base = figure["peers"][figure["base"]]["cpu_us"]
    left, y = EDGE + NAMES, top + PANEL_HEAD - 4
    for name in by_name(figure["peers"]):
        one = figure["peers"][name]
        wide, least, most = (one[key] / base * scale for key in ("cpu_us", "cpu_us_least", "cpu_us_most"))
        middle, kind = y + BAR / 2, "gate" if name.startswith("gate") else "peer"
        lines += [
            text(left - 8, middle + 4.5, re.sub(r"\*", "", TITLES.get(name, name)), "", "end"),
            f'<rect x="{left}" y="{y:.1f}" width="{wide:.1f}" height="{BAR}" rx="2" class="{kind}"/>',
            f'<path class="spread" d="M{left + least:.1f} {middle:.1f}H{left + most:.1f}M{left + least:.1f} {middle - 4:.1f}v8'
            f'M{left + most:.1f} {middle - 4:.1f}v8"/>',
            text(left + max(wide, most) + 8, middle + 4.5, f"{one['cpu_us'] / base:.2f}, {one['cpu_us']:.1f} µs", "value")]
        y += BAR + GAP
    return lines, y


def draw(results: Results) -> str:
    """The whole picture. Needs the figures `allow, 16`, `64` and `256`, those of them that there are."""
    figures = [(connections, results["figures"][f"allow, {connections}"]) for connections in CONNECTIONS
               if f"allow, {connections}" in results["figures"]]
    figures = [(connections, figure) for connections, figure in figures if figure["base"] in figure["peers"]]
    if not figures:
        raise ValueError("nothing to draw: no figure of `allow` beside nginx")
    most = max(one["cpu_us_most"] / figure["peers"][figure["base"]]["cpu_us"] for _, figure in figures for one in figure["peers"].values())
    left, room = EDGE + NAMES, WIDTH - 2 * EDGE - NAMES - VALUES
    scale = room / most
    top = EDGE + 52
    body, y = [], float(top)
    for connections, figure in figures:
        lines, y = panel(figure, y, connections, scale)
        body += lines
        y += PANEL_GAP
    bottom = y - PANEL_GAP
    step, ticks, at = step_of(most), [], 0.0
    while at <= most:
        x = left + at * scale
        ticks += [f'<path class="{"one" if at == 1 else "grid"}" d="M{x:.1f} {top - 4}V{bottom:.1f}"/>',
                  text(x, bottom + 16, f"{at:g}", "tick", "middle")]
        at += step
    rounds, seconds = figures[0][1]["rounds"], figures[0][1]["seconds"]
    head = [text(EDGE, EDGE + 12, "CPU time of one allowed request, relative to nginx that checks nothing", "title"),
            text(EDGE, EDGE + 32, f"Shorter is better. Medians of {rounds} rounds of {seconds} s, the spread over them as whiskers;"
                                  " one core for the proxy, 1 KiB pages.", "dim")]
    foot = text(EDGE, bottom + 40, f"{results['machine']}; commit {results['commit']}", "dim")
    height = bottom + 40 + EDGE - 8
    described = "; ".join(
        f"{connections} connections: " + ", ".join(f"{re.sub(r'[*]', '', TITLES.get(name, name))} {one['cpu_ratio']:.2f}"
                                                   for name, one in ((name, figure["peers"][name]) for name in by_name(figure["peers"])))
        for connections, figure in figures)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" role="img"'
        ' aria-labelledby="title description">',
        '<title id="title">CPU time of one allowed request, relative to nginx</title>',
        f'<desc id="description">{html.escape(described)}</desc>', f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="6"/>',
        *head, *ticks, *body, foot, "</svg>", ""])
