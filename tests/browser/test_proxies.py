"""The dashboard and the documentation pages in Chromium behind nginx: under a path prefix, and behind a password."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from browser.recorded_page import RecordedPage, recorded_page
from browser.settings import page_settings
from helpers.api_keys import store_key
from helpers.nginx import PREFIX, PREFIX_REMOVED, PROGRAM, running_nginx
from helpers.support import Connection, create_patient_app, serving, store
from playwright.sync_api import Browser, expect

from market_data.settings import Auth

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="nginx is not installed")


@pytest.fixture(scope="module", params=["open", "required"])
def auth(request: pytest.FixtureRequest) -> Auth:
    return request.param


@pytest.fixture(scope="module")
def address(auth: Auth, session_database: str, assets: str) -> Iterator[str]:
    settings = page_settings(session_database, assets, auth=auth, trusted_proxies="127.0.0.1")
    with serving(create_patient_app(settings)) as address:
        yield address


@pytest.fixture(params=[PREFIX, PREFIX_REMOVED], ids=["passed on", "removed"])
def changes(request: pytest.FixtureRequest) -> dict[str, str]:
    return request.param


@contextmanager
def opened(browser: Browser, address: str, changes: dict[str, str], folder: Path) -> Iterator[RecordedPage]:
    """Open a page behind nginx, which asks for a password."""
    users = folder / "users"
    users.write_text("ada:{PLAIN}secret\n")
    password = {"proxy_buffering off;": f"proxy_buffering off; auth_basic md; auth_basic_user_file {users};"}
    with (
        running_nginx(address, changes={**changes, **password}) as proxy,
        recorded_page(browser, proxy, http_credentials={"username": "ada", "password": "secret"}) as recorded,
    ):
        yield recorded
        assert recorded.blocked == []
        assert [url for url in recorded.requests if not url.startswith((f"{proxy}/md/", "data:", "blob:"))] == []


def test_dashboard_is_live_under_a_path_prefix_and_behind_a_password(
    browser: Browser, address: str, auth: str, changes: dict[str, str], connection: Connection, tmp_path: Path
):
    store(connection, (datetime.now(UTC), "AAPL", 1, Decimal("189.44"), Decimal(1)))
    with opened(browser, address, changes, tmp_path) as recorded:
        page = recorded.page
        page.goto("/md/dashboard/")
        if auth == "required":
            expect(page.get_by_role("dialog", name="API key required")).to_be_visible()
            page.get_by_label("API key", exact=True).fill(store_key(connection.info.dsn, "read"))
            page.keyboard.press("Enter")
        expect(page.locator("#connection")).to_have_text("Live")
        expect(page.locator("#price")).to_have_text("189.44")
        store(connection, (datetime.now(UTC), "AAPL", 2, Decimal("190.5"), Decimal(1)))
        expect(page.locator("#price")).to_have_text("190.50")
        assert page.url.partition("?")[0].endswith("/md/dashboard")
        page.get_by_role("link", name="API", exact=True).click()
        expect(page).to_have_url(re.compile(r"/md/docs$"))


def test_documentation_pages_send_requests_under_the_prefix(
    browser: Browser, address: str, auth: str, changes: dict[str, str], database_url: str, tmp_path: Path
):
    with opened(browser, address, changes, tmp_path) as recorded:
        page = recorded.page
        page.goto("/md/docs", wait_until="networkidle")
        if auth == "required":
            page.get_by_role("button", name="Authorize").first.click()
            page.locator("#api_key_value").fill(store_key(database_url, "read"))
            page.locator(".auth-btn-wrapper .authorize").last.click()
            page.get_by_role("button", name="Close", exact=True).last.click()
        page.locator('.opblock-get .opblock-summary-path[data-path="/symbols"]').click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        expect(page.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")


def test_redoc_lists_operations_under_the_prefix(browser: Browser, address: str, changes: dict[str, str]):
    with running_nginx(address, changes=changes) as proxy, recorded_page(browser, proxy) as recorded:
        recorded.page.goto("/md/redoc", wait_until="networkidle")
        expect(recorded.page.get_by_role("button", name="/symbols", exact=False).first).to_be_visible()
