"""Configuration of Prometheus and Grafana, also checked with promtool."""

import itertools
import json
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from helpers.grafana_dashboards import DASHBOARDS, FOLDER, data_sources, imported
from helpers.support import PROJECT

ALERTS = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt-get install --no-install-recommends prometheus")
    return subprocess.run([program, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)


def test_promtool_accepts_the_configuration_and_the_rules():
    checked = promtool("check", "config", "--lint-fatal", ".observability/prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"SUCCESS: {len(ALERTS)} rules found" in checked.stdout


def test_alerts_fire_as_the_rule_tests_expect():
    tested = promtool("test", "rules", "tests/unit/alerts.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_alert_has_a_test_that_fires_and_one_that_does_not():
    tests = [
        each
        for test in yaml.safe_load((PROJECT / "tests/unit/alerts.yml").read_text())["tests"]
        for each in test["alert_rule_test"]
    ]
    for alert in ALERTS:
        expected = [bool(test["exp_alerts"]) for test in tests if test["alertname"] == alert["alert"]]
        assert {True, False} == set(expected), alert["alert"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_has_a_delay_a_severity_and_an_action(alert: dict[str, Any]):
    assert alert["for"]
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert set(alert["annotations"]) == {"summary", "description", "action"}


def test_prometheus_scrapes_the_address_of_the_compose_service():
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    assert job["job_name"] == "market-data"
    assert job["static_configs"] == [{"targets": ["api:8000"]}]


def test_dashboards_and_their_panels_have_unique_ids_and_titles():
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS) == 2
    for dashboard in DASHBOARDS.values():
        panels = dashboard["panels"]
        assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels) >= 8
        assert [panel["title"] for panel in panels if not panel["description"]] == []


SOURCES = {
    source["uid"]: source["type"] for source in yaml.safe_load((FOLDER / "datasources.yml").read_text())["datasources"]
}


def test_provisioned_dashboards_use_the_provisioned_data_sources():
    for dashboard in DASHBOARDS.values():
        used = data_sources(dashboard)
        assert len(used) >= len(dashboard["panels"])
        assert [each for each in used if SOURCES.get(each["uid"]) != each["type"]] == []


def test_imported_dashboards_use_the_chosen_data_sources():
    """Grafana asks for the `__inputs` of a file, and offers the data sources of their plug-in."""
    for dashboard in DASHBOARDS.values():
        plugins = {each["name"]: each["pluginId"] for each in dashboard["__inputs"]}
        assert {each["type"] for each in dashboard["__inputs"]} == {"datasource"}
        chosen = {name: f"chosen for {plugin}" for name, plugin in plugins.items()}
        used = data_sources(imported(dashboard, chosen))
        assert [each for each in used if each["uid"] != f"chosen for {each['type']}"] == []
        assert {each["type"] for each in used} == set(plugins.values())


def test_dashboards_require_the_plugins_that_they_use():
    grafana = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"]["grafana"]["image"].partition(":")[2]
    for dashboard in DASHBOARDS.values():
        required = {(each["type"], each["id"]) for each in dashboard["__requires"]}
        plugins = {("panel", panel["type"]) for panel in dashboard["panels"]}
        plugins |= {("datasource", each["pluginId"]) for each in dashboard["__inputs"]}
        assert required == plugins | {("grafana", "grafana")}
        assert dashboard["__requires"][0]["version"] == grafana


def test_panels_do_not_overlap():
    for dashboard in DASHBOARDS.values():
        for one, other in itertools.combinations([panel["gridPos"] for panel in dashboard["panels"]], 2):
            apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            assert apart or above, (one, other)


def test_grafana_reads_the_dashboards_from_the_mounted_paths():
    configs = yaml.safe_load((PROJECT / "compose.yaml").read_text())
    (provider,) = yaml.safe_load((FOLDER / "dashboards.yml").read_text())["providers"]
    targets = {mount["source"]: mount["target"] for mount in configs["services"]["grafana"]["configs"]}
    for name in DASHBOARDS:
        assert targets[name] == f"{provider['options']['path']}/{name}.json"
    home = configs["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == targets["market"]


def test_dashboard_files_are_formatted():
    for name, dashboard in DASHBOARDS.items():
        assert (FOLDER / f"{name}.json").read_text() == json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
