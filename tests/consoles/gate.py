"""The real gate in front of a Console under gunicorn, in a folder of its own, reached over Unix sockets.

    with Console("atlas", environment, work) as console, Gate("atlas", console, environment, work) as gate:
        gate.run("migrate")
        gate.serve()
        matrix(gate.base, "atlas")
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

from drive import UnixConnection

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
BINARY = Path(os.environ.get("CONSOLE_GATE_BINARY", PROJECT / "target" / "debug" / "console-gate"))
WAIT_SECONDS = 60

# Keys of the tests, 32 bytes each.
KEYS = {
    "CONSOLE_GATE_KEYS": "k1:" + base64.b64encode(b"assertion key of the tests 32 b!").decode(),
    "CONSOLE_GATE_AUDIT_KEYS": "a1:" + base64.b64encode(b"audit key of the tests, 32 bytes").decode(),
    "CONSOLE_GATE_PROBE_KEYS": "p1:" + base64.b64encode(b"probe key of the tests, 32 bytes").decode(),
    "SECRET_KEY": "a secret of the tests, long enough for everybody",
    "CONSOLE_SECRET_KEY": "a secret of the tests, long enough for everybody",
    "CONSOLE_GATE_AUDIENCE": "console",
}


def until(condition: Callable[[], Any], what: str) -> Any:
    """Asks until the answer is true. A busy machine is slow; what is broken never comes."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            if answer := condition():
                return answer
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {WAIT_SECONDS} s")
        time.sleep(0.05)


def get(address: str, path: str) -> tuple[int, str]:
    """The status and body of a GET over the Unix socket `unix:/...`."""
    connection = UnixConnection(address.removeprefix("unix:"))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


class Console:
    """A Console of this folder under gunicorn."""

    def __init__(self, name: str, environment: dict[str, str], work: Path, *, deferred: bool) -> None:
        self.folder = HERE / name
        self.base = f"unix:{work / 'console.sock'}"
        self._log = work / "console.log"
        self._environment = {**os.environ, **KEYS, **environment, f"{name.upper()}_BIND": self.base}
        if deferred:
            self._environment["USE_GATE"] = "1"
        self._name = name

    def __enter__(self) -> Console:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", f"{self._name}:create_app()"],
                cwd=self.folder, env=self._environment, stdout=log, stderr=log)
        until(lambda: get(self.base, "/healthz")[0] == 200, f"Console answers\n{self._log}")
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait()


class Gate:
    """console-gate with the settings and the mapping of a Console's folder, copied, so that a test may edit them."""

    def __init__(self, name: str, console: Console, environment: dict[str, str], work: Path) -> None:
        self.folder = work / "gate"
        self.folder.mkdir()
        for file in (HERE / name).glob("*.toml"):
            shutil.copy(file, self.folder)
        self.base = f"unix:{work / 'gate.sock'}"
        self.admin = f"unix:{work / 'admin.sock'}"
        self.routes = self.folder / "routes.toml"
        self._log = work / "gate.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = {
            **os.environ, **KEYS, **environment,
            "CONSOLE_GATE_CONFIG": str(self.folder / "gate.toml"),
            "CONSOLE_GATE_LISTEN": self.base,
            "CONSOLE_GATE_ADMIN": self.admin,
            "CONSOLE_GATE_UPSTREAM": console.base,
        }

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        """What the command printed. Fails unless it exits with one of `codes`."""
        done = subprocess.run([str(BINARY), *arguments], cwd=self.folder, env=self.environment,
                              capture_output=True, text=True)
        if done.returncode not in codes:
            raise AssertionError(f"{' '.join(arguments)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def json(self, *arguments: str, codes: tuple[int, ...] = (0, 1)) -> Any:
        """The same, as JSON."""
        done = subprocess.run([str(BINARY), *arguments, "--format", "json"], cwd=self.folder, env=self.environment,
                              capture_output=True, text=True)
        if done.returncode not in codes:
            raise AssertionError(f"{' '.join(arguments)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def script(self, path: Path) -> str:
        """Runs a shell script in which `$GATE` is the command."""
        done = subprocess.run(["sh", str(path)], cwd=self.folder, capture_output=True, text=True,
                              env={**self.environment, "GATE": str(BINARY)})
        if done.returncode != 0:
            raise AssertionError(f"{path.name} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def serve(self) -> None:
        """Starts the gate and waits until it is ready."""
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen([str(BINARY), "serve"], cwd=self.folder, env=self.environment,
                                             stdout=log, stderr=log)
        self.until_ready()

    def until_ready(self) -> None:
        def ready() -> bool:
            if self._process is not None and self._process.poll() is not None:
                raise AssertionError(f"the gate ended:\n{self.log()}")
            return get(self.admin, "/readyz")[0] == 200
        until(ready, "the gate is ready")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
            self._process = None

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all series that have these labels."""
        total = 0.0
        for line in get(self.admin, "/metrics")[1].splitlines():
            match = re.match(rf"{name}(?:\{{(.*)\}})? (\S+)$", line)
            if match and all(f'{label}="{value}"' in (match[1] or "") for label, value in labels.items()):
                total += float(match[2])
        return total

    def edit(self, change: Callable[[str], str]) -> None:
        """Replaces routes.toml in one step, and waits until the gate runs the new one."""
        text = change(self.routes.read_text())
        fresh = self.routes.with_suffix(".new")
        fresh.write_text(text)
        os.replace(fresh, self.routes)
        if self._process is not None:
            import hashlib

            wanted = hashlib.sha256(text.encode()).hexdigest()
            until(lambda: wanted[:12] in self.run("history"), f"the gate runs the new mapping\n{self.log()[-3000:]}")

    def clusters(self, **modes: str) -> None:
        """Sets the modes of these clusters, and waits until the gate runs the new mapping."""
        def change(text: str) -> str:
            for name, mode in modes.items():
                text, count = re.subn(rf"(?m)^{name} = .*$", f'{name} = {mode if mode[0] == "{" else json.dumps(mode)}', text)
                assert count == 1, f"{name} is in [clusters] once"
            return text
        self.edit(change)
