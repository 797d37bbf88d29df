"""The dashboard and the documentation page of a service that wants a key even for reading."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from browser.visits import Visit, visiting
from helpers.api_keys import revoke, store_key
from helpers.support import Connection, serving, store
from playwright.sync_api import Browser, Page, expect

from market_data.app import create_app
from market_data.auth.api_keys import make_key
from market_data.settings import Settings

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
REFUSED = "the server responded with a status of 401"
"""What the browser itself complains of, each time."""


@pytest.fixture(scope="module")
def address(session_database: str, assets: str) -> Iterator[str]:
    settings = Settings(database_url=session_database, feed_enabled=False, docs_assets=assets, auth="required")
    with serving(create_app(settings)) as address:
        yield address


@pytest.fixture
def visit(browser: Browser, address: str, connection: Connection) -> Iterator[Visit]:
    store(connection, (datetime.now(UTC), "AAPL", 1, Decimal("189.44"), Decimal(1)))
    with visiting(browser, address, viewport={"width": 1024, "height": 768}, color_scheme="dark") as visit:
        yield visit
    assert visit.sent_elsewhere(address) + visit.stopped == []
    assert [complaint for complaint in visit.complaints if REFUSED not in complaint] == []


@pytest.fixture
def key(database_url: str) -> str:
    return store_key(database_url, "read")


def enter(page: Page, key: str) -> None:
    page.get_by_label("Key", exact=True).fill(key)
    page.keyboard.press("Enter")


def test_dashboard_asks_for_a_key_and_is_live_with_it(visit: Visit, key: str, connection: Connection):
    page = visit.page
    page.goto("/dashboard")
    dialog = page.get_by_role("dialog", name="This service wants a key")
    expect(dialog).to_be_visible()
    expect(page.get_by_label("Key", exact=True)).to_be_focused()
    expect(page.locator("#connection")).to_have_text("Waiting for a key")
    enter(page, key)
    expect(page.locator("#connection")).to_have_text("Live")
    expect(dialog).to_be_hidden()
    expect(page.locator("#price")).to_have_text("189.44")
    store(connection, (datetime.now(UTC), "AAPL", 2, Decimal("190.5"), Decimal(1)))
    expect(page.locator("#price")).to_have_text("190.50")
    assert not [url for url in visit.asked if key in url]


def test_wrong_key_is_refused_with_a_reason(visit: Visit, key: str):
    page = visit.page
    page.goto("/dashboard")
    enter(page, "secret")
    problem = page.get_by_role("dialog").get_by_role("alert")
    expect(problem).to_contain_text("begins with md_")
    enter(page, make_key())
    expect(problem).to_contain_text("does not know this key")
    expect(page.get_by_label("Key", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Key", exact=True)).to_be_focused()
    enter(page, f"  {key} ")
    expect(page.locator("#connection")).to_have_text("Live")


def test_key_is_kept_in_the_tab_only(visit: Visit, key: str):
    page = visit.page
    page.goto("/dashboard")
    enter(page, key)
    expect(page.locator("#connection")).to_have_text("Live")
    page.reload()
    expect(page.locator("#connection")).to_have_text("Live")
    assert page.evaluate("Object.values({...sessionStorage})") == [key]
    assert key not in str(page.evaluate("[{...localStorage}, document.cookie, location.href]"))
    other = page.context.new_page()
    other.goto("/dashboard")
    expect(other.get_by_role("dialog", name="This service wants a key")).to_be_visible()


def test_dashboard_asks_again_when_its_key_is_revoked(visit: Visit, key: str, database_url: str):
    page = visit.page
    page.goto("/dashboard")
    enter(page, key)
    expect(page.locator("#connection")).to_have_text("Live")
    revoke(database_url, key)
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("not valid any more")
    enter(page, store_key(database_url, "read"))
    expect(page.locator("#connection")).to_have_text("Live")


def test_form_can_not_be_put_away_and_nothing_is_asked_meanwhile(visit: Visit):
    page = visit.page
    page.goto("/dashboard")
    dialog = page.get_by_role("dialog", name="This service wants a key")
    expect(dialog).to_be_visible()
    for _ in range(3):
        page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    page.wait_for_timeout(500)
    asked = len(visit.asked)
    page.wait_for_timeout(4000)
    assert visit.asked[asked:] == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_form_can_be_read(visit: Visit, scheme: str):
    page = visit.page
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of the two
    page.goto("/dashboard")
    enter(page, "secret")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("begins with md_")
    assert page.evaluate(CONTRAST) == []


def test_documentation_page_takes_a_key(visit: Visit, key: str):
    page = visit.page
    page.goto("/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.locator("#auth-bearer-value").fill(key)
    page.locator(".auth-btn-wrapper .authorize").first.click()
    page.get_by_role("button", name="Close").last.click()
    page.locator('.opblock-get .opblock-summary-path[data-path="/symbols"]').click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")
