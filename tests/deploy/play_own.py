"""Inside the namespaces: compose.yaml, with Console left out: what the gate of it needs is there, and it serves."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from machine import DOCKER, ROOT, Play  # noqa: E402
from drive import Browser  # noqa: E402

GATE = "/usr/local/bin/console-gate"


def main(work: Path, secrets: Path) -> None:
    mapping = work / "mapping"
    mapping.mkdir()
    shutil.copy(ROOT / "routes.toml", mapping)
    play = Play(DOCKER / "compose.yaml", work, secrets, {"./mapping": mapping})
    gate = play.services["gate"]
    try:
        migrated = gate.execute([GATE, "migrate", "--seed", "rbac-v2"])
        assert migrated.returncode == 0, migrated
        gate.start()
        gate.healthy()
        browser = Browser("http://127.0.0.1:8080", {"Host": "console.example.com"})
        answer = browser.ask("GET", "/console/customers/")
        assert answer.summary() == "302 /auth/login", answer
        assert gate.execute([GATE, "healthcheck", "--ready"]).returncode == 1, "ready without a Console"
        assert gate.stop() == 0, gate.log.read_text()
    except BaseException:
        print(gate.log.read_text()[-4000:] if gate.log.exists() else "the gate was not started", file=sys.stderr)
        raise
    finally:
        if gate.process and gate.process.poll() is None:
            gate.process.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
