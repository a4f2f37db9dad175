"""The manifests and the chart against the schemas of Kubernetes' API, and the pod of the manifests, played.

The chart needs `helm`, which Debian does not have: HELM=... names it. Without it, only its values and their schema are
checked, and that is noted.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parent))

import yaml  # noqa: E402

from machine import GATE, ROOT, apart, why_not  # noqa: E402
from tier import only_in_all  # noqa: E402
from test_compose import note  # noqa: E402

HERE = Path(__file__).resolve().parent
MANIFESTS = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "console-gate"
# The first with native sidecars, and the newest of the package.
VERSIONS = ("1.29.0", "1.37.0")
# Of the Prometheus operator and of kustomize: no schema of Kubernetes'.
OTHERS = {"ServiceMonitor", "Kustomization"}
CONSOLE = {"console": {"container": {"image": "your/console:1"}}}
MAPPING = {"mapping": {"routesToml": "version = 1\n"}}


def needs_schemas(test: Callable[[Any], None]) -> Callable[[Any], None]:
    """Skips a test where the package is missing, and says so at the end of `make test`."""
    @functools.wraps(test)
    def run(self: unittest.TestCase) -> None:
        if importlib.util.find_spec("kubernetes_validate") is None:
            note("tests/deploy/test_kubernetes.py: no kubernetes-validate (tests/setup.sh test)")
            self.skipTest("no kubernetes-validate")
        test(self)
    return run


def mistakes(document: dict[str, Any]) -> list[str]:
    """What the schemas say against a document, unknown fields among it."""
    import kubernetes_validate

    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{version} {document['kind']} {'.'.join(map(str, error.path))}: {error.message}")
    return found


class Manifests(unittest.TestCase):
    def documents(self) -> list[dict[str, Any]]:
        return [document for file in sorted(MANIFESTS.glob("*.yaml")) for document in yaml.safe_load_all(file.read_text("utf-8"))]

    @needs_schemas
    def test_schemas(self) -> None:
        documents = [document for document in self.documents() if document["kind"] not in OTHERS]
        self.assertEqual({document["kind"] for document in documents},
                         {"ConfigMap", "Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "Service"})
        self.assertEqual([mistake for document in documents for mistake in mistakes(document)], [])
        # The check finds what it is for.
        deployment = copy.deepcopy(next(document for document in documents if document["kind"] == "Deployment"))
        deployment["spec"]["template"]["spec"]["initContainers"][0]["livenesProbe"] = {}
        self.assertEqual(len(mistakes(deployment)), len(VERSIONS))

    def test_each_file_is_applied_or_named(self) -> None:
        said = (MANIFESTS / "kustomization.yaml").read_text(encoding="utf-8")
        for file in MANIFESTS.glob("*.yaml"):
            if file.name != "kustomization.yaml":
                self.assertIn(f"- {file.name}", said)

    def test_the_pod(self) -> None:
        if reason := why_not():
            note(f"tests/deploy/play_pod.py: {reason}")
            self.skipTest(reason)
        work = Path(tempfile.mkdtemp(prefix="gate-pod-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, work, ignore_errors=True)
        os.chmod(work, 0o755)
        ran = subprocess.run(apart(HERE / "play_pod.py", str(work)), check=False, capture_output=True, text=True,
                             env={**os.environ, "GATE": str(GATE)})
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)


class Chart(unittest.TestCase):
    def values(self) -> dict[str, Any]:
        return yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

    def refused(self, more: dict[str, Any]) -> list[str]:
        import jsonschema

        schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
        values = self.values()
        for name, value in more.items():
            values[name] = {**values[name], **value} if isinstance(value, dict) else value
        return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(values)]

    @needs_schemas
    def test_values(self) -> None:
        self.assertEqual(self.refused(MAPPING), [])
        self.assertEqual(self.refused({**MAPPING, **CONSOLE}), [])
        for wrong in ({}, {**MAPPING, "replica": 2}, {**MAPPING, "console": {"container": {"args": ["x"]}}},
                      {"mapping": {"routesToml": "version = 1\n", "existingConfigMap": "x"}}):
            self.assertTrue(self.refused(wrong), wrong)
        schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
        self.assertEqual(set(self.values()) - set(schema["properties"]), set())

    def test_versions_are_the_programs(self) -> None:
        version = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]["version"]
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
        self.assertEqual(chart["appVersion"], version)
        for file in ("deployment.yaml", "migrate.yaml"):
            self.assertIn(f"image: console-gate:{version}\n", (MANIFESTS / file).read_text(encoding="utf-8"))
        changelog = (ROOT / "deploy" / "debian" / "changelog").read_text(encoding="utf-8")
        self.assertTrue(changelog.startswith(f"console-gate ({version}-"), changelog)

    def test_settings_are_those_of_the_manifests(self) -> None:
        settings = yaml.safe_load((MANIFESTS / "settings.yaml").read_text(encoding="utf-8"))["data"]["gate.toml"]
        self.assertEqual(tomllib.loads(self.values()["gateToml"]), tomllib.loads(settings))

    @only_in_all("helm is not everywhere")
    @needs_schemas
    def test_rendered(self) -> None:
        helm = os.environ.get("HELM") or shutil.which("helm")
        if helm is None:
            note("tests/deploy/test_kubernetes.py: the chart was not rendered (no helm)")
            self.skipTest("no helm")
        template = [helm, "template", "x", str(CHART), "--kube-version", "1.30.0"]
        mapping = ["--set", "mapping.existingConfigMap=m"]
        subprocess.run([helm, "lint", str(CHART), *mapping], check=True, capture_output=True)
        console = ["--set", "console.container.image=your/console:1"]
        (plain,) = (document["spec"]["template"]["spec"] for document in
                    yaml.safe_load_all((MANIFESTS / "deployment.yaml").read_text("utf-8")))
        for more, kinds in (
            (console, 8), ([], 8), ([*console, "--set", "serviceMonitor.enabled=true"], 9),
            (["--set", "migrate.enabled=false,networkPolicy.enabled=false,podDisruptionBudget.enabled=false"], 4),
            ([*console, "--set", "migrate.args={--grant-to,serving}", "--set-string", "env[0].name=FLAG_RBAC_V2,env[0].value=1"], 8),
        ):
            with self.subTest(more):
                ran = subprocess.run([*template, *mapping, *more], check=False, capture_output=True, text=True)
                self.assertEqual(ran.returncode, 0, ran.stderr)
                documents = [document for document in yaml.safe_load_all(ran.stdout) if document]
                self.assertEqual(len(documents), kinds, [document["kind"] for document in documents])
                self.assertEqual([mistake for document in documents if document["kind"] not in OTHERS
                                  for mistake in mistakes(document)], [])
                pod = next(document for document in documents if document["kind"] == "Deployment")["spec"]["template"]["spec"]
                gate = (pod.get("initContainers") or pod["containers"])[0]
                self.assertEqual("initContainers" in pod, more[:2] == console)
                for part in ("startupProbe", "livenessProbe", "readinessProbe", "ports", "securityContext", "volumeMounts", "resources"):
                    self.assertEqual(gate[part], plain["initContainers"][0][part], part)
        long = subprocess.run([helm, "template", "r" * 53, *template[3:], *mapping], check=True, capture_output=True, text=True).stdout
        for document in yaml.safe_load_all(long):
            self.assertLessEqual(len(document["metadata"]["name"]), 63)
        refused = subprocess.run(template, check=False, capture_output=True, text=True)
        self.assertIn("routesToml", refused.stderr)


if __name__ == "__main__":
    unittest.main()
