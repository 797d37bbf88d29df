"""SQL and PromQL of Grafana's dashboards and Prometheus' rules."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from helpers.support import PROJECT

FOLDER = PROJECT / ".observability"

DASHBOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}

HISTOGRAM_SUFFIX = re.compile(r"_(bucket|sum|count)$")


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
