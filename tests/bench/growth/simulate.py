"""What is larger than a test machine, simulated with the costs that were measured on one.

    python tests/bench/growth/simulate.py [--costs target/bench/growth.json] [--seed 1]

A discrete-event simulation: a database with some cores, gates at some distance from it, requests at random. Strict gates read
as `src/freshness/shared_read.rs` does: one read at a time, shared by all that waited when it began. Push gates renew, read and
acknowledge as `src/freshness/keeper.rs` does. `test_simulate.py` compares the parts with what queueing theory gives exactly.

The same seed gives the same figures. Times are in seconds.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import random
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tables import markdown  # noqa: E402

MICROSECOND, MILLISECOND = 1e-6, 1e-3
# Of `src/freshness/keeper.rs`.
BEATS = 4


@dataclass(frozen=True)
class Costs:
    """CPU time of Postgres, measured by the parts `gates` and `principals`."""

    # One read of the control row by a strict gate.
    read: float = 150 * MICROSECOND
    # One beat of a gate with push: a renewal of its lease, and a read. Each is taken to be half of it.
    beat: float = 600 * MICROSECOND
    # One change of the epoch, for each gate with push: a notification, a read, and a renewal that acknowledges. Each is taken
    # to be a third of it.
    heard: float = 300 * MICROSECOND
    # One load of a principal's access.
    load: float = 500 * MICROSECOND
    # Bytes of the gate for each principal in its cache.
    entry_bytes: float = 2_000

    @staticmethod
    def of(figures: dict[str, Any]) -> Costs:
        """With what was measured in the place of what stands above."""
        known = {field.name for field in fields(Costs)}
        return replace(Costs(), **{name: value for name, value in figures.items() if name in known and value > 0})


# --- the engine ---

class Clock:
    """Does what was asked for, in the order of its time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, time: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (time, next(self._numbers), do))

    def after(self, delay: float, do: Callable[[], None]) -> None:
        self.at(self.now + delay, do)

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, do = heapq.heappop(self._queue)
            do()
        self.now = until


class Station:
    """Some servers with one queue, first come, first served: the cores of a database, or the lock of a row."""

    def __init__(self, clock: Clock, servers: int) -> None:
        self.clock, self.servers = clock, servers
        self._idle = servers
        self._queue: deque[tuple[float, Callable[[], None]]] = deque()
        self.work = 0.0

    def ask(self, service: float, done: Callable[[], None]) -> None:
        self._queue.append((service, done))
        self._serve()

    def utilisation(self) -> float:
        return self.work / (self.servers * self.clock.now)

    def _serve(self) -> None:
        while self._idle and self._queue:
            service, done = self._queue.popleft()
            self._idle -= 1
            self.clock.after(service, lambda service=service, done=done: self._end(service, done))

    def _end(self, service: float, done: Callable[[], None]) -> None:
        self._idle += 1
        self.work += service
        done()
        self._serve()


def poisson(chance: random.Random, rate: float) -> Iterator[float]:
    """The times of events that come at random."""
    time = 0.0
    while True:
        time += chance.expovariate(rate)
        yield time


# --- the gate's parts ---

@dataclass
class Statement:
    """How a statement reaches the database and comes back."""

    clock: Clock
    database: Station
    round_trip: float

    def run(self, service: float, answered: Callable[[], None], at_database: Callable[[], None] = lambda: None) -> None:
        def served() -> None:
            at_database()
            self.clock.after(self.round_trip / 2, answered)

        self.clock.after(self.round_trip / 2, lambda: self.database.ask(service, served))

    def send(self, service: float, arrived: Callable[[], None], at_database: Callable[[], None]) -> None:
        """What the database does of itself, and sends."""
        def served() -> None:
            at_database()
            self.clock.after(self.round_trip / 2, arrived)

        self.database.ask(service, served)


class StrictGate:
    """Requests that each wait for a read that began after they arrived; those that wait share one."""

    def __init__(self, statement: Statement, arrivals: Iterator[float], read: float) -> None:
        self.statement, self.clock, self.read = statement, statement.clock, read
        self._arrivals = arrivals
        self._next = next(arrivals)
        self._waiting: list[float] = []
        self.waits: list[float] = []
        self.reads = 0
        self.clock.at(self._next, self._begin)

    def _begin(self) -> None:
        while self._next <= self.clock.now:
            self._waiting.append(self._next)
            self._next = next(self._arrivals)
        self.reads += 1
        self.statement.run(self.read, self._end)

    def _end(self) -> None:
        self.waits += [self.clock.now - arrived for arrived in self._waiting]
        self._waiting.clear()
        self.clock.at(max(self._next, self.clock.now), self._begin)


class World:
    """The epoch, and who listens for it."""

    def __init__(self, clock: Clock, changes: Iterator[float] | None) -> None:
        self.clock, self.epoch = clock, 0
        self.listeners: list[PushGate] = []
        self._changes = changes
        if changes is not None:
            clock.at(next(changes), self._change)

    def _change(self) -> None:
        self.epoch += 1
        for gate in self.listeners:
            gate.wake()
        if self._changes is not None:
            self.clock.at(next(self._changes), self._change)


class PushGate:
    """One task with one connection: it renews, reads, trusts, acknowledges, and hears."""

    def __init__(self, statement: Statement, world: World, costs: Costs, staleness: float, first_beat: float) -> None:
        self.statement, self.clock, self.world, self.costs = statement, statement.clock, world, costs
        self.staleness, self.acts_on, self.statements = staleness, -1, 0
        self.trusted_for, self._trusted_since, self._trusted_until = 0.0, 0.0, 0.0
        self._heard = self._on_its_way = 0
        self._waking, self._busy = False, True
        self._sent = 0.0
        self._read_epoch = 0
        self.acknowledged: list[tuple[int, float]] = []
        world.listeners.append(self)
        self.clock.at(first_beat, self._beat)

    def wake(self) -> None:
        """The process of the database that serves this listener sends what is new; what comes meanwhile it sends with it."""
        if not self._waking:
            self._waking = True
            self.statement.send(self.costs.heard / 3, self._send, self._sent_off)

    def _sent_off(self) -> None:
        self._waking, self._on_its_way = False, self.world.epoch

    def _send(self) -> None:
        self.hear(self._on_its_way)

    def hear(self, epoch: int) -> None:
        self._heard = epoch
        if not self._busy and epoch > self.acts_on:
            self._busy = True
            self._doubt()
            self._look(self.costs.heard / 3)

    def trusted(self) -> float:
        """For how long what is known was trusted so far."""
        self._note()
        return self.trusted_for

    def _note(self) -> None:
        end = min(self.clock.now, self._trusted_until)
        self.trusted_for += max(0.0, end - self._trusted_since)
        self._trusted_since = max(self._trusted_since, end)

    def _doubt(self) -> None:
        self._note()
        self._trusted_until = min(self._trusted_until, self.clock.now)

    def _beat(self) -> None:
        if self._busy and self._sent:
            # Something else is under way on the connection: the beat comes after it.
            self.clock.after(self.staleness / BEATS / 100, self._beat)
            return
        self._busy = True
        self._sent = self.clock.now
        self.clock.after(self.staleness / BEATS, self._beat)
        self._run(self.costs.beat / 2, lambda: self._in_time(self._sent, lambda: self._look(self.costs.beat / 2)))

    def _in_time(self, since: float, then: Callable[[], None]) -> None:
        """A statement that takes longer than a beat ends the trust; the gate connects again, here at the next beat."""
        if self.clock.now - since > self.staleness / BEATS:
            self._doubt()
            self._busy = False
        else:
            then()

    def _look(self, service: float) -> None:
        since = self.clock.now

        def snapshot() -> None:
            self._read_epoch = self.world.epoch

        self._run(service, lambda: self._in_time(since, self._learn), snapshot)

    def _learn(self) -> None:
        if self._heard > self._read_epoch:
            self._doubt()
            self._look(self.costs.heard / 3)
            return
        self._note()
        self._trusted_since, self._trusted_until = self.clock.now, self._sent + self.staleness
        if self._read_epoch != self.acts_on:
            self.acts_on = self._read_epoch
            epoch = self.acts_on
            self._run(self.costs.heard / 3, self._idle, lambda: self.acknowledged.append((epoch, self.clock.now)))
        else:
            self._idle()

    def _idle(self) -> None:
        self._busy = False
        if self._heard > self.acts_on:
            self.hear(self._heard)

    def _run(self, service: float, answered: Callable[[], None], at_database: Callable[[], None] = lambda: None) -> None:
        self.statements += 1
        self.statement.run(service, answered, at_database)


# --- what is asked ---

def share(values: list[float], part: float) -> float:
    """The value below which `part` of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def strict(costs: Costs, gates: int, rate: float, round_trip: float, cores: int, seconds: float, seed: int) -> dict[str, float]:
    """`gates` strict gates with `rate` requests a second each, on one database."""
    clock = Clock()
    database = Station(clock, cores)
    all_gates = [StrictGate(Statement(clock, database, round_trip), poisson(random.Random(seed * 1_000_003 + number), rate), costs.read)
                 for number in range(gates)]
    clock.run(seconds)
    waits = [wait for gate in all_gates for wait in gate.waits]
    reads = sum(gate.reads for gate in all_gates)
    return {"wait_p50": share(waits, 0.5), "wait_p99": share(waits, 0.99), "wait_mean": sum(waits) / len(waits),
            "reads": reads / seconds, "requests_a_read": len(waits) / reads, "utilisation": database.utilisation()}


def push(costs: Costs, gates: int, changes: float, round_trip: float, cores: int, staleness: float, seconds: float,
         seed: int) -> dict[str, float]:
    """`gates` gates with push on one database, whose epoch rises `changes` times a second."""
    clock, chance = Clock(), random.Random(seed)
    database = Station(clock, cores)
    world = World(clock, poisson(random.Random(seed + 1), changes) if changes else None)
    beats = [chance.uniform(0, staleness / BEATS) for _ in range(gates)]
    all_gates = [PushGate(Statement(clock, database, round_trip), world, costs, staleness, beat) for beat in beats]
    # The first beat of each gate is not counted.
    clock.run(staleness)

    def so_far() -> list[float]:
        return [sum(gate.trusted() for gate in all_gates), sum(gate.statements for gate in all_gates), database.work]

    before = so_far()
    clock.run(staleness + seconds)
    trusted, statements, work = (after - then for after, then in zip(so_far(), before))
    return {"trusted": trusted / gates / seconds, "statements": statements / seconds, "utilisation": work / cores / seconds}


def barrier(costs: Costs, gates: int, round_trip: float, cores: int, staleness: float, seed: int) -> float:
    """How long after one change every gate has acknowledged it."""
    clock, chance = Clock(), random.Random(seed)
    database = Station(clock, cores)
    begins = staleness
    world = World(clock, iter([begins, float("inf")]))
    all_gates = [PushGate(Statement(clock, database, round_trip), world, costs, staleness, chance.uniform(0, staleness / BEATS))
                 for _ in range(gates)]
    clock.run(begins + staleness)
    done = [[time for epoch, time in gate.acknowledged if epoch == 1] for gate in all_gates]
    # One that has not is waited for until its lease has run out.
    return max(times[0] - begins if times else staleness for times in done)


def row_lock(rate: float, hold: float, seconds: float, seed: int) -> float:
    """How long a transaction that raises the epoch waits on average for those before it: the row is one lock."""
    clock, chance = Clock(), random.Random(seed)
    lock = Station(clock, 1)
    waits: list[float] = []
    for arrived in itertools.takewhile(lambda time: time < seconds, poisson(chance, rate)):
        clock.at(arrived, lambda arrived=arrived: lock.ask(hold, lambda: waits.append(max(0.0, clock.now - arrived - hold))))
    clock.run(seconds)
    return sum(waits) / len(waits)


def missed(principals: int, capacity: int, changes: float, rate: float, skew: float, requests: int, seed: int) -> float:
    """The share of requests that load their principal's access. `changes` a second concern everybody; `rate` requests a second
    come from `principals`, the n-th of them 1/n^skew times as often as the first; the cache keeps the last `capacity`."""
    chance = random.Random(seed)
    weights = list(itertools.accumulate(1 / (number + 1) ** skew for number in range(principals)))
    who = chance.choices(range(principals), cum_weights=weights, k=requests * 2)
    cache: OrderedDict[int, float] = OrderedDict()
    time, last_change, loads = 0.0, -1.0, 0
    next_change = chance.expovariate(changes) if changes else float("inf")
    for number, principal in enumerate(who):
        time += chance.expovariate(rate)
        while next_change < time:
            last_change, next_change = next_change, next_change + chance.expovariate(changes)
        if cache.get(principal, -2.0) < last_change or principal not in cache:
            # The first half fills the cache.
            loads += number >= requests
            cache[principal] = time
        cache.move_to_end(principal)
        if len(cache) > capacity:
            cache.popitem(last=False)
    return loads / requests


def groups(principals: int, rate: float, skew: float) -> list[tuple[int, float]]:
    """Principals by how often each asks: the first thousand one by one, the rest in groups whose ranks differ by a hundredth."""
    found, first = [], 1
    while first <= principals:
        last = min(principals, max(first, int(first * 1.01) if first > 1_000 else first))
        found.append((last - first + 1, ((first + last) / 2) ** -skew))
        first = last + 1
    whole = sum(count * weight for count, weight in found)
    return [(count, rate * weight / whole) for count, weight in found]


def estimated(principals: int, capacity: int, changes: float, rate: float, skew: float) -> float:
    """What `missed` would find, of any number of principals. Who was last heard of T ago is evicted, T being such that a full
    cache holds those who asked since (Che's approximation); an entry counts if no change came after it:
    r / (r + m) (1 - e^-(r + m)T) of the requests of who asks r times a second, with m changes a second."""
    kinds = groups(principals, rate, skew)
    low, high = 0.0, 1e15
    for _ in range(200):
        middle = (low + high) / 2
        held = sum(-count * math.expm1(-each * middle) for count, each in kinds)
        low, high = (middle, high) if held < capacity else (low, middle)
    hits = sum(-count * each * each / (each + changes) * math.expm1(-(each + changes) * low) for count, each in kinds)
    return 1 - hits / rate


# --- the tables ---

def milliseconds(seconds: float) -> str:
    value = seconds / MILLISECOND
    return f"{value:,.0f} ms" if value >= 20 else f"{value:.1f} ms" if value >= 1 else f"{value:.2f} ms"


def many_gates(costs: Costs, seed: int) -> str:
    rows = []
    for gates, rate, cores in [(4, 1_000, 4), (100, 100, 4), (1_000, 10, 4), (1_000, 100, 4), (1_000, 100, 16), (1_000, 1_000, 16)]:
        seconds = 1.0 if gates * rate < 50_000 else 0.25
        got = strict(costs, gates, rate, 0.5 * MILLISECOND, cores, seconds, seed)
        rows.append([f"{gates:,}", f"{gates * rate:,}", cores, f"{got['reads']:,.0f}", f"{got['requests_a_read']:.1f}",
                     f"{got['utilisation']:.0%}", milliseconds(got["wait_p50"]), milliseconds(got["wait_p99"])])
    return markdown(["gates", "requests/s of all", "cores of the database", "reads/s", "requests a read", "busy", "wait p50", "p99"],
                    rows)


def many_listeners(costs: Costs, seed: int) -> str:
    rows = []
    waited: dict[int, float] = {}
    for gates, changes in [(4, 0), (4, 10), (100, 1), (100, 50), (1_000, 0), (1_000, 1), (1_000, 10), (1_000, 50)]:
        got = push(costs, gates, changes, 0.5 * MILLISECOND, 4, 2.0, 2.0, seed)
        if gates not in waited:
            waited[gates] = barrier(costs, gates, 0.5 * MILLISECOND, 4, 2.0, seed)
        rows.append([f"{gates:,}", changes, f"{got['statements']:,.0f}", f"{got['utilisation']:.0%}", f"{got['trusted']:.1%}",
                     milliseconds(waited[gates])])
    return markdown(["gates", "changes of the epoch/s", "statements/s", "busy (4 cores)", "time in which push needs no read",
                     "every gate acts on one change after"], rows)


def far_away(costs: Costs, seed: int) -> str:
    rows = []
    for round_trip in (0.5, 10, 80):
        # Whatever the requests do.
        pushed = [f"{push(costs, 1, changes, round_trip * MILLISECOND, 4, 2.0, 60.0, seed)['trusted']:.1%}" for changes in (0, 1, 5)]
        for rate in (10, 1_000):
            got = strict(costs, 1, rate, round_trip * MILLISECOND, 4, 20.0 if rate < 100 else 5.0, seed)
            rows.append([f"{round_trip:g} ms", f"{rate:,}", milliseconds(got["wait_p50"]), milliseconds(got["wait_p99"]),
                         f"{got['requests_a_read']:.1f}", *pushed])
    return markdown(["round trip", "requests/s", "strict: wait p50", "p99", "requests a read", "push needs no read: no change",
                     "1 change/s", "5 changes/s"], rows)


def one_row(_costs: Costs, seed: int) -> str:
    rows = []
    for hold, what in [(0.2, "no fsync, Console beside its database"), (2, "a commit of 2 ms"), (10, "a commit of 10 ms"),
                       (80, "one round trip to another region between the write and the end of its transaction")]:
        cells: list[Any] = [f"{hold:g} ms", what, f"{1_000 / hold:,.0f}"]
        for rate in (1, 10, 100):
            busy = rate * hold * MILLISECOND
            cells.append("more than it can" if busy >= 1 else milliseconds(row_lock(rate, hold * MILLISECOND, 4_000 / rate, seed)))
        rows.append(cells)
    return markdown(["the row is locked for", "as with", "most changes/s", "1/s: mean wait", "10/s", "100/s"], rows)


def million(costs: Costs, _seed: int) -> str:
    rows = []
    for capacity in (10_000, 100_000, 1_000_000):
        cells: list[Any] = [f"{capacity:,}", f"{capacity * costs.entry_bytes / 2**20:,.0f} MiB"]
        for skew, every in ((0.0, 0), (1.0, 0), (1.0, 600), (1.0, 60)):
            part = estimated(1_000_000, capacity, 1 / every if every else 0.0, 10_000.0, skew)
            cells.append(f"{part:.0%}, {part * 10_000 * costs.load:.2f} cores")
        rows.append(cells)
    return markdown(["`cache_capacity`", "a full cache", "all ask equally often", "few ask most often (Zipf, exponent 1)",
                     "the same, a change for everybody every 10 minutes", "every minute"], rows)


def shown(costs: Costs) -> str:
    """The costs in words."""
    return (f"A strict read takes {costs.read / MICROSECOND:,.0f} µs of Postgres, with all else that it does meanwhile; a beat of a gate "
            f"with push {costs.beat / MICROSECOND:,.0f} µs, in an idle database; a change of the epoch {costs.heard / MICROSECOND:,.0f} µs "
            f"for each gate with push; a load of a principal's access {costs.load / MICROSECOND:,.0f} µs. An entry of the cache takes "
            f"{costs.entry_bytes:,.0f} bytes of the gate.")


TABLES: dict[str, Callable[[Costs, int], str]] = {
    "simulated-strict": many_gates,
    "simulated-push": many_listeners,
    "simulated-region": far_away,
    "simulated-row": one_row,
    "simulated-million": million,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/growth/simulate.py")
    parser.add_argument("--costs", type=Path, help="target/bench/growth.json: costs as they were measured")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    costs = Costs.of(json.loads(options.costs.read_text(encoding="utf-8"))["costs"]) if options.costs else Costs()
    for name, make in TABLES.items():
        print(f"\n{name}\n\n{make(costs, options.seed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
