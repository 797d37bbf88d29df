"""What `market-data doctor` looks at, each check a function of the patient that yields what it has found.

A healthy database yields one finding that is `ok` from each of them.
"""

from market_data.commands.checks.care import bloat, candles, clock, disk, jobs
from market_data.commands.checks.finding import Finding, Level, Patient, error, ok, warning
from market_data.commands.checks.server import connections, edition, extension, pooler, postgresql, schema, workers
from market_data.commands.checks.wall import analyst, password

SERVER = (postgresql, extension, edition, schema)
"""What everything else needs, in this order: after an error the rest is not asked for."""

REST = (jobs, workers, candles, bloat, clock, connections, pooler, disk, analyst, password)

__all__ = ["REST", "SERVER", "Finding", "Level", "Patient", "error", "ok", "warning"]
