"""What a large mapping costs: `make scale`.

    python3 tests/bench/mapping.py PROGRAM [--rows 1000,10000,100000] [--reloads 10]

For each number of rows: the processor's time that PROGRAM, a built console-gate, takes for `check` of such a file, less that
for one of ten rows; and the resident memory of a gate that serves with it: when it has started, at its highest, and after
reloads, each of another file of as many rows, when the memory of the previous ones has been given back.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

CHECKS = 3
# Above the time within which the allocator gives memory back, docs/decisions/0178.
GIVEN_BACK = 12


def mapping(rows: int, number: int) -> str:
    """A file of as many rows, in blueprints of fifty."""
    lines = [f"# file {number}", "version = 1", f"rows = {rows}", "[clusters]", 'S1 = "shadow"', 'S2 = "legacy"']
    for row in range(rows):
        area, view = divmod(row, 50)
        if view == 0:
            lines += ["", f"[blueprints.area{area}]", f'cluster = "S{area % 2 + 1}"', f"[blueprints.area{area}.routes]"]
        lines.append((
            f'"GET /console/area{area}/list{view}/" = {{ legacy = ["superadmin", "ops"], role = "console-audit-user" }}',
            f'"GET /console/area{area}/<id>/view{view}" = {{ legacy = ["ops"], role = "console-audit-user" }}',
            f'"POST /console/area{area}/<int:number>/edit{view}" = {{ legacy = ["superadmin"], role = "console-manager", '
            'note = "what an operator wrote about it" }',
            f'"GET /console/area{area}/<id>/<slug>/view{view}" = {{ legacy = ["superadmin", "ops"], '
            'role = "console-audit-user", unauthenticated = "401" }',
            f'"* /console/files{area}/view{view}/<path:rest>" = {{ session = true }}',
        )[row % 5])
    return "\n".join(lines) + "\n"


def cpu(command: list[str], folder: Path, variables: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def check_time(program: str, rows: int, folder: Path, variables: dict[str, str]) -> float:
    (folder / "checked.toml").write_text(mapping(rows, 0))
    return statistics.median(cpu([program, "check", "--deny", "error", "checked.toml"], folder, variables) for _ in range(CHECKS))


class Gate:
    def __init__(self, program: str, rows: int, folder: Path, variables: dict[str, str]) -> None:
        self.rows, self.folder = rows, folder
        self.put(0)
        self.log = (folder / "log").open("w+")
        addresses = {}
        for kind in ("PROXY", "ADMIN"):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                addresses[kind] = f"127.0.0.1:{free.getsockname()[1]}"
        (folder / "gate.toml").write_text(
            f'[listen]\nproxy = "{addresses["PROXY"]}"\nadmin = "{addresses["ADMIN"]}"\n'
            '[upstream]\nservers = ["127.0.0.1:9"]\n[mapping]\nsettle_ms = 50\n'
        )
        command = [program, "serve", "--config", "gate.toml"]
        self.process = subprocess.Popen(command, cwd=folder, env=variables, stdout=self.log, stderr=self.log)
        self.wait_for(1)

    def put(self, number: int) -> None:
        new = self.folder / "routes.new"
        new.write_text(mapping(self.rows, number))
        new.replace(self.folder / "routes.toml")

    def wait_for(self, activations: int) -> None:
        end = time.monotonic() + 120
        while (self.folder / "log").read_text().count("mapping activated") < activations:
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit("the gate did not activate the mapping:\n" + (self.folder / "log").read_text()[-3000:])
            time.sleep(0.05)

    def reload(self, times: int) -> None:
        for number in range(1, times + 1):
            self.put(number)
            self.wait_for(number + 1)

    def megabytes(self, key: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{key}:\s+(\d+)", status, re.MULTILINE)[1]) / 1024

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--rows", default="1000,10000,100000")
    parser.add_argument("--reloads", type=int, default=10)
    options = parser.parse_args()
    program = str(Path(options.program).resolve())
    variables = {key: value for key, value in os.environ.items() if not key.startswith("CONSOLE_")}
    for key in ("CONSOLE_GATE_KEYS", "CONSOLE_GATE_AUDIT_KEYS"):
        variables[key] = subprocess.run([program, "keygen"], check=True, capture_output=True, text=True).stdout.strip()
    variables["CONSOLE_SECRET_KEY"] = "a secret of some length, for nobody"
    print("| rows | read and checked, ms CPU | resident, MB: started | highest so far | "
          f"after {options.reloads} reloads | highest |\n|---|---|---|---|---|---|")
    for rows in (int(rows) for rows in options.rows.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            variables["CONSOLE_GATE_DATABASE_URL"] = f"sqlite:{folder}/gate.sqlite"
            subprocess.run([program, "migrate", "--seed", "rbac-v2"], cwd=folder, env=variables, check=True, capture_output=True)
            took = check_time(program, rows, folder, variables) - check_time(program, 10, folder, variables)
            gate = Gate(program, rows, folder, variables)
            try:
                time.sleep(GIVEN_BACK)
                started = [gate.megabytes("VmRSS"), gate.megabytes("VmHWM")]
                gate.reload(options.reloads)
                time.sleep(GIVEN_BACK)
                after = [gate.megabytes("VmRSS"), gate.megabytes("VmHWM")]
            finally:
                gate.stop()
            print(f"| {rows:,} | {took:.0f} | " + " | ".join(f"{size:.0f}" for size in started + after) + " |", flush=True)


if __name__ == "__main__":
    main()
