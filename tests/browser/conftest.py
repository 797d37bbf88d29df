"""The browser, a service, and the scripts that its pages load."""

import os
from collections.abc import Iterator

import pytest
from browser.recorded_page import CHROMIUM, CHROMIUM_ARGUMENTS, RecordedPage, recorded_page
from browser.settings import page_settings
from helpers.support import create_patient_app, serving
from playwright.sync_api import Browser, expect, sync_playwright

from market_data import embedded

expect.set_options(timeout=20_000)  # Playwright's default of 5 s is too short on a busy machine


@pytest.fixture(scope="session")
def assets() -> str:
    """`node_modules` folder, as `market-data serve` installs it."""
    return os.environ.get("DOCS_ASSETS") or str(embedded.node_modules(print))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(session_database: str, assets: str) -> Iterator[str]:
    with serving(create_patient_app(page_settings(session_database, assets))) as address:
        yield address


@pytest.fixture
def recorded(browser: Browser, address: str, database_url: str) -> Iterator[RecordedPage]:
    """Open a page of a service whose database is empty: Swagger UI is slow with thousands of symbols."""
    assert database_url
    with recorded_page(browser, address) as recorded:
        yield recorded
