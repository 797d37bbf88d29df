"""A live service for clients of other services."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from helpers.support import create_patient_app, serving

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
