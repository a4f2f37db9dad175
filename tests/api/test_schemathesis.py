"""schemathesis against the OpenAPI document of a running gate: the demo's, with the RBAC API turned over to it.

Whatever is sent, nothing is answered with a server's error, with a status or a type that the document does not name, or with a
body that is not of its schema. Requests are those that the document allows, and those that it does not.

    python tests/api/test_schemathesis.py

GATE=... names another binary than target/debug/console-gate, API_EXAMPLES another number of requests for each operation, API_SEED
another seed. With GATE_TIER=all the requests go on for a minute and a half; otherwise they are few, and always the same.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "consoles"))

from ports import free_port  # noqa: E402
from tier import ALL  # noqa: E402

GATE = Path(os.environ.get("GATE", ROOT / "target" / "debug" / "console-gate")).resolve()
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
EXAMPLES = os.environ.get("API_EXAMPLES", "12" if ALL else "2")
SEED = os.environ.get("API_SEED", "1")
# Two minutes are for all of it; what is asked by then is what counts. Schemathesis fuzzes until this time is over, so the
# quick tier has none and ends with its examples.
RUN_SECONDS = 90
MAX_TIME = ["--max-time", str(RUN_SECONDS // 2)] if ALL else []
PHASES = "examples,coverage,fuzzing"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


class Demo:
    """The demo, ended with the block."""

    def __enter__(self) -> Demo:
        self.port = free_port()
        arguments = ["demo", "--port", str(self.port), "--admin-port", str(free_port())]
        self.process = subprocess.Popen(
            [GATE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        # Nobody reads what it logs, but it must not wait for that.
        self.reader = threading.Thread(target=self.process.stdout.read)
        self.reader.start()
        deadline = time.monotonic() + 60
        while not self.is_ready():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError("the demo does not listen")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.reader.join()
        self.process.stdout.close()

    def is_ready(self) -> bool:
        try:
            return bool(self.ask("GET", "/auth/login")[0])
        except OSError:
            return False

    def ask(self, method: str, path: str, body: str = "") -> tuple[str, str]:
        """The body and the cookie of an answer."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.read().decode(), answer.getheader("Set-Cookie", "").split(";")[0]

    def cookie(self, group: str) -> str:
        """The session of somebody in a group."""
        rows = re.findall(r"<tr>.*?</tr>", self.ask("GET", "/auth/login")[0], re.S)
        row = next(row for row in rows if group in row)
        person = re.search(r'name="as" value="([^"]+)"', row)
        assert person, row
        return self.ask("POST", "/auth/login", urlencode({"as": person.group(1), "next": "/auth/home"}))[1]


class Schemathesis(unittest.TestCase):
    def run_it(self, demo: Demo, cookie: str, name: str, phases: str = PHASES) -> None:
        folder = ROOT / "target" / "tmp" / "api" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # Its settings and what it remembers of earlier runs are nobody's business here.
        with tempfile.TemporaryDirectory() as here:
            output = folder / "output.txt"
            with output.open("w") as to:
                ended = subprocess.run(
                    [
                        SCHEMATHESIS, "run", f"http://127.0.0.1:{demo.port}/api/rbac/openapi.json",
                        "--header", f"Cookie: {cookie}", "--header", "Sec-Fetch-Site: same-origin",
                        "--checks", CHECKS, "--phases", phases, "--max-examples", EXAMPLES,
                        "--seed", SEED, *MAX_TIME, "--suppress-health-check", "all", "--no-shrink",
                        "--warnings", "off", "--no-color",
                    ],
                    cwd=here, stdout=to, stderr=subprocess.STDOUT, timeout=RUN_SECONDS * 3, check=False,
                )
        said = output.read_text()
        self.assertEqual(ended.returncode, 0, said[-20_000:])
        # A run that reached nothing shows nothing.
        self.assertRegex(said, r"\d+ generated", said[-2_000:])

    def test_the_document_is_kept(self) -> None:
        with Demo() as demo:
            self.run_it(demo, demo.cookie("raxx-platform-admins"), "admin")
            # What the document covers is asked twice in the full tier alone.
            self.run_it(demo, demo.cookie("raxx-support-team"), "support", PHASES if ALL else "fuzzing")


if __name__ == "__main__":
    unittest.main()
