"""The documentation pages in a browser that can reach nothing but this service."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from support import serving

from market_data import embedded
from market_data.app import create_app
from market_data.settings import Settings

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
OPERATIONS = ["/health", "/symbols", "/price/latest", "/price", "/trades", "/candles"]


@pytest.fixture(scope="module")
def address(session_database: str) -> Iterator[str]:
    """A service with the pages' scripts as `market-data serve` installs them."""
    assets = os.environ.get("DOCS_ASSETS") or str(embedded.node_modules(print))
    settings = Settings(database_url=session_database, feed_enabled=False, docs_assets=assets)
    with serving(create_app(settings)) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page, what it asked for, what of that its content policy stopped, and what it complained of."""

    page: Page
    asked: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def sent_elsewhere(self, address: str) -> list[str]:
        """What went out to another host, or would have if there were a network."""
        own = (f"{address}/", "data:", "blob:")
        return [url for url in self.asked if not url.startswith(own) and url not in self.stopped]

    def note_failure(self, request: Request) -> None:
        if request.failure == "csp":
            self.stopped.append(request.url)

    def note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    with browser.new_context(base_url=address) as context:
        visit = Visit(context.new_page())
        context.on("request", lambda request: visit.asked.append(request.url))
        context.on("requestfailed", visit.note_failure)
        visit.page.on("console", visit.note)
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        yield visit


def test_swagger_ui_shows_and_tries_the_operations(visit: Visit, address: str):
    page = visit.page
    page.goto("/docs", wait_until="networkidle")
    for path in OPERATIONS:
        expect(page.locator(f'.opblock-summary-path[data-path="{path}"]')).to_be_visible()
    page.locator('.opblock-summary-path[data-path="/symbols"]').click()
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
