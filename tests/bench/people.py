"""What changes of access cost where there are many people: `make scale`.

    python3 tests/bench/people.py GATE [PEOPLE]

Fills a new SQLite database with the seed, 60 further groups and PEOPLE admins (100,000) in 400 random sets of groups, and times
commands that compute an impact, with their largest resident memory.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = [
    ["group", "add", "team-7", "p000001", "--dry-run"],
    ["group", "add", "team-7", "p000002"],
    ["group", "grant-role", "raxx-support-team", "console-manager", "--dry-run"],
    ["group", "revoke-role", "raxx-support-team", "console-user", "--dry-run"],
    ["role", "create", "new-role", "--dry-run"],
    ["diff", "routes.toml", "--cluster", "S3=v2"],
]


def fill(path: Path, people: int) -> None:
    pick, now = random.Random(1), "2026-11-01T00:00:00+00:00"
    database = sqlite3.connect(path)
    seeded = [row[0] for row in database.execute("SELECT id FROM rbac_groups WHERE id <> 'break-glass'")]
    roles = [row[0] for row in database.execute("SELECT id FROM rbac_roles")]
    teams = [f"team-{number}" for number in range(60)]
    sets = [pick.sample(seeded + teams, pick.randint(1, 3)) for _ in range(400)]
    admins = [f"p{number:06}" for number in range(people)]
    # A few sets have most of the people.
    joined = [(admin, group) for admin in admins for group in sets[min(int(pick.paretovariate(0.7)), len(sets) - 1)]]
    database.executemany("INSERT INTO rbac_groups (id, name) VALUES (?, ?)", [(team, team) for team in teams])
    database.executemany("INSERT INTO rbac_group_roles (group_id, role_id) VALUES (?, ?)", [(team, pick.choice(roles)) for team in teams])
    database.executemany("INSERT INTO admins (id, email, created_at_utc) VALUES (?, ?, ?)", [(one, f"{one}@example.com", now) for one in admins])
    database.executemany(
        "INSERT INTO rbac_user_groups (user_id, group_id, granted_by, granted_at_utc) VALUES (?, ?, 'bench', ?)",
        [(admin, group, now) for admin, group in joined],
    )
    database.commit()
    database.close()


def main() -> None:
    gate, people = str(Path(sys.argv[1]).resolve()), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "routes.toml").write_text((ROOT / "routes.toml").read_text())
        (work / "gate.toml").write_text('environment = "development"\n[mapping]\nfile = "routes.toml"\n')
        variables = {**os.environ, "CONSOLE_GATE_DATABASE_URL": "sqlite:bench.db", "CONSOLE_SECRET_KEY": "0" * 40}
        key = lambda: subprocess.run([gate, "keygen"], check=True, capture_output=True, text=True).stdout.strip()
        variables |= {"CONSOLE_GATE_KEYS": key(), "CONSOLE_GATE_AUDIT_KEYS": key()}
        run = lambda *words: subprocess.Popen([gate, "--config", "gate.toml", *words], cwd=work, env=variables, stdout=subprocess.DEVNULL)
        assert run("migrate", "--seed", "rbac-v2").wait() == 0
        fill(work / "bench.db", people)
        for words in COMMANDS:
            began = time.monotonic()
            _, status, used = os.wait4(run(*words).pid, 0)
            # `diff` exits 1 where something changes.
            assert os.waitstatus_to_exitcode(status) in (0, 1), words
            print(f"{time.monotonic() - began:.2f} s  {used.ru_maxrss // 1024} MiB  {' '.join(words)}", flush=True)


if __name__ == "__main__":
    main()
