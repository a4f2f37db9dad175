"""Real clients ask Console itself, and ask it through the gate: what comes of it is the same, or a named rule says why not.

    python -m unittest test_clients            in this folder; GATE=... names another binary than target/debug/console-gate
    GATE_TIER=all python -m unittest test_clients.Clients.test_curl

The tables are in target/tmp/clients, one for each client. Without GATE_TIER=all only those ask that .venv has and that differ
most. Clients that are not installed are left out and named.
"""

from __future__ import annotations

import re
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "consoles")]

import raw  # noqa: E402
import scripts  # noqa: E402
from clients import CLIENTS, Client, is_short  # noqa: E402
from compare import is_login, judge, short  # noqa: E402
from report import HEADING, ROOT, Row, Table, skipped  # noqa: E402
from servers import Scene  # noqa: E402
from tier import ALL, only_in_all  # noqa: E402
from variants import VARIANTS, Variant  # noqa: E402

HOSTS = ["console.test", "console.test:8443", "console.test.", "console_2.test", "xn--bcher-kva.test", "[::1]", "[::1]:8080", "10.0.0.1",
         "localhost"]
# No client sends less of the table than this.
LEAST = 100
# One for HTTP/1.1 and one for HTTP/2, for which nothing has to be installed.
QUICK = {"requests", "httpx-h2"}
QUICK_SCRIPTS = {"websockets", "forms"}


def setUpModule() -> None:  # noqa: N802
    global scene
    scene = Scene(hosts=HOSTS).__enter__()
    unittest.addModuleCleanup(scene.__exit__)
    print(f"\n{HEADING}", file=sys.stderr)


class Compared(unittest.TestCase):
    def conclude(self, table: Table) -> None:
        table.write()
        print(table.summary(), file=sys.stderr)
        if table.wrong:
            self.fail("\n" + Table(f"{table.client}: {len(table.wrong)} of {len(table.rows)}", table.wrong).text())


class Clients(Compared):
    """The table of `variants.py`, by each client."""

    def compare(self, client: Client) -> None:
        lacks = client.lacks()
        if lacks:
            skipped(client.name, f"{lacks} is not installed")
            self.skipTest(f"{client.name}: {lacks} is not installed")
        family = client.name.partition("-")[0]
        asked = [variant for variant in VARIANTS
                 if (variant.clients is None or {client.name, family} & variant.clients) and client.only(variant)
                 and (ALL or not client.tls or is_short(variant))]
        asked = [replace(variant, options=variant.options | {"brief"}) if variant.expected(client.name).kind == "reset" else variant
                 for variant in asked]
        bases = (scene.direct_tls, scene.through_tls) if client.tls else (scene.direct, scene.through)
        direct, through = (client.ask(base, str(scene.authority), asked) for base in bases)
        refusals = scene.refusals()
        table = Table(client.name)
        for variant, one, other in zip(asked, direct, through, strict=True):
            if one.is_unsendable and other.is_unsendable:
                table.rows.append(Row(variant.name, str(variant.expected(client.name)), f"cannot send: {one.trouble[:80]!r}"))
                continue
            outcome, wrong = judge(variant, client.name, one, other, bases, refusals)
            table.rows.append(Row(variant.name, str(variant.expected(client.name)), outcome, wrong))
        self.conclude(table)
        self.assertGreater(sum(not row.outcome.startswith("cannot") for row in table.rows), LEAST)


def add_tests() -> None:
    for client in CLIENTS:
        def test(self: Clients, client: Client = client) -> None:
            self.compare(client)
        if client.name not in QUICK:
            test = only_in_all("requests and httpx ask in the quick tier")(test)
        setattr(Clients, "test_" + re.sub(r"\W", "_", client.name), test)


add_tests()


class Raw(Compared):
    """The bytes of `raw.py`."""

    def test_raw(self) -> None:
        # Most of their time is a look at whether the connection stays open.
        with ThreadPoolExecutor(32) as pool:
            asked = list(pool.map(lambda case: (case, raw.ask(scene.direct, case, patience(case)),
                                                raw.ask(scene.url_of(case.gate), case)), raw.CASES))
        refusals = scene.refusals()
        table = Table("raw")
        for case, one, other in asked:
            outcome, wrong = judge_case(case, one, other, (scene.direct, scene.url_of(case.gate)), refusals)
            table.rows.append(Row(case.name, str(case.expects), outcome, wrong))
        self.conclude(table)


def patience(case: raw.Case) -> float:
    """How long Console itself has for an answer."""
    return raw.SHOWN_SECONDS if case.expects.kind == "refused" else raw.SECONDS


def judge_case(case: raw.Case, direct: raw.Exchange, through: raw.Exchange, bases: tuple[str, str],
               refusals: dict[str, str]) -> tuple[str, dict[str, tuple[Any, Any]]]:
    """As `compare.judge`, for what a whole connection was answered."""
    words = [word for answer in through.answers if (word := refusals.get(answer.value("x-request-id") or ""))]
    expected = case.expects
    both = shown(direct), shown(through)
    if words:
        right = expected.kind in ("refused", "either") and words[-1] in expected.word.split("|") and through.end == "closed"
        return f"refused:{words[-1]}", {} if right else {"outcome": both}
    if expected.kind == "refused" or "malformed" in through.trouble:
        return "passed", {"outcome": both}
    if expected.kind == "unmapped":
        return "unmapped", {} if is_login(through.answers[0]) and through.answers[-1].status == 200 else {"outcome": both}
    wrong: dict[str, tuple[Any, Any]] = {}
    if len(direct.answers) != len(through.answers) and expected.kind != "either":
        wrong["answers"] = both
    if case.closes is not None and (through.end == "closed") != case.closes:
        wrong["end"] = (f"{direct.end}; closes={case.closes} is expected", through.end)
    if "HTTP/1.0" in case.name and "chunked" in through.framings:
        wrong["framing"] = (direct.framings, through.framings)
    for index, (method, one, other) in enumerate(zip(case.methods, direct.answers, through.answers)):
        variant = Variant(case.name, method, "/echo" if b"/echo" in b"".join(part for part in case.pieces if isinstance(part, bytes)) else
                          "/answer", expects=expected)
        _, found = judge(variant, "raw", one, other, bases, refusals)
        wrong.update({f"{index + 1}: {name}": values for name, values in found.items()})
    if expected.kind == "either":
        wrong = {}
    return ("equal" if not wrong else "differs") if expected.kind != "changed" else str(expected), wrong


def shown(exchange: raw.Exchange) -> str:
    told = "; ".join(f"{short(answer)} {framing}" for answer, framing in zip(exchange.answers, exchange.framings))
    return f"{told or 'no answer'}; {exchange.end} {exchange.trouble}".strip()


class Scripts(Compared):
    """What takes more than one request, or more than a request and an answer: `scripts.py`."""

    def run_script(self, name: str) -> None:
        rows = getattr(scripts, name)(scene)
        if isinstance(rows, str):
            skipped(name, rows)
            self.skipTest(rows)
        self.conclude(Table(name.replace("_", "-"), rows))


def add_scripts() -> None:
    for name in scripts.ALL:
        def test(self: Scripts, name: str = name) -> None:
            self.run_script(name)
        if name not in QUICK_SCRIPTS:
            test = only_in_all("a browser and tools for load are not everywhere")(test)
        setattr(Scripts, f"test_{name}", test)


add_scripts()


class Document(unittest.TestCase):
    """docs/requests.md says what is refused and what is changed."""

    def test_every_reason_and_every_rule_is_in_it(self) -> None:
        page = (ROOT / "docs" / "requests.md").read_text(encoding="utf-8")
        source = (ROOT / "crates" / "policy" / "src" / "firewall" / "refusal.rs").read_text(encoding="utf-8")
        words = re.findall(r'Refusal::\w+ => "(\w+)"', source)
        self.assertGreater(len(words), 30)
        rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
        self.assertEqual(sorted(set(words)), sorted(rows), "the table of refusals in docs/requests.md")
        outcomes = [one.expects for one in (*VARIANTS, *raw.CASES)] + [outcome for one in VARIANTS for outcome in one.by_client.values()]
        named = {word for outcome in outcomes if outcome.kind in ("refused", "either") for word in outcome.word.split("|")}
        self.assertEqual(named - set(words), set(), "reasons that the tests expect and the gate does not have")
        rules = {outcome.word or outcome.kind for outcome in outcomes if outcome.kind in ("changed", "reset")}
        for rule in sorted(rules):
            self.assertIn(f"**{rule}**", page, "what is changed on the way")

    def test_the_table_is_long_enough_and_names_are_distinct(self) -> None:
        names = [one.name for one in VARIANTS]
        self.assertEqual(len(names), len(set(names)))
        self.assertGreaterEqual(len(names), 300)
        self.assertEqual(len({case.name for case in raw.CASES}), len(raw.CASES))


if __name__ == "__main__":
    unittest.main()
