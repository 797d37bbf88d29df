"""Choices of the user for the chart: ranges, settings, comparison, downloads; in the URL and after a reload."""

import csv
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from browser.dashboard.market import Market, now
from browser.dashboard.page import chart_property, chart_state, expect_chart, open_dashboard
from browser.recorded_page import RecordedPage, recorded_page
from helpers.service import eventually
from helpers.support import Connection
from playwright.sync_api import Browser, Page, Route, expect

INSERT_TRADES_OF_DAYS = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT %(last)s - n * INTERVAL '1 day', 'AAPL', 0, 100 + n, 1 FROM generate_series(1, %(days)s, %(step)s) AS n
"""


def open_settings(page: Page) -> None:
    page.get_by_role("button", name="Settings").click()
    expect(page.get_by_role("dialog", name="Chart settings")).to_be_visible()


def visible_times(page: Page) -> list[datetime]:
    expect(page.locator("#overlay")).to_be_hidden()
    times = chart_property(page, "visibleTimes")
    return [datetime.fromtimestamp(times[edge], UTC) for edge in ("from", "to")]


def store_days(market: Market, connection: Connection, days: int, step: int) -> None:
    """Store a trade on some days: each is a chunk of the table."""
    market.trade("100")
    connection.execute(INSERT_TRADES_OF_DAYS, {"last": now(), "days": days, "step": step})
    market.refresh()


def test_range_buttons_choose_interval_and_visible_range(recorded: RecordedPage, market: Market, connection: Connection):
    store_days(market, connection, days=800, step=26)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, interval="1m")
    ranges = page.get_by_role("group", name="Range")
    ranges.get_by_role("button", name="1Y").click()
    expect_chart(page, interval="1d")
    expect(ranges.get_by_role("button", pressed=True)).to_have_text("1Y")
    expect(page).to_have_url(re.compile(r"interval=1d&range=1Y$"))
    first, last = visible_times(page)
    assert 339 <= (last - first).days <= 365
    page.reload()
    expect_chart(page, interval="1d")
    expect(ranges.get_by_role("button", pressed=True)).to_have_text("1Y")
    assert visible_times(page) == [first, last]
    ranges.get_by_role("button", name="All").click()
    expect_chart(page, interval="1w")
    expect(page.locator("#history")).to_contain_text("(complete)")
    first, last = visible_times(page)
    assert (last - first).days >= 770
    page.get_by_role("button", name="1D, 1 day").click()
    expect_chart(page, interval="1d")
    expect(ranges.get_by_role("button", pressed=True)).to_have_count(0)
    expect(page).to_have_url(re.compile(r"\?symbol=AAPL&interval=1d$"))


def test_date_is_shown_and_kept_in_the_url(recorded: RecordedPage, market: Market):
    market.trade_each_minute(3500)
    market.trade("7", at=now() - timedelta(days=500))
    page = recorded.page
    open_dashboard(page, "?symbol=AAPL&interval=1m")
    expect_chart(page, candles=600)
    day = (now() - timedelta(days=1)).date()
    page.get_by_label("Go to").fill(day.isoformat())
    expect(page).to_have_url(re.compile(f"from={day}T00%3A00Z&to={day}T0"))
    expect(page.get_by_role("button", name="Latest")).to_be_visible()
    first, last = visible_times(page)
    assert first.isoformat() == f"{day}T00:00:00+00:00"
    page.reload()
    eventually(lambda: visible_times(page) == [first, last], 20)  # after several pages
    page.get_by_label("Go to").fill((now() - timedelta(days=400)).date().isoformat())
    expect(page.locator("#notices")).to_have_text(
        re.compile("Candles of 1 minute are too many to load since then: showing 15 minutes")
    )
    expect_chart(page, interval="15m")
    page.get_by_role("button", name="Latest").click()
    expect(page).to_have_url(re.compile(r"\?symbol=AAPL&interval=15m$"))


def test_settings_survive_a_reload_and_are_in_the_url(browser: Browser, address: str, market: Market):
    market.trade_each_minute(60)
    with recorded_page(browser, address, timezone_id="America/New_York") as recorded:
        page = recorded.page
        open_dashboard(page)
        expect_chart(page, candles=60, style="candles", scale="linear")
        up = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--up')")
        open_settings(page)
        page.get_by_label("Style", exact=True).select_option("Line")
        page.get_by_label("Scale").select_option("Logarithmic")
        page.get_by_label("SMA 20").check()
        page.get_by_label("RSI 14").check()
        page.get_by_label("Times", exact=True).select_option("Local time")
        page.get_by_label("Colours").select_option("Green up, red down")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        expect(page).to_have_url(re.compile(r"&style=line&scale=log&indicators=sma20%2Crsi14$"))
        expect(page.locator("[data-indicator=sma20] dd")).to_have_text("109.50")
        expect(page.locator("[data-indicator=rsi14] dd")).to_have_text("0.0")
        for query in ("", "?symbol=AAPL&interval=1m"):
            open_dashboard(page, query)
            expect_chart(page, candles=60, style="line", scale="log")
            open_settings(page)
            expect(page.get_by_label("Style", exact=True)).to_have_value("line")
            expect(page.get_by_label("RSI 14")).to_be_checked()
            expect(page.get_by_label("SMA 50")).not_to_be_checked()
            expect(page.get_by_label("Times", exact=True)).to_have_value("local")
            expect(page.get_by_label("Colours")).to_have_value("green-red")
            assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--up')") != up
        utc = market.minute(ago=1)
        offset = timedelta(minutes=page.evaluate("time => new Date(time).getTimezoneOffset()", utc.isoformat()))
        expect(page.locator("#legend [data-field=time] dd")).to_have_text(f"{utc - offset:%Y-%m-%d %H:%M}")
        expect(page.locator("#chart")).to_have_accessible_name("AAPL, candles of 1 minute, times in local time")
        assert recorded.problems == []


def test_comparison_follows_both_symbols_in_percent(recorded: RecordedPage, market: Market):
    market.trade_each_minute(60)
    market.trade_each_minute(50, "MSFT")
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=60)
    open_settings(page)
    compare = page.get_by_label("Compare with")
    compare.fill("nope")
    compare.press("Enter")
    expect(page.locator("#chart-compare-help")).to_have_text("Unknown symbol NOPE: choose one of the watch list.")
    compare.fill("msft")
    compare.press("Enter")
    expect_chart(page, scale="percent")
    expect(page.get_by_label("Scale")).to_be_disabled()
    expect(page).to_have_url(re.compile("compare=MSFT$"))
    comparison = page.locator("#comparison")
    expect(comparison).to_have_text(re.compile(r"MSFT\s*100\.00"))
    market.trade("123.5", symbol="MSFT")
    expect(comparison).to_have_text(re.compile(r"MSFT\s*123\.50"))
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/candles?symbol=AAPL*", hold)
    page.reload()
    expect(comparison).to_have_text(re.compile(r"MSFT\s*123\.50"))
    for route in held:
        route.continue_()
    page.unroute_all()
    eventually(lambda: len(chart_property(page, "comparedPoints")) == 51, 20)
    page.get_by_role("row", name="MSFT").click()
    expect_chart(page, symbol="MSFT", scale="linear")
    expect(comparison).to_be_hidden()
    page.get_by_role("row", name="AAPL").click()
    expect(comparison).to_be_visible()
    open_settings(page)
    page.get_by_role("button", name="Stop comparing").click()
    expect(comparison).to_be_hidden()
    expect_chart(page, scale="linear")
    expect(page).to_have_url(re.compile(r"\?symbol=AAPL&interval=1m$"))


def test_downloads_hold_what_is_shown(recorded: RecordedPage, market: Market, tmp_path: Path):
    market.trade_each_minute(60)
    market.trade_each_minute(50, "MSFT")
    page = recorded.page
    open_dashboard(page, "?symbol=AAPL&interval=1m&indicators=sma20&compare=MSFT")
    expect_chart(page, candles=60)
    expect(page.locator("#comparison")).to_contain_text("100.00")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    last = market.minute(ago=1)
    assert download.value.suggested_filename == f"AAPL_1m_{last:%Y-%m-%dT%H%M}Z.csv"
    download.value.save_as(tmp_path / "chart.csv")
    with (tmp_path / "chart.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert {**rows[-1]} == {
        "timestamp": f"{last:%Y-%m-%dT%H:%M:%SZ}",
        **dict.fromkeys(("open", "high", "low", "close", "vwap", "MSFT"), "100"),
        "volume": "1",
        "trade_count": "1",
        "SMA 20": "109.5",
    }
    assert (rows[0]["SMA 20"], rows[0]["MSFT"], rows[0]["close"]) == ("", "", "159")
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").click()
    download.value.save_as(tmp_path / "chart.png")
    header = (tmp_path / "chart.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(header[16:20], "big") > 600


def test_scrolled_range_is_in_the_url(recorded: RecordedPage, market: Market):
    market.trade_each_minute(400)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=400)
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    expect(page).to_have_url(re.compile(r"&from=.*&to="))
    times = visible_times(page)
    page.reload()
    expect_chart(page, candles=400)
    expect(page.get_by_role("button", name="Latest")).to_be_visible()
    assert [abs(one - other) <= timedelta(minutes=1) for one, other in zip(visible_times(page), times, strict=True)] == [
        True,
        True,
    ]
    page.get_by_role("button", name="5m, 5 minutes").click()
    expect_chart(page, interval="5m")
    expect(page).to_have_url(re.compile(r"\?symbol=AAPL&interval=5m$"))
    page.go_back()
    expect_chart(page, interval="1m", candles=400)
    expect(page.get_by_role("button", name="Latest")).to_be_visible()
    assert chart_state(page, "symbol") == "AAPL"


def test_history_restores_the_range_of_the_same_symbol_and_interval(recorded: RecordedPage, market: Market):
    market.trade_each_minute(400)
    market.trade_each_minute(5, "MSFT")
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=400)
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    expect(page).to_have_url(re.compile(r"&from=.*&to="))
    oldest = visible_times(page)
    page.get_by_role("row", name="MSFT").click()
    expect_chart(page, symbol="MSFT", candles=5)
    page.get_by_role("row", name="AAPL").click()
    expect_chart(page, symbol="AAPL", candles=400)
    newest = visible_times(page)
    assert newest[1] > oldest[1]

    def shows(times: list[datetime]) -> bool:
        return all(abs(one - other) <= timedelta(minutes=1) for one, other in zip(visible_times(page), times, strict=True))

    for steps, times in ((-2, oldest), (2, newest)):
        page.evaluate("steps => history.go(steps)", steps)  # as the list of entries at the back button does
        eventually(lambda times=times: shows(times), 20)
    expect(page).to_have_url(re.compile(r"\?symbol=AAPL&interval=1m$"))


def test_full_screen_is_toggled(recorded: RecordedPage, market: Market):
    market.trade("10")
    page = recorded.page
    open_dashboard(page)
    button = page.get_by_role("button", name="Full screen")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("document.fullscreenElement.className") == "instrument"
    open_settings(page)
    page.keyboard.press("Escape")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
