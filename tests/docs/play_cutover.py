"""Inside the namespaces: README's first hour, and then the lines of the cutover guide, in the same shell."""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "first_hour"), str(HERE.parent / "deploy")]

from machine import ROOT, names  # noqa: E402
from play import README, clean_folder  # noqa: E402
from shell import Shell, Step, commands, sheet  # noqa: E402
from tier import ALL  # noqa: E402

GUIDE = ROOT / "docs" / "cutover.md"
# What each block is there to show, in this order.
SHOWS = {
    "cutover-groups": ["1 membership(s) added", "member 1"],
    "cutover-rows": ["0 gains, 1 loss", "GET /staff", "group sales", "1 admin with legacy role boss"],
    "cutover-repair": ["6 admins, 17 routes: 0 gains, 0 losses", "allowed (by the legacy gate)"],
    "cutover-shadow": ["200", "shadow: not ready"],
    "cutover-cohort": ["v2 for leads, shadow for the rest", "200"],
    "cutover-v2": ["all as expected", "200", "activated"],
    "cutover-back": ["rolled back to", "v2 for leads, shadow for the rest"],
}

# A reader sleeps until the gate has taken a mapping up, or has written what it saw; the quick tier looks instead.
LOOK = r"""
sleep() {
    for _ in $(seq 100); do
        command sleep 0.1
        ! curl -s http://127.0.0.1:9901/metrics | grep -q "^gate_mapping_info{.*$(sha256sum <routes.toml | cut -c1-64).* 1$" \
            || { command sleep 0.3; return 0; }
    done
    return 1
}"""


def expected(command: str) -> int:
    """The exit code that the line's comment promises."""
    found = re.search(r"#.*\bexits (\d)", command)
    return int(found.group(1)) if found else 0


def main(work: Path) -> None:
    names(work, {})
    folder, environment = clean_folder(work)
    shell = Shell(folder, environment, work)
    try:
        for name in ("first-hour", "first-role"):
            for line in commands(README, name):
                shell.run(line)
        if not ALL:
            assert shell.run(LOOK).code == 0
        blocks = re.findall(r"<!-- run: (\S+) -->", GUIDE.read_text(encoding="utf-8"))
        assert blocks == list(SHOWS), blocks
        for name in blocks:
            steps: list[Step] = [shell.run(line) for line in commands(GUIDE, name)]
            print(sheet(steps))
            for step in steps:
                assert step.code == expected(step.command), f"{step.command}: {step.code}\n{step.said}"
            rest = "\n".join(step.said for step in steps)
            for shown in SHOWS[name]:
                assert shown in rest, f"{name}: `{shown}` is missing in\n{rest}"
                rest = rest[rest.index(shown) + len(shown):]
    except BaseException:
        print(shell.log()[-5000:], file=sys.stderr)
        raise
    finally:
        shell.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
