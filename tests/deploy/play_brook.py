"""Inside the namespaces: compose.brook.yaml, and what its comment promises."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from machine import DOCKER, Play  # noqa: E402
from drive import Browser, differences, log_in, matrix, read_folder  # noqa: E402

GATE = "http://127.0.0.1:8080"


def main(work: Path, secrets: Path) -> None:
    play = Play(DOCKER / "compose.brook.yaml", work, secrets)
    try:
        play.up("gate")
        gate = play.services["gate"]
        gate.healthy()
        people, script = read_folder(Path(__file__).parents[1] / "consoles" / "brook")
        direct, through = (matrix(base, "brook") for base in ("http://brook:8000", GATE))
        assert not differences(direct, through), differences(direct, through)

        # The people of the comment, and the guest's 403.
        said = (DOCKER / "compose.brook.yaml").read_text(encoding="utf-8")
        for login, wages in (("bea", 200), ("carl", 403), ("gus", 403)):
            person = next(person for person in people if person.get("login") == login)
            assert f"`{login}`" in said and f"`{person['password']}`" in said.replace("`carl`, `", "`"), login
            browser = Browser(GATE)
            log_in(browser, person, script)
            assert browser.ask("GET", "/wages").status == wages, login
        tail = gate.execute(["/usr/local/bin/console-gate", "audit", "tail"])
        assert tail.returncode == 0 and "/wages" in tail.stdout, tail
        change = gate.execute(["/usr/local/bin/console-gate", "diff", "/etc/console-gate/mapping/routes.toml", "--cluster",
                               "people=v2"])
        # 1: there is something to look at.
        assert change.returncode == 1 and "GET /wages" in change.stdout, change
        doctor = gate.execute(["/usr/local/bin/console-gate", "doctor"]).stdout
        for found in ("0.0.0.0:8080: a gate is running", "every migration is there", "6 active"):
            assert found in doctor, doctor
        # `up` once more: what has ended runs again.
        for name in ("tables", "migrate"):
            play.services[name].finish()

        # A body that does not fit into memory waits in /tmp, which the read-only root has as a tmpfs.
        boss = Browser(GATE)
        log_in(boss, people[1], script)
        csrf = {script["csrf"]["header"]: boss.cookies[script["csrf"]["cookie"]], "Content-Type": "application/json"}
        body = json.dumps({"note": "till", "long": "x" * 1_000_000}).encode()
        assert boss.ask("PUT", "/shifts/1", body, csrf).status == 200

        with urllib.request.urlopen("http://127.0.0.1:9901/readyz") as answer:
            assert json.load(answer)["ready"]
        ended = play.down()
        assert ended["gate"] == 0, (ended, gate.log.read_text())
    except BaseException:
        for service in play.services.values():
            if service.log.exists():
                print(f"--- {service.name}\n{service.log.read_text()[-4000:]}", file=sys.stderr)
        raise
    finally:
        for service in play.services.values():
            if service.process and service.process.poll() is None:
                service.process.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
