"""The panels follow corrected, cancelled and moved trades, and bulk history, and then show what the API has."""

import re

from browser.dashboard.market import Market, now
from browser.dashboard.page import expect_chart, legend_value, open_dashboard, watch_list_row
from browser.recorded_page import RecordedPage
from playwright.sync_api import Page, expect


def expect_price(page: Page, price: str, change: str) -> None:
    """Expect a price of AAPL in all panels, with the change in 24 hours."""
    expect(page.locator("#price")).to_have_text(price)
    expect(page.locator("#change")).to_contain_text(change)
    expect(page).to_have_title(f"{price} AAPL · Market Data")
    expect(page.locator("#tape tr").first).to_contain_text(price)
    expect(page.locator("#legend [data-field=close] dd")).to_have_text(price)
    expect(page.get_by_role("row", name=re.compile("^AAPL "))).to_contain_text(price)
    expect(page.get_by_role("row", name=re.compile("^AAPL "))).to_contain_text(change)


def test_cancelled_latest_trade_leaves_every_panel(recorded: RecordedPage, market: Market):
    market.trade("100", at=market.minute(ago=30))
    market.trade("200")
    page = recorded.page
    open_dashboard(page)
    expect_price(page, "200.00", "+100.00%")
    expect(page.locator("#day-high")).to_have_text("200.00")
    market.cancel("200")
    expect_price(page, "100.00", "0.00%")
    expect(page.locator("#tape tr")).to_have_count(1)
    expect(page.locator("#day-high")).to_have_text("100.00")
    expect_chart(page, candles=1, last=int(market.minute(ago=30).timestamp()))
    expect(page.locator("#freshness")).to_contain_text("last trade 3")


def test_corrected_trade_changes_price_and_open_candle(recorded: RecordedPage, market: Market):
    market.trade("100", at=market.minute(ago=30))
    market.trade("300")
    page = recorded.page
    open_dashboard(page)
    expect_price(page, "300.00", "+200.00%")
    market.correct("300", "250")
    expect_price(page, "250.00", "+150.00%")
    expect(page.locator("#tape tr")).to_have_count(2)
    expect(page.locator("#day-high")).to_have_text("250.00")


def test_correction_of_the_first_trade_of_24_hours_changes_the_percentages(recorded: RecordedPage, market: Market):
    for symbol in ("AAPL", "MSFT"):
        market.trade("100", at=market.minute(ago=60), symbol=symbol)
        market.trade("150", symbol=symbol)
    page = recorded.page
    open_dashboard(page)
    expect(page.get_by_role("row", name=re.compile("^MSFT "))).to_contain_text("+50.00%")
    expect(page.locator("#change")).to_contain_text("+50.00%")
    market.correct("100", "75")
    expect(page.locator("#change")).to_contain_text("+100.00%")
    expect(page.get_by_role("row", name=re.compile("^MSFT "))).to_contain_text("+100.00%")


def test_symbol_without_a_trade_left_is_shown_as_never_traded(recorded: RecordedPage, market: Market):
    market.trade("100")
    market.trade("7", symbol="MSFT")
    page = recorded.page
    open_dashboard(page, "?symbol=AAPL")
    expect(page.locator("#price")).to_have_text("100.00")
    market.cancel("100")
    expect(page.locator("#price")).to_have_text("—")
    expect(page).to_have_title("AAPL · Market Data")
    expect(page.locator("#overlay-text")).to_have_text("No trades yet. Candles appear with the first trade.")
    expect(page.locator("#tape tr")).to_have_count(0)
    expect(page.locator("#freshness")).to_contain_text("no trades yet", ignore_case=True)
    expect_chart(page, candles=0)
    assert watch_list_row(page) == "AAPL AAPL Ltd. — —"
    market.trade("101")
    expect_price(page, "101.00", "0.00%")
    expect(page.locator("#overlay")).to_be_hidden()


def test_removed_candle_leaves_the_chart_and_the_crosshair(recorded: RecordedPage, market: Market):
    market.trade_each_minute(5)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=5)
    page.locator("#chart").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#legend [data-field=close] dd")).to_have_text("102.00")
    market.cancel("102", "104")
    expect_chart(page, candles=3, first=int(market.minute(ago=4).timestamp()))
    expect(page.locator("#legend [data-field=close] dd")).to_have_text("101.00")
    assert legend_value(page, "time") == f"{market.minute(ago=2):%Y-%m-%d %H:%M}"


def test_tape_fills_up_with_older_trades(recorded: RecordedPage, market: Market):
    market.trade_each_minute(70)
    page = recorded.page
    open_dashboard(page)
    expect(page.locator("#tape tr")).to_have_count(60)
    market.cancel("101", "103", "140")
    expect(page.locator("#tape tr")).to_have_count(60)
    expect(page.locator("#tape tr").last).to_contain_text("162.00")


def test_imported_history_appears_without_a_reload(recorded: RecordedPage, market: Market):
    market.trade("100", at=market.minute(ago=2))
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=1)
    market.import_trades("110", [market.minute(ago=600), market.minute(ago=1), now()])
    expect_price(page, "110.00", "0.00%")
    expect(page.locator("#tape tr")).to_have_count(4)
    expect_chart(page, candles=4, first=int(market.minute(ago=600).timestamp()))
    market.import_trades("5", [now()], symbol="NEW")
    expect(page.get_by_role("row", name=re.compile("^NEW "))).to_contain_text("5.00")
