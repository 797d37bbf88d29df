"""A panel shows the selected symbol and interval only, however fast they change while trades arrive."""

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from browser.dashboard.market import Market, now
from browser.dashboard.page import chart_state, expect_chart, open_dashboard
from browser.dashboard.panels import expect_panels_as_api
from browser.recorded_page import RecordedPage
from playwright.sync_api import expect


@pytest.fixture
def api(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address) as client:
        yield client


def test_candle_of_a_symbol_that_is_left_at_once_does_not_enter_the_chart(
    recorded: RecordedPage, market: Market, api: httpx.Client
):
    for symbol, price in (("TSLA", "430"), ("ZED", "90")):
        market.trade(price, at=market.minute(ago=3), symbol=symbol)
    page = recorded.page
    page.clock.install()
    open_dashboard(page, "?symbol=ZED")
    expect_chart(page, symbol="ZED", candles=1)
    page.get_by_role("grid").focus()
    page.clock.pause_at(now() + timedelta(seconds=1))  # a selection that waited for a timer would wait now
    page.keyboard.press("ArrowUp")
    market.trade("431.5", symbol="TSLA")
    page.wait_for_timeout(500)
    page.keyboard.press("ArrowDown")
    page.clock.resume()
    market.trade("432", symbol="TSLA")
    expect(page.get_by_role("row", name="TSLA")).to_contain_text("432.00")
    expect_panels_as_api(page, api, "ZED")


CLICK_AND_READ = """
    (symbol) => {
      document.querySelector(`#row-${symbol}`).click();
      const text = (selector) => document.querySelector(selector).textContent;
      const chart = document.querySelector("#chart");
      return [text("#symbol"), text("#price"), document.title, chart.dataset.symbol, chart.drawnSeries[0].length,
              text("#legend [data-field=close] dd"), document.querySelectorAll("#tape tr").length];
    }
"""


def test_click_switches_all_panels_at_once(recorded: RecordedPage, market: Market, api: httpx.Client):
    market.trade_each_minute(5)
    market.trade("430", symbol="TSLA")
    page = recorded.page
    open_dashboard(page, "?symbol=AAPL")
    expect_panels_as_api(page, api, "AAPL")
    shown = page.evaluate(CLICK_AND_READ, "TSLA")
    assert shown == ["TSLA", "430.00", "430.00 TSLA · Market Data", "TSLA", 0, "—", 0]
    expect_panels_as_api(page, api, "TSLA")


def test_held_arrow_key_shows_only_the_last_symbol(recorded: RecordedPage, market: Market, api: httpx.Client):
    symbols = ["A", "B", "C", "D", "E", "F"]
    for symbol in symbols:
        market.trade_each_minute(2, symbol)
    page = recorded.page
    page.clock.install()
    open_dashboard(page)
    expect_panels_as_api(page, api, "A")
    page.get_by_role("grid").focus()
    requests = len(recorded.requests)
    page.clock.pause_at(now() + timedelta(seconds=1))  # no repetition is late
    for _ in symbols[1:]:
        page.keyboard.down("ArrowDown")
        market.trade("7", symbol="C")
    assert page.locator("#symbol").inner_text() == chart_state(page, "symbol") == "B"
    page.keyboard.up("ArrowDown")
    assert page.locator("#symbol").inner_text() == chart_state(page, "symbol") == "F"
    page.clock.resume()
    expect_panels_as_api(page, api, "F")
    assert [url.partition("symbol=")[2][0] for url in recorded.requests[requests:] if "/candles?" in url] == ["B", "F"]
