"""Measuring: peers take turns, and what says nothing about them is not reported."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from typing import Any, Callable

import accounts
from loads import Failed, Got, load
from scenarios import Scenario
from scene import LOAD_CORE, PEER_CORE, Peer, Refused, Scene

BOTH = tuple(dict.fromkeys((LOAD_CORE, PEER_CORE)))
# Of the time of both cores in one round: what others may use, and what the host may take.
MOST_OTHERS, MOST_STOLEN = 0.05, 0.05
# As part of a round's time: how much shorter or longer the load may have lasted.
MOST_OFF = 0.15
# Spoiled rounds of one figure, for each round that it is to have.
MOST_SPOILED = 1.0


class Spoiled(Exception):
    """A round that says nothing, because of what else the machine did."""


@dataclass(frozen=True)
class Round:
    """What happened while one peer was asked."""

    cpu: float
    # By everything of the scene, and by the two cores.
    scene: float
    cores: accounts.CoreTime
    got: Got

    def others(self) -> float:
        """CPU seconds of the two cores that nobody of the scene used."""
        return max(0.0, self.cores.busy() - self.scene)


def observe(scene: Scene, peer: Peer, ask: Callable[[], Got]) -> Round:
    # The scene outside the cores, so that what reading these takes is the scene's.
    cpu, everything, cores = peer.cpu_seconds(), scene.cpu_seconds(), accounts.core_time_now(BOTH)
    got = ask()
    cores = accounts.core_time_now(BOTH) - cores
    return Round(peer.cpu_seconds() - cpu, scene.cpu_seconds() - everything, cores, got)


def check_answers(name: str, scenario: Scenario, connections: int, got: Got) -> None:
    """Refuses answers that are not those of the scenario."""
    where = f"{name}, {scenario.key(connections)}"
    if got.broken:
        raise Refused(f"{where}: {got.broken} connections broke, or were not answered")
    if unexpected := {status: times for status, times in got.statuses.items() if int(status) != scenario.status}:
        raise Refused(f"{where}: answers other than {scenario.status}: {unexpected}")
    if not got.requests:
        raise Refused(f"{where}: nothing was answered")
    wrong = got.at_least_400 if scenario.status < 400 else got.requests - got.at_least_400
    if wrong:
        raise Refused(f"{where}: {wrong} answers were others than {scenario.status}")
    least, most = scenario.received
    # HTTP/2 packs heads; and what is under way at the end counts in bytes only.
    if not least * 0.99 <= got.bytes / got.requests or got.bytes > (got.requests + connections * scenario.streams) * most:
        raise Refused(f"{where}: {got.bytes / got.requests:,.0f} bytes an answer, not {least:,} to {most:,}")


def check_quiet(seconds: float, measured: Round) -> None:
    """Throws a round away in which others had the cores."""
    both = seconds * len(BOTH)
    if measured.others() > both * MOST_OTHERS:
        raise Spoiled(f"others used {measured.others():.2f} s of the two cores")
    if measured.cores.stolen > both * MOST_STOLEN:
        raise Spoiled(f"the host took {measured.cores.stolen:.2f} s")
    if not seconds * (1 - MOST_OFF) <= measured.got.seconds <= seconds * (1 + MOST_OFF):
        raise Spoiled(f"the load lasted {measured.got.seconds:.2f} s, not {seconds}")


def figures_of(measured: Round) -> dict[str, float]:
    return {"requests_per_second": measured.got.requests / measured.got.seconds, "cpu_us": measured.cpu * 1e6 / measured.got.requests,
            "p50_us": measured.got.p50_us, "p99_us": measured.got.p99_us}


def compare(scene: Scene, scenario: Scenario, connections: int, whatever_else_runs: bool = False) -> dict[str, Any]:
    """One figure of each peer. Raises `Refused` where a peer answers otherwise, or other load left too few rounds."""
    peers = {name: peer for name, peer in scene.peers.items() if name in scenario.peers}

    def ask(peer: Peer, seconds: int, warming: bool = False) -> Callable[[], Got]:
        return lambda: load(scenario, LOAD_CORE, peer.port, scene.headers_of(scenario), connections, seconds, warming)

    kept: dict[str, list[dict[str, float]]] = {name: [] for name in peers}
    spoiled, others = 0, 0.0
    try:
        for peer in peers.values():
            accounts.forget_peak(peer.pids())
            check_answers(peer.name, scenario, connections, ask(peer, 1, warming=True)())
        while waiting := [name for name, measured in kept.items() if len(measured) < scenario.rounds]:
            for name in waiting:
                measured = observe(scene, peers[name], ask(peers[name], scenario.seconds))
                check_answers(name, scenario, connections, measured.got)
                try:
                    if not whatever_else_runs:
                        check_quiet(scenario.seconds, measured)
                except Spoiled as error:
                    spoiled += 1
                    print(f"spoiled: {name}, {scenario.key(connections)}: {error}", file=sys.stderr, flush=True)
                    if spoiled > scenario.rounds * len(peers) * MOST_SPOILED:
                        raise Refused(f"{scenario.key(connections)}: too many rounds were spoiled by other load") from error
                    continue
                kept[name].append(figures_of(measured))
                others = max(others, measured.others() / (scenario.seconds * len(BOTH)))
        result = {name: summary(measured) for name, measured in kept.items()}
        for name, figures in result.items():
            figures["peak_memory"] = accounts.memory(peers[name].pids(), "VmHWM")
    # Of a peer that has ended there is nothing in /proc.
    except (Failed, OSError) as error:
        raise Refused(f"{scenario.key(connections)}: {error}") from error
    # `others`: the most that others had of the two cores in a round that counts.
    return {"rounds": scenario.rounds, "seconds": scenario.seconds, "spoiled": spoiled, "others": round(others, 3), "base": scenario.base,
            "peers": with_ratios(result, scenario.base)}


def summary(measured: list[dict[str, float]]) -> dict[str, float]:
    """Medians of the rounds, with the spread of the CPU time."""
    figures = {key: statistics.median(one[key] for one in measured) for key in measured[0]}
    cpu = [one["cpu_us"] for one in measured]
    return {**figures, "cpu_us_least": min(cpu), "cpu_us_most": max(cpu)}


def with_ratios(peers: dict[str, dict[str, float]], base: str) -> dict[str, dict[str, float]]:
    """Each peer beside one of them, where that was measured too."""
    if base in peers and peers[base]["cpu_us"]:
        for figures in peers.values():
            figures["cpu_ratio"] = figures["cpu_us"] / peers[base]["cpu_us"]
            figures["requests_ratio"] = figures["requests_per_second"] / peers[base]["requests_per_second"]
    return peers
