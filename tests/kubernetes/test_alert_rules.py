"""The PrometheusRule has the rules of `.observability/alerts.yml`, and the ServiceMonitor the labels that they need."""

import os
import re
from typing import Any

import pytest
import yaml
from helpers.grafana_dashboards import DASHBOARDS
from helpers.grafana_dashboards import FOLDER as OBSERVABILITY
from helpers.kubernetes import FOLDER, KUBECTL, MISSING, OVERLAYS, find, kinds

pytestmark = pytest.mark.skipif(KUBECTL is None, reason=MISSING)

RULES = FOLDER / "base" / "alerts.yaml"

HEADER = "# Rules of .observability/alerts.yml with the commands of Kubernetes, written by\n"
COMMAND = "# UPDATE_SNAPSHOT=1 uv run pytest tests/kubernetes/test_alert_rules.py\n"

COMMANDS = {
    "`docker compose ps`": "`kubectl get pods`",
    "`docker compose logs api`": "`kubectl logs deployment/market-data`",
    "`docker compose up -d api`": "`kubectl rollout restart deployment/market-data`",
    "`docker compose exec api market-data status`": "`kubectl exec deployment/market-data -- market-data status`",
    "`docker compose exec api market-data doctor`": "`kubectl exec deployment/market-data -- market-data doctor`",
    "`docker exec -it market-data-db psql -U marketdata -d market_data`": "psql, as the owner of the database",
    "`dmesg`": "`kubectl describe pod`",
}
"""Commands of the actions for a service in compose, and for one in Kubernetes."""


def for_kubernetes(rules: Any) -> Any:
    for group in rules["groups"]:
        for rule in group["rules"]:
            for theirs, ours in COMMANDS.items():
                rule["annotations"]["action"] = rule["annotations"]["action"].replace(theirs, ours)
    return rules


def expected() -> dict[str, Any]:
    return for_kubernetes(yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text()))


def test_the_rules_are_those_of_prometheus() -> None:
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "market-data"},
        "spec": expected(),
    }
    if os.environ.get("UPDATE_SNAPSHOT"):
        RULES.write_text(HEADER + COMMAND + yaml.safe_dump(rule, sort_keys=False, width=120, allow_unicode=True))
    assert yaml.safe_load(RULES.read_text()) == rule
    assert not re.search(r"docker|dmesg", RULES.read_text())


def test_each_replaced_command_is_in_an_action() -> None:
    text = (OBSERVABILITY / "alerts.yml").read_text()
    assert [command for command in COMMANDS if re.sub(r"\s+", " ", command) not in re.sub(r"\s+", " ", text)] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_for_clusters_with_prometheus_have_the_rules_and_a_monitor(overlay: str) -> None:
    if overlay == "local":
        assert not {"PrometheusRule", "ServiceMonitor"} & kinds(overlay)
    else:
        assert find("market-data", "PrometheusRule", overlay)["spec"] == expected()
        assert find("market-data", "ServiceMonitor", overlay)


def test_the_job_of_the_monitor_is_the_one_of_the_rules() -> None:
    monitor, service = (find("market-data", kind, "managed") for kind in ("ServiceMonitor", "Service"))
    labels = service["metadata"]["labels"]
    (job,) = set(re.findall(r'job="([^"]*)"', RULES.read_text()))
    assert labels[monitor["spec"]["jobLabel"]] == job
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_dashboards_are_labelled_config_maps(overlay: str) -> None:
    for name in DASHBOARDS:
        found = find(f"market-data-dashboard-{name}", "ConfigMap", overlay)
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert found["data"] == {f"{name}.json": (OBSERVABILITY / f"{name}.json").read_text()}
