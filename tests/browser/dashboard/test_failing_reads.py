"""Requests of the page at load, and while they fail."""

import re

import httpx
from browser.dashboard.market import Market
from browser.dashboard.page import expect_chart, open_dashboard
from browser.dashboard.panels import expect_panels_as_api
from browser.recorded_page import RecordedPage, recorded_page
from helpers.tcp_proxy import Proxy
from playwright.sync_api import Browser, Route, expect


def test_everything_is_requested_once_at_load(recorded: RecordedPage, market: Market):
    market.trade_each_minute(30)
    page = recorded.page
    open_dashboard(page, "?symbol=AAPL&interval=15m")
    expect_chart(page, symbol="AAPL", interval="15m")
    expect(page.locator("#tape tr")).to_have_count(30)
    expect(page.locator("#day-high")).to_have_text("129.00")
    page.wait_for_timeout(500)
    paths = ("/symbols", "/snapshots?", "/candles?symbol=", "/trades?", "/status/", "/stream?")
    assert {path: len(recorded.requests_with(path)) for path in paths} == dict.fromkeys(paths, 1)


def test_failing_candles_are_requested_one_at_a_time_and_less_and_less_often(browser: Browser, address: str, market: Market):
    market.trade_each_minute(700)
    with recorded_page(browser, address) as recorded:
        page = recorded.page
        page.clock.install()
        open_dashboard(page)
        expect_chart(page, candles=600)
        held: list[Route] = []
        failing = True

        def answer(route: Route) -> None:
            if failing:
                held.append(route)
            else:
                route.continue_()

        page.route(re.compile(r"/candles\?symbol="), answer)
        page.locator("#chart").focus()
        page.keyboard.press("Home")
        requests = 0
        for number in range(12):
            market.trade(str(200 + number))
            expect(page.locator("#price")).to_have_text(f"{200 + number}.00")
            assert len(held) <= 1
            if held:
                requests += 1
                held.pop().abort()
            page.keyboard.press("Home")
            page.clock.run_for(5000)
        assert 3 <= requests <= 8
        expect(page.locator("#notices")).to_contain_text("Can't load candles.")
        failing = False
        while held:
            held.pop().continue_()
        page.clock.run_for(40_000)
        expect_chart(page, first=int(market.minute(ago=700).timestamp()))
        expect(page.locator("#notices")).to_be_empty()


def test_failing_candles_of_a_comparison_are_requested_less_and_less_often(browser: Browser, address: str, market: Market):
    market.trade_each_minute(5)
    market.trade_each_minute(5, "MSFT")
    with recorded_page(browser, address) as recorded:
        page = recorded.page
        page.clock.install()
        page.route("**/candles?symbol=MSFT*", lambda route: route.abort())
        open_dashboard(page, "?symbol=AAPL&interval=1m&compare=MSFT")
        expect(page.locator("#notices")).to_contain_text("Can't load the candles of MSFT.")
        for number in range(12):
            page.clock.run_for(5000)
            market.trade(str(200 + number))
            expect(page.locator("#price")).to_have_text(f"{200 + number}.00")
        assert 3 <= len(recorded.requests_with("/candles?symbol=MSFT")) <= 8
        page.unroute_all()
        page.clock.run_for(40_000)
        expect(page.locator("#comparison")).to_contain_text("100.00")
        expect(page.locator("#notices")).to_be_empty()


def test_failed_reads_are_repeated_as_soon_as_the_stream_is_back(
    browser: Browser, proxy: Proxy, address: str, market: Market
):
    market.trade_each_minute(5)
    with recorded_page(browser, f"http://127.0.0.1:{proxy.port}") as recorded, httpx.Client(base_url=address) as api:
        page = recorded.page
        page.add_init_script("Math.random = () => 0.99")  # the longest delays
        page.clock.install()
        open_dashboard(page)
        proxy.cut()
        market.late_trade("70", at=market.minute(ago=8))
        page.clock.run_for(105_000)  # the candles are read after 60 s; the next attempt after the last one is in 30 s
        expect(page.locator("html")).to_have_attribute("data-connection", "offline")
        proxy.restore()
        page.clock.run_for(11_000)
        expect_panels_as_api(page, api, "AAPL", seconds=8)
