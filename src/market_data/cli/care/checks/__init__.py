"""What `market-data doctor` looks at, each check a function of the patient that yields what it has found.

A healthy database yields one finding that is `ok` from each of them.
"""

from market_data.cli.care.checks.finding import CheckContext, Finding, Severity, error, ok, warning
from market_data.cli.care.checks.maintenance import bloat, candles, clock, disk, jobs
from market_data.cli.care.checks.security import analyst, password
from market_data.cli.care.checks.server import connections, edition, extension, pooler, postgresql, schema, workers

SERVER = (postgresql, extension, edition, schema)
"""What everything else needs, in this order: after an error the rest is not asked for."""

REST = (jobs, workers, candles, bloat, clock, connections, pooler, disk, analyst, password)

__all__ = ["REST", "SERVER", "CheckContext", "Finding", "Severity", "error", "ok", "warning"]
