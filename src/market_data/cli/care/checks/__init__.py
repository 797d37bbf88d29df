"""Checks of `market-data doctor`. Each is a function that returns its findings: one `ok` if there is no problem."""

from market_data.cli.care.checks.calendars import calendars
from market_data.cli.care.checks.jobs import jobs, refresh
from market_data.cli.care.checks.maintenance import bloat, candles, clock, disk
from market_data.cli.care.checks.roles import roles
from market_data.cli.care.checks.security import analyst, hosts, password
from market_data.cli.care.checks.server import connections, edition, extension, pooler, postgresql, schema, workers

PREREQUISITES = (postgresql, extension, edition, schema)
"""Checks that run first, in this order. After an error in one of them no further check runs."""

CHECKS = (
    jobs,
    refresh,
    workers,
    candles,
    calendars,
    bloat,
    clock,
    connections,
    pooler,
    disk,
    analyst,
    roles,
    password,
    hosts,
)
