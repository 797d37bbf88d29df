"""The application on the test database, without a feed, behind a client."""

from collections.abc import Iterator

import pytest
from litestar.testing import TestClient

from market_data.app import create_app
from market_data.settings import Settings

Client = TestClient  # type: ignore[type-arg]


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url, feed_enabled=False)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    # Failures are answers here, as they are to a client.
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client
