"""SQL and PromQL of Grafana's dashboards and Prometheus' rules."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from helpers.support import PROJECT

FOLDER = PROJECT / ".observability"

DASHBOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}

REFERENCE = re.compile(r"\$\{\w+\}")

HISTOGRAM_SUFFIX = re.compile(r"_(bucket|sum|count)$")


def imported(dashboard: dict[str, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return a dashboard as Grafana imports it from a file: chosen data sources replace the `__inputs`, in any text."""
    values = {f"${{{each['name']}}}": chosen[each["name"]] for each in dashboard["__inputs"]}

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [fill(each) for each in value]
        if isinstance(value, str):
            return REFERENCE.sub(lambda match: values.get(match[0], match[0]), value)
        return value

    return {key: fill(value) for key, value in dashboard.items() if key != "__inputs"}


def data_sources(dashboard: dict[str, Any]) -> list[dict[str, str]]:
    """Return the data sources of panels and queries, those of variables replaced: a provisioned dashboard has no inputs."""
    variables = dashboard["templating"]["list"]
    current = {f"${{{each['name']}}}": each["current"]["value"] for each in variables if each["type"] == "datasource"}
    used = [each["datasource"] for each in (*dashboard["panels"], *variables) if "datasource" in each]
    used += [target["datasource"] for panel in dashboard["panels"] for target in panel["targets"] if "datasource" in target]
    return [each | {"uid": current.get(each["uid"], each["uid"])} for each in used]


def statements() -> Iterator[tuple[str, str]]:
    """Yield the SQL of panels and variables, each with a name."""
    for dashboard in DASHBOARDS.values():
        for panel in dashboard["panels"]:
            yield from ((panel["title"], target["rawSql"]) for target in panel["targets"] if "rawSql" in target)
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield variable["name"], variable["query"]


def expressions() -> Iterator[str]:
    """Yield the PromQL expressions."""
    for dashboard in DASHBOARDS.values():
        for panel in dashboard["panels"]:
            yield from (target["expr"] for target in panel["targets"] if "expr" in target)
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def metrics() -> set[str]:
    """Return the metric names in the expressions, without the suffixes of histograms."""
    names = {name for expression in expressions() for name in re.findall(r"market_data_\w+", expression)}
    return {HISTOGRAM_SUFFIX.sub("", name) for name in names}
