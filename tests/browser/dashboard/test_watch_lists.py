"""The user's own watch lists, their order, and the trend of each symbol."""

import json
import re
from datetime import timedelta

from browser.dashboard.market import Market, now
from browser.dashboard.page import expect_chart, open_dashboard
from browser.recorded_page import RecordedPage
from helpers.service import eventually
from playwright.sync_api import Page, expect

STORED = "JSON.parse(localStorage.getItem('market-data.watch-lists'))"


def rows(page: Page) -> list[str | None]:
    """Return the symbols from top to bottom."""
    return page.evaluate(
        """() => [...document.querySelectorAll("#rows [data-symbol]")]
            .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
            .map((each) => each.dataset.symbol)"""
    )


def expect_rows(page: Page, *symbols: str) -> None:
    eventually(lambda: rows(page) == list(symbols), 10)


def create_list(page: Page, name: str) -> None:
    page.keyboard.press("l")
    page.get_by_label("New list").fill(name)
    page.keyboard.press("Enter")
    expect(page.locator("#lists-message")).to_contain_text(f"{name} created with")
    page.keyboard.press("Escape")


def test_lists_are_created_filled_renamed_and_deleted_with_the_keyboard(recorded: RecordedPage, market: Market):
    for symbol in ("AAPL", "GOOGL", "MSFT"):
        market.trade("10", symbol=symbol)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, symbol="AAPL", candles=1)
    create_list(page, "Tech")
    expect_rows(page, "AAPL")
    page.keyboard.press("/")
    page.keyboard.type("msft")
    expect_rows(page, "MSFT")
    page.keyboard.press("Enter")
    expect_chart(page, symbol="MSFT")
    expect_rows(page, "AAPL")
    page.get_by_role("button", name="Add MSFT to Tech").press("Enter")
    expect_rows(page, "AAPL", "MSFT")
    assert page.evaluate(STORED) == {"lists": [{"name": "Tech", "symbols": ["AAPL", "MSFT"]}], "shown": "Tech"}
    page.reload()
    expect_chart(page, symbol="MSFT", candles=1)
    expect(page.get_by_label("Shown list")).to_have_value("Tech")
    expect_rows(page, "AAPL", "MSFT")
    page.keyboard.press("l")
    name = page.get_by_label("Name of the list Tech")
    name.fill("")
    name.press("Tab")
    expect(page.locator("#lists-message")).to_have_text("Enter a name.")
    expect(name).to_have_attribute("aria-invalid", "true")
    name.fill("Mine")
    name.press("Tab")
    page.get_by_role("checkbox", name="Mine contains MSFT").press("Space")
    page.get_by_role("button", name="Delete Mine").press("Enter")
    page.get_by_role("button", name="Really? Delete Mine").press("Enter")
    expect(page.get_by_label("New list")).to_be_focused()
    page.keyboard.press("Escape")
    expect_rows(page, "AAPL", "GOOGL", "MSFT")
    assert page.evaluate("localStorage.length") == 0


def test_damaged_storage_shows_all_symbols(recorded: RecordedPage, market: Market):
    market.trade("10")
    damaged = json.dumps({"lists": [{"name": 1}, {"name": "Mine", "symbols": ["GONE", "AAPL"]}, None], "shown": 7})
    recorded.page.add_init_script(
        f"localStorage['market-data.watch-lists'] = {damaged!r}; localStorage['market-data.watch-list-order'] = '{{'"
    )
    open_dashboard(recorded.page)
    expect_rows(recorded.page, "AAPL")
    recorded.page.get_by_label("Shown list").select_option("Mine")
    expect_rows(recorded.page, "AAPL")


def test_columns_sort_the_list_also_after_new_trades(recorded: RecordedPage, market: Market):
    for symbol, first, last in (("AAPL", "100", "101"), ("GOOGL", "10", "12"), ("MSFT", "50", "49")):
        market.trade(first, at=now() - timedelta(hours=25), symbol=symbol)
        market.trade(last, at=market.minute(ago=3), symbol=symbol)
    page = recorded.page
    open_dashboard(page)
    expect_rows(page, "AAPL", "GOOGL", "MSFT")
    change = page.get_by_role("columnheader", name="24 h change")
    change.get_by_role("button").click()
    expect(change).to_have_attribute("aria-sort", "descending")
    expect(page.locator("#announcer")).to_have_text("Sorted by 24 h change, descending.")
    expect_rows(page, "GOOGL", "AAPL", "MSFT")
    market.trade("75", symbol="MSFT")
    expect_rows(page, "MSFT", "GOOGL", "AAPL")
    change.get_by_role("button").click()
    expect_rows(page, "AAPL", "GOOGL", "MSFT")
    change.get_by_role("button").click()
    expect(change).not_to_have_attribute("aria-sort", re.compile(".*"))
    page.get_by_role("button", name="Last", exact=True).click()
    expect_rows(page, "AAPL", "MSFT", "GOOGL")
    page.reload()
    expect_rows(page, "AAPL", "MSFT", "GOOGL")


def test_one_request_reads_the_trends_of_all_visible_symbols(recorded: RecordedPage, market: Market):
    for symbol in ("AAPL", "MSFT"):
        for hours, price in ((5, "10"), (3, "30"), (1, "20")):
            market.trade(price, at=now() - timedelta(hours=hours), symbol=symbol)
    market.refresh()
    page = recorded.page
    open_dashboard(page)
    for symbol in ("AAPL", "MSFT"):
        line = page.locator(f"#row-{symbol} .trend path")
        expect(line).to_have_attribute("d", re.compile(r"^M[\d.]+ 22\.0L[\d.]+ 22\.0L[\d.]+ 2\.0L64\.0 12\.0$"))
    assert [url for url in recorded.requests_with("/candles?symbols=") if "symbols=AAPL%2CMSFT&interval=1h" not in url] == []
    assert len(recorded.requests_with("/candles?symbols=")) == 1


def test_keys_that_follow_escape_go_to_the_page(recorded: RecordedPage, market: Market):
    market.trade("10")
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, symbol="AAPL", candles=1)
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 4})
    for shortcut in ("l", "?"):
        page.keyboard.press(shortcut)
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.type("/ms")
        expect(page.get_by_label("Find a symbol")).to_have_value("ms")
        page.keyboard.press("Escape")
