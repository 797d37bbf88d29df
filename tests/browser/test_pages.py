"""The documentation pages in a browser that can reach nothing but this service."""

from collections.abc import Iterator

import pytest
from browser.visits import Visit, visiting
from helpers.support import serving
from playwright.sync_api import Browser, expect

from market_data.app import create_app
from market_data.settings import Settings

OPERATIONS = ["/health", "/symbols", "/price/latest", "/price", "/trades", "/candles", "/stream"]


@pytest.fixture(scope="module")
def address(session_database: str, assets: str) -> Iterator[str]:
    settings = Settings(database_url=session_database, feed_enabled=False, docs_assets=assets)
    with serving(create_app(settings)) as address:
        yield address


@pytest.fixture
def visit(browser: Browser, address: str, database_url: str) -> Iterator[Visit]:
    assert database_url, "without thousands of symbols, which Swagger UI is slow to show"
    with visiting(browser, address) as visit:
        yield visit


def test_swagger_ui_shows_and_tries_the_operations(visit: Visit, address: str):
    page = visit.page
    page.goto("/docs", wait_until="networkidle")
    for path in OPERATIONS:
        expect(page.locator(f'.opblock-get .opblock-summary-path[data-path="{path}"]')).to_be_visible()
    page.locator('.opblock-get .opblock-summary-path[data-path="/symbols"]').click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")
    assert visit.sent_elsewhere(address) == []
    assert visit.stopped + visit.complaints == []


def test_redoc_shows_the_operations_and_asks_nobody_else(visit: Visit, address: str):
    page = visit.page
    page.goto("/redoc", wait_until="networkidle")
    expect(page.locator("h1").first).to_contain_text("Market Data Platform")
    for path in OPERATIONS:
        expect(page.get_by_role("button", name=path, exact=False).first).to_be_visible()
    assert visit.sent_elsewhere(address) == []
    # It would fetch its publisher's logo; that the content policy stops it is the one thing to be told in the console.
    assert visit.stopped == ["https://cdn.redoc.ly/redoc/logo-mini.svg"]
    assert [text for text in visit.complaints if "Content Security Policy" not in text or "cdn.redoc.ly" not in text] == []
