"""Plays a compose file without a container engine: its order, commands, settings, environment, health checks and names.

It runs inside namespaces of its own (`unshare --mount --net`), so each service has its name and its port as in the network
of the file. The gate runs in a root that has what its image has: glibc, libgcc, CA roots, the files of the compose file, and
nothing else; read-only where the file says so, as the user of the image. Brook and Postgres run as programs of this
machine. Not shown: that the images build, and what is in images of others.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "consoles"), str(Path(__file__).resolve().parent)]

import yaml  # noqa: E402

from postgres import programs  # noqa: E402

GATE = Path(os.environ.get("GATE", ROOT / "target" / "debug" / "console-gate")).resolve()
DOCKER = ROOT / "deploy" / "docker"
HEALTHY_SECONDS = 60
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
# What the image's `cc` base has, by the names that the loader asks for.
LIBRARIES = re.compile(r"(?:=> )?(/\S+) \(0x")


class Image:
    """The instructions of a stage of a Dockerfile that say how it runs: of `target`, or of the last one."""

    def __init__(self, dockerfile: Path, target: str | None = None) -> None:
        text = re.sub(r"\\\n\s*", " ", dockerfile.read_text(encoding="utf-8"))
        stages = re.split(r"(?m)^FROM ", text)
        stage = next(stage for stage in stages if stage.partition("\n")[0].endswith(f" AS {target}")) if target else stages[-1]
        self.has_gate = "/out/console-gate /usr/local/bin/console-gate" in stage
        self.has_shell = target == "tools"
        said = dict(re.findall(r"(?m)^(USER|ENTRYPOINT|CMD|WORKDIR) (.+)$", stage))
        self.user = said["USER"]
        self.entrypoint = yaml.safe_load(said.get("ENTRYPOINT", "[]"))
        self.command = yaml.safe_load(said["CMD"])
        self.environment = dict(re.findall(r"(?m)^ENV (\w+)=(\S+)$", stage))
        health = re.search(r"(?m)^HEALTHCHECK .*?CMD (\[.+\])$", stage)
        self.health = ["CMD", *yaml.safe_load(health.group(1))] if health else None
        # (what, to), without those of other stages.
        self.copies = [tuple(re.split(r"\s+", line)) for line in re.findall(r"(?m)^COPY (?!--)(.+)$", stage)]


class Service:
    def __init__(self, play: Play, name: str, said: dict[str, Any]) -> None:
        self.play, self.name, self.said = play, name, said
        build = said.get("build")
        self.image = Image(play.file.parent / build["context"] / build["dockerfile"], build.get("target")) if build else None
        self.environment = {"PATH": os.environ["PATH"], **(self.image.environment if self.image else {})}
        files = said.get("env_file", [])
        for file in [files] if isinstance(files, str) else files:
            for line in (play.secrets / file).read_text(encoding="utf-8").splitlines():
                key, _, value = line.partition("=")
                self.environment[key] = value
        self.environment |= {key: str(value) for key, value in said.get("environment", {}).items()}
        self.log = play.work / f"{name}.log"
        self.folder = play.work / name
        self.process: subprocess.Popen[bytes] | None = None

    # --- how a command runs in it ---

    def prepare(self) -> None:
        if self.folder.exists():
            return
        self.folder.mkdir()
        if self.name == "postgres":
            self._initdb()
        elif self.image and self.image.has_gate:
            self._gate_root()
        elif self.image:
            for *what, to in self.image.copies:
                for source in what:
                    path = ROOT / source
                    if path.is_dir():
                        shutil.copytree(path, self.folder / Path(to).name, ignore=shutil.ignore_patterns("__pycache__"))
                    else:
                        shutil.copy(path, self.folder)

    def words(self, command: list[str]) -> tuple[list[str], dict[str, Any]]:
        if self.name == "postgres":
            user = pwd.getpwnam("nobody")
            return ([str((programs() / "initdb").resolve().parent / command[0]), *command[1:]],
                    {"cwd": self.folder, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": [],
                     "env": {**self.environment, "PGHOST": str(self.folder)}})
        if self.image and self.image.has_gate:
            user = self.image.user
            return ["chroot", f"--userspec={user}", "--groups=", str(self.folder), *command], {"env": self.environment}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return command, {"cwd": self.folder, "env": {**self.environment, "PATH": path}}

    def execute(self, command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
        """As `docker compose exec`, or `run` for a service that is not up."""
        self.prepare()
        words, how = self.words(command)
        return subprocess.run(words, check=False, capture_output=True, text=True, **how, **more)

    def main(self) -> list[str]:
        if self.name == "postgres":
            return ["postgres", "-D", str(self.folder / "data"), "-c", f"listen_addresses={self.play.addresses['postgres']}",
                    "-c", f"unix_socket_directories={self.folder}", "-c", "fsync=off"]
        assert self.image is not None
        return [*self.image.entrypoint, *(self.said.get("command") or self.image.command)]

    def finish(self) -> None:
        """For `service_completed_successfully`."""
        ran = self.execute(self.main())
        self.log.write_text(ran.stdout + ran.stderr, encoding="utf-8")
        if ran.returncode != 0:
            raise AssertionError(f"{self.name} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")

    def start(self) -> None:
        self.prepare()
        words, how = self.words(self.main())
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **how)

    def healthy(self) -> None:
        """For `service_healthy`, by the health check of the file or of the image."""
        health = self.said.get("healthcheck", {}).get("test") or (self.image.health if self.image else None)
        assert health and health[0] == "CMD", f"{self.name} has no health check"
        deadline = time.monotonic() + HEALTHY_SECONDS
        while (ran := self.execute(health[1:])).returncode != 0:
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} is not healthy: {ran.stdout}{ran.stderr}\n{self.log.read_text()}")
            time.sleep(0.1)

    def stop(self) -> int | None:
        if self.process is None:
            return None
        self.process.terminate()
        return self.process.wait(timeout=90)

    # --- what is in it ---

    def _initdb(self) -> None:
        user = pwd.getpwnam("nobody")
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        password = self.folder / "password"
        password.write_text(self.environment["POSTGRES_PASSWORD"], encoding="utf-8")
        os.chown(password, user.pw_uid, user.pw_gid)
        for command in (["initdb", "--no-sync", "--auth=scram-sha-256", f"--username={self.environment['POSTGRES_USER']}",
                         "--pwfile=password", "--encoding=UTF8", "--locale=C", "-D", "data"],):
            words, how = self.words(command)
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, **how)
        # The image makes POSTGRES_DB.
        words, how = self.words(["postgres", "--single", "-D", "data", "postgres"])
        subprocess.run(words, check=True, input=f"CREATE DATABASE {self.environment['POSTGRES_DB']}\n".encode(),
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)

    def _gate_root(self) -> None:
        assert self.image is not None
        root = gate_root(self.folder, self.image.user, self.play.work / "hosts", shell=self.image.has_shell)
        for config in self.said.get("configs", []):
            content = self.play.said["configs"][config["source"]]["content"].replace("$$", "$")
            target = root / config["target"].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
        volumes = [volume.split(":") for volume in self.said.get("volumes", [])]
        for source, target, *_ in volumes:
            if source.startswith("."):
                shutil.copytree(self.play.volumes.get(source, self.play.file.parent / source), root / target.lstrip("/"))
        if self.said.get("read_only"):
            own = [target for source, target, *_ in volumes if not source.startswith(".")]
            make_read_only(root, self.said.get("tmpfs", []), own, self.image.user)


def gate_root(root: Path, user: str, hosts: Path, shell: bool = False) -> Path:
    """What the image of the gate has: the program, its libraries, and next to nothing else."""
    user, _, group = user.partition(":")
    binary = root / "usr/local/bin/console-gate"
    binary.parent.mkdir(parents=True)
    try:
        os.link(GATE, binary)
    except OSError:
        shutil.copy(GATE, binary)
    loaded = [GATE]
    if shell:
        loaded.append(Path("/bin/sh"))
        (root / "bin").mkdir()
        shutil.copy("/bin/sh", root / "bin/sh")
    for library in LIBRARIES.findall(subprocess.run(["ldd", *loaded], check=True, capture_output=True, text=True).stdout):
        (root / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library.lstrip("/"))
    for folder in ("etc/ssl/certs", "tmp", "var/lib/console-gate", "proc", "dev"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    os.chmod(root / "tmp", 0o1777)
    os.chown(root / "var/lib/console-gate", int(user), int(group))
    (root / "etc/passwd").write_text(f"nonroot:x:{user}:{group}::/home/nonroot:/sbin/nologin\n", encoding="utf-8")
    shutil.copy(hosts, root / "etc/hosts")
    subprocess.run(["mount", "--rbind", "/proc", root / "proc"], check=True)
    return root


def make_read_only(root: Path, tmpfs: list[str], own: list[str], user: str) -> None:
    """Everything in `root` but these folders; those of `own` belong to the user."""
    user, _, group = user.partition(":")
    mounts = [(folder, "mode=1777") for folder in tmpfs] + [(folder, f"mode=700,uid={user},gid={group}") for folder in own]
    run = lambda *words: subprocess.run(words, check=True)  # noqa: E731
    run("mount", "--rbind", root, root)
    run("mount", "-o", "remount,bind,ro", root)
    for folder, options in mounts:
        run("mount", "-t", "tmpfs", "-o", options, "tmpfs", root / folder.lstrip("/"))


def names(work: Path, addresses: dict[str, str]) -> None:
    """These names, and a loopback that is up."""
    hosts = "127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in addresses.items())
    (work / "hosts").write_text(hosts, encoding="utf-8")
    with socket.socket() as anything:
        fcntl.ioctl(anything, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    subprocess.run(["mount", "--bind", work / "hosts", "/etc/hosts"], check=True)


class Play:
    def __init__(self, file: Path, work: Path, secrets: Path, volumes: dict[str, Path] | None = None) -> None:
        self.file, self.work, self.secrets, self.volumes = file, work, secrets, volumes or {}
        text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: os.environ[found.group(1)], file.read_text(encoding="utf-8"))
        self.said = yaml.safe_load(text)
        self.addresses = {name: f"127.0.1.{number}" for number, name in enumerate(self.said["services"], 1)}
        names(work, self.addresses)
        self.services = {name: Service(self, name, said) for name, said in self.said["services"].items()}

    def up(self, name: str, condition: str = "service_started") -> None:
        """A service after those that it depends on."""
        service = self.services[name]
        needs = service.said.get("depends_on", {})
        for other, how in (needs.items() if isinstance(needs, dict) else ((other, {}) for other in needs)):
            self.up(other, how.get("condition", "service_started"))
        if condition == "service_completed_successfully":
            if not service.log.exists():
                service.finish()
            return
        if service.process is None:
            service.start()
        if condition == "service_healthy":
            service.healthy()

    def down(self) -> dict[str, int | None]:
        """What each ended with, the first of the file last."""
        return {name: service.stop() for name, service in reversed(self.services.items())}


def apart(script: Path, *arguments: str) -> list[str]:
    """The command that runs a script of this folder in namespaces of its own."""
    return ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, str(script), *arguments]


def why_not() -> str | None:
    """Why this machine cannot play a file, if so."""
    for program in ("unshare", "chroot", "mount", "ldd"):
        if shutil.which(program) is None:
            return f"no `{program}`"
    if os.geteuid() != 0:
        return "not root"
    ran = subprocess.run(["unshare", "--mount", "--net", "true"], check=False, capture_output=True, text=True)
    return None if ran.returncode == 0 else f"namespaces: {shlex.quote(ran.stderr.strip())}"
