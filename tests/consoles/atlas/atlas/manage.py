"""`python -m atlas.manage migrate [REVISION]`, `python -m atlas.manage downgrade REVISION`, `python -m atlas.manage seed`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

# What this release needs; 0004 and 0005 go with the next one.
THIS_RELEASE = "0003"


def main(arguments: list[str]) -> int:
    config = Config(str(Path(__file__).resolve().parents[1] / "alembic.ini"))
    match arguments:
        case ["migrate", *rest]:
            command.upgrade(config, rest[0] if rest else THIS_RELEASE)
        case ["downgrade", revision]:
            command.downgrade(config, revision)
        case ["seed"]:
            from atlas.seed import seed

            seed(os.environ["DATABASE_URL"])
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
