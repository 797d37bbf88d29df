"""Everything that the dashboard shows of the selected symbol, and the same from the API."""

import re
import time
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from browser.dashboard.market import now
from playwright.sync_api import Page

READ_PANELS = """
    () => {
      const text = (element) => element?.textContent.trim() ?? "";
      const texts = (elements) => [...elements].map(text);
      const chart = document.querySelector("#chart");
      return {
        symbol: text(document.querySelector("#symbol")),
        interval: document.querySelector("#intervals [aria-pressed=true]")?.dataset.interval,
        title: document.title,
        price: text(document.querySelector("#price")),
        change: text(document.querySelector("#change")),
        legend: Object.fromEntries(
          [...document.querySelectorAll("#legend [data-field]")].map((row) => [
            row.dataset.field, text(row.querySelector("dd"))
          ])
        ),
        tape: [...document.querySelectorAll("#tape tr")].map((row) => texts(row.cells)),
        rows: Object.fromEntries(
          [...document.querySelectorAll("#rows [data-symbol]")].map((row) => [
            row.dataset.symbol, [text(row.querySelector(".last")), text(row.querySelector(".change"))]
          ])
        ),
        chart: { symbol: chart.dataset.symbol, interval: chart.dataset.interval, series: chart.drawnSeries },
      };
    }
"""
PRICE_FIELDS = ("open", "high", "low", "close")
BAR_FIELDS = (*PRICE_FIELDS, "volume")


def numbers(text: str) -> list[float]:
    """Return the numbers in a text; with the typographic minus, thousands separators and signs of the page."""
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", text.replace("\N{MINUS SIGN}", "-").replace(",", ""))]


def shown(page: Page) -> dict[str, Any]:
    """Return the numbers in all panels at one moment."""
    panels = page.evaluate(READ_PANELS)
    prices, volumes, _ = panels["chart"]["series"]
    bars = [(bar["time"], *(bar[field] for field in PRICE_FIELDS)) for bar in prices]
    return {
        "symbol": (panels["symbol"], panels["chart"]["symbol"]),
        "interval": (panels["interval"], panels["chart"]["interval"]),
        "title": (numbers(panels["title"]), panels["symbol"] in panels["title"]),
        "price": numbers(panels["price"]),
        "change": numbers(panels["change"])[:2],
        "legend": [numbers(panels["legend"][field]) for field in BAR_FIELDS],
        "tape": [numbers(price) + numbers(volume) for _, price, volume in panels["tape"]],
        "rows": {symbol: (numbers(price), numbers(change)) for symbol, (price, change) in panels["rows"].items()},
        "bars": bars,
        "volumes": [(bar["time"], bar["value"]) for bar in volumes],
    }


def _percent(value: float | None) -> list[Any]:
    """Expect a percentage rounded to two decimals."""
    return [] if value is None else [pytest.approx(value, abs=0.0051)]


def expected(api: httpx.Client, symbol: str, interval: str) -> dict[str, Any]:
    """Return what the panels should show: the responses of the API."""
    snapshots = {each["symbol"]: each for each in api.get("/snapshots").raise_for_status().json()["snapshots"]}
    latest = {each: [snapshot["latest"]["price"]] for each, snapshot in snapshots.items()}
    changes: dict[str, list[Any]] = {}
    for each, snapshot in snapshots.items():
        base = snapshot["price_24h_ago"] or snapshot["last_24h"]["open"]
        difference = snapshot["latest"]["price"] - base
        changes[each] = [pytest.approx(difference), *_percent(100 * difference / base)]
    symbols = [each["symbol"] for each in api.get("/symbols").raise_for_status().json()["symbols"]]
    history = {"symbol": symbol, "start": "2000-01-01", "end": (now() + timedelta(hours=1)).isoformat()}
    trades = api.get("/trades", params={**history, "limit": 60}).raise_for_status().json()["trades"]
    candles = api.get("/candles", params={**history, "interval": interval}).raise_for_status().json()["candles"]
    bars = [(_seconds(bar["timestamp"]), *(bar[field] for field in BAR_FIELDS)) for bar in candles]
    return {
        "symbol": (symbol, symbol),
        "interval": (interval, interval),
        "title": (latest.get(symbol, []), True),
        "price": latest.get(symbol, []),
        "change": changes.get(symbol, []),
        "legend": [[value] for value in bars[-1][1:]] if bars else [[] for _ in BAR_FIELDS],
        "tape": [[trade["price"], trade["volume"]] for trade in trades],
        "rows": {each: (latest.get(each, []), changes[each][1:] if each in changes else []) for each in symbols},
        "bars": [bar[:-1] for bar in bars],
        "volumes": [(bar[0], bar[-1]) for bar in bars],
    }


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def expect_panels_as_api(page: Page, api: httpx.Client, symbol: str, interval: str = "1m", seconds: float = 20) -> None:
    """Wait until every panel shows what the API has; name the panels that do not."""
    deadline = time.monotonic() + seconds
    while True:
        page.wait_for_timeout(50)
        before, panels = expected(api, symbol, interval), shown(page)
        wrong = {name: (panels[name], before[name]) for name in panels if panels[name] != before[name]}
        if not wrong:
            return
        assert time.monotonic() < deadline, f"shown and expected of {symbol}, {interval}: {wrong}"
