"""How what the gate costs grows: `make bench-growth`.

    .venv/bin/python tests/bench/growth [--parts connections,rows,...] [--seconds 2] [--rounds 3]

Each part starts its own gates and changes one thing: connections, rows of the mapping, principals, logins a second, gates on one
database, cores. Load, upstream and Postgres have core 0, gates have core 1 (both, in the part `cores`). Where two are compared,
they take turns. A figure is the median of the rounds; a round with another answer than the expected one is thrown away.

`target/bench/growth.json` gets the figures, with the costs that the simulation needs; parts that were not run stay as they were.
`growth.md` beside it has the tables of all parts, and those of the simulation by these costs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "compare")]

import parts  # noqa: E402
import simulate  # noqa: E402
from peers import GATE  # noqa: E402
from scene import ROOT  # noqa: E402
from tables import report  # noqa: E402

OUT = ROOT / "target" / "bench" / "growth.json"
NEEDS = {"wrk": "wrk", "taskset": "util-linux", "/usr/sbin/nginx": "nginx-light"}


def costs(figures: dict[str, Any]) -> dict[str, float]:
    """What the simulation needs, of the parts that were measured."""
    found: dict[str, float] = {}
    if gates := figures.get("gates"):
        found |= gates["costs"]
    if principals := figures.get("principals"):
        largest = principals["rows"][-1]
        found |= {"load": largest["postgres_us_a_load"] / 1e6, "entry_bytes": largest["bytes_an_entry"]}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/growth")
    parser.add_argument("--parts", default=",".join(parts.PARTS))
    parser.add_argument("--seconds", type=float, default=2, help="of one round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    wanted = options.parts.split(",")
    if unknown := [name for name in wanted if name not in parts.PARTS]:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(parts.PARTS)}")
    if missing := [package for program, package in NEEDS.items() if shutil.which(program) is None]:
        print(f"bench: missing here: {' '.join(missing)} (sudo apt-get install {' '.join(missing)})", file=sys.stderr)
        return 2
    if not GATE.exists():
        print(f"bench: {GATE} is not built: make release", file=sys.stderr)
        return 2
    # What was started ends with the run, however that ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Its own server: another one need not count statements.
    os.environ.pop("TEST_DATABASE_URL", None)
    known: dict[str, Any] = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {"figures": {}}
    figures = known["figures"]
    began = time.monotonic()
    for name in wanted:
        print(f"# {name}", file=sys.stderr, flush=True)
        part = parts.PARTS[name]
        figures[name] = {**part.measure(options.seconds, options.rounds), "load_average": os.getloadavg()[0]}
        print(f"\n{name}\n\n{part.table(figures[name])}", flush=True)
    print(f"\n{time.monotonic() - began:.0f} s", file=sys.stderr)
    known |= {"gate": parts.version(), "cpu": parts.processor(), "costs": costs(figures)}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    # Parts that were measured before as well: the report has the tables of one file.
    made = {"made": parts.made(known)}
    made |= {name: parts.PARTS[name].table(measured) for name, measured in figures.items()}
    made["costs"] = simulate.shown(simulate.Costs.of(known["costs"]))
    made |= {name: make(simulate.Costs.of(known["costs"]), 1) for name, make in simulate.TABLES.items()}
    OUT.with_suffix(".md").write_text(report(made), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
