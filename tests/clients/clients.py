"""Who asks: each client with the program that it is, and whether it is over TLS."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable

from drivers import chromium, libraries, tools
from variants import Variant
from wire import Answer, answers, questions, trouble

DRIVERS = Path(__file__).resolve().parent / "drivers"
# For the whole table.
SECONDS = 300

Ask = Callable[[str, str, Iterable[Variant]], list[Answer]]


@dataclass(frozen=True)
class Client:
    name: str
    ask: Ask
    # What it is, for Debian; None: a package of .venv.
    program: str | None
    tls: bool = False
    # Fewer variants for those that need a process each, where they repeat what another shows.
    only: Callable[[Variant], bool] = lambda _variant: True

    def lacks(self) -> str | None:
        """What is missing here for it to run."""
        if self.program in ("perl-lwp",):
            ran = subprocess.run(["perl", "-MLWP::UserAgent", "-MLWP::Protocol::https", "-e1"], capture_output=True, check=False)
            return None if ran.returncode == 0 else "libwww-perl liblwp-protocol-https-perl"
        if self.program is None or shutil.which(self.program):
            return None
        return {"go": "golang-go", "java": "default-jdk-headless", "node": "nodejs"}.get(self.program, self.program)


def with_program(*command: str) -> Ask:
    """A driver that reads the table from its standard input."""
    def ask(base: str, certificate: str, variants: Iterable[Variant]) -> list[Answer]:
        asked = list(variants)
        made = [base if part == "BASE" else certificate if part == "AUTHORITY" else part for part in command]
        ran = subprocess.run(made, input=questions(asked), capture_output=True, text=True, check=False, timeout=SECONDS, errors="replace",
                             env={**os.environ, "NODE_EXTRA_CA_CERTS": certificate, "LC_ALL": "C.UTF-8"})
        found = answers(ran.stdout)
        return [found.get(number, trouble(f"{command[0]} ended: {ran.stderr[-300:]}")) for number in range(len(asked))]
    return ask


def with_go(base: str, certificate: str, variants: Iterable[Variant]) -> list[Answer]:
    folder = Path(certificate).parent
    binary = folder / "go-client"
    if not binary.exists():
        made = subprocess.run(["go", "build", "-o", binary, DRIVERS / "client.go"], capture_output=True, text=True, check=False, cwd=folder,
                              env={**os.environ, "GOFLAGS": "-mod=mod", "GO111MODULE": "off", "CGO_ENABLED": "0",
                                   "GOCACHE": os.environ.get("GOCACHE", "/tmp/gate-clients-go")})
        if made.returncode:
            raise RuntimeError(made.stderr)
    return with_program(str(binary), "BASE", "AUTHORITY")(base, certificate, variants)


def is_short(variant: Variant) -> bool:
    return not isinstance(variant.body, int) or variant.body < 1 << 20


CLIENTS = [
    Client("curl", tools.with_curl("--http1.1"), "curl"),
    Client("curl-http1.0", tools.with_curl("--http1.0"), "curl"),
    # `--http2` in clear offers an upgrade, which nobody has to take.
    Client("curl-offers-h2c", tools.with_curl("--http2"), "curl", only=is_short),
    Client("curl-h2", tools.with_curl("--http2"), "curl", tls=True),
    Client("wget", tools.with_wget, "wget"),
    Client("requests", libraries.with_requests, None),
    Client("urllib3", libraries.with_urllib3, None),
    Client("httpx", libraries.with_httpx, None),
    Client("httpx-h2", libraries.with_httpx_http2, None, tls=True),
    Client("aiohttp", libraries.with_aiohttp, None),
    Client("node-fetch", with_program("node", str(DRIVERS / "fetch.mjs"), "fetch", "BASE"), "node"),
    Client("node-http", with_program("node", str(DRIVERS / "fetch.mjs"), "http", "BASE"), "node"),
    Client("java", with_program("java", "-Xmx512m", str(DRIVERS / "Client.java"), "2", "BASE", "AUTHORITY"), "java"),
    Client("java-h2", with_program("java", "-Xmx512m", str(DRIVERS / "Client.java"), "2", "BASE", "AUTHORITY"), "java", tls=True),
    Client("perl", with_program("perl", str(DRIVERS / "lwp.pl"), "BASE", "AUTHORITY"), "perl-lwp"),
    Client("go", with_go, "go"),
    Client("go-h2", with_go, "go", tls=True),
    Client("chromium-fetch", chromium.with_fetch, "chromium"),
    Client("chromium-fetch-h2", chromium.with_fetch, "chromium", tls=True, only=is_short),
    Client("chromium-page", chromium.with_navigation, "chromium"),
]
