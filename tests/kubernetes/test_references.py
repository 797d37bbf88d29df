"""Objects that refer to each other, and the privileges of the pods."""

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.kubernetes import KUBECTL, MISSING, OVERLAYS, Pod, find, overlay, pods

pytestmark = [
    pytest.mark.skipif(KUBECTL is None, reason=MISSING),
    pytest.mark.parametrize("name", OVERLAYS),
]

OF_OPERATORS = "cnpg.io/"
"""Beginning of the labels of pods that an operator creates."""

RESTRICTED_VOLUMES = {"configMap", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
"""Volumes of the Pod Security Standard `restricted`."""


def selected(labels: dict[str, str], name: str) -> list[Pod]:
    return [each for each in pods(name) if labels.items() <= each.labels.items()]


def pod_selectors(name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the labels by which objects select pods of the namespace, with the object."""
    for each in overlay(name):
        title, spec = f"{each['kind']} {each['metadata']['name']}", each.get("spec", {})
        if each["kind"] == "Service":
            yield title, spec["selector"]
        if each["kind"] in {"Deployment", "StatefulSet", "PodDisruptionBudget"}:
            yield title, spec["selector"]["matchLabels"]
        if each["kind"] == "NetworkPolicy":
            yield title, spec["podSelector"]["matchLabels"]
            peers = [peer for rule in spec.get("ingress", []) for peer in rule.get("from", [])]
            peers += [peer for rule in spec.get("egress", []) for peer in rule.get("to", [])]
            yield from ((title, peer["podSelector"]["matchLabels"]) for peer in peers if "podSelector" in peer)
    for pod in pods(name):
        spread = pod.spec.get("topologySpreadConstraints", [])
        yield from ((f"spread of {pod.owner}", each["labelSelector"]["matchLabels"]) for each in spread)


def test_selectors_find_pods(name: str) -> None:
    found = [(title, labels) for title, labels in pod_selectors(name) if not str(labels).count(OF_OPERATORS)]
    assert [title for title, labels in found if not selected(labels, name)] == []
    assert len(found) >= 6


def test_a_service_and_a_deployment_select_no_pods_of_jobs(name: str) -> None:
    for title, labels in pod_selectors(name):
        if title.split()[0] in {"Deployment", "Service", "PodDisruptionBudget", "StatefulSet"}:
            assert len(selected(labels, name)) == 1, title


def test_named_ports_exist(name: str) -> None:
    for each in overlay(name):
        if each["kind"] == "Service":
            (pod,) = selected(each["spec"]["selector"], name)
            ports = {port["name"] for port in pod.container["ports"]}
            assert {port["targetPort"] for port in each["spec"]["ports"]} <= ports
        if each["kind"] == "NetworkPolicy":
            ports = {port["port"] for rule in each["spec"].get("ingress", []) for port in rule.get("ports", [])}
            targets = selected(each["spec"]["podSelector"]["matchLabels"], name)
            known = {port["name"] for pod in targets for port in pod.container.get("ports", [])}
            assert {port for port in ports if isinstance(port, str)} <= known


def test_pods_use_config_maps_and_claims_that_exist(name: str) -> None:
    made = {(each["kind"], each["metadata"]["name"]) for each in overlay(name)}
    for pod in pods(name):
        for volume in pod.spec["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in made
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in made


def test_services_reach_their_database_and_nothing_reaches_jobs(name: str) -> None:
    policy = find("market-data", "NetworkPolicy", name)["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert ports == {53, 5432} | ({6432} if name in {"managed", "replicas"} else set())
    clients = find("market-data-clients", "NetworkPolicy", name)["spec"]
    assert [pod.owner for pod in selected(clients["podSelector"]["matchLabels"], name)] == ["market-data"]


def test_pods_meet_the_standard_that_the_namespace_enforces(name: str) -> None:
    namespace = find("market-data", "Namespace", name)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(name):
        context, container = pod.spec["securityContext"], pod.container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["allowPrivilegeEscalation"] is False
        assert container["capabilities"] == {"drop": ["ALL"]}
        assert container.get("readOnlyRootFilesystem", False) is (pod.owner != "market-data-db")
        assert {key for volume in pod.spec["volumes"] for key in volume if key != "name"} <= RESTRICTED_VOLUMES


def test_pods_write_only_where_they_must(name: str) -> None:
    """Workers share files in /tmp. Migrations, backups and PgBouncer need no folder for temporary files."""
    writable = {
        pod.owner: {mount["mountPath"] for mount in pod.container["volumeMounts"] if not mount.get("readOnly")}
        for pod in pods(name)
    }
    expected = {
        "market-data": {"/tmp"},
        "market-data-migration": set(),
        "market-data-backup": {"/backups"},
        "market-data-pgbouncer": set(),
        "market-data-db": {"/var/lib/postgresql/data", "/dev/shm"},
    }
    assert writable == {owner: paths for owner, paths in expected.items() if owner in writable}


def test_pods_have_no_tokens_no_variables_of_services_and_bounded_memory(name: str) -> None:
    """`MARKET_DATA_PORT` of a Service looks like a setting."""
    for pod in pods(name):
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False
        resources: dict[str, Any] = pod.container["resources"]
        assert set(resources["requests"]) == {"cpu", "memory"}
        assert set(resources["limits"]) == {"memory"}
