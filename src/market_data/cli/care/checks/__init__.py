"""Checks of `market-data doctor`. Each is a function that returns its findings: one `ok` if there is no problem."""

from market_data.cli.care.checks.finding import CheckContext, Finding, Severity, error, ok, warning
from market_data.cli.care.checks.maintenance import bloat, candles, clock, disk, jobs
from market_data.cli.care.checks.security import analyst, password
from market_data.cli.care.checks.server import connections, edition, extension, pooler, postgresql, schema, workers

PREREQUISITES = (postgresql, extension, edition, schema)
"""Checks that come first, in this order. After an error in one of them the others are not run."""

CHECKS = (jobs, workers, candles, bloat, clock, connections, pooler, disk, analyst, password)

__all__ = ["CHECKS", "PREREQUISITES", "CheckContext", "Finding", "Severity", "error", "ok", "warning"]
