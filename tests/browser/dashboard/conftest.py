"""Pages of a service without a feed: the dashboard shows only the trades that a test stores."""

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import pytest
from browser.dashboard.closing_market import FIRST, LAST, store_history
from browser.dashboard.market import Market
from browser.recorded_page import RecordedPage, recorded_page
from helpers.calendars import store_calendar
from helpers.support import Connection
from helpers.tcp_proxy import Proxy, proxy_to
from playwright.sync_api import Browser

from market_data.queries.schedules import TradingSession


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


@pytest.fixture
def proxy(address: str) -> Iterator[Proxy]:
    url = urlsplit(address)
    assert url.hostname
    assert url.port
    with proxy_to(url.hostname, url.port) as proxy:
        yield proxy


@pytest.fixture
def sessions(connection: Connection, market: Market) -> Sequence[TradingSession]:
    """Sessions of New York, in which IBM is traded."""
    found = store_calendar(connection, "XNYS", FIRST, LAST)
    store_history(connection, found)
    market.refresh()
    return found
