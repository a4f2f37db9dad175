"""Load for profile-guided optimisation: asks a gate all that `tests/bench/compare` asks one, each for a moment.

    GATE=target/.../console-gate .venv/bin/python tests/bench/train.py

The gate was built to write a profile when it ends; `tests/bench/pgo.sh` does that.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "compare"))

from loads import load  # noqa: E402
from peers import MAKERS  # noqa: E402
from rounds import check_answers  # noqa: E402
from scenarios import GATES, SCENARIOS  # noqa: E402
from scene import LOAD_CORE, Scene  # noqa: E402

# One at a time, and so many that reads and rows are shared.
CONNECTIONS = (1, 16, 64)
SECONDS = 1


def main() -> None:
    for kind in ("clear", "tls"):
        asked = [replace(scenario, peers=tuple(peer for peer in scenario.peers if peer in GATES))
                 for scenario in SCENARIOS if scenario.scene == kind]
        with Scene(MAKERS, asked) as scene:
            for scenario in asked:
                for name in scenario.peers:
                    for connections in CONNECTIONS:
                        got = load(scenario, LOAD_CORE, scene.peers[name].port, scene.headers_of(scenario), connections, SECONDS)
                        check_answers(name, scenario, connections, got)
                        print(f"{name}, {scenario.key(connections)}: {got.requests:,} requests", flush=True)


if __name__ == "__main__":
    main()
