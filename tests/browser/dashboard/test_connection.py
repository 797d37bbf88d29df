"""Stale data, lost connections and errors are shown, and recovered from."""

import json
import re
import signal
import socket
from datetime import timedelta
from pathlib import Path

import pytest
from browser.dashboard.market import Market, now
from browser.dashboard.page import expect_chart, open_dashboard
from browser.recorded_page import RecordedPage, recorded_page
from helpers.service import Service, eventually
from helpers.support import Connection
from playwright.sync_api import Browser, Route, expect


def test_stale_data_is_marked_until_the_next_trade(recorded: RecordedPage, market: Market):
    for seconds in (0, 3, 6, 9):
        market.trade("10", at=now() - timedelta(hours=2, seconds=seconds))
    page = recorded.page
    page.clock.install()
    open_dashboard(page)
    html, freshness = page.locator("html"), page.locator("#freshness")
    expect(html).to_have_attribute("data-freshness", "stale")
    expect(freshness).to_have_text(re.compile(r"^Feed disabled · stale: last trade 2 h 0 min ago$"))
    stale = page.locator("#price").evaluate("element => getComputedStyle(element).color")
    market.trade("11")
    expect(html).to_have_attribute("data-freshness", "fresh")
    expect(page.locator("#price-as-of")).to_be_hidden()
    assert page.locator("#price").evaluate("element => getComputedStyle(element).color") != stale
    page.clock.fast_forward(11_000)
    expect(html).to_have_attribute("data-freshness", "stale")
    expect(page.locator("#price-as-of")).to_have_text(re.compile(r"^as of \d\d:\d\d:\d\d$"))
    expect(page.locator("#chart-as-of")).to_contain_text("Stale, as of")
    assert page.locator("#price").evaluate("element => getComputedStyle(element).color") == stale
    expect(page.get_by_role("row", name="AAPL")).to_have_class(re.compile("stale"))
    age = re.compile(r"last trade (\d+) s ago")
    first = age.search(freshness.inner_text())
    assert first
    assert int(first[1]) >= 10
    eventually(lambda: (later := age.search(freshness.inner_text())) and int(later[1]) > int(first[1]), 20)


def test_missing_heartbeat_is_shown_and_dead_connection_is_replaced(recorded: RecordedPage, market: Market):
    market.trade("10")
    page = recorded.page
    page.clock.install()
    open_dashboard(page)
    streams = recorded.requests_with("/stream?")
    page.clock.fast_forward(15_000)
    assert page.locator("html").get_attribute("data-connection") == "late"
    assert re.match(r"No heartbeat for 1[4-9] s", page.locator("#connection").inner_text())
    assert re.match(r"as of \d\d:\d\d:\d\d", page.locator("#price-as-of").inner_text())

    def is_replaced() -> bool:  # repeated, because a heartbeat may arrive between two calls
        page.clock.fast_forward(15_000)
        expect(page.locator("html")).to_have_attribute("data-connection", re.compile("live|late"))
        return len(recorded.requests_with("/stream?")) > len(streams)

    eventually(is_replaced)
    expect(page.locator("html")).to_have_attribute("data-connection", "live")


def test_refused_stream_is_retried(browser: Browser, address: str, market: Market):
    market.trade("10")
    with recorded_page(browser, address) as recorded:
        page = recorded.page
        page.route(
            "**/stream?*", lambda route: route.fulfill(status=503, content_type="application/problem+json", body="{}")
        )
        open_dashboard(page, connection="connecting")
        expect(page.locator("#price")).to_have_text("10.00")
        assert page.locator("#connection").inner_text() == "Connecting…"
        expect(page.locator("#price-as-of")).to_be_visible()
        page.unroute_all()
        expect(page.locator("html")).to_have_attribute("data-connection", "live", timeout=15_000)


@pytest.mark.parametrize("minutes_ago", [0, 9])
@pytest.mark.parametrize("cause", ["refused", "gap"])
def test_missed_candles_are_read_once_the_stream_begins_and_after_a_gap(
    browser: Browser, address: str, market: Market, cause: str, minutes_ago: int
):
    market.trade_each_minute(5)
    market.trade("1", at=market.minute(ago=10))
    gap = 'id: 1-0-0\nevent: gap\ndata: {"reason": "test"}\n\n'
    with recorded_page(browser, address) as recorded:

        def answer(route: Route) -> None:
            if cause == "gap":
                route.fulfill(content_type="text/event-stream", body=gap)
            else:
                route.fulfill(status=503, content_type="application/problem+json", body="{}")

        recorded.page.route("**/stream?*", answer)
        recorded.page.goto("/dashboard")
        expect_chart(recorded.page, candles=6)
        market.trade("2", at=market.minute(minutes_ago) + timedelta(seconds=1))
        if cause == "refused":
            recorded.page.unroute_all()
        expect_chart(recorded.page, candles=7)


def test_restart_of_the_service_loses_no_data(
    browser: Browser, market: Market, connection: Connection, database_url: str, assets: str, tmp_path: Path
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def start() -> Service:
        environment = {"DATABASE_URL": database_url, "FEED_ENABLED": "false", "DOCS_ASSETS": assets}
        return Service(tmp_path, "--port", port, **environment)

    market.trade_each_minute(4)
    service = start()
    try:
        with recorded_page(browser, service.wait_until_ready()) as recorded:
            page = recorded.page
            open_dashboard(page)
            expect_chart(page, candles=4)
            market.trade("101")
            expect(page.locator("#price")).to_have_text("101.00")
            service.signal(signal.SIGKILL)
            service.wait()
            expect(page.locator("#connection")).to_have_text(re.compile(r"^Reconnecting since \d\d:\d\d:\d\d \(\d+ s\)$"))
            expect(page.locator("#price-as-of")).to_have_text(re.compile(r"^as of \d\d:\d\d:\d\d$"))
            expect(page.locator("#chart-as-of")).to_contain_text("Not live, as of")
            expect(page.locator("html")).not_to_have_attribute("data-freshness", "fresh")
            expect(page.get_by_role("row", name="AAPL")).to_have_class(re.compile("stale"))
            market.late_trade("77", at=market.minute(ago=7))
            market.trade("102")
            requests_before = len(recorded.requests)
            service = start()
            service.wait_until_ready()
            expect(page.locator("html")).to_have_attribute("data-connection", "live", timeout=15_000)
            expect(page.locator("#price")).to_have_text("102.00")
            expect(page.locator("#legend [data-field=close] dd")).to_have_text("102.00")
            ((minutes,),) = connection.execute("SELECT count(DISTINCT date_trunc('minute', time)) FROM trades").fetchall()
            expect_chart(page, candles=minutes, first=int(market.minute(ago=7).timestamp()))
            assert [url for url in recorded.requests[requests_before:] if "last_event_id=" in url]
            market.trade("103")  # the start may have taken longer than a price is fresh
            expect(page.locator("#chart-as-of")).to_be_hidden()
    finally:
        service.end()


def test_problem_detail_and_request_id_are_shown(browser: Browser, address: str, market: Market):
    market.trade("10")
    problem = {"detail": "The database is too busy; try again in a moment.", "request_id": "abc123"}
    with recorded_page(browser, address) as recorded:
        page = recorded.page
        response = {"status": 503, "content_type": "application/problem+json", "body": json.dumps(problem)}
        page.route("**/candles?*", lambda route: route.fulfill(**response))
        open_dashboard(page)
        expect(page.locator("#overlay-text")).to_have_text(
            "Can't load the candles. The database is too busy; try again in a moment. (request abc123)"
        )
        page.unroute_all()
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#overlay")).to_be_hidden()
        expect_chart(page, candles=1)
        expect(page.locator("#history")).to_contain_text("1 candle of 1 minute")
        page.route("**/candles?*", lambda route: route.fulfill(**response))
        page.get_by_role("button", name="5m, 5 minutes").click()
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        expect(page.locator("#history")).to_have_text("")
