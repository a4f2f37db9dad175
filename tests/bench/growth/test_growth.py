"""The simulation against what queueing theory gives exactly, and the tables."""

from __future__ import annotations

import math
import random
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import parts  # noqa: E402
import simulate  # noqa: E402
from simulate import Clock, Costs, Statement, Station, StrictGate, World, poisson, share  # noqa: E402
from tables import markdown, report  # noqa: E402


class Theory(unittest.TestCase):
    def near(self, got: float, exact: float, part: float = 0.03) -> None:
        self.assertLess(abs(got - exact), part * abs(exact), f"{got} is not {exact}")

    def test_one_server_with_equal_services_waits_as_pollaczek_and_khinchine_say(self) -> None:
        """M/D/1: the mean wait in the queue is rho s / (2 (1 - rho))."""
        for busy in (0.3, 0.6, 0.8):
            hold = 0.01
            self.near(simulate.row_lock(busy / hold, hold, 4_000, 1), busy * hold / (2 * (1 - busy)))

    def test_some_servers_wait_as_erlang_says(self) -> None:
        """M/M/3: the mean wait in the queue is C(3, a) / (3 mu - lambda)."""
        servers, rate, each = 3, 1.8, 1.0
        clock, chance, waits = Clock(), random.Random(2), []
        station = Station(clock, servers)
        for arrived in (time for time, _ in zip(poisson(random.Random(3), rate), range(60_000))):
            service = chance.expovariate(1 / each)
            clock.at(arrived, lambda arrived=arrived, service=service: station.ask(
                service, lambda: waits.append(clock.now - arrived - service)))
        clock.run(60_000 / rate)
        offered = rate * each
        last = offered**servers / math.factorial(servers) * servers / (servers - offered)
        waiting = last / (sum(offered**number / math.factorial(number) for number in range(servers)) + last)
        self.near(sum(waits) / len(waits), waiting / (servers / each - rate), 0.07)
        self.near(station.utilisation(), offered / servers)

    def one_gate(self, rate: float, read: float, seconds: float, round_trip: float = 0.0) -> StrictGate:
        clock = Clock()
        gate = StrictGate(Statement(clock, Station(clock, 1), round_trip), poisson(random.Random(4), rate), read)
        clock.run(seconds)
        return gate

    def test_a_shared_read_waits_as_a_server_of_unlimited_batches(self) -> None:
        """The number that gathers during a read is Poisson with a = rate * D, whatever was before. With chance e^-a it is none,
        and the next request starts a read alone and waits D; else each waits what is left of the read, and D."""
        for load in (0.05, 0.5, 2.0, 20.0):
            read = 0.01
            gate = self.one_gate(load / read, read, 60_000 * read / load)
            alone = math.exp(-load)
            self.near(sum(gate.waits) / len(gate.waits), read * (alone + 1.5 * load) / (alone + load), 0.01)
            self.near(len(gate.waits) / gate.reads, alone + load, 0.01)
            # The waits of those who gather are uniform between D and 2 D; who is alone waits D.
            first = alone / (alone + load)
            for part in (0.5, 0.99):
                exact = read if part < first else read * (1 + (part - first) / (1 - first))
                self.near(share(gate.waits, part), exact, 0.02)

    def test_a_read_is_as_long_as_its_way_and_its_service(self) -> None:
        gate = self.one_gate(0.1, 0.01, 20_000, round_trip=0.08)
        self.near(min(gate.waits), 0.09, 1e-6)
        self.assertLessEqual(max(gate.waits), 2 * 0.09 + 1e-9, "the rest of one read, and another")

    def test_a_saturated_database_gives_each_gate_its_turn(self) -> None:
        """A closed system: each of G gates has one read under way, so a read takes G s / c, and never more."""
        costs = Costs(read=0.001)
        got = simulate.strict(costs, 100, 200, 0.0, 4, 4, 1)
        self.near(got["utilisation"], 1.0, 0.01)
        self.near(got["reads"], 4 / 0.001, 0.01)
        # Of those that gather: the rest of one read and another.
        self.near(got["wait_mean"], 0.025 * (math.exp(-5) + 1.5 * 5) / (math.exp(-5) + 5), 0.02)

    def test_a_cache_of_a_part_hits_that_part(self) -> None:
        """All ask equally often: whatever is evicted, a request hits with the chance C / N."""
        self.near(simulate.missed(1_000, 300, 0.0, 100.0, 0.0, 200_000, 1), 0.7, 0.01)
        self.assertEqual(simulate.missed(100, 100, 0.0, 100.0, 0.0, 50_000, 1), 0.0)

    def test_the_least_recently_used_goes(self) -> None:
        """A cache of one hits when the same one asks twice in a row: the sum of p^2. Of two, one asks twice as often."""
        self.near(simulate.missed(2, 1, 0.0, 100.0, 1.0, 100_000, 1), 1 - (4 / 9 + 1 / 9), 0.02)

    def test_a_change_for_everybody_is_a_load_of_each(self) -> None:
        """Requests of one principal at rate r, changes at rate m: the last event before a request was a change with the chance
        m / (m + r)."""
        changes, rate, principals = 0.2, 100.0, 1_000
        each = rate / principals
        self.near(simulate.missed(principals, principals, changes, rate, 0.0, 200_000, 1), changes / (changes + each), 0.05)

    def test_the_estimate_is_what_the_simulation_finds(self) -> None:
        for capacity, changes, skew in ((50, 0.0, 1.0), (500, 0.0, 1.0), (500, 2.0, 1.0), (500, 0.2, 0.0), (5_000, 2.0, 1.0)):
            found = simulate.missed(5_000, capacity, changes, 500.0, skew, 60_000, 1)
            self.near(simulate.estimated(5_000, capacity, changes, 500.0, skew), found, 0.05)

    def test_the_estimate_is_exact_where_all_ask_alike(self) -> None:
        self.near(simulate.estimated(1_000_000, 250_000, 0.0, 10_000.0, 0.0), 0.75, 1e-6)
        self.near(simulate.estimated(1_000_000, 1_000_000, 1 / 60, 10_000.0, 0.0), (1 / 60) / (1 / 60 + 0.01), 1e-6)


class Push(unittest.TestCase):
    def test_without_changes_it_renews_and_reads_four_times_in_its_time(self) -> None:
        got = simulate.push(Costs(), 10, 0, 0.001, 4, 2.0, 100, 1)
        self.assertAlmostEqual(got["statements"], 10 * 2 * 4 / 2.0, delta=0.5)
        self.assertGreater(got["trusted"], 0.999)

    def test_a_gate_alone_doubts_for_a_read_after_each_change(self) -> None:
        """Changes far apart: each costs a notification, a read, and an acknowledgement, and doubt for the read."""
        changes, round_trip, costs = 0.2, 0.008, Costs(beat=0.002, heard=0.003)
        without = simulate.push(costs, 1, 0, round_trip, 4, 2.0, 2_000, 1)
        got = simulate.push(costs, 1, changes, round_trip, 4, 2.0, 2_000, 1)
        self.assertAlmostEqual(got["statements"] - without["statements"], 2 * changes, delta=0.03)
        self.assertAlmostEqual(without["trusted"] - got["trusted"], changes * (round_trip + costs.heard / 3), delta=0.0003)

    def test_a_beat_shorter_than_the_way_is_never_trusted(self) -> None:
        self.assertEqual(simulate.push(Costs(), 1, 0, 0.08, 4, 0.2, 50, 1)["trusted"], 0.0)
        self.assertGreater(simulate.push(Costs(), 1, 0, 0.08, 4, 2.0, 50, 1)["trusted"], 0.99)

    def test_the_barrier_waits_for_the_last_gate(self) -> None:
        costs = Costs(beat=0.002, heard=0.003)
        alone = simulate.barrier(costs, 1, 0.01, 1, 2.0, 1)
        # Half a way to hear, a way to read, half a way until the acknowledgement is there.
        self.assertAlmostEqual(alone, 0.01 / 2 + 0.01 + 0.01 / 2 + 0.003, delta=1e-9)
        # All hear, read and acknowledge at once: the database is the queue.
        self.assertGreater(simulate.barrier(costs, 100, 0.01, 1, 2.0, 1), 100 * 0.003)

    def test_nobody_acknowledges_what_it_has_not_read(self) -> None:
        clock = Clock()
        world = World(clock, poisson(random.Random(1), 20))
        database = Station(clock, 1)
        gates = [simulate.PushGate(Statement(clock, database, 0.02), world, Costs(), 2.0, 0.01 * number) for number in range(20)]
        clock.run(20)
        for gate in gates:
            epochs = [epoch for epoch, _ in gate.acknowledged]
            self.assertEqual(epochs, sorted(set(epochs)))
            self.assertLessEqual(epochs[-1], world.epoch)
            self.assertGreater(len(epochs), 20)


class Costing(unittest.TestCase):
    def test_costs_of_gates(self) -> None:
        def row(mode: str, gates: int, loaded: float, idle: float, changing: float) -> dict[str, object]:
            return {"mode": mode, "gates": gates, "loaded": {"cores": loaded, "reads": 1_000.0}, "idle": {"cores": idle},
                    "changing": {"cores": changing}, "alone": {"cores": 0.02}}

        rows = [row("strict", 1, 0.1, 0.0, 0.02), row("strict", 4, 0.3, 0.01, 0.02), row("push", 1, 0, 1, 1),
                row("push", 4, 0, 0.05, 0.27)]
        costs = parts.gate_costs(rows, 100.0, 200.0)
        self.assertAlmostEqual(costs["read"], 200e-6)
        self.assertAlmostEqual(costs["beat"], 0.04 / (4 * 20))
        self.assertAlmostEqual(costs["heard"], 0.20 / 100 / 4)

    def test_a_change_costs_nothing_rather_than_less(self) -> None:
        row = {"changing": {"cores": 0.01}, "idle": {"cores": 0.01}, "alone": {"cores": 0.02}}
        self.assertEqual(parts.a_change(row, 100.0), 0.0)


class Page(unittest.TestCase):
    def test_it_says_that_the_machine_was_busy(self) -> None:
        for load, says in ((2.5, False), (9.0, True)):
            known = {"gate": "console-gate 1", "cpu": "one", "figures": {"a": {"load_average": 1.0}, "b": {"load_average": load}}}
            self.assertEqual("busy" in parts.made(known), says)


class Runs(unittest.TestCase):
    def test_the_same_seed_gives_the_same_figures(self) -> None:
        one = [simulate.strict(Costs(), 20, 100, 0.001, 2, 1, seed) for seed in (1, 1, 2)]
        self.assertEqual(one[0], one[1])
        self.assertNotEqual(one[0], one[2])

    def test_costs_are_those_that_were_measured(self) -> None:
        self.assertEqual(Costs.of({"read": 1e-3, "unknown": 5, "load": 0}), Costs(read=1e-3))


class Tables(unittest.TestCase):
    def test_a_table(self) -> None:
        self.assertEqual(markdown(["", "x"], [["y", 1]]), "|  | x |\n|---|---|\n| y | 1 |")
        with self.assertRaises(ValueError):
            markdown(["", "x"], [["y"]])

    def test_a_report_has_a_heading_for_each_table(self) -> None:
        self.assertEqual(report({"a": "one", "b": "two"}), "# How it grows: one run\n\n## a\n\none\n\n## b\n\ntwo\n")


if __name__ == "__main__":
    unittest.main()
