"""The examples for people's tools, each run against a live service and compared with the HTTP API."""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.foreign_clients import run_client
from helpers.support import PROJECT, T0, Connection, store, trade

pytestmark = pytest.mark.slow  # installs clients, and starts many of them


EXAMPLES = PROJECT / "tests" / "examples"
START = "2026-02-08"
RUNNING = "http://127.0.0.1:8000"
"""Address of the service in the examples."""
PANDAS = "pandas==3.1.1"
URL = re.compile(r'http://127\.0\.0\.1:8000/[^"\s)]+')


@pytest.fixture
def filled(base: str, connection: Connection) -> str:
    """URL of a service with 150 minutes of two symbols, in which AAPL rises and falls."""
    wave = [abs(minute % 60 - 30) for minute in range(150)]
    store(connection, *(trade(60 * minute, f"{100 + value}.25", "2") for minute, value in enumerate(wave)))
    store(connection, *(trade(60 * minute, f"{50 + minute}", symbol="MSFT") for minute in range(150)))
    return base


def run_example(name: str, base: str, *packages: str) -> Any:
    return run_client(EXAMPLES / name, base, START, packages=packages)


def read(base: str, path: str, **parameters: Any) -> Any:
    response = httpx.get(f"{base}{path}", params={"start": START, **parameters}, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


def hours(base: str, symbol: str) -> Any:
    return read(base, "/candles", symbol=symbol, interval="1h")["candles"]


def test_pandas(filled: str):
    rows = run_example("pandas_candles.py", filled, PANDAS)
    expected = hours(filled, "AAPL")
    assert [row["timestamp"] for row in rows] == [candle["timestamp"] for candle in expected]
    for row, candle in zip(rows, expected, strict=True):
        assert {name: row[name] for name in ("open", "high", "low", "close", "volume")} == {
            name: candle[name] for name in ("open", "high", "low", "close", "volume")
        }
        assert row["vwap"] == pytest.approx(candle["vwap"])


def test_polars(filled: str):
    rows = run_example("polars_trades.py", filled, "polars==2.1.0", "fsspec==2026.9.0", "aiohttp==3.14.1")
    expected = [(symbol, candle) for symbol in ("AAPL", "MSFT") for candle in hours(filled, symbol)]
    assert [(row["symbol"], row["trade_count"], row["volume"]) for row in rows] == [
        (symbol, candle["trade_count"], candle["volume"]) for symbol, candle in expected
    ]
    assert [row["vwap"] for row in rows] == pytest.approx([candle["vwap"] for _, candle in expected])


def test_duckdb(filled: str):
    rows = run_example("duckdb_candles.py", filled, "duckdb==1.4.4", "duckdb-ext-httpfs==1.4.4.20260205")
    pairs = zip(hours(filled, "AAPL"), hours(filled, "MSFT"), strict=True)
    expected = [[one["timestamp"], one["close"], other["close"]] for one, other in pairs]
    assert [row[:3] for row in rows] == expected
    assert [row[3] for row in rows] == pytest.approx([one / other for _, one, other in expected])


def test_notebook(filled: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MARKET_DATA_URL", filled)
    monkeypatch.setenv("MARKET_DATA_START", START)
    packages = "nbclient==0.11.0", "ipykernel==7.4.0", "matplotlib==3.11.2", PANDAS
    ran = run_client(Path(__file__).with_name("run_notebook.py"), str(EXAMPLES / "chart.ipynb"), packages=packages)
    assert ran["text"] == "30 candles\n"
    assert "image/png" in ran["types"]


def test_backtest(filled: str):
    result = run_example("backtest.py", filled, "backtesting==0.6.6", PANDAS)
    candles = read(filled, "/candles", symbol="AAPL", interval="1m")["candles"]
    assert result["candles"] == len(candles) == 150
    assert result["trades"] >= 2
    assert result["return"] == pytest.approx((result["final"] / 100_000 - 1) * 100)


def test_lean(filled: str):
    script = Path(__file__).with_name("lean_reader.py")
    rows = run_client(script, str(EXAMPLES), filled, START, packages=())
    candles = read(filled, "/candles", symbol="AAPL", interval="1m")["candles"]
    names = ("open", "high", "low", "close", "volume")
    assert [(row[0], row[2]) for row in rows] == [
        (candle["timestamp"], {name: candle[name] for name in names}) for candle in candles
    ]
    assert rows[0][1] == f"{T0 + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"


def test_nautilus(filled: str):
    bars = run_example("nautilus_bars.py", filled, "nautilus_trader==1.221.0")
    candles = read(filled, "/candles", symbol="AAPL", interval="1m")["candles"]
    assert [(bar[0], bar[1], float(bar[2]), float(bar[3]), float(bar[4])) for bar in bars] == [
        (end, end, candle["open"], candle["close"], candle["volume"])
        for candle in candles
        for end in [(int(datetime.fromisoformat(candle["timestamp"]).timestamp()) + 60) * 10**9]
    ]


def test_spreadsheets(filled: str):
    urls = URL.findall((EXAMPLES / "README.md").read_text())
    sheets = [url.replace(RUNNING, filled) for url in urls if "format=csv" in url]
    assert len(sheets) == 3
    for url in sheets:
        answer = httpx.get(url, timeout=60)
        assert answer.headers["content-type"].startswith("text/csv")
        header, *rows = answer.text.splitlines()
        assert {"symbol", "timestamp"} <= set(header.split(","))
        assert rows


def test_grafana(filled: str):
    """Each panel's URL answers with the rows and fields that its columns select."""
    dashboard = json.loads((EXAMPLES / "grafana_infinity.json").read_text())
    values = {each["name"]: each["current"]["value"] for each in dashboard["templating"]["list"]}
    assert values["base"] == RUNNING
    values |= {"base": filled, "__from:date:iso": "2026-02-08T10:00:00.000Z", "__to:date:iso": "2026-02-08T12:00:00.000Z"}
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(targets) == 3
    for target in targets:
        url = re.sub(r"\$\{([^}]+)\}", lambda match: values[match[1]], target["url"])
        body = httpx.get(url, timeout=60).raise_for_status().json()
        rows = body[target["root_selector"]]
        assert rows
        assert all(column["selector"] in row for column in target["columns"] for row in rows)
