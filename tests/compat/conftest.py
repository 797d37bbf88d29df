"""A live service for clients of other services."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from helpers.adjustments import Action
from helpers.calendars import store_calendar
from helpers.support import Connection, create_patient_app, serving, store

from market_data.settings import Settings

FOLDER = Path(__file__).parent
TIMEOUT = pytest.mark.timeout(600)
"""Time for a test, whose client may have to be installed first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(TIMEOUT)


Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def serve(database_url: str) -> Serve:
    """Return a function that serves the emptied database with some settings, and yields the URL."""

    def start(**settings: Any) -> AbstractContextManager[str]:
        return serving(create_patient_app(Settings(**{"database_url": database_url, "feed_enabled": False, **settings})))

    return start


@pytest.fixture(scope="module")
def shared_base(session_database: str) -> Iterator[str]:
    """URL of a service without keys and without a feed, for all tests of a module."""
    with serving(create_patient_app(Settings(database_url=session_database, feed_enabled=False))) as address:
        yield address


@pytest.fixture
def base(shared_base: str, database_url: str) -> str:
    """Return the same, whose database is empty."""
    assert database_url
    return shared_base


LISTED = (
    ("AAPL", "2020-08-27T23:30:00Z", "500.5", "10"),
    ("AAPL", "2020-08-28T08:00:00Z", "503", "20"),
    ("AAPL", "2020-08-28T12:00:00Z", "504", "40"),
    ("AAPL", "2020-08-28T13:30:00Z", "504.05", "1000"),
    ("AAPL", "2020-08-28T17:12:34Z", "505.77", "2000.5"),
    ("AAPL", "2020-08-28T19:59:59Z", "498.31", "3000"),
    ("AAPL", "2020-08-28T20:00:30Z", "499.23", "500"),
    ("AAPL", "2020-08-28T21:00:00Z", "499.5", "30"),
    ("AAPL", "2020-08-28T23:59:00Z", "500.04", "60"),
    ("AAPL", "2020-08-31T13:30:00Z", "127.58", "8000"),
    ("AAPL", "2020-08-31T19:59:59Z", "129.04", "9000"),
    ("AAPL", "2020-11-27T15:00:00Z", "116.57", "700"),
    ("AAPL", "2020-11-27T19:30:00Z", "116.65", "5"),
    ("COIN", "2020-08-28T00:00:00Z", "80", "8"),
    ("COIN", "2020-08-28T23:00:00Z", "84", "4"),
    ("COIN", "2020-08-31T12:00:00Z", "21.5", "16"),
    ("PLAIN", "2020-08-28T14:00:00Z", "0.1234567890123456", "3"),
)
"""Trades by symbol, time, price and volume."""

ACTIONS = (
    Action("split", date(2020, 8, 31), ("4", "1")),
    Action("cash_dividend", date(2020, 8, 7), amount="0.82"),
    Action("cash_dividend", date(2020, 11, 6), amount="0.205"),
    Action("split", date(2020, 8, 31), ("4", "1"), symbol="COIN"),
    Action("stock_dividend", date(2020, 9, 15), ("1.05", "1"), symbol="COIN"),
    Action("split", date(2020, 11, 2), ("1", "8"), symbol="COIN"),
    Action("spin_off", date(2020, 11, 3), ("1.25", "1"), symbol="COIN"),
)

DESCRIBE = """
    UPDATE symbols
    SET type = 'stock', calendar = 'XNYS', tick_size = 0.01, listed = '1980-12-12', description = 'Common stock'
    WHERE symbol = 'AAPL';
    UPDATE symbols SET type = 'crypto', tick_size = 0.25 WHERE symbol = 'COIN';
    UPDATE symbols SET type = 'etf', delisted = '2020-12-31' WHERE symbol = 'PLAIN';
"""


@pytest.fixture
def listed(connection: Connection, base: str) -> str:
    """URL of a service with AAPL, which has sessions and actions, COIN, which has only actions, and PLAIN without both."""
    trades = [
        (datetime.fromisoformat(time), symbol, 0, Decimal(price), Decimal(volume)) for symbol, time, price, volume in LISTED
    ]
    store(connection, *trades)
    store_calendar(connection, "XNYS", date(2020, 8, 3), date(2020, 12, 31))
    connection.execute(DESCRIBE)
    for action in ACTIONS:
        action.add(connection)
    return base
