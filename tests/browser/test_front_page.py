"""The page at `/` in Chromium, with and without JavaScript."""

import re

import pytest
from browser.contrast import low_contrast_texts
from browser.recorded_page import recorded_page
from helpers.support import Connection, store, trade
from playwright.sync_api import Browser, expect


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no scripts"])
def test_page_is_readable_and_leads_to_the_dashboard(
    browser: Browser, address: str, connection: Connection, scheme: str, has_scripts: bool
):
    store(connection, trade(0, "104.90"))
    with recorded_page(browser, address, color_scheme=scheme, java_script_enabled=has_scripts) as recorded:
        page = recorded.page
        page.goto("/")
        expect(page.get_by_role("heading", name="Market Data Platform", level=1)).to_be_visible()
        expect(page.get_by_role("row", name="AAPL 104.9 1 2026-02-08 10:30:00")).to_be_visible()
        if has_scripts:
            assert low_contrast_texts(page) == []
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert background == {"dark": "rgb(8, 11, 16)", "light": "rgb(233, 237, 243)"}[scheme]
            page.locator("code").first.click()
            assert page.evaluate("getSelection().toString()") == f"curl '{address}/price/latest?symbol=AAPL'"
        assert recorded.third_party_requests(address) + recorded.blocked + recorded.problems == []
        page.get_by_role("link", name="Dashboard").click()
        expect(page).to_have_url(re.compile("/dashboard"))


def test_every_link_of_the_page_works(browser: Browser, address: str, connection: Connection):
    assert connection
    with recorded_page(browser, address, viewport={"width": 390, "height": 800}) as recorded:
        recorded.page.goto("/")
        assert recorded.page.evaluate("document.documentElement.scrollWidth") <= 390
        for link in recorded.page.get_by_role("link").all():
            response = recorded.page.request.get(link.get_attribute("href") or "")
            assert response.ok, response.url
