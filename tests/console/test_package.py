"""The wheel: what is in it, that it needs nothing, and that it works where it is installed alone."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from typing import ClassVar

SOURCE = Path(__file__).resolve().parents[2] / "deploy" / "flask"


class Package(unittest.TestCase):
    folder: ClassVar[Path]
    wheel: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = Path(temporary.name)
        # setuptools writes beside what it builds.
        shutil.copytree(SOURCE, cls.folder / "source")
        cls.pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(cls.folder),
                str(cls.folder / "source"))
        [cls.wheel] = cls.folder.glob("*.whl")
        cls.pip("install", "--no-deps", "--no-index", "--target", str(cls.folder / "site"), str(cls.wheel))

    @classmethod
    def pip(cls, *arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
        ran = subprocess.run(command, capture_output=True, check=False)
        assert ran.returncode == 0, ran.stderr.decode()

    def run_alone(self, program: str, *options: str, **environment: str) -> str:
        """A program that finds the wheel, and neither the source nor, with `-S`, anything of the virtual environment."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("CONSOLE_GATE", "PYTHON"))}
        ran = subprocess.run([sys.executable, *options, "-c", program], capture_output=True, check=False, cwd=self.folder / "site",
                             env={**clean, "PYTHONPATH": str(self.folder / "site"), **environment})
        self.assertEqual(ran.returncode, 0, ran.stderr.decode())
        return ran.stdout.decode().strip()

    def test_every_module_and_the_mark_of_types_are_in_it(self) -> None:
        with zipfile.ZipFile(self.wheel) as archive:
            names = {name for name in archive.namelist() if ".dist-info" not in name}
        ours = {path.relative_to(SOURCE).as_posix() for path in SOURCE.glob("console_gate/*") if path.suffix in (".py", ".typed")}
        self.assertEqual(names, ours | {"console_gate_middleware.py", "console_gate_jwks.py"})
        self.assertIn("console_gate/py.typed", names)

    def test_what_it_says_about_itself(self) -> None:
        with zipfile.ZipFile(self.wheel) as archive:
            [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
            package = email.message_from_bytes(archive.read(metadata))
            entry_points = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()
        self.assertEqual(package["Name"], "console-gate")
        self.assertEqual(set(package.get_all("Provides-Extra") or []), {"flask", "django", "jwks"})
        needed = package.get_all("Requires-Dist") or []
        self.assertTrue(all("extra ==" in line for line in needed), needed)
        self.assertIn("console_gate = console_gate.pytest_plugin", entry_points)

    def test_it_verifies_with_nothing_else_installed(self) -> None:
        program = """
import sys
from console_gate import ConsoleGateMiddleware, SharedKeys
from console_gate.testing import Signer
from console_gate_middleware import ConsoleGateMiddleware as former
assert former is ConsoleGateMiddleware
signer = Signer()
gate = ConsoleGateMiddleware.from_environment(lambda environ, start: [environ["REMOTE_USER"].encode()], signer.environment())
sent = signer.headers("GET", "/x", subject="ada")
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/x", "HTTP_X_CONSOLE_GATE_ASSERTION": sent["X-Console-Gate-Assertion"],
           "HTTP_X_REQUEST_ID": sent["X-Request-Id"]}
print(b"".join(gate(dict(environ), print)).decode())
assert not {"flask", "django", "werkzeug", "cryptography"} & set(sys.modules), sys.modules
"""
        self.assertEqual(self.run_alone(program, "-S"), "ada")

    def test_jwks_without_cryptography_says_what_to_install(self) -> None:
        program = """
from console_gate import ConfigurationError, ConsoleGateMiddleware
try:
    ConsoleGateMiddleware.from_environment(None, {"CONSOLE_GATE_JWKS": "keys.json", "CONSOLE_GATE_AUDIENCE": "console"})
except ConfigurationError as error:
    print(error)
"""
        self.assertIn("pip install console-gate[jwks]", self.run_alone(program, "-S"))

    def test_the_fixture_of_pytest(self) -> None:
        test = self.folder / "test_with_fixture.py"
        test.write_text('''
from flask import Flask
from console_gate.flask import ConsoleGate, defer

def refuse(view):
    return lambda: ("no", 403)

def test_console(console_gate):
    app = Flask("x")
    app.add_url_rule("/x", "x", defer(refuse)(lambda: "yes"))
    ConsoleGate(app)
    client = app.test_client()
    assert client.get("/x", headers=console_gate.headers("GET", "/x")).text == "yes"
    assert client.get("/x").status_code == 403
''')
        program = f"""
import sys, pytest
plugins = [] if any(d.metadata["Name"] == "console-gate" for d in __import__("importlib.metadata").metadata.distributions()) else ["-p", "console_gate.pytest_plugin"]
# What others have installed beside it takes seconds to load.
plugins += [word for name in ("schemathesis", "hypothesispytest") for word in ("-p", "no:" + name)]
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *plugins, {str(test)!r}]))
"""
        self.assertIn("1 passed", self.run_alone(program))


if __name__ == "__main__":
    unittest.main()
