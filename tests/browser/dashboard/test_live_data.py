"""The panels show stored trades and follow new ones."""

import re
from datetime import timedelta

from browser.dashboard.market import Market, now
from browser.dashboard.page import chart_state, expect_chart, legend_value, open_dashboard, watch_list_row
from browser.recorded_page import RecordedPage
from helpers.support import Connection
from playwright.sync_api import Route, expect


def test_page_shows_price_candles_and_watch_list(recorded: RecordedPage, market: Market):
    market.trade("80", at=now() - timedelta(hours=25), symbol="AAPL")
    market.trade("100", at=market.minute(ago=600), symbol="AAPL")
    market.trade("110.5", at=market.minute(ago=2), volume="3")
    market.trade("125", at=market.minute(ago=2) + timedelta(seconds=20), volume="5")
    market.trade("7.25", symbol="MSFT")
    page = recorded.page
    open_dashboard(page)
    expect(page.get_by_role("heading", name="AAPL", exact=True)).to_be_visible()
    expect(page.locator("#price")).to_have_text("125.00")
    expect(page.locator("#change")).to_have_text("▲ +45.00 (+56.25%) in 24 h")
    expect_chart(page, symbol="AAPL", interval="1m", candles=3, last=int(market.minute(ago=2).timestamp()))
    assert legend_value(page, "time") == f"{market.minute(ago=2):%Y-%m-%d %H:%M}"
    assert [legend_value(page, field) for field in ("open", "high", "low", "close", "volume", "trades")] == [
        "110.50",
        "125.00",
        "110.50",
        "125.00",
        "8",
        "2",
    ]
    expect(page.get_by_role("row", name="AAPL")).to_contain_text("+56.25%")
    expect(page.get_by_role("row", name="MSFT")).to_contain_text("0.00%")
    assert watch_list_row(page) == "AAPL AAPL Ltd. 125.00 ▲ +56.25%"
    assert watch_list_row(page, "MSFT") == "MSFT MSFT Ltd. 7.25 0.00%"
    expect(page.locator("#day-high")).to_have_text("125.00")
    expect(page.locator("#day-low")).to_have_text("100.00")
    expect(page).to_have_title("125.00 AAPL · Market Data")
    assert "symbol=AAPL&interval=1m" in page.url


def test_page_without_responses_shows_connecting_and_loading(recorded: RecordedPage):
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    recorded.page.route(re.compile(r":\d+/(symbols|snapshots|stream|status|candles)"), hold)
    recorded.page.goto("/dashboard")
    expect(recorded.page.get_by_role("button", name="1W, 1 week")).to_be_visible()
    expect(recorded.page.locator("#connection")).to_have_text("Connecting…")
    expect(recorded.page.locator("#freshness")).to_have_text("No data yet")
    expect(recorded.page.locator("#overlay-text")).to_have_text("Loading candles…")
    expect(recorded.page.locator("#price")).to_have_text("—")
    assert held


def test_one_request_reads_the_prices_and_changes_of_all_symbols(recorded: RecordedPage, market: Market):
    symbols = ["AAPL", "AMZN", "GOOGL", "MSFT", "TSLA"]
    for symbol in symbols:
        market.trade("100", at=now() - timedelta(hours=25), symbol=symbol)
        market.trade("110", symbol=symbol)
    open_dashboard(recorded.page)
    for symbol in symbols:
        expect(recorded.page.get_by_role("row", name=symbol)).to_contain_text("110.00▲ +10.00%")
    expect_chart(recorded.page, symbol="AAPL", candles=2)
    everything = {f"symbols={'%2C'.join(symbols)}"}
    assert {url.partition("?")[2] for url in recorded.requests_with("/snapshots?")} == everything
    # Twice: before the stream opens, and for what was stored until then.
    assert all(
        len(recorded.requests_with(path)) <= 2 for path in ("/snapshots?", "/candles?symbol=", "/trades?", "/status/")
    )
    assert len(recorded.requests_with("/candles?symbols=")) <= 1  # the trends, a moment later


def test_late_trade_is_shown_although_the_responses_of_the_past_may_be_cached(recorded: RecordedPage, market: Market):
    at = market.minute(ago=120)
    market.trade("100", at=at)
    open_dashboard(recorded.page)
    read = """
        async ([start, end]) => {
          const { getJson } = await import("/assets/dashboard/api_client.js");
          const parameters = { symbol: "AAPL", interval: "1m", start, end };
          return (await getJson("/candles", parameters)).candles.map(({ close }) => close);
        }
    """
    hour = [(at + timedelta(minutes=offset)).isoformat() for offset in (-30, 30)]
    market.refresh()
    assert recorded.page.evaluate(read, hour) == [100]
    market.late_trade("101", at=at + timedelta(seconds=1))
    assert recorded.page.evaluate(read, hour) == [101]


def test_new_trade_updates_all_panels(recorded: RecordedPage, market: Market):
    market.trade_each_minute(3)
    market.trade("50", symbol="MSFT")
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=3)
    market.trade("101.5")
    expect(page.locator("#price")).to_have_text("101.50")
    expect(page.locator("#legend [data-field=close] dd")).to_have_text("101.50")
    expect(page.locator("#tape tr").first).to_contain_text("▲ 101.50")
    expect(page.get_by_role("row", name="AAPL")).to_contain_text("101.50")
    expect(page.locator("#freshness")).to_have_text(re.compile(r"last trade \d s ago$", re.IGNORECASE))
    assert int(chart_state(page, "candles")) == 4
    market.trade("49.875", symbol="MSFT")
    expect(page.get_by_role("row", name="MSFT")).to_contain_text("49.875▼ \N{MINUS SIGN}0.25%")
    assert page.locator("#price").inner_text() == "101.50"


def test_late_trade_changes_its_candle_but_not_the_price(recorded: RecordedPage, market: Market):
    market.trade_each_minute(5)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=5)
    page.locator("#chart").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#legend [data-field=close] dd")).to_have_text("102.00")
    market.late_trade("250", at=market.minute(ago=3) + timedelta(seconds=30))
    expect(page.locator("#legend [data-field=high] dd")).to_have_text("250.00")
    assert page.locator("#price").inner_text() == "100.00"
    expect_chart(page, candles=5)


def test_first_symbol_and_trade_appear_without_a_reload(recorded: RecordedPage, market: Market, connection: Connection):
    page = recorded.page
    open_dashboard(page)
    expect(page.locator("#overlay-text")).to_have_text("No symbols yet. They appear with the first trades.")
    expect(page.locator("#watch-list-note")).to_have_text("There are no symbols yet.")
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('SHIB', 'Small')")
    expect(page.get_by_role("heading", name="SHIB", exact=True)).to_be_visible()
    expect(page.locator("#overlay-text")).to_have_text("No trades yet. Candles appear with the first trade.")
    expect(page.locator("#freshness")).to_have_text("Feed disabled · no trades yet")
    market.trade("0.00001234", symbol="SHIB")
    expect(page.locator("#price")).to_have_text("0.00001234")
    expect(page.locator("#overlay")).to_be_hidden()
    expect_chart(page, candles=1)
    assert legend_value(page, "open") == "0.00001234"
