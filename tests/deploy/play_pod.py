"""Inside the namespaces: the pod of deploy/kubernetes, as kubelet would run its gate, with a Console that starts later."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parent))

from machine import ROOT, Image, gate_root, make_read_only, names  # noqa: E402
from drive import Browser  # noqa: E402

import yaml  # noqa: E402

MANIFESTS = ROOT / "deploy" / "kubernetes"
POD = "127.0.2.1"


def manifests(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / file).read_text(encoding="utf-8")))


def config_map(folder: Path, files: dict[str, str]) -> None:
    """As kubelet writes the volume of a ConfigMap: files are links through `..data`, which is swapped in one step."""
    folder.mkdir(exist_ok=True)
    version = folder / f"..{time.time_ns()}"
    version.mkdir()
    for name, text in files.items():
        (version / name).write_text(text, encoding="utf-8")
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(version.name)
    (folder / "..data_tmp").rename(folder / "..data")


class Silent(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def main(work: Path) -> None:
    names(work, {})
    (pod,) = (document["spec"]["template"]["spec"] for document in manifests("deployment.yaml"))
    (job,) = (document["spec"]["template"]["spec"] for document in manifests("migrate.yaml"))
    (settings,) = manifests("settings.yaml")
    (gate,), (migrate,) = pod["initContainers"], job["containers"]
    assert gate["restartPolicy"] == "Always"
    image = Image(ROOT / "deploy" / "docker" / "Dockerfile")
    ports = {port["name"]: port["containerPort"] for port in gate["ports"]}

    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert user == image.user, "the image's user"
    root = gate_root(work / "root", user, work / "hosts")
    mounts = {mount["name"]: root / mount["mountPath"].lstrip("/") for mount in gate["volumeMounts"]}
    assert gate["volumeMounts"] == migrate["volumeMounts"]
    routes = (ROOT / "routes.toml").read_text(encoding="utf-8")
    for folder in mounts.values():
        folder.mkdir(parents=True, exist_ok=True)
    assert gate["securityContext"]["readOnlyRootFilesystem"]
    # The ConfigMaps' volumes are mounts of their own, which kubelet writes and the container does not.
    volumes = {name: work / f"volume-{name}" for name in ("settings", "mapping")}
    config_map(volumes["settings"], settings["data"])
    config_map(volumes["mapping"], {"routes.toml": routes})
    make_read_only(root, [f"/{mounts['tmp'].relative_to(root)}"], [], user)
    for name, folder in volumes.items():
        subprocess.run(["mount", "--bind", folder, mounts[name]], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", mounts[name]], check=True)

    key = lambda: base64.b64encode(os.urandom(32)).decode()  # noqa: E731
    # Of the Secret. SQLite in the emptyDir, which a cluster would not have, because it suffices here.
    secret = {"CONSOLE_SECRET_KEY": key(), "CONSOLE_GATE_KEYS": f"k1:{key()}", "CONSOLE_GATE_AUDIT_KEYS": f"a1:{key()}",
              "CONSOLE_GATE_DATABASE_URL": "sqlite:/tmp/gate.sqlite"}
    environment = {"PATH": "/usr/local/bin", **image.environment, **secret}

    def words(container: dict[str, Any], *more: str) -> list[str]:
        return [str(shutil.which("chroot")), f"--userspec={user}", "--groups=", str(root), *image.entrypoint, *(container.get("args") or image.command),
                *more]

    def probe(name: str) -> int:
        said = gate[name]["httpGet"]
        browser = Browser(f"http://{POD}:{ports[said['port']]}", {"Host": f"{POD}:{ports[said['port']]}"})
        try:
            return browser.ask("GET", said["path"]).status
        except OSError:
            return 0
        finally:
            browser.close()

    def until(what: str, look: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not look():
            assert time.monotonic() < deadline and process.poll() is None, f"{what}\n{log.read_text()}"
            time.sleep(0.1)

    ran = subprocess.run(words(migrate, "--seed", "rbac-v2"), check=False, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran
    log = work / "gate.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(words(gate), stdout=output, stderr=output, env=environment)
    try:
        startup = gate["startupProbe"]
        until("the startup probe", lambda: probe("startupProbe") == 200, startup["periodSeconds"] * startup["failureThreshold"])
        # Only now does kubelet start Console; until then the pod is alive and not ready.
        assert probe("livenessProbe") == 200
        assert probe("readinessProbe") == 503, "ready without a Console"
        console = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Silent)
        threading.Thread(target=console.serve_forever, daemon=True).start()
        until("readiness", lambda: probe("readinessProbe") == 200, 30)
        browser = Browser(f"http://{POD}:{ports['http']}", {"Host": "console.example.com"})
        assert browser.ask("GET", "/console/customers/").status == 302
        assert Browser(f"http://{POD}:{ports['http']}").ask("GET", "/console/customers/").status == 400, "another Host"

        # Another mapping: the links are swapped, and the gate reloads.
        other = routes + "\n# Another version.\n"
        config_map(volumes["mapping"], {"routes.toml": other})
        sha = hashlib.sha256(other.encode()).hexdigest()
        admin = f"http://{POD}:{ports['admin']}"
        until("the new mapping", lambda: any(
            line.startswith("gate_mapping_info{") and sha in line and line.endswith(" 1")
            for line in Browser(admin).ask("GET", "/metrics").body.decode().splitlines()), 30)

        process.terminate()
        assert process.wait(timeout=pod["terminationGracePeriodSeconds"]) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
