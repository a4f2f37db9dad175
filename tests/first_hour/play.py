"""Inside the namespaces: README's commands for Brook on a clean folder, then what they have made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "deploy")]

from machine import GATE, ROOT, names  # noqa: E402
from drive import differences, matrix  # noqa: E402
from shell import Shell, commands, sheet  # noqa: E402

BROOK = ROOT / "tests" / "consoles" / "brook"
README = ROOT / "README.md"
MOST_COMMANDS = 10
MOST_SECONDS = 60


def clean_folder(work: Path) -> tuple[Path, dict[str, str]]:
    """A copy of Brook with nothing of the gate in it, and an environment with nothing of the caller's settings."""
    app, programs = work / "app", work / "bin"
    shutil.copytree(BROOK, app, ignore=shutil.ignore_patterns("*.toml", "*.sh", "__pycache__"))
    programs.mkdir()
    (programs / "console-gate").symlink_to(GATE)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    others = ("CONSOLE_", "FLAG_", "BROOK_", "USE_GATE")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return app, {**clean, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def main(work: Path) -> None:
    names(work, {})
    app, clean = clean_folder(work)
    shell = Shell(app, clean, work)
    try:
        lines = commands(README, "first-hour")
        steps = [shell.run(line) for line in lines]
        print(sheet(steps))
        assert len(steps) <= MOST_COMMANDS, f"{len(steps)} commands"
        assert sum(step.seconds for step in steps) < MOST_SECONDS
        # `import` says by its exit code that something is left to review, as README says.
        failed = {step.command.split(" --")[0]: step.code for step in steps if step.code != 0}
        assert failed == {"console-gate import": 1}, failed
        assert "check_csrf" in next(step.said for step in steps if " import " in step.command)
        first = steps[-1]
        assert first.command.startswith("curl ") and "HTTP/1.1 302" in first.said and "location: /login?next=/" in first.said, first

        # Everybody gets what Brook itself answers.
        seed = lambda: subprocess.run([sys.executable, "brook.py", "seed"], check=True, cwd=app,  # noqa: E731
                                      env={**clean, "BROOK_DATABASE": "brook.db"})
        direct = matrix("http://127.0.0.1:8000", "brook")
        seed()
        found = differences(direct, matrix("http://127.0.0.1:8080", "brook"))
        assert found == [], found
        proposed = tomllib.loads((app / "gate.toml").read_text(encoding="utf-8"))["console"]
        assert "left_on IS NOT NULL AS disabled" in proposed["admins"].replace('"', ""), proposed
        # Each decorator has become a row on its legacy gate, and nobody was left out.
        routes = lambda file: {  # noqa: E731
            route: set(row.get("legacy", [])) for blueprint in tomllib.loads(file.read_text("utf-8"))["blueprints"].values()
            for route, row in blueprint["routes"].items()}
        assert routes(app / "routes.toml") == routes(BROOK / "routes.toml")
        seed()

        more = [shell.run(line) for line in commands(README, "first-role")]
        print(sheet(more))
        assert not [step for step in more if step.code != 0], more
        assert "sales" in (app / "plan.json").read_text(encoding="utf-8")
    except BaseException:
        print(shell.log()[-6000:], file=sys.stderr)
        raise
    finally:
        shell.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
