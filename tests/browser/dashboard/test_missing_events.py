"""A change without an event of the stream reaches every panel with the next reads."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from browser.dashboard.market import Market
from browser.dashboard.page import expect_chart, open_dashboard
from browser.dashboard.panels import expect_panels_as_api
from browser.recorded_page import RecordedPage
from browser.settings import page_settings
from helpers.support import create_patient_app, serving
from litestar.types import ASGIApp, Receive, Scope, Send
from playwright.sync_api import expect


def without_events(app: ASGIApp) -> Any:
    """Let `/stream` send heartbeats only."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/stream":
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        stopped = asyncio.create_task(_disconnected(receive))
        while not stopped.done():
            text = f'id: 1-0-0\nevent: heartbeat\ndata: {{"timestamp":"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"}}\n\n'
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            await asyncio.wait([stopped], timeout=1)

    return call


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.fixture(scope="module")
def address(session_database: str, assets: str) -> Iterator[str]:
    settings = page_settings(session_database, assets)
    with serving(without_events(create_patient_app(settings))) as address:
        yield address


def test_cancelled_corrected_and_stored_trades_reach_all_panels(recorded: RecordedPage, market: Market, address: str):
    market.trade_each_minute(5)
    market.trade("90")
    market.trade("200")
    page = recorded.page
    page.clock.install()
    open_dashboard(page)
    expect_chart(page, candles=6)
    expect(page.locator("#price")).to_have_text("200.00")
    with httpx.Client(base_url=address) as api:
        expect_panels_as_api(page, api, "AAPL")
        market.cancel("200", "101")
        market.correct("103", "90.5")
        page.clock.run_for(31_000)  # the price is read every 30 s; that it went back shows that an event is missing
        expect_panels_as_api(page, api, "AAPL")
        market.late_trade("95", at=market.minute(ago=9))
        market.correct("104", "110")
        page.clock.run_for(61_000)
        expect_panels_as_api(page, api, "AAPL")
        expect_chart(page, candles=6, first=int(market.minute(ago=9).timestamp()))
        market.cancel("90", "90.5", "95", "100", "102", "110")
        page.clock.run_for(61_000)
        expect_panels_as_api(page, api, "AAPL")
        expect(page.locator("#price")).to_have_text("—")
