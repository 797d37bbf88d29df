"""Fixtures for the database behind a proxy that can cut and stall its connections; report of the injected faults."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.support import SERVER, changed_url
from helpers.tcp_proxy import Proxy, proxy_to
from psycopg.conninfo import conninfo_to_dict

HERE = Path(__file__).parent

collect_ignore = [] if SERVER else ["test_blocking_sessions.py"]  # in the one session of the embedded engine nothing waits


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.fault)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the `fault` properties of the tests: injected faults and counted results."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    lines = [str(value) for report in reports for name, value in report.user_properties if name == "fault"]
    if lines:
        terminalreporter.section("faults")
    for line in lines:
        terminalreporter.write_line(line)


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    target = conninfo_to_dict(database_url)
    with proxy_to(str(target["host"]), int(str(target["port"]))) as proxy:
        yield proxy


@pytest.fixture
def proxied(proxy: Proxy, database_url: str) -> str:
    return changed_url(database_url, port=proxy.port)
