"""Symbols as other systems write them, and prices of zero and less."""

import re
from urllib.parse import quote, quote_plus

import pytest
from browser.dashboard.market import Market
from browser.dashboard.page import expect_chart, legend_value, open_dashboard, watch_list_row
from browser.recorded_page import RecordedPage
from helpers.support import Connection
from playwright.sync_api import expect

FORMS = ["BINANCE:BTCUSDT", "ES 03-26", "EUR/USD", "ES #F", "M&M", "BAC+A", "A" * 64]
MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize("symbol", FORMS)
def test_symbol_is_shown_by_its_url_and_followed(recorded: RecordedPage, market: Market, symbol: str):
    market.trade_each_minute(3)
    market.trade_each_minute(5, symbol)
    page = recorded.page
    open_dashboard(page, f"?symbol={quote(symbol.lower(), safe='')}&interval=1m")
    expect_chart(page, symbol=symbol, candles=5)
    expect(page).to_have_url(re.compile(re.escape(f"?symbol={quote_plus(symbol)}&interval=1m") + "$"))
    expect(page.get_by_role("heading", name=symbol, exact=True)).to_be_visible()
    market.trade("300", symbol=symbol)
    expect_chart(page, candles=6)
    expect(page.locator("#price")).to_have_text("300.00")
    expect(page.locator("#tape tr").first).to_contain_text("300.00")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("symbol", FORMS)
def test_symbol_is_found_and_selected_in_the_watch_list(recorded: RecordedPage, market: Market, symbol: str):
    market.trade_each_minute(3, "AB")
    market.trade_each_minute(5, symbol)
    page = recorded.page
    open_dashboard(page, "?symbol=AB")
    page.locator("#search").fill(symbol.lower())
    page.locator("#search").press("Enter")
    expect_chart(page, symbol=symbol, candles=5)
    expect(page.locator(f'[role=row][data-symbol="{symbol}"]')).to_have_attribute("aria-selected", "true")
    active = page.locator("#watch-list").get_attribute("aria-activedescendant") or ""
    assert page.evaluate("id => document.getElementById(id)?.dataset.symbol", active) == symbol
    assert " " not in active
    page.go_back()
    expect_chart(page, symbol="AB")


@pytest.mark.parametrize("text", ["facebook", "us30303m", "social network"])
def test_symbol_is_found_by_alias_and_description(recorded: RecordedPage, market: Market, connection: Connection, text: str):
    connection.execute("""
        INSERT INTO symbols (symbol, name, type, description, aliases)
        VALUES ('META', 'Meta', 'stock', 'A social network', '{Facebook,US30303M1027}')
    """)
    market.trade_each_minute(3)
    market.trade_each_minute(5, "META")
    page = recorded.page
    open_dashboard(page, "?symbol=AAPL")
    expect(page.locator('[role=row][data-symbol="META"]')).to_contain_text("Meta · stock")
    page.locator("#search").fill(text)
    expect(page.locator("#watch-list-note")).to_have_text("1 of 2 symbols")
    page.locator("#search").press("Enter")
    expect_chart(page, symbol="META", candles=5)


def test_zero_and_negative_prices_are_shown(recorded: RecordedPage, market: Market, connection: Connection):
    connection.execute("INSERT INTO symbols (symbol, name, signed) VALUES ('CL', 'Crude oil', true)")
    for ago, price in enumerate(["-37.63", "0", "-13.1", "10.01"], start=1):
        market.trade(price, at=market.minute(ago), symbol="CL")
    page = recorded.page
    open_dashboard(page, "?symbol=CL&interval=1m")
    expect_chart(page, candles=4)
    expect(page.locator("#price")).to_have_text(f"{MINUS}37.63")
    expect(page.locator("#day-low")).to_have_text(f"{MINUS}37.63")
    expect(page).to_have_title(f"{MINUS}37.63 CL · Market Data")
    expect(page.locator("#change")).to_contain_text(f"▼ {MINUS}47.64 ({MINUS}475.92%) since the first trade")
    assert legend_value(page, "close") == f"{MINUS}37.63"
    assert legend_value(page, "vwap") == f"{MINUS}37.63"
    assert f"{MINUS}475.92%" in watch_list_row(page, "CL")
    expect(page.locator("#tape tr").nth(1)).to_contain_text("0.00")
    market.trade("-40", symbol="CL")
    expect(page.locator("#price")).to_have_text(f"{MINUS}40.00")


@pytest.mark.parametrize("base", ["0", "-5"])
def test_change_has_no_percentage_if_its_base_is_not_positive(
    recorded: RecordedPage, market: Market, connection: Connection, base: str
):
    connection.execute("INSERT INTO symbols (symbol, name, signed) VALUES ('CL', 'Crude oil', true)")
    market.trade(base, at=market.minute(1), symbol="CL")
    market.trade("2", at=market.minute(1), symbol="CL")
    page = recorded.page
    open_dashboard(page, "?symbol=CL&interval=1m")
    expect_chart(page, candles=1)
    expect(page.locator("#change")).to_have_text(f"▲ +{2 - int(base)}.00 since the first trade")
    assert legend_value(page, "change") == "▲ —"
    assert watch_list_row(page, "CL") == "CL Crude oil 2.00 —"
