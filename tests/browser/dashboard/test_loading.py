"""The page loads with few requests and bytes, and says so if a part of it can't be loaded."""

import re

import httpx
import pytest
from browser.dashboard.market import Market
from browser.dashboard.page import open_dashboard
from browser.recorded_page import RecordedPage, recorded_page
from browser.settings import page_settings
from helpers.page_load import Conditions, load
from helpers.support import Connection, create_patient_app, serving
from playwright.sync_api import Browser, Route, expect

MAX_BYTES = 150_000
MAX_REQUESTS = 20

SCROLL_TO_END = """async (rows) => {
    while (rows.scrollTop + rows.clientHeight < rows.scrollHeight - 1) {
        rows.scrollTop += rows.clientHeight / 2;
        await new Promise(requestAnimationFrame);
    }
}"""


def test_first_load_has_few_bytes_and_requests(browser: Browser, address: str, market: Market):
    market.trade_each_minute(2000)
    first = load(browser, address, Conditions())
    assert first.bytes < MAX_BYTES
    assert len(first.requests) <= MAX_REQUESTS
    assert sum(url.endswith((".js", ".mjs", ".css")) for url in first.requests) <= 3


@pytest.mark.parametrize("cause", ["429", "500", "network"])
@pytest.mark.parametrize("file", ["app.js", "lightweight-charts.standalone.production.mjs", "styles.css"])
def test_a_file_that_can_not_be_loaded_is_reported_and_loaded_again(
    browser: Browser, address: str, market: Market, file: str, cause: str
):
    def refuse(route: Route) -> None:
        if cause == "network":
            route.abort()
        else:
            route.fulfill(status=int(cause), content_type="application/problem+json", body="{}")

    market.trade("10")
    with recorded_page(browser, address) as recorded:
        page = recorded.page
        page.route(f"**/{file}", refuse)
        page.goto("/dashboard")
        expect(page.get_by_role("alert").first).to_contain_text(f"{file} can't be loaded")
        expect(page.locator("body")).not_to_contain_text("No data yet")
        page.unroute_all()
        page.get_by_role("button", name="Load again").click()
        expect(page.locator("#price")).to_have_text("10.00")
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_page_that_loads_slowly_or_can_not_start_says_so(browser: Browser, address: str):
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    with recorded_page(browser, address) as recorded:
        page = recorded.page
        page.clock.install()
        page.route("**/app.js", hold)
        page.goto("/dashboard", wait_until="commit")
        expect(page.locator("#announcer")).to_be_attached()
        page.clock.fast_forward(16_000)
        expect(page.get_by_role("alert")).to_contain_text("still loading")
        waiting[0].continue_()
        expect(page.get_by_role("alert")).to_have_count(0)
        page.unroute_all()
        page.route("**/app.js", lambda route: route.fulfill(content_type="text/javascript", body="a new feature"))
        page.reload()
        expect(page.get_by_role("alert")).to_contain_text("can't start in this browser")


def test_the_page_starts_and_says_that_the_rate_limit_is_used_up(browser: Browser, session_database: str, assets: str):
    settings = page_settings(session_database, assets, rate_limit=2, rate_limit_seconds=3600)
    with serving(create_patient_app(settings)) as address:
        while httpx.get(f"{address}/nothing").status_code != 429:
            pass
        with recorded_page(browser, address) as recorded:
            recorded.page.goto("/dashboard")
            expect(recorded.page.get_by_role("alert")).to_contain_text("The rate limit of 2 requests in 3600 s is used up.")


def test_scrolling_through_a_thousand_symbols_takes_few_requests(recorded: RecordedPage, connection: Connection):
    connection.execute("INSERT INTO symbols (symbol, name) SELECT 'S' || n, 'Symbol' FROM generate_series(1000, 1999) AS n")
    connection.execute(
        "INSERT INTO trades (time, symbol, trade_id, price, volume) SELECT now(), symbol, 0, 10, 1 FROM symbols"
    )
    page = recorded.page
    open_dashboard(page)
    expect(page.get_by_role("row", name=re.compile("^S1000 "))).to_contain_text("10.00")
    requests_before = len(recorded.requests)
    page.locator("#rows").evaluate(SCROLL_TO_END)
    last = page.get_by_role("row", name=re.compile("^S1999 "))
    expect(last).to_contain_text("10.00")
    # The status is read twice a minute, and the marks a while after the candles.
    requests = [url for url in recorded.requests[requests_before:] if not re.search("/status/|/candles/revised", url)]
    assert [url for url in requests if not re.search(r"/snapshots\?|/stream\?|/candles\?symbols=", url)] == []
    assert len(requests) < 25, "a block of symbols at a time"
