"""Whatever happens, every panel shows what the API has in the end.

Each seed is one random session. A failure names the seed and the actions; `-m slow` runs more seeds.
"""

import os
import sys
from collections.abc import Iterator

import httpx
import pytest
from browser.dashboard.market import Market
from browser.dashboard.page import expect_chart, open_dashboard
from browser.dashboard.panels import expect_panels_as_api
from browser.dashboard.random_session import SYMBOLS, RandomSession
from browser.recorded_page import RecordedPage, recorded_page
from helpers.support import Connection
from helpers.tcp_proxy import Proxy
from playwright.sync_api import Browser

ROUNDS = 2
ACTIONS = 20
FIRST_SEED = int(os.environ.get("DASHBOARD_SEED", "1"))
MORE = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(FIRST_SEED + 2, FIRST_SEED + 12)]


@pytest.fixture
def through_proxy(browser: Browser, proxy: Proxy, market: Market) -> Iterator[RecordedPage]:
    for symbol in SYMBOLS:
        market.trade("100", at=market.minute(ago=90), symbol=symbol)
    with recorded_page(browser, f"http://127.0.0.1:{proxy.port}") as recorded:
        yield recorded
    assert [problem for problem in recorded.problems if "Failed to load resource" not in problem] == []


@pytest.mark.parametrize("seed", [FIRST_SEED, FIRST_SEED + 1, *MORE])
def test_panels_equal_the_api_after_random_switches_changes_outages_and_clock_jumps(
    seed: int, through_proxy: RecordedPage, proxy: Proxy, market: Market, connection: Connection, address: str
):
    page = through_proxy.page
    page.clock.install()
    open_dashboard(page)
    expect_chart(page, symbol=SYMBOLS[0], candles=1)
    session = RandomSession(seed, page, proxy, market, connection)
    with httpx.Client(base_url=address) as api:
        for _ in range(ROUNDS):
            for _ in range(ACTIONS):
                session.act()
            session.end()
            sys.stderr.write(f"seed {seed}: {'; '.join(session.actions)}\n")  # shown if the test fails
            expect_panels_as_api(page, api, session.symbol, session.interval)
