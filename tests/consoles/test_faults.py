"""What happens to Atlas's tables while the gate serves: Alembic migrates them, triggers go, a table is locked.

People ask all the time. Nothing of the gate may block Alembic or Atlas; a column that is gone is 503 and an alert, never
an answer by what could still be read; a change of a role counts for the next request, whatever became of the triggers.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
import unittest
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

sys.path.insert(0, str(Path(__file__).resolve().parent))

import psycopg  # noqa: E402

from drive import Browser, arrive, read_folder  # noqa: E402
from real_gate import AtlasServed, ask_once, until  # noqa: E402
from test_cutover import MIRROR  # noqa: E402
from tier import in_tier, only_in_all  # noqa: E402

# How long Alembic may wait for a lock that the gate holds. Its own limit is a second, after which it gives up.
MOST_WAIT_SECONDS = 0.5
# Between two requests of one person; without it they keep both cores of a small machine busy.
PAUSE_SECONDS = in_tier(quick=0.02, full=0.0)
ASKING = ("superuser", "manager", "agent", "viewer")


@dataclass
class Load:
    """People who ask for one page after another, and what each was answered."""

    answers: list[tuple[float, str, str]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def since(self, begin: float) -> set[str]:
        return {status for at, _person, status in self.answers if at >= begin}

    def count(self, begin: float) -> int:
        return sum(at >= begin for at, _person, _status in self.answers)


class Faults(AtlasServed, unittest.TestCase):
    def prepare(self) -> None:
        with open(self.work / "gate.toml", "a", encoding="utf-8") as settings:
            settings.write(MIRROR)
        self.set_clusters("v2")
        super().prepare()
        self.gate("flag", "rbac-v2", "on")
        # Alembic gives up where somebody makes it wait.
        self.everything |= {"PGAPPNAME": "atlas", "PGOPTIONS": "-c lock_timeout=1000"}
        people, self.script = read_folder(self.work)
        self.people = {person["name"]: person for person in people}

    def log_in(self, name: str) -> Browser:
        browser = arrive(self.through, self.people[name], self.script)
        self.addCleanup(browser.close)
        return browser

    @contextlib.contextmanager
    def load(self, browsers: dict[str, Browser], path: str) -> Iterator[Load]:
        """Everybody asks for `path` until the block ends. The time of an answer is when it was asked for."""
        load, end = Load(), threading.Event()

        def ask(name: str, browser: Browser) -> None:
            try:
                while not end.wait(PAUSE_SECONDS):
                    asked = time.monotonic()
                    load.answers.append((asked, name, browser.ask("GET", path).summary()))
            except BaseException as error:
                load.failures.append(error)
        threads = [threading.Thread(target=ask, args=each) for each in browsers.items()]
        for thread in threads:
            thread.start()
        try:
            until("everybody has asked", lambda: len({name for _, name, _ in load.answers}) == len(browsers))
            yield load
        finally:
            end.set()
            for thread in threads:
                thread.join()
        self.assertEqual(load.failures, [])

    def watching_locks(self, run: Callable[[], None]) -> tuple[float, float]:
        """For how long Atlas waited for locks while `run` ran, in all and for those of the gate, as sampled."""
        waits: list[tuple[float, bool]] = []
        end = threading.Event()
        # Only who waits directly for the gate: behind another of Atlas's own, the gate's readers wait themselves.
        statement = """
            SELECT extract(epoch FROM clock_timestamp() - l.waitstart)::float8,
                   EXISTS (SELECT FROM unnest(pg_blocking_pids(l.pid)) AS by JOIN pg_stat_activity g ON g.pid = by
                            WHERE g.application_name LIKE 'console-gate%')
              FROM pg_locks l JOIN pg_stat_activity a USING (pid)
             WHERE NOT l.granted AND l.waitstart IS NOT NULL AND a.application_name = 'atlas' AND a.datname = current_database()"""

        def watch() -> None:
            with psycopg.connect(self.database_url, autocommit=True) as connection:
                while not end.wait(0.002):
                    waits.extend(connection.execute(statement).fetchall())
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            run()
        finally:
            end.set()
            watcher.join()
        return max((wait for wait, _ in waits), default=0), max((wait for wait, by_gate in waits if by_gate), default=0)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 where it is not there."""
        lines = ask_once(self.admin, "/metrics").body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[{{ ]", line))

    def alembic(self, *words: str) -> None:
        _waited, by_gate = self.watching_locks(lambda: self.run_console("-m", "atlas.manage", *words))
        self.assertLess(by_gate, MOST_WAIT_SECONDS, f"Alembic waited {by_gate} s for the gate")

    @only_in_all("dropped triggers and a locked table are in the quick tier")
    def test_alembic_adds_and_renames_columns_while_the_gate_serves(self) -> None:
        with self.console_running(), self.gate_running():
            browsers = {name: self.log_in(name) for name in ASKING}
            # 0004 adds a column that nobody reads: nobody notices.
            with self.load(browsers, "/orders/1001") as load:
                began = time.monotonic()
                self.alembic("migrate", "0004")
                until("requests after it", lambda now=time.monotonic(): load.count(now) > 40)
                self.assertEqual(load.since(began), {"200"})
            self.assertEqual(self.metric("gate_console_untriggered"), 0)

            # 0005 renames one that the gate reads. The release of Atlas that runs cannot read it either.
            with self.load(browsers, "/orders/1001") as load:
                self.alembic("migrate", "0005")
                renamed = time.monotonic()
                until("requests after it", lambda: load.count(renamed) > 40)
                self.assertEqual(load.since(renamed), {"503"})
                # Nobody is sent to the login or let in, whatever they hold; a stranger is, and public rows go on.
                for path, answer in (("/auth/login", 500), ("/static/atlas.css", 200), ("/healthz", 200)):
                    self.assertIn(ask_once(self.through, path).status, (answer, 200), path)
                self.assertEqual(ask_once(self.through, "/orders/1001").summary(), "302 /auth/login")
                self.assertGreater(self.metric("gate_console_unreadable_total"), 0)
                self.assertEqual(ask_once(self.admin, "/readyz").status, 503)
                log = self.log_of("console-gate").read_text(encoding="utf-8")
                self.assertRegex(log, r"(?i)ERROR.*is_active")
                # What the gate left on the table does not keep Atlas from writing to it.
                with psycopg.connect(self.database_url, autocommit=True) as connection:
                    connection.execute("UPDATE app.users SET full_name = full_name || '.', locale = 'de'")
                    connection.execute("UPDATE app.users SET active = active")

                # Alembic back: the gate serves again by itself.
                self.alembic("downgrade", "0004")
                until("it serves again", lambda: load.answers[-1][2] == "200")
                back = time.monotonic()
                until("requests after it", lambda: load.count(back) > 40)
                self.assertEqual(load.since(back), {"200"})
                # It is not the column that it was: nothing of it is cached until somebody has looked.
                self.assertEqual(self.metric("gate_console_untriggered"), 1)
                self.gate("migrate")
                until("the gate caches again", lambda: self.metric("gate_console_untriggered") == 0)
            self.alembic("migrate", "0005")

        # The next release of Atlas, and the settings mended.
        settings = self.work / "gate.toml"
        found = self.gate_process("check", "--deny", "error")
        self.assertEqual(found.returncode, 1, found.stdout + found.stderr)
        self.assertIn("is_active", found.stdout + found.stderr)
        settings.write_text(settings.read_text(encoding="utf-8").replace("u.is_active", "u.active"), encoding="utf-8")
        self.everything["ATLAS_RELEASE"] = "next"
        self.gate("migrate")
        self.gate("check", "--deny", "error")
        with self.console_running(), self.gate_running():
            for name, browser in browsers.items():
                self.assertEqual(browser.ask("GET", "/orders/1001").status, 200, name)
            self.assertEqual(self.metric("gate_console_untriggered"), 0)
            with psycopg.connect(self.database_url, autocommit=True) as connection:
                connection.execute("UPDATE app.users SET active = false WHERE id = %s", [self.id_of("agent")])
            self.assertEqual(browsers["agent"].ask("GET", "/orders/1001").summary(), "302 /auth/login")

    def test_triggers_are_dropped_under_load(self) -> None:
        with self.console_running(), self.gate_running(), psycopg.connect(self.database_url, autocommit=True) as connection:
            browsers = {name: self.log_in(name) for name in ASKING}
            agent = self.log_in("agent")
            triggers = connection.execute("""
                SELECT t.tgname, t.tgrelid::regclass::text FROM pg_trigger t
                 WHERE NOT t.tgisinternal AND t.tgrelid::regclass::text LIKE 'app.%'""").fetchall()
            self.assertGreater(len(triggers), 3)
            self.gate("flag", "rbac-v2", "off")  # legacy roles are what Atlas's own tables say
            with self.load(browsers, "/orders/1001") as load:
                for name, table in triggers:
                    connection.execute(f'DROP TRIGGER "{name}" ON {table}')
                role = connection.execute("DELETE FROM app.user_roles WHERE user_id = %s RETURNING role_id",
                                          [self.id_of("agent")]).fetchone()
                # The next request, though no trigger announced it.
                self.assertEqual(agent.ask("GET", "/orders/1001").status, 403)
                taken = time.monotonic()
                until("requests after it", lambda: load.count(taken) > 40)
                seen = {(name, status) for at, name, status in load.answers if at >= taken}
                self.assertEqual(seen, {(name, "403" if name == "agent" else "200") for name in ASKING})
                self.assertEqual(self.metric("gate_console_untriggered"), 1)
                connection.execute("INSERT INTO app.user_roles (user_id, role_id) VALUES (%s, %s)",
                                   [self.id_of("agent"), role[0] if role else 0])
                self.assertEqual(agent.ask("GET", "/orders/1001").status, 200)

                self.gate("migrate")
                given = time.monotonic()
                until("requests after it", lambda: load.count(given) > 40)
                self.assertEqual(load.since(given), {"200"})
                until("the gate caches again", lambda: self.metric("gate_console_untriggered") == 0)
                connection.execute("UPDATE app.users SET is_active = false WHERE id = %s", [self.id_of("viewer")])
                out = time.monotonic()
                until("requests after it", lambda: load.count(out) > 40)
                self.assertEqual({status for at, name, status in load.answers if at >= out and name == "viewer"},
                                 {"302 /auth/login"})

    def test_atlas_audit_table_is_locked(self) -> None:
        with self.console_running(), self.gate_running():
            newcomer, manager = self.log_in("newcomer"), self.log_in("manager")
            paths = [f"/orders/{number}" for number in range(1, 9)]
            with psycopg.connect(self.database_url) as locker:
                locker.execute("LOCK TABLE app.audit_log IN ACCESS EXCLUSIVE MODE")
                for path in paths:
                    began = time.monotonic()
                    answer = newcomer.ask("GET", path)
                    self.assertEqual(answer.status, 403)
                    self.assertLess(time.monotonic() - began, 1.5, "a denial waits for Atlas's table")
                # Whom the gate lets in, and whose page writes no audit, notices nothing.
                self.assertEqual(manager.ask("GET", "/orders/1001").status, 200)
                until("the alert's metric", lambda: self.metric("gate_audit_mirror_waiting") > 0)
                self.assertEqual(ask_once(self.admin, "/readyz").status, 200)
                locker.rollback()
            until("all is delivered", lambda: self.metric("gate_audit_mirror_waiting") == 0)
            page = manager.ask("GET", "/audit?outcome=denied").body.decode()
            self.assertEqual(re.findall(r"GET (/orders/\d+)<", page), paths[::-1])
            self.assertIn("access_denied", self.gate("audit", "tail"))
            self.gate("audit", "verify")


if __name__ == "__main__":
    unittest.main()
