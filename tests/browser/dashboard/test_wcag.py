"""WCAG 2.2 AA, as far as axe-core can check it, in all colour schemes and on phones."""

from datetime import timedelta
from typing import Any

import pytest
from browser.dashboard.market import Market, now
from browser.dashboard.page import expect_chart, open_dashboard
from browser.recorded_page import recorded_page
from browser.wcag import wcag_violations
from helpers.support import Connection, store, trade
from playwright.sync_api import Browser, expect

DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
TOUCH: dict[str, Any] = {"is_mobile": True, "has_touch": True}
SCREENS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", **DESKTOP},
    "dark": {"color_scheme": "dark", **DESKTOP},
    "forced colours": {"forced_colors": "active", **DESKTOP},
    "light phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, **TOUCH},
    "dark phone": {"color_scheme": "dark", "viewport": {"width": 320, "height": 640}, **TOUCH},
}


@pytest.fixture(params=SCREENS)
def screen(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SCREENS[request.param]


def test_dashboard_and_its_dialogs_have_no_violations(
    browser: Browser, address: str, market: Market, screen: dict[str, Any]
):
    market.trade("100", at=now() - timedelta(hours=5), symbol="MSFT")
    market.trade("99", at=now() - timedelta(hours=4), symbol="MSFT")
    market.trade_each_minute(90)
    with recorded_page(browser, address, **screen) as recorded:
        page = recorded.page
        open_dashboard(page)
        expect_chart(page, candles=90)
        assert wcag_violations(page) == []
        page.get_by_role("button", name="Edit watch lists").click()
        page.get_by_label("New list").fill("Tech")
        page.get_by_role("button", name="Create").click()
        expect(page.get_by_role("checkbox", name="Tech contains AAPL")).to_be_checked()
        assert wcag_violations(page) == []
        page.keyboard.press("Escape")
        page.get_by_role("button", name="24 h change").click()
        page.get_by_role("button", name="Keyboard shortcuts").click()
        assert wcag_violations(page) == []
        page.keyboard.press("Escape")
        page.locator("#chart").press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("The figures are those of its")
        assert wcag_violations(page) == []
        page.keyboard.press("Escape")
        page.get_by_role("searchbox").fill("no such symbol")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Continue")).to_be_visible()
        assert wcag_violations(page) == []


def test_replay_has_no_violations(browser: Browser, address: str, market: Market, screen: dict[str, Any]):
    market.trade("100")
    with recorded_page(browser, address, **screen) as recorded:
        page = recorded.page
        open_dashboard(page, f"?replay={market.minute(ago=5):%Y-%m-%dT%H:%M:%SZ}")
        expect(page.get_by_role("region", name="Replay")).to_be_visible()
        assert wcag_violations(page) == []


def test_front_page_has_no_violations(browser: Browser, address: str, connection: Connection, screen: dict[str, Any]):
    store(connection, trade(0, "104.90"))
    with recorded_page(browser, address, **screen) as recorded:
        recorded.page.goto("/")
        assert wcag_violations(recorded.page) == []
