"""A chart in Chromium that is drawn from `/udf` by the requests of TradingView's adapter, from a page of another origin."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.recorded_page import CHROMIUM, CHROMIUM_ARGUMENTS
from helpers.support import Connection, store, trade
from playwright.sync_api import Page, sync_playwright

from market_data import embedded

CHART = Path(__file__).with_name("chart.js")


@pytest.fixture(scope="module")
def library() -> Path:
    """Script of a chart, which the dashboard uses, too."""
    modules = os.environ.get("DOCS_ASSETS") or str(embedded.node_modules(print))
    return Path(modules, "lightweight-charts/dist/lightweight-charts.standalone.production.js")


@pytest.fixture
def page(serve: Any) -> Iterator[tuple[Page, str]]:
    """Page of another origin, and the address of a service whose CORS_ORIGINS allow it."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with serve(cors_origins="*") as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(viewport={"width": 900, "height": 500})
        yield page, base
        browser.close()


def test_chart_is_drawn_from_the_data_feed(page: tuple[Page, str], connection: Connection, library: Path):
    store(connection, *(trade(60 * number, f"{100 + number % 7}", "1") for number in range(40)))
    shown, base = page
    failures: list[str] = []
    shown.on("pageerror", lambda error: failures.append(str(error)))
    shown.set_content('<div id="chart" style="width: 900px; height: 500px"></div>')
    shown.add_script_tag(path=library)
    shown.add_script_tag(path=CHART)
    drawn = shown.evaluate("base => drawChart(base, 'AAPL', '1')", f"{base}/udf")
    assert drawn["name"] == "AAPL"
    assert drawn["bars"] == 40
    assert drawn["unknown"] == "unknown_symbol"
    assert failures == []
    colored = shown.evaluate("countColoredPixels()")
    assert colored > 1_000  # the candles, as seen on the canvas
