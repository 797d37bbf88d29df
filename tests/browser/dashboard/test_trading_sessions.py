"""Charts of symbols whose market closes: sessions, gaps, adjustment, comparison and live candles."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from browser.dashboard.closing_market import FIRST, HOUR, STEP, SUNDAY, add_open_market
from browser.dashboard.market import Market
from browser.dashboard.page import chart_property, expect_chart, legend_value, open_dashboard
from browser.recorded_page import RecordedPage, recorded_page
from helpers.adjustments import Action
from helpers.calendars import store_calendar
from helpers.service import eventually
from helpers.support import Connection
from playwright.sync_api import Browser, Page, expect

from market_data.queries.candles import SessionKind
from market_data.queries.schedules import TradingSession


def expected_times(sessions: Sequence[TradingSession], kind: SessionKind, width: timedelta) -> list[datetime]:
    return [start for session in sessions for segment in session.segments(kind) for start, _ in segment.buckets(width)]


def drawn_times(page: Page) -> list[datetime]:
    return [datetime.fromtimestamp(point["time"], UTC) for point in chart_property(page, "drawnSeries")[0]]


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label).select_option(option)


def test_closed_time_is_omitted_and_extended_hours_are_shaded(recorded: RecordedPage, sessions: Sequence[TradingSession]):
    page = recorded.page
    open_dashboard(page, "?symbol=IBM&interval=1h")
    times = expected_times(sessions, "extended", HOUR)
    expect_chart(page, candles=len(times))
    assert drawn_times(page) == times
    shaded = [
        {"part": part, "from": 17 * day + first, "to": 17 * day + last}
        for day in range(len(sessions))
        for part, first, last in (("pre", 0, 5), ("post", 13, 16))
    ]
    eventually(lambda: chart_property(page, "shadedColumns") == shaded, 20)  # the columns of the days adjoin
    expect(page.locator("#chart")).to_have_accessible_name("IBM, candles of 1 hour, extended hours, times in UTC")
    expect(page.locator("#chart")).to_have_accessible_description(
        re.compile("Background of the candles: Pre-market Post-market")
    )
    page.locator("#chart").press("End")
    assert legend_value(page, "session") == "post-market"
    expect(page.locator("#announcer")).to_have_text(re.compile(r"^2026-02-19 00:00, post-market: open "))
    page.locator("#chart").press("Home")
    assert legend_value(page, "session") == "pre-market"
    for _ in range(6):
        page.locator("#chart").press("ArrowRight")
    expect(page.locator("#legend [data-field=time] dd")).to_have_text("2026-02-12 14:30")
    assert legend_value(page, "session") == ""


def test_quiet_time_of_a_session_leaves_a_gap_but_the_night_does_not(
    recorded: RecordedPage, market: Market, connection: Connection
):
    first, second = store_calendar(connection, "XNYS", FIRST, date(2026, 2, 13))
    opens = first.opens_at
    for at in (opens, opens + 3 * STEP, first.closes_at - STEP, second.opens_at):
        market.trade("10", at=at, symbol="IBM")
    connection.execute("UPDATE symbols SET calendar = 'XNYS'")
    market.refresh()
    page = recorded.page
    open_dashboard(page, "?symbol=IBM&interval=5m&session=regular")
    expect_chart(page, candles=4)
    # The candles, two columns without one, and then an hour's: all before the night is left out.
    eventually(lambda: int(chart_property(page, "visibleIndexes")["to"]) == 4 + 2 + 12 - 1, 20)
    assert chart_property(page, "shadedColumns") == []


def test_sessions_are_chosen_with_the_keyboard_and_kept(recorded: RecordedPage, sessions: Sequence[TradingSession]):
    page = recorded.page
    open_dashboard(page, "?symbol=IBM&interval=1h")
    expect_chart(page, candles=17 * len(sessions))
    select = page.get_by_label("Sessions")
    expect(select).to_have_value("extended")
    page.locator("#ranges button").last.focus()
    page.keyboard.press("Tab")
    expect(select).to_be_focused()
    page.keyboard.press("r")
    expect_chart(page, candles=7 * len(sessions))
    expect(page).to_have_url(re.compile("&session=regular$"))
    assert drawn_times(page) == expected_times(sessions, "regular", HOUR)
    assert chart_property(page, "shadedColumns") == []
    expect(page.locator("#session-key")).to_be_hidden()
    for query in ("", "?symbol=IBM&interval=1h", "?symbol=IBM&interval=1h&session=regular"):
        open_dashboard(page, query)
        expect(select).to_have_value("regular")
    choose(page, "Sessions", "All trades")
    expect_chart(page, candles=16 * len(sessions) + 1)  # UTC hours, and that of Sunday
    assert SUNDAY in drawn_times(page)
    expect(page).to_have_url(re.compile("&session=all$"))
    page.get_by_role("button", name="1D, 1 day").click()
    expect_chart(page, candles=7)  # of UTC: also those on which a post-market ends, and Sunday
    choose(page, "Sessions", "Extended hours")
    expect_chart(page, candles=len(sessions))
    expect(page).to_have_url(re.compile(r"\?symbol=IBM&interval=1d$"))


def test_candles_of_days_have_the_date_of_the_exchange_in_each_time_zone(
    browser: Browser, address: str, sessions: Sequence[TradingSession]
):
    with recorded_page(browser, address, timezone_id="America/New_York") as recorded:
        page = recorded.page
        open_dashboard(page, "?symbol=IBM&interval=1d&session=regular")
        page.evaluate("localStorage.setItem('market-data.time-zone', '\"local\"')")
        page.reload()
        expect_chart(page, candles=len(sessions))
        for key, day in (("Home", sessions[0].day), ("End", sessions[-1].day)):
            page.locator("#chart").press(key)
            expect(page.locator("#legend [data-field=time] dd")).to_have_text(day.isoformat())
        assert [time.date() for time in drawn_times(page)] == [session.day for session in sessions]
        expect(page.locator("#session-key")).to_be_hidden()


def test_prices_are_adjusted_for_splits(recorded: RecordedPage, sessions: Sequence[TradingSession], connection: Connection):
    Action("split", sessions[2].day, ("4", "1"), symbol="IBM").add(connection)
    page = recorded.page
    open_dashboard(page, "?symbol=IBM&interval=1d&session=all")
    expect_chart(page, candles=7)
    raw = [point["close"] for point in chart_property(page, "drawnSeries")[0]]
    choose(page, "Adjustment", "Split-adjusted")
    expect(page.locator("#chart")).to_have_accessible_name(re.compile("adjusted for splits"))
    adjusted = [*(close / 4 for close in raw[:4]), *raw[4:]]
    eventually(lambda: [point["close"] for point in chart_property(page, "drawnSeries")[0]] == adjusted, 20)
    expect(page).to_have_url(re.compile("&adjustment=split$"))
    open_dashboard(page, "?symbol=IBM&interval=1d")
    expect(page.get_by_label("Adjustment")).to_have_value("split")


def test_comparison_with_a_symbol_that_is_always_traded_adds_no_columns(
    recorded: RecordedPage, sessions: Sequence[TradingSession], market: Market
):
    at = sessions[0].pre_opens_at
    while at < sessions[-1].post_closes_at:
        market.trade("7", at=at, symbol="COIN")
        at += HOUR / 2
    market.refresh()
    page = recorded.page
    open_dashboard(page, "?symbol=IBM&interval=30m&session=regular&compare=COIN")
    times = expected_times(sessions, "regular", HOUR / 2)
    expect_chart(page, candles=len(times), scale="percent")
    eventually(lambda: len(chart_property(page, "comparedPoints")) == len(times), 20)
    assert drawn_times(page) == times


def test_candles_of_sessions_follow_new_late_and_changed_trades(
    recorded: RecordedPage, market: Market, connection: Connection
):
    market.trade("10", at=market.minute(ago=80))
    market.trade("20", at=market.minute(ago=31))
    market.refresh()
    add_open_market(connection, market)
    page = recorded.page
    open_dashboard(page, "?symbol=AAPL&interval=15m")
    expect_chart(page, candles=2)
    opens = market.minute(ago=60)
    assert drawn_times(page) == [opens - HOUR / 2, opens + HOUR / 4]
    market.trade("30")
    expect_chart(page, candles=3, last=int((opens + HOUR).timestamp()))
    expect(page.locator("#legend [data-field=close] dd")).to_have_text("30.00")
    market.late_trade("15", at=market.minute(ago=59))
    expect_chart(page, candles=4)
    market.correct("20", to="25")
    eventually(lambda: chart_property(page, "drawnSeries")[0][2]["close"] == 25, 20)
    market.cancel("30")
    expect_chart(page, candles=3)
    market.trade("40", at=market.minute(ago=150))  # before the session
    market.refresh()
    market.trade("31")
    expect_chart(page, candles=4)
    assert "40" not in {str(int(point["close"])) for point in chart_property(page, "drawnSeries")[0]}


def test_a_chart_without_trades_in_its_sessions_says_so(recorded: RecordedPage, market: Market, connection: Connection):
    market.trade("10", at=market.minute(ago=150))
    market.refresh()
    add_open_market(connection, market)
    page = recorded.page
    open_dashboard(page)
    expect(page.locator("#overlay")).to_have_text(re.compile("^No trades yet in these sessions"))
    at = market.minute(ago=20)
    for time in (at, at + STEP):
        market.late_trade("11", at=time)
    expect_chart(page, candles=2)
    expect(page.locator("#overlay")).to_be_hidden()
    eventually(lambda: int(chart_property(page, "visibleIndexes")["to"]) == 5, 20)  # they fill the pane, with their gap
    market.cancel("11")
    expect(page.locator("#overlay")).to_have_text(re.compile("^No trades yet in these sessions"))
    choose(page, "Sessions", "All trades")
    expect_chart(page, candles=1)
    expect(page.locator("#overlay")).to_be_hidden()
    assert legend_value(page, "session") == "market closed"


def test_symbols_that_are_always_traded_have_neither_controls_nor_requests_of_sessions(
    recorded: RecordedPage, market: Market
):
    market.trade_each_minute(30)
    page = recorded.page
    open_dashboard(page, "?symbol=AAPL&interval=1m&session=regular&adjustment=split")
    expect_chart(page, candles=30)
    for hidden in ("#session-controls", "#market", "#legend [data-field=session]"):
        expect(page.locator(hidden)).to_be_hidden()
    expect(page.locator("#chart")).to_have_accessible_name("AAPL, candles of 1 minute, times in UTC")
    expect(page.locator("#chart")).not_to_have_accessible_description(re.compile("Pre-market"))
    assert chart_property(page, "shadedColumns") == []
    requests = [url for path in ("/candles?", "/calendars/", "/market/") for url in recorded.requests_with(path)]
    assert [url for url in requests if re.search("session=|adjustment=|/calendars/|/market/", url)] == []
