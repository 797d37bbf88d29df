"""Several tabs of one browser share a stream: over HTTP/1.1 it opens six connections to a host."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from browser.dashboard.market import Market
from browser.dashboard.page import HIDE, expect_chart, legend_value, open_dashboard
from browser.recorded_page import RecordedPage, recorded_page
from browser.settings import page_settings
from helpers.api_keys import revoke, store_key
from helpers.service import eventually
from helpers.support import create_patient_app, now_within_minute, serving
from playwright.sync_api import Browser, BrowserContext, Page, expect
from prometheus_client import REGISTRY


def open_streams() -> float:
    """Return the number of open streams of the services of this process."""
    return REGISTRY.get_sample_value("market_data_stream_clients", {"transport": "sse"}) or 0


def test_eight_tabs_share_a_stream(recorded: RecordedPage, market: Market):
    intervals = ["1m", "5m", "15m", "1h"]
    for number in range(8):
        market.trade_each_minute(3, symbol=f"S{number}")
    pages = [recorded.page, *(recorded.page.context.new_page() for _ in range(7))]
    for number, page in enumerate(pages):
        open_dashboard(page, f"?symbol=S{number}&interval={intervals[number % 4]}")
    for number, page in enumerate(pages):
        expect(page.locator("html")).to_have_attribute("data-connection", "live")
        expect_chart(page, symbol=f"S{number}", interval=intervals[number % 4])
        expect(page.locator("#chart")).not_to_have_attribute("data-candles", "0")
    eventually(lambda: open_streams() == 1)
    for number, page in enumerate(pages):
        market.trade(f"{500 + number}", symbol=f"S{number}")
        expect(page.locator("#price")).to_have_text(f"{500 + number}.00")
        expect(page.locator("#legend [data-field=close] dd")).to_have_text(f"{500 + number}.00")
    for page in pages[:7]:
        page.close()
    market.trade("600", symbol="S7")
    expect(pages[7].locator("#price")).to_have_text("600.00")
    pages[7].close()
    eventually(lambda: open_streams() == 0)


def test_a_tab_receives_each_event_once_while_others_change_their_subscription(recorded: RecordedPage, market: Market):
    start = now_within_minute(1)  # all trades are of one hour
    market.trade("1", at=start, symbol="AAPL")
    market.trade("1", at=start, symbol="MSFT")
    page = recorded.page
    open_dashboard(page, "?symbol=AAPL&interval=1h")
    other = page.context.new_page()
    open_dashboard(other, "?symbol=MSFT&interval=1h")
    for number in range(12):
        time = start + timedelta(milliseconds=number)
        market.trade(f"{10 + number}", at=time, symbol="AAPL")
        other.keyboard.press(str(1 + number % 8))
        market.trade(f"{50 + number}", at=time, symbol="MSFT")
    expect(page.locator("#price")).to_have_text("21.00")
    expect(other.locator("#price")).to_have_text("61.00")
    for each in (page, other):
        expect(each.locator("#tape tr")).to_have_count(13)
        assert len(set(each.locator("#tape tr").all_inner_texts())) == 13
    expect(page.locator("#legend [data-field=trades] dd")).to_have_text("13")
    assert legend_value(page, "close") == "21.00"


def test_a_hidden_tab_releases_its_stream_and_resumes_where_it_ended(recorded: RecordedPage, market: Market):
    market.trade("10")
    page = recorded.page
    page.clock.install()
    open_dashboard(page)
    page.evaluate(HIDE, True)
    page.clock.fast_forward(59_000)
    expect(page.locator("html")).to_have_attribute("data-connection", re.compile("live|late"))
    page.clock.fast_forward(2_000)
    expect(page.locator("html")).to_have_attribute("data-connection", "paused")
    eventually(lambda: open_streams() == 0)
    market.trade("11")
    page.clock.fast_forward(10_000)
    assert page.locator("#price").inner_text() == "10.00"
    requests_before = len(recorded.requests)
    page.evaluate(HIDE, False)
    expect(page.locator("#price")).to_have_text("11.00")
    expect(page.locator("html")).to_have_attribute("data-connection", "live")
    (stream,) = [url for url in recorded.requests[requests_before:] if "/stream?" in url]
    assert "last_event_id=" in stream


def test_tabs_have_streams_of_their_own_in_a_browser_without_shared_workers(recorded: RecordedPage, market: Market):
    market.trade("10")
    recorded.page.context.add_init_script("delete window.SharedWorker")
    pages = [recorded.page, recorded.page.context.new_page()]
    for page in pages:
        open_dashboard(page)
    assert open_streams() == 2
    market.trade("11")
    for page in pages:
        expect(page.locator("#price")).to_have_text("11.00")


@pytest.fixture(scope="module")
def protected(session_database: str, assets: str) -> Iterator[str]:
    """URL of a service that needs keys."""
    settings = page_settings(session_database, assets, auth="required")
    with serving(create_patient_app(settings)) as address:
        yield address


def test_tabs_with_different_keys_share_nothing(browser: Browser, protected: str, market: Market, database_url: str):
    market.trade("10")
    keys = [store_key(database_url, "read") for _ in range(2)]
    with recorded_page(browser, protected) as recorded:
        first, second, third = (tab_with_key(recorded.page.context, key) for key in (keys[0], keys[1], keys[1]))
        market.trade("11")
        for page in (first, second, third):
            expect(page.locator("#price")).to_have_text("11.00")
        eventually(lambda: open_streams() == 2)
        revoke(database_url, keys[0])
        expect(first.get_by_role("dialog", name="API key required")).to_be_visible()
        market.trade("12")
        for page in (second, third):
            expect(page.locator("#price")).to_have_text("12.00")
            expect(page.locator("html")).to_have_attribute("data-connection", "live")
        revoke(database_url, keys[1])
        for page in (second, third):
            expect(page.get_by_role("dialog", name="API key required")).to_be_visible()


def tab_with_key(context: BrowserContext, key: str) -> Page:
    page = context.new_page()
    page.goto("/dashboard")
    page.get_by_label("API key", exact=True).fill(key)
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-connection", "live")
    return page
