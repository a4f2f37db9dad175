"""What Linux has counted: CPU time and memory of processes and of cores, out of /proc."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable

TICKS = os.sysconf("SC_CLK_TCK")
# The columns of a core's line in /proc/stat. Guests are in `user` already.
USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL = range(8)


@dataclass(frozen=True)
class CoreTime:
    """Seconds that some cores worked, were idle, and were given to other machines by the host."""

    worked: float
    idle: float
    stolen: float
    # When, by a clock, times the number of cores.
    at: float

    def __sub__(self, earlier: CoreTime) -> CoreTime:
        return CoreTime(self.worked - earlier.worked, self.idle - earlier.idle, self.stolen - earlier.stolen, self.at - earlier.at)

    def busy(self) -> float:
        """Of a difference: the time that the cores worked at least.

        Linux samples `worked` at each tick, and measures `idle`, which leaves what interrupts do to nobody. Work of any length
        shows in both.
        """
        return min(self.worked, self.at - self.idle - self.stolen)


def core_time(stat: str, cores: Iterable[int], now: float) -> CoreTime:
    """The sum over `cores`, of the text of /proc/stat."""
    lines = {name: list(map(int, columns)) for name, *columns in map(str.split, stat.splitlines()) if name.startswith("cpu")}
    chosen = [lines[f"cpu{core}"] for core in cores]

    def seconds(*columns: int) -> float:
        return sum(line[column] for line in chosen for column in columns) / TICKS
    return CoreTime(seconds(USER, NICE, SYSTEM, IRQ, SOFTIRQ), seconds(IDLE, IOWAIT), seconds(STEAL), now * len(chosen))


def core_time_now(cores: Iterable[int]) -> CoreTime:
    return core_time(Path("/proc/stat").read_text(encoding="ascii"), cores, time.monotonic())


def tree(roots: Iterable[int]) -> list[int]:
    """Processes and all their children."""
    found: list[int] = []
    queue = list(roots)
    while queue:
        pid = queue.pop()
        with contextlib.suppress(OSError):  # It has ended meanwhile.
            for task in Path(f"/proc/{pid}/task").iterdir():
                queue += [int(child) for child in (task / "children").read_text().split()]
            found.append(pid)
    return found


def cpu_seconds(pids: Iterable[int], ended_children: bool = False) -> float:
    """User and system time of processes so far; with `ended_children` also that of children that they waited for."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            columns = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, columns[11:15 if ended_children else 13]))
    return ticks / TICKS


def memory(pids: Iterable[int], line: str) -> int:
    """Bytes of resident memory: `VmRSS` is what there is now, `VmHWM` the most since `forget_peak`."""
    total = 0
    for pid in pids:
        for text in Path(f"/proc/{pid}/status").read_text().splitlines():
            if text.startswith(line + ":"):
                total += int(text.split()[1]) * 1024
    return total


def forget_peak(pids: Iterable[int]) -> None:
    """Lets `VmHWM` begin anew."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
