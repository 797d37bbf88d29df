"""Unmodified clients of Binance: python-binance, ccxt, ccxt.pro and freqtrade."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from helpers.api_keys import store_key
from helpers.foreign_clients import run_client
from helpers.support import PROJECT, T0, Connection, store, trade

HERE = Path(__file__).parent
PYTHON_BINANCE = ("python-binance==1.0.37",)
CCXT = ("ccxt==4.5.90",)
FREQTRADE = ("freqtrade==2026.9", "ccxt==4.5.90")

START = int(T0.timestamp() * 1000)


@pytest.fixture
def traded(connection: Connection) -> Connection:
    """Connect to a database with trades of two hours."""
    store(
        connection,
        *(trade(20 * number, f"{100 + number / 7:.5f}", f"1.{number:03}") for number in range(360)),
        trade(5, "7", symbol="MSFT"),
    )
    return connection


@contextmanager
def refreshing(database_url: str) -> Iterator[None]:
    """Mark candles as refreshed again and again, as the end of refresh_candles does."""
    ended = threading.Event()

    def run() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not ended.wait(0.2):
                connection.execute("DELETE FROM stale_ranges")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def candles(base: str, interval: str = "1m", **parameters: Any) -> list[list[Any]]:
    """Return candles of the own API: time in milliseconds, four prices and volume."""
    given = {"symbol": "AAPL", "interval": interval, "start": "2026-02-08", "end": "2026-02-09", "limit": 1000, **parameters}
    rows = httpx.get(f"{base}/candles", params=given, timeout=60).json()["candles"]
    names = ("open", "high", "low", "close", "volume")
    return [[milliseconds(row["timestamp"]), *(row[name] for name in names)] for row in rows]


def trades(base: str) -> list[tuple[int, float, float]]:
    """Return the trades of the own API: time in milliseconds, price and volume."""
    given = {"symbol": "AAPL", "start": "2026-02-08", "end": "2026-02-09", "limit": 1000, "order": "asc"}
    rows = httpx.get(f"{base}/trades", params=given, timeout=60).json()["trades"]
    return [(milliseconds(row["timestamp"]), row["price"], row["volume"]) for row in rows]


def milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def bars(klines: list[list[Any]]) -> list[list[Any]]:
    return [[kline[0], *map(float, kline[1:6])] for kline in klines]


def test_python_binance(base: str, traded: Connection):
    answer = run_client(HERE / "python_binance_client.py", base, packages=PYTHON_BINANCE)
    assert bars(answer["historical"]) == candles(base)
    assert bars(answer["hours"]) == candles(base, "2h", start="2026-02-08T10:30:00Z")
    assert bars(answer["seconds"]) == candles(base, "1s")
    assert bars(answer["until"]) == candles(base)[:11]
    assert answer["earliest"] == START
    own = trades(base)
    assert [(each["T"], float(each["p"]), float(each["q"])) for each in answer["aggregates"]] == own
    assert answer["all_aggregates"] == answer["aggregates"][1:]  # the client drops the first one
    assert [(each["time"], float(each["price"]), float(each["qty"])) for each in answer["trades"]] == own[-5:]
    assert answer["historical_trades"] == answer["trades"]
    assert (answer["info"]["baseAsset"], answer["info"]["quoteAsset"]) == ("AAPL", "USD")
    price = {"symbol": "AAPL", "price": answer["trades"][-1]["price"]}
    assert (answer["price"], answer["prices"]) == (price, [price, {"symbol": "MSFT", "price": "7"}])
    assert (answer["ticker"]["lastPrice"], answer["average"]["price"]) == (price["price"], price["price"])
    assert (answer["depth"]["bids"], answer["book"]["bidPrice"]) == ([], "0")
    assert answer["unknown"][:2] == [400, -1121]
    assert answer["interval"][:2] == [400, -1120]
    assert bars(answer["asynchronous"]["historical"]) == candles(base)
    assert bars(answer["asynchronous"]["klines"]) == candles(base)[-3:]
    assert answer["asynchronous"]["trades"] == answer["trades"][-3:]


def test_ccxt(serve: Any, database_url: str, traded: Connection):
    secret = store_key(database_url, "read")
    with serve() as base:
        answer = run_client(HERE / "ccxt_client.py", base, secret, packages=CCXT)
        own, all_trades = candles(base), trades(base)
        hours = candles(base, "2h")
    assert answer["markets"] == {"AAPL/USD": "AAPL", "MSFT/USD": "MSFT"}
    assert set(answer["active"].values()) == {True}
    assert [len(page) for page in answer["ohlcv"]] == [100, 20]
    assert [bar for page in answer["ohlcv"] for bar in page] == own
    assert answer["hours"] == hours
    assert answer["newest"] == own[-3:]
    assert answer["empty"] == []
    found = [(each["timestamp"], each["price"], each["amount"]) for each in answer["trades"]]
    assert found == all_trades[:50]
    newest = [(each["timestamp"], each["price"], each["amount"]) for each in answer["newest_trades"]]
    assert newest == all_trades[-5:]
    assert [each["id"] for each in answer["historical"]] == [each["id"] for each in answer["trades"][10:15]]
    last = all_trades[-1][1]
    assert answer["ticker"]["last"] == answer["tickers"]["AAPL/USD"]["last"] == last
    assert answer["last_prices"] == {"AAPL/USD": last, "MSFT/USD": 7.0}
    assert answer["all_tickers"] == ["AAPL/USD", "MSFT/USD"]
    assert (answer["bids_asks"]["bid"], answer["bids_asks"]["ask"]) == (None, None)
    assert (answer["order_book"]["bids"], answer["order_book"]["asks"]) == ([], [])
    assert (answer["status"], answer["price"]) == ("ok", "1.23456789")
    assert (answer["unknown"], answer["interval"]) == ("BadSymbol", "BadRequest")
    assert answer["with_key"]


def test_sockets_of_python_binance(serve: Any, database_url: str, known: Connection):
    secret = store_key(database_url, "write")
    with serve(auth="required") as base, refreshing(database_url):
        answer = run_client(HERE / "python_binance_stream.py", base, secret, packages=PYTHON_BINANCE)
        rest = httpx.get(
            f"{base}/binance/{secret}/api/v3/klines", params={"symbol": "AAPL", "interval": "1m"}, timeout=60
        ).json()
        stored = httpx.get(f"{base}/binance/{secret}/api/v3/trades", params={"symbol": "AAPL"}, timeout=60).json()
    ids = [(START + 1000 * number) * 1_000_000 + 123_000 for number in range(6)]
    assert [each["t"] for each in answer["trade"]] == [each["a"] for each in answer["aggTrade"]] == ids
    assert [each["p"] for each in answer["trade"]] == [f"{100 + number}.25" for number in range(6)]
    assert [each["id"] for each in stored] == [ids[0], *ids[2:]]
    kline = answer["kline"][-1]["k"]
    assert [[kline[name] for name in "tohlcv"]] == [row[:6] for row in rest]
    assert kline["x"] is True
    assert answer["ticker"][-1]["c"] == answer["miniTicker"][-1]["c"] == "105.25"
    assert {each["stream"] for each in answer["multiplex"]} <= {"aapl@trade", "aapl@kline_5m"}
    assert answer["refused"][0]["error"]["code"] == 2


def test_ccxt_pro(serve: Any, database_url: str, known: Connection):
    secret = store_key(database_url, "write")
    with serve(auth="required") as base, refreshing(database_url):
        answer = run_client(HERE / "ccxt_stream.py", base, secret, packages=CCXT)
        path = f"{base}/binance/{secret}/api/v3"
        stored = httpx.get(f"{path}/trades", params={"symbol": "AAPL"}, timeout=60).json()
        klines = httpx.get(f"{path}/klines", params={"symbol": "AAPL", "interval": "1m"}, timeout=60).json()
    assert len(answer["trades"]) == 12
    streamed = {each["id"]: each["price"] for each in answer["trades"]}
    changed = {str((START + offset) * 1_000_000 + 123_000) for offset in (0, 61_000)}
    rest = {str(each["id"]): float(each["price"]) for each in stored}
    assert streamed.items() - rest.items() == {(each, streamed[each]) for each in changed}
    assert answer["ohlcv"] == bars(klines)
    assert answer["ticker"]["last"] == answer["tickers"]["AAPL/USD"]["last"] == 111.25
    assert "kline_3m" in answer["refused"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_freqtrade_lists_pairs_and_downloads_data(base: str, traded: Connection, tmp_path: Path):
    settings = PROJECT.joinpath("tests/examples/freqtrade.json").read_text()
    assert "http://127.0.0.1:8000/binance" in settings
    tmp_path.joinpath("config.json").write_text(settings.replace("http://127.0.0.1:8000", base))
    tmp_path.joinpath("user").mkdir()
    common = ("-c", str(tmp_path / "config.json"), "--userdir", str(tmp_path / "user"))
    listed = freqtrade("list-pairs", *common, "--quote", "USD", "--print-json")
    assert json.loads(listed[listed.index("[") :]) == ["AAPL/USD", "MSFT/USD"]
    kept = ("--datadir", str(tmp_path / "data"), "--timerange", "20260208-20260209")
    freqtrade("download-data", *common, *kept, "--timeframes", "1m", "2h", "--data-format-ohlcv", "json")
    for interval in ("1m", "2h"):
        downloaded = json.loads(tmp_path.joinpath(f"data/AAPL_USD-{interval}.json").read_text())
        assert downloaded == candles(base, interval)[:-1]  # without the last candle, which may be open
    freqtrade("download-data", *common, *kept, "--dl-trades", "--data-format-trades", "jsongz")
    rows = json.loads(subprocess.check_output(["gzip", "-dc", tmp_path / "data/AAPL_USD-trades.json.gz"]))
    assert [(row[0], row[4], row[5]) for row in rows] == trades(base)


def freqtrade(*arguments: str) -> str:
    """Run a command of freqtrade, and return its output."""
    packages = [part for package in FREQTRADE for part in ("--with", package)]
    command = [os.environ.get("UV", "uv"), "run", "--isolated", "--no-project", "--python", sys.executable, *packages]
    ended = subprocess.run([*command, "freqtrade", *arguments], capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
