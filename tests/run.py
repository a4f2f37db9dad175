"""Runs every suite in one pool: cargo's test binaries, and the Python suites, over one Postgres.

    tests/run.py                   what `make test` runs
    tests/run.py --all             what `make test-all` runs: nothing is left out, and everything in its full size
    tests/run.py gate consoles     some suites
    tests/run.py --times           also writes how long each test took: target/tests/times.md

The server keeps its data in memory (/dev/shm) where there is room, without fsync, and goes with this process. Tests of
durability start one of their own. What a suite printed is in target/tests/NAME.log, and on standard output if it failed.

Failed tests run once more at the end, alone. Those that pass then are listed as flaky and do not fail the run: they depend on
what ran beside them, which is to be mended in the test.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/consoles"))

from postgres import UNCRASHED, Postgres, roomy_place  # noqa: E402

LOGS = ROOT / "target/tests"
PYTHON = str(ROOT / ".venv/bin/python")
TIERS = tomllib.loads((ROOT / "tests/tiers.toml").read_text())
# What tests append to that pass because what they need cannot be had here.
SKIPPED = ROOT / "target/tmp/skipped.txt"


def unittests(folder, pattern="test_*.py"):
    return [PYTHON, "-m", "unittest", "discover", "-s", f"tests/{folder}", "-p", pattern]


def python_suites(everything):
    """Name -> command. The unittest runner counts its tests; the others print what they compared."""
    differential = [PYTHON, "tests/prove/differential.py", "--app", "tests/data/werkzeug/app.py",
                    "--corpus", "tests/data/werkzeug/corpus.jsonl", "--matcher", "target/debug/examples/route_table",
                    "--pairs", "100000" if everything else "10000"]
    folders = ["console", "deploy", "first_hour", "docs", "bench", "bench/growth"]
    suites = {folder: unittests(folder) for folder in folders}
    # Most of these wait for other programs, so each file is a suite of its own.
    for file in sorted((ROOT / "tests/consoles").glob("test_*.py")):
        suites[f"consoles/{file.stem.removeprefix('test_')}"] = unittests("consoles", file.name)
    suites["api"] = [PYTHON, "tests/api/test_schemathesis.py"]
    suites["clients"] = [PYTHON, "tests/clients/test_clients.py"]
    suites["differential"] = differential
    return suites


def build():
    """Builds every test binary, and returns name -> (program, folder of its package)."""
    command = ["cargo", "test", "--locked", "--no-run", "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        sys.exit(built.returncode)
    programs = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            package = pathlib.Path(message["manifest_path"]).parent
            kind, name = message["target"]["kind"][0], message["target"]["name"]
            # A program without tests of its own, an example without any.
            if kind in ("bin", "example"):
                continue
            name = name if kind == "test" else f"{package.name if package != ROOT else 'gate-lib'} (unit)"
            programs[name] = (message["executable"], package)
    return programs


class Suite:
    def __init__(self, name, command, folder, environment):
        self.name, self.command, self.folder, self.environment = name, command, folder, environment
        self.log = LOGS / f"{re.sub('[^a-z0-9_-]+', '-', name)}.log"
        self.seconds, self.code, self.again = 0.0, None, None

    def run(self):
        began = time.monotonic()
        with self.log.open("wb") as log:
            # A group of its own, so that what a suite leaves running does not outlive it.
            process = subprocess.Popen(self.command, cwd=self.folder, env={**os.environ, **self.environment},
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                       process_group=0)
            self.code = process.wait()
        try:
            os.killpg(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        self.seconds = time.monotonic() - began
        return self

    def run_failed_again(self):
        """Runs the failed tests of Rust alone; another suite as a whole."""
        failed = re.findall(r"^test (\S+) \.\.\. FAILED", self.text(), re.MULTILINE)
        command = [self.command[0], *failed, "--exact", "--nocapture"] if failed else self.command
        self.again = Suite(f"{self.name} again", command, self.folder, self.environment).run()

    def text(self):
        return self.log.read_text(errors="replace")

    def is_flaky(self):
        return self.again is not None and self.again.code == 0

    def counts(self):
        """Passed, failed and skipped tests, as the suite itself counted them. A flaky test has passed."""
        passed, failed, skipped = self.counts_of_first_run()
        if self.is_flaky():
            return passed + failed, 0, skipped
        return passed, max(failed, int(self.code != 0)), skipped

    def counts_of_first_run(self):
        text = self.text()
        cargo = re.search(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;.*?(\d+) filtered", text)
        if cargo:
            passed, failed, ignored, filtered = map(int, cargo.groups())
            return passed, failed, ignored + filtered
        ran = re.search(r"^Ran (\d+) tests? in", text, re.MULTILINE)
        if ran:
            bad = sum(map(int, re.findall(r"(?:failures|errors)=(\d+)", text)))
            skipped = sum(map(int, re.findall(r"skipped=(\d+)", text)))
            return int(ran[1]) - bad - skipped, bad, skipped
        return (1, 0, 0) if self.code == 0 else (0, 1, 0)

    def times(self):
        """(seconds, test), longest first."""
        text = self.text()
        rust = [(float(seconds), f"{self.name}: {test}")
                for test, seconds in re.findall(r"^test (\S+) .*?<([0-9.]+)s>$", text, re.MULTILINE)]
        # The others are known as a whole.
        return rust or [(self.seconds, self.name)]


def suites(arguments):
    found = []
    shared = {"GATE_TIER": "all"} if arguments.all else {}
    for name, (program, folder) in build().items():
        command = [program]
        if not arguments.all:
            skipped = TIERS["test-all"].get(name, [])
            command += [word for test in skipped for word in ("--skip", test)]
        environment = {**shared, "RUST_TEST_THREADS": str(TIERS["threads"])}
        if arguments.times:
            # The measurement is not stable yet, and the compiler's own way to use it all the same.
            command += ["-Z", "unstable-options", "--report-time"]
            environment["RUSTC_BOOTSTRAP"] = "1"
        found.append(Suite(name, command, folder, environment))
    for name, command in python_suites(arguments.all).items():
        found.append(Suite(name, command, ROOT, shared))
    if arguments.suites:
        wanted = lambda name: name in arguments.suites or name.split("/")[0] in arguments.suites
        if not any(wanted(suite.name) for suite in found):
            sys.exit("tests/run.py: no suite is called so; there are " + ", ".join(suite.name for suite in found))
        found = [suite for suite in found if wanted(suite.name)]
    # The longest first, so that none is left to run alone at the end.
    longest = TIERS["longest"]
    return sorted(found, key=lambda suite: longest.index(suite.name) if suite.name in longest else len(longest))


def report(ended, seconds):
    for suite in ended:
        if suite.code != 0:
            verdict = "flaky, passed alone" if suite.is_flaky() else "failed"
            # Of a suite of Rust, what follows the list of its tests.
            said = suite.text().split("\nfailures:\n", 1)[-1]
            print(f"\n--- {suite.name} ({verdict}): {suite.log.relative_to(ROOT)} ---\n{said}")
    if SKIPPED.exists() and SKIPPED.stat().st_size:
        print(f"\nThese tests could show nothing here:\n{SKIPPED.read_text()}")
    print(f"\n{'suite':<28}{'seconds':>8}{'passed':>8}{'failed':>8}{'skipped':>8}")
    totals = [0, 0, 0]
    for suite in sorted(ended, key=lambda suite: -suite.seconds):
        counts = suite.counts()
        totals = [total + count for total, count in zip(totals, counts)]
        print(f"{suite.name:<28}{suite.seconds:>8.1f}{counts[0]:>8}{counts[1]:>8}{counts[2]:>8}")
    flaky = [suite.name for suite in ended if suite.is_flaky()]
    if flaky:
        print(f"\nflaky, see target/tests: {', '.join(flaky)}")
    print(f"\nin {seconds:.0f} s, beside each other")
    print("{} passed, {} failed, {} skipped".format(*totals))
    return totals[1] == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", metavar="SUITE")
    parser.add_argument("--all", action="store_true", help="every test, in its full size")
    parser.add_argument("--times", action="store_true", help="also write target/tests/times.md")
    parser.add_argument("--jobs", type=int, default=TIERS["jobs"], help="suites beside each other")
    arguments = parser.parse_args()
    # As Ctrl-C does: the server and the suites go with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    LOGS.mkdir(parents=True, exist_ok=True)
    SKIPPED.unlink(missing_ok=True)
    queue = suites(arguments)
    began = time.monotonic()
    with Postgres(*UNCRASHED, "max_connections=600", place=roomy_place()) as server, concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        os.environ.setdefault("TEST_DATABASE_URL", server.maintenance)
        ended = []
        for future in concurrent.futures.as_completed([pool.submit(suite.run) for suite in queue]):
            suite = future.result()
            ended.append(suite)
            print(f"{'ok' if suite.code == 0 else 'FAILED':<7}{suite.name} ({suite.seconds:.1f} s)", flush=True)
        for suite in [suite for suite in ended if suite.code != 0]:
            suite.run_failed_again()
            print(f"{'flaky' if suite.is_flaky() else 'FAILED':<7}{suite.name}, its failed tests alone", flush=True)
    if arguments.times:
        rows = sorted((row for suite in ended for row in suite.times()), reverse=True)
        table = "\n".join(f"| {seconds:.1f} | {test} |" for seconds, test in rows if seconds >= 1)
        (LOGS / "times.md").write_text(f"| seconds | test |\n|---|---|\n{table}\n")
        print(f"target/tests/times.md: {len(rows)} tests, {sum(row[0] for row in rows):.0f} s in all")
    sys.exit(0 if report(ended, time.monotonic() - began) else 1)


if __name__ == "__main__":
    main()
