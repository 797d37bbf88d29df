"""Ages, and the age at which a last trade is stale: it depends on the pace of the symbol, not on the local clock."""

import random
import re
from datetime import timedelta

import pytest
from browser.dashboard.market import Market, now
from browser.dashboard.page import open_dashboard
from browser.recorded_page import RecordedPage, recorded_page
from helpers.tcp_proxy import Proxy
from playwright.sync_api import Browser, Page, Route, expect

STALE_SECONDS = """
    async (gaps) => {
      const { Pace } = await import("/assets/dashboard/pace.js");
      const pace = new Pace();
      let [time, stale] = [0, 0];
      for (const gap of gaps) {
        if (time && gap > pace.threshold("AAPL")) stale += 1;
        time += gap;
        pace.add("AAPL", [time]);
      }
      return [stale, pace.threshold("AAPL") / 1000];
    }
"""


def paced(page: Page, gaps: list[float]) -> tuple[int, float]:
    """Return how often a symbol is called stale between trades with such gaps, and the threshold after them, in seconds."""
    stale, threshold = page.evaluate(STALE_SECONDS, [gap * 1000 for gap in gaps])
    return stale, threshold


def test_threshold_follows_the_pace_of_the_symbol(recorded: RecordedPage):
    choose = random.Random(3)
    page = recorded.page
    page.goto("/dashboard")
    assert paced(page, [3.0] * 200) == (0, 10)
    assert paced(page, [60.0] * 10) == (0, 180)
    assert paced(page, [0.01] * 9 + [60.0] + [0.01] * 9 + [60.0] + [0.01] * 9 + [60.0] * 3)[1] == pytest.approx(180, abs=1)
    assert paced(page, [choose.expovariate(25) for _ in range(15_000)]) == (0, 10)  # ten minutes of a fast feed
    stale, threshold = paced(page, [choose.expovariate(1 / 60) for _ in range(1440)])  # a day
    assert stale <= 10
    assert 180 < threshold < 900
    assert paced(page, [60.0] * 30 + [7200.0] + [60.0] * 30) == (1, 180)


def test_symbol_is_stale_after_an_age_that_is_unusual_for_it(recorded: RecordedPage, market: Market):
    start = now()
    for number in range(20):
        market.trade("10", at=start - timedelta(seconds=100 + 60 * number), symbol="SLOW")
        market.trade("10", at=start - timedelta(seconds=60 + 3 * number), symbol="FAST")
        market.trade("10", at=start - timedelta(seconds=600 + 60 * number), symbol="LATE")
    page = recorded.page
    open_dashboard(page, "?symbol=SLOW")
    html = page.locator("html")
    expect(html).to_have_attribute("data-freshness", "fresh")
    expect(page.locator("#freshness")).to_have_text(re.compile(r"last trade 1 min \d+ s ago$"))
    expect(page.get_by_role("row", name="SLOW")).not_to_have_class(re.compile("stale"))
    for symbol in ("FAST", "LATE"):
        page.get_by_role("row", name=symbol).click()
        expect(html).to_have_attribute("data-freshness", "stale")
        expect(page.get_by_role("row", name=symbol)).to_have_class(re.compile("stale"))


def test_a_closed_market_makes_nothing_stale(recorded: RecordedPage, market: Market):
    """The calendar and the state of the market are answers of this test."""
    for symbol in ("NIGHT", "DAY", "COIN"):
        market.trade("10", at=now() - timedelta(hours=2), symbol=symbol)
    page = recorded.page
    opens = now() + timedelta(hours=1)

    def answer_symbols(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        for each in body["symbols"]:
            each["calendar"] = {"NIGHT": "XTKS", "DAY": "XNYS"}.get(each["symbol"], "24/7")
        route.fulfill(response=answer, json=body)

    def answer_status(route: Route) -> None:
        is_open = "DAY" in route.request.url
        hours = {
            "next_open": (opens + timedelta(hours=2)).isoformat(),
            "next_close": (opens + timedelta(hours=1)).isoformat(),
        }
        if not is_open:
            hours["next_open"] = opens.isoformat()
        route.fulfill(json={"status": "open" if is_open else "closed", **hours})

    page.route("**/symbols", answer_symbols)
    page.route("**/market/status?*", answer_status)
    page.route("**/calendars/*/sessions?*", lambda route: route.fulfill(json={"sessions": []}))
    open_dashboard(page, "?symbol=NIGHT")
    html = page.locator("html")
    expect(html).to_have_attribute("data-freshness", "closed")
    expect(page.locator("#freshness")).to_contain_text(
        re.compile(r"market closed · last trade 2 h 0 min ago$", re.IGNORECASE)
    )
    expect(page.get_by_role("row", name="NIGHT")).not_to_have_class(re.compile("stale"))
    for symbol in ("DAY", "COIN"):
        page.get_by_role("row", name=symbol).click()
        expect(html).to_have_attribute("data-freshness", "stale")
        expect(page.get_by_role("row", name=symbol)).to_have_class(re.compile("stale"))
    assert len(recorded.requests_with("/market/status?")) == 2


def test_wall_clock_set_back_does_not_hide_a_dead_connection(browser: Browser, proxy: Proxy, market: Market):
    market.trade("10")
    with recorded_page(browser, f"http://127.0.0.1:{proxy.port}") as recorded:
        page = recorded.page
        page.clock.install()
        open_dashboard(page)
        expect(page.locator("html")).to_have_attribute("data-freshness", "fresh")
        proxy.stall()
        page.clock.set_system_time(now() - timedelta(hours=1))
        page.clock.run_for(15_000)
        expect(page.locator("html")).to_have_attribute("data-connection", "late")
        expect(page.locator("#freshness")).to_contain_text(re.compile(r"last known trade 1\d s ago", re.IGNORECASE))
        page.clock.run_for(60_000)
        expect(page.locator("html")).to_have_attribute("data-connection", "offline")
        expect(page.locator("#freshness")).to_contain_text(re.compile(r"trade 1 min 1\d s ago"))
        proxy.restore()
        page.clock.run_for(10_000)
        expect(page.locator("html")).to_have_attribute("data-connection", "live")


def test_wall_clock_set_forward_and_a_sleep_are_found_out_by_a_new_connection(recorded: RecordedPage, market: Market):
    market.trade("10")
    page = recorded.page
    page.clock.install()
    open_dashboard(page)
    for hours in (5, 10):
        streams = len(recorded.requests_with("/stream?"))
        page.clock.set_system_time(now() + timedelta(hours=hours))
        page.clock.run_for(1000)
        expect(page.locator("html")).to_have_attribute("data-connection", "live")
        expect(page.locator("#freshness")).to_contain_text(re.compile(r"last trade \d+ s ago$", re.IGNORECASE))
        assert len(recorded.requests_with("/stream?")) > streams
