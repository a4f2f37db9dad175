"""Inside the namespaces: the real Caddy with a file of deploy/caddy, the gate, and Brook, at the addresses of the file.

The one change to the file: its certificate comes from an authority of Caddy's own instead of a public one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from machine import GATE, ROOT, names  # noqa: E402
from drive import Browser, differences, log_in, matrix, read_folder  # noqa: E402

BROOK = ROOT / "tests" / "consoles" / "brook"
SITE = "https://console.example.com"


def main(sample: Path, work: Path) -> None:
    names(work, {"console.example.com": "127.0.3.1"})
    gated = "forward_auth" not in sample.read_text(encoding="utf-8")
    key = lambda: subprocess.run([GATE, "keygen", "--id", "k"], check=True, capture_output=True, text=True).stdout.strip()  # noqa: E731
    environment = {
        **os.environ, "BROOK_DATABASE": str(work / "brook.db"), "SECRET_KEY": "a secret of the tests",
        "CONSOLE_SECRET_KEY": "a secret of the tests", "CONSOLE_GATE_KEYS": key(), "CONSOLE_GATE_AUDIT_KEYS": key(),
        "CONSOLE_GATE_DATABASE_URL": f"sqlite:{work}/brook.db", "CONSOLE_GATE_AUDIENCE": "console", "USE_GATE": "1",
        "CONSOLE_GATE_LISTEN": "127.0.0.1:8080", "CONSOLE_GATE_ADMIN": "127.0.0.1:9901", "BROOK_BIND": "127.0.0.1:8000",
        "CONSOLE_GATE_UPSTREAM": "127.0.0.1:8000", "CONSOLE_GATE_CONFIG": str(work / "gate.toml"), "HOME": str(work),
        "XDG_DATA_HOME": str(work / "data"), "XDG_CONFIG_HOME": str(work / "config"), "GATE": str(GATE),
        "PYTHONPATH": str(ROOT / "deploy" / "flask")}
    run = lambda *words: subprocess.run(words, check=True, env=environment, cwd=BROOK, stdout=subprocess.DEVNULL)  # noqa: E731
    for command in ("init", "seed"):
        run(sys.executable, "brook.py", command)
    shutil.copy(BROOK / "routes.toml", work)
    settings = (BROOK / "gate.toml").read_text(encoding="utf-8").replace('host = "brook.internal"\n', "")
    more = ('\n[firewall]\nallowed_hosts = ["console.example.com"]\n[forwarded]\ntrusted_hops = 1\n'
            f"[api]\nforward_auth = {str(not gated).lower()}\n[audit]\nclient_address = \"full\"\n")
    (work / "gate.toml").write_text(settings + more, encoding="utf-8")
    run(GATE, "migrate")
    run("sh", "groups.sh")
    text = sample.read_text(encoding="utf-8").replace("console.example.com {\n", "console.example.com {\n\ttls internal\n")
    (work / "Caddyfile").write_text("{\n\tskip_install_trust\n}\n" + text, encoding="utf-8")

    started = []
    try:
        for name, words in (("brook", [str(Path(sys.executable).parent / "gunicorn"), "brook:create_app()"]),
                            ("gate", [GATE, "serve"]),
                            ("caddy", ["caddy", "run", "--adapter", "caddyfile", "--config", work / "Caddyfile"])):
            with open(work / f"{name}.log", "wb") as log:
                started.append(subprocess.Popen(words, stdout=log, stderr=log, env=environment, cwd=BROOK))
        root = work / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        os.environ["SSL_CERT_FILE"] = str(root)
        deadline = time.monotonic() + 60
        while True:
            try:
                ready = Browser("http://127.0.0.1:9901").ask("GET", "/readyz").status
                if ready == 200 and root.exists() and Browser(SITE).ask("GET", "/healthz").status == 200:
                    break
            except OSError:
                pass
            assert time.monotonic() < deadline, "nobody answers"
            time.sleep(0.1)
        run(sys.executable, "brook.py", "seed")
        direct = matrix("http://127.0.0.1:8000", "brook")
        run(sys.executable, "brook.py", "seed")
        # Brook asked directly answers by its own checks; through Caddy and the gate everybody gets the same.
        assert not (found := differences(direct, matrix(SITE, "brook"))), found

        people, script = read_folder(BROOK)
        guest, boss = Browser(SITE), Browser(SITE)
        log_in(guest, next(person for person in people if person["name"] == "guest"), script)
        guest.headers["X-Forwarded-For"] = "203.0.113.9"
        denied = guest.ask("GET", "/wages")
        assert denied.status == 403, denied
        tail = subprocess.run([GATE, "audit", "tail"], check=True, env=environment, capture_output=True, text=True).stdout
        row = next(line for line in tail.splitlines() if str(denied.header("x-request-id")) in line)
        # The address is the one that Caddy saw, not the one that the client claimed.
        assert "203.0.113.9" not in row and "127.0.0.1" in row and "/wages" in row, row
        log_in(boss, next(person for person in people if person["name"] == "boss"), script)
        csrf = {script["csrf"]["header"]: boss.cookies[script["csrf"]["cookie"]], "Content-Type": "application/json"}
        assert boss.ask("PUT", "/shifts/1", json.dumps({"note": "x" * 1_000_000}).encode(), csrf).status == 200
    except BaseException:
        for file in sorted(work.glob("*.log")):
            print(f"--- {file.name}\n{file.read_text()[-3000:]}", file=sys.stderr)
        raise
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
