"""Manifests, validated with the schemas of Kubernetes, and with the fields of operators that they use."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from helpers.kubernetes import KUBECTL, MISSING, OVERLAYS, find, overlay

pytestmark = pytest.mark.skipif(KUBECTL is None, reason=MISSING)

VERSIONS = 3
"""Releases of Kubernetes that are maintained at a time."""

OPERATORS: dict[str, Any] = yaml.safe_load(Path(__file__, "..", "operators.yaml").resolve().read_text())

MANIFESTS = {
    f"{each['kind']} {each['metadata']['name']} {json.dumps(each, sort_keys=True)}": each
    for name in OVERLAYS
    if KUBECTL
    for each in overlay(name)
}
"""Objects of all overlays, equal ones once."""


def of_operator(manifest: dict[str, Any]) -> bool:
    return manifest["apiVersion"].partition("/")[0] in OPERATORS["groups"]


def strict(schema: Any) -> Any:
    """Return a schema in which no object may have other fields than its `properties`."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return ({"additionalProperties": False} if "properties" in schema else {}) | {k: strict(v) for k, v in schema.items()}


def test_kubernetes_knows_every_field() -> None:
    validator = pytest.importorskip("kubernetes_validate")
    major, minor, *_ = map(int, validator.latest_version().split("."))
    for manifest in MANIFESTS.values():
        if not of_operator(manifest):
            for older in range(VERSIONS):
                validator.validate(manifest, f"{major}.{minor - older}", strict=True)


def test_an_unknown_field_of_kubernetes_is_found() -> None:
    validator = pytest.importorskip("kubernetes_validate")
    service = find("market-data", "Service", "managed")
    with pytest.raises(validator.ValidationError, match="selectors"):
        validator.validate(service | {"spec": {"selectors": {}}}, validator.latest_version(), strict=True)


def test_operators_know_every_field() -> None:
    found = [manifest for manifest in MANIFESTS.values() if of_operator(manifest)]
    for manifest in found:
        schema = strict(OPERATORS["kinds"][f"{manifest['apiVersion']} {manifest['kind']}"])
        jsonschema_rs.validate(schema, manifest["spec"])
    assert {f"{each['apiVersion']} {each['kind']}" for each in found} == set(OPERATORS["kinds"])


@pytest.mark.parametrize("field", ["spec", "postgresql", "synchronous"])
def test_an_unknown_field_of_an_operator_is_found(field: str) -> None:
    (cluster,) = [manifest for manifest in MANIFESTS.values() if manifest["kind"] == "Cluster"]
    spec = json.loads(json.dumps(cluster["spec"]))
    place = {"spec": spec, "postgresql": spec["postgresql"], "synchronous": spec["postgresql"]["synchronous"]}[field]
    place["replicas"] = 1
    with pytest.raises(jsonschema_rs.ValidationError, match="replicas"):
        jsonschema_rs.validate(strict(OPERATORS["kinds"]["postgresql.cnpg.io/v1 Cluster"]), spec)
