"""Charts of symbols whose market closes: sessions, shading, adjustment, live candles, and when the market opens."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from browser.contrast import low_contrast_texts
from browser.dashboard.market import Market, now
from browser.dashboard.page import chart_property, expect_chart, legend_value, open_dashboard
from browser.recorded_page import RecordedPage, recorded_page
from browser.wcag import wcag_violations
from helpers.calendars import store_calendar
from helpers.service import eventually
from helpers.support import Connection, store
from playwright.sync_api import Browser, Page, Route, expect

from market_data.queries.schedules import TradingSession

FIRST, LAST = date(2026, 2, 12), date(2026, 2, 18)
"""A Thursday and a Wednesday, with a weekend and Presidents' Day between them."""
SUNDAY = datetime(2026, 2, 15, 15, tzinfo=UTC)
STEP = timedelta(minutes=5)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def trade_times(session: TradingSession) -> list[datetime]:
    count = (session.post_closes_at - session.pre_opens_at) // STEP
    return [session.pre_opens_at + STEP * number for number in range(count)]


@pytest.fixture
def sessions(connection: Connection, market: Market) -> Sequence[TradingSession]:
    """Sessions of New York, with a trade of IBM every five minutes of them, and one on a Sunday."""
    assert market
    found = store_calendar(connection, "XNYS", FIRST, LAST)
    times = [*(time for session in found for time in trade_times(session)), SUNDAY]
    trades = [
        (time, "IBM", number, Decimal(100) + Decimal(number % 37 - (number * 7) % 11) / 4, Decimal(1 + number % 9))
        for number, time in enumerate(sorted(times))
    ]
    store(connection, *trades)
    connection.execute("UPDATE symbols SET calendar = 'XNYS' WHERE symbol = 'IBM'")
    market.refresh()
    return found


def drawn_times(page: Page) -> list[datetime]:
    return [datetime.fromtimestamp(point["time"], UTC) for point in chart_property(page, "drawnSeries")[0]]


def columns(page: Page) -> int:
    """Return the number of columns up to the newest candle, those of gaps included."""
    return page.evaluate("document.querySelector('#chart').columnCount")


def test_look(browser: Browser, address: str, sessions: Sequence[TradingSession]):
    for scheme, width in (("dark", 1440), ("light", 1440), ("light", 390), ("dark", 320)):
        with recorded_page(browser, address, viewport={"width": width, "height": 900}, color_scheme=scheme) as recorded:
            page = recorded.page
            for interval in ("5m", "1h", "1d"):
                open_dashboard(page, f"?symbol=IBM&interval={interval}")
                page.wait_for_timeout(1000)
                page.screenshot(path=f"/tmp/look-{scheme}-{width}-{interval}.png", full_page=width < 1000)
            print(recorded.problems, chart_property(page, "shadedColumns"))
