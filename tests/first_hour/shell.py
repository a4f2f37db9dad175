"""The commands of a page, run as a reader would: one shell, one after the other, each timed.

A block is fenced, and the line before it says `<!-- run: NAME -->`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

PATIENCE_SECONDS = 120


@dataclass
class Step:
    command: str
    code: int
    seconds: float
    said: str


def commands(page: Path, name: str) -> list[str]:
    """The commands of a block: lines that go on behind a backslash are one, comments of their own none."""
    found = re.findall(rf"<!-- run: {re.escape(name)} -->\n```\w*\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    if len(found) != 1:
        raise AssertionError(f"{page} has {len(found)} blocks `<!-- run: {name} -->`")
    lines = found[0].replace("\\\n", "").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


class Shell:
    """A bash that keeps its variables and its background jobs, as a reader's does."""

    def __init__(self, folder: Path, environment: dict[str, str], work: Path) -> None:
        self._log, self._codes = work / "shell.log", work / "shell.codes"
        self._log.touch()
        self._codes.touch()
        with open(self._log, "ab") as log:
            self._bash = subprocess.Popen(["bash", "--norc"], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=log,
                                          stderr=log, start_new_session=True, text=True)

    def run(self, command: str) -> Step:
        assert self._bash.stdin is not None
        number, before, began = len(self._codes.read_text().splitlines()), self._log.stat().st_size, time.monotonic()
        # What runs in the background must not read the lines that follow.
        background = re.search(r"(?<!&)&\s*(#.*)?$", command) is not None
        text = re.sub(r"&\s*(#.*)?$", "</dev/null &", command) if background else command
        self._bash.stdin.write(f"{text}\necho $? >>'{self._codes}'\n")
        self._bash.stdin.flush()
        while len(codes := self._codes.read_text().splitlines()) == number:
            if self._bash.poll() is not None or time.monotonic() - began > PATIENCE_SECONDS:
                raise AssertionError(f"`{command}` did not end:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.01)
        said = self._log.read_bytes()[before:].decode(errors="replace")
        return Step(command, int(codes[number]), time.monotonic() - began, said)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        """Ends it with everything that it started."""
        try:
            os.killpg(self._bash.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        self._bash.wait()


def sheet(steps: list[Step]) -> str:
    """What each took, as the stop-watch shows it."""
    lines = [f"{number:3}  {step.seconds:6.2f} s  {step.command[:100]}" for number, step in enumerate(steps, 1)]
    return "\n".join([*lines, f"     {sum(step.seconds for step in steps):6.2f} s  in all"])
