"""A service without a feed, so that the dashboard shows only the trades that a test stores."""

from collections.abc import Iterator

import pytest
from browser.dashboard.market import INGESTION_INTERVAL_SECONDS, Market
from browser.recorded_page import RecordedPage, recorded_page
from helpers.support import Connection, serving
from playwright.sync_api import Browser

from market_data.app import create_app
from market_data.settings import Settings


@pytest.fixture(scope="module")
def address(session_database: str, assets: str) -> Iterator[str]:
    settings = Settings(
        database_url=session_database,
        feed_enabled=False,
        ingestion_interval_seconds=INGESTION_INTERVAL_SECONDS,
        docs_assets=assets,
    )
    with serving(create_app(settings)) as address:
        yield address


@pytest.fixture
def market(connection: Connection) -> Market:
    return Market(connection)


@pytest.fixture
def recorded(browser: Browser, address: str, market: Market) -> Iterator[RecordedPage]:
    """A page that must neither contact another host nor log an error."""
    assert market  # empties the database first
    with recorded_page(browser, address, viewport={"width": 1440, "height": 900}, color_scheme="dark") as recorded:
        yield recorded
    assert recorded.third_party_requests(address) + recorded.blocked == []
    assert recorded.problems == []
