"""One browser for all tests here, and the scripts that the pages load."""

import os
from collections.abc import Iterator

import pytest
from browser.visits import CHROMIUM, QUIET
from playwright.sync_api import Browser, expect, sync_playwright

from market_data import embedded

expect.set_options(timeout=20_000)  # a busy machine takes longer than Playwright's five seconds


@pytest.fixture(scope="session")
def assets() -> str:
    """The scripts as `market-data serve` installs them."""
    return os.environ.get("DOCS_ASSETS") or str(embedded.node_modules(print))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()
