"""Findings of `market-data doctor`."""

from typing import Any

from helpers.support import Connection

from market_data.cli.care.checks.finding import Finding
from market_data.cli.care.doctor import run_checks
from market_data.settings import Settings


def findings(url: str, *, workers: int = 1, **settings: Any) -> list[Finding]:
    return list(run_checks(Settings(database_url=url, **settings), workers))


def problems(url: str, **settings: Any) -> list[Finding]:
    return [finding for finding in findings(url, **settings) if finding.level != "ok"]


def problem(url: str, **settings: Any) -> Finding:
    """Return the only finding that is not ok."""
    found = problems(url, **settings)
    assert len(found) == 1, found
    return found[0]


def remedy_works(connection: Connection, url: str) -> bool:
    """Execute the remedy of the only problem; True if no problem is left."""
    (found,) = problems(url)
    assert found.remedy
    connection.execute(found.remedy.encode())
    return problems(url) == []
