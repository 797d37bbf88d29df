"""Symbol, interval and history are selected by URL, mouse and search."""

import re
from datetime import timedelta

from browser.dashboard.market import Market
from browser.dashboard.page import chart_state, expect_chart, legend_value, open_dashboard
from browser.recorded_page import RecordedPage
from helpers.support import Connection
from playwright.sync_api import Route, expect


def test_url_follows_symbol_and_interval(recorded: RecordedPage, market: Market):
    market.trade_each_minute(120)
    market.trade_each_minute(7, "MSFT")
    page = recorded.page
    open_dashboard(page, "?symbol=aapl&interval=1m")
    expect_chart(page, symbol="AAPL", candles=120)
    page.get_by_role("button", name="1h, 1 hour").click()
    expect_chart(page, symbol="AAPL", interval="1h", candles=len({market.minute(ago=n + 1).hour for n in range(120)}))
    expect(page.get_by_role("button", name="1h, 1 hour")).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_url(re.compile(r"\?symbol=AAPL&interval=1h$"))
    page.get_by_role("row", name="MSFT").click()
    expect(page.get_by_role("heading", name="MSFT", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?symbol=MSFT&interval=1h$"))
    expect_chart(page, symbol="MSFT", interval="1h")
    page.get_by_role("button", name="1m, 1 minute").click()
    expect_chart(page, symbol="MSFT", interval="1m", candles=7)
    market.trade("300", symbol="MSFT")
    expect_chart(page, symbol="MSFT", interval="1m", candles=8)
    assert legend_value(page, "close") == "300.00"
    page.go_back()
    expect_chart(page, symbol="MSFT", interval="1h")
    page.go_back()
    expect_chart(page, symbol="AAPL", interval="1h")
    page.go_forward()
    expect_chart(page, symbol="MSFT", interval="1h")
    expect(page.get_by_role("row", name="MSFT")).to_have_attribute("aria-selected", "true")
    expect(page.locator("html")).to_have_attribute("data-connection", "live")


def test_unknown_symbol_and_interval_in_the_url_show_a_notice(recorded: RecordedPage, market: Market):
    market.trade("10")
    open_dashboard(recorded.page, "?symbol=ACME&interval=7m")
    notice = recorded.page.locator("#notices")
    expect(notice).to_contain_text("Unknown symbol ACME: showing AAPL. Unknown interval 7m: showing 1 minute.")
    expect(recorded.page).to_have_url(re.compile(r"\?symbol=AAPL&interval=1m$"))
    recorded.page.get_by_role("button", name="Dismiss").click()
    expect(notice).to_be_empty()


def test_scrolling_back_loads_history_and_keeps_the_visible_range(recorded: RecordedPage, market: Market):
    market.trade_each_minute(1700)
    page = recorded.page
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    open_dashboard(page)
    expect_chart(page, candles=600)
    page.route(re.compile(r"/candles\?.*limit=1000"), hold)
    frame = page.locator("#chart").bounding_box()
    assert frame
    left, right, middle = frame["x"] + 60, frame["x"] + frame["width"] - 160, frame["y"] + frame["height"] / 3

    drags: list[str] = []

    def drag() -> None:
        drags.append(legend_value(page, "time"))
        page.mouse.move(left, middle)
        page.mouse.down()
        page.mouse.move(right, middle, steps=3)
        page.mouse.up()

    while not held and len(drags) < 30:
        drag()
    page.mouse.move((left + right) / 2, middle)
    page.wait_for_timeout(400)  # kinetic scrolling
    page.mouse.move((left + right) / 2 + 1, middle)
    before = legend_value(page, "time")
    held.pop(0).continue_()
    expect_chart(page, candles=1600)
    page.mouse.move((left + right) / 2 + 2, middle)
    assert legend_value(page, "time") == before
    page.unroute_all()
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    expect_chart(page, candles=1700)
    expect(page.locator("#history")).to_have_text(re.compile(r"^1,700 candles of 1 minute since .* \(complete\)$"))
    assert chart_state(page, "first") == str(int((market.minute(ago=1) - timedelta(minutes=1699)).timestamp()))
    assert recorded.requests_with("page_token") == []
    page.get_by_role("button", name="Latest").click()
    expect(page.get_by_role("button", name="Latest")).to_be_hidden()


INSERT_5000_SYMBOLS = """
    WITH listed AS (
        INSERT INTO symbols (symbol, name)
        SELECT 'S' || to_char(n, 'FM0000'), 'Company ' || n FROM generate_series(1, 5000) AS n
        RETURNING symbol
    )
    SELECT count(*) FROM listed
"""
INSERT_TRADE_PER_SYMBOL = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT now() - INTERVAL '1 minute', symbol, 0, 10, 1 FROM symbols
"""


def test_only_visible_rows_of_5000_symbols_are_rendered_and_subscribed(
    recorded: RecordedPage, market: Market, connection: Connection
):
    connection.execute(INSERT_5000_SYMBOLS)
    connection.execute(INSERT_TRADE_PER_SYMBOL)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, symbol="S0001", candles=1)
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "5001")
    assert page.locator("[role=row][data-symbol]").count() < 40
    stream = recorded.requests_with("/stream?")[-1]
    assert "S0001%2CS0002" in stream
    assert "S4000" not in stream
    assert all(url.count("%2C") < 140 for url in recorded.requests_with("/snapshots?")), "a block of a hundred rows"
    page.get_by_role("grid").focus()
    page.keyboard.press("End")
    expect_chart(page, symbol="S5000")
    expect(page.get_by_role("row", name="S5000")).to_be_in_viewport()
    market.trade("12", symbol="S5000")
    expect(page.get_by_role("row", name="S5000")).to_contain_text("12.00")
    page.keyboard.press("/")
    page.keyboard.type("s4321")
    page.keyboard.press("Enter")
    expect_chart(page, symbol="S4321")
    assert len(recorded.requests_with("/snapshots?")) < 20
