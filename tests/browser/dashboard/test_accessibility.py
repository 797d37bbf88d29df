"""Keyboard, screen reader, contrast and reduced motion."""

import re
from datetime import timedelta

from browser.contrast import low_contrast_texts
from browser.dashboard.market import Market, now
from browser.dashboard.page import chart_state, expect_chart, open_dashboard
from browser.recorded_page import RecordedPage
from helpers.service import eventually
from playwright.sync_api import Page, expect


def test_keyboard_reaches_all_controls(recorded: RecordedPage, market: Market):
    for symbol in ("AAPL", "GOOGL", "MSFT"):
        market.trade_each_minute(90, symbol)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, symbol="AAPL", interval="1m")
    page.keyboard.press("2")
    expect_chart(page, interval="5m")
    page.keyboard.press("]")
    expect_chart(page, interval="15m")
    page.keyboard.press("[")
    expect_chart(page, interval="5m")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Find a symbol")).to_be_focused()
    page.keyboard.type("goo1")
    expect(page.locator("#watch-list-note")).to_have_text("No symbol matches “goo1”.")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    expect_chart(page, symbol="GOOGL", interval="5m")
    expect(page.locator("#announcer")).to_have_text(re.compile(r"^GOOGL 100\.00.*\. Candles of 5 minutes\.$"))
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox", name="Find a symbol")).to_have_value("")
    grid = page.get_by_role("grid", name="Watch list")
    grid.focus()
    page.keyboard.press("ArrowDown")
    expect_chart(page, symbol="MSFT")
    expect(grid).to_have_attribute("aria-activedescendant", "row-MSFT")
    page.keyboard.press("Home")
    expect_chart(page, symbol="AAPL")
    page.keyboard.press("1")
    expect_chart(page, interval="1m", candles=90)
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#legend [data-field=close] dd")).to_have_text("101.00")
    expect(page.locator("#announcer")).to_contain_text("close 101.00")
    page.keyboard.press("Home")
    expect(page.locator("#legend [data-field=close] dd")).to_have_text("189.00")
    page.keyboard.press("Escape")
    expect(page.locator("#legend [data-field=close] dd")).to_have_text("100.00")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("2")  # ignored while the dialog is open
    page.get_by_role("button", name="Close").press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert chart_state(page, "interval") == "1m"


def test_tab_stops_have_a_name_and_a_visible_focus(recorded: RecordedPage, market: Market):
    market.trade("10")
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=1)
    stops: list[tuple[str, bool]] = []
    page.locator("body").press("Tab")
    for _ in range(40):
        name, outlined = page.evaluate(
            """() => {
                const active = document.activeElement;
                const name = active.getAttribute("aria-label") || active.labels?.[0]?.innerText || active.innerText;
                const shown = active.hasAttribute("aria-activedescendant")
                    ? document.getElementById(active.getAttribute("aria-activedescendant")) : active;
                return [active === document.body ? "" : name.trim(), getComputedStyle(shown).outlineStyle === "solid"];
            }"""
        )
        if not name or (name, outlined) in stops:
            break
        stops.append((name, outlined))
        page.keyboard.press("Tab")
    names = [name for name, _ in stops]
    assert [name for name, outlined in stops if not outlined] == []
    assert {"Skip to the chart", "Use the light theme", "Keyboard shortcuts", "1 minute", "1 week", "Find a symbol"} <= set(
        names
    )
    assert "AAPL, candles of 1 minute, times in UTC" in names


def test_elements_have_accessible_names_roles_and_descriptions(recorded: RecordedPage, market: Market):
    market.trade("100", at=market.minute(ago=600))
    market.trade("110", at=now() - timedelta(hours=1))
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=2)
    chart = page.get_by_role("application", name="AAPL, candles of 1 minute, times in UTC")
    expect(chart).to_have_accessible_description(
        re.compile(r"Open 110\.00.*High 110\.00.*Close 110\.00.*Left and right move")
    )
    grid = page.get_by_role("grid", name="Watch list")
    expect(grid).to_have_attribute("aria-rowcount", "2")
    expect(grid.get_by_role("row", name="AAPL AAPL Ltd. 110.00 ▲ +10.00%", selected=True)).to_be_visible()
    expect(grid.get_by_role("columnheader", name="24 h change")).to_have_attribute("title", re.compile("24 hours ago"))
    expect(page.get_by_role("group", name="Interval").get_by_role("button", pressed=True)).to_have_accessible_name(
        "1 minute"
    )
    expect(page.get_by_role("region", name="Trades").get_by_role("columnheader")).to_have_count(3)
    expect(page.get_by_role("main")).to_be_visible()
    expect(page.get_by_role("contentinfo")).to_contain_text(
        "TradingView Lightweight Charts™, Copyright © 2026 TradingView, Inc."
    )
    expect(page.get_by_role("link", name="https://www.tradingview.com/")).to_be_visible()
    announcer = page.locator("#announcer")
    expect(announcer).to_have_attribute("aria-live", "polite")
    page.keyboard.press("p")
    expect(announcer).to_have_text("AAPL 110.00, ▲ +10.00 (+10.00%) in 24 h")
    market.trade("111")
    expect(page.locator("#price")).to_have_text("111.00")
    page.wait_for_timeout(1300)  # longer than the minimum time between announcements
    assert "111" not in announcer.inner_text()


def expect_contrast_in_both_themes(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    assert low_contrast_texts(page) == []
    page.emulate_media(color_scheme="light")
    assert low_contrast_texts(page) == []


def test_text_has_contrast_in_both_themes_fresh_and_stale(recorded: RecordedPage, market: Market):
    market.trade("100", at=now() - timedelta(hours=5), symbol="MSFT")
    market.trade("99", at=now() - timedelta(hours=4), symbol="MSFT")
    market.trade("10", at=now() - timedelta(hours=5))
    page = recorded.page
    open_dashboard(page)
    expect(page.get_by_role("row", name="MSFT")).to_contain_text("▼ \N{MINUS SIGN}1.00%")
    market.trade("11")
    expect(page.locator("html")).to_have_attribute("data-freshness", "fresh")
    expect_contrast_in_both_themes(page)
    page.get_by_role("row", name="MSFT").click()
    expect(page.locator("html")).to_have_attribute("data-freshness", "stale")
    expect(page.locator("#chart-as-of")).to_be_visible()
    expect_contrast_in_both_themes(page)


def test_reduced_motion_disables_animations(recorded: RecordedPage, market: Market):
    market.trade("10")
    page = recorded.page
    open_dashboard(page)
    animation = "getComputedStyle(document.getElementById('price')).animationName"
    market.trade("11")
    eventually(lambda: page.evaluate(animation) == "flash-up", 5)
    page.emulate_media(reduced_motion="reduce")
    market.trade("10.5")
    expect(page.locator("#price")).to_have_text("10.50")
    assert page.evaluate(animation) == "none"
